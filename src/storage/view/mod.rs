//! What readers see of a log: bounded, immutable, usable from every core.

mod headers;
mod time;

use std::sync::Arc;

use types::Offset;

use crate::directory::LogDirectory;
use crate::error::ReadError;
use crate::index::AbortedTransaction;
use crate::names::FileKind;
use crate::range::FileRange;
use crate::segment::{BatchSpan, Segment};
use crate::segment_reader::SegmentReader;

pub use headers::{HeaderScan, ScannedBatch};

/// A look at a log at one moment. Cheap to clone.
///
/// It stays readable while the log goes on; once the log is truncated or removed, reading may end with
/// [`ReadError::Replaced`], and a new view is to be taken.
#[derive(Clone, Debug)]
pub struct LogView {
    pub(crate) segments: Arc<Vec<Arc<Segment>>>,
    pub(crate) directory: LogDirectory,
    pub(crate) log_start_offset: Offset,
    pub(crate) log_end_offset: Offset,
    /// The log end when the view was taken; [`LogView::bounded`] leaves it.
    pub(crate) segments_end_offset: Offset,
    pub(crate) end_position: u64,
}

/// Whole batches found by [`LogView::read`], in order.
#[derive(Clone, Debug, Default)]
pub struct ReadRanges {
    /// Where they are.
    pub ranges: Vec<FileRange>,
    /// Their length in all, in bytes.
    pub length_bytes: u64,
}

/// Bounds of a read.
struct Bounds {
    upper_offset: Offset,
    /// Bytes that may still be taken.
    room_bytes: u64,
    /// The first batch is taken even if it is larger.
    takes_first: bool,
}

impl LogView {
    /// The log directory: a reader that fails on a [`FileRange`] tells it.
    pub fn directory(&self) -> &LogDirectory {
        &self.directory
    }

    /// The first offset of the log.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// The offset at which the next batch may begin.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// The same log, as if it ended at `end_offset`, a batch's boundary (a high watermark, say).
    pub fn bounded(mut self, end_offset: Offset) -> LogView {
        self.log_end_offset = self.log_end_offset.min(end_offset);
        self
    }

    /// Bytes of all batches.
    pub fn size_bytes(&self) -> u64 {
        (0..self.segments.len())
            .map(|index| self.end_of(index))
            .sum()
    }

    /// Finds whole batches from the one that holds `from_offset` on (or the first above it), all of them beginning
    /// below `upper_offset`, at most `max_bytes` long together; the first batch is given even if it is longer, if
    /// `min_one_batch` is set. Nothing is found at the end of the log. No record is read.
    ///
    /// # Errors
    /// [`ReadError`]; an offset equal to the log end is not out of range.
    pub async fn read(
        &self,
        from_offset: Offset,
        upper_offset: Offset,
        max_bytes: u64,
        min_one_batch: bool,
    ) -> Result<ReadRanges, ReadError> {
        let mut found = ReadRanges::default();
        let first_segment = self.locate(from_offset)?;
        let mut bounds = Bounds {
            upper_offset: upper_offset.min(self.log_end_offset),
            room_bytes: max_bytes,
            takes_first: min_one_batch,
        };
        for index in first_segment..self.segments.len() {
            let segment = &self.segments[index];
            let is_done = from_offset.max(segment.base_offset()) >= bounds.upper_offset
                || (bounds.room_bytes == 0 && !bounds.takes_first);
            if is_done
                || !self
                    .read_segment(index, from_offset, &mut bounds, &mut found)
                    .await?
            {
                break;
            }
        }
        Ok(found)
    }

    /// Takes what it can from one segment; says whether the next one may have more.
    async fn read_segment(
        &self,
        index: usize,
        from_offset: Offset,
        bounds: &mut Bounds,
        found: &mut ReadRanges,
    ) -> Result<bool, ReadError> {
        let segment = &self.segments[index];
        let mut reader = SegmentReader::new(segment, &self.directory, self.end_of(index));
        let first = match from_offset <= segment.base_offset() {
            true => reader.span_at(0).await?,
            false => reader.find(from_offset).await?,
        };
        let Some(first) = first else { return Ok(true) };
        if first.base_offset >= bounds.upper_offset {
            return Ok(false);
        }
        if u64::from(first.size_bytes) > bounds.room_bytes && !bounds.takes_first {
            return Ok(false);
        }
        let next_base = self
            .segments
            .get(index + 1)
            .map_or(self.segments_end_offset, |next| next.base_offset());
        let end = last_end(&mut reader, first, bounds, next_base).await?;
        let length = end - first.position;
        let file = reader.file().await?;
        found.ranges.push(FileRange {
            file,
            offset: first.position,
            directory: self.directory.clone(),
            length_bytes: u32::try_from(length).expect("a segment is shorter than 4 GiB"),
            _segment: segment.clone(),
        });
        found.length_bytes += length;
        bounds.room_bytes = bounds.room_bytes.saturating_sub(length);
        bounds.takes_first = false;
        Ok(end == reader.end())
    }

    /// The index of the segment in which to look for `offset`.
    pub(crate) fn locate(&self, offset: Offset) -> Result<usize, ReadError> {
        if self.segments.is_empty() {
            return Err(ReadError::Replaced);
        }
        if offset < self.log_start_offset || offset > self.log_end_offset {
            let (log_start_offset, log_end_offset) = (self.log_start_offset, self.log_end_offset);
            return Err(ReadError::OffsetOutOfRange {
                offset,
                log_start_offset,
                log_end_offset,
            });
        }
        let above = self
            .segments
            .partition_point(|segment| segment.base_offset() <= offset);
        Ok(above.saturating_sub(1))
    }

    /// Where whole batches end in a segment, in bytes.
    pub(crate) fn end_of(&self, index: usize) -> u64 {
        if index + 1 == self.segments.len() {
            return self.end_position;
        }
        self.segments[index].size_bytes()
    }

    /// The aborted transactions that a reader of `from_offset` up to below `upper_offset` must know, in order of
    /// their markers.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn aborted_transactions(
        &self,
        from_offset: Offset,
        upper_offset: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut aborted = Vec::new();
        for segment in &self.segments[self.locate(from_offset)?..] {
            let entries = segment.read_aborted().await.map_err(|error| {
                SegmentReader::new(segment, &self.directory, 0)
                    .read_error(FileKind::TransactionIndex, &error)
            })?;
            for entry in entries {
                if entry.last_offset >= from_offset && entry.first_offset < upper_offset {
                    aborted.push(entry);
                }
                // Whatever is aborted later began at or above its last stable offset.
                if entry.last_stable_offset >= upper_offset {
                    return Ok(aborted);
                }
            }
        }
        Ok(aborted)
    }
}

/// Where the last batch ends that may be taken from the segment, from `first` on.
async fn last_end(
    reader: &mut SegmentReader<'_>,
    first: BatchSpan,
    bounds: &Bounds,
    next_base: Offset,
) -> Result<u64, ReadError> {
    let limit = first.position.saturating_add(bounds.room_bytes);
    if reader.end() <= limit && bounds.upper_offset >= next_base {
        return Ok(reader.end());
    }
    if first.end() >= limit {
        return Ok(first.end());
    }
    if bounds.upper_offset < next_base {
        match reader.find(bounds.upper_offset).await? {
            Some(span) if span.base_offset < bounds.upper_offset && span.end() <= limit => {
                return Ok(span.end());
            }
            Some(span) if span.position <= limit => return Ok(span.position),
            None if reader.end() <= limit => return Ok(reader.end()),
            _ => {}
        }
    }
    // From here on only the room counts.
    let near = reader.position_at_most(limit).await?;
    if near <= first.position {
        return last_end_walking(reader, first, limit).await;
    }
    match reader.span_at(near).await? {
        Some(span) if span.end() <= limit => last_end_walking(reader, span, limit).await,
        // A batch begins there, so the one before it ends there.
        _ => Ok(near),
    }
}

/// Walks on from a batch that is taken, as long as batches fit.
async fn last_end_walking(
    reader: &mut SegmentReader<'_>,
    mut last: BatchSpan,
    limit: u64,
) -> Result<u64, ReadError> {
    while let Some(next) = reader.span_at(last.end()).await? {
        if next.end() > limit {
            break;
        }
        last = next;
    }
    Ok(last.end())
}
