//! What all clients of a run share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use client::metadata::TopicMetadata;
use types::Uuid;

use crate::history::{Durability, Key, Recorder, Stage, Value};
use crate::plan::{Operation, Plan};
use crate::verdict::Outcomes;

/// What all clients of a run share: one thread, so `Rc`.
pub struct Context {
    /// The run.
    pub plan: Plan,
    /// What they saw.
    pub history: RefCell<Recorder>,
    /// True simulated time when the workload began, in nanoseconds; 0 before.
    pub began_nanos: Cell<u64>,
    /// Where they find the cluster, as `host:port`.
    pub bootstrap: Vec<String>,
    /// What topics promise.
    pub classes: RefCell<BTreeMap<Key, Durability>>,
    /// What was found of topics by name.
    known_classes: RefCell<BTreeMap<String, Durability>>,
    /// Topics by id.
    pub names: RefCell<BTreeMap<Uuid, String>>,
    /// Partitions whose files a fault damaged where only their checksums can tell.
    pub damaged: RefCell<BTreeSet<Key>>,
    /// Those of them in which one batch was written over another, whole.
    pub overwritten: RefCell<BTreeSet<Key>>,
    /// Damaged partitions that the broker refused to serve to the judge, or that could not be read to their end
    /// because of an error that says so: what they held is lost, and nobody was deceived.
    pub fenced: RefCell<BTreeSet<Key>>,
    /// How operations ended, by name.
    pub outcomes: RefCell<BTreeMap<String, Outcomes>>,
    /// Operations that could not even be invoked, and what nuisances did, by operation and reason.
    pub skipped: RefCell<BTreeMap<String, u64>>,
    /// Partitions that the judge produced to after healing.
    pub produced: Cell<u64>,
    /// Groups that it looked at.
    pub groups_judged: Cell<u64>,
    progress: RefCell<BTreeMap<u32, Progress>>,
    /// Topics that somebody deletes: their names may come to mean another topic.
    passing: BTreeSet<String>,
}

/// How far a client has come.
#[derive(Clone, Copy, Default)]
struct Progress {
    next_step: usize,
    values: u64,
    lives: u64,
}

impl Context {
    /// Before anything has happened.
    pub fn new(plan: &Plan, bootstrap: Vec<String>) -> Context {
        let steps = plan.clients.iter().flat_map(|client| &client.steps);
        let passing = steps.filter_map(|step| match &step.operation {
            Operation::DeleteTopic(topic) => Some(topic.clone()),
            _ => None,
        });
        Context {
            passing: passing.collect(),
            plan: plan.clone(),
            history: RefCell::new(Recorder::new()),
            began_nanos: Cell::new(0),
            bootstrap,
            classes: RefCell::default(),
            known_classes: RefCell::default(),
            names: RefCell::default(),
            damaged: RefCell::default(),
            overwritten: RefCell::default(),
            fenced: RefCell::default(),
            outcomes: RefCell::default(),
            skipped: RefCell::default(),
            produced: Cell::new(0),
            groups_judged: Cell::new(0),
            progress: RefCell::default(),
        }
    }

    fn progress<T>(&self, client: u32, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(self.progress.borrow_mut().entry(client).or_default())
    }

    pub(super) fn next_step(&self, client: u32) -> usize {
        self.progress(client, |progress| progress.next_step)
    }

    pub(super) fn step_begins(&self, client: u32) {
        self.progress(client, |progress| progress.next_step += 1);
    }

    /// The number of a client's next life.
    pub(super) fn next_life(&self, client: u32) -> u64 {
        self.progress(client, |progress| {
            progress.lives += 1;
            progress.lives
        })
    }

    /// A value that nobody wrote before.
    pub(super) fn next_value(&self, client: u32) -> Value {
        self.progress(client, |progress| {
            progress.values += 1;
            (u64::from(client) + 1) << 40 | progress.values
        })
    }

    /// Whether the name may come to mean another topic in this run.
    pub(super) fn is_passing(&self, topic: &str) -> bool {
        self.passing.contains(topic)
    }

    /// Takes note of a topic that somebody saw.
    pub(super) fn learn(&self, name: &str, topic: &TopicMetadata) {
        self.learn_partitions(name, topic.id, topic.partitions.keys().copied());
    }

    pub(super) fn learn_partitions(
        &self,
        name: &str,
        id: Uuid,
        partitions: impl Iterator<Item = i32>,
    ) {
        self.names
            .borrow_mut()
            .entry(id)
            .or_insert_with(|| name.to_owned());
        let class = self.class_of(name);
        let mut classes = self.classes.borrow_mut();
        for partition in partitions {
            let key = Key {
                topic: id,
                partition,
            };
            classes.insert(key, class);
        }
    }

    /// What a topic of this name promises in this run: the weaker, if the plan changes it on the way.
    pub fn class_of(&self, topic: &str) -> Durability {
        if let Some(&class) = self.known_classes.borrow().get(topic) {
            return class;
        }
        let class = self.find_class(topic);
        let mut known = self.known_classes.borrow_mut();
        known.insert(topic.to_owned(), class);
        class
    }

    /// Looks through the whole plan.
    fn find_class(&self, topic: &str) -> Durability {
        let planned = self.plan.topics.iter().filter(|plan| plan.name == topic);
        let at_first = planned.filter_map(|plan| plan.configs.get("flush.messages").cloned());
        let steps = self.plan.clients.iter().flat_map(|client| &client.steps);
        let later = steps.flat_map(|step| match &step.operation {
            Operation::AlterConfig {
                topic: name,
                key,
                value,
            } if name == topic && key == "flush.messages" => vec![value.clone()],
            Operation::CreateTopic {
                topic: name,
                configs,
                ..
            } if name == topic => configs
                .iter()
                .filter(|(key, _)| key == "flush.messages")
                .map(|(_, value)| value.clone())
                .collect(),
            _ => Vec::new(),
        });
        let brokers = self.plan.brokers.iter();
        let default = brokers.filter_map(|broker| {
            let value = broker.options.get("log.flush.interval.messages");
            value.cloned()
        });
        let mut values = at_first.chain(later).chain(default);
        if values.any(|value| value != "1" && !value.is_empty()) {
            Durability::Replicated
        } else {
            Durability::Flushed
        }
    }

    pub(super) fn count(&self, operation: &str, stage: Stage) {
        let mut outcomes = self.outcomes.borrow_mut();
        let outcomes = outcomes.entry(operation.to_owned()).or_default();
        match stage {
            Stage::Ok => outcomes.ok += 1,
            Stage::Fail => outcomes.fail += 1,
            Stage::Info => outcomes.info += 1,
            Stage::Invoke => {}
        }
    }

    /// An operation did not begin, or was none of the history's.
    pub(super) fn skip(&self, operation: &str, reason: &str) {
        let mut skipped = self.skipped.borrow_mut();
        *skipped.entry(format!("{operation}: {reason}")).or_default() += 1;
    }
}
