//! The parts of a log that jobs change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use runtime::disk::{Completion, Disk, File, OpenMode};
use types::{Mono, Now, Offset};

use crate::config::LogConfig;
use crate::directory::LogDirectory;
use crate::error::{WriteError, is_no_space};
use crate::names::{FileKind, PartitionName};
use crate::segment::{Segment, SegmentState};

/// What never changes about a log.
#[derive(Debug)]
pub(crate) struct Shared {
    pub name: PartitionName,
    /// No other log of the directory has it.
    pub number: u64,
    pub path: Arc<Path>,
    pub directory: LogDirectory,
}

impl Shared {
    pub fn disk(&self) -> &Disk {
        self.directory.disk()
    }

    pub fn segment(&self, base_offset: Offset, state: SegmentState) -> Arc<Segment> {
        Segment::new(
            base_offset,
            self.path.clone(),
            self.directory.files().clone(),
            state,
        )
    }

    pub fn write_error(
        &self,
        operation: &'static str,
        path: &Path,
        error: &std::io::Error,
    ) -> WriteError {
        self.directory.write_error(operation, path, error)
    }

    /// Makes the names in the partition's directory durable.
    pub async fn sync_names(&self) -> Result<(), WriteError> {
        let synced = self.disk().sync_dir(&*self.path).await;
        synced.map_err(|error| self.directory.fail("syncing", &self.path, &error))?;
        Ok(())
    }

    /// Waits for syncs that were begun side by side; one that fails closes the log directory.
    pub async fn end_syncs(
        &self,
        running: Vec<(PathBuf, Completion<()>)>,
    ) -> Result<(), WriteError> {
        for (path, completion) in running {
            let synced = completion.await;
            synced.map_err(|error| self.directory.fail("syncing", &path, &error))?;
        }
        Ok(())
    }
}

/// What a job takes along and brings back changed.
#[derive(Debug)]
pub(crate) struct Core {
    pub shared: Arc<Shared>,
    /// In order of their base offsets; the last one is appended to. Never empty.
    pub segments: Vec<Arc<Segment>>,
    pub log_start_offset: Offset,
    pub log_end_offset: Offset,
    /// Segments with bytes that were written since the last publishing.
    pub written: Vec<Arc<Segment>>,
    /// The list of segments has changed since the last publishing.
    pub is_list_changed: bool,
    /// Names in the partition's directory have changed and are not synced.
    pub are_names_changed: bool,
    /// Bytes appended since the log was opened.
    pub appended_bytes: u64,
    /// What was appended since the last publishing, if a journal may hold it.
    pub captured: Vec<Bytes>,
    /// Everything up to the log end, names included, has been synced since the last publishing.
    pub is_all_flushed: bool,
    /// Renamed files, and when they may be removed.
    pub removals: Vec<Removal>,
}

/// Renamed files and when they may be removed.
#[derive(Debug)]
pub(crate) struct Removal {
    pub due: Mono,
    pub paths: Vec<PathBuf>,
}

impl Core {
    pub fn new(
        shared: Arc<Shared>,
        segments: Vec<Arc<Segment>>,
        log_start_offset: Offset,
        log_end_offset: Offset,
    ) -> Core {
        assert!(!segments.is_empty(), "a log has a segment");
        Core {
            shared,
            segments,
            log_start_offset,
            log_end_offset,
            written: Vec::new(),
            is_list_changed: true,
            are_names_changed: false,
            appended_bytes: 0,
            captured: Vec::new(),
            is_all_flushed: false,
            removals: Vec::new(),
        }
    }

    /// The segment that is appended to.
    pub fn active(&self) -> &Arc<Segment> {
        self.segments.last().expect("a log has a segment")
    }

    /// Bytes of all batches.
    pub fn size_bytes(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.size_bytes())
            .sum()
    }

    /// The file of the active segment, made if this is its first use.
    pub async fn active_file(&mut self, config: &LogConfig) -> Result<File, WriteError> {
        let segment = self.active().clone();
        let is_new = segment.size_bytes() == 0;
        if let Some(file) = segment.slot(FileKind::Log).get() {
            return Ok(file);
        }
        let path = segment.path(FileKind::Log);
        let opened = if is_new {
            // Whatever has this name holds no batch of ours.
            segment
                .files()
                .open(&segment, FileKind::Log, OpenMode::Truncate)
                .await
        } else {
            segment.open(FileKind::Log).await
        };
        let file = opened.map_err(|error| self.shared.write_error("opening", &path, &error))?;
        if is_new {
            self.are_names_changed = true;
            if config.preallocate {
                let allocated = file.allocate(0, config.segment_bytes).await;
                allocated.map_err(|error| self.shared.write_error("allocating", &path, &error))?;
            }
        }
        Ok(file)
    }

    /// Makes the file of an empty active segment and its name durable: its base is where the log begins.
    pub async fn make_active_durable(&mut self, config: &LogConfig) -> Result<(), WriteError> {
        self.active_file(config).await?;
        self.sync_names().await
    }

    /// Makes the names in the partition's directory durable.
    pub async fn sync_names(&mut self) -> Result<(), WriteError> {
        self.shared.sync_names().await
    }

    /// Writes index entries that wait in memory. They can wait on while the disk is full.
    pub async fn write_indexes(&mut self, segment: &Arc<Segment>) -> Result<(), WriteError> {
        let is_first = segment.state().offset_index.written() == 0;
        match segment.write_indexes().await {
            Err(error) if !is_no_space(&error) => {
                let path = segment.path(FileKind::OffsetIndex);
                Err(self.shared.write_error("writing", &path, &error))
            }
            _ => {
                self.are_names_changed |= is_first;
                Ok(())
            }
        }
    }

    /// Gives an ended segment the files of both indexes, be they empty: Kafka takes one that is missing for damage.
    async fn make_indexes(&mut self, segment: &Arc<Segment>) -> Result<(), WriteError> {
        match segment.make_indexes().await {
            Err(error) if !is_no_space(&error) => {
                let path = segment.path(FileKind::OffsetIndex);
                Err(self.shared.write_error("making", &path, &error))
            }
            _ => {
                self.are_names_changed = true;
                Ok(())
            }
        }
    }

    /// Ends the active segment and begins another one at `base_offset`.
    pub async fn roll(
        &mut self,
        config: &LogConfig,
        now: Now,
        base_offset: Offset,
    ) -> Result<(), WriteError> {
        let old = self.active().clone();
        {
            let mut state = old.state();
            state.push_time_entry(old.base_offset());
            state.recent = Default::default();
        }
        self.write_indexes(&old).await?;
        self.make_indexes(&old).await?;
        // Its indexes are to be synced, even if its batches are.
        self.written.push(old.clone());
        if config.preallocate
            && let Some(file) = old.slot(FileKind::Log).get()
        {
            // Gives the space back that was allocated and not used.
            let trimmed = file.set_len(old.size_bytes()).await;
            trimmed.map_err(|error| self.shared.write_error("trimming", file.path(), &error))?;
        }
        let state = SegmentState::empty(now.wall.as_millis());
        let new = self.shared.segment(base_offset, state);
        self.segments.push(new);
        self.is_list_changed = true;
        Ok(())
    }
}
