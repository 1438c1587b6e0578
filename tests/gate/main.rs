//! What `cargo xtask gate` counts: requests from the bytes of their frames to the pieces of their answers.
//!
//! One thread does all that is counted: the stories run as tasks of a node's only core, and everybody else sleeps.
//! There are no sockets. The disk is the real one; topics are of the class *replicated*, so that an append has ended
//! when its write to the page cache has, and no other thread has a part in it.
//!
//! Each scenario warms up, and then asks in windows of so many requests. [`gate_mark`] is called before and after each
//! window: valgrind is told to count between the calls. Printed is what valgrind cannot see, a [`Seen`] a line.
//!
//! `gate [WINDOWS [SCENARIO]]`: with a scenario, the others only warm up.
#![allow(
    clippy::disallowed_methods,
    reason = "a harness looks at its own process; nothing of it is in a broker"
)]

mod counting;
mod node;
mod requests;
mod socketless;

use std::hint::black_box;

use broker::server::response::Piece;
use protocol::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest};
use protocol::records::validate::{ProducePolicy, validate_produce};
use protocol::records::{BATCH_HEADER_BYTES, Compression, Scratch};
use types::{Uuid, Wall};

use node::Node;
use requests::{FETCH_VERSION, PRODUCE_VERSION, REPLICATED};
use socketless::Connection;

/// Requests before the first that is counted: buffers and tables have their sizes then.
const WARM_UP: usize = 100;
/// Requests of a window.
const REQUESTS: usize = 50;
/// Windows of a scenario unless said otherwise.
const WINDOWS: usize = 5;
/// Batches of a window where batches are only validated, and records of each.
const BATCHES: usize = 10;
const RECORDS: usize = 1_000;

/// A valgrind tool cuts its counts here. Told apart by its name, so it must stay a function with this name.
#[unsafe(no_mangle)]
#[inline(never)]
#[allow(
    unsafe_code,
    reason = "a name that is not mangled is said to be unsafe"
)]
extern "C" fn gate_mark(moment: usize) {
    black_box(moment);
}

/// What is asked for.
#[derive(Clone)]
struct Plan {
    windows: usize,
    only: Option<String>,
}

impl Plan {
    fn windows(&self, scenario: &str) -> usize {
        match &self.only {
            Some(only) if only != scenario => 0,
            _ => self.windows,
        }
    }
}

/// What valgrind cannot see of a scenario. Medians are none without windows.
struct Seen {
    name: &'static str,
    windows: usize,
    /// Requests of a window, or records where batches are only validated.
    units: usize,
    /// Bytes of a request's record batches.
    payload_bytes: usize,
    /// What a request, or a batch, usually asks of the allocator.
    allocations: Option<u64>,
    /// Bytes a request that are given to system calls that write.
    written_bytes: Option<u64>,
}

impl Seen {
    fn print(&self) {
        println!(
            "{} {} {} {} {} {}",
            self.name,
            self.windows,
            self.units,
            self.payload_bytes,
            self.allocations.unwrap_or(0),
            self.written_bytes.unwrap_or(0),
        );
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let windows = arguments.next().map(|text| text.parse().expect("a number"));
    let plan = Plan {
        windows: windows.unwrap_or(WINDOWS),
        only: arguments.next(),
    };
    let scenarios = runtime::task::block_on(async {
        let node = Node::start().await;
        let scenarios = node.tell(|connection| story(connection, plan)).await;
        node.stop().await;
        scenarios
    });
    scenarios.iter().for_each(Seen::print);
}

async fn story(mut connection: Connection, plan: Plan) -> Vec<Seen> {
    let mut scenarios = Vec::new();
    for (name, count, value_bytes) in [
        ("produce_200_b", 1, 200),
        ("produce_16_kib", 16, 1_000),
        ("produce_128_kib", 128, 1_000),
    ] {
        scenarios.push(produce(&mut connection, &plan, name, count, value_bytes).await);
    }
    for (name, bytes_max) in [("fetch_16_kib", 1), ("fetch_1_mib", 1 << 20)] {
        scenarios.push(fetch(&mut connection, &plan, name, bytes_max).await);
    }
    for (name, compression) in [
        ("validate_100_b", Compression::None),
        ("validate_100_b_lz4", Compression::Lz4),
    ] {
        scenarios.push(validate(&connection, &plan, name, compression));
    }
    scenarios
}

/// Asks `wire` again and again. `payload_bytes` are those of a request's records.
async fn measure(
    connection: &mut Connection,
    plan: &Plan,
    name: &'static str,
    wire: &[u8],
    payload_bytes: usize,
) -> Seen {
    for _ in 0..WARM_UP {
        connection.ask(wire).await;
    }
    let windows = plan.windows(name);
    let mut allocations = Vec::with_capacity(windows * REQUESTS);
    let mut written_bytes = Vec::with_capacity(windows);
    for _ in 0..windows {
        runtime::task::yield_now().await;
        let before = bytes_written();
        gate_mark(0);
        for _ in 0..REQUESTS {
            let before = counting::allocations();
            drop(connection.ask(wire).await);
            allocations.push(counting::allocations() - before);
        }
        gate_mark(1);
        written_bytes.push((bytes_written() - before) / REQUESTS as u64);
    }
    Seen {
        name,
        windows,
        units: REQUESTS,
        payload_bytes,
        allocations: median(allocations),
        written_bytes: median(written_bytes),
    }
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Bytes that this thread has given to system calls that write.
fn bytes_written() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/io").expect("the kernel counts");
    let line = told.lines().find_map(|line| line.strip_prefix("wchar: "));
    let bytes = line.and_then(|number| number.parse().ok());
    bytes.expect("a number of bytes")
}

async fn create_topic(connection: &mut Connection, name: &str) -> Uuid {
    let wire = requests::create_topic(name, REPLICATED);
    let version = requests::CREATE_TOPICS_VERSION;
    let response = connection.call::<CreateTopicsRequest>(version, &wire).await;
    assert_eq!(response.topics[0].error_code, 0, "{name} is created");
    response.topics[0].topic_id
}

fn now_ms(connection: &Connection) -> i64 {
    connection.core.now().wall.as_millis()
}

/// Requests of one batch each to a topic of its own.
async fn produce(
    connection: &mut Connection,
    plan: &Plan,
    name: &'static str,
    count: usize,
    value_bytes: usize,
) -> Seen {
    let topic_id = create_topic(connection, name).await;
    let millis = now_ms(connection);
    let records = requests::batch(millis, Compression::None, count, value_bytes);
    let payload_bytes = records.len();
    let wire = requests::produce(topic_id, records);
    let response = connection.call::<ProduceRequest>(PRODUCE_VERSION, &wire);
    let response = response.await;
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    measure(connection, plan, name, &wire, payload_bytes).await
}

/// Requests for the same place in a log of batches of 16 KiB: for as much as there is up to `bytes_max`, at least one.
async fn fetch(
    connection: &mut Connection,
    plan: &Plan,
    name: &'static str,
    bytes_max: i32,
) -> Seen {
    const BATCHES_HELD: usize = 256;
    const RECORDS_A_BATCH: usize = 16;
    let topic_id = create_topic(connection, name).await;
    let millis = now_ms(connection);
    let records = requests::batch(millis, Compression::None, RECORDS_A_BATCH, 1_000);
    let payload_bytes = records
        .len()
        .max(bytes_max as usize / records.len() * records.len());
    let wire = requests::produce(topic_id, records);
    for _ in 0..BATCHES_HELD {
        connection.ask(&wire).await;
    }
    let offset = (BATCHES_HELD / 2 * RECORDS_A_BATCH) as i64;
    let wire = requests::fetch(topic_id, offset, bytes_max);
    let frame = connection.ask(&wire).await;
    let ranges = frame.pieces.iter().map(|piece| match piece {
        Piece::File(range) => range.length_bytes() as usize,
        Piece::Bytes(_) => 0,
    });
    assert_eq!(ranges.sum::<usize>(), payload_bytes, "{name}");
    let response = connection.call::<FetchRequest>(FETCH_VERSION, &wire).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
    measure(connection, plan, name, &wire, payload_bytes).await
}

/// Records of 100 bytes, as the handler of Produce has them checked.
fn validate(
    connection: &Connection,
    plan: &Plan,
    name: &'static str,
    compression: Compression,
) -> Seen {
    let millis = now_ms(connection);
    let image = connection.core.node.image();
    let policy: &ProducePolicy = &image.topic_config("produce_200_b").produce_policy;
    let records = requests::batch(millis, compression, RECORDS, 100);
    let payload_bytes = records.len() - BATCH_HEADER_BYTES;
    let mut scratch = Scratch::default();
    let mut once = || {
        let now = Wall::from_millis(millis);
        let validated = validate_produce(now, policy, &mut scratch, &records, PRODUCE_VERSION);
        black_box(validated.expect("a good batch"));
    };
    (0..BATCHES).for_each(|_| once());
    let windows = plan.windows(name);
    let mut allocations = Vec::with_capacity(windows * BATCHES);
    for _ in 0..windows {
        gate_mark(0);
        for _ in 0..BATCHES {
            let before = counting::allocations();
            once();
            allocations.push(counting::allocations() - before);
        }
        gate_mark(1);
    }
    Seen {
        name,
        windows,
        units: BATCHES * RECORDS,
        payload_bytes,
        allocations: median(allocations),
        written_bytes: None,
    }
}
