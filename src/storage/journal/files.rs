//! The journals in a log directory: those of earlier lives are read, and removed when nothing needs them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use runtime::disk::Disk;
use types::Uuid;

use super::group::{Entry, groups, parse_file_header};
use crate::directory::LogDirectory;
use crate::error::WriteError;
use crate::files::lock;
use crate::names::PartitionName;

/// Names of journals begin so; the life of the directory and a number follow.
const PREFIX: &str = ".journal-";
/// A file that is longer is none of ours.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The journals in a log directory.
#[derive(Debug, Default)]
pub(crate) struct Journals {
    /// How many lives, this one included, have left a journal or may.
    life: u64,
    /// Journals made in this life.
    made: u64,
    nonce: u64,
    current: Vec<PathBuf>,
    earlier: Vec<PathBuf>,
    /// What the journals of earlier lives hold, by log, in the order of writing.
    entries: BTreeMap<PartitionName, Vec<Entry>>,
}

/// The life of the directory and the number in a journal's file name: those of two journals compare as the journals'
/// ages do. Nothing for other files.
pub fn journal_place(name: &str) -> Option<(u64, u64)> {
    let (life, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((life.parse().ok()?, number.parse().ok()?))
}

impl Journals {
    /// Reads the journals in a directory. What they hold of partitions that are not among `partitions` is left out.
    ///
    /// # Errors
    /// What the system says.
    pub async fn load(
        disk: &Disk,
        path: &Path,
        partitions: &[PartitionName],
        nonce: u64,
    ) -> io::Result<Journals> {
        let mut journals = Journals {
            nonce,
            ..Journals::default()
        };
        let mut names = Vec::new();
        for entry in disk.list_dir(path).await? {
            match journal_place(&entry.name) {
                Some(place) => names.push((place, entry.name)),
                // One that did not come to be.
                None if entry.name.starts_with(PREFIX) => {
                    disk.remove_file(path.join(entry.name)).await?;
                }
                None => {}
            }
        }
        names.sort_unstable();
        for ((life, _), name) in names {
            journals.life = journals.life.max(life);
            let path = path.join(name);
            journals.read(disk, &path, partitions).await?;
            journals.earlier.push(path);
        }
        journals.life += 1;
        Ok(journals)
    }

    async fn read(
        &mut self,
        disk: &Disk,
        path: &Path,
        partitions: &[PartitionName],
    ) -> io::Result<()> {
        let length_bytes = disk.metadata(path).await?.length_bytes;
        if length_bytes > FILE_BYTES_MAX {
            let reason = format!("{} is too long for a journal", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let content = disk.read_file(path).await?;
        let (entries, damage) = journal_entries(&content);
        if let Some(damage) = damage {
            tracing::error!(path = %path.display(), damage, "a journal is damaged");
        }
        for entry in entries {
            if partitions.binary_search(&entry.name).is_ok() {
                self.entries
                    .entry(entry.name.clone())
                    .or_default()
                    .push(entry);
            }
        }
        Ok(())
    }
}

/// What a journal holds that may be in no segment, in the order of writing; and what is wrong with it, if anything is:
/// then there is less.
pub fn journal_entries(content: &Bytes) -> (Vec<Entry>, Option<&'static str>) {
    let Some(nonce) = parse_file_header(content) else {
        return (Vec::new(), Some("its first block is damaged"));
    };
    let mut groups = groups(content, nonce);
    let Some(last) = groups.last().map(|group| group.place) else {
        return (Vec::new(), None);
    };
    groups.retain(|group| group.place.sequence >= last.first_live);
    let is_whole = groups.len() as u64 == last.sequence - last.first_live + 1;
    let entries = groups.into_iter().flat_map(|group| group.entries);
    (
        entries.collect(),
        (!is_whole).then_some("groups are missing"),
    )
}

impl LogDirectory {
    /// A name for a new journal.
    pub(crate) fn new_journal_path(&self) -> PathBuf {
        let mut journals = lock(self.journals());
        journals.made += 1;
        let name = format!("{PREFIX}{}-{}", journals.life, journals.made);
        let path = self.path().join(name);
        journals.current.push(path.clone());
        path
    }

    /// What tells groups of this directory's journals from what records may contain.
    pub(crate) fn journal_nonce(&self) -> u64 {
        let journals = lock(self.journals());
        journals.nonce.wrapping_add(journals.made)
    }

    /// What journals of earlier lives hold of a log.
    pub(crate) fn journaled(&self, name: &PartitionName, topic_id: Option<Uuid>) -> Vec<Entry> {
        let journals = lock(self.journals());
        let entries = journals.entries.get(name).map_or(&[][..], Vec::as_slice);
        let is_its = |entry: &&Entry| Some(entry.topic_id) == topic_id;
        entries.iter().filter(is_its).cloned().collect()
    }

    /// The log has all that journals of earlier lives hold of it, or is no more.
    pub(crate) fn forget_journaled(&self, name: &PartitionName) {
        lock(self.journals()).entries.remove(name);
    }

    /// Removes the journals of earlier lives, if every log has what they hold.
    pub(crate) async fn remove_earlier_journals(&self) -> Result<(), WriteError> {
        let paths = {
            let mut journals = lock(self.journals());
            if !journals.entries.is_empty() {
                return Ok(());
            }
            std::mem::take(&mut journals.earlier)
        };
        for path in paths {
            self.remove_file(&path).await?;
        }
        Ok(())
    }

    /// Removes the journals of this life: every log is durable without them.
    pub(crate) async fn remove_current_journals(&self) -> Result<(), WriteError> {
        let paths = std::mem::take(&mut lock(self.journals()).current);
        for path in paths {
            self.remove_file(&path).await?;
        }
        Ok(())
    }
}
