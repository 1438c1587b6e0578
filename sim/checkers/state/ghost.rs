//! What the checkers remember of one partition, and no broker knows: `canon`, `acked`, `exposed`, `durable`.

use super::events::{Batch, Death, ReplicaSeen};
use crate::history::Durability;
use std::collections::{BTreeMap, BTreeSet};
use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// A repeated batch is known among so many.
pub const WINDOW: usize = 5;

/// One of a producer's last batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// The sequence of its first record.
    pub base_sequence: i32,
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// When it got its offsets, in nanoseconds of the run; or later than that.
    pub at: u64,
}

/// A producer as the log tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Whether a marker of it lies in the log: then only the log's own reader knows its epoch.
    pub has_marker: bool,
    /// Its last batches in this epoch, the newest first.
    pub window: [Option<Remembered>; WINDOW],
}

impl Producer {
    /// Its last batches in this epoch, the newest first.
    pub fn batches(&self) -> impl Iterator<Item = &Remembered> {
        self.window.iter().flatten()
    }
}

/// One partition.
#[derive(Debug)]
pub struct Ghost {
    /// What its topic promises.
    pub class: Durability,
    /// The log by base offset: everything that has an offset and was not taken back.
    pub log: BTreeMap<Offset, Batch>,
    /// The end of `log`.
    pub assigned_end: Offset,
    /// The end of `canon`, the committed prefix of `log`: the largest high watermark ever seen.
    pub canon_end: Offset,
    /// Base offsets of batches that were acknowledged at acks=all.
    pub acked: BTreeSet<Offset>,
    /// What the producers of answered batches had sent, by base offset: CRCs.
    pub sent: BTreeMap<Offset, u32>,
    /// Everything below may have been shown to a consumer.
    pub exposed_end: Offset,
    /// How the node died, until its log is opened again.
    pub died: Option<Death>,
    /// What the simulated disk kept at the loss of power that the log has not yet been opened after.
    pub survived: Option<Offset>,
    /// A high watermark that was true at least a second ago, and since when the next one is.
    pub settled: (Offset, Offset, u64),
    /// The replica after its last step in this life.
    pub seen: Option<ReplicaSeen>,
    /// Log starts that were true in this life.
    pub log_starts: BTreeSet<Offset>,
    /// Producers after `canon`.
    pub canon_producers: BTreeMap<ProducerId, Producer>,
    /// Producers after `log`.
    pub producers: BTreeMap<ProducerId, Producer>,
    /// Producers whose last batch was deleted: their state may be gone.
    pub forgettable: BTreeSet<ProducerId>,
    /// Whether producers were ever forgotten because of their age: from then on any of them may be.
    pub has_expired: bool,
    /// Producers that were in the replica's memory in this life, with a committed batch.
    pub known: BTreeSet<ProducerId>,
    /// Whether a write or sync failed since the log was opened.
    pub has_failed: bool,
    /// Whether the header of one of its batches may tell something else than was appended.
    pub is_damaged: bool,
    /// Whether one of its batches may lie where another one was: then that is missing to whoever looks for it.
    pub is_overwritten: bool,
    /// The end of what had an offset when the broker was told of that: nothing beyond is acknowledged.
    pub failed_from: Option<Offset>,
    /// The highest epoch of a batch.
    pub last_epoch: LeaderEpoch,
}

impl Ghost {
    /// A partition of which nothing was seen.
    pub fn new(class: Durability) -> Ghost {
        Ghost {
            class,
            log: BTreeMap::new(),
            assigned_end: 0,
            canon_end: 0,
            acked: BTreeSet::new(),
            sent: BTreeMap::new(),
            exposed_end: 0,
            died: None,
            survived: None,
            settled: (0, 0, 0),
            seen: None,
            log_starts: BTreeSet::new(),
            canon_producers: BTreeMap::new(),
            producers: BTreeMap::new(),
            forgettable: BTreeSet::new(),
            has_expired: false,
            known: BTreeSet::new(),
            has_failed: false,
            is_damaged: false,
            is_overwritten: false,
            failed_from: None,
            last_epoch: -1,
        }
    }

    /// Adds a batch at the end, at this time.
    pub fn push(&mut self, batch: Batch, at: u64) {
        remember(&mut self.producers, &batch, at);
        self.assigned_end = batch.end();
        self.last_epoch = self.last_epoch.max(batch.leader_epoch);
        self.log.insert(batch.base_offset, batch);
    }

    /// The batch inside of which this offset lies: not at its beginning.
    pub fn around(&self, offset: Offset) -> Option<Batch> {
        let before = self.log.range(..offset).next_back();
        let around = before.filter(|(_, batch)| batch.end() > offset);
        around.map(|(_, batch)| *batch)
    }

    /// Where what is lost from `end` on begins. A log that lost all above a log start inside of a batch begins anew
    /// there: the rest of the batch is lost, too.
    fn lost_from(&self, end: Offset) -> Offset {
        self.around(end).map_or(end, |batch| batch.base_offset)
    }

    /// Takes back everything from `end` on; gives the base offsets of acknowledged batches among it.
    pub fn cut(&mut self, end: Offset) -> Vec<Offset> {
        let from = self.lost_from(end);
        let gone = self.log.split_off(&from);
        self.sent.split_off(&from);
        self.assigned_end = self.assigned_end.min(end);
        self.canon_end = self.canon_end.min(end);
        self.exposed_end = self.exposed_end.min(end);
        let epochs = self.log.values().map(|batch| batch.leader_epoch);
        self.last_epoch = epochs.max().unwrap_or(-1);
        self.replay(gone.values().map(|batch| batch.producer_id).collect());
        self.acked.split_off(&from).into_iter().collect()
    }

    /// Withdraws from `canon`, `exposed` and `acked` what lies from `end` on; it may stay in the log.
    pub fn withdraw(&mut self, end: Offset) {
        self.canon_end = self.canon_end.min(end);
        self.exposed_end = self.exposed_end.min(end);
        let from = self.lost_from(end);
        self.acked.split_off(&from);
        let concerned = self.log.range(from..).map(|(_, batch)| batch.producer_id);
        self.replay(concerned.collect());
    }

    /// These producers' state is what the log tells; a producer of which nothing is left may go on anywhere.
    fn replay(&mut self, producer_ids: BTreeSet<ProducerId>) {
        let mut times = BTreeMap::new();
        for producer_id in &producer_ids {
            let known = self.producers.remove(producer_id);
            let known = known.iter().flat_map(Producer::batches);
            times.extend(known.map(|batch| (batch.base_offset, batch.at)));
            self.canon_producers.remove(producer_id);
        }
        // What lies before those of which the time is known came before them.
        let oldest = times.values().min().copied().unwrap_or(0);
        for batch in self.log.values() {
            if producer_ids.contains(&batch.producer_id) {
                let at = times.get(&batch.base_offset).copied().unwrap_or(oldest);
                remember(&mut self.producers, batch, at);
                if batch.end() <= self.canon_end {
                    remember(&mut self.canon_producers, batch, at);
                }
            }
        }
        for producer_id in producer_ids {
            if !self.canon_producers.contains_key(&producer_id) {
                self.forgettable.insert(producer_id);
            }
        }
    }

    /// Remembers the high watermark for those who need one that is true for a while.
    pub fn settle(&mut self, high_watermark: Offset, now: u64) {
        let (_, next, since) = self.settled;
        if now >= since + 1_000_000_000 {
            self.settled = (next, high_watermark, now);
        }
    }

    /// Takes note of batches that were withdrawn, survived all the same, and are deleted before they are committed anew:
    /// their producers went on behind them.
    pub fn remember_below(&mut self, end: Offset, at: u64) {
        if self.canon_end < end {
            for (_, batch) in self.log.range(self.canon_end..end) {
                remember(&mut self.canon_producers, batch, at);
            }
        }
    }

    /// Drops what lies wholly below the log start.
    pub fn advance_start(&mut self, log_start: Offset) {
        while let Some(entry) = self.log.first_entry() {
            if entry.get().end() > log_start {
                break;
            }
            let batch = entry.remove();
            self.acked.remove(&batch.base_offset);
            self.sent.remove(&batch.base_offset);
            let last = self.canon_producers.get(&batch.producer_id);
            if last.is_some_and(|producer| producer.last_offset < log_start) {
                self.forgettable.insert(batch.producer_id);
            }
        }
        self.canon_end = self.canon_end.max(log_start);
        self.assigned_end = self.assigned_end.max(log_start);
    }

    /// The offset behind the batches that an answer of so many bytes from `offset` on holds; none if the log does not
    /// tell.
    ///
    /// # Errors
    /// If it ends inside of a batch, or holds more than there is: the offset behind that.
    pub fn end_of_answer(
        &self,
        offset: Offset,
        length_bytes: u64,
    ) -> Result<Option<Offset>, Offset> {
        let log_start = self.seen.as_ref().map_or(0, |seen| seen.log_start);
        let at = self.log.range(..=offset).next_back();
        // A log start that went back with a loss of power shows batches again that are forgotten here.
        let Some((&first, _)) = at.filter(|(_, batch)| batch.end() > offset) else {
            return Ok(None);
        };
        if offset < log_start || length_bytes == 0 {
            return Ok(None);
        }
        let mut left = length_bytes;
        for batch in self.log.range(first..).map(|(_, batch)| batch) {
            if batch.size_bytes == 0 {
                return Ok(None);
            }
            left = left.checked_sub(batch.size_bytes).ok_or(batch.end())?;
            if left == 0 {
                return Ok(Some(batch.end()));
            }
        }
        Err(self.assigned_end)
    }

    /// The end that a loss of power leaves for certain.
    pub fn promised_end(&self) -> Offset {
        let flushed = self.seen.as_ref().map_or(0, |seen| seen.flushed);
        self.survived.unwrap_or(flushed)
    }
}

/// Tells `producers` of one more batch, which got its offsets at this time.
pub fn remember(producers: &mut BTreeMap<ProducerId, Producer>, batch: &Batch, at: u64) {
    if batch.producer_id < 0 {
        return;
    }
    let before = producers.get(&batch.producer_id);
    let had_marker = before.is_some_and(|producer| producer.has_marker);
    let same_epoch = before.filter(|producer| producer.epoch == batch.producer_epoch);
    let mut window = same_epoch.map_or([None; WINDOW], |producer| producer.window);
    let producer = if batch.is_control {
        Producer {
            epoch: batch.producer_epoch,
            last_sequence: before.map_or(-1, |producer| producer.last_sequence),
            last_offset: before.map_or(-1, |producer| producer.last_offset),
            has_marker: true,
            window,
        }
    } else {
        window.rotate_right(1);
        window[0] = Some(Remembered {
            base_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset,
            last_offset: batch.last_offset,
            at,
        });
        Producer {
            epoch: batch.producer_epoch,
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset,
            has_marker: had_marker,
            window,
        }
    };
    producers.insert(batch.producer_id, producer);
}
