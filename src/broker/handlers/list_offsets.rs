//! ListOffsets (2): offsets by timestamp, and the named ones: latest -1, earliest -2, largest timestamp -3,
//! earliest local -4, latest tiered -5, earliest pending upload -6.
//!
//! Versions 1 to 11. Latest is the high watermark, or the last stable offset for readers of committed data.
//! Without tiered storage earliest local is earliest (KIP-405), latest tiered and earliest pending upload are -1.

use std::ops::RangeInclusive;
use std::rc::Rc;

use protocol::messages::list_offsets_request::ListOffsetsPartition;
use protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use replica::Isolation;
use types::{ErrorCode, Offset};

use crate::observer::ListOffsetsAnswered;
use crate::server::authorizer::Operation;
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};
use crate::shard::{PartitionSnapshot, SnapshotQuery};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 1..=11;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// Answers each partition.
pub async fn handle(
    context: Rc<RequestContext>,
    request: ListOffsetsRequest,
) -> Outcome<ListOffsetsResponse> {
    let isolation = Isolation::from_wire(request.isolation_level);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let found = find(&context, &topic.name, &asked, isolation).await;
            observe(&context, &topic.name, &asked, isolation, found);
            partitions.push(partition_response(
                context.version,
                asked.partition_index,
                found,
            ));
        }
        topics.push(ListOffsetsTopicResponse {
            name: topic.name,
            partitions,
            ..Default::default()
        });
    }
    reply(ListOffsetsResponse {
        topics,
        ..Default::default()
    })
}

/// An offset with its timestamp and leader epoch, each -1 where there is none.
#[derive(Debug, Clone, Copy)]
struct Found {
    offset: Offset,
    timestamp: i64,
    leader_epoch: i32,
}

const NOTHING: Found = Found {
    offset: -1,
    timestamp: -1,
    leader_epoch: -1,
};

fn partition_response(
    version: i16,
    partition_index: i32,
    found: Result<Found, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let (error, found) = match found {
        Ok(found) => (ErrorCode::None, found),
        Err(code) => (code, NOTHING),
    };
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error.code(),
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch: if version >= 4 { found.leader_epoch } else { -1 },
        ..Default::default()
    }
}

fn observe(
    context: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
    found: Result<Found, ErrorCode>,
) {
    let Some((observer, partition)) = context.observed(topic, asked.partition_index) else {
        return;
    };
    observer.list_offsets_answered(&ListOffsetsAnswered {
        began: context.began,
        partition,
        isolation,
        asked_timestamp: asked.timestamp,
        result: found.map(|found| (found.offset, found.timestamp, found.leader_epoch)),
    });
}

async fn find(
    context: &Rc<RequestContext>,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Found, ErrorCode> {
    let partition = context.partition(Operation::Describe, topic, asked.partition_index)?;
    let query = SnapshotQuery {
        partition,
        current_leader_epoch: asked.current_leader_epoch,
        last_fetched: None,
        wants_epochs: true,
    };
    let ask =
        move |core: &Rc<crate::core::Core>| core.with_shard(|shard| shard.snapshot(query, None));
    let snapshot = context
        .core
        .call(context.core.owner_of(partition), ask)
        .await;
    let snapshot = snapshot.map_err(|_| ErrorCode::NotLeaderOrFollower)??;
    look_up(context.version, &snapshot, asked.timestamp, isolation).await
}

async fn look_up(
    version: i16,
    snapshot: &PartitionSnapshot,
    timestamp: i64,
    isolation: Isolation,
) -> Result<Found, ErrorCode> {
    let at = |offset| Found {
        offset,
        timestamp: -1,
        leader_epoch: snapshot.epoch_of(offset),
    };
    let latest = snapshot.bound(isolation);
    let stored = match timestamp {
        LATEST => {
            return Ok(Found {
                leader_epoch: snapshot.leader_epoch,
                ..at(latest)
            });
        }
        EARLIEST => return Ok(at(snapshot.log_start_offset)),
        EARLIEST_LOCAL if version >= 8 => return Ok(at(snapshot.log_start_offset)),
        LATEST_TIERED if version >= 9 => return Ok(NOTHING),
        EARLIEST_PENDING_UPLOAD if version >= 11 => return Ok(NOTHING),
        MAX_TIMESTAMP if version >= 7 => {
            snapshot.view.clone().bounded(latest).max_timestamp().await
        }
        0.. => snapshot.view.offset_for_timestamp(timestamp, latest).await,
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    match stored.map_err(|error| error.error_code())? {
        Some(record) => Ok(Found {
            timestamp: record.timestamp,
            ..at(record.offset)
        }),
        None => Ok(NOTHING),
    }
}
