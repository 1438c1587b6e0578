//! What travels over links, how it is sent and what it does when it arrives.

use std::io::ErrorKind;

use bytes::Bytes;

use super::link::Cut;
use super::state::{Connection, End, Event, Phase, State};

/// After what time a full listener is asked again, in microseconds.
const FULL_RETRY_US: u64 = 1_000_000;
/// After what time a listener gives up a handshake that does not go on, in microseconds (Linux: about a minute).
const HALF_OPEN_US_MAX: u64 = 63_000_000;

/// Something on its way from one end of a connection to the other.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) connection: u64,
    /// The end that sent it.
    pub(super) from: usize,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Asks for a connection.
    Syn,
    /// Grants it.
    SynAck,
    /// The last word of the handshake.
    Ack,
    /// The answer to a SYN where nobody listens.
    Refusal,
    Data(Bytes),
    /// So many bytes were read.
    Credit(usize),
    Fin,
    Rst,
    /// What was lost, sent again: it only shows that something is missing.
    Repetition,
}

impl State {
    /// Puts `body` on its way from the end `from`; nothing overtakes it but announcements.
    pub(super) fn send(&mut self, connection: u64, from: usize, body: Body) {
        let now_us = self.now_us();
        let Connection { ends } = &self.connections[&connection];
        let (node, peer) = (ends[from].node, ends[1 - from].node);
        let length_bytes = match &body {
            Body::Data(bytes) => bytes.len(),
            _ => 0,
        };
        let mut at_us = self.directed(node, peer).arrival_us(now_us, length_bytes);
        if !matches!(body, Body::Credit(_)) {
            let end = self.end(connection, from);
            at_us = at_us.max(end.last_arrival_us);
            end.last_arrival_us = at_us;
        }
        let segment = Segment {
            connection,
            from,
            body,
        };
        self.schedule(at_us, Event::Arrival(segment));
    }

    /// Sends a reset, once.
    pub(super) fn send_rst(&mut self, connection: u64, from: usize) {
        let end = self.end(connection, from);
        if !end.rst_sent {
            end.rst_sent = true;
            self.send(connection, from, Body::Rst);
        }
    }

    /// The segment with this place in the queue has reached the end of its link.
    pub(super) fn arrive(&mut self, sequence: u64, segment: Segment) {
        let Some(Connection { ends }) = self.connections.get(&segment.connection) else {
            return;
        };
        let (node, peer) = (ends[segment.from].node, ends[1 - segment.from].node);
        let bytes = match &segment.body {
            Body::Data(bytes) => Some(bytes.len()),
            _ => None,
        };
        let answers = self.nodes.get(&peer).is_none_or(|node| node.answers);
        match self.directed(node, peer).cut {
            Some(Cut::Hold) => {
                self.note("hold", segment.connection, segment.from, bytes);
                self.directed(node, peer).held.push((sequence, segment));
            }
            None if answers => self.deliver(segment),
            None | Some(Cut::BlackHole) => {
                self.note("drop", segment.connection, segment.from, bytes);
                self.lose(segment);
            }
        }
    }

    fn lose(&mut self, segment: Segment) {
        let end = self.end(segment.connection, segment.from);
        match segment.body {
            Body::Credit(bytes) => end.unannounced_bytes += bytes,
            Body::Rst => end.rst_sent = false,
            // Another SYN gets another refusal.
            Body::Refusal => {
                self.end(segment.connection, 1 - segment.from).lost = true;
            }
            _ => end.lost = true,
        }
    }

    fn deliver(&mut self, segment: Segment) {
        let Segment {
            connection,
            from,
            body,
        } = segment;
        let at = 1 - from;
        match body {
            Body::Syn => self.on_syn(connection),
            Body::SynAck => self.on_syn_ack(connection),
            Body::Ack => self.on_ack(connection),
            Body::Refusal => {
                self.note("rst", connection, at, None);
                self.fail(connection, at, ErrorKind::ConnectionRefused);
            }
            Body::Data(bytes) => self.on_data(connection, at, bytes),
            Body::Credit(bytes) => self.on_credit(connection, at, bytes),
            Body::Fin => self.on_fin(connection, at),
            Body::Rst => {
                self.note("rst", connection, at, None);
                self.fail(connection, at, ErrorKind::ConnectionReset);
            }
            Body::Repetition => {
                self.check_no_gap(connection, at);
            }
        }
    }

    fn on_syn(&mut self, connection: u64) {
        let acceptor = self.end(connection, 1);
        let (node, address) = (acceptor.node, acceptor.address);
        match acceptor.phase {
            // It was begun by an earlier SYN whose answer was lost.
            Phase::Handshaking(_) => {
                acceptor.lost = false;
                self.send(connection, 1, Body::SynAck);
            }
            Phase::Absent => match self.listener_at(node, address) {
                None => self.send(connection, 1, Body::Refusal),
                Some(listener) => self.on_syn_at(connection, listener),
            },
            Phase::Gone => self.send(connection, 1, Body::Refusal),
            _ => {}
        }
    }

    fn on_syn_at(&mut self, connection: u64, number: u64) {
        let now_us = self.now_us();
        let listener = self.listeners.get_mut(&number).expect("it was just found");
        let is_full = listener.waiting.len() + listener.half_open.len() >= listener.backlog;
        if !is_full {
            listener.half_open.insert(connection, now_us);
            self.end(connection, 1).phase = Phase::Handshaking(number);
            self.send(connection, 1, Body::SynAck);
            return;
        }
        let stale = listener.half_open.iter();
        let stale = stale.filter(|&(_, &since_us)| since_us + HALF_OPEN_US_MAX <= now_us);
        for connection in stale.map(|(&connection, _)| connection).collect::<Vec<_>>() {
            self.gone(connection, 1);
        }
        let retry = Event::Retry { connection, end: 0 };
        self.schedule(now_us + FULL_RETRY_US, retry);
    }

    fn on_syn_ack(&mut self, connection: u64) {
        let connector = self.end(connection, 0);
        match connector.phase {
            Phase::Connecting if connector.failure.is_none() => {
                connector.phase = Phase::Open;
                let writer = connector.writer.take();
                self.wake(writer);
                self.send(connection, 0, Body::Ack);
            }
            Phase::Gone => self.send_rst(connection, 0),
            _ => {}
        }
    }

    fn on_ack(&mut self, connection: u64) {
        let acceptor = self.end(connection, 1);
        let Phase::Handshaking(number) = acceptor.phase else {
            if acceptor.phase == Phase::Gone {
                self.send_rst(connection, 1);
            }
            return;
        };
        acceptor.phase = Phase::Waiting(number);
        let listener = self.listeners.get_mut(&number);
        let listener = listener.expect("a listener takes its handshakes with it");
        listener.half_open.remove(&connection);
        listener.waiting.push_back(connection);
        for waker in std::mem::take(&mut listener.wakers) {
            self.wake(Some(waker));
        }
    }

    /// Whether nothing of what was sent to this end is missing; otherwise both ends are reset.
    fn check_no_gap(&mut self, connection: u64, at: usize) -> bool {
        let Connection { ends } = &self.connections[&connection];
        match ends[at].phase {
            Phase::Gone => {
                if ends[1 - at].failure.is_none() {
                    self.send_rst(connection, at);
                }
                false
            }
            _ if ends[at].failure.is_some() => false,
            _ if !ends[1 - at].lost => true,
            _ => {
                self.send_rst(connection, at);
                self.note("rst", connection, at, None);
                self.fail(connection, at, ErrorKind::ConnectionReset);
                false
            }
        }
    }

    fn on_data(&mut self, connection: u64, at: usize, bytes: Bytes) {
        if !self.check_no_gap(connection, at) {
            return;
        }
        if self.end(connection, at).phase == Phase::Closed {
            self.send_rst(connection, at);
            self.gone(connection, at);
            return;
        }
        self.note("deliver", connection, at, Some(bytes.len()));
        let end = self.end(connection, at);
        assert!(!end.fin_arrived, "nothing follows the end of a stream");
        end.arrived_bytes += bytes.len();
        end.arrived.push_back(bytes);
        self.wake_reader(connection, at);
    }

    fn on_credit(&mut self, connection: u64, at: usize, bytes: usize) {
        let end = self.end(connection, at);
        assert!(
            bytes <= end.unacknowledged_bytes,
            "no more is read than was written"
        );
        end.unacknowledged_bytes -= bytes;
        let writer = end.writer.take();
        self.wake(writer);
    }

    fn on_fin(&mut self, connection: u64, at: usize) {
        if !self.check_no_gap(connection, at) {
            return;
        }
        self.note("fin", connection, at, None);
        self.end(connection, at).fin_arrived = true;
        self.wake_reader(connection, at);
        self.forget_if_done(connection);
    }

    /// Lets go of ends that nobody owns and that have nothing more to do.
    pub(super) fn forget_if_done(&mut self, connection: u64) {
        for at in [0, 1] {
            let Some(Connection { ends }) = self.connections.get(&connection) else {
                return;
            };
            let heard = |end: &End| end.fin_arrived || end.phase == Phase::Gone;
            let done = heard(&ends[at]) && heard(&ends[1 - at]);
            if ends[at].phase == Phase::Closed && done {
                self.gone(connection, at);
            }
        }
    }

    /// Ends the connection at one of its ends before its time.
    pub(super) fn fail(&mut self, connection: u64, at: usize, failure: ErrorKind) {
        let end = self.end(connection, at);
        match end.phase {
            Phase::Handshaking(_) | Phase::Closed => self.gone(connection, at),
            Phase::Connecting | Phase::Waiting(_) | Phase::Open => {
                // As on Linux: whoever has read the end of the stream only hears that nobody reads any more.
                let failure = if end.fin_arrived {
                    ErrorKind::BrokenPipe
                } else {
                    failure
                };
                end.failure.get_or_insert(failure);
                self.wake_both(connection, at);
            }
            Phase::Absent | Phase::Gone => {}
        }
    }

    /// Sends again what was lost.
    pub(super) fn retry(&mut self, connection: u64, at: usize) {
        if !self.connections.contains_key(&connection) {
            return;
        }
        let end = self.end(connection, at);
        let body = match end.phase {
            _ if end.failure.is_some() => return,
            Phase::Connecting => Body::Syn,
            Phase::Handshaking(_) => Body::SynAck,
            Phase::Waiting(_) | Phase::Open | Phase::Closed => Body::Repetition,
            Phase::Absent | Phase::Gone => return,
        };
        if !matches!(body, Body::Repetition) {
            end.lost = false;
        }
        self.send(connection, at, body);
    }
}
