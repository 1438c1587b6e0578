//! `cargo xtask gate`: what a request costs, counted and not timed, against the committed figures.
//!
//! Instructions are counted by valgrind, which every machine can do and no load disturbs. `docs/TESTING.md` says what is
//! counted, how to read a failure and when to write new figures.

mod baseline;
mod compare;
mod harness;

use crate::{clients, syscalls};
use anyhow::{Result, ensure};
use baseline::Baseline;
use compare::{Figures, Row};
use std::path::Path;
use std::process::ExitCode;

/// Arguments of `cargo xtask gate`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Writes what is counted to the baseline, as the figures of this toolchain.
    #[arg(long)]
    write: bool,
}

/// What the chore needs and what is not there.
pub fn missing() -> Vec<&'static str> {
    let mut lacking = clients::absent(&[("valgrind", "--version")]);
    lacking.extend(syscalls::missing());
    lacking
}

/// Runs the chore.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let lacking = missing();
    ensure!(lacking.is_empty(), "this needs {}", lacking.join(", "));
    if arguments.write {
        write(root)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = run_for_test(root)?;
    let bad = rows.iter().filter(|row| !row.verdict.is_good()).count();
    println!("gate: {} figures, {bad} bad", rows.len());
    Ok(if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Counts, compares, and prints a table of old and new figures.
///
/// # Errors
/// If something cannot be counted, or the baseline has nothing of this toolchain.
pub fn run_for_test(root: &Path) -> Result<Vec<Row>> {
    // Said before minutes are spent.
    let baseline = Baseline::read(root)?;
    let old = baseline.of(&baseline::toolchain()?)?;
    let rows = compare::compare(old, &count(root)?);
    print(&rows);
    Ok(rows)
}

fn write(root: &Path) -> Result<()> {
    let toolchain = baseline::toolchain()?;
    let figures = count(root)?;
    let mut baseline = Baseline::read(root)?;
    let none = Figures::new();
    print(&compare::compare(
        baseline.of(&toolchain).unwrap_or(&none),
        &figures,
    ));
    baseline.set(&toolchain, &figures);
    baseline.write(root)?;
    println!("gate: {} written", baseline::PATH);
    Ok(())
}

fn print(rows: &[Row]) {
    println!(
        "{:<36} {:>12} {:>12} {:>10}",
        "figure", "old", "new", "change"
    );
    rows.iter().for_each(|row| println!("{}", row.line()));
}

fn count(root: &Path) -> Result<Figures> {
    let mut figures = harness::count(root)?;
    let calls = syscalls::counts(root)?;
    let calls = [
        ("produce_200_b", calls.alone),
        ("produce_200_b_in_flight", calls.together),
        ("fetch_1_mib", calls.read),
    ];
    figures.extend(calls.map(|(name, count)| (format!("{name}.system_calls"), count.into())));
    Ok(figures)
}
