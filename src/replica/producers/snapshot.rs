//! Kafka's producer snapshot file: version (i16), CRC-32C of what follows it (u32), entries.
//!
//! Kafka keeps one entry a producer, so that after a restart it knows only the last batch. We write the older batches of the
//! window as further entries of the same producer before it: Kafka's reader lets the last entry of an id win, ours takes all,
//! and a retried batch finds its offset after a restart too.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::records::crc32c;
use types::{Offset, ProducerEpoch, ProducerId, Wall};

use super::{BatchRange, ProducerEntry, ProducerState};
use crate::SnapshotError;

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 2 + 4 + 4;
const ENTRY_BYTES: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;

impl ProducerState {
    /// The state as the content of a `.snapshot` file.
    pub fn encode_snapshot(&self) -> Bytes {
        let entries: usize = self
            .entries()
            .map(|(_, entry)| entry.batches().len().max(1))
            .sum();
        let mut body = BytesMut::with_capacity(4 + entries * ENTRY_BYTES);
        body.put_i32(i32::try_from(entries).expect("a partition has fewer than 2^31 producers"));
        for (producer_id, entry) in self.entries() {
            put_producer(&mut body, producer_id, entry);
        }
        let mut file = BytesMut::with_capacity(2 + 4 + body.len());
        file.put_i16(VERSION);
        file.put_u32(crc32c(&body));
        file.put_slice(&body);
        file.freeze()
    }

    /// Reads a `.snapshot` file that was taken at `snapshot_offset`: nothing in it may lie at or above that. `loaded` is the
    /// wall time of the load: expiry counts from it.
    pub fn decode_snapshot(
        file: &[u8],
        snapshot_offset: Offset,
        loaded: Wall,
    ) -> Result<ProducerState, SnapshotError> {
        let length = SnapshotError::Length { bytes: file.len() };
        let version = i16::from_be_bytes(*file.first_chunk().ok_or(length.clone())?);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        if file.len() < HEADER_BYTES || !(file.len() - HEADER_BYTES).is_multiple_of(ENTRY_BYTES) {
            return Err(length);
        }
        let (mut header, body) = file[2..].split_at(4);
        let (stored, computed) = (header.get_u32(), crc32c(body));
        if stored != computed {
            return Err(SnapshotError::Crc { stored, computed });
        }
        let (mut announced, entries) = body.split_at(4);
        if usize::try_from(announced.get_i32()) != Ok(entries.len() / ENTRY_BYTES) {
            return Err(length);
        }
        let mut state = ProducerState::new();
        for mut bytes in entries.chunks_exact(ENTRY_BYTES) {
            state.take_in(SnapshotEntry::read(&mut bytes), snapshot_offset, loaded)?;
        }
        state.check();
        Ok(state)
    }

    fn take_in(
        &mut self,
        read: SnapshotEntry,
        snapshot_offset: Offset,
        loaded: Wall,
    ) -> Result<(), SnapshotError> {
        read.validate(snapshot_offset)?;
        let older = self.producers.get(&read.producer_id);
        let continues = older.is_some_and(|older| read.continues(older));
        if older.is_some() && !continues {
            return Err(SnapshotError::Entry(read.producer_id));
        }
        let entry = self.producers.entry(read.producer_id).or_default();
        entry.producer_epoch = read.producer_epoch;
        entry.last_timestamp = read.timestamp;
        entry.coordinator_epoch = read.coordinator_epoch;
        entry.set_seen(loaded);
        if continues && types::planted!(WindowNotRebuilt) {
            entry.forget_batches();
        }
        if read.last_offset >= 0 {
            entry.push(read.range());
        }
        if read.current_txn_first_offset >= 0 && !continues {
            entry.current_txn_first_offset = Some(read.current_txn_first_offset);
            if self
                .transactions
                .open()
                .any(|(first, _)| first == read.current_txn_first_offset)
            {
                return Err(SnapshotError::Entry(read.producer_id));
            }
            self.transactions
                .begin(read.producer_id, read.current_txn_first_offset);
        }
        Ok(())
    }
}

/// One entry of the file.
#[derive(Clone, Copy, Debug)]
struct SnapshotEntry {
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    last_sequence: i32,
    last_offset: Offset,
    offset_delta: i32,
    timestamp: i64,
    coordinator_epoch: i32,
    current_txn_first_offset: Offset,
}

impl SnapshotEntry {
    fn read(bytes: &mut &[u8]) -> SnapshotEntry {
        SnapshotEntry {
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            last_sequence: bytes.get_i32(),
            last_offset: bytes.get_i64(),
            offset_delta: bytes.get_i32(),
            timestamp: bytes.get_i64(),
            coordinator_epoch: bytes.get_i32(),
            current_txn_first_offset: bytes.get_i64(),
        }
    }

    fn write(&self, body: &mut BytesMut) {
        body.put_i64(self.producer_id);
        body.put_i16(self.producer_epoch);
        body.put_i32(self.last_sequence);
        body.put_i64(self.last_offset);
        body.put_i32(self.offset_delta);
        body.put_i64(self.timestamp);
        body.put_i32(self.coordinator_epoch);
        body.put_i64(self.current_txn_first_offset);
    }

    fn range(&self) -> BatchRange {
        BatchRange {
            last_sequence: self.last_sequence,
            last_offset: self.last_offset,
            offset_delta: self.offset_delta,
            timestamp: self.timestamp,
        }
    }

    fn validate(&self, snapshot_offset: Offset) -> Result<(), SnapshotError> {
        let batch_fits = self.last_offset < 0
            || (self.offset_delta >= 0
                && i64::from(self.offset_delta) <= self.last_offset
                && (self.last_offset < snapshot_offset
                    || types::plant_chosen!(SnapshotBeyondOffset)));
        let fits = self.producer_id >= 0
            && self.producer_epoch >= 0
            && batch_fits
            && self.current_txn_first_offset < snapshot_offset;
        if fits {
            Ok(())
        } else {
            Err(SnapshotError::Entry(self.producer_id))
        }
    }

    /// Whether this is the next batch of `older`'s window.
    fn continues(&self, older: &ProducerEntry) -> bool {
        self.producer_epoch == older.producer_epoch
            && self.last_offset >= 0
            && older
                .last_offset()
                .is_some_and(|last| last < self.range().base_offset())
            && self.coordinator_epoch == older.coordinator_epoch
            && self.current_txn_first_offset == older.current_txn_first_offset.unwrap_or(-1)
    }
}

/// The producer's batches, oldest first, or one entry without a batch. The timestamp of the last one is the producer's own;
/// no older one is later, so that a reader which drops expired entries one by one never keeps an old one alone.
fn put_producer(body: &mut BytesMut, producer_id: ProducerId, entry: &ProducerEntry) {
    let none = [BatchRange {
        last_sequence: -1,
        last_offset: -1,
        offset_delta: 0,
        timestamp: -1,
    }];
    let ranges = if entry.batches().is_empty() {
        &none
    } else {
        entry.batches()
    };
    for (index, range) in ranges.iter().enumerate() {
        let timestamp = if index + 1 == ranges.len() {
            entry.last_timestamp
        } else {
            range.timestamp.min(entry.last_timestamp)
        };
        let entry = SnapshotEntry {
            producer_id,
            producer_epoch: entry.producer_epoch,
            last_sequence: range.last_sequence,
            last_offset: range.last_offset,
            offset_delta: range.offset_delta,
            timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_first_offset: entry.current_txn_first_offset.unwrap_or(-1),
        };
        entry.write(body);
    }
}
