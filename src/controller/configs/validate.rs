//! Checks of configs that are about to be set.

use types::Limits;

use super::table::{ConfigKey, broker_keys, topic_keys};
use super::value::{ConfigError, ConfigValue, nearest};
use crate::image::ConfigMap;

/// The broker key of this name; `listener.name.NAME.` before the name of a security key is left out.
pub fn broker_key(name: &str) -> Option<&'static ConfigKey> {
    if let Some(key) = broker_keys().get(name) {
        return Some(key);
    }
    let (_, bare) = name.strip_prefix("listener.name.")?.split_once('.')?;
    // A listener's own limits would have to be acted upon, and are not.
    let is_security = bare.starts_with("ssl.") || bare.starts_with("sasl.");
    broker_keys().get(bare).filter(|_| is_security)
}

impl ConfigError {
    /// No such topic config.
    pub(crate) fn unknown_topic_key(name: &str) -> ConfigError {
        ConfigError::Unknown {
            key: name.to_owned(),
            nearest: nearest(name, topic_keys().keys().copied()),
        }
    }

    /// No such broker config.
    pub(crate) fn unknown_broker_key(name: &str) -> ConfigError {
        ConfigError::Unknown {
            key: name.to_owned(),
            nearest: nearest(name, broker_keys().keys().copied()),
        }
    }
}

/// Checks topic configs: each of those that are `touched`, and all of them together as they will be.
pub(crate) fn validate_topic_configs(
    touched: &ConfigMap,
    all: &ConfigMap,
    limits: &Limits,
) -> Result<(), ConfigError> {
    for (name, text) in touched {
        let key = topic_keys().get(name.as_str());
        let key = key.ok_or_else(|| ConfigError::unknown_topic_key(name))?;
        if name == "segment.bytes" && is_small_segment_allowed(key, text, limits) {
            continue;
        }
        key.parse_and_validate(text)?;
    }
    check_compaction_lags(all)
}

/// Simulation allows segments far below Kafka's minimum.
fn is_small_segment_allowed(key: &ConfigKey, text: &str, limits: &Limits) -> bool {
    match key.parse_type(text.trim()) {
        Some(ConfigValue::Number(bytes)) => {
            u64::try_from(bytes).is_ok_and(|bytes| limits.segment_bytes_min <= bytes)
        }
        _ => false,
    }
}

fn check_compaction_lags(all: &ConfigMap) -> Result<(), ConfigError> {
    const LOWER: &str = "min.compaction.lag.ms";
    const UPPER: &str = "max.compaction.lag.ms";
    let number = |name: &str| {
        let key = &topic_keys()[name];
        let text = all.get(name).map(String::as_str).or(key.default)?;
        match key.parse(text) {
            Ok(ConfigValue::Number(number)) => Some(number),
            _ => None,
        }
    };
    match (number(LOWER), number(UPPER)) {
        (Some(lower), Some(upper)) if lower > upper => Err(ConfigError::Conflict {
            key: LOWER,
            value: lower,
            other_key: UPPER,
            other: upper,
        }),
        _ => Ok(()),
    }
}
