//! Requests that wait for a write, a flush, a replica or the log's start.

use std::collections::{BTreeMap, BTreeSet};

use types::{Mono, Offset};

/// What a parked produce waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wait {
    /// The log's end to reach the end of its batch.
    Written,
    /// The high watermark to reach it.
    Committed,
}

/// A produce whose batch has its offsets and whose answer is not yet true.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParkedProduce {
    pub token: u64,
    pub base_offset: Offset,
    /// The offset after its last record.
    pub end_offset: Offset,
    pub wait: Wait,
    /// acks=0: only a failure is answered.
    pub silent: bool,
    pub deadline: Mono,
    pub log_append_time: Option<i64>,
}

/// A deletion whose log start has not moved yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParkedDeletion {
    pub token: u64,
    pub offset: Offset,
    pub deadline: Mono,
}

/// Everything parked on one replica.
///
/// Produces are ordered by the offset they wait for, so that those which a new end completes are the first; tokens are
/// unique, so that the order among equals is that of the driver's tokens.
#[derive(Default, Debug)]
pub struct Parked {
    written: BTreeMap<(Offset, u64), ParkedProduce>,
    committed: BTreeMap<(Offset, u64), ParkedProduce>,
    deletions: BTreeMap<(Offset, u64), ParkedDeletion>,
    deadlines: BTreeSet<(Mono, Kind, Offset, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Produce(Wait),
    Deletion,
}

/// Something whose deadline has passed.
pub enum Expired {
    Produce(ParkedProduce),
    Deletion(ParkedDeletion),
}

impl Parked {
    pub fn len(&self) -> usize {
        self.written.len() + self.committed.len() + self.deletions.len()
    }

    pub fn park(&mut self, produce: ParkedProduce) {
        let ParkedProduce {
            token,
            end_offset,
            wait,
            deadline,
            ..
        } = produce;
        let before = self.queue(wait).insert((end_offset, token), produce);
        assert!(before.is_none(), "token {token} is parked twice");
        if deadline != Mono::NEVER {
            self.deadlines
                .insert((deadline, Kind::Produce(wait), end_offset, token));
        }
    }

    pub fn park_deletion(&mut self, deletion: ParkedDeletion) {
        let ParkedDeletion {
            token,
            offset,
            deadline,
        } = deletion;
        let before = self.deletions.insert((offset, token), deletion);
        assert!(before.is_none(), "token {token} is parked twice");
        if deadline != Mono::NEVER {
            self.deadlines
                .insert((deadline, Kind::Deletion, offset, token));
        }
    }

    /// The next produce that `end` completes.
    pub fn take_reached(&mut self, wait: Wait, end: Offset) -> Option<ParkedProduce> {
        let entry = self
            .queue(wait)
            .first_entry()
            .filter(|entry| entry.key().0 <= end)?;
        let produce = entry.remove();
        self.forget_deadline(&produce);
        Some(produce)
    }

    /// The next produce that waits for something above `end`.
    pub fn take_above(&mut self, end: Offset) -> Option<ParkedProduce> {
        let above = (end.saturating_add(1), 0);
        let written = self.written.range(above..).next();
        let next = written
            .into_iter()
            .chain(self.committed.range(above..).next());
        let (&key, produce) = next.min_by_key(|(key, _)| **key)?;
        let wait = produce.wait;
        let produce = self.queue(wait).remove(&key)?;
        self.forget_deadline(&produce);
        Some(produce)
    }

    /// The next deletion that a log start at `log_start` completes.
    pub fn take_deleted(&mut self, log_start: Offset) -> Option<ParkedDeletion> {
        let entry = self
            .deletions
            .first_entry()
            .filter(|entry| entry.key().0 <= log_start)?;
        let deletion = entry.remove();
        let ParkedDeletion {
            token,
            offset,
            deadline,
        } = deletion;
        self.deadlines
            .remove(&(deadline, Kind::Deletion, offset, token));
        Some(deletion)
    }

    /// The next request whose deadline is not after `now`.
    pub fn take_expired(&mut self, now: Mono) -> Option<Expired> {
        let &(_, kind, offset, token) = self.deadlines.first().filter(|first| first.0 <= now)?;
        self.deadlines.pop_first();
        let known = "a deadline belongs to something parked";
        Some(match kind {
            Kind::Produce(wait) => {
                Expired::Produce(self.queue(wait).remove(&(offset, token)).expect(known))
            }
            Kind::Deletion => {
                Expired::Deletion(self.deletions.remove(&(offset, token)).expect(known))
            }
        })
    }

    /// The earliest deadline.
    pub fn deadline(&self) -> Mono {
        self.deadlines.first().map_or(Mono::NEVER, |first| first.0)
    }

    /// Panics if something waits for what has come.
    pub fn check(&self, log_end: Offset, high_watermark: Offset, log_start: Offset) {
        let first = |queue: &BTreeMap<(Offset, u64), ParkedProduce>| {
            queue
                .first_key_value()
                .map_or(Offset::MAX, |(key, _)| key.0)
        };
        assert!(
            first(&self.written) > log_end,
            "a produce waits although it is written"
        );
        assert!(
            first(&self.committed) > high_watermark,
            "a produce waits although committed"
        );
        let deletion = self
            .deletions
            .first_key_value()
            .map_or(Offset::MAX, |(key, _)| key.0);
        assert!(
            deletion > log_start,
            "a deletion waits although the log start has moved"
        );
        assert!(
            self.deadlines.len() <= self.len(),
            "a deadline belongs to nothing parked"
        );
    }

    fn queue(&mut self, wait: Wait) -> &mut BTreeMap<(Offset, u64), ParkedProduce> {
        match wait {
            Wait::Written => &mut self.written,
            Wait::Committed => &mut self.committed,
        }
    }

    fn forget_deadline(&mut self, produce: &ParkedProduce) {
        let ParkedProduce {
            token,
            end_offset,
            wait,
            deadline,
            ..
        } = *produce;
        self.deadlines
            .remove(&(deadline, Kind::Produce(wait), end_offset, token));
    }
}
