//! Finding records by time.

use std::sync::Arc;

use protocol::records::{Batch, TimestampType};
use types::Offset;

use super::LogView;
use crate::error::ReadError;
use crate::segment::{BatchSpan, Segment, TimestampOffset};
use crate::segment_reader::SegmentReader;

impl LogView {
    /// The first record, from the log start on and below `upper_offset`, whose timestamp is `timestamp` or later.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn offset_for_timestamp(
        &self,
        timestamp: i64,
        upper_offset: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let upper_offset = upper_offset.min(self.log_end_offset);
        for index in self.locate(self.log_start_offset)?..self.segments.len() {
            let segment = &self.segments[index];
            if segment.base_offset() >= upper_offset {
                break;
            }
            if max_timestamp(segment).timestamp < timestamp {
                continue;
            }
            let is_last = index + 1 == self.segments.len();
            if !is_last && types::planted!(TimeLookupSkipsSegment) {
                continue;
            }
            let mut reader = SegmentReader::new(segment, &self.directory, self.end_of(index));
            // All batches up to this entry's are older.
            let entry = reader
                .time_entry_at_most(timestamp.saturating_sub(1))
                .await?;
            let floor = entry.map_or(segment.base_offset(), |entry| {
                segment.base_offset() + i64::from(entry.relative_offset)
            });
            let mut next = reader.find(floor.max(self.log_start_offset)).await?;
            while let Some(span) = next.filter(|span| span.base_offset < upper_offset) {
                if span.max_timestamp >= timestamp
                    && let Some(found) = self.first_record(&mut reader, span, timestamp).await?
                {
                    return Ok((found.offset < upper_offset).then_some(found));
                }
                next = reader.span_at(span.end()).await?;
            }
        }
        Ok(None)
    }

    /// The largest timestamp of the log below its end and the first record of its batch that has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError> {
        let first = self.locate(self.log_start_offset)?;
        let mut best = TimestampOffset::NONE;
        let mut best_index = first;
        for index in first..self.segments.len() {
            let max = max_timestamp(&self.segments[index]);
            if max.timestamp > best.timestamp {
                (best, best_index) = (max, index);
            }
        }
        if best.timestamp < 0 {
            return Ok(None);
        }
        // What the segments remember may lie outside of the view.
        if best.offset >= self.log_end_offset || best.offset < self.log_start_offset {
            return self.max_timestamp_by_scan().await;
        }
        let segment = &self.segments[best_index];
        let mut reader = SegmentReader::new(segment, &self.directory, self.end_of(best_index));
        match reader.find(best.offset).await? {
            Some(span) => {
                self.first_record(&mut reader, span, span.max_timestamp)
                    .await
            }
            None => Ok(None),
        }
    }

    /// The largest timestamp where the bounds of the view leave out what the segments remember.
    async fn max_timestamp_by_scan(&self) -> Result<Option<TimestampOffset>, ReadError> {
        let mut best: Option<(usize, BatchSpan)> = None;
        for index in self.locate(self.log_start_offset)?..self.segments.len() {
            let mut reader =
                SegmentReader::new(&self.segments[index], &self.directory, self.end_of(index));
            let mut position = 0;
            while let Some(span) = reader.span_at(position).await? {
                position = span.end();
                let is_inside = span.base_offset < self.log_end_offset
                    && span.last_offset >= self.log_start_offset;
                if is_inside && best.is_none_or(|(_, best)| span.max_timestamp > best.max_timestamp)
                {
                    best = Some((index, span));
                }
            }
        }
        let Some((index, span)) = best.filter(|(_, span)| span.max_timestamp >= 0) else {
            return Ok(None);
        };
        let mut reader =
            SegmentReader::new(&self.segments[index], &self.directory, self.end_of(index));
        self.first_record(&mut reader, span, span.max_timestamp)
            .await
    }

    /// The first record of a batch, at or above the log start, with a timestamp of at least `timestamp`.
    async fn first_record(
        &self,
        reader: &mut SegmentReader<'_>,
        span: BatchSpan,
        timestamp: i64,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let bytes = reader
            .bytes_at(span.position, span.size_bytes as usize)
            .await?;
        let batch = Batch::parse(&bytes).map_err(|error| reader.damaged(span.position, error))?;
        if batch.header().timestamp_type() == TimestampType::LogAppendTime {
            // One time for all: the batch's first offset that is still there.
            let offset = span.base_offset.max(self.log_start_offset);
            return Ok(Some(TimestampOffset {
                timestamp: span.max_timestamp,
                offset,
            }));
        }
        for record in batch.records() {
            let record = record.map_err(|error| reader.damaged(span.position, error))?;
            if record.timestamp >= timestamp && record.offset >= self.log_start_offset {
                return Ok(Some(TimestampOffset {
                    timestamp: record.timestamp,
                    offset: record.offset,
                }));
            }
        }
        Ok(None)
    }
}

fn max_timestamp(segment: &Arc<Segment>) -> TimestampOffset {
    segment.state().max_timestamp
}
