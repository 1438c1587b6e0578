//! CreatePartitions (37): adds partitions to topics. Versions 0 to 3.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::rc::Rc;

use controller::request::{CreatePartitions, CreatePartitionsTopic};
use controller::{Request, Response};
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use types::ErrorCode;

use crate::server::authorizer::{Operation, Resource};
use crate::server::context::{Quota, RequestContext};
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=3;

/// Answers for each topic.
pub async fn handle(
    context: Rc<RequestContext>,
    request: CreatePartitionsRequest,
) -> Outcome<CreatePartitionsResponse> {
    let (mut results, mut accepted) = (Vec::new(), Vec::new());
    let mut refused = BTreeSet::new();
    for topic in request.topics {
        if context.authorize(Operation::Alter, Resource::Topic(&topic.name)) {
            let assignments = topic.assignments.map(|assignments| {
                assignments
                    .into_iter()
                    .map(|assignment| assignment.broker_ids)
                    .collect()
            });
            accepted.push(CreatePartitionsTopic {
                name: topic.name,
                count: topic.count,
                assignments,
            });
        } else if refused.insert(topic.name.clone()) {
            results.push(result(
                topic.name,
                ErrorCode::TopicAuthorizationFailed,
                None,
            ));
        }
    }
    let names: Vec<String> = accepted.iter().map(|topic| topic.name.clone()).collect();
    let throttle_time_ms = context.charge(Quota::ControllerMutation, names.len() as u64);
    let create = CreatePartitions {
        topics: accepted,
        validate_only: request.validate_only,
    };
    match context
        .core
        .node
        .decide(Request::CreatePartitions(create))
        .await
    {
        Ok(Response::CreatePartitions(replies)) => {
            results.extend(replies.into_iter().map(|reply| match reply.result {
                Ok(()) => result(reply.name, ErrorCode::None, None),
                Err(error) => result(reply.name, error.code(), Some(error.to_string())),
            }));
        }
        Ok(other) => panic!("the controller answers what it is asked, not {other:?}"),
        Err(unavailable) => {
            let code = unavailable.code();
            results.extend(names.into_iter().map(|name| result(name, code, None)));
        }
    }
    reply(CreatePartitionsResponse {
        results,
        throttle_time_ms,
        ..Default::default()
    })
}

fn result(name: String, code: ErrorCode, message: Option<String>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        name,
        error_code: code.code(),
        error_message: message,
        ..Default::default()
    }
}
