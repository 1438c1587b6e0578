//! What is known of each node over all its lives.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::nodes::Condition;

/// One node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// How often it was started again.
    pub(crate) life: u64,
    pub(crate) condition: Condition,
    /// How long each poll of a task keeps its core busy, in microseconds.
    pub(crate) poll_cost_us: u32,
}

impl Default for Node {
    fn default() -> Node {
        Node {
            life: 0,
            condition: Condition::Running,
            poll_cost_us: 0,
        }
    }
}

thread_local! {
    static NODES: RefCell<BTreeMap<u64, Node>> = const { RefCell::new(BTreeMap::new()) };
}

/// Begins a world in which every node is in its first life.
pub(crate) fn begin() {
    NODES.take();
}

/// What is known of `node`.
pub(crate) fn node(node: u64) -> Node {
    NODES.with_borrow(|nodes| nodes.get(&node).copied().unwrap_or_default())
}

/// Changes what is known of `node`.
pub(crate) fn change(node: u64, change: impl FnOnce(&mut Node)) {
    NODES.with_borrow_mut(|nodes| change(nodes.entry(node).or_default()));
}
