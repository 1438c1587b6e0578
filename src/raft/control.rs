//! The control records of the metadata log and its snapshots.

use thiserror::Error;
use types::NodeId;

use crate::VoterSet;

/// The first record of every epoch: who leads, who voted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaderChange {
    /// The leader.
    pub leader_id: NodeId,
    /// The voters in force.
    pub voters: Vec<NodeId>,
    /// Those that voted for it.
    pub granting_voters: Vec<NodeId>,
}

/// A control record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlRecord {
    /// An epoch begins.
    LeaderChange(LeaderChange),
    /// A snapshot begins.
    SnapshotHeader {
        /// Timestamp of the last record that it contains, in milliseconds; 0 in the bootstrap snapshot.
        last_contained_log_timestamp: i64,
    },
    /// A snapshot ends: one without it is not whole.
    SnapshotFooter,
    /// The quorum's version, 1 where voters are kept in the log.
    KRaftVersion(i16),
    /// The voters in force from this record on.
    Voters(VoterSet),
}

/// Why a control record cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ControlRecordError {
    /// It has no key or no value.
    #[error("a control record without key or value")]
    Incomplete,
    /// The key is not a control record's.
    #[error("a control record's key is malformed")]
    Key,
    /// The value is not what the key says.
    #[error("a control record's value is malformed: {0}")]
    Value(String),
}

/// The records that a snapshot begins with.
pub fn snapshot_header(
    last_contained_log_timestamp: i64,
    kraft_version: i16,
    voters: &VoterSet,
) -> Vec<ControlRecord> {
    let header = ControlRecord::SnapshotHeader {
        last_contained_log_timestamp,
    };
    if kraft_version == 0 {
        return vec![header];
    }
    vec![
        header,
        ControlRecord::KRaftVersion(kraft_version),
        ControlRecord::Voters(voters.clone()),
    ]
}
