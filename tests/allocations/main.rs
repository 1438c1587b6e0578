//! What the node asks of the allocator for a request: nothing for a record, and no second buffer for its bytes.
//!
//! Counted is the whole process but the client, from the first byte sent to the last byte of the answer. What a request
//! usually costs is the median of many: now and then a table grows, or a timer comes.
#![allow(
    clippy::needless_update,
    reason = "requests are written alike, however many fields they set"
)]

mod counting;
mod node;

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use protocol::frame::decode_response;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest};
use protocol::records::{BatchBuilder, Compression};
use protocol::wire::Records;

use counting::Asked;
use node::{Broker, Connection, Frame, frame};

/// Bytes of a record's value.
const VALUE_BYTES: usize = 200;
/// Requests whose median is taken.
const REQUESTS: usize = 101;
/// By how much the buffer of a frame may be longer than it, in bytes.
const SLACK_BYTES: u64 = 1 << 10;

/// By how much two requests of one kind may differ, because a wait was or was not needed: far less than a record each.
const NOISE: Asked = Asked {
    calls: 4,
    bytes: 2 << 10,
};

/// Stories are counted one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn run(story: impl Future<Output = ()>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    counting::this_thread_is_the_client();
    runtime::task::block_on(story);
}

async fn create(connection: &mut Connection, name: &str, configs: &[(&str, &str)]) {
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
    let response = connection.call(7, &request).await;
    assert_eq!(response.topics[0].error_code, 0);
}

/// A batch of `count` records whose values do not shrink to nothing.
fn batch(compression: Compression, count: usize, value_bytes: usize) -> Bytes {
    let now = runtime::Clock::start().now().wall.as_millis();
    let mut builder = BatchBuilder::new(0).compression(compression);
    for record in 0..count {
        let value: Vec<u8> = (0..value_bytes)
            .map(|at| (at * (record + 7) % 251) as u8)
            .collect();
        builder.append(now, None, Some(&value), &[]);
    }
    builder.build().into_bytes()
}

fn produce(topic: &str, records: Bytes) -> Frame {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::Bytes(records)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    frame(9, &request)
}

async fn produce_once(connection: &mut Connection, frame: &Frame) -> Asked {
    let (answer, asked) = connection.ask(frame).await;
    let (_, response) = decode_response::<ProduceRequest>(answer, 9).expect("an answer");
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    asked
}

/// What a request usually costs.
async fn usual(connection: &mut Connection, frame: &Frame) -> Asked {
    let (mut calls, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        let asked = produce_once(connection, frame).await;
        calls.push(asked.calls);
        bytes.push(asked.bytes);
    }
    calls.sort_unstable();
    bytes.sort_unstable();
    Asked {
        calls: calls[REQUESTS / 2],
        bytes: bytes[REQUESTS / 2],
    }
}

/// Whether a request costs what a `small` one does, and the memory that it is received into.
fn assert_near(topic: &str, small: Asked, length_bytes: u64, asked: Asked) {
    let calls = small.calls + 1 + NOISE.calls;
    assert!(asked.calls <= calls, "{topic}: {asked:?}, small: {small:?}");
    let bytes = small.bytes + length_bytes + SLACK_BYTES + NOISE.bytes;
    assert!(asked.bytes <= bytes, "{topic}: {asked:?}, small: {small:?}");
}

/// The two durability classes.
const CLASSES: [(&str, &[(&str, &str)]); 2] = [
    ("flushed", &[]),
    ("replicated", &[("flush.messages", "1000000000")]),
];

#[test]
fn records_cost_no_allocation_and_their_bytes_no_second_buffer() {
    run(async {
        let broker = Broker::start().await;
        let mut connection = broker.connect().await;
        for (class, configs) in CLASSES {
            create(&mut connection, class, configs).await;
            let mut seen = Vec::new();
            for (count, value_bytes) in [
                (1, VALUE_BYTES),
                (100, VALUE_BYTES),
                (1, 100 * VALUE_BYTES),
                (1000, VALUE_BYTES),
                (1, 1000 * VALUE_BYTES),
            ] {
                let frame = produce(class, batch(Compression::None, count, value_bytes));
                let asked = usual(&mut connection, &frame).await;
                println!(
                    "{class}: {count} records of {value_bytes} bytes, frame of {} bytes: {asked:?}",
                    frame.length_bytes
                );
                seen.push((frame.length_bytes, asked));
            }
            let (small, rest) = seen.split_first().expect("five were measured");
            for (length_bytes, asked) in rest {
                // A long frame has a buffer of its own, a short one lies in that for the heads of frames.
                assert_near(class, small.1, *length_bytes, *asked);
            }
        }
        broker.stop().await;
    });
}

#[test]
fn the_first_long_request_of_a_connection_is_no_exception() {
    run(async {
        let broker = Broker::start().await;
        let mut connection = broker.connect().await;
        create(&mut connection, "topic", CLASSES[1].1).await;
        let frame = produce("topic", batch(Compression::None, 1000, VALUE_BYTES));
        usual(&mut connection, &frame).await;
        let mut least = u64::MAX;
        for _ in 0..REQUESTS {
            // What the connection itself costs is counted too.
            let mut connection = broker.connect().await;
            least = least.min(produce_once(&mut connection, &frame).await.bytes);
        }
        let beside = least - frame.length_bytes;
        println!(
            "{beside} bytes beside a frame of {} bytes",
            frame.length_bytes
        );
        assert!(beside <= 16 << 10);
        broker.stop().await;
    });
}

#[test]
fn compressed_records_cost_no_allocation_either() {
    run(async {
        let broker = Broker::start().await;
        let mut connection = broker.connect().await;
        for compression in [
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let topic = format!("{compression:?}");
            create(&mut connection, &topic, CLASSES[1].1).await;
            let mut small = None;
            for (count, value_bytes) in [
                (1, VALUE_BYTES),
                (100, VALUE_BYTES),
                (1000, VALUE_BYTES),
                (1, 1000 * VALUE_BYTES),
            ] {
                let frame = produce(&topic, batch(compression, count, value_bytes));
                let asked = usual(&mut connection, &frame).await;
                println!(
                    "{topic}: {count} records of {value_bytes} bytes, frame of {} bytes: {asked:?}",
                    frame.length_bytes
                );
                // They are unpacked to be checked, one after the other, through buffers that stay.
                let small: &Asked = small.get_or_insert(asked);
                assert_near(&topic, *small, frame.length_bytes, asked);
            }
        }
        broker.stop().await;
    });
}

fn fetch(topic: &str, bytes_max: i32) -> Frame {
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: bytes_max,
        session_id: 0,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: vec![FetchPartition {
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
                partition_max_bytes: bytes_max,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    frame(12, &request)
}

#[test]
fn long_ranges_are_sent_without_being_read() {
    run(async {
        let broker = Broker::start().await;
        let mut connection = broker.connect().await;
        create(&mut connection, "topic", CLASSES[1].1).await;
        let frame = produce("topic", batch(Compression::None, 1000, VALUE_BYTES));
        for _ in 0..20 {
            produce_once(&mut connection, &frame).await;
        }
        let mut costs = Vec::new();
        for bytes_max in [300_000, 4_000_000] {
            let (answer, asked) = connection.ask(&fetch("topic", bytes_max)).await;
            println!("{} bytes fetched: {asked:?}", answer.len());
            assert!(answer.len() > bytes_max as usize / 2, "there is as much");
            costs.push(asked.bytes);
        }
        assert!(costs.iter().all(|&bytes| bytes < 64 << 10), "{costs:?}");
        broker.stop().await;
    });
}
