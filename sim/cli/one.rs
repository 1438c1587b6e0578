//! One run in this process.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use sim::history::{History, write_edn, write_lines};
use sim::run::{Options, run};

use super::{Which, commit, plant_of};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Let this planted bug act.
    #[arg(long, value_name = "NAME")]
    plant: Option<String>,
    /// Tell the verdict as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    watching: Watching,
}

/// What a person wants to see of a run.
#[derive(clap::Args)]
pub(super) struct Watching {
    /// Write every event to this file.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write what clients asked and were told, as Jepsen's EDN.
    #[arg(long, value_name = "FILE")]
    edn: Option<PathBuf>,
    /// Write the same, a line each, for people.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Tell what the brokers log, with simulated time and node.
    #[arg(long)]
    log: bool,
    /// Let nobody judge: the trace must be the same.
    #[arg(long)]
    no_checkers: bool,
    /// Name the function that reaches past the simulation, if one does.
    #[arg(long)]
    leak_names: bool,
}

impl Watching {
    /// Options of a run that is watched like this.
    pub(super) fn options(&self) -> Result<Options, String> {
        if self.log {
            log();
        }
        let mut options = Options {
            without_checkers: self.no_checkers,
            ends_at_leaks: true,
            names_leaks: self.leak_names,
            ..Options::default()
        };
        if let Some(path) = &self.trace {
            options.trace = Some(Box::new(create(path)?));
        }
        Ok(options)
    }

    /// Opens the files for what clients saw: a run that has begun opens none.
    pub(super) fn histories(&self) -> Result<Histories, String> {
        Ok(Histories {
            edn: self.edn.as_deref().map(create).transpose()?,
            lines: self.history.as_deref().map(create).transpose()?,
        })
    }

    /// Whether anything is to be seen.
    pub(super) fn is_wanted(&self) -> bool {
        let files = [&self.trace, &self.edn, &self.history];
        self.log || files.into_iter().any(Option::is_some)
    }
}

/// Where what clients saw is written.
pub(super) struct Histories {
    edn: Option<BufWriter<File>>,
    lines: Option<BufWriter<File>>,
}

impl Histories {
    /// Writes it.
    pub(super) fn write(self, history: &History) -> Result<(), String> {
        let written = |result: std::io::Result<()>| result.map_err(|error| error.to_string());
        if let Some(mut out) = self.edn {
            written(write_edn(history, &mut out).and_then(|()| out.flush()))?;
        }
        if let Some(mut out) = self.lines {
            written(write_lines(history, &mut out).and_then(|()| out.flush()))?;
        }
        Ok(())
    }
}

fn create(path: &Path) -> Result<BufWriter<File>, String> {
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(BufWriter::new(file))
}

/// Runs a seed or a plan.
pub(super) fn run_one(arguments: &Arguments) -> Result<u8, String> {
    let plan = arguments.which.read()?;
    let planted = arguments.plant.as_deref().map(plant_of).transpose()?;
    let options = Options {
        planted,
        ..arguments.watching.options()?
    };
    let histories = arguments.watching.histories()?;
    let outcome = run(&plan, options);
    histories.write(&outcome.history)?;
    let mut verdict = outcome.verdict;
    verdict.commit = commit();
    if arguments.json {
        let text = serde_json::to_string(&verdict).map_err(|error| error.to_string())?;
        sayln!("{text}");
    } else {
        sayln!("{verdict}");
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
