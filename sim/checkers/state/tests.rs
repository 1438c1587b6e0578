//! Each checker fires at the shortest sequence of events that is wrong, and keeps still at its legal neighbour.

mod answers;
mod cluster;
mod logs;
mod metadata;
mod model;
mod producers;
mod restarts;

use super::events::{Batch, Event, Produced, ProducerSeen, ReplicaSeen, Sent};
use super::{Death, Recovered, Settings, State};
use crate::history::story::key;
use crate::history::{Acks, Durability, Isolation, Key};
use std::collections::BTreeSet;
use types::Offset;

const SECOND: u64 = 1_000_000_000;

/// Tells events about one partition of one node, a second apart.
struct Told {
    state: State,
    now: u64,
    seen: ReplicaSeen,
}

type Tale = fn(&mut Told);

/// Tells each tale and compares who fires.
fn tell(table: &[(&str, Tale, &str)]) {
    tell_with(&Settings::default(), table);
}

fn tell_with(settings: &Settings, table: &[(&str, Tale, &str)]) {
    for (name, tale, expected) in table {
        let mut told = Told::new(settings.clone());
        tale(&mut told);
        let report = told.state.finish();
        let names: BTreeSet<_> = report.findings.iter().map(|one| one.checker).collect();
        let names: Vec<_> = names.iter().map(|name| name.name()).collect();
        assert_eq!(names.join(" "), *expected, "{name}: {:#?}", report.findings);
    }
}

fn a() -> Key {
    key("a")
}

/// A batch of a plain producer, with a CRC of its own.
fn batch(base_offset: Offset, last_offset: Offset) -> Batch {
    Batch {
        base_offset,
        last_offset,
        leader_epoch: 1,
        crc: 100 + base_offset as u32,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        max_timestamp: 1_000 + base_offset,
        is_control: false,
        attributes: 0,
        size_bytes: 100,
    }
}

/// A batch of producer 7, epoch 0.
fn numbered(base_offset: Offset, last_offset: Offset, base_sequence: i32) -> Batch {
    Batch {
        producer_id: 7,
        producer_epoch: 0,
        base_sequence,
        ..batch(base_offset, last_offset)
    }
}

fn producer(last_sequence: i32, last_offset: Offset) -> ProducerSeen {
    ProducerSeen {
        producer_id: 7,
        producer_epoch: 0,
        last_sequence: Some(last_sequence),
        last_offset: Some(last_offset),
        window: None,
    }
}

impl Told {
    fn new(settings: Settings) -> Told {
        let seen = ReplicaSeen {
            node: 1,
            key: a(),
            leads: Some(1),
            log_start: 0,
            flushed: 0,
            log_end: 0,
            assigned_end: 0,
            high_watermark: 0,
            last_stable: 0,
            epochs: vec![(1, 0)],
            producers: None,
        };
        Told {
            state: State::new(settings),
            now: 0,
            seen,
        }
    }

    fn event(&mut self, event: Event) {
        self.now += SECOND;
        self.state.event(self.now, &event);
    }

    /// A write fails: whoever asked knows at once.
    fn disk_failed(&mut self) {
        self.event(Event::DiskFailed { node: 1, key: a() });
        self.event(Event::FailureTold { node: 1, key: a() });
    }

    /// A batch is queued.
    fn append(&mut self, batch: Batch) {
        self.event(Event::Appended {
            node: 1,
            key: a(),
            batch,
        });
    }

    /// The replica is stepped, changed like this.
    fn step(&mut self, change: impl FnOnce(&mut ReplicaSeen)) {
        change(&mut self.seen);
        self.event(Event::Replica(self.seen.clone()));
    }

    /// Everything up to `end` is written, flushed and committed.
    fn commit(&mut self, end: Offset) {
        self.step(|seen| {
            seen.assigned_end = end;
            seen.log_end = end;
            seen.flushed = end;
            seen.high_watermark = end;
            seen.last_stable = end;
        });
    }

    /// Everything up to `end` is written and committed, and only `flushed` flushed: class *replicated*.
    fn write(&mut self, end: Offset, flushed: Offset) {
        self.state.set_class(a(), Durability::Replicated);
        self.step(|seen| {
            seen.assigned_end = end;
            seen.log_end = end;
            seen.flushed = flushed;
            seen.high_watermark = end;
            seen.last_stable = end;
        });
    }

    fn acknowledge(&mut self, acks: Acks, batch: Batch, offset: Offset) {
        let sent = Sent {
            crc: batch.crc,
            attributes: batch.attributes,
        };
        self.acknowledge_sent(acks, batch, sent, offset);
    }

    /// What was sent was stored as `batch`.
    fn acknowledge_sent(&mut self, acks: Acks, batch: Batch, sent: Sent, offset: Offset) {
        self.event(Event::Produced(Produced {
            node: 1,
            began: self.now,
            key: a(),
            acks,
            batch,
            sent,
            result: Ok(offset),
        }));
    }

    /// A poll at read_committed gets what lies below the high watermark.
    fn fetch(&mut self, offset: Offset) {
        self.fetch_since(self.now, offset);
    }

    /// One that came at this moment.
    fn fetch_since(&mut self, began: u64, offset: Offset) {
        let bound = self.seen.high_watermark;
        self.event(Event::Fetched(super::Fetched {
            node: 1,
            began,
            key: a(),
            isolation: Isolation::ReadCommitted,
            offset,
            error: types::ErrorCode::None,
            has_records: true,
            length_bytes: 0,
            records_end: None,
            high_watermark: bound,
            last_stable: bound,
            log_start: self.seen.log_start,
        }));
    }

    /// The node dies and comes back with a log that ends at `end`; `durable` is what the disk says.
    fn restart(&mut self, death: Death, durable: Option<Offset>, end: Offset) {
        let durable = durable.map(|durable| (a(), durable));
        self.event(Event::Died {
            node: 1,
            death,
            durable: durable.into_iter().collect(),
        });
        self.event(Event::Recovered(Recovered {
            node: 1,
            key: a(),
            death,
            log_start: self.seen.log_start,
            log_end: end,
            batches: None,
            is_fenced: false,
        }));
        let epoch = self.seen.leads.unwrap_or(0) + 1;
        self.step(|seen| {
            seen.leads = Some(epoch);
            seen.epochs.push((epoch, end));
            seen.assigned_end = end;
            seen.log_end = end;
            seen.flushed = end;
            seen.high_watermark = seen.log_start;
            seen.last_stable = seen.log_start;
        });
    }
}
