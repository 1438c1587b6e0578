//! `cargo xtask clients NAME`: runs the suite of a real client against a broker and judges it by its list of passes.
//!
//! A suite is a folder of `tests/clients/`:
//! - `run`, an executable that prints one line a check: `ok NAME`, `FAIL NAME reason` or `skip NAME reason`;
//! - `expected.txt`, the names that must pass; it may only grow;
//! - `kafka.txt`, the same list for real Apache Kafka, by which the suite itself was calibrated;
//! - `FINDINGS.md`, which names every check that does not pass and says why.
//!
//! `run` is given `MILLRACE_BOOTSTRAP` (the broker's address), `MILLRACE_SUITE_DIR` (a folder below `target/` for
//! what it installs or builds) `MILLRACE_KAFKA_LIBS` (the jars of Apache Kafka, if the suite asks for them) and `MILLRACE_BIN` (our executable, if the
//! suite starts brokers of its own).

mod jars;
mod node;
mod suites;
mod verdict;

pub use jars::libraries;
pub use node::{
    Node, Peer, Setup, answers, build, build_release, command, free_address, kafka, millrace,
};
pub use suites::{SUITES, Suite, absent, missing};

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use verdict::{COMPLETED, Check, Verdict};

/// Arguments of `cargo xtask clients`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The suite: a folder of tests/clients, or `all`.
    name: String,
    /// A broker that runs already; else one is built and started for the suite.
    #[arg(long, conflicts_with = "peer")]
    bootstrap: Option<String>,
    /// The broker to start.
    #[arg(long, default_value = "millrace")]
    peer: Peer,
    /// Adds checks that pass and are not yet listed to the peer's list.
    #[arg(long)]
    accept: bool,
    /// Leaves the broker's data directory in place afterwards.
    #[arg(long)]
    keep: bool,
}

/// Runs the chore.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let chosen: Vec<&Suite> = SUITES
        .iter()
        .filter(|suite| arguments.name == "all" || suite.name == arguments.name)
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        bail!(
            "no suite `{}`; there are all, {}",
            arguments.name,
            names.join(", ")
        );
    }
    let mut good = true;
    for suite in chosen {
        good &= run_suite(suite, arguments, root)?.good;
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs one suite against a fresh Millrace; for `cargo xtask test`.
pub fn run_for_test(suite: &Suite, root: &Path) -> Result<Verdict> {
    let arguments = Arguments {
        name: suite.name.to_owned(),
        bootstrap: None,
        peer: Peer::Millrace,
        accept: false,
        keep: false,
    };
    run_suite(suite, &arguments, root)
}

fn run_suite(suite: &Suite, arguments: &Arguments, root: &Path) -> Result<Verdict> {
    let started = Instant::now();
    let lacking = missing(suite);
    if !lacking.is_empty() {
        bail!("suite {} needs {}", suite.name, lacking.join(", "));
    }
    let work = root.join("target/clients").join(suite.name);
    std::fs::create_dir_all(&work)?;
    let setup = Setup {
        name: suite.name,
        profile: suite.profile,
        port: suite.port,
    };
    let node = match &arguments.bootstrap {
        Some(_) => None,
        None => Some(Node::start(root, arguments.peer, &setup, arguments.keep)?),
    };
    let bootstrap = match (&arguments.bootstrap, &node) {
        (Some(given), _) => given.clone(),
        (None, Some(node)) => node.bootstrap(),
        (None, None) => unreachable!("a node is started when none is given"),
    };
    println!(
        "== {} against {} at {bootstrap}",
        suite.name, arguments.peer
    );
    let checks = checks(suite, root, &work, &bootstrap, arguments.peer)?;
    let alive = node.is_none_or(|mut node| node.is_running());
    let folder = root.join("tests/clients").join(suite.name);
    let mut verdict = Verdict::of(&folder, arguments.peer, &checks)?;
    if !alive {
        verdict.complain("the broker died during the suite");
    }
    if arguments.accept {
        verdict.accept(&folder, arguments.peer)?;
    }
    verdict.print(suite.name, started.elapsed());
    Ok(verdict)
}

/// Starts the suite's program and reads its checks while it runs, for as long as the suite may take.
fn checks(
    suite: &Suite,
    root: &Path,
    work: &Path,
    bootstrap: &str,
    peer: Peer,
) -> Result<Vec<Check>> {
    let folder = root.join("tests/clients").join(suite.name);
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", &suite.seconds_max.to_string()]);
    command
        .arg(folder.join("run"))
        .current_dir(work)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
        .env("MILLRACE_BOOTSTRAP", bootstrap)
        .env("MILLRACE_SUITE_DIR", work);
    command.env("MILLRACE_PEER", peer.to_string());
    if suite.own_brokers {
        command.env("MILLRACE_BIN", build_release(root)?);
    }
    if suite.jars {
        command.env("MILLRACE_KAFKA_LIBS", libraries(root)?);
    }
    let mut child = command
        .spawn()
        .with_context(|| folder.join("run").display().to_string())?;
    let output = child.stdout.take().context("the suite's output is piped")?;
    let mut checks = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("   {line}");
        checks.extend(Check::parse(&line));
    }
    let status = child.wait()?;
    if !status.success() {
        let limit = Duration::from_secs(suite.seconds_max);
        let reason = if status.code() == Some(124) {
            format!("did not end within {limit:?}")
        } else {
            format!("ended with {status}")
        };
        checks.push(Check::failed(COMPLETED, &reason));
    }
    Ok(checks)
}
