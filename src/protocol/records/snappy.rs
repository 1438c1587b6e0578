//! Reads and writes Snappy in the framing of the Java library (xerial).

use bytes::{Buf, Bytes};
use std::io;

fn invalid(detail: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

/// The first bytes of the xerial framing.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and oldest compatible version.
const XERIAL_HEADER_BYTES: usize = 16;
/// Uncompressed bytes of each block that is written.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// A Snappy element of three bytes yields at most 64: more than this per byte cannot be meant.
const SNAPPY_EXPANSION_MAX: usize = 22;

/// Snappy, in xerial framing or as one bare block.
pub(super) struct SnappyReader {
    payload: Bytes,
    framed: bool,
    decoder: snap::raw::Decoder,
    block: Vec<u8>,
    start: usize,
    end: usize,
}

impl SnappyReader {
    /// Reads the framing's header. `block` is a buffer of any size and content.
    pub(super) fn open(mut payload: Bytes, block: Vec<u8>) -> io::Result<SnappyReader> {
        let framed = skip_xerial_header(&mut payload)?;
        let decoder = snap::raw::Decoder::new();
        Ok(SnappyReader {
            payload,
            framed,
            decoder,
            block,
            start: 0,
            end: 0,
        })
    }

    /// Reads on; 0 is the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.start == self.end {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let read = out.len().min(self.end - self.start);
        out[..read].copy_from_slice(&self.block[self.start..self.start + read]);
        self.start += read;
        Ok(read)
    }

    /// The buffer, to be used again.
    pub(super) fn into_block(self) -> Vec<u8> {
        self.block
    }

    fn next_block(&mut self) -> io::Result<bool> {
        if self.payload.is_empty() {
            return Ok(false);
        }
        let block = if self.framed {
            // Streams may follow each other, each with a header.
            skip_xerial_header(&mut self.payload)?;
            let length = self
                .payload
                .try_get_i32()
                .map_err(|_| invalid("cut off in a length"))?;
            let length = usize::try_from(length)
                .ok()
                .filter(|&length| length <= self.payload.len());
            let length = length.ok_or_else(|| invalid("a block's length is out of range"))?;
            self.payload.split_to(length)
        } else {
            std::mem::take(&mut self.payload)
        };
        let length = snap::raw::decompress_len(&block)?;
        if length > block.len().saturating_mul(SNAPPY_EXPANSION_MAX) {
            return Err(invalid("a block says that it is longer than it can be"));
        }
        if self.block.len() < length {
            self.block.resize(length, 0);
        }
        self.start = 0;
        self.end = self.decoder.decompress(&block, &mut self.block[..length])?;
        Ok(true)
    }
}

fn skip_xerial_header(payload: &mut Bytes) -> io::Result<bool> {
    if payload.len() < XERIAL_HEADER_BYTES || !payload.starts_with(&XERIAL_MAGIC) {
        return Ok(false);
    }
    payload.advance(XERIAL_MAGIC.len());
    let version = payload.get_i32();
    let _oldest_compatible = payload.get_i32();
    if version < 1 {
        return Err(invalid("the framing has a version below 1"));
    }
    Ok(true)
}

/// Writes xerial framing.
pub(super) struct SnappyWriter {
    out: Vec<u8>,
    pending: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl SnappyWriter {
    /// Begins a stream behind what is in `out`.
    pub(super) fn open(mut out: Vec<u8>) -> SnappyWriter {
        out.extend_from_slice(&XERIAL_MAGIC);
        out.extend_from_slice(&1i32.to_be_bytes());
        out.extend_from_slice(&1i32.to_be_bytes());
        let pending = Vec::with_capacity(XERIAL_BLOCK_BYTES);
        SnappyWriter {
            out,
            pending,
            encoder: snap::raw::Encoder::new(),
        }
    }

    /// Bytes in the buffer so far.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.out.len()
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.flush_block();
        self.out
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = XERIAL_BLOCK_BYTES - self.pending.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() == XERIAL_BLOCK_BYTES {
                self.flush_block();
            }
        }
    }

    fn flush_block(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let length_at = self.out.len();
        let block_at = length_at + 4;
        self.out.resize(
            block_at + snap::raw::max_compress_len(self.pending.len()),
            0,
        );
        let compressed = self
            .encoder
            .compress(&self.pending, &mut self.out[block_at..]);
        let length = compressed.expect("the buffer has room for the worst case");
        self.out.truncate(block_at + length);
        self.out[length_at..block_at].copy_from_slice(&(length as u32).to_be_bytes());
        self.pending.clear();
    }
}
