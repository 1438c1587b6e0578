//! Reads LZ4 frames.
//!
//! A reader of our own around the block codec, because its buffers must be used again (Go clients ask for 4 MiB a
//! frame), because a tiny payload must not make it reserve them, and because the end of the input is not the end of
//! a frame.

use bytes::{Buf, Bytes};
use std::io;

const FRAME_MAGIC: u32 = 0x184d_2204;
/// The highest bit of a block's length: the block is stored as it is.
const STORED: u32 = 1 << 31;
/// A byte of an LZ4 block yields at most so many.
const EXPANSION_MAX: usize = 255;

/// Bits of a frame's flags.
mod flag {
    pub const DICTIONARY: u8 = 0x01;
    pub const RESERVED: u8 = 0x02;
    pub const CONTENT_CHECKSUM: u8 = 0x04;
    pub const CONTENT_SIZE: u8 = 0x08;
    pub const BLOCK_CHECKSUMS: u8 = 0x10;
    pub const INDEPENDENT_BLOCKS: u8 = 0x20;
    /// The format's version, 1.
    pub const VERSION: u8 = 0xc0;
    pub const VERSION_1: u8 = 0x40;
}

fn invalid(detail: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

fn cut_off() -> io::Error {
    invalid("the frame is cut off")
}

/// One LZ4 frame that fills its payload. Like Kafka's, it must have independent blocks.
pub(super) struct Lz4Reader {
    payload: Bytes,
    block_bytes_max: usize,
    block_checksums: bool,
    content_size: Option<u64>,
    content_checksum: Option<Xxh32>,
    produced: u64,
    ended: bool,
    /// The block in hand, whose bytes from `start` to `end` are still to be read.
    block: Vec<u8>,
    start: usize,
    end: usize,
}

impl Lz4Reader {
    /// Reads the frame's header. `block` is a buffer of any size and content.
    pub(super) fn open(mut payload: Bytes, block: Vec<u8>) -> io::Result<Lz4Reader> {
        let whole = payload.clone();
        if payload.try_get_u32_le().map_err(|_| cut_off())? != FRAME_MAGIC {
            return Err(invalid("no LZ4 frame begins here"));
        }
        let flags = payload.try_get_u8().map_err(|_| cut_off())?;
        check_flags(flags)?;
        let block_bytes_max = match payload.try_get_u8().map_err(|_| cut_off())? {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            0x70 => 4 << 20,
            _ => return Err(invalid("there is no such block size")),
        };
        let content_size = match flags & flag::CONTENT_SIZE {
            0 => None,
            _ => Some(payload.try_get_u64_le().map_err(|_| cut_off())?),
        };
        let descriptor = &whole[4..whole.len() - payload.len()];
        let checksum = payload.try_get_u8().map_err(|_| cut_off())?;
        if (xxh32(descriptor) >> 8) as u8 != checksum {
            return Err(invalid("the header's checksum is wrong"));
        }
        let content_checksum = (flags & flag::CONTENT_CHECKSUM != 0).then(Xxh32::new);
        Ok(Lz4Reader {
            payload,
            block_bytes_max,
            block_checksums: flags & flag::BLOCK_CHECKSUMS != 0,
            content_size,
            content_checksum,
            produced: 0,
            ended: false,
            block,
            start: 0,
            end: 0,
        })
    }

    /// Reads on; 0 is the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.start == self.end {
            if self.ended || out.is_empty() {
                return Ok(0);
            }
            self.next_block()?;
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

    fn next_block(&mut self) -> io::Result<()> {
        let word = self.payload.try_get_u32_le().map_err(|_| cut_off())?;
        let length = (word & !STORED) as usize;
        if length == 0 {
            self.ended = true;
            return self.check_end();
        }
        if length > self.block_bytes_max {
            return Err(invalid("a block is longer than the header allows"));
        }
        if length > self.payload.len() {
            return Err(cut_off());
        }
        let packed = self.payload.split_to(length);
        if self.block_checksums
            && self.payload.try_get_u32_le().map_err(|_| cut_off())? != xxh32(&packed)
        {
            return Err(invalid("a block's checksum is wrong"));
        }
        self.start = 0;
        self.end = self.unpack(&packed, word & STORED != 0)?;
        self.produced += self.end as u64;
        if let Some(checksum) = &mut self.content_checksum {
            checksum.update(&self.block[..self.end]);
        }
        Ok(())
    }

    fn unpack(&mut self, packed: &[u8], stored: bool) -> io::Result<usize> {
        let room = if stored {
            packed.len()
        } else {
            self.block_bytes_max.min(packed.len() * EXPANSION_MAX)
        };
        if self.block.len() < room {
            self.block.resize(room, 0);
        }
        if stored {
            self.block[..room].copy_from_slice(packed);
            return Ok(room);
        }
        lz4_flex::block::decompress_into(packed, &mut self.block[..room])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn check_end(&mut self) -> io::Result<()> {
        if let Some(checksum) = self.content_checksum.take()
            && self.payload.try_get_u32_le().map_err(|_| cut_off())? != checksum.finish()
        {
            return Err(invalid("the content's checksum is wrong"));
        }
        if self.content_size.is_some_and(|size| size != self.produced) {
            return Err(invalid("the content's size is wrong"));
        }
        if self.payload.has_remaining() {
            return Err(invalid("bytes follow the frame"));
        }
        Ok(())
    }
}

fn check_flags(flags: u8) -> io::Result<()> {
    if flags & flag::VERSION != flag::VERSION_1 || flags & flag::RESERVED != 0 {
        return Err(invalid("the frame has another version"));
    }
    if flags & flag::INDEPENDENT_BLOCKS == 0 {
        return Err(invalid("the blocks depend on each other"));
    }
    if flags & flag::DICTIONARY != 0 {
        return Err(invalid("the frame needs a dictionary"));
    }
    Ok(())
}

const PRIMES: [u32; 5] = [
    0x9e37_79b1,
    0x85eb_ca77,
    0xc2b2_ae3d,
    0x27d4_eb2f,
    0x1656_67b1,
];
const STRIPE_BYTES: usize = 16;

/// xxHash of 32 bits with seed 0, the checksum of LZ4 frames.
struct Xxh32 {
    lanes: [u32; 4],
    pending: [u8; STRIPE_BYTES],
    pending_bytes: usize,
    total: u64,
}

fn xxh32(bytes: &[u8]) -> u32 {
    let mut hash = Xxh32::new();
    hash.update(bytes);
    hash.finish()
}

impl Xxh32 {
    fn new() -> Xxh32 {
        let lanes = [
            PRIMES[0].wrapping_add(PRIMES[1]),
            PRIMES[1],
            0,
            0u32.wrapping_sub(PRIMES[0]),
        ];
        Xxh32 {
            lanes,
            pending: [0; STRIPE_BYTES],
            pending_bytes: 0,
            total: 0,
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        if self.pending_bytes > 0 {
            let taken = bytes.len().min(STRIPE_BYTES - self.pending_bytes);
            self.pending[self.pending_bytes..][..taken].copy_from_slice(&bytes[..taken]);
            self.pending_bytes += taken;
            bytes = &bytes[taken..];
            if self.pending_bytes < STRIPE_BYTES {
                return;
            }
            let stripe = self.pending;
            self.stripe(&stripe);
        }
        let (stripes, rest) = bytes.as_chunks::<STRIPE_BYTES>();
        stripes.iter().for_each(|stripe| self.stripe(stripe));
        self.pending[..rest.len()].copy_from_slice(rest);
        self.pending_bytes = rest.len();
    }

    fn stripe(&mut self, stripe: &[u8; STRIPE_BYTES]) {
        let (words, _) = stripe.as_chunks::<4>();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            let mixed = lane.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIMES[1]));
            *lane = mixed.rotate_left(13).wrapping_mul(PRIMES[0]);
        }
    }

    fn finish(&self) -> u32 {
        let [first, second, third, fourth] = self.lanes;
        let mut hash = if self.total < STRIPE_BYTES as u64 {
            PRIMES[4]
        } else {
            first
                .rotate_left(1)
                .wrapping_add(second.rotate_left(7))
                .wrapping_add(third.rotate_left(12))
                .wrapping_add(fourth.rotate_left(18))
        };
        hash = hash.wrapping_add(self.total as u32);
        let (words, bytes) = self.pending[..self.pending_bytes].as_chunks::<4>();
        for word in words {
            hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIMES[2]));
            hash = hash.rotate_left(17).wrapping_mul(PRIMES[3]);
        }
        for byte in bytes {
            hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIMES[4]));
            hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
        }
        hash = (hash ^ (hash >> 15)).wrapping_mul(PRIMES[1]);
        hash = (hash ^ (hash >> 13)).wrapping_mul(PRIMES[2]);
        hash ^ (hash >> 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write;

    #[test]
    fn hashes_are_those_of_the_specification() {
        let cases: [(&[u8], u32); 4] = [
            (b"", 0x02cc_5d05),
            (b"a", 0x550d_7456),
            (b"abc", 0x32d1_53ff),
            (b"Nobody inspects the spammish repetition", 0xe229_3b2f),
        ];
        for (bytes, hash) in cases {
            assert_eq!(xxh32(bytes), hash, "{bytes:?}");
            for cut in 0..bytes.len() {
                let mut pieces = Xxh32::new();
                pieces.update(&bytes[..cut]);
                pieces.update(&bytes[cut..]);
                assert_eq!(pieces.finish(), hash);
            }
        }
    }

    fn frame(info: FrameInfo, plain: &[u8]) -> Bytes {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap().into()
    }

    fn read_all(payload: Bytes) -> io::Result<Vec<u8>> {
        let mut reader = Lz4Reader::open(payload, Vec::new())?;
        let (mut all, mut piece) = (Vec::new(), [0; 1000]);
        loop {
            match reader.read(&mut piece)? {
                0 => return Ok(all),
                read => all.extend_from_slice(&piece[..read]),
            }
        }
    }

    #[test]
    fn every_kind_of_frame_is_read_and_no_cut_one() {
        let plain: Vec<u8> = (0..200_000u32)
            .map(|i| (i.wrapping_mul(i) >> 7) as u8)
            .collect();
        for size in [0, 1, 50, plain.len()] {
            let plain = &plain[..size];
            for kind in 0..32u32 {
                let block_size = match kind & 3 {
                    0 => BlockSize::Max64KB,
                    1 => BlockSize::Max256KB,
                    2 => BlockSize::Max1MB,
                    _ => BlockSize::Max4MB,
                };
                let info = FrameInfo::new()
                    .block_mode(BlockMode::Independent)
                    .block_size(block_size)
                    .block_checksums(kind & 4 != 0)
                    .content_checksum(kind & 8 != 0)
                    .content_size((kind & 16 != 0).then_some(size as u64));
                let payload = frame(info, plain);
                assert_eq!(read_all(payload.clone()).unwrap(), plain, "kind {kind}");
                for cut in (0..payload.len()).rev().take(12) {
                    assert!(
                        read_all(payload.slice(..cut)).is_err(),
                        "kind {kind} cut at {cut}"
                    );
                }
                let longer = [&payload[..], &[0]].concat();
                assert!(read_all(longer.into()).is_err());
            }
        }
    }

    #[test]
    fn checksums_are_believed() {
        let checked = FrameInfo::new()
            .block_checksums(true)
            .content_checksum(true);
        let payload = frame(checked.block_mode(BlockMode::Independent), &[5; 300]);
        for at in 0..payload.len() {
            let mut damaged = payload.to_vec();
            damaged[at] ^= 0x10;
            assert!(read_all(damaged.into()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn linked_blocks_are_refused_as_kafka_refuses_them() {
        let payload = frame(
            FrameInfo::new().block_mode(BlockMode::Linked),
            &[5; 300_000],
        );
        assert!(
            read_all(payload)
                .unwrap_err()
                .to_string()
                .contains("depend")
        );
    }

    /// A frame of a few bytes must not reserve the 4 MiB that its header speaks of.
    #[test]
    fn a_small_frame_takes_a_small_buffer() {
        let info = FrameInfo::new().block_mode(BlockMode::Independent);
        let payload = frame(info.block_size(BlockSize::Max4MB), &[5; 1000]);
        let mut reader = Lz4Reader::open(payload.clone(), Vec::new()).unwrap();
        assert_eq!(reader.read(&mut [0; 2000]).unwrap(), 1000);
        assert!(reader.into_block().capacity() <= payload.len() * EXPANSION_MAX);
    }
}
