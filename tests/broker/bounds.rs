//! What a node may hold that is not synced: bytes, and files.

use types::ErrorCode;

use crate::harness::{Broker, Options, batch, code, only, produce_request, run};

const REPLICATED: (&str, &str) = ("flush.messages", "1000000000");
const DIRTY_BYTES_MAX: u64 = 64 << 10;
const VALUE_BYTES: usize = 10_000;

/// The bytes of the class *replicated* that are not synced stay below the bound; nobody is refused for it.
#[test]
fn appends_wait_for_a_flush_when_too_much_is_unsynced() {
    run(async {
        let options =
            Options::default().with("internal.dirty.bytes.max", &DIRTY_BYTES_MAX.to_string());
        let broker = Broker::with(options).await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 2, &[REPLICATED]).await;
        let value = "x".repeat(VALUE_BYTES);
        const COUNT: i32 = 400;
        let request = |index| produce_request("topic", index % 2, 1, batch(&[&value]));
        for index in 0..COUNT {
            kafka.send(12, &request(index)).await;
        }
        let mut most = 0;
        for _ in 0..COUNT {
            let answer = only(
                kafka
                    .receive::<protocol::messages::ProduceRequest>(12)
                    .await,
            );
            assert_eq!(answer.error_code, code(ErrorCode::None));
            most = most.max(broker.node.shared.directories[0].unflushed_bytes());
        }
        // Each partition may be one batch above.
        assert!(most > 0, "nothing was seen that is not synced");
        let bound = DIRTY_BYTES_MAX + 2 * (VALUE_BYTES as u64 + 200);
        assert!(most <= bound, "{most} unsynced bytes, at most {bound}");
        assert!(broker.node.shared.metrics.flushes.get() > 10);
        for partition in 0..2 {
            let all = kafka.all_values("topic", partition).await;
            assert_eq!(all.len() as i32, COUNT / 2);
        }
        broker.stop().await;
    });
}

/// More partitions than files may be open are served, all of them with bytes that nobody has asked to be synced.
#[test]
fn more_partitions_than_open_files_are_served() {
    run(async {
        const PARTITIONS: i32 = 100;
        const OPEN_FILES_MAX: usize = 20;
        let options = Options {
            open_files_max: OPEN_FILES_MAX,
            ..Options::default()
        };
        let broker = Broker::with(options).await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", PARTITIONS, &[REPLICATED]).await;
        let files = broker.node.shared.directories[0].files().clone();
        let mut most = 0;
        for round in 0..3 {
            for partition in 0..PARTITIONS {
                let value = format!("{round} {partition}");
                let request = produce_request("topic", partition, 1, batch(&[&value]));
                kafka.send(12, &request).await;
            }
            for _ in 0..PARTITIONS {
                let answer = only(
                    kafka
                        .receive::<protocol::messages::ProduceRequest>(12)
                        .await,
                );
                assert_eq!(answer.error_code, code(ErrorCode::None));
                most = most.max(files.open_files());
            }
        }
        // Each core may be opening one when it looks.
        assert!(most > OPEN_FILES_MAX / 2, "{most} files were open");
        assert!(most <= OPEN_FILES_MAX + 4, "{most} files were open");
        for partition in 0..PARTITIONS {
            let all = kafka.all_values("topic", partition).await;
            assert_eq!(all, [0, 1, 2].map(|round| format!("{round} {partition}")));
            assert!(files.open_files() <= OPEN_FILES_MAX + 4);
        }
        broker.stop().await;
    });
}
