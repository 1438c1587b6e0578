//! Cutting a log back: what lies above an offset goes, durably, and no reader sees a file change under it.

use std::io;
use std::sync::Arc;

use runtime::disk::{File, OpenMode};
use types::{Now, Offset};

use super::Log;
use super::core::Core;
use super::job::{Finished, LogJob};
use super::open::{remove_all, remove_segment};
use super::scan::{Scan, ScanOptions};
use crate::config::LogConfig;
use crate::error::{ReadError, WriteError};
use crate::index::{AbortedTransaction, Entry, OffsetEntry, SparseIndex, TimeEntry};
use crate::names::{CLEANED_SUFFIX, FileKind, PartitionFile, parse_partition_file};
use crate::segment::{BatchSpan, Segment, SegmentState, TimestampOffset};
use crate::segment_reader::SegmentReader;

const COPY_BYTES: usize = 1 << 20;

/// What a truncation did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated {
    /// The log end now: the offset asked for, or the base of the batch that held it.
    pub log_end_offset: Offset,
    /// The log start now: lowered if the log was cut below it, raised over a gap in front of which nothing is left.
    pub log_start_offset: Offset,
    /// Bytes of batches that are gone.
    pub removed_bytes: u64,
}

impl Log {
    /// Begins to remove every batch with an offset of `offset` or more. The generation rises at once: flushes begun
    /// before prove nothing. After success all of the log is durable. Views taken before go on or end with
    /// [`ReadError::Replaced`].
    ///
    /// An offset at or above the log end changes nothing but the generation.
    pub fn begin_truncate(
        &mut self,
        now: Now,
        offset: Offset,
    ) -> LogJob<Result<Truncated, WriteError>> {
        self.generation += 1;
        let config = self.config.clone();
        if offset >= self.published.log_end_offset {
            let core = self.begin();
            let (log_end_offset, log_start_offset) = (core.log_end_offset, core.log_start_offset);
            return LogJob::done_with(
                core,
                Ok(Truncated {
                    log_end_offset,
                    log_start_offset,
                    removed_bytes: 0,
                }),
            );
        }
        let unsynced = std::mem::take(&mut self.unsynced);
        self.withdraw();
        let core = self.begin();
        LogJob::running(async move {
            let mut core = core;
            core.written.extend(unsynced);
            let result = truncate(&mut core, &config, now, offset).await;
            Finished {
                core: Some(core),
                result,
            }
        })
    }

    /// Begins to remove every batch and to go on at `offset`: for a follower whose leader no longer has what would
    /// come next.
    pub fn begin_restart_at(
        &mut self,
        now: Now,
        offset: Offset,
    ) -> LogJob<Result<Truncated, WriteError>> {
        self.generation += 1;
        let config = self.config.clone();
        self.withdraw();
        let core = self.begin();
        LogJob::running(async move {
            let mut core = core;
            let result = restart(&mut core, &config, now, offset).await;
            Finished {
                core: Some(core),
                result,
            }
        })
    }
}

/// Makes sure that a crash does not take what is about to be written for what had been proven.
async fn lower_proven_offset(core: &Core, offset: Offset) -> Result<(), WriteError> {
    let directory = &core.shared.directory;
    directory.check()?;
    if directory.recovery_points().lower(&core.shared.name, offset) {
        directory.persist(directory.recovery_points()).await?;
    }
    Ok(())
}

async fn truncate(
    core: &mut Core,
    config: &LogConfig,
    now: Now,
    offset: Offset,
) -> Result<Truncated, WriteError> {
    let size_before = core.size_bytes();
    lower_proven_offset(core, offset).await?;
    // The last segment goes first, so that what is left is always without a hole.
    while core.segments.len() > 1 && core.active().base_offset() > offset {
        remove_last(core).await?;
    }
    if core.active().base_offset() > offset {
        return restart(core, config, now, offset).await;
    }
    let end = cut_active(core, config, now, offset).await?;
    if end.batches < end.log {
        begin_at(core, config, now, end.log).await?;
    }
    core.log_end_offset = end.log;
    let first_base = core.segments.first().map_or(0, |first| first.base_offset());
    core.log_start_offset = core.log_start_offset.max(first_base);
    if core.log_start_offset > end.log {
        core.log_start_offset = end.log;
        core.shared
            .directory
            .log_starts()
            .set(&core.shared.name, end.log);
        core.shared
            .directory
            .persist(core.shared.directory.log_starts())
            .await?;
    }
    settle(core).await?;
    Ok(Truncated {
        log_end_offset: end.log,
        log_start_offset: core.log_start_offset,
        removed_bytes: size_before - core.size_bytes(),
    })
}

async fn restart(
    core: &mut Core,
    config: &LogConfig,
    now: Now,
    offset: Offset,
) -> Result<Truncated, WriteError> {
    let removed_bytes = core.size_bytes();
    lower_proven_offset(core, 0).await?;
    while core.segments.len() > 1 {
        remove_last(core).await?;
    }
    begin_at(core, config, now, offset).await?;
    if core.segments.len() > 1 {
        // The one that had batches goes last: without it and the new one the log would begin elsewhere.
        core.segments.swap(0, 1);
        remove_last(core).await?;
    }
    core.log_start_offset = offset;
    core.log_end_offset = offset;
    core.shared
        .directory
        .log_starts()
        .set(&core.shared.name, offset);
    core.shared
        .directory
        .persist(core.shared.directory.log_starts())
        .await?;
    settle(core).await?;
    Ok(Truncated {
        log_end_offset: offset,
        log_start_offset: offset,
        removed_bytes,
    })
}

/// Makes the log go on at `offset` in a new, empty segment, in place of an empty last one.
async fn begin_at(
    core: &mut Core,
    config: &LogConfig,
    now: Now,
    offset: Offset,
) -> Result<(), WriteError> {
    if core.active().size_bytes() > 0 {
        core.roll(config, now, offset).await?;
    } else {
        let fresh = core
            .shared
            .segment(offset, SegmentState::empty(now.wall.as_millis()));
        core.segments.push(fresh);
        let empty = core.segments.remove(core.segments.len() - 2);
        core.is_list_changed = true;
        if empty.base_offset() != offset {
            remove_files(core, &empty).await?;
        }
    }
    core.make_active_durable(config).await
}

/// Syncs what is left, and takes away what belongs to offsets that are gone.
async fn settle(core: &mut Core) -> Result<(), WriteError> {
    let shared = core.shared.clone();
    for segment in std::mem::take(&mut core.written) {
        if !core.segments.iter().any(|kept| Arc::ptr_eq(kept, &segment)) {
            continue;
        }
        let path = segment.path(FileKind::Log);
        let sync = async || segment.open(FileKind::Log).await?.sync_data().await;
        sync()
            .await
            .map_err(|error| shared.directory.fail("syncing", &path, &error))?;
        segment.slot(FileKind::Log).set_unsynced(false);
    }
    remove_snapshots_above(core).await?;
    core.sync_names().await?;
    core.is_all_flushed = true;
    core.is_list_changed = true;
    // The end may lie inside of a batch, below what was asked for.
    let recovery_points = shared.directory.recovery_points();
    recovery_points.lower(&shared.name, core.log_end_offset);
    Ok(())
}

async fn remove_last(core: &mut Core) -> Result<(), WriteError> {
    let segment = core.segments.pop().expect("there is one to remove");
    core.is_list_changed = true;
    remove_files(core, &segment).await
}

async fn remove_files(core: &Core, segment: &Arc<Segment>) -> Result<(), WriteError> {
    segment.set_replaced();
    core.shared.directory.files().forget(segment);
    remove_segment(&core.shared, segment.base_offset()).await
}

async fn remove_snapshots_above(core: &Core) -> Result<(), WriteError> {
    let shared = &core.shared;
    let entries = shared.disk().list_dir(&*shared.path).await;
    let entries =
        entries.map_err(|error| shared.directory.fail("listing", &shared.path, &error))?;
    let above = entries
        .into_iter()
        .filter_map(|entry| match parse_partition_file(&entry.name) {
            PartitionFile::Kept(FileKind::ProducerSnapshot, offset)
                if offset > core.log_end_offset =>
            {
                Some(entry.name)
            }
            _ => None,
        });
    let above: Vec<String> = above.collect();
    remove_all(shared, above.iter()).await
}

/// Where a log ends after a cut.
struct End {
    /// The log end offset.
    log: Offset,
    /// The offset after the last batch, or the base of an empty segment: below the log end if there is a gap.
    batches: Offset,
}

/// Cuts the active segment in front of the batch that holds `offset` or is the first above it.
async fn cut_active(
    core: &mut Core,
    config: &LogConfig,
    now: Now,
    offset: Offset,
) -> Result<End, WriteError> {
    let old = core.active().clone();
    let size_bytes = old.size_bytes();
    let directory = core.shared.directory.clone();
    let found = SegmentReader::new(&old, &directory, size_bytes)
        .find(offset)
        .await;
    let found = found.map_err(|error| truncation_error(core, &old, error))?;
    let Some(first_gone) = found else {
        let batches = end_of_batches(core, &old).await?;
        return Ok(End {
            log: offset,
            batches,
        });
    };
    let (state, batches) = state_up_to(core, &old, config, now, first_gone).await?;
    core.segments.pop();
    core.written.retain(|segment| !Arc::ptr_eq(segment, &old));
    let base_offset = old.base_offset();
    if let Err(error) = shorten(core, old.clone(), first_gone.position).await {
        core.segments.push(old);
        return Err(error);
    }
    core.segments.push(core.shared.segment(base_offset, state));
    core.is_list_changed = true;
    Ok(End {
        log: first_gone.base_offset.min(offset),
        batches,
    })
}

/// The offset after the last batch of a segment, or its base.
async fn end_of_batches(core: &Core, segment: &Arc<Segment>) -> Result<Offset, WriteError> {
    let directory = core.shared.directory.clone();
    let mut reader = SegmentReader::new(segment, &directory, segment.size_bytes());
    let walk = async || {
        let mut end = segment.base_offset();
        let mut position = reader.position_at_most(reader.end()).await?;
        while let Some(span) = reader.span_at(position).await? {
            end = span.last_offset + 1;
            position = span.end();
        }
        Ok(end)
    };
    let mut walk = walk;
    walk()
        .await
        .map_err(|error| truncation_error(core, segment, error))
}

/// A damaged batch on the way to the cut closes the directory: the log cannot be what its owner believes.
fn truncation_error(core: &Core, segment: &Segment, error: ReadError) -> WriteError {
    match error {
        ReadError::DirectoryFailed(failure) => failure.into(),
        error => {
            let error = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
            core.shared
                .directory
                .fail("truncating", &segment.path(FileKind::Log), &error)
                .into()
        }
    }
}

/// What is to be remembered of a segment up to a batch that goes, with its index files cut accordingly; and the
/// offset after the last batch that stays.
async fn state_up_to(
    core: &Core,
    segment: &Arc<Segment>,
    config: &LogConfig,
    now: Now,
    first_gone: BatchSpan,
) -> Result<(SegmentState, Offset), WriteError> {
    let path = segment.path(FileKind::Log);
    let error = |error: io::Error| core.shared.write_error("truncating", &path, &error);
    let base_offset = segment.base_offset();
    let (offsets, times, first_timestamp) = {
        let state = segment.state();
        (
            state.offset_index.clone(),
            state.time_index.clone(),
            state.first_timestamp,
        )
    };
    let offsets = cut_index(
        segment,
        FileKind::OffsetIndex,
        offsets,
        |entry: &OffsetEntry| u64::from(entry.position) < first_gone.position,
    );
    let offsets = offsets.await.map_err(error)?;
    let last_kept = offsets.last();
    let times = cut_index(segment, FileKind::TimeIndex, times, |entry: &TimeEntry| {
        base_offset + i64::from(entry.relative_offset) < first_gone.base_offset
    });
    let times = times.await.map_err(error)?;
    let mut state = SegmentState::empty(now.wall.as_millis());
    if let Some(last) = times.last() {
        let offset = base_offset + i64::from(last.relative_offset);
        state.max_timestamp = TimestampOffset {
            timestamp: last.timestamp,
            offset,
        };
    }
    if let Some(last) = last_kept {
        state.size_bytes = u64::from(last.position);
        state.first_timestamp = first_timestamp;
    }
    (state.offset_index, state.time_index) = (offsets, times);
    let file = segment.open(FileKind::Log).await.map_err(error)?;
    let options = ScanOptions {
        index_interval_bytes: config.index_interval_bytes,
        verifies_checksums: false,
        proven_offset: Offset::MAX,
    };
    let mut epochs = Vec::new();
    let mut scan = Scan::new(
        &file,
        &path,
        base_offset,
        options,
        state,
        base_offset,
        &mut epochs,
    );
    scan.run(first_gone.position).await.map_err(error)?;
    if let Some(bad) = scan.bad {
        let error = io::Error::new(io::ErrorKind::InvalidData, bad.reason);
        return Err(core
            .shared
            .directory
            .fail("truncating", &path, &error)
            .into());
    }
    let (state, batches) = (scan.state, scan.next_offset);
    cut_aborted(segment, batches).await.map_err(error)?;
    Ok((state, batches))
}

/// Keeps the entries in front that are `kept`, in memory and in the file.
async fn cut_index<E: Entry>(
    segment: &Arc<Segment>,
    kind: FileKind,
    index: SparseIndex<E>,
    kept: impl Fn(&E) -> bool,
) -> io::Result<SparseIndex<E>> {
    let written = match index.written() {
        0 => Vec::new(),
        count => segment.read_index::<E>(kind, 0, count).await?,
    };
    let kept_written = written.partition_point(&kept);
    if kept_written < written.len() {
        let file = segment.open(kind).await?;
        file.set_len((kept_written * E::SIZE_BYTES) as u64).await?;
    }
    let mut cut = SparseIndex::in_file(
        kept_written as u32,
        kept_written.checked_sub(1).map(|last| written[last]),
    );
    for entry in index.pending().iter().take_while(|entry| kept(entry)) {
        cut.push(*entry);
    }
    Ok(cut)
}

/// Forgets the transactions whose abort marker is at or above `end`.
async fn cut_aborted(segment: &Arc<Segment>, end: Offset) -> io::Result<()> {
    let aborted = segment.read_aborted().await?;
    let kept = aborted.partition_point(|entry| entry.last_offset < end);
    if kept < aborted.len() {
        let file = segment.open(FileKind::TransactionIndex).await?;
        file.set_len((kept * AbortedTransaction::SIZE_BYTES) as u64)
            .await?;
        file.sync_data().await?;
    }
    Ok(())
}

/// Shortens the file of a segment: in place if nobody else knows the segment, else by a shorter file in its place.
async fn shorten(core: &Core, segment: Arc<Segment>, position: u64) -> Result<(), WriteError> {
    let path = segment.path(FileKind::Log);
    let file = segment.open(FileKind::Log).await;
    let file = file.map_err(|error| core.shared.write_error("opening", &path, &error))?;
    // The caller holds one count and this function another.
    let is_shared = Arc::strong_count(&segment) > 2;
    let shortened = match is_shared {
        false => cut_in_place(&file, position).await,
        true => replace(core, &segment, &file, position).await,
    };
    shortened.map_err(|error| core.shared.write_error("truncating", &path, &error))
}

async fn cut_in_place(file: &File, position: u64) -> io::Result<()> {
    file.set_len(position).await?;
    file.sync_data().await
}

async fn replace(
    core: &Core,
    segment: &Arc<Segment>,
    file: &File,
    position: u64,
) -> io::Result<()> {
    let disk = core.shared.disk();
    let path = segment.path(FileKind::Log);
    let mut cleaned = path.clone().into_os_string();
    cleaned.push(CLEANED_SUFFIX);
    let copy = async || {
        let target = disk.open(&cleaned, OpenMode::Truncate).await?;
        let mut copied = 0;
        while copied < position {
            let wanted = usize::try_from(position - copied)
                .unwrap_or(usize::MAX)
                .min(COPY_BYTES);
            let bytes = file.read_at(copied, wanted).await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let length = bytes.len() as u64;
            target.write_at(copied, vec![bytes]).await?;
            copied += length;
        }
        target.sync_data().await
    };
    if let Err(error) = copy().await {
        // Whatever is left of it goes at the next start at the latest.
        let _ = disk.remove_file(&cleaned).await;
        return Err(error);
    }
    segment.set_replaced();
    disk.rename(&cleaned, &path).await
}
