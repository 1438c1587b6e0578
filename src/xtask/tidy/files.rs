//! Which files there are, and which of the Rust files some target reaches.

use super::Finding;
use super::manifest::Crate;
use super::source::{self, Source};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::Value;

/// What a walk over all module declarations found.
pub struct Reached {
    /// Every Rust file that a target compiles.
    pub sources: Vec<Source>,
    /// Dead files and declarations that lead nowhere.
    pub findings: Vec<Finding>,
}

/// Every file below `root` that belongs to the project, relative to it, sorted.
pub fn list(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(root.join(&folder))
            .with_context(|| format!("list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            let kind = entry.file_type()?;
            if kind.is_dir() && !is_foreign(&name) {
                folders.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Folders that hold no source of the project.
fn is_foreign(name: &str) -> bool {
    name == ".git"
        || name.starts_with("target")
        || matches!(
            name,
            "node_modules" | "millrace-data" | "__pycache__" | "shared"
        )
}

/// Walks from every Cargo target along its module declarations.
pub fn reach(root: &Path, crates: &[Crate], paths: &[PathBuf]) -> Result<Reached> {
    let mut reached = Reached {
        sources: Vec::new(),
        findings: Vec::new(),
    };
    let mut seen = BTreeSet::new();
    for one in crates {
        for (target, only_tests) in targets(root, one) {
            if !root.join(&target).is_file() {
                let message = format!("target {} does not exist", target.display());
                reached
                    .findings
                    .push(Finding::new(&one.manifest(), 1, message));
                continue;
            }
            let home = target.parent().unwrap_or(Path::new("")).to_path_buf();
            let mut open = vec![(target, home, only_tests)];
            while let Some((path, home, only_tests)) = open.pop() {
                if !seen.insert(path.clone()) {
                    continue;
                }
                let text = std::fs::read_to_string(root.join(&path))
                    .with_context(|| path.display().to_string())?;
                let source = Source::new(path, &one.name, text, only_tests);
                open.extend(modules(root, &source, &home, &mut reached.findings));
                reached.sources.push(source);
            }
        }
    }
    for path in paths {
        if path.extension().is_some_and(|extension| extension == "rs") && !seen.contains(path) {
            let message = "dead file: no target and no `mod` reaches it; declare it or delete it";
            reached.findings.push(Finding::new(path, 1, message));
        }
    }
    Ok(reached)
}

/// The root files of a crate's targets, and whether each is compiled for tests only.
fn targets(root: &Path, one: &Crate) -> Vec<(PathBuf, bool)> {
    let mut found = Vec::new();
    let mut push = |path: &str, only_tests| found.push((one.folder.join(path), only_tests));
    let table = &one.table;
    if let Some(path) = table
        .get("lib")
        .and_then(|lib| lib.get("path"))
        .and_then(Value::as_str)
    {
        push(path, false);
    }
    for (section, only_tests) in [
        ("bin", false),
        ("example", false),
        ("bench", true),
        ("test", true),
    ] {
        for target in table
            .get(section)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if let Some(path) = target.get("path").and_then(Value::as_str) {
                push(path, only_tests);
            }
        }
    }
    for (path, only_tests) in [
        ("src/lib.rs", false),
        ("src/main.rs", false),
        ("build.rs", false),
    ] {
        if root.join(&one.folder).join(path).is_file() {
            push(path, only_tests);
        }
    }
    let package = table.get("package");
    for (key, folder) in [
        ("autotests", "tests"),
        ("autobenches", "benches"),
        ("autoexamples", "examples"),
    ] {
        let automatic = package
            .and_then(|package| package.get(key))
            .and_then(Value::as_bool);
        if package.is_none() || automatic == Some(false) {
            continue;
        }
        let entries = std::fs::read_dir(root.join(&one.folder).join(folder));
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".rs") {
                push(&format!("{folder}/{name}"), true);
            } else if entry.path().join("main.rs").is_file() {
                push(&format!("{folder}/{name}/main.rs"), true);
            }
        }
    }
    found
}

/// The files that `source` declares as modules: path, folder of their own modules, whether for tests only.
fn modules(
    root: &Path,
    source: &Source,
    home: &Path,
    findings: &mut Vec<Finding>,
) -> Vec<(PathBuf, PathBuf, bool)> {
    let mut found = Vec::new();
    let code = &source.code;
    for at in source.words("mod") {
        let declaration = code[at + 3..].trim_start();
        let name: String = declaration
            .bytes()
            .take_while(|byte| source::is_word(*byte))
            .map(char::from)
            .collect();
        if name.is_empty() || !declaration[name.len()..].trim_start().starts_with(';') {
            continue;
        }
        let only_tests = source.in_tests(at);
        let inner = enclosing(code, at)
            .into_iter()
            .fold(home.to_path_buf(), |path, outer| path.join(outer));
        let candidates = match path_attribute(source, at) {
            Some(given) => {
                let folder = source.path.parent().unwrap_or(Path::new(""));
                let path = folder.join(given);
                let home = path.parent().unwrap_or(Path::new("")).to_path_buf();
                vec![(path, home)]
            }
            None => vec![
                (inner.join(format!("{name}.rs")), inner.join(&name)),
                (inner.join(&name).join("mod.rs"), inner.join(&name)),
            ],
        };
        match candidates
            .into_iter()
            .find(|(path, _)| root.join(path).is_file())
        {
            Some((path, home)) => found.push((path, home, only_tests)),
            None => findings.push(Finding::new(
                &source.path,
                source.line_at(at),
                format!("`mod {name};` leads to no file"),
            )),
        }
    }
    for at in source.words("include!") {
        let given = source.text[at..].split('"').nth(1).unwrap_or_default();
        let folder = source.path.parent().unwrap_or(Path::new(""));
        if given.ends_with(".rs") && root.join(folder).join(given).is_file() {
            found.push((folder.join(given), home.to_path_buf(), source.in_tests(at)));
        }
    }
    found
}

/// The names of the inline modules around `position`, outermost first.
fn enclosing(code: &str, position: usize) -> Vec<String> {
    let mut names = Vec::new();
    for at in source::find_words(&code[..position], "mod") {
        let rest = &code[at + 3..];
        let Some(open) = rest.find(['{', ';']) else {
            continue;
        };
        let open = at + 3 + open;
        if code.as_bytes()[open] == b'{' && source::behind_matching(code, open) > position {
            names.push(code[at + 3..open].trim().to_owned());
        }
    }
    names
}

/// The path that `#[path = ".."]` gives to the declaration at `position`.
fn path_attribute(source: &Source, position: usize) -> Option<String> {
    let before = &source.code[..position];
    let start = before.rfind([';', '}', '{']).map_or(0, |at| at + 1);
    let attribute = start + before[start..].find("#[path")?;
    source.text[attribute..]
        .split('"')
        .nth(1)
        .map(str::to_owned)
}
