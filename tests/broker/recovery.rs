//! What a start makes good, and what only an operator may: cut logs, lost indexes, groups' offsets of lost topics.

use std::path::Path;
use std::process::{Command, Output};

use types::ErrorCode;

use crate::groups::{all_committed, commit_to, coordinated};
use crate::harness::{Broker, Data, Options, batch, code, fetch_request, run, until};
use crate::storage::{SEGMENT, change, proven, proven_and_killed, settled};

fn flip_the_middle(path: &Path) {
    change(path, |content| {
        let middle = content.len() / 2;
        content[middle] ^= 0xff;
    });
}

fn truncate_fenced(data: &Data, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["truncate-fenced", "--override"])
        .arg(format!("log.dirs={}", data.path().join("data").display()))
        .args(arguments)
        .output()
        .expect("our binary runs")
}

#[test]
fn an_operator_cuts_a_fenced_partition() {
    run(async {
        let data = proven_and_killed().await;
        flip_the_middle(&data.path().join("data/damaged-0").join(SEGMENT));
        let broker = data.start().await;
        let mut kafka = broker.kafka().await;
        let storage_error = code(ErrorCode::KafkaStorageError);
        let answer = kafka.produce("damaged", 0, batch(&["a"])).await;
        assert_eq!(answer.error_code, storage_error);
        assert_eq!(kafka.fetch("damaged", 0, 0).await.error_code, storage_error);
        assert_eq!(kafka.put("whole", 0, &["more"]).await, 5);
        // While the broker runs, its directory is not touched.
        let locked = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args(["truncate-fenced", "--partition", "damaged-0", "--yes"])
            .arg("--override")
            .arg(format!("log.dirs={}", broker.path().join("data").display()))
            .output()
            .expect("our binary runs");
        assert!(!locked.status.success());
        assert!(String::from_utf8_lossy(&locked.stderr).contains("in use"));
        let data = broker.stop().await;

        let asked = truncate_fenced(&data, &["--partition", "damaged-0"]);
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert!(!asked.status.success());
        assert!(said.contains("offset 2 on would be lost"), "{said}");
        let whole = truncate_fenced(&data, &["--partition", "whole-0", "--yes"]);
        let said = String::from_utf8_lossy(&whole.stderr).into_owned();
        assert!(!whole.status.success());
        assert!(said.contains("not fenced"), "{said}");
        let cut = truncate_fenced(&data, &["--partition", "damaged-0", "--yes", "--json"]);
        let said = String::from_utf8_lossy(&cut.stdout).into_owned();
        assert!(cut.status.success(), "{said}");
        assert!(said.contains("\"endOffset\":2"), "{said}");

        let broker = data.start().await;
        let mut kafka = broker.kafka().await;
        assert_eq!(kafka.all_values("damaged", 0).await, ["value 0", "value 1"]);
        assert_eq!(kafka.put("damaged", 0, &["after the cut"]).await, 2);
        assert_eq!(kafka.all_values("whole", 0).await.len(), 6);
        let broker = broker.stop().await.start().await;
        let mut kafka = broker.kafka().await;
        assert_eq!(kafka.all_values("damaged", 0).await.len(), 3);
        broker.stop().await;
    });
}

/// Kafka's own list of the aborted transactions of the partition `bank-0`: producer and first offset.
fn aborted_by_kafka() -> Vec<(i64, i64)> {
    let number = |line: &str, word: &str| -> i64 {
        let (_, rest) = line.split_once(word).expect("the word is there");
        let digits = rest.split_whitespace().next().expect("a number");
        digits.parse().expect("a number")
    };
    include_str!("../kafka-directories/bank.txt")
        .lines()
        .filter(|line| line.contains("lastStableOffset:"))
        .map(|line| (number(line, "producerId:"), number(line, "firstOffset:")))
        .collect()
}

/// What consumers of committed records are told of aborted transactions, over the whole partition.
async fn aborted_on_the_wire(broker: &Broker) -> Vec<(i64, i64)> {
    let mut kafka = broker.kafka().await;
    let mut request = fetch_request("bank", &[(0, 0)]);
    request.isolation_level = 1;
    let response = kafka.call(12, &request).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!((data.error_code, data.last_stable_offset), (0, 144));
    let aborted = data.aborted_transactions.clone().unwrap_or_default();
    let mut aborted: Vec<_> = aborted
        .iter()
        .map(|one| (one.producer_id, one.first_offset))
        .collect();
    aborted.sort_unstable();
    aborted
}

#[test]
fn a_lost_index_of_aborted_transactions_is_rebuilt() {
    let mut wanted = aborted_by_kafka();
    wanted.sort_unstable();
    assert!(wanted.len() > 3);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka-directories/data");
    /// What is done to each `.txnindex`, in their order.
    type Harm = fn(usize, &Path);
    let remove: Harm = |_, path| std::fs::remove_file(path).expect("an index");
    let tear: Harm = |_, path| change(path, |content| content.truncate(content.len() - 1));
    let one: Harm = |index, path| {
        if index == 2 {
            std::fs::remove_file(path).expect("an index");
        }
    };
    // After a crash every segment is read; after a clean stop those whose index cannot be right.
    let cases: [(&str, bool, Harm); 4] = [
        ("all are gone", false, remove),
        ("one is gone", false, one),
        ("all are torn", false, tear),
        ("all are torn, the stop was clean", true, tear),
    ];
    for (story, was_clean, harm) in cases {
        run(async {
            let data = Data::copied(&fixture, Options::default().with("node.id", "0"));
            let home = data.path().join("data");
            if !was_clean {
                for name in [".kafka_cleanshutdown", "recovery-point-offset-checkpoint"] {
                    std::fs::remove_file(home.join(name)).expect("a file of Kafka's");
                }
            }
            let entries = std::fs::read_dir(home.join("bank-0")).expect("the partition");
            let mut indexes: Vec<_> = entries
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| path.extension().is_some_and(|end| end == "txnindex"))
                .collect();
            indexes.sort();
            let before: Vec<Vec<u8>> = indexes
                .iter()
                .map(|path| std::fs::read(path).expect("an index"))
                .collect();
            for (index, path) in indexes.iter().enumerate() {
                harm(index, path);
            }
            let broker = data.start().await;
            assert_eq!(aborted_on_the_wire(&broker).await, wanted, "{story}");
            // Kafka's own bytes, and they are there for good.
            for (path, before) in indexes.iter().zip(&before) {
                let after = std::fs::read(path).expect("an index");
                assert_eq!(after, *before, "{story}: {}", path.display());
            }
            let broker = broker.killed().await.start().await;
            assert_eq!(aborted_on_the_wire(&broker).await, wanted, "{story}");
            broker.stop().await;
        });
    }
}

/// Offsets of a topic that is deleted while nobody coordinates the group are gone when somebody does.
#[test]
fn offsets_of_topics_deleted_meanwhile_are_forgotten() {
    run(async {
        let options = settled().with("offsets.topic.num.partitions", "1");
        let broker = Broker::with(options).await;
        let mut kafka = broker.kafka().await;
        coordinated(&broker, "group").await;
        for topic in ["gone", "anew", "kept"] {
            kafka.create(topic, 1, &[]).await;
            assert_eq!(commit_to(&mut kafka, "group", topic, 7).await, 0);
        }
        proven(&broker, "__consumer_offsets", 3).await;
        let data = broker.killed().await;
        // A damaged partition is not served, so its groups are not coordinated.
        let path = data.path().join("data/__consumer_offsets-0").join(SEGMENT);
        flip_the_middle(&path);
        let broker = data.start().await;
        let mut kafka = broker.kafka().await;
        for topic in ["gone", "anew"] {
            crate::topics::delete(&mut kafka, topic).await;
        }
        kafka.create("anew", 1, &[]).await;
        let data = broker.killed().await;
        flip_the_middle(&data.path().join("data/__consumer_offsets-0").join(SEGMENT));
        let broker = data.start().await;
        coordinated(&broker, "group").await;
        let kept = [("kept".to_owned(), 7)];
        until("the tombstones are committed", async || {
            let committed = all_committed(&mut broker.kafka().await, "group").await;
            (committed == kept).then_some(())
        })
        .await;
        // For good.
        let broker = broker.stop().await.start().await;
        let mut kafka = broker.kafka().await;
        coordinated(&broker, "group").await;
        assert_eq!(all_committed(&mut kafka, "group").await, kept);
        broker.stop().await;
    });
}
