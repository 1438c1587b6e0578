//! The classic group protocol over one partition of `__consumer_offsets`.
//!
//! [`GroupCoordinator`] is one machine per partition. Its life: [`Input::Elected`], any number of
//! [`GroupCoordinator::replay`] calls in log order, [`Input::Loaded`], then requests; [`Input::Resigned`] ends it and the
//! next election starts over. A driver
//!
//! * carries out [`Action::Append`] in the given order, each as one record batch, and reports [`Input::Committed`] once the
//!   high watermark has passed it (for the *flushed* class that means flushed on the maximal ISR), or
//!   [`Input::AppendFailed`] only if it is certain that the batch is not in the log; where that is not certain, it resigns;
//! * calls [`Input::Loaded`] only after everything below the high watermark has been replayed and the high watermark has
//!   reached the start of its own leader epoch;
//! * gives [`Input::Tick`] once [`GroupCoordinator::deadline`] has passed.
//!
//! Every token handed in comes back in exactly one [`Action::Reply`].
//!
//! Where this differs from Kafka 4.3, seen by running the same stories against one:
//! * a refused first join does not create the group;
//! * a leader that sends a second assignment for a generation whose first is on its way to the log does not replace it: two
//!   members could hold one partition;
//! * a JoinGroup or SyncGroup that the same member repeats answers the earlier one with REBALANCE_IN_PROGRESS instead of never;
//! * a handed-out member id that is used with an instance id is UNKNOWN_MEMBER_ID, not UNKNOWN_SERVER_ERROR;
//! * a group with a handed-out member id is not forgotten before that id is.

mod admin;
mod api;
mod config;
mod errors;
mod group;
mod image;
mod join;
mod leave;
mod machine;
mod member;
mod offsets;
mod partition;
mod pending;
mod rebalance;
mod records;
mod refusals;
mod state;
mod step;
mod subscription;
mod sync;
mod timers;
mod view;

#[cfg(test)]
mod tests;

pub use api::*;
pub use config::GroupConfig;
pub use errors::*;
pub use image::{CommittedOffset, StoredGroup, StoredMember};
pub use machine::GroupCoordinator;
pub use partition::partition_for_group;
pub use records::{CoordinatorRecord, ReplayError, Replayed};
pub use state::GroupState;
pub use view::{CoordinatorPhase, CoordinatorView, GroupView, MemberView};
