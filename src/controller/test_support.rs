//! Helpers of this crate's tests: a reader of Kafka's logs, and a controller whose decisions are appended at once.

use std::sync::Arc;

use bytes::Bytes;
use protocol::wire::Decoder;
use types::{Limits, Mono, Now, Prng, Uuid, Wall};

use crate::features::{self, supported_features};
use crate::image::{Endpoint, MetadataImage};
use crate::records::{self, MetadataRecord};
use crate::replay::BatchPosition;
use crate::request::*;
use crate::{Controller, ControllerConfig, Decision};

pub(crate) const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";

/// One batch of a log of Kafka's: its position, and its records unless they are the quorum's own.
pub(crate) struct Batch {
    pub(crate) position: BatchPosition,
    pub(crate) last_offset: i64,
    pub(crate) records: Vec<MetadataRecord>,
    pub(crate) values: Vec<Bytes>,
}

/// Reads uncompressed v2 batches, as the metadata log has them; a small reader of its own, so that this crate's tests stand alone.
pub(crate) fn read_log(bytes: &'static [u8]) -> Vec<Batch> {
    let mut decoder = Decoder::new(Bytes::from_static(bytes));
    let mut batches = Vec::new();
    while decoder.remaining() > 0 {
        let base_offset = decoder.int64().unwrap();
        let length = decoder.int32().unwrap();
        let mut body = Decoder::new(decoder.raw(usize::try_from(length).unwrap()).unwrap());
        let epoch = body.int32().unwrap();
        assert_eq!(body.int8().unwrap(), 2, "magic");
        let _crc = body.uint32().unwrap();
        let attributes = body.int16().unwrap();
        let last_offset = base_offset + i64::from(body.int32().unwrap());
        let _first_timestamp = body.int64().unwrap();
        let timestamp_ms = body.int64().unwrap();
        body.raw(8 + 2 + 4).unwrap();
        let count = body.int32().unwrap();
        let mut values = Vec::new();
        for _ in 0..count {
            body.varint().unwrap();
            body.int8().unwrap();
            body.varlong().unwrap();
            body.varint().unwrap();
            let key = body.varint().unwrap();
            body.raw(usize::try_from(key).unwrap_or(0)).unwrap();
            let value = body.varint().unwrap();
            values.push(body.raw(usize::try_from(value).unwrap()).unwrap());
            assert_eq!(body.varint().unwrap(), 0, "headers");
        }
        let is_control = attributes & 0x20 != 0;
        if is_control {
            values.clear();
        }
        let records = values
            .iter()
            .map(|value| records::decode(value.clone()).unwrap());
        batches.push(Batch {
            position: BatchPosition {
                base_offset,
                epoch,
                timestamp_ms,
            },
            last_offset,
            records: records.collect(),
            values,
        });
    }
    batches
}

fn now() -> Now {
    Now {
        mono: Mono::START,
        wall: Wall::from_millis(1),
    }
}

/// A controller whose decisions are appended at once.
pub(crate) struct Cluster {
    pub(crate) controller: Controller,
    pub(crate) next_offset: i64,
    log: Option<Vec<(BatchPosition, Vec<MetadataRecord>)>>,
    before: Option<Arc<MetadataImage>>,
}

impl Cluster {
    pub(crate) fn empty() -> Cluster {
        Cluster::with_image(Arc::new(MetadataImage::empty(CLUSTER_ID)))
    }

    /// A controller that takes over where a log left the metadata.
    pub(crate) fn with_image(image: Arc<MetadataImage>) -> Cluster {
        let static_configs = [
            (
                "advertised.listeners",
                "PLAINTEXT://127.0.0.1:29492,CONTROLLER://127.0.0.1:29493",
            ),
            ("broker.id", "1"),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.bootstrap.servers", "127.0.0.1:29493"),
            ("inter.broker.listener.name", "PLAINTEXT"),
            (
                "listener.security.protocol.map",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            ),
            (
                "listeners",
                "PLAINTEXT://127.0.0.1:29492,CONTROLLER://127.0.0.1:29493",
            ),
            ("log.dirs", "/data"),
            ("node.id", "1"),
            ("offsets.topic.replication.factor", "1"),
            ("process.roles", "broker,controller"),
            ("share.coordinator.state.topic.min.isr", "1"),
            ("share.coordinator.state.topic.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("transaction.state.log.replication.factor", "1"),
        ];
        let config = ControllerConfig {
            node_id: 1,
            static_configs: static_configs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            limits: Limits::default(),
        };
        let next_offset = (image.provenance.offset + 1).max(3);
        let controller = Controller::new(config, image, Prng::new(7, "controller"));
        Cluster {
            controller,
            next_offset,
            log: None,
            before: None,
        }
    }

    pub(crate) fn started() -> Cluster {
        let mut cluster = Cluster::empty();
        cluster.start();
        cluster
    }

    pub(crate) fn start(&mut self) {
        self.ask(&Request::Activate(Activate {
            bootstrap_features: features::bootstrap_features(),
        }));
        self.start_broker(1);
    }

    /// Keeps what is appended from now on.
    pub(crate) fn keep_log(&mut self) {
        self.log = Some(Vec::new());
        self.before = Some(self.controller.image());
    }

    /// The image when the log began to be kept.
    pub(crate) fn before(&self) -> Arc<MetadataImage> {
        self.before.clone().expect("the log was to be kept")
    }

    /// What was appended since [`Cluster::keep_log`].
    pub(crate) fn log(&self) -> &[(BatchPosition, Vec<MetadataRecord>)] {
        self.log.as_deref().expect("the log was to be kept")
    }

    pub(crate) fn start_broker(&mut self, incarnation: u128) {
        let epoch = self.register(incarnation);
        let (reply, _) = self.heartbeat(epoch, false);
        assert!(!reply.unwrap().is_fenced);
    }

    pub(crate) fn register(&mut self, incarnation: u128) -> i64 {
        let (response, _) = self.ask(&registration(incarnation));
        let Response::RegisterBroker(Ok(epoch)) = response else {
            panic!("{response:?}");
        };
        epoch
    }

    pub(crate) fn heartbeat(
        &mut self,
        epoch: i64,
        stop: bool,
    ) -> (
        Result<BrokerHeartbeatReply, crate::error::BrokerError>,
        Vec<MetadataRecord>,
    ) {
        let (response, records) = self.ask(&Request::BrokerHeartbeat(BrokerHeartbeat {
            broker_id: 1,
            broker_epoch: epoch,
            current_metadata_offset: self.next_offset,
            want_fence: false,
            want_shut_down: stop,
            cordoned_log_dirs: Vec::new(),
        }));
        let Response::BrokerHeartbeat(reply) = response else {
            panic!("{response:?}");
        };
        (reply, records)
    }

    pub(crate) fn ask(&mut self, request: &Request) -> (Response, Vec<MetadataRecord>) {
        let Decision {
            records, response, ..
        } = self.controller.decide(now(), self.next_offset, request);
        let position = BatchPosition {
            base_offset: self.next_offset,
            epoch: 1,
            timestamp_ms: 1,
        };
        self.controller.replay(position, &records).unwrap();
        self.controller.check();
        self.next_offset += i64::try_from(records.len()).unwrap();
        if let Some(log) = &mut self.log {
            log.push((position, records.clone()));
        }
        (response, records)
    }

    /// One line of `operations.tsv`; returns the code of the answer and what a new topic looks like.
    pub(crate) fn operate(&mut self, line: &str) -> (&'static str, String) {
        summary(&self.ask(&parse_operation(line)).0)
    }
}

fn parse_operation(line: &str) -> Request {
    let words: Vec<&str> = line.split_whitespace().collect();
    let validate_only = words.contains(&"validate");
    let name = match words[1] {
        "EMPTY" => String::new(),
        long if long.starts_with("LONG") => "x".repeat(long[4..].parse().unwrap()),
        name => name.to_owned(),
    };
    let number = |prefix: &str| {
        let word = words[2..].iter().find_map(|word| word.strip_prefix(prefix));
        word.map_or(-1, |text| text.parse::<i32>().unwrap())
    };
    let replicas = assignments(&words);
    match words[0] {
        "create" => {
            let topic = CreatableTopic {
                name,
                num_partitions: number("partitions="),
                replication_factor: i16::try_from(number("rf=")).unwrap(),
                assignments: replicas.unwrap_or_default(),
                configs: configs(&words),
            };
            Request::CreateTopics(CreateTopics {
                topics: vec![topic],
                validate_only,
            })
        }
        "delete" => Request::DeleteTopics(DeleteTopics {
            topics: vec![TopicSelector::Name(name)],
        }),
        "deleteid" => {
            let id = TopicSelector::Id(name.parse().unwrap());
            Request::DeleteTopics(DeleteTopics { topics: vec![id] })
        }
        "grow" => {
            let topic = CreatePartitionsTopic {
                name,
                count: number("partitions="),
                assignments: replicas.map(|all| all.into_iter().map(|(_, ids)| ids).collect()),
            };
            Request::CreatePartitions(CreatePartitions {
                topics: vec![topic],
                validate_only,
            })
        }
        "alter" => Request::IncrementalAlterConfigs(IncrementalAlterConfigs {
            resources: vec![(resource(&words), alter_ops(&words))],
            validate_only,
        }),
        "feature" => {
            let upgrade_type = match words.get(3) {
                Some(&"safe") => UpgradeType::SafeDowngrade,
                _ => UpgradeType::Upgrade,
            };
            let updates = vec![(name, words[2].parse().unwrap(), upgrade_type)];
            Request::UpdateFeatures(UpdateFeatures {
                updates,
                validate_only,
            })
        }
        other => panic!("operation {other}"),
    }
}

fn summary(response: &Response) -> (&'static str, String) {
    let error = match response {
        Response::CreateTopics(replies) => match &replies[0].result {
            Ok(topic) => {
                let (partitions, replicas) = (topic.num_partitions, topic.replication_factor);
                let configs = topic.configs.len();
                return (
                    "NONE",
                    format!("partitions={partitions} rf={replicas} configs={configs}"),
                );
            }
            Err(error) => Some(error.code()),
        },
        Response::DeleteTopics(replies) => replies[0].result.as_ref().err().map(|e| e.code()),
        Response::CreatePartitions(replies) => replies[0].result.as_ref().err().map(|e| e.code()),
        Response::AlterConfigs(replies) => replies[0].result.as_ref().err().map(|e| e.code()),
        Response::UpdateFeatures(result) => result.as_ref().err().map(|e| e.code()),
        other => panic!("{other:?}"),
    };
    (error.map_or("NONE", |error| error.name()), String::new())
}

fn assignments(words: &[&str]) -> Option<Vec<(i32, Vec<i32>)>> {
    let text = words.iter().find_map(|word| word.strip_prefix("assign="))?;
    let parse = |(position, entry): (usize, &str)| {
        let (index, ids) = entry.split_once(':').unwrap_or((&entry[..0], entry));
        let ids = match ids {
            "none" => Vec::new(),
            ids => ids.split(',').map(|id| id.parse().unwrap()).collect(),
        };
        (
            index.parse().unwrap_or(i32::try_from(position).unwrap()),
            ids,
        )
    };
    Some(text.split(';').enumerate().map(parse).collect())
}

fn configs(words: &[&str]) -> Vec<(String, Option<String>)> {
    let own = ["partitions=", "rf=", "assign="];
    words[2..]
        .iter()
        .filter(|word| !own.iter().any(|prefix| word.starts_with(prefix)))
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
        .collect()
}

fn resource(words: &[&str]) -> ResourceName {
    let (kind, name) = words[1].split_once(':').unwrap();
    let resource_type = match kind {
        "topic" => 2,
        "broker" => 4,
        "logger" => 8,
        "client-metrics" => 16,
        "group" => 32,
        other => panic!("{other}"),
    };
    ResourceName {
        resource_type,
        name: name.to_owned(),
    }
}

fn alter_ops(words: &[&str]) -> Vec<AlterOp> {
    words[2..]
        .iter()
        .filter(|word| **word != "validate")
        .map(|word| {
            let operation = match &word[..1] {
                "=" => 0,
                "!" => 1,
                "+" => 2,
                "-" => 3,
                other => panic!("{other}"),
            };
            let (key, value) = match word[1..].split_once('=') {
                Some((key, "NULL")) => (key, None),
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (&word[1..], None),
            };
            AlterOp {
                key: key.to_owned(),
                operation,
                value,
            }
        })
        .collect()
}

/// The one broker of a cluster starts with this incarnation.
pub(crate) fn registration(incarnation: u128) -> Request {
    Request::RegisterBroker(RegisterBroker {
        broker_id: 1,
        cluster_id: CLUSTER_ID.to_owned(),
        incarnation_id: Uuid::from_u128(incarnation),
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 29492,
            security_protocol: 0,
        }],
        features: supported_features(),
        rack: None,
        log_dirs: vec![Uuid::from_u128(1000)],
        previous_incarnation_is_dead: true,
    })
}
