//! AlterConfigs (33): replaces all configs of resources. Versions 0 to 2; kept for old clients.

use std::ops::RangeInclusive;
use std::rc::Rc;

use controller::request::{AlterConfigs, AlterConfigsReply, ResourceName};
use controller::{Request, Response};
use protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use types::ErrorCode;

use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// The number of a topic among the types of resources.
const TOPIC: i8 = 2;

/// Answers for each resource.
pub async fn handle(
    context: Rc<RequestContext>,
    request: AlterConfigsRequest,
) -> Outcome<AlterConfigsResponse> {
    let resources = request.resources.into_iter().map(|resource| {
        let configs = resource.configs.into_iter();
        let configs = configs.map(|config| (config.name, config.value)).collect();
        (resource.resource_type, resource.resource_name, configs)
    });
    let answers = alter(&context, resources, |resources| {
        Request::AlterConfigs(AlterConfigs {
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
    reply(AlterConfigsResponse {
        responses: answers.await.into_iter().map(response).collect(),
        ..Default::default()
    })
}

/// A resource, what came of it, and why.
pub(super) type Answer = (ResourceName, ErrorCode, Option<String>);

/// Has the controller alter the configs of those resources that the client may alter; `request` says how. `resources` are
/// each a type, a name and what is to be done.
pub(super) async fn alter<C>(
    context: &RequestContext,
    resources: impl Iterator<Item = (i8, String, Vec<C>)>,
    request: impl FnOnce(Vec<(ResourceName, Vec<C>)>) -> Request,
) -> Vec<Answer> {
    let (mut answers, mut accepted) = (Vec::new(), Vec::new());
    for (resource_type, name, configs) in resources {
        let name = ResourceName {
            resource_type,
            name,
        };
        match refusal(context, &name) {
            Some(code) => answers.push((name, code, Some(code.to_string()))),
            None => accepted.push((name, configs)),
        }
    }
    let names = accepted.iter().map(|(name, _)| name.clone()).collect();
    answers.extend(decide(context, names, request(accepted)).await);
    answers
}

/// Why the client may not alter the configs of a resource, if it may not.
fn refusal(context: &RequestContext, resource: &ResourceName) -> Option<ErrorCode> {
    let (resource, code) = match resource.resource_type {
        TOPIC => (
            Resource::Topic(&resource.name),
            ErrorCode::TopicAuthorizationFailed,
        ),
        _ => (Resource::Cluster, ErrorCode::ClusterAuthorizationFailed),
    };
    (!context.authorize(Operation::AlterConfigs, resource)).then_some(code)
}

/// Asks the controller; if it does not answer, that is the answer for each of `resources`.
async fn decide(
    context: &RequestContext,
    resources: Vec<ResourceName>,
    request: Request,
) -> Vec<Answer> {
    let answer = |reply: AlterConfigsReply| match reply.result {
        Ok(()) => (reply.resource, ErrorCode::None, None),
        Err(error) => (reply.resource, error.code(), Some(error.to_string())),
    };
    match context.core.node.decide(request).await {
        Ok(Response::AlterConfigs(replies)) => replies.into_iter().map(answer).collect(),
        Ok(other) => panic!("the controller answers what it is asked, not {other:?}"),
        Err(unavailable) => {
            let refused = |resource| (resource, unavailable.code(), Some(unavailable.to_string()));
            resources.into_iter().map(refused).collect()
        }
    }
}
