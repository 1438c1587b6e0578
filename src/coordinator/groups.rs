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
