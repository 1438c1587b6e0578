//! DescribeConfigs (32): value, source, synonyms, type and meaning of configs. Versions 1 to 4.

use std::ops::RangeInclusive;
use std::rc::Rc;

use controller::configs::{BrokerConfigView, ConfigEntry, describe_broker, describe_topic};
use controller::image::ConfigResourceType;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use types::ErrorCode;

use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 1..=4;

/// Answers for each resource.
pub async fn handle(
    context: Rc<RequestContext>,
    request: DescribeConfigsRequest,
) -> Outcome<DescribeConfigsResponse> {
    let shown = Shown {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let results = request.resources.into_iter().map(|resource| {
        let described = describe(&context, &resource);
        result(resource, described, shown)
    });
    reply(DescribeConfigsResponse {
        results: results.collect(),
        ..Default::default()
    })
}

/// What of each config is shown.
#[derive(Clone, Copy)]
struct Shown {
    synonyms: bool,
    documentation: bool,
}

type Refusal = (ErrorCode, String);

fn describe(
    context: &RequestContext,
    resource: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, Refusal> {
    let node = &context.core.node;
    let view = BrokerConfigView::new(&context.image, node.id, &node.static_configs);
    let name = resource.resource_name.as_str();
    let refuse = |code: ErrorCode, message: String| Err((code, message));
    match ConfigResourceType::from_code(resource.resource_type) {
        Some(ConfigResourceType::Topic) => {
            if !context.authorize(Operation::DescribeConfigs, Resource::Topic(name)) {
                return refuse(
                    ErrorCode::TopicAuthorizationFailed,
                    format!("Topic {name}."),
                );
            }
            if let Err(error) = controller::check_topic_name(name) {
                return refuse(ErrorCode::InvalidTopicException, error.to_string());
            }
            if context.image.topic(name).is_none() {
                let message = format!("The topic '{name}' does not exist.");
                return refuse(ErrorCode::UnknownTopicOrPartition, message);
            }
            Ok(describe_topic(&view, name))
        }
        Some(ConfigResourceType::Broker) => {
            if !context.authorize(Operation::DescribeConfigs, Resource::Cluster) {
                return refuse(
                    ErrorCode::ClusterAuthorizationFailed,
                    "The cluster.".to_owned(),
                );
            }
            if name.is_empty() {
                return Ok(describe_broker(&view, true));
            }
            if name != node.id.to_string() {
                let id = node.id;
                let message = format!("This is broker {id}; it cannot describe '{name}'.");
                return refuse(ErrorCode::InvalidRequest, message);
            }
            Ok(describe_broker(&view, false))
        }
        _ => {
            let kind = resource.resource_type;
            let message = format!("Configs of resource type {kind} are not served.");
            refuse(ErrorCode::InvalidRequest, message)
        }
    }
}

fn result(
    resource: DescribeConfigsResource,
    described: Result<Vec<ConfigEntry>, Refusal>,
    shown: Shown,
) -> DescribeConfigsResult {
    let mut result = DescribeConfigsResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        ..Default::default()
    };
    match described {
        Err((code, message)) => {
            result.error_code = code.code();
            result.error_message = Some(message);
        }
        Ok(entries) => {
            let wanted = resource.configuration_keys;
            let is_wanted = |entry: &ConfigEntry| {
                wanted
                    .as_ref()
                    .is_none_or(|keys| keys.contains(&entry.name))
            };
            let entries = entries.into_iter().filter(is_wanted);
            result.configs = entries.map(|entry| config(entry, shown)).collect();
        }
    }
    result
}

fn config(entry: ConfigEntry, shown: Shown) -> DescribeConfigsResourceResult {
    let synonyms = entry
        .synonyms
        .into_iter()
        .map(|synonym| DescribeConfigsSynonym {
            name: synonym.name,
            value: synonym.value,
            source: synonym.source.code(),
            ..Default::default()
        });
    DescribeConfigsResourceResult {
        name: entry.name,
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
        synonyms: if shown.synonyms {
            synonyms.collect()
        } else {
            Vec::new()
        },
        config_type: entry.kind.map_or(0, |kind| kind.code()),
        documentation: shown.documentation.then_some(entry.doc),
        ..Default::default()
    }
}
