//! What a node counts. Plain atomics, one set per node: no registry of the process is touched.

mod requests;
mod timer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use requests::{Requests, Times, Timing};
pub use timer::Timer;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: i64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What clients do with one topic, or with all of them.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Records appended.
    pub messages_in: Counter,
    /// Bytes of batches appended.
    pub bytes_in: Counter,
    /// Bytes of batches given to clients.
    pub bytes_out: Counter,
    /// Partitions of Produce requests.
    pub produces: Counter,
    /// Partitions of Produce requests that were refused.
    pub failed_produces: Counter,
    /// Partitions of Fetch requests.
    pub fetches: Counter,
    /// Partitions of Fetch requests that were refused.
    pub failed_fetches: Counter,
}

/// The traffic of every topic that has any.
#[derive(Debug, Default)]
pub struct Topics(Mutex<BTreeMap<Arc<str>, Arc<Traffic>>>);

impl Topics {
    /// The traffic of a topic. Whoever counts often keeps it.
    pub fn of(&self, topic: &Arc<str>) -> Arc<Traffic> {
        let mut topics = self.lock();
        Arc::clone(topics.entry(Arc::clone(topic)).or_default())
    }

    /// The topic is gone.
    pub fn forget(&self, topic: &str) {
        self.lock().remove(topic);
    }

    /// Every topic, by name.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<Traffic>)> {
        let topics = self.lock();
        let copy = |(name, traffic): (&Arc<str>, &Arc<Traffic>)| (name.clone(), traffic.clone());
        topics.iter().map(copy).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Traffic>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that a node counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests by API.
    pub requests: Requests,
    /// What clients do with all topics together.
    pub traffic: Traffic,
    /// What clients do with each topic.
    pub topics: Topics,
    /// Connections open now.
    pub connections: Gauge,
    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Connections refused for a limit.
    pub connections_refused: Counter,
    /// Partitions that this node leads.
    pub partitions: Gauge,
    /// Log directories that failed.
    pub offline_log_directories: Gauge,
    /// Logs that recovery has cut.
    pub recovery_cuts: Counter,
    /// Flushes of a set of logs.
    pub flushes: Counter,
    /// Logs flushed, over all flushes.
    pub flushed_logs: Counter,
}

impl Metrics {
    /// Counts with all topics and with one.
    pub fn count(&self, topic: &Traffic, which: impl Fn(&Traffic) -> &Counter, amount: u64) {
        which(&self.traffic).add(amount);
        which(topic).add(amount);
    }
}
