//! Stories of connections, producers and consumers against a broker that misbehaves by script.

use std::cell::RefCell;
use std::rc::Rc;

use runtime::Clock;
use runtime::task::block_on;
use types::{ErrorCode, Offset, Prng};

use protocol::ApiKey;
use protocol::messages::{ListGroupsRequest, MetadataRequest, ProduceRequest};

use crate::connection::ConnectionOptions;
use crate::consumer::{Observer, OffsetReset, PartitionOfTopic};
use crate::mock::{Fault, MockBroker, TOPIC};
use crate::producer::{Acks, Delivery, ProducerRecord};
use crate::{
    Client, ClientConfig, Connection, Consumer, ConsumerConfig, Error, Producer, ProducerConfig,
};

fn client_of(broker: &MockBroker) -> Client {
    let config = ClientConfig {
        retry_backoff_ms: 1,
        retry_backoff_max_ms: 4,
        request_timeout_ms: 5_000,
        ..ClientConfig::new(&[&broker.address], Clock::start(), 1)
    };
    Client::new(config)
}

fn options() -> ConnectionOptions {
    ConnectionOptions {
        client_id: "test".to_owned(),
        clock: Clock::start(),
        connect_timeout_ms: 5_000,
        request_timeout_ms: 5_000,
        frame_bytes_max: 1 << 20,
        in_flight_max: 100,
        sent: crate::Sent::default(),
    }
}

async fn connect(broker: &MockBroker) -> Connection {
    let (host, port) = broker.address.split_once(':').unwrap();
    Connection::open(host, port.parse().unwrap(), options())
        .await
        .unwrap()
}

fn record(partition: i32, value: &str) -> ProducerRecord {
    ProducerRecord {
        topic: TOPIC.to_owned(),
        partition: Some(partition),
        value: Some(value.to_owned().into()),
        ..ProducerRecord::default()
    }
}

/// A producer whose batches hold a few records.
fn small_batches() -> ProducerConfig {
    ProducerConfig {
        linger_ms: 0,
        batch_bytes_max: 150,
        ..ProducerConfig::default()
    }
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

async fn send_all(producer: &Producer, partition: i32, values: &[String]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for value in values {
        deliveries.push(producer.send(record(partition, value)).await.unwrap());
    }
    deliveries
}

#[test]
fn a_broker_that_knows_only_old_api_versions_is_understood() {
    block_on(async {
        let broker = MockBroker::start(1).await;
        broker.state.api_versions_max.set(2);
        let connection = connect(&broker).await;
        assert!(connection.version::<ProduceRequest>().unwrap() >= 9);
        let unsupported = connection.version::<ListGroupsRequest>();
        assert_eq!(unsupported, Err(Error::Unsupported(ApiKey::ListGroups)));
    });
}

#[test]
fn requests_in_flight_are_answered_in_their_order() {
    block_on(async {
        let broker = MockBroker::start(3).await;
        let connection = connect(&broker).await;
        let request = MetadataRequest::default();
        let mut replies = Vec::new();
        for _ in 0..300 {
            replies.push(connection.submit(&request).await);
            if replies.len() == 100 {
                for reply in replies.drain(..) {
                    let response = reply.unwrap().await.unwrap();
                    assert_eq!(response.topics[0].partitions.len(), 3);
                }
            }
        }
        assert_eq!(connection.in_flight(), 0);
    });
}

#[test]
fn a_broken_connection_fails_everything_in_flight_and_stays_broken() {
    let table = [
        (Fault::Disconnect, "disconnected"),
        (
            Fault::WrongCorrelation,
            "disconnected: answers came out of order",
        ),
        (
            Fault::Announce(-1),
            "the broker announced a frame of -1 bytes",
        ),
        (
            Fault::Announce(2 << 20),
            "the broker announced a frame of 2097152 bytes",
        ),
        (Fault::Silence, "timed out after 20 ms"),
    ];
    for (fault, words) in table {
        block_on(async {
            let broker = MockBroker::start(1).await;
            let connection = connect(&broker).await;
            broker.plan(ApiKey::Metadata, [Fault::Nothing, fault]);
            let limit_ms = if fault == Fault::Silence { 20 } else { 5_000 };
            let request = MetadataRequest::default();
            let first = connection.submit_within(&request, 5_000).await.unwrap();
            let second = connection.submit_within(&request, limit_ms).await.unwrap();
            let third = connection.submit_within(&request, 5_000).await.unwrap();
            first.await.unwrap();
            for error in [second.await.unwrap_err(), third.await.unwrap_err()] {
                let text = error.to_string();
                assert!(text.starts_with(words), "{fault:?} gave {text}");
            }
            assert!(!connection.is_alive());
            assert!(connection.send(&request).await.is_err());
        });
    }
}

#[test]
fn a_client_tries_again_over_a_new_connection() {
    block_on(async {
        let broker = MockBroker::start(2).await;
        let client = client_of(&broker);
        broker.plan(ApiKey::Metadata, [Fault::Disconnect, Fault::Disconnect]);
        assert_eq!(client.topic(TOPIC).await.unwrap().partitions.len(), 2);
        assert_eq!(broker.state.connections.get(), 3);
    });
}

#[test]
fn every_record_is_appended_once_and_in_order_whatever_the_broker_does() {
    let faults = [
        Fault::Nothing,
        Fault::Nothing,
        Fault::Refuse(ErrorCode::NotLeaderOrFollower),
        Fault::Refuse(ErrorCode::NotEnoughReplicas),
        Fault::DoAndRefuse(ErrorCode::NotEnoughReplicasAfterAppend),
        Fault::DoAndRefuse(ErrorCode::RequestTimedOut),
        Fault::Disconnect,
        Fault::DoAndDisconnect,
    ];
    for seed in 0..20 {
        block_on(async {
            let mut prng = Prng::new(seed, "faults");
            let broker = MockBroker::start(2).await;
            let drawn = (0..60).map(|_| faults[prng.below(faults.len() as u64) as usize]);
            broker.plan(ApiKey::Produce, drawn);
            let client = client_of(&broker);
            let producer = Producer::new(&client, small_batches()).unwrap();
            let values = numbers(200);
            let mut deliveries = Vec::new();
            for value in &values {
                for partition in 0..2 {
                    let record = record(partition, value);
                    deliveries.push(producer.send(record).await.unwrap());
                }
                if prng.chance(1, 4) {
                    runtime::task::yield_now().await;
                }
            }
            producer.flush().await;
            for (index, delivery) in deliveries.into_iter().enumerate() {
                let metadata = delivery.await.unwrap();
                assert_eq!(metadata.partition, (index % 2) as i32);
                assert_eq!(metadata.offset, Some((index / 2) as i64), "seed {seed}");
            }
            for partition in 0..2 {
                assert_eq!(broker.values(partition), values, "seed {seed}");
            }
        });
    }
}

#[test]
fn a_plain_producer_may_repeat_but_keeps_the_order() {
    block_on(async {
        let broker = MockBroker::start(1).await;
        let faults = [
            Fault::Refuse(ErrorCode::NotLeaderOrFollower),
            Fault::Nothing,
            Fault::DoAndDisconnect,
            Fault::Disconnect,
        ];
        broker.plan(ApiKey::Produce, faults);
        let config = ProducerConfig {
            is_idempotent: false,
            ..small_batches()
        };
        let producer = Producer::new(&client_of(&broker), config).unwrap();
        let values = numbers(20);
        for delivery in send_all(&producer, 0, &values).await {
            delivery.await.unwrap();
        }
        let mut seen = broker.values(0);
        assert!(seen.len() > values.len(), "one batch was repeated");
        seen.dedup();
        let mut first_seen = Vec::new();
        for value in seen {
            if !first_seen.contains(&value) {
                first_seen.push(value);
            }
        }
        assert_eq!(first_seen, values);
    });
}

#[test]
fn a_refused_batch_fails_alone_and_the_producer_goes_on() {
    block_on(async {
        let broker = MockBroker::start(1).await;
        let fault = Fault::Refuse(ErrorCode::MessageTooLarge);
        broker.plan(ApiKey::Produce, [Fault::Nothing, fault]);
        let producer = Producer::new(&client_of(&broker), small_batches()).unwrap();
        let values = numbers(40);
        let mut kept = Vec::new();
        let deliveries = send_all(&producer, 0, &values).await;
        for (value, delivery) in values.iter().zip(deliveries) {
            match delivery.await {
                Ok(_) => kept.push(value.clone()),
                Err(error) => assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge)),
            }
        }
        assert!(kept.len() < values.len());
        assert_eq!(broker.values(0), kept);
    });
}

#[test]
fn a_batch_whose_fate_is_unknown_is_never_sent_under_another_identity() {
    block_on(async {
        let broker = MockBroker::start(1).await;
        // The first batch is appended, and given up before the producer learns of it.
        let faults = [
            Fault::DoAndRefuse(ErrorCode::RequestTimedOut),
            Fault::Refuse(ErrorCode::InvalidRecord),
        ];
        broker.plan(ApiKey::Produce, faults);
        let config = ProducerConfig {
            in_flight_max: 1,
            ..small_batches()
        };
        let producer = Producer::new(&client_of(&broker), config).unwrap();
        let first = producer.send(record(0, "first")).await.unwrap();
        assert_eq!(
            first.await.unwrap_err().code(),
            Some(ErrorCode::InvalidRecord)
        );
        producer.send_and_wait(record(0, "second")).await.unwrap();
        assert_eq!(broker.values(0), ["first", "second"]);
    });
}

#[test]
fn without_acknowledgements_records_count_when_they_left() {
    block_on(async {
        let broker = MockBroker::start(1).await;
        let config = ProducerConfig {
            acks: Acks::None,
            is_idempotent: false,
            ..small_batches()
        };
        let client = client_of(&broker);
        let producer = Producer::new(&client, config).unwrap();
        for delivery in send_all(&producer, 0, &numbers(10)).await {
            assert_eq!(delivery.await.unwrap().offset, None);
        }
        // An answer on the same connection comes after them.
        let connection = client.connection(1, crate::Lane::Produce).await.unwrap();
        connection.send(&MetadataRequest::default()).await.unwrap();
        assert_eq!(broker.values(0), numbers(10));
    });
}

#[test]
fn records_that_cannot_be_delivered_in_time_fail() {
    block_on(async {
        let broker = MockBroker::start(1).await;
        let refusals = [Fault::Refuse(ErrorCode::NotEnoughReplicas); 1000];
        broker.plan(ApiKey::Produce, refusals);
        let config = ProducerConfig {
            delivery_timeout_ms: 30,
            ..small_batches()
        };
        let producer = Producer::new(&client_of(&broker), config).unwrap();
        let error = producer.send_and_wait(record(0, "late")).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::NotEnoughReplicas));
        broker.state.script.borrow_mut().clear();
        producer.send_and_wait(record(0, "in time")).await.unwrap();
        assert_eq!(broker.values(0), ["in time"]);
    });
}

#[test]
fn what_does_not_fit_waits_for_room() {
    block_on(async {
        let broker = MockBroker::start(1).await;
        let config = ProducerConfig {
            buffer_bytes_max: 300,
            ..small_batches()
        };
        let producer = Producer::new(&client_of(&broker), config).unwrap();
        let huge = "x".repeat(400);
        let refused = producer.send(record(0, &huge)).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)));
        send_all(&producer, 0, &numbers(50)).await;
        producer.close().await;
        assert_eq!(broker.values(0), numbers(50));
    });
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    block_on(async {
        let broker = MockBroker::start(1).await;
        let client = client_of(&broker);
        let table = [
            ProducerConfig {
                acks: Acks::Leader,
                ..ProducerConfig::default()
            },
            ProducerConfig {
                in_flight_max: 6,
                ..ProducerConfig::default()
            },
        ];
        for config in table {
            assert!(matches!(
                Producer::new(&client, config),
                Err(Error::Invalid(_))
            ));
        }
    });
}

/// What a consumer told of where it begins.
#[derive(Default)]
struct Begins(RefCell<Vec<Option<Offset>>>);

impl Observer for Begins {
    fn reset(&self, _partition: &PartitionOfTopic) {
        self.0.borrow_mut().push(None);
    }

    fn begun(&self, _partition: &PartitionOfTopic, offset: Offset) {
        self.0.borrow_mut().push(Some(offset));
    }
}

#[test]
fn a_consumer_reads_on_after_errors_and_resets_a_position_that_is_gone() {
    block_on(async {
        let broker = MockBroker::start(1).await;
        let client = client_of(&broker);
        let producer = Producer::new(&client, small_batches()).unwrap();
        send_all(&producer, 0, &numbers(30)).await;
        producer.close().await;
        let faults = [
            Fault::Refuse(ErrorCode::NotLeaderOrFollower),
            Fault::Disconnect,
            Fault::Nothing,
            Fault::Refuse(ErrorCode::OffsetOutOfRange),
        ];
        broker.plan(ApiKey::Fetch, faults);
        let config = ConsumerConfig {
            offset_reset: OffsetReset::Earliest,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::new(&client, config);
        let begins = Rc::new(Begins::default());
        consumer.observe(Rc::clone(&begins) as Rc<dyn Observer>);
        consumer.assign(&[(TOPIC.to_owned(), 0)]);
        let mut seen = Vec::new();
        let mut reset_at = None;
        while seen.last().map(String::as_str) != Some("29") {
            for record in consumer.poll(5_000).await.unwrap() {
                if record.offset == 0 {
                    reset_at = Some(seen.len());
                }
                seen.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            }
        }
        let reset_at = reset_at.unwrap();
        assert!(reset_at > 0, "it began anew once");
        assert_eq!(seen[reset_at..], numbers(30));
        assert_eq!(*begins.0.borrow(), [Some(0), None, Some(0)]);
    });
}

#[test]
fn a_partition_that_is_not_served_keeps_no_other_from_being_read() {
    block_on(async {
        let broker = MockBroker::start(2).await;
        let client = client_of(&broker);
        let producer = Producer::new(&client, small_batches()).unwrap();
        send_all(&producer, 1, &numbers(3)).await;
        producer.close().await;
        broker.state.failed.borrow_mut().insert(0);
        let config = ConsumerConfig {
            offset_reset: OffsetReset::Earliest,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::new(&client, config);
        let both = [(TOPIC.to_owned(), 0), (TOPIC.to_owned(), 1)];
        consumer.assign(&both);
        let mut seen = 0;
        while seen < 3 {
            seen += consumer.poll(100).await.unwrap().len();
        }
        assert!(!consumer.positions().contains_key(&both[0]));
        broker.state.failed.borrow_mut().clear();
        while !consumer.positions().contains_key(&both[0]) {
            assert_eq!(consumer.poll(100).await.unwrap(), []);
        }
    });
}

#[test]
fn an_idle_poll_ends_in_time_with_nothing() {
    block_on(async {
        let broker = MockBroker::start(1).await;
        let mut consumer = Consumer::new(&client_of(&broker), ConsumerConfig::default());
        assert_eq!(consumer.poll(5).await.unwrap(), []);
        consumer.assign(&[(TOPIC.to_owned(), 0)]);
        assert_eq!(consumer.poll(30).await.unwrap(), []);
        assert_eq!(consumer.positions()[&(TOPIC.to_owned(), 0)], 0);
        let unknown = (TOPIC.to_owned(), 1);
        assert!(matches!(consumer.seek(&unknown, 0), Err(Error::Invalid(_))));
    });
}
