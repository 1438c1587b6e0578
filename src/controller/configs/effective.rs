//! The value in force: the topic's own, else the broker's dynamic, else its file's, else the built-in one.

use std::collections::BTreeMap;

use super::table::{ConfigKey, ConfigType, Unit, broker_keys, topic_keys};
use super::value::{CleanupPolicy, Compression, ConfigValue, TimestampType};
use crate::image::{ConfigMap, ConfigResource, MetadataImage};
use types::{Limits, NodeId};

pub(crate) static NO_CONFIGS: &ConfigMap = &ConfigMap::new();

/// The configs of one broker: its file, and what the image adds.
///
/// Made anew from the current image at each use, so that a change acts at once; making one costs two look-ups.
#[derive(Clone, Copy, Debug)]
pub struct BrokerConfigView<'a> {
    image: &'a MetadataImage,
    static_configs: &'a BTreeMap<String, String>,
    dynamic: &'a ConfigMap,
    dynamic_default: &'a ConfigMap,
}

impl<'a> BrokerConfigView<'a> {
    /// The view of broker `node_id`, whose file says `static_configs`.
    pub fn new(
        image: &'a MetadataImage,
        node_id: NodeId,
        static_configs: &'a BTreeMap<String, String>,
    ) -> BrokerConfigView<'a> {
        let configs = |resource| {
            image
                .config(&resource)
                .map_or(NO_CONFIGS, |configs| &**configs)
        };
        BrokerConfigView {
            image,
            static_configs,
            dynamic: configs(ConfigResource::broker(node_id)),
            dynamic_default: configs(ConfigResource::broker_default()),
        }
    }

    /// The image that it looks at.
    pub fn image(&self) -> &'a MetadataImage {
        self.image
    }

    /// What is set on this broker.
    pub fn dynamic(&self) -> &'a ConfigMap {
        self.dynamic
    }

    /// What is set for all brokers.
    pub fn dynamic_default(&self) -> &'a ConfigMap {
        self.dynamic_default
    }

    /// What the broker's file sets.
    pub fn static_configs(&self) -> &'a BTreeMap<String, String> {
        self.static_configs
    }

    /// The value in force of one broker key; none if it is unset and has no default.
    ///
    /// Other names of the same thing do not count: see [`BrokerConfigView::milliseconds`].
    pub fn broker_value(&self, name: &str) -> Option<String> {
        self.broker_text(name).map(str::to_owned)
    }

    fn broker_text(&self, name: &str) -> Option<&'a str> {
        [self.dynamic, self.dynamic_default, self.static_configs]
            .iter()
            .find_map(|set| set.get(name))
            .map(String::as_str)
            .or_else(|| broker_keys().get(name).and_then(|key| key.default))
    }

    fn broker_parsed(&self, name: &str) -> Option<ConfigValue> {
        let key = broker_keys().get(name);
        let key = key
            .unwrap_or_else(|| panic!("the program asks for config {name}, which the table lacks"));
        // A stored value was checked when it was set; one that is wrong nevertheless (another program wrote the log,
        // or a newer one knew more) falls back to the default rather than stop the broker.
        let parsed = self.broker_text(name).and_then(|text| key.parse(text).ok());
        parsed.or_else(|| key.default.and_then(|text| key.parse(text).ok()))
    }

    /// A whole number in force.
    ///
    /// # Panics
    /// If the key has no number and no default: the program's mistake.
    pub fn number(&self, name: &str) -> i64 {
        self.optional_number(name)
            .unwrap_or_else(|| panic!("config {name} is unset"))
    }

    /// A whole number in force, if set.
    ///
    /// # Panics
    /// If the key is not a number: the program's mistake.
    pub fn optional_number(&self, name: &str) -> Option<i64> {
        match self.broker_parsed(name)? {
            ConfigValue::Number(number) => Some(number),
            other => panic!("config {name} is {other:?}, not a number"),
        }
    }

    /// A boolean in force.
    ///
    /// # Panics
    /// If the key is not a boolean with a default: the program's mistake.
    pub fn boolean(&self, name: &str) -> bool {
        match self.broker_parsed(name) {
            Some(ConfigValue::Boolean(value)) => value,
            other => panic!("config {name} is {other:?}, not a boolean"),
        }
    }

    /// A text in force, if set.
    pub fn text(&self, name: &str) -> Option<String> {
        self.broker_value(name)
    }

    /// The value in force of a topic key on a topic whose own configs are `own`, as text.
    pub(crate) fn topic_value(&self, own: &ConfigMap, key: &ConfigKey) -> Option<String> {
        if let Some(value) = own.get(key.name) {
            return Some(value.clone());
        }
        for &(name, unit) in &key.synonyms {
            let Some(text) = self.broker_text(name) else {
                continue;
            };
            if unit == Unit::Same {
                return Some(text.to_owned());
            }
            if let Ok(count) = text.parse::<i64>() {
                // A negative number of hours means "for ever", as -1 does.
                let millis = if count < 0 {
                    -1
                } else {
                    count.saturating_mul(unit.factor())
                };
                return Some(millis.to_string());
            }
        }
        key.default.map(str::to_owned)
    }
}

/// Everything of a topic's configs that is acted upon.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicConfig {
    /// Whether old segments are deleted, compacted or kept.
    pub cleanup_policy: CleanupPolicy,
    /// Age by record time after which a segment is deleted, in milliseconds; -1 for never.
    pub retention_ms: i64,
    /// Size above which the oldest segments are deleted, in bytes per partition; -1 for no limit.
    pub retention_bytes: i64,
    /// Size at which a segment rolls, in bytes.
    pub segment_bytes: i32,
    /// Size set for tests, smaller than `segment.bytes` may be (`internal.segment.bytes`).
    pub internal_segment_bytes: Option<i32>,
    /// Age at which a segment rolls, in milliseconds.
    pub segment_ms: i64,
    /// Size of the index files at which a segment rolls, in bytes.
    pub segment_index_bytes: i32,
    /// Bytes of log between two index entries.
    pub index_interval_bytes: i32,
    /// Milliseconds between taking a segment out of use and unlinking its files.
    pub file_delete_delay_ms: i64,
    /// Whether segment files get their space in advance.
    pub preallocate: bool,
    /// Records after which a flush begins; 1 makes the topic *flushed*: acknowledged only once on disk.
    pub flush_messages: i64,
    /// Milliseconds after which unflushed records are flushed.
    pub flush_ms: i64,
    /// Largest batch, in bytes.
    pub max_message_bytes: i32,
    /// What batches are compressed with.
    pub compression: Compression,
    /// Whose timestamp records carry.
    pub message_timestamp_type: TimestampType,
    /// How far back a producer's timestamp may lie, in milliseconds.
    pub message_timestamp_before_max_ms: i64,
    /// How far ahead a producer's timestamp may lie, in milliseconds.
    pub message_timestamp_after_max_ms: i64,
    /// In-sync replicas that an acks=all write needs.
    pub min_insync_replicas: i32,
    /// Whether a replica outside the ISR may be elected.
    pub unclean_leader_election_enable: bool,
    /// Milliseconds that tombstones stay.
    pub delete_retention_ms: i64,
    /// Share of uncompacted bytes at which compaction starts.
    pub min_cleanable_dirty_ratio: f64,
    /// Age before which a record is not compacted, in milliseconds.
    pub min_compaction_lag_ms: i64,
    /// Age after which a record must be compacted, in milliseconds.
    pub max_compaction_lag_ms: i64,
}

impl TopicConfig {
    /// The configs in force on `topic`, seen from the broker of `view`. Topics whose name begins with `__` are always flushed.
    pub fn of_topic(view: &BrokerConfigView<'_>, topic: &str) -> TopicConfig {
        let own = view.image().config(&ConfigResource::topic(topic));
        let mut config =
            TopicConfig::of_configs(view, own.map_or(NO_CONFIGS, |configs| &**configs));
        if topic.starts_with("__") {
            // What the cluster itself depends on is always on disk before it counts.
            config.flush_messages = 1;
        }
        config
    }

    /// The configs in force on a topic whose own configs are `own`.
    pub(crate) fn of_configs(view: &BrokerConfigView<'_>, own: &ConfigMap) -> TopicConfig {
        let read = Reader { view, own };
        TopicConfig {
            cleanup_policy: read.cleanup_policy(),
            retention_ms: read.long("retention.ms"),
            retention_bytes: read.long("retention.bytes"),
            segment_bytes: read.int("segment.bytes"),
            internal_segment_bytes: read.optional_int("internal.segment.bytes"),
            segment_ms: read.long("segment.ms"),
            segment_index_bytes: read.int("segment.index.bytes"),
            index_interval_bytes: read.int("index.interval.bytes"),
            file_delete_delay_ms: read.long("file.delete.delay.ms"),
            preallocate: read.boolean("preallocate"),
            flush_messages: read.long("flush.messages"),
            flush_ms: read.long("flush.ms"),
            max_message_bytes: read.int("max.message.bytes"),
            compression: read.compression(),
            message_timestamp_type: match read.text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            message_timestamp_before_max_ms: read.long("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: read.long("message.timestamp.after.max.ms"),
            min_insync_replicas: read.int("min.insync.replicas"),
            unclean_leader_election_enable: read.boolean("unclean.leader.election.enable"),
            delete_retention_ms: read.long("delete.retention.ms"),
            min_cleanable_dirty_ratio: read.double("min.cleanable.dirty.ratio"),
            min_compaction_lag_ms: read.long("min.compaction.lag.ms"),
            max_compaction_lag_ms: read.long("max.compaction.lag.ms"),
        }
    }

    /// Size at which a segment rolls, in bytes, with what tests and simulation set above it.
    pub fn segment_bytes_in_force(&self, limits: &Limits) -> u64 {
        let own = self.internal_segment_bytes.unwrap_or(self.segment_bytes);
        limits
            .segment_bytes_override
            .unwrap_or_else(|| u64::try_from(own).expect("a segment's size is positive"))
    }

    /// Bytes of log between two index entries, with what tests and simulation set above it.
    pub fn index_interval_bytes_in_force(&self, limits: &Limits) -> u64 {
        let own = self.index_interval_bytes;
        limits
            .index_interval_bytes_override
            .unwrap_or_else(|| u64::try_from(own).expect("an interval is not negative"))
    }

    /// Whether the topic is of the *flushed* durability class (see `docs/GUARANTEES.md`).
    pub fn is_flushed(&self) -> bool {
        self.flush_messages == 1
    }
}

/// A segment size below Kafka's minimum: simulation may set it, see [`Limits::segment_bytes_min`].
fn tiny_segment(name: &str, value: Option<ConfigValue>) -> Option<ConfigValue> {
    value.filter(|value| {
        name == "segment.bytes" && matches!(value, ConfigValue::Number(bytes) if *bytes >= 1)
    })
}

struct Reader<'a> {
    view: &'a BrokerConfigView<'a>,
    own: &'a ConfigMap,
}

impl Reader<'_> {
    fn value(&self, name: &str) -> Option<ConfigValue> {
        let key = &topic_keys()[name];
        let text = self.view.topic_value(self.own, key);
        let parsed = text.and_then(|text| {
            let allowed = key.parse(&text).ok();
            allowed.or_else(|| tiny_segment(name, key.parse_type(text.trim())))
        });
        // A value out of range was set by another program; the default is always safe to use.
        parsed.or_else(|| key.default.and_then(|text| key.parse(text).ok()))
    }

    fn optional_long(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            ConfigValue::Number(number) => Some(number),
            other => panic!("topic config {name} is {other:?}, not a number"),
        }
    }

    fn long(&self, name: &str) -> i64 {
        self.optional_long(name)
            .unwrap_or_else(|| panic!("topic config {name} has no default"))
    }

    fn optional_int(&self, name: &str) -> Option<i32> {
        assert!(
            topic_keys()[name].kind == ConfigType::Int,
            "{name} is no int"
        );
        self.optional_long(name)
            .map(|n| i32::try_from(n).expect("an int key holds an int"))
    }

    fn int(&self, name: &str) -> i32 {
        self.optional_int(name)
            .unwrap_or_else(|| panic!("topic config {name} has no default"))
    }

    fn double(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(ConfigValue::Double(number)) => number,
            other => panic!("topic config {name} is {other:?}, not a fraction"),
        }
    }

    fn boolean(&self, name: &str) -> bool {
        match self.value(name) {
            Some(ConfigValue::Boolean(value)) => value,
            other => panic!("topic config {name} is {other:?}, not a boolean"),
        }
    }

    fn text(&self, name: &str) -> String {
        match self.value(name) {
            Some(ConfigValue::Text(text)) => text,
            other => panic!("topic config {name} is {other:?}, not a text"),
        }
    }

    fn cleanup_policy(&self) -> CleanupPolicy {
        let Some(ConfigValue::List(policies)) = self.value("cleanup.policy") else {
            panic!("cleanup.policy is a list");
        };
        CleanupPolicy {
            delete: policies.iter().any(|policy| policy == "delete"),
            compact: policies.iter().any(|policy| policy == "compact"),
        }
    }

    fn compression(&self) -> Compression {
        match self.text("compression.type").as_str() {
            "uncompressed" => Compression::Uncompressed,
            "gzip" => Compression::Gzip(self.int("compression.gzip.level")),
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4(self.int("compression.lz4.level")),
            "zstd" => Compression::Zstd(self.int("compression.zstd.level")),
            _ => Compression::Producer,
        }
    }
}
