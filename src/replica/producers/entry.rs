//! What is known of one producer.

use types::{Offset, ProducerEpoch, Wall};

use super::{add_to_sequence, subtract_from_sequence};
use crate::{BatchSummary, ControlMarker};

/// Batches remembered for each producer: as many as a client may have in flight (KAFKA-5494).
const WINDOW: usize = 5;

/// Where one remembered batch lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BatchRange {
    /// Sequence of its last record; -1 if its records have none.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset minus first offset.
    pub offset_delta: i32,
    /// Largest timestamp in it, in milliseconds.
    pub timestamp: i64,
}

impl BatchRange {
    /// Offset of its first record.
    pub fn base_offset(&self) -> Offset {
        self.last_offset - Offset::from(self.offset_delta)
    }

    /// Sequence of its first record; -1 if its records have none.
    pub fn base_sequence(&self) -> i32 {
        if self.last_sequence < 0 {
            return -1;
        }
        subtract_from_sequence(self.last_sequence, self.offset_delta)
    }
}

/// What is known of one producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerEntry {
    /// Its newest epoch; -1 before the first batch.
    pub producer_epoch: ProducerEpoch,
    /// Timestamp of its last batch or marker in milliseconds; -1 before the first.
    pub last_timestamp: i64,
    /// Epoch of the coordinator that wrote its last marker; -1 if none did.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub current_txn_first_offset: Option<Offset>,
    /// Wall time at which this process last took in something of it: not part of the log, only of expiry.
    seen: Wall,
    // Oldest first, of the newest epoch only.
    window: [BatchRange; WINDOW],
    window_len: u8,
}

impl Default for ProducerEntry {
    fn default() -> ProducerEntry {
        ProducerEntry {
            producer_epoch: -1,
            last_timestamp: -1,
            coordinator_epoch: -1,
            current_txn_first_offset: None,
            seen: Wall::default(),
            window: [BatchRange::default(); WINDOW],
            window_len: 0,
        }
    }
}

impl ProducerEntry {
    /// The last batches of its newest epoch, oldest first, at most five.
    pub fn batches(&self) -> &[BatchRange] {
        &self.window[..usize::from(self.window_len)]
    }

    /// The last sequence, -1 if none in this epoch.
    pub fn last_sequence(&self) -> i32 {
        self.batches()
            .last()
            .map_or(-1, |range| range.last_sequence)
    }

    /// Offset of the last record, if any in this epoch.
    pub fn last_offset(&self) -> Option<Offset> {
        self.batches().last().map(|range| range.last_offset)
    }

    /// Equal in all that the log determines; the time it was last seen here is left out.
    pub fn same_as(&self, other: &ProducerEntry) -> bool {
        let seen = self.seen;
        *self
            == ProducerEntry {
                seen,
                ..other.clone()
            }
    }

    pub(super) fn find_duplicate(&self, batch: &BatchSummary) -> Option<BatchRange> {
        if batch.producer_epoch != self.producer_epoch {
            return None;
        }
        let last_sequence = batch.last_sequence();
        let same = |range: &&BatchRange| {
            range.last_sequence == last_sequence && range.base_sequence() == batch.base_sequence
        };
        self.batches().iter().find(same).copied()
    }

    pub(super) fn append(&mut self, base_offset: Offset, batch: &BatchSummary, seen: Wall) {
        assert!(
            batch.last_offset_delta >= 0,
            "a batch ends before it begins"
        );
        assert!(
            self.last_offset().is_none_or(|last| last < base_offset),
            "a batch at {base_offset} overlaps the producer's last one"
        );
        self.move_to_epoch(batch.producer_epoch);
        self.push(BatchRange {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(base_offset),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        self.last_timestamp = batch.max_timestamp;
        self.seen = seen;
    }

    pub(super) fn end_transaction(
        &mut self,
        producer_epoch: ProducerEpoch,
        marker: ControlMarker,
        seen: Wall,
    ) {
        self.move_to_epoch(producer_epoch);
        self.current_txn_first_offset = None;
        self.coordinator_epoch = marker.coordinator_epoch;
        self.last_timestamp = marker.timestamp;
        self.seen = seen;
    }

    pub(super) fn push(&mut self, range: BatchRange) {
        if usize::from(self.window_len) == WINDOW {
            self.window.rotate_left(1);
            self.window_len -= 1;
        }
        self.window[usize::from(self.window_len)] = range;
        self.window_len += 1;
    }

    /// Forgets the window: only what comes after is known.
    pub(super) fn forget_batches(&mut self) {
        self.window = [BatchRange::default(); WINDOW];
        self.window_len = 0;
    }

    // The window is of one epoch: sequences begin again in the next.
    fn move_to_epoch(&mut self, producer_epoch: ProducerEpoch) {
        if self.producer_epoch != producer_epoch {
            self.producer_epoch = producer_epoch;
            self.forget_batches();
        }
    }

    pub(super) fn set_seen(&mut self, seen: Wall) {
        self.seen = seen;
    }

    // Record timestamps come from clients and may lie far back, so the time it was seen here counts too.
    pub(super) fn is_idle(&self, now: Wall, expiration_ms: i64) -> bool {
        let last = self.seen.max(Wall::from_millis(self.last_timestamp));
        now - last >= expiration_ms
    }

    pub(super) fn check(&self) {
        assert!(self.producer_epoch >= 0, "a known producer has an epoch");
        for (older, newer) in self.batches().iter().zip(self.batches().iter().skip(1)) {
            assert!(
                older.last_offset < newer.base_offset(),
                "a producer's batches overlap: {older:?}, {newer:?}"
            );
        }
        for range in self.batches() {
            assert!(
                range.offset_delta >= 0,
                "a batch ends before it begins: {range:?}"
            );
            assert!(
                range.last_sequence < 0
                    || add_to_sequence(range.base_sequence(), range.offset_delta)
                        == range.last_sequence,
                "sequence arithmetic does not invert: {range:?}"
            );
        }
    }
}
