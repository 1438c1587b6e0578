//! Waiting between attempts.

use std::time::Duration;

use types::Prng;

/// Exponential waits with jitter (KIP-580): each twice the one before, up to a limit, a fifth more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    first_ms: u64,
    max_ms: u64,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(first_ms: u64, max_ms: u64) -> Backoff {
        Backoff {
            first_ms,
            max_ms,
            attempts: 0,
        }
    }

    /// How long to wait after one more failure.
    pub(crate) fn next(&mut self, prng: &mut Prng) -> Duration {
        let factor = 1u64.checked_shl(self.attempts).unwrap_or(u64::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let whole_us = self
            .first_ms
            .saturating_mul(factor)
            .min(self.max_ms)
            .saturating_mul(1000);
        let fifth_us = whole_us / 5;
        let jitter_us = prng.below(2 * fifth_us + 1);
        Duration::from_micros(whole_us - fifth_us + jitter_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_with_a_fifth_of_jitter() {
        let mut prng = Prng::new(1, "backoff");
        let mut backoff = Backoff::new(100, 1000);
        for whole_ms in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next(&mut prng);
            let range =
                Duration::from_millis(whole_ms * 4 / 5)..=Duration::from_millis(whole_ms * 6 / 5);
            assert!(range.contains(&wait), "{wait:?} for {whole_ms}");
        }
    }
}
