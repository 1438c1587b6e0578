//! What happens in a simulated world, told event by event to one sink of the thread.

use std::cell::RefCell;
use std::rc::Rc;

use madsim::plugin;
use madsim::time::TimeHandle;

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, in the unit that the field's name says.
    Int(i64),
    /// A path or a name.
    Text(&'a str),
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// True simulated time since the start of the world, in nanoseconds.
    pub at_nanos: u64,
    /// The node that it happened to, as madsim numbers it.
    pub node: u64,
    /// What kind of thing.
    pub kind: &'static str,
    /// Its details, in an order that the kind fixes.
    pub fields: &'a [(&'static str, Value<'a>)],
}

/// Who is told.
pub trait Sink {
    /// Takes note of `event`. It may call back into the simulated world: no lock is held.
    fn event(&self, event: &Event<'_>);
}

thread_local! {
    static SINK: RefCell<Option<Rc<dyn Sink>>> = const { RefCell::new(None) };
}

/// Tells everything from now on to `sink`, or nobody.
pub fn set_sink(sink: Option<Rc<dyn Sink>>) {
    SINK.set(sink);
}

/// Tells of an event at the node of the current task.
pub fn emit(kind: &'static str, fields: &[(&'static str, Value<'_>)]) {
    if SINK.with_borrow(Option::is_some) {
        emit_for(current_node(), kind, fields);
    }
}

/// Tells of an event at `node`.
pub fn emit_for(node: u64, kind: &'static str, fields: &[(&'static str, Value<'_>)]) {
    let Some(sink) = SINK.with_borrow(Clone::clone) else {
        return;
    };
    let Some(time) = TimeHandle::try_current() else {
        return;
    };
    sink.event(&Event {
        at_nanos: u64::try_from(time.elapsed().as_nanos()).expect("a run ends within 500 years"),
        node,
        kind,
        fields,
    });
}

fn current_node() -> u64 {
    plugin::node()
        .to_string()
        .parse()
        .expect("madsim prints a node's number")
}
