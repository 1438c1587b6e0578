//! OffsetDelete (47): forgets offsets of a group. Version 0 (KIP-496).

use std::ops::RangeInclusive;
use std::rc::Rc;

use coordinator::groups::OffsetDelete;
use protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use types::ErrorCode;

use super::group::{ask, expect_response};
use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers once the deletion is durable.
pub async fn handle(
    context: Rc<RequestContext>,
    request: OffsetDeleteRequest,
) -> Outcome<OffsetDeleteResponse> {
    let mut response = OffsetDeleteResponse::default();
    let mut delete = OffsetDelete {
        group_id: request.group_id.clone(),
        ..Default::default()
    };
    for topic in request.topics {
        let partitions = || {
            topic
                .partitions
                .iter()
                .map(|partition| partition.partition_index)
        };
        match refusal(&context, &topic) {
            None => delete
                .topics
                .push((topic.name.clone(), partitions().collect())),
            Some(code) => {
                let refused = partitions().map(|index| (index, code));
                response
                    .topics
                    .push(topic_response(topic.name.clone(), refused));
            }
        }
    }
    match ask(&context, &request.group_id, Operation::Delete, delete).await {
        Err(code) => response = refused(code),
        Ok(answer) => match expect_response!(answer, OffsetDelete) {
            Err(error) => response = refused(error.code()),
            Ok(results) => response.topics.extend(results.into_iter().map(|topic| {
                let partitions = topic.partitions.into_iter().map(|(index, result)| {
                    (
                        index,
                        result.map_or_else(|error| error.code(), |()| ErrorCode::None),
                    )
                });
                topic_response(topic.topic, partitions)
            })),
        },
    }
    reply(response)
}

fn refused(code: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse {
        error_code: code.code(),
        ..Default::default()
    }
}

fn refusal(context: &RequestContext, topic: &OffsetDeleteRequestTopic) -> Option<ErrorCode> {
    if !context.authorize(Operation::Read, Resource::Topic(&topic.name)) {
        return Some(ErrorCode::TopicAuthorizationFailed);
    }
    context
        .image
        .topic(&topic.name)
        .is_none()
        .then_some(ErrorCode::UnknownTopicOrPartition)
}

fn topic_response(
    name: String,
    partitions: impl Iterator<Item = (i32, ErrorCode)>,
) -> OffsetDeleteResponseTopic {
    let partitions = partitions.map(|(partition_index, code)| OffsetDeleteResponsePartition {
        partition_index,
        error_code: code.code(),
    });
    OffsetDeleteResponseTopic {
        name,
        partitions: partitions.collect(),
    }
}
