//! `cargo sim`: builds the simulator (`--cfg madsim`, a target folder of its own) and hands it the arguments.
//!
//! Three words are for this chore and not handed over: `--debug` builds without optimisation, `--debug-too`, of
//! `determinism`, builds both and compares them, `--build-only` ends after the build.

use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Arguments of `cargo sim`.
#[derive(clap::Args)]
pub struct Arguments {
    /// What the simulator is told; `cargo sim help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Where the simulator is built, below the root: another flag would build everything anew each time.
pub const TARGET: &str = "target/sim";
/// What the simulator is built with.
pub const FLAGS: &str = "--cfg madsim";

/// How the simulator is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// The profile `sim`.
    Fast,
    /// The profile `dev`.
    Debug,
}

impl Build {
    fn profile(self) -> &'static str {
        match self {
            Build::Fast => "sim",
            Build::Debug => "dev",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Build::Fast => "sim",
            Build::Debug => "debug",
        }
    }
}

/// What is asked of this chore, and what of the simulator.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    build: Build,
    debug_too: bool,
    build_only: bool,
    rest: Vec<OsString>,
}

impl Wish {
    fn of(arguments: &[OsString]) -> Wish {
        let has = |word: &str| arguments.iter().any(|argument| argument == word);
        let ours = ["--debug", "--debug-too", "--build-only"];
        Wish {
            build: if has("--debug") {
                Build::Debug
            } else {
                Build::Fast
            },
            debug_too: has("--debug-too"),
            build_only: has("--build-only"),
            rest: arguments
                .iter()
                .filter(|argument| !ours.iter().any(|word| argument == word))
                .cloned()
                .collect(),
        }
    }
}

/// Runs the chore. The simulator's exit code is this chore's.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let wish = Wish::of(&arguments.arguments);
    let binary = build(root, wish.build)?;
    if wish.build_only {
        println!("{}", binary.display());
        return Ok(ExitCode::SUCCESS);
    }
    let status = command(&binary, wish, root)?.status()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs the simulator for a stage of the suite; whether its exit code is 0.
pub fn run_for_test(root: &Path, words: &[&str]) -> Result<bool> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let wish = Wish::of(&words);
    let binary = build(root, wish.build)?;
    let status = command(&binary, wish, root)?.current_dir(root).status()?;
    Ok(status.success())
}

fn command(binary: &Path, wish: Wish, root: &Path) -> Result<Command> {
    let mut command = Command::new(binary);
    command.env("MILLRACE_COMMIT", commit(root));
    if wish.rest.is_empty() {
        command.arg("help");
    }
    command.args(wish.rest);
    if wish.debug_too {
        command
            .arg("--other-binary")
            .arg(build(root, Build::Debug)?);
    }
    Ok(command)
}

/// Builds the simulator; where it is.
pub fn build(root: &Path, build: Build) -> Result<PathBuf> {
    let target = root.join(TARGET);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--package",
            "millrace-sim",
            "--bin",
            "sim",
        ])
        .args(["--profile", build.profile(), "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", FLAGS)
        .status()
        .context("cargo build")?;
    ensure!(status.success(), "the simulator does not build");
    Ok(target.join(build.folder()).join("sim"))
}

/// What was built, for verdicts: the commit, and whether the tree differs from it.
fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .current_dir(root)
            .args(arguments)
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".into();
    };
    let is_clean = git(&["status", "--porcelain"]).is_some_and(|text| text.is_empty());
    if is_clean { head } else { head + "+" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_words_are_not_handed_over() {
        let words = |text: &str| -> Vec<OsString> { text.split(' ').map(OsString::from).collect() };
        let wish = Wish::of(&words("determinism --seeds 5 --debug-too"));
        assert_eq!(wish.rest, words("determinism --seeds 5"));
        assert!(wish.debug_too && wish.build == Build::Fast);
        let wish = Wish::of(&words("--debug run --seed 1 --json"));
        assert_eq!(wish.rest, words("run --seed 1 --json"));
        assert!(!wish.debug_too && wish.build == Build::Debug);
    }
}
