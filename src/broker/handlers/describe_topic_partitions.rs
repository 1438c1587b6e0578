//! DescribeTopicPartitions (75): topics page by page (KIP-966). Version 0.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use controller::image::{PartitionImage, TopicImage};
use protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use types::{ErrorCode, PartitionIndex};

use super::authorized;
use super::metadata::{leader_error, offline_replicas};
use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{NoReply, Outcome, reply};
use crate::topics;

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers topics in order of their names, from the cursor on, until the page is full.
pub async fn handle(
    context: Rc<RequestContext>,
    request: DescribeTopicPartitionsRequest,
) -> Outcome<DescribeTopicPartitionsResponse> {
    let cursor = request.cursor.unwrap_or_default();
    if cursor.partition_index < 0 {
        let reason = "DescribeTopicPartitions: the cursor's partition is negative";
        return Err(NoReply::Close(reason.to_owned()));
    }
    let is_all = request.topics.is_empty();
    let names: BTreeSet<String> = match is_all {
        true => context
            .image
            .topics
            .iter()
            .map(|topic| topic.name.to_string())
            .collect(),
        false => request.topics.into_iter().map(|topic| topic.name).collect(),
    };
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut remaining = limit.clamp(1, context.core.node.settings.described_partitions_max);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.range(cursor.topic_name.clone()..) {
        let from = if *name == cursor.topic_name {
            cursor.partition_index
        } else {
            0
        };
        if remaining == 0 {
            response.next_cursor = Some(next_cursor(name, from));
            break;
        }
        if let Some((topic, next)) = describe(&context, name, from, remaining, is_all) {
            remaining -= topic.partitions.len();
            response.topics.push(topic);
            if let Some(next) = next {
                response.next_cursor = Some(next_cursor(name, next));
                break;
            }
        }
    }
    reply(response)
}

fn next_cursor(name: &str, partition_index: PartitionIndex) -> Cursor {
    Cursor {
        topic_name: name.to_owned(),
        partition_index,
        ..Default::default()
    }
}

/// A topic's partitions from `from` on, and where the next page begins if not all fit.
fn describe(
    context: &RequestContext,
    name: &str,
    from: PartitionIndex,
    count_max: usize,
    is_all: bool,
) -> Option<(DescribeTopicPartitionsResponseTopic, Option<PartitionIndex>)> {
    let failed = |code: ErrorCode| {
        let topic = DescribeTopicPartitionsResponseTopic {
            error_code: code.code(),
            name: Some(name.to_owned()),
            ..Default::default()
        };
        (!is_all).then_some((topic, None))
    };
    if !context.authorize(Operation::Describe, Resource::Topic(name)) {
        return failed(ErrorCode::TopicAuthorizationFailed);
    }
    let Some(topic) = context.image.topic(name) else {
        let code = match controller::check_topic_name(name) {
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
            Err(_) => ErrorCode::InvalidTopicException,
        };
        return failed(code);
    };
    Some(page(context, topic, from, count_max))
}

fn page(
    context: &RequestContext,
    topic: &TopicImage,
    from: PartitionIndex,
    count_max: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<PartitionIndex>) {
    let mut rest = topic.partitions.range(from..);
    let partitions: Vec<_> = rest
        .by_ref()
        .take(count_max)
        .map(|(&index, partition)| partition_of(context, index, partition))
        .collect();
    let response = DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: topics::is_internal(&topic.name),
        partitions,
        topic_authorized_operations: authorized::topic(context, &topic.name),
        ..Default::default()
    };
    (response, rest.next().map(|(&index, _)| index))
}

fn partition_of(
    context: &RequestContext,
    partition_index: PartitionIndex,
    partition: &Arc<PartitionImage>,
) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        error_code: leader_error(&context.image, partition).code(),
        partition_index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        eligible_leader_replicas: Some(partition.eligible_leader_replicas.clone()),
        last_known_elr: Some(partition.last_known_elr.clone()),
        offline_replicas: offline_replicas(&context.image, partition),
        ..Default::default()
    }
}
