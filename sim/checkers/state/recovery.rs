//! S12, S13: a restart keeps what was promised.

use super::State;
use super::events::{Batch, Death, Recovered};
use crate::checkers::CheckerId;
use crate::checkers::history::Excused;
use crate::history::{Durability, Key};
use std::collections::BTreeMap;
use types::{NodeId, Offset};

impl State {
    /// What the disk would keep, against what the broker believes, and what it acknowledged and showed on that belief.
    pub(super) fn durable_at(&mut self, key: Key, end: Offset) {
        let Some(ghost) = self.partitions.get(&key) else {
            return;
        };
        let believed = ghost.seen.as_ref().map_or(0, |seen| seen.flushed);
        let log_start = ghost.seen.as_ref().map_or(0, |seen| seen.log_start);
        let is_flushed = ghost.class == Durability::Flushed;
        let acked = ghost.acked.last().and_then(|base| ghost.log.get(base));
        let acked_end = acked.map_or(0, |batch| batch.end());
        let exposed_end = ghost.exposed_end;
        let kept = end.max(log_start);
        self.demand(believed <= kept, CheckerId::S13, key, || {
            format!("the broker believes {believed} to be flushed; the disk would keep {end}")
        });
        self.demand(
            acked_end <= kept || !is_flushed,
            CheckerId::S11,
            key,
            || format!("up to {acked_end} was acknowledged; the disk would keep {end}"),
        );
        self.demand(
            exposed_end <= kept || !is_flushed,
            CheckerId::S10,
            key,
            || format!("up to {exposed_end} was shown; the disk would keep {end}"),
        );
    }

    /// At a loss of power, and after a disk has failed, what class *replicated* had not made durable is excused, exactly.
    pub(super) fn died(&mut self, death: Death, durable: &[(Key, Offset)]) {
        for (key, end) in durable {
            self.durable_at(*key, *end);
            if let Some(ghost) = self.partitions.get_mut(key) {
                ghost.survived = Some(*end);
            }
        }
        for ghost in self.partitions.values_mut() {
            // After a failed sync the next life may read what the device has instead of what was written: what was
            // not synced before may be gone, as after a loss of power. A log that was not opened since then is still
            // as the loss left it.
            if death == Death::Power || ghost.has_failed {
                ghost.died = Some(Death::Power);
            } else if ghost.died.is_none() {
                ghost.died = Some(death);
            }
        }
        self.groups
            .died(death, self.settings.commits_are_replicated);
        self.metadata.died();
        let at = self.now;
        for (key, ghost) in &mut self.partitions {
            // A sync that fails drops what it should have written: then the page cache does not have it either.
            if death == Death::Kill && !ghost.has_failed {
                continue;
            }
            let end = ghost.promised_end();
            let until = ghost.assigned_end;
            if ghost.class != Durability::Replicated || until <= end {
                continue;
            }
            // What lies beyond may survive all the same: only the promise is withdrawn.
            ghost.withdraw(end);
            let excused = Excused {
                from: end,
                until,
                at,
            };
            self.excused.entry(*key).or_default().push(excused);
        }
    }

    /// A log is used again of which nobody told that it was opened: it ends at `log_end`.
    pub(super) fn opened(&mut self, node: NodeId, key: Key, log_start: Offset, log_end: Offset) {
        if let Some(death) = self.ghost(key).died {
            self.recovered(&Recovered {
                node,
                key,
                death,
                log_start,
                log_end,
                batches: None,
                is_fenced: false,
            });
        }
    }

    pub(super) fn recovered(&mut self, recovered: &Recovered) {
        let key = recovered.key;
        if self.is_gone(key, self.now, "a log was opened") || recovered.is_fenced {
            self.ghost_ends_life(key);
            return;
        }
        self.same_batches(recovered);
        let ghost = self.ghost(key);
        let log_start = ghost.seen.as_ref().map_or(0, |seen| seen.log_start);
        let written = ghost.seen.as_ref().map_or(0, |seen| seen.log_end);
        // A process that ends before it has opened the log changes nothing about the loss of power before it.
        let death = match ghost.died {
            Some(Death::Power) => Death::Power,
            _ => recovered.death,
        };
        let promised = match death {
            Death::Kill if !ghost.has_failed => written,
            _ => ghost.promised_end(),
        };
        let appended = ghost.assigned_end.max(log_start);
        let end = recovered.log_end;
        // A loss of power may bring back the names of segments that retention took.
        let may_go_back = death == Death::Power;
        let is_kept = recovered.log_start >= log_start || may_go_back;
        self.demand(is_kept, CheckerId::S31, key, || {
            let start = recovered.log_start;
            format!("the log starts at {start} after a restart; it started at {log_start} before")
        });
        self.demand(end >= promised.min(appended), CheckerId::S13, key, || {
            format!(
                "the log ends at {end} after a {:?}; {promised} was promised",
                recovered.death
            )
        });
        self.demand(end <= appended, CheckerId::S13, key, || {
            format!("the log ends at {end}; only {appended} was ever appended")
        });
        let around = self.ghost(key).around(end);
        self.demand(
            around.is_none() || recovered.log_start == end,
            CheckerId::S13,
            key,
            || format!("the log ends at {end}, inside of {around:?}"),
        );
        if end < appended {
            self.cut_away(key, end, CheckerId::S13, "a restart lost it");
        }
        self.ghost_ends_life(key);
    }

    fn ghost_ends_life(&mut self, key: Key) {
        if let Some(ghost) = self.partitions.get_mut(&key) {
            ghost.seen = None;
            ghost.died = None;
            ghost.survived = None;
            ghost.settled = (0, 0, 0);
            ghost.has_failed = false;
            ghost.failed_from = None;
            ghost.known.clear();
            ghost.log_starts.clear();
        }
    }

    /// From now on nothing new is acknowledged until the log is recovered: what had its offset before may have been
    /// acknowledged before, where class *replicated* waits for no sync, with the answer still under way.
    pub(super) fn failure_told(&mut self, key: Key) {
        self.looked(CheckerId::S39);
        let ghost = self.ghost(key);
        ghost.failed_from.get_or_insert(ghost.assigned_end);
    }

    /// At the end everything that was acknowledged and committed lies in the log, as it was appended.
    pub(super) fn swept(&mut self, key: Key, batches: &[Batch]) {
        let Some(ghost) = self.partitions.get(&key) else {
            return;
        };
        let Some(seen) = &ghost.seen else {
            return;
        };
        let on_disk: BTreeMap<Offset, &Batch> = batches
            .iter()
            .map(|batch| (batch.base_offset, batch))
            .collect();
        let lies = |base: &Offset| on_disk.get(base).copied() == ghost.log.get(base);
        let lost: Vec<Offset> = ghost
            .acked
            .iter()
            .copied()
            .filter(|base| !lies(base))
            .collect();
        let other = ghost
            .log
            .range(..seen.log_end)
            .map(|(base, _)| *base)
            .find(|base| !lies(base));
        let log_end = seen.log_end;
        self.report.looked(CheckerId::S12, 1 + batches.len() as u64);
        self.demand(lost.is_empty(), CheckerId::S12, key, || {
            format!("batches at {lost:?} were acknowledged; the log does not hold them any more")
        });
        self.demand(other.is_none() || !lost.is_empty(), CheckerId::S13, key, || {
            format!("the log ends at {log_end}; the disk does not hold what was appended at {other:?}")
        });
    }

    /// What was recovered is what was appended, batch by batch.
    fn same_batches(&mut self, recovered: &Recovered) {
        let Some(batches) = &recovered.batches else {
            return;
        };
        let ghost = self.ghost(recovered.key);
        let is_known = |offset: &Offset| {
            ghost
                .log
                .first_key_value()
                .is_some_and(|(first, _)| first <= offset)
        };
        let other = batches
            .iter()
            .filter(|batch| is_known(&batch.base_offset))
            .find(|batch| ghost.log.get(&batch.base_offset) != Some(batch))
            .map(|batch| (*batch, ghost.log.get(&batch.base_offset).copied()));
        self.looked(CheckerId::S13);
        if let Some((batch, appended)) = other {
            let message = format!("{batch:?} was recovered; appended was {appended:?}");
            self.find(CheckerId::S13, recovered.key, message);
        }
    }

    pub(super) fn image_recovered(&mut self, image: u64, state: u64) {
        let first = *self.images.entry(image).or_insert(state);
        self.demand(
            first == state,
            CheckerId::S13,
            format!("image {image:x}"),
            || format!("one disk was recovered to state {first:x} and to state {state:x}"),
        );
    }
}
