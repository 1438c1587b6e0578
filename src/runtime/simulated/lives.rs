//! How often each node was started.

use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static LIVES: RefCell<BTreeMap<u64, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Begins a world in which every node is in its first life.
pub(crate) fn begin() {
    LIVES.take();
}

/// Which life `node` is in, from 0.
pub fn of(node: u64) -> u64 {
    LIVES.with_borrow(|lives| lives.get(&node).copied().unwrap_or(0))
}

/// The next life of `node` begins.
pub(crate) fn next(node: u64) {
    LIVES.with_borrow_mut(|lives| *lives.entry(node).or_default() += 1);
}
