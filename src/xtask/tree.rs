//! Files that a chore writes, or compares with what is committed.
#![allow(
    clippy::disallowed_methods,
    reason = "a chore is outside the simulated world"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate lies two folders below the root")
        .to_owned()
}

/// Path (relative to `folder`) and text of every file below `folder` with this extension.
pub fn read_all(folder: &Path, extension: &str) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = match fs::read_dir(&next) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("reading {}", next.display()))?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path
                    .strip_prefix(folder)?
                    .to_str()
                    .context("a name that is not text")?;
                files.insert(name.to_owned(), fs::read_to_string(&path)?);
            }
        }
    }
    Ok(files)
}

/// Makes `folder` (below the root) hold exactly `wanted` among its files with this extension that are `ours`
/// by their text; with `check`, only says which differ.
pub fn write_or_check(
    folder: &str,
    extension: &str,
    wanted: BTreeMap<String, String>,
    ours: impl Fn(&str) -> bool,
    check: bool,
) -> Result<()> {
    let folder = root().join(folder);
    let found = read_all(&folder, extension)?;
    let stale = found
        .iter()
        .filter(|(name, text)| !wanted.contains_key(*name) && ours(text));
    let stale: Vec<&String> = stale.map(|(name, _)| name).collect();
    let changed: Vec<_> = wanted
        .iter()
        .filter(|(name, text)| found.get(*name) != Some(text))
        .collect();
    if check {
        if !stale.is_empty() || !changed.is_empty() {
            let changed: Vec<_> = changed.iter().map(|(name, _)| name).collect();
            bail!(
                "in {}: stale {stale:?}, different {changed:?}",
                folder.display()
            );
        }
        return Ok(());
    }
    for name in &stale {
        fs::remove_file(folder.join(name))?;
    }
    for (name, text) in &changed {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
        fs::write(path, text)?;
    }
    println!(
        "{}: {} written, {} removed",
        folder.display(),
        changed.len(),
        stale.len()
    );
    Ok(())
}
