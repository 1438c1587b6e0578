//! `cargo xtask syscalls`: what the broker asks of the kernel, under strace: in which order, and how often.
//!
//! A kill keeps the page cache, so the crash test cannot see a sync that is missing; this one does. That it does is
//! seen from brokers that are built with one sync taken out (`--mutants`), and from a recorded trace.

mod check;
mod mutants;
pub mod trace;
pub mod wire;

use crate::{clients, proc, wait};
use anyhow::{Context, Result, ensure};
use check::{Expected, Findings};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use wire::{Client, Request};

/// Arguments of `cargo xtask syscalls`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Counts the calls a request instead of checking their order.
    #[arg(long)]
    count: bool,
    /// Builds brokers with one sync taken out, and demands that each is found out.
    #[arg(long, conflicts_with = "count")]
    mutants: bool,
    /// Writes the trace, with what is needed to check it, to this file.
    #[arg(long)]
    record: Option<PathBuf>,
}

/// What the chore needs and what is not there.
pub fn missing() -> Vec<&'static str> {
    clients::absent(&[("strace", "--version")])
}

/// The calls that say what is durable.
const TRACED: &str = "openat,creat,mkdir,mkdirat,unlink,unlinkat,rmdir,rename,renameat,renameat2,write,writev,\
    pwrite64,pwritev,pwritev2,ftruncate,fsync,fdatasync,sendto,sendmsg,sendfile";
const STOP_MAX: Duration = Duration::from_secs(20);
const START_MAX: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);
/// Requests that are counted, and those before that warm up.
const COUNTED: i32 = 400;
const WARM_UP: i32 = 100;
const WINDOW: i32 = 32;
/// Fetches that are counted, and where they begin: behind all the small batches.
const READS: i32 = 100;
const LARGE_FROM: i32 = WARM_UP + COUNTED + (WARM_UP + COUNTED) * WINDOW;
/// Calls a request, one at a time: the goal is 4, and now and then a timer.
const ALONE_MAX: f64 = 4.02;
/// Calls a request with 32 in flight: the goal.
const TOGETHER_MAX: f64 = 0.5;

/// Runs the chore.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let lacking = missing();
    ensure!(lacking.is_empty(), "this needs {}", lacking.join(", "));
    let is_good = if arguments.count {
        count(root)?
    } else if arguments.mutants {
        run_mutants(root)?
    } else {
        order(root, arguments.record.as_deref())?
    };
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether order and counts are as they must be; for `cargo xtask test`.
pub fn run_for_test(root: &Path) -> Result<bool> {
    Ok(order(root, None)? & count(root)? & run_mutants(root)?)
}

fn run_mutants(root: &Path) -> Result<bool> {
    mutants::run(root, |program| {
        let findings = examine(root, Some(program), None)?;
        Ok(findings.complaints)
    })
}

/// A broker under strace.
struct Traced {
    strace: Child,
    address: SocketAddr,
    data: PathBuf,
    output: PathBuf,
}

impl Traced {
    /// Starts `program`, or the broker as it is.
    fn start(
        root: &Path,
        program: Option<&Path>,
        calls: &str,
        settings: &[(&str, &str)],
    ) -> Result<Traced> {
        let setup = clients::Setup {
            name: "syscalls",
            profile: settings,
            port: None,
        };
        let (broker, address, folder) = clients::command(root, clients::Peer::Millrace, &setup)?;
        let output = folder.join("trace.txt");
        let strace = Command::new("strace")
            .args([
                "-f",
                "-yy",
                "-s",
                "0",
                "-e",
                &format!("trace={calls}"),
                "-o",
            ])
            .arg(&output)
            .arg(program.map_or(broker.get_program(), Path::as_os_str))
            .args(broker.get_args())
            // A partition of another core costs a hop, and which core takes a connection is the system's choice: what
            // is counted is the way of a request to a partition of its own core.
            .args(["--cores", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("broker.log"))?)
            .spawn()
            .context("starting strace")?;
        let data = folder.join("logs");
        let mut traced = Traced {
            strace,
            address,
            data,
            output,
        };
        let listens = || std::net::TcpStream::connect(address).is_ok();
        ensure!(
            wait::until_up(&mut traced.strace, START_MAX, STEP, listens)?,
            "the broker did not come up: see {}",
            folder.display()
        );
        Ok(traced)
    }

    /// Asks the broker to stop and gives the trace.
    fn stop(mut self) -> Result<String> {
        let pid = proc::child(self.strace.id()).context("the broker under strace")?;
        let killed = Command::new("kill").arg(pid.to_string()).status()?;
        ensure!(killed.success(), "the broker is gone");
        let ended = wait::until(STOP_MAX, STEP, || Ok(self.strace.try_wait()?))?;
        ended.with_context(|| format!("the broker did not stop within {STOP_MAX:?}"))?;
        Ok(std::fs::read_to_string(&self.output)?)
    }
}

/// A story with everything that must be durable at a moment.
fn story() -> Vec<(Request, Expected)> {
    let expect = |what: &str, partitions: &[&str]| Expected {
        what: what.to_owned(),
        partitions: partitions.iter().map(|name| (*name).to_owned()).collect(),
    };
    let metadata = ["__cluster_metadata-0"];
    let mut story = vec![
        (
            wire::create_topic("orders", 2, &[]),
            expect("create orders", &metadata),
        ),
        (
            wire::create_topic("brief", 1, &[]),
            expect("create brief", &metadata),
        ),
        (
            wire::find_coordinator("readers"),
            expect("find the coordinator", &[]),
        ),
    ];
    for round in 0..16 {
        let partition = round % 2;
        let (name, count) = (format!("orders-{partition}"), 1 + round % 3);
        story.push((
            wire::produce("orders", partition, count, 200),
            expect(&format!("produce {round}"), &[&name]),
        ));
        if round % 4 == 3 {
            let committed = wire::commit("readers", "orders", partition, i64::from(round));
            story.push((
                committed,
                expect(&format!("commit {round}"), &["__consumer_offsets-0"]),
            ));
        }
    }
    story.push((
        wire::produce("brief", 0, 2, 100),
        expect("produce to brief", &["brief-0"]),
    ));
    story.push((
        wire::delete_records("orders", 0, 5),
        expect("delete records", &["orders-0"]),
    ));
    story.push((
        wire::delete_topic("brief"),
        expect("delete brief", &metadata),
    ));
    story.push((
        wire::produce("orders", 0, 1, 200),
        expect("produce at the end", &["orders-0"]),
    ));
    story
}

fn order(root: &Path, record: Option<&Path>) -> Result<bool> {
    let findings = examine(root, None, record)?;
    print!("{}", findings.text());
    println!(
        "== order: {} answers, {} logs synced before them, {} out of order",
        findings.answers,
        findings.acknowledged,
        findings.complaints.len()
    );
    Ok(findings.complaints.is_empty() && findings.acknowledged > 0)
}

/// Traces a broker while the story is told to it, and checks the trace.
fn examine(root: &Path, program: Option<&Path>, record: Option<&Path>) -> Result<Findings> {
    let settings = [
        ("internal.segment.bytes", "1200"),
        ("offsets.topic.num.partitions", "1"),
    ];
    let traced = Traced::start(root, program, TRACED, &settings)?;
    let data = traced.data.display().to_string();
    let mut client = Client::connect(traced.address)?;
    let port = client.port()?;
    let mut expected = Vec::new();
    for (request, promised) in story() {
        // The coordinator may still be loading.
        let answer = client
            .ask(&request)
            .with_context(|| promised.what.clone())?;
        if program.is_none() {
            println!(
                "   {}: {:?}",
                promised.what,
                &answer[..answer.len().min(60)]
            );
        }
        expected.push(promised);
    }
    let text = traced.stop()?;
    if let Some(path) = record {
        std::fs::write(path, recorded(&text, &data, port))?;
    }
    Ok(check::check(&trace::parse(&text), &data, port, &expected))
}

/// The lines of a trace that are about the data directory or the client, their paths shortened.
fn recorded(text: &str, data: &str, port: u16) -> String {
    let client = format!(":{port}]");
    let here = std::env::current_dir().unwrap_or_default();
    let here = format!("AT_FDCWD<{}>", here.display());
    let mut kept = String::new();
    let mut resumed: Vec<String> = Vec::new();
    for line in text.lines() {
        let thread = line.split(' ').next().unwrap_or("").to_owned();
        let is_resumed = line.contains("resumed>") && resumed.contains(&thread);
        if line.contains(data) || line.contains(&client) || is_resumed {
            resumed.retain(|known| *known != thread);
            if line.contains("<unfinished") {
                resumed.push(thread);
            }
            let line = line.replace(data, "/data").replace(&client, ":40000]");
            kept.push_str(&line.replace(&here, "AT_FDCWD</>"));
            kept.push('\n');
        }
    }
    kept
}

/// System calls of a request, in whole numbers: what comes now and then, such as a timer's, is none.
pub struct Counts {
    /// Of a Produce, one at a time.
    pub alone: u32,
    /// Of so many Produces as are in flight together.
    pub together: u32,
    /// Of a Fetch of a mebibyte, one at a time.
    pub read: u32,
    /// Whether all goals are met.
    is_good: bool,
}

fn count(root: &Path) -> Result<bool> {
    Ok(counts(root)?.is_good)
}

/// Counts, and prints what each count is made of.
pub fn counts(root: &Path) -> Result<Counts> {
    let traced = Traced::start(root, None, "all", &[("offsets.topic.num.partitions", "1")])?;
    let marks = counted_story(traced.address)?;
    let text = traced.stop()?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains('(') && !line.contains("resumed>"))
        .collect();
    let alone = calls(&lines, marks[0], marks[1])?;
    let together = calls(&lines, marks[2], marks[3])?;
    let reads = calls(&lines, marks[4], marks[5])?;
    let alone_each = alone.len() as f64 / f64::from(COUNTED);
    let together_each = together.len() as f64 / f64::from(COUNTED * WINDOW);
    println!(
        "== one at a time: {alone_each:.2} calls a request (goal {ALONE_MAX}): {}",
        by_name(alone, COUNTED)
    );
    println!(
        "== {WINDOW} in flight: {together_each:.3} calls a request (goal {TOGETHER_MAX}): {}",
        by_name(together, COUNTED * WINDOW)
    );
    println!(
        "== a mebibyte fetched at a time, by sendfile: {}",
        by_name(reads, READS)
    );
    let is_moved = reads.iter().any(|call| call.contains("sendfile("));
    Ok(Counts {
        alone: whole_calls(alone, COUNTED),
        together: whole_calls(together, COUNTED),
        read: whole_calls(reads, READS),
        is_good: alone_each <= ALONE_MAX && together_each <= TOGETHER_MAX && is_moved,
    })
}

/// Does what is counted, between marks that it gives.
fn counted_story(address: SocketAddr) -> Result<Vec<u16>> {
    let mut client = Client::connect(address)?;
    client.ask(&wire::create_topic(
        "counted",
        1,
        &[("flush.messages", "1000000000")],
    ))?;
    let small = wire::produce("counted", 0, 1, 200);
    let large = wire::produce("counted", 0, 1_000, 1_000);
    let read = wire::fetch("counted", 0, i64::from(LARGE_FROM), 1 << 20);
    client.flood(&small, 1, WARM_UP)?;
    let mut marks = vec![mark(address)?];
    for (request, window, count) in [
        (&small, 1, COUNTED),
        (&small, WINDOW, WARM_UP * WINDOW),
        (&small, WINDOW, COUNTED * WINDOW),
        (&large, 1, 2),
        (&read, 1, READS),
    ] {
        client.flood(request, window, count)?;
        marks.push(mark(address)?);
    }
    Ok(marks)
}

/// A mark in the trace: a connection that comes and goes.
fn mark(address: SocketAddr) -> Result<u16> {
    let stream = std::net::TcpStream::connect(address)?;
    let port = stream.local_addr()?.port();
    drop(stream);
    std::thread::sleep(Duration::from_millis(200));
    Ok(port)
}

/// The calls between two marks.
fn calls<'a, 'b>(lines: &'b [&'a str], from: u16, to: u16) -> Result<&'b [&'a str]> {
    let line_of = |port: u16, last: bool| {
        let name = format!(":{port}]");
        let accepted = format!("htons({port})");
        let is_mark = |line: &&str| line.contains(&name) || line.contains(&accepted);
        let found = if last {
            lines.iter().rposition(is_mark)
        } else {
            lines.iter().position(is_mark)
        };
        found.context("a mark is missing in the trace")
    };
    Ok(&lines[line_of(from, true)? + 1..line_of(to, false)?])
}

/// How often each call was made.
fn tally<'a>(lines: &[&'a str]) -> BTreeMap<&'a str, u32> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let name = line
            .split_once(' ')
            .map_or(*line, |(_, rest)| rest.trim_start());
        *counts
            .entry(name.split('(').next().unwrap_or(""))
            .or_insert(0) += 1;
    }
    counts
}

fn by_name(lines: &[&str], requests: i32) -> String {
    let each = |(name, count): (&str, u32)| {
        format!("{name} {:.3}", f64::from(count) / f64::from(requests))
    };
    let counts = tally(lines).into_iter();
    counts.map(each).collect::<Vec<_>>().join(", ")
}

/// The calls of each round, every kind of call rounded on its own: how long the rounds take, and so how often a timer
/// comes between them, makes no difference.
fn whole_calls(lines: &[&str], rounds: i32) -> u32 {
    let whole = |count: u32| (f64::from(count) / f64::from(rounds)).round() as u32;
    tally(lines).into_values().map(whole).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_timers_are_none_of_a_request() {
        let round = ["7 recvfrom(3<..>)", "7 pwritev(4)", "7 pwritev(5)"];
        let mut lines: Vec<&str> = (0..10).flat_map(|_| round).collect();
        lines.extend(["7 epoll_wait(5)"; 11]);
        lines.extend(["12 fsync(9)"; 4]);
        assert_eq!(whole_calls(&lines, 10), 4);
        lines.extend(["7 write(1)"; 9]);
        assert_eq!(whole_calls(&lines, 10), 5);
    }

    const RECORDED: &str = include_str!("syscalls/recorded.txt");

    fn complaints(text: &str) -> usize {
        let expected: Vec<Expected> = story().into_iter().map(|(_, expected)| expected).collect();
        check::check(&trace::parse(text), "/data", 40000, &expected)
            .complaints
            .len()
    }

    #[test]
    fn a_sync_that_is_missing_is_found() {
        assert_eq!(complaints(RECORDED), 0);
        let calls = trace::parse(RECORDED);
        let syncs: Vec<&trace::Call> = calls.iter().filter(|call| call.is_sync()).collect();
        let paths: std::collections::BTreeSet<&str> =
            syncs.iter().map(|call| call.descriptor()).collect();
        let mut missed = Vec::new();
        for path in &paths {
            // A build that lacks a sync lacks it every time.
            let gone = |number: usize| {
                let mut of_path = syncs.iter().filter(|call| call.descriptor() == *path);
                of_path.any(|call| call.began == number || call.ended == number)
            };
            let lines = RECORDED.lines().enumerate();
            let rest: Vec<&str> = lines
                .filter(|(number, _)| !gone(*number))
                .map(|(_, line)| line)
                .collect();
            if complaints(&rest.join("\n")) == 0 {
                missed.push(*path);
            }
        }
        // What has no content, what is made anew from the log, and what has been deleted since.
        let needless = |path: &&str| {
            path.ends_with(".index")
                || path.ends_with(".snapshot.tmp")
                || path.starts_with("/data/brief-0/partition")
                || path.starts_with("/data/orders-0/00000000000000000000.")
        };
        missed.retain(|path| !needless(path));
        assert!(
            missed.is_empty(),
            "of {} paths nobody would miss {missed:?}",
            paths.len()
        );
    }
}
