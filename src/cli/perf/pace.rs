//! When which record is due.

use std::time::Duration;

use types::Mono;

/// An open loop: records are due at moments that were fixed before, whatever became of those before them. What is sent
/// late is measured from the moment it was due, so a broker that stands still cannot hide it (coordinated omission).
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    start: Mono,
    /// Nanoseconds from one record to the next; none as fast as may be.
    interval_nanos: Option<f64>,
}

impl Pace {
    /// Of `rate` records a second from `start` on; 0 is as fast as may be.
    pub fn new(start: Mono, rate: f64) -> Pace {
        Pace {
            start,
            interval_nanos: (rate > 0.0).then(|| 1e9 / rate),
        }
    }

    /// The part of it that the `index`th of `count` senders has: each sends every `count`th record.
    pub fn share(&self, index: usize, count: usize) -> Pace {
        let interval_nanos = self.interval_nanos.unwrap_or(0.0);
        let late = Duration::from_nanos((interval_nanos * index as f64) as u64);
        Pace {
            start: self.start + late,
            interval_nanos: self.interval_nanos.map(|nanos| nanos * count as f64),
        }
    }

    /// When the record of this number, counted from 0, is due; without a rate, at `now`.
    pub fn due(&self, number: u64, now: Mono) -> Mono {
        match self.interval_nanos {
            Some(nanos) => self.start + Duration::from_nanos((nanos * number as f64) as u64),
            None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(nanos: u64) -> Mono {
        Mono::from_nanos(nanos)
    }

    #[test]
    fn records_are_due_at_their_rate_however_late_it_is() {
        let pace = Pace::new(nanos(5), 1_000.0);
        assert_eq!(pace.due(0, nanos(77)), nanos(5));
        assert_eq!(pace.due(3, nanos(9_000_000_000)), nanos(3_000_005));
        // A rate that no whole number of nanoseconds gives does not drift.
        let third = Pace::new(Mono::START, 3.0);
        assert_eq!(
            third.due(3_000_000, Mono::START),
            nanos(1_000_000_000_000_000)
        );
    }

    #[test]
    fn without_a_rate_a_record_is_due_when_there_is_time() {
        let pace = Pace::new(nanos(5), 0.0).share(1, 2);
        assert_eq!(pace.due(9, nanos(77)), nanos(77));
    }

    #[test]
    fn senders_take_turns() {
        let pace = Pace::new(nanos(100), 1_000.0);
        let shares = [pace.share(0, 2), pace.share(1, 2)];
        let due: Vec<Mono> = (0..4)
            .map(|number| shares[number % 2].due(number as u64 / 2, Mono::START))
            .collect();
        let all: Vec<Mono> = (0..4).map(|number| pace.due(number, Mono::START)).collect();
        assert_eq!(due, all);
    }
}
