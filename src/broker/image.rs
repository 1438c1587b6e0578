//! The metadata in force, with what is derived from it once per change instead of once per request.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use controller::MetadataImage;
use controller::configs::{
    BrokerConfigView, Compression, TimestampType, TopicConfig as Effective, parse_overrides,
};
use controller::image::ConfigResourceType;
use coordinator::groups::GroupConfig;
use protocol::records::validate::{ProducePolicy, TargetCompression};
use protocol::records::{self, CompressionSpec, DECOMPRESSED_BYTES_MAX};
use replica::{Durability, ReplicaConfig};
use storage::LogConfig;
use types::{Limits, NodeId};

/// Topics whose names begin so are always of the class *flushed*.
const INTERNAL_PREFIX: &str = "__";

/// The metadata at one offset of its log.
#[derive(Debug)]
pub struct Image {
    metadata: Arc<MetadataImage>,
    topic_default: Arc<TopicConfig>,
    internal_default: Arc<TopicConfig>,
    /// Of topics that have configs of their own.
    topic_configs: HashMap<Arc<str>, Arc<TopicConfig>>,
    broker: BrokerConfig,
}

impl Deref for Image {
    type Target = MetadataImage;

    fn deref(&self) -> &MetadataImage {
        &self.metadata
    }
}

/// A topic's configs as the machines, the log and the handlers use them.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// What the log is told.
    pub log: LogConfig,
    /// What the replica is told.
    pub replica: ReplicaConfig,
    /// What produced batches are held to.
    pub produce_policy: ProducePolicy,
    /// Whether DeleteRecords is allowed (`cleanup.policy` has `delete`, or is empty).
    pub may_delete_records: bool,
}

/// A broker's dynamic configs as they are used.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// What group coordinators are told.
    pub groups: GroupConfig,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
}

/// How many connections there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all (`max.connections`).
    pub total_max: usize,
    /// From one address (`max.connections.per.ip`).
    pub per_address_max: usize,
    /// From particular addresses (`max.connections.per.ip.overrides`).
    pub overrides: BTreeMap<IpAddr, usize>,
    /// New ones a second (`max.connection.creation.rate`).
    pub created_per_second_max: u64,
}

impl Image {
    /// Derives everything from `metadata`, as broker `node_id` with these configs in its file sees it.
    pub fn new(
        metadata: Arc<MetadataImage>,
        node_id: NodeId,
        static_configs: &BTreeMap<String, String>,
        limits: &Limits,
    ) -> Image {
        let view = BrokerConfigView::new(&metadata, node_id, static_configs);
        let config = |topic: &str| {
            Arc::new(topic_config(
                &Effective::of_topic(&view, topic),
                topic,
                &view,
                limits,
            ))
        };
        let mut topic_configs = HashMap::new();
        for (resource, _) in metadata.configs.iter() {
            if resource.kind == ConfigResourceType::Topic {
                topic_configs.insert(Arc::from(resource.name.as_str()), config(&resource.name));
            }
        }
        let topic_default = config("");
        // A name of this kind that no topic has: what every topic of the kind has in common, and no topic's own configs.
        let internal_default = config(INTERNAL_PREFIX);
        let broker = broker_config(&view);
        Image {
            topic_default,
            internal_default,
            topic_configs,
            broker,
            metadata,
        }
    }

    /// The configs in force on a topic.
    pub fn topic_config(&self, topic: &str) -> &Arc<TopicConfig> {
        match self.topic_configs.get(topic) {
            Some(config) => config,
            None if topic.starts_with(INTERNAL_PREFIX) => &self.internal_default,
            None => &self.topic_default,
        }
    }

    /// The broker's dynamic configs.
    pub fn broker_config(&self) -> &BrokerConfig {
        &self.broker
    }
}

fn topic_config(
    effective: &Effective,
    topic: &str,
    view: &BrokerConfigView<'_>,
    limits: &Limits,
) -> TopicConfig {
    let segment_bytes = effective
        .internal_segment_bytes
        .unwrap_or(effective.segment_bytes);
    let cleanup = storage::CleanupPolicy {
        delete: effective.cleanup_policy.delete,
        compact: effective.cleanup_policy.compact,
    };
    let durability = durability(effective, topic);
    let log = LogConfig {
        segment_bytes: u64::try_from(segment_bytes).expect("it was validated"),
        segment_ms: effective.segment_ms,
        segment_index_bytes: u64::try_from(effective.segment_index_bytes).expect("validated"),
        index_interval_bytes: u64::try_from(effective.index_interval_bytes).expect("validated"),
        retention_ms: effective.retention_ms,
        retention_bytes: effective.retention_bytes,
        file_delete_delay_ms: effective.file_delete_delay_ms,
        preallocate: effective.preallocate,
        cleanup,
        is_journaled: durability == Durability::Flushed,
    };
    let log = log.limited(limits);
    TopicConfig {
        replica: ReplicaConfig {
            durability,
            min_insync_replicas: u32::try_from(effective.min_insync_replicas).expect("validated"),
            producer_id_expiration_ms: view.number("producer.id.expiration.ms"),
            producer_id_expiration_check_interval_ms: limits
                .producer_id_expiration_check_interval_ms,
        },
        produce_policy: produce_policy(effective, log.segment_bytes),
        may_delete_records: cleanup.delete || !cleanup.compact,
        log,
    }
}

/// Internal topics are flushed whatever they say.
fn durability(effective: &Effective, topic: &str) -> Durability {
    if effective.is_flushed() || topic.starts_with(INTERNAL_PREFIX) {
        return Durability::Flushed;
    }
    Durability::Replicated {
        flush_messages: u64::try_from(effective.flush_messages).expect("validated"),
        flush_ms: (effective.flush_ms < i64::MAX).then_some(effective.flush_ms),
    }
}

fn produce_policy(effective: &Effective, segment_bytes: u64) -> ProducePolicy {
    ProducePolicy {
        max_message_bytes: usize::try_from(effective.max_message_bytes).expect("validated"),
        segment_bytes: usize::try_from(segment_bytes).expect("a segment is below 2 GiB"),
        timestamp_type: match effective.message_timestamp_type {
            TimestampType::CreateTime => records::TimestampType::CreateTime,
            TimestampType::LogAppendTime => records::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: effective.message_timestamp_before_max_ms,
        timestamp_after_max_ms: effective.message_timestamp_after_max_ms,
        compression: target_compression(effective.compression),
        compact: effective.cleanup_policy.compact,
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
    }
}

fn target_compression(compression: Compression) -> TargetCompression {
    use records::Compression as Codec;
    let with_level = |codec, level| {
        CompressionSpec::with_level(codec, level).expect("the level was validated with the config")
    };
    match compression {
        Compression::Producer => TargetCompression::Producer,
        Compression::Uncompressed => TargetCompression::Codec(Codec::None.into()),
        Compression::Gzip(level) => TargetCompression::Codec(with_level(Codec::Gzip, level)),
        Compression::Snappy => TargetCompression::Codec(Codec::Snappy.into()),
        Compression::Lz4(level) => TargetCompression::Codec(with_level(Codec::Lz4, level)),
        Compression::Zstd(level) => TargetCompression::Codec(with_level(Codec::Zstd, level)),
    }
}

fn broker_config(view: &BrokerConfigView<'_>) -> BrokerConfig {
    let int = |key: &str| i32::try_from(view.number(key)).expect("validated as an int");
    BrokerConfig {
        auto_create_topics: view.boolean("auto.create.topics.enable"),
        groups: GroupConfig {
            session_timeout_ms_min: int("group.min.session.timeout.ms"),
            session_timeout_ms_max: int("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms: int("group.initial.rebalance.delay.ms"),
            group_size_max: int("group.max.size"),
            offset_metadata_bytes_max: int("offset.metadata.max.bytes"),
            offsets_retention_ms: view.number("offsets.retention.minutes") * 60_000,
            offsets_retention_check_interval_ms: view.number("offsets.retention.check.interval.ms"),
            offset_commit_timeout_ms: int("offsets.commit.timeout.ms"),
            ..GroupConfig::default()
        },
        retention_check_interval_ms: view.number("log.retention.check.interval.ms"),
        connections: connection_limits(view),
    }
}

fn connection_limits(view: &BrokerConfigView<'_>) -> ConnectionLimits {
    let count = |key: &str| usize::try_from(view.number(key)).unwrap_or(usize::MAX);
    let overrides = view
        .text("max.connections.per.ip.overrides")
        .unwrap_or_default();
    let overrides = parse_overrides(&overrides).unwrap_or_default().into_iter();
    // A host name names no address here: Kafka looks it up once, which would block.
    let by_address = overrides
        .filter_map(|(address, count)| Some((address.parse().ok()?, usize::try_from(count).ok()?)));
    ConnectionLimits {
        total_max: count("max.connections"),
        per_address_max: count("max.connections.per.ip"),
        overrides: by_address.collect(),
        created_per_second_max: u64::try_from(view.number("max.connection.creation.rate"))
            .unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use controller::{BatchPosition, Replayer};
    use protocol::stored::{ConfigRecord, TopicRecord};
    use types::Uuid;

    use super::*;

    #[test]
    fn a_topics_own_configs_are_no_other_topics() {
        let topic = |name: &str, id| TopicRecord {
            name: name.to_owned(),
            topic_id: Uuid::from_u128(id),
            ..Default::default()
        };
        let compact = ConfigRecord {
            resource_type: ConfigResourceType::Topic.code(),
            resource_name: "__consumer_offsets".to_owned(),
            name: "cleanup.policy".to_owned(),
            value: Some("compact".to_owned()),
            ..Default::default()
        };
        let records = [
            topic("__consumer_offsets", 101).into(),
            topic("__other", 102).into(),
            compact.into(),
        ];
        let mut replayer = Replayer::new(Arc::new(MetadataImage::empty("cluster")));
        let position = BatchPosition {
            base_offset: 0,
            epoch: 1,
            timestamp_ms: 0,
        };
        replayer.replay_batch(position, &records).unwrap();
        let image = Image::new(replayer.image(), 1, &BTreeMap::new(), &Limits::default());
        assert!(
            image
                .topic_config("__consumer_offsets")
                .produce_policy
                .compact
        );
        let other = image.topic_config("__other");
        assert!(!other.produce_policy.compact);
        assert_eq!(other.replica.durability, Durability::Flushed);
    }
}
