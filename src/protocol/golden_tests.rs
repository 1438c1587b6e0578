//! Bytes made by Kafka's own classes (`cargo xtask golden`) decode and encode identically.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::every::{self, Every};

/// One line of the golden file.
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) version: i16,
    /// Whether the message is Kafka's default instance.
    pub(crate) is_default: bool,
    pub(crate) bytes: Bytes,
}

pub(crate) fn golden() -> impl Iterator<Item = Golden> {
    include_str!("../../tests/golden/messages.txt")
        .lines()
        .map(|line| {
            let [name, version, kind, bytes] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line:?} is not NAME VERSION KIND BYTES");
            };
            let version = version.parse().expect("a version");
            Golden {
                name,
                version,
                is_default: kind == "d",
                bytes: unhex(bytes),
            }
        })
}

pub(crate) fn by_name() -> BTreeMap<&'static str, Every> {
    every::all()
        .into_iter()
        .map(|every| (every.name, every))
        .collect()
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|letter| letter.to_digit(16))
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

#[test]
fn kafkas_own_bytes_survive_decoding_and_encoding() {
    let every = by_name();
    for Golden {
        name,
        version,
        is_default,
        bytes,
    } in golden()
    {
        let place = || format!("{name} version {version}: {bytes:?}");
        let message = every
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no schema"));
        let decoded = (message.decode)(bytes.clone(), version)
            .unwrap_or_else(|error| panic!("{error} in {}", place()));
        assert_eq!(decoded.left, 0, "bytes left over in {}", place());
        assert_eq!(decoded.again.as_ref(), Ok(&bytes), "{}", place());
        if is_default {
            assert!(decoded.is_default, "another default in {}", place());
            assert_eq!(
                (message.encode_default)(version),
                Ok(bytes),
                "{name} {version}"
            );
        }
    }
}

#[test]
fn every_version_of_every_message_has_golden_bytes() {
    let mut counts = BTreeMap::new();
    for line in golden() {
        *counts.entry((line.name, line.version)).or_insert(0) += 1;
    }
    let all = every::all();
    for message in &all {
        for version in message.versions.clone() {
            let count = counts.remove(&(message.name, version)).unwrap_or(0);
            assert!(
                count >= 3,
                "{} version {version} has {count} instances",
                message.name
            );
        }
    }
    assert!(counts.is_empty(), "no schema for {counts:?}");
    assert_eq!(all.len(), 272);
}
