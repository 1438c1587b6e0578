//! The table against Kafka's, values, and whole files.

use std::collections::BTreeMap;

use super::*;
use types::Limits;

/// Keys of ours, and of Kafka's dynamic quotas, that Kafka's definitions lack.
const OURS: [&str; 10] = [
    "follower.replication.throttled.rate",
    "internal.dirty.bytes.max",
    "internal.index.interval.bytes",
    "internal.journal.half.bytes",
    "internal.metadata.records.per.operation.max",
    "internal.producer.id.block.size",
    "internal.segment.bytes",
    "internal.segment.bytes.min",
    "leader.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// Keys whose default is ours: topics are durable on disk unless told otherwise, and no controller listener is needed.
const OUR_DEFAULTS: [(&str, &str, &str, Option<&str>); 3] = [
    ("topic", "flush.messages", "9223372036854775807", Some("1")),
    (
        "broker",
        "log.flush.interval.messages",
        "9223372036854775807",
        Some("1"),
    ),
    ("broker", "controller.listener.names", "<none>", None),
];

fn definitions() -> Vec<Vec<&'static str>> {
    let text = include_str!("../facts/config-definitions.tsv");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').collect()).collect()
}

#[test]
fn the_table_agrees_with_kafkas_definitions() {
    let mut seen = BTreeMap::from([("topic", 0), ("broker", 0)]);
    for row in definitions() {
        let [kind, name, type_name, default, valid, internal, update] = row[..] else {
            panic!("{row:?}");
        };
        *seen.get_mut(kind).unwrap() += 1;
        let keys = if kind == "topic" {
            topic_keys()
        } else {
            broker_keys()
        };
        let key = keys
            .get(name)
            .unwrap_or_else(|| panic!("{kind} {name} is missing"));
        assert_eq!(key.kind.name(), type_name, "{name}");
        let ours = OUR_DEFAULTS
            .iter()
            .find(|ours| (ours.0, ours.1) == (kind, name));
        match (ours, default) {
            (Some(ours), default) => assert_eq!((default, key.default), (ours.2, ours.3)),
            (None, "<null>" | "<none>") => assert_eq!(key.default, None, "{name}"),
            (None, default) => assert_eq!(key.default, Some(default), "{name}"),
        }
        assert_eq!(key.internal, internal == "internal", "{name}");
        if kind == "broker" {
            let expected = match update {
                "" => UpdateMode::ReadOnly,
                "per-broker" => UpdateMode::PerBroker,
                _ => UpdateMode::ClusterWide,
            };
            assert_eq!(key.update, expected, "{name}");
        }
        check_bounds(key, valid);
        if let Some(default) = key.default {
            assert!(key.parse_and_validate(default).is_ok(), "{name}={default}");
        }
    }
    assert_eq!(seen["topic"], topic_keys().len());
    assert_eq!(seen["broker"] + OURS.len(), broker_keys().len());
    assert!(OURS.iter().all(|name| broker_keys().contains_key(name)));
}

/// Both ends of a range as Kafka prints it are in, and one beyond is out.
fn check_bounds(key: &ConfigKey, valid: &str) {
    let Some(range) = valid
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    else {
        return;
    };
    let Some((low, high)) = range.split_once(",...") else {
        return;
    };
    let (Ok(low), false) = (low.parse::<i64>(), key.kind == ConfigType::Double) else {
        return;
    };
    assert!(key.parse(&low.to_string()).is_ok(), "{} {low}", key.name);
    assert!(
        key.parse(&(low - 1).to_string()).is_err(),
        "{} {low}-1",
        key.name
    );
    if let Some(high) = high.strip_prefix(',') {
        let high: i64 = high.parse().unwrap();
        assert!(key.parse(&high.to_string()).is_ok(), "{} {high}", key.name);
        assert!(
            key.parse(&(high + 1).to_string()).is_err(),
            "{} {high}+1",
            key.name
        );
    }
}

#[test]
fn every_key_says_what_it_means_and_names_existing_synonyms() {
    for key in topic_keys().values().chain(broker_keys().values()) {
        assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{}", key.name);
        for (synonym, _) in &key.synonyms {
            assert!(
                broker_keys().contains_key(synonym),
                "{} <- {synonym}",
                key.name
            );
        }
        if let Effect::Only(values, _) = &key.effect {
            for value in values {
                assert!(key.parse(value).is_ok(), "{}={value}", key.name);
            }
        }
    }
}

fn check_topic(text: &str) -> Result<(), String> {
    let (key, value) = text.split_once('=').unwrap();
    let configs = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    validate_topic_configs(&configs, &configs, &Limits::default()).map_err(|e| e.to_string())
}

#[test]
fn messages_name_key_value_and_what_is_allowed() {
    for (text, expected) in [
        (
            "retention.ms=x",
            "Invalid value x for configuration retention.ms: must be a 64-bit number, at least -1",
        ),
        (
            "segment.bytes=5",
            "Invalid value 5 for configuration segment.bytes: must be a 32-bit number, at least 1048576",
        ),
        (
            "compression.type=rar",
            "Invalid value rar for configuration compression.type: must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        (
            "cleanup.policy=shred",
            "Invalid value shred for configuration cleanup.policy: must be a list of: compact, delete",
        ),
        (
            "retention.m=5",
            "Unknown config name: retention.m (did you mean retention.ms?)",
        ),
        ("zzz=5", "Unknown config name: zzz"),
        (
            "remote.storage.enable=true",
            "Value true for configuration remote.storage.enable is not served: it matters only with tiered storage, which is not offered. Allowed: false",
        ),
        ("min.compaction.lag.ms=5", ""),
    ] {
        assert_eq!(check_topic(text).err().unwrap_or_default(), expected);
    }
}

#[test]
fn secrets_are_not_shown() {
    let key = &broker_keys()["ssl.key.password"];
    assert!(key.parse("hunter2").is_ok());
    let image = crate::MetadataImage::empty("c");
    let texts = BTreeMap::from([("ssl.key.password".to_owned(), "hunter2".to_owned())]);
    let view = BrokerConfigView::new(&image, 1, &texts);
    let described = describe_broker(&view, false);
    assert!(!format!("{described:?}").contains("hunter2"));
}

#[test]
fn simulation_may_ask_for_tiny_segments() {
    let configs = BTreeMap::from([("segment.bytes".to_owned(), "1024".to_owned())]);
    let limits = Limits {
        segment_bytes_min: 1024,
        ..Limits::default()
    };
    assert!(validate_topic_configs(&configs, &configs, &limits).is_ok());
    let limits = Limits {
        segment_bytes_min: 1025,
        ..Limits::default()
    };
    assert!(validate_topic_configs(&configs, &configs, &limits).is_err());
}

fn file(lines: &[&str]) -> BTreeMap<String, String> {
    let mut configs = StaticConfig::embedded("/data");
    for line in lines {
        let (key, value) = line.split_once('=').unwrap();
        if value == "UNSET" {
            configs.remove(key);
        } else {
            configs.insert(key.to_owned(), value.to_owned());
        }
    }
    configs
}

#[test]
fn the_embedded_configs_parse_without_a_word() {
    let (config, warnings) = StaticConfig::parse(&file(&[])).unwrap();
    let about_later: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(config.node_id, 1);
    assert_eq!(config.listeners.broker, config.listeners.advertised);
    assert_eq!(config.log_dirs, ["/data"]);
    assert_eq!(config.metadata_log_dir, "/data");
    assert_eq!(config.offsets_topic.replication_factor, 1);
    assert_eq!(config.offsets_topic.num_partitions, 50);
    assert_eq!(config.groups.offsets_retention_ms, 7 * 24 * 60 * 60 * 1000);
    assert_eq!(config.limits, Limits::default());
    assert!(
        about_later
            .iter()
            .all(|w| w.contains("share.") || w.contains("transaction."))
    );
}

#[test]
fn files_that_are_wrong_say_where() {
    for (lines, expected) in [
        (&["process.roles=broker"][..], "process.roles"),
        (&["process.roles=UNSET"], "process.roles"),
        (&["node.id=UNSET"], "node.id"),
        (&["node.id=-1"], "node.id"),
        (&["broker.id=2"], "broker.id"),
        (
            &["num.partitions=0"],
            "num.partitions: must be a 32-bit number, at least 1",
        ),
        (&["num.partitions=many"], "Invalid value many"),
        (
            &["controller.quorum.voters=1@a:1,2@b:1"],
            "controller.quorum.voters",
        ),
        (&["listeners=PLAINTEXT//x"], "listeners"),
        (
            &["listeners=SSL://:9092"],
            "TLS and SASL are not served yet",
        ),
        (
            &[
                "listeners=A://:1,A://:2",
                "listener.security.protocol.map=A:PLAINTEXT",
            ],
            "each listener once",
        ),
        (&["listeners=A://:1"], "must give listener A a protocol"),
        (
            &["listeners=PLAINTEXT://0.0.0.0:9092"],
            "advertised.listeners",
        ),
        (&["advertised.listeners=OTHER://a:1"], "must not name OTHER"),
        (&["log.dirs=/a,/a"], "log.dirs"),
        (
            &[
                "group.min.session.timeout.ms=9",
                "group.max.session.timeout.ms=8",
            ],
            "group.min.session",
        ),
        (
            &["authorizer.class.name=org.x.Acl"],
            "authorizer.class.name is not served",
        ),
        (
            &["create.topic.policy.class.name=org.x.Policy"],
            "leave it unset",
        ),
        (&["max.connections.per.ip.overrides=a"], "address:number"),
        (
            &["inter.broker.listener.name=X"],
            "inter.broker.listener.name",
        ),
    ] {
        let error = StaticConfig::parse(&file(lines)).unwrap_err().to_string();
        assert!(error.contains(expected), "{lines:?}: {error}");
    }
}

#[test]
fn a_file_of_kafkas_is_understood() {
    let (config, warnings) = StaticConfig::parse(&file(&[
        "listeners=PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
        "controller.listener.names=CONTROLLER",
        "inter.broker.listener.name=PLAINTEXT",
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
        "controller.quorum.bootstrap.servers=localhost:9093",
        "num.network.threads=3",
        "num.io.threads=16",
        "log.retention.hour=1",
        "log.segment.bytes=1073741824",
        "broker.rack=",
        "internal.segment.bytes=4096",
        "max.incremental.fetch.session.cache.slots=5",
    ]))
    .unwrap();
    let names = |listeners: &[Listener]| -> Vec<String> {
        listeners
            .iter()
            .map(|l| format!("{} {} {}", l.name, l.host, l.port))
            .collect()
    };
    assert_eq!(names(&config.listeners.broker), ["PLAINTEXT  9092"]);
    assert_eq!(names(&config.listeners.controller), ["CONTROLLER  9093"]);
    assert_eq!(
        names(&config.listeners.advertised),
        ["PLAINTEXT localhost 9092"]
    );
    assert_eq!(config.rack, None);
    assert_eq!(config.limits.segment_bytes_override, Some(4096));
    assert_eq!(config.limits.fetch_session_slots, 5);
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let about = |text: &str| warnings.iter().any(|warning| warning.contains(text));
    assert!(about(
        "unknown config log.retention.hour, did you mean log.retention.hours?"
    ));
    assert!(about(
        "config num.io.threads changes nothing: it tunes parts"
    ));
    assert!(!about("num.network.threads"), "a default deserves no word");
}

#[test]
fn hours_and_minutes_give_milliseconds() {
    let image = crate::MetadataImage::empty("c");
    for (lines, expected) in [
        (&["log.retention.hours=2"][..], 7_200_000),
        (
            &["log.retention.hours=2", "log.retention.minutes=3"],
            180_000,
        ),
        (&["log.retention.minutes=3", "log.retention.ms=4"], 4),
        (&["log.retention.hours=-1"], -1),
    ] {
        let (config, _) = StaticConfig::parse(&file(lines)).unwrap();
        let view = BrokerConfigView::new(&image, 1, &config.texts);
        assert_eq!(
            TopicConfig::of_topic(&view, "a").retention_ms,
            expected,
            "{lines:?}"
        );
    }
}
