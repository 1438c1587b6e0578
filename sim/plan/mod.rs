//! What a run does, as data: topology, settings, the clients' operations, the faults.
//!
//! A seed is expanded into a [`Plan`] ([`generate`]); a plan is text (TOML) that a person can read, change and keep. What
//! happens in a run and is not in its plan (latency of one message, which un-synced sectors survive) is drawn from
//! streams of the plan's seed, one per purpose and node.

mod draw;
mod fault;
mod generate;
mod operation;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use fault::{CutHow, Event, Fault, FaultPlan, FileFault, Stalled, Survival, When};
pub use generate::generate;
pub use operation::{Operation, OperationError, SeekTo, Step, TimeSpec};

/// The format of plans and scenarios that this simulator reads and writes.
pub const FORMAT: u32 = 1;

/// How rough a run is.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// No faults: only interleavings, tiny limits and what clients do.
    Calm,
    /// A random subset of the fault kinds.
    Swarm,
    /// Every fault kind may come.
    All,
}

/// A run as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The format's version, [`FORMAT`].
    pub format: u32,
    /// The seed of every stream of the run.
    pub seed: u64,
    /// What it was generated for.
    pub profile: Profile,
    /// How long faults and operations may come, in simulated milliseconds.
    pub duration_ms: u64,
    /// How long healing may take after that, in simulated milliseconds.
    pub healing_ms_max: u64,
    /// What every link is like, unless a fault changes it.
    pub link: LinkPlan,
    /// The brokers; each is a controller too, as long as there is one.
    #[serde(default)]
    pub brokers: Vec<BrokerPlan>,
    /// Topics made before anything else.
    #[serde(default)]
    pub topics: Vec<TopicPlan>,
    /// The clients.
    #[serde(default)]
    pub clients: Vec<ClientPlan>,
    /// The faults, in no particular order.
    #[serde(default)]
    pub faults: Vec<FaultPlan>,
    /// Marks that the run must hit, or it is stale: scenarios have some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must_hit: Vec<String>,
}

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkPlan {
    /// Shortest way, in microseconds.
    pub latency_us: u32,
    /// Longest addition, drawn evenly, in microseconds.
    pub jitter_us: u32,
    /// One in so many messages takes much longer; 0: none.
    pub tail_one_in: u32,
    /// How many times longer.
    pub tail_factor: u32,
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// Bytes that may be under way or unread.
    pub window_bytes: u32,
    /// Largest piece that arrives at once.
    pub chunk_bytes_max: u32,
}

/// A broker's node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerPlan {
    /// Its `node.id`, from 1.
    pub id: i32,
    /// Cores, and so shards: 1 to 4.
    pub cores: usize,
    /// Files that may be open.
    pub open_files_max: usize,
    /// Bytes of its memory budget.
    pub memory_bytes_max: usize,
    /// Bytes of its disk.
    pub disk_bytes: u64,
    /// How slow its disk's syncs are, in microseconds at most.
    pub sync_us_max: u32,
    /// How far its wall clock is off at first, in milliseconds.
    pub clock_offset_ms: i64,
    /// How fast its clocks drift, in parts per million.
    pub clock_drift_ppm: i32,
    /// Its configuration beyond the embedded default.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// A topic made at the beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// Its partitions, 1 or more.
    pub partitions: i32,
    /// Its configuration.
    #[serde(default)]
    pub configs: BTreeMap<String, String>,
}

/// What a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sends records.
    Producer,
    /// Reads partitions that it assigns to itself.
    Reader,
    /// Reads as a member of a classic group.
    Member,
    /// Makes, changes and deletes topics and records, and asks for offsets.
    Admin,
    /// Sends nonsense, begins frames and goes away, reads nothing.
    Nuisance,
}

/// A client's node and everything it will do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPlan {
    /// Its number, from 0: also its place among the clients' addresses.
    pub id: u32,
    /// What it is.
    pub role: Role,
    /// `acks` of a producer: 0, 1 or -1.
    #[serde(default = "all")]
    pub acks: i16,
    /// Whether a producer is idempotent.
    #[serde(default)]
    pub idempotent: bool,
    /// Requests of a producer in flight at most.
    #[serde(default = "five")]
    pub in_flight: usize,
    /// The group of a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The static name of a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Further settings of the client by name (`linger_ms`, `request_timeout_ms`, `delivery_timeout_ms`,
    /// `session_timeout_ms`, `rebalance_timeout_ms`, `fetch_bytes_max`, `partition_bytes_max`, `sessions` 0 or 1,
    /// `cooperative` 0 or 1, `compression` 0 to 4, `read_committed` 0 or 1).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, i64>,
    /// What it does, one line each: `<millisecond> <operation>`, see [`Operation`].
    #[serde(default)]
    pub steps: Vec<Step>,
}

fn all() -> i16 {
    -1
}

fn five() -> usize {
    5
}

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not TOML, or not of this shape.
    #[error("{0}")]
    Text(#[from] toml::de::Error),
    /// Another format.
    #[error("format: {found} is not read by this simulator, {FORMAT} is")]
    Format {
        /// What the text says.
        found: u32,
    },
    /// A value that cannot be.
    #[error("{field}: {reason}")]
    Value {
        /// Where.
        field: String,
        /// Why.
        reason: String,
    },
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// With the place and the reason.
    pub fn parse(text: &str) -> Result<Plan, PlanError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = toml::from_str(text)?;
        if head.format != FORMAT {
            return Err(PlanError::Format { found: head.format });
        }
        let plan: Plan = toml::from_str(text)?;
        plan.check()?;
        Ok(plan)
    }

    /// The plan as text.
    ///
    /// # Panics
    /// Never: every plan can be written.
    pub fn to_text(&self) -> String {
        toml::to_string(self).expect("a plan is plain data")
    }

    /// A setting of a client.
    fn check(&self) -> Result<(), PlanError> {
        let wrong = |field: String, reason: &str| {
            Err(PlanError::Value {
                field,
                reason: reason.to_owned(),
            })
        };
        if self.brokers.is_empty() {
            return wrong("brokers".into(), "at least one is needed");
        }
        for (index, broker) in self.brokers.iter().enumerate() {
            if !(1..=4).contains(&broker.cores) {
                return wrong(format!("brokers[{index}].cores"), "1 to 4");
            }
            if broker.id != index as i32 + 1 {
                return wrong(format!("brokers[{index}].id"), "they count from 1");
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            if ![-1, 0, 1].contains(&client.acks) {
                return wrong(format!("clients[{index}].acks"), "-1, 0 or 1");
            }
            if client.idempotent && client.acks != -1 {
                return wrong(format!("clients[{index}].idempotent"), "needs acks = -1");
            }
            if client.role == Role::Member && client.group.is_none() {
                return wrong(format!("clients[{index}].group"), "a member has one");
            }
        }
        Ok(())
    }
}

impl ClientPlan {
    /// A setting, or what counts without it.
    pub fn setting(&self, name: &str, otherwise: i64) -> i64 {
        self.settings.get(name).copied().unwrap_or(otherwise)
    }
}
