//! Listeners and streams: what [`crate::net`] is made of in simulation.
//!
//! A handle whose node was stopped finds nothing any more: it waits for ever and its destructor does nothing.

use std::fmt;
use std::future::{pending, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, Bytes, BytesMut};
use madsim::plugin;

use super::FabricSimulator;
use super::segments::Body;
use super::state::{Connection, End, Event, Life, ListenerState, Phase, Shared, State};
use crate::disk::File;
use crate::net::{ListenOptions, TcpStream as SharedStream};
use crate::simulated::world;

/// The node that an address without a node belongs to.
const NOWHERE: u64 = u64::MAX;
/// The part of a second that a slow reader reads for at once.
const SLOW_READS_PER_SECOND: u64 = 100;

/// The fabric of the current world and the current node.
fn here() -> (Arc<Shared>, u64) {
    let simulator = plugin::simulator::<FabricSimulator>();
    (Arc::clone(&simulator.shared), world::current_node())
}

pub(crate) struct Listener {
    fabric: Arc<Shared>,
    number: u64,
    address: SocketAddr,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.address).finish()
    }
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
        let (fabric, node) = here();
        if !fabric.with(|state| state.begins(node)) {
            pending::<()>().await;
        }
        let (number, address) = fabric.with(|state| state.bind(node, address, options))?;
        Ok(Listener {
            fabric,
            number,
            address,
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    pub(crate) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let accepted =
            poll_fn(|cx| self.fabric.with(|state| state.poll_accept(self.number, cx))).await;
        let stream = Stream {
            fabric: Arc::clone(&self.fabric),
            connection: accepted.connection,
            at: 1,
            local: accepted.local,
            peer: accepted.peer,
        };
        Ok((stream, accepted.peer))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.fabric.with(|state| state.close_listener(self.number));
    }
}

pub(crate) struct Stream {
    fabric: Arc<Shared>,
    connection: u64,
    /// Which end of the connection it is.
    at: usize,
    local: SocketAddr,
    peer: SocketAddr,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("connection", &self.connection)
            .field("local", &self.local)
            .field("peer", &self.peer)
            .finish()
    }
}

impl Stream {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Stream> {
        let (fabric, node) = here();
        if !fabric.with(|state| state.begins(node)) {
            pending::<()>().await;
        }
        let (connection, local) = fabric.with(|state| state.connect(node, address))?;
        let stream = Stream {
            fabric,
            connection,
            at: 0,
            local,
            peer: address,
        };
        poll_fn(|cx| {
            let poll = |state: &mut State| state.poll_connected(connection, cx);
            stream.fabric.with(poll)
        })
        .await?;
        Ok(stream)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }

    /// Every write leaves at once.
    pub(crate) fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn try_read<B: BufMut>(&self, buffer: &mut B) -> io::Result<usize> {
        self.fabric
            .with(|state| state.try_read(self.connection, self.at, buffer))
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fabric
            .with(|state| state.poll_readable(self.connection, self.at, cx))
            .map(Ok)
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.fabric
            .with(|state| state.try_write(self.connection, self.at, slices))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fabric
            .with(|state| state.poll_writable(self.connection, self.at, cx))
            .map(Ok)
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.fabric
            .with(|state| state.shutdown_write(self.connection, self.at))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.fabric
            .with(|state| state.close(self.connection, self.at));
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

struct Accepted {
    connection: u64,
    local: SocketAddr,
    peer: SocketAddr,
}

fn remember(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *place = Some(cx.waker().clone()),
    }
}

impl State {
    /// Whether the node may begin something: not between its stop and its next life.
    fn begins(&mut self, node: u64) -> bool {
        match self.node(node).life {
            Life::Running => true,
            Life::Stopping => false,
            Life::Stopped => {
                self.node_started(node);
                true
            }
        }
    }

    fn bind(
        &mut self,
        node: u64,
        mut address: SocketAddr,
        options: ListenOptions,
    ) -> io::Result<(u64, SocketAddr)> {
        if !self.owns(node, address.ip()) {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        if address.port() == 0 {
            let port = self.free_port(node).ok_or(ErrorKind::AddrInUse)?;
            address.set_port(port);
        }
        let overlaps = |other: IpAddr| {
            other == address.ip() || other.is_unspecified() || address.ip().is_unspecified()
        };
        if self.listeners.values().any(|listener| {
            listener.node == node
                && listener.address.port() == address.port()
                && overlaps(listener.address.ip())
        }) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let number = self.next_id();
        let listener = ListenerState {
            node,
            address,
            backlog: options.backlog.max(1) as usize,
            half_open: Default::default(),
            waiting: Default::default(),
            wakers: Vec::new(),
        };
        self.listeners.insert(number, listener);
        Ok((number, address))
    }

    /// The listener at a node that `address` leads to.
    pub(super) fn listener_at(&self, node: u64, address: SocketAddr) -> Option<u64> {
        let leads = |listener: &ListenerState, ip: IpAddr| {
            listener.node == node
                && listener.address.port() == address.port()
                && listener.address.ip() == ip
        };
        let unspecified = [
            IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::from(Ipv6Addr::UNSPECIFIED),
        ];
        [address.ip()]
            .into_iter()
            .chain(unspecified)
            .find_map(|ip| {
                let mut listeners = self.listeners.iter();
                let found = listeners.find(|(_, listener)| leads(listener, ip));
                found.map(|(&number, _)| number)
            })
    }

    fn poll_accept(&mut self, number: u64, cx: &Context<'_>) -> Poll<Accepted> {
        let Some(listener) = self.listeners.get_mut(&number) else {
            return Poll::Pending;
        };
        let Some(connection) = listener.waiting.pop_front() else {
            let waker = cx.waker();
            if !listener.wakers.iter().any(|other| other.will_wake(waker)) {
                listener.wakers.push(waker.clone());
            }
            return Poll::Pending;
        };
        self.note("accept", connection, 1, None);
        let peer = self.end(connection, 0).address;
        let end = self.end(connection, 1);
        end.phase = Phase::Open;
        Poll::Ready(Accepted {
            connection,
            local: end.address,
            peer,
        })
    }

    fn close_listener(&mut self, number: u64) {
        let Some(listener) = self.listeners.remove(&number) else {
            return;
        };
        for connection in listener.waiting {
            self.send_rst(connection, 1);
            self.gone(connection, 1);
        }
        // Their last word of the handshake will meet a reset.
        for connection in listener.half_open.into_keys() {
            self.gone(connection, 1);
        }
    }

    fn connect(&mut self, node: u64, address: SocketAddr) -> io::Result<(u64, SocketAddr)> {
        let port = self.free_port(node).ok_or(ErrorKind::AddrNotAvailable)?;
        let to_itself = address.ip().is_loopback() || address.ip().is_unspecified();
        let (peer, ip) = match self.addresses.get(&address.ip()) {
            _ if to_itself => (node, address.ip()),
            Some(&peer) => (peer, self.node(node).ip),
            None => (NOWHERE, self.node(node).ip),
        };
        self.take_port(node, port);
        let local = SocketAddr::new(ip, port);
        let number = self.next_id();
        let ends = [
            End::new(node, local, Phase::Connecting),
            End::new(peer, address, Phase::Absent),
        ];
        self.connections.insert(number, Connection { ends });
        self.note("connect", number, 0, None);
        self.send(number, 0, Body::Syn);
        Ok((number, local))
    }

    fn poll_connected(&mut self, connection: u64, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(end) = self.owned(connection, 0) else {
            return Poll::Pending;
        };
        match (end.failure, end.phase) {
            (Some(failure), _) => Poll::Ready(Err(failure.into())),
            (None, Phase::Connecting) => {
                remember(&mut end.writer, cx);
                Poll::Pending
            }
            (None, _) => Poll::Ready(Ok(())),
        }
    }

    /// The end that a handle owns; none if its node was stopped since.
    fn owned(&mut self, connection: u64, at: usize) -> Option<&mut End> {
        let connection = self.connections.get_mut(&connection)?;
        let end = &mut connection.ends[at];
        (end.phase != Phase::Gone).then_some(end)
    }

    /// Bytes that an end may read now, if it is not to wait.
    fn readable_bytes(&mut self, connection: u64, at: usize) -> Option<usize> {
        let now_us = self.now_us();
        let Connection { ends } = &self.connections[&connection];
        let pair = (ends[at].node, ends[1 - at].node);
        let arrived_bytes = ends[at].arrived_bytes;
        match self.slow_readers.get(&pair) {
            _ if arrived_bytes == 0 => None,
            None => Some(arrived_bytes),
            Some(0) => None,
            Some(_) if now_us < ends[at].slow_until_us => None,
            Some(rate) => Some((rate / SLOW_READS_PER_SECOND).max(1) as usize),
        }
    }

    fn try_read<B: BufMut>(
        &mut self,
        connection: u64,
        at: usize,
        buffer: &mut B,
    ) -> io::Result<usize> {
        let room = buffer.chunk_mut().len();
        if room == 0 {
            return Ok(0);
        }
        if self.owned(connection, at).is_none() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let limit = self.readable_bytes(connection, at);
        let end = self.end(connection, at);
        let Some(limit) = limit else {
            return match end.failure {
                _ if end.arrived_bytes > 0 => Err(ErrorKind::WouldBlock.into()),
                _ if end.fin_arrived => Ok(0),
                Some(failure) => Err(failure.into()),
                None => Err(ErrorKind::WouldBlock.into()),
            };
        };
        let mut count = 0;
        while count < room.min(limit) && !end.arrived.is_empty() {
            let piece = &mut end.arrived[0];
            let part = piece.split_to(piece.len().min(room.min(limit) - count));
            if piece.is_empty() {
                end.arrived.pop_front();
            }
            count += part.len();
            buffer.put_slice(&part);
        }
        end.arrived_bytes -= count;
        self.has_read(connection, at, count);
        Ok(count)
    }

    /// Announces what was read when it is half a window, and slows a slow reader down.
    fn has_read(&mut self, connection: u64, at: usize, count: usize) {
        let now_us = self.now_us();
        let Connection { ends } = &self.connections[&connection];
        let (node, peer) = (ends[at].node, ends[1 - at].node);
        let peer_writes = !ends[1 - at].fin_sent;
        if let Some(&rate) = self.slow_readers.get(&(node, peer)) {
            let pause_us = (count as u64 * 1_000_000).div_ceil(rate);
            self.end(connection, at).slow_until_us = now_us + pause_us;
        }
        let window_bytes = self.directed(peer, node).link.window_bytes as usize;
        let end = self.end(connection, at);
        end.unannounced_bytes += count;
        if peer_writes && end.unannounced_bytes >= window_bytes.div_ceil(2) {
            let bytes = std::mem::take(&mut end.unannounced_bytes);
            self.send(connection, at, Body::Credit(bytes));
        }
    }

    fn poll_readable(&mut self, connection: u64, at: usize, cx: &Context<'_>) -> Poll<()> {
        if self.owned(connection, at).is_none() {
            return Poll::Pending;
        }
        let is_readable = self.readable_bytes(connection, at).is_some();
        let now_us = self.now_us();
        let end = self.end(connection, at);
        let nothing_comes = end.arrived_bytes == 0 && (end.fin_arrived || end.failure.is_some());
        if is_readable || nothing_comes {
            return Poll::Ready(());
        }
        remember(&mut end.reader, cx);
        let slow_until_us = end.slow_until_us;
        if now_us < slow_until_us {
            let event = Event::Readable {
                connection,
                end: at,
            };
            self.schedule(slow_until_us, event);
        }
        Poll::Pending
    }

    /// Bytes that the window still takes.
    fn writable_bytes(&mut self, connection: u64, at: usize) -> usize {
        let Connection { ends } = &self.connections[&connection];
        let (node, peer) = (ends[at].node, ends[1 - at].node);
        let unacknowledged_bytes = ends[at].unacknowledged_bytes;
        let window_bytes = self.directed(node, peer).link.window_bytes as usize;
        window_bytes.saturating_sub(unacknowledged_bytes)
    }

    fn try_write(
        &mut self,
        connection: u64,
        at: usize,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let Some(end) = self.owned(connection, at) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        if end.fin_sent {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if let Some(failure) = end.failure {
            return Err(failure.into());
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let count = offered.min(self.writable_bytes(connection, at));
        if offered > 0 && count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.end(connection, at).unacknowledged_bytes += count;
        let mut written = gather(slices, count);
        let Connection { ends } = &self.connections[&connection];
        let (node, peer) = (ends[at].node, ends[1 - at].node);
        while !written.is_empty() {
            let piece_bytes = self.directed(node, peer).piece_bytes(written.len());
            let piece = written.split_to(piece_bytes);
            self.send(connection, at, Body::Data(piece));
        }
        Ok(count)
    }

    fn poll_writable(&mut self, connection: u64, at: usize, cx: &Context<'_>) -> Poll<()> {
        if self.owned(connection, at).is_none() {
            return Poll::Pending;
        }
        let has_room = self.writable_bytes(connection, at) > 0;
        let end = self.end(connection, at);
        if has_room || end.fin_sent || end.failure.is_some() {
            return Poll::Ready(());
        }
        remember(&mut end.writer, cx);
        Poll::Pending
    }

    fn shutdown_write(&mut self, connection: u64, at: usize) -> io::Result<()> {
        let Some(end) = self.owned(connection, at) else {
            return Ok(());
        };
        if end.failure.is_some() {
            return Err(ErrorKind::NotConnected.into());
        }
        if !end.fin_sent {
            end.fin_sent = true;
            self.send(connection, at, Body::Fin);
        }
        Ok(())
    }

    /// The last handle of an end is dropped.
    fn close(&mut self, connection: u64, at: usize) {
        let Some(end) = self.owned(connection, at) else {
            return;
        };
        let is_open = end.phase == Phase::Open && end.failure.is_none();
        if !is_open {
            self.gone(connection, at);
        } else if end.arrived_bytes > 0 {
            self.send_rst(connection, at);
            self.gone(connection, at);
        } else {
            end.phase = Phase::Closed;
            if !end.fin_sent {
                end.fin_sent = true;
                self.send(connection, at, Body::Fin);
            }
            self.wake_both(connection, at);
            self.forget_if_done(connection);
        }
    }
}

/// The first `count` bytes of `slices` in one piece.
fn gather(slices: &[IoSlice<'_>], count: usize) -> Bytes {
    let mut gathered = BytesMut::with_capacity(count);
    for slice in slices {
        let rest = count - gathered.len();
        gathered.extend_from_slice(&slice[..slice.len().min(rest)]);
    }
    gathered.freeze()
}
