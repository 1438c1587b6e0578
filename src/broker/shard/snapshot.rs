//! What a connection is told of a partition, so that it can read by itself.

use std::sync::Arc;

use replica::{EpochEnd, EpochHistory, Input, Isolation, ProducerDescription};
use storage::LogView;
use types::{ErrorCode, LeaderEpoch, Mono, Now, Offset, TopicPartition};

use super::Shard;
use super::replies::DeleteRecordsSender;
use super::waiters::FetchWaiter;
use crate::metrics::Traffic;

/// What is asked of a partition.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotQuery {
    /// Which.
    pub partition: TopicPartition,
    /// The leader epoch that the client knows, or -1.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record that the client has and the offset that it reads from, to find out whether its log
    /// has parted from ours (KIP-595).
    pub last_fetched: Option<(LeaderEpoch, Offset)>,
    /// Whether the epoch history is wanted too.
    pub wants_epochs: bool,
}

/// A partition at one moment.
#[derive(Debug, Clone)]
pub struct PartitionSnapshot {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// First offset.
    pub log_start_offset: Offset,
    /// End of what readers see.
    pub high_watermark: Offset,
    /// End of what readers of committed data see.
    pub last_stable_offset: Offset,
    /// End of the log.
    pub log_end_offset: Offset,
    /// Epoch and end offset at which the client's log parts from ours, if it does.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Which epoch began where, if it was asked for.
    pub epochs: Option<EpochHistory>,
    /// The log, to read from.
    pub view: LogView,
    /// What clients do with the topic, to be counted.
    pub traffic: Arc<Traffic>,
}

impl PartitionSnapshot {
    /// Where a reader of this isolation must stop.
    pub fn bound(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset,
        }
    }

    /// The epoch of the record at `offset`, -1 if it is not known.
    pub fn epoch_of(&self, offset: Offset) -> LeaderEpoch {
        let epochs = self.epochs.as_ref();
        epochs
            .and_then(|epochs| epochs.epoch_of(offset))
            .unwrap_or(-1)
    }
}

impl Shard {
    /// A partition at this moment. With `waiter`, it is woken when there is more to read than now.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, KAFKA_STORAGE_ERROR.
    pub fn snapshot(
        &mut self,
        query: SnapshotQuery,
        waiter: Option<&Arc<FetchWaiter>>,
    ) -> Result<PartitionSnapshot, ErrorCode> {
        let missing = self.missing_error(query.partition);
        let slot = self.slots.get_mut(&query.partition).ok_or(missing)?;
        let expected = (query.current_leader_epoch >= 0).then_some(query.current_leader_epoch);
        let leader_epoch = slot
            .replica
            .check_leader_epoch(expected)
            .map_err(|error| error.code())?;
        if let Some(waiter) = waiter {
            slot.waiters.register(waiter);
        }
        let state = slot.replica.view();
        let diverging = query.last_fetched.and_then(|(epoch, offset)| {
            let end = slot
                .replica
                .epochs()
                .end_offset_for_epoch(epoch, state.log_end);
            let parts = end.epoch != epoch || end.end_offset < offset;
            parts.then_some((end.epoch, end.end_offset))
        });
        Ok(PartitionSnapshot {
            leader_epoch,
            log_start_offset: state.log_start,
            high_watermark: slot.replica.fetch_bound(Isolation::ReadUncommitted),
            last_stable_offset: slot.replica.fetch_bound(Isolation::ReadCommitted),
            log_end_offset: state.log_end,
            diverging,
            epochs: query.wants_epochs.then(|| slot.replica.epochs().clone()),
            view: slot.log.view(),
            traffic: Arc::clone(&slot.traffic),
        })
    }
}

impl Shard {
    /// The producers of a partition.
    ///
    /// # Errors
    /// As [`Shard::snapshot`].
    pub fn describe_producers(
        &self,
        partition: TopicPartition,
    ) -> Result<Vec<ProducerDescription>, ErrorCode> {
        let slot = self
            .slots
            .get(&partition)
            .ok_or_else(|| self.missing_error(partition))?;
        let described = slot
            .replica
            .describe_producers()
            .map_err(|error| error.code())?;
        Ok(described.collect())
    }

    /// Where `epoch` ended in a partition.
    ///
    /// # Errors
    /// As [`Shard::snapshot`].
    pub fn epoch_end(
        &self,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        expected: Option<LeaderEpoch>,
    ) -> Result<EpochEnd, ErrorCode> {
        let slot = self
            .slots
            .get(&partition)
            .ok_or_else(|| self.missing_error(partition))?;
        slot.replica
            .offset_for_leader_epoch(epoch, expected)
            .map_err(|error| error.code())
    }

    /// Moves a partition's log start up to `offset`, or to the high watermark for -1; `sender` gets the new log start.
    pub fn delete_records(
        &mut self,
        now: Now,
        partition: TopicPartition,
        offset: Offset,
        deadline: Mono,
        sender: DeleteRecordsSender,
    ) {
        if !self.slots.contains_key(&partition) {
            if self.fenced.contains_key(&partition) {
                // Whoever asked may be gone.
                let _ = sender.send(Err(replica::LeaderEpochError::StorageFailed.into()));
            }
            // A dropped sender is answered NOT_LEADER_OR_FOLLOWER.
            return;
        }
        let token = self.replies.park_deletion(sender);
        self.step(
            now,
            partition,
            Input::DeleteRecords {
                token,
                offset,
                deadline,
            },
        );
        self.handle_events(now);
    }
}
