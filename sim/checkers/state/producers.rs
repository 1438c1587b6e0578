//! S14, S16, S17: what is remembered of producers is what the log says.

use super::State;
use super::events::{Batch, Produced, ReplicaSeen};
use super::ghost::{Producer, Remembered, remember};
use crate::checkers::CheckerId;
use crate::history::Key;
use types::{Offset, ProducerEpoch, ProducerId};

impl State {
    /// A batch is committed: its sequence must go on where its producer's last one ended.
    pub(super) fn sequence(&mut self, key: Key, batch: &Batch) {
        let is_start = self.settings.first_sequences.contains(&batch.base_sequence);
        let now = self.now;
        let ghost = self.ghost(key);
        let producer_id = batch.producer_id;
        if producer_id < 0 {
            return;
        }
        let before = ghost.canon_producers.get(&producer_id).copied();
        let is_forgotten = ghost.forgettable.remove(&producer_id) || ghost.has_expired;
        remember(&mut ghost.canon_producers, batch, now);
        if batch.is_control {
            return;
        }
        let (epoch, sequence) = (batch.producer_epoch, batch.base_sequence);
        let object = format!("{key} producer {producer_id}");
        let Some(before) = before else {
            let may_start = sequence == 0 || is_start || is_forgotten;
            self.demand(may_start, CheckerId::S14, object, || {
                format!(
                    "its first batch, at {}, has sequence {sequence}",
                    batch.base_offset
                )
            });
            return;
        };
        self.demand(epoch >= before.epoch, CheckerId::S14, &object, || {
            format!(
                "epoch {epoch} at {} follows epoch {}",
                batch.base_offset, before.epoch
            )
        });
        let next = before.last_sequence.wrapping_add(1) & 0x7fff_ffff;
        let goes_on = match epoch == before.epoch {
            true => sequence == next || before.last_sequence < 0,
            false => sequence == 0,
        };
        self.demand(goes_on || is_forgotten, CheckerId::S14, object, || {
            format!(
                "sequence {sequence} of epoch {epoch} at {} follows {} of epoch {} at {}",
                batch.base_offset, before.last_sequence, before.epoch, before.last_offset
            )
        });
    }

    /// The replica's memory of producers against a replay of its log.
    pub(super) fn producers_seen(&mut self, seen: &ReplicaSeen) {
        let Some(told) = &seen.producers else {
            return;
        };
        // The replica is seen before it tells that producers have expired.
        let expires = self.settings.producers_expire;
        let ghost = self.ghost(seen.key);
        // The watcher may be told of a step before it is told of the batches that the step queued, and is not told
        // which queued ones were taken back: the two ends may be the same and mean different batches.
        let is_queueing = seen.log_end != seen.assigned_end;
        if is_queueing || ghost.assigned_end != seen.assigned_end {
            return;
        }
        // After a restart headers tell of producers, and one of them may be damaged.
        if ghost.is_damaged {
            return;
        }
        let mut wrong = Vec::new();
        for producer_id in &ghost.known {
            if !expires && !told.iter().any(|one| one.producer_id == *producer_id) {
                wrong.push(format!(
                    "{producer_id} is forgotten in the middle of a life"
                ));
            }
        }
        for producer in told {
            if producer
                .last_offset
                .is_some_and(|last| last < seen.high_watermark)
            {
                ghost.known.insert(producer.producer_id);
            }
            let by_log = ghost.producers.get(&producer.producer_id);
            let is_same = by_log.is_some_and(|by_log| {
                by_log.has_marker
                    || (by_log.epoch == producer.producer_epoch
                        && producer.last_sequence == Some(by_log.last_sequence)
                        && producer.last_offset == Some(by_log.last_offset))
            });
            let is_unknown = by_log.is_none() && ghost.forgettable.contains(&producer.producer_id);
            // Whose records were all deleted may be forgotten by a restart; but who is remembered as he was before his last
            // batch is refused when he goes on.
            if !is_same && !is_unknown {
                wrong.push(format!("{producer:?}, the log says {by_log:?}"));
            }
            if is_same && let (Some(window), Some(by_log)) = (&producer.window, by_log) {
                // Of a producer that was forgotten, and then went on, only what came since then is known.
                let known_since = window.first().filter(|_| expires);
                let known_since = known_since.map_or(0, |(_, last_offset)| *last_offset);
                let missing = missing(window, by_log, seen.log_start.max(known_since));
                wrong.extend(missing.map(|missing| format!("{producer:?}: {missing}")));
            }
        }
        for (producer_id, by_log) in &ghost.producers {
            let is_told = told
                .iter()
                .any(|producer| producer.producer_id == *producer_id);
            // The log start may have moved before a restart, and nobody was shown it.
            let is_deleted = by_log.last_offset < seen.log_start;
            let may_be_gone = expires || is_deleted || ghost.forgettable.contains(producer_id);
            if !is_told && !may_be_gone {
                wrong.push(format!(
                    "{producer_id} is forgotten, the log says {by_log:?}"
                ));
            }
        }
        self.looked(CheckerId::S16);
        for message in wrong {
            self.find(CheckerId::S16, seen.key, message);
        }
    }

    /// A batch was refused as out of order: it is neither one of the last that are in the log, nor the next one.
    pub(super) fn out_of_order(&mut self, produced: &Produced) {
        let (key, batch) = (produced.key, &produced.batch);
        let ghost = self.ghost(key);
        let is_forgotten = ghost.has_expired || ghost.forgettable.contains(&batch.producer_id);
        let Some(producer) = ghost.producers.get(&batch.producer_id).copied() else {
            return;
        };
        if is_forgotten || ghost.died.is_some() || producer.epoch != batch.producer_epoch {
            return;
        }
        // It was judged at some time after this.
        let asked = produced.began;
        let (log_start, log_end) = ghost
            .seen
            .as_ref()
            .map_or((0, 0), |seen| (seen.log_start, seen.log_end));
        // What was only queued may have been taken back since, and nobody was told.
        let mut there = producer
            .batches()
            .filter(|one| one.at < asked && one.base_offset >= log_start)
            .filter(|one| one.base_offset < log_end);
        let is_repeated = |one: &&Remembered| {
            one.base_sequence == batch.base_sequence && one.last_sequence == batch.last_sequence()
        };
        let next = producer.last_sequence.wrapping_add(1) & 0x7fff_ffff;
        let is_next = !producer.has_marker
            && batch.base_sequence == next
            && producer.last_offset < log_end
            && producer.window[0].is_some_and(|last| last.at < asked);
        let repeated = there.find(is_repeated);
        let object = format!("{key} producer {}", batch.producer_id);
        self.demand(repeated.is_none(), CheckerId::S14, &object, || {
            let base = repeated.map_or(-1, |one| one.base_offset);
            let sequence = batch.base_sequence;
            format!("sequence {sequence} was refused as out of order; it lies at {base}")
        });
        self.demand(!is_next, CheckerId::S14, &object, || {
            let (sequence, last) = (batch.base_sequence, producer.last_sequence);
            format!("sequence {sequence} was refused as out of order; it follows {last}")
        });
    }

    pub(super) fn producer_id_given(
        &mut self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
    ) {
        let is_new = self.producer_ids.insert((producer_id, producer_epoch));
        let object = format!("producer {producer_id}");
        self.demand(is_new, CheckerId::S17, object, || {
            format!("epoch {producer_epoch} was handed out a second time")
        });
    }
}

/// What a replica's window of a producer lacks of the last batches that are in the log, in words: of those that begin
/// at `from` or above.
fn missing(window: &[(i32, Offset)], by_log: &Producer, from: Offset) -> Option<String> {
    if !window.windows(2).all(|pair| pair[0].1 < pair[1].1) {
        return Some("its batches are out of order".to_owned());
    }
    // What lies below the log start need not have survived a restart.
    let mut there = by_log.batches().filter(|one| one.base_offset >= from);
    let lost = there.find(|one| !window.contains(&(one.last_sequence, one.last_offset)))?;
    Some(format!("it lacks the batch at {}", lost.base_offset))
}
