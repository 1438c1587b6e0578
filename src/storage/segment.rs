//! A segment: one file of batches, its indexes, and what is remembered of both.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use protocol::records::{BatchHeader, NO_TIMESTAMP};
use runtime::disk::{File, OpenMode};
use types::Offset;

use crate::files::{FileCache, Slot, lock};
use crate::index::{AbortedTransaction, Entry, OffsetEntry, SparseIndex, TimeEntry};
use crate::names::{DELETED_SUFFIX, FileKind};

/// Batches at the end of a segment whose places are kept in memory, so that readers at the end search no file.
const RECENT_BATCHES_MAX: usize = 32;

/// A timestamp and the offset that brought it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    /// Wall milliseconds; -1 if no record has any.
    pub timestamp: i64,
    /// An offset; -1 if there is none.
    pub offset: Offset,
}

impl TimestampOffset {
    /// No timestamp, no offset.
    pub const NONE: TimestampOffset = TimestampOffset {
        timestamp: NO_TIMESTAMP,
        offset: -1,
    };
}

/// Where a batch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchSpan {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub max_timestamp: i64,
    pub position: u64,
    pub size_bytes: u32,
}

impl BatchSpan {
    pub fn of(header: &BatchHeader, position: u64) -> BatchSpan {
        BatchSpan {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            position,
            size_bytes: header.size_bytes() as u32,
        }
    }

    pub fn end(&self) -> u64 {
        self.position + u64::from(self.size_bytes)
    }
}

/// A segment of a log. Its owner appends; views read up to the end they were given.
pub struct Segment {
    base_offset: Offset,
    directory: Arc<Path>,
    files: FileCache,
    slots: [Slot; 4],
    /// The files have been renamed with [`DELETED_SUFFIX`].
    deleted: AtomicBool,
    /// Another file has this one's name: what is not open cannot be opened any more.
    replaced: AtomicBool,
    /// What is known of its file of aborted transactions: one of [`ABORTS_UNKNOWN`] and its like. Most segments have
    /// none, and every fetch at *read_committed* asks.
    aborts: AtomicU8,
    state: Mutex<SegmentState>,
}

/// Nobody has looked yet.
const ABORTS_UNKNOWN: u8 = 0;
/// There was no file, and nobody has made one since.
const ABORTS_NONE: u8 = 1;
/// There is a file, or one is being made; for good.
const ABORTS_SOME: u8 = 2;

/// What is remembered of a segment's content.
#[derive(Clone, Debug)]
pub(crate) struct SegmentState {
    /// Bytes of whole batches in the file.
    pub size_bytes: u64,
    /// Offset to position.
    pub offset_index: SparseIndex<OffsetEntry>,
    /// Time to offset.
    pub time_index: SparseIndex<TimeEntry>,
    /// Bytes after the last entry of the offset index.
    pub bytes_since_index_entry: u64,
    /// The largest timestamp and the last offset of the batch that brought it.
    pub max_timestamp: TimestampOffset,
    /// The first batch's largest timestamp: what the segment's age counts from.
    pub first_timestamp: Option<i64>,
    /// When the segment was made, in wall milliseconds: its age if the records have no time.
    pub created_ms: i64,
    /// The last batches.
    pub recent: VecDeque<BatchSpan>,
}

impl SegmentState {
    /// An empty segment's.
    pub fn empty(created_ms: i64) -> SegmentState {
        SegmentState {
            size_bytes: 0,
            offset_index: SparseIndex::default(),
            time_index: SparseIndex::default(),
            bytes_since_index_entry: 0,
            max_timestamp: TimestampOffset::NONE,
            first_timestamp: None,
            created_ms,
            recent: VecDeque::new(),
        }
    }

    /// Takes note of a batch at the end of the segment, with index entries where they are due.
    pub fn note_batch(&mut self, base: Offset, header: &BatchHeader, index_interval_bytes: u64) {
        let span = BatchSpan::of(header, self.size_bytes);
        if span.max_timestamp > self.max_timestamp.timestamp {
            let (timestamp, offset) = (span.max_timestamp, span.last_offset);
            self.max_timestamp = TimestampOffset { timestamp, offset };
        }
        if self.bytes_since_index_entry > index_interval_bytes {
            let relative_offset = (span.last_offset - base) as u32;
            let is_behind = types::planted!(IndexEntryBehindBatch);
            let position = if is_behind { span.end() } else { span.position };
            self.offset_index.push(OffsetEntry {
                relative_offset,
                position: position as u32,
            });
            self.push_time_entry(base);
            self.bytes_since_index_entry = 0;
        }
        self.first_timestamp.get_or_insert(span.max_timestamp);
        self.bytes_since_index_entry += u64::from(span.size_bytes);
        self.size_bytes = span.end();
        if self.recent.len() == RECENT_BATCHES_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(span);
    }

    /// Adds the largest timestamp so far to the time index, unless it is there.
    pub fn push_time_entry(&mut self, base: Offset) {
        let TimestampOffset { timestamp, offset } = self.max_timestamp;
        if timestamp >= 0 {
            self.time_index.push(TimeEntry {
                timestamp,
                relative_offset: (offset - base) as u32,
            });
        }
    }

    /// Whether an index of at most `bytes_max` bytes has no room for another entry.
    pub fn is_index_full(&self, bytes_max: u64) -> bool {
        let offsets_max = bytes_max / OffsetEntry::SIZE_BYTES as u64;
        let times_max = (bytes_max / TimeEntry::SIZE_BYTES as u64).saturating_sub(1);
        u64::from(self.offset_index.len()) >= offsets_max.max(1)
            || u64::from(self.time_index.len()) >= times_max.max(1)
    }

    /// The batch at `position`, if it is remembered.
    pub fn recent_at(&self, position: u64) -> Option<BatchSpan> {
        let index = self.recent.partition_point(|span| span.position < position);
        self.recent
            .get(index)
            .filter(|span| span.position == position)
            .copied()
    }

    /// The first batch whose last offset is `offset` or more, if it is surely among those remembered.
    pub fn recent_holding(&self, offset: Offset) -> Option<BatchSpan> {
        let index = self
            .recent
            .partition_point(|span| span.last_offset < offset);
        let found = self.recent.get(index)?;
        (index > 0 || found.base_offset <= offset || found.position == 0).then_some(*found)
    }
}

impl Segment {
    /// The files of a segment that may be open.
    pub(crate) const FILES: [FileKind; 4] = [
        FileKind::Log,
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TransactionIndex,
    ];

    pub(crate) fn new(
        base_offset: Offset,
        directory: Arc<Path>,
        files: FileCache,
        state: SegmentState,
    ) -> Arc<Segment> {
        Arc::new(Segment {
            base_offset,
            directory,
            files,
            slots: Default::default(),
            deleted: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            aborts: AtomicU8::new(ABORTS_UNKNOWN),
            state: Mutex::new(state),
        })
    }

    /// The offset in the names of its files: no batch in it begins below.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// The path of one of its files.
    pub fn path(&self, kind: FileKind) -> PathBuf {
        let mut name = kind.file_name(self.base_offset);
        if self.deleted.load(Ordering::Relaxed) {
            name.push_str(DELETED_SUFFIX);
        }
        self.directory.join(name)
    }

    /// The path of one of its files once retention has taken it out.
    pub(crate) fn deleted_path(&self, kind: FileKind) -> PathBuf {
        let name = kind.file_name(self.base_offset) + DELETED_SUFFIX;
        self.directory.join(name)
    }

    /// Bytes of whole batches in the file.
    pub fn size_bytes(&self) -> u64 {
        self.state().size_bytes
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, SegmentState> {
        lock(&self.state)
    }

    pub(crate) fn slot(&self, kind: FileKind) -> &Slot {
        let index = Segment::FILES.iter().position(|file| *file == kind);
        &self.slots[index.expect("only a segment's own files are opened through it")]
    }

    pub(crate) fn files(&self) -> &FileCache {
        &self.files
    }

    /// The files have been renamed.
    pub(crate) fn set_deleted(&self) {
        self.deleted.store(true, Ordering::Relaxed);
    }

    /// Other files are about to take the names of this segment's.
    pub(crate) fn set_replaced(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    /// Whether other files have, or are about to have, the names of this segment's.
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    /// Whether its files have lost their names, or are about to.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_replaced() || self.deleted.load(Ordering::Relaxed)
    }

    /// Opens one of its files, which must exist. `NotFound` if the segment has been replaced or removed.
    pub(crate) async fn open(self: &Arc<Self>, kind: FileKind) -> io::Result<File> {
        self.files.open(self, kind, OpenMode::ReadWrite).await
    }

    /// Opens one of its files and makes it if it is not there.
    pub(crate) async fn open_or_create(self: &Arc<Self>, kind: FileKind) -> io::Result<File> {
        if kind == FileKind::TransactionIndex {
            self.aborts.store(ABORTS_SOME, Ordering::Release);
        }
        self.files.open(self, kind, OpenMode::Create).await
    }

    /// Whether no index entry waits in memory.
    pub(crate) fn are_indexes_written(&self) -> bool {
        let state = self.state();
        state.offset_index.is_written() && state.time_index.is_written()
    }

    /// Writes the pending entries of both indexes to their files. A full disk leaves them pending.
    pub(crate) async fn write_indexes(self: &Arc<Self>) -> io::Result<()> {
        let (position, bytes, count) = {
            let state = self.state();
            let (position, bytes) = state.offset_index.to_write();
            (position, bytes, state.offset_index.pending().len())
        };
        if count > 0 {
            self.write_index(FileKind::OffsetIndex, position, bytes)
                .await?;
            self.state().offset_index.wrote(count);
        }
        let (position, bytes, count) = {
            let state = self.state();
            let (position, bytes) = state.time_index.to_write();
            (position, bytes, state.time_index.pending().len())
        };
        if count > 0 {
            self.write_index(FileKind::TimeIndex, position, bytes)
                .await?;
            self.state().time_index.wrote(count);
        }
        Ok(())
    }

    /// Makes the files of both indexes if they are not there.
    pub(crate) async fn make_indexes(self: &Arc<Self>) -> io::Result<()> {
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            self.open_or_create(kind).await?;
        }
        Ok(())
    }

    async fn write_index(
        self: &Arc<Self>,
        kind: FileKind,
        position: u64,
        bytes: Bytes,
    ) -> io::Result<()> {
        let file = self.open_or_create(kind).await?;
        // What a crash or a rebuilding left behind must not stand after the entries.
        if file.len()? > position {
            file.set_len(position).await?;
        }
        file.write_at(position, vec![bytes]).await
    }

    /// The entries `range` of an index file.
    pub(crate) async fn read_index<E: Entry>(
        self: &Arc<Self>,
        kind: FileKind,
        from: u32,
        count: u32,
    ) -> io::Result<Vec<E>> {
        let file = self.open(kind).await?;
        let position = u64::from(from) * E::SIZE_BYTES as u64;
        let bytes = file
            .read_at(position, count as usize * E::SIZE_BYTES)
            .await?;
        Ok(crate::index::decode_entries(&bytes).collect())
    }

    /// Every aborted transaction of the segment, in order of their markers.
    pub(crate) async fn read_aborted(self: &Arc<Self>) -> io::Result<Vec<AbortedTransaction>> {
        if self.aborts.load(Ordering::Acquire) == ABORTS_NONE {
            return Ok(Vec::new());
        }
        let file = match self.open(FileKind::TransactionIndex).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.note_no_aborts();
                return Ok(Vec::new());
            }
            file => file?,
        };
        let length = usize::try_from(file.len()?).expect("an index fits into memory");
        let bytes = file.read_at(0, length).await?;
        Ok(crate::index::decode_entries(&bytes).collect())
    }

    /// Nobody need look again, unless somebody has made the file meanwhile.
    fn note_no_aborts(&self) {
        let (from, to) = (ABORTS_UNKNOWN, ABORTS_NONE);
        let _ = self
            .aborts
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let open = self.slots.iter().filter(|slot| slot.close()).count();
        self.files.dropped(open);
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Segment({}, {} bytes)",
            self.base_offset,
            self.size_bytes()
        )
    }
}
