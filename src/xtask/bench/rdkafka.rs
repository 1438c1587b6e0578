//! rdkafka_performance, built from the source of librdkafka that the crate `rdkafka-sys` carries.

use super::process::said;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What building it needs.
const NEEDS: &[(&str, &str)] = &[("make", "--version"), ("cc", "--version")];

/// The program, built if it is not there yet, and the version of librdkafka.
pub fn build(root: &Path) -> Result<(PathBuf, String)> {
    let lacking = crate::clients::absent(NEEDS);
    ensure!(lacking.is_empty(), "it needs {}", lacking.join(", "));
    let (source, version) = source(root)?;
    let folder = root.join("target/bench/librdkafka");
    let program = folder.join("examples/rdkafka_performance");
    let complete = folder.join(".complete");
    if std::fs::read_to_string(&complete).is_ok_and(|have| have == version) {
        return Ok((program, version));
    }
    println!("building rdkafka_performance of librdkafka {version}");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let from = format!("{}/.", source.display());
    said(Command::new("cp").args(["-r", &from]).arg(&folder))?;
    let configure = ["--disable-ssl", "--disable-sasl", "--disable-curl"];
    said(
        Command::new("./configure")
            .args(configure)
            .current_dir(&folder),
    )?;
    said(
        Command::new("make")
            .args(["-j2", "libs"])
            .current_dir(&folder),
    )?;
    let example = ["-C", "examples", "rdkafka_performance"];
    said(Command::new("make").args(example).current_dir(&folder))?;
    ensure!(program.is_file(), "make left no {}", program.display());
    std::fs::write(complete, &version)?;
    Ok((program, version))
}

/// Where cargo keeps the source: the lock file of tests/crash names the version and brings it there.
fn source(root: &Path) -> Result<(PathBuf, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--locked", "--format-version", "1"])
        .arg("--manifest-path")
        .arg(root.join("tests/crash/Cargo.toml"));
    let metadata: serde_json::Value = serde_json::from_str(&said(&mut command)?)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let package = packages
        .iter()
        .find(|package| package["name"] == "rdkafka-sys")
        .context("tests/crash does not depend on rdkafka-sys")?;
    let manifest = Path::new(package["manifest_path"].as_str().context("a path")?);
    let version = package["version"].as_str().context("a version")?;
    // 4.10.0+2.12.1: the second is librdkafka's.
    let version = version.split('+').nth(1).unwrap_or(version).to_owned();
    let folder = manifest.parent().context("a folder")?.join("librdkafka");
    ensure!(folder.is_dir(), "{} is not there", folder.display());
    Ok((folder, version))
}
