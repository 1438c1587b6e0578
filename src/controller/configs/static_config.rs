//! The broker's own file: parsed, checked as a whole, and given types.

use std::collections::{BTreeMap, BTreeSet};

use types::{Limits, NodeId};

use super::listeners::{Listeners, parse_listeners};
use super::table::{ConfigType, Effect, Reason, broker_keys};
use super::value::{ConfigError, nearest, split_list};
use super::{BrokerConfigView, ConfigKey};
use crate::image::MetadataImage;

/// What is wrong with a file: the start stops.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StaticConfigError {
    /// One value is wrong or not served.
    #[error(transparent)]
    Value(#[from] ConfigError),
    /// Values do not fit together.
    #[error("Invalid value {value} for configuration {key}: {allowed}")]
    Combination {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed with the other values.
        allowed: String,
    },
}

impl StaticConfigError {
    pub(super) fn combination(key: &'static str, value: &str, allowed: impl Into<String>) -> Self {
        StaticConfigError::Combination {
            key,
            value: value.to_owned(),
            allowed: allowed.into(),
        }
    }
}

/// Something in a file that deserves a word but does not stop the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Warning {
    /// No such key.
    Unknown {
        /// The key.
        key: String,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// The key is set to something that changes nothing here.
    NotActedUpon {
        /// The key.
        key: String,
        /// Why that is safe.
        reason: Reason,
    },
}

impl Warning {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Warning::Unknown { key, .. } | Warning::NotActedUpon { key, .. } => key,
        }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::Unknown {
                key,
                nearest: Some(nearest),
            } => {
                write!(f, "unknown config {key}, did you mean {nearest}?")
            }
            Warning::Unknown { key, nearest: None } => write!(f, "unknown config {key}"),
            Warning::NotActedUpon { key, reason } => {
                write!(f, "config {key} changes nothing: {}", reason.text())
            }
        }
    }
}

/// Figures of the classic group protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupLimits {
    /// Shortest session timeout, in milliseconds.
    pub session_timeout_ms_min: i32,
    /// Longest session timeout, in milliseconds.
    pub session_timeout_ms_max: i32,
    /// Members of one group.
    pub group_size_max: i32,
    /// Wait of an empty group for more members, in milliseconds.
    pub initial_rebalance_delay_ms: i32,
    /// Largest text beside an offset, in bytes.
    pub offset_metadata_bytes_max: i32,
    /// Life of the offsets of a group without members, in milliseconds.
    pub offsets_retention_ms: i64,
    /// Time between two looks for expired offsets, in milliseconds.
    pub offsets_retention_check_interval_ms: i64,
    /// Time within which a commit must be replicated, in milliseconds.
    pub offsets_commit_timeout_ms: i32,
}

/// An internal topic's shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InternalTopic {
    /// Partitions.
    pub num_partitions: i32,
    /// Replicas.
    pub replication_factor: i16,
    /// Roll size, in bytes.
    pub segment_bytes: i32,
    /// In-sync replicas that it needs, where there is a key for it.
    pub min_insync_replicas: Option<i32>,
}

/// Figures of the network side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketLimits {
    /// Connections that the system queues.
    pub listen_backlog: i32,
    /// Receive buffer in bytes, -1 for the system's.
    pub receive_buffer_bytes: i32,
    /// Send buffer in bytes, -1 for the system's.
    pub send_buffer_bytes: i32,
    /// Largest request, in bytes.
    pub request_bytes_max: i32,
    /// Silence after which a connection is closed, in milliseconds; negative for never.
    pub connections_max_idle_ms: i64,
    /// Requests that may wait.
    pub queued_requests_max: i32,
    /// Bytes of requests that may wait, -1 for no limit of their own.
    pub queued_request_bytes_max: i64,
}

/// A file's content with types. Keys that may change while the broker runs are read through [`BrokerConfigView`].
#[derive(Clone, PartialEq, Debug)]
pub struct StaticConfig {
    /// Every known key that the file sets, as text: the static half of a [`BrokerConfigView`].
    pub texts: BTreeMap<String, String>,
    /// This node's number.
    pub node_id: NodeId,
    /// Where to listen and what to tell clients.
    pub listeners: Listeners,
    /// Directories of the data.
    pub log_dirs: Vec<String>,
    /// Directory of the metadata log, one of `log_dirs` or its own.
    pub metadata_log_dir: String,
    /// This broker's rack.
    pub rack: Option<String>,
    /// Whether asking for an unknown topic creates it.
    pub auto_create_topics_enable: bool,
    /// Whether topics can be deleted.
    pub delete_topic_enable: bool,
    /// Partitions of topics created without a number.
    pub num_partitions: i32,
    /// Replicas of topics created without a number.
    pub default_replication_factor: i16,
    /// Largest fetch answer, in bytes.
    pub fetch_bytes_max: i32,
    /// Partitions in one answer to DescribeTopicPartitions.
    pub request_partition_size_limit: i32,
    /// How often retention is looked at, in milliseconds.
    pub log_retention_check_interval_ms: i64,
    /// How often high watermarks are written down, in milliseconds.
    pub high_watermark_checkpoint_interval_ms: i64,
    /// How often what only a journal has is synced in the segments, in milliseconds.
    pub flush_offset_checkpoint_interval_ms: i64,
    /// The network side.
    pub sockets: SocketLimits,
    /// Groups.
    pub groups: GroupLimits,
    /// `__consumer_offsets`.
    pub offsets_topic: InternalTopic,
    /// `__transaction_state`.
    pub transaction_topic: InternalTopic,
    /// Figures fixed for the node's life.
    pub limits: Limits,
}

impl StaticConfig {
    /// The configs of a node that is started without a file: one node on this machine's loopback, data under `log_dir`.
    pub fn embedded(log_dir: &str) -> BTreeMap<String, String> {
        [
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("listeners", "PLAINTEXT://127.0.0.1:9092"),
            ("log.dirs", log_dir),
            ("offsets.topic.replication.factor", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("share.coordinator.state.topic.replication.factor", "1"),
            ("share.coordinator.state.topic.min.isr", "1"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }

    /// Parses a file's keys and values.
    ///
    /// # Errors
    /// The first wrong value or combination, with key, value and what is allowed.
    pub fn parse(
        given: &BTreeMap<String, String>,
    ) -> Result<(StaticConfig, Vec<Warning>), StaticConfigError> {
        let mut warnings = Vec::new();
        let mut texts = BTreeMap::new();
        for (key, value) in given {
            match broker_keys().get(key.as_str()) {
                Some(known) => {
                    // An empty value of a key whose default is null means that it is unset.
                    if value.trim().is_empty() && known.default.is_none() {
                        continue;
                    }
                    known.parse_and_validate(value)?;
                    warnings.extend(not_acted_upon(known, value));
                    texts.insert(key.clone(), value.trim().to_owned());
                }
                None => warnings.push(unknown(key)),
            }
        }
        let config = StaticConfig::from_texts(texts)?;
        Ok((config, warnings))
    }

    fn from_texts(mut texts: BTreeMap<String, String>) -> Result<StaticConfig, StaticConfigError> {
        let node_id = node_id(&mut texts)?;
        check_roles(&texts)?;
        check_voters(&texts, node_id)?;
        check_pairs(&texts)?;
        let listeners = parse_listeners(&texts)?;
        let image = MetadataImage::empty("");
        let view = BrokerConfigView::new(&image, node_id, &texts);
        let read = Read(view);
        let log_dirs = log_dirs(&view)?;
        Ok(StaticConfig {
            node_id,
            listeners,
            metadata_log_dir: view
                .text("metadata.log.dir")
                .unwrap_or_else(|| log_dirs[0].clone()),
            log_dirs,
            rack: view.text("broker.rack"),
            auto_create_topics_enable: view.boolean("auto.create.topics.enable"),
            delete_topic_enable: view.boolean("delete.topic.enable"),
            num_partitions: read.int("num.partitions"),
            default_replication_factor: i16::try_from(view.number("default.replication.factor"))
                .unwrap_or(i16::MAX),
            fetch_bytes_max: read.int("fetch.max.bytes"),
            request_partition_size_limit: read.int("max.request.partition.size.limit"),
            log_retention_check_interval_ms: view.number("log.retention.check.interval.ms"),
            high_watermark_checkpoint_interval_ms: view
                .number("replica.high.watermark.checkpoint.interval.ms"),
            flush_offset_checkpoint_interval_ms: view
                .number("log.flush.offset.checkpoint.interval.ms"),
            sockets: read.sockets(),
            groups: read.groups(),
            offsets_topic: InternalTopic {
                num_partitions: read.int("offsets.topic.num.partitions"),
                replication_factor: read.short("offsets.topic.replication.factor"),
                segment_bytes: read.int("offsets.topic.segment.bytes"),
                min_insync_replicas: None,
            },
            transaction_topic: InternalTopic {
                num_partitions: read.int("transaction.state.log.num.partitions"),
                replication_factor: read.short("transaction.state.log.replication.factor"),
                segment_bytes: read.int("transaction.state.log.segment.bytes"),
                min_insync_replicas: Some(read.int("transaction.state.log.min.isr")),
            },
            limits: read.limits(),
            texts,
        })
    }
}

fn unknown(key: &str) -> Warning {
    let bare = key
        .strip_prefix("listener.name.")
        .and_then(|rest| rest.split_once('.'))
        .map_or(key, |(_, bare)| bare);
    match broker_keys().get(bare) {
        Some(ConfigKey {
            effect: Effect::Accepted(reason),
            ..
        }) => Warning::NotActedUpon {
            key: key.to_owned(),
            reason: *reason,
        },
        _ => Warning::Unknown {
            key: key.to_owned(),
            nearest: nearest(key, broker_keys().keys().copied()),
        },
    }
}

fn not_acted_upon(key: &ConfigKey, value: &str) -> Option<Warning> {
    let Effect::Accepted(reason) = key.effect else {
        return None;
    };
    let is_default = key
        .default
        .is_some_and(|default| key.parse(default) == key.parse(value));
    (!is_default).then(|| Warning::NotActedUpon {
        key: key.name.to_owned(),
        reason,
    })
}

/// This node's number: `node.id`, or its older name; both, if given, must agree. Each then shows the other's value.
fn node_id(texts: &mut BTreeMap<String, String>) -> Result<NodeId, StaticConfigError> {
    let number = |key: &str| texts.get(key).and_then(|text| text.parse::<NodeId>().ok());
    let older = number("broker.id").filter(|&id| id >= 0);
    let id = match (number("node.id"), older) {
        (Some(id), Some(older)) if id != older => {
            return Err(StaticConfigError::combination(
                "broker.id",
                &older.to_string(),
                format!("must be node.id, which is {id}"),
            ));
        }
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => {
            return Err(StaticConfigError::combination(
                "node.id",
                "(unset)",
                "must be a number, at least 0",
            ));
        }
    };
    texts.insert("node.id".to_owned(), id.to_string());
    texts.insert("broker.id".to_owned(), id.to_string());
    Ok(id)
}

fn check_roles(texts: &BTreeMap<String, String>) -> Result<(), StaticConfigError> {
    let text = texts.get("process.roles").map_or("(unset)", String::as_str);
    let roles: BTreeSet<String> = split_list(text).into_iter().collect();
    if roles.len() == 2 && roles.contains("broker") && roles.contains("controller") {
        return Ok(());
    }
    Err(StaticConfigError::combination(
        "process.roles",
        text,
        "must be broker,controller: this release serves one node that is both",
    ))
}

fn check_voters(
    texts: &BTreeMap<String, String>,
    node_id: NodeId,
) -> Result<(), StaticConfigError> {
    let Some(text) = texts.get("controller.quorum.voters") else {
        return Ok(());
    };
    let voters = split_list(text);
    let is_self = |voter: &String| {
        voter
            .split_once('@')
            .and_then(|(id, _)| id.parse::<NodeId>().ok())
            == Some(node_id)
    };
    if voters.len() <= 1 && voters.iter().all(is_self) {
        return Ok(());
    }
    Err(StaticConfigError::combination(
        "controller.quorum.voters",
        text,
        format!("must be empty or name this node only, as {node_id}@host:port"),
    ))
}

fn check_pairs(texts: &BTreeMap<String, String>) -> Result<(), StaticConfigError> {
    const ORDERED: [(&str, &str); 2] = [
        (
            "group.min.session.timeout.ms",
            "group.max.session.timeout.ms",
        ),
        (
            "log.cleaner.min.compaction.lag.ms",
            "log.cleaner.max.compaction.lag.ms",
        ),
    ];
    let image = MetadataImage::empty("");
    let view = BrokerConfigView::new(&image, 0, texts);
    for (lower, upper) in ORDERED {
        if view.number(lower) > view.number(upper) {
            return Err(StaticConfigError::combination(
                lower,
                &view.number(lower).to_string(),
                format!("must not exceed {upper}, which is {}", view.number(upper)),
            ));
        }
    }
    const OVERRIDES: &str = "max.connections.per.ip.overrides";
    let text = view.text(OVERRIDES).unwrap_or_default();
    if parse_overrides(&text).is_none() {
        return Err(StaticConfigError::combination(
            OVERRIDES,
            &text,
            "must be a list of address:number with commas",
        ));
    }
    Ok(())
}

/// Addresses and their numbers of connections, from `max.connections.per.ip.overrides`; none if the text is malformed.
pub fn parse_overrides(text: &str) -> Option<BTreeMap<String, u32>> {
    split_list(text)
        .iter()
        .map(|entry| {
            let (address, number) = entry.rsplit_once(':')?;
            Some((address.to_owned(), number.parse().ok()?))
        })
        .collect()
}

fn log_dirs(view: &BrokerConfigView<'_>) -> Result<Vec<String>, StaticConfigError> {
    let key = if view.text("log.dirs").is_some() {
        "log.dirs"
    } else {
        "log.dir"
    };
    let text = view.text(key).expect("log.dir has a default");
    let dirs = split_list(&text);
    let distinct: BTreeSet<&String> = dirs.iter().collect();
    if dirs.is_empty() || distinct.len() != dirs.len() {
        return Err(StaticConfigError::combination(
            if key == "log.dirs" {
                "log.dirs"
            } else {
                "log.dir"
            },
            &text,
            "must name at least one directory, each once",
        ));
    }
    Ok(dirs)
}

struct Read<'a>(BrokerConfigView<'a>);

impl Read<'_> {
    fn int(&self, key: &str) -> i32 {
        assert!(
            broker_keys()[key].kind == ConfigType::Int,
            "{key} is no int"
        );
        i32::try_from(self.0.number(key)).expect("an int key holds an int")
    }

    fn short(&self, key: &str) -> i16 {
        assert!(
            broker_keys()[key].kind == ConfigType::Short,
            "{key} is no short"
        );
        i16::try_from(self.0.number(key)).expect("a short key holds a short")
    }

    fn sockets(&self) -> SocketLimits {
        SocketLimits {
            listen_backlog: self.int("socket.listen.backlog.size"),
            receive_buffer_bytes: self.int("socket.receive.buffer.bytes"),
            send_buffer_bytes: self.int("socket.send.buffer.bytes"),
            request_bytes_max: self.int("socket.request.max.bytes"),
            connections_max_idle_ms: self.0.number("connections.max.idle.ms"),
            queued_requests_max: self.int("queued.max.requests"),
            queued_request_bytes_max: self.0.number("queued.max.request.bytes"),
        }
    }

    fn groups(&self) -> GroupLimits {
        GroupLimits {
            session_timeout_ms_min: self.int("group.min.session.timeout.ms"),
            session_timeout_ms_max: self.int("group.max.session.timeout.ms"),
            group_size_max: self.int("group.max.size"),
            initial_rebalance_delay_ms: self.int("group.initial.rebalance.delay.ms"),
            offset_metadata_bytes_max: self.int("offset.metadata.max.bytes"),
            offsets_retention_ms: self
                .0
                .number("offsets.retention.minutes")
                .saturating_mul(60_000),
            offsets_retention_check_interval_ms: self
                .0
                .number("offsets.retention.check.interval.ms"),
            offsets_commit_timeout_ms: self.int("offsets.commit.timeout.ms"),
        }
    }

    fn limits(&self) -> Limits {
        let kafka = Limits::default();
        let size = |key: &str| {
            self.0
                .optional_number(key)
                .map(|number| u64::try_from(number).expect("sizes are valid from 0 on"))
        };
        let count = |key: &str, default: usize| {
            size(key).map_or(default, |number| {
                usize::try_from(number).unwrap_or(usize::MAX)
            })
        };
        Limits {
            segment_bytes_min: size("internal.segment.bytes.min")
                .unwrap_or(kafka.segment_bytes_min),
            segment_bytes_override: size("internal.segment.bytes"),
            index_interval_bytes_override: size("internal.index.interval.bytes"),
            metadata_segment_bytes: size("internal.metadata.log.segment.bytes")
                .or_else(|| size("metadata.log.segment.bytes"))
                .unwrap_or(kafka.metadata_segment_bytes),
            metadata_snapshot_bytes: size("metadata.log.max.record.bytes.between.snapshots")
                .unwrap_or(kafka.metadata_snapshot_bytes),
            metadata_snapshot_interval_ms: self.0.number("metadata.log.max.snapshot.interval.ms"),
            producer_id_block_size: self
                .0
                .optional_number("internal.producer.id.block.size")
                .unwrap_or(kafka.producer_id_block_size),
            fetch_session_slots: count(
                "max.incremental.fetch.session.cache.slots",
                kafka.fetch_session_slots,
            ),
            producer_id_expiration_ms: self.0.number("producer.id.expiration.ms"),
            producer_id_expiration_check_interval_ms: self
                .0
                .number("producer.id.expiration.check.interval.ms"),
            dirty_bytes_max: size("internal.dirty.bytes.max").unwrap_or(kafka.dirty_bytes_max),
            journal_half_bytes: size("internal.journal.half.bytes")
                .unwrap_or(kafka.journal_half_bytes),
            metadata_records_per_operation_max: count(
                "internal.metadata.records.per.operation.max",
                kafka.metadata_records_per_operation_max,
            ),
        }
    }
}
