//! What a handler gives back, and how it becomes a frame.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::wire::{Chunk, EncodeError, Encoder};
use protocol::{ApiKey, Message};
use storage::FileRange;

use crate::metrics::Timing;

/// A piece of a response: bytes in memory, or a range of a segment that is read when the socket takes it.
#[derive(Debug)]
pub enum Piece {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A range of a pinned segment file.
    File(FileRange),
}

impl Piece {
    /// Length in bytes.
    pub fn length_bytes(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File(range) => range.length_bytes() as usize,
        }
    }
}

/// A response body with the file ranges that its external records stand for, by slot.
#[derive(Debug)]
pub struct Reply<R> {
    /// The body.
    pub body: R,
    /// `ranges[slot]` are the ranges of `Records::External { slot, .. }`, in order.
    pub ranges: Vec<Vec<FileRange>>,
}

/// Why a request gets no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoReply {
    /// The protocol asks for none (Produce with acks=0).
    NotExpected,
    /// The connection is closed, for this reason.
    Close(String),
}

/// What a handler gives back.
pub type Outcome<R> = Result<Reply<R>, NoReply>;

/// A body without external records.
pub fn reply<R>(body: R) -> Outcome<R> {
    Ok(Reply {
        body,
        ranges: Vec::new(),
    })
}

/// A response frame ready for the socket.
#[derive(Debug, Default)]
pub struct Frame {
    /// The pieces, length prefix included, in order.
    pub pieces: VecDeque<Piece>,
    /// How long the connection is muted after this answer, in milliseconds (KIP-219).
    pub throttle_time_ms: u32,
    /// When its request passed which point.
    pub timing: Option<Timing>,
}

/// Frames `reply` for `correlation_id` at `version`.
///
/// # Errors
/// If the body holds a value that this version cannot carry.
pub fn encode_frame<R: Message>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    reply: Reply<R>,
) -> Result<Frame, EncodeError> {
    let mut encoder = Encoder::new();
    encoder.reserve_frame_length();
    encoder.int32(correlation_id);
    if protocol::frame::response_header_version(key, version) >= 1 {
        encoder.unsigned_varint(0);
    }
    reply.body.encode(&mut encoder, version)?;
    Ok(frame_of(encoder.finish_frame()?, reply.ranges))
}

fn frame_of(chunks: Vec<Chunk>, ranges: Vec<Vec<FileRange>>) -> Frame {
    let mut ranges: Vec<Option<Vec<FileRange>>> = ranges.into_iter().map(Some).collect();
    let mut pieces = VecDeque::with_capacity(chunks.len());
    for chunk in chunks {
        match chunk {
            Chunk::Bytes(bytes) => pieces.push_back(Piece::Bytes(bytes)),
            Chunk::External(external) => {
                let slot = external.slot as usize;
                let files = ranges[slot].take().expect("each slot is used once");
                let total: usize = files
                    .iter()
                    .map(|range| range.length_bytes() as usize)
                    .sum();
                assert_eq!(
                    total, external.length_bytes as usize,
                    "a slot's length must match"
                );
                pieces.extend(files.into_iter().map(Piece::File));
            }
        }
    }
    Frame {
        pieces,
        throttle_time_ms: 0,
        timing: None,
    }
}
