//! What a node counts. Plain atomics, one set per node: no registry of the process is touched.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use protocol::ApiKey;

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

/// API keys counted one by one; a higher one is counted with the last.
const API_KEYS_MAX: usize = 96;

/// Requests by API.
#[derive(Debug)]
pub struct RequestCounters {
    by_key: [Counter; API_KEYS_MAX],
}

impl Default for RequestCounters {
    fn default() -> RequestCounters {
        RequestCounters {
            by_key: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl RequestCounters {
    /// Counts one request.
    pub fn count(&self, key: ApiKey) {
        self.of(key).add(1);
    }

    /// Requests of `key` so far.
    pub fn get(&self, key: ApiKey) -> u64 {
        self.of(key).get()
    }

    /// The APIs that were asked so far, by Kafka's names, with how often.
    pub fn seen(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let seen = ApiKey::ALL.iter().map(|&key| (key.name(), self.get(key)));
        seen.filter(|(_, count)| *count > 0)
    }

    fn of(&self, key: ApiKey) -> &Counter {
        &self.by_key[(key.code() as usize).min(API_KEYS_MAX - 1)]
    }
}

/// Everything that a node counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests by API.
    pub requests: RequestCounters,
    /// Record bytes that clients have sent to be appended.
    pub produced_bytes: Counter,
    /// Records that clients have sent to be appended.
    pub produced_records: Counter,
    /// Produce partitions that were refused.
    pub failed_produces: Counter,
    /// Record bytes given to clients.
    pub fetched_bytes: Counter,
    /// Fetch partitions that were refused.
    pub failed_fetches: Counter,
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
