//! What lies in the logs on a simulated disk, read behind the broker's back.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::records::{BatchHeader, batches};
use runtime::simulated::disk::Disks;
use storage::JournalEntry;
use types::Offset;

use crate::history::Key;

/// Which of the two things that a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What a read gives now.
    Cached,
    /// What a loss of power leaves that keeps nothing un-synced.
    Durable,
}

/// The log of one partition, as far as it is sound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOnDisk {
    /// Everything below is let go.
    pub start: Offset,
    /// The batches, each behind the one before.
    pub batches: Vec<BatchHeader>,
}

impl LogOnDisk {
    /// The offset behind the last batch; the log start if there is none.
    pub fn end(&self) -> Offset {
        self.batches
            .last()
            .map_or(self.start, BatchHeader::next_offset)
    }
}

/// The logs of `wanted` partitions of the node of this number, each from its log start on: sound batches without a gap.
/// A partition that has no directory with its topic's id is left out.
pub fn read(node: u64, side: Side, wanted: &BTreeMap<Key, Offset>) -> BTreeMap<Key, LogOnDisk> {
    let disks = Disks::current();
    let paths = match side {
        Side::Cached => disks
            .files(node)
            .into_iter()
            .map(|file| file.path)
            .collect(),
        Side::Durable => disks.durable_files(node),
    };
    let content = |path: &str| match side {
        Side::Cached => disks.cached_bytes(node, path),
        Side::Durable => disks.durable_bytes(node, path),
    };
    let mut directories: BTreeMap<&str, BTreeMap<Offset, &str>> = BTreeMap::new();
    for path in &paths {
        if let Some((directory, base)) = segment_of(path) {
            directories.entry(directory).or_default().insert(base, path);
        }
    }
    let mut journals: Vec<&String> = paths
        .iter()
        .filter(|path| journal_place(path).is_some())
        .collect();
    journals.sort_by_key(|path| journal_place(path));
    let journals = journals.into_iter();
    let journaled =
        journals.flat_map(|path| storage::journal_entries(&content(path).unwrap_or_default()).0);
    let journaled: Vec<JournalEntry> = journaled.collect();
    let mut logs = BTreeMap::new();
    for (directory, segments) in directories {
        let metadata = content(&format!("{directory}/partition.metadata"));
        let key = metadata.and_then(|metadata| key_of(directory, &metadata));
        if let Some((key, &start)) = key.and_then(|key| Some((key, wanted.get(&key)?))) {
            // A log start is durable before anybody is shown it, and its segments may be gone by then.
            let start = match side {
                Side::Cached => start,
                Side::Durable => {
                    start.max(checkpointed(node, directory, "log-start-offset-checkpoint"))
                }
            };
            let mut log = log(start, &segments, |path| content(path).unwrap_or_default());
            if side == Side::Durable {
                go_on(&mut log, key, &journaled);
            }
            logs.insert(key, log);
        }
    }
    logs
}

/// The directory and the base offset of a segment's file.
fn segment_of(path: &str) -> Option<(&str, Offset)> {
    let (directory, file) = path.rsplit_once('/')?;
    let base = file.strip_suffix(".log")?.parse().ok()?;
    Some((directory, base))
}

/// The partition whose files lie in a directory: its name has the number, `partition.metadata` in it the topic's id.
pub fn key_of(directory: &str, metadata: &[u8]) -> Option<Key> {
    let (_, partition) = directory.rsplit('/').next()?.rsplit_once('-')?;
    let metadata = std::str::from_utf8(metadata).ok()?;
    let id = metadata
        .lines()
        .find_map(|line| line.strip_prefix("topic_id: "))?;
    Some(Key {
        topic: id.trim().parse().ok()?,
        partition: partition.parse().ok()?,
    })
}

/// The offset below which all of the log in this directory was synced, as the device tells whoever starts the broker.
pub fn proven_offset(node: u64, directory: &str) -> Offset {
    checkpointed(node, directory, "recovery-point-offset-checkpoint")
}

/// What a checkpoint says of the log in this directory on the device; 0 if nothing.
fn checkpointed(node: u64, directory: &str, file: &str) -> Offset {
    let Some((parent, name)) = directory.rsplit_once('/') else {
        return 0;
    };
    let path = format!("{parent}/{file}");
    let bytes = Disks::current().durable_bytes(node, path);
    let bytes = bytes.unwrap_or_default();
    offset_in(&String::from_utf8_lossy(&bytes), name)
}

fn offset_in(checkpoint: &str, name: &str) -> Offset {
    let offset = checkpoint.lines().find_map(|line| {
        let mut words = line.rsplitn(3, ' ');
        let (offset, partition, topic) = (words.next()?, words.next()?, words.next()?);
        (format!("{topic}-{partition}") == name).then(|| offset.parse().ok())?
    });
    offset.unwrap_or(0)
}

/// What the segments hold, from the one with the log start on.
fn log(
    start: Offset,
    segments: &BTreeMap<Offset, &str>,
    content: impl Fn(&str) -> Bytes,
) -> LogOnDisk {
    let mut log = LogOnDisk {
        start,
        ..LogOnDisk::default()
    };
    let first = segments
        .range(..=start)
        .next_back()
        .map_or(start, |entry| *entry.0);
    let mut next = None;
    for (&base, &path) in segments.range(first..) {
        if next.is_some_and(|next| next != base) {
            break;
        }
        next = Some(base);
        for batch in batches(content(path)) {
            let Ok(batch) = batch else { break };
            let is_next = next == Some(batch.header().base_offset);
            if !is_next || batch.verify_crc().is_err() {
                break;
            }
            next = Some(batch.header().next_offset());
            log.batches.push(*batch.header());
        }
    }
    log
}

fn journal_place(path: &str) -> Option<(u64, u64)> {
    storage::journal_place(path.rsplit_once('/')?.1)
}

/// Adds what the journals hold and the segments lack.
fn go_on(log: &mut LogOnDisk, key: Key, journaled: &[JournalEntry]) {
    let is_its = |entry: &&JournalEntry| {
        entry.topic_id == key.topic && entry.name.partition == key.partition
    };
    for entry in journaled.iter().filter(is_its) {
        for batch in entry.chunks.iter().flat_map(|chunk| batches(chunk.clone())) {
            let Ok(batch) = batch else { break };
            let (header, last) = (*batch.header(), log.batches.last());
            let epoch = last.map_or(-1, |last| last.partition_leader_epoch);
            // The log may begin inside of its first batch.
            let is_next = match last {
                Some(last) => header.base_offset == last.next_offset(),
                None => (header.base_offset..header.next_offset()).contains(&log.start),
            };
            if is_next && header.partition_leader_epoch >= epoch {
                log.batches.push(header);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::records::BatchBuilder;

    fn segment(bases: &[Offset]) -> Bytes {
        let mut bytes = Vec::new();
        for &base in bases {
            let mut builder = BatchBuilder::new(base);
            builder.append(1, None, Some(b"x"), &[]);
            bytes.extend_from_slice(builder.build().bytes());
        }
        bytes.into()
    }

    fn bases(start: Offset, segments: &[(Offset, Bytes)]) -> Vec<Offset> {
        let paths: Vec<String> = segments.iter().map(|(base, _)| base.to_string()).collect();
        let named = segments
            .iter()
            .zip(&paths)
            .map(|((base, _), path)| (*base, path.as_str()));
        let found = log(start, &named.collect(), |path| {
            let base: Offset = path.parse().expect("a base");
            let one = segments.iter().find(|(other, _)| *other == base);
            one.expect("a segment").1.clone()
        });
        found
            .batches
            .iter()
            .map(|batch| batch.base_offset)
            .collect()
    }

    #[test]
    fn a_log_goes_as_far_as_it_is_sound() {
        let mut torn = segment(&[2, 3]).to_vec();
        let last = torn.len() - 1;
        torn[last] ^= 1;
        let (first, second) = ((0, segment(&[0, 1])), (2, segment(&[2, 3])));
        let cases: [(&str, Offset, Vec<(Offset, Bytes)>, &[Offset]); 6] = [
            (
                "whole",
                0,
                vec![first.clone(), second.clone()],
                &[0, 1, 2, 3],
            ),
            (
                "zeros behind",
                0,
                vec![(0, [&segment(&[0])[..], &[0; 99]].concat().into())],
                &[0],
            ),
            ("torn", 0, vec![first.clone(), (2, torn.into())], &[0, 1, 2]),
            ("a gap", 0, vec![first.clone(), (3, segment(&[3]))], &[0, 1]),
            (
                "old segments do not matter",
                2,
                vec![first, (2, second.1.clone())],
                &[2, 3],
            ),
            ("begins late", 0, vec![second], &[2, 3]),
        ];
        for (name, start, segments, expected) in cases {
            assert_eq!(bases(start, &segments), expected, "{name}");
        }
    }

    #[test]
    fn files_are_told_by_their_names() {
        let found = segment_of("/data/a/t-x-3/00000000000000000042.log");
        assert_eq!(found, Some(("/data/a/t-x-3", 42)));
        for path in ["/t-3/00000000000000000042.index", "/t-1/1.log.deleted"] {
            assert_eq!(segment_of(path), None, "{path}");
        }
        let id = types::Uuid::ZERO;
        let key = key_of(
            "/data/a/t-x-3",
            format!("version: 0\ntopic_id: {id}\n").as_bytes(),
        );
        assert_eq!(
            key,
            Some(Key {
                topic: id,
                partition: 3
            })
        );
        assert_eq!(key_of("/data/a/t-x", b"version: 0\n"), None);
    }

    #[test]
    fn a_checkpoint_tells_what_is_proven() {
        let checkpoint = "0\n3\nt 0 17\nt-x 1 5\nt 10 9\n";
        let cases = [
            ("t-0", 17),
            ("t-x-1", 5),
            ("t-10", 9),
            ("t-1", 0),
            ("x-1", 0),
        ];
        for (name, offset) in cases {
            assert_eq!(offset_in(checkpoint, name), offset, "{name}");
        }
        assert_eq!(offset_in("", "t-0"), 0);
    }
}
