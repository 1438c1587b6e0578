//! What the quorum machine is given: who it is, and what recovery found.

use thiserror::Error;
use types::{LeaderEpoch, Limits, Offset};

use crate::{QuorumState, SnapshotId, VoterHistory, VoterKey};

/// Who this node is and what it may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumConfig {
    /// This node as a voter.
    pub key: VoterKey,
    /// Snapshot sizes and times.
    pub limits: Limits,
    /// How long to wait after an election that failed, in milliseconds.
    pub election_backoff_ms: i64,
}

/// What recovery found on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredQuorum {
    /// What `quorum-state` holds; [`QuorumState::INITIAL`] if there is none.
    pub state: QuorumState,
    /// The log's start.
    pub log_start: Offset,
    /// The log's end.
    pub log_end: Offset,
    /// The end of what is known to be flushed.
    pub flushed_end: Offset,
    /// The leader epoch of the last record, or of the snapshot at the log's end; 0 if there is neither.
    pub last_epoch: LeaderEpoch,
    /// The log's truncation generation.
    pub generation: u64,
    /// The snapshots found whole.
    pub snapshots: Vec<SnapshotId>,
    /// Bytes in the log after the newest snapshot.
    pub bytes_after_snapshot: u64,
    /// The voters, from the newest snapshot and the log after it.
    pub voters: VoterHistory,
    /// `kraft.version`, from the same.
    pub kraft_version: i16,
}

/// Why a node cannot take part in the quorum.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StartError {
    /// No voters are known: the directory was not formatted.
    #[error("no voters are known: the metadata directory is not formatted")]
    NoVoters,
    /// This node, with this directory, is not a voter.
    #[error("node {} with directory {} is not a voter", .0.id, .0.directory_id)]
    NotAVoter(VoterKey),
    /// There are more voters, which this version cannot talk to.
    #[error("there are {0} voters: only a quorum of one is served")]
    SeveralVoters(usize),
    /// No snapshot holds everything below the start of the log.
    #[error("the metadata log starts at {0}, and no snapshot that can be read ends there or later")]
    SnapshotMissing(Offset),
}
