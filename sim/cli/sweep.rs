//! Many seeds, a process each.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sim::plan::{Profile, generate};
use sim::tally::{Shard, Subject, Tally, Trouble};

use super::children::{Cores, End, Job, Runner, for_each};
use super::progress::Progress;
use super::{commit, name_of, plant_of, read, write};

/// Seeds of a sweep of which neither number nor time is said.
const SEEDS: u64 = 100;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How many seeds; without it, 100, or as many as the minutes allow.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value = "0")]
    start: u64,
    /// Begin no seed after so many minutes.
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// How rough the runs are.
    #[arg(long, value_enum, default_value = "all")]
    profile: Profile,
    /// Only this part of the seeds, from 0: `2/8` is the third of eight.
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    shard: Shard,
    /// Write what they add up to as JSON, for `merge`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Let this planted bug act in every run.
    #[arg(long, value_name = "NAME")]
    plant: Option<String>,
    /// Where the plans of seeds that are not green are kept.
    #[arg(long, value_name = "FOLDER", default_value = "target/sim/red")]
    keep: PathBuf,
    #[command(flatten)]
    cores: Cores,
}

#[derive(clap::Args)]
pub(super) struct MergeArguments {
    /// What `sweep --json` wrote.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Write the sum as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Arguments {
    fn count(&self) -> u64 {
        let open_end = || self.minutes.map_or(SEEDS, |_| u64::MAX - self.start);
        self.seeds.unwrap_or_else(open_end)
    }
}

/// Runs many seeds.
pub(super) fn sweep(arguments: &Arguments) -> Result<u8, String> {
    let runner = Runner::new(arguments.cores.seconds_max)?;
    let planted = arguments.plant.as_deref().map(plant_of).transpose()?;
    let plant = planted.map(types::Plant::name);
    let mut tally = Tally::new(Subject {
        commit: commit(),
        profile: arguments.profile,
        planted: plant.map(str::to_owned),
        start: arguments.start,
        shard: arguments.shard,
    });
    let all = arguments.seeds.is_some() || arguments.minutes.is_none();
    let seeds = || arguments.shard.seeds(arguments.start, arguments.count());
    let asked = all.then(|| seeds().count() as u64);
    let mut progress = Progress::new("seeds", asked);
    let end = arguments
        .minutes
        .map(|minutes| Instant::now() + Duration::from_secs_f64(minutes.max(0.0) * 60.0));
    let begun = AtomicU64::new(0);
    let in_time = seeds().take_while(|_| end.is_none_or(|end| Instant::now() < end));
    for_each(
        arguments.cores.count(),
        in_time.inspect(|_| {
            begun.fetch_add(1, Ordering::Relaxed);
        }),
        |seed| {
            let job = Job {
                plant,
                ..Job::new(seed, arguments.profile)
            };
            let end = runner.run(&job);
            (job, end)
        },
        |result| {
            if let Some((job, end)) = result {
                let told = tally.troubles.len();
                add(&mut tally, &job, &end);
                let news = tally.troubles.get(told);
                progress.step(news.is_some());
                if let Some(trouble) = news {
                    progress.say(&trouble.to_string());
                    keep(arguments, trouble);
                }
            }
            progress.show();
        },
    );
    progress.clear();
    tally.core_ms = progress.elapsed_ms() * arguments.cores.count() as u64;
    tally.not_begun = asked.map_or(0, |asked| asked - begun.load(Ordering::Relaxed));
    tally.sort();
    finish(&tally, arguments.json.as_ref())
}

fn add(tally: &mut Tally, job: &Job, end: &End) {
    match end {
        End::Verdict(verdict) => tally.add(verdict, &job.replay()),
        End::Died(why) => tally.add_dead(job.seed, why, &job.replay()),
    }
}

/// Keeps the plan of a seed that is not green: another build may make another of it.
fn keep(arguments: &Arguments, trouble: &Trouble) {
    let name = format!("{}-{}.toml", name_of(trouble.profile), trouble.seed);
    let text = generate(trouble.seed, trouble.profile).to_text();
    let head: String = trouble
        .to_string()
        .lines()
        .map(|line| format!("# {line}\n"))
        .collect();
    if let Err(reason) = write(&arguments.keep.join(name), &(head + &text)) {
        eprintln!("a plan is not kept: {reason}");
    }
}

/// Tells what runs add up to.
fn finish(tally: &Tally, json: Option<&PathBuf>) -> Result<u8, String> {
    sayln!("\n{tally}");
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(tally).map_err(|error| error.to_string())?;
        write(path, &(text + "\n"))?;
    }
    Ok(u8::from(!tally.is_green()))
}

/// Adds shards up.
pub(super) fn merge(arguments: &MergeArguments) -> Result<u8, String> {
    let mut sum: Option<Tally> = None;
    for path in &arguments.files {
        let wrong = |reason: String| format!("{}: {reason}", path.display());
        let one: Tally =
            serde_json::from_str(&read(path)?).map_err(|error| wrong(error.to_string()))?;
        match &mut sum {
            None => sum = Some(one),
            Some(sum) => sum.merge(one).map_err(wrong)?,
        }
    }
    let sum = sum.ok_or("nothing to merge")?;
    finish(&sum, arguments.json.as_ref())
}
