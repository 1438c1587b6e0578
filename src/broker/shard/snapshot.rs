//! What a connection is told of a partition, so that it can read by itself.

use std::sync::Arc;

use replica::{EpochHistory, Isolation};
use storage::LogView;
use types::{ErrorCode, LeaderEpoch, Offset, TopicPartition};

use super::waiters::FetchWaiter;
use super::Shard;

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
}

impl PartitionSnapshot {
    /// The epoch of the record at `offset`, -1 if it is not known.
    pub fn epoch_of(&self, offset: Offset) -> LeaderEpoch {
        let epochs = self.epochs.as_ref();
        epochs.and_then(|epochs| epochs.epoch_of(offset)).unwrap_or(-1)
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
        let leader_epoch =
            slot.replica.check_leader_epoch(expected).map_err(|error| error.code())?;
        if let Some(waiter) = waiter {
            slot.waiters.register(waiter);
        }
        let state = slot.replica.view();
        let diverging = query.last_fetched.and_then(|(epoch, offset)| {
            let end = slot.replica.epochs().end_offset_for_epoch(epoch, state.log_end);
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
        })
    }
}
