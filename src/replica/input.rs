//! What a replica is told.

use types::{LeaderEpoch, Mono, NodeId, Offset};

use crate::{AppendError, BatchSummary, ReplicaConfig};

/// What a producer wants to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// Nothing: no answer unless it fails.
    None,
    /// The leader's write.
    Leader,
    /// Every member of the in-sync replica set, in the topic's durability class.
    All,
}

impl Acks {
    /// The wire's number: 0, 1 or -1; anything else is `INVALID_REQUIRED_ACKS`, which the handler answers.
    pub fn from_wire(acks: i16) -> Option<Acks> {
        match acks {
            0 => Some(Acks::None),
            1 => Some(Acks::Leader),
            -1 => Some(Acks::All),
            _ => None,
        }
    }
}

/// One batch that a client, or a coordinator of this node, wants appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Produce {
    /// The driver's name for it; unique among what is parked.
    pub token: u64,
    /// What its answer waits for.
    pub acks: Acks,
    /// The leader epoch it was meant for, if the sender knows it.
    pub expected_leader_epoch: Option<LeaderEpoch>,
    /// When to answer `REQUEST_TIMED_OUT`; [`Mono::NEVER`] to wait for ever.
    pub deadline: Mono,
    /// The batch.
    pub batch: BatchSummary,
}

/// The metadata's word that this replica leads the partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// The leader epoch; never lower than one seen before.
    pub epoch: LeaderEpoch,
    /// All assigned replicas, this node among them.
    pub replicas: Vec<NodeId>,
    /// The committed in-sync replica set, this node among them.
    pub isr: Vec<NodeId>,
}

/// What a replica is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The metadata says that this replica leads.
    BecomeLeader(Leadership),
    /// The metadata says that it no longer does, or that the partition is going away.
    LeadershipLost,
    /// A client's batch: its sequence is checked.
    Produce(Produce),
    /// A coordinator's batch on this node: no sequence is checked, and the leader epoch it was decided in must still hold.
    InternalAppend(Produce),
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
    /// The log can no longer be trusted (a failed write, read or sync): its directory closes.
    LogFailed,
    /// The log's start moved up and that is durable: by retention, or as asked by [`crate::Action::AdvanceLogStart`].
    LogStartMoved {
        /// The new start.
        log_start: Offset,
    },
    /// A client wants everything below `offset` deleted.
    DeleteRecords {
        /// The driver's name for it; unique among what is parked.
        token: u64,
        /// The new log start; -1 means the high watermark.
        offset: Offset,
        /// When to answer `REQUEST_TIMED_OUT`.
        deadline: Mono,
    },
    /// The topic's configuration changed.
    ConfigChanged(ReplicaConfig),
    /// Time has passed [`crate::Replica::deadline`].
    Tick,
}
