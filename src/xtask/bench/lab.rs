//! The machine with both brokers on it, of which one runs at a time.

use super::broker::{Broker, Kind};
use super::cell::{BULK, Cell, Class, Load, Shape, Work};
use super::load::{Amount, Done, Tools, figures};
use super::memory::{self, Filler};
use super::plan::{Mode, PAIRS_MIN, Side, order, wants_pair};
use super::proc::{self, Snapshot};
use super::process::said;
use super::result::{CellResult, Figures, Noise, Run, metric, named};
use super::table;
use crate::proc::memory_bytes;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// What every topic's name begins with.
const TOPIC: &str = "bench";
/// Seconds of one part of driving a broker warm, so that its topic does not fill the disk.
const WARM_PART_SECONDS: u64 = 15;

/// Threads for requests of the tuned Kafka; and for W4, where they are what overlaps its syncs.
const THREADS: u32 = 4;
const THREADS_FLUSHED: u32 = 8;

/// Everything that runs need.
pub struct Lab {
    /// The source tree.
    pub root: PathBuf,
    /// How long runs are.
    pub mode: Mode,
    /// The load generators.
    pub tools: Tools,
    /// Where data lies.
    pub folder: PathBuf,
    /// Ours, then the peer if there is one. All stand still but the one that is measured.
    pub brokers: Vec<Broker>,
    /// The disk's name.
    pub device: String,
    /// When everything must be done.
    pub deadline: Instant,
    filler: Filler,
    topics: u32,
    /// Kafka's threads for requests now, where it is tuned.
    threads: u32,
}

impl Lab {
    /// A lab without brokers.
    pub fn new(root: PathBuf, mode: Mode, tools: Tools, deadline: Instant) -> Result<Lab> {
        let folder = tools.folder.join("data");
        std::fs::create_dir_all(&folder)?;
        Ok(Lab {
            root,
            mode,
            folder: folder.clone(),
            brokers: Vec::new(),
            device: proc::device_of(&folder)?,
            deadline,
            filler: Filler::new(&tools.folder)?,
            topics: 0,
            threads: THREADS,
            tools,
        })
    }

    /// Starts a broker that stays, drives it warm, and lets it stand still.
    pub fn add(&mut self, kind: Kind) -> Result<()> {
        let folder = self.folder.join(kind.name().replace(' ', "-"));
        let mut broker = Broker::new(&self.root, kind, &folder)?;
        broker.start()?;
        self.brokers.push(broker);
        let index = self.brokers.len() - 1;
        let seconds = match kind {
            Kind::Millrace => WARM_PART_SECONDS.min(self.mode.warm_seconds()),
            Kind::KafkaDefault | Kind::KafkaTuned => self.mode.warm_seconds(),
        };
        println!("driving {} warm for {seconds} s", kind.name());
        self.warm(index, seconds)?;
        self.brokers[index].pause()
    }

    fn warm(&mut self, index: usize, seconds: u64) -> Result<()> {
        let mut left = seconds;
        while left > 0 {
            let part = left.min(WARM_PART_SECONDS);
            left -= part;
            let topic = self.topic();
            let broker = &self.brokers[index];
            broker.create_topic(&topic, 16, Class::Replicated)?;
            let tiny = Load {
                shape: Shape::Tiny,
                size_bytes: 100,
                producers: 4,
                ..BULK
            };
            let amount = |seconds| Amount {
                seconds,
                records: 0,
            };
            let address = broker.address();
            self.tools
                .run(&BULK, address, &topic, amount(part.div_ceil(2)))?;
            self.tools
                .run(&tiny, address, &topic, amount(part.div_ceil(4)))?;
            let mut consume = self.tools.perf(address, "consume", &topic, part);
            consume.args(["--seconds", &part.div_ceil(4).to_string()]);
            said(&mut consume)?;
            broker.delete_topic(&topic)?;
        }
        Ok(())
    }

    /// A name that no topic had before.
    pub fn topic(&mut self) -> String {
        self.topics += 1;
        format!("{TOPIC}{}", self.topics)
    }

    /// The broker that a side of a cell means.
    pub fn index(&self, cell: &Cell, side: Side) -> usize {
        match side {
            Side::B if !cell.is_idempotence => self.brokers.len() - 1,
            _ => 0,
        }
    }

    /// Whether a cell has a side B.
    pub fn has_peer(&self, cell: &Cell) -> bool {
        cell.is_idempotence || self.brokers.len() > 1
    }

    /// Fills memory, waits for the disk, and watches what else goes on; all brokers stand still.
    pub fn settle(&mut self) -> Result<Noise> {
        self.filler.fill(self.mode)?;
        memory::sync()?;
        memory::watch()
    }

    /// The snapshot of a broker's process.
    pub fn snapshot(&self, pid: u32) -> Result<Snapshot> {
        Snapshot::take(pid, &self.device)
    }

    /// Measures a cell: its sides take turns until there are enough pairs.
    pub fn measure(&mut self, cell: &Cell, date: String) -> CellResult {
        let mut result = CellResult {
            name: cell.name.clone(),
            title: cell.title.clone(),
            primary: cell.primary.to_owned(),
            date,
            mode: self.mode,
            runs: Vec::new(),
            failure: None,
        };
        if let Err(error) = self.turns(cell, &mut result) {
            result.failure = Some(format!("{error:#}"));
            self.calm();
        }
        result
    }

    fn turns(&mut self, cell: &Cell, result: &mut CellResult) -> Result<()> {
        self.set_threads(match cell.workload() {
            "w4" => THREADS_FLUSHED,
            _ => THREADS,
        })?;
        let rates = match &cell.work {
            Work::Load(load) => self.trial(cell, load)?,
            _ => [0.0; 2],
        };
        let mut pairs = 0;
        loop {
            let spread = result
                .ratio(cell.primary)
                .map_or(0.0, |ratio| ratio.spread());
            let has_time = Instant::now() < self.deadline;
            let wanted = match self.has_peer(cell) {
                true => wants_pair(pairs, spread, self.mode, has_time),
                false => pairs < PAIRS_MIN,
            };
            if !wanted {
                return Ok(());
            }
            pairs += 1;
            for side in order(pairs).into_iter().skip(2 * (pairs - 1)) {
                let side = if self.has_peer(cell) { side } else { Side::A };
                let (figures, noise) = self.run(cell, side, rates)?;
                table::progress(cell, side, pairs, &figures);
                result.runs.push(Run {
                    side,
                    figures,
                    noise,
                });
            }
        }
    }

    fn run(&mut self, cell: &Cell, side: Side, rates: [f64; 2]) -> Result<(Figures, Noise)> {
        let index = self.index(cell, side);
        match &cell.work {
            Work::Load(load) => {
                let load = sided(cell, side, load);
                let amount = self.amount(cell, &load, side, rates);
                let (_, figures, noise) = self.load(index, &load, amount)?;
                Ok((figures, noise))
            }
            Work::Consume(consume) => self.consume(index, consume),
            Work::CatchUp => self.catch_up(index),
            Work::Partitions(count) => self.partitions(index, *count),
            Work::Idle => self.idle(index),
            Work::Start => self.starts(index),
            Work::Kill(class) => self.kill(index, *class),
        }
    }

    /// Records a second of A and B, from a short run of each that is not counted.
    fn trial(&mut self, cell: &Cell, load: &Load) -> Result<[f64; 2]> {
        self.tools.check(load.client)?;
        let seconds = self.mode.trial_seconds();
        let mut rates = [0.0; 2];
        for side in [Side::A, Side::B] {
            if side == Side::B && !self.has_peer(cell) {
                break;
            }
            let load = sided(cell, side, load);
            let amount = Amount {
                seconds,
                records: (load.guess() * seconds as f64) as u64,
            };
            let (done, ..) = self.load(self.index(cell, side), &load, amount)?;
            rates[side as usize] = done.told.records / done.told.seconds.max(1e-9);
        }
        Ok(rates)
    }

    /// How much a run sends: clients that are told a count get one that keeps the faster side busy for a run's time.
    fn amount(&self, cell: &Cell, load: &Load, side: Side, rates: [f64; 2]) -> Amount {
        let size = load.size_bytes as f64;
        let fastest = rates[0].max(rates[1]).max(1.0);
        let mut seconds = self.mode.run_seconds() as f64;
        // What is sent at a rate never fills the disk.
        if load.rate == 0 {
            seconds = seconds.min(self.mode.bytes_max() / (fastest * size));
        }
        if cell.name.starts_with("w4-bulk") {
            let bytes_min = self.mode.flushed_gigabytes() as f64 * 1.1e9;
            seconds = seconds.max(bytes_min / (rates[side as usize].max(1.0) * size));
        }
        Amount {
            seconds: (seconds.ceil() as u64).max(1),
            records: (fastest * seconds) as u64,
        }
    }

    /// One run of producers on a fresh topic.
    fn load(
        &mut self,
        index: usize,
        load: &Load,
        amount: Amount,
    ) -> Result<(Done, Figures, Noise)> {
        let before = self.settle()?;
        let topic = self.topic();
        self.brokers[index].resume()?;
        let broker = &self.brokers[index];
        broker.create_topic(&topic, load.partitions, load.class)?;
        let pid = broker.pid()?;
        let first = self.snapshot(pid)?;
        let done = self.tools.run(load, broker.address(), &topic, amount)?;
        let spent = self.snapshot(pid)?.since(&first);
        let mut figures = figures(load, &done, &spent);
        put_memory(&mut figures, pid)?;
        broker.delete_topic(&topic)?;
        broker.pause()?;
        Ok((done, figures, spent.noise(before)))
    }

    /// After a failure: what it left goes, and every broker that still runs stands still.
    fn calm(&mut self) {
        for broker in &mut self.brokers {
            let cleared = (broker.resume())
                .and_then(|()| broker.clear(TOPIC))
                .and_then(|()| broker.pause());
            if let Err(error) = cleared {
                let name = broker.kind().name();
                eprintln!(
                    "{name} is not fit to go on: {error:#}; {}",
                    broker.log_tail()
                );
            }
        }
    }

    /// Gives the tuned Kafka its threads for requests.
    fn set_threads(&mut self, threads: u32) -> Result<()> {
        if threads == self.threads {
            return Ok(());
        }
        for broker in &mut self.brokers {
            if broker.kind() == Kind::KafkaTuned {
                broker.resume()?;
                broker.set_io_threads(&self.tools.millrace, threads)?;
                broker.pause()?;
            }
        }
        self.threads = threads;
        Ok(())
    }
}

/// The load of one side: only idempotence may differ, and only where it is what is compared.
fn sided(cell: &Cell, side: Side, load: &Load) -> Load {
    Load {
        idempotence: match cell.is_idempotence {
            true => Some(side == Side::A),
            false => load.idempotence,
        },
        ..*load
    }
}

/// Adds what a process holds.
pub fn put_memory(figures: &mut Figures, pid: u32) -> Result<()> {
    for (name, key) in [(metric::RSS, "VmRSS"), (metric::ANON, "RssAnon")] {
        let megabytes = memory_bytes(pid, key)? as f64 / 1e6;
        figures.extend(named([(name, megabytes)]));
    }
    Ok(())
}

/// The date and time, UTC.
pub fn now() -> Result<String> {
    let date = said(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]))?;
    Ok(date.lines().next().context("a date")?.to_owned())
}
