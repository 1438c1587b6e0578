//! `cargo xtask figures`: what a node of the release build takes: to start, to idle, to create many partitions, to come
//! back after a kill.
//!
//! Figures are printed beside their goals and judged by people: they depend on the machine and on what else it does.

use crate::syscalls::wire::{self, Client, Request};
use crate::{clients, proc, wait};
use anyhow::{Context, Result, bail, ensure};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Arguments of `cargo xtask figures`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these of start, idle, partitions and restart.
    only: Vec<String>,
    /// Seconds over which an idle node's CPU time is counted.
    #[arg(long, default_value_t = 30)]
    idle_seconds: u64,
    /// Mebibytes that the node holds when it is killed.
    #[arg(long, default_value_t = 1024)]
    restart_mebibytes: usize,
}

/// How long a node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// How often it is asked until then.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// Starts of which the median is told.
const STARTS: usize = 9;
/// How long a node that has started is left alone before its memory is looked at: its helper threads end meanwhile.
const SETTLE: Duration = Duration::from_secs(10);
/// Partitions of the topic that is created and used.
const MANY_PARTITIONS: i32 = 1_000;
/// Partitions that hold the data of the node that is killed.
const RESTART_PARTITIONS: i32 = 100;
/// Records of one of its batches, and bytes of each.
const RESTART_BATCH: (i32, usize) = (100, 1_000);
/// Batches in flight while it is filled.
const RESTART_WINDOW: usize = 8;

/// Runs the chore.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let names = ["start", "idle", "partitions", "restart"];
    if let Some(unknown) = arguments
        .only
        .iter()
        .find(|name| !names.contains(&name.as_str()))
    {
        bail!("no figure `{unknown}`; there are {}", names.join(", "));
    }
    let is_wanted =
        |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let place = Place::new(root)?;
    if is_wanted("start") {
        start(&place)?;
    }
    if is_wanted("idle") {
        idle(&place, arguments.idle_seconds)?;
    }
    if is_wanted("partitions") {
        partitions(&place)?;
    }
    if is_wanted("restart") {
        for (class, flush_messages) in [("flushed", "1"), ("replicated", "1000000000")] {
            restart(&place, class, flush_messages, arguments.restart_mebibytes)?;
        }
    }
    std::fs::remove_dir_all(&place.folder)?;
    Ok(ExitCode::SUCCESS)
}

/// One figure with its goal.
fn say(figure: &str, measured: &str, goal: &str) {
    println!("{figure:<68} {measured:>9}   goal {goal}");
}

fn millis(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1e3)
}

/// The executable, and where its data lies.
struct Place {
    executable: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn new(root: &Path) -> Result<Place> {
        let place = Place {
            executable: clients::build_release(root)?,
            folder: root.join("target/figures"),
        };
        place.empty()?;
        Ok(place)
    }

    /// Removes what a node has left.
    fn empty(&self) -> Result<()> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        Ok(std::fs::create_dir_all(&self.folder)?)
    }
}

/// A node as anyone would start it, on ports of its own; killed when dropped.
struct Node {
    child: Child,
    address: SocketAddr,
    /// From the start of the process to its first answer.
    answered_after: Duration,
}

impl Node {
    fn start(place: &Place) -> Result<Node> {
        let address = clients::free_address()?;
        let log = std::fs::File::create(place.folder.join("broker.log"))?;
        let mut command = Command::new(&place.executable);
        command
            .args(["serve", "--http", "127.0.0.1:0"])
            .arg("--override")
            .arg(format!("listeners=PLAINTEXT://{address}"))
            .arg("--override")
            .arg(format!("log.dirs={}", place.folder.join("data").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let started = Instant::now();
        let child = command.spawn().context("starting the broker")?;
        let mut node = Node {
            child,
            address,
            answered_after: Duration::ZERO,
        };
        let answers = || clients::answers(address);
        ensure!(
            wait::until_up(&mut node.child, ANSWER_MAX, ASK_EVERY, answers)?,
            "the broker does not answer: see {}",
            place.folder.display()
        );
        node.answered_after = started.elapsed();
        Ok(node)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(place: &Place) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        place.empty()?;
        times.push(Node::start(place)?.answered_after);
    }
    times.sort_unstable();
    let figure = format!("start to first answer, empty directory, median of {STARTS}");
    say(&figure, &millis(times[STARTS / 2]), "60 ms");
    Ok(())
}

fn idle(place: &Place, seconds: u64) -> Result<()> {
    place.empty()?;
    let node = Node::start(place)?;
    std::thread::sleep(SETTLE);
    let pid = node.child.id();
    let megabytes = |name: &str| -> Result<String> {
        let bytes = proc::memory_bytes(pid, name)?;
        Ok(format!("{:.1} MB", bytes as f64 / 1e6))
    };
    say("idle memory (VmRSS)", &megabytes("VmRSS")?, "20 MB");
    say("  of it the program's file", &megabytes("RssFile")?, "-");
    let (began, before) = (Instant::now(), proc::threads_seconds(pid)?);
    std::thread::sleep(Duration::from_secs(seconds));
    // A thread that has ended meanwhile takes its time along.
    let used = (proc::threads_seconds(pid)? - before).max(0.0);
    let share = used / began.elapsed().as_secs_f64() * 100.0;
    let figure = format!("idle CPU over {seconds} s");
    say(&figure, &format!("{share:.3} %"), "0.1 %");
    Ok(())
}

fn partitions(place: &Place) -> Result<()> {
    place.empty()?;
    let node = Node::start(place)?;
    let mut client = Client::connect(node.address)?;
    let began = Instant::now();
    client.ask(&wire::create_topic("many", MANY_PARTITIONS, &[]))?;
    let created = began.elapsed();
    let requests: Vec<Request> = (0..MANY_PARTITIONS)
        .map(|partition| wire::produce("many", partition, 1, 100))
        .collect();
    let answers = client.pipeline(requests.iter(), RESTART_WINDOW)?;
    for answer in answers {
        ensure!(
            wire::produced(&answer)? == (0, 0),
            "a new partition is not empty"
        );
    }
    let used = began.elapsed();
    let figure = format!("{MANY_PARTITIONS} partitions created");
    say(&figure, &millis(created), "-");
    say("  and a durable record in each", &millis(used), "2000 ms");
    Ok(())
}

fn restart(place: &Place, class: &str, flush_messages: &str, mebibytes: usize) -> Result<()> {
    place.empty()?;
    let node = Node::start(place)?;
    let mut client = Client::connect(node.address)?;
    let configs = [("flush.messages", flush_messages)];
    client.ask(&wire::create_topic("data", RESTART_PARTITIONS, &configs))?;
    let (records, value_bytes) = RESTART_BATCH;
    let requests: Vec<Request> = (0..RESTART_PARTITIONS)
        .map(|partition| wire::produce("data", partition, records, value_bytes))
        .collect();
    let round_bytes = records as usize * value_bytes * requests.len();
    let rounds = (mebibytes << 20).div_ceil(round_bytes);
    for _ in 0..rounds {
        for answer in client.pipeline(requests.iter(), RESTART_WINDOW)? {
            let (code, _) = wire::produced(&answer)?;
            ensure!(code == 0, "Produce is answered with error {code}");
        }
    }
    // As SIGKILL does, because that is what it sends.
    drop(node);
    let began = Instant::now();
    let node = Node::start(place)?;
    let mut client = Client::connect(node.address)?;
    let probes: Vec<Request> = (0..RESTART_PARTITIONS)
        .map(|partition| wire::produce("data", partition, 1, 100))
        .collect();
    let expected = i64::from(records) * rounds as i64;
    for answer in client.pipeline(probes.iter(), RESTART_WINDOW)? {
        let (code, offset) = wire::produced(&answer)?;
        ensure!(code == 0, "Produce is answered with error {code}");
        ensure!(offset == expected, "{offset} follows {expected} records");
    }
    let served = began.elapsed();
    let held = format!("SIGKILL with {mebibytes} MiB in {RESTART_PARTITIONS} partitions, {class}");
    say(
        &format!("{held}: first answer"),
        &millis(node.answered_after),
        "-",
    );
    say(
        "  and a record in each partition",
        &millis(served),
        "2000 ms",
    );
    std::io::stdout().flush()?;
    Ok(())
}
