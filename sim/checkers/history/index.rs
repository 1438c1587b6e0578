//! A history, looked at once: who wrote what, who read it, where it lies.

use super::expectations::{Expectations, KeyExpectation};
use super::floor;
use crate::history::{Acks, Body, History, Index, Key, Operation, Process, Read, Sending, Stage};
use crate::history::{Send, Value};
use std::collections::BTreeMap;
use types::Offset;

/// An operation from its start to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Where it starts.
    pub invoke: Index,
    /// Where it ends, if it did.
    pub end: Option<Index>,
}

/// How long an answer may have waited for the poll that gives it: far less than lies between the last loss of power
/// of a run and its final reads, in which nothing is excused.
const ANSWER_WAITS_NANOS: u64 = 10_000_000_000;

/// One attempt to write a value to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Write {
    /// What.
    pub value: Value,
    /// The operation's start.
    pub invoke: Index,
    /// The operation's end, or its start if it has none.
    pub end: Index,
    /// Whether the operation has an end.
    pub is_ended: bool,
    /// How it ended; never [`Stage::Invoke`].
    pub stage: Stage,
    /// The producer's effective configuration.
    pub sending: Sending,
    /// The offset that the broker named, if it did.
    pub offset: Option<Offset>,
    /// Whether a loss of power took the offset with the broker's right.
    pub is_excused: bool,
}

/// One value in one poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// What.
    pub value: Value,
    /// Where.
    pub offset: Offset,
    /// The poll's end.
    pub operation: Index,
    /// Whether the poll succeeded.
    pub is_ok: bool,
    /// Whether a loss of power took the offset with the broker's right.
    pub is_excused: bool,
}

/// Who says that a value lies at an offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// A poll of any outcome: consumers are shown what is safe, or nothing.
    Poll,
    /// The acknowledgement of a send.
    Send,
}

/// A value at an offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seen {
    /// Where.
    pub offset: Offset,
    /// What.
    pub value: Value,
    /// Who says so.
    pub source: Source,
    /// The operation's end.
    pub operation: Index,
}

/// All that is known of one key.
#[derive(Debug)]
pub struct KeyLog {
    /// Which key.
    pub key: Key,
    /// What is expected of it.
    pub expected: KeyExpectation,
    /// Offsets below may have been deleted with right.
    pub floor: Offset,
    /// Whether its topic was deleted, or may have been.
    pub is_deleted: bool,
    /// Attempts to write, by value.
    pub writes: Vec<Write>,
    /// Values read, by value and offset.
    pub readings: Vec<Reading>,
    /// Which value lies where, by offset; without what is excused.
    pub seen: Vec<Seen>,
    /// Offsets that a reader must not leave out, ascending: those of polls, and of acknowledgements at acks=all.
    pub visible: Vec<Offset>,
}

impl KeyLog {
    /// The attempts to write `value`; several if a client sent it again as something new.
    pub fn writers(&self, value: Value) -> &[Write] {
        equal_range(&self.writes, |write| write.value.cmp(&value))
    }

    /// Where and by whom `value` was read.
    pub fn readers(&self, value: Value) -> &[Reading] {
        equal_range(&self.readings, |reading| reading.value.cmp(&value))
    }

    /// Whether a visible offset lies in `from..until` that was not deleted with right.
    pub fn first_visible(&self, from: Offset, until: Offset) -> Option<Offset> {
        let from = from.max(self.floor);
        let at = self.visible.partition_point(|&offset| offset < from);
        self.visible
            .get(at)
            .copied()
            .filter(|&offset| offset < until)
    }

    /// Where a write lies: as the broker said, or the only place where polls saw it.
    pub fn offset_of(&self, write: &Write) -> Option<Offset> {
        if write.is_excused {
            return None;
        }
        if write.offset.is_some() {
            return write.offset;
        }
        let readers = self.readers(write.value);
        let first = readers.first()?;
        let is_only = readers
            .iter()
            .all(|reading| reading.offset == first.offset && !reading.is_excused);
        (is_only && self.writers(write.value).len() == 1).then_some(first.offset)
    }
}

/// A history with its indexes.
#[derive(Debug)]
pub struct Indexed<'a> {
    /// The history.
    pub history: &'a History,
    /// What the run knows.
    pub expectations: &'a Expectations,
    /// Operations in the order of their starts.
    pub calls: Vec<Call>,
    /// All keys, ascending.
    pub logs: Vec<KeyLog>,
}

impl<'a> Indexed<'a> {
    /// Looks at `history` once.
    pub fn new(history: &'a History, expectations: &'a Expectations) -> Indexed<'a> {
        let mut indexed = Indexed {
            history,
            expectations,
            calls: calls(history),
            logs: Vec::new(),
        };
        let mut logs = BTreeMap::new();
        for call in &indexed.calls {
            indexed.collect(call, &mut logs);
        }
        floor::apply(&indexed, &mut logs);
        indexed.logs = logs.into_values().collect();
        for log in &mut indexed.logs {
            arrange(log);
        }
        indexed
    }

    /// The log of `key`, if the key was ever touched.
    pub fn log(&self, key: &Key) -> Option<&KeyLog> {
        let at = self.logs.binary_search_by(|log| log.key.cmp(key)).ok()?;
        Some(&self.logs[at])
    }

    /// The operation at `index`.
    pub fn operation(&self, index: Index) -> &'a Operation {
        &self.history.operations[index as usize]
    }

    /// When the operation at `index` was told.
    pub fn time(&self, index: Index) -> u64 {
        self.operation(index).time
    }

    /// What a call asked, or what it was answered if it ended.
    pub fn told(&self, call: &Call) -> &'a Operation {
        self.operation(call.end.unwrap_or(call.invoke))
    }

    /// How a call ended: without an end, nobody knows.
    pub fn stage(&self, call: &Call) -> Stage {
        call.end
            .map_or(Stage::Info, |end| self.operation(end).stage)
    }

    fn collect(&self, call: &Call, logs: &mut BTreeMap<Key, KeyLog>) {
        match &self.told(call).body {
            Body::Send { sending, sends } => {
                for send in sends {
                    let log = log_of(logs, self.expectations, send.key);
                    log.writes.push(self.write(call, *sending, send, log));
                }
            }
            Body::Poll { reads, .. } => {
                for read in reads {
                    let log = log_of(logs, self.expectations, read.key);
                    self.read(call, read, log);
                }
            }
            Body::Assign { keys, .. } | Body::Subscribe { keys, .. } => {
                for key in keys {
                    log_of(logs, self.expectations, *key);
                }
            }
            _ => {}
        }
    }

    fn write(&self, call: &Call, said: Sending, send: &Send, log: &KeyLog) -> Write {
        let operation = self.told(call);
        let stage = match (send.stage, self.stage(call)) {
            (_, Stage::Invoke) => Stage::Info,
            (Stage::Invoke, whole) => whole,
            (own, _) => own,
        };
        let invoked = self.time(call.invoke);
        let is_excused = send
            .offset
            .is_some_and(|offset| log.expected.excuses(offset, invoked));
        Write {
            value: send.value,
            invoke: call.invoke,
            end: operation.index,
            is_ended: call.end.is_some(),
            stage,
            sending: self.expectations.sending(operation, said),
            offset: send.offset.filter(|_| stage == Stage::Ok),
            is_excused,
        }
    }

    fn read(&self, call: &Call, read: &Read, log: &mut KeyLog) {
        let operation = self.told(call);
        let invoked = self.time(call.invoke);
        let asked = read.asked.map_or(invoked, |asked| asked.min(invoked));
        for &(offset, value) in &read.records {
            log.readings.push(Reading {
                value,
                offset,
                operation: operation.index,
                is_ok: operation.stage == Stage::Ok,
                is_excused: log.expected.excuses(offset, asked)
                    || self.is_late_answer(log, offset, value, invoked),
            });
        }
    }

    /// Whether what a poll that was invoked at `invoked` gave may be the answer to a fetch that an earlier one had sent
    /// before power was lost: a value of before then, not long after.
    fn is_late_answer(&self, log: &KeyLog, offset: Offset, value: Value, invoked: u64) -> bool {
        let asked = invoked.saturating_sub(ANSWER_WAITS_NANOS);
        let losses = log.expected.losses_at(offset, asked);
        losses.into_iter().any(|at| {
            let mut writes = log.writes.iter().filter(|write| write.value == value);
            writes.any(|write| self.time(write.invoke) <= at)
        })
    }
}

fn log_of<'a>(
    logs: &'a mut BTreeMap<Key, KeyLog>,
    expectations: &Expectations,
    key: Key,
) -> &'a mut KeyLog {
    logs.entry(key).or_insert_with(|| KeyLog {
        key,
        expected: expectations.key(&key),
        floor: 0,
        is_deleted: false,
        writes: Vec::new(),
        readings: Vec::new(),
        seen: Vec::new(),
        visible: Vec::new(),
    })
}

/// Starts and ends, joined by process.
fn calls(history: &History) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: BTreeMap<Process, usize> = BTreeMap::new();
    for operation in &history.operations {
        if operation.stage == Stage::Invoke {
            open.insert(operation.process, calls.len());
            calls.push(Call {
                invoke: operation.index,
                end: None,
            });
        } else if let Some(call) = open.remove(&operation.process) {
            calls[call].end = Some(operation.index);
        }
    }
    calls
}

/// Sorts what was collected and derives what lies where.
fn arrange(log: &mut KeyLog) {
    log.writes.sort_by_key(|write| (write.value, write.invoke));
    log.readings
        .sort_by_key(|reading| (reading.value, reading.offset, reading.operation));
    let mut seen = Vec::with_capacity(log.writes.len() + log.readings.len());
    let mut visible = Vec::with_capacity(log.readings.len());
    for reading in log.readings.iter().filter(|reading| !reading.is_excused) {
        visible.push(reading.offset);
        seen.push(Seen {
            offset: reading.offset,
            value: reading.value,
            source: Source::Poll,
            operation: reading.operation,
        });
    }
    for write in log.writes.iter().filter(|write| !write.is_excused) {
        let Some(offset) = write.offset else {
            continue;
        };
        if write.sending.acks == Acks::All {
            visible.push(offset);
        }
        seen.push(Seen {
            offset,
            value: write.value,
            source: Source::Send,
            operation: write.end,
        });
    }
    seen.sort_unstable();
    visible.sort_unstable();
    visible.dedup();
    log.seen = seen;
    log.visible = visible;
}

/// The part of a sorted slice that compares equal.
fn equal_range<T>(sorted: &[T], compare: impl Fn(&T) -> std::cmp::Ordering) -> &[T] {
    let from = sorted.partition_point(|item| compare(item).is_lt());
    let length = sorted[from..].partition_point(|item| compare(item).is_eq());
    &sorted[from..from + length]
}
