//! Topics come and go; offsets in them are found and moved.

use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use protocol::messages::{
    CreatePartitionsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeTopicPartitionsRequest, FindCoordinatorRequest,
    InitProducerIdRequest, MetadataRequest, OffsetForLeaderEpochRequest,
    describe_producers_request,
};
use protocol::records::BatchBuilder;
use types::ErrorCode;

use crate::harness::{
    Broker, Kafka, Options, batch, code, create_request, fetch_request, metadata_request, only,
    produce_request, run, sequenced, values,
};

/// Deletes a topic by name, which must succeed.
pub async fn delete(kafka: &mut Kafka, name: &str) {
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some(name.to_owned()),
            ..Default::default()
        }],
        timeout_ms: 30_000,
        ..Default::default()
    };
    let response = kafka.call(6, &request).await;
    assert_eq!(response.responses[0].error_code, 0);
}

#[test]
fn a_name_used_again_is_another_topic() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let old = kafka.create("topic", 2, &[]).await;
        kafka.put("topic", 1, &["old"]).await;
        let again = kafka.call(7, &create_request("topic", 1, &[])).await;
        assert_eq!(
            again.topics[0].error_code,
            code(ErrorCode::TopicAlreadyExists)
        );
        delete(&mut kafka, "topic").await;
        let (error, _) = kafka.topic("topic").await;
        assert_eq!(error, code(ErrorCode::UnknownTopicOrPartition));
        let new = kafka.create("topic", 2, &[]).await;
        assert_ne!(old, new);
        assert_eq!(kafka.topic("topic").await, (0, new));
        assert_eq!(kafka.put("topic", 1, &["new"]).await, 0, "it begins empty");
        let mut by_old_id = produce_request("", 1, -1, batch(&["lost"]));
        by_old_id.topic_data[0].topic_id = old;
        let answer = only(kafka.call(13, &by_old_id).await);
        assert_eq!(answer.error_code, code(ErrorCode::UnknownTopicId));
        let mut by_old_id = fetch_request("", &[(1, 0)]);
        by_old_id.topics[0].topic_id = old;
        let response = kafka.call(16, &by_old_id).await;
        let seen = response.responses[0].partitions[0].error_code;
        assert_eq!(seen, code(ErrorCode::UnknownTopicId));
        let broker = broker.killed().await.start().await;
        let mut kafka = broker.kafka().await;
        assert_eq!(kafka.topic("topic").await, (0, new));
        assert_eq!(kafka.all_values("topic", 1).await, ["new"]);
        broker.stop().await;
    });
}

#[test]
fn bad_topics_are_not_created() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("a.b", 1, &[]).await;
        let long = "n".repeat(250);
        use ErrorCode::{InvalidConfig, InvalidPartitions, InvalidTopicException};
        for (name, partitions, configs, expected) in [
            ("", 1, &[][..], InvalidTopicException),
            ("..", 1, &[], InvalidTopicException),
            ("a/b", 1, &[], InvalidTopicException),
            (&long, 1, &[], InvalidTopicException),
            ("a_b", 1, &[], InvalidTopicException),
            ("zero", 0, &[], InvalidPartitions),
            ("negative", -2, &[], InvalidPartitions),
            ("unknown", 1, &[("no.such.key", "1")], InvalidConfig),
            ("wrong", 1, &[("retention.ms", "soon")], InvalidConfig),
        ] {
            let response = kafka
                .call(7, &create_request(name, partitions, configs))
                .await;
            let topic = &response.topics[0];
            let seen = ErrorCode::from_code(topic.error_code).expect("a code");
            assert_eq!(seen, expected, "{name}: {:?}", topic.error_message);
            assert!(topic.error_message.is_some(), "{name}");
        }
        let mut replicated = create_request("replicated", 1, &[]);
        replicated.topics[0].replication_factor = 2;
        let response = kafka.call(7, &replicated).await;
        assert_eq!(
            response.topics[0].error_code,
            code(ErrorCode::InvalidReplicationFactor)
        );
        let mut dry = create_request("dry", 1, &[]);
        dry.validate_only = true;
        assert_eq!(kafka.call(7, &dry).await.topics[0].error_code, 0);
        let all = kafka
            .call(
                12,
                &MetadataRequest {
                    topics: None,
                    ..Default::default()
                },
            )
            .await;
        let names: Vec<_> = all
            .topics
            .iter()
            .map(|topic| topic.name.as_deref())
            .collect();
        assert_eq!(names, [Some("a.b")]);
        broker.stop().await;
    });
}

#[test]
fn topics_are_made_by_asking_for_them_if_that_is_allowed() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let response = kafka.call(12, &metadata_request("made", true)).await;
        let topic = &response.topics[0];
        assert_eq!((topic.error_code, topic.partitions.len()), (0, 1));
        assert_eq!(topic.partitions[0].leader_id, 1);
        kafka.put("made", 0, &["a"]).await;
        let response = kafka.call(12, &metadata_request("not made", true)).await;
        let seen = response.topics[0].error_code;
        assert_eq!(seen, code(ErrorCode::InvalidTopicException));
        let (error, _) = kafka.topic("unasked").await;
        assert_eq!(error, code(ErrorCode::UnknownTopicOrPartition));
        broker.stop().await;
        let broker =
            Broker::with(Options::default().with("auto.create.topics.enable", "false")).await;
        let mut kafka = broker.kafka().await;
        let response = kafka.call(12, &metadata_request("made", true)).await;
        let seen = response.topics[0].error_code;
        assert_eq!(seen, code(ErrorCode::UnknownTopicOrPartition));
        broker.stop().await;
    });
}

#[test]
fn partitions_are_added_never_taken() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        kafka.put("topic", 0, &["a"]).await;
        for (name, count, expected) in [
            ("topic", 3, ErrorCode::None),
            ("topic", 3, ErrorCode::InvalidPartitions),
            ("topic", 2, ErrorCode::InvalidPartitions),
            ("absent", 2, ErrorCode::UnknownTopicOrPartition),
        ] {
            let request = CreatePartitionsRequest {
                topics: vec![CreatePartitionsTopic {
                    name: name.to_owned(),
                    count,
                    assignments: None,
                    ..Default::default()
                }],
                timeout_ms: 30_000,
                ..Default::default()
            };
            let response = kafka.call(3, &request).await;
            let seen = response.results[0].error_code;
            assert_eq!(seen, code(expected), "{name} to {count}");
        }
        assert_eq!(kafka.put("topic", 2, &["c"]).await, 0);
        assert_eq!(kafka.put("topic", 0, &["b"]).await, 1);
        broker.stop().await;
    });
}

/// Deletes the records of partition 0 below an offset; gives code and low watermark.
pub async fn delete_records(kafka: &mut Kafka, topic: &str, offset: i64) -> (i16, i64) {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.to_owned(),
            partitions: vec![DeleteRecordsPartition {
                offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        timeout_ms: 30_000,
        ..Default::default()
    };
    let response = kafka.call(2, &request).await;
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

#[test]
fn deleted_records_stay_deleted() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        for n in 0..10 {
            kafka.put("topic", 0, &[&n.to_string()]).await;
        }
        let out_of_range = code(ErrorCode::OffsetOutOfRange);
        for (offset, expected) in [
            (3, (0, 3)),
            (2, (0, 3)),
            (11, (out_of_range, -1)),
            (-2, (out_of_range, -1)),
        ] {
            let seen = delete_records(&mut kafka, "topic", offset).await;
            assert_eq!(seen, expected, "before {offset}");
        }
        assert_eq!(kafka.offset("topic", 0, -2).await.offset, 3);
        let early = kafka.fetch("topic", 0, 2).await;
        assert_eq!(early.error_code, out_of_range);
        assert_eq!(early.log_start_offset, 3);
        assert_eq!(values(&kafka.fetch("topic", 0, 3).await).len(), 7);
        let broker = broker.killed().await.start().await;
        let mut kafka = broker.kafka().await;
        assert_eq!(kafka.offset("topic", 0, -2).await.offset, 3, "after a kill");
        assert_eq!(delete_records(&mut kafka, "topic", -1).await, (0, 10));
        assert_eq!(kafka.put("topic", 0, &["next"]).await, 10);
        assert_eq!(kafka.all_values("topic", 0).await, ["next"]);
        let configs = [("cleanup.policy", "compact")];
        kafka.create("compacted", 1, &configs).await;
        let (error, _) = delete_records(&mut kafka, "compacted", -1).await;
        assert_eq!(error, code(ErrorCode::PolicyViolation));
        let (error, _) = delete_records(&mut kafka, "absent", -1).await;
        assert_eq!(error, code(ErrorCode::UnknownTopicOrPartition));
        broker.stop().await;
    });
}

#[test]
fn offsets_are_found_by_time() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        let base = 1_700_000_000_000;
        for step in 0..10 {
            let mut builder = BatchBuilder::new(0);
            for n in 0..3 {
                let timestamp = base + step * 100 + n * 10;
                builder.append(timestamp, None, Some(b"v"), &[]);
            }
            let records = builder.build().into_bytes();
            assert_eq!(kafka.produce("topic", 0, records).await.error_code, 0);
        }
        for (timestamp, offset, found) in [
            (base - 1, 0, base),
            (base, 0, base),
            (base + 1, 1, base + 10),
            (base + 20, 2, base + 20),
            (base + 21, 3, base + 100),
            (base + 905, 28, base + 910),
            (base + 921, -1, -1),
            (-1, 30, -1),
            (-2, 0, -1),
            (-3, 29, base + 920),
        ] {
            let seen = kafka.offset("topic", 0, timestamp).await;
            let at = timestamp - base;
            assert_eq!(
                (seen.error_code, seen.offset, seen.timestamp),
                (0, offset, found),
                "{at}"
            );
        }
        broker.stop().await;
    });
}

#[test]
fn epochs_tell_where_they_end() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        kafka.put("topic", 0, &["a", "b"]).await;
        for (leader_epoch, expected) in [(0, (0, 0, 2)), (7, (0, -1, -1))] {
            let request = OffsetForLeaderEpochRequest {
                replica_id: -1,
                topics: vec![OffsetForLeaderTopic {
                    topic: "topic".to_owned(),
                    partitions: vec![OffsetForLeaderPartition {
                        current_leader_epoch: -1,
                        leader_epoch,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            };
            for version in 2..=4 {
                let response = kafka.call(version, &request).await;
                let one = &response.topics[0].partitions[0];
                let seen = (one.error_code, one.leader_epoch, one.end_offset);
                assert_eq!(seen, expected, "epoch {leader_epoch} v{version}");
            }
        }
        broker.stop().await;
    });
}

#[test]
fn topics_are_described_page_by_page() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        for name in ["b", "a", "c"] {
            kafka.create(name, 3, &[]).await;
        }
        for limit in 1..=10 {
            let mut cursor = None;
            let mut seen = Vec::new();
            loop {
                let request = DescribeTopicPartitionsRequest {
                    topics: vec![],
                    response_partition_limit: limit,
                    cursor,
                    ..Default::default()
                };
                let response = kafka.call(0, &request).await;
                let mut count = 0;
                for topic in response.topics {
                    let name = topic.name.expect("a name");
                    for partition in topic.partitions {
                        seen.push(format!("{name}{}", partition.partition_index));
                        count += 1;
                    }
                }
                assert!(count <= limit, "a page of {limit} has {count}");
                let Some(next) = response.next_cursor else {
                    break;
                };
                cursor = Some(Cursor {
                    topic_name: next.topic_name,
                    partition_index: next.partition_index,
                    ..Default::default()
                });
            }
            let expected = ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"];
            assert_eq!(seen, expected, "pages of {limit}");
        }
        let request = DescribeTopicPartitionsRequest {
            topics: ["absent", "b"]
                .map(|name| TopicRequest {
                    name: name.to_owned(),
                    ..Default::default()
                })
                .to_vec(),
            response_partition_limit: 2000,
            ..Default::default()
        };
        let response = kafka.call(0, &request).await;
        let codes: Vec<i16> = response.topics.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [code(ErrorCode::UnknownTopicOrPartition), 0]);
        broker.stop().await;
    });
}

#[test]
fn log_dirs_and_producers_are_described() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 2, &[]).await;
        let answer = kafka
            .produce("topic", 1, sequenced(4000, 0, 0, &["a", "b"]))
            .await;
        assert_eq!(answer.error_code, 0);
        for version in 1..=5 {
            let response = kafka
                .call(
                    version,
                    &DescribeLogDirsRequest {
                        topics: None,
                        ..Default::default()
                    },
                )
                .await;
            assert_eq!((response.error_code, response.results.len()), (0, 1));
            let dir = &response.results[0];
            assert!(dir.log_dir.starts_with('/'), "an absolute path");
            let topic = dir.topics.iter().find(|topic| topic.name == "topic");
            let mut sizes: Vec<_> = topic
                .expect("it lies here")
                .partitions
                .iter()
                .map(|partition| (partition.partition_index, partition.partition_size))
                .collect();
            sizes.sort_unstable();
            assert_eq!(sizes[0], (0, 0));
            assert!(sizes[1].1 > 61, "a batch lies there");
        }
        let request = DescribeProducersRequest {
            topics: vec![describe_producers_request::TopicRequest {
                name: "topic".to_owned(),
                partition_indexes: vec![0, 1, 2],
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = kafka.call(0, &request).await;
        let partitions = &response.topics[0].partitions;
        assert!(partitions[0].active_producers.is_empty());
        let producer = &partitions[1].active_producers[0];
        let seen = (
            producer.producer_id,
            producer.producer_epoch,
            producer.last_sequence,
        );
        assert_eq!(seen, (4000, 0, 1));
        assert_eq!(
            partitions[2].error_code,
            code(ErrorCode::UnknownTopicOrPartition)
        );
        broker.stop().await;
    });
}

#[test]
fn internal_topics_and_transactions_are_refused() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let mut find = FindCoordinatorRequest {
            coordinator_keys: vec!["group".to_owned()],
            ..Default::default()
        };
        let found = kafka.call(6, &find).await;
        assert_eq!(found.coordinators[0].error_code, 0);
        let all = kafka
            .call(
                12,
                &MetadataRequest {
                    topics: None,
                    ..Default::default()
                },
            )
            .await;
        let offsets = &all.topics[0];
        assert_eq!(offsets.name.as_deref(), Some("__consumer_offsets"));
        assert!(offsets.is_internal);
        let answer = kafka.produce("__consumer_offsets", 0, batch(&["x"])).await;
        assert_eq!(answer.error_code, code(ErrorCode::InvalidTopicException));
        find.key_type = 1;
        let refused = code(ErrorCode::TransactionalIdAuthorizationFailed);
        let found = kafka.call(6, &find).await;
        assert_eq!(found.coordinators[0].error_code, refused);
        let request = InitProducerIdRequest {
            transactional_id: Some("tx".to_owned()),
            transaction_timeout_ms: 1000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        for version in 0..=5 {
            let request = match version {
                3.. => request.clone(),
                _ => InitProducerIdRequest {
                    producer_id: -1,
                    producer_epoch: -1,
                    ..request.clone()
                },
            };
            assert_eq!(
                kafka.call(version, &request).await.error_code,
                refused,
                "v{version}"
            );
        }
        broker.stop().await;
    });
}
