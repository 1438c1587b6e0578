//! Answers when the coordinator is not available, whatever was asked.

use super::api::*;
use super::errors::Unavailable;

impl Response {
    /// The same answer, refused because the coordinator is not available.
    pub(super) fn refused(&self, unavailable: Unavailable) -> Response {
        match self {
            Response::JoinGroup(_) => Response::JoinGroup(Err(JoinGroupFailure {
                member_id: String::new(),
                error: unavailable.into(),
            })),
            Response::SyncGroup(_) => Response::SyncGroup(Err(unavailable.into())),
            Response::Heartbeat(_) => Response::Heartbeat(Err(unavailable.into())),
            Response::LeaveGroup(_) => Response::LeaveGroup(Err(unavailable.into())),
            Response::OffsetCommit(_) => Response::OffsetCommit(Err(unavailable.into())),
            Response::OffsetFetch(_) => Response::OffsetFetch(Err(unavailable.into())),
            Response::OffsetDelete(_) => Response::OffsetDelete(Err(unavailable.into())),
            Response::ListGroups(_) => Response::ListGroups(Err(unavailable.into())),
            Response::DescribeGroups(results) => {
                let refused = |result: &DescribeGroupResult| DescribeGroupResult {
                    group_id: result.group_id.clone(),
                    result: Err(unavailable.into()),
                };
                Response::DescribeGroups(results.iter().map(refused).collect())
            }
            Response::DeleteGroups(results) => {
                let refused = |result: &DeleteGroupResult| DeleteGroupResult {
                    group_id: result.group_id.clone(),
                    // What was refused anyway stays refused for its own reason.
                    result: result.result.and(Err(unavailable.into())),
                };
                Response::DeleteGroups(results.iter().map(refused).collect())
            }
        }
    }
}

impl Request {
    /// The answer when the coordinator is not available.
    pub(super) fn refused(self, unavailable: Unavailable) -> Response {
        match self {
            Request::JoinGroup(request) => Response::JoinGroup(Err(JoinGroupFailure {
                member_id: request.member_id,
                error: unavailable.into(),
            })),
            Request::SyncGroup(_) => Response::SyncGroup(Err(unavailable.into())),
            // A member must not be driven out only because its coordinator is still reading.
            Request::Heartbeat(_) if unavailable == Unavailable::Loading => {
                Response::Heartbeat(Ok(HeartbeatAccepted))
            }
            Request::Heartbeat(_) => Response::Heartbeat(Err(unavailable.into())),
            Request::LeaveGroup(_) => Response::LeaveGroup(Err(unavailable.into())),
            Request::OffsetCommit(_) => Response::OffsetCommit(Err(unavailable.into())),
            Request::OffsetFetch(_) => Response::OffsetFetch(Err(unavailable.into())),
            Request::OffsetDelete(_) => Response::OffsetDelete(Err(unavailable.into())),
            Request::ListGroups(_) => Response::ListGroups(Err(unavailable.into())),
            Request::DescribeGroups(request) => {
                let refused = |group_id| DescribeGroupResult {
                    group_id,
                    result: Err(unavailable.into()),
                };
                Response::DescribeGroups(request.groups.into_iter().map(refused).collect())
            }
            Request::DeleteGroups(request) => {
                let refused = |group_id| DeleteGroupResult {
                    group_id,
                    result: Err(unavailable.into()),
                };
                Response::DeleteGroups(request.groups.into_iter().map(refused).collect())
            }
        }
    }
}
