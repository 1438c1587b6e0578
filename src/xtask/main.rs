//! Chores of the project: `cargo xtask <chore>`.
//!
//! This crate is no part of the broker and of the simulated world, so it may use files, processes and clocks directly.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "chores run on the developer's machine, never inside the simulated broker"
)]

mod clients;
mod codegen;
mod crash;
mod golden;
mod import;
mod notation;
mod test;
mod tidy;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Every chore, one line each; the work is in the module of the same name.
#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the project")]
enum Chore {
    /// Runs the suite of a real client against a broker.
    Clients(clients::Arguments),
    /// Writes the Rust of every message and stored record from src/protocol/schema.
    Codegen(Check),
    /// Kills the broker again and again under idempotent producers.
    Crash(crash::Arguments),
    /// Writes tests/golden/messages.txt: bytes of every message and version as Kafka's own classes give them.
    Golden(FromJars),
    /// Writes src/protocol/schema from the JSON resources inside Kafka's jars.
    Import(FromJars),
    /// Runs the whole suite.
    Test(test::Arguments),
    /// Checks arrows between crates, banned calls, sizes, dead files and titles.
    Tidy(tidy::Arguments),
}

/// A chore that writes files.
#[derive(clap::Args)]
struct Check {
    /// Compare only, and fail if anything differs.
    #[arg(long)]
    check: bool,
}

/// A chore that writes files from Kafka's jars.
#[derive(clap::Args)]
struct FromJars {
    /// Folder with Kafka's jars.
    #[arg(long)]
    libs: PathBuf,
    /// Compare only, and fail if anything differs.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let done = |outcome: anyhow::Result<()>| outcome.map(|()| ExitCode::SUCCESS);
    let outcome = match Chore::parse() {
        Chore::Clients(arguments) => clients::run(&arguments, &root()),
        Chore::Codegen(arguments) => done(codegen::run(arguments.check)),
        Chore::Crash(arguments) => crash::run(&arguments, &root()),
        Chore::Golden(arguments) => done(golden::run(&arguments.libs, arguments.check)),
        Chore::Import(arguments) => done(import::run(&arguments.libs, arguments.check)),
        Chore::Test(arguments) => test::run(&arguments, &root()),
        Chore::Tidy(arguments) => tidy::run(&arguments, &root()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the workspace: two folders above this crate.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.ancestors()
        .nth(2)
        .expect("src/xtask lies two folders below the top")
        .to_path_buf()
}
