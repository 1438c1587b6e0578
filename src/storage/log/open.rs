//! Making and opening logs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use runtime::disk::OpenMode;
use types::{LeaderEpoch, Now, Offset, Uuid};

use super::Log;
use super::again::write_again;
use super::core::{Core, Shared};
use super::recover::Recovery;
use crate::config::LogConfig;
use crate::directory::LogDirectory;
use crate::error::{OpenError, WriteError};
use crate::journal::Entry;
use crate::names::{
    FileKind, PARTITION_METADATA, PartitionFile, PartitionName, parse_partition_file,
};
use crate::segment::{Segment, SegmentState};
use crate::text::{format_partition_metadata, parse_partition_metadata, utf8};

/// What opening a log found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Whether the log was trusted without checking batches.
    pub was_clean: bool,
    /// Bytes of batches whose checksums were compared.
    pub checked_bytes: u64,
    /// Bytes cut off behind the last good batch of a segment.
    pub cut_bytes: u64,
    /// Segments dropped behind a cut.
    pub dropped_segments: usize,
    /// Bytes of the dropped segments.
    pub dropped_bytes: u64,
    /// Why there was a cut.
    pub cut_reason: Option<String>,
    /// Segments whose indexes were made anew.
    pub rebuilt_indexes: usize,
    /// The proven offset as it was found.
    pub proven_offset: Offset,
    /// The base offset of the first segment that was checked and holds markers of transactions. From there on the
    /// index of aborted transactions may lack entries: the owner gives those of the batches with
    /// [`Log::begin_append_aborted`] and then flushes the log.
    pub aborted_from: Option<Offset>,
    /// Leader epochs seen in the batches that were walked over, each with its first batch's base offset: the end of
    /// the epoch history, should the file of it lack something. The owner writes it with [`Log::begin_write_epochs`].
    pub epochs: Vec<(LeaderEpoch, Offset)>,
}

impl Recovered {
    /// From where on the log holds what may not be written down beside it. The proven offset is held there until the
    /// owner has seen to it and says so with [`Log::hold_proven_offset`]: a crash in between begins again.
    fn unwritten_from(&self) -> Option<Offset> {
        let epochs = self.epochs.first().filter(|_| !self.was_clean);
        let epochs = epochs.map(|&(_, start_offset)| start_offset);
        epochs.into_iter().chain(self.aborted_from).min()
    }

    /// What an earlier look at the same log has found and done.
    fn add(&mut self, earlier: Recovered) {
        self.proven_offset = earlier.proven_offset;
        self.checked_bytes += earlier.checked_bytes;
        self.cut_bytes += earlier.cut_bytes;
        self.dropped_segments += earlier.dropped_segments;
        self.dropped_bytes += earlier.dropped_bytes;
        self.rebuilt_indexes += earlier.rebuilt_indexes;
        self.cut_reason = self.cut_reason.take().or(earlier.cut_reason);
    }
}

/// What is in a partition's directory.
#[derive(Default)]
struct Content {
    segments: Vec<Offset>,
    /// Index files without a log file.
    orphans: Vec<String>,
    leftovers: Vec<String>,
    /// Snapshots of producers, by offset.
    snapshots: Vec<(Offset, String)>,
    swap: Option<String>,
    has_metadata: bool,
}

impl Log {
    /// Makes the log of a new partition. Cheap: the directory and its metadata file, none of them synced; the first
    /// flush does that. The first append makes the log file.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn create(
        directory: &LogDirectory,
        name: &PartitionName,
        topic_id: Uuid,
        config: LogConfig,
        now: Now,
    ) -> Result<Log, WriteError> {
        directory.check()?;
        let shared = shared(directory, name);
        // What a deleted partition of this name had reached must not be believed of this one.
        let is_known = directory.recovery_points().get(name).is_some();
        if !is_known || !types::planted!(CheckpointsOutliveTopic) {
            directory.forget_offsets(name).await?;
        }
        directory.note_created(&shared.path);
        let path = shared.path.join(PARTITION_METADATA);
        let disk = shared.disk();
        let make = async || {
            disk.create_dir_all(&*shared.path).await?;
            let file = disk.open(&path, OpenMode::Truncate).await?;
            file.write_at(0, vec![Bytes::from(format_partition_metadata(topic_id))])
                .await
        };
        make()
            .await
            .map_err(|error| shared.write_error("creating", &path, &error))?;
        let segment = shared.segment(0, SegmentState::empty(now.wall.as_millis()));
        let core = Box::new(Core::new(shared, vec![segment], 0, 0));
        let mut log = Log::from_core(core, Some(topic_id), config, 0);
        log.is_directory_unsynced = true;
        log.names_version = 1;
        Ok(log)
    }

    /// Opens the log of a partition found in the directory. After a clean stop it is trusted; else the segments from
    /// the proven offset on are checked batch by batch, and the log is cut at the first bad one.
    ///
    /// Before this returns, all of the log is durable.
    ///
    /// # Errors
    /// [`OpenError::Fenced`] if there is damage below the proven offset; [`OpenError`].
    pub async fn open(
        directory: &LogDirectory,
        name: &PartitionName,
        config: LogConfig,
        was_clean: bool,
        now: Now,
    ) -> Result<(Log, Recovered), OpenError> {
        directory.check()?;
        let shared = shared(directory, name);
        let content = list(&shared).await?;
        if let Some(swap) = content.swap {
            let reason = "an unfinished compaction of Kafka's: start Kafka on it once".to_owned();
            return Err(OpenError::Unreadable {
                path: shared.path.join(swap),
                reason,
            });
        }
        remove_all(&shared, content.leftovers.iter().chain(&content.orphans)).await?;
        let topic_id = read_topic_id(&shared).await?;
        let journaled = directory.journaled(name, topic_id);
        // Only after a clean stop is there nothing that a journal might add.
        let was_clean = was_clean && journaled.is_empty();
        let known_start = directory.log_starts().get(name).unwrap_or(0);
        let proven_offset = directory.recovery_points().get(name).unwrap_or(0);
        let recovery = || Recovery {
            shared: &shared,
            config: &config,
            now,
            proven_offset,
            log_start: known_start,
            recovered: Recovered {
                was_clean,
                proven_offset,
                ..Recovered::default()
            },
            segments: Vec::new(),
            next_offset: content.segments.first().copied().unwrap_or(known_start),
            checked_end: None,
        };
        let Recovery {
            segments,
            recovered,
            next_offset,
            ..
        } = recover(recovery, &content.segments, &journaled).await?;
        let first_base = segments
            .first()
            .map_or(known_start, |first| first.base_offset());
        let is_kept = known_start <= first_base || !types::planted!(LogStartMovesBack);
        let log_start = if is_kept {
            known_start.max(first_base)
        } else {
            first_base
        };
        let core = if segments.is_empty() || log_start > next_offset {
            start_empty(&shared, &config, now, segments, log_start).await?
        } else {
            Core::new(shared.clone(), segments, log_start, next_offset)
        };
        // A snapshot from above the end tells of batches that were lost. Others will have these offsets soon, and it
        // would be believed of them.
        let end = core.log_end_offset;
        let above = content.snapshots.iter().filter(|(offset, _)| *offset > end);
        let above: Vec<&String> = above.map(|(_, name)| name).collect();
        remove_all(&shared, above.iter().copied()).await?;
        if !recovered.was_clean || !above.is_empty() {
            sync_names(&shared, content.has_metadata).await?;
        }
        let mut log = Log::from_core(Box::new(core), topic_id, config, end);
        if let Some(from) = recovered.unwritten_from() {
            log.proven_max = from;
        }
        log.raise_proven_offset();
        directory.forget_journaled(name);
        Ok((log, recovered))
    }

    /// Writes down, durably, of which topic a log is that has no `partition.metadata`: one that was made before topics
    /// had ids, or whose making a crash cut short. Without it a later topic of the same name could not tell that the
    /// log is not its own.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn assign_topic_id(&mut self, topic_id: Uuid) -> Result<(), WriteError> {
        let shared = Arc::clone(&self.shared);
        let path = shared.path.join(PARTITION_METADATA);
        let text = Bytes::from(format_partition_metadata(topic_id));
        shared.directory.replace_file(&path, text).await?;
        self.topic_id = Some(topic_id);
        Ok(())
    }
}

/// Recovers the segments of these bases, and once more if a journal has added something to them.
async fn recover<'a>(
    begin: impl Fn() -> Recovery<'a>,
    bases: &[Offset],
    journaled: &[Entry],
) -> Result<Recovery<'a>, OpenError> {
    let mut first = begin();
    let was_clean = first.recovered.was_clean;
    first.run(bases, was_clean).await?;
    if journaled.is_empty() || !first.redo(journaled).await? {
        return Ok(first);
    }
    // What was cut off and what was dropped is gone already.
    let found = first.segments.iter().map(|segment| segment.base_offset());
    let bases: Vec<Offset> = found.collect();
    let mut second = begin();
    second.next_offset = bases.first().copied().unwrap_or(first.next_offset);
    second.run(&bases, false).await?;
    second.recovered.add(first.recovered);
    Ok(second)
}

fn shared(directory: &LogDirectory, name: &PartitionName) -> Arc<Shared> {
    let path: PathBuf = directory.path().join(name.to_string());
    Arc::new(Shared {
        name: name.clone(),
        number: directory.next_log_number(),
        path: path.into(),
        directory: directory.clone(),
    })
}

async fn list(shared: &Shared) -> Result<Content, OpenError> {
    let entries = shared.disk().list_dir(&*shared.path).await;
    let entries =
        entries.map_err(|error| shared.directory.fail("listing", &shared.path, &error))?;
    let mut content = Content::default();
    let mut others = Vec::new();
    for entry in entries {
        match parse_partition_file(&entry.name) {
            PartitionFile::Kept(FileKind::Log, base) => content.segments.push(base),
            PartitionFile::Kept(FileKind::ProducerSnapshot, offset) => {
                content.snapshots.push((offset, entry.name));
            }
            PartitionFile::Kept(_, base) => others.push((base, entry.name)),
            PartitionFile::Leftover => content.leftovers.push(entry.name),
            PartitionFile::Swap(..) => content.swap = Some(entry.name),
            PartitionFile::Other if entry.name == PARTITION_METADATA => content.has_metadata = true,
            PartitionFile::Other => {}
        }
    }
    content.segments.sort_unstable();
    let orphans = others
        .into_iter()
        .filter(|(base, _)| content.segments.binary_search(base).is_err());
    content.orphans = orphans.map(|(_, name)| name).collect();
    Ok(content)
}

/// Whether a `partition.metadata` is what a loss of power leaves of one that was written and not synced: too short, or
/// with zeros where bytes did not come. The first flush of a log syncs it before anything of the log counts as flushed,
/// so nothing was promised of this one; a proven offset would say otherwise.
fn was_never_synced(bytes: &[u8]) -> bool {
    bytes.len() < format_partition_metadata(Uuid::ZERO).len() || bytes.contains(&0)
}

impl LogDirectory {
    /// The topic that a partition's log found here belongs to, without opening the log: nothing if it has no
    /// `partition.metadata`, and [`Uuid::ZERO`], which no topic has, if it was never flushed and lost it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn topic_id_of(&self, name: &PartitionName) -> Result<Option<Uuid>, OpenError> {
        self.check()?;
        read_topic_id(&shared(self, name)).await
    }
}

/// See [`LogDirectory::topic_id_of`].
async fn read_topic_id(shared: &Shared) -> Result<Option<Uuid>, OpenError> {
    let path = shared.path.join(PARTITION_METADATA);
    let bytes = match shared.disk().read_file(&path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|error| shared.directory.fail("reading", &path, &error))?,
    };
    let is_proven = shared
        .directory
        .recovery_points()
        .get(&shared.name)
        .is_some();
    if was_never_synced(&bytes) && !is_proven {
        tracing::warn!(name = %shared.name, "a log that was never flushed lost whose it is");
        return Ok(Some(Uuid::ZERO));
    }
    let id = utf8(&bytes).and_then(parse_partition_metadata);
    id.map(Some).map_err(|error| OpenError::Unreadable {
        path,
        reason: error.to_string(),
    })
}

/// Makes durable that the log is there, and whose it is. A process that was killed before its first flush of a new log
/// or segment leaves names that only the page cache knows, and recovery counts what lies behind them as flushed. After a
/// failed sync the page cache may take for written what the disk never got: so `partition.metadata` is written again.
async fn sync_names(shared: &Shared, has_metadata: bool) -> Result<(), WriteError> {
    let disk = shared.disk();
    let failed = |path: &Path, error| shared.directory.fail("syncing", path, &error);
    let parent = shared.directory.path();
    let mut running = vec![
        (shared.path.to_path_buf(), disk.sync_dir(&*shared.path)),
        (parent.to_path_buf(), disk.sync_dir(parent)),
    ];
    if has_metadata {
        let path = shared.path.join(PARTITION_METADATA);
        let file = disk.open(&path, OpenMode::ReadWrite).await;
        let file = file.map_err(|error| failed(&path, error))?;
        let length = file.len().map_err(|error| failed(&path, error))?;
        let written = write_again(&file, 0, &file, length).await;
        written.map_err(|error| shared.write_error("writing again", &path, &error))?;
        running.push((path, file.sync_data()));
    }
    shared.end_syncs(running).await
}

pub(super) async fn remove_all(
    shared: &Shared,
    names: impl Iterator<Item = &String>,
) -> Result<(), WriteError> {
    for name in names {
        shared
            .directory
            .remove_file(&shared.path.join(name))
            .await?;
    }
    Ok(())
}

/// Removes the files of a segment.
pub(super) async fn remove_segment(shared: &Shared, base_offset: Offset) -> Result<(), WriteError> {
    let names = Segment::FILES.map(|kind| kind.file_name(base_offset));
    remove_all(shared, names.iter()).await
}

/// A log without batches that begins at `offset`, in place of `segments`.
async fn start_empty(
    shared: &Arc<Shared>,
    config: &LogConfig,
    now: Now,
    segments: Vec<Arc<Segment>>,
    offset: Offset,
) -> Result<Core, WriteError> {
    let had_segments = !segments.is_empty();
    for segment in segments.iter().rev() {
        remove_segment(shared, segment.base_offset()).await?;
    }
    drop(segments);
    let segment = shared.segment(offset, SegmentState::empty(now.wall.as_millis()));
    let mut core = Core::new(shared.clone(), vec![segment], offset, offset);
    if had_segments || offset > 0 {
        core.make_active_durable(config).await?;
    }
    Ok(core)
}
