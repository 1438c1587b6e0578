//! Whether the check of the order would notice: the broker is built with one sync taken out, and must fail it.
//!
//! The sources are copied to a folder below `target/` and built there, into the same target directory, so that what is
//! not ours is built only once; our own crates are built without optimization.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// One sync that is taken out.
struct Mutant {
    /// Which, for people.
    what: &'static str,
    file: &'static str,
    text: &'static str,
    instead: &'static str,
    /// A complaint of the check must hold this.
    complaint: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "a log's bytes",
        file: "src/storage/flush.rs",
        text: "Ok(file) => self.running.push((path, file.sync_data())),",
        instead: "Ok(_) => {}",
        complaint: ".log was synced",
    },
    Mutant {
        what: "a journal",
        file: "src/storage/journal/writer.rs",
        text: "        let synced = file.sync_data().await;",
        instead: "        let synced: io::Result<()> = Ok(());",
        complaint: ".log was synced",
    },
    Mutant {
        what: "the names in a partition's directory",
        file: "src/storage/flush.rs",
        text: "        syncs.running.push((
            shared.path.to_path_buf(),
            shared.disk().sync_dir(&*shared.path),
        ));
",
        instead: "",
        complaint: "the name ",
    },
    Mutant {
        what: "a small file before it takes its name",
        file: "src/storage/files.rs",
        text: "        file.sync_data().await?;\n    }\n    disk.rename(&temporary, path).await?;",
        instead: "    }\n    disk.rename(&temporary, path).await?;",
        complaint: "renamed without having been synced",
    },
    Mutant {
        what: "the directory of a small file",
        file: "src/storage/files.rs",
        text: "disk.sync_dir(path.parent().unwrap_or(Path::new(\".\"))).await",
        instead: "Ok(())",
        complaint: "the name ",
    },
];

/// Our executable among the mutants, so that it is not taken for the real one.
const BINARY: (&str, &str) = (
    "[[bin]]\nname = \"millrace\"",
    "[[bin]]\nname = \"millrace-mutant\"",
);

/// Whether each mutant fails `examine`, which gives the complaints about an executable.
pub fn run(root: &Path, examine: impl Fn(&Path) -> Result<Vec<String>>) -> Result<bool> {
    let mut is_good = true;
    for mutant in MUTANTS {
        let started = Instant::now();
        let program = build(root, mutant)?;
        let seconds = started.elapsed().as_secs_f64();
        let complaints = examine(&program)?;
        let is_found = complaints
            .iter()
            .any(|line| line.contains(mutant.complaint));
        let (what, count) = (mutant.what, complaints.len());
        let verdict = if is_found { "found" } else { "NOT FOUND" };
        println!(
            "== without the sync of {what}: {verdict}, {count} out of order (built in {seconds:.0} s)"
        );
        is_good &= is_found;
    }
    Ok(is_good)
}

/// Builds the broker with one sync taken out; gives its executable.
fn build(root: &Path, mutant: &Mutant) -> Result<PathBuf> {
    let copy = root.join("target/mutants");
    let mut kept = BTreeSet::new();
    for name in ["Cargo.toml", "Cargo.lock", "src", "sim", "tests/gate"] {
        mirror(root, &copy, Path::new(name), mutant, &mut kept)?;
    }
    remove_others(&copy, &kept)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| root.join("target"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--package", "millrace"])
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .stdin(Stdio::null())
        .status()?;
    ensure!(
        status.success(),
        "the broker without the sync of {} cannot be built",
        mutant.what
    );
    Ok(target.join("debug/millrace-mutant"))
}

/// The content that a file shall have among the mutants.
fn content(root: &Path, name: &Path, mutant: &Mutant) -> Result<Vec<u8>> {
    let path = root.join(name);
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let (text, instead) = match name.to_str() {
        Some("Cargo.toml") => BINARY,
        Some(file) if file == mutant.file => (mutant.text, mutant.instead),
        _ => return Ok(bytes),
    };
    let whole = String::from_utf8(bytes)?;
    let count = whole.matches(text).count();
    ensure!(
        count == 1,
        "{} holds {text:?} {count} times",
        name.display()
    );
    Ok(whole.replacen(text, instead, 1).into_bytes())
}

/// Copies a file or a folder; what is there already keeps its time, so that it is not built again.
fn mirror(
    root: &Path,
    copy: &Path,
    name: &Path,
    mutant: &Mutant,
    kept: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    if root.join(name).is_dir() {
        std::fs::create_dir_all(copy.join(name))?;
        for entry in std::fs::read_dir(root.join(name))? {
            mirror(root, copy, &name.join(entry?.file_name()), mutant, kept)?;
        }
        return Ok(());
    }
    std::fs::create_dir_all(copy)?;
    let wanted = content(root, name, mutant)?;
    let path = copy.join(name);
    if std::fs::read(&path).ok().as_deref() != Some(&wanted[..]) {
        std::fs::write(&path, wanted)?;
    }
    kept.insert(path);
    Ok(())
}

/// Removes the files that the sources no longer have.
fn remove_others(folder: &Path, kept: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, kept)?;
        } else if !kept.contains(&path) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sync_that_is_taken_out_is_there() {
        let root = crate::tree::root();
        for mutant in MUTANTS {
            let mutated =
                content(&root, Path::new(mutant.file), mutant).expect("the text is there");
            let whole = std::fs::read(root.join(mutant.file)).expect("the file");
            assert_ne!(mutated, whole, "{}", mutant.what);
            content(&root, Path::new("Cargo.toml"), mutant).expect("the executable is there");
        }
    }
}
