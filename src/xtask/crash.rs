//! `cargo xtask crash`: kills the broker again and again under idempotent producers, and reads everything back.
//!
//! The program in `tests/crash` (its own workspace, because it builds librdkafka) writes and checks; this chore builds
//! both and hands the broker's command over, so that the program can start, kill and restart it.

use crate::clients::{self, Peer};
use anyhow::{Result, ensure};
use std::path::Path;
use std::process::{Command, ExitCode};

/// Arguments of `cargo xtask crash`.
#[derive(clap::Args)]
pub struct Arguments {
    /// How often the broker is killed.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// Where the random moments come from; printed, so that a failure can be tried again.
    #[arg(long)]
    seed: Option<u64>,
    /// The broker to kill.
    #[arg(long, default_value = "millrace")]
    peer: Peer,
}

/// What the chore needs and what is not there.
pub fn missing() -> Vec<&'static str> {
    let needs = [("make", "--version"), ("cc", "--version")];
    clients::absent(&needs)
}

/// Runs the chore.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let lacking = missing();
    ensure!(
        lacking.is_empty(),
        "the crash test needs {}",
        lacking.join(", ")
    );
    let program = build(root)?;
    let setup = clients::Setup {
        name: "crash",
        profile: &[],
        port: None,
    };
    let (broker, address, folder) = clients::command(root, arguments.peer, &setup)?;
    let mut command = Command::new(program);
    command.arg("--bootstrap").arg(address.to_string());
    command.arg("--rounds").arg(arguments.rounds.to_string());
    command.arg("--log").arg(folder.join("broker.log"));
    if let Some(seed) = arguments.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    command
        .arg("--")
        .arg(broker.get_program())
        .args(broker.get_args());
    let status = command.status()?;
    if status.success() {
        std::fs::remove_dir_all(folder)?;
    } else {
        println!("kept {}", folder.display());
    }
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether 50 rounds against a fresh Millrace pass; for `cargo xtask test`.
pub fn run_for_test(root: &Path) -> Result<bool> {
    let arguments = Arguments {
        rounds: 50,
        seed: None,
        peer: Peer::Millrace,
    };
    Ok(run(&arguments, root)? == ExitCode::SUCCESS)
}

fn build(root: &Path) -> Result<std::path::PathBuf> {
    let target = root.join("target/crash");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--manifest-path",
        ])
        .arg(root.join("tests/crash/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    ensure!(status.success(), "building tests/crash failed");
    Ok(target.join("release/crash"))
}
