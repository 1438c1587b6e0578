//! TCP over madsim's streams.
//!
//! madsim delivers on flush and knows no half close, so every write is flushed and travels as a frame: its length in
//! four bytes, then its bytes; the length 0 says that this end writes no more. Backpressure is missing.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BufMut, BytesMut};
use madsim::net::{TcpListener, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::disk::File;
use crate::net::{ListenOptions, TcpStream as SharedStream};

/// Bytes that one write takes at most, so that callers meet partial writes.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

#[derive(Debug)]
pub(crate) struct Listener {
    inner: TcpListener,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr, _: ListenOptions) -> io::Result<Listener> {
        let inner = TcpListener::bind(address).await?;
        Ok(Listener { inner })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    pub(crate) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (inner, peer) = self.inner.accept().await?;
        Ok((Stream::new(inner), peer))
    }
}

#[derive(Debug)]
pub(crate) struct Stream {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    inner: TcpStream,
    /// What arrived and is not decoded yet.
    frames: BytesMut,
    /// Bytes of the current frame that are still to come.
    frame_rest: usize,
    /// What was decoded and is not read yet.
    arrived: BytesMut,
    /// Whether the other end writes no more.
    ended: bool,
    /// Whether this end writes no more.
    shut: bool,
}

impl Stream {
    fn new(inner: TcpStream) -> Stream {
        Stream {
            state: Mutex::new(State {
                inner,
                frames: BytesMut::new(),
                frame_rest: 0,
                arrived: BytesMut::new(),
                ended: false,
                shut: false,
            }),
        }
    }

    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Stream> {
        Ok(Stream::new(TcpStream::connect(address).await?))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under the lock")
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.lock().inner.local_addr()
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.lock().inner.peer_addr()
    }

    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.lock().inner.set_nodelay(nodelay)
    }

    pub(crate) fn try_read<B: BufMut>(&self, buffer: &mut B) -> io::Result<usize> {
        let mut state = self.lock();
        if state
            .poll_arrived(&mut Context::from_waker(Waker::noop()))?
            .is_pending()
        {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = state.arrived.len().min(buffer.remaining_mut());
        buffer.put(state.arrived.split_to(count));
        Ok(count)
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_arrived(cx)
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.shut {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut frame = BytesMut::zeroed(LENGTH_BYTES);
        for slice in slices {
            let room = WRITE_BYTES_MAX + LENGTH_BYTES - frame.len();
            frame.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let count = frame.len() - LENGTH_BYTES;
        if count > 0 {
            frame[..LENGTH_BYTES].copy_from_slice(&(count as u32).to_be_bytes());
            state.send(&frame)?;
        }
        Ok(count)
    }

    pub(crate) fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.shut {
            return Ok(());
        }
        state.shut = true;
        state.send(&[0; LENGTH_BYTES])
    }
}

impl State {
    /// Ready when there is something to read or nothing will ever come.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.arrived.is_empty() && !self.ended {
            let mut chunk = [0u8; 16 << 10];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                self.ended = true;
            }
            self.frames.extend_from_slice(chunk.filled());
            self.decode();
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what is complete of the frames to what has arrived.
    fn decode(&mut self) {
        loop {
            if self.frame_rest == 0 {
                if self.frames.len() < LENGTH_BYTES {
                    return;
                }
                self.frame_rest = self.frames.get_u32() as usize;
                if self.frame_rest == 0 {
                    self.ended = true;
                    return;
                }
            }
            let count = self.frame_rest.min(self.frames.len());
            if count == 0 {
                return;
            }
            self.arrived.unsplit(self.frames.split_to(count));
            self.frame_rest -= count;
        }
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut inner = Pin::new(&mut self.inner);
        let written = inner.as_mut().poll_write(&mut cx, frame);
        assert!(
            matches!(written, Poll::Ready(Ok(count)) if count == frame.len()),
            "madsim's stream buffers every write whole"
        );
        match inner.poll_flush(&mut cx) {
            Poll::Ready(result) => result,
            Poll::Pending => unreachable!("madsim's flush hands its buffer over at once"),
        }
    }
}

/// See [`SharedStream::send_file`].
pub(crate) async fn send_file(
    stream: &SharedStream,
    file: &File,
    offset: u64,
    length_bytes: u64,
) -> io::Result<()> {
    stream.send_file_by_copy(file, offset, length_bytes).await
}
