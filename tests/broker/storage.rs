//! Log directories: several, locked, damaged; and config files that are wrong.

use std::collections::BTreeMap;
use std::path::Path;

use broker::config::StaticConfig;
use protocol::messages::{DescribeLogDirsRequest, MetadataRequest};
use types::ErrorCode;

use crate::harness::{Broker, Data, Options, batch, code, run, start_in, until};

#[test]
fn partitions_are_spread_over_the_log_directories() {
    run(async {
        let options = Options {
            log_dirs: vec!["one".to_owned(), "two".to_owned()],
            ..Options::default()
        };
        let broker = Broker::with(options).await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 6, &[]).await;
        for partition in 0..6 {
            kafka.put("topic", partition, &["a"]).await;
        }
        let request = DescribeLogDirsRequest {
            topics: None,
            ..Default::default()
        };
        let response = kafka.call(4, &request).await;
        let counts: Vec<usize> = response
            .results
            .iter()
            .map(|dir| dir.topics.iter().map(|topic| topic.partitions.len()).sum())
            .collect();
        assert_eq!(counts.len(), 2);
        assert!(counts.iter().all(|&count| count >= 2), "{counts:?}");
        let broker = broker.killed().await.start().await;
        let mut kafka = broker.kafka().await;
        for partition in 0..6 {
            assert_eq!(kafka.all_values("topic", partition).await, ["a"]);
        }
        broker.stop().await;
    });
}

#[test]
fn a_directory_serves_one_node_at_a_time() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        let error = match start_in(broker.path(), &Options::default()).await {
            Ok(_) => panic!("two nodes in one directory"),
            Err(error) => error.to_string(),
        };
        let path = broker.path().join("data").display().to_string();
        assert!(error.contains(&path), "{error}");
        assert_eq!(kafka.put("topic", 0, &["a"]).await, 0);
        // A directory of another node is not taken either.
        let data = broker.stop().await;
        let other = Options::default().with("node.id", "2");
        let error = match start_in(data.path(), &other).await {
            Ok(_) => panic!("a foreign directory"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains("node"), "{error}");
        let broker = data.start().await;
        broker.stop().await;
    });
}

/// Options of a broker that leaves nothing to its journal for long.
pub fn settled() -> Options {
    Options::default().with("log.flush.offset.checkpoint.interval.ms", "1")
}

/// Waits until the recovery point of a partition is written down.
pub async fn proven(broker: &Broker, topic: &str, offset: i64) {
    let file = broker.path().join("data/recovery-point-offset-checkpoint");
    let line = format!("{topic} 0 {offset}");
    until("the recovery point is written", async || {
        let content = std::fs::read_to_string(&file).unwrap_or_default();
        content.lines().any(|found| found == line).then_some(())
    })
    .await;
}

pub fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = std::fs::read(path).expect("the file");
    change(&mut content);
    std::fs::write(path, content).expect("the file");
}

pub const SEGMENT: &str = "00000000000000000000.log";

/// A node killed after it had written down that five batches of each of two topics are on disk.
pub async fn proven_and_killed() -> Data {
    // A journal might have what is damaged.
    let options = Options::default().with("internal.journal.half.bytes", "0");
    let broker = Broker::with(options).await;
    let mut kafka = broker.kafka().await;
    for topic in ["damaged", "whole"] {
        kafka.create(topic, 1, &[]).await;
        for n in 0..5 {
            kafka.put(topic, 0, &[&format!("value {n}")]).await;
        }
    }
    for topic in ["damaged", "whole"] {
        proven(&broker, topic, 5).await;
    }
    broker.killed().await
}

#[test]
fn damage_below_the_proven_offset_fences_one_partition() {
    run(async {
        let data = proven_and_killed().await;
        let path = data.path().join("data/damaged-0").join(SEGMENT);
        change(&path, |content| {
            let middle = content.len() / 2;
            content[middle] ^= 0xff;
        });
        let broker = data.start().await;
        let mut kafka = broker.kafka().await;
        let storage_error = code(ErrorCode::KafkaStorageError);
        let answer = kafka.produce("damaged", 0, batch(&["a"])).await;
        assert_eq!(answer.error_code, storage_error);
        assert_eq!(kafka.fetch("damaged", 0, 0).await.error_code, storage_error);
        let offset = kafka.offset("damaged", 0, -1).await;
        assert_eq!(offset.error_code, storage_error);
        let (error, _) = crate::topics::delete_records(&mut kafka, "damaged", 1).await;
        assert_eq!(error, storage_error);
        assert_eq!(kafka.all_values("whole", 0).await.len(), 5);
        assert_eq!(kafka.put("whole", 0, &["more"]).await, 5);
        kafka.create("new", 1, &[]).await;
        kafka.put("new", 0, &["a"]).await;
        // A topic that cannot be read can be deleted, and made again.
        crate::topics::delete(&mut kafka, "damaged").await;
        kafka.create("damaged", 1, &[]).await;
        assert_eq!(kafka.put("damaged", 0, &["fresh"]).await, 0);
        let broker = broker.stop().await.start().await;
        let mut kafka = broker.kafka().await;
        assert_eq!(kafka.all_values("damaged", 0).await, ["fresh"]);
        broker.stop().await;
    });
}

#[test]
fn a_torn_tail_is_cut() {
    run(async {
        let data = proven_and_killed().await;
        let path = data.path().join("data/damaged-0").join(SEGMENT);
        change(&path, |content| {
            let torn = content[..40].to_vec();
            content.extend_from_slice(&torn);
        });
        let broker = data.start().await;
        let mut kafka = broker.kafka().await;
        assert_eq!(kafka.all_values("damaged", 0).await.len(), 5);
        assert_eq!(kafka.put("damaged", 0, &["more"]).await, 5);
        broker.stop().await;
    });
}

#[test]
fn lost_indexes_and_checkpoints_are_made_again() {
    run(async {
        let data = proven_and_killed().await;
        for name in [
            "recovery-point-offset-checkpoint",
            "replication-offset-checkpoint",
            "log-start-offset-checkpoint",
            "damaged-0/leader-epoch-checkpoint",
            "damaged-0/00000000000000000000.index",
            "damaged-0/00000000000000000000.timeindex",
        ] {
            let path = data.path().join("data").join(name);
            if let Err(error) = std::fs::remove_file(&path) {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{name}");
            }
        }
        let broker = data.start().await;
        let mut kafka = broker.kafka().await;
        for topic in ["damaged", "whole"] {
            assert_eq!(kafka.all_values(topic, 0).await.len(), 5);
            assert_eq!(kafka.put(topic, 0, &["more"]).await, 5);
        }
        broker.stop().await;
    });
}

#[test]
fn unreadable_directories_stop_the_start_with_their_path() {
    run(async {
        let broker = Broker::new().await;
        broker.kafka().await.create("topic", 1, &[]).await;
        let mut data = broker.stop().await;
        let path = data.path().join("data/meta.properties");
        let good = std::fs::read(&path).expect("the file");
        for bad in [&b"version=1\nnode.id=x\n"[..], b"\xff\xfe", b""] {
            std::fs::write(&path, bad).expect("the file");
            let error = match data.try_start().await {
                Ok(_) => panic!("it starts with {bad:?}"),
                Err((back, error)) => {
                    data = back;
                    error.to_string()
                }
            };
            assert!(error.contains("meta.properties"), "{error}");
        }
        std::fs::write(&path, good).expect("the file");
        let broker = data.start().await;
        let mut kafka = broker.kafka().await;
        kafka.call(12, &MetadataRequest::default()).await;
        broker.stop().await;
    });
}

#[test]
fn wrong_values_in_the_config_file_name_key_value_and_range() {
    for (key, value, allowed) in [
        ("log.retention.ms", "soon", ""),
        ("num.partitions", "0", "1"),
        ("log.segment.bytes", "12", "1048576"),
        ("log.cleanup.policy", "shred", "compact"),
        ("compression.type", "rar", "zstd"),
        ("auto.create.topics.enable", "perhaps", "true"),
        ("socket.request.max.bytes", "-1", "1"),
        ("node.id", "-7", "0"),
        ("process.roles", "chef", "broker"),
        ("listeners", "nonsense", ""),
        ("listeners", "PLAINTEXT://127.0.0.1:99999", ""),
        ("remote.log.storage.system.enable", "true", "false"),
    ] {
        let mut texts = StaticConfig::embedded("/data");
        texts.insert(key.to_owned(), value.to_owned());
        let error = match StaticConfig::parse(&texts) {
            Ok(_) => panic!("{key}={value} is taken"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(key), "{key}={value}: {error}");
        assert!(error.contains(value), "{key}={value}: {error}");
        assert!(error.contains(allowed), "{key}={value}: {error}");
    }
    let mut texts: BTreeMap<String, String> = StaticConfig::embedded("/data");
    texts.insert("log.retention.sm".to_owned(), "1".to_owned());
    let (_, warnings) = StaticConfig::parse(&texts).expect("an unknown key is a warning");
    let said = warnings.iter().map(ToString::to_string).collect::<String>();
    assert!(said.contains("log.retention.sm"), "{said}");
    assert!(
        said.contains("log.retention.ms"),
        "the nearest right one: {said}"
    );
}
