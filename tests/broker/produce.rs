//! What Produce accepts, refuses and remembers.

use bytes::Bytes;
use protocol::messages::InitProducerIdRequest;
use protocol::records::{BatchBuilder, Compression, TimestampType};
use types::{ErrorCode, Uuid};

use crate::harness::{
    Broker, Kafka, batch, code, fetched_batches, keyed, now_ms, only, produce_request, records,
    run, sequenced, until,
};

async fn producer_id(kafka: &mut Kafka) -> i64 {
    let request = InitProducerIdRequest {
        transactional_id: None,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let response = kafka.call(4, &request).await;
    assert_eq!((response.error_code, response.producer_epoch), (0, 0));
    response.producer_id
}

#[test]
fn every_version_and_every_acks_appends() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let id = kafka.create("topic", 1, &[]).await;
        let mut expected = Vec::new();
        for version in 3..=13 {
            for acks in [1, -1] {
                let value = format!("v{version} acks {acks}");
                let mut request = produce_request("topic", 0, acks, batch(&[&value]));
                if version >= 13 {
                    request.topic_data[0].name = String::new();
                    request.topic_data[0].topic_id = id;
                }
                let answer = only(kafka.call(version, &request).await);
                assert_eq!(answer.error_code, 0, "v{version} acks {acks}");
                assert_eq!(answer.base_offset, expected.len() as i64);
                expected.push(value);
            }
        }
        kafka
            .tell(9, &produce_request("topic", 0, 0, batch(&["acks 0"])))
            .await;
        expected.push("acks 0".to_owned());
        // The next answer is of the next request: acks=0 has none.
        assert_eq!(kafka.put("topic", 0, &["last"]).await, 23);
        expected.push("last".to_owned());
        assert_eq!(kafka.all_values("topic", 0).await, expected);
        broker.stop().await;
    });
}

#[test]
fn refusals_name_what_is_wrong() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        let good = || batch(&["a"]);
        let mut transactional = produce_request("topic", 0, -1, good());
        transactional.transactional_id = Some("tx".to_owned());
        let mut unknown_id = produce_request("", 0, -1, good());
        unknown_id.topic_data[0].topic_id = Uuid::from_u128(77);
        let in_transaction = {
            let builder = BatchBuilder::new(0).producer(1, 0, 0).transactional();
            with_value(builder)
        };
        let control = with_value(BatchBuilder::new(0).control());
        let mut torn = good().to_vec();
        torn.truncate(torn.len() - 1);
        let mut flipped = good().to_vec();
        *flipped.last_mut().expect("bytes") ^= 1;
        let two = [good(), good()].concat();
        use ErrorCode::*;
        let produce = |records: Vec<u8>| produce_request("topic", 0, -1, Bytes::from(records));
        for (what, version, request, expected) in [
            (
                "acks 2",
                9,
                produce_request("topic", 0, 2, good()),
                InvalidRequiredAcks,
            ),
            (
                "acks -2",
                9,
                produce_request("topic", 0, -2, good()),
                InvalidRequiredAcks,
            ),
            (
                "no topic",
                9,
                produce_request("absent", 0, -1, good()),
                UnknownTopicOrPartition,
            ),
            (
                "no partition",
                9,
                produce_request("topic", 1, -1, good()),
                UnknownTopicOrPartition,
            ),
            (
                "partition -1",
                9,
                produce_request("topic", -1, -1, good()),
                UnknownTopicOrPartition,
            ),
            ("no such id", 13, unknown_id, UnknownTopicId),
            (
                "a transactional id",
                9,
                transactional,
                TransactionalIdAuthorizationFailed,
            ),
            (
                "in a transaction",
                9,
                produce(in_transaction.to_vec()),
                TransactionalIdAuthorizationFailed,
            ),
            (
                "a control batch",
                9,
                produce(control.to_vec()),
                InvalidRecord,
            ),
            ("a torn batch", 9, produce(torn), InvalidRecord),
            ("a flipped bit", 9, produce(flipped), CorruptMessage),
            ("two batches", 9, produce(two), InvalidRecord),
        ] {
            let answer = only(kafka.call(version, &request).await);
            let seen = ErrorCode::from_code(answer.error_code).expect("a code");
            assert_eq!(
                (seen, answer.base_offset),
                (expected, -1),
                "{what}: {:?}",
                answer.error_message
            );
        }
        assert!(kafka.all_values("topic", 0).await.is_empty());
        // Without an answer, the closed connection is the answer.
        for request in [
            produce_request("absent", 0, 0, good()),
            produce_request("topic", 1, 0, good()),
        ] {
            let mut told = broker.kafka().await;
            told.tell(9, &request).await;
            assert!(told.is_closed().await);
        }
        broker.stop().await;
    });
}

fn with_value(mut builder: BatchBuilder) -> Bytes {
    builder.append(now_ms(), Some(&[0, 0, 0, 0]), Some(b"a"), &[]);
    builder.build().into_bytes()
}

#[test]
fn records_are_refused_by_their_index() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let configs = [("cleanup.policy", "compact")];
        kafka.create("compacted", 1, &configs).await;
        let mut builder = BatchBuilder::new(0);
        for key in [Some(&b"k"[..]), None, Some(b"k"), None] {
            builder.append(now_ms(), key, Some(b"v"), &[]);
        }
        let answer = kafka
            .produce("compacted", 0, builder.build().into_bytes())
            .await;
        assert_eq!(answer.error_code, code(ErrorCode::InvalidRecord));
        let indexes: Vec<i32> = answer.record_errors.iter().map(|e| e.batch_index).collect();
        assert_eq!(indexes, [1, 3]);
        assert!(answer.error_message.is_some());
        assert_eq!(
            kafka
                .produce("compacted", 0, keyed(&["v"]))
                .await
                .base_offset,
            0
        );
        broker.stop().await;
    });
}

#[test]
fn an_idempotent_producer_writes_nothing_twice_and_skips_nothing() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        let id = producer_id(&mut kafka).await;
        assert_ne!(id, producer_id(&mut kafka).await, "ids are given once");
        idempotent_session(&mut kafka, id).await;
        let before = kafka.all_values("topic", 0).await;
        // What the producer wrote is known after a clean stop, and after a kill.
        let broker = broker.stop().await.start().await;
        resume(&broker, id, 6).await;
        let broker = broker.killed().await.start().await;
        resume(&broker, id, 7).await;
        let mut kafka = broker.kafka().await;
        let after = kafka.all_values("topic", 0).await;
        assert_eq!(after[..before.len()], before);
        assert_eq!(after.len(), before.len() + 2);
        let new = producer_id(&mut kafka).await;
        assert!(new > id, "no id is given twice, whatever happened");
        broker.stop().await;
    });
}

/// Six batches of one record, with repetitions and gaps between them.
async fn idempotent_session(kafka: &mut Kafka, id: i64) {
    for sequence in 0..6 {
        let value = format!("s{sequence}");
        let records = sequenced(id, 0, sequence, &[&value]);
        for _ in 0..2 {
            let answer = kafka.produce("topic", 0, records.clone()).await;
            let seen = (answer.error_code, answer.base_offset);
            assert_eq!(seen, (0, i64::from(sequence)), "sequence {sequence}");
        }
    }
    let out_of_order = [ErrorCode::OutOfOrderSequenceNumber];
    for (what, batch, allowed) in [
        ("a gap", sequenced(id, 0, 8, &["x"]), &out_of_order[..]),
        (
            "the second of the window",
            sequenced(id, 0, 1, &["s1"]),
            &[ErrorCode::None],
        ),
        (
            "an old epoch comes later",
            sequenced(id, 1, 3, &["x"]),
            &out_of_order,
        ),
        (
            "older than the window",
            sequenced(id, 0, 0, &["s0"]),
            &[
                ErrorCode::DuplicateSequenceNumber,
                ErrorCode::OutOfOrderSequenceNumber,
            ],
        ),
    ] {
        let answer = kafka.produce("topic", 0, batch).await;
        let seen = ErrorCode::from_code(answer.error_code).expect("a code");
        assert!(allowed.contains(&seen), "{what}: {seen:?}");
    }
}

/// Repeats the last batch, refuses a gap, goes on.
async fn resume(broker: &Broker, id: i64, next: i32) {
    let mut kafka = broker.kafka().await;
    let last = format!("s{}", next - 1);
    let again = kafka
        .produce("topic", 0, sequenced(id, 0, next - 1, &[&last]))
        .await;
    let seen = (again.error_code, again.base_offset);
    assert_eq!(seen, (0, i64::from(next) - 1), "{:?}", again.error_message);
    let gap = kafka
        .produce("topic", 0, sequenced(id, 0, next + 1, &["gap"]))
        .await;
    assert_eq!(gap.error_code, code(ErrorCode::OutOfOrderSequenceNumber));
    let value = format!("s{next}");
    let good = kafka
        .produce("topic", 0, sequenced(id, 0, next, &[&value]))
        .await;
    assert_eq!((good.error_code, good.base_offset), (0, i64::from(next)));
}

#[test]
fn pipelined_batches_of_one_producer_keep_their_order() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        let id = producer_id(&mut kafka).await;
        for sequence in 0..200 {
            let records = sequenced(id, 0, sequence, &[&sequence.to_string()]);
            let request = produce_request("topic", 0, -1, records);
            kafka.send(9, &request).await;
            if sequence >= 5 {
                let answer = kafka.receive::<protocol::messages::ProduceRequest>(9).await;
                assert_eq!(only(answer).error_code, 0);
            }
        }
        for _ in 0..5 {
            let answer = kafka.receive::<protocol::messages::ProduceRequest>(9).await;
            assert_eq!(only(answer).error_code, 0);
        }
        let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
        assert_eq!(kafka.all_values("topic", 0).await, expected);
        broker.stop().await;
    });
}

#[test]
fn max_message_bytes_bounds_a_batch() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let configs = [("max.message.bytes", "1000")];
        kafka.create("topic", 1, &configs).await;
        let large = "x".repeat(1000);
        let answer = kafka.produce("topic", 0, batch(&[&large])).await;
        assert_eq!(answer.error_code, code(ErrorCode::MessageTooLarge));
        assert_eq!(kafka.put("topic", 0, &[&large[..800]]).await, 0);
        broker.stop().await;
    });
}

#[test]
fn the_brokers_time_replaces_the_records() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let configs = [("message.timestamp.type", "LogAppendTime")];
        kafka.create("topic", 1, &configs).await;
        let before = now_ms();
        let mut builder = BatchBuilder::new(0);
        builder.append(1_000, None, Some(b"old"), &[]);
        let answer = kafka
            .produce("topic", 0, builder.build().into_bytes())
            .await;
        let after = now_ms();
        assert!((before..=after).contains(&answer.log_append_time_ms));
        let data = kafka.fetch("topic", 0, 0).await;
        let batches = fetched_batches(&data);
        let header = batches[0].header();
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(header.max_timestamp, answer.log_append_time_ms);
        batches[0].verify_crc().expect("the checksum is renewed");
        let found = kafka.offset("topic", 0, before).await;
        assert_eq!(
            (found.offset, found.timestamp),
            (0, answer.log_append_time_ms)
        );
        broker.stop().await;
    });
}

#[test]
fn compression_type_is_what_is_stored() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        for (config, sent, stored) in [
            ("producer", Compression::Gzip, Compression::Gzip),
            ("producer", Compression::None, Compression::None),
            ("uncompressed", Compression::Lz4, Compression::None),
            ("gzip", Compression::None, Compression::Gzip),
            ("snappy", Compression::Zstd, Compression::Snappy),
            ("lz4", Compression::Snappy, Compression::Lz4),
            ("zstd", Compression::Gzip, Compression::Zstd),
        ] {
            let topic = format!("{config}-{sent:?}");
            kafka
                .create(&topic, 1, &[("compression.type", config)])
                .await;
            let mut builder = BatchBuilder::new(0).compression(sent);
            for n in 0..50 {
                builder.append(now_ms(), None, Some(format!("{n}").as_bytes()), &[]);
            }
            let answer = kafka.produce(&topic, 0, builder.build().into_bytes()).await;
            assert_eq!(answer.error_code, 0, "{topic}: {:?}", answer.error_message);
            let batches = fetched_batches(&kafka.fetch(&topic, 0, 0).await);
            let header = batches[0].header();
            assert_eq!(header.compression().expect("known"), stored, "{topic}");
            batches[0].verify_crc().expect("a checksum that fits");
            let offsets: Vec<i64> = records(&batches).iter().map(|r| r.offset).collect();
            assert_eq!(offsets, (0..50).collect::<Vec<i64>>(), "{topic}");
        }
        broker.stop().await;
    });
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    run(async {
        let mut broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 4, &[]).await;
        for round in 0..3 {
            let mut kafka = broker.kafka().await;
            for n in 0..50 {
                let value = format!("{round}:{n}");
                let offset = kafka.put("topic", n % 4, &[&value]).await;
                assert_eq!(offset, i64::from(round * 12 + n / 4) + extra(round, n % 4));
            }
            broker = broker.killed().await.start().await;
        }
        let mut kafka = broker.kafka().await;
        for partition in 0..4 {
            let expected: Vec<String> = (0..3)
                .flat_map(|round| (0..50).map(move |n| (round, n)))
                .filter(|(_, n)| n % 4 == partition)
                .map(|(round, n)| format!("{round}:{n}"))
                .collect();
            let seen = until("the leader is back", async || {
                Some(kafka_values(&broker, partition).await)
            });
            assert_eq!(seen.await, expected, "partition {partition}");
        }
        kafka.put("topic", 0, &["more"]).await;
        broker.stop().await;
    });
}

/// The first two partitions get one value more than the others in each round.
fn extra(round: i32, partition: i32) -> i64 {
    i64::from(round) * i64::from(partition < 2)
}

async fn kafka_values(broker: &Broker, partition: i32) -> Vec<String> {
    broker.kafka().await.all_values("topic", partition).await
}
