//! ListConfigResources (74): what has configs (KIP-1142). Versions 0 and 1; version 0 lists client metrics only.

use std::ops::RangeInclusive;
use std::rc::Rc;

use controller::image::ConfigResourceType;
use protocol::messages::list_config_resources_response::ConfigResource;
use protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use types::ErrorCode;

use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

const BROKER_LOGGER: i8 = 8;

/// Topics, brokers, client metrics, groups: those of the wanted types.
pub async fn handle(
    context: Rc<RequestContext>,
    request: ListConfigResourcesRequest,
) -> Outcome<ListConfigResourcesResponse> {
    let refused = |code: ErrorCode| {
        reply(ListConfigResourcesResponse {
            error_code: code.code(),
            ..Default::default()
        })
    };
    if !context.authorize(Operation::DescribeConfigs, Resource::Cluster) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let known = [
        ConfigResourceType::Topic.code(),
        ConfigResourceType::Broker.code(),
        BROKER_LOGGER,
        ConfigResourceType::ClientMetrics.code(),
        ConfigResourceType::Group.code(),
    ];
    let wanted: Vec<i8> = match (context.version, request.resource_types.is_empty()) {
        (0, _) => vec![ConfigResourceType::ClientMetrics.code()],
        (_, true) => known.to_vec(),
        (_, false) => request.resource_types,
    };
    if wanted.iter().any(|kind| !known.contains(kind)) {
        return refused(ErrorCode::UnsupportedVersion);
    }
    let mut config_resources = Vec::new();
    let mut push = |resource_name: String, resource_type: i8| {
        config_resources.push(ConfigResource {
            resource_name,
            resource_type,
            ..Default::default()
        });
    };
    for kind in wanted {
        match ConfigResourceType::from_code(kind) {
            Some(ConfigResourceType::Topic) => {
                context
                    .image
                    .topics
                    .iter()
                    .for_each(|topic| push(topic.name.to_string(), kind));
            }
            Some(ConfigResourceType::Broker) => {
                context
                    .image
                    .brokers
                    .keys()
                    .for_each(|id| push(id.to_string(), kind));
            }
            // Every broker has a logger; nobody has client metrics or group configs, which are not served.
            None => context
                .image
                .brokers
                .keys()
                .for_each(|id| push(id.to_string(), kind)),
            Some(ConfigResourceType::ClientMetrics | ConfigResourceType::Group) => {}
        }
    }
    reply(ListConfigResourcesResponse {
        config_resources,
        ..Default::default()
    })
}
