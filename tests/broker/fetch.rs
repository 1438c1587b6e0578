//! What Fetch gives, when, and in which order.

use std::time::Duration;

use protocol::messages::fetch_request::ForgottenTopic;
use protocol::messages::{FetchRequest, ProduceRequest};
use types::{ErrorCode, Uuid};

use crate::harness::{
    Broker, batch, code, fetch_request, fetched_batches, only, produce_request, record_bytes, run,
    values,
};

#[test]
fn every_version_gives_the_same_records() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let id = kafka.create("topic", 1, &[]).await;
        kafka.put("topic", 0, &["a", "b"]).await;
        kafka.put("topic", 0, &["c"]).await;
        for version in 4..=18 {
            for isolation_level in [0, 1] {
                let mut request = fetch_request("topic", &[(0, 0)]);
                request.isolation_level = isolation_level;
                if version >= 13 {
                    request.topics[0].topic = String::new();
                    request.topics[0].topic_id = id;
                }
                let response = kafka.call(version, &request).await;
                let data = &response.responses[0].partitions[0];
                assert_eq!((response.error_code, data.error_code), (0, 0), "v{version}");
                assert_eq!(values(data), ["a", "b", "c"], "v{version}");
                assert_eq!((data.high_watermark, data.last_stable_offset), (3, 3));
                let aborted = data.aborted_transactions.as_ref().map(Vec::len);
                assert!(aborted.unwrap_or(0) == 0, "nothing was aborted");
            }
        }
        broker.stop().await;
    });
}

#[test]
fn long_and_short_ranges_arrive_whole_however_slowly_they_are_read() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 3, &[]).await;
        let value = |letter: &str, length: usize| letter.repeat(length);
        // Longer than what the kernel is asked to move at once, short, and just around what is read and what is sent.
        let lengths = [
            vec![900_000, 600_000],
            vec![10, 200],
            vec![65_000, 70_000, 1, 100_000],
        ];
        let mut expected = Vec::new();
        for (partition, lengths) in (0..).zip(&lengths) {
            let letters = ["a", "b", "c", "d"];
            let all: Vec<String> = letters
                .iter()
                .zip(lengths)
                .map(|(letter, &length)| value(letter, length))
                .collect();
            for value in &all {
                kafka.put("topic", partition, &[value]).await;
            }
            expected.push(all);
        }
        let mut request = fetch_request("topic", &[(0, 0), (1, 0), (2, 0)]);
        for partition in &mut request.topics[0].partitions {
            partition.partition_max_bytes = 10 << 20;
        }
        for read_bytes in [usize::MAX, 50_000, 7_000] {
            kafka.read_slowly(read_bytes);
            // Several answers are on their way at once.
            for _ in 0..3 {
                kafka.send(12, &request).await;
            }
            for _ in 0..3 {
                let response = kafka.receive::<FetchRequest>(12).await;
                let found: Vec<Vec<String>> = response.responses[0]
                    .partitions
                    .iter()
                    .map(values)
                    .collect();
                assert!(found == expected, "in reads of {read_bytes}");
            }
        }
        broker.stop().await;
    });
}

#[test]
fn refusals_are_of_one_partition() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let id = kafka.create("topic", 1, &[]).await;
        kafka.put("topic", 0, &["a"]).await;
        for (offset, expected) in [
            (-1, ErrorCode::OffsetOutOfRange),
            (2, ErrorCode::OffsetOutOfRange),
            (1, ErrorCode::None),
        ] {
            let data = kafka.fetch("topic", 0, offset).await;
            assert_eq!(data.error_code, code(expected), "offset {offset}");
            assert!(record_bytes(&data).is_empty(), "an empty set, not null");
        }
        let mut request = fetch_request("topic", &[(0, 0), (7, 0)]);
        let mut absent = request.topics[0].clone();
        absent.topic = "absent".to_owned();
        absent.partitions.truncate(1);
        request.topics.push(absent);
        let response = kafka.call(12, &request).await;
        let codes: Vec<i16> = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|data| data.error_code)
            .collect();
        let unknown = code(ErrorCode::UnknownTopicOrPartition);
        assert_eq!(codes, [0, unknown, unknown]);
        let mut request = fetch_request("", &[(0, 0)]);
        request.topics[0].topic_id = Uuid::from_u128(9);
        let response = kafka.call(13, &request).await;
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, code(ErrorCode::UnknownTopicId));
        for (epoch, expected) in [
            (5, ErrorCode::UnknownLeaderEpoch),
            (0, ErrorCode::None),
            (-1, ErrorCode::None),
        ] {
            let mut request = fetch_request("", &[(0, 0)]);
            request.topics[0].topic_id = id;
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            let response = kafka.call(17, &request).await;
            let seen = response.responses[0].partitions[0].error_code;
            assert_eq!(seen, code(expected), "epoch {epoch}");
        }
        broker.stop().await;
    });
}

#[test]
fn bytes_are_bounded_over_all_partitions_but_something_is_given() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 3, &[]).await;
        let value = "x".repeat(1000);
        for partition in 0..3 {
            for _ in 0..4 {
                kafka.put("topic", partition, &[&value]).await;
            }
        }
        let all = [(0, 0), (1, 0), (2, 0)];
        for (max_bytes, partition_max_bytes, expected) in [
            (50 << 20, 1 << 20, [4, 4, 4]),
            (1, 1 << 20, [1, 0, 0]),
            (50 << 20, 1, [1, 0, 0]),
            (3_300, 1 << 20, [3, 0, 0]),
            (5_500, 1 << 20, [4, 1, 0]),
            (50 << 20, 2_200, [2, 2, 2]),
        ] {
            let mut request = fetch_request("topic", &all);
            request.max_bytes = max_bytes;
            for partition in &mut request.topics[0].partitions {
                partition.partition_max_bytes = partition_max_bytes;
            }
            let response = kafka.call(12, &request).await;
            let data = &response.responses[0].partitions;
            let counts: Vec<usize> = data
                .iter()
                .map(|data| protocol_batches(&record_bytes(data)))
                .collect();
            assert_eq!(counts, expected, "{max_bytes} and {partition_max_bytes}");
        }
        // From within a batch the whole batch is given.
        kafka.put("topic", 0, &["a", "b", "c"]).await;
        let data = kafka.fetch("topic", 0, 5).await;
        assert_eq!(fetched_batches(&data)[0].header().base_offset, 4);
        broker.stop().await;
    });
}

/// Whole batches at the start of these bytes: what follows may be cut.
fn protocol_batches(bytes: &bytes::Bytes) -> usize {
    protocol::records::batches(bytes.clone())
        .take_while(Result::is_ok)
        .count()
}

/// A long poll that waits as long as a story may.
fn long_poll(offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 50_000,
        ..fetch_request("topic", &[(0, offset)])
    }
}

#[test]
fn a_long_poll_is_woken_by_an_append() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 2, &[]).await;
        let mut waiting = broker.kafka().await;
        waiting.send(12, &long_poll(0)).await;
        let early = waiting.frame_within(Duration::from_millis(50)).await;
        assert!(early.is_none(), "nothing is there yet");
        // Another partition's append does not end it.
        kafka.put("topic", 1, &["other"]).await;
        let early = waiting.frame_within(Duration::from_millis(50)).await;
        assert!(early.is_none(), "nothing is there yet");
        let clock = runtime::Clock::start();
        kafka.put("topic", 0, &["a"]).await;
        let response = waiting.receive::<FetchRequest>(12).await;
        assert_eq!(values(&response.responses[0].partitions[0]), ["a"]);
        let waited = clock.mono().since(types::Mono::START);
        assert!(waited < Duration::from_secs(20), "woken, not timed out");
        // It waits for as many bytes as it asked for.
        let mut request = long_poll(1);
        request.min_bytes = 200;
        waiting.send(12, &request).await;
        kafka.put("topic", 0, &["b"]).await;
        let early = waiting.frame_within(Duration::from_millis(50)).await;
        assert!(early.is_none(), "too few bytes");
        kafka.put("topic", 0, &[&"c".repeat(200)]).await;
        let response = waiting.receive::<FetchRequest>(12).await;
        assert_eq!(values(&response.responses[0].partitions[0]).len(), 2);
        broker.stop().await;
    });
}

#[test]
fn a_long_poll_ends_when_its_time_is_over_or_the_topic_is() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        let clock = runtime::Clock::start();
        let mut request = long_poll(0);
        request.max_wait_ms = 100;
        let response = kafka.call(12, &request).await;
        assert!(clock.mono().since(types::Mono::START) >= Duration::from_millis(100));
        assert!(record_bytes(&response.responses[0].partitions[0]).is_empty());
        let mut waiting = broker.kafka().await;
        waiting.send(12, &long_poll(0)).await;
        let early = waiting.frame_within(Duration::from_millis(50)).await;
        assert!(early.is_none(), "nothing is there yet");
        crate::topics::delete(&mut kafka, "topic").await;
        let response = waiting.receive::<FetchRequest>(12).await;
        let seen = response.responses[0].partitions[0].error_code;
        assert_ne!(seen, 0, "the topic is gone");
        broker.stop().await;
    });
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 2, &[]).await;
        // The long poll is woken by the very append that is asked for behind it.
        kafka.send(12, &long_poll(0)).await;
        kafka
            .send(9, &produce_request("topic", 0, -1, batch(&["a"])))
            .await;
        kafka
            .send(9, &produce_request("topic", 1, 1, batch(&["b"])))
            .await;
        let fetched = kafka.receive::<FetchRequest>(12).await;
        assert_eq!(values(&fetched.responses[0].partitions[0]), ["a"]);
        for _ in 0..2 {
            let produced = kafka.receive::<ProduceRequest>(9).await;
            assert_eq!(only(produced).base_offset, 0);
        }
        // More requests than may be under way at a time.
        for n in 0..300 {
            let request = produce_request("topic", n % 2, -1, batch(&["x"]));
            kafka.send(9, &request).await;
        }
        for n in 0..300 {
            let answer = only(kafka.receive::<ProduceRequest>(9).await);
            assert_eq!(
                (answer.index, answer.base_offset),
                (n % 2, i64::from(n / 2) + 1)
            );
        }
        broker.stop().await;
    });
}

#[test]
fn a_session_repeats_only_what_is_new() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let id = kafka.create("topic", 3, &[]).await;
        let request = |session_id, session_epoch, from: &[(i32, i64)]| {
            let mut request = fetch_request("", from);
            request.topics[0].topic_id = id;
            if from.is_empty() {
                request.topics.clear();
            }
            request.session_id = session_id;
            request.session_epoch = session_epoch;
            request
        };
        let all = [(0, 0), (1, 0), (2, 0)];
        let full = kafka.call(15, &request(0, 0, &all)).await;
        let session = full.session_id;
        assert_ne!(session, 0);
        assert_eq!(full.responses[0].partitions.len(), 3);
        let nothing = kafka.call(15, &request(session, 1, &[])).await;
        assert_eq!((nothing.error_code, nothing.session_id), (0, session));
        assert!(nothing.responses.is_empty(), "nothing is new");
        kafka.put("topic", 1, &["a"]).await;
        let news = kafka.call(15, &request(session, 2, &[])).await;
        assert_eq!(news.responses[0].partitions.len(), 1);
        let data = &news.responses[0].partitions[0];
        assert_eq!(
            (data.partition_index, values(data)),
            (1, vec!["a".to_owned()])
        );
        // Told again until the client moves on.
        let again = kafka.call(15, &request(session, 3, &[])).await;
        assert_eq!(values(&again.responses[0].partitions[0]), ["a"]);
        let moved = kafka.call(15, &request(session, 4, &[(1, 1)])).await;
        assert!(
            moved
                .responses
                .iter()
                .all(|t| t.partitions.iter().all(|p| record_bytes(p).is_empty()))
        );
        // A forgotten partition is not told of.
        let mut forget = request(session, 5, &[]);
        forget.forgotten_topics_data = vec![ForgottenTopic {
            topic_id: id,
            partitions: vec![1],
            ..Default::default()
        }];
        kafka.call(15, &forget).await;
        kafka.put("topic", 1, &["b"]).await;
        let nothing = kafka.call(15, &request(session, 6, &[])).await;
        assert!(nothing.responses.is_empty(), "it was forgotten");
        let wrong = kafka.call(15, &request(session, 9, &[])).await;
        assert_eq!(wrong.error_code, code(ErrorCode::InvalidFetchSessionEpoch));
        let ended = kafka.call(15, &request(session, -1, &all)).await;
        assert_eq!((ended.error_code, ended.session_id), (0, 0));
        let gone = kafka.call(15, &request(session, 7, &[])).await;
        assert_eq!(gone.error_code, code(ErrorCode::FetchSessionIdNotFound));
        broker.stop().await;
    });
}
