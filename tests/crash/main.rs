//! Many idempotent producers, a broker that is killed at random moments, and a check of everything that was acknowledged.
//!
//! Each producer has its own key and writes the numbers 0, 1, 2, .. one after the other, several at a time, to one
//! partition. librdkafka retries what a kill interrupted, under the same producer id and sequence. After the last round
//! the partitions are read back: every acknowledged number is there, none twice, each producer's numbers in order, and
//! each at the offset its acknowledgement named.
//!
//! The broker's own command comes behind `--`; this program starts it, kills it with SIGKILL and starts it again.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test of real processes, outside the simulated world"
)]

mod broker;
mod check;
mod random;
mod writers;

use anyhow::{Result, ensure};
use broker::Broker;
use clap::Parser;
use random::Random;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use writers::Writers;

#[derive(Parser)]
struct Arguments {
    /// Where the broker listens.
    #[arg(long)]
    bootstrap: String,
    /// How often it is killed.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// Producers at the same time.
    #[arg(long, default_value_t = 12)]
    producers: u32,
    /// Partitions they write to.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Where the moments of the kills come from.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the broker's own words go.
    #[arg(long)]
    log: PathBuf,
    /// The command that starts the broker.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// A round ends between these, counted from its first acknowledgement.
const ROUND_MS: std::ops::Range<u64> = 5..600;
/// One round in so many ends without waiting for an acknowledgement: the kill may hit the recovery.
const EARLY_ROUND_IN: u64 = 5;
/// How long a round may wait for its first acknowledgement.
const FIRST_MAX: Duration = Duration::from_secs(60);
/// How long the last unacknowledged records may take once the broker is left alone.
const DRAIN_MAX: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("crash: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let seed = arguments.seed.unwrap_or_else(random::fresh_seed);
    println!(
        "crash: seed {seed}, {} rounds, {} producers",
        arguments.rounds, arguments.producers
    );
    let mut random = Random::new(seed);
    let mut broker = Broker::start(arguments)?;
    let topic = format!("crash-{seed}");
    writers::create_topic(&arguments.bootstrap, &topic, arguments.partitions)?;
    let writers = Writers::start(
        &arguments.bootstrap,
        &topic,
        arguments.producers,
        arguments.partitions,
    )?;
    let mut slowest = Duration::ZERO;
    for round in 1..=arguments.rounds {
        let before = writers.acknowledged();
        let round_started = Instant::now();
        let early = random.within(0..EARLY_ROUND_IN) == 0;
        while !early && writers.acknowledged() == before {
            writers.complain()?;
            ensure!(
                round_started.elapsed() < FIRST_MAX,
                "round {round}: no acknowledgement within {FIRST_MAX:?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(random.within(ROUND_MS)));
        broker.kill()?;
        slowest = slowest.max(broker.restart()?);
        if round % 10 == 0 {
            println!(
                "crash: round {round}, {} acknowledged",
                writers.acknowledged()
            );
        }
    }
    let histories = writers.stop(DRAIN_MAX)?;
    let acknowledged: usize = histories
        .iter()
        .map(|history| history.acknowledged.len())
        .sum();
    // Once more between writing and reading: what is read comes from files alone.
    broker.kill()?;
    broker.restart()?;
    let read = check::read_all(&arguments.bootstrap, &topic, arguments.partitions)?;
    check::judge(&histories, &read)?;
    println!(
        "crash: passed: {acknowledged} acknowledged, {} read, slowest restart {:.0} ms, {:.1} s",
        read.len(),
        slowest.as_secs_f64() * 1000.0,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
