//! What a replica is given: its configuration, and what recovery found.

use types::Offset;

use crate::{EpochHistory, ProducerState};

/// What an acknowledgement with acks=all means, by the topic's `flush.messages`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// `flush.messages=1`: every replica counts only up to what it has flushed; nothing else is shown.
    Flushed,
    /// Any larger number: every replica counts what it has written, and flushes in the background.
    Replicated {
        /// Records after which a flush is asked for, more than 1.
        flush_messages: u64,
        /// Milliseconds after which a flush is asked for, if any.
        flush_ms: Option<i64>,
    },
}

/// What a topic's and a node's configuration say about a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaConfig {
    /// The durability class.
    pub durability: Durability,
    /// `min.insync.replicas`, 1 or more.
    pub min_insync_replicas: u32,
    /// Wall milliseconds of idleness after which a producer is forgotten, 1 or more.
    pub producer_id_expiration_ms: i64,
    /// How often that is looked for, in milliseconds, 1 or more.
    pub producer_id_expiration_check_interval_ms: i64,
}

impl ReplicaConfig {
    pub(crate) fn check(&self) {
        assert!(
            self.min_insync_replicas >= 1,
            "min.insync.replicas is 1 or more"
        );
        assert!(
            self.producer_id_expiration_ms >= 1,
            "producer.id.expiration.ms is 1 or more"
        );
        assert!(
            self.producer_id_expiration_check_interval_ms >= 1,
            "the interval of producer id checks is 1 ms or more"
        );
        if let Durability::Replicated { flush_messages, .. } = self.durability {
            assert!(flush_messages > 1, "flush.messages=1 is the class flushed");
        }
    }
}

/// What recovery found on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredState {
    /// The log's start.
    pub log_start: Offset,
    /// The log's end.
    pub log_end: Offset,
    /// The end of what is known to be flushed, at most `log_end`.
    pub flushed_end: Offset,
    /// The checkpointed high watermark; one outside the log is moved into it.
    pub high_watermark: Offset,
    /// The log's truncation generation.
    pub generation: u64,
    /// The leader epochs of the log.
    pub epochs: EpochHistory,
    /// The producer state at `log_end`.
    pub producers: ProducerState,
}

/// Which records a reader may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// All below the high watermark.
    ReadUncommitted,
    /// All below the last stable offset.
    ReadCommitted,
}

impl Isolation {
    /// What a request's isolation level means: 1 is read_committed, anything else is not.
    pub const fn from_wire(level: i8) -> Isolation {
        match level {
            1 => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        }
    }
}
