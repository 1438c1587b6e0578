//! DeleteGroups (42): forgets groups with all their offsets. Versions 0 to 2.

use std::ops::RangeInclusive;
use std::rc::Rc;

use coordinator::groups::DeleteGroups;
use protocol::messages::delete_groups_response::DeletableGroupResult;
use protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use types::ErrorCode;

use super::group::{ask, expect_response};
use crate::server::authorizer::Operation;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// Answers for each group, once its deletion is durable.
pub async fn handle(
    context: Rc<RequestContext>,
    request: DeleteGroupsRequest,
) -> Outcome<DeleteGroupsResponse> {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let delete = DeleteGroups {
            groups: vec![group_id.clone()],
        };
        let code = match ask(&context, &group_id, Operation::Delete, delete).await {
            Err(code) => code,
            Ok(answer) => {
                let result = expect_response!(answer, DeleteGroups).into_iter().next();
                let result = result
                    .expect("every group that was asked for is answered")
                    .result;
                result.map_or_else(|error| error.code(), |()| ErrorCode::None)
            }
        };
        let error_code = code.code();
        results.push(DeletableGroupResult {
            group_id,
            error_code,
            ..Default::default()
        });
    }
    reply(DeleteGroupsResponse {
        results,
        ..Default::default()
    })
}
