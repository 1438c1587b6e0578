//! DeleteTopics (20). Versions 1 to 6; by id since 6.

use std::ops::RangeInclusive;
use std::rc::Rc;

use controller::request::{DeleteTopicReply, DeleteTopics, TopicSelector};
use controller::{Request, Response};
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use types::{ErrorCode, Uuid};

use crate::server::authorizer::{Operation, Resource};
use crate::server::context::{Quota, RequestContext};
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 1..=6;

/// Answers for each topic.
pub async fn handle(
    context: Rc<RequestContext>,
    request: DeleteTopicsRequest,
) -> Outcome<DeleteTopicsResponse> {
    let (mut responses, mut accepted) = (Vec::new(), Vec::new());
    for selector in selectors(&context, request) {
        match refusal(&context, &selector) {
            None => accepted.push(selector),
            Some(code) => responses.push(refused(selector, code)),
        }
    }
    let throttle_time_ms = context.charge(Quota::ControllerMutation, accepted.len() as u64);
    if !accepted.is_empty() {
        let delete = Request::DeleteTopics(DeleteTopics {
            topics: accepted.clone(),
        });
        match context.core.node.decide(delete).await {
            Ok(Response::DeleteTopics(replies)) => {
                responses.extend(replies.into_iter().map(|reply| result(&context, reply)));
            }
            Ok(other) => panic!("the controller answers what it is asked, not {other:?}"),
            Err(unavailable) => {
                let code = unavailable.code();
                responses.extend(accepted.into_iter().map(|selector| refused(selector, code)));
            }
        }
    }
    reply(DeleteTopicsResponse {
        responses,
        throttle_time_ms,
        ..Default::default()
    })
}

fn selectors(context: &RequestContext, request: DeleteTopicsRequest) -> Vec<TopicSelector> {
    if context.version < 6 {
        return request
            .topic_names
            .into_iter()
            .map(TopicSelector::Name)
            .collect();
    }
    let selector = |(name, id): (Option<String>, Uuid)| match (name, id) {
        (Some(name), Uuid::ZERO) => TopicSelector::Name(name),
        (None, id) if !id.is_zero() => TopicSelector::Id(id),
        (name, id) => TopicSelector::Invalid { name, id },
    };
    request
        .topics
        .into_iter()
        .map(|topic| selector((topic.name, topic.topic_id)))
        .collect()
}

/// Whoever may not see a topic is not told whether it exists.
fn refusal(context: &RequestContext, selector: &TopicSelector) -> Option<ErrorCode> {
    let name = match selector {
        TopicSelector::Name(name) => name.as_str(),
        TopicSelector::Id(id) => match context.image.topic_by_id(*id) {
            Some(topic) => &topic.name,
            None => return None,
        },
        TopicSelector::Invalid { .. } => return None,
    };
    let resource = Resource::Topic(name);
    if context.authorize(Operation::Delete, resource) {
        return None;
    }
    match (selector, context.authorize(Operation::Describe, resource)) {
        (TopicSelector::Id(_), false) => Some(ErrorCode::UnknownTopicId),
        _ => Some(ErrorCode::TopicAuthorizationFailed),
    }
}

fn refused(selector: TopicSelector, code: ErrorCode) -> DeletableTopicResult {
    let (name, topic_id) = match selector {
        TopicSelector::Name(name) => (Some(name), Uuid::ZERO),
        TopicSelector::Id(id) => (None, id),
        TopicSelector::Invalid { name, id } => (name, id),
    };
    DeletableTopicResult {
        name,
        topic_id,
        error_code: code.code(),
        ..Default::default()
    }
}

fn result(context: &RequestContext, reply: DeleteTopicReply) -> DeletableTopicResult {
    let (code, error_message) = match reply.result {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (error.code(), Some(error.to_string())),
    };
    DeletableTopicResult {
        // Only since version 6 may the name be absent.
        name: if context.version >= 6 {
            reply.name
        } else {
            Some(reply.name.unwrap_or_default())
        },
        topic_id: reply.topic_id,
        error_code: code.code(),
        error_message,
        ..Default::default()
    }
}
