//! DescribeCluster (60). Versions 0 to 2; fenced brokers since 2 (KIP-1073).

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use controller::image::BrokerImage;
use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use types::ErrorCode;

use super::authorized;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// The endpoint type of brokers; 2 is that of controllers, which do not listen for clients here.
const BROKERS: i8 = 1;

/// Answers from the image.
pub async fn handle(
    context: Rc<RequestContext>,
    request: DescribeClusterRequest,
) -> Outcome<DescribeClusterResponse> {
    if request.endpoint_type != BROKERS {
        let code = match request.endpoint_type {
            2 => ErrorCode::MismatchedEndpointType,
            _ => ErrorCode::UnsupportedEndpointType,
        };
        return reply(DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(format!(
                "This is a broker's listener, not endpoint type {}.",
                request.endpoint_type
            )),
            endpoint_type: BROKERS,
            ..Default::default()
        });
    }
    let image = &context.image;
    let broker = |broker: &Arc<BrokerImage>| {
        let endpoint = broker.endpoint(&context.peer.listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
            is_fenced: broker.fenced,
            ..Default::default()
        })
    };
    let shown = image
        .brokers
        .values()
        .filter(|b| request.include_fenced_brokers || !b.fenced);
    let mut body = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: image.cluster_id.to_string(),
        controller_id: image.controller_for_clients().unwrap_or(-1),
        brokers: shown.filter_map(broker).collect(),
        ..Default::default()
    };
    if request.include_cluster_authorized_operations {
        body.cluster_authorized_operations = authorized::cluster(&context);
    }
    reply(body)
}
