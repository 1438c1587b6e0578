//! OffsetFetch (9): which offsets are kept for groups.
//!
//! Versions 1 to 10; several groups in one request since 8 (KIP-709), topics by id since 10.
//! A group-level error before version 2 is answered for each partition.

use std::ops::RangeInclusive;
use std::rc::Rc;

use coordinator::groups::{OffsetFetch, OffsetFetchTopic, OffsetFetchTopicResult};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use types::{ErrorCode, Uuid};

use super::group::{ask, expect_response};
use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 1..=10;

/// Answers for each group.
pub async fn handle(
    context: Rc<RequestContext>,
    request: OffsetFetchRequest,
) -> Outcome<OffsetFetchResponse> {
    let require_stable = request.require_stable;
    if context.version >= 8 {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            groups.push(fetch(&context, group, require_stable).await);
        }
        return reply(OffsetFetchResponse {
            groups,
            ..Default::default()
        });
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        topics.collect()
    });
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..Default::default()
    };
    let answer = fetch(&context, group, require_stable).await;
    let error_code = if context.version >= 2 {
        answer.error_code
    } else {
        0
    };
    let topics = answer.topics.into_iter().map(old_topic);
    reply(OffsetFetchResponse {
        topics: topics.collect(),
        error_code,
        ..Default::default()
    })
}

fn old_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| OffsetFetchResponsePartition {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
            ..Default::default()
        });
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

async fn fetch(
    context: &RequestContext,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let mut response = OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        ..Default::default()
    };
    let asked = group.topics.clone();
    let is_all = group.topics.is_none();
    let mut topics = Vec::new();
    for topic in group.topics.unwrap_or_default() {
        match accept(context, &topic) {
            Ok(accepted) => topics.push(accepted),
            Err(code) => response.topics.push(refused(&topic, code)),
        }
    }
    let fetch = OffsetFetch {
        group_id: group.group_id.clone(),
        topics: (!is_all).then_some(topics),
        require_stable,
    };
    let code = match ask(context, &group.group_id, Operation::Describe, fetch).await {
        Err(code) => code,
        Ok(answer) => match expect_response!(answer, OffsetFetch) {
            Err(error) => error.code(),
            Ok(results) => {
                let seen = results.into_iter().filter(|topic| {
                    !is_all || context.authorize(Operation::Describe, Resource::Topic(&topic.topic))
                });
                response
                    .topics
                    .extend(seen.map(|topic| found(context, topic)));
                return response;
            }
        },
    };
    response.error_code = code.code();
    response.topics.clear();
    if context.version <= 1 {
        response.topics = asked
            .iter()
            .flatten()
            .map(|topic| refused(topic, code))
            .collect();
    }
    response
}

fn accept(
    context: &RequestContext,
    topic: &OffsetFetchRequestTopics,
) -> Result<OffsetFetchTopic, ErrorCode> {
    let (name, topic_id) = match context.version {
        10.. => {
            let found = context.image.topic_by_id(topic.topic_id);
            let found = found.ok_or(ErrorCode::UnknownTopicId)?;
            (found.name.to_string(), found.id)
        }
        // An offset is shown even if its topic is not there any more.
        _ => {
            let found = context.image.topic(&topic.name);
            (
                topic.name.clone(),
                found.map_or(Uuid::ZERO, |topic| topic.id),
            )
        }
    };
    if !context.authorize(Operation::Describe, Resource::Topic(&name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    Ok(OffsetFetchTopic {
        topic: name,
        topic_id,
        partitions: topic.partition_indexes.clone(),
    })
}

fn refused(topic: &OffsetFetchRequestTopics, code: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions = topic
        .partition_indexes
        .iter()
        .map(|&index| OffsetFetchResponsePartitions {
            partition_index: index,
            committed_offset: -1,
            metadata: Some(String::new()),
            error_code: code.code(),
            ..Default::default()
        });
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn found(context: &RequestContext, topic: OffsetFetchTopicResult) -> OffsetFetchResponseTopics {
    let known = context.image.topic(&topic.topic).map(|topic| topic.id);
    let partitions = topic
        .partitions
        .into_iter()
        .map(|offset| OffsetFetchResponsePartitions {
            partition_index: offset.partition,
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch,
            metadata: Some(offset.metadata),
            ..Default::default()
        });
    OffsetFetchResponseTopics {
        name: topic.topic,
        topic_id: if topic.topic_id.is_zero() {
            known.unwrap_or_default()
        } else {
            topic.topic_id
        },
        partitions: partitions.collect(),
        ..Default::default()
    }
}
