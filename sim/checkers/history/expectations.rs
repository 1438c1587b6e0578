//! What the run knows and a history does not: faults, and what they excuse.

use crate::history::{Durability, Key, Operation, Process, Sending};
use std::collections::BTreeMap;
use types::{Offset, Uuid};

/// Offsets that a loss of power took from a partition that promises only copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Excused {
    /// The first offset that was not durable.
    pub from: Offset,
    /// The end of the log at the loss: the first offset that did not exist.
    pub until: Offset,
    /// When the power went, in nanoseconds of the run. What was seen later is not excused.
    pub at: u64,
}

/// What is expected of one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyExpectation {
    /// What its topic promises.
    pub class: Durability,
    /// What was lost with the power; heeded only in class *replicated*.
    pub excused: Vec<Excused>,
    /// The broker refuses to serve it, because it found it damaged: it need not be readable to the end.
    pub is_fenced: bool,
    /// A fault wrote one of its batches over another, in a way that no checksum tells: records may be missing.
    pub is_overwritten: bool,
    /// Old records of a record key may be missing.
    pub is_compacted: bool,
    /// Every offset below may have been deleted by retention.
    pub retention_floor: Offset,
}

impl Default for KeyExpectation {
    fn default() -> KeyExpectation {
        KeyExpectation {
            class: Durability::Flushed,
            excused: Vec::new(),
            is_fenced: false,
            is_overwritten: false,
            is_compacted: false,
            retention_floor: 0,
        }
    }
}

/// What is expected of one group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupExpectation {
    /// Its offsets may have expired, or been deleted with the group.
    pub may_expire: bool,
    /// When unflushed commits may have been lost: losses of power of a broker whose offsets are of class *replicated*.
    pub lost_at: Vec<u64>,
}

/// All that the run knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expectations {
    /// Partitions that differ from [`KeyExpectation::default`].
    pub keys: BTreeMap<Key, KeyExpectation>,
    /// The names of topics, if a name may come to mean another topic: offsets are committed by name.
    pub names: BTreeMap<Uuid, String>,
    /// Groups that differ from [`GroupExpectation::default`].
    pub groups: BTreeMap<String, GroupExpectation>,
    /// Processes whose effective configuration is another than the history says.
    pub effective: BTreeMap<Process, Sending>,
    /// When a broker lost its power, in nanoseconds of the run, ascending.
    pub power_losses: Vec<u64>,
    /// Whether leaders may have been elected that lacked committed records.
    pub unclean_election: bool,
    /// Whether producers may have been forgotten while they tried to deliver: what they send again is appended again.
    pub forgets_retries: bool,
    /// Whether fresh consumers read every partition from its beginning at the end: to the last known offset, or as long as their time bound allowed.
    pub final_polls: bool,
}

impl Expectations {
    /// What is expected of `key`.
    pub fn key(&self, key: &Key) -> KeyExpectation {
        self.keys.get(key).cloned().unwrap_or_default()
    }

    /// Whether a broker lost its power between these two times.
    pub fn lost_power_between(&self, from: u64, until: u64) -> bool {
        self.power_losses
            .iter()
            .any(|&at| from <= at && at <= until)
    }

    /// The configuration that was in force for a send of `operation`.
    pub fn sending(&self, operation: &Operation, said: Sending) -> Sending {
        self.effective
            .get(&operation.process)
            .copied()
            .unwrap_or(said)
    }
}

impl KeyExpectation {
    /// Whether an observation of `offset` by an operation that was invoked at `invoked` is excused.
    pub fn excuses(&self, offset: Offset, invoked: u64) -> bool {
        self.losses()
            .any(|loss| loss.from <= offset && offset < loss.until && invoked <= loss.at)
    }

    /// When the losses happened that took this offset and lie behind `asked`.
    pub fn losses_at(&self, offset: Offset, asked: u64) -> Vec<u64> {
        self.losses()
            .filter(|loss| loss.from <= offset && offset < loss.until && asked <= loss.at)
            .map(|loss| loss.at)
            .collect()
    }

    /// The loss that takes away positions at or beyond `offset` between two times, if there is one: the lowest.
    pub fn lowest_cut(&self, from: u64, until: u64) -> Option<Offset> {
        self.losses()
            .filter(|loss| from <= loss.at && loss.at <= until)
            .map(|loss| loss.from)
            .min()
    }

    fn losses(&self) -> impl Iterator<Item = &Excused> {
        let heeded = self.class == Durability::Replicated;
        self.excused.iter().filter(move |_| heeded)
    }
}
