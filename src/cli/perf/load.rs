//! The load: producers that send what is due.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use client::producer::{Delivery, Producer, ProducerConfig, ProducerRecord};
use protocol::records::{Compression, CompressionSpec};
use runtime::Clock;
use runtime::sync::mpsc;
use runtime::task::{JoinHandle, spawn_local};
use runtime::time::Alarm;
use types::{Mono, PartitionIndex, Prng};

use super::pace::Pace;
use super::report::Times;
use crate::cluster::{Cluster, partitions_of};
use crate::produce::{AcksArgument, compression};

/// Different values that records have.
const VALUES: usize = 1_000;
/// Records of one partition whose outcome is waited for at once, at most.
const UNDECIDED_MAX: usize = 1 << 16;
/// After so many records sent without a wait the core's other tasks have their turn.
const RECORDS_PER_TURN: u64 = 32;
/// Moments less far apart share a wake-up: to set the kernel's timer costs more than to send a record. What is sent late
/// for it is measured from the moment it was due.
const BETWEEN_WAKEUPS: Duration = Duration::from_micros(100);
/// Bytes at the front of a value that say when its record was due.
pub(super) const STAMP_BYTES: usize = 16;

/// What is sent, and how.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Load {
    /// The topic's name. It must exist; records go to its partitions in turn.
    pub topic: String,
    /// Records a second, of all producers together; 0 is as fast as may be.
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    pub rate: f64,
    /// How long to send, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub seconds: u64,
    /// How long to send before that without counting, in seconds.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub warmup_seconds: u64,
    /// Bytes of a record's value: letters by chance.
    #[arg(long = "size", value_name = "BYTES", default_value_t = 1_024, value_parser = size)]
    pub size_bytes: usize,
    /// Producers, each with connections of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub producers: u16,
    /// Which acknowledgement is waited for.
    #[arg(long, value_enum, default_value = "all", allow_hyphen_values = true)]
    acks: AcksArgument,
    /// Do not have the broker recognise what it has appended already.
    #[arg(long)]
    no_idempotence: bool,
    /// How long a batch that is not full waits for more records, in milliseconds.
    #[arg(long, default_value_t = 0)]
    linger_ms: u64,
    /// Size from which a batch takes no more records, in bytes.
    #[arg(long = "batch-size", value_name = "BYTES", default_value_t = 16 << 10)]
    batch_bytes_max: usize,
    /// Bytes of batches in one request at most, beyond the first batch: 1 puts one batch into each request. By default
    /// 1 MiB, or a batch if that is larger.
    #[arg(long = "request-size", value_name = "BYTES")]
    request_bytes_max: Option<usize>,
    /// Requests of one producer in flight at most.
    #[arg(long = "in-flight", default_value_t = 5)]
    in_flight_max: usize,
    /// Bytes of one producer's undecided records at most.
    #[arg(long = "buffer", value_name = "BYTES", default_value_t = 32 << 20)]
    buffer_bytes_max: usize,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd.
    #[arg(long, short = 'z', default_value = "none", value_parser = compression)]
    compression: Compression,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1e9).contains(&rate) => Ok(rate),
        _ => Err("expected records a second, 0 to 1000000000".to_owned()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(size) if (1..=64 << 20).contains(&size) => Ok(size),
        _ => Err("expected bytes, 1 to 67108864".to_owned()),
    }
}

impl Load {
    fn producer_config(&self) -> ProducerConfig {
        ProducerConfig {
            acks: self.acks.acks(),
            is_idempotent: self.acks == AcksArgument::All && !self.no_idempotence,
            linger_ms: self.linger_ms,
            batch_bytes_max: self.batch_bytes_max,
            request_bytes_max: (self.request_bytes_max)
                .unwrap_or_else(|| self.batch_bytes_max.max(1 << 20)),
            in_flight_max: self.in_flight_max,
            buffer_bytes_max: self.buffer_bytes_max,
            compression: CompressionSpec::from(self.compression),
            ..ProducerConfig::default()
        }
    }
}

/// What became of the records that counted.
pub(super) struct Sent {
    /// Acknowledged ones; of those that ask for no acknowledgement, sent ones.
    pub records: u64,
    pub failed: u64,
    /// From the moment that the first was due to the last outcome.
    pub elapsed: Duration,
    /// The processor's time of this program meanwhile.
    pub cpu_time: Duration,
    /// From due to acknowledged.
    pub times: Times,
}

/// Sends everything; with a stamp, the value of each record that counts begins with it and with the moment the record
/// was due.
///
/// # Errors
/// Those of the connections and of the topic; records that fail are counted.
pub(super) async fn send(
    cluster: &Cluster,
    load: &Load,
    clock: &Clock,
    stamp: Option<u64>,
) -> Result<Sent> {
    let mut senders = Vec::new();
    let values = Rc::new(values(load.size_bytes));
    for _ in 0..load.producers {
        senders.push(Sender::new(cluster, load, clock, &values, stamp).await?);
    }
    let start = clock.mono();
    let counts_from = start + Duration::from_secs(load.warmup_seconds);
    let span = Span {
        counts_from,
        end: counts_from + Duration::from_secs(load.seconds),
    };
    let pace = Pace::new(start, load.rate);
    let meter = spawn_local(cpu_time_at(clock.clone(), counts_from));
    let count = senders.len();
    let running: Vec<JoinHandle<Result<Outcomes>>> = senders
        .into_iter()
        .enumerate()
        .map(|(index, sender)| spawn_local(sender.run(pace.share(index, count), span)))
        .collect();
    let mut all = Outcomes::new();
    for sender in running {
        all.add(sender.await.expect("nobody aborts it")?);
    }
    let used = meter.await.expect("nobody aborts it");
    let cpu_time = runtime::process::cpu_time().saturating_sub(used);
    if let Some(error) = &all.first_error {
        eprintln!("the first record that failed: {error}");
    }
    Ok(Sent {
        records: all.records,
        failed: all.failed,
        elapsed: all.last.since(counts_from),
        cpu_time,
        times: all.times,
    })
}

/// What the program has used of the processor's time at a moment.
async fn cpu_time_at(clock: Clock, at: Mono) -> Duration {
    runtime::time::sleep_until(&clock, at).await;
    runtime::process::cpu_time()
}

/// Values of letters by chance, the same in every run.
fn values(size_bytes: usize) -> Vec<Bytes> {
    let mut prng = Prng::new(1, "values");
    let mut value = || {
        (0..size_bytes)
            .map(|_| b'A' + prng.below(26) as u8)
            .collect()
    };
    (0..VALUES).map(|_| value()).collect()
}

/// When records are sent and counted.
#[derive(Clone, Copy)]
struct Span {
    counts_from: Mono,
    end: Mono,
}

/// One producer.
struct Sender {
    producer: Producer,
    topic: String,
    partitions: PartitionIndex,
    clock: Clock,
    values: Rc<Vec<Bytes>>,
    stamp: Option<u64>,
}

impl Sender {
    async fn new(
        cluster: &Cluster,
        load: &Load,
        clock: &Clock,
        values: &Rc<Vec<Bytes>>,
        stamp: Option<u64>,
    ) -> Result<Sender> {
        ensure!(
            stamp.is_none() || load.size_bytes >= STAMP_BYTES,
            "--size {}: at least {STAMP_BYTES} bytes are needed to tell records apart",
            load.size_bytes
        );
        let client = cluster.connect().await?;
        let partitions = partitions_of(&client, &load.topic).await?.len();
        ensure!(partitions > 0, "topic {} has no partitions", load.topic);
        Ok(Sender {
            producer: Producer::new(&client, load.producer_config())?,
            topic: load.topic.clone(),
            partitions: PartitionIndex::try_from(partitions).context("partitions")?,
            clock: clock.clone(),
            values: Rc::clone(values),
            stamp,
        })
    }

    async fn run(self, pace: Pace, span: Span) -> Result<Outcomes> {
        let lanes: Vec<Lane> = (0..self.partitions)
            .map(|_| Lane::start(&self.clock, span.counts_from))
            .collect();
        let mut alarm = Alarm::new()?;
        let mut wakeup = Mono::START;
        for number in 0.. {
            let due = pace.due(number, self.clock.mono());
            if due >= span.end {
                break;
            }
            if due > self.clock.mono() {
                wakeup = due.max(wakeup + BETWEEN_WAKEUPS);
                alarm.sleep_until(&self.clock, wakeup).await?;
            } else if number % RECORDS_PER_TURN == 0 {
                runtime::task::yield_now().await;
            }
            let stamp = self.stamp.filter(|_| due >= span.counts_from);
            let stamp = stamp.map(|stamp| (stamp, due));
            let partition = (number % u64::from(self.partitions.unsigned_abs())) as usize;
            let sent = self
                .producer
                .send(self.record(number, partition, stamp))
                .await;
            let delivery = sent.with_context(|| format!("topic {}", self.topic))?;
            lanes[partition].wait_for(due, delivery).await;
        }
        self.producer.flush().await;
        let mut all = Outcomes::new();
        for lane in lanes {
            all.add(lane.end().await);
        }
        self.producer.close().await;
        Ok(all)
    }

    fn record(&self, number: u64, partition: usize, stamp: Option<(u64, Mono)>) -> ProducerRecord {
        let value = &self.values[(number % VALUES as u64) as usize];
        let value = match stamp {
            None => value.clone(),
            Some((stamp, due)) => stamped(value, stamp, due),
        };
        ProducerRecord {
            topic: self.topic.clone(),
            partition: Some(partition as PartitionIndex),
            value: Some(value),
            ..ProducerRecord::default()
        }
    }
}

fn stamped(value: &Bytes, stamp: u64, due: Mono) -> Bytes {
    let mut bytes = BytesMut::with_capacity(value.len());
    bytes.put_u64(stamp);
    bytes.put_u64(due.as_nanos());
    bytes.put_slice(&value[STAMP_BYTES..]);
    bytes.freeze()
}

/// When the record of a value was due, if the value has this stamp.
pub(super) fn due_of(value: &[u8], stamp: u64) -> Option<Mono> {
    let (own, rest) = value.split_first_chunk::<8>()?;
    let due = rest.first_chunk::<8>()?;
    (u64::from_be_bytes(*own) == stamp).then(|| Mono::from_nanos(u64::from_be_bytes(*due)))
}

/// What became of records.
struct Outcomes {
    records: u64,
    failed: u64,
    first_error: Option<String>,
    last: Mono,
    times: Times,
}

impl Outcomes {
    fn new() -> Outcomes {
        Outcomes {
            records: 0,
            failed: 0,
            first_error: None,
            last: Mono::START,
            times: Times::new(),
        }
    }

    fn add(&mut self, other: Outcomes) {
        self.records += other.records;
        self.failed += other.failed;
        self.first_error = self.first_error.take().or(other.first_error);
        self.last = self.last.max(other.last);
        self.times.add(&other.times);
    }
}

/// Waits for what becomes of one partition's records, which are decided in the order they were sent: a record of another
/// partition that takes longer is not waited for.
struct Lane {
    undecided: mpsc::Sender<(Mono, Delivery)>,
    outcomes: JoinHandle<Outcomes>,
}

impl Lane {
    fn start(clock: &Clock, counts_from: Mono) -> Lane {
        let (undecided, receiver) = mpsc::channel(UNDECIDED_MAX);
        let outcomes = spawn_local(decide(receiver, clock.clone(), counts_from));
        Lane {
            undecided,
            outcomes,
        }
    }

    async fn wait_for(&self, due: Mono, delivery: Delivery) {
        let sent = self.undecided.send((due, delivery)).await;
        assert!(sent.is_ok(), "a lane ends after its sender");
    }

    async fn end(self) -> Outcomes {
        drop(self.undecided);
        self.outcomes.await.expect("nobody aborts it")
    }
}

async fn decide(
    mut undecided: mpsc::Receiver<(Mono, Delivery)>,
    clock: Clock,
    counts_from: Mono,
) -> Outcomes {
    let mut outcomes = Outcomes::new();
    while let Some((due, delivery)) = undecided.recv().await {
        let decided = delivery.await;
        if due < counts_from {
            continue;
        }
        outcomes.last = clock.mono();
        match decided {
            Ok(_) => {
                outcomes.records += 1;
                outcomes.times.record(outcomes.last.since(due));
            }
            Err(error) => {
                outcomes.failed += 1;
                outcomes
                    .first_error
                    .get_or_insert_with(|| error.to_string());
            }
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_says_when_a_record_was_due() {
        let value = stamped(&values(40)[7], 99, Mono::from_nanos(123_456));
        assert_eq!(value.len(), 40);
        assert_eq!(due_of(&value, 99), Some(Mono::from_nanos(123_456)));
        assert_eq!(due_of(&value, 98), None);
        assert_eq!(due_of(&value[..15], 99), None);
        assert_eq!(value[STAMP_BYTES..], values(40)[7][STAMP_BYTES..]);
    }

    #[test]
    fn rates_and_sizes_have_bounds() {
        for text in ["0", "0.5", "1e6"] {
            assert!(rate(text).is_ok(), "{text}");
        }
        for text in ["-1", "NaN", "inf", "x", "1e10"] {
            assert!(rate(text).is_err(), "{text}");
        }
        for (text, is_sound) in [
            ("1", true),
            ("67108864", true),
            ("0", false),
            ("67108865", false),
        ] {
            assert_eq!(size(text).is_ok(), is_sound, "{text}");
        }
    }
}
