//! DescribeGroups (15): what groups are like. Versions 0 to 6; GROUP_ID_NOT_FOUND is told since 6.

use std::ops::RangeInclusive;
use std::rc::Rc;

use coordinator::groups::{DescribeGroupResult, DescribeGroups};
use protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use types::ErrorCode;

use super::authorized;
use super::group::{ask, expect_response};
use crate::server::authorizer::Operation;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=6;

/// Answers for each group.
pub async fn handle(
    context: Rc<RequestContext>,
    request: DescribeGroupsRequest,
) -> Outcome<DescribeGroupsResponse> {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group_id in request.groups {
        let describe = DescribeGroups {
            groups: vec![group_id.clone()],
        };
        let mut group = match ask(&context, &group_id, Operation::Describe, describe).await {
            Err(code) => refused(group_id.clone(), code),
            Ok(answer) => {
                let result = expect_response!(answer, DescribeGroups).into_iter().next();
                described(
                    &context,
                    result.expect("every group that was asked for is answered"),
                )
            }
        };
        if request.include_authorized_operations && group.error_code == 0 {
            group.authorized_operations = authorized::group(&context, &group_id);
        }
        groups.push(group);
    }
    reply(DescribeGroupsResponse {
        groups,
        ..Default::default()
    })
}

fn refused(group_id: String, code: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        group_id,
        error_code: code.code(),
        ..Default::default()
    }
}

fn described(context: &RequestContext, result: DescribeGroupResult) -> DescribedGroup {
    let group = match result.result {
        Ok(group) => group,
        Err(error) if error.code() == ErrorCode::GroupIdNotFound => {
            let mut dead = refused(result.group_id, ErrorCode::None);
            dead.group_state = "Dead".to_owned();
            if context.version >= 6 {
                dead.error_code = error.code().code();
                dead.error_message = Some(format!("Group {} not found.", dead.group_id));
            }
            return dead;
        }
        Err(error) => return refused(result.group_id, error.code()),
    };
    let members = group
        .members
        .into_iter()
        .map(|member| DescribedGroupMember {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            member_metadata: member.metadata,
            member_assignment: member.assignment,
            ..Default::default()
        });
    DescribedGroup {
        group_id: result.group_id,
        group_state: group.state.name().to_owned(),
        protocol_type: group.protocol_type,
        protocol_data: group.protocol_name,
        members: members.collect(),
        ..Default::default()
    }
}
