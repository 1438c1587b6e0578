//! S7, S8, S9, S31: a log grows in order, and what is committed stays.

use super::State;
use super::events::{Batch, ReplicaSeen};
use crate::checkers::CheckerId;
use crate::history::{Durability, Key};
use types::{LeaderEpoch, NodeId, Offset};

impl State {
    pub(super) fn appended(&mut self, node: NodeId, key: Key, batch: Batch) {
        if self.is_gone(key, self.now, "a batch was appended") {
            return;
        }
        self.opened(node, key, 0, batch.base_offset);
        let ghost = self.ghost(key);
        let (end, last_epoch) = (ghost.assigned_end, ghost.last_epoch);
        let written = ghost.seen.as_ref().map_or(0, |seen| seen.log_end);
        let base = batch.base_offset;
        let is_sound =
            batch.last_offset >= base && (base == end || (written <= base && base < end));
        self.demand(is_sound, CheckerId::S9, key, || {
            format!(
                "a batch {base}..={} was appended where the log ends at {end}",
                batch.last_offset
            )
        });
        if base < end {
            self.cut_away(
                key,
                base,
                CheckerId::S9,
                "an offset was given a second time",
            );
        }
        self.demand(batch.leader_epoch >= last_epoch, CheckerId::S9, key, || {
            format!(
                "epoch {} was appended after epoch {last_epoch}",
                batch.leader_epoch
            )
        });
        let now = self.now;
        self.ghost(key).push(batch, now);
    }

    pub(super) fn replica(&mut self, seen: &ReplicaSeen) {
        let key = seen.key;
        if self.deleted.contains_key(&key.topic) {
            // Its files go away in the background.
            return;
        }
        self.opened(seen.node, key, seen.log_start, seen.log_end);
        self.in_order(seen);
        let before = self.ghost(key).seen.take();
        if let Some(before) = &before {
            self.never_back(before, seen);
        }
        self.epochs(seen);
        self.canonise(seen);
        self.producers_seen(seen);
        let now = self.now;
        let ghost = self.ghost(key);
        ghost.settle(seen.high_watermark, now);
        ghost.log_starts.insert(seen.log_start);
        if before.is_none_or(|before| before.log_start < seen.log_start) {
            ghost.advance_start(seen.log_start);
        }
        ghost.seen = Some(ReplicaSeen {
            epochs: Vec::new(),
            producers: None,
            ..*seen
        });
    }

    /// log start <= last stable offset <= high watermark <= log end <= assigned end.
    fn in_order(&mut self, seen: &ReplicaSeen) {
        let high_watermark = seen.high_watermark;
        self.demand(
            seen.log_start <= high_watermark,
            CheckerId::S31,
            seen.key,
            || {
                format!(
                    "log start {} is above the high watermark {high_watermark}",
                    seen.log_start
                )
            },
        );
        let is_ordered = seen.log_start <= seen.last_stable
            && seen.last_stable <= high_watermark
            && high_watermark <= seen.log_end
            && seen.flushed <= seen.log_end
            && seen.log_end <= seen.assigned_end;
        self.demand(is_ordered || seen.log_start > high_watermark, CheckerId::S7, seen.key, || {
            format!(
                "log start {}, last stable {}, high watermark {high_watermark}, flushed {}, log end {}, assigned {}",
                seen.log_start, seen.last_stable, seen.flushed, seen.log_end, seen.assigned_end
            )
        });
        let is_flushed_first = self.ghost(seen.key).class == Durability::Flushed;
        let is_shown_early = is_flushed_first && high_watermark > seen.flushed.max(seen.log_start);
        self.demand(!is_shown_early, CheckerId::S7, seen.key, || {
            format!(
                "high watermark {high_watermark} is beyond what is flushed, {}",
                seen.flushed
            )
        });
    }

    fn never_back(&mut self, before: &ReplicaSeen, seen: &ReplicaSeen) {
        let key = seen.key;
        if before.node != seen.node {
            return;
        }
        self.demand(
            before.log_start <= seen.log_start,
            CheckerId::S31,
            key,
            || {
                format!(
                    "log start went back from {} to {}",
                    before.log_start, seen.log_start
                )
            },
        );
        if before.leads == seen.leads && seen.leads.is_some() {
            let (old, new) = (before.high_watermark, seen.high_watermark);
            self.demand(old <= new, CheckerId::S7, key, || {
                format!("high watermark went back from {old} to {new} within one epoch")
            });
            self.demand(before.log_end <= seen.log_end, CheckerId::S8, key, || {
                format!(
                    "a leader truncated its log from {} to {}",
                    before.log_end, seen.log_end
                )
            });
        }
        if seen.log_end < before.log_end {
            self.cut_away(key, seen.log_end, CheckerId::S8, "a truncation took it");
        }
    }

    /// Epochs ascend, and each batch has the one that the history of epochs names.
    fn epochs(&mut self, seen: &ReplicaSeen) {
        let ascend = seen
            .epochs
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let in_log = seen
            .epochs
            .last()
            .is_none_or(|last| last.1 <= seen.assigned_end);
        self.demand(ascend && in_log, CheckerId::S9, seen.key, || {
            format!(
                "epochs {:?} in a log that ends at {}",
                seen.epochs, seen.assigned_end
            )
        });
    }

    /// The high watermark passed batches: from now on they never change.
    fn canonise(&mut self, seen: &ReplicaSeen) {
        let (key, now) = (seen.key, self.now);
        let ghost = self.ghost(key);
        let (from, until) = (ghost.canon_end.max(seen.log_start), seen.high_watermark);
        if until <= from {
            return;
        }
        let assigned_end = ghost.assigned_end;
        // After a loss of power that withdrew it, the batch in which the log start lies is committed anew, all of it.
        let around = ghost.log.range(..=from).next_back();
        let around = around.filter(|(_, batch)| batch.end() > from);
        let from = around.map_or(from, |(base, _)| *base);
        ghost.remember_below(from, now);
        let passed: Vec<Batch> = ghost
            .log
            .range(from..until)
            .map(|(_, batch)| *batch)
            .collect();
        ghost.canon_end = until;
        self.demand(until <= assigned_end, CheckerId::S7, key, || {
            format!("high watermark {until} is beyond all that was appended, {assigned_end}")
        });
        let mut next = from;
        for batch in &passed {
            let base = batch.base_offset;
            self.demand(base == next, CheckerId::S9, key, || {
                format!("nothing lies at offsets {next}..{base}, which are committed")
            });
            next = batch.end();
            // The history begins with the log, which may begin in this batch or behind it.
            let first = base.max(seen.log_start);
            let named = epoch_of(&seen.epochs, first);
            self.demand(
                named == Some(batch.leader_epoch) || first >= batch.end(),
                CheckerId::S9,
                key,
                || {
                    format!(
                        "the batch at {base} is of epoch {}, the history of epochs says {named:?}",
                        batch.leader_epoch
                    )
                },
            );
            self.sequence(key, batch);
        }
    }

    /// The log lost everything from `end` on. What was only queued may go; what was committed, shown or acknowledged may not.
    pub(super) fn cut_away(&mut self, key: Key, end: Offset, by: CheckerId, how: &str) {
        let ghost = self.ghost(key);
        let (canon_end, exposed_end) = (ghost.canon_end, ghost.exposed_end);
        let acked = ghost.cut(end);
        self.demand(end >= canon_end, by, key, || {
            format!("offsets {end}..{canon_end} were committed: {how}")
        });
        self.demand(end >= exposed_end, CheckerId::S10, key, || {
            format!("offsets {end}..{exposed_end} had been shown to consumers: {how}")
        });
        self.demand(acked.is_empty(), CheckerId::S12, key, || {
            format!("batches at {acked:?} had been acknowledged: {how}")
        });
    }
}

/// The epoch of an offset by a history of epochs.
fn epoch_of(epochs: &[(LeaderEpoch, Offset)], offset: Offset) -> Option<LeaderEpoch> {
    let at = epochs.partition_point(|(_, start)| *start <= offset);
    at.checked_sub(1).map(|at| epochs[at].0)
}
