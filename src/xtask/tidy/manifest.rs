//! The crates of the workspace as their Cargo.toml files tell them.

use super::rooms::{self, Kind};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// One crate of the workspace.
pub struct Crate {
    /// Its short name: the folder below `src/`, or `millrace` for the root package.
    pub name: String,
    /// What it may touch; `None` when the table of rooms does not list it.
    pub kind: Option<Kind>,
    /// Its folder, relative to the top; empty for the root package.
    pub folder: PathBuf,
    /// Its manifest, parsed.
    pub table: Table,
    /// Its dependencies.
    pub dependencies: Vec<Dependency>,
    manifest_text: String,
}

/// One dependency of a crate.
pub struct Dependency {
    /// The short name of a room, or the name of a third-party crate.
    pub name: String,
    /// Whether it is a crate of this workspace.
    pub own: bool,
    /// Whether only tests use it.
    pub dev: bool,
    /// The line of the manifest, counted from 1.
    pub line: usize,
}

impl Crate {
    /// The manifest's path, relative to the top.
    pub fn manifest(&self) -> PathBuf {
        self.folder.join("Cargo.toml")
    }

    /// The first line of the manifest that starts with `word`, or 1.
    pub fn line_of(&self, word: &str) -> usize {
        line_of(&self.manifest_text, word, 0)
    }
}

/// Reads the workspace's crates: the root package, every folder of `src/`, and sim, jepsen and tests/*.
pub fn crates(root: &Path) -> Result<Vec<Crate>> {
    let names = own_names(root)?;
    let mut folders = vec![
        PathBuf::new(),
        PathBuf::from("sim"),
        PathBuf::from("jepsen"),
    ];
    for above in ["src", "tests"] {
        folders.push(PathBuf::from(above));
        let Ok(entries) = std::fs::read_dir(root.join(above)) else {
            continue;
        };
        for entry in entries {
            folders.push(Path::new(above).join(entry?.file_name()));
        }
    }
    folders.sort();
    let mut crates = Vec::new();
    for folder in folders {
        let path = root.join(&folder).join("Cargo.toml");
        if path.is_file() {
            crates.push(read(&path, folder, &names).with_context(|| path.display().to_string())?);
        }
    }
    Ok(crates)
}

/// Package name -> short name, for the crates that the root manifest names by path.
fn own_names(root: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml")?;
    let table: Table = text.parse()?;
    let mut names = BTreeMap::new();
    let listed = table
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"));
    for (key, value) in listed.and_then(Value::as_table).into_iter().flatten() {
        if let Some(path) = value.get("path").and_then(Value::as_str) {
            let short = short_of_path(path);
            names.insert(key.clone(), short.clone());
            if let Some(package) = value.get("package").and_then(Value::as_str) {
                names.insert(package.to_owned(), short);
            }
        }
    }
    Ok(names)
}

fn short_of_path(path: &str) -> String {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
        .to_owned()
}

fn read(path: &Path, folder: PathBuf, names: &BTreeMap<String, String>) -> Result<Crate> {
    let manifest_text = std::fs::read_to_string(path)?;
    let table: Table = manifest_text.parse()?;
    let name = match folder.file_name() {
        None => "millrace".to_owned(),
        Some(last) => last.to_string_lossy().into_owned(),
    };
    let harness = !folder.starts_with("src") && folder != Path::new("");
    let kind = if harness {
        Some(Kind::Harness)
    } else {
        rooms::room(&name).map(|room| room.kind)
    };
    let mut dependencies = Vec::new();
    collect(&table, &manifest_text, names, &mut dependencies);
    for target in table
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flatten()
    {
        if let Some(inner) = target.1.as_table() {
            collect(inner, &manifest_text, names, &mut dependencies);
        }
    }
    Ok(Crate {
        name,
        kind,
        folder,
        table,
        dependencies,
        manifest_text,
    })
}

fn collect(
    table: &Table,
    text: &str,
    names: &BTreeMap<String, String>,
    found: &mut Vec<Dependency>,
) {
    for (section, dev) in [
        ("dependencies", false),
        ("build-dependencies", false),
        ("dev-dependencies", true),
    ] {
        let start = text
            .lines()
            .position(|line| line.trim_end().ends_with(&format!("{section}]")));
        for (key, value) in table
            .get(section)
            .and_then(Value::as_table)
            .into_iter()
            .flatten()
        {
            let package = value.get("package").and_then(Value::as_str).unwrap_or(key);
            let path = value.get("path").and_then(Value::as_str);
            let own = names
                .get(package)
                .cloned()
                .or_else(|| path.map(short_of_path));
            found.push(Dependency {
                own: own.is_some(),
                name: own.unwrap_or_else(|| package.to_owned()),
                dev,
                line: line_of(text, key, start.unwrap_or(0)),
            });
        }
    }
}

fn line_of(text: &str, word: &str, from: usize) -> usize {
    let found = text.lines().skip(from).position(|line| {
        line.strip_prefix(word)
            .is_some_and(|rest| rest.starts_with([' ', '.', '=', ']']) || rest.is_empty())
    });
    found.map_or(1, |at| from + at + 1)
}
