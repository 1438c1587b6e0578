//! What clients do, as lines of text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One thing that a client does. As text: its name, then its values, by spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `send TOPIC PARTITION RECORDS BYTES`: sends so many records of that size, all at once, and waits for all.
    Send {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// How many.
        records: u32,
        /// Bytes of each value beyond its name.
        bytes: u32,
    },
    /// `poll MILLISECONDS`: reads once.
    Poll {
        /// Longest wait.
        wait_ms: u64,
    },
    /// `assign TOPIC:PARTITION ..`: reads these from their beginning or where they were.
    Assign(Vec<(String, i32)>),
    /// `subscribe TOPIC ..`: joins its group for these topics.
    Subscribe(Vec<String>),
    /// `seek TOPIC PARTITION beginning|end|OFFSET`
    Seek {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where to.
        to: SeekTo,
    },
    /// `commit`: commits what was read.
    Commit,
    /// `committed`: asks for the group's offsets of everything that it may read.
    Committed,
    /// `commit-for GROUP TOPIC PARTITION OFFSET`: commits for a group without being its member.
    CommitFor {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What is committed.
        offset: i64,
    },
    /// `delete-group GROUP`: deletes it, which is refused while it has members, and asks what it has then.
    DeleteGroup(String),
    /// `leave`: leaves the group; the next `subscribe` joins anew.
    Leave,
    /// `offsets TOPIC PARTITION earliest|latest|max-timestamp|MILLISECONDS-AGO`
    Offsets {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Which.
        at: TimeSpec,
    },
    /// `create-topic TOPIC PARTITIONS [KEY=VALUE ..]`
    CreateTopic {
        /// The topic.
        topic: String,
        /// How many partitions.
        partitions: i32,
        /// Its configuration.
        configs: Vec<(String, String)>,
    },
    /// `delete-topic TOPIC`
    DeleteTopic(String),
    /// `add-partitions TOPIC MORE`
    AddPartitions {
        /// The topic.
        topic: String,
        /// How many more.
        more: i32,
    },
    /// `delete-records TOPIC PARTITION PERCENT`: of what lies between log start and end.
    DeleteRecords {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// How much, 0 to 100.
        percent: u8,
    },
    /// `alter-config TOPIC KEY=VALUE`: an empty value deletes it.
    AlterConfig {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// `crash`: the client's process ends without a word, another begins under a new identity.
    Crash,
    /// `stall MILLISECONDS`: the client's process stands still.
    Stall {
        /// How long.
        millis: u64,
    },
    /// `malformed SEED`: sends a damaged frame, and waits for what comes back.
    Malformed {
        /// What the damage is drawn from.
        seed: u64,
    },
    /// `abandon BYTES`: announces a frame, sends so many bytes of it, and goes away.
    Abandon {
        /// How many.
        bytes: u32,
    },
    /// `idle-reader RECORDS`: asks for much and reads nothing of the answer for a while.
    Deaf {
        /// How long, in milliseconds.
        millis: u64,
    },
}

/// Where a reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// The log's start.
    Beginning,
    /// The high watermark.
    End,
    /// An offset.
    Offset(i64),
}

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSpec {
    /// The log's start.
    Earliest,
    /// The high watermark.
    Latest,
    /// That of the largest timestamp.
    MaxTimestamp,
    /// The first at or after a moment, in milliseconds before now.
    Ago(u64),
}

/// An operation at its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, in simulated milliseconds since the workload's beginning; later, if what is before takes longer.
    pub at_ms: u64,
    /// What.
    pub operation: Operation,
}

/// Why a line is no operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{line}`: {reason}")]
pub struct OperationError {
    line: String,
    reason: String,
}

impl fmt::Display for SeekTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeekTo::Beginning => f.write_str("beginning"),
            SeekTo::End => f.write_str("end"),
            SeekTo::Offset(offset) => write!(f, "{offset}"),
        }
    }
}

impl fmt::Display for TimeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeSpec::Earliest => f.write_str("earliest"),
            TimeSpec::Latest => f.write_str("latest"),
            TimeSpec::MaxTimestamp => f.write_str("max-timestamp"),
            TimeSpec::Ago(millis) => write!(f, "{millis}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Send {
                topic,
                partition,
                records,
                bytes,
            } => {
                write!(f, "send {topic} {partition} {records} {bytes}")
            }
            Operation::Poll { wait_ms } => write!(f, "poll {wait_ms}"),
            Operation::Assign(partitions) => {
                f.write_str("assign")?;
                partitions
                    .iter()
                    .try_for_each(|(topic, partition)| write!(f, " {topic}:{partition}"))
            }
            Operation::Subscribe(topics) => write!(f, "subscribe {}", topics.join(" ")),
            Operation::Seek {
                topic,
                partition,
                to,
            } => write!(f, "seek {topic} {partition} {to}"),
            Operation::Commit => f.write_str("commit"),
            Operation::Committed => f.write_str("committed"),
            Operation::CommitFor {
                group,
                topic,
                partition,
                offset,
            } => write!(f, "commit-for {group} {topic} {partition} {offset}"),
            Operation::Leave => f.write_str("leave"),
            Operation::Offsets {
                topic,
                partition,
                at,
            } => {
                write!(f, "offsets {topic} {partition} {at}")
            }
            Operation::CreateTopic {
                topic,
                partitions,
                configs,
            } => {
                write!(f, "create-topic {topic} {partitions}")?;
                configs
                    .iter()
                    .try_for_each(|(key, value)| write!(f, " {key}={value}"))
            }
            Operation::DeleteTopic(topic) => write!(f, "delete-topic {topic}"),
            Operation::DeleteGroup(group) => write!(f, "delete-group {group}"),
            Operation::AddPartitions { topic, more } => write!(f, "add-partitions {topic} {more}"),
            Operation::DeleteRecords {
                topic,
                partition,
                percent,
            } => {
                write!(f, "delete-records {topic} {partition} {percent}")
            }
            Operation::AlterConfig { topic, key, value } => {
                write!(f, "alter-config {topic} {key}={value}")
            }
            Operation::Crash => f.write_str("crash"),
            Operation::Stall { millis } => write!(f, "stall {millis}"),
            Operation::Malformed { seed } => write!(f, "malformed {seed}"),
            Operation::Abandon { bytes } => write!(f, "abandon {bytes}"),
            Operation::Deaf { millis } => write!(f, "deaf {millis}"),
        }
    }
}

/// The words of a line, taken one after the other.
struct Words<'a> {
    line: &'a str,
    rest: std::str::SplitWhitespace<'a>,
}

impl<'a> Words<'a> {
    fn wrong(&self, reason: impl Into<String>) -> OperationError {
        OperationError {
            line: self.line.to_owned(),
            reason: reason.into(),
        }
    }

    fn word(&mut self, what: &str) -> Result<&'a str, OperationError> {
        self.rest
            .next()
            .ok_or_else(|| self.wrong(format!("{what} is missing")))
    }

    fn number<T: FromStr>(&mut self, what: &str) -> Result<T, OperationError> {
        let word = self.word(what)?;
        word.parse()
            .map_err(|_| self.wrong(format!("{what}: `{word}` is no such number")))
    }

    fn topic(&mut self) -> Result<String, OperationError> {
        self.word("topic").map(str::to_owned)
    }

    fn pair(&self, word: &str) -> Result<(String, String), OperationError> {
        word.split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .ok_or_else(|| self.wrong(format!("`{word}` is not KEY=VALUE")))
    }

    fn placed(&self, word: &str) -> Result<(String, i32), OperationError> {
        word.split_once(':')
            .and_then(|(topic, partition)| Some((topic.to_owned(), partition.parse().ok()?)))
            .ok_or_else(|| self.wrong(format!("`{word}` is not TOPIC:PARTITION")))
    }

    fn end(&mut self) -> Result<(), OperationError> {
        match self.rest.next() {
            None => Ok(()),
            Some(word) => Err(self.wrong(format!("`{word}` is too much"))),
        }
    }
}

impl FromStr for Operation {
    type Err = OperationError;

    fn from_str(line: &str) -> Result<Operation, OperationError> {
        let mut words = Words {
            line,
            rest: line.split_whitespace(),
        };
        let operation = parse(&mut words)?;
        words.end()?;
        Ok(operation)
    }
}

fn parse(words: &mut Words<'_>) -> Result<Operation, OperationError> {
    Ok(match words.word("the operation")? {
        "send" => Operation::Send {
            topic: words.topic()?,
            partition: words.number("partition")?,
            records: words.number("records")?,
            bytes: words.number("bytes")?,
        },
        "poll" => Operation::Poll {
            wait_ms: words.number("milliseconds")?,
        },
        "assign" => {
            let rest: Vec<&str> = words.rest.by_ref().collect();
            let placed = rest.into_iter().map(|word| words.placed(word));
            Operation::Assign(placed.collect::<Result<_, _>>()?)
        }
        "subscribe" => Operation::Subscribe(words.rest.by_ref().map(str::to_owned).collect()),
        "seek" => Operation::Seek {
            topic: words.topic()?,
            partition: words.number("partition")?,
            to: match words.word("where to")? {
                "beginning" => SeekTo::Beginning,
                "end" => SeekTo::End,
                word => SeekTo::Offset(
                    word.parse()
                        .map_err(|_| words.wrong(format!("`{word}` is no offset")))?,
                ),
            },
        },
        "commit" => Operation::Commit,
        "committed" => Operation::Committed,
        "commit-for" => Operation::CommitFor {
            group: words.word("group")?.to_owned(),
            topic: words.topic()?,
            partition: words.number("partition")?,
            offset: words.number("offset")?,
        },
        "leave" => Operation::Leave,
        "crash" => Operation::Crash,
        "stall" => Operation::Stall {
            millis: words.number("milliseconds")?,
        },
        "malformed" => Operation::Malformed {
            seed: words.number("seed")?,
        },
        "abandon" => Operation::Abandon {
            bytes: words.number("bytes")?,
        },
        "deaf" => Operation::Deaf {
            millis: words.number("milliseconds")?,
        },
        other => parse_admin(other, words)?,
    })
}

fn parse_admin(name: &str, words: &mut Words<'_>) -> Result<Operation, OperationError> {
    Ok(match name {
        "offsets" => Operation::Offsets {
            topic: words.topic()?,
            partition: words.number("partition")?,
            at: match words.word("which offset")? {
                "earliest" => TimeSpec::Earliest,
                "latest" => TimeSpec::Latest,
                "max-timestamp" => TimeSpec::MaxTimestamp,
                word => TimeSpec::Ago(
                    word.parse()
                        .map_err(|_| words.wrong(format!("`{word}` is no time")))?,
                ),
            },
        },
        "create-topic" => {
            let (topic, partitions) = (words.topic()?, words.number("partitions")?);
            let rest: Vec<&str> = words.rest.by_ref().collect();
            let configs = rest.into_iter().map(|word| words.pair(word));
            Operation::CreateTopic {
                topic,
                partitions,
                configs: configs.collect::<Result<_, _>>()?,
            }
        }
        "delete-topic" => Operation::DeleteTopic(words.topic()?),
        "delete-group" => Operation::DeleteGroup(words.word("a group")?.to_owned()),
        "add-partitions" => Operation::AddPartitions {
            topic: words.topic()?,
            more: words.number("how many more")?,
        },
        "delete-records" => Operation::DeleteRecords {
            topic: words.topic()?,
            partition: words.number("partition")?,
            percent: words.number("percent")?,
        },
        "alter-config" => {
            let topic = words.topic()?;
            let word = words.word("KEY=VALUE")?;
            let (key, value) = words.pair(word)?;
            Operation::AlterConfig { topic, key, value }
        }
        other => return Err(words.wrong(format!("`{other}` is no operation"))),
    })
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at_ms, self.operation)
    }
}

impl FromStr for Step {
    type Err = OperationError;

    fn from_str(line: &str) -> Result<Step, OperationError> {
        let wrong = |reason: &str| OperationError {
            line: line.to_owned(),
            reason: reason.to_owned(),
        };
        let (at, rest) = line
            .trim()
            .split_once(' ')
            .ok_or_else(|| wrong("a step is `<millisecond> <operation>`"))?;
        Ok(Step {
            at_ms: at
                .parse()
                .map_err(|_| wrong("it begins with a millisecond"))?,
            operation: rest.parse()?,
        })
    }
}

impl Serialize for Step {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Step, D::Error> {
        let line = String::deserialize(deserializer)?;
        line.parse().map_err(serde::de::Error::custom)
    }
}
