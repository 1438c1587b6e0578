//! What a replica wants done.

use std::fmt;

use types::{LeaderEpoch, Note, Offset};

use crate::{DeleteRecordsError, ProduceError};

/// The answer to a batch that was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProduceOk {
    /// Offset of its first record; for a duplicate, that of the first append.
    pub base_offset: Offset,
    /// The broker's append time in milliseconds, if the topic stamps it.
    pub log_append_time: Option<i64>,
    /// The log's start when the answer was given.
    pub log_start_offset: Offset,
}

/// What a replica wants done, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Write the batch of `token` at exactly `base_offset`, with `leader_epoch` in its header.
    Append {
        /// Whose batch.
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
    /// Answer a produce.
    Reply {
        /// Whose.
        token: u64,
        /// The answer.
        result: Result<ProduceOk, ProduceError>,
    },
    /// Move the log's start up to `offset`, make that durable, then report [`crate::Input::LogStartMoved`].
    AdvanceLogStart {
        /// The new start.
        offset: Offset,
    },
    /// Answer a deletion.
    ReplyDeleteRecords {
        /// Whose.
        token: u64,
        /// The low watermark, or why not.
        result: Result<Offset, DeleteRecordsError>,
    },
    /// The high watermark moved: publish it, wake who waits for data.
    HighWatermark {
        /// Its new value.
        offset: Offset,
    },
    /// The last stable offset moved: publish it, wake who waits for committed data.
    LastStable {
        /// Its new value.
        offset: Offset,
    },
    /// Flush the log. It is a state, not a count: one flush that begins after this covers every such action before it.
    NeedFlush {
        /// Whether answers or visibility wait for it; otherwise it may be done in the background.
        awaited: bool,
    },
    /// [`crate::Replica::epochs`] has changed: it is to be written down before a recovery can miss what is new in it.
    WriteEpochs,
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
            Action::Append {
                token,
                base_offset,
                leader_epoch,
            } => {
                write!(f, "append {token} at {base_offset}, epoch {leader_epoch}")
            }
            Action::DropAppends { from_offset } => write!(f, "drop appends from {from_offset}"),
            Action::Reply {
                token,
                result: Ok(ok),
            } => {
                write!(f, "reply {token}: offset {}", ok.base_offset)?;
                if let Some(time) = ok.log_append_time {
                    write!(f, ", append time {time}")?;
                }
                match ok.log_start_offset {
                    0 => Ok(()),
                    start => write!(f, ", log start {start}"),
                }
            }
            Action::Reply {
                token,
                result: Err(error),
            } => {
                write!(f, "reply {token}: {}: {error}", error.code())
            }
            Action::AdvanceLogStart { offset } => write!(f, "advance log start to {offset}"),
            Action::ReplyDeleteRecords {
                token,
                result: Ok(low),
            } => {
                write!(f, "reply deletion {token}: low watermark {low}")
            }
            Action::ReplyDeleteRecords {
                token,
                result: Err(error),
            } => {
                write!(f, "reply deletion {token}: {}: {error}", error.code())
            }
            Action::HighWatermark { offset } => write!(f, "high watermark {offset}"),
            Action::LastStable { offset } => write!(f, "last stable {offset}"),
            Action::NeedFlush { awaited: true } => f.write_str("need flush"),
            Action::NeedFlush { awaited: false } => f.write_str("need flush, nobody waits"),
            Action::WriteEpochs => f.write_str("write epochs"),
            Action::Note(note) => note.fmt(f),
        }
    }
}
