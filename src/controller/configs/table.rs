//! The keys: names, types, defaults, valid values, and what this broker does with each.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Type of a config's value, as DescribeConfigs numbers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32-bit number.
    Int,
    /// 16-bit number.
    Short,
    /// 64-bit number.
    Long,
    /// Floating-point number.
    Double,
    /// Texts with commas between them.
    List,
    /// Name of a Java class.
    Class,
    /// A secret, never shown.
    Password,
}

impl ConfigType {
    /// The number on the wire (DescribeConfigs 3+).
    pub const fn code(self) -> i8 {
        match self {
            ConfigType::Boolean => 1,
            ConfigType::String => 2,
            ConfigType::Int => 3,
            ConfigType::Short => 4,
            ConfigType::Long => 5,
            ConfigType::Double => 6,
            ConfigType::List => 7,
            ConfigType::Class => 8,
            ConfigType::Password => 9,
        }
    }

    /// Kafka's name, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::String => "STRING",
            ConfigType::Int => "INT",
            ConfigType::Short => "SHORT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::List => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }
}

/// Which values of its type a key may have.
#[derive(Clone, PartialEq, Debug)]
pub enum Valid {
    /// Any.
    Any,
    /// Numbers from this on.
    AtLeast(i64),
    /// Numbers from the first to the second.
    Between(i64, i64),
    /// Fractions from the first to the second.
    Fraction(f64, f64),
    /// One of these texts; for a list, each element.
    OneOf(Vec<&'static str>),
    /// One of these texts in any case.
    OneOfAnyCase(Vec<&'static str>),
    /// Any text but the empty one.
    NonEmpty,
    /// A gzip level: 1 to 9, or -1 for the codec's own default.
    GzipLevel,
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
}

/// When a broker config may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateMode {
    /// Only by a restart.
    ReadOnly,
    /// At any time, for one broker.
    PerBroker,
    /// At any time, for one broker or for all.
    ClusterWide,
}

/// Why it is safe not to act upon a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// It tunes threads, buffers or classes of Kafka's own program.
    Java,
    /// It matters only on TLS or SASL listeners, which are refused.
    Security,
    /// It matters only between several brokers.
    Single,
    /// It matters only among several controllers.
    Quorum,
    /// It matters only with tiered storage, which cannot be switched on.
    Tiered,
    /// Nothing is compacted yet: more is kept than asked for.
    Compaction,
    /// It matters only to group protocols that are not offered.
    Groups,
    /// It matters only to transactions, which are not offered.
    Transactions,
    /// It matters only to quotas, which are not enforced.
    Quota,
    /// It paces background work that is driven by events here.
    Pacing,
    /// Ignoring it keeps more data or refuses more than asked.
    Safer,
    /// It would forbid, protect or transform something, and that is not done here.
    Unserved,
}

impl Reason {
    /// The reason as half a sentence.
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Java => "it tunes parts of Kafka's own program that do not exist here",
            Reason::Security => "it matters only on TLS or SASL listeners, which are refused",
            Reason::Single => "it matters only between several brokers",
            Reason::Quorum => "it matters only among several controllers",
            Reason::Tiered => "it matters only with tiered storage, which is not offered",
            Reason::Compaction => "nothing is compacted yet, so more is kept than asked for",
            Reason::Groups => "it matters only to group protocols that are not offered",
            Reason::Transactions => "it matters only to transactions, which are not offered yet",
            Reason::Quota => "it matters only to quotas, which are not enforced yet",
            Reason::Pacing => "it paces background work that is driven by events here",
            Reason::Safer => "ignoring it keeps more data or refuses more than asked",
            Reason::Unserved => "what it asks for is not done here",
        }
    }

    fn from_word(word: &str) -> Option<Reason> {
        Some(match word {
            "java" => Reason::Java,
            "security" => Reason::Security,
            "single" => Reason::Single,
            "quorum" => Reason::Quorum,
            "tiered" => Reason::Tiered,
            "compaction" => Reason::Compaction,
            "groups" => Reason::Groups,
            "transactions" => Reason::Transactions,
            "quota" => Reason::Quota,
            "pacing" => Reason::Pacing,
            "safer" => Reason::Safer,
            "unserved" => Reason::Unserved,
            _ => return None,
        })
    }
}

/// What this broker does with a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The value is honoured.
    Acted,
    /// Any valid value is taken and shown, and nothing is done: that keeps at least as much data and safety as asked.
    Accepted(Reason),
    /// Only these values are taken (none listed: the key may only stay unset): anything else would be less than asked.
    Only(Vec<&'static str>, Reason),
}

/// What a broker key's number counts, where a topic key of milliseconds takes its default from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// As it stands.
    Same,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

impl Unit {
    /// Milliseconds in one.
    pub const fn factor(self) -> i64 {
        match self {
            Unit::Same => 1,
            Unit::Minutes => 60_000,
            Unit::Hours => 3_600_000,
        }
    }
}

/// One key.
#[derive(Clone, PartialEq, Debug)]
pub struct ConfigKey {
    /// Its name.
    pub name: &'static str,
    /// Type of its value.
    pub kind: ConfigType,
    /// Its default; `None` is null.
    pub default: Option<&'static str>,
    /// Whether it must be given (then it has no default).
    pub required: bool,
    /// Valid values.
    pub valid: Valid,
    /// When it may change (broker keys; topic keys always may).
    pub update: UpdateMode,
    /// What is done with it.
    pub effect: Effect,
    /// Not shown unless it is set.
    pub internal: bool,
    /// What it means, in one sentence.
    pub doc: &'static str,
    /// Topic keys: the broker keys that give its default, the strongest first.
    pub synonyms: Vec<(&'static str, Unit)>,
}

/// The topic keys, by name.
pub fn topic_keys() -> &'static BTreeMap<&'static str, ConfigKey> {
    static KEYS: OnceLock<BTreeMap<&'static str, ConfigKey>> = OnceLock::new();
    KEYS.get_or_init(|| parse(include_str!("topic.keys")))
}

/// The broker keys, by name.
pub fn broker_keys() -> &'static BTreeMap<&'static str, ConfigKey> {
    static KEYS: OnceLock<BTreeMap<&'static str, ConfigKey>> = OnceLock::new();
    KEYS.get_or_init(|| parse(include_str!("broker.keys")))
}

/// Reads a table: one key a line, fields with ` | ` between them:
/// name, type, default, valid values, update mode, effect, synonyms, meaning.
///
/// # Panics
/// If the table, which is part of the program, is malformed.
fn parse(text: &'static str) -> BTreeMap<&'static str, ConfigKey> {
    let mut keys = BTreeMap::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = parse_line(line);
        let name = key.name;
        assert!(keys.insert(name, key).is_none(), "config {name} twice");
    }
    keys
}

fn parse_line(line: &'static str) -> ConfigKey {
    let fields: Vec<&'static str> = line.split(" | ").map(str::trim).collect();
    let &[name, kind, default, valid, update, effect, synonyms, doc] = fields.as_slice() else {
        panic!("a config line has 8 fields: {line}");
    };
    let (update, internal) = match update.strip_suffix(" internal") {
        Some(update) => (update, true),
        None => (update, false),
    };
    ConfigKey {
        name,
        kind: parse_kind(kind),
        default: match default {
            "<null>" | "<none>" => None,
            "<empty>" => Some(""),
            text => Some(text),
        },
        required: default == "<none>",
        valid: parse_valid(valid),
        update: match update {
            "read-only" => UpdateMode::ReadOnly,
            "per-broker" => UpdateMode::PerBroker,
            "cluster-wide" => UpdateMode::ClusterWide,
            other => panic!("{name}: update mode {other}"),
        },
        effect: parse_effect(effect),
        internal,
        doc,
        synonyms: synonyms
            .split_whitespace()
            .filter(|&word| word != "-")
            .map(parse_synonym)
            .collect(),
    }
}

fn parse_kind(word: &str) -> ConfigType {
    match word {
        "BOOLEAN" => ConfigType::Boolean,
        "STRING" => ConfigType::String,
        "INT" => ConfigType::Int,
        "SHORT" => ConfigType::Short,
        "LONG" => ConfigType::Long,
        "DOUBLE" => ConfigType::Double,
        "LIST" => ConfigType::List,
        "CLASS" => ConfigType::Class,
        "PASSWORD" => ConfigType::Password,
        other => panic!("config type {other}"),
    }
}

fn parse_valid(text: &'static str) -> Valid {
    let words = |list: &'static str| list.split(' ').collect();
    match text.split_once(' ').unwrap_or((text, "")) {
        ("any", _) => Valid::Any,
        ("non-empty", _) => Valid::NonEmpty,
        ("gzip-level", _) => Valid::GzipLevel,
        ("throttled-replicas", _) => Valid::ThrottledReplicas,
        ("one-of", list) => Valid::OneOf(words(list)),
        ("one-of-any-case", list) => Valid::OneOfAnyCase(words(list)),
        ("fraction", range) => {
            let (low, high) = range.split_once("..").expect("a fraction has two ends");
            let number = |text: &str| text.parse().expect("an end of a fraction is a number");
            Valid::Fraction(number(low), number(high))
        }
        (range, "") => {
            let (low, high) = range.split_once("..").expect("a range has two dots");
            let number = |text: &str| text.parse().expect("an end of a range is a number");
            if high.is_empty() {
                Valid::AtLeast(number(low))
            } else {
                Valid::Between(number(low), number(high))
            }
        }
        other => panic!("valid values {other:?}"),
    }
}

fn parse_effect(text: &'static str) -> Effect {
    let reason = |word: &str| Reason::from_word(word).unwrap_or_else(|| panic!("reason {word}"));
    let words: Vec<&'static str> = text.split(' ').collect();
    match words.as_slice() {
        ["acted"] => Effect::Acted,
        ["accepted", why] => Effect::Accepted(reason(why)),
        ["only", why, values @ ..] => Effect::Only(
            values
                .iter()
                .map(|&v| if v == "<empty>" { "" } else { v })
                .collect(),
            reason(why),
        ),
        other => panic!("effect {other:?}"),
    }
}

fn parse_synonym(word: &'static str) -> (&'static str, Unit) {
    match word.split_once('*') {
        None => (word, Unit::Same),
        Some((name, "minutes")) => (name, Unit::Minutes),
        Some((name, "hours")) => (name, Unit::Hours),
        Some((_, unit)) => panic!("unit {unit}"),
    }
}
