//! Chores of the project: `cargo xtask <chore>`.
//!
//! This crate is no part of the broker and of the simulated world, so it may use files, processes and clocks directly.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "chores run on the developer's machine, never inside the simulated broker"
)]

mod clients;
mod crash;
mod test;
mod tidy;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Every chore, one line each; the work is in the module of the same name.
#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the project")]
enum Chore {
    /// Runs the suite of a real client against a broker.
    Clients(clients::Arguments),
    /// Kills the broker again and again under idempotent producers.
    Crash(crash::Arguments),
    /// Runs the whole suite.
    Test(test::Arguments),
    /// Checks arrows between crates, banned calls, sizes, dead files and titles.
    Tidy(tidy::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Chore::parse() {
        Chore::Clients(arguments) => clients::run(&arguments, &root()),
        Chore::Crash(arguments) => crash::run(&arguments, &root()),
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
