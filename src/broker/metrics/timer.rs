//! How long something takes: counted in buckets, a few relaxed additions a time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use types::Mono;

use super::Counter;

/// Buckets of one power of two, as a power of two: a quantile is off by at most a sixteenth.
const SUB_BITS: u32 = 3;
const SUB: usize = 1 << SUB_BITS;
/// Durations from 2^32 microseconds (71 minutes) on are counted as the longest below.
const MICROS_BITS: u32 = 32;
const BUCKETS: usize = (MICROS_BITS - SUB_BITS + 1) as usize * SUB;
/// The length of a window: 2^38 nanoseconds, four and a half minutes.
const WINDOW_BITS: u32 = 38;

/// The durations of one stretch of time.
#[derive(Debug)]
struct Window {
    /// Which stretch.
    number: AtomicU64,
    buckets: [AtomicU32; BUCKETS],
}

impl Default for Window {
    fn default() -> Window {
        Window {
            number: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

/// How often and how long something took. Count and sum are over the node's life; quantiles are of the last four and a
/// half to nine minutes.
#[derive(Debug, Default)]
pub struct Timer {
    count: Counter,
    sum_nanos: Counter,
    windows: [Window; 2],
}

impl Timer {
    /// It took this long, and ended `now`.
    ///
    /// Cores that enter a new window at the same moment may lose some of its first durations from the quantiles.
    pub fn record(&self, now: Mono, duration: Duration) {
        self.count.add(1);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.add(nanos);
        let number = now.as_nanos() >> WINDOW_BITS;
        let window = &self.windows[(number % 2) as usize];
        if window.number.load(Ordering::Relaxed) != number {
            for bucket in &window.buckets {
                bucket.store(0, Ordering::Relaxed);
            }
            window.number.store(number, Ordering::Relaxed);
        }
        window.buckets[bucket_of(nanos / 1000)].fetch_add(1, Ordering::Relaxed);
    }

    /// How often.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// How long in all.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.get())
    }

    /// The duration that each of these shares (above 0, at most 1) did not exceed lately; nothing if there was none.
    pub fn quantiles<const N: usize>(&self, now: Mono, shares: [f64; N]) -> Option<[Duration; N]> {
        let number = now.as_nanos() >> WINDOW_BITS;
        let is_recent = |window: &&Window| {
            let of = window.number.load(Ordering::Relaxed);
            of == number || of + 1 == number
        };
        let mut counts = [0u64; BUCKETS];
        for window in self.windows.iter().filter(is_recent) {
            for (count, bucket) in counts.iter_mut().zip(&window.buckets) {
                *count += u64::from(bucket.load(Ordering::Relaxed));
            }
        }
        let total: u64 = counts.iter().sum();
        (total > 0).then(|| shares.map(|share| quantile(&counts, total, share)))
    }
}

fn quantile(counts: &[u64; BUCKETS], total: u64, share: f64) -> Duration {
    let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
    let mut below = 0;
    for (bucket, count) in counts.iter().enumerate() {
        below += count;
        if below >= rank {
            return Duration::from_nanos((start_of(bucket) + start_of(bucket + 1)) * 500);
        }
    }
    unreachable!("rank {rank} of {total} is counted somewhere")
}

fn bucket_of(micros: u64) -> usize {
    let micros = micros.min((1 << MICROS_BITS) - 1);
    if micros < SUB as u64 {
        return micros as usize;
    }
    let shift = micros.ilog2() - SUB_BITS;
    (shift as usize + 1) * SUB + ((micros >> shift) as usize - SUB)
}

/// The shortest duration that is counted in this bucket, in microseconds.
fn start_of(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    ((SUB + bucket % SUB) as u64) << (bucket / SUB - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_bucket() {
        for exponent in 0..40 {
            for micros in [(1u64 << exponent) - 1, 1 << exponent, (1 << exponent) + 1] {
                let bucket = bucket_of(micros);
                let counted = micros.min((1 << MICROS_BITS) - 1);
                assert!(bucket < BUCKETS, "{micros}");
                let (start, end) = (start_of(bucket), start_of(bucket + 1));
                assert!(
                    start <= counted && counted < end,
                    "{micros}: {start}..{end}"
                );
            }
        }
    }

    #[test]
    fn quantiles_are_near_and_of_late() {
        let timer = Timer::default();
        let window = 1u64 << WINDOW_BITS;
        let at = |window_number: u64| Mono::from_nanos(window_number * window + 1);
        assert_eq!(timer.quantiles(at(0), [0.5]), None, "nothing yet");
        for millis in 1..=1000 {
            timer.record(at(5), Duration::from_millis(millis));
        }
        let shares = [0.5, 0.99, 0.999];
        let expected = [500.0, 990.0, 999.0];
        for now in [at(5), at(6)] {
            let found = timer.quantiles(now, shares).expect("there are some");
            for (found, expected) in found.into_iter().zip(expected) {
                let ratio = found.as_secs_f64() * 1000.0 / expected;
                assert!(
                    (ratio - 1.0).abs() <= 1.0 / 16.0,
                    "{found:?} for {expected} ms"
                );
            }
        }
        assert_eq!(timer.quantiles(at(7), shares), None, "long ago");
        timer.record(at(7), Duration::from_millis(3));
        let late = timer.quantiles(at(7), [1.0]).expect("one");
        assert!(late[0] < Duration::from_millis(4), "{late:?}");
        assert_eq!(timer.count(), 1001);
        assert_eq!(timer.sum(), Duration::from_millis(500_500 + 3));
    }
}
