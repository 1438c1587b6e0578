//! One partition's log.

mod aborted;
mod again;
mod append;
mod captured;
#[cfg(test)]
mod change_tests;
mod close;
mod core;
mod delete;
mod job;
mod open;
mod recover;
mod recover_indexes;
#[cfg(test)]
mod recover_tests;
mod redo;
mod retention;
mod scan;
#[cfg(test)]
mod tests;
mod truncate;

use std::path::Path;
use std::sync::Arc;

use types::{LeaderEpoch, Now, Offset, Uuid};

use self::append::Plan;
use self::captured::Captured;
use self::core::Core;
use crate::config::LogConfig;
use crate::directory::LogDirectory;
use crate::error::{AppendError, WriteError};
use crate::flush::{FlushHandle, FlushedLog, Proof};
use crate::journal::Entry;
use crate::names::{FileKind, PartitionName};
use crate::partition_files::PartitionFiles;
use crate::segment::Segment;
use crate::view::LogView;

pub use self::append::{AppendBatch, Appended};
pub(crate) use self::core::Shared;
pub use self::delete::DeletedLog;
pub use self::job::{Finished, LogJob};
pub use self::open::Recovered;
pub use self::recover::truncate_fenced;
pub use self::retention::Retained;
pub use self::truncate::Truncated;

/// One partition's log, owned by one shard.
///
/// Reading goes through [`Log::view`] and needs no borrow. What changes the log is a [`LogJob`]: one at a time for
/// each log, any number of logs at once. Flushing is no job: it goes on beside appending.
///
/// # Panics
/// Every `begin_*` panics if a job has not been [finished](Log::finish).
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    topic_id: Option<Uuid>,
    config: LogConfig,
    /// Taken along by a running job.
    core: Option<Box<Core>>,
    /// A job was begun and has not been finished.
    is_busy: bool,
    published: Published,
    /// Rises with each truncation: a flush begun before one proves nothing after it.
    generation: u64,
    flushed_offset: Offset,
    /// Everything below is synced in the segments; what lies between is in a journal.
    synced_offset: Offset,
    captured: Captured,
    /// Bytes appended since the log was opened, and how many of them a completed flush covers.
    appended_bytes: u64,
    flushed_bytes: u64,
    /// Segments with bytes that no completed flush covers.
    unsynced: Vec<Arc<Segment>>,
    /// Rises with each change of names in the partition's directory, and the last of them that a flush covers.
    names_version: u64,
    names_synced: u64,
    /// The partition's own directory and its metadata file have not been synced yet.
    is_directory_unsynced: bool,
    /// The proven offset does not pass it, see [`Log::hold_proven_offset`].
    proven_max: Offset,
}

/// What views show.
#[derive(Debug, Clone)]
struct Published {
    /// Empty while a truncation or deletion is under way.
    segments: Arc<Vec<Arc<Segment>>>,
    log_start_offset: Offset,
    log_end_offset: Offset,
    /// Where whole batches end in the last segment, in bytes.
    end_position: u64,
}

impl Log {
    fn from_core(
        core: Box<Core>,
        topic_id: Option<Uuid>,
        config: LogConfig,
        flushed_offset: Offset,
    ) -> Log {
        let published = Published {
            segments: Arc::new(core.segments.clone()),
            log_start_offset: core.log_start_offset,
            log_end_offset: core.log_end_offset,
            end_position: core.active().size_bytes(),
        };
        let log_end_offset = core.log_end_offset;
        Log {
            shared: core.shared.clone(),
            topic_id,
            config,
            core: Some(core),
            is_busy: false,
            published,
            generation: 0,
            flushed_offset,
            synced_offset: flushed_offset,
            captured: Captured::new(log_end_offset),
            appended_bytes: 0,
            flushed_bytes: 0,
            unsynced: Vec::new(),
            names_version: 0,
            names_synced: 0,
            is_directory_unsynced: false,
            proven_max: Offset::MAX,
        }
    }

    /// The partition.
    pub fn name(&self) -> &PartitionName {
        &self.shared.name
    }

    pub(crate) fn is_same(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// The topic's id, if the partition's directory says it.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// The log directory it is in.
    pub fn directory(&self) -> &LogDirectory {
        &self.shared.directory
    }

    /// The partition's own directory.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The configs in force.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the configs, from the next job on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The first offset of the log.
    pub fn log_start_offset(&self) -> Offset {
        self.published.log_start_offset
    }

    /// The offset at which the next batch may begin.
    pub fn log_end_offset(&self) -> Offset {
        self.published.log_end_offset
    }

    /// Everything below this offset survives a power cut.
    pub fn flushed_offset(&self) -> Offset {
        self.flushed_offset
    }

    /// How many truncations there have been.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes appended that no completed flush covers.
    pub fn unflushed_bytes(&self) -> u64 {
        self.appended_bytes - self.flushed_bytes
    }

    /// Whether the file that is appended to is open.
    pub fn is_open(&self) -> bool {
        let active = self.published.segments.last();
        active.is_some_and(|active| active.slot(FileKind::Log).is_open())
    }

    /// Whether a flush has anything to do.
    pub fn needs_flush(&self) -> bool {
        !self.unsynced.is_empty() || self.names_version > self.names_synced
    }

    /// Bytes of all segments. While a truncation or deletion is under way, zero.
    pub fn size_bytes(&self) -> u64 {
        self.published
            .segments
            .iter()
            .map(|segment| segment.size_bytes())
            .sum()
    }

    /// How many segments there are. While a truncation or deletion is under way, none.
    pub fn segment_count(&self) -> usize {
        self.published.segments.len()
    }

    /// Whether a job is under way.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// A look at the log as it is now: cheap, and usable from every core without the log.
    pub fn view(&self) -> LogView {
        LogView {
            segments: self.published.segments.clone(),
            directory: self.shared.directory.clone(),
            log_start_offset: self.published.log_start_offset,
            log_end_offset: self.published.log_end_offset,
            segments_end_offset: self.published.log_end_offset,
            end_position: self.published.end_position,
        }
    }

    /// The small files beside the segments: epoch history and producer snapshots.
    pub fn partition_files(&self) -> PartitionFiles {
        PartitionFiles::new(self.shared.clone())
    }

    /// Takes the core for a job that runs without the log.
    fn begin(&mut self) -> Box<Core> {
        assert!(!self.is_busy, "a log has one job at a time");
        self.is_busy = true;
        self.core.take().expect("an idle log has its core")
    }

    /// Withdraws the log from readers while a job replaces segments under it, and forgets who else holds them.
    fn withdraw(&mut self) {
        self.published.segments = Arc::new(Vec::new());
        self.unsynced.clear();
    }

    /// Begins to append batches at exactly the offsets in their headers, none below the log end offset. Either all
    /// are appended or none.
    ///
    /// The write has often ended when this returns: see [`LogJob::try_take`].
    pub fn begin_append(
        &mut self,
        now: Now,
        batches: Vec<AppendBatch>,
    ) -> LogJob<Result<Appended, AppendError>> {
        assert!(!self.is_busy, "a log has one job at a time");
        let core = self.core.as_deref_mut().expect("an idle log has its core");
        self.is_busy = true;
        if let Err(failure) = self.shared.directory.check() {
            return LogJob::done(Err(failure.into()));
        }
        let mut plan = match Plan::new(core, &self.config, now, batches) {
            Err(error) => return LogJob::done(Err(error)),
            Ok(plan) if plan.is_empty() => return LogJob::done(Ok(plan.appended())),
            Ok(plan) => plan,
        };
        let state = core.active().state();
        let (position, is_index_due) = (state.size_bytes, state.offset_index.is_due());
        drop(state);
        let file = core
            .active()
            .slot(FileKind::Log)
            .get()
            .filter(|_| !is_index_due);
        let write = file.and_then(|file| Some((file, plan.take_single_write()?)));
        let Some((file, chunks)) = write else {
            let core = self.core.take().expect("it was there");
            return LogJob::running(append::run(core, plan));
        };
        let mut completion = file.write_at(position, chunks);
        match completion.try_take() {
            Some(Ok(())) => LogJob::done(Ok(append::finish_single(core, &plan))),
            Some(error) => {
                let core = self.core.take().expect("it was there");
                LogJob::running(append::end_single(core, plan, async { error }))
            }
            None => {
                let core = self.core.take().expect("it was there");
                LogJob::running(append::end_single(core, plan, completion))
            }
        }
    }

    /// Ends a job: what it did becomes visible in the log. Gives the job's result.
    pub fn finish<T>(&mut self, finished: Finished<T>) -> T {
        assert!(self.is_busy, "only a job that was begun can be finished");
        if let Some(core) = finished.core {
            self.core = Some(core);
        }
        self.is_busy = false;
        self.publish();
        finished.result
    }

    fn publish(&mut self) {
        let core = self
            .core
            .as_deref_mut()
            .expect("a finished job has brought it back");
        let published = &mut self.published;
        if core.is_list_changed || published.segments.is_empty() {
            core.is_list_changed = false;
            published.segments = Arc::new(core.segments.clone());
        }
        published.log_start_offset = core.log_start_offset;
        published.log_end_offset = core.log_end_offset;
        published.end_position = core.active().size_bytes();
        self.names_version += u64::from(std::mem::take(&mut core.are_names_changed));
        let appended_bytes = core.appended_bytes - self.appended_bytes;
        self.shared.directory.add_unflushed(appended_bytes);
        self.captured.add(appended_bytes, core.captured.drain(..));
        self.appended_bytes = core.appended_bytes;
        for segment in core.written.drain(..) {
            segment.slot(FileKind::Log).set_unsynced(true);
            if !self
                .unsynced
                .iter()
                .any(|known| Arc::ptr_eq(known, &segment))
            {
                self.unsynced.push(segment);
            }
        }
        if std::mem::take(&mut core.is_all_flushed) {
            self.flushed_offset = core.log_end_offset;
            self.synced_offset = core.log_end_offset;
            self.captured = Captured::new(core.log_end_offset);
            self.shared
                .directory
                .remove_unflushed(self.unflushed_bytes());
            self.flushed_bytes = self.appended_bytes;
            self.names_synced = self.names_version;
            self.is_directory_unsynced = false;
            for segment in self.unsynced.drain(..) {
                segment.slot(FileKind::Log).set_unsynced(false);
            }
            self.raise_proven_offset();
        }
    }

    /// Begins to flush what has been appended so far: a handle for [`crate::flush_all`], whose answer goes back to
    /// [`Log::complete_flush`]. Several flushes of a log may be under way.
    pub fn begin_flush(&mut self) -> FlushHandle {
        let names_version = (self.names_version > self.names_synced).then_some(self.names_version);
        let has_new_names = names_version.is_some() || self.is_directory_unsynced;
        FlushHandle {
            entry: self.take_entry().filter(|_| !has_new_names),
            shared: self.shared.clone(),
            generation: self.generation,
            end_offset: self.published.log_end_offset,
            appended_bytes: self.appended_bytes,
            segments: self
                .unsynced
                .iter()
                .map(|segment| (segment.clone(), segment.size_bytes()))
                .collect(),
            active_base_offset: self
                .published
                .segments
                .last()
                .map_or(0, |active| active.base_offset()),
            names_version,
            is_directory_new: self.is_directory_unsynced,
        }
    }

    /// What was appended since the last flush was begun, if that one has ended: only then a journal may go on from it.
    fn take_entry(&mut self) -> Option<Entry> {
        let (previous_end, chunks) = self.captured.take(self.published.log_end_offset)?;
        let topic_id = self.topic_id?;
        (previous_end <= self.flushed_offset).then(|| Entry {
            name: self.shared.name.clone(),
            topic_id,
            previous_end,
            chunks,
        })
    }

    /// Has the next flush sync the segments, if a part of what is flushed is in a journal alone; whether that is so.
    pub fn settle(&mut self) -> bool {
        let is_due = self.synced_offset < self.flushed_offset;
        if is_due {
            self.captured.discard();
        }
        is_due
    }

    /// Takes the end of a flush into account; gives the flushed offset. A flush begun before a truncation proves
    /// nothing, and a failed one has closed the log directory.
    pub fn complete_flush(&mut self, flushed: &FlushedLog) -> Offset {
        let handle = &flushed.handle;
        if handle.generation != self.generation || flushed.result.is_err() {
            return self.flushed_offset;
        }
        self.flushed_offset = self.flushed_offset.max(handle.end_offset);
        let newly_flushed = handle.appended_bytes.saturating_sub(self.flushed_bytes);
        self.shared.directory.remove_unflushed(newly_flushed);
        self.flushed_bytes += newly_flushed;
        if flushed.proof == Proof::Journal && !types::planted!(JournalTakenForSegments) {
            return self.flushed_offset;
        }
        self.synced_offset = self.synced_offset.max(handle.end_offset);
        for (segment, size_bytes) in &handle.segments {
            // One that has ended since the flush was begun has its indexes still to be synced.
            let was_ended = segment.base_offset() < handle.active_base_offset;
            let is_done = match self.is_active(segment) {
                true => segment.size_bytes() == *size_bytes,
                false => was_ended && segment.are_indexes_written(),
            };
            if is_done {
                segment.slot(FileKind::Log).set_unsynced(false);
                self.unsynced.retain(|known| !Arc::ptr_eq(known, segment));
            }
        }
        self.shared.directory.files().close_idle();
        self.names_synced = self.names_synced.max(handle.names_version.unwrap_or(0));
        self.is_directory_unsynced &= !handle.is_directory_new;
        self.raise_proven_offset();
        self.flushed_offset
    }

    fn is_active(&self, segment: &Arc<Segment>) -> bool {
        let active = self.published.segments.last();
        active.is_some_and(|active| Arc::ptr_eq(active, segment))
    }

    /// Lets recovery trust what is flushed, up to the first ended segment whose indexes are not synced yet or wait
    /// for space.
    fn raise_proven_offset(&self) {
        let waiting = self
            .unsynced
            .iter()
            .filter(|segment| !self.is_active(segment));
        let proven = waiting
            .map(|segment| segment.base_offset())
            .fold(self.synced_offset.min(self.proven_max), Offset::min);
        let recovery_points = self.shared.directory.recovery_points();
        let known = recovery_points.get(&self.shared.name);
        // Within a segment it need not go back: recovery looks through all of that segment.
        recovery_points.set(&self.shared.name, proven.max(known.unwrap_or(0)));
    }

    /// Keeps the proven offset from passing `from`, however far the log is flushed: recovery has to look through the
    /// batches from there on, for something that the owner has not written down yet. `None` lets it go on.
    pub fn hold_proven_offset(&mut self, from: Option<Offset>) {
        self.proven_max = from.unwrap_or(Offset::MAX);
        // A new log has none before its first flush: it may yet lose its names.
        let recovery_points = self.shared.directory.recovery_points();
        if recovery_points.get(&self.shared.name).is_some() {
            self.raise_proven_offset();
        }
    }

    /// Whether the proven offset would be higher if nothing [held](Log::hold_proven_offset) it.
    pub fn is_proven_offset_held(&self) -> bool {
        self.proven_max < self.synced_offset
    }

    /// Begins to replace the epoch history, durably: epochs with their first offsets, in order.
    pub fn begin_write_epochs(
        &mut self,
        epochs: Vec<(LeaderEpoch, Offset)>,
    ) -> LogJob<Result<(), WriteError>> {
        let files = self.partition_files();
        let core = self.begin();
        LogJob::running(async move {
            let result = files.write_leader_epochs(&epochs).await;
            Finished {
                core: Some(core),
                result,
            }
        })
    }
}

impl Drop for Log {
    /// Nobody will flush what is left.
    fn drop(&mut self) {
        let bytes = self.unflushed_bytes();
        self.shared.directory.remove_unflushed(bytes);
    }
}
