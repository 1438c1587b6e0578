//! W5: consumers of what is in the page cache, and of what is not any more.

use super::cell::{Class, Client, Consume};
use super::lab::{Lab, put_memory};
use super::load::in_bulk;
use super::memory;
use super::plan::Mode;
use super::process::{finish, finish_all, said, start};
use super::result::{Figures, Noise, metric, named};
use super::tools::{self, Told};
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

const PARTITIONS: i32 = 16;
const RECORD_BYTES: u64 = 1024;
/// Records a second while the topic is filled: less than either side takes.
const FILL_RATE: u64 = 400_000;
/// Records a second that are produced while somebody catches up: about 50 MB/s.
const BESIDE_RATE: u64 = 50_000;
/// For how long producers are measured before and while somebody catches up.
const BESIDE_SECONDS: u64 = 10;

impl Lab {
    /// Makes a topic of so many gigabytes; gives the number of its records.
    fn filled_topic(&mut self, index: usize, name: &str, gigabytes: u64) -> Result<u64> {
        let broker = &self.brokers[index];
        broker.create_topic(name, PARTITIONS, Class::Replicated)?;
        let seconds = (gigabytes * 1_000_000_000 / RECORD_BYTES).div_ceil(FILL_RATE);
        let mut command = (self.tools).perf(broker.address(), "produce", name, seconds);
        command.args(["--size", &RECORD_BYTES.to_string()]);
        command.args(["--rate", &FILL_RATE.to_string()]);
        command.args(["--seconds", &seconds.to_string()]);
        in_bulk(&mut command);
        let told = tools::perf(&said(&mut command)?, &[])?;
        Ok(told.records as u64)
    }

    /// A run of W5a: everything is read again and again until a run's time has passed.
    pub fn consume(&mut self, index: usize, consume: &Consume) -> Result<(Figures, Noise)> {
        let before = self.settle()?;
        let topic = self.topic();
        self.brokers[index].resume()?;
        let records = self.filled_topic(index, &topic, self.mode.consume_gigabytes())?;
        memory::sync()?;
        let (pid, address) = (self.brokers[index].pid()?, self.brokers[index].address());
        let mut sum = Told::default();
        let first = self.snapshot(pid)?;
        while sum.seconds < self.mode.run_seconds() as f64 {
            let mut running = Vec::new();
            for _ in 0..consume.groups {
                let mut command = self.consumer(consume.client, address, &topic, records)?;
                running.push(start(&mut command)?);
            }
            let mut all = Vec::new();
            for said in finish_all(running)? {
                all.push(match consume.client {
                    Client::Java => tools::consumer_performance(&said)?,
                    _ => tools::perf(&said, &[])?,
                });
            }
            let round = tools::together(&all);
            let wanted = (records * consume.groups as u64) as f64;
            ensure!(
                round.records >= wanted,
                "{} of {wanted} records came",
                round.records
            );
            sum.records += round.records;
            sum.bytes += round.bytes;
            sum.seconds += round.seconds.max(0.001);
        }
        let spent = self.snapshot(pid)?.since(&first);
        let cpu_per_gb = spent.broker_cpu_seconds / (sum.bytes / 1e9);
        let mut figures = named([
            (metric::MEGABYTES, sum.bytes / sum.seconds / 1e6),
            (metric::RECORDS, sum.records / sum.seconds),
            (metric::CPU_PER_GB, cpu_per_gb),
            (metric::CLIENT_CPU, spent.client_cpu_seconds),
            (metric::SECONDS, sum.seconds),
        ]);
        put_memory(&mut figures, pid)?;
        let broker = &self.brokers[index];
        broker.delete_topic(&topic)?;
        broker.pause()?;
        Ok((figures, spent.noise(before)))
    }

    fn consumer(
        &self,
        client: Client,
        address: SocketAddr,
        topic: &str,
        records: u64,
    ) -> Result<Command> {
        let seconds = self.mode.run_seconds();
        let count = records.to_string();
        Ok(match client {
            Client::Ours => {
                let mut command = self.tools.perf(address, "consume", topic, seconds);
                command.args(["--records", &count]);
                command
            }
            Client::Java => {
                let mut command = self.tools.tool("ConsumerPerformance", seconds);
                command.args(["--bootstrap-server", &address.to_string()]);
                command.args(["--topic", topic, "--num-records", &count]);
                command.args(["--timeout", "60000"]);
                command
            }
            Client::Librdkafka => anyhow::bail!("there is no such cell"),
        })
    }

    /// A run of W5b: a consumer reads what only the disk has, while others produce.
    pub fn catch_up(&mut self, index: usize) -> Result<(Figures, Noise)> {
        let before = self.settle()?;
        let (cold, hot) = (self.topic(), self.topic());
        self.brokers[index].resume()?;
        let gigabytes = if self.mode == Mode::Full { 20 } else { 2 };
        let records = self.filled_topic(index, &cold, gigabytes)?;
        memory::sync()?;
        for folder in self.folders(index, &cold)? {
            memory::forget(&folder)?;
        }
        let broker = &self.brokers[index];
        broker.create_topic(&hot, PARTITIONS, Class::Replicated)?;
        let (pid, address) = (broker.pid()?, broker.address());
        let alone = self.beside(address, &hot)?;
        let first = self.snapshot(pid)?;
        let mut reader = self.consumer(Client::Ours, address, &cold, records)?;
        let reader = start(&mut reader)?;
        let during = self.beside(address, &hot);
        let read = tools::perf(&finish(reader)?, &[])?;
        let during = during?;
        let spent = self.snapshot(pid)?.since(&first);
        ensure!(read.records >= records as f64, "records are missing");
        let mut figures = named([
            (metric::MEGABYTES, read.bytes / read.seconds.max(1e-9) / 1e6),
            (metric::PRODUCE_P99_BEFORE, alone),
            (metric::PRODUCE_P99_DURING, during),
            (metric::CPU, spent.broker_cpu_seconds),
            (metric::SECONDS, read.seconds),
        ]);
        put_memory(&mut figures, pid)?;
        let broker = &self.brokers[index];
        broker.delete_topic(&hot)?;
        broker.delete_topic(&cold)?;
        broker.pause()?;
        Ok((figures, spent.noise(before)))
    }

    /// The p99 of acknowledgements at a rate, in milliseconds.
    fn beside(&self, address: SocketAddr, topic: &str) -> Result<f64> {
        let mut command = (self.tools).perf(address, "produce", topic, BESIDE_SECONDS);
        command.args(["--rate", &BESIDE_RATE.to_string()]);
        command.args(["--size", &RECORD_BYTES.to_string()]);
        command.args(["--seconds", &BESIDE_SECONDS.to_string()]);
        let names = [metric::P50, metric::P99, metric::P999];
        let told = tools::perf(&said(&mut command)?, &[("acknowledgedMicros", names)])?;
        let (_, millis) = told.times.get(1).context("a p99")?;
        Ok(*millis)
    }

    fn folders(&self, index: usize, topic: &str) -> Result<Vec<PathBuf>> {
        let prefix = format!("{topic}-");
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(self.brokers[index].logs())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                folders.push(entry.path());
            }
        }
        ensure!(!folders.is_empty(), "topic {topic} has no folder");
        Ok(folders)
    }
}
