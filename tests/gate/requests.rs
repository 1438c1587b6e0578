//! Requests as they come from a socket; tests/allocations sends the same.
#![allow(
    clippy::needless_update,
    reason = "requests are written alike, however many fields they set"
)]

use bytes::Bytes;
use protocol::Request;
use protocol::frame::encode_request;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest};
use protocol::records::{BatchBuilder, Compression};
use protocol::wire::{Chunk, Records};
use types::{Offset, Uuid};

/// The versions in which today's clients ask.
pub const CREATE_TOPICS_VERSION: i16 = 7;
/// As above.
pub const PRODUCE_VERSION: i16 = 13;
/// As above.
pub const FETCH_VERSION: i16 = 17;

/// The bytes of a frame, its length's four bytes included.
fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let chunks = encode_request(request, version, 1, Some("counting")).expect("a good request");
    let bytes = |chunk: Chunk| match chunk {
        Chunk::Bytes(bytes) => bytes,
        Chunk::External(_) => panic!("requests hold their bytes"),
    };
    let parts: Vec<Bytes> = chunks.into_iter().map(bytes).collect();
    parts.concat()
}

/// The config of a topic of the class *replicated*: no answer waits for a sync.
pub const REPLICATED: &[(&str, &str)] = &[("flush.messages", "1000000000")];

/// A topic of one partition.
pub fn create_topic(name: &str, configs: &[(&str, &str)]) -> Vec<u8> {
    let config = |&(name, value): &(&str, &str)| CreatableTopicConfig {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.to_owned(),
            num_partitions: 1,
            replication_factor: -1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        }],
        timeout_ms: 30_000,
        ..Default::default()
    };
    frame(CREATE_TOPICS_VERSION, &request)
}

/// A batch of `count` records whose values do not shrink to nothing, made at `millis`.
pub fn batch(millis: i64, compression: Compression, count: usize, value_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(0).compression(compression);
    for record in 0..count {
        let value: Vec<u8> = (0..value_bytes)
            .map(|at| (at * (record + 7) % 251) as u8)
            .collect();
        builder.append(millis, None, Some(&value), &[]);
    }
    builder.build().into_bytes()
}

/// Produces `records` to partition 0, with acks=all.
pub fn produce(topic_id: Uuid, records: Bytes) -> Vec<u8> {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            topic_id,
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::Bytes(records)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    frame(PRODUCE_VERSION, &request)
}

/// Fetches at most `bytes_max` from `offset` of partition 0 on, without waiting.
pub fn fetch(topic_id: Uuid, offset: Offset, bytes_max: i32) -> Vec<u8> {
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: bytes_max,
        session_id: 0,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic_id,
            partitions: vec![FetchPartition {
                current_leader_epoch: -1,
                fetch_offset: offset,
                last_fetched_epoch: -1,
                partition_max_bytes: bytes_max,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    frame(FETCH_VERSION, &request)
}
