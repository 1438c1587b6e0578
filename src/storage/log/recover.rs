//! What a log is after a stop: trusted up to the proven offset, checked above it, cut where it is torn.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use runtime::disk::{File, OpenMode};
use types::{Now, Offset, ProducerId, planted};

use super::core::Shared;
use super::open::remove_segment;
use super::recover_indexes::Loaded;
use super::scan::{BadBatch, Scan, ScanOptions};
use super::{Log, Recovered};
use crate::config::LogConfig;
use crate::directory::LogDirectory;
use crate::error::{Fence, OpenError};
use crate::names::{FileKind, PartitionName};
use crate::segment::{Segment, SegmentState};

/// The segments of a log as they are being checked, oldest first.
pub(super) struct Recovery<'a> {
    pub shared: &'a Arc<Shared>,
    pub config: &'a LogConfig,
    pub now: Now,
    /// Everything below is known to have been synced.
    pub proven_offset: Offset,
    /// Everything below is known to have been let go.
    pub log_start: Offset,
    pub recovered: Recovered,
    /// Segments found good so far.
    pub segments: Vec<Arc<Segment>>,
    /// The offset after the last good batch, or the base of an empty segment behind it.
    pub next_offset: Offset,
    /// Where the segment before ends, if its batches were read.
    pub checked_end: Option<Offset>,
}

impl Recovery<'_> {
    pub(super) fn fail(
        &self,
        operation: &'static str,
        path: &std::path::Path,
        error: &io::Error,
    ) -> OpenError {
        OpenError::Write(self.shared.write_error(operation, path, error))
    }

    async fn open_log(&self, base_offset: Offset) -> Result<(File, PathBuf, u64), OpenError> {
        let path = self.shared.path.join(FileKind::Log.file_name(base_offset));
        let open = async || {
            let file = self.shared.disk().open(&path, OpenMode::ReadWrite).await?;
            let length = file.len()?;
            Ok((file, length))
        };
        let opened = open()
            .await
            .map_err(|error| self.fail("opening", &path, &error));
        opened.map(|(file, length)| (file, path, length))
    }

    /// Takes a segment whose batches are known to be good, and makes its indexes good.
    pub async fn trust(
        &mut self,
        base_offset: Offset,
        is_active: bool,
    ) -> Result<Option<BadBatch>, OpenError> {
        if base_offset < self.next_offset {
            return Ok(Some(self.overlap(base_offset)));
        }
        let (file, path, length) = self.open_log(base_offset).await?;
        let loaded = async {
            match self.is_aborted_sound(base_offset).await? {
                true => self.load_indexes(base_offset, &file, length).await,
                false => Ok(None),
            }
        };
        let loaded = loaded
            .await
            .map_err(|error| self.fail("reading", &path, &error))?;
        let had_indexes = loaded.is_some();
        let Loaded {
            state,
            walk_offset,
            next_offset,
        } = loaded.unwrap_or(Loaded {
            state: self.empty_state(),
            walk_offset: base_offset,
            next_offset: base_offset,
        });
        let options = self.options(false);
        if had_indexes && !is_active {
            // Its end is where the next one begins.
            let segment = self.shared.segment(
                base_offset,
                SegmentState {
                    size_bytes: length,
                    ..state
                },
            );
            self.segments.push(segment);
            self.next_offset = next_offset;
            return Ok(None);
        }
        let mut scan = Scan::new(
            &file,
            &path,
            base_offset,
            options,
            state,
            walk_offset,
            &mut self.recovered.epochs,
        );
        let run = scan.run(length).await;
        let (mut state, next_offset, bad) = (scan.state, scan.next_offset, scan.bad);
        let markers = scan.markers;
        run.map_err(|error| self.fail("reading", &path, &error))?;
        if bad.is_some() {
            return Ok(bad);
        }
        if !is_active {
            state.push_time_entry(base_offset);
            state.recent = Default::default();
        }
        let segment = self.shared.segment(base_offset, state);
        if !had_indexes {
            self.rewrite_indexes(&segment).await?;
            self.keep_aborted(&segment, &markers).await?;
        }
        self.segments.push(segment);
        self.next_offset = next_offset.max(base_offset);
        Ok(None)
    }

    /// Reads every batch of a segment and compares the checksums. At a bad batch at or above the proven offset the
    /// segments `behind` go and the segment is cut.
    pub async fn check(
        &mut self,
        base_offset: Offset,
        behind: &[Offset],
    ) -> Result<Option<BadBatch>, OpenError> {
        if base_offset < self.next_offset {
            return Ok(Some(self.overlap(base_offset)));
        }
        // A loss of power may take the end of a segment that was not synced and leave the next one. Segments begin where
        // the log ended, but for batches that are too far away, and for Kafka's cleaner, which takes the end of segments.
        // Below the log start it may have kept any of the segments that were about to go.
        let is_compacted =
            self.config.cleanup.compact && self.shared.directory.was_cleaned_by_kafka();
        let is_hole = |end: &Offset| {
            !is_compacted
                && base_offset > self.log_start
                && (1..=i64::from(i32::MAX)).contains(&(base_offset - end))
        };
        if let Some(end) = self.checked_end.filter(is_hole) {
            return Ok(Some(self.gap(end, base_offset)));
        }
        let (file, path, length) = self.open_log(base_offset).await?;
        let (options, state) = (self.options(true), self.empty_state());
        let mut scan = Scan::new(
            &file,
            &path,
            base_offset,
            options,
            state,
            base_offset,
            &mut self.recovered.epochs,
        );
        let run = scan.run(length).await;
        let (mut state, next_offset) = (scan.state, scan.next_offset);
        let (markers, bad, unproven_from) = (scan.markers, scan.bad, scan.unproven_from);
        run.map_err(|error| self.fail("reading", &path, &error))?;
        self.recovered.checked_bytes += state.size_bytes;
        if let Some(damage) = bad.as_ref().filter(|bad| bad.offset < self.proven_offset)
            && planted!(DamageCutAway)
        {
            self.proven_offset = damage.offset;
        }
        if bad
            .as_ref()
            .is_some_and(|bad| bad.offset < self.proven_offset)
        {
            return Ok(bad);
        }
        if bad.is_some() {
            // Before the cut: a crash in between must not leave a hole.
            self.drop_segments(behind).await?;
            self.cut(&file, length, &mut state).await?;
        } else if !behind.is_empty() {
            state.push_time_entry(base_offset);
            state.recent = Default::default();
        }
        let mut file = file;
        let is_name_proven = base_offset < self.proven_offset;
        if is_name_proven || planted!(RecoveryBelievesPageCache) {
            if let Some(from) = unproven_from {
                self.again(&file, from, &file, state.size_bytes).await?;
            }
        } else {
            file = self.write_anew(file, &path, state.size_bytes).await?;
        }
        let segment = self.shared.segment(base_offset, state);
        self.keep_checked(&segment, &file, &markers).await?;
        self.segments.push(segment);
        self.next_offset = next_offset.max(base_offset);
        self.checked_end = Some(self.next_offset);
        Ok(bad)
    }

    /// Makes the good part of a segment durable, and its indexes right.
    async fn keep_checked(
        &mut self,
        segment: &Arc<Segment>,
        file: &File,
        markers: &[(Offset, ProducerId)],
    ) -> Result<(), OpenError> {
        self.rewrite_indexes(segment).await?;
        self.keep_aborted(segment, markers).await?;
        let path = segment.path(FileKind::Log);
        if segment.size_bytes() > 0 && planted!(RecoveryWithoutFlush) {
            return Ok(());
        }
        let synced = file.sync_data().await;
        synced.map_err(|error| self.shared.directory.fail("syncing", &path, &error))?;
        Ok(())
    }

    /// Cuts the file of a segment behind its good batches.
    async fn cut(
        &mut self,
        file: &File,
        length: u64,
        state: &mut SegmentState,
    ) -> Result<(), OpenError> {
        self.recovered.cut_bytes += length - state.size_bytes;
        if planted!(TornTailKept) {
            state.size_bytes = length;
            return Ok(());
        }
        let cut = file.set_len(state.size_bytes).await;
        cut.map_err(|error| self.fail("cutting", file.path(), &error))
    }

    /// Removes segments behind a cut, durably, the last one first.
    async fn drop_segments(&mut self, bases: &[Offset]) -> Result<(), OpenError> {
        for base in bases.iter().rev() {
            let path = self.shared.path.join(FileKind::Log.file_name(*base));
            if let Ok(metadata) = self.shared.disk().metadata(&path).await {
                self.recovered.dropped_bytes += metadata.length_bytes;
            }
            self.recovered.dropped_segments += 1;
            remove_segment(self.shared, *base).await?;
        }
        if !bases.is_empty() {
            self.shared.sync_names().await?;
        }
        Ok(())
    }

    /// Checks the segments of these bases, trusting those in front of the proven offset's, or all after a clean stop.
    pub async fn run(&mut self, bases: &[Offset], was_clean: bool) -> Result<(), OpenError> {
        let first_checked = if was_clean {
            bases.len()
        } else {
            first_to_check(bases, self.proven_offset)
        };
        for (index, base) in bases.iter().enumerate() {
            let behind = &bases[index + 1..];
            if !was_clean && behind.first().is_some_and(|next| *next <= self.log_start) {
                self.check_let_go(&bases[..=index], index < first_checked, behind[0])
                    .await?;
                continue;
            }
            let mut is_trusted = index < first_checked;
            let mut bad = None;
            if is_trusted {
                bad = self.trust(*base, behind.is_empty()).await?;
                if let Some(damage) = bad.take_if(|bad| bad.offset >= self.proven_offset) {
                    tracing::warn!(?damage, "a log that was stopped cleanly is checked");
                    self.recovered.was_clean = false;
                    is_trusted = false;
                }
            }
            if !is_trusted {
                bad = self.check(*base, behind).await?;
            }
            if let Some(bad) = bad {
                let last = self.segments.last();
                let is_cut = last.is_some_and(|last| last.base_offset() == *base);
                let left = if is_cut { &[] } else { &bases[index..] };
                return self.end_at(bad, left).await;
            }
        }
        if self.next_offset < self.proven_offset {
            return Err(self.fence(self.missing_end(bases)));
        }
        Ok(())
    }

    /// Checks the last of the segments `bases`, which all lie wholly below the log start. It may still tell of
    /// producers; but damage in what was let go must take nothing with it that lies above: it goes, with all before it,
    /// and the log goes on at `next`.
    async fn check_let_go(
        &mut self,
        bases: &[Offset],
        is_trusted: bool,
        next: Offset,
    ) -> Result<(), OpenError> {
        let base = *bases.last().expect("the segment that is checked");
        let bad = match is_trusted {
            true => self.trust(base, false).await?,
            false => self.check(base, &[]).await?,
        };
        let Some(bad) = bad else {
            return Ok(());
        };
        tracing::warn!(
            name = %self.shared.name, offset = bad.offset, path = %bad.path.display(), reason = bad.reason,
            "a damaged segment below the log start is dropped"
        );
        self.segments.clear();
        for base in bases {
            remove_segment(self.shared, *base).await?;
        }
        self.next_offset = next;
        self.checked_end = None;
        Ok(())
    }

    /// Ends the log in front of a bad batch, or refuses it.
    async fn end_at(&mut self, bad: BadBatch, left: &[Offset]) -> Result<(), OpenError> {
        if bad.offset < self.proven_offset {
            return Err(self.fence(bad));
        }
        // Only if a segment does not begin where the one before it ends is anything left.
        self.drop_segments(left).await?;
        tracing::warn!(
            name = %self.shared.name, offset = bad.offset, path = %bad.path.display(),
            position = bad.position, reason = bad.reason, cut_bytes = self.recovered.cut_bytes,
            dropped_segments = self.recovered.dropped_segments, "recovery has cut the log"
        );
        self.recovered.cut_reason = Some(bad.reason);
        Ok(())
    }

    /// What is bad about a log that ends too early.
    fn missing_end(&self, bases: &[Offset]) -> BadBatch {
        let last = bases.last().map(|last| FileKind::Log.file_name(*last));
        BadBatch {
            path: last.map_or(self.shared.path.to_path_buf(), |name| {
                self.shared.path.join(name)
            }),
            position: self
                .segments
                .last()
                .map_or(0, |segment| segment.size_bytes()),
            offset: self.next_offset,
            reason: "the log ends there".to_owned(),
        }
    }

    fn overlap(&self, base_offset: Offset) -> BadBatch {
        BadBatch {
            path: self.shared.path.join(FileKind::Log.file_name(base_offset)),
            position: 0,
            offset: base_offset,
            reason: format!(
                "the segment begins below offset {}, where the one before it ends",
                self.next_offset
            ),
        }
    }

    fn gap(&self, end: Offset, base_offset: Offset) -> BadBatch {
        BadBatch {
            path: self.shared.path.join(FileKind::Log.file_name(base_offset)),
            position: 0,
            offset: end,
            reason: format!("the segment before it ends at offset {end}"),
        }
    }

    fn options(&self, verifies_checksums: bool) -> ScanOptions {
        ScanOptions {
            index_interval_bytes: self.config.index_interval_bytes,
            verifies_checksums,
            proven_offset: self.proven_offset,
        }
    }

    pub(super) fn empty_state(&self) -> SegmentState {
        SegmentState::empty(self.now.wall.as_millis())
    }

    /// The error for a bad batch below the proven offset.
    pub fn fence(&self, bad: BadBatch) -> OpenError {
        let BadBatch {
            path,
            position,
            offset,
            reason,
        } = bad;
        OpenError::Fenced(Box::new(Fence {
            path,
            position,
            offset,
            proven_offset: self.proven_offset,
            reason,
        }))
    }
}

/// Opens a log that [`Log::open`] refuses as fenced, and cuts it at the damage: all from there on is lost. Only at an
/// operator's explicit wish.
///
/// # Errors
/// [`OpenError`], other than [`OpenError::Fenced`].
pub async fn truncate_fenced(
    directory: &LogDirectory,
    name: &PartitionName,
    config: LogConfig,
    now: Now,
) -> Result<(Log, Recovered), OpenError> {
    loop {
        match Log::open(directory, name, config.clone(), false, now).await {
            Err(OpenError::Fenced(fence)) => {
                tracing::warn!(%name, offset = fence.offset, "cutting a fenced log");
                // Each round goes further down, so this ends.
                assert!(
                    directory.recovery_points().lower(name, fence.offset),
                    "a fence is below the proven offset"
                );
                directory.persist(directory.recovery_points()).await?;
            }
            opened => return opened,
        }
    }
}

/// The index of the segment from which on batches are checked, among segments of these bases.
fn first_to_check(bases: &[Offset], proven_offset: Offset) -> usize {
    bases
        .partition_point(|base| *base <= proven_offset)
        .saturating_sub(1)
}
