//! `millrace dump-log`: what is in the files of a log, read without a broker and without changing anything.

mod decode;
mod segment;
mod small;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use runtime::disk::{Disk, EntryKind};
use serde_json::Value;
use storage::FileKind;

use crate::output;
use decode::RecordKind;

/// Suffix of a snapshot of the metadata log: batches, as in a segment.
const CHECKPOINT_SUFFIX: &str = ".checkpoint";

/// What `dump-log` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Files of a log, directories of partitions, or log directories.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// What the records are; by default the name of the partition's directory says it.
    #[arg(long, value_enum)]
    records: Option<RecordKind>,
    /// Show batches without their records.
    #[arg(long)]
    batches_only: bool,
    /// Say it as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Dumps; fails at the end if anything was damaged.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut dump = Dump {
        disk: Disk::new(),
        out: Out {
            is_json: arguments.json,
            file: String::new(),
            damages: 0,
        },
        records: arguments.records,
        shows_records: !arguments.batches_only,
    };
    runtime::task::block_on(async {
        for path in &arguments.paths {
            dump.path(path).await?;
        }
        match dump.out.damages {
            0 => Ok(()),
            1 => bail!("one damage was found"),
            count => bail!("{count} damages were found"),
        }
    })
}

struct Dump {
    disk: Disk,
    out: Out,
    records: Option<RecordKind>,
    shows_records: bool,
}

impl Dump {
    async fn path(&mut self, path: &Path) -> Result<()> {
        let named = || path.display().to_string();
        let metadata = self.disk.metadata(path).await.with_context(named)?;
        match metadata.kind {
            EntryKind::Directory => self.directory(path).await,
            _ => self.file(path, true).await,
        }
    }

    /// The files of a directory and of the directories in it, in order of their names.
    async fn directory(&mut self, top: &Path) -> Result<()> {
        let mut waiting = vec![top.to_owned()];
        while let Some(directory) = waiting.pop() {
            let named = || directory.display().to_string();
            let mut entries = self.disk.list_dir(&directory).await.with_context(named)?;
            entries.sort();
            for entry in &entries {
                if entry.kind == EntryKind::File {
                    self.file(&directory.join(&entry.name), false).await?;
                }
            }
            // The last is taken first.
            let inner = entries.iter().rev();
            let inner = inner.filter(|entry| entry.kind == EntryKind::Directory);
            waiting.extend(inner.map(|entry| directory.join(&entry.name)));
        }
        Ok(())
    }

    async fn file(&mut self, path: &Path, must_be_known: bool) -> Result<()> {
        let name = name_of(path);
        let Some(content) = Content::of(&name) else {
            if must_be_known {
                bail!("{}: this is no file of a log", path.display());
            }
            return Ok(());
        };
        self.out.begin(path)?;
        let named = || path.display().to_string();
        match content {
            Content::Batches => self.batches(path).await,
            Content::Index(kind) => {
                let bytes = self.disk.read_file(path).await.with_context(named)?;
                small::index(&mut self.out, kind, &name, &bytes)
            }
            Content::ProducerSnapshot => {
                let bytes = self.disk.read_file(path).await.with_context(named)?;
                small::producer_snapshot(&mut self.out, bytes)
            }
            Content::Text => {
                let bytes = self.disk.read_file(path).await.with_context(named)?;
                small::text(&mut self.out, &bytes)
            }
        }
    }

    async fn batches(&mut self, path: &Path) -> Result<()> {
        let kind = self.records.unwrap_or_else(|| RecordKind::of(path));
        let records = self.shows_records.then_some(kind);
        segment::dump(&mut self.out, &self.disk, path, records).await
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name();
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// What a file holds, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Content {
    Batches,
    Index(FileKind),
    ProducerSnapshot,
    Text,
}

impl Content {
    fn of(name: &str) -> Option<Content> {
        // A file that waits to be removed, or that replaces another, is read as what it is.
        let name = [".deleted", ".cleaned", ".swap"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        if name.ends_with(CHECKPOINT_SUFFIX) {
            return Some(Content::Batches);
        }
        let kind = FileKind::ALL
            .into_iter()
            .find(|kind| name.ends_with(kind.suffix()));
        match kind {
            Some(FileKind::Log) => Some(Content::Batches),
            Some(FileKind::ProducerSnapshot) => Some(Content::ProducerSnapshot),
            Some(index) => Some(Content::Index(index)),
            None => TEXTS.contains(&name).then_some(Content::Text),
        }
    }
}

/// Files of lines of text.
const TEXTS: [&str; 7] = [
    "leader-epoch-checkpoint",
    "partition.metadata",
    "quorum-state",
    storage::META_PROPERTIES,
    storage::RECOVERY_POINT_CHECKPOINT,
    storage::LOG_START_CHECKPOINT,
    storage::HIGH_WATERMARK_CHECKPOINT,
];

/// Where what is found goes, and how much of it was damaged.
struct Out {
    is_json: bool,
    file: String,
    damages: usize,
}

impl Out {
    fn begin(&mut self, path: &Path) -> Result<()> {
        self.file = path.display().to_string();
        if self.is_json {
            return Ok(());
        }
        output::line(&format!("file {}", self.file))
    }

    /// Says one thing: as a line of text, or as a JSON object that names the file.
    fn say(&self, text: &str, json: impl FnOnce() -> Value) -> Result<()> {
        if !self.is_json {
            return output::line(text);
        }
        let mut said = json();
        if let Value::Object(object) = &mut said {
            object.insert("file".to_owned(), Value::from(self.file.clone()));
        }
        output::json(&said)
    }

    /// Says that something is not as it should be, and counts it.
    fn damage(&mut self, position: u64, reason: &str) -> Result<()> {
        self.damages += 1;
        self.say(
            &format!("DAMAGED at position {position}: {reason}"),
            || serde_json::json!({ "damaged": reason, "position": position }),
        )
    }
}
