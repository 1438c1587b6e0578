//! The words everybody shares: identifiers, offsets, the two clocks, seeded randomness, limits, Kafka's error codes.
//!
//! Depends on nothing, reads no clock, draws no entropy: everything here is a value.

mod actions;
pub mod errors;
mod ids;
mod limits;
mod log;
mod planted;
mod prng;
mod time;

pub use actions::{Actions, Note};
pub use errors::ErrorCode;
pub use ids::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicPartition, Uuid,
    UuidError,
};
pub use limits::Limits;
pub use log::LogOffsets;
pub use planted::Plant;
pub use prng::Prng;
pub use time::{Mono, Now, Wall};
