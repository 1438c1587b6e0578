//! Producer state: idempotence by sequence numbers (KIP-98, KIP-360) and which transactions are open.
//!
//! The state is a function of the log: [`ProducerState::replay`] of every batch, from the start or from a snapshot, gives what
//! the live state is after the same batches.

mod entry;
mod sequence;
mod snapshot;
mod transactions;

use std::collections::BTreeMap;

use types::{Offset, ProducerEpoch, ProducerId, Wall};

use crate::{BatchSummary, ControlMarker, ReplayError, SequenceError};

pub use entry::{BatchRange, ProducerEntry};
pub use sequence::{add_to_sequence, subtract_from_sequence};
pub use transactions::CompletedTransaction;

use sequence::follows;
use transactions::Transactions;

/// Who appends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A client: sequences and epochs are checked.
    Client,
    /// A coordinator of this node: epochs are checked.
    Coordinator,
}

/// What to do with a batch whose sequence was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SequenceVerdict {
    /// It is the next one: append it.
    Append,
    /// It was appended before, here: answer with this range's offsets.
    Duplicate(BatchRange),
}

/// One line of DescribeProducers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerDescription {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its newest epoch.
    pub producer_epoch: ProducerEpoch,
    /// The last sequence, -1 if none in this epoch.
    pub last_sequence: i32,
    /// Timestamp of its last batch or marker in milliseconds, -1 if none.
    pub last_timestamp: i64,
    /// Epoch of the coordinator that wrote its last marker, -1 if none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, -1 if none.
    pub current_txn_start_offset: Offset,
}

/// What the cleaner must keep for a producer: its last batch stays, emptied if need be, so that a rebuild finds the sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastBatch {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its newest epoch: without a batch, the last marker of this epoch stays.
    pub producer_epoch: ProducerEpoch,
    /// Last offset of its last batch.
    pub last_offset: Option<Offset>,
}

/// The producers of one partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducerState {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    transactions: Transactions,
}

impl ProducerState {
    /// No producer.
    pub fn new() -> ProducerState {
        ProducerState::default()
    }

    /// Producers that are known.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is known.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Every producer, by id.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.iter().map(|(&id, entry)| (id, entry))
    }

    /// What is known of a producer.
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// Judges a batch that carries a producer id; changes nothing.
    ///
    /// A batch with the epoch and exact range of one of the last five is a duplicate. An older epoch is refused. In the known
    /// epoch the sequence must follow the last one (or begin at 0 if only a marker was seen); in a newer epoch it must begin
    /// at 0. Of an unknown producer any first sequence is taken, because its records may have been deleted (KIP-360).
    pub fn judge(
        &self,
        batch: &BatchSummary,
        origin: Origin,
    ) -> Result<SequenceVerdict, SequenceError> {
        assert!(
            batch.has_producer_id(),
            "a batch without a producer has no sequence to judge"
        );
        let Some(entry) = self.producers.get(&batch.producer_id) else {
            return Ok(SequenceVerdict::Append);
        };
        if origin == Origin::Client
            && let Some(range) = entry.find_duplicate(batch)
            && (entry.batches().last() == Some(&range) || !types::planted!(WindowOfOne))
        {
            return Ok(if types::planted!(DuplicateAppended) {
                SequenceVerdict::Append
            } else {
                SequenceVerdict::Duplicate(range)
            });
        }
        if batch.producer_epoch < entry.producer_epoch {
            return Err(SequenceError::StaleEpoch {
                producer_id: batch.producer_id,
                producer_epoch: batch.producer_epoch,
                current_epoch: entry.producer_epoch,
            });
        }
        if origin == Origin::Client {
            judge_sequence(entry, batch)?;
        }
        match entry.current_txn_first_offset {
            Some(first_offset) if !batch.is_transactional => Err(SequenceError::TransactionOpen {
                producer_id: batch.producer_id,
                first_offset,
            }),
            _ => Ok(SequenceVerdict::Append),
        }
    }

    /// Takes in a batch that was judged [`SequenceVerdict::Append`] and lies at `base_offset`. What was known of its producer
    /// before is returned, for [`ProducerState::restore`].
    pub(crate) fn append(
        &mut self,
        base_offset: Offset,
        batch: &BatchSummary,
        seen: Wall,
    ) -> Option<ProducerEntry> {
        assert!(
            batch.has_producer_id(),
            "a batch without a producer has no state"
        );
        assert!(
            !batch.is_transactional && !batch.is_control,
            "transactions are only replayed, never appended by a client"
        );
        let before = self.producers.get(&batch.producer_id).cloned();
        let entry = self.producers.entry(batch.producer_id).or_default();
        entry.append(base_offset, batch, seen);
        before
    }

    /// Takes back the newest append of a producer.
    pub(crate) fn restore(&mut self, producer_id: ProducerId, before: Option<ProducerEntry>) {
        assert!(
            self.producers.contains_key(&producer_id),
            "producer {producer_id} has nothing to take back"
        );
        match before {
            Some(entry) => {
                assert!(
                    entry.producer_epoch <= self.producers[&producer_id].producer_epoch,
                    "producer {producer_id}: taking back an append raises its epoch"
                );
                self.producers.insert(producer_id, entry);
            }
            None => {
                self.producers.remove(&producer_id);
            }
        }
    }

    /// Takes in a batch found in the log, without judging sequences or epochs: it was accepted once. `marker` is the body of
    /// a control batch's record; an emptied control batch has none and changes nothing. `loaded` is the wall time of the
    /// load: expiry counts from it. A completed transaction belongs into the log's transaction index if it was aborted.
    pub fn replay(
        &mut self,
        base_offset: Offset,
        batch: &BatchSummary,
        marker: Option<ControlMarker>,
        loaded: Wall,
    ) -> Result<Option<CompletedTransaction>, ReplayError> {
        assert!(
            base_offset >= 0,
            "a batch lies at offset 0 or above, not at {base_offset}"
        );
        if !batch.has_producer_id() {
            return Ok(None);
        }
        if batch.is_control {
            return match marker {
                Some(marker) => Ok(self.replay_marker(base_offset, batch, marker, loaded)),
                None if batch.record_count == 0 => Ok(None),
                None => Err(ReplayError::MarkerMissing {
                    offset: base_offset,
                }),
            };
        }
        let entry = self.producers.entry(batch.producer_id).or_default();
        if let Some(first_offset) = entry.current_txn_first_offset
            && !batch.is_transactional
        {
            return Err(ReplayError::PlainBatchInTransaction {
                offset: base_offset,
                producer_id: batch.producer_id,
                first_offset,
            });
        }
        entry.append(base_offset, batch, loaded);
        if batch.is_transactional && entry.current_txn_first_offset.is_none() {
            entry.current_txn_first_offset = Some(base_offset);
            self.transactions.begin(batch.producer_id, base_offset);
        }
        Ok(None)
    }

    fn replay_marker(
        &mut self,
        offset: Offset,
        batch: &BatchSummary,
        marker: ControlMarker,
        loaded: Wall,
    ) -> Option<CompletedTransaction> {
        let entry = self.producers.entry(batch.producer_id).or_default();
        let first_offset = entry.current_txn_first_offset;
        entry.end_transaction(batch.producer_epoch, marker, loaded);
        // A marker without data moves no last stable offset and has no place in the transaction index.
        first_offset.map(|first_offset| {
            self.transactions
                .complete(batch.producer_id, first_offset, offset, marker.kind)
        })
    }

    /// First offset of the oldest transaction that is open, or whose marker is not below the high watermark.
    pub fn first_undecided_offset(&self) -> Option<Offset> {
        self.transactions.first_undecided_offset()
    }

    /// Transactions whose marker lies below `high_watermark` are decided for every reader.
    pub(crate) fn decide_below(&mut self, high_watermark: Offset) {
        self.transactions.decide_below(high_watermark);
    }

    /// Forgets who has been idle for `expiration_ms` by the wall clock: no batch, no load, no open transaction, and nothing
    /// at or above `settled_end`, which may yet be taken back. How many were forgotten.
    pub(crate) fn expire(&mut self, now: Wall, expiration_ms: i64, settled_end: Offset) -> usize {
        assert!(
            expiration_ms > 0,
            "producer ids live for more than {expiration_ms} ms"
        );
        let before = self.producers.len();
        self.producers.retain(|_, entry| {
            entry.current_txn_first_offset.is_some()
                || entry
                    .last_offset()
                    .is_some_and(|offset| offset >= settled_end)
                || !entry.is_idle(now, expiration_ms)
        });
        before - self.producers.len()
    }

    /// Whether all that is known of some producer lies below `offset`.
    pub(crate) fn has_only_below(&self, offset: Offset) -> bool {
        self.producers
            .values()
            .any(|entry| entry.last_offset().is_some_and(|last| last < offset))
    }

    /// Forgets producers of whom nothing is known at or above `offset`.
    pub(crate) fn forget_below(&mut self, offset: Offset) {
        self.producers
            .retain(|_, entry| entry.last_offset().is_none_or(|last| last >= offset));
    }

    /// Every producer, as DescribeProducers answers, by id.
    pub fn describe(&self) -> impl ExactSizeIterator<Item = ProducerDescription> + '_ {
        self.entries()
            .map(|(producer_id, entry)| ProducerDescription {
                producer_id,
                producer_epoch: entry.producer_epoch,
                last_sequence: entry.last_sequence(),
                last_timestamp: entry.last_timestamp,
                coordinator_epoch: entry.coordinator_epoch,
                current_txn_start_offset: entry.current_txn_first_offset.unwrap_or(-1),
            })
    }

    /// What the cleaner must keep, by producer id.
    pub fn last_batches(&self) -> impl ExactSizeIterator<Item = LastBatch> + '_ {
        self.entries().map(|(producer_id, entry)| LastBatch {
            producer_id,
            producer_epoch: entry.producer_epoch,
            last_offset: entry.last_offset(),
        })
    }

    /// Panics if an entry contradicts itself or the open transactions.
    pub fn check(&self) {
        for (id, entry) in &self.producers {
            assert!(*id >= 0, "producer id {id} is negative");
            entry.check();
        }
        let mut open: Vec<_> = self
            .producers
            .iter()
            .filter_map(|(&id, entry)| entry.current_txn_first_offset.map(|first| (first, id)))
            .collect();
        open.sort_unstable();
        assert_eq!(
            open,
            self.transactions.open().collect::<Vec<_>>(),
            "open transactions differ between producers and the index"
        );
    }
}

fn judge_sequence(entry: &ProducerEntry, batch: &BatchSummary) -> Result<(), SequenceError> {
    let last_sequence = if batch.producer_epoch == entry.producer_epoch {
        entry.last_sequence()
    } else {
        -1
    };
    if entry.producer_epoch < 0 || follows(last_sequence, batch.base_sequence) {
        return Ok(());
    }
    Err(SequenceError::OutOfOrder {
        producer_id: batch.producer_id,
        producer_epoch: batch.producer_epoch,
        base_sequence: batch.base_sequence,
        last_sequence,
    })
}

#[cfg(test)]
mod tests;
