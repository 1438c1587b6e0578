//! FindCoordinator (10): which broker coordinates a group.
//!
//! Versions 0 to 6; several keys since 4 (KIP-699). Creates `__consumer_offsets` at its first use.
//! Transactions (key type 1) and share groups (2) are not served: the answer is one at which clients stop.

use std::ops::RangeInclusive;
use std::rc::Rc;

use controller::request::CreatableTopic;
use protocol::messages::find_coordinator_response::Coordinator;
use protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use types::ErrorCode;

use super::group::partition_of;
use super::metadata::brokers;
use crate::image::Image;
use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};
use crate::topics::CONSUMER_OFFSETS;

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=6;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Answers for each key.
pub async fn handle(
    context: Rc<RequestContext>,
    request: FindCoordinatorRequest,
) -> Outcome<FindCoordinatorResponse> {
    if context.version < 4 {
        let found = find(&context, request.key_type, request.key).await;
        return reply(FindCoordinatorResponse {
            error_code: found.error_code,
            error_message: found.error_message,
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..Default::default()
        });
    }
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    for key in request.coordinator_keys {
        coordinators.push(find(&context, request.key_type, key).await);
    }
    reply(FindCoordinatorResponse {
        coordinators,
        ..Default::default()
    })
}

async fn find(context: &RequestContext, key_type: i8, key: String) -> Coordinator {
    match try_find(context, key_type, &key).await {
        Ok((node_id, host, port)) => {
            let error_message = None;
            Coordinator {
                key,
                node_id,
                host,
                port,
                error_message,
                ..Default::default()
            }
        }
        Err(code) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: code.code(),
            error_message: Some(code.to_string()),
            ..Default::default()
        },
    }
}

async fn try_find(
    context: &RequestContext,
    key_type: i8,
    key: &str,
) -> Result<(i32, String, i32), ErrorCode> {
    match key_type {
        GROUP if !context.authorize(Operation::Describe, Resource::Group(key)) => {
            return Err(ErrorCode::GroupAuthorizationFailed);
        }
        GROUP => {}
        // The Java client and librdkafka both give up at this one.
        TRANSACTION => return Err(ErrorCode::TransactionalIdAuthorizationFailed),
        _ => return Err(ErrorCode::InvalidRequest),
    }
    let image = with_offsets_topic(context).await?;
    let partition = match context.image.topic(CONSUMER_OFFSETS) {
        Some(_) => partition_of(context, key)?,
        None => {
            let topic = image
                .topic(CONSUMER_OFFSETS)
                .ok_or(ErrorCode::CoordinatorNotAvailable)?;
            coordinator::groups::partition_for_group(key, topic.partition_count())
        }
    };
    let topic = image
        .topic(CONSUMER_OFFSETS)
        .ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let leader = topic
        .partition(partition)
        .map_or(-1, |partition| partition.leader);
    let brokers = brokers(&image, &context.peer.listener);
    let broker = brokers.into_iter().find(|broker| broker.node_id == leader);
    let broker = broker.ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok((broker.node_id, broker.host, broker.port))
}

/// An image in which the topic of offsets exists.
async fn with_offsets_topic(context: &RequestContext) -> Result<std::sync::Arc<Image>, ErrorCode> {
    let node = &context.core.node;
    let image = node.image();
    if image.topic(CONSUMER_OFFSETS).is_some() {
        return Ok(image);
    }
    let shape = node.offsets_topic;
    let config = |key: &str, value: String| (key.to_owned(), Some(value));
    let topic = CreatableTopic {
        name: CONSUMER_OFFSETS.to_owned(),
        num_partitions: shape.num_partitions,
        replication_factor: shape.replication_factor,
        configs: vec![
            config("cleanup.policy", "compact".to_owned()),
            config("compression.type", "producer".to_owned()),
            config("segment.bytes", shape.segment_bytes.to_string()),
        ],
        ..Default::default()
    };
    let replies = node.create_topics(vec![topic], false).await?;
    for reply in replies {
        match reply.result {
            Ok(_) => {}
            Err(error) if error.code() == ErrorCode::TopicAlreadyExists => {}
            Err(error) => {
                tracing::error!(%error, "{CONSUMER_OFFSETS} cannot be created");
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
        }
    }
    Ok(node.image())
}
