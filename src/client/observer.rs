//! What a consumer tells while it works.

use std::fmt;
use std::rc::Rc;

use types::{NodeId, Offset, PartitionIndex, Uuid};

/// A partition by its topic's name and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionOfTopic {
    /// The topic's name.
    pub topic: String,
    /// The topic's id, zero if it is not known.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: PartitionIndex,
}

/// What an answer said of a partition that was fetched, beside its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Which.
    pub partition: PartitionOfTopic,
    /// Where the log begins, if the broker said so.
    pub log_start_offset: Option<Offset>,
    /// Up to where transactions are decided, if the broker said so.
    pub last_stable_offset: Option<Offset>,
    /// Up to where records are replicated, if the broker said so.
    pub high_watermark: Option<Offset>,
}

/// Hears what happens to a consumer while it is polled. All methods are called inside [`crate::Consumer::poll`] and
/// must not call the consumer.
pub trait Observer {
    /// The consumer may not read these any more: a rebalance begins.
    fn revoked(&self, _generation: i32, _partitions: &[PartitionOfTopic]) {}
    /// A rebalance ended and gave the consumer these.
    fn assigned(&self, _generation: i32, _partitions: &[PartitionOfTopic]) {}
    /// A fetch is sent to this broker, whose answer some later poll may give.
    fn asked(&self, _node: NodeId) {}
    /// An answer to a fetch held this partition, without an error.
    fn answered(&self, _answered: &Answered) {}
    /// The position was out of the log's range, or the topic was deleted and made again: reading begins anew where
    /// the settings say.
    fn reset(&self, _partition: &PartitionOfTopic) {}
    /// Where reading begins was looked up, as the settings say: the log's start, or its end. The topic's id is known
    /// from the first answer on.
    fn begun(&self, _partition: &PartitionOfTopic, _offset: Offset) {}
}

/// All who listen to a consumer.
#[derive(Default)]
pub(crate) struct Observers(Vec<Rc<dyn Observer>>);

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} observers", self.0.len())
    }
}

impl Observers {
    pub(crate) fn add(&mut self, observer: Rc<dyn Observer>) {
        self.0.push(observer);
    }

    pub(crate) fn revoked(&self, generation: i32, partitions: &[PartitionOfTopic]) {
        for observer in &self.0 {
            observer.revoked(generation, partitions);
        }
    }

    pub(crate) fn assigned(&self, generation: i32, partitions: &[PartitionOfTopic]) {
        for observer in &self.0 {
            observer.assigned(generation, partitions);
        }
    }

    pub(crate) fn asked(&self, node: NodeId) {
        for observer in &self.0 {
            observer.asked(node);
        }
    }

    pub(crate) fn answered(&self, answered: &Answered) {
        for observer in &self.0 {
            observer.answered(answered);
        }
    }

    pub(crate) fn reset(&self, partition: &PartitionOfTopic) {
        for observer in &self.0 {
            observer.reset(partition);
        }
    }

    pub(crate) fn begun(&self, partition: &PartitionOfTopic, offset: Offset) {
        for observer in &self.0 {
            observer.begun(partition, offset);
        }
    }
}
