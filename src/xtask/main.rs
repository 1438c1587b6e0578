//! Chores of the project: `cargo xtask <chore>`.
//!
//! This crate is no part of the broker and of the simulated world, so it may use files, processes and clocks directly.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "chores run on the developer's machine, never inside the simulated broker"
)]

mod bench;
mod clients;
mod codegen;
mod crash;
mod faults;
mod figures;
mod gate;
mod golden;
mod import;
mod notation;
mod proc;
mod sim;
mod syscalls;
mod test;
mod tidy;
mod tree;
mod wait;

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Every chore; the work is in the module of the same name.
#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the project")]
enum Chore {
    /// Measure Millrace and Apache Kafka side by side on this machine.
    Bench(bench::Arguments),
    /// Run the suite of a real client against a broker.
    Clients(clients::Arguments),
    /// Write the Rust of every message and stored record from src/protocol/schema.
    Codegen {
        /// Compare only, and fail if anything differs.
        #[arg(long)]
        check: bool,
    },
    /// Kill the broker again and again under idempotent producers, and read everything back.
    Crash(crash::Arguments),
    /// Make the disk refuse, and see what the broker does.
    Faults(faults::Arguments),
    /// Measure a node of the release build: start, idle memory and CPU, many partitions, restart after a kill.
    Figures(figures::Arguments),
    /// Count what a request costs, in instructions, allocations, system calls and copied bytes, and compare.
    Gate(gate::Arguments),
    /// Write tests/golden/messages.txt: bytes of every message and version as Kafka's own classes give them.
    Golden {
        /// Folder with Kafka's jars.
        #[arg(long)]
        libs: PathBuf,
        /// Compare only, and fail if anything differs.
        #[arg(long)]
        check: bool,
    },
    /// Write src/protocol/schema from the JSON resources inside Kafka's jars.
    Import {
        /// Folder with Kafka's jars.
        #[arg(long)]
        libs: PathBuf,
        /// Compare only, and fail if anything differs.
        #[arg(long)]
        check: bool,
    },
    /// Build the simulator and run it with these arguments: `cargo sim`.
    #[command(disable_help_flag = true)]
    Sim(sim::Arguments),
    /// Trace what the broker asks of the kernel: in which order, and how often.
    Syscalls(syscalls::Arguments),
    /// Run the whole suite.
    Test(test::Arguments),
    /// Check arrows between crates, banned calls, sizes, dead files and titles.
    Tidy(tidy::Arguments),
}

fn main() -> ExitCode {
    match run(Chore::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<ExitCode> {
    let root = tree::root();
    match chore {
        Chore::Bench(arguments) => bench::run(&arguments, &root),
        Chore::Clients(arguments) => clients::run(&arguments, &root),
        Chore::Codegen { check } => done(codegen::run(check)),
        Chore::Crash(arguments) => crash::run(&arguments, &root),
        Chore::Faults(arguments) => faults::run(&arguments, &root),
        Chore::Figures(arguments) => figures::run(&arguments, &root),
        Chore::Gate(arguments) => gate::run(&arguments, &root),
        Chore::Golden { libs, check } => done(golden::run(&libs, check)),
        Chore::Import { libs, check } => done(import::run(&libs, check)),
        Chore::Sim(arguments) => sim::run(&arguments, &root),
        Chore::Syscalls(arguments) => syscalls::run(&arguments, &root),
        Chore::Test(arguments) => test::run(&arguments, &root),
        Chore::Tidy(arguments) => tidy::run(&arguments, &root),
    }
}

/// A chore that fails only with an error.
fn done(outcome: Result<()>) -> Result<ExitCode> {
    outcome.map(|()| ExitCode::SUCCESS)
}
