//! What every handler is given: who asks, from where, under which image.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use types::{ErrorCode, Now, PartitionIndex, TopicPartition};

use crate::core::Core;
use crate::image::Image;
use crate::observer::Observer;
use crate::server::authorizer::{Operation, Resource};

/// What is known of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Number of the connection in this process, 1 or more.
    pub number: usize,
    /// Name of the listener it came in by.
    pub listener: String,
    /// Its address.
    pub address: SocketAddr,
    /// Who it is: `User:ANONYMOUS` until security comes.
    pub principal: String,
}

/// Which quota a request is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Bytes produced.
    Produce,
    /// Bytes fetched.
    Fetch,
    /// Partitions created or deleted (KIP-599).
    ControllerMutation,
}

/// One request's surroundings.
pub struct RequestContext {
    /// The core that the connection lives on.
    pub core: Rc<Core>,
    /// The connection.
    pub peer: Rc<Peer>,
    /// The client id of the request header; empty if it gave none.
    pub client_id: String,
    /// The request's version.
    pub version: i16,
    /// The metadata in force when the request came.
    pub image: Arc<Image>,
    /// When the request came.
    pub now: Now,
    /// The same, as the observer counts; 0 without one.
    pub began: u64,
    pub(crate) throttle_time_ms: Rc<Cell<u32>>,
}

impl RequestContext {
    /// Whether the principal may do `operation` on `resource`.
    pub fn authorize(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.core
            .node
            .authorizer
            .authorize(&self.peer, operation, resource)
    }

    /// The partition of a topic by its name, if the principal may do `operation` on the topic.
    ///
    /// # Errors
    /// TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION.
    pub fn partition(
        &self,
        operation: Operation,
        topic: &str,
        partition: PartitionIndex,
    ) -> Result<TopicPartition, ErrorCode> {
        if !self.authorize(operation, Resource::Topic(topic)) {
            return Err(ErrorCode::TopicAuthorizationFailed);
        }
        let found = self
            .image
            .topic(topic)
            .filter(|found| found.partition(partition).is_some());
        let topic_id = found.ok_or(ErrorCode::UnknownTopicOrPartition)?.id;
        Ok(TopicPartition {
            topic_id,
            partition,
        })
    }

    /// Who is shown the answer for a partition of a topic, and that partition; nothing in production, and for a topic
    /// that there is not.
    pub(crate) fn observed(
        &self,
        topic: &str,
        partition: PartitionIndex,
    ) -> Option<(&dyn Observer, TopicPartition)> {
        let observer = self.core.node.observer()?;
        let topic_id = self.image.topic(topic)?.id;
        let partition = TopicPartition {
            topic_id,
            partition,
        };
        Some((observer, partition))
    }

    /// Charges `amount` to `quota`; answers how long the client is throttled, in milliseconds,
    /// which goes into the response; the connection is muted for as long after it (KIP-219).
    pub fn charge(&self, quota: Quota, amount: u64) -> i32 {
        let throttle = self.core.node.quotas.charge(&self.client_id, quota, amount);
        self.throttle_time_ms
            .set(self.throttle_time_ms.get().max(throttle));
        i32::try_from(throttle).unwrap_or(i32::MAX)
    }
}
