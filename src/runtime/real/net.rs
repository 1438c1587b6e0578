//! TCP by tokio, and sendfile.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::BufMut;
use rustix::io::Errno;
use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::TcpSocket;

use crate::disk::File;
use crate::net::{ListenOptions, TcpStream};

/// Below this a read and a write cost less than sendfile and its probes.
const SENDFILE_BYTES_MIN: u64 = 64 << 10;
/// Bytes of one sendfile: how much of a file is probed at a time.
const SENDFILE_PIECE_BYTES_MAX: u64 = 256 << 10;

#[derive(Debug)]
pub(crate) struct Listener {
    inner: tokio::net::TcpListener,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        if options.reuse_port {
            socket.set_reuseport(true)?;
        }
        socket.bind(address)?;
        let inner = socket.listen(options.backlog)?;
        Ok(Listener { inner })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    pub(crate) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (inner, peer) = self.inner.accept().await?;
        Ok((Stream { inner }, peer))
    }
}

#[derive(Debug)]
pub(crate) struct Stream {
    inner: tokio::net::TcpStream,
}

impl Stream {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Stream> {
        let inner = tokio::net::TcpStream::connect(address).await?;
        // Nobody listens, and the system gave this end the very port that it connects to: it met itself.
        if inner.local_addr()? == inner.peer_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Stream { inner })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    pub(crate) fn try_read<B: BufMut>(&self, buffer: &mut B) -> io::Result<usize> {
        let room = buffer.chunk_mut().len();
        let count = self.inner.try_read_buf(buffer)?;
        if 0 < count && count < room {
            self.forget_readable();
        }
        Ok(count)
    }

    /// A read that was not filled has emptied the socket: what comes later raises a new event, and the next read
    /// need not ask the system only to hear that there is nothing.
    fn forget_readable(&self) {
        let nothing = self.inner.try_io(Interest::READABLE, || -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        });
        debug_assert!(nothing.is_err(), "nothing was read");
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_read_ready(cx)
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.try_write_vectored(slices)
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_write_ready(cx)
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.inner, Shutdown::Write)?)
    }

    /// Moves up to `length_bytes` from the file's `offset` to the socket; how many it was.
    fn try_sendfile(&self, file: &File, offset: u64, length_bytes: usize) -> io::Result<usize> {
        self.inner.try_io(Interest::WRITABLE, || {
            let mut position = offset;
            loop {
                match rustix::fs::sendfile(
                    &self.inner,
                    file.half().descriptor(),
                    Some(&mut position),
                    length_bytes,
                ) {
                    Err(Errno::INTR) => {}
                    result => return Ok(result?),
                }
            }
        })
    }
}

/// See [`TcpStream::send_file`].
pub(crate) async fn send_file(
    stream: &TcpStream,
    file: &File,
    offset: u64,
    length_bytes: u64,
) -> io::Result<()> {
    if length_bytes < SENDFILE_BYTES_MIN {
        return stream.send_file_by_copy(file, offset, length_bytes).await;
    }
    let mut sent = 0;
    while sent < length_bytes {
        let piece = (length_bytes - sent).min(SENDFILE_PIECE_BYTES_MAX) as usize;
        // sendfile would wait for the disk on this thread, so what is not in the page cache is fetched by the pool:
        // before each try, because a slow reader may take so long that it leaves the cache again.
        file.half().warm(offset + sent, piece).await?;
        match stream.half().try_sendfile(file, offset + sent, piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => sent += count as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
