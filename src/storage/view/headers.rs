//! The headers of a log's batches, one after the other.

use bytes::Bytes;
use protocol::records::{Batch, BatchHeader};
use types::Offset;

use super::LogView;
use crate::error::ReadError;
use crate::segment_reader::SegmentReader;

/// A batch that a scan has come to.
#[derive(Clone, Debug)]
pub struct ScannedBatch {
    /// Its header.
    pub header: BatchHeader,
    /// The batch itself, if it holds a control record.
    pub control: Option<Batch>,
}

/// A walk over the headers of a log, from [`LogView::scan_headers`].
#[derive(Debug)]
pub struct HeaderScan {
    view: LogView,
    segment: usize,
    position: u64,
    next_offset: Offset,
    /// Bytes read ahead, and where they are from.
    chunk: Bytes,
    chunk_position: u64,
    chunk_bytes: usize,
    is_located: bool,
}

impl LogView {
    /// The batches of the log from the one that holds `from_offset` on: to rebuild what is derived from them.
    ///
    /// # Errors
    /// [`ReadError::OffsetOutOfRange`], [`ReadError::Replaced`].
    pub fn scan_headers(&self, from_offset: Offset) -> Result<HeaderScan, ReadError> {
        Ok(HeaderScan {
            segment: self.locate(from_offset)?,
            view: self.clone(),
            position: 0,
            next_offset: from_offset,
            chunk: Bytes::new(),
            chunk_position: 0,
            chunk_bytes: 0,
            is_located: false,
        })
    }

    /// Whole batches from the one that holds `from_offset` on, in memory: for those who replay a log. The bounds are
    /// those of [`LogView::read`] with at least one batch.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_batches(
        &self,
        from_offset: Offset,
        upper_offset: Offset,
        max_bytes: u64,
    ) -> Result<Vec<Batch>, ReadError> {
        let found = self
            .read(from_offset, upper_offset, max_bytes, true)
            .await?;
        let mut batches = Vec::new();
        for range in &found.ranges {
            let damaged = |at: u64, reason: String| ReadError::Damaged {
                path: range.file().path().to_owned(),
                position: range.offset() + at,
                reason,
            };
            let bytes = match range.read().await {
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(damaged(0, error.to_string()));
                }
                Err(error) => {
                    return Err(self
                        .directory
                        .fail("reading", range.file().path(), &error)
                        .into());
                }
                Ok(bytes) => bytes,
            };
            let mut walk = protocol::records::batches(bytes);
            while let Some(batch) = walk.next() {
                batches.push(batch.map_err(|error| damaged(walk.position(), error.to_string()))?);
            }
        }
        Ok(batches)
    }
}

impl HeaderScan {
    /// The next batch that begins below the view's end; `None` there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<ScannedBatch>, ReadError> {
        while self.segment < self.view.segments.len() {
            let segment = &self.view.segments[self.segment];
            let end = self.view.end_of(self.segment);
            let mut reader = SegmentReader::new(segment, &self.view.directory, end);
            if !self.is_located {
                self.is_located = true;
                let found = reader.find(self.next_offset).await?;
                self.position = found.map_or(end, |span| span.position);
            }
            reader.restore(
                std::mem::take(&mut self.chunk),
                self.chunk_position,
                self.chunk_bytes,
            );
            if self.position >= end {
                self.segment += 1;
                self.position = 0;
                continue;
            }
            let header = reader.header_at(self.position).await?;
            if header.base_offset >= self.view.log_end_offset {
                return Ok(None);
            }
            let control = match header.is_control() {
                true => Some(reader.bytes_at(self.position, header.size_bytes()).await?),
                false => None,
            };
            let damaged = |error| reader.damaged(self.position, error);
            let control = control
                .map(|bytes| Batch::parse(&bytes).map_err(damaged))
                .transpose()?;
            (self.chunk, self.chunk_position, self.chunk_bytes) = reader.into_chunk();
            self.position += header.size_bytes() as u64;
            return Ok(Some(ScannedBatch { header, control }));
        }
        Ok(None)
    }
}
