//! SyncGroup (14): brings the leader's assignment, and fetches the member's own.
//!
//! Versions 0 to 5; the protocol is checked since 5 (KIP-559).

use std::ops::RangeInclusive;
use std::rc::Rc;

use coordinator::groups::SyncGroup;
use protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use types::ErrorCode;

use super::group::{ask, expect_response};
use crate::server::authorizer::Operation;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Waits until the assignment is stored.
pub async fn handle(
    context: Rc<RequestContext>,
    request: SyncGroupRequest,
) -> Outcome<SyncGroupResponse> {
    let group_id = request.group_id.clone();
    let assignments = request.assignments.into_iter();
    let sync = SyncGroup {
        group_id: request.group_id,
        generation_id: request.generation_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        requires_protocol: context.version >= 5,
        assignments: assignments
            .map(|given| (given.member_id, given.assignment))
            .collect(),
    };
    let refused = |code: ErrorCode| SyncGroupResponse {
        error_code: code.code(),
        ..Default::default()
    };
    reply(
        match ask(&context, &group_id, Operation::Read, sync).await {
            Err(code) => refused(code),
            Ok(response) => match expect_response!(response, SyncGroup) {
                Err(error) => refused(error.code()),
                Ok(synced) => SyncGroupResponse {
                    protocol_type: synced.protocol_type,
                    protocol_name: synced.protocol_name,
                    assignment: synced.assignment,
                    ..Default::default()
                },
            },
        },
    )
}
