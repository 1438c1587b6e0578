//! Sparse indexes: entries of fixed size, in rising order, some in the file and the newest still in memory.
//!
//! Three files have this shape. The offset index (`.index`, 8 bytes an entry) maps a batch's last offset to the
//! batch's position; the time index (`.timeindex`, 12 bytes) maps the largest timestamp so far to the last offset of
//! the batch that brought it; the index of aborted transactions (`.txnindex`, 34 bytes) lists them in the order of
//! their markers. Offsets in the first two are relative to the segment's base.

use bytes::{BufMut, Bytes, BytesMut};
use types::{Offset, ProducerId};

/// Entries that are gathered in memory before they are written to the file together.
pub(crate) const PENDING_ENTRIES_MAX: usize = 128;

/// One entry of an index file.
pub trait Entry: Copy + PartialEq + std::fmt::Debug + 'static {
    /// Size in the file, in bytes.
    const SIZE_BYTES: usize;
    /// Reads an entry from exactly [`Entry::SIZE_BYTES`] bytes.
    fn decode(bytes: &[u8]) -> Self;
    /// Appends the entry's bytes.
    fn encode(&self, out: &mut BytesMut);
    /// Whether the entry may stand behind `earlier` in a file.
    fn follows(&self, earlier: &Self) -> bool;
}

fn be_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

fn be_i64(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}

/// An entry of the offset index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetEntry {
    /// The last offset of a batch, relative to the segment's base.
    pub relative_offset: u32,
    /// The position of that batch in the log file, in bytes.
    pub position: u32,
}

impl Entry for OffsetEntry {
    const SIZE_BYTES: usize = 8;

    fn decode(bytes: &[u8]) -> OffsetEntry {
        OffsetEntry {
            relative_offset: be_u32(bytes),
            position: be_u32(&bytes[4..]),
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_u32(self.relative_offset);
        out.put_u32(self.position);
    }

    fn follows(&self, earlier: &OffsetEntry) -> bool {
        self.relative_offset > earlier.relative_offset && self.position > earlier.position
    }
}

/// An entry of the time index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeEntry {
    /// The largest timestamp in the segment up to the offset, in wall milliseconds.
    pub timestamp: i64,
    /// The last offset of the batch that brought it, relative to the segment's base.
    pub relative_offset: u32,
}

impl Entry for TimeEntry {
    const SIZE_BYTES: usize = 12;

    fn decode(bytes: &[u8]) -> TimeEntry {
        TimeEntry {
            timestamp: be_i64(bytes),
            relative_offset: be_u32(&bytes[8..]),
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_i64(self.timestamp);
        out.put_u32(self.relative_offset);
    }

    fn follows(&self, earlier: &TimeEntry) -> bool {
        self.timestamp > earlier.timestamp && self.relative_offset >= earlier.relative_offset
    }
}

/// An entry of the index of aborted transactions, version 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// The producer whose transaction was aborted.
    pub producer_id: ProducerId,
    /// The transaction's first offset in this partition.
    pub first_offset: Offset,
    /// The offset of its abort marker.
    pub last_offset: Offset,
    /// The last stable offset when the marker was written.
    pub last_stable_offset: Offset,
}

impl Entry for AbortedTransaction {
    const SIZE_BYTES: usize = 34;

    fn decode(bytes: &[u8]) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: be_i64(&bytes[2..]),
            first_offset: be_i64(&bytes[10..]),
            last_offset: be_i64(&bytes[18..]),
            last_stable_offset: be_i64(&bytes[26..]),
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_i16(0);
        out.put_i64(self.producer_id);
        out.put_i64(self.first_offset);
        out.put_i64(self.last_offset);
        out.put_i64(self.last_stable_offset);
    }

    fn follows(&self, earlier: &AbortedTransaction) -> bool {
        self.last_offset > earlier.last_offset
    }
}

/// An index: how much of it is in the file, and what is not there yet.
#[derive(Clone, Debug)]
pub struct SparseIndex<E> {
    /// Entries in the file.
    written: u32,
    /// The last entry of all, if known.
    last: Option<E>,
    /// Entries that are not in the file yet.
    pending: Vec<E>,
}

impl<E: Entry> Default for SparseIndex<E> {
    fn default() -> SparseIndex<E> {
        SparseIndex {
            written: 0,
            last: None,
            pending: Vec::new(),
        }
    }
}

impl<E: Entry> SparseIndex<E> {
    /// An index whose file holds `written` entries, the last of them `last`.
    pub fn in_file(written: u32, last: Option<E>) -> SparseIndex<E> {
        SparseIndex {
            written,
            last,
            pending: Vec::new(),
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> u32 {
        self.written + self.pending.len() as u32
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries are in the file.
    pub fn written(&self) -> u32 {
        self.written
    }

    /// Whether every entry is in the file.
    pub fn is_written(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether so many entries wait that they should be written.
    pub fn is_due(&self) -> bool {
        self.pending.len() >= PENDING_ENTRIES_MAX
    }

    /// The last entry.
    pub fn last(&self) -> Option<E> {
        self.last
    }

    /// The entries that are not in the file yet.
    pub fn pending(&self) -> &[E] {
        &self.pending
    }

    /// Adds an entry; one that does not follow the last is left out, for an index is a hint.
    pub fn push(&mut self, entry: E) {
        if self.last.is_none_or(|last| entry.follows(&last)) {
            self.pending.push(entry);
            self.last = Some(entry);
        }
    }

    /// Where in the file the pending entries belong, and their bytes.
    pub fn to_write(&self) -> (u64, Bytes) {
        let position = u64::from(self.written) * E::SIZE_BYTES as u64;
        (position, encode_entries(&self.pending))
    }

    /// The first `count` pending entries are in the file now.
    pub fn wrote(&mut self, count: usize) {
        self.written += count as u32;
        self.pending.drain(..count);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }
}

/// The bytes of entries.
pub fn encode_entries<E: Entry>(entries: &[E]) -> Bytes {
    let mut out = BytesMut::with_capacity(entries.len() * E::SIZE_BYTES);
    for entry in entries {
        entry.encode(&mut out);
    }
    out.freeze()
}

/// The entries of whole bytes; a remainder is left out.
pub fn decode_entries<'a, E: Entry + 'a>(bytes: &'a [u8]) -> impl Iterator<Item = E> + 'a {
    bytes.chunks_exact(E::SIZE_BYTES).map(E::decode)
}

/// Whether each entry may stand behind the one before it.
pub fn is_in_order<E: Entry>(entries: impl IntoIterator<Item = E>) -> bool {
    let mut last: Option<E> = None;
    entries.into_iter().all(|entry| {
        let fine = last.is_none_or(|last| entry.follows(&last));
        last = Some(entry);
        fine
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_bytes() {
        let entry = OffsetEntry {
            relative_offset: 7,
            position: 4242,
        };
        assert_eq!(
            &encode_entries(&[entry])[..],
            [0, 0, 0, 7, 0, 0, 0x10, 0x92]
        );
        let time = TimeEntry {
            timestamp: 258,
            relative_offset: 3,
        };
        assert_eq!(
            &encode_entries(&[time])[..],
            [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3]
        );
        let aborted = AbortedTransaction {
            producer_id: 1,
            first_offset: 2,
            last_offset: 3,
            last_stable_offset: 4,
        };
        let bytes = encode_entries(&[aborted]);
        assert_eq!(bytes.len(), 34);
        assert_eq!(
            decode_entries::<AbortedTransaction>(&bytes).collect::<Vec<_>>(),
            [aborted]
        );
        assert_eq!(decode_entries::<TimeEntry>(&[0; 11]).count(), 0);
    }

    #[test]
    fn an_index_rises() {
        let entry = |relative_offset, position| OffsetEntry {
            relative_offset,
            position,
        };
        let mut index = SparseIndex::in_file(2, Some(entry(5, 50)));
        index.push(entry(5, 60));
        index.push(entry(6, 50));
        assert_eq!(index.len(), 2);
        index.push(entry(6, 60));
        index.push(entry(9, 90));
        assert_eq!(
            index.to_write(),
            (16, encode_entries(&[entry(6, 60), entry(9, 90)]))
        );
        index.wrote(1);
        assert_eq!((index.written(), index.pending()), (3, &[entry(9, 90)][..]));
        assert!(!is_in_order([entry(1, 1), entry(1, 2)]));
        assert!(is_in_order([entry(1, 1), entry(2, 2)]));
    }
}
