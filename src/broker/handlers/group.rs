//! The way of a group request to its coordinator.

use std::rc::Rc;

use coordinator::groups::{Request, Response, partition_for_group};
use runtime::sync::oneshot;
use types::{ErrorCode, PartitionIndex, TopicPartition};

use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::topics::CONSUMER_OFFSETS;

/// The partition of `__consumer_offsets` that a group belongs to.
///
/// # Errors
/// NOT_COORDINATOR while there is no such topic: nobody coordinates any group yet.
pub(super) fn partition_of(
    context: &RequestContext,
    group_id: &str,
) -> Result<PartitionIndex, ErrorCode> {
    let topic = context
        .image
        .topic(CONSUMER_OFFSETS)
        .ok_or(ErrorCode::NotCoordinator)?;
    Ok(partition_for_group(group_id, topic.partition_count()))
}

/// Asks the coordinator of a partition of `__consumer_offsets`.
///
/// # Errors
/// NOT_COORDINATOR if this node does not coordinate it.
pub(super) async fn ask_partition(
    context: &RequestContext,
    partition: PartitionIndex,
    request: Request,
) -> Result<Response, ErrorCode> {
    let topic = context
        .image
        .topic(CONSUMER_OFFSETS)
        .ok_or(ErrorCode::NotCoordinator)?;
    let owner = context.core.owner_of(TopicPartition {
        topic_id: topic.id,
        partition,
    });
    let (sender, receiver) = oneshot::channel();
    let now = context.now;
    let ask = move |core: &Rc<crate::core::Core>| {
        crate::shard::coordinate(core, now, partition, request, sender);
    };
    context
        .core
        .post(owner, ask)
        .await
        .map_err(|_| ErrorCode::NotCoordinator)?;
    receiver.await.map_err(|_| ErrorCode::NotCoordinator)
}

/// Asks the coordinator of a group, if the client may do `operation` on it.
///
/// # Errors
/// GROUP_AUTHORIZATION_FAILED, NOT_COORDINATOR.
pub(super) async fn ask(
    context: &RequestContext,
    group_id: &str,
    operation: Operation,
    request: impl Into<Request>,
) -> Result<Response, ErrorCode> {
    if !context.authorize(operation, Resource::Group(group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let partition = partition_of(context, group_id)?;
    ask_partition(context, partition, request.into()).await
}

/// The answer of the kind that was asked for.
macro_rules! expect_response {
    ($response:expr, $kind:ident) => {
        match $response {
            coordinator::groups::Response::$kind(answer) => answer,
            other => panic!("a coordinator answers what it is asked, not {other:?}"),
        }
    };
}
pub(super) use expect_response;
