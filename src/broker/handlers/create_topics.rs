//! CreateTopics (19). Versions 2 to 7. Answered once the topics can be used.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::rc::Rc;

use controller::configs::ConfigEntry;
use controller::request::{CreatableTopic, CreateTopicReply, CreatedTopic};
use protocol::messages::create_topics_request::CreatableTopic as WireTopic;
use protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use types::ErrorCode;

use crate::server::authorizer::{Operation, Resource};
use crate::server::context::{Quota, RequestContext};
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 2..=7;

/// Answers for each topic.
pub async fn handle(
    context: Rc<RequestContext>,
    request: CreateTopicsRequest,
) -> Outcome<CreateTopicsResponse> {
    let mut topics = Vec::new();
    let creates_all = context.authorize(Operation::Create, Resource::Cluster);
    let mut refused = BTreeSet::new();
    let mut accepted = Vec::new();
    for topic in request.topics {
        if creates_all || context.authorize(Operation::Create, Resource::Topic(&topic.name)) {
            accepted.push(domain(topic));
        } else if refused.insert(topic.name.clone()) {
            topics.push(failed(
                topic.name,
                ErrorCode::TopicAuthorizationFailed,
                None,
            ));
        }
    }
    let names: Vec<String> = accepted.iter().map(|topic| topic.name.clone()).collect();
    let mutations = accepted
        .iter()
        .map(|topic| topic.num_partitions.max(1) as u64)
        .sum();
    let replies = match accepted.is_empty() {
        true => Ok(Vec::new()),
        false => {
            context
                .core
                .node
                .create_topics(accepted, request.validate_only)
                .await
        }
    };
    match replies {
        Ok(replies) => topics.extend(replies.into_iter().map(|reply| result(&context, reply))),
        Err(code) => topics.extend(names.into_iter().map(|name| failed(name, code, None))),
    }
    let throttle_time_ms = context.charge(Quota::ControllerMutation, mutations);
    reply(CreateTopicsResponse {
        topics,
        throttle_time_ms,
        ..Default::default()
    })
}

fn domain(topic: WireTopic) -> CreatableTopic {
    let assignments = topic.assignments.into_iter();
    let configs = topic.configs.into_iter();
    CreatableTopic {
        name: topic.name,
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments
            .map(|one| (one.partition_index, one.broker_ids))
            .collect(),
        configs: configs.map(|config| (config.name, config.value)).collect(),
    }
}

fn failed(name: String, code: ErrorCode, message: Option<String>) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: code.code(),
        error_message: message,
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

fn result(context: &RequestContext, reply: CreateTopicReply) -> CreatableTopicResult {
    match reply.result {
        Ok(created) => created_result(context, reply.name, created),
        Err(error) => failed(reply.name, error.code(), Some(error.to_string())),
    }
}

fn created_result(
    context: &RequestContext,
    name: String,
    created: CreatedTopic,
) -> CreatableTopicResult {
    let topic_id = created.topic_id;
    if !context.authorize(Operation::DescribeConfigs, Resource::Topic(&name)) {
        return CreatableTopicResult {
            topic_id,
            topic_config_error_code: ErrorCode::TopicAuthorizationFailed.code(),
            ..failed(name, ErrorCode::None, None)
        };
    }
    let config = |entry: ConfigEntry| CreatableTopicConfigs {
        name: entry.name,
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
        ..Default::default()
    };
    CreatableTopicResult {
        name,
        topic_id,
        num_partitions: created.num_partitions,
        replication_factor: created.replication_factor,
        configs: Some(created.configs.into_iter().map(config).collect()),
        ..Default::default()
    }
}
