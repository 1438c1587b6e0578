//! The command line.
//!
//! Everything here but a single run happens in processes of its own: one for each seed, started from this executable.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line starts processes and writes files outside of every run"
)]

#[macro_use]
mod say;

mod bench;
mod children;
mod determinism;
mod list;
mod mutants;
mod one;
mod progress;
mod replay;
mod sweep;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use sim::controls::control_of;
use sim::plan::{Plan, Profile, generate};
use sim::scenario::of_seed;
use types::Plant;

/// The simulator: whole clusters in one process, from one seed.
///
/// Exit codes: 0 green or as expected, 1 red or otherwise, 2 wrong use, 3 a scenario that did not happen.
#[derive(Parser)]
#[command(name = "cargo sim", bin_name = "cargo sim")]
enum Command {
    /// Print the plan of a seed.
    Plan(PlanArguments),
    /// Run a seed or a plan: one line says how it ended.
    Run(one::Arguments),
    /// Run many seeds over all cores, a process each, and tell what they add up to.
    Sweep(sweep::Arguments),
    /// Add up the files that the shards of a sweep wrote.
    Merge(sweep::MergeArguments),
    /// Run a scenario or a plan, or all of a folder, and compare with what they expect.
    Replay(replay::Arguments),
    /// Run seeds twice or more in fresh processes and compare their traces.
    Determinism(determinism::Arguments),
    /// Hunt planted bugs: how many seeds until a checker sees each.
    Mutants(mutants::Arguments),
    /// Run what is permitted and looks bad: nothing may be reported.
    Controls(mutants::ControlsArguments),
    /// Measure how fast the simulator is.
    Bench(bench::Arguments),
    /// List checkers, kinds of faults, marks, mutants and negative controls.
    List(list::Arguments),
}

#[derive(clap::Args)]
struct PlanArguments {
    #[command(flatten)]
    which: Which,
    /// As a scenario: the faults beside the seed that all else comes from.
    #[arg(long, conflicts_with_all = ["plan", "control"])]
    scenario: bool,
}

/// What is run.
#[derive(clap::Args)]
struct Which {
    /// The seed.
    #[arg(long, required_unless_present = "plan")]
    seed: Option<u64>,
    /// A plan's file instead of a seed.
    #[arg(long, conflicts_with = "seed")]
    plan: Option<PathBuf>,
    /// How rough it is.
    #[arg(long, value_enum, default_value = "all")]
    profile: Profile,
    /// Change the seed's plan by this negative control.
    #[arg(long, conflicts_with = "plan")]
    control: Option<String>,
    /// As `bench` measures it: six clients, 120 simulated seconds.
    #[arg(long, conflicts_with_all = ["plan", "profile", "control"])]
    benchmark: bool,
}

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Plan(arguments) => print_plan(&arguments),
        Command::Run(arguments) => one::run_one(&arguments),
        Command::Sweep(arguments) => sweep::sweep(&arguments),
        Command::Merge(arguments) => sweep::merge(&arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::Determinism(arguments) => determinism::compare(&arguments),
        Command::Mutants(arguments) => mutants::hunt_all(&arguments),
        Command::Controls(arguments) => mutants::controls(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::List(arguments) => {
            list::list(&arguments);
            Ok(0)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

fn print_plan(arguments: &PlanArguments) -> Result<u8, String> {
    if arguments.scenario {
        let seed = arguments.which.seed.unwrap_or_default();
        say::print(format_args!("{}", of_seed(seed, arguments.which.profile)));
    } else {
        say::print(format_args!("{}", arguments.which.read()?.to_text()));
    }
    Ok(0)
}

impl Which {
    fn read(&self) -> Result<Plan, String> {
        if let Some(path) = &self.plan {
            return Plan::parse(&read(path)?)
                .map_err(|error| format!("{}: {error}", path.display()));
        }
        if self.benchmark {
            return Ok(sim::bench::plan(self.seed.unwrap_or_default()));
        }
        let mut plan = generate(self.seed.unwrap_or_default(), self.profile);
        if let Some(name) = &self.control {
            control_of(name)?.apply(&mut plan);
        }
        Ok(plan)
    }
}

/// The text of a file.
fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file and the folders above it.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            std::fs::create_dir_all(folder).map_err(wrong)?;
        }
        _ => {}
    }
    std::fs::write(path, text).map_err(wrong)
}

/// A profile as the command line has it.
fn name_of(profile: Profile) -> &'static str {
    match profile {
        Profile::Calm => "calm",
        Profile::Swarm => "swarm",
        Profile::All => "all",
    }
}

/// The planted bug of this name, or the names that there are.
fn plant_of(name: &str) -> Result<Plant, String> {
    Plant::from_name(name).ok_or_else(|| {
        let mut text = format!("no planted bug is named `{name}`; there are:");
        for plant in Plant::ALL {
            text.push_str(&format!("\n  {:<28} {}", plant.name(), plant.what()));
        }
        text
    })
}

/// What was built, as whoever started this process says.
fn commit() -> String {
    std::env::var("MILLRACE_COMMIT").unwrap_or_else(|_| "unknown".into())
}
