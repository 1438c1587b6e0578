//! How fast the simulator is.

use std::time::Instant;

use sim::verdict::{Color, Verdict};

use super::children::{End, Job, Runner};
use sim::plan::Profile;

/// Ticks of the processor's clock in a second, as the system counts what processes use.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How many seeds, one after another.
    #[arg(long, value_name = "N", default_value_t = 40)]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    start: u64,
}

/// Runs the benchmark's seeds, a process each, and tells simulated seconds per CPU second and seeds per core-minute.
pub(super) fn bench(arguments: &Arguments) -> Result<u8, String> {
    let runner = Runner::new(600)?;
    let (began, before) = (Instant::now(), children_seconds());
    let mut verdicts: Vec<Verdict> = Vec::new();
    for seed in arguments.start..arguments.start + arguments.seeds {
        let job = Job {
            is_benchmark: true,
            ..Job::new(seed, Profile::All)
        };
        match runner.run(&job) {
            End::Verdict(verdict) => {
                if verdict.color != Color::Green {
                    sayln!("{verdict}");
                }
                verdicts.push(*verdict);
            }
            End::Died(reason) => return Err(format!("{}: {reason}", job.replay())),
        }
    }
    tell(
        &verdicts,
        children_seconds() - before,
        began.elapsed().as_secs_f64(),
    );
    Ok(0)
}

fn tell(verdicts: &[Verdict], used: f64, passed: f64) {
    let sum = |figure: fn(&Verdict) -> u64| verdicts.iter().map(figure).sum::<u64>() as f64;
    let simulated = sum(|verdict| verdict.simulated_ms) / 1e3;
    let cpu = sum(|verdict| verdict.cpu_ms) / 1e3;
    let operations = sum(|verdict| {
        let all = verdict.operations.values();
        all.map(|one| one.ok + one.fail + one.info).sum()
    });
    let seeds = verdicts.len() as f64;
    sayln!("{seeds} seeds, {simulated:.0} simulated seconds, {operations} operations of clients");
    sayln!(
        "{cpu:.2} s of the processor in runs, {used:.2} s with the processes' starts, {passed:.1} s passed"
    );
    sayln!("{:.0} simulated seconds per CPU second", simulated / used);
    sayln!("{:.0} seeds per core-minute", seeds * 60.0 / used);
    sayln!(
        "{:.0} events per CPU second",
        sum(|verdict| verdict.events) / used
    );
}

/// Seconds of the processor that ended processes of ours have used.
fn children_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the process, in brackets, may hold spaces; behind it comes the third field.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let field = |number: usize| {
        let word = fields.split_whitespace().nth(number - 3);
        word.and_then(|word| word.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (field(16) + field(17)) / TICKS_PER_SECOND
}
