//! Our notation of Kafka's message schemas: facts, one line each, nested by indentation.
//!
//! ```text
//! api 1 Fetch
//! listeners broker controller
//!
//! request FetchRequest 4-18 flexible 12+
//!   MaxWaitMs int32 0+
//!   Topics []FetchTopic 0+
//!     TopicId uuid 13+ ignorable
//!   ClusterId string 12+ nullable=12+ tag=0 default=null ignorable
//! ```
//!
//! A field's line is its name, type and versions, then what applies of `nullable=VERSIONS`, `tag=N` (the
//! field is tagged in all its versions), `default=VALUE`, `ignorable`, `key` (of a map), `inflexible` (old
//! encoding even in flexible versions). `struct Name VERSIONS` defines a structure that several fields use.
//! `unstable` after the versions of a message says that its latest version is not final.

use std::fmt;
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};

/// An inclusive range of versions, possibly empty or without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// First version.
    pub lowest: i16,
    /// Last version; `i16::MAX` is "and later", less than `lowest` is "none".
    pub highest: i16,
}

impl Versions {
    /// No version.
    pub const NONE: Versions = Versions {
        lowest: 0,
        highest: -1,
    };

    /// Reads `none`, `3`, `3-5` or `3+`.
    pub fn parse(text: &str) -> Result<Versions> {
        let number = |text: &str| {
            text.parse::<i16>()
                .with_context(|| format!("version {text:?}"))
        };
        if text == "none" {
            return Ok(Versions::NONE);
        }
        if let Some(lowest) = text.strip_suffix('+') {
            return Ok(Versions {
                lowest: number(lowest)?,
                highest: i16::MAX,
            });
        }
        let (lowest, highest) = text.split_once('-').unwrap_or((text, text));
        let versions = Versions {
            lowest: number(lowest)?,
            highest: number(highest)?,
        };
        ensure!(
            versions.lowest <= versions.highest,
            "versions {text:?} run backwards"
        );
        Ok(versions)
    }

    /// Whether there is no version.
    pub fn is_empty(self) -> bool {
        self.highest < self.lowest
    }

    /// Whether `version` is one.
    pub fn contains(self, version: i16) -> bool {
        self.lowest <= version && version <= self.highest
    }

    /// Versions in both.
    pub fn and(self, other: Versions) -> Versions {
        let both = Versions {
            lowest: self.lowest.max(other.lowest),
            highest: self.highest.min(other.highest),
        };
        if both.is_empty() {
            Versions::NONE
        } else {
            both
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            versions if versions.is_empty() => f.write_str("none"),
            Versions {
                lowest,
                highest: i16::MAX,
            } => write!(f, "{lowest}+"),
            Versions { lowest, highest } if lowest == highest => write!(f, "{lowest}"),
            Versions { lowest, highest } => write!(f, "{lowest}-{highest}"),
        }
    }
}

/// What a message is for; decides where its Rust goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asks something of a node.
    Request,
    /// Answers.
    Response,
    /// Before every request or response.
    Header,
    /// Without a key: control records, consumer protocol, files.
    Data,
    /// Record of `__cluster_metadata`.
    Metadata,
    /// Key of a record of `__consumer_offsets`.
    GroupKey,
    /// Value of a record of `__consumer_offsets`.
    GroupValue,
    /// Key of a record of `__transaction_state`.
    TransactionKey,
    /// Value of a record of `__transaction_state`.
    TransactionValue,
    /// Key of a record of `__share_group_state`.
    ShareKey,
    /// Value of a record of `__share_group_state`.
    ShareValue,
    /// Record of `__remote_log_metadata`.
    RemoteLog,
}

impl Role {
    const WORDS: [(Role, &str); 12] = [
        (Role::Request, "request"),
        (Role::Response, "response"),
        (Role::Header, "header"),
        (Role::Data, "data"),
        (Role::Metadata, "metadata"),
        (Role::GroupKey, "group-key"),
        (Role::GroupValue, "group-value"),
        (Role::TransactionKey, "transaction-key"),
        (Role::TransactionValue, "transaction-value"),
        (Role::ShareKey, "share-key"),
        (Role::ShareValue, "share-value"),
        (Role::RemoteLog, "remote-log"),
    ];

    fn word(self) -> &'static str {
        Role::WORDS
            .iter()
            .find(|pair| pair.0 == self)
            .expect("every role has a word")
            .1
    }

    fn of_word(word: &str) -> Option<Role> {
        Role::WORDS
            .iter()
            .find(|pair| pair.1 == word)
            .map(|pair| pair.0)
    }

    /// Whether the message belongs to `messages` rather than `stored`.
    pub fn is_on_the_wire(self) -> bool {
        matches!(self, Role::Request | Role::Response | Role::Header)
    }
}

/// A file: an API with request and response, or a single message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The API, if it is one.
    pub api: Option<Api>,
    /// Its messages.
    pub messages: Vec<Message>,
}

/// An API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Key on the wire.
    pub key: i16,
    /// Name, such as `Fetch`.
    pub name: String,
    /// Kinds of listener that serve it.
    pub listeners: Vec<String>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub role: Role,
    /// The record's key, for stored records that have one.
    pub key: Option<i16>,
    /// Its name.
    pub name: String,
    /// Its versions.
    pub valid: Versions,
    /// Versions with tagged fields and compact lengths.
    pub flexible: Versions,
    /// Whether the latest version is not final.
    pub is_unstable: bool,
    /// Structures that several fields use.
    pub structs: Vec<Struct>,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// A structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struct {
    /// Its name.
    pub name: String,
    /// Versions in which it occurs.
    pub versions: Versions,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type in Kafka's words: `int32`, `[]string`, `FetchTopic`.
    pub kind: String,
    /// Versions that have it.
    pub versions: Versions,
    /// Versions in which it may be null.
    pub nullable: Versions,
    /// Its tag, if it is tagged.
    pub tag: Option<u32>,
    /// Its default, if not the type's.
    pub default: Option<String>,
    /// Whether it may be dropped silently from a version that lacks it.
    pub is_ignorable: bool,
    /// Whether it is part of the key when Kafka holds the array as a map.
    pub is_map_key: bool,
    /// Whether it keeps the old encoding in flexible versions.
    pub is_inflexible: bool,
    /// The fields of its structure, if it defines one.
    pub fields: Vec<Field>,
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(api) = &self.api {
            writeln!(f, "api {} {}", api.key, api.name)?;
            writeln!(f, "listeners {}", api.listeners.join(" "))?;
        }
        for (index, message) in self.messages.iter().enumerate() {
            if index > 0 || self.api.is_some() {
                writeln!(f)?;
            }
            write!(f, "{}", message.role.word())?;
            if let Some(key) = message.key {
                write!(f, " {key}")?;
            }
            write!(
                f,
                " {} {} flexible {}",
                message.name, message.valid, message.flexible
            )?;
            writeln!(f, "{}", if message.is_unstable { " unstable" } else { "" })?;
            for part in &message.structs {
                writeln!(f, "  struct {} {}", part.name, part.versions)?;
                write_fields(f, &part.fields, 2)?;
            }
            write_fields(f, &message.fields, 1)?;
        }
        Ok(())
    }
}

fn write_fields(f: &mut fmt::Formatter<'_>, fields: &[Field], depth: usize) -> fmt::Result {
    for field in fields {
        let mut line = format!("{} {} {}", field.name, field.kind, field.versions);
        if !field.nullable.is_empty() {
            write!(line, " nullable={}", field.nullable)?;
        }
        if let Some(tag) = field.tag {
            write!(line, " tag={tag}")?;
        }
        if let Some(default) = &field.default {
            write!(line, " default={default}")?;
        }
        for (is_set, word) in [
            (field.is_ignorable, " ignorable"),
            (field.is_map_key, " key"),
            (field.is_inflexible, " inflexible"),
        ] {
            line.push_str(if is_set { word } else { "" });
        }
        writeln!(f, "{:width$}{line}", "", width = depth * 2)?;
        write_fields(f, &field.fields, depth + 1)?;
    }
    Ok(())
}

impl Schema {
    /// Reads a file of the notation.
    pub fn parse(text: &str) -> Result<Schema> {
        let mut schema = Schema {
            api: None,
            messages: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            schema
                .line(line)
                .with_context(|| format!("line {}: {line:?}", index + 1))?;
        }
        ensure!(!schema.messages.is_empty(), "no message");
        Ok(schema)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let indent = line.len() - line.trim_start().len();
        match (indent, words.as_slice()) {
            (_, []) => {}
            (0, ["api", key, name]) => {
                let api = Api {
                    key: key.parse()?,
                    name: (*name).to_owned(),
                    listeners: vec![],
                };
                self.api = Some(api);
            }
            (0, ["listeners", names @ ..]) => {
                let api = self.api.as_mut().context("listeners before the api")?;
                api.listeners = names.iter().map(|name| (*name).to_owned()).collect();
            }
            (0, [role, words @ ..]) => {
                let role = Role::of_word(role).with_context(|| format!("unknown word {role:?}"))?;
                self.messages.push(Message::heading(role, words)?);
            }
            (_, words) => {
                ensure!(
                    indent.is_multiple_of(2),
                    "indentation is two spaces a level"
                );
                let message = self
                    .messages
                    .last_mut()
                    .context("a field before any message")?;
                message.line(indent / 2, words)?;
            }
        }
        Ok(())
    }
}

impl Message {
    fn heading(role: Role, words: &[&str]) -> Result<Message> {
        let (key, words) = match words {
            [key, rest @ ..] if key.parse::<i16>().is_ok() => (Some(key.parse()?), rest),
            words => (None, words),
        };
        let (words, is_unstable) = match words {
            [words @ .., "unstable"] => (words, true),
            words => (words, false),
        };
        let [name, valid, "flexible", flexible] = words else {
            bail!("want NAME VERSIONS flexible VERSIONS");
        };
        Ok(Message {
            role,
            key,
            name: (*name).to_owned(),
            valid: Versions::parse(valid)?,
            flexible: Versions::parse(flexible)?,
            is_unstable,
            structs: Vec::new(),
            fields: Vec::new(),
        })
    }

    fn line(&mut self, depth: usize, words: &[&str]) -> Result<()> {
        if let ["struct", name, versions] = words {
            ensure!(
                depth == 1 && self.fields.is_empty(),
                "structures come first in a message"
            );
            let versions = Versions::parse(versions)?;
            self.structs.push(Struct {
                name: (*name).to_owned(),
                versions,
                fields: Vec::new(),
            });
            return Ok(());
        }
        let (mut fields, levels) = match self.structs.last_mut() {
            Some(part) if self.fields.is_empty() && depth > 1 => (&mut part.fields, depth - 2),
            _ => (&mut self.fields, depth - 1),
        };
        for _ in 0..levels {
            fields = &mut fields.last_mut().context("indented too far")?.fields;
        }
        fields.push(Field::parse(words)?);
        Ok(())
    }
}

impl Field {
    fn parse(words: &[&str]) -> Result<Field> {
        let [name, kind, versions, attributes @ ..] = words else {
            bail!("want NAME TYPE VERSIONS");
        };
        let mut field = Field {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            versions: Versions::parse(versions)?,
            nullable: Versions::NONE,
            tag: None,
            default: None,
            is_ignorable: false,
            is_map_key: false,
            is_inflexible: false,
            fields: Vec::new(),
        };
        for attribute in attributes {
            match attribute.split_once('=').unwrap_or((attribute, "")) {
                ("nullable", versions) => field.nullable = Versions::parse(versions)?,
                ("tag", tag) => field.tag = Some(tag.parse()?),
                ("default", value) => field.default = Some(value.to_owned()),
                ("ignorable", "") => field.is_ignorable = true,
                ("key", "") => field.is_map_key = true,
                ("inflexible", "") => field.is_inflexible = true,
                _ => bail!("unknown attribute {attribute:?}"),
            }
        }
        Ok(field)
    }
}

/// Kafka's `CamelCase` or `camelCase` as `snake_case`; `KRaft` is one word.
pub fn snake_case(name: &str) -> String {
    let name: Vec<char> = name.replace("KRaft", "Kraft").chars().collect();
    let mut snake = String::new();
    for (index, letter) in name.iter().enumerate() {
        let follows_lower = index > 0 && !name[index - 1].is_uppercase();
        let precedes_lower = name.get(index + 1).is_some_and(|next| next.is_lowercase());
        if index > 0 && letter.is_uppercase() && (follows_lower || precedes_lower) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_snake_case() {
        for (name, want) in [
            ("V3AndBelowTopics", "v3_and_below_topics"),
            ("groupId", "group_id"),
            ("FinalizedKRaftVersion", "finalized_kraft_version"),
            ("TxnIDs", "txn_i_ds"),
            ("HWMark", "hw_mark"),
        ] {
            assert_eq!(snake_case(name), want);
        }
    }

    #[test]
    fn a_schema_is_read_as_it_was_written() {
        let text = "api 1 Fetch\nlisteners broker controller\n\nrequest FetchRequest 4-18 flexible 12+ unstable\n  \
                    struct Shared 5+\n    A int32 5+ key\n      B string 6 default=x\n  Topics []Topic 0+\n    \
                    Id uuid 13+ ignorable\n  ClusterId string 12+ nullable=12+ tag=0 default=null inflexible\n";
        assert_eq!(Schema::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "api x Fetch",
            "listeners broker",
            "  A int32 0+",
            "request R 0",
            "request R 0-x flexible none",
            "request R 3-1 flexible none",
            "request R 0 flexible none\n   A int32 0+",
            "request R 0 flexible none\n  A int32",
            "request R 0 flexible none\n  A int32 0+ strange",
            "request R 0 flexible none\n      A int32 0+",
            "something R 0 flexible none",
        ] {
            assert!(Schema::parse(text).is_err(), "{text}");
        }
    }
}
