//! Values: parsing, the checks of the table, lists, and the key that was probably meant.

use types::ErrorCode;

use super::table::{ConfigKey, ConfigType, Effect, Valid};

/// A parsed value.
#[derive(Clone, PartialEq, Debug)]
pub enum ConfigValue {
    /// Of a boolean key.
    Boolean(bool),
    /// Of an int, short or long key.
    Number(i64),
    /// Of a double key.
    Double(f64),
    /// Of a list key: elements trimmed, empty ones left out.
    List(Vec<String>),
    /// Of any other key.
    Text(String),
}

/// A value or a key that is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such key.
    #[error("Unknown config name: {key}{}", suggestion(.nearest))]
    Unknown {
        /// The key.
        key: String,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// The value is none of the key's type.
    #[error("Invalid value {value} for configuration {key}: {allowed}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The value is valid in Kafka, but this broker would give less than it asks for.
    #[error("Value {value} for configuration {key} is not served: {reason}. Allowed: {allowed}")]
    NotServed {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is allowed.
        allowed: String,
        /// Why.
        reason: &'static str,
    },
    /// Two values contradict each other.
    #[error(
        "Invalid value {value} for configuration {key}: it must not exceed {other_key}, which is {other}"
    )]
    Conflict {
        /// The key.
        key: &'static str,
        /// Its value.
        value: i64,
        /// The other key.
        other_key: &'static str,
        /// The other's value.
        other: i64,
    },
    /// A value is missing.
    #[error("Configuration {0} needs a value")]
    Null(String),
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(key) => format!(" (did you mean {key}?)"),
        None => String::new(),
    }
}

impl ConfigError {
    /// Kafka's code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            ConfigError::Unknown { .. }
            | ConfigError::Value { .. }
            | ConfigError::NotServed { .. }
            | ConfigError::Conflict { .. }
            | ConfigError::Null(_) => ErrorCode::InvalidConfig,
        }
    }
}

impl ConfigKey {
    /// Parses a value and checks it against the table: type, range, and whether this broker serves it.
    ///
    /// # Errors
    /// [`ConfigError::Value`] where Kafka refuses it too, [`ConfigError::NotServed`] where only this broker does.
    pub fn parse_and_validate(&self, text: &str) -> Result<ConfigValue, ConfigError> {
        let value = self.parse(text)?;
        if let Effect::Only(served, reason) = &self.effect
            && !served
                .iter()
                .any(|only| self.parse(only).as_ref() == Ok(&value))
        {
            return Err(ConfigError::NotServed {
                key: self.name.to_owned(),
                value: shown(self.kind, text),
                allowed: match served.as_slice() {
                    [] => "leave it unset".to_owned(),
                    served => served
                        .iter()
                        .map(|only| if only.is_empty() { "(empty)" } else { *only })
                        .collect::<Vec<_>>()
                        .join(", "),
                },
                reason: reason.text(),
            });
        }
        Ok(value)
    }

    /// Parses a value and checks its type and range only.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn parse(&self, text: &str) -> Result<ConfigValue, ConfigError> {
        let trimmed = text.trim();
        let value = self.parse_type(trimmed);
        match value {
            Some(value) if self.in_range(&value) => Ok(value),
            _ => Err(ConfigError::Value {
                key: self.name.to_owned(),
                value: shown(self.kind, text),
                allowed: self.allowed(),
            }),
        }
    }

    pub(super) fn parse_type(&self, text: &str) -> Option<ConfigValue> {
        match self.kind {
            ConfigType::Boolean if text.eq_ignore_ascii_case("true") => {
                Some(ConfigValue::Boolean(true))
            }
            ConfigType::Boolean if text.eq_ignore_ascii_case("false") => {
                Some(ConfigValue::Boolean(false))
            }
            ConfigType::Boolean => None,
            ConfigType::Int => text
                .parse::<i32>()
                .ok()
                .map(|n| ConfigValue::Number(n.into())),
            ConfigType::Short => text
                .parse::<i16>()
                .ok()
                .map(|n| ConfigValue::Number(n.into())),
            ConfigType::Long => text.parse::<i64>().ok().map(ConfigValue::Number),
            ConfigType::Double => text
                .parse::<f64>()
                .ok()
                .filter(|n| !n.is_nan())
                .map(ConfigValue::Double),
            ConfigType::List => Some(ConfigValue::List(split_list(text))),
            ConfigType::String | ConfigType::Class | ConfigType::Password => {
                Some(ConfigValue::Text(text.to_owned()))
            }
        }
    }

    fn in_range(&self, value: &ConfigValue) -> bool {
        let texts: &[String] = match value {
            ConfigValue::List(elements) => elements,
            ConfigValue::Text(text) => std::slice::from_ref(text),
            _ => &[],
        };
        match (&self.valid, value) {
            (Valid::Any, _) => true,
            (Valid::AtLeast(low), ConfigValue::Number(number)) => low <= number,
            (Valid::AtLeast(low), ConfigValue::Double(number)) => *low as f64 <= *number,
            (Valid::Between(low, high), ConfigValue::Number(number)) => {
                (*low..=*high).contains(number)
            }
            (Valid::Fraction(low, high), ConfigValue::Double(number)) => {
                (*low..=*high).contains(number)
            }
            (Valid::GzipLevel, ConfigValue::Number(level)) => {
                *level == -1 || (1..=9).contains(level)
            }
            (Valid::OneOf(allowed), _) => texts.iter().all(|t| allowed.contains(&t.as_str())),
            (Valid::OneOfAnyCase(allowed), _) => texts
                .iter()
                .all(|t| allowed.iter().any(|a| a.eq_ignore_ascii_case(t))),
            (Valid::NonEmpty, _) => !texts.is_empty() && texts.iter().all(|t| !t.is_empty()),
            (Valid::ThrottledReplicas, ConfigValue::List(elements)) => {
                elements.as_slice() == ["*"] || elements.iter().all(|e| is_partition_and_broker(e))
            }
            (valid, value) => unreachable!("{}: {valid:?} cannot judge {value:?}", self.name),
        }
    }

    /// What is allowed, in words for an error message.
    pub fn allowed(&self) -> String {
        let kind = match self.kind {
            ConfigType::Boolean => "true or false",
            ConfigType::Int => "a 32-bit number",
            ConfigType::Short => "a 16-bit number",
            ConfigType::Long => "a 64-bit number",
            ConfigType::Double => "a number",
            ConfigType::List => "a list with commas",
            ConfigType::String | ConfigType::Class | ConfigType::Password => "text",
        };
        match &self.valid {
            Valid::Any => format!("must be {kind}"),
            Valid::AtLeast(low) => format!("must be {kind}, at least {low}"),
            Valid::Between(low, high) => format!("must be {kind} from {low} to {high}"),
            Valid::Fraction(low, high) => format!("must be {kind} from {low} to {high}"),
            Valid::GzipLevel => "must be a number from 1 to 9, or -1".to_owned(),
            Valid::OneOf(allowed) | Valid::OneOfAnyCase(allowed)
                if self.kind == ConfigType::List =>
            {
                format!("must be a list of: {}", allowed.join(", "))
            }
            Valid::OneOf(allowed) | Valid::OneOfAnyCase(allowed) => {
                format!("must be one of: {}", allowed.join(", "))
            }
            Valid::NonEmpty => format!("must be {kind}, not empty"),
            Valid::ThrottledReplicas => {
                "must be * or a list of partition:broker with commas".to_owned()
            }
        }
    }
}

/// A value as it may stand in a message: secrets are hidden.
fn shown(kind: ConfigType, text: &str) -> String {
    match kind {
        ConfigType::Password => "[hidden]".to_owned(),
        _ => text.to_owned(),
    }
}

fn is_partition_and_broker(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    matches!(text.split_once(':'), Some((partition, broker)) if is_number(partition) && is_number(broker))
}

/// The elements of a list value, trimmed; empty ones are left out.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The list `current` with the elements of `added` at its end, those it has already left out.
pub(crate) fn append_list(current: &str, added: &str) -> String {
    let mut elements = split_list(current);
    for element in split_list(added) {
        if !elements.contains(&element) {
            elements.push(element);
        }
    }
    elements.join(",")
}

/// The list `current` without the elements of `removed`.
pub(crate) fn subtract_list(current: &str, removed: &str) -> String {
    let removed = split_list(removed);
    let mut elements = split_list(current);
    elements.retain(|element| !removed.contains(element));
    elements.join(",")
}

/// What `cleanup.policy` asks for; neither means to keep everything (KIP-1187).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanupPolicy {
    /// Old segments are deleted by retention.
    pub delete: bool,
    /// Only the last record of each key must stay; keys are required.
    pub compact: bool,
}

/// What `compression.type` asks for, with the codec's level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// As the producer sent it.
    Producer,
    /// None.
    Uncompressed,
    /// gzip; -1 is the codec's own default level.
    Gzip(i32),
    /// Snappy.
    Snappy,
    /// LZ4 frames.
    Lz4(i32),
    /// Zstandard.
    Zstd(i32),
}

/// Which timestamp a topic's records carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's at append.
    LogAppendTime,
}

/// The key among `keys` that was probably meant by `wrong`: the nearest by edits, if near enough to be a slip.
pub fn nearest<'a>(wrong: &str, keys: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wrong.chars().count() / 4).clamp(1, 6);
    keys.map(|key| (edit_distance(wrong, key), key))
        .min()
        .filter(|&(distance, _)| distance <= limit)
        .map(|(_, key)| key)
}

/// Insertions, deletions and replacements of a character between two texts (Levenshtein).
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (left, right, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("retention.ms", "retention.ms", 0),
        ] {
            assert_eq!(edit_distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn lists_change_by_element() {
        assert_eq!(append_list("delete", "compact"), "delete,compact");
        assert_eq!(append_list("delete,compact", "compact"), "delete,compact");
        assert_eq!(append_list("", "a, b"), "a,b");
        assert_eq!(subtract_list("delete,compact", "delete"), "compact");
        assert_eq!(subtract_list("0:1,1:1", "0:1,1:1"), "");
        assert_eq!(subtract_list("compact", "delete"), "compact");
    }
}
