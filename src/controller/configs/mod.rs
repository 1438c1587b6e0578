//! The one table of every topic and broker config, and what follows from it: validation, the value in force, descriptions.
//!
//! The table itself is data: `topic.keys` and `broker.keys` beside this file.

mod describe;
mod effective;
mod listeners;
mod static_config;
mod table;
mod validate;
mod value;

#[cfg(test)]
mod tests;

pub use describe::{ConfigEntry, ConfigSource, ConfigSynonym, describe_broker, describe_topic};
pub use effective::{BrokerConfigView, TopicConfig};
pub use listeners::{Listener, Listeners};
pub use static_config::{
    GroupLimits, InternalTopic, SocketLimits, StaticConfig, StaticConfigError, Warning,
    parse_overrides,
};
pub use table::{
    ConfigKey, ConfigType, Effect, Reason, Unit, UpdateMode, Valid, broker_keys, topic_keys,
};
pub use value::{CleanupPolicy, Compression, ConfigError, ConfigValue, TimestampType, nearest};

pub(crate) use describe::describe_topic_with;
pub use validate::broker_key;
pub(crate) use validate::validate_topic_configs;
pub(crate) use value::{append_list, subtract_list};
