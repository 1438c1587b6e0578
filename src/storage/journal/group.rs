//! The bytes of a journal: a block that tells whose it is, and groups, each of which one sync has made durable.
//!
//! ```text
//! file    one block: magic, crc of what follows, nonce
//!         then groups, each at the start of a block
//! group   magic u32, crc u32 of what follows, length u32 of all of it, entries u32,
//!         nonce u64, sequence u64, first live sequence u64, then its entries
//! entry   log end before i64, topic id u128, length of the batches u32, length of the name u16,
//!         the name of the partition, the batches
//! ```
//!
//! Numbers are big-endian, checksums CRC-32C. The nonce is drawn for each file: records cannot contain what would pass
//! for a group.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use types::{Offset, Uuid};

use crate::names::{DirectoryEntry, PartitionName, parse_directory};

/// Groups begin at multiples of this, so that a write never touches what an earlier one has made durable.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Bytes of a group in front of its entries.
pub(crate) const GROUP_HEADER_BYTES: usize = 40;
/// Bytes of an entry in front of its name.
const ENTRY_HEADER_BYTES: usize = 30;
/// What the checksum of a group does not cover: the magic and itself.
const CHECKSUMMED_FROM: usize = 8;
const FILE_MAGIC: u32 = 0x4d52_4a46;
const GROUP_MAGIC: u32 = 0x4d52_4a47;
/// Bytes of the block in front of the groups that mean something.
const FILE_HEADER_BYTES: usize = 16;

static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Batches of one log that are in a journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The log's partition.
    pub name: PartitionName,
    /// The topic's id.
    pub topic_id: Uuid,
    /// Where the log ended in front of them.
    pub previous_end: Offset,
    /// Whole batches, one behind the other, as they are in the segment.
    pub chunks: Vec<Bytes>,
}

impl Entry {
    /// How many bytes it takes in a group.
    pub(crate) fn size_bytes(&self) -> usize {
        let batches: usize = self.chunks.iter().map(Bytes::len).sum();
        ENTRY_HEADER_BYTES + name_bytes(&self.name) + batches
    }
}

/// How long the name of a partition's directory is.
fn name_bytes(name: &PartitionName) -> usize {
    name.topic.len() + 1 + name.partition.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Where a group stands among those of its journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// What was drawn for the file.
    pub nonce: u64,
    /// One more than the group's before.
    pub sequence: u64,
    /// The groups before this one are in segments.
    pub first_live: u64,
}

/// A group that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    pub place: Place,
    pub entries: Vec<Entry>,
}

/// The first block of a journal.
pub(crate) fn file_header(nonce: u64) -> Bytes {
    let mut header = BytesMut::zeroed(BLOCK_BYTES);
    header[..4].copy_from_slice(&FILE_MAGIC.to_be_bytes());
    header[8..16].copy_from_slice(&nonce.to_be_bytes());
    let crc = checksum(&[&header[CHECKSUMMED_FROM..FILE_HEADER_BYTES]]);
    header[4..8].copy_from_slice(&crc.to_be_bytes());
    header.freeze()
}

/// What was drawn for the journal with this first block; nothing if it is damaged.
pub(crate) fn parse_file_header(bytes: &[u8]) -> Option<u64> {
    let mut header = bytes.get(..FILE_HEADER_BYTES)?;
    let is_sound = header.get_u32() == FILE_MAGIC && header.get_u32() == checksum(&[header]);
    is_sound.then(|| header.get_u64())
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    digest.finalize() as u32
}

/// The group of these entries, filled up to a whole number of blocks.
///
/// # Panics
/// If it is longer than 4 GiB, or a name longer than 64 KiB.
pub(crate) fn encode(place: Place, entries: Vec<Entry>) -> Vec<Bytes> {
    let size_bytes = size_of(&entries);
    let headers: usize = entries
        .iter()
        .map(|entry| ENTRY_HEADER_BYTES + name_bytes(&entry.name))
        .sum();
    let mut buffer = BytesMut::with_capacity(GROUP_HEADER_BYTES + headers);
    buffer.put_bytes(0, CHECKSUMMED_FROM);
    buffer.put_u32(u32::try_from(size_bytes).expect("a group is smaller than its journal"));
    buffer.put_u32(u32::try_from(entries.len()).expect("each has a log"));
    buffer.put_u64(place.nonce);
    buffer.put_u64(place.sequence);
    buffer.put_u64(place.first_live);
    let mut header = buffer.split();
    let mut chunks = Vec::with_capacity(2 + 3 * entries.len());
    for entry in entries {
        let batches: usize = entry.chunks.iter().map(Bytes::len).sum();
        buffer.put_i64(entry.previous_end);
        buffer.put_u128(entry.topic_id.as_u128());
        buffer.put_u32(u32::try_from(batches).expect("it fits into a group"));
        let name = name_bytes(&entry.name);
        buffer.put_u16(u16::try_from(name).expect("a directory has this name"));
        let before = buffer.len();
        write_name(&mut buffer, &entry.name);
        assert_eq!(
            buffer.len() - before,
            name,
            "the name is as long as it was counted"
        );
        chunks.push(buffer.split().freeze());
        chunks.extend(entry.chunks);
    }
    let covered =
        std::iter::once(&header[CHECKSUMMED_FROM..]).chain(chunks.iter().map(|chunk| &chunk[..]));
    let crc = checksum(&covered.collect::<Vec<_>>());
    header[..4].copy_from_slice(&GROUP_MAGIC.to_be_bytes());
    header[4..8].copy_from_slice(&crc.to_be_bytes());
    chunks.insert(0, header.freeze());
    let padding = size_bytes.next_multiple_of(BLOCK_BYTES) - size_bytes;
    if padding > 0 {
        chunks.push(Bytes::from_static(&ZEROS[..padding]));
    }
    chunks
}

fn write_name(buffer: &mut BytesMut, name: &PartitionName) {
    use std::fmt::Write;
    write!(buffer, "{name}").expect("it grows");
}

/// Bytes of a group of these entries, without what fills it up.
pub(crate) fn size_of(entries: &[Entry]) -> usize {
    GROUP_HEADER_BYTES + entries.iter().map(Entry::size_bytes).sum::<usize>()
}

/// The sound groups of a journal, in the order in which they were written.
pub(crate) fn groups(file: &Bytes, nonce: u64) -> Vec<Group> {
    let mut found = Vec::new();
    let mut at = BLOCK_BYTES;
    while at < file.len() {
        let group = parse(&file.slice(at..), nonce);
        let (group, size_bytes) = group.map_or((None, 1), |(group, size)| (Some(group), size));
        found.extend(group);
        at += size_bytes.next_multiple_of(BLOCK_BYTES);
    }
    found.sort_by_key(|group| group.place.sequence);
    found
}

/// The group at the start of `bytes`, and its size in bytes.
fn parse(bytes: &Bytes, nonce: u64) -> Option<(Group, usize)> {
    let mut header = bytes.get(..GROUP_HEADER_BYTES)?;
    if header.get_u32() != GROUP_MAGIC {
        return None;
    }
    let crc = header.get_u32();
    let (size_bytes, count) = (header.get_u32() as usize, header.get_u32());
    let covered = bytes.get(CHECKSUMMED_FROM..size_bytes.max(GROUP_HEADER_BYTES))?;
    let place = Place {
        nonce: header.get_u64(),
        sequence: header.get_u64(),
        first_live: header.get_u64(),
    };
    if place.nonce != nonce || checksum(&[covered]) != crc {
        return None;
    }
    let mut rest = bytes.slice(..size_bytes);
    rest.advance(GROUP_HEADER_BYTES);
    let entries = (0..count)
        .map(|_| parse_entry(&mut rest))
        .collect::<Option<Vec<_>>>()?;
    Some((Group { place, entries }, size_bytes))
}

fn parse_entry(rest: &mut Bytes) -> Option<Entry> {
    if rest.len() < ENTRY_HEADER_BYTES {
        return None;
    }
    let (previous_end, topic_id) = (rest.get_i64(), Uuid::from_u128(rest.get_u128()));
    let (batches, name) = (rest.get_u32() as usize, usize::from(rest.get_u16()));
    if rest.len() < name + batches {
        return None;
    }
    let name = rest.split_to(name);
    let DirectoryEntry::Partition(name) = parse_directory(std::str::from_utf8(&name).ok()?) else {
        return None;
    };
    Some(Entry {
        name,
        topic_id,
        previous_end,
        chunks: vec![rest.split_to(batches)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(partition: i32, content: &'static [u8]) -> Entry {
        Entry {
            name: PartitionName::new("a-topic", partition),
            topic_id: Uuid::from_u128(7),
            previous_end: 41,
            chunks: vec![Bytes::from_static(content)],
        }
    }

    fn place(sequence: u64) -> Place {
        Place {
            nonce: 99,
            sequence,
            first_live: 1,
        }
    }

    fn bytes(chunks: Vec<Bytes>) -> Vec<u8> {
        chunks.concat()
    }

    #[test]
    fn groups_come_back_in_the_order_of_writing() {
        let newer = vec![entry(0, b"xyz"), entry(1234, &[7; 5000])];
        let older = vec![entry(9, b"")];
        let file = [
            file_header(99).to_vec(),
            bytes(encode(place(6), newer.clone())),
            bytes(encode(place(5), older.clone())),
        ];
        let file = Bytes::from(file.concat());
        assert_eq!(parse_file_header(&file), Some(99));
        let read = groups(&file, 99);
        let wanted = [(place(5), older), (place(6), newer)];
        assert_eq!(
            read,
            wanted.map(|(place, entries)| Group { place, entries })
        );
        assert_eq!(groups(&file, 98), [], "another journal's");
    }

    #[test]
    fn a_group_with_any_byte_changed_is_none() {
        let sound = bytes(encode(place(5), vec![entry(3, b"content")]));
        let size = size_of(&[entry(3, b"content")]);
        assert_eq!(sound.len(), BLOCK_BYTES);
        for at in 0..size {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            assert_eq!(parse(&damaged.into(), 99), None, "byte {at}");
        }
        for length in 0..size {
            let torn = Bytes::copy_from_slice(&sound[..length]);
            assert_eq!(parse(&torn, 99), None, "cut at {length}");
        }
    }

    #[test]
    fn records_cannot_pass_for_a_group() {
        let inner = encode(
            Place {
                nonce: 1,
                ..place(8)
            },
            vec![entry(0, b"forged")],
        );
        let mut file = file_header(99).to_vec();
        file.extend(bytes(inner));
        assert_eq!(groups(&file.into(), 99), []);
    }

    #[test]
    fn a_damaged_file_header_is_none() {
        let mut header = file_header(5).to_vec();
        header[15] ^= 1;
        assert_eq!(parse_file_header(&header), None);
        assert_eq!(parse_file_header(&[]), None);
    }
}
