//! DescribeProducers (61): who writes to partitions (KIP-664). Version 0.

use std::ops::RangeInclusive;
use std::rc::Rc;

use protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use replica::ProducerDescription;
use types::{ErrorCode, PartitionIndex};

use crate::server::authorizer::Operation;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers for each partition.
pub async fn handle(
    context: Rc<RequestContext>,
    request: DescribeProducersRequest,
) -> Outcome<DescribeProducersResponse> {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let described = describe(&context, &topic.name, index).await;
            partitions.push(partition_response(index, described));
        }
        topics.push(TopicResponse {
            name: topic.name,
            partitions,
            ..Default::default()
        });
    }
    reply(DescribeProducersResponse {
        topics,
        ..Default::default()
    })
}

async fn describe(
    context: &Rc<RequestContext>,
    topic: &str,
    index: PartitionIndex,
) -> Result<Vec<ProducerDescription>, ErrorCode> {
    let partition = context.partition(Operation::Read, topic, index)?;
    let ask = move |core: &Rc<crate::core::Core>| {
        core.with_shard(|shard| shard.describe_producers(partition))
    };
    let described = context
        .core
        .call(context.core.owner_of(partition), ask)
        .await;
    described.map_err(|_| ErrorCode::NotLeaderOrFollower)?
}

fn partition_response(
    partition_index: PartitionIndex,
    described: Result<Vec<ProducerDescription>, ErrorCode>,
) -> PartitionResponse {
    let producers = match described {
        Ok(producers) => producers,
        Err(code) => {
            return PartitionResponse {
                partition_index,
                error_code: code.code(),
                error_message: Some(code.to_string()),
                ..Default::default()
            };
        }
    };
    let producer = |producer: ProducerDescription| ProducerState {
        producer_id: producer.producer_id,
        producer_epoch: i32::from(producer.producer_epoch),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.current_txn_start_offset,
        ..Default::default()
    };
    PartitionResponse {
        partition_index,
        active_producers: producers.into_iter().map(producer).collect(),
        ..Default::default()
    }
}
