//! The load generators: the same programs with the same options against both sides.

use super::cell::{Client, Load, Shape};
use super::proc::Spent;
use super::process::{finish_all, limited, said, start};
use super::result::{Figures, metric, named};
use super::tools::{self, Names, Told};
use anyhow::{Context, Result, bail, ensure};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// Payloads in a file for ProducerPerformance.
const PAYLOADS: usize = 1_000;
/// Bulk: how long a batch waits for more records, its size, and what a producer may hold.
const LINGER_MS: &str = "5";
const BATCH_BYTES: &str = "131072";
const BUFFER_BYTES: &str = "134217728";
/// Size of a batch of librdkafka, which counts otherwise than Java's.
const LIBRDKAFKA_BATCH_BYTES: &str = "1000000";
/// Share of the records that ProducerPerformance sends before it counts.
const WARM_UP_SHARE: f64 = 0.1;
/// Seconds that loads at a rate run before they count.
const WARM_UP_SECONDS: u64 = 2;

const TIMES: Names = [metric::P50, metric::P99, metric::P999];
const ACK_TIMES: Names = [metric::ACK_P50, metric::ACK_P99, "ack p99.9 ms"];

/// Where the programs are.
pub struct Tools {
    /// Our executable.
    pub millrace: PathBuf,
    /// The folder of Kafka's jars.
    pub libraries: PathBuf,
    /// rdkafka_performance, or why there is none.
    pub librdkafka: Result<PathBuf, String>,
    /// Where payloads lie.
    pub folder: PathBuf,
}

/// How much a run sends.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// For clients that are told a time.
    pub seconds: u64,
    /// For clients that are told a count.
    pub records: u64,
}

/// What a load did.
pub struct Done {
    /// What the clients say.
    pub told: Told,
    /// Records that the broker was given, those included that the clients do not count.
    pub records: f64,
}

impl Load {
    /// Records a second to begin with, where nothing is known yet.
    pub fn guess(&self) -> f64 {
        let bulk = 450e6 / (self.size_bytes as f64 + 200.0);
        match (self.shape, self.client) {
            (Shape::Bulk, Client::Librdkafka) => bulk * 1.5,
            (Shape::Bulk, _) => bulk,
            (Shape::Tiny, _) if self.class == super::cell::Class::Flushed => 5e3,
            (Shape::Tiny, _) => 20e3,
            (Shape::InTurn, _) => 1e3,
            (Shape::Acknowledged | Shape::EndToEnd, _) => self.rate as f64,
        }
    }
}

impl Tools {
    /// Whether the client of a load can run; says why not.
    pub fn check(&self, client: Client) -> Result<()> {
        if client == Client::Librdkafka
            && let Err(why) = &self.librdkafka
        {
            bail!("rdkafka_performance could not be built: {why}");
        }
        Ok(())
    }

    /// Runs a load to its end.
    pub fn run(
        &self,
        load: &Load,
        address: SocketAddr,
        topic: &str,
        amount: Amount,
    ) -> Result<Done> {
        match load.client {
            Client::Ours => self.ours(load, address, topic, amount.seconds),
            Client::Java if load.shape == Shape::InTurn => {
                self.in_turn(load, address, topic, amount)
            }
            Client::Java => self.java(load, address, topic, amount),
            Client::Librdkafka => self.librdkafka(load, address, topic, amount),
        }
    }

    /// `millrace perf` against a broker.
    pub fn perf(&self, address: SocketAddr, command: &str, topic: &str, seconds: u64) -> Command {
        let mut perf = limited(seconds);
        perf.arg(&self.millrace)
            .args(["perf", command, "--json", "--bootstrap-server"])
            .arg(address.to_string())
            .arg(topic);
        perf
    }

    fn ours(&self, load: &Load, address: SocketAddr, topic: &str, seconds: u64) -> Result<Done> {
        let name = match load.shape {
            Shape::EndToEnd => "latency",
            Shape::Bulk | Shape::Tiny | Shape::Acknowledged => "produce",
            Shape::InTurn => bail!("millrace perf is an open loop"),
        };
        let mut command = self.perf(address, name, topic, seconds);
        let (producers, size) = (load.producers.to_string(), load.size_bytes.to_string());
        command.args(["--producers", &producers, "--size", &size]);
        command.args(["--seconds", &seconds.to_string()]);
        command.args(["--compression", load.compression]);
        if load.idempotence == Some(false) {
            command.arg("--no-idempotence");
        }
        let mut warm_up = 0;
        match load.shape {
            Shape::Bulk => in_bulk(&mut command),
            Shape::Tiny => {
                command.args(["--batch-size", "1", "--request-size", "1"]);
                command.args(["--buffer", "65536"]);
            }
            Shape::Acknowledged | Shape::EndToEnd => {
                warm_up = WARM_UP_SECONDS;
                command.args(["--rate", &load.rate.to_string()]);
                command.args(["--warmup-seconds", &warm_up.to_string()]);
            }
            Shape::InTurn => unreachable!("refused above"),
        }
        let said = said(&mut command)?;
        let distributions: &[(&str, Names)] = match load.shape {
            Shape::EndToEnd => &[("endToEndMicros", TIMES), ("acknowledgedMicros", ACK_TIMES)],
            _ => &[("acknowledgedMicros", TIMES)],
        };
        let told = tools::perf(&said, distributions)?;
        let records = told.records + (warm_up * load.rate) as f64;
        Ok(Done { told, records })
    }

    fn java(&self, load: &Load, address: SocketAddr, topic: &str, amount: Amount) -> Result<Done> {
        ensure!(
            load.shape == Shape::Bulk && load.producers == 1,
            "ProducerPerformance is for bulk"
        );
        let warm_up = (amount.records as f64 * WARM_UP_SHARE) as u64;
        // The records before it counts are part of the number that it is given.
        let records = amount.records + warm_up;
        let mut command = self.tool("ProducerPerformance", amount.seconds);
        command
            .arg("--payload-file")
            .arg(self.payloads(load.size_bytes)?);
        command.args(["--throughput", "-1", "--topic", topic]);
        command.args(["--num-records", &records.to_string()]);
        command.args(["--warmup-records", &warm_up.to_string()]);
        command.arg("--command-property");
        command.arg(format!("bootstrap.servers={address}"));
        command.args(["acks=all", &format!("linger.ms={LINGER_MS}")]);
        command.arg(format!("batch.size={BATCH_BYTES}"));
        command.arg(format!("buffer.memory={BUFFER_BYTES}"));
        command.arg(format!("compression.type={}", load.compression));
        if let Some(is_on) = load.idempotence {
            command.arg(format!("enable.idempotence={is_on}"));
        }
        let said = said(&mut command)?;
        let told = tools::producer_performance(&said, load.size_bytes, TIMES)?;
        Ok(Done {
            told,
            records: records as f64,
        })
    }

    fn in_turn(
        &self,
        load: &Load,
        address: SocketAddr,
        topic: &str,
        amount: Amount,
    ) -> Result<Done> {
        let mut command = self.tool("EndToEndLatency", amount.seconds);
        command.args(["--bootstrap-server", &address.to_string()]);
        command.args(["--topic", topic, "--producer-acks", "all"]);
        command.args(["--num-records", &amount.records.to_string()]);
        command.args(["--record-size", &load.size_bytes.to_string()]);
        let said = said(&mut command)?;
        let (records, size_bytes) = (amount.records, load.size_bytes);
        let told = tools::end_to_end_latency(&said, records, size_bytes, metric::AVERAGE)?;
        let records = told.records;
        Ok(Done { told, records })
    }

    fn librdkafka(
        &self,
        load: &Load,
        address: SocketAddr,
        topic: &str,
        amount: Amount,
    ) -> Result<Done> {
        self.check(Client::Librdkafka)?;
        let program = self.librdkafka.as_ref().ok().context("checked above")?;
        let each = (amount.records / load.producers).max(1);
        let mut running = Vec::new();
        for _ in 0..load.producers {
            let mut command = limited(amount.seconds);
            command.arg(program).args(["-P", "-t", topic, "-q"]);
            command.args(["-b", &address.to_string(), "-a", "-1"]);
            command.args(["-s", &load.size_bytes.to_string()]);
            command.args(["-c", &each.to_string(), "-z", load.compression]);
            match load.shape {
                Shape::Bulk => {
                    command.args(["-X", &format!("linger.ms={LINGER_MS}")]);
                    command.args(["-X", &format!("batch.size={LIBRDKAFKA_BATCH_BYTES}")]);
                }
                Shape::Tiny => {
                    command.args(["-X", "linger.ms=0", "-X", "batch.num.messages=1"]);
                    command.args(["-X", "max.in.flight=5"]);
                }
                Shape::Acknowledged | Shape::EndToEnd | Shape::InTurn => {
                    bail!("rdkafka_performance polls at a rate: no latency is measured by it")
                }
            }
            if let Some(is_on) = load.idempotence {
                command.args(["-X", &format!("enable.idempotence={is_on}")]);
            }
            running.push(start(&mut command)?);
        }
        let mut all = Vec::new();
        for said in finish_all(running)? {
            all.push(tools::rdkafka_produce(&said, load.size_bytes)?);
        }
        let told = tools::together(&all);
        let records = told.records;
        Ok(Done { told, records })
    }

    /// One of Kafka's own tools.
    pub fn tool(&self, name: &str, seconds: u64) -> Command {
        let mut command = limited(seconds);
        command.args(["java", "-Xmx1g", "-XX:+UseG1GC", "-cp"]);
        command.arg(format!("{}/*", self.libraries.display()));
        command.arg(format!("org.apache.kafka.tools.{name}"));
        command
    }

    /// A file with a payload of letters a line.
    fn payloads(&self, size_bytes: usize) -> Result<PathBuf> {
        let path = self.folder.join(format!("payloads-{size_bytes}.txt"));
        if !path.is_file() {
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            let mut letter = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                char::from(b'A' + (state % 26) as u8)
            };
            let mut text = String::new();
            for _ in 0..PAYLOADS {
                text.extend((0..size_bytes).map(|_| letter()));
                text.push('\n');
            }
            std::fs::write(&path, text)?;
        }
        Ok(path)
    }
}

/// Has `millrace perf produce` send in bulk.
pub fn in_bulk(perf: &mut Command) {
    perf.args(["--linger-ms", LINGER_MS, "--batch-size", BATCH_BYTES]);
    perf.args(["--buffer", BUFFER_BYTES]);
}

/// The figures of a load.
pub fn figures(load: &Load, done: &Done, spent: &Spent) -> Figures {
    let told = &done.told;
    let seconds = told.seconds.max(1e-9);
    let cost = if load.shape == Shape::Bulk {
        let gigabytes = done.records * load.size_bytes as f64 / 1e9;
        (metric::CPU_PER_GB, spent.broker_cpu_seconds / gigabytes)
    } else {
        let micros = spent.broker_cpu_seconds * 1e6;
        (metric::CPU_PER_REQUEST, micros / done.records)
    };
    let mut figures = named([
        (metric::MEGABYTES, told.bytes / seconds / 1e6),
        (metric::RECORDS, told.records / seconds),
        cost,
        (metric::CLIENT_CPU, spent.client_cpu_seconds),
        (metric::SECONDS, told.seconds),
    ]);
    if load.class == super::cell::Class::Flushed {
        figures.extend(named([(metric::FLUSHES, spent.flushes / done.records)]));
    }
    figures.extend(named(told.times.iter().copied()));
    figures
}
