//! What the node asks of the allocator for a request: nothing for a record, and no second buffer for its bytes.
//!
//! Counted is the whole process but the client, from the first byte sent to the last byte of the answer. What a request
//! usually costs is the median of many: now and then a table grows, or a timer comes.

mod client;
mod counting;
#[path = "../gate/node.rs"]
mod node;
#[path = "../gate/requests.rs"]
mod requests;

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use protocol::frame::decode_response;
use protocol::messages::{CreateTopicsRequest, ProduceRequest};
use protocol::records::Compression;
use types::Uuid;

use client::Connection;
use counting::Asked;
use node::Node;
use requests::{CREATE_TOPICS_VERSION, PRODUCE_VERSION, REPLICATED};

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

async fn create(connection: &mut Connection, name: &str, configs: &[(&str, &str)]) -> Uuid {
    let frame = requests::create_topic(name, configs).into();
    let response = connection.call::<CreateTopicsRequest>(CREATE_TOPICS_VERSION, &frame);
    let response = response.await;
    assert_eq!(response.topics[0].error_code, 0);
    response.topics[0].topic_id
}

/// A Produce of one batch.
fn produce(topic_id: Uuid, compression: Compression, count: usize, value_bytes: usize) -> Bytes {
    let now = runtime::Clock::start().now().wall.as_millis();
    let records = requests::batch(now, compression, count, value_bytes);
    requests::produce(topic_id, records).into()
}

async fn produce_once(connection: &mut Connection, frame: &Bytes) -> Asked {
    let (answer, asked) = connection.ask(frame).await;
    let (_, response) =
        decode_response::<ProduceRequest>(answer, PRODUCE_VERSION).expect("an answer");
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    asked
}

/// What a request usually costs.
async fn usual(connection: &mut Connection, frame: &Bytes) -> Asked {
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
fn assert_near(topic: &str, small: Asked, length_bytes: usize, asked: Asked) {
    let calls = small.calls + 1 + NOISE.calls;
    assert!(asked.calls <= calls, "{topic}: {asked:?}, small: {small:?}");
    let bytes = small.bytes + length_bytes as u64 + SLACK_BYTES + NOISE.bytes;
    assert!(asked.bytes <= bytes, "{topic}: {asked:?}, small: {small:?}");
}

/// The two durability classes.
const CLASSES: [(&str, &[(&str, &str)]); 2] = [("flushed", &[]), ("replicated", REPLICATED)];

#[test]
fn records_cost_no_allocation_and_their_bytes_no_second_buffer() {
    run(async {
        let node = Node::start().await;
        let mut connection = Connection::to(&node).await;
        for (class, configs) in CLASSES {
            let topic_id = create(&mut connection, class, configs).await;
            let mut seen = Vec::new();
            for (count, value_bytes) in [
                (1, VALUE_BYTES),
                (100, VALUE_BYTES),
                (1, 100 * VALUE_BYTES),
                (1000, VALUE_BYTES),
                (1, 1000 * VALUE_BYTES),
            ] {
                let frame = produce(topic_id, Compression::None, count, value_bytes);
                let asked = usual(&mut connection, &frame).await;
                println!(
                    "{class}: {count} records of {value_bytes} bytes, frame of {} bytes: {asked:?}",
                    frame.len()
                );
                seen.push((frame.len(), asked));
            }
            let (small, rest) = seen.split_first().expect("five were measured");
            for (length_bytes, asked) in rest {
                // A long frame has a buffer of its own, a short one lies in that for the heads of frames.
                assert_near(class, small.1, *length_bytes, *asked);
            }
        }
        node.stop().await;
    });
}

#[test]
fn the_first_long_request_of_a_connection_is_no_exception() {
    run(async {
        let node = Node::start().await;
        let mut connection = Connection::to(&node).await;
        let topic_id = create(&mut connection, "topic", REPLICATED).await;
        let frame = produce(topic_id, Compression::None, 1000, VALUE_BYTES);
        usual(&mut connection, &frame).await;
        let mut least = u64::MAX;
        for _ in 0..REQUESTS {
            // What the connection itself costs is counted too.
            let mut connection = Connection::to(&node).await;
            least = least.min(produce_once(&mut connection, &frame).await.bytes);
        }
        let beside = least - frame.len() as u64;
        println!("{beside} bytes beside a frame of {} bytes", frame.len());
        assert!(beside <= 16 << 10);
        node.stop().await;
    });
}

#[test]
fn compressed_records_cost_no_allocation_either() {
    run(async {
        let node = Node::start().await;
        let mut connection = Connection::to(&node).await;
        for compression in [
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let topic = format!("{compression:?}");
            let topic_id = create(&mut connection, &topic, REPLICATED).await;
            let mut small = None;
            for (count, value_bytes) in [
                (1, VALUE_BYTES),
                (100, VALUE_BYTES),
                (1000, VALUE_BYTES),
                (1, 1000 * VALUE_BYTES),
            ] {
                let frame = produce(topic_id, compression, count, value_bytes);
                let asked = usual(&mut connection, &frame).await;
                println!(
                    "{topic}: {count} records of {value_bytes} bytes, frame of {} bytes: {asked:?}",
                    frame.len()
                );
                // They are unpacked to be checked, one after the other, through buffers that stay.
                let small: &Asked = small.get_or_insert(asked);
                assert_near(&topic, *small, frame.len(), asked);
            }
        }
        node.stop().await;
    });
}

#[test]
fn long_ranges_are_sent_without_being_read() {
    run(async {
        let node = Node::start().await;
        let mut connection = Connection::to(&node).await;
        let topic_id = create(&mut connection, "topic", REPLICATED).await;
        let frame = produce(topic_id, Compression::None, 1000, VALUE_BYTES);
        for _ in 0..20 {
            produce_once(&mut connection, &frame).await;
        }
        let mut costs = Vec::new();
        for bytes_max in [300_000, 4_000_000] {
            let frame = requests::fetch(topic_id, 0, bytes_max).into();
            let (answer, asked) = connection.ask(&frame).await;
            println!("{} bytes fetched: {asked:?}", answer.len());
            assert!(answer.len() > bytes_max as usize / 2, "there is as much");
            costs.push(asked.bytes);
        }
        assert!(costs.iter().all(|&bytes| bytes < 64 << 10), "{costs:?}");
        node.stop().await;
    });
}
