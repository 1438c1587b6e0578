//! What many runs add up to: counted seed by seed, told as a table and as JSON, merged over machines.

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::plan::Profile;
use crate::verdict::{Color, GENERATOR, Outcomes, Verdict};

/// The format of a sweep's JSON.
pub const FORMAT: u32 = 1;

/// The part of a sweep that one machine runs: seeds whose place among all has this remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which one, from 0.
    pub index: u64,
    /// Of how many.
    pub count: u64,
}

impl Default for Shard {
    fn default() -> Shard {
        Shard { index: 0, count: 1 }
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/');
        let numbers =
            parts.and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match numbers {
            Some((index, count)) if index < count => Ok(Shard { index, count }),
            _ => Err(format!("`{text}` is no shard: `I/N`, I from 0 to N - 1")),
        }
    }
}

impl Shard {
    /// The seeds of this shard among `count` seeds from `start`.
    pub fn seeds(self, start: u64, count: u64) -> impl Iterator<Item = u64> {
        (start..start.saturating_add(count))
            .filter(move |seed| (seed - start) % self.count == self.index)
    }
}

/// How a run that is not green ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// A checker says that something is wrong.
    Red,
    /// Its process ended without a verdict.
    Died,
    /// A mark was missed.
    Stale,
}

/// A run that is not green.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trouble {
    /// The seed.
    pub seed: u64,
    /// The profile.
    pub profile: Profile,
    /// How it ended.
    pub end: End,
    /// The first checker, or nothing.
    pub checker: String,
    /// What it is about.
    pub object: String,
    /// What is wrong.
    pub message: String,
    /// How many things are wrong.
    pub reports: u64,
    /// The command line that shows it again.
    pub replay: String,
}

/// What many runs add up to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// [`FORMAT`].
    pub format: u32,
    /// [`GENERATOR`].
    pub generator: u32,
    /// What was built.
    pub commit: String,
    /// The profile.
    pub profile: Profile,
    /// The planted bug, or nothing.
    pub planted: Option<String>,
    /// The first seed of the whole sweep.
    pub start: u64,
    /// The parts that are in here.
    pub shards: Vec<Shard>,
    /// Runs that ended.
    pub seeds: u64,
    /// Runs that were asked for and not begun, because the time was over.
    pub not_begun: u64,
    /// Green runs.
    pub green: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Milliseconds of processors in runs.
    pub cpu_ms: u64,
    /// Milliseconds of cores that were given: wall time times cores.
    pub core_ms: u64,
    /// Events of traces.
    pub events: u64,
    /// Fault kinds: how often they took effect.
    pub faults: BTreeMap<String, Count>,
    /// Marks: how often they were hit.
    pub marks: BTreeMap<String, Count>,
    /// Operations by how they ended.
    pub operations: BTreeMap<String, Outcomes>,
    /// What checkers looked at.
    pub work: BTreeMap<String, u64>,
    /// How often the planted bug acted.
    pub activations: Count,
    /// Runs that are not green, by seed.
    pub troubles: Vec<Trouble>,
}

/// How often something happened, and in how many runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Times.
    pub times: u64,
    /// Runs.
    pub seeds: u64,
}

impl Count {
    fn add(&mut self, times: u64) {
        self.times += times;
        self.seeds += u64::from(times > 0);
    }

    fn merge(&mut self, other: Count) {
        self.times += other.times;
        self.seeds += other.seeds;
    }
}

/// What a sweep is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What was built.
    pub commit: String,
    /// The profile.
    pub profile: Profile,
    /// The planted bug.
    pub planted: Option<String>,
    /// The first seed.
    pub start: u64,
    /// The part.
    pub shard: Shard,
}

impl Tally {
    /// Of no runs.
    pub fn new(subject: Subject) -> Tally {
        Tally {
            format: FORMAT,
            generator: GENERATOR,
            commit: subject.commit,
            profile: subject.profile,
            planted: subject.planted,
            start: subject.start,
            shards: vec![subject.shard],
            seeds: 0,
            not_begun: 0,
            green: 0,
            simulated_ms: 0,
            cpu_ms: 0,
            core_ms: 0,
            events: 0,
            faults: BTreeMap::new(),
            marks: BTreeMap::new(),
            operations: BTreeMap::new(),
            work: BTreeMap::new(),
            activations: Count::default(),
            troubles: Vec::new(),
        }
    }

    /// A run ended; `replay` shows it again.
    pub fn add(&mut self, verdict: &Verdict, replay: &str) {
        self.seeds += 1;
        self.simulated_ms += verdict.simulated_ms;
        self.cpu_ms += verdict.cpu_ms;
        self.events += verdict.events;
        for (counts, seen) in [
            (&mut self.faults, &verdict.faults),
            (&mut self.marks, &verdict.marks),
        ] {
            for (name, &times) in seen {
                counts.entry(name.clone()).or_default().add(times);
            }
        }
        for (name, outcomes) in &verdict.operations {
            merge_outcomes(self.operations.entry(name.clone()).or_default(), outcomes);
        }
        for (name, count) in &verdict.work {
            *self.work.entry(name.clone()).or_default() += count;
        }
        let acted = verdict.planted.as_ref().map_or(0, |one| one.activations);
        self.activations.add(acted);
        if verdict.color == Color::Green {
            self.green += 1;
        } else {
            self.troubles.push(trouble(verdict, replay));
        }
    }

    /// A run's process ended without a verdict.
    pub fn add_dead(&mut self, seed: u64, why: &str, replay: &str) {
        self.seeds += 1;
        self.troubles.push(Trouble {
            seed,
            profile: self.profile,
            end: End::Died,
            checker: "died".into(),
            object: String::new(),
            message: why.to_owned(),
            reports: 1,
            replay: replay.to_owned(),
        });
    }

    /// Takes in what another machine ran.
    ///
    /// # Errors
    /// If it is about something else, or in here already.
    pub fn merge(&mut self, other: Tally) -> Result<(), String> {
        self.fits(&other)?;
        self.shards.extend(other.shards);
        self.shards.sort_by_key(|shard| shard.index);
        self.seeds += other.seeds;
        self.not_begun += other.not_begun;
        self.green += other.green;
        self.simulated_ms += other.simulated_ms;
        self.cpu_ms += other.cpu_ms;
        self.core_ms += other.core_ms;
        self.events += other.events;
        for (counts, seen) in [
            (&mut self.faults, other.faults),
            (&mut self.marks, other.marks),
        ] {
            for (name, count) in seen {
                counts.entry(name).or_default().merge(count);
            }
        }
        for (name, outcomes) in other.operations {
            merge_outcomes(self.operations.entry(name).or_default(), &outcomes);
        }
        for (name, count) in other.work {
            *self.work.entry(name).or_default() += count;
        }
        self.activations.merge(other.activations);
        self.troubles.extend(other.troubles);
        self.sort();
        Ok(())
    }

    fn fits(&self, other: &Tally) -> Result<(), String> {
        let differs = |what: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| {
            Err(format!("{what} differ: {a:?} and {b:?}"))
        };
        if (self.format, self.generator) != (other.format, other.generator) {
            let (a, b) = (self.generator, other.generator);
            return differs("format or generator", &(self.format, a), &(other.format, b));
        }
        if self.commit != other.commit {
            return differs("commits", &self.commit, &other.commit);
        }
        if (self.profile, &self.planted) != (other.profile, &other.planted) {
            let (a, b) = (self.profile, other.profile);
            return differs(
                "profile or planted bug",
                &(a, &self.planted),
                &(b, &other.planted),
            );
        }
        let is_here = |shard: &Shard| self.shards.contains(shard);
        if self.start == other.start && other.shards.iter().any(is_here) {
            return Err(format!(
                "the shards {:?} are in more than one file",
                other.shards
            ));
        }
        Ok(())
    }

    /// Puts what is not green in order.
    pub fn sort(&mut self) {
        self.troubles.sort();
    }

    /// Whether every run was green.
    pub fn is_green(&self) -> bool {
        self.troubles.is_empty()
    }

    /// Runs in a minute of a core.
    pub fn seeds_per_core_minute(&self) -> f64 {
        self.seeds as f64 * 60_000.0 / (self.core_ms.max(1) as f64)
    }

    /// Simulated time over processor time.
    pub fn speed(&self) -> f64 {
        self.simulated_ms as f64 / self.cpu_ms.max(1) as f64
    }
}

fn merge_outcomes(into: &mut Outcomes, more: &Outcomes) {
    into.ok += more.ok;
    into.fail += more.fail;
    into.info += more.info;
}

fn trouble(verdict: &Verdict, replay: &str) -> Trouble {
    let mut trouble = Trouble {
        seed: verdict.seed,
        profile: verdict.profile,
        end: End::Stale,
        checker: String::new(),
        object: String::new(),
        message: format!("not hit: {}", verdict.missed.join(", ")),
        reports: 0,
        replay: replay.to_owned(),
    };
    if let Some(first) = verdict.reports.first() {
        trouble.end = End::Red;
        trouble.checker.clone_from(&first.checker);
        trouble.object.clone_from(&first.object);
        trouble.message.clone_from(&first.message);
        trouble.reports = verdict.reports.len() as u64;
    }
    trouble
}
