//! The command line.

use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sim::plan::{Plan, Profile, generate};
use sim::run::{Options, arm, run};

/// The simulator: whole clusters in one process, from one seed.
#[derive(Parser)]
#[command(name = "cargo sim")]
enum Command {
    /// Print the plan of a seed.
    Plan(Which),
    /// Run a seed or a plan.
    Run(RunArguments),
}

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
}

#[derive(clap::Args)]
struct RunArguments {
    #[command(flatten)]
    which: Which,
    /// Write every event to this file.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Tell the verdict as JSON.
    #[arg(long)]
    json: bool,
    /// Tell what the brokers log, with simulated time and node.
    #[arg(long)]
    log: bool,
    /// Let nobody judge: the trace must be the same.
    #[arg(long)]
    no_checkers: bool,
}

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Plan(which) => which.read().map(|plan| {
            print!("{}", plan.to_text());
            0
        }),
        Command::Run(arguments) => run_one(&arguments),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

impl Which {
    fn read(&self) -> Result<Plan, String> {
        let Some(path) = &self.plan else {
            return Ok(generate(self.seed.unwrap_or_default(), self.profile));
        };
        let wrong = |reason: String| format!("{}: {reason}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Plan::parse(&text).map_err(|error| wrong(error.to_string()))
    }
}

fn run_one(arguments: &RunArguments) -> Result<u8, String> {
    let plan = arguments.which.read()?;
    if arguments.log {
        log();
    }
    let mut options = Options {
        without_checkers: arguments.no_checkers,
        ..Options::default()
    };
    if let Some(path) = &arguments.trace {
        let file =
            std::fs::File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        options.trace = Some(Box::new(BufWriter::new(file)));
    }
    arm().map_err(|error| format!("leaks cannot be watched for: {error}"))?;
    let verdict = run(&plan, options).verdict;
    if arguments.json {
        let text = serde_json::to_string(&verdict).map_err(|error| error.to_string())?;
        println!("{text}");
    } else {
        println!("{verdict}");
    }
    Ok(verdict.exit_code())
}

/// Tells what the brokers log, with simulated time and node.
fn log() {
    struct Simulated;
    impl tracing_subscriber::fmt::time::FormatTime for Simulated {
        fn format_time(
            &self,
            w: &mut tracing_subscriber::fmt::format::Writer<'_>,
        ) -> std::fmt::Result {
            let micros = runtime::simulated::world::now_nanos() / 1_000;
            let node = runtime::simulated::world::current_node();
            write!(
                w,
                "{:>4}.{:06} node {node}",
                micros / 1_000_000,
                micros % 1_000_000
            )
        }
    }
    tracing_subscriber::fmt()
        .with_timer(Simulated)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
