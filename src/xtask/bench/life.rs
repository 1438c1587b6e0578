//! W6, W9, W10: brokers of their own in empty directories, started, watched and ended, while the others stand still.

use super::broker::Broker;
use super::cell::Class;
use super::lab::{Lab, put_memory};
use super::load::in_bulk;
use super::plan::Mode;
use super::process::{said, start};
use super::result::{Figures, Noise, metric, named};
use super::stats;
use crate::proc::threads_seconds;
use crate::syscalls::wire::{self, Client};
use anyhow::{Context, Result, ensure};
use std::process::Command;
use std::time::{Duration, Instant};

/// Partitions of one CreateTopics at most: Kafka refuses more than 10,000 records of metadata an operation.
const CREATE_MAX: i32 = 9_000;
/// How long a broker is left alone before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(10);
/// Starts of one run of W10a.
const STARTS: usize = 3;
/// Partitions of W10b.
const KILL_PARTITIONS: i32 = 100;

impl Lab {
    /// A broker of the same kind in an empty directory.
    fn fresh(&self, index: usize) -> Result<Broker> {
        Broker::new(
            &self.root,
            self.brokers[index].kind(),
            &self.folder.join("fresh"),
        )
    }

    /// A run of W6.
    pub fn partitions(&mut self, index: usize, count: u16) -> Result<(Figures, Noise)> {
        let before = self.settle()?;
        let mut broker = self.fresh(index)?;
        broker.start()?;
        let pid = broker.pid()?;
        let count = i32::from(count);
        let first = self.snapshot(pid)?;
        let began = Instant::now();
        let made = count.min(CREATE_MAX);
        create(&broker, &wire::create_topic("many", made, &replicated()))?;
        if count > made {
            create(&broker, &wire::create_partitions("many", count))?;
        }
        let created = began.elapsed();
        broker.touch("many", 0..count)?;
        let usable = began.elapsed();
        let spent = self.snapshot(pid)?.since(&first);
        let mut figures = Figures::new();
        put_memory(&mut figures, pid)?;
        let stopped = broker.stop()?;
        let began = Instant::now();
        let answered = broker.start()?;
        broker.touch("many", 0..count)?;
        let serving = began.elapsed();
        figures.extend(named([
            (metric::CREATED, created.as_secs_f64()),
            (metric::USABLE, usable.as_secs_f64()),
            (metric::CPU, spent.broker_cpu_seconds),
            (metric::STOP, stopped.as_secs_f64()),
            (metric::START, answered.as_secs_f64()),
            (metric::RESTART, serving.as_secs_f64()),
        ]));
        Ok((figures, spent.noise(before)))
    }

    /// A run of W9.
    pub fn idle(&mut self, index: usize) -> Result<(Figures, Noise)> {
        let before = self.settle()?;
        let mut broker = self.fresh(index)?;
        broker.start()?;
        let pid = broker.pid()?;
        std::thread::sleep(SETTLE);
        let first = self.snapshot(pid)?;
        let (began, used) = (Instant::now(), threads_seconds(pid)?);
        std::thread::sleep(Duration::from_secs(self.mode.idle_seconds()));
        let used = threads_seconds(pid)? - used;
        let share = used / began.elapsed().as_secs_f64() * 100.0;
        let spent = self.snapshot(pid)?.since(&first);
        let mut figures = named([(metric::IDLE_CPU, share)]);
        put_memory(&mut figures, pid)?;
        Ok((figures, spent.noise(before)))
    }

    /// A run of W10a.
    pub fn starts(&mut self, index: usize) -> Result<(Figures, Noise)> {
        let before = self.settle()?;
        let mut times = Vec::new();
        let mut noise = before;
        for _ in 0..STARTS {
            let mut broker = self.fresh(index)?;
            // No process has this number: what the broker uses counts as nobody's.
            let first = self.snapshot(0)?;
            times.push(broker.start()?.as_secs_f64());
            noise = self.snapshot(0)?.since(&first).noise(before);
            broker.kill()?;
        }
        let median = stats::median(&times).context("there were starts")?;
        Ok((named([(metric::START, median)]), noise))
    }

    /// A run of W10b.
    pub fn kill(&mut self, index: usize, class: Class) -> Result<(Figures, Noise)> {
        let before = self.settle()?;
        let mut broker = self.fresh(index)?;
        broker.start()?;
        broker.create_topic("killed", KILL_PARTITIONS, class)?;
        let seconds = if self.mode == Mode::Full { 15 } else { 3 };
        let pid = broker.pid()?;
        let first = self.snapshot(pid)?;
        let address = broker.address();
        let mut command = self.tools.perf(address, "produce", "killed", seconds);
        command.args(["--seconds", &(10 * seconds).to_string()]);
        in_bulk(&mut command);
        let mut client = start(&mut command)?;
        std::thread::sleep(Duration::from_secs(seconds));
        ensure!(client.try_wait()?.is_none(), "the load ended too early");
        let spent = self.snapshot(pid)?.since(&first);
        broker.kill()?;
        // `timeout` hands SIGTERM on to the client; SIGKILL would leave the client behind.
        said(Command::new("kill").arg(client.id().to_string()))?;
        client.wait()?;
        let held = said(Command::new("du").arg("-sb").arg(broker.logs()))?;
        let held: f64 = held.split_whitespace().next().context("a size")?.parse()?;
        let began = Instant::now();
        let answered = broker.start()?;
        broker.touch("killed", 0..KILL_PARTITIONS)?;
        let figures = named([
            (metric::RESTART, began.elapsed().as_secs_f64()),
            (metric::START, answered.as_secs_f64()),
            (metric::HELD, held / 1e9),
        ]);
        Ok((figures, spent.noise(before)))
    }
}

fn replicated() -> [(&'static str, &'static str); 1] {
    [("flush.messages", Class::Replicated.flush_messages())]
}

/// Asks for topics or partitions; the answer must be good.
fn create(broker: &Broker, request: &wire::Request) -> Result<()> {
    let answer = Client::connect(broker.address())?.ask(request)?;
    let code = wire::topic_code(&answer)?;
    ensure!(code == 0, "partitions are refused with error {code}");
    Ok(())
}
