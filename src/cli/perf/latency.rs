//! `millrace perf latency`: how long records take from the moment they are due to a consumer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::consumer::{Consumer, ConsumerConfig, NamedPartition, OffsetReset};
use runtime::Clock;
use runtime::sync::oneshot;
use types::Mono;

use super::load::{self, Load};
use super::report::{Report, Times};
use crate::cluster::{Cluster, partitions_of};

/// How long one wait for records is, in milliseconds.
const POLL_MS: u64 = 50;
/// How long the consumer waits for what it still lacks after the last record was sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Loads the cluster, reads the records back on a thread of its own, and says what both took.
///
/// # Errors
/// Those of the connections, of the topic and of fetches; records that do not come are counted as failed.
pub(super) async fn run(cluster: &Cluster, load: &Load) -> Result<Report> {
    ensure!(load.rate > 0.0, "--rate: a latency is measured at a rate");
    let clock = Clock::start();
    let stamp = runtime::entropy();
    let (ready, is_ready) = oneshot::channel();
    let (sent, is_sent) = oneshot::channel();
    let reader = Reader {
        cluster: cluster.clone(),
        topic: load.topic.clone(),
        clock: clock.clone(),
        stamp,
    };
    let cores = runtime::task::start_cores(vec![move |_index| reader.run(ready, is_sent)])?;
    let produced = match is_ready.await {
        Ok(()) => load::send(cluster, load, &clock, Some(stamp)).await,
        // It has failed: its own error is told below.
        Err(_) => Err(anyhow::anyhow!("the consumer ended before it began")),
    };
    let count = produced.as_ref().map_or(0, |sent| sent.records);
    // It may have failed, and then nobody listens.
    let _ = sent.send(count);
    let received = cores.join().await.remove(0).context("consumer")?;
    let produced = produced?;
    Ok(Report {
        records: received.records,
        bytes: received.records * load.size_bytes as u64,
        failed: produced.failed + produced.records.saturating_sub(received.records),
        elapsed: produced.elapsed,
        cpu_time: produced.cpu_time,
        times: vec![
            ("acknowledged", produced.times),
            ("endToEnd", received.times),
        ],
    })
}

/// The consumer's side.
struct Reader {
    cluster: Cluster,
    topic: String,
    clock: Clock,
    stamp: u64,
}

/// What the consumer saw of records that count.
struct Received {
    records: u64,
    times: Times,
}

impl Reader {
    /// Reads from the end on: says when it stands there, and ends when it has seen as many records as were sent.
    async fn run(
        self,
        ready: oneshot::Sender<()>,
        mut sent: oneshot::Receiver<u64>,
    ) -> Result<Received> {
        let mut consumer = self.consumer().await?;
        let mut received = Received {
            records: 0,
            times: Times::new(),
        };
        // Nobody listens if the program gives up.
        let _ = ready.send(());
        let (mut wanted, mut deadline) = (u64::MAX, Mono::NEVER);
        while received.records < wanted && self.clock.mono() < deadline {
            for record in consumer.poll(POLL_MS).await? {
                let value = record.value.unwrap_or_default();
                let Some(due) = load::due_of(&value, self.stamp) else {
                    continue;
                };
                received.times.record(self.clock.mono().since(due));
                received.records += 1;
            }
            if let Ok(count) = sent.try_recv() {
                (wanted, deadline) = (count, self.clock.mono() + PATIENCE);
            }
        }
        consumer.close().await?;
        Ok(received)
    }

    /// A consumer that knows where each partition ends.
    async fn consumer(&self) -> Result<Consumer> {
        let client = self.cluster.connect().await?;
        let partitions = partitions_of(&client, &self.topic).await?;
        let partitions: Vec<NamedPartition> = (partitions.into_iter())
            .map(|index| (self.topic.clone(), index))
            .collect();
        let config = ConsumerConfig {
            offset_reset: OffsetReset::Latest,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::new(&client, config);
        consumer.assign(&partitions);
        while consumer.positions().len() < partitions.len() {
            consumer.poll(POLL_MS).await?;
        }
        Ok(consumer)
    }
}
