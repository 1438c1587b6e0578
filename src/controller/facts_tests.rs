//! Against Apache Kafka 4.3.1: its logs replay here, its answers are ours, its configs are described alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use types::Uuid;

use crate::configs::{BrokerConfigView, ConfigEntry, describe_broker, describe_topic};
use crate::features::{self, supported_features};
use crate::image::{FeatureRange, MetadataImage, NO_LEADER};
use crate::records::{self, MetadataRecord};
use crate::replay::{BatchPosition, Change, Replayer};
use crate::request::*;
use crate::test_support::{Batch, CLUSTER_ID, Cluster, read_log, registration};

fn replay_until(batches: &[Batch], end: i64) -> (Arc<MetadataImage>, Vec<Change>) {
    let mut replayer = Replayer::new(Arc::new(MetadataImage::empty(CLUSTER_ID)));
    let mut changes = Vec::new();
    for batch in batches
        .iter()
        .filter(|batch| batch.position.base_offset < end)
    {
        changes.extend(
            replayer
                .replay_batch(batch.position, &batch.records)
                .unwrap(),
        );
    }
    assert!(!replayer.in_transaction());
    (replayer.image(), changes)
}

const OPERATIONS_LOG: &[u8] = include_bytes!("facts/operations.log");
const SNAPSHOT: &[u8] = include_bytes!("facts/operations-78.checkpoint");
const CRASH_LOG: &[u8] = include_bytes!("facts/crash.log");

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split('\t').collect())
}

#[test]
fn every_record_of_kafka_is_written_again_as_it_was() {
    let mut count = 0;
    for log in [OPERATIONS_LOG, SNAPSHOT, CRASH_LOG] {
        for batch in read_log(log) {
            for (record, value) in batch.records.iter().zip(&batch.values) {
                assert_eq!(records::encode(record).unwrap(), *value, "{record:?}");
                count += 1;
            }
        }
    }
    assert!(count > 250, "{count} records");
}

#[test]
fn the_log_replays_to_what_kafka_answered() {
    // Kafka was asked after its restart, at which partitions were led again: before the second stop.
    let (image, _) = replay_until(&read_log(OPERATIONS_LOG), 153);
    let expected = rows(include_str!("facts/after-topics.tsv")).map(|row| row[..6].join(" "));
    let mut ours = Vec::new();
    for topic in image.topics.iter() {
        for (index, partition) in &topic.partitions {
            assert_eq!((partition.leader_epoch, partition.partition_epoch), (2, 2));
            ours.push(format!(
                "{} {} {index} leader={} replicas={:?} isr={:?}",
                topic.name, topic.id, partition.leader, partition.replicas, partition.isr
            ));
        }
    }
    assert_eq!(ours, expected.collect::<Vec<_>>());
    let broker = image.broker(1).unwrap();
    assert_eq!((broker.epoch, broker.fenced), (124, false));
    assert_eq!(broker.endpoint("PLAINTEXT").unwrap().port, 29492);
    assert_eq!(image.feature_level("transaction.version"), 2);
    assert!(
        features::check_served(&image).is_err(),
        "level 2 of transactions is not served"
    );
}

#[test]
fn stopping_leaves_partitions_without_leader_and_raises_their_epoch() {
    let (image, changes) = replay_until(&read_log(OPERATIONS_LOG), i64::MAX);
    let partition = image.topic("plain").unwrap().partition(0).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch), (NO_LEADER, 3));
    assert_eq!(partition.isr, [1], "the last in-sync replica stays");
    assert!(image.broker(1).unwrap().fenced);
    assert!(matches!(changes.last(), Some(Change::BrokerChanged(1))));
}

#[test]
fn the_snapshot_says_what_the_log_says() {
    let batches = read_log(SNAPSHOT);
    let records: Vec<_> = batches
        .iter()
        .flat_map(|batch| batch.records.clone())
        .collect();
    let position = BatchPosition {
        base_offset: 77,
        epoch: 1,
        timestamp_ms: 0,
    };
    let snapshot = crate::snapshot::from_snapshot(CLUSTER_ID, position, &records).unwrap();
    let (image, _) = replay_until(&read_log(OPERATIONS_LOG), 78);
    assert_eq!(image.provenance.offset, 77);
    assert!(snapshot.same_content(&image));
    let again = crate::snapshot::snapshot_records(&snapshot);
    assert_eq!(again.len(), records.len());
    let bytes = |records: &[MetadataRecord]| {
        // Within a registration Kafka's order of features is that of a hash table.
        let is_registration = |record: &&MetadataRecord| {
            matches!(
                record,
                MetadataRecord::RegisterBroker(_) | MetadataRecord::RegisterController(_)
            )
        };
        let others = records.iter().filter(|record| !is_registration(record));
        let mut all: Vec<Bytes> = others.map(|r| records::encode(r).unwrap()).collect();
        all.sort();
        all
    };
    assert!(
        bytes(&again) == bytes(&records),
        "the same records, but for their order"
    );
}

/// Operations at which we answer otherwise, and our answer.
const DIFFERENCES: [(&str, &str); 10] = [
    // Kafka's own client does not send these, or waits for a broker that is not there.
    ("deleteid AAAAAAAAAAAAAAAAAAAAAA", "UNKNOWN_TOPIC_ID"),
    (
        "alter broker:7 =log.retention.ms=5",
        "BROKER_ID_NOT_REGISTERED",
    ),
    // An exception slips through in Kafka.
    ("alter broker:abc =log.retention.ms=5", "INVALID_REQUEST"),
    // Kafka stores keys that nothing reads.
    ("alter broker:1 =no.such=5", "INVALID_CONFIG"),
    // A rule about Java threads.
    ("alter broker: =num.io.threads=40", "NONE"),
    // Not served, and said so.
    (
        "alter group:g =consumer.session.timeout.ms=50000",
        "INVALID_REQUEST",
    ),
    ("alter group:g =no.such=5", "INVALID_REQUEST"),
    (
        "alter client-metrics:m =interval.ms=5000",
        "INVALID_REQUEST",
    ),
    ("alter logger:1 =root=INFO", "INVALID_REQUEST"),
    ("feature transaction.version 2", "INVALID_UPDATE_VERSION"),
];

fn after_operations() -> Cluster {
    let mut cluster = Cluster::started();
    let mut wrong = Vec::new();
    for row in rows(include_str!("facts/operations.tsv")) {
        let (line, mut expected) = (row[0], row[1]);
        if let Some(difference) = DIFFERENCES.iter().find(|difference| difference.0 == line) {
            expected = difference.1;
        }
        let (code, created) = cluster.operate(line);
        let expected_topic = row.get(2).copied().unwrap_or("");
        if code != expected || created != expected_topic {
            wrong.push(format!(
                "{line}: {code} {created}, Kafka: {expected} {expected_topic}"
            ));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    cluster
}

#[test]
fn operations_are_answered_as_kafka_answers_them() {
    after_operations();
}

#[test]
fn operations_leave_the_topics_and_configs_that_they_leave_in_kafka() {
    let ours = after_operations().controller.image();
    let (kafkas, _) = replay_until(&read_log(OPERATIONS_LOG), 91);
    let topics = |image: &MetadataImage| -> Vec<(String, i32)> {
        image
            .topics
            .iter()
            .map(|t| (t.name.to_string(), t.partition_count()))
            .collect()
    };
    assert_eq!(topics(&ours), topics(&kafkas));
    let configs = |image: &MetadataImage| {
        let mut all = Vec::new();
        for (resource, configs) in image.configs.iter() {
            for (key, value) in configs.iter() {
                all.push(format!(
                    "{:?} {} {key}={value}",
                    resource.kind, resource.name
                ));
            }
        }
        // What only Kafka takes, and the number of threads that it refuses.
        all.retain(|line| {
            !["no.such", "Group", "ClientMetrics", "num.io.threads"]
                .iter()
                .any(|w| line.contains(w))
        });
        all
    };
    assert_eq!(configs(&ours), configs(&kafkas));
}

/// A record with the ids that each run draws anew left out.
fn without_ids(record: &MetadataRecord) -> MetadataRecord {
    let mut record = record.clone();
    match &mut record {
        MetadataRecord::Topic(topic) => topic.topic_id = Uuid::ZERO,
        MetadataRecord::Partition(partition) => {
            partition.topic_id = Uuid::ZERO;
            partition.directories.fill(Uuid::ZERO);
        }
        _ => {}
    }
    record
}

/// Whether only Kafka takes what led to this record, or the test does not compare it.
fn is_kafkas_alone(record: &MetadataRecord) -> bool {
    match record {
        MetadataRecord::Config(config) => {
            matches!(config.resource_type, 16 | 32) || config.name == "no.such"
        }
        MetadataRecord::NoOp(_) => true,
        _ => false,
    }
}

#[test]
fn operations_write_the_records_that_kafka_writes() {
    let mut cluster = Cluster::started();
    cluster.keep_log();
    for row in rows(include_str!("facts/operations.tsv")) {
        // The one number of threads that only we take.
        if row[0] != "alter broker: =num.io.threads=40" {
            cluster.operate(row[0]);
        }
    }
    let ours: Vec<_> = cluster
        .log()
        .iter()
        .flat_map(|(_, records)| records)
        .map(without_ids)
        .collect();
    let batches = read_log(OPERATIONS_LOG);
    let operations = batches
        .iter()
        .filter(|b| (10..91).contains(&b.position.base_offset));
    let kafkas: Vec<_> = operations
        .flat_map(|batch| &batch.records)
        .filter(|record| !is_kafkas_alone(record))
        .map(without_ids)
        .collect();
    for (index, (ours, kafkas)) in ours.iter().zip(&kafkas).enumerate() {
        assert_eq!(ours, kafkas, "record {index}");
    }
    assert_eq!(ours.len(), kafkas.len());
}

/// What records do to brokers and leaders, in short.
fn kinds(records: &[MetadataRecord]) -> Vec<String> {
    let kind = |record: &MetadataRecord| match record {
        MetadataRecord::PartitionChange(change) => format!("leader {}", change.leader),
        MetadataRecord::BrokerRegistrationChange(change) => {
            format!(
                "fenced {} stopping {}",
                change.fenced, change.in_controlled_shutdown
            )
        }
        MetadataRecord::RegisterBroker(_) => "register".to_owned(),
        other => format!("{other:?}"),
    };
    records.iter().map(kind).collect()
}

/// The records of Kafka's log from one offset to another, those of idleness left out.
fn kafka_wrote(log: &'static [u8], from: i64, to: i64) -> Vec<String> {
    let batches = read_log(log).into_iter();
    let within = batches.filter(|b| from <= b.position.base_offset && b.last_offset <= to);
    let kinds = within.flat_map(|batch| kinds(&batch.records));
    kinds.filter(|kind| !kind.contains("NoOp")).collect()
}

#[test]
fn a_clean_restart_writes_the_records_that_kafka_writes() {
    let mut cluster = Cluster::started();
    cluster.operate("create t0 partitions=2");
    let epoch = cluster.controller.image().broker(1).unwrap().epoch;

    // Leaderships end, then the broker is fenced.
    let (reply, records) = cluster.heartbeat(epoch, true);
    assert!(!reply.unwrap().should_shut_down);
    assert_eq!(
        kinds(&records),
        ["fenced 0 stopping 1", "leader -1", "leader -1"]
    );
    assert_eq!(kafka_wrote(OPERATIONS_LOG, 94, 121)[..3], kinds(&records));
    let (reply, records) = cluster.heartbeat(epoch, true);
    assert!(reply.unwrap().should_shut_down);
    assert_eq!(kinds(&records), kafka_wrote(OPERATIONS_LOG, 121, 121));

    // At the next start the broker leads again what nobody led.
    let epoch = cluster.register(2);
    let (_, records) = cluster.heartbeat(epoch, false);
    let expected = [
        "fenced -1 stopping 0",
        "leader 1",
        "leader 1",
        "fenced 0 stopping 0",
    ];
    assert_eq!(kinds(&records), expected);
    let kafkas = kafka_wrote(OPERATIONS_LOG, 124, 152);
    assert_eq!(
        (&*kafkas[0], &kafkas[1..4]),
        ("register", &kinds(&records)[..3])
    );
    assert_eq!(kafkas.last(), kinds(&records).last());
    let image = cluster.controller.image();
    let partition = image.topic("t0").unwrap().partition(0).unwrap();
    assert_eq!(
        (partition.leader_epoch, partition.isr.as_slice()),
        (2, [1].as_slice())
    );
}

#[test]
fn stopping_kafkas_own_broker_writes_the_bytes_that_kafka_wrote() {
    let batches = read_log(OPERATIONS_LOG);
    let (image, _) = replay_until(&batches, 94);
    let mut cluster = Cluster::with_image(image);
    let epoch = cluster.controller.image().broker(1).unwrap().epoch;
    // The second batch is the fencing, after pauses in which Kafka writes that it does nothing.
    let kafkas = batches
        .iter()
        .filter(|b| (94..=121).contains(&b.position.base_offset));
    let is_idle = |batch: &&Batch| matches!(batch.records[..], [MetadataRecord::NoOp(_)]);
    let kafkas: Vec<_> = kafkas.filter(|batch| !is_idle(batch)).collect();
    assert_eq!(kafkas.len(), 2);
    assert!(kafkas[0].records.len() > 1, "a broker that leads something");
    for (round, kafkas) in kafkas.into_iter().enumerate() {
        let (reply, ours) = cluster.heartbeat(epoch, true);
        assert_eq!(reply.unwrap().should_shut_down, round == 1);
        let mut ours: Vec<_> = ours.iter().map(|r| records::encode(r).unwrap()).collect();
        let mut kafkas = kafkas.values.clone();
        assert_eq!(ours[0], kafkas[0], "the broker first");
        // Kafka's partitions come in the order of its hash tables.
        ours.sort();
        kafkas.sort();
        assert_eq!(ours, kafkas);
    }
    assert!(cluster.controller.image().broker(1).unwrap().fenced);
}

#[test]
fn a_start_after_a_kill_writes_the_records_that_kafka_writes() {
    // Kafka waits for the dead broker's session to end before it writes them.
    let expected = [
        "leader -1",
        "leader -1",
        "leader -1",
        "fenced 1 stopping 0",
        "register",
    ];
    assert_eq!(kafka_wrote(CRASH_LOG, 39, 46), expected);
    let mut cluster = Cluster::started();
    cluster.operate("create t0 partitions=2");
    cluster.operate("create t1 partitions=1");
    let (response, records) = cluster.ask(&registration(3));
    assert_eq!(kinds(&records), expected);
    let image = cluster.controller.image();
    let epoch = image.broker(1).unwrap().epoch;
    assert_eq!(response, Response::RegisterBroker(Ok(epoch)));
    assert_eq!(
        epoch, image.provenance.offset,
        "the epoch is the record's offset"
    );
    let (_, records) = cluster.heartbeat(epoch, false);
    assert_eq!(kinds(&records), kafka_wrote(CRASH_LOG, 47, 51));
}

fn shown(entry: &ConfigEntry) -> String {
    let null = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonyms: Vec<String> = entry
        .synonyms
        .iter()
        .map(|synonym| {
            format!(
                "{}={}@{}",
                synonym.name,
                null(&synonym.value),
                synonym.source.name()
            )
        })
        .collect();
    [
        entry.name.clone(),
        null(&entry.value),
        entry.source.name().to_owned(),
        if entry.read_only {
            "read-only"
        } else {
            "writable"
        }
        .to_owned(),
        if entry.sensitive {
            "sensitive"
        } else {
            "plain"
        }
        .to_owned(),
        entry.kind.map_or("UNKNOWN", |kind| kind.name()).to_owned(),
        synonyms.join("|"),
    ]
    .join("\t")
}

/// Kafka's description with what is ours put in: topics are flushed by default.
fn kafkas(text: &'static str) -> Vec<String> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let ours = |line: &str| {
        if line.starts_with("flush.messages\t") || line.starts_with("log.flush.interval.messages\t")
        {
            line.replace("9223372036854775807", "1")
        } else {
            line.to_owned()
        }
    };
    lines.map(ours).collect()
}

fn check_same(ours: &[ConfigEntry], kafkas: &[String]) {
    let ours: Vec<String> = ours.iter().map(shown).collect();
    let differing: Vec<(&String, &String)> = ours
        .iter()
        .zip(kafkas)
        .filter(|(ours, kafkas)| ours != kafkas)
        .collect();
    assert_eq!(differing, Vec::new());
    assert_eq!(ours.len(), kafkas.len());
}

#[test]
fn configs_of_a_fresh_broker_are_described_as_kafka_describes_them() {
    let mut cluster = Cluster::empty();
    let config = &mut cluster.controller.config.static_configs;
    config.insert(
        "metadata.log.max.record.bytes.between.snapshots".to_owned(),
        "6000".to_owned(),
    );
    config.insert(
        "metadata.max.idle.interval.ms".to_owned(),
        "5000".to_owned(),
    );
    let view = cluster.controller.config_view();
    check_same(
        &describe_broker(&view, false),
        &kafkas(include_str!("facts/describe-broker.tsv")),
    );
    check_same(
        &describe_topic(&view, "t0"),
        &kafkas(include_str!("facts/describe-topic.tsv")),
    );
}

#[test]
fn dynamic_configs_are_described_as_kafka_describes_them() {
    // Kafka's own log, so that both describe the same.
    let (image, _) = replay_until(&read_log(OPERATIONS_LOG), 153);
    let static_configs = BTreeMap::new();
    let view = BrokerConfigView::new(&image, 1, &static_configs);
    for (topic, expected) in [
        ("three", include_str!("facts/after-topic-three.tsv")),
        ("cfg", include_str!("facts/after-topic-cfg.tsv")),
    ] {
        check_same(&describe_topic(&view, topic), &kafkas(expected));
    }
    let mut broker = describe_broker(&view, false);
    broker.retain(|entry| entry.source.name().starts_with("DYNAMIC"));
    check_same(&broker, &kafkas(include_str!("facts/after-broker.tsv")));
    let default = describe_broker(&view, true);
    check_same(
        &default,
        &kafkas(include_str!("facts/after-broker-default.tsv")),
    );
}

#[test]
fn features_that_clients_are_told_are_those_that_are_served() {
    let range = |level| FeatureRange {
        min: level,
        max: level,
    };
    let expected = BTreeMap::from([
        ("kraft.version".to_owned(), range(1)),
        ("metadata.version".to_owned(), range(30)),
    ]);
    assert_eq!(supported_features(), expected);
    let image = Cluster::started().controller.image();
    assert_eq!(features::check_served(&image), Ok(()));
    let finalized = features::finalized_features(&image);
    assert_eq!(finalized["metadata.version"], 30);
    assert_eq!(finalized["kraft.version"], 1);
    assert_eq!(finalized.len(), 2);
}
