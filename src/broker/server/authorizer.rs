//! Who may do what. Until security comes, everybody may do everything.

use crate::server::context::{Peer, Quota};

/// What a request wants to do, in the words of Kafka's ACLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Consume records or read group offsets.
    Read,
    /// Produce records.
    Write,
    /// Create topics.
    Create,
    /// Delete topics, records or groups.
    Delete,
    /// Add partitions and the like.
    Alter,
    /// See that it exists.
    Describe,
    /// See its configs.
    DescribeConfigs,
    /// Change its configs.
    AlterConfigs,
    /// Cluster-internal work.
    ClusterAction,
    /// Write with an idempotent producer.
    IdempotentWrite,
}

/// What an operation is done on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic by name.
    Topic(&'a str),
    /// A consumer group.
    Group(&'a str),
    /// The cluster.
    Cluster,
    /// A transactional id.
    TransactionalId(&'a str),
}

/// Decides what a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorizer {
    /// Everything: no `authorizer.class.name` is configured.
    AllowAll,
    /// Nothing: what the tests put in to see every handler refuse.
    DenyAll,
}

impl Authorizer {
    /// Whether `peer` may do `operation` on `resource`.
    pub fn authorize(&self, _peer: &Peer, _operation: Operation, _resource: Resource<'_>) -> bool {
        match self {
            Authorizer::AllowAll => true,
            Authorizer::DenyAll => false,
        }
    }
}

/// Decides how long a client is throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotas {
    /// No quota is configured.
    Unlimited,
    /// Every charge throttles for this many milliseconds: what the tests put in to see the mute.
    Fixed(u32),
}

impl Quotas {
    /// Charges `amount` to `quota` of a client; answers the throttle time in milliseconds.
    pub fn charge(&self, _client_id: &str, _quota: Quota, _amount: u64) -> u32 {
        match self {
            Quotas::Unlimited => 0,
            Quotas::Fixed(throttle_time_ms) => *throttle_time_ms,
        }
    }
}
