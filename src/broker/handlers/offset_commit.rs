//! OffsetCommit (8): keeps offsets for a group.
//!
//! Versions 2 to 10; topics by id since 10.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use coordinator::groups::{OffsetCommit, OffsetCommitPartition, OffsetCommitTopic};
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use types::{ErrorCode, Offset, PartitionIndex, TopicPartition, Uuid};

use super::group::{ask, expect_response, partition_of};
use crate::observer::{OffsetCommitAnswered, OffsetCommitBegins};
use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 2..=10;

/// Answers once the offsets are durable.
pub async fn handle(
    context: Rc<RequestContext>,
    request: OffsetCommitRequest,
) -> Outcome<OffsetCommitResponse> {
    let group_id = request.group_id.clone();
    if !context.authorize(Operation::Read, Resource::Group(&group_id)) {
        let code = ErrorCode::GroupAuthorizationFailed;
        let topics = request.topics.into_iter();
        return reply(OffsetCommitResponse {
            topics: topics.map(|topic| refuse(topic, code)).collect(),
            ..Default::default()
        });
    }
    let mut response = OffsetCommitResponse::default();
    let mut topics = Vec::new();
    for topic in request.topics {
        match accept(&context, &topic) {
            Ok((name, topic_id)) => {
                topics.push(accepted(&context, topic, name, topic_id, &mut response))
            }
            Err(code) => response.topics.push(refuse(topic, code)),
        }
    }
    let knows_group_id_not_found = context.version >= 9;
    let commit = OffsetCommit {
        group_id: request.group_id,
        generation_id: request.generation_id_or_member_epoch,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        retention_time_ms: request.retention_time_ms,
        knows_group_id_not_found,
        topics: topics
            .into_iter()
            .filter(|topic| !topic.partitions.is_empty())
            .collect(),
    };
    commit_and_answer(&context, &group_id, commit, response).await
}

async fn commit_and_answer(
    context: &RequestContext,
    group_id: &str,
    commit: OffsetCommit,
    mut response: OffsetCommitResponse,
) -> Outcome<OffsetCommitResponse> {
    let observed = Observed::of(context, &commit);
    if let Some(observed) = &observed {
        observed.show_begin(context, group_id);
    }
    let asked: Vec<_> = commit
        .topics
        .iter()
        .map(|topic| {
            let partitions: Vec<i32> = topic.partitions.iter().map(|p| p.partition).collect();
            (topic.topic.clone(), topic.topic_id, partitions)
        })
        .collect();
    let all = |code: ErrorCode| {
        let topics = asked.iter().map(|(name, id, partitions)| {
            let partitions = partitions.iter().map(|&index| (index, code));
            topic_response(name.clone(), *id, partitions)
        });
        topics.collect::<Vec<_>>()
    };
    let committed = match ask(context, group_id, Operation::Read, commit).await {
        Err(code) => all(code),
        Ok(answer) => match expect_response!(answer, OffsetCommit) {
            Err(error) => all(error.code()),
            Ok(results) => results
                .into_iter()
                .map(|topic| {
                    let partitions = topic.partitions.into_iter().map(|(index, result)| {
                        (
                            index,
                            result.map_or_else(|error| error.code(), |()| ErrorCode::None),
                        )
                    });
                    topic_response(topic.topic, topic.topic_id, partitions)
                })
                .collect(),
        },
    };
    if let Some(observed) = observed {
        observed.show(context, group_id, &committed);
    }
    for topic in committed {
        merge(&mut response, topic);
    }
    reply(response)
}

/// What the observer needs of a commit that the coordinator takes away.
struct Observed {
    generation_id: i32,
    offsets: BTreeMap<TopicPartition, Offset>,
}

impl Observed {
    fn of(context: &RequestContext, commit: &OffsetCommit) -> Option<Observed> {
        context.core.node.observer()?;
        let offsets = commit.topics.iter().flat_map(|topic| {
            let of = |partition: &OffsetCommitPartition| {
                (place(topic.topic_id, partition.partition), partition.offset)
            };
            topic.partitions.iter().map(of)
        });
        Some(Observed {
            generation_id: commit.generation_id,
            offsets: offsets.collect(),
        })
    }

    fn show_begin(&self, context: &RequestContext, group_id: &str) {
        let Some(observer) = context.core.node.observer() else {
            return;
        };
        let coordinator = partition_of(context, group_id).ok();
        for (&partition, &offset) in &self.offsets {
            observer.offset_commit_begins(&OffsetCommitBegins {
                began: context.began,
                coordinator,
                group_id,
                generation_id: self.generation_id,
                partition,
                offset,
            });
        }
    }

    fn show(
        &self,
        context: &RequestContext,
        group_id: &str,
        answers: &[OffsetCommitResponseTopic],
    ) {
        let Some(observer) = context.core.node.observer() else {
            return;
        };
        let coordinator = partition_of(context, group_id).ok();
        for topic in answers {
            for partition in &topic.partitions {
                let place = place(topic.topic_id, partition.partition_index);
                observer.offset_commit_answered(&OffsetCommitAnswered {
                    began: context.began,
                    coordinator,
                    group_id,
                    generation_id: self.generation_id,
                    partition: place,
                    offset: self.offsets[&place],
                    error: ErrorCode::from_code(partition.error_code).expect("one of ours"),
                });
            }
        }
    }
}

fn place(topic_id: Uuid, partition: PartitionIndex) -> TopicPartition {
    TopicPartition {
        topic_id,
        partition,
    }
}

/// A topic's partitions that were refused stand beside those that were committed.
fn merge(response: &mut OffsetCommitResponse, topic: OffsetCommitResponseTopic) {
    let same = |known: &&mut OffsetCommitResponseTopic| {
        known.name == topic.name && known.topic_id == topic.topic_id
    };
    match response.topics.iter_mut().find(same) {
        Some(known) => known.partitions.extend(topic.partitions),
        None => response.topics.push(topic),
    }
}

fn topic_response(
    name: String,
    topic_id: Uuid,
    partitions: impl Iterator<Item = (i32, ErrorCode)>,
) -> OffsetCommitResponseTopic {
    let partitions = partitions.map(|(partition_index, code)| OffsetCommitResponsePartition {
        partition_index,
        error_code: code.code(),
        ..Default::default()
    });
    OffsetCommitResponseTopic {
        name,
        topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn refuse(topic: OffsetCommitRequestTopic, code: ErrorCode) -> OffsetCommitResponseTopic {
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| (partition.partition_index, code));
    topic_response(topic.name.clone(), topic.topic_id, partitions)
}

/// The topic's name and id.
fn accept(
    context: &RequestContext,
    topic: &OffsetCommitRequestTopic,
) -> Result<(String, Uuid), ErrorCode> {
    let by_id = context.version >= 10;
    let found = match by_id {
        true => context
            .image
            .topic_by_id(topic.topic_id)
            .ok_or(ErrorCode::UnknownTopicId)?,
        false if !context.authorize(Operation::Read, Resource::Topic(&topic.name)) => {
            return Err(ErrorCode::TopicAuthorizationFailed);
        }
        false => context
            .image
            .topic(&topic.name)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?,
    };
    if by_id && !context.authorize(Operation::Read, Resource::Topic(&found.name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    Ok((found.name.to_string(), found.id))
}

/// The partitions that exist; the others are answered.
fn accepted(
    context: &RequestContext,
    topic: OffsetCommitRequestTopic,
    name: String,
    topic_id: Uuid,
    response: &mut OffsetCommitResponse,
) -> OffsetCommitTopic {
    let exists = |partition: &OffsetCommitRequestPartition| {
        let found = context.image.topic_by_id(topic_id);
        found.is_some_and(|topic| topic.partition(partition.partition_index).is_some())
    };
    let (known, unknown): (Vec<_>, Vec<_>) = topic.partitions.into_iter().partition(exists);
    if !unknown.is_empty() {
        let code = ErrorCode::UnknownTopicOrPartition;
        let unknown = unknown
            .iter()
            .map(|partition| (partition.partition_index, code));
        response
            .topics
            .push(topic_response(name.clone(), topic_id, unknown));
    }
    let partitions = known.into_iter().map(|partition| OffsetCommitPartition {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata,
    });
    OffsetCommitTopic {
        topic: name,
        topic_id,
        partitions: partitions.collect(),
    }
}
