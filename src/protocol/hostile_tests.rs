//! Damaged and random bytes give an error or a message: never a panic, never a large allocation.
//!
//! The harnesses are bolero's: as ordinary tests they make a bounded number of inputs, under a fuzzer without end
//! (`cargo bolero test hostile_tests::damaged_messages` in this crate).

use bytes::Bytes;

use crate::counting;
use crate::every::Every;
use crate::frame::RequestHeader;
use crate::golden_tests::{Golden, by_name, golden};
use crate::mutate::{self, Edit};
use crate::stored::frame::decode_metadata;
use crate::stored::{GroupKey, GroupValue, ShareKey, ShareValue, TransactionKey, TransactionValue};
use crate::wire::Decoder;

/// Memory that decoding a message and encoding it again may take at once.
fn allowance_bytes(length: usize) -> usize {
    (128 << 10) + 128 * length
}

fn decode_within_bounds(message: &Every, bytes: &Bytes, version: i16) {
    let (result, peak) = counting::peak_bytes(|| (message.decode)(bytes.clone(), version));
    let allowance = allowance_bytes(bytes.len());
    assert!(
        peak <= allowance,
        "{} {version}: {peak} of {allowance} for {bytes:?}",
        message.name
    );
    let Ok(decoded) = result else { return };
    // What was understood can be said again, and is then understood as the same.
    let again = decoded.again.expect("a decoded message can be encoded");
    let twice =
        (message.decode)(again.clone(), version).expect("an encoded message can be decoded");
    assert_eq!(twice.left, 0);
    assert_eq!(twice.again, Ok(again), "{} {version}", message.name);
}

#[test]
fn damaged_messages() {
    let (all, golden) = (by_name(), golden().collect::<Vec<_>>());
    bolero::check!()
        .with_type::<(u16, Vec<Edit>)>()
        .with_iterations(200_000)
        .with_test_time(std::time::Duration::from_secs(20))
        .for_each(|(index, edits)| {
            let Golden {
                name,
                version,
                bytes,
                ..
            } = &golden[usize::from(*index) % golden.len()];
            let edits = &edits[..edits.len().min(4)];
            decode_within_bounds(&all[name], &mutate::apply(bytes, edits), *version);
        });
}

#[test]
fn random_bytes_to_every_decoder() {
    let all = crate::every::all();
    bolero::check!()
        .with_iterations(500)
        .with_test_time(std::time::Duration::from_secs(20))
        .for_each(|input: &[u8]| {
            let bytes = Bytes::copy_from_slice(input);
            for message in &all {
                for version in message.versions.clone() {
                    decode_within_bounds(message, &bytes, version);
                }
            }
        });
}

/// Each length in each place: the one damage that has brought down other codecs.
#[test]
fn hostile_lengths_in_every_place_of_every_message() {
    let all = by_name();
    for Golden {
        name,
        version,
        bytes,
        ..
    } in golden()
    {
        for place in 0..bytes.len().min(64) as u16 {
            for value in 0..10 {
                let damaged = mutate::apply(&bytes, &[(place, 5, value)]);
                decode_within_bounds(&all[name], &damaged, version);
            }
        }
    }
}

#[test]
fn random_frames_and_stored_records() {
    bolero::check!()
        .with_iterations(20_000)
        .with_test_time(std::time::Duration::from_secs(20))
        .for_each(|input: &[u8]| {
            let bytes = Bytes::copy_from_slice(input);
            let all = || {
                let _ = RequestHeader::decode(&mut Decoder::new(bytes.clone()));
                let _ = decode_metadata(bytes.clone());
                let _ = GroupKey::from_record(bytes.clone());
                let _ = TransactionKey::from_record(bytes.clone());
                let _ = ShareKey::from_record(bytes.clone());
                for kind in 0..24 {
                    let _ = GroupValue::from_record(kind, bytes.clone());
                    let _ = TransactionValue::from_record(kind, bytes.clone());
                    let _ = ShareValue::from_record(kind, bytes.clone());
                }
            };
            let ((), peak) = counting::peak_bytes(all);
            assert!(peak <= allowance_bytes(bytes.len()), "{peak} for {bytes:?}");
        });
}
