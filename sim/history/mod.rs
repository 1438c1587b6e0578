//! What clients asked and were told, in the shape of Jepsen's histories.
//!
//! A history is a list of operations in the order in which they happened. Each operation appears twice: as
//! [`Stage::Invoke`] when a client starts it and as one of the others when the client knows how it ended. One *process* is one
//! logical thread of a client: it has at most one operation under way, and after an [`Stage::Info`] it is never
//! heard of again, for that operation may still act at any later time. Its successor has another number.
//!
//! A history knows nothing of the inside of a broker: the same records can be made against any Kafka.

mod classify;
mod edn;
mod lines;
mod recorder;
#[cfg(test)]
pub(crate) mod story;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use types::{Offset, PartitionIndex, TopicPartition, Uuid};

pub use classify::{Attempts, Failure, classify};
pub use edn::write_edn;
pub use lines::{LinesError, read_lines, write_lines};
pub use recorder::Recorder;

/// A position in the history, counted from 0.
pub type Index = u32;
/// One logical thread of a client, never reused.
pub type Process = u32;
/// What was written, unique in the whole run. A record that carries no value of the workload is told as a value that nobody wrote.
pub type Value = u64;

/// A partition by its topic's id: a topic that is deleted and made again is another key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key {
    /// The topic's id.
    pub topic: Uuid,
    /// The partition's index.
    pub partition: PartitionIndex,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.partition)
    }
}

/// A text that is no [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key is a topic's id, a colon and a partition, not {0:?}")]
pub struct KeyError(String);

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Key, KeyError> {
        let wrong = || KeyError(text.to_owned());
        let (topic, partition) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Key {
            topic: topic.parse().map_err(|_| wrong())?,
            partition: partition.parse().map_err(|_| wrong())?,
        })
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Key, KeyError> {
        text.parse()
    }
}

impl From<TopicPartition> for Key {
    fn from(partition: TopicPartition) -> Key {
        Key {
            topic: partition.topic_id,
            partition: partition.partition,
        }
    }
}

/// How far an operation, or one send of it, has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It starts.
    Invoke,
    /// It was done.
    Ok,
    /// It had no effect and never will.
    Fail,
    /// Nobody knows: it may have had its effect, may get it later, or never.
    Info,
}

/// How many replicas a producer wants to hear of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// acks=0: no answer at all.
    None,
    /// acks=1: the leader.
    Leader,
    /// acks=-1: every member of the in-sync set.
    All,
}

/// What a topic promises when it acknowledges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing is acknowledged to acks=all, and nothing shown to consumers, before it is flushed.
    Flushed,
    /// Copies protect; a machine that loses its power may lose what it had not flushed.
    Replicated,
}

/// What a consumer may see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Everything below the high watermark.
    ReadUncommitted,
    /// Everything below the last stable offset, without aborted transactions.
    ReadCommitted,
}

/// The effective configuration under which a producer sends: what is in force, not what was asked for (KIP-679).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sending {
    /// Whose answer the producer waits for.
    pub acks: Acks,
    /// Whether batches carry a producer id and a sequence.
    pub idempotent: bool,
    /// Whether a batch may be sent again after an error.
    pub retries: bool,
    /// Requests that may be under way on one connection.
    pub in_flight_max: u8,
    /// What the topic promises.
    pub class: Durability,
}

impl Sending {
    /// acks=all, idempotent, retries, five in flight, class *flushed*.
    pub const SAFE: Sending = Sending {
        acks: Acks::All,
        idempotent: true,
        retries: true,
        in_flight_max: 5,
        class: Durability::Flushed,
    };
}

/// One record sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Send {
    /// Where to.
    pub key: Key,
    /// What.
    pub value: Value,
    /// Where it lies, if the broker said so.
    pub offset: Option<Offset>,
    /// The log start of the answer, if it was given.
    pub log_start: Option<Offset>,
    /// How this one record ended; [`Stage::Invoke`] while the operation is under way.
    pub stage: Stage,
}

impl Send {
    /// A record about to be sent.
    pub fn new(key: Key, value: Value) -> Send {
        Send {
            key,
            value,
            offset: None,
            log_start: None,
            stage: Stage::Invoke,
        }
    }
}

/// What one answer held of one partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Read {
    /// Which partition.
    pub key: Key,
    /// The records in the order of the answer.
    pub records: Vec<(Offset, Value)>,
    /// The log start of the answer, if it was given.
    pub log_start: Option<Offset>,
    /// When the reader asked for it, in nanoseconds of the run, if it did before the poll began: an answer waits until
    /// it is polled for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
}

impl Read {
    /// Records of `key` from an answer without a log start.
    pub fn new(key: Key, records: Vec<(Offset, Value)>) -> Read {
        Read {
            key,
            records,
            log_start: None,
            asked: None,
        }
    }
}

/// Where a consumer goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seek {
    /// To the log's start.
    Beginning,
    /// To the log's end as the broker tells it.
    End,
    /// To exactly this offset.
    Offset(Offset),
    /// To wherever a timestamp or a committed offset leads.
    Elsewhere,
}

/// A committed offset: asked for, or answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Committed {
    /// Which partition.
    pub key: Key,
    /// The offset; in an answer `None` says that nothing is committed.
    pub offset: Option<Offset>,
}

/// Which offset of a log is asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// The log start.
    Earliest,
    /// The last stable offset: the latest at read_committed.
    LatestCommitted,
    /// The high watermark: the latest at read_uncommitted.
    Latest,
    /// The first record at or after this many milliseconds since 1970.
    Timestamp(i64),
    /// The record with the largest timestamp.
    MaxTimestamp,
}

/// One offset asked for, or answered. One operation may hold several, in the order in which the client asked them, one after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Which partition.
    pub key: Key,
    /// Which offset of it.
    pub position: Position,
    /// The answer, if there was one.
    pub offset: Option<Offset>,
}

/// What an operation does, with what was asked and, once it ended, what was answered.
///
/// Kafka's transactions (`txn`) will be one more kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Body {
    /// A consumer takes exactly these partitions, and moves in some of them.
    Assign {
        /// All its partitions from now on.
        keys: Vec<Key>,
        /// Where it goes on in which of them; in the others it goes on where it was.
        seeks: Vec<(Key, Seek)>,
    },
    /// A consumer joins a group.
    Subscribe {
        /// The partitions of its topics, as far as they are known.
        keys: Vec<Key>,
        /// The group's name.
        group: String,
    },
    /// Records are sent, in this order.
    Send {
        /// The producer's effective configuration.
        sending: Sending,
        /// The records.
        sends: Vec<Send>,
    },
    /// A consumer reads.
    Poll {
        /// What it may see.
        isolation: Isolation,
        /// What it got, in the order of the answers; empty before.
        reads: Vec<Read>,
        /// Partitions whose position was reset because it was out of the log's range.
        resets: Vec<Key>,
    },
    /// The client dies with all it has.
    Crash,
    /// Offsets are committed for a group.
    CommitOffsets {
        /// The group's name.
        group: String,
        /// The generation of the member, or -1 for none.
        generation: i32,
        /// The offsets.
        offsets: Vec<Committed>,
        /// How many of its requests were given up without an answer, known at the end: each may act at any later time,
        /// even if another one was answered. Kafka numbers no commits.
        #[serde(default, skip_serializing_if = "is_zero")]
        given_up: u32,
    },
    /// Committed offsets are read.
    FetchOffsets {
        /// The group's name.
        group: String,
        /// Asked partitions, then the answers.
        offsets: Vec<Committed>,
    },
    /// Offsets are asked for.
    ListOffsets {
        /// Asked offsets, then the answers.
        listed: Vec<Listed>,
    },
    /// A topic is made.
    CreateTopic {
        /// Its name.
        name: String,
        /// Its partitions, known with the answer.
        keys: Vec<Key>,
    },
    /// A topic is deleted.
    DeleteTopic {
        /// Its id.
        #[serde(with = "topic_text")]
        topic: Uuid,
    },
    /// A group is deleted, with its offsets.
    DeleteGroup {
        /// Which group.
        group: String,
    },
    /// A topic grows.
    CreatePartitions {
        /// Its id.
        #[serde(with = "topic_text")]
        topic: Uuid,
        /// How many partitions it shall have.
        count: i32,
    },
    /// Records below an offset are deleted.
    DeleteRecords {
        /// Which partition.
        key: Key,
        /// The new log start; -1 asks for the high watermark.
        before: Offset,
        /// The log start of the answer.
        low_watermark: Option<Offset>,
    },
    /// A config is changed.
    AlterConfig {
        /// The topic's or broker's name.
        resource: String,
        /// The config's name.
        name: String,
        /// Its new value, or `None` to take it away.
        value: Option<String>,
    },
}

impl Body {
    /// The name of the kind, as Jepsen's `f`.
    pub fn name(&self) -> &'static str {
        match self {
            Body::Assign { .. } => "assign",
            Body::Subscribe { .. } => "subscribe",
            Body::Send { .. } => "send",
            Body::Poll { .. } => "poll",
            Body::Crash => "crash",
            Body::CommitOffsets { .. } => "commit_offsets",
            Body::FetchOffsets { .. } => "fetch_offsets",
            Body::ListOffsets { .. } => "list_offsets",
            Body::CreateTopic { .. } => "create_topic",
            Body::DeleteTopic { .. } => "delete_topic",
            Body::DeleteGroup { .. } => "delete_group",
            Body::CreatePartitions { .. } => "create_partitions",
            Body::DeleteRecords { .. } => "delete_records",
            Body::AlterConfig { .. } => "alter_config",
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Partitions that came to or left a consumer while an operation ran.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rebalance {
    /// The group's generation afterwards.
    pub generation: i32,
    /// Partitions given.
    pub assigned: Vec<Key>,
    /// Partitions taken away.
    pub revoked: Vec<Key>,
}

/// One line of a history.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// Its place in the history.
    pub index: Index,
    /// Who does it.
    pub process: Process,
    /// How far it has come.
    #[serde(rename = "type")]
    pub stage: Stage,
    /// Nanoseconds since the start of the run.
    pub time: u64,
    /// What it does.
    #[serde(flatten)]
    pub body: Body,
    /// Rebalances of the process since its previous completion; only in completions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rebalance_log: Vec<Rebalance>,
}

/// Everything that the clients of a run saw.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// The operations, each at the place that its index names.
    pub operations: Vec<Operation>,
}

/// A topic's id as Kafka writes it.
mod topic_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use types::Uuid;

    pub fn serialize<S: Serializer>(topic: &Uuid, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(topic)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Uuid, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map_err(D::Error::custom)
    }
}
