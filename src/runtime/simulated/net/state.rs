//! What the fabric knows: nodes, links, listeners, connections, and the queue of what is to come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Wake, Waker};

use bytes::Bytes;

use super::ConnectionView;
use super::link::{Directed, Link};
use super::segments::Segment;
use crate::simulated::timers::{self, Timer};
use crate::simulated::trace::{self, Value};
use crate::simulated::world;

/// The first of the ports that connections and listeners without a wish are given.
const PORT_FIRST: u16 = 32_768;
/// The last of them.
const PORT_LAST: u16 = 60_999;

/// The fabric of one world, shared by its handles.
pub(super) struct Shared {
    state: Mutex<State>,
}

/// Takes out of the queue what is due, when a timer wakes it.
struct Driver(Weak<Shared>);

impl Wake for Driver {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            shared.drive();
        }
    }
}

impl Shared {
    pub(super) fn new(seed: u64) -> Arc<Shared> {
        Arc::new_cyclic(|shared| {
            let driver = Waker::from(Arc::new(Driver(Weak::clone(shared))));
            Shared {
                state: Mutex::new(State::new(seed, driver)),
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that fails under the lock still drops its streams.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work`, then, without the lock, wakes and tells whom it concerns: they may come back here.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        let (result, after) = {
            let mut state = self.lock();
            let result = work(&mut state);
            state.arm();
            (result, state.after.take())
        };
        if let Some(after) = after {
            after.settle();
        }
        result
    }

    /// See [`State::node_killed`]. madsim holds locks of its own meanwhile, so the driver settles what follows.
    pub(super) fn node_killed(&self, node: u64) {
        let mut state = self.lock();
        state.node_killed(node);
        let now_us = state.now_us();
        state.arm_at(now_us);
    }

    /// Takes out of the queue what is due.
    fn drive(&self) {
        self.with(|state| {
            state.timer = None;
            state.run_due();
        });
    }
}

/// What is done after the lock is released, in this order.
#[derive(Default)]
struct After {
    notes: Vec<Note>,
    wakers: Vec<Waker>,
}

/// A trace event to come.
struct Note {
    node: u64,
    kind: &'static str,
    connection: u64,
    peer: u64,
    bytes: Option<usize>,
}

impl After {
    /// Itself, if there is anything to do.
    fn take(&mut self) -> Option<After> {
        let idle = self.notes.is_empty() && self.wakers.is_empty();
        (!idle).then(|| mem::take(self))
    }

    fn settle(self) {
        for note in self.notes {
            let fields = [
                ("connection", Value::Int(note.connection as i64)),
                ("peer", Value::Int(note.peer as i64)),
                ("bytes", Value::Int(note.bytes.unwrap_or(0) as i64)),
            ];
            let count = if note.bytes.is_some() { 3 } else { 2 };
            trace::emit_for(note.node, note.kind, &fields[..count]);
        }
        for waker in self.wakers {
            waker.wake();
        }
    }
}

/// How far a node's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    /// It was stopped; its tasks may go on until madsim kills them.
    Stopping,
    /// madsim has killed its tasks: what comes from it now is its next life.
    Stopped,
}

pub(super) struct Node {
    pub(super) ip: IpAddr,
    /// Whether `ip` was given to it and not made of its number.
    ip_given: bool,
    pub(super) life: Life,
    /// Whether its system answers.
    pub(super) answers: bool,
    port_next: u16,
    /// Ports of its connections.
    ports: BTreeSet<u16>,
}

pub(super) struct ListenerState {
    pub(super) node: u64,
    pub(super) address: SocketAddr,
    pub(super) backlog: usize,
    /// Connections whose last word of the handshake is missing, with the time they began.
    pub(super) half_open: BTreeMap<u64, u64>,
    /// Connections that wait to be accepted.
    pub(super) waiting: VecDeque<u64>,
    pub(super) wakers: Vec<Waker>,
}

/// How far the life of one end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody has answered yet.
    Absent,
    /// It has asked for the connection.
    Connecting,
    /// A listener has answered and waits for the last word of the handshake.
    Handshaking(u64),
    /// It waits in a listener to be accepted.
    Waiting(u64),
    Open,
    /// Its owner has let go of it; what was written is still delivered.
    Closed,
    /// Nothing is left of it.
    Gone,
}

/// One end of a connection.
pub(super) struct End {
    pub(super) node: u64,
    pub(super) address: SocketAddr,
    pub(super) phase: Phase,
    /// What ended the connection before its time.
    pub(super) failure: Option<ErrorKind>,
    /// What arrived and was not read.
    pub(super) arrived: VecDeque<Bytes>,
    pub(super) arrived_bytes: usize,
    /// Bytes that were read and that the other end does not know to be read.
    pub(super) unannounced_bytes: usize,
    /// Bytes that were written and are not known to be read.
    pub(super) unacknowledged_bytes: usize,
    pub(super) fin_sent: bool,
    pub(super) fin_arrived: bool,
    pub(super) rst_sent: bool,
    /// Whether anything but an announcement that this end sent was lost.
    pub(super) lost: bool,
    /// When the last thing that this end sent arrives: nothing overtakes it.
    pub(super) last_arrival_us: u64,
    /// Before this time a slow reader reads nothing.
    pub(super) slow_until_us: u64,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl End {
    pub(super) fn new(node: u64, address: SocketAddr, phase: Phase) -> End {
        End {
            node,
            address,
            phase,
            failure: None,
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            unannounced_bytes: 0,
            unacknowledged_bytes: 0,
            fin_sent: false,
            fin_arrived: false,
            rst_sent: false,
            lost: false,
            last_arrival_us: 0,
            slow_until_us: 0,
            reader: None,
            writer: None,
        }
    }

    /// Whether it still takes part: open or on the way to it, and not failed.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Waiting(_)) && self.failure.is_none()
    }
}

/// A connection: first the end that connected, then the one that accepts.
pub(super) struct Connection {
    pub(super) ends: [End; 2],
}

/// Something that will happen.
#[derive(Clone)]
pub(super) enum Event {
    Arrival(Segment),
    /// An end sends again what was lost.
    Retry {
        connection: u64,
        end: usize,
    },
    /// A slow reader may read on.
    Readable {
        connection: u64,
        end: usize,
    },
}

pub(super) struct State {
    seed: u64,
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) addresses: BTreeMap<IpAddr, u64>,
    default_link: Link,
    pub(super) links: BTreeMap<(u64, u64), Directed>,
    pub(super) listeners: BTreeMap<u64, ListenerState>,
    pub(super) connections: BTreeMap<u64, Connection>,
    /// Bytes in a second that a node reads from a peer.
    pub(super) slow_readers: BTreeMap<(u64, u64), u64>,
    id_last: u64,
    /// By time in microseconds, then by order of sending.
    pub(super) queue: BTreeMap<(u64, u64), Event>,
    sequence_last: u64,
    /// When the driver is woken next, in microseconds, and what wakes it.
    timer: Option<(u64, Timer)>,
    driver: Waker,
    after: After,
}

impl State {
    fn new(seed: u64, driver: Waker) -> State {
        State {
            seed,
            nodes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            default_link: Link::default(),
            links: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            slow_readers: BTreeMap::new(),
            id_last: 0,
            queue: BTreeMap::new(),
            sequence_last: 0,
            timer: None,
            driver,
            after: After::default(),
        }
    }

    /// True time, which takes whole microseconds.
    pub(super) fn now_us(&self) -> u64 {
        world::now_nanos() / 1_000
    }

    /// A number that nothing else in this world has.
    pub(super) fn next_id(&mut self) -> u64 {
        self.id_last += 1;
        self.id_last
    }

    pub(super) fn schedule(&mut self, at_us: u64, event: Event) {
        self.sequence_last += 1;
        self.queue.insert((at_us, self.sequence_last), event);
    }

    fn run_due(&mut self) {
        let now_us = self.now_us();
        while let Some(entry) = self.queue.first_entry() {
            let &(at_us, sequence) = entry.key();
            if at_us > now_us {
                break;
            }
            match entry.remove() {
                Event::Arrival(segment) => self.arrive(sequence, segment),
                Event::Retry { connection, end } => self.retry(connection, end),
                Event::Readable { connection, end } => self.wake_reader(connection, end),
            }
        }
    }

    /// Lets the driver be woken when the first of the queue is due.
    fn arm(&mut self) {
        if let Some((&(at_us, _), _)) = self.queue.first_key_value() {
            self.arm_at(at_us);
        }
    }

    fn arm_at(&mut self, at_us: u64) {
        if matches!(self.timer, Some((armed_us, _)) if armed_us <= at_us) {
            return;
        }
        let at_nanos = at_us.saturating_mul(1_000);
        let timer = Timer::new(timers::NETWORK, at_nanos, self.driver.clone());
        self.timer = Some((at_us, timer));
    }

    /// Tells the trace of something at `end` of a connection.
    pub(super) fn note(
        &mut self,
        kind: &'static str,
        connection: u64,
        end: usize,
        bytes: Option<usize>,
    ) {
        if let Some(Connection { ends }) = self.connections.get(&connection) {
            self.after.notes.push(Note {
                node: ends[end].node,
                kind,
                connection,
                peer: ends[1 - end].node,
                bytes,
            });
        }
    }

    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        self.after.wakers.extend(waker);
    }

    pub(super) fn wake_reader(&mut self, connection: u64, end: usize) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            let reader = connection.ends[end].reader.take();
            self.wake(reader);
        }
    }

    pub(super) fn wake_both(&mut self, connection: u64, end: usize) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            let end = &mut connection.ends[end];
            let (reader, writer) = (end.reader.take(), end.writer.take());
            self.wake(reader);
            self.wake(writer);
        }
    }

    pub(super) fn end(&mut self, connection: u64, end: usize) -> &mut End {
        let connection = self.connections.get_mut(&connection);
        &mut connection.expect("the connection is there").ends[end]
    }

    pub(super) fn directed(&mut self, from: u64, to: u64) -> &mut Directed {
        let (seed, default_link) = (self.seed, self.default_link);
        self.links.entry((from, to)).or_insert_with(|| {
            let link = if from == to {
                Link::loopback()
            } else {
                default_link
            };
            Directed::new(seed, from, to, link)
        })
    }

    pub(super) fn set_default_link(&mut self, link: Link) {
        link.check();
        self.default_link = link;
        let unset: Vec<(u64, u64)> = self
            .links
            .iter()
            .filter(|&(&(from, to), directed)| from != to && !directed.set)
            .map(|(&ends, _)| ends)
            .collect();
        for (from, to) in unset {
            self.directed(from, to).link = link;
            self.window_changed(from, to);
        }
    }

    pub(super) fn set_link(&mut self, from: u64, to: u64, link: Link) {
        link.check();
        let directed = self.directed(from, to);
        directed.link = link;
        directed.set = true;
        self.window_changed(from, to);
    }

    /// The node, which is made known if it was not.
    pub(super) fn node(&mut self, number: u64) -> &mut Node {
        let addresses = &mut self.addresses;
        self.nodes.entry(number).or_insert_with(|| {
            let ip = ip_of_number(number);
            addresses.insert(ip, number);
            Node {
                ip,
                ip_given: false,
                life: Life::Running,
                answers: true,
                port_next: PORT_FIRST,
                ports: BTreeSet::new(),
            }
        })
    }

    pub(super) fn set_ip(&mut self, number: u64, ip: IpAddr) {
        let owner = *self.addresses.entry(ip).or_insert(number);
        assert!(owner == number, "node {owner} has the address {ip}");
        let node = self.node(number);
        let old = mem::replace(&mut node.ip, ip);
        node.ip_given = true;
        if old != ip {
            self.addresses.remove(&old);
        }
    }

    /// Whether `ip` belongs to the node, which takes it if neither has another.
    pub(super) fn owns(&mut self, number: u64, ip: IpAddr) -> bool {
        if ip.is_loopback() || ip.is_unspecified() || self.node(number).ip == ip {
            return true;
        }
        if self.node(number).ip_given || self.addresses.contains_key(&ip) {
            return false;
        }
        self.set_ip(number, ip);
        true
    }

    /// A port of the node that nothing uses, for a connection or a listener.
    pub(super) fn free_port(&mut self, number: u64) -> Option<u16> {
        let listening: BTreeSet<u16> = self
            .listeners
            .values()
            .filter(|listener| listener.node == number)
            .map(|listener| listener.address.port())
            .collect();
        let node = self.node(number);
        for _ in PORT_FIRST..=PORT_LAST {
            let port = node.port_next;
            node.port_next = if port == PORT_LAST {
                PORT_FIRST
            } else {
                port + 1
            };
            if !listening.contains(&port) && !node.ports.contains(&port) {
                return Some(port);
            }
        }
        None
    }

    pub(super) fn take_port(&mut self, number: u64, port: u16) {
        let new = self.node(number).ports.insert(port);
        assert!(new, "a port belongs to one connection");
    }

    /// Ends one end of a connection, and the connection with its second end.
    pub(super) fn gone(&mut self, number: u64, at: usize) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let end = &mut connection.ends[at];
        if end.phase == Phase::Gone {
            return;
        }
        if let Phase::Handshaking(listener) | Phase::Waiting(listener) = end.phase
            && let Some(listener) = self.listeners.get_mut(&listener)
        {
            listener.half_open.remove(&number);
            listener.waiting.retain(|&waiting| waiting != number);
        }
        let end = &mut connection.ends[at];
        end.phase = Phase::Gone;
        end.arrived.clear();
        end.arrived_bytes = 0;
        self.after.wakers.extend(end.reader.take());
        self.after.wakers.extend(end.writer.take());
        if at == 0 {
            let port = end.address.port();
            let node = self.nodes.get_mut(&end.node).expect("a node stays known");
            node.ports.remove(&port);
        }
        let is_left = |end: &End| !matches!(end.phase, Phase::Gone | Phase::Absent);
        if !connection.ends.iter().any(is_left) {
            self.connections.remove(&number);
        }
    }

    pub(super) fn views(&self) -> Vec<ConnectionView> {
        self.connections
            .iter()
            .map(|(&id, Connection { ends: [a, b] })| ConnectionView {
                id,
                nodes: [a.node, b.node],
                addresses: [a.address, b.address],
                open: a.is_live() && b.is_live(),
                unread_bytes: [a.arrived_bytes, b.arrived_bytes],
                unacknowledged_bytes: [a.unacknowledged_bytes, b.unacknowledged_bytes],
            })
            .collect()
    }
}

/// The address of a node that was given none: of the range for tests between networks (RFC 2544).
fn ip_of_number(number: u64) -> IpAddr {
    let [_, high, middle, low] = (number as u32).to_be_bytes();
    Ipv4Addr::new(198, 18 + (high & 1), middle, low).into()
}
