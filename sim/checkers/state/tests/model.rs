//! A correct broker of one partition is never blamed, whatever happens to it; a broker with one bug is.

use super::super::events::{Batch, Fetched, Produced, ProducerSeen, ReplicaSeen, Sent};
use super::super::{Asked, Death, Event, OffsetsListed, Settings, State};
use super::{SECOND, a};
use crate::checkers::{CheckerId, Report};
use crate::history::{Acks, Durability, Isolation};
use std::collections::BTreeMap;
use types::{ErrorCode, Offset, Prng};

/// One bug of the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    None,
    /// An acknowledgement at acks=all does not wait for the flush.
    AcksEarly,
    /// A retried batch is appended again.
    AppendsAgain,
    /// A retried batch is answered with the end of the log.
    AnswersWrong,
    /// A loss of power takes one flushed batch.
    LosesFlushed,
    /// A restart forgets the producers.
    ForgetsProducers,
    /// A restart gives the offset of the last batch again.
    GivesAgain,
    /// Deletion passes the high watermark.
    DeletesAbove,
    /// A fetch shows what is not committed.
    ShowsAll,
}

struct Broker {
    bug: Bug,
    class: Durability,
    prng: Prng,
    state: State,
    now: u64,
    log: Vec<Batch>,
    /// Batches written, flushed and committed, and the log start.
    written: usize,
    flushed: usize,
    committed: usize,
    log_start: Offset,
    epochs: Vec<(i32, Offset)>,
    /// What each producer sends next, and its last batch.
    producers: BTreeMap<i64, (i32, Option<Batch>)>,
    forgets: bool,
    /// Where the log last began anew: whoever has batches only below is forgotten.
    anew_from: Offset,
}

impl Broker {
    fn run(seed: u64, bug: Bug) -> Report {
        let mut prng = Prng::new(seed, "broker");
        let class = match prng.chance(1, 2) {
            true => Durability::Flushed,
            false => Durability::Replicated,
        };
        let mut broker = Broker {
            bug,
            class,
            prng,
            state: State::new(Settings::default()),
            now: 0,
            log: Vec::new(),
            written: 0,
            flushed: 0,
            committed: 0,
            log_start: 0,
            epochs: vec![(0, 0)],
            producers: (0..3).map(|id| (id, (0, None))).collect(),
            forgets: false,
            anew_from: 0,
        };
        broker.state.set_class(a(), class);
        broker.see();
        for _ in 0..300 {
            broker.step();
        }
        broker.state.finish()
    }

    fn event(&mut self, event: Event) {
        self.now += self.prng.below(SECOND);
        self.state.event(self.now, &event);
    }

    fn end_of(&self, batches: usize) -> Offset {
        let last = batches.checked_sub(1).map(|last| self.log[last].end());
        last.unwrap_or(0)
    }

    fn see(&mut self) {
        let high_watermark = match self.bug {
            Bug::DeletesAbove => self.end_of(self.committed),
            _ => self.end_of(self.committed).max(self.log_start),
        };
        let seen = ReplicaSeen {
            node: 1,
            key: a(),
            leads: self.epochs.last().map(|last| last.0),
            log_start: self.log_start,
            flushed: self.end_of(self.flushed).max(self.log_start),
            log_end: self.end_of(self.written).max(self.log_start),
            assigned_end: self.end_of(self.log.len()).max(self.log_start),
            high_watermark,
            last_stable: high_watermark,
            epochs: self.epochs.clone(),
            producers: Some(self.remembered()),
        };
        self.event(Event::Replica(seen));
    }

    fn remembered(&self) -> Vec<ProducerSeen> {
        let mut last: BTreeMap<i64, &Batch> = BTreeMap::new();
        let there = self.log.iter().filter(|_| !self.forgets);
        for batch in there.filter(|batch| batch.base_offset >= self.anew_from) {
            last.insert(batch.producer_id, batch);
        }
        let seen = last.into_iter().map(|(producer_id, batch)| ProducerSeen {
            producer_id,
            producer_epoch: 0,
            last_sequence: Some(batch.last_sequence()),
            last_offset: Some(batch.last_offset),
            window: None,
        });
        seen.collect()
    }

    fn step(&mut self) {
        match self.prng.below(20) {
            0..6 => self.append(),
            6..9 => self.write(),
            9..11 => self.flush(),
            11..13 => self.acknowledge(),
            13 => self.retry(),
            14..16 => self.fetch(),
            16 => self.list(),
            17 => self.delete(),
            18 => self.die(Death::Kill),
            _ => self.die(Death::Power),
        }
    }

    fn append(&mut self) {
        let producer_id = self.prng.below(3) as i64;
        let (base_sequence, _) = self.producers[&producer_id];
        let base_offset = self.end_of(self.log.len()).max(self.log_start);
        let batch = Batch {
            base_offset,
            last_offset: base_offset + self.prng.below(4) as Offset,
            leader_epoch: self.epochs.last().map_or(0, |last| last.0),
            crc: self.prng.next_u64() as u32,
            producer_id,
            producer_epoch: 0,
            base_sequence,
            max_timestamp: self.now as i64,
            is_control: false,
            attributes: 0,
            size_bytes: 100,
        };
        let next = batch.last_sequence() + 1;
        self.producers.insert(producer_id, (next, Some(batch)));
        self.queue(batch);
    }

    fn queue(&mut self, batch: Batch) {
        self.log.push(batch);
        self.event(Event::Appended {
            node: 1,
            key: a(),
            batch,
        });
        self.see();
    }

    fn write(&mut self) {
        self.written = self.log.len();
        if self.class == Durability::Replicated {
            self.committed = self.written;
        }
        self.see();
    }

    fn flush(&mut self) {
        self.flushed = self.written;
        self.committed = self.written;
        self.see();
    }

    /// Answers some batch, as soon as it may be.
    fn acknowledge(&mut self) {
        let until = match self.bug {
            Bug::AcksEarly => self.written,
            _ => self.committed,
        };
        if until > 0 {
            let batch = self.log[self.prng.below(until as u64) as usize];
            self.answer(batch, batch.base_offset);
        }
    }

    fn answer(&mut self, batch: Batch, offset: Offset) {
        let offered = Batch {
            base_offset: 0,
            last_offset: batch.last_offset - batch.base_offset,
            leader_epoch: -1,
            ..batch
        };
        self.event(Event::Produced(Produced {
            began: 0,
            node: 1,
            key: a(),
            acks: Acks::All,
            batch: offered,
            sent: Sent {
                crc: batch.crc,
                attributes: batch.attributes,
            },
            result: Ok(offset),
        }));
    }

    /// A producer whose answer was lost sends its last batch again.
    fn retry(&mut self) {
        let producer_id = self.prng.below(3) as i64;
        let Some(batch) = self.producers[&producer_id].1 else {
            return;
        };
        let lies_at = self.log.iter().position(|one| one.is_same_content(&batch));
        if self.bug == Bug::AppendsAgain {
            let base_offset = self.end_of(self.log.len()).max(self.log_start);
            let length = batch.last_offset - batch.base_offset;
            self.queue(Batch {
                base_offset,
                last_offset: base_offset + length,
                leader_epoch: self.epochs.last().map_or(0, |last| last.0),
                ..batch
            });
        } else if lies_at.is_some_and(|at| at < self.committed) {
            let last = self.log[self.committed - 1].base_offset;
            match self.bug {
                Bug::AnswersWrong => self.answer(batch, last),
                _ => self.answer(batch, batch.base_offset),
            }
        }
    }

    fn fetch(&mut self) {
        let high_watermark = self.end_of(self.committed).max(self.log_start);
        let bound = match self.bug {
            Bug::ShowsAll => self.end_of(self.written).max(self.log_start),
            _ => high_watermark,
        };
        let offset = self.log_start + self.prng.below(20) as Offset;
        let is_outside = offset > self.end_of(self.written).max(self.log_start);
        self.event(Event::Fetched(Fetched {
            began: 0,
            node: 1,
            key: a(),
            isolation: Isolation::ReadCommitted,
            offset,
            error: match is_outside {
                true => ErrorCode::OffsetOutOfRange,
                false => ErrorCode::None,
            },
            has_records: offset < bound,
            length_bytes: 0,
            records_end: (offset < bound).then_some(bound),
            high_watermark,
            last_stable: high_watermark,
            log_start: self.log_start,
        }));
    }

    fn list(&mut self) {
        let (asked, offset) = match self.prng.below(3) {
            0 => (Asked::Earliest, Some(self.log_start)),
            1 => (
                Asked::Latest,
                Some(self.end_of(self.committed).max(self.log_start)),
            ),
            _ => {
                let time = self.prng.below(self.now) as i64;
                let live = |batch: &&Batch| batch.base_offset >= self.log_start;
                let mut committed = self.log[..self.committed].iter().filter(live);
                let found = committed.find(|batch| batch.max_timestamp >= time);
                (Asked::Timestamp(time), found.map(|batch| batch.base_offset))
            }
        };
        self.event(Event::OffsetsListed(OffsetsListed {
            began: 0,
            node: 1,
            key: a(),
            isolation: Isolation::ReadCommitted,
            asked,
            result: Ok(offset),
        }));
    }

    /// Deletion goes to the start of a batch, or to the high watermark.
    fn delete(&mut self) {
        let until = match self.bug {
            Bug::DeletesAbove => self.written,
            _ => self.committed,
        };
        if until > 0 {
            let at = self.prng.below(until as u64 + 1) as usize;
            self.log_start = self.log_start.max(self.end_of(at));
            self.see();
        }
    }

    fn die(&mut self, death: Death) {
        // Rare, so that there is a log to lose.
        if self.prng.chance(2, 3) {
            return;
        }
        let promised = match death {
            Death::Kill => self.written,
            Death::Power => self.flushed,
        };
        let more = (self.written - promised) as u64 + 1;
        let mut kept = promised + self.prng.below(more) as usize;
        if self.bug == Bug::LosesFlushed && death == Death::Power {
            kept = self.flushed.saturating_sub(1);
        }
        self.event(Event::Died {
            node: 1,
            death,
            durable: Vec::new(),
        });
        self.log.truncate(kept);
        self.written = kept;
        self.flushed = kept;
        self.committed = 0;
        self.forgets = self.bug == Bug::ForgetsProducers;
        if self.end_of(kept) < self.log_start {
            self.anew_from = self.log_start;
        }
        for (producer_id, next) in &mut self.producers {
            let own = self
                .log
                .iter()
                .rev()
                .find(|one| one.producer_id == *producer_id);
            *next = own.map_or((0, None), |one| (one.last_sequence() + 1, Some(*one)));
        }
        let epoch = self.epochs.last().map_or(0, |last| last.0) + 1;
        let end = self.end_of(kept).max(self.log_start);
        self.epochs.retain(|(_, start)| *start <= end);
        self.epochs.push((epoch, end));
        self.see();
        if self.bug == Bug::GivesAgain && kept > 0 {
            let last = self.log[kept - 1];
            self.event(Event::Appended {
                node: 1,
                key: a(),
                batch: Batch { crc: 0, ..last },
            });
        }
    }
}

#[test]
fn a_correct_broker_is_never_blamed() {
    for seed in 0..400 {
        let report = Broker::run(seed, Bug::None);
        assert!(report.is_green(), "seed {seed}: {:#?}", report.findings);
    }
}

#[test]
fn each_bug_is_found() {
    use CheckerId::{S7, S8, S9, S10, S11, S12, S13, S14, S16, S31, S36};
    let table: [(Bug, &[CheckerId]); 8] = [
        (Bug::AcksEarly, &[S11]),
        (Bug::AppendsAgain, &[S14]),
        (Bug::AnswersWrong, &[S14]),
        (Bug::LosesFlushed, &[S13, S12]),
        (Bug::ForgetsProducers, &[S16]),
        (Bug::GivesAgain, &[S9]),
        (Bug::DeletesAbove, &[S31, S7, S8]),
        (Bug::ShowsAll, &[S36, S10]),
    ];
    for (bug, by) in table {
        let found = (0..60).filter(|seed| {
            let report = Broker::run(*seed, bug);
            by.iter().any(|checker| report.found.contains_key(checker))
        });
        let found = found.count();
        assert!(found >= 20, "{bug:?} was found in {found} of 60 runs");
    }
}
