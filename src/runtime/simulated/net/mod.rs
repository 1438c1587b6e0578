//! The streams of a simulated world.
//!
//! Every direction between two nodes is a link of its own, with its own latency, bandwidth and streams of chance, so
//! that a fault on one link leaves the times of all others as they were. What is sent becomes segments in one queue,
//! ordered by arrival; one timer of the world takes out what is due. Times are whole microseconds of true time.
//!
//! An address belongs to the node that [`Fabric::set_ip`] names, or that was the first to listen on it; madsim does
//! not tell what its `NodeBuilder::ip` was given. A node without any has one made of its number. The loopback
//! addresses are always the node itself.
//!
//! Trace events, at the node in the first bracket: `connect` (the one that connects), `accept` (the one that accepts),
//! `deliver`, `fin`, `rst` (the one that receives), `drop`, `hold` (the one that sent). Fields: `connection`, `peer`
//! (the other node), and `bytes` where there are any.

mod faults;
mod link;
mod segments;
mod sockets;
mod state;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use madsim::plugin::{self, Simulator};
use madsim::rand::GlobalRng;
use madsim::runtime::Runtime;
use madsim::task::NodeId;
use madsim::time::TimeHandle;

pub use link::{Cut, Link};
pub(crate) use sockets::{Listener, Stream, send_file};
use state::Shared;

use super::world::number_of;

thread_local! {
    /// The seed of the fabric that is being installed: madsim makes its plug-ins without arguments of ours.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// Adds a fabric to `world`; all its streams are drawn from `seed`.
pub(super) fn install(world: &Runtime, seed: u64) {
    SEED.set(seed);
    world.add_simulator::<FabricSimulator>();
}

/// How a node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its process ends; its system resets the connections and refuses new ones.
    Kill,
    /// It falls silent; when it is up again its system answers what belongs to the old connections with resets.
    Power,
}

/// One connection, seen from outside. Where there are two of a thing, the first is of the end that connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// Its number, unique in its world.
    pub id: u64,
    /// The nodes.
    pub nodes: [u64; 2],
    /// The addresses.
    pub addresses: [SocketAddr; 2],
    /// Whether both ends know of each other and neither has ended it.
    pub open: bool,
    /// Bytes that arrived at each end and were not read.
    pub unread_bytes: [usize; 2],
    /// Bytes that each end has sent and does not know to be read.
    pub unacknowledged_bytes: [usize; 2],
}

/// The network of a simulated world, for those who arrange and disturb it.
#[derive(Clone)]
pub struct Fabric {
    shared: Arc<Shared>,
}

impl Fabric {
    /// The network of the world that the caller is in.
    ///
    /// # Panics
    /// Outside a simulated world.
    pub fn current() -> Fabric {
        let simulator = plugin::simulator::<FabricSimulator>();
        Fabric {
            shared: Arc::clone(&simulator.shared),
        }
    }

    /// Gives `node` its address: what madsim's `NodeBuilder::ip` was given.
    ///
    /// # Panics
    /// If another node has it.
    pub fn set_ip(&self, node: u64, ip: IpAddr) {
        self.shared.with(|state| state.set_ip(node, ip));
    }

    /// Makes `link` what every link between two nodes is like that was not set.
    pub fn set_default_link(&self, link: Link) {
        self.shared.with(|state| state.set_default_link(link));
    }

    /// Makes `link` what the way from one node to another is like, for what is sent from now on.
    pub fn set_link(&self, from: u64, to: u64, link: Link) {
        self.shared.with(|state| state.set_link(from, to, link));
    }

    /// What the way from one node to another is like.
    pub fn link(&self, from: u64, to: u64) -> Link {
        self.shared.with(|state| state.directed(from, to).link)
    }

    /// Cuts the way from one node to another, for what is on it and what is sent from now on. A cut that is there
    /// already changes its kind; what waits goes on waiting.
    pub fn cut(&self, from: u64, to: u64, cut: Cut) {
        self.shared
            .with(|state| state.directed(from, to).cut = Some(cut));
    }

    /// Ends a cut: what waited goes on at once and in order, what was lost is sent again after a while (and meets a
    /// reset, unless it asked for a connection).
    pub fn restore(&self, from: u64, to: u64) {
        self.shared.with(|state| state.restore(from, to));
    }

    /// Whether the way from one node to another is cut.
    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.shared
            .with(|state| state.directed(from, to).cut.is_some())
    }

    /// Resets open connections between two nodes, drawn if there are more than `at_most`; how many. A part of what is
    /// on the way arrives, the rest is lost, and both ends see `ConnectionReset`.
    pub fn reset(&self, a: u64, b: u64, at_most: usize) -> usize {
        self.shared.with(|state| state.reset(a, b, at_most))
    }

    /// Makes `node` read no more than so many bytes in a second from each connection with `peer`, 0 for none at all;
    /// `None` ends it.
    pub fn slow_reader(&self, node: u64, peer: u64, bytes_per_second: Option<u64>) {
        self.shared
            .with(|state| state.slow_reader(node, peer, bytes_per_second));
    }

    /// All connections, in the order in which they were begun.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.shared.with(|state| state.views())
    }

    /// Ends everything that `node` has in the network: its handles do nothing from now on, and it opens no new ones
    /// until madsim has killed it. A kill by madsim alone counts as [`Stop::Kill`].
    pub fn node_stopped(&self, node: u64, stop: Stop) {
        self.shared.with(|state| state.node_stopped(node, stop));
    }

    /// Says that the system of `node` is up again after [`Stop::Power`]: it answers, even before its process listens.
    /// The first listener or connection of its new process says so too.
    pub fn node_started(&self, node: u64) {
        self.shared.with(|state| state.node_started(node));
    }
}

/// The fabric as madsim's plug-in.
pub struct FabricSimulator {
    shared: Arc<Shared>,
}

impl Simulator for FabricSimulator {
    fn new(_: &GlobalRng, _: &TimeHandle, _: &madsim::Config) -> FabricSimulator {
        FabricSimulator {
            shared: Shared::new(SEED.get()),
        }
    }

    fn reset_node(&self, node: NodeId) {
        self.shared.node_killed(number_of(node));
    }
}
