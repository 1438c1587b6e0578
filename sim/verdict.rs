//! What a run says at its end.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::Profile;

/// The version of what expands seeds and runs plans: another one gives other runs for the same seed.
pub const GENERATOR: u32 = 2;

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Nothing was found.
    Green,
    /// Something is wrong.
    Red,
    /// A mark that the plan asks for was not hit.
    Stale,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Report {
    /// Which checker: `H3`, `S13`, `L4`, or `panic`.
    pub checker: String,
    /// What it is about: a partition, a group, a node.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
    /// When it was seen, in simulated microseconds.
    pub at_us: u64,
}

/// How operations of a kind ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Outcomes {
    /// Done.
    pub ok: u64,
    /// Certainly not done.
    pub fail: u64,
    /// Unknown.
    pub info: u64,
}

/// The planted bug of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlantedRun {
    /// Its name.
    pub name: String,
    /// How often it acted.
    pub activations: u64,
}

/// What a run says at its end. All but `cpu_ms` is a function of plan, build and planted bug.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The plan's seed.
    pub seed: u64,
    /// The plan's profile.
    pub profile: Profile,
    /// [`GENERATOR`].
    pub generator: u32,
    /// What was built, if whoever started the run says so.
    #[serde(default)]
    pub commit: String,
    /// How it ended.
    pub color: Color,
    /// What is wrong, the first that was seen first.
    pub reports: Vec<Report>,
    /// The hash of the trace, in hexadecimal.
    pub trace_hash: String,
    /// Events of the trace.
    pub events: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Milliseconds of the processor.
    pub cpu_ms: u64,
    /// Faults that took effect, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Marks that were hit.
    pub marks: BTreeMap<String, u64>,
    /// Marks that the plan asks for and that were not hit.
    pub missed: Vec<String>,
    /// What clients did, by operation.
    pub operations: BTreeMap<String, Outcomes>,
    /// How much the checkers looked at.
    pub work: BTreeMap<String, u64>,
    /// The planted bug, if there was one.
    pub planted: Option<PlantedRun>,
}

impl Verdict {
    /// The exit code: 0 green, 1 red, 3 stale.
    pub fn exit_code(&self) -> u8 {
        match self.color {
            Color::Green => 0,
            Color::Red => 1,
            Color::Stale => 3,
        }
    }
}

impl fmt::Display for Verdict {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let color = match self.color {
            Color::Green => "green",
            Color::Red => "RED",
            Color::Stale => "STALE",
        };
        let (simulated, cpu) = (self.simulated_ms as f64 / 1e3, self.cpu_ms as f64 / 1e3);
        write!(
            f,
            "{color} seed {} trace {} events {} simulated {simulated:.1} s cpu {cpu:.2} s",
            self.seed, self.trace_hash, self.events
        )?;
        if let Some(planted) = &self.planted {
            write!(
                f,
                " planted {} acted {} times",
                planted.name, planted.activations
            )?;
        }
        match self.reports.first() {
            Some(first) => {
                let (checker, object) = (&first.checker, &first.object);
                let at = first.at_us as f64 / 1e6;
                write!(f, ": {checker} {object} at {at:.3} s: {}", first.message)?;
                match self.reports.len() {
                    1 => Ok(()),
                    more => write!(f, " (and {} more)", more - 1),
                }
            }
            None if !self.missed.is_empty() => write!(f, ": not hit: {}", self.missed.join(", ")),
            None => Ok(()),
        }
    }
}
