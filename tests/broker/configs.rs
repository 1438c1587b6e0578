//! Configs of live topics: each key that is acted upon is altered, and its effect seen.

use std::path::Path;

use bytes::Bytes;
use controller::configs::{Effect, topic_keys};
use protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use protocol::messages::{AlterConfigsRequest, DescribeConfigsRequest};
use protocol::records::{BatchBuilder, Compression};
use types::{ErrorCode, Prng};

use crate::harness::{
    BROKER, Broker, Kafka, Options, TOPIC, batch, code, fetched_batches, keyed, now_ms, run, until,
};

/// Looks at retention as often as it can.
fn options() -> Options {
    Options::default().with("log.retention.check.interval.ms", "1")
}

/// Files of the partition with this ending, in order.
fn files(partition: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(partition).expect("the partition's directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = paths
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    found.sort();
    found
}

fn with_time(timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    builder.append(timestamp, Some(b"k"), Some(b"v"), &[]);
    builder.build().into_bytes()
}

/// Records that compress better the more one tries.
fn text() -> Bytes {
    let mut prng = Prng::new(5, "text");
    let words: Vec<String> = (0..300)
        .map(|_| format!("{:x}", prng.below(1 << 40)))
        .collect();
    let mut builder = BatchBuilder::new(0);
    for _ in 0..400 {
        let picked = (0..30).map(|_| words[prng.below(300) as usize].as_str());
        let line = picked.collect::<Vec<_>>().join(" ");
        builder.append(now_ms(), None, Some(line.as_bytes()), &[]);
    }
    builder.build().into_bytes()
}

/// One key's story: the topic has the key's name and was made without configs.
async fn effect(key: &str, broker: &Broker, kafka: &mut Kafka) {
    match key {
        "cleanup.policy" => {
            refuses_after(
                kafka,
                key,
                "compact",
                batch(&["a"]),
                ErrorCode::InvalidRecord,
            )
            .await;
        }
        "max.message.bytes" => {
            let large = batch(&["a long value"]);
            refuses_after(kafka, key, "70", large, ErrorCode::MessageTooLarge).await;
        }
        "message.timestamp.after.max.ms" => {
            let ahead = with_time(now_ms() + 600_000);
            refuses_after(kafka, key, "1000", ahead, ErrorCode::InvalidTimestamp).await;
        }
        "message.timestamp.before.max.ms" => {
            let behind = with_time(now_ms() - 600_000);
            refuses_after(kafka, key, "1000", behind, ErrorCode::InvalidTimestamp).await;
        }
        // No more replicas can be in sync than there are (as Kafka bounds it): on one node nothing is refused.
        "min.insync.replicas" => {
            kafka.set(key, key, "2").await;
            kafka.put(key, 0, &["a"]).await;
        }
        "message.timestamp.type" => {
            let before = kafka.produce(key, 0, batch(&["a"])).await;
            kafka.set(key, key, "LogAppendTime").await;
            let after = kafka.produce(key, 0, batch(&["a"])).await;
            assert_eq!(before.log_append_time_ms, -1);
            assert!(after.log_append_time_ms > 0);
        }
        "compression.type" => {
            kafka.put(key, 0, &["a"]).await;
            kafka.set(key, key, "zstd").await;
            kafka.put(key, 0, &["b"]).await;
            let batches = fetched_batches(&kafka.fetch(key, 0, 0).await);
            let codecs: Vec<_> = batches
                .iter()
                .map(|batch| batch.header().compression().expect("known"))
                .collect();
            assert_eq!(codecs, [Compression::None, Compression::Zstd]);
        }
        "compression.gzip.level" => level(kafka, key, "gzip", ["1", "9"]).await,
        "compression.zstd.level" => level(kafka, key, "zstd", ["-50", "19"]).await,
        "compression.lz4.level" => level(kafka, key, "lz4", ["1", "17"]).await,
        "flush.messages" | "flush.ms" => flushes(key, broker, kafka).await,
        "retention.bytes" | "retention.ms" | "file.delete.delay.ms" => {
            retains(key, broker, kafka).await;
        }
        _ => rolls(key, broker, kafka).await,
    }
}

/// The records are accepted, and after the alteration refused.
async fn refuses_after(kafka: &mut Kafka, key: &str, value: &str, records: Bytes, with: ErrorCode) {
    let before = kafka.produce(key, 0, records.clone()).await;
    assert_eq!(before.error_code, 0, "{key}: {:?}", before.error_message);
    kafka.set(key, key, value).await;
    let after = kafka.produce(key, 0, records).await;
    assert_eq!(
        after.error_code,
        code(with),
        "{key}: {:?}",
        after.error_message
    );
    let (error, message) = kafka.alter(TOPIC, key, key, None).await;
    assert_eq!(error, 0, "{message:?}");
    kafka.produce(key, 0, keyed(&["again as it was"])).await;
}

/// A higher level makes smaller batches.
async fn level(kafka: &mut Kafka, key: &str, codec: &str, levels: [&str; 2]) {
    kafka.set(key, "compression.type", codec).await;
    let mut sizes = Vec::new();
    for level in levels {
        kafka.set(key, key, level).await;
        let answer = kafka.produce(key, 0, text()).await;
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        let batches = fetched_batches(&kafka.fetch(key, 0, answer.base_offset).await);
        sizes.push(batches[0].size_bytes());
    }
    // The lz4 encoder has one level, which is at least as quick as any that is asked for.
    if codec != "lz4" {
        assert!(sizes[0] > sizes[1], "{key}: {sizes:?}");
    }
}

async fn flushes(key: &str, broker: &Broker, kafka: &mut Kafka) {
    const APPENDS: u64 = 20;
    let count = || broker.node.shared.metrics.flushed_logs.get();
    let mut during = Vec::new();
    for value in [None, Some("1000000")] {
        if let Some(value) = value {
            kafka.set(key, "flush.messages", value).await;
            // What was to be flushed before may still be.
            kafka.put(key, 0, &["a"]).await;
        }
        let before = count();
        for _ in 0..APPENDS {
            kafka.put(key, 0, &["a"]).await;
        }
        during.push(count() - before);
    }
    assert!(during[0] >= APPENDS, "each is on disk first: {during:?}");
    assert!(during[1] < APPENDS, "none waits for the disk: {during:?}");
    if key == "flush.ms" {
        let before = count();
        kafka.set(key, key, "1").await;
        // It is looked at once more records wait.
        while count() == before {
            kafka.put(key, 0, &["a"]).await;
        }
    }
}

/// Ten small segments.
async fn ten_segments(key: &str, broker: &Broker, kafka: &mut Kafka) -> std::path::PathBuf {
    kafka.set(key, "internal.segment.bytes", "1000").await;
    for _ in 0..10 {
        kafka.put(key, 0, &[&"x".repeat(600)]).await;
    }
    broker.partition_path(key, 0)
}

async fn retains(key: &str, broker: &Broker, kafka: &mut Kafka) {
    let path = ten_segments(key, broker, kafka).await;
    assert_eq!(kafka.offset(key, 0, -2).await.offset, 0);
    match key {
        "retention.ms" => kafka.set(key, key, "1").await,
        "retention.bytes" => kafka.set(key, key, "2000").await,
        _ => {
            kafka.set(key, key, "0").await;
            kafka.set(key, "retention.bytes", "2000").await;
        }
    }
    let mut start = 0;
    while start < 5 {
        start = kafka.offset(key, 0, -2).await.offset;
        runtime::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    if key == "retention.bytes" {
        assert!(
            kafka.all_values(key, 0).await.len() >= 2,
            "no more than asked"
        );
    }
    if key == "file.delete.delay.ms" {
        until("the files are gone", async || {
            let left = files(&path, ".log").len() + files(&path, ".deleted").len();
            (left <= 5).then_some(())
        })
        .await;
    }
    assert_eq!(kafka.put(key, 0, &["more"]).await, 10);
}

async fn rolls(key: &str, broker: &Broker, kafka: &mut Kafka) {
    let path = broker.partition_path(key, 0);
    let count = || files(&path, ".log").len();
    let big = "x".repeat(700_000);
    match key {
        "segment.bytes" => {
            kafka.put(key, 0, &[&big]).await;
            kafka.put(key, 0, &[&big]).await;
            assert_eq!(count(), 1);
            kafka.set(key, key, "1048576").await;
            kafka.put(key, 0, &[&big]).await;
            assert_eq!(count(), 2);
        }
        "internal.segment.bytes" => {
            ten_segments(key, broker, kafka).await;
            assert_eq!(count(), 10);
        }
        "segment.ms" => {
            for step in 0..2 {
                let records = with_time(now_ms() - 50_000 + step * 20_000);
                assert_eq!(kafka.produce(key, 0, records).await.error_code, 0);
            }
            assert_eq!(count(), 1);
            kafka.set(key, key, "1000").await;
            let answer = kafka.produce(key, 0, with_time(now_ms())).await;
            assert_eq!(answer.error_code, 0);
            assert_eq!(count(), 2);
        }
        "segment.index.bytes" => {
            kafka.set(key, "index.interval.bytes", "0").await;
            kafka.set(key, key, "36").await;
            for _ in 0..20 {
                kafka.put(key, 0, &["a"]).await;
            }
            assert!(count() > 2, "full indexes end their segments");
        }
        "index.interval.bytes" => {
            let sparse = ten_segments(key, broker, kafka).await;
            kafka.set(key, key, "0").await;
            kafka.set(key, "internal.segment.bytes", "3000").await;
            for _ in 0..10 {
                kafka.put(key, 0, &[&"x".repeat(600)]).await;
            }
            until("a dense index is written", async || {
                let dense = files(&sparse, ".index").iter().any(|path| {
                    let content = std::fs::read(path).unwrap_or_default();
                    content.len() > 8 && content[8..].iter().any(|&byte| byte != 0)
                });
                dense.then_some(())
            })
            .await;
        }
        "preallocate" => {
            use std::os::unix::fs::MetadataExt;
            kafka.set(key, key, "true").await;
            kafka.set(key, "segment.bytes", "2000000").await;
            for _ in 0..4 {
                kafka.put(key, 0, &[&big]).await;
            }
            let logs = files(&path, ".log");
            let active = logs.last().expect("a segment");
            let blocks = std::fs::metadata(active).expect("it is there").blocks();
            assert!(blocks * 512 >= 2_000_000, "{blocks} blocks");
        }
        other => panic!("{other} is acted upon and has no story here"),
    }
    assert!(!kafka.all_values(key, 0).await.is_empty(), "{key}");
}

#[test]
fn every_key_that_is_acted_upon_acts_on_a_live_topic() {
    run(async {
        let broker = Broker::with(options()).await;
        let mut kafka = broker.kafka().await;
        let acted = topic_keys()
            .values()
            .filter(|key| key.effect == Effect::Acted);
        for key in acted {
            kafka.create(key.name, 1, &[]).await;
            effect(key.name, &broker, &mut kafka).await;
        }
        broker.stop().await;
    });
}

async fn described(
    kafka: &mut Kafka,
    kind: i8,
    name: &str,
    key: &str,
) -> DescribeConfigsResourceResult {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configuration_keys: Some(vec![key.to_owned()]),
            ..Default::default()
        }],
        include_synonyms: true,
        ..Default::default()
    };
    let mut response = kafka.call(4, &request).await;
    assert_eq!(response.results[0].error_code, 0);
    response.results.remove(0).configs.remove(0)
}

#[test]
fn what_is_set_is_shown_with_its_source() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[("retention.ms", "5000")]).await;
        let key = "retention.ms";
        let seen = described(&mut kafka, TOPIC, "topic", key).await;
        assert_eq!(
            (seen.value.as_deref(), seen.config_source),
            (Some("5000"), 1)
        );
        kafka.set("topic", key, "6000").await;
        let seen = described(&mut kafka, TOPIC, "topic", key).await;
        assert_eq!(seen.value.as_deref(), Some("6000"));
        let (error, _) = kafka.alter(TOPIC, "topic", key, None).await;
        assert_eq!(error, 0);
        let seen = described(&mut kafka, TOPIC, "topic", key).await;
        assert_eq!(
            (seen.value.as_deref(), seen.config_source),
            (Some("604800000"), 5)
        );
        // The old way replaces all keys at once.
        kafka.set("topic", "max.message.bytes", "100").await;
        let request = AlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: "topic".to_owned(),
                configs: vec![AlterableConfig {
                    name: key.to_owned(),
                    value: Some("7000".to_owned()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        for version in 0..=2 {
            let response = kafka.call(version, &request).await;
            assert_eq!(response.responses[0].error_code, 0);
        }
        let seen = described(&mut kafka, TOPIC, "topic", key).await;
        assert_eq!(seen.value.as_deref(), Some("7000"));
        let seen = described(&mut kafka, TOPIC, "topic", "max.message.bytes").await;
        assert_eq!(seen.config_source, 5);
        // What is set stays set.
        let broker = broker.killed().await.start().await;
        let mut kafka = broker.kafka().await;
        let seen = described(&mut kafka, TOPIC, "topic", key).await;
        assert_eq!(seen.value.as_deref(), Some("7000"));
        broker.stop().await;
    });
}

#[test]
fn a_broker_config_reaches_its_topics() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        kafka
            .create("own", 1, &[("max.message.bytes", "1000")])
            .await;
        for name in ["", "1"] {
            let (error, message) = kafka
                .alter(BROKER, name, "message.max.bytes", Some("70"))
                .await;
            assert_eq!(error, 0, "{message:?}");
            let answer = kafka.produce("topic", 0, batch(&["a long value"])).await;
            assert_eq!(answer.error_code, code(ErrorCode::MessageTooLarge));
            kafka.put("own", 0, &["a long value"]).await;
            let (error, _) = kafka.alter(BROKER, name, "message.max.bytes", None).await;
            assert_eq!(error, 0);
            kafka.put("topic", 0, &["a long value"]).await;
        }
        broker.stop().await;
    });
}

#[test]
fn wrong_configs_are_refused_with_key_and_value() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        for (kind, name, key, value) in [
            (TOPIC, "topic", "no.such.key", "1"),
            (TOPIC, "topic", "retention.ms", "soon"),
            (TOPIC, "topic", "retention.ms", "-2"),
            (TOPIC, "topic", "segment.bytes", "17"),
            (TOPIC, "topic", "cleanup.policy", "shred"),
            (TOPIC, "topic", "compression.type", "rar"),
            (TOPIC, "topic", "preallocate", "perhaps"),
            (TOPIC, "topic", "remote.storage.enable", "true"),
            (TOPIC, "topic", "min.insync.replicas", "0"),
            (BROKER, "1", "log.retention.ms", "soon"),
            (BROKER, "1", "log.dirs", "/elsewhere"),
        ] {
            let (error, message) = kafka.alter(kind, name, key, Some(value)).await;
            let seen = ErrorCode::from_code(error).expect("a code");
            let expected = [ErrorCode::InvalidConfig, ErrorCode::InvalidRequest];
            let message = message.unwrap_or_default();
            assert!(
                expected.contains(&seen),
                "{key}={value}: {seen:?} {message}"
            );
            assert!(message.contains(key), "{key}={value}: {message}");
            // A key that is unknown, or may not change, is wrong whatever its value.
            if !["no.such.key", "log.dirs"].contains(&key) {
                assert!(message.contains(value), "{key}={value}: {message}");
            }
        }
        let (error, _) = kafka
            .alter(TOPIC, "absent", "retention.ms", Some("1"))
            .await;
        assert_eq!(error, code(ErrorCode::UnknownTopicOrPartition));
        broker.stop().await;
    });
}
