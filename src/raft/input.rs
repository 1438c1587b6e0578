//! What the quorum machine is told.

use types::{LeaderEpoch, Offset};

use crate::{QuorumState, SnapshotId};

/// Why an append is not in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// No space: the log was cut back to its last whole batch and stays open.
    NoSpace,
    /// As [`AppendError::NoSpace`], and the controller decides one thing at a time: nothing was decided upon what is
    /// lost, so the leader stays. The append that begins an epoch cannot be lost so; then it is as above.
    NoSpaceSingle,
    /// Any other failure: the log is closed.
    Failed,
}

/// What the quorum machine is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The node has recovered its log and begins. Once, first.
    Start,
    /// `quorum-state` holds this durably.
    StatePersisted(QuorumState),
    /// The controller wants a batch of records appended. It is atomic: all or nothing is ever committed.
    Propose {
        /// The driver's name for it.
        token: u64,
        /// The epoch in which the controller decided it.
        epoch: LeaderEpoch,
        /// Records in the batch, 1 or more.
        record_count: i32,
        /// Its size in the log, in bytes.
        size_bytes: u32,
    },
    /// The log now holds everything below `end_offset`.
    Appended {
        /// The log's end.
        end_offset: Offset,
    },
    /// The append that starts at `from_offset` is not in the log, nor is anything after it.
    AppendFailed {
        /// Where the log ends.
        from_offset: Offset,
        /// The log's truncation generation after it was cut back.
        generation: u64,
        /// Why.
        error: AppendError,
    },
    /// A flush ended well: everything below `end_offset` is on stable storage.
    Flushed {
        /// The log's end when the flush began.
        end_offset: Offset,
        /// The log's truncation generation when the flush began.
        generation: u64,
    },
    /// The log or `quorum-state` can no longer be trusted: the process is about to end.
    LogFailed,
    /// The snapshot is durable under its name.
    SnapshotWritten(SnapshotId),
    /// The snapshot could not be written; it is tried again when the next one is due.
    SnapshotFailed(SnapshotId),
    /// The log's start moved, as asked by [`crate::Action::AdvanceLogStart`].
    LogStartMoved {
        /// The new start.
        log_start: Offset,
    },
    /// The node stops: give leadership up.
    Resign,
    /// Time has passed [`crate::Quorum::deadline`].
    Tick,
}
