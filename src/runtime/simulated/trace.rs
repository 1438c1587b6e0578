//! What happens in a simulated world, told to whoever listens.
//!
//! The runtime emits `connect accept deliver fin rst drop hold` (streams), `open write read sync sync-dir rename remove
//! disk-fault power-off power-on` (disks), `clock-step` (clocks), `node-start node-end` (nodes). Fields are small
//! numbers and paths. Without a sink an event costs one branch.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::world;

/// One field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Int(i64),
    /// A word or a path.
    Text(&'a str),
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Nanoseconds of true simulated time since the world began, whatever the node's clock reads.
    pub at_nanos: u64,
    /// Where: the node's number as madsim counts; 0 is the supervisor.
    pub node: u64,
    /// What happened.
    pub kind: &'static str,
    /// Its particulars, by name.
    pub fields: &'a [(&'static str, Value<'a>)],
}

/// Who listens to events.
pub trait Sink {
    /// Hears one event, in the order of their happening. What it does may itself emit.
    fn event(&self, event: &Event<'_>);
}

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
    static SINK: RefCell<Option<Rc<dyn Sink>>> = const { RefCell::new(None) };
}

/// Sets who listens on this thread from now on. [`super::install`] leaves it as it is.
pub fn set_sink(sink: Option<Rc<dyn Sink>>) {
    LISTENING.set(sink.is_some());
    let before = SINK.replace(sink);
    // Dropped after the slot is free again: its destructor may look at the trace.
    drop(before);
}

/// Tells an event of the node whose task is running.
#[inline]
pub fn emit(kind: &'static str, fields: &[(&'static str, Value<'_>)]) {
    if LISTENING.get() {
        tell(world::current_node(), kind, fields);
    }
}

/// Tells an event of `node`, which need not be the one whose task is running.
#[inline]
pub fn emit_for(node: u64, kind: &'static str, fields: &[(&'static str, Value<'_>)]) {
    if LISTENING.get() {
        tell(node, kind, fields);
    }
}

#[cold]
fn tell(node: u64, kind: &'static str, fields: &[(&'static str, Value<'_>)]) {
    if world::has_ended() {
        return;
    }
    let sink = SINK.with_borrow(Clone::clone);
    if let Some(sink) = sink {
        sink.event(&Event {
            at_nanos: world::now_nanos(),
            node,
            kind,
            fields,
        });
    }
}
