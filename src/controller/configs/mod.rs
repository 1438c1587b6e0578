//! The one table of every topic and broker config, and what follows from it: validation, the value in force, descriptions.
//!
//! The table itself is data: `topic.keys` and `broker.keys` beside this file.

mod describe;
mod effective;
mod listeners;
mod static_config;
mod table;
mod value;

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
