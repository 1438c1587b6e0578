//! Walks the records of a batch without building them.

use super::compression::{Compression, Decompressor, Scratch};
use super::varint::{VarintError, read_varint, read_varlong};
use super::{BATCH_HEADER_BYTES, Batch, BatchError, RecordFault};
use std::io::Read;
use std::ops::ControlFlow;

/// Bytes that are decompressed at a time; records up to this size are seen whole.
pub(super) const WINDOW_BYTES: usize = 64 << 10;
/// More than any number in a record takes.
const NUMBER_BYTES_MAX: usize = 10;

/// What a record is like, without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordShape {
    /// Index in the batch, from 0.
    pub index: u32,
    /// The record's own attributes, unused so far.
    pub attributes: i8,
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Offset after the batch's base offset.
    pub offset_delta: i32,
    /// Length of the key in bytes, none if it is null.
    pub key_bytes: Option<u32>,
    /// Length of the value in bytes, none if it is null.
    pub value_bytes: Option<u32>,
    /// Headers of the record.
    pub header_count: u32,
}

/// Where the parts of a record are, as positions in its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub shape: RecordShape,
    pub key_at: usize,
    pub value_at: usize,
    pub headers_at: usize,
}

impl From<VarintError> for RecordFault {
    fn from(error: VarintError) -> RecordFault {
        match error {
            VarintError::Truncated => RecordFault::Truncated,
            VarintError::TooLong => RecordFault::NumberTooLong,
        }
    }
}

/// Reads the body of a record: everything after its length.
#[inline(always)]
pub(super) fn layout(index: u32, body: &[u8]) -> Result<Layout, RecordFault> {
    let mut position = 1;
    let attributes = *body.first().ok_or(RecordFault::Truncated)? as i8;
    let timestamp_delta = read_varlong(body, &mut position)?;
    let offset_delta = read_varint(body, &mut position)?;
    let key_bytes = read_length(body, &mut position)?;
    let key_at = position;
    position = end_of(body, position, key_bytes)?;
    let value_bytes = read_length(body, &mut position)?;
    let value_at = position;
    position = end_of(body, position, value_bytes)?;
    let header_count = read_varint(body, &mut position)?;
    let headers_at = position;
    if header_count != 0 {
        position = skip_headers(body, position, header_count)?;
    }
    if position != body.len() {
        return Err(RecordFault::LengthMismatch(body.len() as i32));
    }
    let shape = RecordShape {
        index,
        attributes,
        timestamp_delta,
        offset_delta,
        key_bytes,
        value_bytes,
        header_count: header_count as u32,
    };
    Ok(Layout {
        shape,
        key_at,
        value_at,
        headers_at,
    })
}

#[inline]
fn skip_headers(body: &[u8], mut position: usize, count: i32) -> Result<usize, RecordFault> {
    let left = body.len() - position;
    if count < 0 || count as usize > left / 2 {
        return Err(RecordFault::HeaderCountOutOfRange(count));
    }
    for _ in 0..count {
        let key_bytes = read_varint(body, &mut position)?;
        if key_bytes < 0 {
            return Err(RecordFault::HeaderKeyLengthOutOfRange(key_bytes));
        }
        position = end_of(body, position, Some(key_bytes as u32))?;
        let value_bytes = read_length(body, &mut position)?;
        position = end_of(body, position, value_bytes)?;
    }
    Ok(position)
}

/// A length of which every negative one means null, as Kafka reads it.
#[inline(always)]
pub(super) fn read_length(body: &[u8], position: &mut usize) -> Result<Option<u32>, RecordFault> {
    Ok(u32::try_from(read_varint(body, position)?).ok())
}

#[inline(always)]
fn end_of(body: &[u8], position: usize, length: Option<u32>) -> Result<usize, RecordFault> {
    let end = position + length.unwrap_or(0) as usize;
    if end > body.len() {
        Err(RecordFault::Truncated)
    } else {
        Ok(end)
    }
}

/// Reads a record's length at `*position` and moves past it; none if the number is cut off.
#[inline(always)]
pub(super) fn read_record_length(
    bytes: &[u8],
    position: &mut usize,
) -> Result<Option<usize>, RecordFault> {
    match read_varint(bytes, position) {
        Ok(length) => match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) => Err(RecordFault::LengthOutOfRange(length)),
        },
        Err(VarintError::Truncated) => Ok(None),
        Err(VarintError::TooLong) => Err(RecordFault::NumberTooLong),
    }
}

/// Takes decompressed bytes as they come.
pub(super) type Tee<'a> = &'a mut dyn FnMut(&[u8]);

/// Visits the records of `batch`, and gives all their decompressed bytes to `tee`.
pub(super) fn scan(
    batch: &Batch,
    scratch: &mut Scratch,
    decompressed_bytes_max: u64,
    tee: Option<Tee<'_>>,
    visit: impl FnMut(&RecordShape) -> ControlFlow<()>,
) -> Result<(), BatchError> {
    let count = batch.header().record_count;
    let compression = batch.header().compression()?;
    if compression == Compression::None {
        let records = &batch.bytes()[BATCH_HEADER_BYTES..];
        if let Some(tee) = tee {
            tee(records);
        }
        return scan_slice(records, count, visit);
    }
    let mut window = Window::open(batch, compression, scratch, decompressed_bytes_max, tee)?;
    let result = scan_window(&mut window, count, visit);
    window.close(scratch);
    result
}

fn record_error(index: u32, fault: RecordFault) -> BatchError {
    BatchError::Record { index, fault }
}

fn scan_slice(
    bytes: &[u8],
    count: i32,
    mut visit: impl FnMut(&RecordShape) -> ControlFlow<()>,
) -> Result<(), BatchError> {
    let mut position = 0;
    for index in 0..count.max(0) as u32 {
        let layout =
            slice_record(index, bytes, &mut position).map_err(|f| record_error(index, f))?;
        if visit(&layout.shape).is_break() {
            return Ok(());
        }
    }
    if position != bytes.len() {
        return Err(BatchError::BytesAfterRecords {
            record_count: count,
        });
    }
    Ok(())
}

#[inline(always)]
fn slice_record(index: u32, bytes: &[u8], position: &mut usize) -> Result<Layout, RecordFault> {
    let length = read_record_length(bytes, position)?.ok_or(RecordFault::Truncated)?;
    let left = &bytes[*position..];
    let body = left
        .get(..length)
        .ok_or(RecordFault::LengthOutOfRange(length as i32))?;
    *position += length;
    layout(index, body)
}

fn scan_window(
    window: &mut Window<'_>,
    count: i32,
    mut visit: impl FnMut(&RecordShape) -> ControlFlow<()>,
) -> Result<(), BatchError> {
    for index in 0..count.max(0) as u32 {
        let shape = window_record(index, window)?;
        if visit(&shape).is_break() {
            return Ok(());
        }
    }
    if window.buffered().is_empty() && window.fill(1)? == 0 {
        return Ok(());
    }
    Err(BatchError::BytesAfterRecords {
        record_count: count,
    })
}

fn window_record(index: u32, window: &mut Window<'_>) -> Result<RecordShape, BatchError> {
    let at_index = |fault| record_error(index, fault);
    let mut position = 0;
    let mut length = read_record_length(window.buffered(), &mut position).map_err(at_index)?;
    if length.is_none() {
        window.fill(NUMBER_BYTES_MAX)?;
        position = 0;
        length = read_record_length(window.buffered(), &mut position).map_err(at_index)?;
    }
    let length = length.ok_or(at_index(RecordFault::Truncated))?;
    window.consume(position);
    if window.buffered().len() < length && length <= WINDOW_BYTES {
        window.fill(length)?;
    }
    if let Some(body) = window.buffered().get(..length) {
        let layout = layout(index, body).map_err(at_index)?;
        window.consume(length);
        return Ok(layout.shape);
    }
    if length <= WINDOW_BYTES {
        return Err(at_index(RecordFault::Truncated));
    }
    large_record(index, window, length)
}

/// Reads a record that is larger than the window, skipping over its bytes.
fn large_record(
    index: u32,
    window: &mut Window<'_>,
    length: usize,
) -> Result<RecordShape, BatchError> {
    let mut parts = Parts {
        window,
        left: length,
        index,
        length,
    };
    let attributes = parts.number(|bytes, position| {
        *position += 1;
        bytes.first().copied().ok_or(RecordFault::Truncated)
    })?;
    let timestamp_delta = parts.number(|bytes, position| Ok(read_varlong(bytes, position)?))?;
    let offset_delta = parts.number(|bytes, position| Ok(read_varint(bytes, position)?))?;
    let key_bytes = parts.blob()?;
    let value_bytes = parts.blob()?;
    let header_count = parts.number(|bytes, position| Ok(read_varint(bytes, position)?))?;
    if header_count < 0 || header_count as usize > parts.left / 2 {
        return Err(record_error(
            index,
            RecordFault::HeaderCountOutOfRange(header_count),
        ));
    }
    for _ in 0..header_count {
        parts.header()?;
    }
    if parts.left != 0 {
        return Err(record_error(
            index,
            RecordFault::LengthMismatch(length as i32),
        ));
    }
    Ok(RecordShape {
        index,
        attributes: attributes as i8,
        timestamp_delta,
        offset_delta,
        key_bytes,
        value_bytes,
        header_count: header_count as u32,
    })
}

/// The parts of one large record, read one after the other.
struct Parts<'w, 'a> {
    window: &'w mut Window<'a>,
    /// Bytes of the record that are not yet read.
    left: usize,
    index: u32,
    length: usize,
}

impl Parts<'_, '_> {
    fn number<T>(
        &mut self,
        read: impl Fn(&[u8], &mut usize) -> Result<T, RecordFault>,
    ) -> Result<T, BatchError> {
        if self.window.buffered().len() < NUMBER_BYTES_MAX {
            self.window.fill(NUMBER_BYTES_MAX)?;
        }
        let mut position = 0;
        let within = self.window.buffered().len().min(self.left);
        let value = read(&self.window.buffered()[..within], &mut position)
            .map_err(|fault| record_error(self.index, fault))?;
        self.window.consume(position);
        self.left -= position;
        Ok(value)
    }

    fn blob(&mut self) -> Result<Option<u32>, BatchError> {
        let length = self.number(read_length)?;
        self.skip(length.unwrap_or(0) as usize)?;
        Ok(length)
    }

    fn header(&mut self) -> Result<(), BatchError> {
        let key_bytes = self.number(|bytes, position| Ok(read_varint(bytes, position)?))?;
        let Ok(skipped) = usize::try_from(key_bytes) else {
            let fault = RecordFault::HeaderKeyLengthOutOfRange(key_bytes);
            return Err(record_error(self.index, fault));
        };
        self.skip(skipped)?;
        self.blob().map(drop)
    }

    fn skip(&mut self, length: usize) -> Result<(), BatchError> {
        if length > self.left {
            let fault = RecordFault::LengthMismatch(self.length as i32);
            return Err(record_error(self.index, fault));
        }
        self.left -= length;
        let mut to_skip = length;
        loop {
            let taken = to_skip.min(self.window.buffered().len());
            self.window.consume(taken);
            to_skip -= taken;
            if to_skip == 0 {
                return Ok(());
            }
            if self.window.fill(1)? == 0 {
                return Err(record_error(self.index, RecordFault::Truncated));
            }
        }
    }
}

/// A sliding window over the decompressed records.
struct Window<'a> {
    source: Decompressor,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    total: u64,
    limit: u64,
    tee: Option<Tee<'a>>,
}

impl<'a> Window<'a> {
    fn open(
        batch: &Batch,
        compression: Compression,
        scratch: &mut Scratch,
        limit: u64,
        tee: Option<Tee<'a>>,
    ) -> Result<Window<'a>, BatchError> {
        let source = Decompressor::open(compression, batch.record_bytes(), scratch)?;
        let mut buffer = std::mem::take(&mut scratch.window);
        buffer.resize(WINDOW_BYTES + NUMBER_BYTES_MAX, 0);
        Ok(Window {
            source,
            buffer,
            start: 0,
            end: 0,
            total: 0,
            limit,
            tee,
        })
    }

    fn close(self, scratch: &mut Scratch) {
        scratch.window = self.buffer;
        self.source.close(scratch);
    }

    #[inline(always)]
    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    #[inline(always)]
    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end, "only what is buffered is consumed");
    }

    /// Reads until `wanted` bytes are buffered or the source ends; gives how many are.
    fn fill(&mut self, wanted: usize) -> Result<usize, BatchError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < wanted {
            let read = self.source.fill(&mut self.buffer[self.end..])?;
            if read == 0 {
                break;
            }
            self.total += read as u64;
            if self.total > self.limit {
                return Err(BatchError::DecompressedTooLarge {
                    limit_bytes: self.limit,
                });
            }
            if let Some(tee) = &mut self.tee {
                tee(&self.buffer[self.end..self.end + read]);
            }
            self.end += read;
        }
        Ok(self.end)
    }
}

impl Decompressor {
    /// Like [`Read::read`], with the error of a batch.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, BatchError> {
        self.read(buffer)
            .map_err(|error| BatchError::Decompression {
                compression: self.compression(),
                detail: error.to_string(),
            })
    }
}
