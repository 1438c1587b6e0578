//! S10, S11, S36, S37, S39: a broker says only what is so.

use super::State;
use super::events::{Asked, Batch, EpochEndTold, Fetched, OffsetsListed, Produced};
use crate::checkers::CheckerId;
use crate::history::{Acks, Durability, Isolation};
use types::{ErrorCode, LeaderEpoch, Offset};

/// Whether `stored` holds what this request sent: byte by byte, unless the broker had to encode it anew. Then a batch
/// that is sent a second time is encoded at another moment, or for another configuration, and the one that is stored is
/// of the first: what was `known` to be sent then has to be what is sent now. The configuration may have changed either
/// way: what was stored as it came may now be encoded anew, and then it is what was sent that has to be the same.
fn is_what_was_sent(stored: &Batch, produced: &Produced, known: Option<u32>) -> bool {
    let sent = produced.sent;
    let was_stored_as_sent = stored.crc == sent.crc && stored.is_same_place(&produced.batch);
    if stored.is_same_content(&produced.batch) || was_stored_as_sent {
        return true;
    }
    let was_encoded_anew = stored.attributes != sent.attributes;
    was_encoded_anew
        && stored.is_same_place(&produced.batch)
        && stored.producer_id >= 0
        && known.is_none_or(|crc| crc == sent.crc)
}

impl State {
    pub(super) fn produced(&mut self, produced: &Produced) {
        let base = match produced.result {
            Ok(base) => base,
            Err(ErrorCode::OutOfOrderSequenceNumber) => return self.out_of_order(produced),
            Err(_) => return,
        };
        let key = produced.key;
        if produced.acks == Acks::None
            || self.is_gone(key, produced.began, "a produce was acknowledged")
        {
            return;
        }
        let ghost = self.ghost(key);
        let failed_from = ghost.failed_from.unwrap_or(Offset::MAX);
        let log_start = ghost.seen.as_ref().map_or(0, |seen| seen.log_start);
        let stored = ghost.log.get(&base).copied();
        self.demand(base < failed_from, CheckerId::S39, key, || {
            format!("a produce was acknowledged at {base}, though the disk had failed")
        });
        let Some(stored) = stored else {
            self.demand(base < log_start, CheckerId::S11, key, || {
                format!("a batch was acknowledged at {base}, where none begins")
            });
            return;
        };
        let known = self.ghost(key).sent.get(&base).copied();
        let is_same = is_what_was_sent(&stored, produced, known);
        let checker = match produced.batch.producer_id {
            0.. => CheckerId::S14,
            _ => CheckerId::S11,
        };
        self.demand(is_same, checker, key, || {
            format!(
                "{:?} was acknowledged at {base}, where {stored:?} lies",
                produced.batch
            )
        });
        if is_same {
            self.ghost(key).sent.insert(base, produced.sent.crc);
        }
        if produced.acks == Acks::All && is_same {
            self.acked_by_all(produced, base, stored.end());
        }
    }

    /// acks=all: the batch is committed, and flushed where that is promised.
    fn acked_by_all(&mut self, produced: &Produced, base: Offset, end: Offset) {
        let key = produced.key;
        let ghost = self.ghost(key);
        let (class, canon_end) = (ghost.class, ghost.canon_end);
        let flushed = ghost.seen.as_ref().map_or(0, |seen| seen.flushed);
        ghost.acked.insert(base);
        self.demand(end <= canon_end, CheckerId::S11, key, || {
            format!("offsets {base}..{end} were acknowledged; committed is {canon_end}")
        });
        if class == Durability::Flushed {
            self.demand(end <= flushed, CheckerId::S11, key, || {
                format!("offsets {base}..{end} were acknowledged; flushed is {flushed}")
            });
        }
    }

    pub(super) fn fetched(&mut self, fetched: &Fetched) {
        let key = fetched.key;
        match fetched.error {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => return self.out_of_range(fetched),
            _ => return,
        }
        if self.is_gone(key, fetched.began, "records were read") {
            return;
        }
        let Some(seen) = self.ghost(key).seen.clone() else {
            return;
        };
        let stable = fetched.last_stable;
        let is_told_right = fetched.high_watermark <= seen.high_watermark
            && stable <= seen.last_stable
            && stable <= fetched.high_watermark
            && fetched.log_start <= seen.log_start;
        self.demand(is_told_right, CheckerId::S36, key, || {
            format!(
                "told: log start {}, last stable {stable}, high watermark {}; true: {}, {}, {}",
                fetched.log_start,
                fetched.high_watermark,
                seen.log_start,
                seen.last_stable,
                seen.high_watermark
            )
        });
        if fetched.has_records {
            self.shown(fetched);
        }
    }

    /// Records left the broker: all below the bound that was told.
    fn shown(&mut self, fetched: &Fetched) {
        let key = fetched.key;
        let bound = match fetched.isolation {
            Isolation::ReadCommitted if fetched.last_stable >= 0 => fetched.last_stable,
            _ => fetched.high_watermark,
        };
        let ghost = self.ghost(key);
        let end = match fetched.records_end {
            Some(end) => Ok(Some(end)),
            None => ghost.end_of_answer(fetched.offset, fetched.length_bytes),
        };
        // Where a damaged batch ends, only its reader finds out.
        let is_damaged = ghost.is_damaged;
        let end = end.unwrap_or_else(|beyond| {
            if is_damaged {
                return None;
            }
            let (from, bytes) = (fetched.offset, fetched.length_bytes);
            let message = format!("{bytes} bytes from {from} are no whole batches up to {beyond}");
            self.find(CheckerId::S36, key, message);
            None
        });
        let end = end.unwrap_or(bound);
        self.demand(
            fetched.offset < bound && end <= bound,
            CheckerId::S36,
            key,
            || {
                format!(
                    "records from {} up to {end} were shown; the bound is {bound}",
                    fetched.offset
                )
            },
        );
        let ghost = self.ghost(key);
        let canon_end = ghost.canon_end;
        ghost.exposed_end = ghost.exposed_end.max(end.min(canon_end));
        self.demand(end <= canon_end, CheckerId::S10, key, || {
            format!("records up to {end} were shown; committed is {canon_end}")
        });
    }

    fn out_of_range(&mut self, fetched: &Fetched) {
        let ghost = self.ghost(fetched.key);
        // The answer may be of before the last records came.
        let settled = ghost.settled.0;
        let Some(seen) = &ghost.seen else {
            return;
        };
        let (start, end) = (seen.log_start, seen.log_end);
        let is_inside = start <= fetched.offset && fetched.offset <= settled;
        self.demand(!is_inside, CheckerId::S36, fetched.key, || {
            format!(
                "offset {} was called out of range; the log is {start}..{end}",
                fetched.offset
            )
        });
    }

    pub(super) fn offsets_listed(&mut self, listed: &OffsetsListed) {
        let Ok(Some(offset)) = listed.result else {
            return;
        };
        let key = listed.key;
        if self.is_gone(key, listed.began, "offsets were listed") {
            return;
        }
        let ghost = self.ghost(key);
        let Some(seen) = &ghost.seen else {
            return;
        };
        let latest = match listed.isolation {
            Isolation::ReadCommitted => seen.last_stable,
            Isolation::ReadUncommitted => seen.high_watermark,
        };
        let problem = match listed.asked {
            Asked::Earliest if ghost.log_starts.contains(&offset) => None,
            Asked::Earliest => Some(format!("it never was the log start, {}", seen.log_start)),
            Asked::Latest if offset <= latest => None,
            Asked::Latest => Some(format!("the end is {latest}")),
            // Records were deleted while it was looked for.
            Asked::Timestamp(_) if offset < seen.log_start => None,
            Asked::Timestamp(_) if ghost.is_overwritten => None,
            Asked::Timestamp(timestamp) => {
                // The log start may have passed the answer since it was looked for.
                let start = seen.log_start.min(offset);
                let mut before = ghost.log.range(start..offset).map(|(_, batch)| batch);
                let earlier =
                    before.find(|batch| batch.end() <= offset && batch.max_timestamp >= timestamp);
                let holder = ghost
                    .log
                    .range(..=offset)
                    .next_back()
                    .map(|(_, batch)| batch);
                let is_late = holder.is_none_or(|batch| batch.max_timestamp >= timestamp);
                match earlier {
                    Some(batch) => Some(format!("the batch at {} has it", batch.base_offset)),
                    None if !is_late => Some("the batch there is older".to_owned()),
                    None => None,
                }
            }
        };
        self.looked(CheckerId::S37);
        if let Some(problem) = problem {
            let message = format!("{:?} was said to be {offset}: {problem}", listed.asked);
            self.find(CheckerId::S37, key, message);
        }
    }

    pub(super) fn epoch_end_told(&mut self, told: &EpochEndTold) {
        let Ok((epoch, end)) = told.result else {
            return;
        };
        if self.is_gone(told.key, told.began, "an epoch's end was told") {
            return;
        }
        let ghost = self.ghost(told.key);
        let Some(seen) = ghost.seen.as_ref().filter(|_| !ghost.is_damaged) else {
            return;
        };
        let there = ghost.log.range(seen.log_start..seen.log_end);
        let problem = contradiction(there.map(|(_, batch)| batch), told.asked, epoch, end);
        self.looked(CheckerId::S37);
        if let Some(problem) = problem {
            let asked = told.asked;
            let message =
                format!("epoch {asked} was said to be {epoch} and end at {end}: {problem}");
            self.find(CheckerId::S37, told.key, message);
        }
    }
}

/// What of the batches in a log contradicts that `epoch` is the largest one not above `asked` and ends at `end`.
pub(super) fn contradiction<'a>(
    batches: impl Iterator<Item = &'a Batch> + Clone,
    asked: LeaderEpoch,
    epoch: LeaderEpoch,
    end: Offset,
) -> Option<String> {
    let newest = batches.clone().map(|batch| batch.leader_epoch).max();
    let is_wrong = |batch: &&Batch| {
        let (is_below, is_of) = (batch.base_offset < end, batch.leader_epoch <= asked);
        match epoch {
            ..0 => batch.leader_epoch >= asked,
            _ if is_below => !is_of || batch.leader_epoch > epoch,
            // The newest epoch may have gone on since.
            _ => is_of && newest > Some(asked),
        }
    };
    if epoch > asked {
        return Some("it is a later one".to_owned());
    }
    let mut wrong = batches.filter(is_wrong);
    let batch = wrong.next()?;
    Some(format!(
        "the batch at {} is of epoch {}",
        batch.base_offset, batch.leader_epoch
    ))
}
