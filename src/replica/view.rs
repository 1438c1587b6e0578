//! What observers see: every step, before its actions leave the node.

use types::{LeaderEpoch, NodeId, Offset};

use crate::{Durability, EpochHistory, ProducerState};

/// A replica's role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoleView {
    /// It leads nothing and follows nobody.
    Idle,
    /// It leads in this epoch.
    Leader {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The log's end when the epoch began.
        epoch_start: Offset,
    },
    /// Its log is closed after a storage failure.
    Failed,
}

/// A borrowed look at a replica's state.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaView<'a> {
    /// This node.
    pub node: NodeId,
    /// Its role.
    pub role: RoleView,
    /// The newest leader epoch it has seen, whoever led; -1 before the first.
    pub leader_epoch: LeaderEpoch,
    /// When a record counts as held by this replica.
    pub durability: Durability,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// The end of what is flushed.
    pub flushed: Offset,
    /// The end of what is written.
    pub log_end: Offset,
    /// The end of what has an offset, written or not.
    pub assigned_end: Offset,
    /// The end of what is visible.
    pub high_watermark: Offset,
    /// The end of what is visible to readers of committed data.
    pub last_stable: Offset,
    /// Which epoch began where.
    pub epochs: &'a EpochHistory,
    /// The committed ISR; empty unless leader.
    pub isr: &'a [NodeId],
    /// What acknowledgements wait for; empty unless leader.
    pub maximal_isr: &'a [NodeId],
    /// Members of the ISR without which nothing is accepted or shown.
    pub min_insync_replicas: u32,
    /// Producers, batches included that are assigned but not written.
    pub producers: &'a ProducerState,
    /// Requests that wait for an answer.
    pub parked: usize,
    /// The log's truncation generation.
    pub generation: u64,
}
