//! LeaveGroup (13): members leave, or an administrator removes them.
//!
//! Versions 0 to 5; several members in one request since 3 (KIP-345).

use std::ops::RangeInclusive;
use std::rc::Rc;

use coordinator::groups::{LeaveGroup, LeavingMember, LeftMember};
use protocol::messages::leave_group_response::MemberResponse;
use protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use types::ErrorCode;

use super::group::{ask, expect_response};
use crate::server::authorizer::Operation;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Answers for each member; before version 3 for the only one.
pub async fn handle(
    context: Rc<RequestContext>,
    request: LeaveGroupRequest,
) -> Outcome<LeaveGroupResponse> {
    let group_id = request.group_id.clone();
    let leave = leave_of(&context, request);
    let refused = |code: ErrorCode| LeaveGroupResponse {
        error_code: code.code(),
        ..Default::default()
    };
    reply(
        match ask(&context, &group_id, Operation::Read, leave).await {
            Err(code) => refused(code),
            Ok(response) => match expect_response!(response, LeaveGroup) {
                Err(error) => refused(error.code()),
                Ok(left) if context.version >= 3 => LeaveGroupResponse {
                    members: left.into_iter().map(member_response).collect(),
                    ..Default::default()
                },
                Ok(left) => match left.into_iter().find_map(|member| member.result.err()) {
                    Some(error) => refused(error.code()),
                    None => refused(ErrorCode::None),
                },
            },
        },
    )
}

fn leave_of(context: &RequestContext, request: LeaveGroupRequest) -> LeaveGroup {
    let members = match context.version {
        3.. => request.members.into_iter().map(|member| LeavingMember {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            reason: member.reason,
        }),
        _ => {
            let only = LeavingMember {
                member_id: request.member_id,
                ..Default::default()
            };
            return LeaveGroup {
                group_id: request.group_id,
                members: vec![only],
            };
        }
    };
    LeaveGroup {
        group_id: request.group_id,
        members: members.collect(),
    }
}

fn member_response(left: LeftMember) -> MemberResponse {
    MemberResponse {
        member_id: left.member_id,
        group_instance_id: left.group_instance_id,
        error_code: left
            .result
            .map_or_else(|error| error.code(), |()| ErrorCode::None)
            .code(),
        ..Default::default()
    }
}
