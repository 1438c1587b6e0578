//! Checkers of what a broker is, at every step: they fire long before a client notices.
//!
//! [`State`] is told every [`Event`] in the order in which they happen and keeps ghost state of its own. What it finds names the event by its
//! number, counted from 0. One broker is judged completely; the vocabulary has nodes, for clusters.

mod answers;
mod events;
mod ghost;
mod groups;
mod metadata;
mod producers;
mod recovery;
mod replica;
#[cfg(test)]
mod tests;

use super::history::Excused;
use super::{CheckerId, Report};
use crate::history::{Durability, Key};
use ghost::Ghost;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use types::Uuid;

pub use events::{
    Asked, Batch, CommitBegun, CoordinatorSeen, Death, EpochEndTold, Event, Fetched, GroupSeen,
    OffsetCommitted, OffsetsListed, Produced, ProducerSeen, QuorumSeen, Recovered, ReplicaSeen,
    Sent,
};

/// What the run's options permit.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Partitions by what they promise; those not named are of class *flushed*.
    pub classes: BTreeMap<Key, Durability>,
    /// Producers may be forgotten because of their age: each replica tells when it does.
    pub producers_expire: bool,
    /// Sequences beside 0 at which producers begin.
    pub first_sequences: BTreeSet<i32>,
    /// Committed offsets may be forgotten because of their age, or with their group.
    pub offsets_expire: bool,
    /// The offsets topic is of class *replicated*: a loss of power may take commits.
    pub commits_are_replicated: bool,
}

/// All checkers of state, with what they remember.
#[derive(Debug, Default)]
pub struct State {
    settings: Settings,
    report: Report,
    /// The number of the event that is being judged.
    number: u32,
    /// Nanoseconds of the run.
    now: u64,
    partitions: BTreeMap<Key, Ghost>,
    /// With the moment in which it was acknowledged.
    deleted: BTreeMap<Uuid, u64>,
    /// The topics that exist, if anybody told.
    topics: Option<BTreeSet<Uuid>>,
    excused: BTreeMap<Key, Vec<Excused>>,
    producer_ids: BTreeSet<(i64, i16)>,
    images: BTreeMap<u64, u64>,
    groups: groups::Groups,
    metadata: metadata::Metadata,
}

impl State {
    /// Nothing seen yet.
    pub fn new(settings: Settings) -> State {
        State {
            settings,
            ..State::default()
        }
    }

    /// A partition of another class than *flushed* was made.
    pub fn set_class(&mut self, key: Key, class: Durability) {
        self.ghost(key).class = class;
        self.settings.classes.insert(key, class);
    }

    /// Something happened at `now`, nanoseconds of the run.
    pub fn event(&mut self, now: u64, event: &Event) {
        self.now = now;
        match event {
            Event::Appended { node, key, batch } => self.appended(*node, *key, *batch),
            Event::Replica(seen) => self.replica(seen),
            Event::Produced(produced) => self.produced(produced),
            Event::Fetched(fetched) => self.fetched(fetched),
            Event::OffsetsListed(listed) => self.offsets_listed(listed),
            Event::EpochEndTold(told) => self.epoch_end_told(told),
            Event::DurableAt { key, end, .. } => self.durable_at(*key, *end),
            Event::Died { death, durable, .. } => self.died(*death, durable),
            Event::Recovered(recovered) => self.recovered(recovered),
            Event::SetBack { node } => self.metadata.set_back(*node),
            Event::ImageRecovered { image, state } => self.image_recovered(*image, *state),
            Event::Swept { key, batches, .. } => self.swept(*key, batches),
            Event::LogDamaged {
                key,
                is_overwritten,
            } => {
                let ghost = self.ghost(*key);
                ghost.is_damaged = true;
                ghost.is_overwritten |= is_overwritten;
            }
            Event::DiskFailed { key, .. } => self.ghost(*key).has_failed = true,
            Event::FailureTold { key, .. } => self.failure_told(*key),
            Event::ProducerIdGiven {
                producer_id,
                producer_epoch,
            } => self.producer_id_given(*producer_id, *producer_epoch),
            Event::ProducersExpired { key } => self.ghost(*key).has_expired = true,
            Event::CommitBegun(begins) => self.commit_begun(begins),
            Event::OffsetCommitted(committed) => self.offset_committed(committed),
            Event::GroupDeleting { group } => self.group_deleting(group),
            Event::GroupDeleted { group } => self.group_deleted(group),
            Event::Coordinator(seen) => self.coordinator(seen),
            Event::Quorum(seen) => self.quorum(seen),
            Event::ImageSeen { node, offset, hash } => self.image_seen(*node, *offset, *hash),
            Event::SnapshotSeen { offset, hash, .. } => self.snapshot_seen(*offset, *hash),
            Event::TopicsSeen { topics } => self.topics = Some(topics.clone()),
            Event::TopicDeleted { topic } => {
                self.deleted.insert(*topic, self.now);
                self.partitions.retain(|key, _| key.topic != *topic);
            }
        }
        self.number += 1;
    }

    /// What was found so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What losses of power took with right, for the checkers of the history.
    pub fn excused(&self) -> &BTreeMap<Key, Vec<Excused>> {
        &self.excused
    }

    /// What was found, in order.
    pub fn finish(mut self) -> Report {
        self.report.sort();
        self.report
    }

    fn ghost(&mut self, key: Key) -> &mut Ghost {
        let class = self.settings.classes.get(&key).copied();
        self.partitions
            .entry(key)
            .or_insert_with(|| Ghost::new(class.unwrap_or(Durability::Flushed)))
    }

    /// Whether the topic of `key` is gone: then whatever happens to it is wrong, unless it `began` before that.
    fn is_gone(&mut self, key: Key, began: u64, what: &str) -> bool {
        self.report.looked(CheckerId::S38, 1);
        let deleted = self.deleted.get(&key.topic);
        let is_gone = deleted.is_some();
        if deleted.is_some_and(|&deleted| deleted <= began) {
            self.find(
                CheckerId::S38,
                key,
                format!("{what} after its topic was deleted"),
            );
        }
        is_gone
    }

    /// Whether the topic may be there no more, so that what is kept of it goes.
    fn may_be_gone(&self, topic: Uuid) -> bool {
        let is_missing = |topics: &BTreeSet<Uuid>| !topics.contains(&topic);
        self.deleted.contains_key(&topic) || self.topics.as_ref().is_some_and(is_missing)
    }

    fn looked(&mut self, checker: CheckerId) {
        self.report.looked(checker, 1);
    }

    fn find(&mut self, checker: CheckerId, object: impl Display, message: String) {
        self.report
            .find_at(self.now, checker, object, message, vec![self.number]);
    }

    /// Finds unless `holds`.
    fn demand(
        &mut self,
        holds: bool,
        checker: CheckerId,
        object: impl Display,
        message: impl FnOnce() -> String,
    ) {
        self.looked(checker);
        if !holds {
            self.find(checker, object, message());
        }
    }
}
