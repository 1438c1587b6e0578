//! Stories told to a real broker, Kafka's or ours: `MILLRACE_TEST_BROKER=host:port cargo test -- --ignored`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::records::{Compression, Header};
use runtime::Clock;
use runtime::task::{block_on, spawn_local};
use types::ErrorCode;

use crate::admin::{ConfigChange, NewTopic, ResourceKind};
use crate::consumer::{ConsumedRecord, GroupConfig, OffsetReset};
use crate::offsets::{CommittedOffset, Committer, IsolationLevel, OffsetSpec};
use crate::producer::{Acks, ProducerRecord};
use crate::{Client, ClientConfig, Consumer, ConsumerConfig, Producer, ProducerConfig};

fn client() -> Client {
    let broker = std::env::var("MILLRACE_TEST_BROKER").expect("MILLRACE_TEST_BROKER is host:port");
    Client::new(ClientConfig::new(
        &[&broker],
        Clock::start(),
        runtime::entropy(),
    ))
}

/// A new topic, by a name that no run used before.
async fn topic(client: &Client, name: &str, partition_count: i32) -> String {
    let unique = format!("{name}-{:016x}", runtime::entropy());
    let topic = NewTopic {
        name: unique.clone(),
        partition_count: Some(partition_count),
        replication_factor: Some(1),
        configs: BTreeMap::new(),
    };
    let results = client.create_topics(&[topic]).await.unwrap();
    results[&unique].clone().unwrap();
    unique
}

fn record(topic: &str, partition: i32, value: String) -> ProducerRecord {
    ProducerRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        value: Some(value.into()),
        ..ProducerRecord::default()
    }
}

fn earliest() -> ConsumerConfig {
    ConsumerConfig {
        offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    }
}

async fn consume(consumer: &mut Consumer, count: usize) -> Vec<ConsumedRecord> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let more = consumer.poll(10_000).await.unwrap();
        assert!(!more.is_empty(), "{} of {count} records came", seen.len());
        seen.extend(more);
    }
    seen
}

fn value(record: &ConsumedRecord) -> &str {
    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap()
}

#[test]
#[ignore = "needs a broker"]
fn what_is_produced_is_consumed() {
    block_on(async {
        let client = client();
        let topic = topic(&client, "simple", 1).await;
        for (acks, is_idempotent) in [
            (Acks::None, false),
            (Acks::Leader, false),
            (Acks::All, false),
            (Acks::All, true),
        ] {
            let config = ProducerConfig {
                acks,
                is_idempotent,
                ..ProducerConfig::default()
            };
            let producer = Producer::new(&client, config).unwrap();
            let sent = ProducerRecord {
                key: Some(Bytes::from_static(b"key")),
                headers: vec![Header {
                    key: Bytes::from_static(b"h"),
                    value: None,
                }],
                ..record(&topic, 0, format!("{acks:?} {is_idempotent}"))
            };
            let metadata = producer.send_and_wait(sent).await.unwrap();
            assert_eq!(metadata.offset.is_none(), acks == Acks::None);
            producer.close().await;
        }
        let mut consumer = Consumer::new(&client, earliest());
        consumer.assign(&[(topic.clone(), 0)]);
        let seen = consume(&mut consumer, 4).await;
        let values: Vec<_> = seen.iter().map(value).collect();
        assert_eq!(
            values,
            ["None false", "Leader false", "All false", "All true"]
        );
        assert_eq!(seen[3].offset, 3);
        assert_eq!(seen[3].headers.len(), 1);
        assert_eq!(seen[3].key.as_deref(), Some(&b"key"[..]));
    });
}

#[test]
#[ignore = "needs a broker"]
fn many_records_arrive_once_and_in_order() {
    const COUNT: usize = 30_000;
    block_on(async {
        let client = client();
        let topic = topic(&client, "many", 3).await;
        for compression in Compression::ALL {
            let config = ProducerConfig {
                compression: compression.into(),
                ..ProducerConfig::default()
            };
            let producer = Producer::new(&client, config).unwrap();
            let mut deliveries = Vec::new();
            for number in 0..COUNT {
                let partition = (number % 3) as i32;
                let record = record(&topic, partition, number.to_string());
                deliveries.push((number, producer.send(record).await.unwrap()));
            }
            producer.flush().await;
            let mut last = BTreeMap::new();
            for (number, delivery) in deliveries {
                let metadata = delivery.await.unwrap();
                let before = last.insert(metadata.partition, metadata.offset);
                assert!(
                    before.is_none_or(|before| before < metadata.offset),
                    "{number}"
                );
            }
            producer.close().await;
        }
        let mut consumer = Consumer::new(&client, earliest());
        let partitions: Vec<_> = (0..3).map(|partition| (topic.clone(), partition)).collect();
        consumer.assign(&partitions);
        let rounds = Compression::ALL.len();
        let seen = consume(&mut consumer, COUNT * rounds).await;
        assert_eq!(seen.len(), COUNT * rounds);
        for partition in 0..3 {
            let numbers: Vec<usize> = seen
                .iter()
                .filter(|record| record.partition == partition)
                .map(|record| value(record).parse().unwrap())
                .collect();
            let one_round = (partition as usize..COUNT).step_by(3);
            let expected: Vec<usize> = (0..rounds).flat_map(|_| one_round.clone()).collect();
            assert_eq!(numbers, expected);
        }
    });
}

#[test]
#[ignore = "needs a broker"]
fn offsets_are_found_by_time() {
    block_on(async {
        let client = client();
        let topic = topic(&client, "times", 1).await;
        let producer = Producer::new(&client, ProducerConfig::default()).unwrap();
        for number in 0..10 {
            let mut record = record(&topic, 0, number.to_string());
            record.timestamp = Some(1_700_000_000_000 + number * 1000);
            producer.send_and_wait(record).await.unwrap();
        }
        let partition = (topic.clone(), 0);
        let table = [
            (OffsetSpec::Earliest, Some(0)),
            (OffsetSpec::Latest, Some(10)),
            (OffsetSpec::MaxTimestamp, Some(9)),
            (OffsetSpec::Timestamp(1_700_000_003_500), Some(4)),
            (OffsetSpec::Timestamp(1_800_000_000_000), None),
        ];
        for (spec, expected) in table {
            let asked = BTreeMap::from([(partition.clone(), spec)]);
            let isolation = IsolationLevel::ReadUncommitted;
            let listed = client.list_offsets(&asked, isolation).await.unwrap();
            assert_eq!(listed[&partition].offset, expected, "{spec:?}");
        }
        let cut = BTreeMap::from([(partition.clone(), 6)]);
        let results = client.delete_records(&cut).await.unwrap();
        assert_eq!(results[&partition], Ok(6));
        let mut consumer = Consumer::new(&client, earliest());
        consumer.assign(std::slice::from_ref(&partition));
        consumer.seek(&partition, 2).unwrap();
        let seen = consume(&mut consumer, 4).await;
        assert_eq!(seen[0].offset, 6, "a position that is gone is reset");
    });
}

#[test]
#[ignore = "needs a broker"]
fn a_group_shares_partitions_and_resumes_where_it_committed() {
    block_on(async {
        let client = client();
        let topic = topic(&client, "group", 4).await;
        let group = format!("group-{:016x}", runtime::entropy());
        let producer = Producer::new(&client, ProducerConfig::default()).unwrap();
        for number in 0..40 {
            let record = record(&topic, number % 4, number.to_string());
            producer.send_and_wait(record).await.unwrap();
        }
        let config = ConsumerConfig {
            group: Some(GroupConfig {
                heartbeat_interval_ms: 100,
                ..GroupConfig::new(&group)
            }),
            ..earliest()
        };
        let mut first = Consumer::new(&client, config.clone());
        first.subscribe(&[&topic]).unwrap();
        let seen = consume(&mut first, 40).await;
        assert_eq!(seen.len(), 40);
        first.commit().await.unwrap();

        let mut second = Consumer::new(&self::client(), config.clone());
        second.subscribe(&[&topic]).unwrap();
        let sharing = spawn_local(async move {
            while second.assignment().len() != 2 {
                second.poll(100).await.unwrap();
            }
            second
        });
        while first.assignment().len() != 2 {
            first.poll(100).await.unwrap();
        }
        let mut second = sharing.await.unwrap();
        let both: BTreeSet<_> = first
            .assignment()
            .into_iter()
            .chain(second.assignment())
            .collect();
        assert_eq!(both.len(), 4);

        let described = client.describe_group(&group).await.unwrap();
        assert_eq!(
            (described.group_state.as_str(), described.members.len()),
            ("Stable", 2)
        );
        let leaving = spawn_local(first.close());
        while second.assignment().len() != 4 {
            second.poll(100).await.unwrap();
        }
        leaving.await.unwrap().unwrap();
        let record = record(&topic, 1, "after".to_owned());
        producer.send_and_wait(record).await.unwrap();
        let seen = consume(&mut second, 1).await;
        assert_eq!(
            value(&seen[0]),
            "after",
            "what was committed is not read again"
        );
        second.close().await.unwrap();

        an_empty_groups_offsets_are_administered(&client, &group, &topic).await;
    });
}

async fn an_empty_groups_offsets_are_administered(client: &Client, group: &str, topic: &str) {
    let committed = client.committed_offsets(group, None, true).await.unwrap();
    assert_eq!(committed[&(topic.to_owned(), 1)].offset, 11);
    let reset = BTreeMap::from([((topic.to_owned(), 1), CommittedOffset::at(3))]);
    let outsider = Committer::outsider();
    client
        .commit_offsets(group, &outsider, &reset)
        .await
        .unwrap();
    let listed = client.list_groups().await.unwrap();
    assert!(listed.iter().any(|listed| listed.group_id == group));
    let forgotten = [(topic.to_owned(), 0)];
    let results = client.delete_offsets(group, &forgotten).await.unwrap();
    assert_eq!(results[&forgotten[0]], Ok(()));
    let committed = client.committed_offsets(group, None, true).await.unwrap();
    assert_eq!(committed.len(), 3);
    assert_eq!(committed[&(topic.to_owned(), 1)].offset, 3);
    client.delete_group(group).await.unwrap();
    let error = client.delete_group(group).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::GroupIdNotFound));
}

#[test]
#[ignore = "needs a broker"]
fn topics_and_configs_are_administered() {
    block_on(async {
        let client = client();
        let topic = topic(&client, "admin", 1).await;
        let again = NewTopic {
            name: topic.clone(),
            partition_count: None,
            replication_factor: None,
            configs: BTreeMap::new(),
        };
        let results = client.create_topics(&[again]).await.unwrap();
        let error = results[&topic].clone().unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::TopicAlreadyExists));

        let changes = BTreeMap::from([(
            "retention.ms".to_owned(),
            ConfigChange::Set("12345".to_owned()),
        )]);
        let kind = ResourceKind::Topic;
        client
            .alter_configs(kind, &topic, &changes, false)
            .await
            .unwrap();
        let keys = Some(&["retention.ms"][..]);
        let configs = client.describe_configs(kind, &topic, keys).await.unwrap();
        assert_eq!(configs.len(), 1);
        assert_eq!(configs[0].value.as_deref(), Some("12345"));
        let wrong = BTreeMap::from([(
            "retention.ms".to_owned(),
            ConfigChange::Set("soon".to_owned()),
        )]);
        let refused = client.alter_configs(kind, &topic, &wrong, true).await;
        assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::InvalidConfig));

        let counts = BTreeMap::from([(topic.clone(), 3)]);
        let results = client.create_partitions(&counts).await.unwrap();
        assert_eq!(results[&topic], Ok(()));
        let cluster = client.describe_cluster().await.unwrap();
        assert!(!cluster.cluster_id.is_empty() && !cluster.brokers.is_empty());
        let broker = cluster.brokers[0].broker_id.to_string();
        let configs = client
            .describe_configs(ResourceKind::Broker, &broker, None)
            .await
            .unwrap();
        assert!(configs.iter().any(|config| config.name == "log.dirs"));

        while client.list_topics().await.unwrap()[&topic].partitions.len() != 3 {}
        let results = client.delete_topics(&[&topic]).await.unwrap();
        assert_eq!(results[&topic], Ok(()));
        let results = client.delete_topics(&[&topic]).await.unwrap();
        let error = results[&topic].clone().unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    });
}
