//! In which order sides take turns, how often, for how long, and what all of it takes.

use super::cell::{Cell, Client, Work};

/// Which of the two that are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Side {
    /// Millrace, or what is compared with B.
    A,
    /// The peer, or what A is compared with.
    B,
}

/// The sides of so many pairs in turn, A B B A A B ..: whatever drifts with time meets both alike.
pub fn order(pairs: usize) -> Vec<Side> {
    (0..pairs)
        .flat_map(|pair| match pair % 2 {
            0 => [Side::A, Side::B],
            _ => [Side::B, Side::A],
        })
        .collect()
}

/// How long and how often is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Seconds a run, one A B B A: shows where one stands, proves nothing.
    Quick,
    /// At least 30 s a run, up to five pairs.
    Full,
}

/// Spread above which more pairs are measured.
pub const SPREAD_MAX: f64 = 0.2;
/// Pairs that every cell has.
pub const PAIRS_MIN: usize = 2;

impl Mode {
    /// Seconds that a run under load counts.
    pub fn run_seconds(self) -> u64 {
        match self {
            Mode::Quick => 4,
            Mode::Full => 30,
        }
    }

    /// Seconds of the run before, which is not counted: it tells how many records make a run, and warms this very cell.
    pub fn trial_seconds(self) -> u64 {
        match self {
            Mode::Quick => 1,
            Mode::Full => 5,
        }
    }

    /// Seconds for which a JVM broker is driven before anything is counted.
    pub fn warm_seconds(self) -> u64 {
        match self {
            Mode::Quick => 40,
            Mode::Full => 180,
        }
    }

    /// Seconds for which an idle broker is watched.
    pub fn idle_seconds(self) -> u64 {
        match self {
            Mode::Quick => 5,
            Mode::Full => 60,
        }
    }

    /// Pairs of one cell at most.
    pub fn pairs_max(self) -> usize {
        match self {
            Mode::Quick => PAIRS_MIN,
            Mode::Full => 5,
        }
    }

    /// What everything may take, in seconds.
    pub fn seconds_max(self) -> u64 {
        match self {
            Mode::Quick => 15 * 60,
            Mode::Full => 4 * 3600,
        }
    }

    /// Gigabytes that are held for consumers.
    pub fn consume_gigabytes(self) -> u64 {
        match self {
            Mode::Quick => 2,
            Mode::Full => 6,
        }
    }

    /// Gigabytes that a bulk run of class *flushed* writes at least.
    pub fn flushed_gigabytes(self) -> u64 {
        match self {
            Mode::Quick => 0,
            Mode::Full => 20,
        }
    }

    /// Bytes that one run writes at most: more than this nothing else would fit on a common disk.
    pub fn bytes_max(self) -> f64 {
        match self {
            Mode::Quick => 6e9,
            Mode::Full => 30e9,
        }
    }
}

/// Seconds that the choice between Kafka's shapes takes: a second warm machine and two cells.
pub const CHOICE_SECONDS: u64 = 180 + 2 * 300;

/// Seconds that a cell is expected to take with its fewest pairs.
pub fn expected_seconds(cell: &Cell, mode: Mode) -> u64 {
    let between = match mode {
        Mode::Quick => 5,
        Mode::Full => 14,
    };
    let (run, trial) = match &cell.work {
        Work::Load(load) => {
            let jvm = if load.client == Client::Java { 3 } else { 0 };
            let bulk = if cell.name.starts_with("w4-bulk") && mode == Mode::Full {
                15
            } else {
                0
            };
            (mode.run_seconds() + jvm + bulk, mode.trial_seconds() + jvm)
        }
        Work::Consume(_) => (mode.run_seconds() + mode.consume_gigabytes() * 2, 0),
        Work::CatchUp => (90, 0),
        Work::Partitions(count) => (u64::from(*count) * 35 / 10_000 + 5, 0),
        Work::Idle => (mode.idle_seconds() + 14, 0),
        Work::Start => (12, 0),
        Work::Kill(_) => (40, 0),
    };
    let trials = match trial {
        0 => 0,
        _ => 2 * (trial + between),
    };
    2 * PAIRS_MIN as u64 * (run + between) + trials
}

/// Whether a cell is measured by one more pair.
pub fn wants_pair(pairs: usize, spread: f64, mode: Mode, has_time: bool) -> bool {
    pairs < PAIRS_MIN || (pairs < mode.pairs_max() && spread > SPREAD_MAX && has_time)
}

/// Hours and minutes, or minutes and seconds.
pub fn clock(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cell::cells;

    #[test]
    fn sides_take_turns() {
        use Side::{A, B};
        assert_eq!(order(2), [A, B, B, A]);
        assert_eq!(order(3), [A, B, B, A, A, B]);
        assert!(order(0).is_empty());
    }

    #[test]
    fn pairs_are_added_while_they_differ() {
        for (pairs, spread, mode, has_time, wanted) in [
            (0, 0.0, Mode::Quick, false, true),
            (1, 0.0, Mode::Full, false, true),
            (2, 0.21, Mode::Quick, true, false),
            (2, 0.21, Mode::Full, true, true),
            (2, 0.21, Mode::Full, false, false),
            (2, 0.19, Mode::Full, true, false),
            (5, 9.0, Mode::Full, true, false),
        ] {
            assert_eq!(
                wants_pair(pairs, spread, mode, has_time),
                wanted,
                "{pairs} {spread} {mode:?}"
            );
        }
    }

    #[test]
    fn everything_fits_into_its_time() {
        for mode in [Mode::Quick, Mode::Full] {
            let expected: u64 = cells(mode)
                .iter()
                .filter(|cell| cell.is_quick || mode == Mode::Full)
                .map(|cell| expected_seconds(cell, mode))
                .sum();
            let expected = expected + mode.warm_seconds();
            let expected = match mode {
                Mode::Quick => expected,
                Mode::Full => expected + CHOICE_SECONDS,
            };
            assert!(
                expected < mode.seconds_max(),
                "{mode:?}: {}",
                clock(expected)
            );
        }
    }

    #[test]
    fn times_are_told_in_two_units() {
        assert_eq!(clock(59), "0 min 59 s");
        assert_eq!(clock(61), "1 min 01 s");
        assert_eq!(clock(3 * 3600 + 120), "3 h 02 min");
    }
}
