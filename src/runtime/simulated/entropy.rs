//! Entropy, from a stream of its own for each life of each node.

use std::cell::RefCell;
use std::collections::BTreeMap;

use types::Prng;

use super::{lives, world};

thread_local! {
    /// By node: the life for which the stream was made, and the stream.
    static STREAMS: RefCell<BTreeMap<u64, (u64, Prng)>> = const { RefCell::new(BTreeMap::new()) };
}

/// Begins a world in which nothing was drawn.
pub(crate) fn begin() {
    STREAMS.take();
}

/// The next 64 bits of the current node's stream.
pub(crate) fn draw() -> u64 {
    let node = world::current_node();
    let life = lives::node(node).life;
    STREAMS.with_borrow_mut(|streams| {
        let fresh = || {
            (
                life,
                Prng::new(world::seed(), &format!("entropy {node} {life}")),
            )
        };
        let stream = streams.entry(node).or_insert_with(fresh);
        if stream.0 != life {
            *stream = fresh();
        }
        stream.1.next_u64()
    })
}
