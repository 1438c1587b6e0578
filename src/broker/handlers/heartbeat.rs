//! Heartbeat (12): a member says that it lives, and learns whether it must join again. Versions 0 to 4.

use std::ops::RangeInclusive;
use std::rc::Rc;

use coordinator::groups::Heartbeat;
use protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use types::ErrorCode;

use super::group::{ask, expect_response};
use crate::server::authorizer::Operation;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=4;

/// Answers at once.
pub async fn handle(
    context: Rc<RequestContext>,
    request: HeartbeatRequest,
) -> Outcome<HeartbeatResponse> {
    let group_id = request.group_id.clone();
    let heartbeat = Heartbeat {
        group_id: request.group_id,
        generation_id: request.generation_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
    };
    let code = match ask(&context, &group_id, Operation::Read, heartbeat).await {
        Err(code) => code,
        Ok(response) => match expect_response!(response, Heartbeat) {
            Ok(_) => ErrorCode::None,
            Err(error) => error.code(),
        },
    };
    reply(HeartbeatResponse {
        error_code: code.code(),
        ..Default::default()
    })
}
