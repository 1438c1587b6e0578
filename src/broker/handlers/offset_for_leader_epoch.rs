//! OffsetForLeaderEpoch (23): where a leader epoch ended (KIP-101, KIP-320). Versions 2 to 4.

use std::ops::RangeInclusive;
use std::rc::Rc;

use protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use replica::EpochEnd;
use types::ErrorCode;

use crate::observer::EpochEndAnswered;
use crate::server::authorizer::Operation;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 2..=4;

/// Answers for each partition.
pub async fn handle(
    context: Rc<RequestContext>,
    request: OffsetForLeaderEpochRequest,
) -> Outcome<OffsetForLeaderEpochResponse> {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let end = find(&context, &topic.topic, &asked).await;
            observe(&context, &topic.topic, &asked, end);
            partitions.push(partition_response(asked.partition, end));
        }
        let topic = topic.topic;
        topics.push(OffsetForLeaderTopicResult {
            topic,
            partitions,
            ..Default::default()
        });
    }
    reply(OffsetForLeaderEpochResponse {
        topics,
        ..Default::default()
    })
}

async fn find(
    context: &Rc<RequestContext>,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<EpochEnd, ErrorCode> {
    let partition = context.partition(Operation::Describe, topic, asked.partition)?;
    let expected = (asked.current_leader_epoch >= 0).then_some(asked.current_leader_epoch);
    let epoch = asked.leader_epoch;
    let ask = move |core: &Rc<crate::core::Core>| {
        core.with_shard(|shard| shard.epoch_end(partition, epoch, expected))
    };
    let end = context
        .core
        .call(context.core.owner_of(partition), ask)
        .await;
    end.map_err(|_| ErrorCode::NotLeaderOrFollower)?
}

fn observe(
    context: &RequestContext,
    topic: &str,
    asked: &OffsetForLeaderPartition,
    end: Result<EpochEnd, ErrorCode>,
) {
    let Some((observer, partition)) = context.observed(topic, asked.partition) else {
        return;
    };
    observer.epoch_end_answered(&EpochEndAnswered {
        began: context.began,
        partition,
        asked_epoch: asked.leader_epoch,
        result: end.map(|end| (end.epoch, end.end_offset)),
    });
}

fn partition_response(partition: i32, end: Result<EpochEnd, ErrorCode>) -> EpochEndOffset {
    match end {
        Ok(end) => EpochEndOffset {
            partition,
            leader_epoch: end.epoch,
            end_offset: end.end_offset,
            ..Default::default()
        },
        Err(code) => EpochEndOffset {
            partition,
            error_code: code.code(),
            leader_epoch: -1,
            end_offset: -1,
            ..Default::default()
        },
    }
}
