//! What was measured, as it lies in the JSON file.

use super::plan::{Mode, Side};
use super::stats::{Ratio, median};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names of figures, units last. All but the first two are better when they are smaller.
pub mod metric {
    pub const MEGABYTES: &str = "MB/s";
    pub const RECORDS: &str = "records/s";
    pub const CPU_PER_GB: &str = "broker CPU-s/GB";
    pub const CPU_PER_REQUEST: &str = "broker CPU-us/record";
    pub const CLIENT_CPU: &str = "client CPU-s";
    pub const AVERAGE: &str = "average ms";
    pub const P50: &str = "p50 ms";
    pub const P99: &str = "p99 ms";
    pub const P999: &str = "p99.9 ms";
    pub const ACK_P50: &str = "ack p50 ms";
    pub const ACK_P99: &str = "ack p99 ms";
    pub const RSS: &str = "RSS MB";
    pub const ANON: &str = "anonymous MB";
    pub const FLUSHES: &str = "disk flushes/record";
    pub const SECONDS: &str = "s";
    pub const CREATED: &str = "create answered s";
    pub const USABLE: &str = "record on each s";
    pub const CPU: &str = "broker CPU-s";
    pub const START: &str = "first answer s";
    pub const STOP: &str = "clean stop s";
    pub const RESTART: &str = "serving again s";
    pub const IDLE_CPU: &str = "idle CPU %";
    pub const HELD: &str = "GB held";
    pub const PRODUCE_P99_BEFORE: &str = "produce p99 before ms";
    pub const PRODUCE_P99_DURING: &str = "produce p99 during ms";
    /// In the order in which they are told.
    pub const ALL: [&str; 25] = [
        MEGABYTES,
        RECORDS,
        CPU_PER_GB,
        CPU_PER_REQUEST,
        FLUSHES,
        AVERAGE,
        P50,
        P99,
        P999,
        ACK_P50,
        ACK_P99,
        PRODUCE_P99_BEFORE,
        PRODUCE_P99_DURING,
        CREATED,
        USABLE,
        START,
        STOP,
        RESTART,
        HELD,
        CPU,
        IDLE_CPU,
        RSS,
        ANON,
        CLIENT_CPU,
        SECONDS,
    ];
}

/// Figures by their names.
pub type Figures = BTreeMap<String, f64>;

/// Figures from what they are called and what they are.
pub fn named<'a>(figures: impl IntoIterator<Item = (&'a str, f64)>) -> Figures {
    let owned = |(name, value): (&str, f64)| (name.to_owned(), value);
    figures.into_iter().map(owned).collect()
}

/// What else the machine did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Noise {
    /// The load average of one minute before the run; of the runs before it, mostly.
    pub load_before: f64,
    /// Processors that were busy for a second before the run, while both brokers stood still.
    pub busy_before: f64,
    /// Gigabytes of memory that could not be filled before the run: their first touch may be dear.
    pub free_gb_before: f64,
    /// Percent of the processors' time that the host gave to others during the run.
    pub steal_percent: f64,
    /// Processors that processes used during the run which are neither the broker nor its clients.
    pub others: f64,
    /// Processors that the kernel used meanwhile for nobody in particular: writing back, above all.
    pub kernel: f64,
}

impl Noise {
    /// Why the run's figures are not to be trusted, if they are not.
    pub fn complaint(&self) -> Option<String> {
        let mut causes = Vec::new();
        if self.busy_before > 0.15 {
            causes.push(format!("{:.2} processors busy before", self.busy_before));
        }
        if self.free_gb_before > 2.0 {
            causes.push(format!("{:.1} GB not filled before", self.free_gb_before));
        }
        if self.steal_percent > 2.0 {
            causes.push(format!("{:.1} % steal", self.steal_percent));
        }
        if self.others > 0.1 {
            causes.push(format!("others used {:.2} processors", self.others));
        }
        (!causes.is_empty()).then(|| causes.join(", "))
    }
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Of which side.
    pub side: Side,
    /// What came out.
    pub figures: Figures,
    /// What else happened.
    pub noise: Noise,
}

/// One row: all runs of a cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CellResult {
    /// The cell's name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// The figure that decided whether more pairs were needed.
    pub primary: String,
    /// When it was measured, UTC.
    pub date: String,
    /// How long its runs were.
    pub mode: Mode,
    /// In order; each two are a pair.
    pub runs: Vec<Run>,
    /// Why it could not be measured, or not to its end.
    pub failure: Option<String>,
}

impl CellResult {
    /// A figure of one side, the median of its runs.
    pub fn figure(&self, side: Side, name: &str) -> Option<f64> {
        let values: Vec<f64> = self
            .runs
            .iter()
            .filter(|run| run.side == side)
            .filter_map(|run| run.figures.get(name).copied())
            .collect();
        median(&values)
    }

    /// A ÷ B of a figure.
    pub fn ratio(&self, name: &str) -> Option<Ratio> {
        let pairs: Vec<(f64, f64)> = self
            .runs
            .chunks_exact(2)
            .filter_map(|pair| {
                let of = |side: Side| {
                    let run = pair.iter().find(|run| run.side == side)?;
                    run.figures.get(name).copied()
                };
                Some((of(Side::A)?, of(Side::B)?))
            })
            .collect();
        Ratio::of(&pairs)
    }

    /// Complaints of its runs, each once.
    pub fn noise(&self) -> Option<String> {
        let of = |run: &Run| {
            let side = match run.side {
                Side::A => "A",
                Side::B => "B",
            };
            run.noise.complaint().map(|why| format!("{side}: {why}"))
        };
        let complaints: Vec<String> = self.runs.iter().filter_map(of).collect();
        (!complaints.is_empty()).then(|| complaints.join("; "))
    }
}

/// How Kafka's shape was chosen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShapeChoice {
    /// `default` or `tuned`.
    pub chosen: String,
    /// Why.
    pub reason: String,
    /// The cells that decided: A is the default shape, B the tuned one.
    pub cells: Vec<CellResult>,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub processors: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub file_system: String,
}

/// A whole run of the chore.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// When it began, UTC.
    pub date: String,
    /// What was typed.
    pub command: String,
    pub mode: Mode,
    pub machine: Machine,
    /// Programs and their versions.
    pub versions: BTreeMap<String, String>,
    /// None if only one was tried.
    pub shape: Option<ShapeChoice>,
    /// Kafka's shape that was measured; none without a peer.
    pub peer_shape: Option<String>,
    pub cells: Vec<CellResult>,
}

impl Report {
    /// Takes in the cells of another report; those that both have are the other's.
    pub fn merge(&mut self, other: Report) {
        for cell in other.cells {
            match self.cells.iter_mut().find(|own| own.name == cell.name) {
                Some(own) => *own = cell,
                None => self.cells.push(cell),
            }
        }
        self.date = other.date;
        self.command = format!("{}; {}", self.command, other.command);
        self.versions.extend(other.versions);
        self.shape = other.shape.or(self.shape.take());
        self.peer_shape = other.peer_shape.or(self.peer_shape.take());
        if other.mode == Mode::Full {
            self.mode = Mode::Full;
        }
    }
}

#[cfg(test)]
pub mod samples {
    use super::*;

    /// A run with one figure.
    pub fn run(side: Side, name: &str, value: f64) -> Run {
        Run {
            side,
            figures: named([(name, value)]),
            noise: Noise::default(),
        }
    }

    /// A cell with these runs.
    pub fn cell(name: &str, runs: Vec<Run>) -> CellResult {
        CellResult {
            name: name.to_owned(),
            title: format!("what {name} is"),
            primary: metric::CPU_PER_GB.to_owned(),
            date: "2026-11-21 23:00".to_owned(),
            mode: Mode::Quick,
            runs,
            failure: None,
        }
    }

    /// A report of these cells.
    pub fn report(cells: Vec<CellResult>) -> Report {
        Report {
            date: "2026-11-21 23:00".to_owned(),
            command: "cargo xtask bench".to_owned(),
            mode: Mode::Quick,
            machine: Machine::default(),
            versions: BTreeMap::from([("Apache Kafka".to_owned(), "4.3.1".to_owned())]),
            shape: None,
            peer_shape: Some("tuned".to_owned()),
            cells,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{cell, report, run};
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_a_pair_whatever_its_order() {
        let name = metric::CPU_PER_GB;
        let cell = cell(
            "w1",
            vec![
                run(Side::A, name, 1.0),
                run(Side::B, name, 2.0),
                run(Side::B, name, 10.0),
                run(Side::A, name, 4.0),
            ],
        );
        let ratio = cell.ratio(name).expect("two pairs");
        assert_eq!((ratio.min, ratio.max, ratio.pairs), (0.4, 0.5, 2));
        assert_eq!(cell.figure(Side::B, name), Some(6.0));
        assert_eq!(cell.ratio(metric::P50), None);
    }

    #[test]
    fn noise_is_named() {
        assert_eq!(Noise::default().complaint(), None);
        let noise = Noise {
            steal_percent: 3.0,
            others: 0.5,
            ..Noise::default()
        };
        let said = noise.complaint().expect("a complaint");
        assert_eq!(said, "3.0 % steal, others used 0.50 processors");
    }

    #[test]
    fn the_later_report_wins() {
        let name = metric::CPU_PER_GB;
        let mut first = report(vec![
            cell("a", vec![run(Side::A, name, 1.0)]),
            cell("b", vec![]),
        ]);
        first.merge(report(vec![
            cell("a", vec![run(Side::A, name, 2.0)]),
            cell("c", vec![]),
        ]));
        let names: Vec<&str> = first.cells.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(first.cells[0].figure(Side::A, name), Some(2.0));
    }

    #[test]
    fn a_report_comes_back_from_its_json() {
        let cells = vec![cell("a", vec![run(Side::A, metric::P50, 1.5)])];
        let text = serde_json::to_string(&report(cells)).expect("it is plain data");
        let back: Report = serde_json::from_str(&text).expect("it was written so");
        assert_eq!(back.cells[0].figure(Side::A, metric::P50), Some(1.5));
    }
}
