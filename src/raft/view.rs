//! What observers and DescribeQuorum see.

use types::{LeaderEpoch, NodeId, Offset, Wall};

use crate::{QuorumState, SnapshotId, VoterHistory, VoterKey};

/// The node's role in the quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoleView {
    /// It knows no leader and asks for no votes.
    Unattached,
    /// It asks for votes.
    Candidate,
    /// It was elected, and its records are not yet committed.
    LeaderElect,
    /// It leads, and the controller on it may decide.
    Leader,
    /// Its log failed, or it has given up.
    Stopped,
}

/// A borrowed look at the quorum machine's state.
#[derive(Clone, Copy, Debug)]
pub struct QuorumView<'a> {
    /// This node.
    pub key: VoterKey,
    /// Its role.
    pub role: RoleView,
    /// The newest epoch.
    pub leader_epoch: LeaderEpoch,
    /// Its leader, if known.
    pub leader: Option<NodeId>,
    /// What `quorum-state` holds durably.
    pub durable_state: QuorumState,
    /// Where the epoch this node leads began.
    pub epoch_start: Option<Offset>,
    /// The log's start, the end of a snapshot.
    pub log_start: Offset,
    /// The end of what is flushed.
    pub flushed: Offset,
    /// The end of what is written.
    pub log_end: Offset,
    /// The end of what has an offset, written or not.
    pub assigned_end: Offset,
    /// The end of what is committed; `None` until an epoch's leader knows it.
    pub high_watermark: Option<Offset>,
    /// The voter sets known.
    pub voters: &'a VoterHistory,
    /// The durable snapshots, oldest first.
    pub snapshots: &'a [SnapshotId],
    /// The snapshot that is being written.
    pub snapshot_in_progress: Option<SnapshotId>,
    /// Proposals not yet committed.
    pub parked: usize,
    /// The log's truncation generation.
    pub generation: u64,
}

/// One line of DescribeQuorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaStatus {
    /// The voter.
    pub key: VoterKey,
    /// The end of its log, -1 if not known.
    pub log_end_offset: Offset,
    /// When it last fetched.
    pub last_fetch: Wall,
    /// When it last held all that the leader held.
    pub last_caught_up: Wall,
}
