//! TCP.
//!
//! A [`TcpStream`] is shared: its operations take `&self`, and its clones or halves may be used by two tasks of the
//! same core, one that reads and one that writes. Reading and writing try first and wait for readiness only when the
//! socket has nothing to give, so that a busy connection costs one system call per read.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};

use crate::disk::File;
use crate::half;
use crate::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Slices that one vectored write takes at most (Linux's `IOV_MAX` is 1,024; more buys nothing).
const WRITE_SLICES_MAX: usize = 64;

/// How a listener is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Whether several listeners, one per core, share the address (SO_REUSEPORT).
    pub reuse_port: bool,
    /// Connections that may wait to be accepted, 1 or more.
    pub backlog: u32,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            reuse_port: false,
            backlog: 1024,
        }
    }
}

/// A socket that accepts connections.
#[derive(Debug)]
pub struct TcpListener {
    inner: half::net::Listener,
}

impl TcpListener {
    /// Listens on `address`; port 0 lets the system choose. The address may be reused at once after an earlier
    /// listener closed (SO_REUSEADDR).
    ///
    /// # Errors
    /// What the system says: `AddrInUse`, `PermissionDenied`, `AddrNotAvailable`.
    pub async fn bind(address: SocketAddr, options: ListenOptions) -> io::Result<TcpListener> {
        let inner = half::net::Listener::bind(address, options).await?;
        Ok(TcpListener { inner })
    }

    /// The address it listens on, with the port that was chosen.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// Those of one connection that ended before it was accepted (go on), and the lack of descriptors
    /// (`EMFILE`, `ENFILE`: wait a little, then go on).
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (inner, peer) = self.inner.accept().await?;
        Ok((TcpStream::new(inner), peer))
    }
}

/// The addresses of `host` at `port`; `host` is a name or a literal address. In the resolver's order.
///
/// # Errors
/// If the name cannot be resolved.
pub async fn lookup_host(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// A TCP connection. Closed when its last clone and its last half are dropped.
#[derive(Clone, Debug)]
pub struct TcpStream {
    inner: Arc<half::net::Stream>,
}

impl TcpStream {
    fn new(inner: half::net::Stream) -> TcpStream {
        TcpStream {
            inner: Arc::new(inner),
        }
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// `ConnectionRefused` if nobody listens there, and what else the system says. There is no time limit but the
    /// system's: see [`crate::time::timeout`].
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        Ok(TcpStream::new(half::net::Stream::connect(address).await?))
    }

    /// This end's address.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The other end's address.
    ///
    /// # Errors
    /// What the system says, `NotConnected` if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// Whether small writes leave at once (TCP_NODELAY).
    ///
    /// # Errors
    /// What the system says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    /// Reads what is there into the free space of `buffer`; 0 at the end of the stream, or if there is no free space.
    /// A `BytesMut` without any makes itself a little: reserve what you want to read at once.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing yet: await [`TcpStream::readable`].
    pub fn try_read<B: BufMut>(&self, buffer: &mut B) -> io::Result<usize> {
        self.inner.try_read(buffer)
    }

    /// Waits until a read may find something. It may be wrong: the read that follows may still say `WouldBlock`.
    /// One task at a time.
    ///
    /// # Errors
    /// What the system says.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.inner.poll_read_ready(cx)).await
    }

    /// Reads into the free space of `buffer`, waiting until there is something; 0 at the end of the stream.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn read<B: BufMut>(&self, buffer: &mut B) -> io::Result<usize> {
        loop {
            match self.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable().await?,
                result => return result,
            }
        }
    }

    /// Writes as much of `slices`, in order, as the socket takes now; how many bytes that was.
    ///
    /// # Errors
    /// `WouldBlock` if it takes none: await [`TcpStream::writable`].
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.try_write_vectored(slices)
    }

    /// Waits until a write may take something, as [`TcpStream::readable`] does for reads. One task at a time.
    ///
    /// # Errors
    /// What the system says.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.inner.poll_write_ready(cx)).await
    }

    /// Writes all of `parts`, in order, in as few system calls as the socket allows.
    ///
    /// # Errors
    /// Those of the connection; how much was written is then unknown, and the stream is of no more use.
    pub async fn write_all(&self, parts: &[Bytes]) -> io::Result<()> {
        let mut queue = Unwritten::new(parts);
        loop {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES_MAX];
            let count = queue.fill(&mut slices);
            if count == 0 {
                return Ok(());
            }
            match self.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => queue.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes `length_bytes` bytes of `file` from `offset` on. The real half lets the kernel move them (sendfile)
    /// when they are many and in the page cache, and never lets a cold page stop the core.
    ///
    /// # Errors
    /// Those of the connection and of the file; `UnexpectedEof` if the file ends before the range does. How much was
    /// written is then unknown, and the stream is of no more use.
    pub async fn send_file(&self, file: &File, offset: u64, length_bytes: u64) -> io::Result<()> {
        half::net::send_file(self, file, offset, length_bytes).await
    }

    /// Writes a range of `file` by reading it first: the way that works in both halves and for every length.
    pub(crate) async fn send_file_by_copy(
        &self,
        file: &File,
        offset: u64,
        length_bytes: u64,
    ) -> io::Result<()> {
        const PIECE_BYTES_MAX: u64 = 256 << 10;
        let mut sent = 0;
        while sent < length_bytes {
            let piece = (length_bytes - sent).min(PIECE_BYTES_MAX) as usize;
            let bytes = file.read_at(offset + sent, piece).await?;
            if bytes.len() < piece {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.write_all(&[bytes]).await?;
            sent += piece as u64;
        }
        Ok(())
    }

    /// Says that this end writes no more; the other end reads the end of the stream after what was written.
    ///
    /// # Errors
    /// `NotConnected` if the connection is gone.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.inner.shutdown_write()
    }

    /// Two ends for two tasks of this core: one reads, one writes. Each keeps the connection open.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (
            ReadHalf {
                stream: self.clone(),
            },
            WriteHalf { stream: self },
        )
    }

    #[cfg(not(madsim))]
    pub(crate) fn half(&self) -> &half::net::Stream {
        &self.inner
    }

    fn poll_read_shared(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.inner.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::task::ready!(self.inner.poll_read_ready(cx))?;
                }
                result => return Poll::Ready(result.map(drop)),
            }
        }
    }

    fn poll_write_shared(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.inner.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::task::ready!(self.inner.poll_write_ready(cx))?;
                }
                result => return Poll::Ready(result),
            }
        }
    }
}

/// The reading end of a [`TcpStream`].
#[derive(Debug)]
pub struct ReadHalf {
    stream: TcpStream,
}

/// The writing end of a [`TcpStream`].
#[derive(Debug)]
pub struct WriteHalf {
    stream: TcpStream,
}

impl ReadHalf {
    /// The connection, for the operations that both ends share.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl WriteHalf {
    /// The connection, for the operations that both ends share.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

macro_rules! async_read {
    ($type:ty, $stream:ident) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.$stream().poll_read_shared(cx, buffer)
            }
        }
    };
}

macro_rules! async_write {
    ($type:ty, $stream:ident) => {
        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.$stream().poll_write_shared(cx, &[IoSlice::new(bytes)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.$stream().poll_write_shared(cx, slices)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.$stream().shutdown_write())
            }
        }
    };
}

impl TcpStream {
    fn itself(&self) -> &TcpStream {
        self
    }
}

async_read!(TcpStream, itself);
async_write!(TcpStream, itself);
async_read!(ReadHalf, stream);
async_write!(WriteHalf, stream);

/// What is left to write of a list of parts.
struct Unwritten<'a> {
    parts: &'a [Bytes],
    /// Bytes of the first part that are written.
    first_written: usize,
}

impl<'a> Unwritten<'a> {
    fn new(parts: &'a [Bytes]) -> Unwritten<'a> {
        Unwritten {
            parts,
            first_written: 0,
        }
    }

    /// Fills `slices` from the front, leaving out empty parts; how many were filled.
    fn fill(&self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (index, part) in self.parts.iter().enumerate() {
            if count == slices.len() {
                break;
            }
            let rest = if index == 0 {
                &part[self.first_written..]
            } else {
                part.chunk()
            };
            if !rest.is_empty() {
                slices[count] = IoSlice::new(rest);
                count += 1;
            }
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.parts.first() {
            let rest = first.len() - self.first_written;
            if written < rest {
                self.first_written += written;
                return;
            }
            written -= rest;
            self.parts = &self.parts[1..];
            self.first_written = 0;
        }
        assert!(written == 0, "the socket took more than it was given");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_writes_go_on_where_they_stopped() {
        let parts = ["", "abc", "", "de", "f"].map(|part| Bytes::from_static(part.as_bytes()));
        for step in 1..=6 {
            let mut queue = Unwritten::new(&parts);
            let mut seen = Vec::new();
            loop {
                let mut slices = [IoSlice::new(&[]); 2];
                let count = queue.fill(&mut slices);
                if count == 0 {
                    break;
                }
                let offered: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                let taken = offered.len().min(step);
                seen.extend_from_slice(&offered[..taken]);
                queue.advance(taken);
            }
            assert_eq!(seen, b"abcdef", "in steps of {step}");
        }
    }
}
