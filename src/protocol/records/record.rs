//! Records, with their key, value and headers.

use super::compression::{Compression, Decompressor, Scratch};
use super::scan::{Layout, WINDOW_BYTES, layout, read_length, read_record_length};
use super::varint::read_varint;
use super::{Batch, BatchError, RecordFault, TimestampType};
use bytes::{Bytes, BytesMut};
use types::Offset;

/// A header of a record. Keys may repeat; their order is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// The key, UTF-8 by convention.
    pub key: Bytes,
    /// The value, none if it is null.
    pub value: Option<Bytes>,
}

/// A record. All its bytes are shared with what it was read from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// The record's offset in its partition.
    pub offset: Offset,
    /// Milliseconds since 1970: the client's, or the time of appending if the batch says so.
    pub timestamp: i64,
    /// The key, none if it is null.
    pub key: Option<Bytes>,
    /// The value, none if it is null.
    pub value: Option<Bytes>,
    /// The headers in their order.
    pub headers: Vec<Header>,
}

/// Iterates over the records of a batch, see [`Batch::records`].
#[derive(Debug)]
pub struct Records {
    base_offset: Offset,
    base_timestamp: i64,
    log_append_time: Option<i64>,
    record_count: i32,
    next_index: u32,
    source: Source,
    /// Decompressed or plain bytes that hold the next records.
    block: Bytes,
    /// Where in the block the next record begins.
    position: usize,
    decompressed: u64,
    limit: u64,
    ended: bool,
}

#[derive(Debug)]
enum Source {
    Plain,
    Unopened(Batch),
    Compressed(Box<Decompressor>),
}

impl Records {
    pub(super) fn new(batch: &Batch, decompressed_bytes_max: u64) -> Records {
        let header = batch.header();
        let plain = header.compression() == Ok(Compression::None);
        let stamped = header.timestamp_type() == TimestampType::LogAppendTime;
        Records {
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            log_append_time: stamped.then_some(header.max_timestamp),
            record_count: header.record_count,
            next_index: 0,
            source: if plain {
                Source::Plain
            } else {
                Source::Unopened(batch.clone())
            },
            block: if plain {
                batch.record_bytes()
            } else {
                Bytes::new()
            },
            position: 0,
            decompressed: 0,
            limit: decompressed_bytes_max,
            ended: false,
        }
    }

    fn advance(&mut self) -> Result<Option<Record>, BatchError> {
        let index = self.next_index;
        if i64::from(index) >= i64::from(self.record_count) {
            if self.position == self.block.len() && !self.grow(0)? {
                return Ok(None);
            }
            return Err(BatchError::BytesAfterRecords {
                record_count: self.record_count,
            });
        }
        self.next_index += 1;
        let at_index = |fault| BatchError::Record { index, fault };
        loop {
            let mut body_at = self.position;
            let length = read_record_length(&self.block, &mut body_at).map_err(at_index)?;
            let end = length.map(|length| body_at + length);
            if let Some(end) = end
                && let Some(body) = self.block.get(body_at..end)
            {
                let layout = layout(index, body).map_err(at_index)?;
                self.position = end;
                return self.record(body_at, &layout).map(Some).map_err(at_index);
            }
            if !self.grow(end.map_or(0, |end| end - self.position))? {
                let fault = match (&self.source, length) {
                    (Source::Plain, Some(length)) => RecordFault::LengthOutOfRange(length as i32),
                    _ => RecordFault::Truncated,
                };
                return Err(at_index(fault));
            }
        }
    }

    /// Puts more decompressed bytes behind those of the block, `wanted` in all if there are so many; false if there
    /// are none.
    fn grow(&mut self, wanted: usize) -> Result<bool, BatchError> {
        if let Source::Unopened(batch) = &self.source {
            let compression = batch.header().compression()?;
            let mut scratch = Scratch::default();
            let opened = Decompressor::open(compression, batch.record_bytes(), &mut scratch)?;
            self.source = Source::Compressed(Box::new(opened));
        }
        let Source::Compressed(source) = &mut self.source else {
            return Ok(false);
        };
        // What a record claims to need is reserved only as far as it turns out to be there.
        let carried = self.block.len() - self.position;
        let room = wanted
            .saturating_sub(carried)
            .clamp(WINDOW_BYTES, WINDOW_BYTES.max(carried));
        let mut block = BytesMut::zeroed(carried + room);
        block[..carried].copy_from_slice(&self.block[self.position..]);
        let mut end = carried;
        while end < block.len() {
            let read = source.fill(&mut block[end..])?;
            if read == 0 {
                break;
            }
            self.decompressed += read as u64;
            if self.decompressed > self.limit {
                return Err(BatchError::DecompressedTooLarge {
                    limit_bytes: self.limit,
                });
            }
            end += read;
        }
        block.truncate(end);
        self.block = block.freeze();
        self.position = 0;
        Ok(end > carried)
    }

    fn record(&self, body_at: usize, layout: &Layout) -> Result<Record, RecordFault> {
        let shape = &layout.shape;
        let timestamp = self.base_timestamp.wrapping_add(shape.timestamp_delta);
        Ok(Record {
            offset: self.base_offset.wrapping_add(i64::from(shape.offset_delta)),
            timestamp: self.log_append_time.unwrap_or(timestamp),
            key: part(&self.block, body_at + layout.key_at, shape.key_bytes),
            value: part(&self.block, body_at + layout.value_at, shape.value_bytes),
            headers: headers(&self.block, body_at + layout.headers_at, shape.header_count)?,
        })
    }
}

fn part(block: &Bytes, at: usize, length: Option<u32>) -> Option<Bytes> {
    length.map(|length| block.slice(at..at + length as usize))
}

fn headers(block: &Bytes, at: usize, count: u32) -> Result<Vec<Header>, RecordFault> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut headers = Vec::with_capacity(count as usize);
    let mut position = at;
    for _ in 0..count {
        let key_bytes = read_varint(block, &mut position)? as usize;
        let key = block.slice(position..position + key_bytes);
        position += key_bytes;
        let value_bytes = read_length(block, &mut position)?;
        let value = part(block, position, value_bytes);
        position += value_bytes.unwrap_or(0) as usize;
        headers.push(Header { key, value });
    }
    Ok(headers)
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Result<Record, BatchError>> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
