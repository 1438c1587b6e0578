//! Metadata (3): brokers, topics, partitions and their leaders; creates topics that are asked for and missing.
//!
//! Versions 0 to 13. No topic list means all topics (since 1; an empty one in 0). Ids since 10, by id alone since 12.
//! A topic that was just created here is in the answer, with its leader.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use controller::image::{BrokerImage, DIRECTORY_LOST, PartitionImage, TopicImage};
use controller::request::{CreatableTopic, CreateTopicReply};
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::{MetadataRequest, MetadataResponse};
use types::{ErrorCode, NodeId, Uuid};

use crate::handlers::authorized;
use crate::image::Image;
use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};
use crate::topics;

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=13;

/// Answers from the image, after missing topics were created if that is allowed.
pub async fn handle(
    context: Rc<RequestContext>,
    request: MetadataRequest,
) -> Outcome<MetadataResponse> {
    let wanted = wanted(&context, &request);
    let refusals = create_missing(&context, &request, &wanted).await;
    // What was just created is in a newer image than the request came under.
    let image = context.core.node.image();
    let mut body = MetadataResponse {
        brokers: brokers(&image, &context.peer.listener),
        cluster_id: Some(image.cluster_id.to_string()),
        controller_id: image.controller_for_clients().unwrap_or(-1),
        ..Default::default()
    };
    for wanted in wanted {
        let refusal = refusals
            .iter()
            .find(|(name, _)| wanted.is_named(name))
            .map(|(_, code)| *code);
        if let Some(topic) = topic(&context, &request, &image, wanted, refusal) {
            body.topics.push(topic);
        }
    }
    if context.version <= 10 && request.include_cluster_authorized_operations {
        body.cluster_authorized_operations = authorized::cluster(&context);
    }
    reply(body)
}

/// One topic of the request.
enum Wanted {
    Named(String),
    Identified(Uuid),
    /// One of all: left out where it may not be seen.
    Listed(Arc<str>),
}

impl Wanted {
    fn is_named(&self, name: &str) -> bool {
        matches!(self, Wanted::Named(wanted) if wanted == name)
    }
}

fn wanted(context: &RequestContext, request: &MetadataRequest) -> Vec<Wanted> {
    match &request.topics {
        Some(topics) if context.version >= 1 || !topics.is_empty() => {
            let wanted = topics.iter().map(|topic| match &topic.name {
                Some(name) => Wanted::Named(name.clone()),
                None => Wanted::Identified(topic.topic_id),
            });
            wanted.collect()
        }
        _ => context
            .image
            .topics
            .iter()
            .map(|topic| Wanted::Listed(Arc::clone(&topic.name)))
            .collect(),
    }
}

/// Creates what is named, missing and allowed; answers the names that were refused.
async fn create_missing(
    context: &Rc<RequestContext>,
    request: &MetadataRequest,
    wanted: &[Wanted],
) -> Vec<(String, ErrorCode)> {
    if !request.allow_auto_topic_creation || !context.image.broker_config().auto_create_topics {
        return Vec::new();
    }
    let mut missing = Vec::new();
    for wanted in wanted {
        let Wanted::Named(name) = wanted else {
            continue;
        };
        let is_creatable = context.image.topic(name).is_none()
            && context.authorize(Operation::Describe, Resource::Topic(name))
            && (context.authorize(Operation::Create, Resource::Cluster)
                || context.authorize(Operation::Create, Resource::Topic(name)));
        if is_creatable && !missing.contains(name) {
            missing.push(name.clone());
        }
    }
    if missing.is_empty() {
        return Vec::new();
    }
    let topic = |name: &String| CreatableTopic {
        name: name.clone(),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    };
    let creatable = missing.iter().map(topic).collect();
    match context.core.node.create_topics(creatable, false).await {
        Ok(replies) => {
            let refused = |reply: CreateTopicReply| {
                let code = reply.result.err()?.code();
                // Somebody else was faster: it is there now.
                (code != ErrorCode::TopicAlreadyExists).then_some((reply.name, code))
            };
            replies.into_iter().filter_map(refused).collect()
        }
        Err(code) => missing.into_iter().map(|name| (name, code)).collect(),
    }
}

/// The brokers that clients may connect to, as they are reached by `listener`.
pub fn brokers(image: &Image, listener: &str) -> Vec<MetadataResponseBroker> {
    let broker = |broker: &Arc<BrokerImage>| {
        let endpoint = broker.endpoint(listener)?;
        Some(MetadataResponseBroker {
            node_id: broker.id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
            ..Default::default()
        })
    };
    image.unfenced_brokers().filter_map(broker).collect()
}

fn topic(
    context: &RequestContext,
    request: &MetadataRequest,
    image: &Image,
    wanted: Wanted,
    refusal: Option<ErrorCode>,
) -> Option<MetadataResponseTopic> {
    let failed = |name: Option<String>, topic_id: Uuid, code: ErrorCode| MetadataResponseTopic {
        error_code: code.code(),
        // Only since version 12 may the name be absent.
        name: if context.version >= 12 {
            name
        } else {
            Some(name.unwrap_or_default())
        },
        topic_id,
        ..Default::default()
    };
    let (found, is_listed) = match &wanted {
        Wanted::Named(name) => (image.topic(name), false),
        Wanted::Identified(id) => (image.topic_by_id(*id), false),
        Wanted::Listed(name) => (image.topic(name), true),
    };
    let name = match (&wanted, found) {
        (_, Some(topic)) => topic.name.to_string(),
        (Wanted::Named(name), None) => name.clone(),
        (Wanted::Identified(id), None) => {
            return Some(failed(None, *id, ErrorCode::UnknownTopicId));
        }
        (Wanted::Listed(_), None) => return None,
    };
    if !context.authorize(Operation::Describe, Resource::Topic(&name)) {
        let refused = match wanted {
            Wanted::Listed(_) => return None,
            Wanted::Named(_) => failed(Some(name), Uuid::ZERO, ErrorCode::TopicAuthorizationFailed),
            // A name is not told to whom may not see the topic.
            Wanted::Identified(id) => failed(None, id, ErrorCode::UnknownTopicId),
        };
        return Some(refused);
    }
    match (found, refusal) {
        (Some(topic), _) => Some(found_topic(context, request, image, topic)),
        (None, _) if is_listed => None,
        (None, Some(code)) => Some(failed(Some(name), Uuid::ZERO, code)),
        (None, None) if controller::check_topic_name(&name).is_err() => Some(failed(
            Some(name),
            Uuid::ZERO,
            ErrorCode::InvalidTopicException,
        )),
        (None, None) => Some(failed(
            Some(name),
            Uuid::ZERO,
            ErrorCode::UnknownTopicOrPartition,
        )),
    }
}

fn found_topic(
    context: &RequestContext,
    request: &MetadataRequest,
    image: &Image,
    topic: &TopicImage,
) -> MetadataResponseTopic {
    let partition = |(&index, partition): (&i32, &Arc<PartitionImage>)| MetadataResponsePartition {
        error_code: leader_error(image, partition).code(),
        partition_index: index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        offline_replicas: offline_replicas(image, partition),
        ..Default::default()
    };
    let mut response = MetadataResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: topics::is_internal(&topic.name),
        partitions: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    };
    if request.include_topic_authorized_operations {
        response.topic_authorized_operations = authorized::topic(context, &topic.name);
    }
    response
}

/// Why a partition cannot be written to or read from, if it cannot.
pub fn leader_error(image: &Image, partition: &PartitionImage) -> ErrorCode {
    let leader = image
        .broker(partition.leader)
        .filter(|broker| !broker.fenced);
    match leader {
        Some(_) => ErrorCode::None,
        None => ErrorCode::LeaderNotAvailable,
    }
}

/// Replicas on brokers that are not there, or in directories that failed.
pub fn offline_replicas(image: &Image, partition: &PartitionImage) -> Vec<NodeId> {
    let is_offline = |&&replica: &&NodeId| {
        let is_gone = image.broker(replica).is_none_or(|broker| broker.fenced);
        is_gone || partition.directory(replica) == Some(DIRECTORY_LOST)
    };
    partition
        .replicas
        .iter()
        .filter(is_offline)
        .copied()
        .collect()
}
