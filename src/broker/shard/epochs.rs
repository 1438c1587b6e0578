//! Epoch histories on disk: an epoch is written down, durably, before the proven offset passes its start.
//!
//! Until then recovery finds it in the batches. So a new leader costs a partition nothing before somebody produces to
//! it, and then one small file.

use replica::EpochEntry;
use storage::{LogJob, WriteError};
use types::{LeaderEpoch, Now, Offset, TopicPartition};

use super::Shard;
use super::slot::{Job, Slot};

/// How many histories a shard begins to write in one round. The others wait for the next: a recovery in between reads
/// their batches.
const WRITTEN_A_ROUND: usize = 64;

/// The writing of a history, and the newest epoch in it.
pub(super) type EpochsJob = (LeaderEpoch, LogJob<Result<(), WriteError>>);

impl Slot {
    /// Begins to write the history down as far as no crash can change it any more; nothing if that is written already.
    pub fn begin_write_epochs(&mut self) -> Option<EpochsJob> {
        let flushed_offset = self.log.flushed_offset();
        let is_settled = |entry: &EpochEntry| entry.start_offset < flushed_offset;
        let settled = self.replica.epochs().entries().filter(is_settled);
        let settled: Vec<(LeaderEpoch, Offset)> = settled
            .map(|entry| (entry.epoch, entry.start_offset))
            .collect();
        let &(newest, _) = settled.last()?;
        let is_new = newest > self.written_epoch;
        is_new.then(|| (newest, self.log.begin_write_epochs(settled)))
    }

    /// Notes up to which epoch the history is written down, and lets the proven offset go so far.
    pub fn epochs_written(&mut self, newest: LeaderEpoch) {
        self.written_epoch = newest;
        self.hold_proven_offset();
    }

    /// Keeps the proven offset at the first epoch that is not written down.
    pub fn hold_proven_offset(&mut self) {
        let mut entries = self.replica.epochs().entries();
        let unwritten = entries.find(|entry| entry.epoch > self.written_epoch);
        let from = unwritten.map(|entry| entry.start_offset);
        let is_passed = from.is_some() && types::planted!(EpochsProvenUnwritten);
        self.log.hold_proven_offset(from.filter(|_| !is_passed));
    }
}

impl Shard {
    /// Has the history of a partition be written down in the next round, if there are flushed records of an epoch that
    /// it lacks.
    pub(super) fn note_unwritten_epochs(&mut self, partition: TopicPartition) {
        let slot = self.slots.get(&partition);
        if slot.is_some_and(|slot| slot.log.is_proven_offset_held()) {
            self.unwritten_epochs.insert(partition);
        }
    }

    /// Begins to write down histories that lack an epoch.
    pub fn write_epochs(&mut self) {
        for _ in 0..WRITTEN_A_ROUND {
            let Some(partition) = self.unwritten_epochs.pop_first() else {
                return;
            };
            if let Some(slot) = self.slots.get_mut(&partition) {
                slot.push_job(Job::WriteEpochs);
                self.to_write.insert(partition);
            }
        }
    }

    pub(super) fn epochs_written(
        &mut self,
        now: Now,
        partition: TopicPartition,
        newest: LeaderEpoch,
        result: Result<(), WriteError>,
    ) {
        match result {
            Ok(()) => {
                let slot = self.slots.get_mut(&partition).expect("it has written");
                slot.epochs_written(newest);
            }
            Err(error) => self.write_failed(now, partition, &error),
        }
        self.note_unwritten_epochs(partition);
    }
}
