//! `cargo xtask tidy`: the house rules a compiler does not check.
//!
//! Each finding names file, line and what to do instead. The same check runs as a test of this crate,
//! so `cargo test --workspace` fails on an untidy tree.

mod arrows;
mod calls;
mod files;
mod manifest;
mod markdown;
mod rooms;
mod sizes;
mod source;
#[cfg(test)]
mod tests;

use anyhow::Result;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `cargo xtask tidy`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Lowers the ratchet to the sizes that functions have now; never raises or adds an entry.
    #[arg(long)]
    shrink: bool,
}

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the top of the workspace.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong and what to do instead.
    pub message: String,
}

impl Finding {
    fn new(path: &Path, line: usize, message: impl Into<String>) -> Finding {
        Finding {
            path: path.to_path_buf(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}: {}",
            self.path.display(),
            self.line,
            self.message
        )
    }
}

/// Runs the chore on the workspace at `root`.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    if arguments.shrink {
        sizes::shrink(root)?;
    }
    let findings = check(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} findings", findings.len());
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Every finding in the tree at `root`, sorted by place.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let crates = manifest::crates(root)?;
    let paths = files::list(root)?;
    let reached = files::reach(root, &crates, &paths)?;
    let mut findings = arrows::check(&crates);
    findings.extend(reached.findings);
    findings.extend(calls::check(root, &reached.sources)?);
    findings.extend(sizes::check(root, &reached.sources)?);
    findings.extend(markdown::check(root, &paths)?);
    findings.sort();
    findings.dedup();
    Ok(findings)
}
