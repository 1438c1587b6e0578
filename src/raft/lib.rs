//! The metadata quorum as a pure machine: Raft with pulled replication, as in KRaft (KIP-595, KIP-630, KIP-853, KIP-996).
//!
//! [`Quorum::step`] takes an [`Input`] and writes [`Action`]s; the driver carries them out in order and reports what became of
//! them. An epoch is claimed, a record called committed, a leader announced only after the driver has reported the write that
//! this depends on.
//!
//! One voter is served: it elects itself in a new epoch at every start. Peers, when they come, add inputs; what is here stays:
//! the vote is durable before it counts, the leader counts itself only up to what it has flushed, nothing of an older epoch is
//! committed before something of its own, an epoch is never led twice.
//!
//! Contract with the driver:
//!
//! - [`Action::PersistState`] is written to `quorum-state`, synced and renamed before [`Input::StatePersisted`] is stepped.
//! - Appends are written in order; [`Input::Appended`], [`Input::AppendFailed`] and [`Input::Flushed`] mean what they mean in
//!   the crate `replica`.
//! - The records below [`Action::Commit`] are applied to the controller before the next action is carried out, so that
//!   [`Action::LeadershipGained`] finds a controller that knows everything committed, and [`Action::TakeSnapshot`] an image
//!   of exactly its end offset.

mod action;
mod config;
mod control;
mod election;
mod input;
mod json;
mod log;
mod progress;
mod quorum;
mod snapshots;
mod state;
mod view;
mod voters;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod transcript_tests;

pub use action::{Action, Actions, ProposeError};
pub use config::{QuorumConfig, RecoveredQuorum, StartError};
pub use control::{ControlRecord, ControlRecordError, LeaderChange, snapshot_header};
pub use input::{AppendError, Input};
pub use quorum::Quorum;
pub use snapshots::{SnapshotId, SnapshotIdError};
pub use state::{QuorumState, QuorumStateError};
pub use view::{QuorumView, ReplicaStatus, RoleView};
pub use voters::{Endpoint, Voter, VoterHistory, VoterKey, VoterSet};
