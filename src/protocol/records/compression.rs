//! The codecs of batches: how records are packed, and unpacked without trusting them.

use super::BatchError;
use bytes::Bytes;
use bytes::buf::{Buf, Reader};
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
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
    snappy_block: Vec<u8>,
    zstd: Option<raw::Decoder<'static>>,
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
    Snappy(Snappy),
    Lz4(Box<Lz4>),
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
                let block = std::mem::take(&mut scratch.snappy_block);
                Snappy::open(payload, block).map(Codec::Snappy)
            }
            Compression::Lz4 => Lz4::open(payload).map(|lz4| Codec::Lz4(Box::new(lz4))),
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
            Codec::Plain(_) | Codec::Lz4(_) => {}
            Codec::Gzip(mut decoder) => {
                *decoder.get_mut() = Bytes::new().reader();
                scratch.gzip = Some(decoder);
            }
            Codec::Snappy(snappy) => scratch.snappy_block = snappy.block,
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

/// The first bytes of the xerial framing.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and oldest compatible version.
const XERIAL_HEADER_BYTES: usize = 16;
/// Uncompressed bytes of each block that is written.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// A Snappy element of three bytes yields at most 64: more than this per byte cannot be meant.
const SNAPPY_EXPANSION_MAX: usize = 22;

/// Snappy, in xerial framing or as one bare block.
struct Snappy {
    payload: Bytes,
    framed: bool,
    decoder: snap::raw::Decoder,
    block: Vec<u8>,
    start: usize,
    end: usize,
}

impl Snappy {
    fn open(mut payload: Bytes, block: Vec<u8>) -> io::Result<Snappy> {
        let framed = skip_xerial_header(&mut payload)?;
        let decoder = snap::raw::Decoder::new();
        Ok(Snappy {
            payload,
            framed,
            decoder,
            block,
            start: 0,
            end: 0,
        })
    }

    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
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

const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Bit of the frame's flags that says that blocks do not refer to each other.
const LZ4_INDEPENDENT_BLOCKS: u8 = 0x20;
/// Bit of the frame's flags that says that a checksum of the content follows the end mark.
const LZ4_CONTENT_CHECKSUM: u8 = 0x04;

/// One LZ4 frame. Like Kafka's, it must have independent blocks.
struct Lz4 {
    decoder: FrameDecoder<Reader<Bytes>>,
    /// Whether the payload ends with an end mark and what follows it, as far as that can be told from its end.
    ends_with_mark: bool,
    ended: bool,
}

impl Lz4 {
    fn open(payload: Bytes) -> io::Result<Lz4> {
        if !payload.starts_with(&LZ4_MAGIC) {
            return Err(invalid("no LZ4 frame begins here"));
        }
        let flags = *payload
            .get(4)
            .ok_or_else(|| invalid("the frame is cut off"))?;
        if flags & LZ4_INDEPENDENT_BLOCKS == 0 {
            return Err(invalid("the blocks depend on each other"));
        }
        let after_mark = if flags & LZ4_CONTENT_CHECKSUM == 0 {
            0
        } else {
            4
        };
        let mark_at = payload.len().checked_sub(4 + after_mark);
        let ends_with_mark = mark_at.is_some_and(|at| payload.get(at..at + 4) == Some(&[0; 4][..]));
        let decoder = FrameDecoder::new(payload.reader());
        Ok(Lz4 {
            decoder,
            ends_with_mark,
            ended: false,
        })
    }

    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ended || out.is_empty() {
            return Ok(0);
        }
        let read = self.decoder.read(out)?;
        if read > 0 {
            return Ok(read);
        }
        self.ended = true;
        if !self.ends_with_mark {
            return Err(invalid("the frame has no end mark"));
        }
        if self.decoder.get_ref().get_ref().has_remaining() {
            return Err(invalid("bytes follow the frame"));
        }
        Ok(0)
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
    pub(super) fn open(spec: CompressionSpec, mut out: Vec<u8>) -> Compressor {
        match spec.compression {
            Compression::None => Compressor::Plain(out),
            Compression::Gzip => {
                let level = u32::try_from(spec.level)
                    .map_or_else(|_| flate2::Compression::default(), flate2::Compression::new);
                Compressor::Gzip(Box::new(GzEncoder::new(out, level)))
            }
            Compression::Snappy => {
                out.extend_from_slice(&XERIAL_MAGIC);
                out.extend_from_slice(&1i32.to_be_bytes());
                out.extend_from_slice(&1i32.to_be_bytes());
                Compressor::Snappy(Box::new(SnappyWriter {
                    out,
                    pending: Vec::with_capacity(XERIAL_BLOCK_BYTES),
                    encoder: snap::raw::Encoder::new(),
                }))
            }
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
            Compressor::Snappy(writer) => writer.out.len(),
            Compressor::Lz4(encoder) => encoder.get_ref().len(),
            Compressor::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Compressor::Plain(out) => out,
            Compressor::Gzip(encoder) => encoder.finish().expect(TO_MEMORY),
            Compressor::Snappy(mut writer) => {
                writer.flush_block();
                writer.out
            }
            Compressor::Lz4(encoder) => encoder.finish().expect(TO_MEMORY),
            Compressor::Zstd(encoder) => encoder.finish().expect(TO_MEMORY),
        }
    }
}

/// Writes xerial framing, whose header is already in `out`.
pub(super) struct SnappyWriter {
    out: Vec<u8>,
    pending: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl SnappyWriter {
    fn write(&mut self, mut bytes: &[u8]) {
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
