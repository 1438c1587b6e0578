//! `millrace perf consume`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use client::consumer::{Consumer, ConsumerConfig, GroupConfig, NamedPartition, OffsetReset};
use runtime::Clock;
use runtime::task::{JoinHandle, spawn_local};
use types::Mono;

use super::report::Report;
use crate::cluster::{Cluster, partitions_of};

/// How long one wait for records is, in milliseconds.
const POLL_MS: u64 = 200;

/// What `perf consume` is told.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The topic's name. It must exist.
    topic: String,
    /// End after so many records, all consumers together.
    #[arg(long, short = 'n', value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// End after so long, in seconds.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seconds: Option<u64>,
    /// End when nobody had a record for so long, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    timeout_ms: u64,
    /// Begin at the end instead of at the first record.
    #[arg(long)]
    from_end: bool,
    /// Consumers, each with connections of its own; they share the partitions.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    consumers: u16,
    /// Share the partitions as members of this group instead of by turns.
    #[arg(long, short = 'g')]
    group: Option<String>,
}

impl Arguments {
    fn consumer_config(&self) -> ConsumerConfig {
        ConsumerConfig {
            offset_reset: match self.from_end {
                true => OffsetReset::Latest,
                false => OffsetReset::Earliest,
            },
            group: self.group.as_deref().map(GroupConfig::new),
            ..ConsumerConfig::default()
        }
    }

    async fn consumer(&self, cluster: &Cluster, index: usize) -> Result<Consumer> {
        let client = cluster.connect().await?;
        let partitions = partitions_of(&client, &self.topic).await?;
        let mut consumer = Consumer::new(&client, self.consumer_config());
        if self.group.is_some() {
            consumer.subscribe(&[&self.topic])?;
            return Ok(consumer);
        }
        let count = usize::from(self.consumers);
        let own: Vec<NamedPartition> = (partitions.into_iter())
            .map(|index| (self.topic.clone(), index))
            .skip(index)
            .step_by(count)
            .collect();
        consumer.assign(&own);
        Ok(consumer)
    }
}

/// What all consumers have read.
struct Tally {
    clock: Clock,
    records: Cell<u64>,
    bytes: Cell<u64>,
    last: Cell<Mono>,
    records_max: u64,
    end: Mono,
    timeout: Duration,
}

impl Tally {
    fn is_over(&self) -> bool {
        let now = self.clock.mono();
        self.records.get() >= self.records_max
            || now >= self.end
            || now.since(self.last.get()) >= self.timeout
    }
}

/// Reads, and says how fast it was.
///
/// # Errors
/// Those of the connections, of the topic and of fetches.
pub(super) async fn run(cluster: &Cluster, arguments: &Arguments) -> Result<Report> {
    let clock = Clock::start();
    let mut consumers = Vec::new();
    for index in 0..usize::from(arguments.consumers) {
        consumers.push(arguments.consumer(cluster, index).await?);
    }
    let (start, used) = (clock.mono(), runtime::process::cpu_time());
    let seconds = arguments.seconds.map(Duration::from_secs);
    let tally = Rc::new(Tally {
        records: 0.into(),
        bytes: 0.into(),
        last: start.into(),
        records_max: arguments.records.unwrap_or(u64::MAX),
        end: seconds.map_or(Mono::NEVER, |seconds| start + seconds),
        timeout: Duration::from_millis(arguments.timeout_ms),
        clock,
    });
    let running: Vec<JoinHandle<Result<()>>> = consumers
        .into_iter()
        .map(|consumer| spawn_local(read(consumer, Rc::clone(&tally))))
        .collect();
    for consumer in running {
        consumer.await.expect("nobody aborts it")?;
    }
    Ok(Report {
        records: tally.records.get(),
        bytes: tally.bytes.get(),
        failed: 0,
        elapsed: tally.last.get().since(start),
        cpu_time: runtime::process::cpu_time().saturating_sub(used),
        times: Vec::new(),
    })
}

async fn read(mut consumer: Consumer, tally: Rc<Tally>) -> Result<()> {
    while !tally.is_over() {
        let records = consumer.poll(POLL_MS).await?;
        if records.is_empty() {
            continue;
        }
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        let bytes: usize = (records.iter())
            .map(|record| length(&record.key) + length(&record.value))
            .sum();
        tally
            .records
            .set(tally.records.get() + records.len() as u64);
        tally.bytes.set(tally.bytes.get() + bytes as u64);
        tally.last.set(tally.clock.mono());
    }
    Ok(consumer.close().await?)
}
