//! JoinGroup (11): asks to be a member of the group's next generation.
//!
//! Versions 0 to 9; 0 and 1 were removed in Kafka 4.0 and put back in 4.1 (KAFKA-19444).

use std::ops::RangeInclusive;
use std::rc::Rc;

use coordinator::groups::{JoinGroup, JoinProtocol, JoinedGroup};
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use types::ErrorCode;

use super::group::{ask, expect_response};
use crate::server::authorizer::Operation;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=9;

/// Waits until the generation stands, or the member is refused.
pub async fn handle(
    context: Rc<RequestContext>,
    request: JoinGroupRequest,
) -> Outcome<JoinGroupResponse> {
    let member_id = request.member_id.clone();
    let group_id = request.group_id.clone();
    let join = join_of(&context, request);
    reply(
        match ask(&context, &group_id, Operation::Read, join).await {
            Err(code) => refused(&context, code, member_id),
            Ok(response) => match expect_response!(response, JoinGroup) {
                Ok(joined) => joined_response(&context, joined),
                Err(failure) => refused(&context, failure.error.code(), failure.member_id),
            },
        },
    )
}

fn join_of(context: &RequestContext, request: JoinGroupRequest) -> JoinGroup {
    let protocols = request.protocols.into_iter();
    JoinGroup {
        group_id: request.group_id,
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocols: protocols
            .map(|protocol| JoinProtocol {
                name: protocol.name,
                metadata: protocol.metadata,
            })
            .collect(),
        reason: request.reason,
        client_id: context.client_id.clone(),
        client_host: format!("/{}", context.peer.address.ip()),
        requires_known_member_id: context.version >= 4,
        supports_skipping_assignment: context.version >= 9,
    }
}

fn joined_response(context: &RequestContext, joined: JoinedGroup) -> JoinGroupResponse {
    let members = joined
        .members
        .into_iter()
        .map(|member| JoinGroupResponseMember {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            metadata: member.metadata,
            ..Default::default()
        });
    JoinGroupResponse {
        generation_id: joined.generation_id,
        protocol_type: joined.protocol_type,
        protocol_name: protocol_name(context, joined.protocol_name),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: members.collect(),
        ..Default::default()
    }
}

fn refused(context: &RequestContext, code: ErrorCode, member_id: String) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.code(),
        protocol_name: protocol_name(context, None),
        member_id,
        ..Default::default()
    }
}

/// Before version 7 there is always a name.
fn protocol_name(context: &RequestContext, name: Option<String>) -> Option<String> {
    match context.version {
        7.. => name,
        _ => Some(name.unwrap_or_default()),
    }
}
