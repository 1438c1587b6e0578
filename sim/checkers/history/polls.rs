//! H9 to H12: a consumer reads a partition in order and leaves nothing out.

use super::index::{Indexed, KeyLog};
use super::table::Situation;
use crate::checkers::{CheckerId, Report};
use crate::history::{Body, Index, Isolation, Key, Operation, Process, Read, Seek, Stage};
use std::collections::BTreeMap;
use types::Offset;

/// Where a consumer goes on in one key.
#[derive(Clone, Copy)]
struct Position {
    next: Offset,
    /// The operation that told it.
    since: Index,
    /// When the answer that told it was asked for, if that was before the operation.
    asked: Option<u64>,
}

#[derive(Default)]
struct Consumer {
    is_subscribed: bool,
    positions: BTreeMap<Key, Position>,
}

/// Checks every consumer.
pub fn check(indexed: &Indexed<'_>, report: &mut Report) {
    let mut consumers: BTreeMap<Process, Consumer> = BTreeMap::new();
    // Ends of one process come in the order of its calls.
    for call in &indexed.calls {
        let operation = indexed.told(call);
        let stage = indexed.stage(call);
        let consumer = consumers.entry(operation.process).or_default();
        for rebalance in &operation.rebalance_log {
            for key in rebalance.assigned.iter().chain(&rebalance.revoked) {
                consumer.positions.remove(key);
            }
        }
        match &operation.body {
            Body::Assign { keys, seeks } if stage != Stage::Fail => {
                consumer.assign(keys, seeks, operation.index);
            }
            Body::Subscribe { keys, .. } if stage != Stage::Fail => {
                consumer.is_subscribed = true;
                consumer.positions.retain(|key, _| keys.contains(key));
            }
            Body::Poll {
                isolation,
                reads,
                resets,
            } => {
                let poll = Poll {
                    indexed,
                    operation,
                    invoke: call.invoke,
                    isolation: *isolation,
                    is_ok: stage == Stage::Ok,
                };
                for key in resets {
                    consumer.positions.remove(key);
                }
                poll.check(reads, resets, consumer, report);
            }
            _ => {}
        }
    }
}

impl Consumer {
    fn assign(&mut self, keys: &[Key], seeks: &[(Key, Seek)], since: Index) {
        self.is_subscribed = false;
        self.positions.retain(|key, _| keys.contains(key));
        for (key, seek) in seeks {
            match seek {
                Seek::Offset(next) => {
                    let (next, asked) = (*next, None);
                    self.positions.insert(*key, Position { next, since, asked });
                }
                Seek::Beginning | Seek::End | Seek::Elsewhere => {
                    self.positions.remove(key);
                }
            }
        }
    }
}

/// One poll that ended.
struct Poll<'a> {
    indexed: &'a Indexed<'a>,
    operation: &'a Operation,
    invoke: Index,
    isolation: Isolation,
    is_ok: bool,
}

impl Poll<'_> {
    fn check(&self, reads: &[Read], resets: &[Key], consumer: &mut Consumer, report: &mut Report) {
        let mut last_in_poll: BTreeMap<Key, Offset> = BTreeMap::new();
        for read in reads {
            let Some(log) = self.indexed.log(&read.key) else {
                continue;
            };
            let moved = self.was_moved(&read.key) || resets.contains(&read.key);
            for &(offset, _) in &read.records {
                match last_in_poll.insert(read.key, offset) {
                    Some(last) => self.internal(log, last, offset, moved, report),
                    None if self.is_ok && !moved => {
                        self.external(log, offset, consumer, report);
                    }
                    None => {}
                }
            }
        }
        for (key, last) in last_in_poll {
            if self.is_ok {
                let position = Position {
                    next: last + 1,
                    since: self.operation.index,
                    asked: self.asked(&key),
                };
                consumer.positions.insert(key, position);
            } else {
                consumer.positions.remove(&key);
            }
        }
    }

    /// When the answer with this key was asked for, if that is known.
    fn asked(&self, key: &Key) -> Option<u64> {
        let Body::Poll { reads, .. } = &self.operation.body else {
            return None;
        };
        let of_key = reads.iter().filter(|read| read.key == *key);
        of_key.filter_map(|read| read.asked).min()
    }

    fn was_moved(&self, key: &Key) -> bool {
        self.operation
            .rebalance_log
            .iter()
            .any(|log| log.assigned.contains(key) || log.revoked.contains(key))
    }

    /// Two values that follow each other in one poll.
    fn internal(
        &self,
        log: &KeyLog,
        last: Offset,
        offset: Offset,
        moved: bool,
        report: &mut Report,
    ) {
        report.looked(CheckerId::H9, 1);
        report.looked(CheckerId::H10, 1);
        let wrong = if offset <= last {
            CheckerId::H10
        } else if self.leaves_out(log, last + 1, offset).is_some() {
            CheckerId::H9
        } else {
            return;
        };
        if moved || !self.situation(false).is_violation(wrong) {
            report.permit(wrong);
            return;
        }
        self.tell(
            log,
            wrong,
            last + 1,
            offset,
            vec![self.operation.index],
            report,
        );
    }

    /// The last value of the poll before, and the first of this one.
    fn external(&self, log: &KeyLog, offset: Offset, consumer: &mut Consumer, report: &mut Report) {
        let Some(position) = consumer.positions.get(&log.key).copied() else {
            return;
        };
        report.looked(CheckerId::H11, 1);
        report.looked(CheckerId::H12, 1);
        let from = self.indexed.time(position.since);
        let from = position.asked.map_or(from, |asked| asked.min(from));
        let cut = log.expected.lowest_cut(from, self.operation.time);
        if cut.is_some_and(|cut| cut < position.next) {
            return;
        }
        let wrong = if offset < position.next {
            CheckerId::H12
        } else if self.leaves_out(log, position.next, offset).is_some() {
            CheckerId::H11
        } else {
            return;
        };
        if !self.situation(consumer.is_subscribed).is_violation(wrong) {
            report.permit(wrong);
            return;
        }
        let operations = vec![position.since, self.operation.index];
        self.tell(log, wrong, position.next, offset, operations, report);
    }

    /// A value that must be seen and lies between.
    fn leaves_out(&self, log: &KeyLog, from: Offset, until: Offset) -> Option<Offset> {
        if log.expected.is_compacted || log.expected.is_overwritten {
            return None;
        }
        // What was lost with right and given again is not what this poll passed over.
        let invoked = self.indexed.time(self.invoke);
        let invoked = self
            .asked(&log.key)
            .map_or(invoked, |asked| asked.min(invoked));
        log.first_visible(from, until)
            .filter(|&offset| !log.expected.excuses(offset, invoked))
    }

    fn situation(&self, is_subscribed: bool) -> Situation {
        Situation {
            isolation: self.isolation,
            is_subscribed,
            unclean_election: self.indexed.expectations.unclean_election,
            ..Situation::SAFE
        }
    }

    fn tell(
        &self,
        log: &KeyLog,
        wrong: CheckerId,
        next: Offset,
        offset: Offset,
        operations: Vec<Index>,
        report: &mut Report,
    ) {
        let message = match self.leaves_out(log, next, offset) {
            Some(left_out) => {
                format!(
                    "after offset {} came {offset}: {left_out} was left out",
                    next - 1
                )
            }
            None => format!("after offset {} came {offset}", next - 1),
        };
        let object = format!("{} process {}", log.key, self.operation.process);
        report.find(wrong, object, message, operations);
    }
}
