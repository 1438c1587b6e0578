//! What the quorum machine wants done.

use std::fmt;

use thiserror::Error;
use types::{ErrorCode, LeaderEpoch, Note, Offset};

use crate::{ControlRecord, QuorumState, SnapshotId};

/// Why a proposal was not appended, or will not be committed by this leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ProposeError {
    /// This node does not lead the quorum, or not in the epoch the proposal was decided in.
    #[error("this node does not lead the quorum in epoch {epoch}")]
    NotLeader {
        /// The proposal's.
        epoch: LeaderEpoch,
    },
}

impl ProposeError {
    /// Kafka's code.
    pub fn code(&self) -> ErrorCode {
        match self {
            ProposeError::NotLeader { .. } => ErrorCode::NotController,
        }
    }
}

/// What the quorum machine wants done, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Make `quorum-state` hold this durably, then report [`crate::Input::StatePersisted`].
    PersistState(QuorumState),
    /// Append one control batch with these records.
    AppendControl {
        /// Offset of its first record.
        base_offset: Offset,
        /// The epoch to write into the header.
        leader_epoch: LeaderEpoch,
        /// Timestamp of the batch and its records, wall milliseconds.
        timestamp: i64,
        /// Its records.
        records: Vec<ControlRecord>,
    },
    /// Append the batch of `token`.
    Append {
        /// Whose.
        token: u64,
        /// Offset of its first record.
        base_offset: Offset,
        /// The epoch to write into the header.
        leader_epoch: LeaderEpoch,
    },
    /// Throw away every append not yet written; all lie at or above `from_offset`.
    DropAppends {
        /// Where the log ends.
        from_offset: Offset,
    },
    /// A proposal was refused: nothing was appended.
    Refuse {
        /// Whose.
        token: u64,
        /// Why.
        error: ProposeError,
    },
    /// Flush the log; acknowledgements wait for it.
    NeedFlush,
    /// Everything below `up_to` is committed, for ever: apply it.
    Commit {
        /// The high watermark.
        up_to: Offset,
    },
    /// This node leads in `epoch`, and everything up to the start of the epoch is committed: the controller may decide.
    LeadershipGained {
        /// The epoch; proposals name it.
        epoch: LeaderEpoch,
    },
    /// This node led in `epoch` and no longer does: the controller forgets what is not committed and answers nothing more.
    /// What was proposed may or may not be committed by a later leader.
    LeadershipLost {
        /// The epoch.
        epoch: LeaderEpoch,
    },
    /// Write a snapshot of the image, which stands at exactly this end offset; report how it went.
    TakeSnapshot(SnapshotId),
    /// Move the log's start up to `offset`, the end of a snapshot that stays; report [`crate::Input::LogStartMoved`].
    AdvanceLogStart {
        /// The new start.
        offset: Offset,
    },
    /// Snapshots that end below `end_offset` are of no more use.
    DeleteSnapshotsBefore {
        /// End offset of the oldest that stays.
        end_offset: Offset,
    },
    /// Something worth a line in a trace, a transcript, a coverage mark.
    Note(Note),
}

/// The actions of one or more steps, in order.
pub type Actions = types::Actions<Action>;

impl From<Note> for Action {
    fn from(note: Note) -> Action {
        Action::Note(note)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::PersistState(state) => write!(f, "persist {}", state.encode()),
            Action::AppendControl {
                base_offset,
                leader_epoch,
                records,
                ..
            } => {
                write!(f, "append at {base_offset}, epoch {leader_epoch}:")?;
                records
                    .iter()
                    .try_for_each(|record| write!(f, " {:?}", record.kind()))
            }
            Action::Append {
                token,
                base_offset,
                leader_epoch,
            } => {
                write!(f, "append {token} at {base_offset}, epoch {leader_epoch}")
            }
            Action::DropAppends { from_offset } => write!(f, "drop appends from {from_offset}"),
            Action::Refuse { token, error } => {
                write!(f, "refuse {token}: {}: {error}", error.code())
            }
            Action::NeedFlush => f.write_str("need flush"),
            Action::Commit { up_to } => write!(f, "commit up to {up_to}"),
            Action::LeadershipGained { epoch } => write!(f, "leadership gained, epoch {epoch}"),
            Action::LeadershipLost { epoch } => write!(f, "leadership lost, epoch {epoch}"),
            Action::TakeSnapshot(id) => write!(f, "take snapshot {id}"),
            Action::AdvanceLogStart { offset } => write!(f, "advance log start to {offset}"),
            Action::DeleteSnapshotsBefore { end_offset } => {
                write!(f, "delete snapshots before {end_offset}")
            }
            Action::Note(note) => note.fmt(f),
        }
    }
}
