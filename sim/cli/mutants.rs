//! Planted bugs must be found, and what is permitted must not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sim::controls::{CONTROLS, Control, control_of};
use sim::plan::Profile;
use sim::scoreboard::{ControlRow, Fate, Row, page, seeds_of};
use sim::verdict::Color;
use types::Plant;

use super::children::{Cores, End, Job, Runner, for_each};
use super::progress::Progress;
use super::{commit, plant_of, read, write};

/// The page of what was found.
const PAGE: &str = "docs/MUTANTS.md";
/// Seeds of each negative control.
const CONTROL_SEEDS: u64 = 20;
/// Seeds that are red without a planted bug, before the hunt for it ends: the tree has bugs of its own.
const RED_WITHOUT_MAX: usize = 20;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only these.
    names: Vec<String>,
    /// Seeds for each at most.
    #[arg(long, value_name = "N", default_value = "1000")]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value = "0")]
    start: u64,
    /// CPU seconds for each at most.
    #[arg(long, value_name = "S")]
    budget_seconds: Option<u64>,
    /// How rough the runs are.
    #[arg(long, value_enum, default_value = "all")]
    profile: Profile,
    /// Try the seed that docs/MUTANTS.md names first.
    #[arg(long)]
    again: bool,
    /// Write docs/MUTANTS.md, negative controls included.
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    cores: Cores,
}

#[derive(clap::Args)]
pub(super) struct ControlsArguments {
    /// Only these.
    names: Vec<String>,
    /// Seeds for each.
    #[arg(long, value_name = "N", default_value_t = CONTROL_SEEDS)]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value = "0")]
    start: u64,
    #[command(flatten)]
    cores: Cores,
}

/// What a hunt needs.
struct Hunt<'a> {
    arguments: &'a Arguments,
    runner: Runner,
    /// Seeds that were run without a planted bug: whether they are green.
    green: Mutex<BTreeMap<u64, bool>>,
    /// Seeds of the page.
    known: BTreeMap<String, u64>,
}

/// Hunts planted bugs.
pub(super) fn hunt_all(arguments: &Arguments) -> Result<u8, String> {
    let mut plants: Vec<Plant> = Plant::ALL.to_vec();
    if !arguments.names.is_empty() {
        let named: Result<_, String> = arguments.names.iter().map(|name| plant_of(name)).collect();
        plants = named?;
    }
    let known = match read(Path::new(PAGE)) {
        Ok(text) if arguments.again => seeds_of(&text),
        _ => BTreeMap::new(),
    };
    let hunt = Hunt {
        arguments,
        runner: Runner::new(arguments.cores.seconds_max)?,
        green: Mutex::default(),
        known,
    };
    let cores = arguments.cores.count();
    // One plant a core, or one plant on all cores.
    let (outer, inner) = if plants.len() >= cores {
        (cores, 1)
    } else {
        (1, cores)
    };
    let mut rows = Vec::new();
    let mut progress = Progress::new("mutants", Some(plants.len() as u64));
    let order: Vec<&str> = plants.iter().map(|plant| plant.name()).collect();
    for_each(
        outer,
        plants.iter().copied(),
        |plant| hunt.one(plant, inner),
        |result| {
            if let Some(row) = result {
                progress.step(row.fate() != Fate::Found);
                progress.say(&row.to_string());
                rows.push(row);
            }
            progress.show();
        },
    );
    progress.clear();
    rows.sort_by_key(|row| order.iter().position(|name| *name == row.name));
    let found = rows.iter().filter(|row| row.fate() == Fate::Found).count();
    sayln!("{found} of {} found", rows.len());
    if arguments.write {
        write_page(arguments, &rows)?;
    }
    Ok(u8::from(found < rows.len()))
}

fn write_page(arguments: &Arguments, rows: &[Row]) -> Result<(), String> {
    let page_path = PathBuf::from(PAGE);
    let (controls, _) = run_controls(CONTROLS.iter().collect(), 0..CONTROL_SEEDS, arguments.cores)?;
    let heading = format!(
        "Seeds from {} on, at most {}, of commit {}.",
        arguments.start,
        arguments.seeds,
        commit()
    );
    write(&page_path, &page(rows, &controls, &heading))?;
    sayln!("written: {PAGE}");
    Ok(())
}

impl Hunt<'_> {
    /// Hunts one planted bug, `cores` seeds at once.
    fn one(&self, plant: Plant, cores: usize) -> Row {
        let mut row = Row {
            name: plant.name().to_owned(),
            seed: None,
            seeds: 0,
            cpu_ms: 0,
            checker: String::new(),
            acted_seeds: 0,
            activations: 0,
            red_without: Vec::new(),
        };
        let known = self.known.get(&row.name).copied();
        let end = self.arguments.start.saturating_add(self.arguments.seeds);
        let others = (self.arguments.start..end).filter(|seed| Some(*seed) != known);
        let mut seeds = known.into_iter().chain(others);
        while row.seed.is_none() && !self.is_enough(&row) {
            let some: Vec<u64> = seeds.by_ref().take(cores).collect();
            if some.is_empty() {
                break;
            }
            self.try_seeds(plant, &some, &mut row);
        }
        row
    }

    fn is_enough(&self, row: &Row) -> bool {
        let is_spent = |budget: u64| row.cpu_ms >= budget.saturating_mul(1_000);
        self.arguments.budget_seconds.is_some_and(is_spent)
            || row.red_without.len() >= RED_WITHOUT_MAX
    }

    /// Runs some seeds at once, and looks at them in their order.
    fn try_seeds(&self, plant: Plant, seeds: &[u64], row: &mut Row) {
        let mut ends = Vec::new();
        let run = |seed: u64| {
            let job = Job {
                plant: Some(plant.name()),
                ..Job::new(seed, self.arguments.profile)
            };
            (seed, self.runner.run(&job))
        };
        for_each(seeds.len(), seeds.iter().copied(), run, |result| {
            ends.extend(result);
        });
        ends.sort_by_key(|(seed, _)| seeds.iter().position(|one| one == seed));
        for (seed, end) in ends {
            if row.seed.is_some() {
                return;
            }
            row.seeds += 1;
            let (checker, acted) = match end {
                End::Verdict(verdict) => {
                    row.cpu_ms += verdict.cpu_ms;
                    let acted = verdict.planted.as_ref().map_or(0, |one| one.activations);
                    row.activations += acted;
                    row.acted_seeds += u64::from(acted > 0);
                    let first = verdict.reports.first().map(|one| one.checker.clone());
                    (first, acted > 0)
                }
                End::Died(_) => (Some("died".into()), true),
            };
            let Some(checker) = checker else { continue };
            if self.is_green(seed) && acted {
                row.seed = Some(seed);
                row.checker = checker;
            } else {
                row.red_without.push(seed);
            }
        }
    }

    /// Whether a seed is green without a planted bug.
    fn is_green(&self, seed: u64) -> bool {
        let known = |hunt: &Self| {
            hunt.green
                .lock()
                .expect("nothing panics")
                .get(&seed)
                .copied()
        };
        if let Some(is_green) = known(self) {
            return is_green;
        }
        let end = self.runner.run(&Job::new(seed, self.arguments.profile));
        let is_green = matches!(end, End::Verdict(verdict) if verdict.color == Color::Green);
        self.green
            .lock()
            .expect("nothing panics")
            .insert(seed, is_green);
        is_green
    }
}

/// Runs negative controls.
pub(super) fn controls(arguments: &ControlsArguments) -> Result<u8, String> {
    let mut controls: Vec<&Control> = CONTROLS.iter().collect();
    if !arguments.names.is_empty() {
        let named: Result<_, String> = arguments
            .names
            .iter()
            .map(|name| control_of(name))
            .collect();
        controls = named?;
    }
    let seeds = arguments.start..arguments.start.saturating_add(arguments.seeds);
    let (rows, troubles) = run_controls(controls, seeds, arguments.cores)?;
    for row in &rows {
        sayln!(
            "{:<28} {:>5} seeds {:>4} reports  {}",
            row.name,
            row.seeds,
            row.red.len(),
            row.meaning
        );
    }
    Ok(u8::from(troubles > 0))
}

fn run_controls(
    controls: Vec<&'static Control>,
    seeds: std::ops::Range<u64>,
    cores: Cores,
) -> Result<(Vec<ControlRow>, u64), String> {
    let runner = Runner::new(cores.seconds_max)?;
    let mut rows: Vec<ControlRow> = controls
        .iter()
        .map(|control| ControlRow {
            name: control.name.to_owned(),
            meaning: control.meaning.to_owned(),
            seeds: 0,
            red: Vec::new(),
        })
        .collect();
    let jobs = controls.iter().enumerate().flat_map(|(index, control)| {
        seeds.clone().map(move |seed| {
            let job = Job {
                control: Some(control.name),
                ..Job::new(seed, Profile::Calm)
            };
            (index, job)
        })
    });
    let jobs: Vec<(usize, Job)> = jobs.collect();
    let mut progress = Progress::new("runs", Some(jobs.len() as u64));
    let mut troubles = 0;
    let run = |(index, job): (usize, Job)| {
        let end = runner.run(&job);
        (index, job, end)
    };
    for_each(cores.count(), jobs.into_iter(), run, |result| {
        if let Some((index, job, end)) = result {
            let row = &mut rows[index];
            row.seeds += 1;
            let trouble = match end {
                End::Verdict(verdict) => {
                    (verdict.color != Color::Green).then(|| verdict.to_string())
                }
                End::Died(why) => Some(why),
            };
            progress.step(trouble.is_some());
            if let Some(text) = trouble {
                troubles += 1;
                row.red.push(job.seed);
                progress.say(&format!("{text}\n  {}", job.replay()));
            }
        }
        progress.show();
    });
    progress.clear();
    Ok((rows, troubles))
}
