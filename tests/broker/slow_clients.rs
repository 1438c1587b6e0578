//! Thousands of clients that announce much and send little, or ask for much and read nothing: the memory stays
//! bounded and a healthy client goes on. The node is a process of its own, so that its memory can be told.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use crate::harness::{Kafka, batch, fetch_request, run};

/// The node's budget.
const BUDGET_BYTES: u64 = 64 << 20;
/// What it may take beside its budget.
const BESIDE_BYTES: u64 = 100 << 20;
/// Clients that drip.
const DRIPPING: usize = 2_000;
/// Clients that do not read.
const DEAF: usize = 200;
/// Bytes that each of those asks for.
const ASKED_BYTES: i32 = 55 << 20;
/// Rounds of one byte each, a second apart.
const DRIPS: usize = 5;

/// A node as a process; killed when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
    _root: TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start() -> Process {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        let mut child = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .current_dir(root.path())
            .args(["serve", "--memory-bytes", &BUDGET_BYTES.to_string()])
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", &format!("log.dirs={}", data.display())])
            .args(["--http", "off"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let ready = lines
            .find(|line| line.contains("PLAINTEXT://"))
            .expect("it says where it listens");
        let (_, rest) = ready.split_once("PLAINTEXT://").expect("an address");
        let end = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != ':')
            .unwrap_or(rest.len());
        let address = rest[..end].parse().expect("an address");
        Process {
            child,
            address,
            _root: root,
        }
    }

    /// Resident bytes now, and the most there ever were.
    fn memory_bytes(&self) -> [u64; 2] {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        ["VmRSS:", "VmHWM:"].map(|name| {
            let line = status.lines().find(|line| line.starts_with(name));
            let kib = line.and_then(|line| line.split_whitespace().nth(1));
            kib.and_then(|kib| kib.parse::<u64>().ok())
                .expect("a number")
                << 10
        })
    }
}

#[test]
fn slow_and_silent_clients_cost_little_and_hold_nobody_up() {
    // Two descriptors a connection are in this process and in the other one.
    let needed = (DRIPPING + DEAF + 500) as u64;
    assert!(
        runtime::process::open_files_max() >= needed,
        "the limit of open files is below {needed}"
    );
    run(async {
        let node = Process::start();
        let mut healthy = Kafka::connect(node.address).await;
        let configs = [("flush.messages", "1000000")];
        healthy.create("large", 1, &configs).await;
        healthy.create("small", 1, &[]).await;
        let value = "x".repeat(1_000_000);
        for _ in 0..60 {
            healthy.put("large", 0, &[&value]).await;
        }
        let deaf = deaf(&node).await;
        let mut dripping = Vec::with_capacity(DRIPPING);
        for _ in 0..DRIPPING {
            let mut kafka = Kafka::connect(node.address).await;
            // The header of a Produce of 100 MB, as far as its name.
            let start = [&100_000_000_u32.to_be_bytes()[..], &[0, 0, 0, 9]].concat();
            kafka.raw(&[Bytes::from(start)]).await;
            dripping.push(kafka);
        }
        for round in 0..DRIPS {
            for kafka in &mut dripping {
                kafka.raw(&[Bytes::from_static(&[0])]).await;
            }
            for n in 0..10 {
                let offset = healthy.put("small", 0, &["a"]).await;
                assert_eq!(offset, (round * 10 + n) as i64);
            }
            let [now, most] = node.memory_bytes();
            assert!(
                most <= BUDGET_BYTES + BESIDE_BYTES,
                "{} MiB, at most {} MiB",
                now >> 20,
                most >> 20
            );
            runtime::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(healthy.all_values("small", 0).await.len(), DRIPS * 10);
        drop((deaf, dripping));
        assert_eq!(healthy.put("small", 0, &["b"]).await, (DRIPS * 10) as i64);
        let [now, most] = node.memory_bytes();
        println!("{} MiB at the end, {} MiB at most", now >> 20, most >> 20);
    });
}

/// Clients that ask for all of the large topic and read nothing.
async fn deaf(node: &Process) -> Vec<Kafka> {
    let mut deaf = Vec::with_capacity(DEAF);
    for _ in 0..DEAF {
        let mut kafka = Kafka::connect(node.address).await;
        let mut request = fetch_request("large", &[(0, 0)]);
        request.max_bytes = ASKED_BYTES;
        request.topics[0].partitions[0].partition_max_bytes = ASKED_BYTES;
        kafka.send(12, &request).await;
        deaf.push(kafka);
    }
    // A small request behind it is not answered before it, and costs nothing either.
    for kafka in &mut deaf {
        let request = crate::harness::produce_request("small-absent", 0, 1, batch(&["a"]));
        kafka.send(9, &request).await;
    }
    deaf
}
