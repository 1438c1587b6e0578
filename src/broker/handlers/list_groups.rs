//! ListGroups (16): every group that this broker coordinates. Versions 0 to 5.

use std::ops::RangeInclusive;
use std::rc::Rc;

use coordinator::groups::{ListGroups, Request};
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::{ListGroupsRequest, ListGroupsResponse};
use types::ErrorCode;

use super::group::{ask_partition, expect_response};
use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};
use crate::topics::CONSUMER_OFFSETS;

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Asks every coordinator of this node.
pub async fn handle(
    context: Rc<RequestContext>,
    request: ListGroupsRequest,
) -> Outcome<ListGroupsResponse> {
    let sees_all = context.authorize(Operation::Describe, Resource::Cluster);
    let partitions = context
        .image
        .topic(CONSUMER_OFFSETS)
        .map_or(0, |topic| topic.partition_count());
    let mut response = ListGroupsResponse::default();
    for partition in 0..partitions {
        let list = ListGroups {
            states: request.states_filter.clone(),
            types: request.types_filter.clone(),
        };
        let answer = ask_partition(&context, partition, Request::ListGroups(list)).await;
        let listed = match answer.map(|answer| expect_response!(answer, ListGroups)) {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => return refused(error.code()),
            Err(code) => return refused(code),
        };
        let seen = listed.into_iter().filter(|group| {
            sees_all || context.authorize(Operation::Describe, Resource::Group(&group.group_id))
        });
        response.groups.extend(seen.map(|group| ListedGroup {
            group_id: group.group_id,
            protocol_type: group.protocol_type,
            group_state: group.state.name().to_owned(),
            group_type: "classic".to_owned(),
            ..Default::default()
        }));
    }
    reply(response)
}

fn refused(code: ErrorCode) -> Outcome<ListGroupsResponse> {
    reply(ListGroupsResponse {
        error_code: code.code(),
        ..Default::default()
    })
}
