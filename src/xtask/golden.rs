//! `cargo xtask golden`: messages as Kafka's own classes encode them, for the codec's tests. Needs Java 17.
#![allow(
    clippy::disallowed_methods,
    reason = "a chore is outside the simulated world"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::tree;

/// Runs the Java program and writes what it says, or only compares it.
pub fn run(libs: &Path, check: bool) -> Result<()> {
    let output = Command::new("java")
        .arg("-cp")
        .arg(libs.join("*"))
        .arg(tree::root().join("tests/golden/java/GoldenBytes.java"))
        .arg(libs)
        .output()
        .context("starting java")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let files = BTreeMap::from([("messages.txt".to_owned(), String::from_utf8(output.stdout)?)]);
    tree::write_or_check("tests/golden", "txt", files, |_| false, check)
}
