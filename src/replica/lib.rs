//! One partition's replica as a pure machine: offsets, leader epochs, producer state, the high watermark, parked answers.
//!
//! [`Replica::step`] takes an [`Input`] and writes [`Action`]s; the driver carries them out in order and reports what became
//! of them. What may only be said once a write is held (an acknowledgement, a moved high watermark) is kept here until the
//! driver reports [`Input::Appended`] or [`Input::Flushed`].
//!
//! ```text
//!   Produce, BecomeLeader, ...  --->  Replica::step  --->  Append, NeedFlush, Reply, HighWatermark, ...
//!          Appended, Flushed    --->                 --->
//! ```
//!
//! Contract with the driver:
//!
//! - [`Action::Append`]s are written in the order given, one append job in flight per log; each job is reported by one
//!   [`Input::Appended`] with the end of what is now in the log, or one [`Input::AppendFailed`] with the first offset that is
//!   not. After a failure every append not yet written is thrown away ([`Action::DropAppends`] says from where).
//! - A flush covers what was appended before it began, and its report carries the log's truncation generation of that moment:
//!   a report of another generation raises nothing.
//! - Each token is answered at most once; acks=0 only when it fails.
//!
//! Sources: KIP-98 and KIP-360 (idempotence), KIP-101, KIP-279 and KIP-320 (leader epochs), KIP-207 (offsets of a new leader),
//! KIP-497 (maximal ISR), KIP-966 (no high watermark below the minimum ISR).

mod action;
mod batch;
mod config;
mod epochs;
mod errors;
mod input;
mod leader;
mod log;
mod machine;
mod parked;
mod producers;
mod progress;
mod reads;
mod view;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod transcript_tests;

pub use action::{Action, Actions, ProduceOk};
pub use batch::{BatchSummary, ControlMarker, MarkerError, MarkerKind};
pub use config::{Durability, Isolation, RecoveredState, ReplicaConfig};
pub use epochs::{EpochEnd, EpochEntry, EpochHistory, EpochsError};
pub use errors::{
    AppendError, DeleteRecordsError, LeaderEpochError, OffsetError, ProduceError, ReplayError,
    SequenceError, SnapshotError,
};
pub use input::{Acks, Input, Leadership, Produce};
pub use machine::Replica;
pub use producers::{
    BatchRange, CompletedTransaction, LastBatch, Origin, ProducerDescription, ProducerEntry,
    ProducerState, SequenceVerdict, add_to_sequence, subtract_from_sequence,
};
pub use progress::{Position, Progress};
pub use view::{ReplicaView, RoleView};
