//! Walking over the batch headers of a segment.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use protocol::records::{BATCH_HEADER_BYTES, BatchHeader};
use runtime::disk::File;
use types::Offset;

use crate::directory::LogDirectory;
use crate::error::ReadError;
use crate::index::{Entry, OffsetEntry, TimeEntry};
use crate::names::FileKind;
use crate::segment::{BatchSpan, Segment};

/// Bytes read at once where headers are looked for; grows while the walk is sequential.
const CHUNK_BYTES_MIN: usize = 4 << 10;
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Reads headers of a segment up to a bound.
pub(crate) struct SegmentReader<'a> {
    segment: &'a Arc<Segment>,
    directory: &'a LogDirectory,
    /// Where whole batches end, in bytes.
    end: u64,
    file: Option<File>,
    chunk: Bytes,
    chunk_position: u64,
    chunk_bytes: usize,
}

impl<'a> SegmentReader<'a> {
    pub fn new(
        segment: &'a Arc<Segment>,
        directory: &'a LogDirectory,
        end: u64,
    ) -> SegmentReader<'a> {
        SegmentReader {
            segment,
            directory,
            end,
            file: None,
            chunk: Bytes::new(),
            chunk_position: 0,
            chunk_bytes: CHUNK_BYTES_MIN,
        }
    }

    /// Takes over what an earlier reader of this segment has read ahead.
    pub fn restore(&mut self, chunk: Bytes, position: u64, chunk_bytes: usize) {
        self.chunk = chunk;
        self.chunk_position = position;
        self.chunk_bytes = chunk_bytes.max(CHUNK_BYTES_MIN);
    }

    /// What has been read ahead, for [`SegmentReader::restore`].
    pub fn into_chunk(self) -> (Bytes, u64, usize) {
        (self.chunk, self.chunk_position, self.chunk_bytes)
    }

    /// Where whole batches end, in bytes.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What an error of reading means: a file that is gone was taken away, anything else closes the directory.
    pub fn read_error(&self, kind: FileKind, error: &io::Error) -> ReadError {
        if error.kind() == io::ErrorKind::NotFound {
            return ReadError::Replaced;
        }
        ReadError::DirectoryFailed(
            self.directory
                .fail("reading", &self.segment.path(kind), error),
        )
    }

    /// The segment's file.
    pub async fn file(&mut self) -> Result<File, ReadError> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = self.segment.open(FileKind::Log).await;
        let file = file.map_err(|error| self.read_error(FileKind::Log, &error))?;
        self.file = Some(file.clone());
        Ok(file)
    }

    /// `length` bytes at `position`, through the chunk.
    pub async fn bytes_at(&mut self, position: u64, length: usize) -> Result<Bytes, ReadError> {
        let start = position.wrapping_sub(self.chunk_position);
        let in_chunk =
            position >= self.chunk_position && start + length as u64 <= self.chunk.len() as u64;
        if !in_chunk {
            let chunk_end = self.chunk_position + self.chunk.len() as u64;
            let is_sequential =
                !self.chunk.is_empty() && (self.chunk_position..=chunk_end).contains(&position);
            self.chunk_bytes = if is_sequential {
                (self.chunk_bytes * 4).min(CHUNK_BYTES_MAX)
            } else {
                CHUNK_BYTES_MIN
            };
            let room = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
            let wanted = self.chunk_bytes.max(length).min(room);
            let file = self.file().await?;
            let read = file.read_at(position, wanted).await;
            self.chunk = read.map_err(|error| self.read_error(FileKind::Log, &error))?;
            self.chunk_position = position;
        }
        let start = (position - self.chunk_position) as usize;
        if self.chunk.len() < start + length {
            return Err(self.damaged(position, "the file ends inside a batch"));
        }
        Ok(self.chunk.slice(start..start + length))
    }

    pub fn damaged(&self, position: u64, reason: impl ToString) -> ReadError {
        let path = self.segment.path(FileKind::Log);
        ReadError::Damaged {
            path,
            position,
            reason: reason.to_string(),
        }
    }

    /// The header at `position`, which must be that of a batch that ends within the bound.
    pub async fn header_at(&mut self, position: u64) -> Result<BatchHeader, ReadError> {
        let bytes = self.bytes_at(position, BATCH_HEADER_BYTES).await?;
        let header = BatchHeader::parse(&bytes).and_then(|header| header.check().map(|()| header));
        let header = header.map_err(|error| self.damaged(position, error))?;
        if position + header.size_bytes() as u64 > self.end {
            return Err(self.damaged(position, "a batch reaches beyond the end"));
        }
        Ok(header)
    }

    /// Where the batch at `position` is; `None` at the end.
    pub async fn span_at(&mut self, position: u64) -> Result<Option<BatchSpan>, ReadError> {
        if position >= self.end {
            return Ok(None);
        }
        let recent = self.segment.state().recent_at(position);
        if let Some(span) = recent.filter(|span| span.end() <= self.end) {
            return Ok(Some(span));
        }
        let header = self.header_at(position).await?;
        Ok(Some(BatchSpan::of(&header, position)))
    }

    /// The first batch whose last offset is `offset` or more.
    pub async fn find(&mut self, offset: Offset) -> Result<Option<BatchSpan>, ReadError> {
        let recent = self.segment.state().recent_holding(offset);
        if let Some(span) = recent.filter(|span| span.end() <= self.end) {
            return Ok(Some(span));
        }
        let mut position = self.position_below(offset).await?;
        while let Some(span) = self.span_at(position).await? {
            if span.last_offset >= offset {
                return Ok(Some(span));
            }
            position = span.end();
        }
        Ok(None)
    }

    /// A batch's position from which the batch with `offset` can be reached by walking on.
    async fn position_below(&mut self, offset: Offset) -> Result<u64, ReadError> {
        let relative = offset.saturating_sub(self.segment.base_offset());
        let entry = self
            .last_offset_entry(|entry| i64::from(entry.relative_offset) <= relative)
            .await?;
        self.checked_position(entry).await
    }

    /// A batch's position at or below `limit`, as near as the index knows.
    pub async fn position_at_most(&mut self, limit: u64) -> Result<u64, ReadError> {
        let entry = self
            .last_offset_entry(|entry| u64::from(entry.position) <= limit)
            .await?;
        self.checked_position(entry).await
    }

    /// The position of an index entry if the batch there is the one it means; else the start of the segment, for an
    /// index is a hint.
    async fn checked_position(&mut self, entry: Option<OffsetEntry>) -> Result<u64, ReadError> {
        let Some(entry) = entry.filter(|entry| u64::from(entry.position) < self.end) else {
            return Ok(0);
        };
        let position = u64::from(entry.position);
        let last_offset = self.segment.base_offset() + i64::from(entry.relative_offset);
        match self.header_at(position).await {
            Ok(header)
                if header.last_offset() == last_offset
                    || types::plant_chosen!(IndexEntryBehindBatch) =>
            {
                Ok(position)
            }
            Ok(_) | Err(ReadError::Damaged { .. }) => {
                tracing::warn!(path = %self.segment.path(FileKind::OffsetIndex).display(), "wrong index entry");
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    async fn last_offset_entry(
        &mut self,
        wanted: impl Fn(&OffsetEntry) -> bool,
    ) -> Result<Option<OffsetEntry>, ReadError> {
        let (pending, written) = {
            let state = self.segment.state();
            let pending = state.offset_index.pending();
            let index = pending.partition_point(&wanted);
            (
                index.checked_sub(1).map(|index| pending[index]),
                state.offset_index.written(),
            )
        };
        match pending {
            Some(entry) => Ok(Some(entry)),
            None => {
                self.last_entry_in_file(FileKind::OffsetIndex, written, wanted)
                    .await
            }
        }
    }

    /// The last entry of the time index with a timestamp of at most `timestamp`.
    pub async fn time_entry_at_most(
        &mut self,
        timestamp: i64,
    ) -> Result<Option<TimeEntry>, ReadError> {
        let wanted = |entry: &TimeEntry| entry.timestamp <= timestamp;
        let (pending, written) = {
            let state = self.segment.state();
            let pending = state.time_index.pending();
            let index = pending.partition_point(wanted);
            (
                index.checked_sub(1).map(|index| pending[index]),
                state.time_index.written(),
            )
        };
        match pending {
            Some(entry) => Ok(Some(entry)),
            None => {
                self.last_entry_in_file(FileKind::TimeIndex, written, wanted)
                    .await
            }
        }
    }

    /// The last of the first `written` entries of an index file that is `wanted`; those that are stand in front.
    async fn last_entry_in_file<E: Entry>(
        &mut self,
        kind: FileKind,
        written: u32,
        wanted: impl Fn(&E) -> bool,
    ) -> Result<Option<E>, ReadError> {
        const PAGE_ENTRIES: u32 = 512;
        let (mut low, mut high) = (0, written);
        // Down to a page by single probes, then the page at once.
        while high - low > PAGE_ENTRIES {
            let middle = low + (high - low) / 2;
            match self.index_entries::<E>(kind, middle, 1).await?.first() {
                Some(entry) if wanted(entry) => low = middle,
                _ => high = middle,
            }
        }
        if high == low {
            return Ok(None);
        }
        let page = self.index_entries::<E>(kind, low, high - low).await?;
        let index = page.partition_point(wanted);
        Ok(index.checked_sub(1).map(|index| page[index]))
    }

    /// Entries of an index file; fewer, or none, if the file is short or gone: the index is a hint.
    async fn index_entries<E: Entry>(
        &mut self,
        kind: FileKind,
        from: u32,
        count: u32,
    ) -> Result<Vec<E>, ReadError> {
        match self.segment.read_index(kind, from, count).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries.map_err(|error| self.read_error(kind, &error)),
        }
    }
}
