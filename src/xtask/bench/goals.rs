//! What the figures must reach, and whether they do.

use super::plan::Side;
use super::result::{CellResult, metric};

/// What is compared with a goal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Of {
    /// Millrace ÷ Kafka.
    Ratio,
    /// Millrace's own figure.
    Ours,
}

/// One goal; a figure of one or several cells.
pub struct Goal {
    /// Cells whose names begin so.
    cells: &'static [&'static str],
    metric: &'static str,
    of: Of,
    /// The bound, itself included: the upper one, but for throughput.
    bound: f64,
    /// What would be a wonder, for people.
    pub moonshot: &'static str,
}

const fn ratio(
    cells: &'static [&'static str],
    metric: &'static str,
    bound: f64,
    moonshot: &'static str,
) -> Goal {
    Goal {
        cells,
        metric,
        of: Of::Ratio,
        bound,
        moonshot,
    }
}

/// Every goal, in the order of the workloads.
pub const GOALS: &[Goal] = &[
    ratio(
        &["w1-1KiB-16p-java", "w1-1KiB-16p-ours"],
        metric::CPU_PER_GB,
        0.40,
        "≤ 0.25x",
    ),
    ratio(
        &["w1-100B-16p", "w1-10KiB-16p", "w1-1KiB-100p"],
        metric::CPU_PER_GB,
        0.40,
        "≤ 0.25x",
    ),
    ratio(
        &["w1-1KiB-16p-librdkafka"],
        metric::MEGABYTES,
        1.2,
        "≥ 1.5x",
    ),
    ratio(&["w2-"], metric::CPU_PER_REQUEST, 0.15, "≤ 0.10x"),
    ratio(&["w3-1k"], metric::P50, 0.6, "≤ 0.4x"),
    ratio(&["w3-1k"], metric::P99, 0.6, "≤ 0.4x"),
    ratio(&["w3-1k"], metric::P999, 0.3, "≤ 0.4x"),
    ratio(&["w3-10k"], metric::P99, 0.15, "≤ 0.1x"),
    ratio(&["w3-50k"], metric::P99, 0.02, "≤ 0.01x"),
    ratio(&["w4-tiny-"], metric::RECORDS, 4.0, "≥ 15x by ours"),
    ratio(&["w4-tiny-"], metric::CPU_PER_REQUEST, 0.1, ""),
    Goal {
        cells: &["w4-tiny-"],
        metric: metric::FLUSHES,
        of: Of::Ours,
        bound: 0.3,
        moonshot: "≤ 0.1",
    },
    ratio(
        &["w4-ack-"],
        metric::P50,
        0.5,
        "≤ Kafka's answer without a sync",
    ),
    ratio(
        &["w4-ack-"],
        metric::P99,
        0.5,
        "≤ Kafka's answer without a sync",
    ),
    ratio(
        &["w4-bulk-"],
        metric::MEGABYTES,
        1.3,
        "≥ 90 % of ours without a sync",
    ),
    ratio(&["w5a-"], metric::CPU_PER_GB, 0.6, "≤ 0.3x"),
    ratio(
        &["w6-10000p"],
        metric::USABLE,
        0.1,
        "100,000 partitions in 1 GB",
    ),
    ratio(&["w6-10000p"], metric::RSS, 0.1, ""),
    ratio(&["w6-10000p"], metric::RESTART, 0.1, ""),
    ratio(&["w9-"], metric::RSS, 0.05, "15 MB"),
    ratio(&["w9-"], metric::IDLE_CPU, 0.05, "0.1 %"),
    ratio(&["w10a-"], metric::START, 0.03, "10 ms"),
    ratio(&["w8-idempotence"], metric::CPU_PER_GB, 1.03, "≤ 1.01x"),
];

/// A goal beside what was measured.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// What was compared: the ratio's median or our figure.
    pub measured: f64,
    /// The goal in words.
    pub goal: String,
    /// Whether it is met.
    pub is_met: bool,
}

impl Goal {
    /// The figure that it is about.
    pub fn metric(&self) -> &'static str {
        self.metric
    }

    /// Whether it is about a cell.
    pub fn is_of(&self, cell: &CellResult) -> bool {
        self.cells.iter().any(|start| cell.name.starts_with(start))
    }

    /// What a cell says about it; nothing if it has no such figure.
    pub fn judge(&self, cell: &CellResult) -> Option<Verdict> {
        let measured = match self.of {
            Of::Ratio => cell.ratio(self.metric)?.median,
            Of::Ours => cell.figure(Side::A, self.metric)?,
        };
        let is_more_better = [metric::MEGABYTES, metric::RECORDS].contains(&self.metric);
        let (sign, is_met) = match is_more_better {
            true => ('≥', measured >= self.bound),
            false => ('≤', measured <= self.bound),
        };
        let unit = if self.of == Of::Ratio { "x" } else { "" };
        Some(Verdict {
            measured,
            goal: format!("{sign} {}{unit}", self.bound),
            is_met,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::cell::cells;
    use super::super::plan::Mode;
    use super::super::result::samples;
    use super::*;

    #[test]
    fn every_goal_is_about_a_cell_that_there_is() {
        let cells = cells(Mode::Full);
        for goal in GOALS {
            for start in goal.cells {
                let is_there = cells.iter().any(|cell| cell.name.starts_with(start));
                assert!(is_there, "{start}");
            }
        }
    }

    #[test]
    fn less_is_better_but_for_throughput() {
        for (name, metric, ours, peer, wanted) in [
            ("w1-1KiB-16p-java", metric::CPU_PER_GB, 0.4, 1.0, Some(true)),
            (
                "w1-1KiB-16p-java",
                metric::CPU_PER_GB,
                0.41,
                1.0,
                Some(false),
            ),
            ("w4-bulk-1p-ours", metric::MEGABYTES, 1.4, 1.0, Some(true)),
            ("w4-bulk-1p-ours", metric::MEGABYTES, 1.2, 1.0, Some(false)),
            ("w4-tiny-1p-ours", metric::FLUSHES, 0.2, 3.0, Some(true)),
            ("w4-tiny-1p-ours", metric::FLUSHES, 0.4, 3.0, Some(false)),
            ("w4-bulk-1p-ours", metric::P50, 0.2, 1.0, None),
        ] {
            let runs = vec![
                samples::run(Side::A, metric, ours),
                samples::run(Side::B, metric, peer),
            ];
            let cell = samples::cell(name, runs);
            let verdicts = GOALS.iter().filter(|goal| goal.is_of(&cell));
            let verdict = verdicts.filter_map(|goal| goal.judge(&cell)).next();
            assert_eq!(
                verdict.map(|verdict| verdict.is_met),
                wanted,
                "{name} {ours}"
            );
        }
    }
}
