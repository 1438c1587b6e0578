//! What the simulated half tells of its events, to whoever watches the run.

use std::cell::RefCell;
use std::rc::Rc;

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Int(i64),
    /// A text, such as a path.
    Text(&'a str),
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// True simulated time since the start of the world, in nanoseconds.
    pub at_nanos: u64,
    /// The node it happened on.
    pub node: u64,
    /// What happened.
    pub kind: &'static str,
    /// What is known of it, in a fixed order by kind.
    pub fields: &'a [(&'static str, Value<'a>)],
}

/// Where events go.
pub trait Sink {
    /// Takes one event. It may act on the world, so that further events arrive before it returns.
    fn event(&self, event: &Event<'_>);
}

thread_local! {
    static SINK: RefCell<Option<Rc<dyn Sink>>> = const { RefCell::new(None) };
}

/// Sends the events of this thread's world to `sink`, or nowhere.
pub fn set_sink(sink: Option<Rc<dyn Sink>>) {
    SINK.set(sink);
}

/// Tells an event of the current task's node.
pub fn emit(kind: &'static str, fields: &[(&'static str, Value<'_>)]) {
    if SINK.with_borrow(Option::is_some) {
        emit_for(super::disk::current_node(), kind, fields);
    }
}

/// Tells an event of `node`.
pub fn emit_for(node: u64, kind: &'static str, fields: &[(&'static str, Value<'_>)]) {
    let Some(sink) = SINK.with_borrow(Clone::clone) else {
        return;
    };
    let at_nanos = madsim::time::TimeHandle::current().elapsed().as_nanos() as u64;
    sink.event(&Event {
        at_nanos,
        node,
        kind,
        fields,
    });
}
