//! What disturbs the fabric: cuts, resets, slow readers, nodes that stop.

use std::io::ErrorKind;

use super::Stop;
use super::segments::{Body, Segment};
use super::state::{Connection, Event, Life, Phase, State};

impl State {
    /// The ends at `node` of connections with `peer`.
    fn ends_between(&self, node: u64, peer: u64) -> Vec<(u64, usize)> {
        let mut found = Vec::new();
        for (&number, Connection { ends }) in &self.connections {
            for at in [0, 1] {
                if ends[at].node == node && ends[1 - at].node == peer {
                    found.push((number, at));
                }
            }
        }
        found
    }

    /// See [`super::Fabric::restore`].
    pub(super) fn restore(&mut self, from: u64, to: u64) {
        let directed = self.directed(from, to);
        if directed.cut.take().is_none() {
            return;
        }
        for (sequence, segment) in std::mem::take(&mut directed.held) {
            // Before everything that is still on its way.
            self.queue.insert((0, sequence), Event::Arrival(segment));
        }
        self.repeat_what_was_lost(from, to);
    }

    fn repeat_what_was_lost(&mut self, from: u64, to: u64) {
        self.announce_all(from, to);
        for (number, at) in self.ends_between(from, to) {
            self.repeat_if_lost(number, at);
        }
        // An answer to a SYN may have been lost on the way back.
        if from != to {
            for (number, at) in self.ends_between(to, from) {
                if self.end(number, at).phase == Phase::Connecting {
                    self.repeat_if_lost(number, at);
                }
            }
        }
    }

    fn repeat_if_lost(&mut self, connection: u64, end: usize) {
        if self.end(connection, end).lost {
            let Connection { ends } = &self.connections[&connection];
            let (node, peer) = (ends[end].node, ends[1 - end].node);
            let at_us = self.now_us() + self.directed(node, peer).retry_us();
            self.schedule(at_us, Event::Retry { connection, end });
        }
    }

    /// Lets the ends at `to` know all that was read at `from`.
    fn announce_all(&mut self, from: u64, to: u64) {
        for (number, at) in self.ends_between(from, to) {
            let bytes = std::mem::take(&mut self.end(number, at).unannounced_bytes);
            if bytes > 0 {
                self.send(number, at, Body::Credit(bytes));
            }
        }
    }

    /// The window of a link has another size: nobody may wait for what the old one would have brought.
    pub(super) fn window_changed(&mut self, from: u64, to: u64) {
        self.announce_all(to, from);
        for (number, at) in self.ends_between(from, to) {
            let writer = self.end(number, at).writer.take();
            self.wake(writer);
        }
    }

    /// See [`super::Fabric::reset`].
    pub(super) fn reset(&mut self, a: u64, b: u64, at_most: usize) -> usize {
        let mut open = self.ends_between(a, b);
        open.retain(|&(number, _)| {
            self.connections[&number]
                .ends
                .iter()
                .all(|end| end.is_live())
        });
        open.dedup_by_key(|&mut (number, _)| number);
        let count = open.len().min(at_most);
        for place in 0..count {
            if open.len() > at_most {
                let rest = (open.len() - place) as u64;
                let other = place + self.directed(a, b).resets.below(rest) as usize;
                open.swap(place, other);
            }
            let (number, _) = open[place];
            for at in [0, 1] {
                self.deliver_a_part(number, at);
            }
            for at in [0, 1] {
                self.note("rst", number, at, None);
                self.fail(number, at, ErrorKind::ConnectionReset);
            }
        }
        count
    }

    /// Delivers the beginning of the next piece that is on its way to an end.
    fn deliver_a_part(&mut self, number: u64, at: usize) {
        let from = 1 - at;
        let Connection { ends } = &self.connections[&number];
        let (node, peer) = (ends[from].node, ends[at].node);
        let on_its_way = |segment: &Segment| match &segment.body {
            Body::Data(bytes) if segment.connection == number && segment.from == from => {
                Some(bytes.clone())
            }
            _ => None,
        };
        let held = &self.links[&(node, peer)].held;
        let held = held.iter().find_map(|(_, segment)| on_its_way(segment));
        let next = held.or_else(|| {
            self.queue.values().find_map(|event| match event {
                Event::Arrival(segment) => on_its_way(segment),
                _ => None,
            })
        });
        let Some(mut piece) = next else {
            return;
        };
        let length_bytes = self
            .directed(node, peer)
            .resets
            .below(piece.len() as u64 + 1);
        if length_bytes > 0 {
            piece.truncate(length_bytes as usize);
            self.note("deliver", number, at, Some(piece.len()));
            let end = self.end(number, at);
            end.arrived_bytes += piece.len();
            end.arrived.push_back(piece);
        }
    }

    /// See [`super::Fabric::slow_reader`].
    pub(super) fn slow_reader(&mut self, node: u64, peer: u64, bytes_per_second: Option<u64>) {
        match bytes_per_second {
            Some(rate) => self.slow_readers.insert((node, peer), rate),
            None => self.slow_readers.remove(&(node, peer)),
        };
        for (number, at) in self.ends_between(node, peer) {
            self.end(number, at).slow_until_us = 0;
            self.wake_reader(number, at);
        }
    }

    /// See [`super::Fabric::node_stopped`].
    pub(super) fn node_stopped(&mut self, number: u64, stop: Stop) {
        let node = self.node(number);
        if node.life == Life::Running {
            node.life = Life::Stopping;
        }
        if stop == Stop::Power {
            node.answers = false;
        }
        self.listeners.retain(|_, listener| listener.node != number);
        let connections: Vec<u64> = self.connections.keys().copied().collect();
        for connection in connections {
            for at in [0, 1] {
                self.stop_end(connection, at, number, stop);
            }
        }
    }

    fn stop_end(&mut self, connection: u64, at: usize, node: u64, stop: Stop) {
        let Some(Connection { ends }) = self.connections.get(&connection) else {
            return;
        };
        if ends[at].node != node {
            return;
        }
        match ends[at].phase {
            Phase::Absent | Phase::Gone => return,
            // Whoever answers meets a reset.
            Phase::Connecting => {}
            _ if stop == Stop::Power || ends[at].failure.is_some() => {}
            _ => self.send_rst(connection, at),
        }
        self.gone(connection, at);
    }

    /// madsim has killed the node's tasks.
    pub(super) fn node_killed(&mut self, number: u64) {
        if self.node(number).life == Life::Running {
            self.node_stopped(number, Stop::Kill);
        }
        self.node(number).life = Life::Stopped;
    }

    /// See [`super::Fabric::node_started`].
    pub(super) fn node_started(&mut self, number: u64) {
        let node = self.node(number);
        node.life = Life::Running;
        if node.answers {
            return;
        }
        node.answers = true;
        let mut peers: Vec<u64> = self
            .connections
            .values()
            .filter_map(|Connection { ends: [a, b] }| match number {
                _ if a.node == number => Some(b.node),
                _ if b.node == number => Some(a.node),
                _ => None,
            })
            .collect();
        peers.sort_unstable();
        peers.dedup();
        for peer in peers {
            self.repeat_what_was_lost(peer, number);
        }
    }
}
