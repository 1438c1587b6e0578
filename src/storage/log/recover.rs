//! What a log is after a stop: trusted up to the proven offset, checked above it, cut where it is torn.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::records::{BATCH_HEADER_BYTES, BatchHeader};
use runtime::disk::{File, OpenMode};
use types::{Now, Offset, ProducerId, planted};

use super::core::Shared;
use super::open::remove_all;
use super::scan::{BadBatch, Scan, ScanOptions};
use super::{Log, Recovered};
use crate::config::LogConfig;
use crate::directory::LogDirectory;
use crate::error::{Fence, OpenError};
use crate::index::{
    AbortedTransaction, Entry, OffsetEntry, SparseIndex, TimeEntry, decode_entries,
};
use crate::names::{FileKind, PartitionName};
use crate::segment::{Segment, SegmentState, TimestampOffset};

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

    /// Keeps what is right of a segment's index of aborted transactions.
    async fn keep_aborted(
        &mut self,
        segment: &Arc<Segment>,
        markers: &[(Offset, ProducerId)],
    ) -> Result<(), OpenError> {
        if !markers.is_empty() {
            let base_offset = segment.base_offset();
            self.recovered.aborted_from.get_or_insert(base_offset);
        }
        let path = segment.path(FileKind::TransactionIndex);
        let kept = keep_aborted(segment, markers).await;
        kept.map_err(|error| self.fail("repairing", &path, &error))
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
            let names = Segment::FILES.map(|kind| kind.file_name(*base));
            remove_all(self.shared, names.iter()).await?;
        }
        if !bases.is_empty() {
            let synced = self.shared.disk().sync_dir(&*self.shared.path).await;
            let failed = |error| {
                self.shared
                    .directory
                    .fail("syncing", &self.shared.path, &error)
            };
            synced.map_err(failed)?;
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
                let is_cut = self.segments.len() > index;
                let left = if is_cut { &[] } else { &bases[index..] };
                return self.end_at(bad, left).await;
            }
        }
        if self.next_offset < self.proven_offset {
            return Err(self.fence(self.missing_end(bases)));
        }
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

    fn empty_state(&self) -> SegmentState {
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

    /// What the indexes of a segment say, and the offset after the last batch they know; `None` if there are none or
    /// they are wrong. What lies behind their last entry is yet to be walked over.
    async fn load_indexes(
        &self,
        base_offset: Offset,
        file: &File,
        length: u64,
    ) -> io::Result<Option<Loaded>> {
        let Some((offset_count, offset_last)) = self
            .last_entry::<OffsetEntry>(FileKind::OffsetIndex, base_offset)
            .await?
        else {
            return Ok(None);
        };
        let Some((time_count, time_last)) = self
            .last_entry::<TimeEntry>(FileKind::TimeIndex, base_offset)
            .await?
        else {
            return Ok(None);
        };
        let mut state = self.empty_state();
        state.offset_index = SparseIndex::in_file(offset_count, offset_last);
        state.time_index = SparseIndex::in_file(time_count, time_last);
        if let Some(time) = time_last {
            let offset = base_offset + i64::from(time.relative_offset);
            state.max_timestamp = TimestampOffset {
                timestamp: time.timestamp,
                offset,
            };
        }
        let Some(entry) = offset_last else {
            // Too small for an entry, or the entries are lost: the walk tells.
            let is_small = length <= 2 * self.config.index_interval_bytes.max(4096);
            let is_sound = is_small && (length == 0 || time_last.is_some());
            return Ok(is_sound.then_some(Loaded {
                state,
                walk_offset: base_offset,
                next_offset: base_offset,
            }));
        };
        let position = u64::from(entry.position);
        let bytes = file.read_at(position, BATCH_HEADER_BYTES).await?;
        let header = BatchHeader::parse(&bytes).ok().filter(|header| {
            header.check().is_ok()
                && header.last_offset() == base_offset + i64::from(entry.relative_offset)
                && position + header.size_bytes() as u64 <= length
        });
        let Some(header) = header.filter(|_| time_last.is_some()) else {
            return Ok(None);
        };
        // The walk begins with the entry's batch and finds no entry due there again.
        state.size_bytes = position;
        state.first_timestamp = first_timestamp(file).await?;
        Ok(Some(Loaded {
            state,
            walk_offset: header.base_offset,
            next_offset: header.next_offset(),
        }))
    }

    /// Whether a segment's index of aborted transactions, if there is one, can be right.
    async fn is_aborted_sound(&self, base_offset: Offset) -> io::Result<bool> {
        let name = FileKind::TransactionIndex.file_name(base_offset);
        let bytes = match self
            .shared
            .disk()
            .read_file(self.shared.path.join(name))
            .await
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            bytes => bytes?,
        };
        let mut last_offset = base_offset - 1;
        let mut is_sound = |entry: AbortedTransaction| {
            let is_after = entry.last_offset > last_offset;
            last_offset = entry.last_offset;
            is_after && entry.first_offset <= entry.last_offset
        };
        let is_whole = bytes.len() % AbortedTransaction::SIZE_BYTES == 0;
        Ok(is_whole && decode_entries::<AbortedTransaction>(&bytes).all(&mut is_sound))
    }

    /// How many entries an index file has, and the last; `None` if it is missing or its length or last entry cannot
    /// be right.
    async fn last_entry<E: Entry>(
        &self,
        kind: FileKind,
        base_offset: Offset,
    ) -> io::Result<Option<(u32, Option<E>)>> {
        let path = self.shared.path.join(kind.file_name(base_offset));
        let bytes = match self.shared.disk().read_file(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        if bytes.len() % E::SIZE_BYTES != 0
            || !crate::index::is_in_order(decode_entries::<E>(&bytes))
        {
            return Ok(None);
        }
        let count = bytes.len() / E::SIZE_BYTES;
        Ok(Some((count as u32, decode_entries::<E>(&bytes).last())))
    }

    /// Replaces the index files by what a scan has found.
    async fn rewrite_indexes(&mut self, segment: &Arc<Segment>) -> Result<(), OpenError> {
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            let path = segment.path(kind);
            match self.shared.disk().remove_file(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.fail("removing", &path, &error));
                }
                _ => {}
            }
        }
        self.recovered.rebuilt_indexes += usize::from(!segment.state().offset_index.is_empty());
        let write = async || {
            segment.write_indexes().await?;
            segment.make_indexes().await
        };
        match write().await {
            // They wait in memory for space.
            Err(error) if crate::error::is_no_space(&error) => Ok(()),
            Err(error) => Err(self.fail("writing", &segment.path(FileKind::OffsetIndex), &error)),
            Ok(()) => self.sync_indexes(segment).await,
        }
    }

    /// Makes the index files of a segment durable. The next start believes them below the proven offset: zeros in a
    /// time index would make all of the segment's records look old, for retention, too.
    async fn sync_indexes(&self, segment: &Arc<Segment>) -> Result<(), OpenError> {
        let mut running = Vec::new();
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            let file = segment.open(kind).await;
            let file = file.map_err(|error| self.fail("opening", &segment.path(kind), &error))?;
            running.push((kind, file.sync_data()));
        }
        for (kind, completion) in running {
            let synced = completion.await;
            let path = segment.path(kind);
            synced.map_err(|error| self.shared.directory.fail("syncing", &path, &error))?;
        }
        Ok(())
    }
}

/// Keeps the aborted transactions in front whose markers are in the segment. What a crash has taken, the owner gives
/// again.
async fn keep_aborted(segment: &Arc<Segment>, markers: &[(Offset, ProducerId)]) -> io::Result<()> {
    let listed = segment.read_aborted().await?;
    let is_known = |entry: &&AbortedTransaction| {
        entry.first_offset <= entry.last_offset
            && markers
                .binary_search(&(entry.last_offset, entry.producer_id))
                .is_ok()
    };
    let kept = listed.iter().take_while(is_known).count();
    let length = (kept * AbortedTransaction::SIZE_BYTES) as u64;
    let file = match segment.open(FileKind::TransactionIndex).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if file.len()? > length {
        file.set_len(length).await?;
    }
    Ok(())
}

/// What the indexes of a segment say.
struct Loaded {
    /// Up to and without the batch of the last entry.
    state: SegmentState,
    /// That batch's base offset.
    walk_offset: Offset,
    /// The offset after that batch.
    next_offset: Offset,
}

async fn first_timestamp(file: &File) -> io::Result<Option<i64>> {
    let bytes = file.read_at(0, BATCH_HEADER_BYTES).await?;
    Ok(BatchHeader::parse(&bytes)
        .ok()
        .map(|header| header.max_timestamp))
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
