//! Requests by API: how many, and how long they take.

use std::sync::OnceLock;

use protocol::ApiKey;
use types::Mono;

use super::{Counter, Timer};

/// API keys counted one by one; a higher one is counted with the last.
const API_KEYS_MAX: usize = 96;
/// Versions counted one by one; a higher one is counted with the last.
const VERSIONS_MAX: usize = 24;

/// How long the requests of one API take.
#[derive(Debug, Default)]
pub struct Times {
    /// From when the request was read until its handler waited for the first time or ended.
    pub local: Timer,
    /// From then until it was answered: for a flush, for other cores, for records to come.
    pub remote: Timer,
    /// From then until the answers to earlier requests of the connection were there.
    pub response_queue: Timer,
    /// All of these.
    pub total: Timer,
}

#[derive(Debug)]
struct Api {
    by_version: [Counter; VERSIONS_MAX],
    /// Made by the first answer.
    times: OnceLock<Box<Times>>,
}

impl Default for Api {
    fn default() -> Api {
        Api {
            by_version: std::array::from_fn(|_| Counter::default()),
            times: OnceLock::new(),
        }
    }
}

/// When a request passed which point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Its API.
    pub key: ApiKey,
    /// It was read.
    pub started: Mono,
    /// Its handler waited for the first time, or ended.
    pub waited: Mono,
    /// Its answer was there.
    pub answered: Mono,
}

/// Requests by API.
#[derive(Debug)]
pub struct Requests {
    by_key: Box<[Api]>,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests {
            by_key: (0..API_KEYS_MAX).map(|_| Api::default()).collect(),
        }
    }
}

impl Requests {
    /// Counts one request.
    pub fn count(&self, key: ApiKey, version: i16) {
        let version = usize::try_from(version).unwrap_or(0);
        self.of(key).by_version[version.min(VERSIONS_MAX - 1)].add(1);
    }

    /// An answer leaves at `sent`.
    pub fn answered(&self, timing: Timing, sent: Mono) {
        let times = self.of(timing.key).times.get_or_init(Box::default);
        let add = |timer: &Timer, from: Mono, to: Mono| {
            timer.record(sent, to.since(from));
        };
        add(&times.local, timing.started, timing.waited);
        add(&times.remote, timing.waited, timing.answered);
        add(&times.response_queue, timing.answered, sent);
        add(&times.total, timing.started, sent);
    }

    /// What was asked so far: API, version and how often.
    pub fn seen(&self) -> impl Iterator<Item = (ApiKey, usize, u64)> {
        ApiKey::ALL.iter().flat_map(|&key| {
            let counts = self.of(key).by_version.iter().map(Counter::get);
            let seen = counts.enumerate().filter(|(_, count)| *count > 0);
            seen.map(move |(version, count)| (key, version, count))
        })
    }

    /// How long each API takes that was answered.
    pub fn times(&self) -> impl Iterator<Item = (ApiKey, &Times)> {
        let answered = |&key: &ApiKey| Some((key, &**self.of(key).times.get()?));
        ApiKey::ALL.iter().filter_map(answered)
    }

    fn of(&self, key: ApiKey) -> &Api {
        &self.by_key[(key.code() as usize).min(API_KEYS_MAX - 1)]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_phase_is_counted_for_its_api() {
        let requests = Requests::default();
        requests.count(ApiKey::Produce, 9);
        requests.count(ApiKey::Produce, 9);
        requests.count(ApiKey::Fetch, 18);
        let seen: Vec<_> = requests.seen().collect();
        assert_eq!(seen, [(ApiKey::Produce, 9, 2), (ApiKey::Fetch, 18, 1)]);
        let at = |micros: u64| Mono::from_nanos(micros * 1000);
        let timing = Timing {
            key: ApiKey::Produce,
            started: at(100),
            waited: at(110),
            answered: at(150),
        };
        requests.answered(timing, at(300));
        let all: Vec<_> = requests.times().collect();
        let [(ApiKey::Produce, times)] = all[..] else {
            panic!("only Produce was answered")
        };
        let phases = [
            &times.local,
            &times.remote,
            &times.response_queue,
            &times.total,
        ];
        let micros = [10, 40, 150, 200];
        for (timer, micros) in phases.into_iter().zip(micros) {
            assert_eq!(timer.count(), 1);
            assert_eq!(timer.sum(), Duration::from_micros(micros));
        }
    }
}
