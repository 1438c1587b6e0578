//! `cargo xtask test`: the whole suite, stage by stage.
//!
//! A stage that cannot run here, because a program is missing, is skipped and named; with `--nothing-skipped` that is a failure.

use crate::{clients, crash, faults, gate, sim, syscalls, tidy};
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Treats a stage that cannot run here as a failure.
    #[arg(long)]
    nothing_skipped: bool,
    /// Only the stages whose names begin with one of these.
    stages: Vec<String>,
}

/// How a stage ended, in checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Why it was skipped or failed, in a line.
    note: String,
}

impl Outcome {
    fn of(good: bool) -> Outcome {
        Outcome {
            passed: good.into(),
            failed: (!good).into(),
            ..Outcome::default()
        }
    }

    fn failed(note: String) -> Outcome {
        Outcome {
            failed: 1,
            note,
            ..Outcome::default()
        }
    }

    fn skipped(note: String) -> Outcome {
        Outcome {
            skipped: 1,
            note,
            ..Outcome::default()
        }
    }
}

/// What is asked of the simulator, a stage each. Sweeps, mutants and controls join when all of their seeds are green.
const SIMULATIONS: &[(&str, &[&str])] = &[
    (
        "determinism",
        &["determinism", "--seeds", "20", "--debug-too"],
    ),
    (
        "checkers off",
        &["determinism", "--seeds", "20", "--checkers-off"],
    ),
    ("scenarios", &["replay", "fault-scenarios"]),
    ("sweep", &["sweep", "--seeds", "200", "--profile", "all"]),
    ("mutants", &["mutants", "--again", "--budget-seconds", "20"]),
    ("controls", &["controls", "--seeds", "20"]),
];

/// The crates that must also compile for the simulator.
const SIMULATED: &[&str] = &[
    "types",
    "protocol",
    "raft",
    "replica",
    "controller",
    "coordinator",
    "runtime",
    "storage",
    "client",
    "broker",
];

/// Runs the chore.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let started = Instant::now();
    let mut report = Report {
        rows: Vec::new(),
        only: arguments.stages.clone(),
    };
    report.stage("format", || cargo(root, &["fmt", "--all", "--check"], &[]));
    report.stage("clippy", || {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ];
        cargo(root, &arguments, &[])
    });
    report.stage("tidy", || tidied(root));
    report.stage("tests", || tested(root));
    report.stage("simulated", || simulated(root));
    report.stage("simulated tests", || simulated_tests(root));
    for (name, words) in SIMULATIONS {
        report.stage(name, || Ok(Outcome::of(sim::run_for_test(root, words)?)));
    }
    report.stage("build", || {
        Ok(Outcome::of(clients::build_release(root).is_ok()))
    });
    report.stage("client stories", || stories(root));
    for suite in clients::SUITES {
        report.stage(&format!("client {}", suite.name), || client(suite, root));
    }
    report.stage("syscalls", || system_calls(root));
    report.stage("gate", || regressions(root));
    report.stage("faults", || disk_faults(root));
    report.stage("crash", || crash_rounds(root));
    let total = report.print(started);
    let good = total.failed == 0 && !(arguments.nothing_skipped && total.skipped > 0);
    if total.failed == 0 && !good {
        println!("something was skipped, which --nothing-skipped forbids");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The stages that ran, with what each took.
struct Report {
    rows: Vec<(String, Outcome, f64)>,
    only: Vec<String>,
}

impl Report {
    fn stage(&mut self, name: &str, run: impl FnOnce() -> Result<Outcome>) {
        if !self.only.is_empty() && !self.only.iter().any(|wanted| name.starts_with(wanted)) {
            return;
        }
        println!("### {name}");
        let started = Instant::now();
        let outcome = run().unwrap_or_else(|error| Outcome::failed(format!("{error:#}")));
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "### {name}: {} in {seconds:.1} s {}",
            word(&outcome),
            outcome.note
        );
        self.rows.push((name.to_owned(), outcome, seconds));
    }

    /// Prints a row a stage, and gives the sum.
    fn print(&self, started: Instant) -> Outcome {
        let mut total = Outcome::default();
        println!(
            "\n{:<24} {:>8} {:>8} {:>8} {:>9}",
            "stage", "passed", "failed", "skipped", "seconds"
        );
        for (name, outcome, seconds) in &self.rows {
            total.passed += outcome.passed;
            total.failed += outcome.failed;
            total.skipped += outcome.skipped;
            println!(
                "{name:<24} {:>8} {:>8} {:>8} {seconds:>9.1}  {}",
                outcome.passed, outcome.failed, outcome.skipped, outcome.note
            );
        }
        println!("{:<51} {:>9.1}", "all", started.elapsed().as_secs_f64());
        total
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match (outcome.failed, outcome.passed) {
        (0, 0) => "SKIPPED",
        (0, _) => "passed",
        _ => "FAILED",
    }
}

fn cargo_command(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    command
}

fn cargo(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Outcome> {
    let mut command = cargo_command(root);
    let status = command
        .args(arguments)
        .envs(variables.iter().copied())
        .status()?;
    Ok(Outcome::of(status.success()))
}

fn tidied(root: &Path) -> Result<Outcome> {
    let findings = tidy::check(root)?;
    findings.iter().for_each(|finding| println!("{finding}"));
    Ok(Outcome::of(findings.is_empty()))
}

/// The tests of every crate but the client's, some of which need a broker.
fn tested(root: &Path) -> Result<Outcome> {
    let mut command = cargo_command(root);
    command.args([
        "test",
        "--workspace",
        "--no-fail-fast",
        "--exclude",
        "millrace-client",
    ]);
    run_tests(command)
}

/// The tests of our own client, against our own broker where they need one.
fn stories(root: &Path) -> Result<Outcome> {
    let setup = clients::Setup {
        name: "stories",
        profile: &[],
        port: None,
    };
    let node = clients::Node::start(root, clients::Peer::Millrace, &setup, false)?;
    let mut command = cargo_command(root);
    command
        .args([
            "test",
            "--package",
            "millrace-client",
            "--lib",
            "--",
            "--include-ignored",
        ])
        .env("MILLRACE_TEST_BROKER", node.bootstrap());
    run_tests(command)
}

/// Counts tests by the lines in which each test binary closes.
fn run_tests(mut command: Command) -> Result<Outcome> {
    command.stdout(Stdio::piped());
    let mut child = command.spawn().context("cargo test")?;
    let output = child.stdout.take().context("the output is piped")?;
    let mut outcome = Outcome::default();
    let mut failed: Vec<String> = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        add_closing_line(&mut outcome, &line);
        failed.extend(failed_test(&line).map(str::to_owned));
    }
    outcome.note = failed.join("; ");
    if !child.wait()?.success() && outcome.failed == 0 {
        outcome.failed = 1;
        "cargo test failed before a test did".clone_into(&mut outcome.note);
    }
    Ok(outcome)
}

/// The name in `test NAME ... FAILED`.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// Adds `test result: ok. 3 passed; 0 failed; 1 ignored; ..`; an ignored test is a skipped one.
fn add_closing_line(outcome: &mut Outcome, line: &str) {
    let Some(rest) = line.strip_prefix("test result: ") else {
        return;
    };
    for part in rest.split(['.', ';']) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        let Ok(number) = number.parse::<usize>() else {
            continue;
        };
        match kind {
            "passed" => outcome.passed += number,
            "failed" => outcome.failed += number,
            "ignored" => outcome.skipped += number,
            _ => {}
        }
    }
}

/// Everything that runs inside a node also compiles for the simulator.
fn simulated(root: &Path) -> Result<Outcome> {
    let mut arguments = vec!["check", "--target-dir", sim::TARGET];
    let packages: Vec<String> = SIMULATED
        .iter()
        .map(|name| format!("millrace-{name}"))
        .collect();
    for package in &packages {
        arguments.extend(["--package", package]);
    }
    cargo(root, &arguments, &[("RUSTFLAGS", sim::FLAGS)])
}

/// The tests of `runtime`'s simulated half and of the simulator.
fn simulated_tests(root: &Path) -> Result<Outcome> {
    let mut command = cargo_command(root);
    command
        // Without the examples in comments: rustdoc would compile them against the real half.
        .args(["test", "--lib", "--bins", "--tests", "--no-fail-fast"])
        .args(["--target-dir", sim::TARGET])
        .args(["--package", "millrace-runtime", "--package", "millrace-sim"])
        .env("RUSTFLAGS", sim::FLAGS);
    run_tests(command)
}

fn client(suite: &clients::Suite, root: &Path) -> Result<Outcome> {
    let lacking = clients::missing(suite);
    if !lacking.is_empty() {
        return Ok(Outcome::skipped(format!("needs {}", lacking.join(", "))));
    }
    let verdict = clients::run_for_test(suite, root)?;
    let mut notes = verdict.complaints.clone();
    if verdict.known_misses > 0 {
        let (misses, name) = (verdict.known_misses, suite.name);
        notes.push(format!(
            "{misses} known misses, see tests/clients/{name}/FINDINGS.md"
        ));
    }
    Ok(Outcome {
        passed: verdict.passed,
        failed: verdict.complaints.len(),
        skipped: 0,
        note: notes.join("; "),
    })
}

fn system_calls(root: &Path) -> Result<Outcome> {
    let lacking = syscalls::missing();
    if !lacking.is_empty() {
        return Ok(Outcome::skipped(format!("needs {}", lacking.join(", "))));
    }
    Ok(Outcome::of(syscalls::run_for_test(root)?))
}

fn regressions(root: &Path) -> Result<Outcome> {
    let lacking = gate::missing();
    if !lacking.is_empty() {
        return Ok(Outcome::skipped(format!("needs {}", lacking.join(", "))));
    }
    let rows = gate::run_for_test(root)?;
    let bad: Vec<String> = rows
        .iter()
        .filter(|row| !row.verdict.is_good())
        .map(|row| row.name.clone())
        .collect();
    Ok(Outcome {
        passed: rows.len() - bad.len(),
        failed: bad.len(),
        skipped: 0,
        note: bad.join("; "),
    })
}

fn disk_faults(root: &Path) -> Result<Outcome> {
    let lacking = faults::missing();
    if !lacking.is_empty() {
        return Ok(Outcome::skipped(format!("needs {}", lacking.join(", "))));
    }
    let verdict = faults::run_for_test(root);
    Ok(Outcome {
        passed: verdict.passed,
        failed: verdict.failed,
        skipped: verdict.skipped.len(),
        note: verdict.skipped.join("; "),
    })
}

fn crash_rounds(root: &Path) -> Result<Outcome> {
    let lacking = crash::missing();
    if !lacking.is_empty() {
        return Ok(Outcome::skipped(format!("needs {}", lacking.join(", "))));
    }
    Ok(Outcome::of(crash::run_for_test(root)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted() {
        let cases = [
            (
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
                (3, 0, 1),
            ),
            (
                "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out",
                (2, 5, 0),
            ),
            ("test tests::result ... ok", (0, 0, 0)),
        ];
        for (line, (passed, failed, skipped)) in cases {
            let mut outcome = Outcome::default();
            add_closing_line(&mut outcome, line);
            let wanted = Outcome {
                passed,
                failed,
                skipped,
                note: String::new(),
            };
            assert_eq!(outcome, wanted, "{line}");
        }
    }

    #[test]
    fn failed_tests_are_named() {
        let table = [
            ("test log::it_reads ... FAILED", Some("log::it_reads")),
            ("test log::it_reads ... ok", None),
            ("test result: FAILED. 0 passed; 1 failed", None),
        ];
        for (line, name) in table {
            assert_eq!(failed_test(line), name, "{line}");
        }
    }
}
