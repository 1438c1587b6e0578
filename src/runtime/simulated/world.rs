//! The simulated world of this thread: its seed, its true time, and the node whose task is running.
//!
//! True time takes whole microseconds and moves only when every core has run out of ready tasks: it then jumps to the
//! next timer. madsim's own clock, which each of its polls moves on by a drawn 50 to 100 ns, follows behind and is
//! seen by nobody but what madsim itself runs.

use std::cell::Cell;

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static SEED: Cell<u64> = const { Cell::new(0) };
    static ENDED: Cell<bool> = const { Cell::new(true) };
    static NOW_NANOS: Cell<u64> = const { Cell::new(0) };
    static NODE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Begins a new world; everything that belongs to the one before is stale from now on.
pub(crate) fn begin(seed: u64) {
    NUMBER.set(NUMBER.get() + 1);
    SEED.set(seed);
    ENDED.set(false);
    NOW_NANOS.set(0);
    NODE.set(None);
}

/// Which world of this thread this is: handles made in an earlier one are stale.
pub(crate) fn number() -> u64 {
    NUMBER.get()
}

/// The world's seed.
pub(crate) fn seed() -> u64 {
    SEED.get()
}

/// The supervisor's future has ended: what still happens is only cleaning up.
pub(crate) fn end() {
    ENDED.set(true);
}

/// Whether no world is running.
pub(crate) fn has_ended() -> bool {
    ENDED.get()
}

/// True simulated time since the world began, in nanoseconds; whole microseconds.
pub fn now_nanos() -> u64 {
    if NODE.get().is_none() {
        // A task of madsim's own, which goes by madsim's clock.
        catch_up();
    }
    NOW_NANOS.get()
}

/// Moves true time on to `nanos`, unless it is there.
pub(crate) fn advance_to(nanos: u64) {
    NOW_NANOS.set(NOW_NANOS.get().max(nanos));
}

/// Moves true time on to where madsim's clock is.
pub(crate) fn catch_up() {
    let elapsed_us = madsim_nanos() / 1_000;
    advance_to(elapsed_us * 1_000);
}

/// What madsim's clock has counted since the world began, in nanoseconds.
pub(crate) fn madsim_nanos() -> u64 {
    let elapsed =
        madsim::time::TimeHandle::try_current().map_or(0, |time| time.elapsed().as_nanos());
    u64::try_from(elapsed).unwrap_or(u64::MAX)
}

/// The node whose task is running, as madsim numbers it; 0 is the supervisor.
///
/// # Panics
/// Outside every simulated world.
pub fn current_node() -> u64 {
    NODE.get()
        .unwrap_or_else(|| number_of(madsim::plugin::node()))
}

/// Runs `action` as a task of `node`.
pub(crate) fn on_node<T>(node: u64, action: impl FnOnce() -> T) -> T {
    struct Restore(Option<u64>);
    impl Drop for Restore {
        fn drop(&mut self) {
            NODE.set(self.0);
        }
    }
    let _restore = Restore(NODE.replace(Some(node)));
    action()
}

/// madsim's number for a node, which it tells only in print.
pub fn number_of(node: madsim::task::NodeId) -> u64 {
    node.to_string()
        .parse()
        .expect("madsim prints a node as its number")
}
