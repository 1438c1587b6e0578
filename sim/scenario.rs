//! Scenarios: stories of a few lines, as files that are kept and replayed.
//!
//! A scenario is a plan with something to say: what it tells, how it must end, which marks it must hit. Instead of a
//! whole plan it may name a seed and a profile whose plan it changes (`[base]`), and its faults may be written short.
//! `fault-scenarios/README.md` explains the vocabulary.

#[cfg(all(test, madsim))]
mod replay_tests;
mod short;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use toml::{Table, Value};

use crate::marks;
use crate::plan::{
    BrokerPlan, ClientPlan, Event, FORMAT, Fault, FileFault, LinkPlan, Plan, Profile, TopicPlan,
    When, generate,
};
use crate::verdict::{Color, Verdict};

/// How a scenario must end.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Expectation {
    /// Nothing is wrong.
    #[default]
    Green,
    /// This checker says that something is wrong.
    Red(String),
}

/// A story that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What it tells, in a line.
    pub title: String,
    /// How it must end.
    pub expect: Expectation,
    /// The planted bug that acts, by name.
    pub planted: Option<String>,
    /// What is run.
    pub plan: Plan,
}

/// Why a text is no scenario.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ScenarioError {
    /// Where in the text.
    pub place: String,
    /// Why.
    pub reason: String,
}

/// What a replay says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As expected.
    AsExpected,
    /// Another end than expected: which.
    Otherwise(String),
    /// What the story is about did not happen.
    Stale(Vec<String>),
}

impl Ending {
    /// The exit code: 0 as expected, 1 otherwise, 3 stale.
    pub fn exit_code(&self) -> u8 {
        match self {
            Ending::AsExpected => 0,
            Ending::Otherwise(_) => 1,
            Ending::Stale(_) => 3,
        }
    }
}

impl fmt::Display for Ending {
    /// A word, and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::AsExpected => f.write_str("ok"),
            Ending::Otherwise(reason) => write!(f, "OTHERWISE ({reason})"),
            Ending::Stale(missed) => write!(f, "STALE (did not happen: {})", missed.join(", ")),
        }
    }
}

fn wrong(place: impl Into<String>, reason: impl fmt::Display) -> ScenarioError {
    let reason = reason.to_string();
    ScenarioError {
        place: place.into(),
        reason: reason.trim_end().to_owned(),
    }
}

/// Takes a part of the text and reads it.
fn take<T: for<'de> Deserialize<'de>>(
    table: &mut Table,
    key: &str,
) -> Result<Option<T>, ScenarioError> {
    let Some(value) = table.remove(key) else {
        return Ok(None);
    };
    let read = value.try_into().map_err(|error| wrong(key, error))?;
    Ok(Some(read))
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// With the place and the reason.
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        let mut table: Table = toml::from_str(text).map_err(|error| wrong("text", error))?;
        let title = take(&mut table, "title")?.unwrap_or_default();
        let expect = take::<String>(&mut table, "expect")?;
        let planted = take::<String>(&mut table, "planted")?;
        let plan = match take::<Base>(&mut table, "base")? {
            Some(base) => base.changed(table)?,
            None => Plan::parse(&toml::to_string(&table).map_err(|error| wrong("text", error))?)
                .map_err(|error| wrong("plan", error))?,
        };
        for mark in &plan.must_hit {
            if !marks::is_known(mark) && event_of(mark).is_none() {
                let reason = format!("`{mark}` is no mark, and no event as `when` has it");
                return Err(wrong("must_hit", reason));
            }
        }
        Ok(Scenario {
            title,
            expect: expectation(expect.as_deref())?,
            planted,
            plan,
        })
    }

    /// How a run of this scenario ended.
    pub fn judge(&self, verdict: &Verdict) -> Ending {
        let missed = self.missed(verdict);
        let red_by = |name: &String| verdict.reports.iter().any(|one| one.checker == *name);
        match (&self.expect, verdict.color) {
            (Expectation::Green, Color::Red) => Ending::Otherwise("it must be green".into()),
            (Expectation::Red(name), Color::Red) if !red_by(name) => {
                Ending::Otherwise(format!("it must be red by {name}"))
            }
            _ if !missed.is_empty() => Ending::Stale(missed),
            (Expectation::Red(name), Color::Green | Color::Stale) => {
                Ending::Otherwise(format!("it must be red by {name}"))
            }
            _ => Ending::AsExpected,
        }
    }

    /// What the story is about and did not happen: its marks, its faults, its planted bug.
    fn missed(&self, verdict: &Verdict) -> Vec<String> {
        let mut missed: Vec<String> = verdict
            .missed
            .iter()
            .map(|mark| format!("mark {mark}"))
            .collect();
        let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
        for planned in &self.plan.faults {
            if let Some(name) = counted_as(&planned.fault) {
                *wanted.entry(name).or_default() += 1;
            }
        }
        for (name, count) in wanted {
            let came = verdict.faults.get(name).copied().unwrap_or(0);
            if came < count {
                missed.push(format!("fault {name} ({came} of {count})"));
            }
        }
        if let Some(planted) = &verdict.planted
            && planted.activations == 0
        {
            missed.push(format!("planted bug {}", planted.name));
        }
        missed
    }
}

fn expectation(text: Option<&str>) -> Result<Expectation, ScenarioError> {
    match text
        .map(|text| text.split_whitespace().collect::<Vec<_>>())
        .as_deref()
    {
        None | Some(["green"]) => Ok(Expectation::Green),
        Some(["red", "by", name]) => Ok(Expectation::Red((*name).to_owned())),
        Some(words) => {
            let reason = format!("`green` or `red by CHECKER`, not `{}`", words.join(" "));
            Err(wrong("expect", reason))
        }
    }
}

/// The name by which a verdict counts this fault, if there is only one.
fn counted_as(fault: &Fault) -> Option<&'static str> {
    match fault {
        Fault::Disk { effect, .. } => Some(match effect {
            FileFault::WriteError => "write-eio",
            FileFault::SyncError => "sync-eio",
            FileFault::DirectorySyncError => "sync-dir-eio",
            FileFault::ReadError => "read-eio",
            FileFault::OpenError => "open-eio",
            FileFault::RenameError => "rename-eio",
            FileFault::NoSpace => "write-enospc",
        }),
        // Counted by the operations that they meet, whichever these are.
        Fault::Stall { .. } | Fault::DiskFull { .. } => None,
        other => Some(other.name()),
    }
}

/// The plan that a scenario changes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    seed: u64,
    /// None: a plain broker, without topics and clients.
    profile: Option<Profile>,
}

impl Base {
    /// The base's plan with everything that `table` says.
    fn changed(self, mut table: Table) -> Result<Plan, ScenarioError> {
        let format = take::<u32>(&mut table, "format")?.unwrap_or(FORMAT);
        if format != FORMAT {
            let reason = format!("{format} is not read by this simulator, {FORMAT} is");
            return Err(wrong("format", reason));
        }
        let mut plan = match self.profile {
            Some(profile) => generate(self.seed, profile),
            None => plain(self.seed),
        };
        self.replace(&mut plan, &mut table)?;
        if let Some(link) = take::<Table>(&mut table, "link")? {
            plan.link = patched::<LinkPlan>(&plan.link, link, "link")?;
        }
        if let Some(broker) = take::<Table>(&mut table, "broker")? {
            for one in &mut plan.brokers {
                *one = patched::<BrokerPlan>(one, broker.clone(), "broker")?;
            }
        }
        let faults = take::<Vec<Table>>(&mut table, "faults")?.unwrap_or_default();
        for (index, fault) in faults.into_iter().enumerate() {
            let place = format!("faults[{index}]");
            let fault = short::fault(fault).map_err(|reason| wrong(place, reason))?;
            plan.faults.push(fault);
        }
        plan.must_hit = take(&mut table, "must_hit")?.unwrap_or_default();
        if let Some(key) = table.keys().next() {
            return Err(wrong(key.clone(), "a scenario has no such part"));
        }
        // Once more, as a whole: what is true of every plan is true of this one.
        Plan::parse(&plan.to_text()).map_err(|error| wrong("plan", error))
    }

    /// The parts that are replaced as a whole.
    fn replace(&self, plan: &mut Plan, table: &mut Table) -> Result<(), ScenarioError> {
        if let Some(duration_ms) = take(table, "duration_ms")? {
            plan.duration_ms = duration_ms;
            let is_early = |step: &crate::plan::Step| step.at_ms < duration_ms;
            for client in &mut plan.clients {
                client.steps.retain(is_early);
            }
        }
        if let Some(healing_ms_max) = take(table, "healing_ms_max")? {
            plan.healing_ms_max = healing_ms_max;
        }
        if let Some(topics) = take::<Vec<TopicPlan>>(table, "topics")? {
            plan.topics = topics;
        }
        if let Some(clients) = take::<Vec<Table>>(table, "clients")? {
            let read = |(index, mut client): (usize, Table)| {
                let place = || format!("clients[{index}]");
                short::repeat_steps(&mut client).map_err(|reason| wrong(place(), reason))?;
                client.insert("id".into(), Value::Integer(index as i64));
                client.try_into().map_err(|error| wrong(place(), error))
            };
            let read: Result<Vec<ClientPlan>, ScenarioError> =
                clients.into_iter().enumerate().map(read).collect();
            plan.clients = read?;
        }
        Ok(())
    }
}

/// A broker as most have it and nobody else: what a story begins with that needs no more.
fn plain(seed: u64) -> Plan {
    let options = [
        ("offsets.topic.num.partitions", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.min.session.timeout.ms", "1000"),
    ];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Plan {
        format: FORMAT,
        seed,
        profile: Profile::Calm,
        duration_ms: 20_000,
        healing_ms_max: 60_000,
        link: LinkPlan {
            latency_us: 100,
            jitter_us: 20,
            tail_one_in: 0,
            tail_factor: 1,
            bytes_per_second: 125_000_000,
            window_bytes: 64 << 10,
            chunk_bytes_max: 16 << 10,
        },
        brokers: vec![BrokerPlan {
            id: 1,
            cores: 1,
            open_files_max: 400,
            memory_bytes_max: 64 << 20,
            disk_bytes: 1 << 30,
            sync_us_max: 1_000,
            clock_offset_ms: 0,
            clock_drift_ppm: 0,
            options: options.map(owned).into(),
        }],
        topics: Vec::new(),
        clients: Vec::new(),
        faults: Vec::new(),
        must_hit: Vec::new(),
    }
}

/// `before` with what `change` says; tables inside are changed in the same way.
fn patched<T>(before: &T, change: Table, place: &str) -> Result<T, ScenarioError>
where
    T: serde::Serialize + for<'de> Deserialize<'de>,
{
    let mut table = Table::try_from(before).map_err(|error| wrong(place, error))?;
    patch(&mut table, change);
    table.try_into().map_err(|error| wrong(place, error))
}

fn patch(table: &mut Table, change: Table) {
    for (key, value) in change {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(change)) => patch(inner, change),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// The event that a mark of this name stands for, if the name is an event as `when` writes it, in two words or more.
pub fn event_of(mark: &str) -> Option<Event> {
    match short::when(mark) {
        Ok(When::Event(event)) if mark.contains(' ') => Some(event),
        _ => None,
    }
}

/// The scenario with the same story as the plan of a seed: its base without faults, and its faults, written short.
pub fn of_seed(seed: u64, profile: Profile) -> String {
    let plan = generate(seed, profile);
    let mut text = format!(
        "format = {FORMAT}\ntitle = \"what it tells\"\n# expect = \"red by S12\"\n# must_hit = [\"power-loss-lost-writes\"]\n\n\
         [base]\nseed = {seed}\nprofile = \"calm\"\n"
    );
    for fault in &plan.faults {
        text.push_str("\n[[faults]]\n");
        text.push_str(&short::text(fault));
    }
    text
}
