//! Answers on their way to the socket: bytes gathered into vectored writes, long file ranges moved by the kernel.
//!
//! A range of a segment costs no memory while the socket takes nothing, however much of it was asked for.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use runtime::disk::Completion;
use runtime::io::AsyncWrite;
use runtime::net::TcpStream;
use storage::FileRange;

use crate::server::response::Piece;

/// Pieces gathered in one vectored write.
const WRITE_SLICES_MAX: usize = 64;
/// A file range from this size on is sent by itself, without coming into this process's memory, in bytes. A shorter
/// one is read and leaves together with what is around it.
const SEND_FILE_BYTES_MIN: u32 = 64 << 10;
/// No further range is read while so much is in memory for the next write, in bytes.
const GATHER_BYTES_MAX: usize = 128 << 10;

/// A file range on its way.
type Sending = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// What a connection still has to send, in order.
#[derive(Default)]
pub struct Outbox {
    /// The range that leaves now, before everything in `pieces`.
    sending: Option<Sending>,
    pieces: VecDeque<Piece>,
    /// The read of the first file range in `pieces`.
    reading: Option<Completion<Bytes>>,
}

impl Outbox {
    /// Whether everything has been sent.
    pub fn is_empty(&self) -> bool {
        self.sending.is_none() && self.pieces.is_empty()
    }

    /// Adds an answer.
    pub fn push(&mut self, pieces: VecDeque<Piece>) {
        self.pieces.extend(pieces);
    }

    /// Bytes that are held in memory.
    pub fn memory_bytes(&self) -> usize {
        let in_memory = self.pieces.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File(_) => 0,
        });
        in_memory.sum()
    }

    /// Sends what `stream` takes now; says whether that was anything.
    ///
    /// # Errors
    /// Those of the socket and of the segments' files; the connection is then of no more use.
    pub fn poll_send(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut has_sent = false;
        while !self.is_empty() {
            let Poll::Ready(result) = self.poll_send_next(stream, cx) else {
                break;
            };
            result?;
            has_sent = true;
        }
        Ok(has_sent)
    }

    /// One step: a whole long range, or one vectored write.
    fn poll_send_next(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(sending) = &mut self.sending {
            ready!(sending.as_mut().poll(cx))?;
            self.sending = None;
            return Poll::Ready(Ok(()));
        }
        if let Some(range) = self.take_long_range() {
            let stream = stream.clone();
            self.sending = Some(Box::pin(send_range(stream, range)));
            return Poll::Ready(Ok(()));
        }
        // Nothing is read for a socket that takes nothing.
        let mut next = self.pieces.iter().take(WRITE_SLICES_MAX);
        if next.any(is_short_range) {
            ready!(pin!(stream.writable()).poll(cx))?;
            ready!(self.poll_gather(cx))?;
        }
        let written = ready!(self.poll_write(stream, cx))?;
        self.consume(written);
        Poll::Ready(Ok(()))
    }

    /// The front, if it is a range that is sent by itself.
    fn take_long_range(&mut self) -> Option<FileRange> {
        match self.pieces.pop_front()? {
            Piece::File(range) if range.length_bytes() >= SEND_FILE_BYTES_MIN => Some(range),
            piece => {
                self.pieces.push_front(piece);
                None
            }
        }
    }

    /// Reads the short ranges that fit into the next write. Waits for one only if nothing can be written without it.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered_bytes = 0;
        for index in 0..self.pieces.len().min(WRITE_SLICES_MAX) {
            if let Piece::File(range) = &self.pieces[index] {
                if !is_short_range(&self.pieces[index]) || gathered_bytes >= GATHER_BYTES_MAX {
                    break;
                }
                let reading = self.reading.get_or_insert_with(|| range.begin_read());
                let Poll::Ready(read) = Pin::new(reading).poll(cx) else {
                    return if index > 0 {
                        Poll::Ready(Ok(()))
                    } else {
                        Poll::Pending
                    };
                };
                self.reading = None;
                let bytes = read?;
                range.check()?;
                if bytes.len() < range.length_bytes() as usize {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                self.pieces[index] = Piece::Bytes(bytes);
            }
            gathered_bytes += self.pieces[index].length_bytes();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            let Piece::Bytes(bytes) = piece else { break };
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        Pin::new(stream).poll_write_vectored(cx, &slices[..count])
    }

    fn consume(&mut self, mut written: usize) {
        while let Some(Piece::Bytes(bytes)) = self.pieces.front_mut() {
            if bytes.len() > written {
                bytes.advance(written);
                return;
            }
            written -= bytes.len();
            self.pieces.pop_front();
        }
        assert_eq!(written, 0, "no more is written than there was");
    }
}

fn is_short_range(piece: &Piece) -> bool {
    matches!(piece, Piece::File(range) if range.length_bytes() < SEND_FILE_BYTES_MIN)
}

/// Holds the range's segment until all of it is sent.
async fn send_range(stream: TcpStream, range: FileRange) -> io::Result<()> {
    let length_bytes = u64::from(range.length_bytes());
    range.check()?;
    stream
        .send_file(range.file(), range.offset(), length_bytes)
        .await
}
