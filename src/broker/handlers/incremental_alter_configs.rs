//! IncrementalAlterConfigs (44): sets, unsets, appends to and subtracts from configs (KIP-339). Versions 0 and 1.

use std::ops::RangeInclusive;
use std::rc::Rc;

use controller::Request;
use controller::request::{AlterOp, IncrementalAlterConfigs, ResourceName};
use protocol::messages::incremental_alter_configs_request::AlterableConfig;
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::alter_configs::{decide, refusal};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

/// Answers for each resource.
pub async fn handle(
    context: Rc<RequestContext>,
    request: IncrementalAlterConfigsRequest,
) -> Outcome<IncrementalAlterConfigsResponse> {
    let (mut answers, mut accepted) = (Vec::new(), Vec::new());
    for resource in request.resources {
        let name = ResourceName {
            resource_type: resource.resource_type,
            name: resource.resource_name,
        };
        match refusal(&context, &name) {
            Some(code) => answers.push((name, code, Some(code.to_string()))),
            None => accepted.push((name, resource.configs.into_iter().map(operation).collect())),
        }
    }
    let names = accepted
        .iter()
        .map(|(name, _): &(ResourceName, _)| name.clone())
        .collect();
    let alter = IncrementalAlterConfigs {
        resources: accepted,
        validate_only: request.validate_only,
    };
    answers.extend(decide(&context, names, Request::IncrementalAlterConfigs(alter)).await);
    let responses =
        answers.into_iter().map(
            |(resource, code, error_message)| AlterConfigsResourceResponse {
                error_code: code.code(),
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.name,
                ..Default::default()
            },
        );
    reply(IncrementalAlterConfigsResponse {
        responses: responses.collect(),
        ..Default::default()
    })
}

fn operation(config: AlterableConfig) -> AlterOp {
    AlterOp {
        key: config.name,
        operation: config.config_operation,
        value: config.value,
    }
}
