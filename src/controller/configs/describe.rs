//! Descriptions of configs: value, source and synonyms, as DescribeConfigs gives them.

use super::effective::BrokerConfigView;
use super::table::{ConfigKey, ConfigType, UpdateMode, broker_keys, topic_keys};
use crate::image::ConfigResource;

/// Where a value comes from, strongest first for one key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ConfigSource {
    /// Set on the topic.
    DynamicTopic,
    /// Set on one broker.
    DynamicBroker,
    /// Set for all brokers.
    DynamicDefaultBroker,
    /// From the broker's own file.
    StaticBroker,
    /// Built in.
    Default,
}

impl ConfigSource {
    /// The number on the wire (DescribeConfigs 1+).
    pub const fn code(self) -> i8 {
        match self {
            ConfigSource::DynamicTopic => 1,
            ConfigSource::DynamicBroker => 2,
            ConfigSource::DynamicDefaultBroker => 3,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
        }
    }

    /// Kafka's name, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            ConfigSource::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
            ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            ConfigSource::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
            ConfigSource::Default => "DEFAULT_CONFIG",
        }
    }
}

/// One value among those that a key could take, strongest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigSynonym {
    /// The key that it stands under.
    pub name: String,
    /// The value; none for a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// One config as it is described.
#[derive(Clone, PartialEq, Debug)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The value in force; none if unset or a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it can only change by a restart.
    pub read_only: bool,
    /// Whether it is a secret.
    pub sensitive: bool,
    /// All values that the key could take, strongest first.
    pub synonyms: Vec<ConfigSynonym>,
    /// Type of the value; none for a key that is not ours.
    pub kind: Option<ConfigType>,
    /// What it means.
    pub doc: String,
}

/// Every config of a topic, whether it exists or not, in order of the key.
pub fn describe_topic(view: &BrokerConfigView<'_>, topic: &str) -> Vec<ConfigEntry> {
    let resource = ConfigResource::topic(topic);
    let own = view.image().config(&resource).map(|configs| &**configs);
    let empty = super::effective::NO_CONFIGS;
    describe_topic_with(view, own.unwrap_or(empty))
}

/// Every config of a topic whose own configs are `own`.
pub(crate) fn describe_topic_with(
    view: &BrokerConfigView<'_>,
    own: &crate::image::ConfigMap,
) -> Vec<ConfigEntry> {
    let shown = |key: &&ConfigKey| !key.internal || own.contains_key(key.name);
    let describe = |key: &ConfigKey| {
        let mut synonyms = match key.synonyms.first() {
            Some((strongest, _)) => {
                let names: Vec<&str> = key.synonyms.iter().map(|(name, _)| *name).collect();
                broker_synonyms(view, strongest, &names)
            }
            None => Vec::new(),
        };
        if let Some(value) = own.get(key.name) {
            synonyms.insert(
                0,
                ConfigSynonym {
                    name: key.name.to_owned(),
                    value: Some(value.clone()),
                    source: ConfigSource::DynamicTopic,
                },
            );
        }
        ConfigEntry {
            name: key.name.to_owned(),
            value: view.topic_value(own, key),
            source: synonyms.first().map_or(ConfigSource::Default, |s| s.source),
            read_only: false,
            sensitive: false,
            synonyms,
            kind: Some(key.kind),
            doc: key.doc.to_owned(),
        }
    };
    topic_keys().values().filter(shown).map(describe).collect()
}

/// Every config of the broker of `view`, or, for `default_only`, those that are set for all brokers.
pub fn describe_broker(view: &BrokerConfigView<'_>, default_only: bool) -> Vec<ConfigEntry> {
    if default_only {
        return view
            .dynamic_default()
            .keys()
            .map(|name| {
                let mut entry = broker_entry(view, name);
                entry
                    .synonyms
                    .retain(|synonym| synonym.source == ConfigSource::DynamicDefaultBroker);
                entry.source = ConfigSource::DynamicDefaultBroker;
                entry.value = entry
                    .synonyms
                    .first()
                    .and_then(|synonym| synonym.value.clone());
                entry
            })
            .collect();
    }
    let known = broker_keys()
        .values()
        .filter(|key| !key.internal)
        .map(|key| key.name);
    let mut names: Vec<&str> = known.collect();
    // Keys that are hidden, or not ours (a log written by Kafka may hold any), are shown where they are set.
    for set in [
        view.dynamic(),
        view.dynamic_default(),
        view.static_configs(),
    ] {
        names.extend(set.keys().map(String::as_str));
    }
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| broker_entry(view, name))
        .collect()
}

fn broker_entry(view: &BrokerConfigView<'_>, name: &str) -> ConfigEntry {
    let key = broker_keys().get(name);
    let sensitive = key.is_none_or(|key| key.kind == ConfigType::Password);
    let synonyms = broker_synonyms(view, name, &broker_names(name));
    ConfigEntry {
        name: name.to_owned(),
        value: if sensitive {
            None
        } else {
            view.broker_value(name)
        },
        source: synonyms.first().map_or(ConfigSource::Default, |s| s.source),
        read_only: key.is_none_or(|key| key.update == UpdateMode::ReadOnly),
        sensitive,
        synonyms,
        kind: key.map(|key| key.kind),
        doc: key.map_or("", |key| key.doc).to_owned(),
    }
}

/// The broker keys that stand for the same thing as this one, itself among them, strongest first.
pub(super) fn broker_names(name: &str) -> Vec<&str> {
    let group: &[&str] = match name {
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => &[
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ],
        "log.roll.ms" | "log.roll.hours" => &["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => {
            &["log.roll.jitter.ms", "log.roll.jitter.hours"]
        }
        "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        _ => return vec![name],
    };
    group.to_vec()
}

/// What `names` are set to, by source and then by name; Kafka leaves out what comes before the first one called `name`.
fn broker_synonyms(view: &BrokerConfigView<'_>, name: &str, names: &[&str]) -> Vec<ConfigSynonym> {
    let mut synonyms = Vec::new();
    for (source, set) in [
        (ConfigSource::DynamicBroker, view.dynamic()),
        (ConfigSource::DynamicDefaultBroker, view.dynamic_default()),
        (ConfigSource::StaticBroker, view.static_configs()),
    ] {
        for &name in names {
            if let Some(value) = set.get(name) {
                synonyms.push(synonym(name, value, source));
            }
        }
    }
    for &name in names {
        if let Some(value) = broker_keys().get(name).and_then(|key| key.default) {
            synonyms.push(synonym(name, value, ConfigSource::Default));
        }
    }
    let first = synonyms.iter().position(|synonym| synonym.name == name);
    synonyms.split_off(first.unwrap_or(synonyms.len()))
}

fn synonym(name: &str, value: &str, source: ConfigSource) -> ConfigSynonym {
    let sensitive = broker_keys()
        .get(name)
        .is_none_or(|key| key.kind == ConfigType::Password);
    ConfigSynonym {
        name: name.to_owned(),
        value: (!sensitive).then(|| value.to_owned()),
        source,
    }
}
