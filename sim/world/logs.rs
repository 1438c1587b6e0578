//! What lies on a broker's disk, read by the simulator itself: the truth that no broker is asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::records::{BatchHeader, batches};
use runtime::simulated::disk::Disks;
use types::{Offset, Uuid};

use crate::history::Key;

const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";

/// The segments of one partition by their first offsets.
pub type Segments = BTreeMap<Offset, Bytes>;

/// The logs of all partitions that the device of `node` knows the topic of, with the bytes that a loss of power
/// leaves for certain.
pub fn durable(node: u64) -> BTreeMap<Key, Segments> {
    logs(Disks::current().peek_durable(node, "/"))
}

/// The log of the partition in the directory of this name, as a read gives it now.
pub fn cached(node: u64, directory_name: &str) -> Option<Segments> {
    let files = Disks::current().peek_cached(node, &format!("/{directory_name}/"));
    logs(files).into_values().next()
}

fn logs(files: Vec<(String, Bytes)>) -> BTreeMap<Key, Segments> {
    let mut directories: BTreeMap<String, (Option<Key>, Segments)> = BTreeMap::new();
    for (path, bytes) in files {
        let Some((directory, name)) = path.rsplit_once('/') else {
            continue;
        };
        let found = directories.entry(directory.to_owned()).or_default();
        if name == "partition.metadata" {
            found.0 = key(directory, &bytes);
        } else if let Some(base) = name.strip_suffix(".log")
            && let Ok(base) = base.parse()
        {
            found.1.insert(base, bytes);
        }
    }
    let known = directories.into_values();
    known
        .filter_map(|(key, segments)| Some((key?, segments)))
        .collect()
}

/// The partition in a directory, by what its `partition.metadata` holds.
pub fn key(directory: &str, metadata: &[u8]) -> Option<Key> {
    // One that is being deleted has another name.
    let (_, partition) = directory.rsplit_once('-')?;
    let text = std::str::from_utf8(metadata).ok()?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("topic_id:"))?;
    let topic: Uuid = id.trim().parse().ok()?;
    let partition = partition.parse().ok()?;
    Some(Key { topic, partition })
}

/// The headers of the sound batches that follow each other from the first segment on.
pub fn sound_batches(segments: &Segments) -> Vec<BatchHeader> {
    let mut found: Vec<BatchHeader> = Vec::new();
    for (&base, bytes) in segments {
        let next = found.last().map_or(base, BatchHeader::next_offset);
        if base != next {
            break;
        }
        // Behind the batches of a segment there may be space that was taken in advance.
        for batch in batches(bytes.clone()) {
            let Ok(batch) = batch else { break };
            let next = found.last().map_or(base, BatchHeader::next_offset);
            if batch.header().base_offset != next || batch.verify_crc().is_err() {
                break;
            }
            found.push(*batch.header());
        }
    }
    found
}

/// The offset behind the last of [`sound_batches`].
pub fn end(segments: &Segments) -> Offset {
    let last = sound_batches(segments).last().map(BatchHeader::next_offset);
    last.or(segments.keys().next().copied()).unwrap_or(0)
}

/// The offset below which the log directory of this partition's directory says, on the device, that all was synced.
pub fn proven_offset(node: u64, directory: &str) -> Offset {
    let Some((parent, name)) = directory.rsplit_once('/') else {
        return 0;
    };
    let path = format!("{parent}/{RECOVERY_POINTS}");
    let files = Disks::current().peek_durable(node, &path);
    let bytes = files.into_iter().find(|file| file.0 == path);
    let bytes = bytes.map(|file| file.1).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let offset = text.lines().find_map(|line| {
        let mut words = line.rsplitn(3, ' ');
        let (offset, partition, topic) = (words.next()?, words.next()?, words.next()?);
        (format!("{topic}-{partition}") == name).then(|| offset.parse().ok())?
    });
    offset.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use protocol::records::BatchBuilder;

    use super::*;

    fn batch(base_offset: Offset) -> Vec<u8> {
        let mut builder = BatchBuilder::new(base_offset);
        builder.append(7, None, Some(b"value"), &[]);
        builder.build().into_bytes().to_vec()
    }

    #[test]
    fn a_log_ends_at_the_first_batch_that_is_not_sound_or_does_not_follow() {
        let mut reserved = [batch(0), batch(1)].concat();
        reserved.extend([0; 100]);
        let mut segments = Segments::from([(0, reserved.into()), (2, batch(2).into())]);
        assert_eq!(end(&segments), 3);
        segments.insert(4, batch(4).into());
        assert_eq!(end(&segments), 3, "a hole");
        let mut damaged = batch(2);
        *damaged.last_mut().unwrap() ^= 1;
        segments.insert(2, damaged.into());
        assert_eq!(end(&segments), 2);
        assert_eq!(end(&Segments::from([(7, Bytes::new())])), 7);
        assert_eq!(end(&Segments::new()), 0);
    }

    #[test]
    fn a_directory_tells_its_partition() {
        let id = Uuid::from_u128(77);
        let metadata = format!("version: 0\ntopic_id: {id}");
        let expected = Key {
            topic: id,
            partition: 3,
        };
        assert_eq!(key("/data/a/t-0-3", metadata.as_bytes()), Some(expected));
        assert_eq!(key("/data/a/t-0-3.12-delete", metadata.as_bytes()), None);
        assert_eq!(key("/data/a/t-0-3", b""), None);
    }
}
