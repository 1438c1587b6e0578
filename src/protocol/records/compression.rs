//! The codecs of batches: how records are packed, and unpacked without trusting them.

use super::BatchError;
use super::lz4::Lz4Reader;
use super::snappy::{SnappyReader, SnappyWriter};
use bytes::Bytes;
use bytes::buf::{Buf, Reader};
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use std::fmt;
use std::io::{self, Read, Write};
use std::ops::RangeInclusive;
use zstd::stream::raw::{self, InBuffer, Operation, OutBuffer};

/// How the records of a batch are compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks in the framing of the Java library (xerial); a bare block is read as well.
    Snappy = 2,
    /// The LZ4 frame format with independent blocks.
    Lz4 = 3,
    /// RFC 8878; needs Produce 7 and Fetch 10.
    Zstd = 4,
}

impl Compression {
    /// Every codec, in order of its code.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The number in a batch's attributes.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The codec with this number; there is none for 5 to 7.
    pub fn from_code(code: u8) -> Option<Compression> {
        Compression::ALL.get(usize::from(code)).copied()
    }

    /// Kafka's name: `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The codec with this name; `uncompressed` means none, as in the topic config `compression.type`.
    pub fn from_name(name: &str) -> Option<Compression> {
        if name == "uncompressed" {
            return Some(Compression::None);
        }
        Compression::ALL
            .into_iter()
            .find(|compression| compression.name() == name)
    }

    /// The levels Kafka allows (`compression.gzip.level` and so on), none if the codec has no levels.
    /// Besides them, gzip takes -1 for its default.
    pub const fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Compression::None | Compression::Snappy => None,
            Compression::Gzip => Some(1..=9),
            Compression::Lz4 => Some(1..=17),
            Compression::Zstd => Some(-131_072..=22),
        }
    }

    /// The level Kafka uses if none is set; 0 if the codec has no levels.
    pub const fn level_default(self) -> i32 {
        match self {
            Compression::None | Compression::Snappy => 0,
            Compression::Gzip => -1,
            Compression::Lz4 => 9,
            Compression::Zstd => 3,
        }
    }
}

/// A codec together with its level.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CompressionSpec {
    compression: Compression,
    level: i32,
}

impl CompressionSpec {
    /// This codec at this level. Our LZ4 encoder has a single level: the value is checked and then ignored. A codec
    /// without levels ignores it.
    ///
    /// # Errors
    /// The level is not one that Kafka allows.
    pub fn with_level(compression: Compression, level: i32) -> Result<Self, LevelOutOfRange> {
        let allowed = match compression.levels() {
            None => true,
            Some(levels) => levels.contains(&level) || level == compression.level_default(),
        };
        if allowed {
            Ok(CompressionSpec { compression, level })
        } else {
            Err(LevelOutOfRange { compression, level })
        }
    }

    /// The codec.
    pub fn compression(self) -> Compression {
        self.compression
    }

    /// The level.
    pub fn level(self) -> i32 {
        self.level
    }
}

impl From<Compression> for CompressionSpec {
    /// The codec at Kafka's default level.
    fn from(compression: Compression) -> CompressionSpec {
        CompressionSpec {
            compression,
            level: compression.level_default(),
        }
    }
}

/// A compression level that Kafka refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} has no level {level}", compression.name())]
pub struct LevelOutOfRange {
    /// The codec.
    pub compression: Compression,
    /// The level that was asked for.
    pub level: i32,
}

/// Buffers and codec state that are used again from batch to batch. One per core is enough.
///
/// It holds no data that matters: dropping it or mixing its users is harmless.
#[derive(Default)]
pub struct Scratch {
    pub(super) window: Vec<u8>,
    gzip: Option<Box<GzDecoder<Reader<Bytes>>>>,
    /// A block of Snappy or LZ4.
    block: Vec<u8>,
    zstd: Option<raw::Decoder<'static>>,
}

/// A block larger than this, which is the largest of LZ4, is not kept from batch to batch.
const BLOCK_KEPT_BYTES_MAX: usize = 4 << 20;

impl Scratch {
    fn keep_block(&mut self, block: Vec<u8>) {
        if block.capacity() <= BLOCK_KEPT_BYTES_MAX {
            self.block = block;
        }
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window_bytes = self.window.capacity();
        f.debug_struct("Scratch")
            .field("window_bytes", &window_bytes)
            .finish_non_exhaustive()
    }
}

/// Compresses `records`, appending to `out`.
pub fn compress(spec: CompressionSpec, records: &[u8], out: Vec<u8>) -> Vec<u8> {
    let mut compressor = Compressor::open(spec, out);
    compressor.write(records);
    compressor.finish()
}

/// Decompresses `payload` into one buffer.
///
/// # Errors
/// [`BatchError::Decompression`] if it is malformed, [`BatchError::DecompressedTooLarge`] as soon as it gives more
/// than `bytes_max`.
pub fn decompress(
    compression: Compression,
    payload: Bytes,
    bytes_max: u64,
) -> Result<Bytes, BatchError> {
    if compression == Compression::None {
        return Ok(payload);
    }
    let mut source = Decompressor::open(compression, payload, &mut Scratch::default())?;
    let mut out = Vec::new();
    let mut end = 0;
    loop {
        out.resize(end + (end / 2).max(8 << 10), 0);
        let read = source.fill(&mut out[end..])?;
        end += read;
        if end as u64 > bytes_max {
            return Err(BatchError::DecompressedTooLarge {
                limit_bytes: bytes_max,
            });
        }
        if read == 0 {
            out.truncate(end);
            return Ok(Bytes::from(out));
        }
    }
}

/// Decompresses one payload, piece by piece, holding only what its codec needs.
pub(super) struct Decompressor {
    compression: Compression,
    codec: Codec,
}

enum Codec {
    Plain(Reader<Bytes>),
    Gzip(Box<GzDecoder<Reader<Bytes>>>),
    Snappy(SnappyReader),
    Lz4(Box<Lz4Reader>),
    Zstd(Zstd),
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor")
            .field("compression", &self.compression)
            .finish()
    }
}

impl Decompressor {
    pub(super) fn open(
        compression: Compression,
        payload: Bytes,
        scratch: &mut Scratch,
    ) -> Result<Decompressor, BatchError> {
        let codec = match compression {
            Compression::None => Ok(Codec::Plain(payload.reader())),
            Compression::Gzip => Ok(Codec::Gzip(open_gzip(payload, scratch.gzip.take()))),
            Compression::Snappy => {
                let block = std::mem::take(&mut scratch.block);
                SnappyReader::open(payload, block).map(Codec::Snappy)
            }
            Compression::Lz4 => {
                let block = std::mem::take(&mut scratch.block);
                Lz4Reader::open(payload, block).map(|lz4| Codec::Lz4(Box::new(lz4)))
            }
            Compression::Zstd => Zstd::open(payload, scratch.zstd.take()).map(Codec::Zstd),
        };
        match codec {
            Ok(codec) => Ok(Decompressor { compression, codec }),
            Err(error) => Err(BatchError::Decompression {
                compression,
                detail: error.to_string(),
            }),
        }
    }

    /// Gives buffers and state back for the next payload.
    pub(super) fn close(self, scratch: &mut Scratch) {
        match self.codec {
            Codec::Plain(_) => {}
            Codec::Lz4(lz4) => scratch.keep_block(lz4.into_block()),
            Codec::Gzip(mut decoder) => {
                *decoder.get_mut() = Bytes::new().reader();
                scratch.gzip = Some(decoder);
            }
            Codec::Snappy(snappy) => scratch.keep_block(snappy.into_block()),
            Codec::Zstd(zstd) => scratch.zstd = Some(zstd.decoder),
        }
    }

    pub(super) fn compression(&self) -> Compression {
        self.compression
    }
}

impl Read for Decompressor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.codec {
            Codec::Plain(reader) => reader.read(out),
            Codec::Gzip(decoder) => read_gzip(decoder, out),
            Codec::Snappy(snappy) => snappy.read(out),
            Codec::Lz4(lz4) => lz4.read(out),
            Codec::Zstd(zstd) => zstd.read(out),
        }
    }
}

fn invalid(detail: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

fn open_gzip(
    payload: Bytes,
    decoder: Option<Box<GzDecoder<Reader<Bytes>>>>,
) -> Box<GzDecoder<Reader<Bytes>>> {
    match decoder {
        None => Box::new(GzDecoder::new(payload.reader())),
        Some(mut decoder) => {
            decoder.reset(payload.reader());
            decoder
        }
    }
}

/// Reads on through all members of a gzip stream.
fn read_gzip(decoder: &mut GzDecoder<Reader<Bytes>>, out: &mut [u8]) -> io::Result<usize> {
    loop {
        let read = decoder.read(out)?;
        if read > 0 || out.is_empty() || !decoder.get_ref().get_ref().has_remaining() {
            return Ok(read);
        }
        let rest = std::mem::replace(decoder.get_mut(), Bytes::new().reader());
        decoder.reset(rest);
    }
}

/// A sequence of Zstandard frames.
struct Zstd {
    payload: Bytes,
    decoder: raw::Decoder<'static>,
    /// Whether no frame is open.
    between_frames: bool,
}

impl Zstd {
    fn open(payload: Bytes, decoder: Option<raw::Decoder<'static>>) -> io::Result<Zstd> {
        let mut decoder = match decoder {
            Some(decoder) => decoder,
            None => raw::Decoder::new()?,
        };
        decoder.reinit()?;
        Ok(Zstd {
            payload,
            decoder,
            between_frames: true,
        })
    }

    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.payload.is_empty() && self.between_frames {
                return Ok(0);
            }
            let mut input = InBuffer::around(&self.payload);
            let mut output = OutBuffer::around(&mut *out);
            let hint = self.decoder.run(&mut input, &mut output)?;
            let (consumed, produced) = (input.pos(), output.pos());
            self.payload.advance(consumed);
            self.between_frames = hint == 0;
            if produced > 0 {
                return Ok(produced);
            }
            if self.payload.is_empty() && !self.between_frames {
                return Err(invalid("the frame is cut off"));
            }
            if consumed == 0 && !self.between_frames {
                return Err(invalid("the frame makes no progress"));
            }
        }
    }
}

/// Compresses one payload, piece by piece, behind what is already in the buffer.
pub(super) enum Compressor {
    Plain(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Snappy(Box<SnappyWriter>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

const TO_MEMORY: &str = "compressing into memory does not fail";

impl Compressor {
    pub(super) fn open(spec: CompressionSpec, out: Vec<u8>) -> Compressor {
        match spec.compression {
            Compression::None => Compressor::Plain(out),
            Compression::Gzip => {
                let level = u32::try_from(spec.level)
                    .map_or_else(|_| flate2::Compression::default(), flate2::Compression::new);
                Compressor::Gzip(Box::new(GzEncoder::new(out, level)))
            }
            Compression::Snappy => Compressor::Snappy(Box::new(SnappyWriter::open(out))),
            Compression::Lz4 => {
                let frame = FrameInfo::new()
                    .block_mode(BlockMode::Independent)
                    .block_size(BlockSize::Max64KB);
                Compressor::Lz4(Box::new(FrameEncoder::with_frame_info(frame, out)))
            }
            Compression::Zstd => {
                let encoder = zstd::stream::write::Encoder::new(out, spec.level);
                Compressor::Zstd(encoder.expect(TO_MEMORY))
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        match self {
            Compressor::Plain(out) => out.extend_from_slice(bytes),
            Compressor::Gzip(encoder) => encoder.write_all(bytes).expect(TO_MEMORY),
            Compressor::Snappy(writer) => writer.write(bytes),
            Compressor::Lz4(encoder) => encoder.write_all(bytes).expect(TO_MEMORY),
            Compressor::Zstd(encoder) => encoder.write_all(bytes).expect(TO_MEMORY),
        }
    }

    /// Bytes in the buffer so far; the codec may hold some back.
    pub(super) fn buffered_bytes(&self) -> usize {
        match self {
            Compressor::Plain(out) => out.len(),
            Compressor::Gzip(encoder) => encoder.get_ref().len(),
            Compressor::Snappy(writer) => writer.buffered_bytes(),
            Compressor::Lz4(encoder) => encoder.get_ref().len(),
            Compressor::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Compressor::Plain(out) => out,
            Compressor::Gzip(encoder) => encoder.finish().expect(TO_MEMORY),
            Compressor::Snappy(writer) => writer.finish(),
            Compressor::Lz4(encoder) => encoder.finish().expect(TO_MEMORY),
            Compressor::Zstd(encoder) => encoder.finish().expect(TO_MEMORY),
        }
    }
}
