//! The same seed in fresh processes: the same trace, byte for byte.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use sim::compare::first_difference;
use sim::plan::Profile;
use sim::verdict::Verdict;

use super::children::{Cores, End, Job, Runner, for_each};
use super::name_of;
use super::progress::Progress;

/// How often two traces are written until they differ as their hashes did.
const TRIES: u32 = 4;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How many seeds.
    #[arg(long, value_name = "N", default_value = "20")]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value = "0")]
    start: u64,
    /// How rough the runs are.
    #[arg(long, value_enum, default_value = "all")]
    profile: Profile,
    /// Another build of the simulator that must give the same traces.
    #[arg(long, value_name = "FILE")]
    other_binary: Option<PathBuf>,
    /// Let nobody judge in the second process: checkers must change nothing.
    #[arg(long)]
    checkers_off: bool,
    /// Where traces that differ are kept.
    #[arg(long, value_name = "FOLDER", default_value = "target/sim/traces")]
    keep: PathBuf,
    #[command(flatten)]
    cores: Cores,
}

/// What became of one seed.
enum Found {
    Same,
    Differs(String),
}

/// Compares runs of each seed.
pub(super) fn compare(arguments: &Arguments) -> Result<u8, String> {
    let own = Runner::new(arguments.cores.seconds_max)?;
    let mut runners = vec![own.clone(), own];
    if let Some(path) = &arguments.other_binary {
        runners.push(Runner::of(path, arguments.cores.seconds_max));
    }
    let seeds = arguments.start..arguments.start.saturating_add(arguments.seeds);
    let mut progress = Progress::new("seeds", Some(arguments.seeds));
    let mut differ = 0u64;
    for_each(
        arguments.cores.count(),
        seeds,
        |seed| {
            let job = Job::new(seed, arguments.profile);
            compare_one(&job, &runners, arguments)
        },
        |result| {
            if let Some(found) = result {
                progress.step(matches!(found, Found::Differs(_)));
                if let Found::Differs(text) = found {
                    differ += 1;
                    progress.say(&text);
                }
            }
            progress.show();
        },
    );
    progress.clear();
    let (seeds, runs) = (arguments.seeds, runners.len());
    sayln!(
        "{} of {seeds} seeds with the same trace in {runs} processes",
        seeds - differ
    );
    Ok(u8::from(differ > 0))
}

fn compare_one(job: &Job, runners: &[Runner], arguments: &Arguments) -> Found {
    let differs = |text: String| Found::Differs(format!("{}: {text}", job.replay()));
    let mut first: Option<Box<Verdict>> = None;
    for (index, runner) in runners.iter().enumerate() {
        let job = Job {
            without_checkers: arguments.checkers_off && index == 1,
            ..job.clone()
        };
        let verdict = match runner.run(&job) {
            End::Verdict(verdict) => verdict,
            End::Died(why) => return differs(format!("process {}: {why}", index + 1)),
        };
        let Some(first) = &first else {
            first = Some(verdict);
            continue;
        };
        if let Some(what) = difference(first, &verdict, job.without_checkers) {
            let place = place(&job, [&runners[0], runner], &arguments.keep);
            let other = index + 1;
            return differs(format!("processes 1 and {other} differ: {what}\n{place}"));
        }
    }
    Found::Same
}

/// What differs of two verdicts, but for what they cost.
fn difference(a: &Verdict, b: &Verdict, only_traces: bool) -> Option<String> {
    if a.trace_hash != b.trace_hash {
        return Some(format!("hashes {} and {}", a.trace_hash, b.trace_hash));
    }
    let mut b = b.clone();
    b.cpu_ms = a.cpu_ms;
    (*a != b && !only_traces)
        .then(|| format!("the traces are the same, the verdicts are not: `{a}` and `{b}`"))
}

/// The place where two traces part, which are kept.
fn place(job: &Job, runners: [&Runner; 2], keep: &Path) -> String {
    match find_place(job, runners, keep) {
        Ok(Some(text)) => text,
        Ok(None) => format!("  and written out they are the same, {TRIES} times"),
        Err(reason) => format!("  where they part is not known: {reason}"),
    }
}

fn find_place(job: &Job, runners: [&Runner; 2], keep: &Path) -> Result<Option<String>, String> {
    std::fs::create_dir_all(keep).map_err(|error| error.to_string())?;
    let files = ["a", "b"].map(|side| {
        let name = format!("{}-{}.{side}.trace", name_of(job.profile), job.seed);
        keep.join(name)
    });
    for _ in 0..TRIES {
        for (index, (runner, file)) in runners.iter().zip(&files).enumerate() {
            let job = Job {
                without_checkers: job.without_checkers && index == 1,
                ..job.clone()
            };
            let mut words: Vec<std::ffi::OsString> =
                job.arguments().into_iter().map(Into::into).collect();
            words.push("--trace".into());
            words.push(file.into());
            runner.say(&words);
        }
        let open = |file: &PathBuf| File::open(file).map(BufReader::new);
        let found = open(&files[0])
            .and_then(|mut a| open(&files[1]).and_then(|mut b| first_difference(&mut a, &mut b)))
            .map_err(|error| error.to_string())?;
        if let Some(found) = found {
            let [a, b] = files.map(|file| file.display().to_string());
            return Ok(Some(format!("{found}\n  - {a}\n  + {b}")));
        }
    }
    for file in &files {
        let _ = std::fs::remove_file(file);
    }
    Ok(None)
}
