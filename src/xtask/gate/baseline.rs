//! The committed figures, a table for every toolchain that they were counted with.

use super::compare::{Figures, rounded};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Where they are.
pub const PATH: &str = "tests/gate/baseline.toml";

const HEAD: &str = "# What a request costs, by toolchain: `cargo xtask gate --write` writes it, docs/TESTING.md explains it.\n";

/// Figures by toolchain.
#[derive(Debug, Default, PartialEq)]
pub struct Baseline {
    by_toolchain: BTreeMap<String, Figures>,
}

impl Baseline {
    /// The committed one; empty if there is none.
    pub fn read(root: &Path) -> Result<Baseline> {
        match std::fs::read_to_string(root.join(PATH)) {
            Ok(text) => Baseline::parse(&text).context(PATH),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Baseline::default()),
            Err(error) => Err(error).context(PATH),
        }
    }

    fn parse(text: &str) -> Result<Baseline> {
        Ok(Baseline {
            by_toolchain: toml::from_str(text)?,
        })
    }

    /// The figures of one.
    ///
    /// # Errors
    /// If there are none: a toolchain that nobody has counted with cannot be compared with.
    pub fn of(&self, toolchain: &str) -> Result<&Figures> {
        let known: Vec<&str> = self.by_toolchain.keys().map(String::as_str).collect();
        self.by_toolchain.get(toolchain).with_context(|| {
            format!(
                "{PATH} has no figures of `{toolchain}`, only of [{}]: check out what they shall be compared with, \
                 run `cargo xtask gate --write` there, and commit the file",
                known.join("; ")
            )
        })
    }

    /// Sets the figures of one, rounded.
    pub fn set(&mut self, toolchain: &str, figures: &Figures) {
        let figures = figures.iter();
        let figures = figures.map(|(name, value)| (name.clone(), rounded(name, *value)));
        let figures = figures.collect();
        self.by_toolchain.insert(toolchain.to_owned(), figures);
    }

    /// Writes the file.
    pub fn write(&self, root: &Path) -> Result<()> {
        std::fs::write(root.join(PATH), self.text()).context(PATH)
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (toolchain, figures) in &self.by_toolchain {
            let _ = writeln!(text, "\n[\"{toolchain}\"]");
            for (name, value) in figures {
                // Debug writes whole numbers with a point, as TOML wants a fraction to be.
                let _ = writeln!(text, "\"{name}\" = {value:?}");
            }
        }
        text
    }
}

/// The compiler and what it compiles for.
pub fn toolchain() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("rustc")?;
    parse_toolchain(&String::from_utf8_lossy(&output.stdout))
}

fn parse_toolchain(told: &str) -> Result<String> {
    let mut lines = told.lines();
    let version = lines.next().context("rustc says no version")?;
    let host = lines.find_map(|line| line.strip_prefix("host: "));
    Ok(format!(
        "{version}, {}",
        host.context("rustc says no host")?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let figures = Figures::from([
            ("a.allocations".to_owned(), 34.0),
            ("a.instructions".to_owned(), 22_345.4),
            ("b.instructions".to_owned(), 301.494_5),
        ]);
        let mut baseline = Baseline::default();
        baseline.set("rustc 1 (2), linux", &figures);
        baseline.set("rustc 2 (3), linux", &Figures::new());
        let read = Baseline::parse(&baseline.text()).unwrap();
        assert_eq!(read, baseline);
        let figures = read.of("rustc 1 (2), linux").unwrap();
        assert_eq!(figures["a.instructions"], 22_345.0);
        assert_eq!(figures["b.instructions"], 301.495);
    }

    #[test]
    fn a_toolchain_without_figures_is_an_error_that_says_what_to_do() {
        let mut baseline = Baseline::default();
        baseline.set("rustc 1", &Figures::new());
        let error = baseline.of("rustc 2").unwrap_err().to_string();
        for wanted in ["rustc 2", "rustc 1", "cargo xtask gate --write", PATH] {
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_toolchain_is_a_version_and_a_host() {
        let told =
            "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n";
        let expected = "rustc 1.95.0 (59807616e 2026-04-14), x86_64-unknown-linux-gnu";
        assert_eq!(parse_toolchain(told).unwrap(), expected);
        assert!(parse_toolchain("").is_err());
    }
}
