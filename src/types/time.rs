//! The two clocks, which cannot be mixed.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A reading of the monotonic clock: nanoseconds since the node started. It drifts, it never steps.
///
/// Deadlines use this clock and no other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono {
    nanos: u64,
}

impl Mono {
    /// The moment the node started.
    pub const START: Mono = Mono { nanos: 0 };
    /// Later than every reading: a deadline that never comes.
    pub const NEVER: Mono = Mono { nanos: u64::MAX };

    /// The reading `nanos` nanoseconds after the node's start.
    pub const fn from_nanos(nanos: u64) -> Mono {
        Mono { nanos }
    }

    /// Nanoseconds since the node's start.
    pub const fn as_nanos(self) -> u64 {
        self.nanos
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }

    /// This reading plus `millis` milliseconds, or [`Mono::NEVER`] where that is out of range; a negative number counts as zero.
    pub fn plus_millis(self, millis: i64) -> Mono {
        let millis = u64::try_from(millis).unwrap_or(0);
        Mono {
            nanos: self.nanos.saturating_add(millis.saturating_mul(1_000_000)),
        }
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    fn add(self, duration: Duration) -> Mono {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Mono {
            nanos: self.nanos.saturating_add(nanos),
        }
    }
}

impl fmt::Debug for Mono {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}s",
            self.nanos / 1_000_000_000,
            self.nanos % 1_000_000_000
        )
    }
}

/// A reading of the wall clock: milliseconds since 1970-01-01 UTC. It steps both ways.
///
/// Record time, retention, producer-id and offset expiry use this clock and no other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall {
    millis: i64,
}

impl Wall {
    /// The reading `millis` milliseconds after 1970-01-01 UTC.
    pub const fn from_millis(millis: i64) -> Wall {
        Wall { millis }
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> i64 {
        self.millis
    }
}

impl Sub for Wall {
    type Output = i64;

    /// Milliseconds from `earlier` to this, negative if the clock stepped back.
    fn sub(self, earlier: Wall) -> i64 {
        self.millis.saturating_sub(earlier.millis)
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.millis)
    }
}

/// Both clocks, read together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Mono,
    /// The wall clock.
    pub wall: Wall,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_saturate() {
        assert_eq!(Mono::NEVER + Duration::from_secs(1), Mono::NEVER);
        assert_eq!(Mono::START.plus_millis(i64::MAX), Mono::NEVER);
        assert_eq!(Mono::START.plus_millis(-5), Mono::START);
        assert_eq!(Mono::START.since(Mono::from_nanos(5)), Duration::ZERO);
    }
}
