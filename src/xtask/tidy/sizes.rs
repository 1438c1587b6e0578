//! Sizes of files and functions.
//!
//! Functions that were too long when the rule came are listed with their sizes in `src/xtask/tidy/ratchet.toml`.
//! An entry may only shrink: growth is a finding, and so is an entry that is larger than the function is now.

use super::Finding;
use super::source::{Source, behind_matching, is_word};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use toml::Table;

const FILE_LINES_MAX: usize = 600;
/// With a line `//! Size: why` in the module's documentation.
const FILE_LINES_HARD: usize = 900;
const FUNCTION_LINES_MAX: usize = 70;
/// A table of cases makes a test long without making it hard to read.
const TEST_LINES_MAX: usize = 120;
const RATCHET: &str = "src/xtask/tidy/ratchet.toml";

/// Findings of sizes in `sources`.
pub fn check(root: &Path, sources: &[Source]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut ratchet = read_ratchet(root)?;
    for source in sources.iter().filter(|source| !source.is_generated()) {
        findings.extend(file_size(source));
        for function in functions(source) {
            let recorded = ratchet.remove(&function.key);
            let message = match recorded {
                None if function.lines > function.allowed => format!(
                    "fn {} has {} lines of code, {} are allowed: split it where its story has chapters",
                    function.name, function.lines, function.allowed
                ),
                Some(recorded) if function.lines > recorded => format!(
                    "fn {} grew from {recorded} to {} lines of code; the ratchet only shrinks: split it",
                    function.name, function.lines
                ),
                Some(recorded) if function.lines < recorded => format!(
                    "fn {} has {} lines of code, the ratchet says {recorded}: run `cargo xtask tidy --shrink`",
                    function.name, function.lines
                ),
                _ => continue,
            };
            findings.push(Finding::new(&source.path, function.line, message));
        }
    }
    for key in ratchet.keys() {
        let message = format!("{key} is gone: run `cargo xtask tidy --shrink`");
        findings.push(Finding::new(Path::new(RATCHET), 1, message));
    }
    Ok(findings)
}

/// Lowers every entry of the ratchet to what its function has now, and drops those that are short enough or gone.
pub fn shrink(root: &Path) -> Result<()> {
    let recorded = read_ratchet(root)?;
    let crates = super::manifest::crates(root)?;
    let paths = super::files::list(root)?;
    let reached = super::files::reach(root, &crates, &paths)?;
    let mut kept = BTreeMap::new();
    for function in reached.sources.iter().flat_map(functions) {
        if let Some(before) = recorded.get(&function.key)
            && function.lines > function.allowed
        {
            kept.insert(function.key, function.lines.min(*before));
        }
    }
    let mut text = String::from(
        "# Functions that are longer than the rule allows, with their lines of code. Entries may only shrink.\n",
    );
    for (key, lines) in &kept {
        writeln!(text, "\"{key}\" = {lines}")?;
    }
    std::fs::write(root.join(RATCHET), text).context(RATCHET)
}

fn read_ratchet(root: &Path) -> Result<BTreeMap<String, usize>> {
    let path = root.join(RATCHET);
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let table: Table = std::fs::read_to_string(path)?.parse().context(RATCHET)?;
    let entry = |(key, value): (&String, &toml::Value)| {
        let lines = value.as_integer().context("lines are a number")?;
        Ok((key.clone(), usize::try_from(lines)?))
    };
    table.iter().map(entry).collect()
}

fn file_size(source: &Source) -> Option<Finding> {
    let lines = source.text.lines().count();
    let reasoned = source
        .text
        .lines()
        .any(|line| line.starts_with("//! Size: "));
    let message = if lines > FILE_LINES_HARD {
        format!("{lines} lines, {FILE_LINES_HARD} at most: split the file by role")
    } else if lines > FILE_LINES_MAX && !reasoned {
        format!(
            "{lines} lines, {FILE_LINES_MAX} are allowed: split the file by role, or say why not in a line `//! Size: ..`"
        )
    } else {
        return None;
    };
    Some(Finding {
        path: PathBuf::from(&source.path),
        line: lines,
        message,
    })
}

struct Function {
    name: String,
    key: String,
    line: usize,
    lines: usize,
    allowed: usize,
}

/// The functions that have a body, measured without blank lines and comments.
fn functions(source: &Source) -> Vec<Function> {
    let mut found: Vec<Function> = Vec::new();
    for at in source.words("fn") {
        let rest = &source.code[at + 2..];
        let name: String = rest
            .trim_start()
            .bytes()
            .take_while(|byte| is_word(*byte))
            .map(char::from)
            .collect();
        let Some(open) = body(&source.code, at) else {
            continue;
        };
        if name.is_empty() {
            continue;
        }
        let inside = &source.code[open + 1..behind_matching(&source.code, open) - 1];
        let lines = inside
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        let allowed = if source.in_tests(at) {
            TEST_LINES_MAX
        } else {
            FUNCTION_LINES_MAX
        };
        let plain = format!("{}::{name}", source.path.display());
        let same = found.iter().filter(|other| other.name == name).count();
        let key = if same == 0 {
            plain
        } else {
            format!("{plain}#{}", same + 1)
        };
        found.push(Function {
            name,
            key,
            line: source.line_at(at),
            lines,
            allowed,
        });
    }
    found
}

/// The brace that opens the body of the function whose `fn` stands at `at`; a declaration has none.
fn body(code: &str, at: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut position = at;
    while position < bytes.len() {
        match bytes[position] {
            b'(' | b'[' => position = behind_matching(code, position),
            b'{' => return Some(position),
            b';' | b',' | b'=' | b'}' | b')' => {
                if bytes[position] == b',' || bytes[position] == b'=' {
                    position += 1;
                    continue;
                }
                return None;
            }
            _ => position += 1,
        }
    }
    None
}
