//! IncrementalAlterConfigs (44): sets, unsets, appends to and subtracts from configs (KIP-339). Versions 0 and 1.

use std::ops::RangeInclusive;
use std::rc::Rc;

use controller::Request;
use controller::request::{AlterOp, IncrementalAlterConfigs};
use protocol::messages::incremental_alter_configs_request::AlterableConfig;
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::alter_configs::{Answer, alter};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

/// Answers for each resource.
pub async fn handle(
    context: Rc<RequestContext>,
    request: IncrementalAlterConfigsRequest,
) -> Outcome<IncrementalAlterConfigsResponse> {
    let resources = request.resources.into_iter().map(|resource| {
        let operations = resource.configs.into_iter().map(operation).collect();
        (resource.resource_type, resource.resource_name, operations)
    });
    let answers = alter(&context, resources, |resources| {
        Request::IncrementalAlterConfigs(IncrementalAlterConfigs {
            resources,
            validate_only: request.validate_only,
        })
    });
    let response = |(resource, code, error_message): Answer| AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.name,
        ..Default::default()
    };
    reply(IncrementalAlterConfigsResponse {
        responses: answers.await.into_iter().map(response).collect(),
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
