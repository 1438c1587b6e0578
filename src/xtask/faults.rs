//! `cargo xtask faults`: what the broker does when the disk refuses.
//!
//! strace makes the calls on chosen files fail, so the broker under test is the one that is shipped. A disk that is
//! really full is a small file system in memory, where one can be mounted.

mod broker;
mod full;

use crate::clients;
use anyhow::{Context, Result, ensure};
use broker::{Fault, Home, STORAGE_ERROR, create, delete, look, look_at, put};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Arguments of `cargo xtask faults`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the stories whose names hold this.
    only: Option<String>,
}

/// What the chore needs and what is not there.
pub fn missing() -> Vec<&'static str> {
    clients::absent(&[("strace", "--version")])
}

/// How the stories ended.
#[derive(Default)]
pub struct Verdict {
    /// Stories that ended well.
    pub passed: usize,
    /// Stories that did not.
    pub failed: usize,
    /// Why the rest could not be told here.
    pub skipped: Vec<String>,
}

/// The writes of a log.
const WRITES: &str = "pwrite64,pwritev,pwritev2";
/// The syncs of a file.
const SYNCS: &str = "fdatasync,fsync";

type Story = fn(&Path) -> Result<()>;

const STORIES: &[(&str, Story)] = &[
    ("a failed sync closes its directory", |root| {
        directory_closes(root, SYNCS, "error=EIO")
    }),
    ("a full disk found by a sync closes its directory", |root| {
        directory_closes(root, SYNCS, "error=ENOSPC")
    }),
    ("a failed write closes its directory", |root| {
        directory_closes(root, WRITES, "error=EIO")
    }),
    (
        "a failed sync of the metadata directory ends the process",
        |root| metadata_directory_closes(root),
    ),
    (
        "a failed sync of the metadata log ends the process",
        metadata_log_fails,
    ),
    (
        "a full disk refuses writes until there is space",
        full_for_a_while,
    ),
    (
        "a full disk refuses metadata until there is space",
        full_for_metadata,
    ),
    (
        "more partitions than descriptors are served",
        few_descriptors,
    ),
];

/// Runs the chore.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let lacking = missing();
    ensure!(lacking.is_empty(), "this needs {}", lacking.join(", "));
    let verdict = tell(root, arguments.only.as_deref());
    for reason in &verdict.skipped {
        println!("skipped: {reason}");
    }
    Ok(match verdict.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Tells every story; for `cargo xtask test`.
pub fn run_for_test(root: &Path) -> Verdict {
    tell(root, None)
}

fn tell(root: &Path, only: Option<&str>) -> Verdict {
    let mut verdict = Verdict::default();
    let is_wanted = |name: &str| only.is_none_or(|part| name.contains(part));
    for (name, story) in STORIES.iter().filter(|(name, _)| is_wanted(name)) {
        tell_one(name, || story(root), &mut verdict);
    }
    let name = "a disk that is really full";
    if is_wanted(name) {
        match full::Mount::missing() {
            Some(reason) => verdict.skipped.push(format!("{name}: {reason}")),
            None => tell_one(name, || full::story(root), &mut verdict),
        }
    }
    verdict
}

fn tell_one(name: &str, story: impl FnOnce() -> Result<()>, verdict: &mut Verdict) {
    let started = Instant::now();
    let told = story();
    let seconds = started.elapsed().as_secs_f64();
    match told {
        Ok(()) => {
            verdict.passed += 1;
            println!("ok {name} ({seconds:.1} s)");
        }
        Err(error) => {
            verdict.failed += 1;
            println!("FAIL {name} ({seconds:.1} s): {error:#}");
        }
    }
}

/// Partitions of the topic that is spread over two directories.
const PARTITIONS: i32 = 4;
const VALUE_BYTES: usize = 200;

/// Of two directories one fails, by the calls on the files of a topic's partitions.
fn directory_closes(root: &Path, calls: &'static str, how: &str) -> Result<()> {
    let home = Home::new(root, "faults", &["one", "two"])?;
    let paths = (0..PARTITIONS).map(|index| home.log("two", &format!("t-{index}")));
    let fault = Fault {
        calls,
        how: how.to_owned(),
        paths: paths.collect(),
    };
    let broker = home.start(Some(&fault))?;
    let mut client = broker.client()?;
    ensure!(create(&mut client, "t", PARTITIONS)? == 0, "creating");
    let (one, two): (Vec<i32>, Vec<i32>) =
        (0..PARTITIONS).partition(|index| home.folder.join(format!("one/t-{index}")).exists());
    ensure!(!one.is_empty() && two.len() > 1, "the topic is not spread");
    for &index in &one {
        ensure!(
            put(&mut client, "t", index, VALUE_BYTES)? == (0, 0),
            "a good directory refuses"
        );
    }
    // No acknowledgement after the failure, on the partition itself and on those beside it.
    for _ in 0..3 {
        for &index in &two {
            let (code, _) = put(&mut client, "t", index, VALUE_BYTES)?;
            ensure!(
                code == STORAGE_ERROR,
                "t-{index} answers a write with {code}"
            );
            let (code, _) = look(&mut client, "t", index)?;
            ensure!(
                code == STORAGE_ERROR,
                "t-{index} answers a read with {code}"
            );
        }
        for &index in &one {
            let (code, _) = put(&mut client, "t", index, VALUE_BYTES)?;
            ensure!(
                code == 0,
                "t-{index} in the good directory answers with {code}"
            );
        }
    }
    ensure!(
        look(&mut client, "t", one[0])? == (0, 4),
        "the good directory's records"
    );
    // What is new goes where it can.
    ensure!(
        create(&mut client, "u", 2)? == 0,
        "creating beside a closed directory"
    );
    for index in 0..2 {
        ensure!(
            put(&mut client, "u", index, VALUE_BYTES)? == (0, 0),
            "a new topic refuses"
        );
        ensure!(
            home.folder.join(format!("one/u-{index}")).exists(),
            "it is in the closed one"
        );
    }
    drop(client);
    let count = broker.injected()?;
    ensure!(count == 1, "{count} calls failed: it was tried again");
    broker.stop()?;
    served_again(&home, &one, &two)
}

/// After a start on a disk that is well again everything is served.
fn served_again(home: &Home, one: &[i32], two: &[i32]) -> Result<()> {
    let broker = home.start(None)?;
    let mut client = broker.client()?;
    for &index in one {
        ensure!(
            look(&mut client, "t", index)? == (0, 4),
            "acknowledged records are lost"
        );
    }
    for &index in two {
        let (code, _) = put(&mut client, "t", index, VALUE_BYTES)?;
        ensure!(code == 0, "t-{index} answers with {code} after a new start");
    }
    drop(client);
    broker.stop()?;
    Ok(())
}

/// A partition's sync fails in the directory that has the metadata, too.
fn metadata_directory_closes(root: &Path) -> Result<()> {
    let home = Home::new(root, "faults", &["one", "two"])?;
    let fault = Fault {
        calls: SYNCS,
        how: "error=EIO".to_owned(),
        paths: vec![home.log("one", "t-0"), home.log("one", "t-1")],
    };
    let broker = home.start(Some(&fault))?;
    let mut client = broker.client()?;
    ensure!(create(&mut client, "t", 2)? == 0, "creating");
    for index in 0..2 {
        // The process may be gone before it answers.
        if let Ok((code, _)) = put(&mut client, "t", index, VALUE_BYTES) {
            let is_bad = home.folder.join(format!("one/t-{index}")).exists();
            ensure!(
                !is_bad || code == STORAGE_ERROR,
                "t-{index} answers with {code}"
            );
        }
    }
    let status = broker.ended()?;
    ensure!(!status.success(), "the process ended with {status}");
    Ok(())
}

/// How many syncs of the metadata log each thread is granted: more than a start takes.
const GRANTED: usize = 40;

/// The metadata log's own sync fails: what was acknowledged is there, and nothing is acknowledged afterwards.
fn metadata_log_fails(root: &Path) -> Result<()> {
    let home = Home::new(root, "faults", &["one"])?;
    let fault = Fault {
        calls: SYNCS,
        how: format!("error=EIO:when={GRANTED}+"),
        paths: vec![home.log("one", "__cluster_metadata-0")],
    };
    let broker = home.start(Some(&fault))?;
    let mut client = broker.client()?;
    let mut acknowledged = 0;
    let refused = (0..20 * GRANTED).find_map(|index| {
        let answer = create(&mut client, &format!("t{index}"), 1);
        acknowledged += usize::from(matches!(answer, Ok(0)));
        (!matches!(answer, Ok(0))).then_some(answer)
    });
    let refused = refused.context("no sync failed")?;
    ensure!(
        !matches!(refused, Ok(0)),
        "acknowledged after a failed sync"
    );
    let status = broker.ended()?;
    ensure!(!status.success(), "the process ended with {status}");
    let broker = home.start(None)?;
    let mut client = broker.client()?;
    for index in 0..acknowledged {
        let (code, _) = look(&mut client, &format!("t{index}"), 0)?;
        ensure!(
            code == 0,
            "t{index} was acknowledged and answers with {code}"
        );
    }
    drop(client);
    broker.stop()?;
    Ok(())
}

/// A log's writes find no space for a while.
fn full_for_a_while(root: &Path) -> Result<()> {
    let home = Home::new(root, "faults", &["one"])?;
    let fault = Fault {
        calls: WRITES,
        how: "error=ENOSPC:when=4..9".to_owned(),
        paths: vec![home.log("one", "t-0")],
    };
    let broker = home.start(Some(&fault))?;
    let mut client = broker.client()?;
    for topic in ["t", "other", "old"] {
        ensure!(create(&mut client, topic, 1)? == 0, "creating");
        ensure!(
            put(&mut client, topic, 0, VALUE_BYTES)? == (0, 0),
            "the first record"
        );
    }
    let (mut acknowledged, mut refused) = (1, 0);
    while refused < 6 {
        let (code, base_offset) = put(&mut client, "t", 0, VALUE_BYTES)?;
        match code {
            0 => {
                ensure!(base_offset == acknowledged, "offset {base_offset}");
                acknowledged += 1;
            }
            STORAGE_ERROR => refused += 1,
            code => anyhow::bail!("a full disk gives {code}"),
        }
        ensure!(acknowledged < 100, "no write failed");
        // Meanwhile all else goes on.
        let seen = look_at(&mut client, "t", 0, acknowledged - 1)?;
        ensure!(
            seen == (0, acknowledged),
            "reads: {seen:?}, not {acknowledged}"
        );
        if refused == 2 {
            goes_on(&mut client)?;
        }
    }
    for _ in 0..5 {
        ensure!(
            put(&mut client, "t", 0, VALUE_BYTES)? == (0, acknowledged),
            "resuming"
        );
        acknowledged += 1;
    }
    drop(client);
    ensure!(
        broker.injected()? == 6,
        "{} writes failed",
        broker.injected()?
    );
    broker.stop()?;
    let broker = home.start(None)?;
    let mut client = broker.client()?;
    ensure!(
        look_at(&mut client, "t", 0, 1)? == (0, acknowledged),
        "records are lost"
    );
    drop(client);
    broker.stop()?;
    Ok(())
}

/// Deleting works while a log is refused, and so do other logs.
fn goes_on(client: &mut crate::syscalls::wire::Client) -> Result<()> {
    use crate::syscalls::wire;
    let answer = client.ask(&wire::delete_records("t", 0, 1))?;
    let deleted = wire::deleted_records(&answer)?;
    ensure!(deleted == (0, 1), "DeleteRecords gives {deleted:?}");
    ensure!(delete(client, "old")? == 0, "DeleteTopics");
    let (code, _) = put(client, "other", 0, VALUE_BYTES)?;
    ensure!(code == 0, "another log answers with {code}");
    Ok(())
}

/// The metadata log's writes find no space for a while, the reserve given back or not.
fn full_for_metadata(root: &Path) -> Result<()> {
    let home = Home::new(root, "faults", &["one"])?;
    let fault = Fault {
        calls: WRITES,
        how: "error=ENOSPC:when=30..35".to_owned(),
        paths: vec![home.log("one", "__cluster_metadata-0")],
    };
    let broker = home.start(Some(&fault))?;
    let mut client = broker.client()?;
    ensure!(create(&mut client, "t", 1)? == 0, "creating");
    let (mut created, mut refused) = (Vec::new(), Vec::new());
    for index in 0..60 {
        let topic = format!("t{index}");
        match create(&mut client, &topic, 1)? {
            0 => created.push(topic),
            STORAGE_ERROR => refused.push(topic),
            code => anyhow::bail!("a full disk gives {code}"),
        }
        let (code, _) = put(&mut client, "t", 0, VALUE_BYTES)?;
        ensure!(code == 0, "a write is answered with {code} meanwhile");
    }
    ensure!(refused.len() == 6, "{} were refused", refused.len());
    for topic in &refused {
        ensure!(
            create(&mut client, topic, 1)? == 0,
            "{topic} cannot be made afterwards"
        );
    }
    drop(client);
    broker.stop()?;
    let broker = home.start(None)?;
    let mut client = broker.client()?;
    for topic in created.iter().chain(&refused) {
        ensure!(look(&mut client, topic, 0)?.0 == 0, "{topic} is lost");
    }
    drop(client);
    broker.stop()?;
    Ok(())
}

/// Descriptors that the process may have, and partitions that it shall serve.
const DESCRIPTORS: usize = 128;
const MANY_PARTITIONS: i32 = 300;

/// All partitions of a topic are written at once, and again, in both classes; then all are read.
fn few_descriptors(root: &Path) -> Result<()> {
    use crate::syscalls::wire;
    let home = Home::new(root, "faults", &["one"])?;
    let limit = format!("ulimit -n {DESCRIPTORS} && exec \"$@\"");
    let prefix = ["sh", "-c", &limit, "sh"].map(std::ffi::OsString::from);
    for round in 1..=2 {
        let broker = home.start_by(&prefix)?;
        let mut client = broker.client()?;
        for (topic, flush_messages) in [("flushed", "1"), ("replicated", "1000000000")] {
            if round == 1 {
                let settings = [("flush.messages", flush_messages)];
                let request = wire::create_topic(topic, MANY_PARTITIONS, &settings);
                ensure!(wire::topic_code(&client.ask(&request)?)? == 0, "creating");
            }
            for _ in 0..3 {
                let request = wire::produce_to_all(topic, MANY_PARTITIONS, VALUE_BYTES);
                let codes = wire::all_produced(&client.ask(&request)?)?;
                let refused = codes.iter().filter(|code| **code != 0).count();
                ensure!(
                    refused == 0,
                    "{refused} partitions of {topic} refuse: {codes:?}"
                );
            }
            for partition in 0..MANY_PARTITIONS {
                let seen = look(&mut client, topic, partition)?;
                ensure!(seen == (0, 3 * round), "{topic}-{partition}: {seen:?}");
            }
        }
        drop(client);
        broker.stop()?;
    }
    Ok(())
}
