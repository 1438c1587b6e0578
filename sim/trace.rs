//! The sink of a run's trace: hashes every event, counts, writes them out if asked, and tells when something that a
//! fault waits for has happened.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;

use runtime::simulated::trace::{Event, Sink, Value};
use runtime::sync::Notify;

use crate::marks::{self, Test};
use crate::plan;

/// Nanoseconds that one partial hash covers.
const SLICE_NANOS: u64 = 100_000_000;

/// A rolling hash of numbers and texts.
#[derive(Clone, Copy)]
struct Rolling(u64);

impl Rolling {
    const START: Rolling = Rolling(0x9e37_79b9_7f4a_7c15);

    fn number(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.0 = (mixed ^ (mixed >> 29)).rotate_left(23);
    }

    fn text(&mut self, text: &str) {
        let mut chunks = text.as_bytes().chunks_exact(8);
        for chunk in &mut chunks {
            self.number(u64::from_le_bytes(chunk.try_into().expect("eight bytes")));
        }
        let mut last = [0u8; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        self.number(u64::from_le_bytes(last) ^ ((text.len() as u64) << 56));
    }

    fn event(&mut self, event: &Event<'_>) {
        self.number(event.at_nanos);
        self.number(event.node);
        self.text(event.kind);
        for (name, value) in event.fields {
            self.text(name);
            match value {
                Value::Int(number) => self.number(*number as u64),
                Value::Text(text) => self.text(text),
            }
        }
    }
}

/// A figure of a text, the same in every build.
pub fn digest(text: &str) -> u64 {
    let mut rolling = Rolling::START;
    rolling.text(text);
    rolling.0
}

/// Something that a fault or a mark waits for.
struct Awaited {
    waits: Waits,
    event: plan::Event,
    left: u32,
}

/// Who waits.
enum Waits {
    /// The fault at this place in the plan.
    Fault(usize),
    /// A mark of this name.
    Mark(String),
}

/// Where a trace goes, and what is known of it.
pub struct TraceSink {
    hash: Cell<Rolling>,
    events: Cell<u64>,
    slices: RefCell<BTreeMap<u64, (u64, Rolling)>>,
    names: RefCell<BTreeMap<u64, String>>,
    counts: RefCell<BTreeMap<&'static str, u64>>,
    faults: RefCell<BTreeMap<String, u64>>,
    marks: RefCell<BTreeMap<String, u64>>,
    /// Marks by the kind of event that may hit them.
    seen_by: BTreeMap<&'static str, Vec<&'static marks::Mark>>,
    awaited: RefCell<Vec<Awaited>>,
    happened: RefCell<Vec<usize>>,
    workload_began_nanos: Cell<Option<u64>>,
    wake: Notify,
    out: RefCell<Option<Box<dyn Write>>>,
    is_closed: Cell<bool>,
    last: Cell<(u64, u64)>,
}

impl TraceSink {
    /// A sink that writes each event as a line to `out`, if there is one.
    pub fn new(out: Option<Box<dyn Write>>) -> Rc<TraceSink> {
        Rc::new(TraceSink {
            hash: Cell::new(Rolling::START),
            events: Cell::new(0),
            slices: RefCell::default(),
            names: RefCell::default(),
            counts: RefCell::default(),
            faults: RefCell::default(),
            marks: RefCell::default(),
            seen_by: marks::by_kind(),
            awaited: RefCell::default(),
            happened: RefCell::default(),
            workload_began_nanos: Cell::new(None),
            wake: Notify::new(),
            out: RefCell::new(out),
            is_closed: Cell::new(false),
            last: Cell::new((0, 0)),
        })
    }

    /// Gives a node its name.
    pub fn name(&self, node: u64, name: &str) {
        self.names.borrow_mut().insert(node, name.to_owned());
    }

    /// From now on faults may come.
    pub fn workload_begins(&self, at_nanos: u64) {
        self.workload_began_nanos.set(Some(at_nanos));
    }

    /// Waits for an event on behalf of a fault.
    pub fn await_event(&self, fault: usize, event: plan::Event) {
        self.wait(Waits::Fault(fault), event);
    }

    /// Takes an event for a mark of this name.
    pub fn await_mark(&self, name: &str, event: plan::Event) {
        self.wait(Waits::Mark(name.to_owned()), event);
    }

    fn wait(&self, waits: Waits, event: plan::Event) {
        let left = event.nth.max(1);
        self.awaited
            .borrow_mut()
            .push(Awaited { waits, event, left });
    }

    /// Forgets what faults waited for.
    pub fn await_nothing(&self) {
        let is_mark = |one: &Awaited| matches!(one.waits, Waits::Mark(_));
        self.awaited.borrow_mut().retain(is_mark);
    }

    /// The faults whose event has happened since it was last asked.
    pub fn take_happened(&self) -> Vec<usize> {
        std::mem::take(&mut self.happened.borrow_mut())
    }

    /// Completes when something that was waited for has happened.
    pub async fn happening(&self) {
        if self.happened.borrow().is_empty() {
            self.wake.notified().await;
        }
    }

    /// The trace ends here; what comes after is not counted.
    pub fn close(&self) {
        if self.is_closed.replace(true) {
            return;
        }
        if let Some(out) = self.out.borrow_mut().as_mut() {
            let _ = out.flush();
        }
    }

    /// The hash of all events.
    pub fn hash(&self) -> String {
        format!("{:016x}", self.hash.get().0)
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events.get()
    }

    /// When the last event was, in simulated nanoseconds.
    pub fn last_nanos(&self) -> u64 {
        self.last.get().0
    }

    /// Where the last event was.
    pub fn last_node(&self) -> String {
        let names = self.names.borrow();
        names
            .get(&self.last.get().1)
            .cloned()
            .unwrap_or_else(|| "world".into())
    }

    /// How often each kind of event came.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.borrow().clone()
    }

    /// The faults that took effect, by kind.
    pub fn faults(&self) -> BTreeMap<String, u64> {
        self.faults.borrow().clone()
    }

    /// The marks that were hit.
    pub fn marks(&self) -> BTreeMap<String, u64> {
        self.marks.borrow().clone()
    }

    fn slice(&self, event: &Event<'_>, digest: u64) {
        let mut slices = self.slices.borrow_mut();
        let slice = event.at_nanos / SLICE_NANOS;
        let entry = slices.entry(event.node).or_insert((slice, Rolling::START));
        if entry.0 != slice {
            if let Some(out) = self.out.borrow_mut().as_mut() {
                let _ = writeln!(
                    out,
                    "# slice {} node {} hash {:016x}",
                    entry.0, event.node, entry.1.0
                );
            }
            entry.0 = slice;
        }
        entry.1.number(digest);
    }

    fn count(&self, event: &Event<'_>) {
        *self.counts.borrow_mut().entry(event.kind).or_default() += 1;
        let text = |index: usize| match event.fields.get(index) {
            Some((_, Value::Text(text))) => *text,
            _ => "",
        };
        let name = match event.kind {
            "fault" => text(0).to_owned(),
            // What happened to which operation: `sync-eio`.
            "disk-fault" => {
                crate::watch::disk_fault(event.node, text(0), text(1), text(2));
                format!("{}-{}", text(1), text(0))
            }
            _ => return,
        };
        *self.faults.borrow_mut().entry(name).or_default() += 1;
    }

    /// Marks that are seen in events, from the workload's beginning on.
    fn mark(&self, event: &Event<'_>) {
        let Some(marks) = self.seen_by.get(event.kind) else {
            return;
        };
        if self.workload_began_nanos.get().is_none() {
            return;
        }
        for mark in marks {
            if mark.seen.tests.iter().all(|test| holds(test, event)) {
                let mut marks = self.marks.borrow_mut();
                *marks.entry(mark.name.to_owned()).or_default() += 1;
            }
        }
    }

    fn watch(&self, event: &Event<'_>) {
        let mut awaited = self.awaited.borrow_mut();
        if awaited.is_empty() {
            return;
        }
        let Some(began) = self.workload_began_nanos.get() else {
            return;
        };
        let at_ms = event.at_nanos.saturating_sub(began) / 1_000_000;
        let names = self.names.borrow();
        let name = names.get(&event.node).map_or("", String::as_str);
        let mut has_happened = false;
        awaited.retain_mut(|one| {
            if !matches(&one.event, event, name, at_ms) {
                return true;
            }
            one.left -= 1;
            match &one.waits {
                _ if one.left > 0 => {}
                Waits::Fault(fault) => {
                    self.happened.borrow_mut().push(*fault);
                    has_happened = true;
                }
                Waits::Mark(name) => {
                    self.marks.borrow_mut().insert(name.clone(), 1);
                }
            }
            one.left > 0
        });
        if has_happened {
            self.wake.notify_one();
        }
    }

    fn write(&self, event: &Event<'_>) {
        let mut out = self.out.borrow_mut();
        let Some(out) = out.as_mut() else { return };
        let names = self.names.borrow();
        let node = names.get(&event.node).map_or("world", String::as_str);
        let (seconds, micros) = (
            event.at_nanos / 1_000_000_000,
            event.at_nanos / 1_000 % 1_000_000,
        );
        let _ = write!(out, "{seconds:>4}.{micros:06} {node:<10} {}", event.kind);
        for (name, value) in event.fields {
            let _ = match value {
                Value::Int(number) => write!(out, " {name}={number}"),
                Value::Text(text) => write!(out, " {name}={text}"),
            };
        }
        let _ = writeln!(out);
    }
}

fn matches(awaited: &plan::Event, event: &Event<'_>, node: &str, at_ms: u64) -> bool {
    let is_kind = match awaited.kind.as_str() {
        // Any operation of a disk.
        "disk" => matches!(
            event.kind,
            "open" | "read" | "write" | "sync" | "sync-dir" | "rename" | "remove"
        ),
        kind => kind == event.kind,
    };
    is_kind
        && at_ms >= awaited.after_ms
        && (awaited.before_ms == 0 || at_ms < awaited.before_ms)
        && (awaited.node.is_empty() || awaited.node == node)
        && (awaited.contains.is_empty() || has(event, &awaited.contains))
}

/// Whether a text of the event contains `wanted`, or, of `NAME=VALUE`, whether that field has that value.
fn has(event: &Event<'_>, wanted: &str) -> bool {
    if let Some((field, wanted)) = wanted.split_once('=') {
        return event.fields.iter().any(|(name, value)| {
            *name == field
                && match value {
                    Value::Int(number) => wanted.parse() == Ok(*number),
                    Value::Text(text) => *text == wanted,
                }
        });
    }
    event
        .fields
        .iter()
        .any(|(_, value)| matches!(value, Value::Text(text) if text.contains(wanted)))
}

/// Whether a test of a mark holds.
fn holds(test: &Test, event: &Event<'_>) -> bool {
    let field = |wanted: &str| {
        let found = event.fields.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| *value)
    };
    match *test {
        Test::Has(name, part) => {
            matches!(field(name), Some(Value::Text(text)) if text.contains(part))
        }
        Test::Equals(name, wanted) => {
            matches!(field(name), Some(Value::Text(text)) if text == wanted)
        }
        Test::Said(name) => matches!(field(name), Some(Value::Text(text)) if !text.is_empty()),
        Test::Is(name, wanted) => {
            matches!(field(name), Some(Value::Int(number)) if number == wanted)
        }
        Test::Above(name, least) => {
            matches!(field(name), Some(Value::Int(number)) if number > least)
        }
    }
}

impl Sink for TraceSink {
    fn event(&self, event: &Event<'_>) {
        if self.is_closed.get() {
            return;
        }
        let mut digest = Rolling::START;
        digest.event(event);
        let mut hash = self.hash.get();
        hash.number(digest.0);
        self.hash.set(hash);
        self.events.set(self.events.get() + 1);
        self.last.set((event.at_nanos, event.node));
        self.slice(event, digest.0);
        self.write(event);
        self.count(event);
        self.mark(event);
        self.watch(event);
    }
}
