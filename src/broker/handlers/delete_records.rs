//! DeleteRecords (21): moves partitions' log starts up. Versions 0 to 2.

use std::ops::RangeInclusive;
use std::rc::Rc;

use protocol::messages::delete_records_request::DeleteRecordsPartition;
use protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use runtime::sync::oneshot;
use types::{ErrorCode, Mono, Offset};

use crate::server::authorizer::Operation;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

type Deleting = oneshot::Receiver<Result<Offset, replica::DeleteRecordsError>>;

/// Has every partition begin, then waits for all of them.
pub async fn handle(
    context: Rc<RequestContext>,
    request: DeleteRecordsRequest,
) -> Outcome<DeleteRecordsResponse> {
    let deadline = context
        .now
        .mono
        .plus_millis(i64::from(request.timeout_ms.max(0)));
    let mut begun = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let deleting = begin(&context, &topic.name, &partition, deadline).await;
            partitions.push((partition.partition_index, deleting));
        }
        begun.push((topic.name, partitions));
    }
    let mut topics = Vec::with_capacity(begun.len());
    for (name, begun) in begun {
        let mut partitions = Vec::with_capacity(begun.len());
        for (partition_index, deleting) in begun {
            partitions.push(result(partition_index, ended(deleting).await));
        }
        topics.push(DeleteRecordsTopicResult {
            name,
            partitions,
            ..Default::default()
        });
    }
    reply(DeleteRecordsResponse {
        topics,
        ..Default::default()
    })
}

async fn begin(
    context: &Rc<RequestContext>,
    topic: &str,
    partition: &DeleteRecordsPartition,
    deadline: Mono,
) -> Result<Deleting, ErrorCode> {
    let offset = partition.offset;
    let partition = context.partition(Operation::Delete, topic, partition.partition_index)?;
    if !context.image.topic_config(topic).may_delete_records {
        return Err(ErrorCode::PolicyViolation);
    }
    let (sender, receiver) = oneshot::channel();
    let now = context.now;
    let delete = move |core: &Rc<crate::core::Core>| {
        core.with_shard(|shard| shard.delete_records(now, partition, offset, deadline, sender));
    };
    let owner = context.core.owner_of(partition);
    context
        .core
        .post(owner, delete)
        .await
        .map_err(|_| ErrorCode::NotLeaderOrFollower)?;
    Ok(receiver)
}

async fn ended(deleting: Result<Deleting, ErrorCode>) -> Result<Offset, ErrorCode> {
    let deleted = deleting?
        .await
        .map_err(|_| ErrorCode::NotLeaderOrFollower)?;
    deleted.map_err(|error| error.code())
}

fn result(
    partition_index: i32,
    deleted: Result<Offset, ErrorCode>,
) -> DeleteRecordsPartitionResult {
    let (low_watermark, code) = match deleted {
        Ok(low_watermark) => (low_watermark, ErrorCode::None),
        Err(code) => (-1, code),
    };
    DeleteRecordsPartitionResult {
        partition_index,
        low_watermark,
        error_code: code.code(),
        ..Default::default()
    }
}
