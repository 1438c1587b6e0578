//! Replaying the log: the image after each batch, and what a broker must know of it.

use std::sync::Arc;

use types::{LeaderEpoch, NodeId, Offset, TopicPartition, Uuid};

use crate::apply::apply;
use crate::image::{ConfigResource, MetadataImage, Provenance, TopicImage};
use crate::records::MetadataRecord;

/// One thing that a batch of records changed.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// There is a new topic; its partitions follow.
    TopicCreated {
        /// Its name.
        name: Arc<str>,
        /// Its id.
        id: Uuid,
    },
    /// A topic with all its partitions and configs is gone.
    TopicDeleted(Arc<TopicImage>),
    /// There is a new partition.
    PartitionCreated(TopicPartition),
    /// A partition changed.
    PartitionChanged {
        /// Which one.
        partition: TopicPartition,
        /// Whether its leader epoch rose: leaders and followers must act.
        leadership: bool,
    },
    /// A config of a resource was set or removed.
    ConfigChanged {
        /// The resource.
        resource: ConfigResource,
        /// The key.
        key: String,
    },
    /// A broker registered anew.
    BrokerRegistered(NodeId),
    /// A broker was fenced, unfenced, or changed otherwise.
    BrokerChanged(NodeId),
    /// A broker was removed.
    BrokerUnregistered(NodeId),
    /// A controller registered anew.
    ControllerRegistered(NodeId),
    /// A feature's finalized level changed.
    FeatureChanged(String),
    /// Producer ids were given out.
    ProducerIdsAllocated,
}

/// Why a record cannot be replayed: the log was written by something else, or this program is wrong. The node must not go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    /// A record of a feature that this release does not serve; going on would lose what it protects.
    #[error("the metadata log holds a {0}, which this release does not serve")]
    NotServed(&'static str),
    /// A record names an unknown topic.
    #[error("a metadata record names topic {0}, which does not exist")]
    UnknownTopic(Uuid),
    /// A record names an unknown partition.
    #[error("a metadata record names partition {0:?}, which does not exist")]
    UnknownPartition(TopicPartition),
    /// A topic is created twice.
    #[error("a metadata record creates topic {0} again")]
    TopicExists(String),
    /// A record names an unknown broker, or an incarnation of it that is not registered.
    #[error("a metadata record names broker {id} with epoch {epoch}, which is not registered")]
    UnknownBroker {
        /// The broker.
        id: NodeId,
        /// The epoch.
        epoch: i64,
    },
    /// A config belongs to no kind of resource.
    #[error("a metadata record sets a config of resource type {0}, which does not exist")]
    UnknownResourceType(i8),
    /// A field has an impossible value.
    #[error("a metadata record is malformed: {0}")]
    Malformed(String),
    /// Markers of a metadata transaction do not pair.
    #[error("a metadata transaction is {0}")]
    Transaction(&'static str),
}

/// Where a batch stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchPosition {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Leader epoch of the batch.
    pub epoch: LeaderEpoch,
    /// Append time, in wall milliseconds.
    pub timestamp_ms: i64,
}

/// Builds the image from records; every node has one.
#[derive(Clone, Debug)]
pub struct Replayer {
    image: Arc<MetadataImage>,
    transaction: Option<Transaction>,
}

/// Records between two markers count together or not at all (KIP-868).
#[derive(Clone, Debug)]
struct Transaction {
    before: Arc<MetadataImage>,
    changes: Vec<Change>,
}

impl Replayer {
    /// Starts from an image: the empty one, or that of a snapshot.
    pub fn new(image: Arc<MetadataImage>) -> Replayer {
        Replayer {
            image,
            transaction: None,
        }
    }

    /// The image after the last complete transaction. Cheap: one pointer.
    pub fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(self.complete())
    }

    /// The image after the last complete transaction.
    pub(crate) fn complete(&self) -> &Arc<MetadataImage> {
        match &self.transaction {
            Some(transaction) => &transaction.before,
            None => &self.image,
        }
    }

    /// The image with the records of an open transaction.
    pub(crate) fn latest(&self) -> &MetadataImage {
        &self.image
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Replays one batch and returns what it changed; the changes of a transaction come with its end.
    ///
    /// # Errors
    /// [`ReplayError`]; the image is then unusable.
    pub fn replay_batch(
        &mut self,
        position: BatchPosition,
        records: &[MetadataRecord],
    ) -> Result<Vec<Change>, ReplayError> {
        let mut changes = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let index = i64::try_from(index).expect("a batch has fewer than 2^63 records");
            let provenance = Provenance {
                offset: position.base_offset + index,
                epoch: position.epoch,
                timestamp_ms: position.timestamp_ms,
            };
            self.replay(provenance, record, &mut changes)?;
        }
        Ok(changes)
    }

    /// Replays one record, adding what it changed to `changes`.
    ///
    /// # Errors
    /// [`ReplayError`]; the image is then unusable.
    pub fn replay(
        &mut self,
        provenance: Provenance,
        record: &MetadataRecord,
        changes: &mut Vec<Change>,
    ) -> Result<(), ReplayError> {
        assert!(
            provenance.offset > self.image.provenance.offset,
            "metadata offset {} replayed after {}",
            provenance.offset,
            self.image.provenance.offset
        );
        Arc::make_mut(&mut self.image).provenance = provenance;
        match record {
            MetadataRecord::BeginTransaction(_) => self.begin(),
            MetadataRecord::EndTransaction(_) => self.end(changes),
            MetadataRecord::AbortTransaction(_) => self.abort(),
            record => {
                let image = Arc::make_mut(&mut self.image);
                match &mut self.transaction {
                    Some(transaction) => apply(image, record, &mut transaction.changes),
                    None => apply(image, record, changes),
                }
            }
        }
    }

    /// Moves the image's position over records that are not metadata: control batches of the quorum.
    pub fn skip_to(&mut self, provenance: Provenance) {
        assert!(
            provenance.offset > self.image.provenance.offset,
            "the metadata log only grows"
        );
        Arc::make_mut(&mut self.image).provenance = provenance;
    }

    fn begin(&mut self) -> Result<(), ReplayError> {
        if self.transaction.is_some() {
            return Err(ReplayError::Transaction("begun inside another"));
        }
        self.transaction = Some(Transaction {
            before: Arc::clone(&self.image),
            changes: Vec::new(),
        });
        Ok(())
    }

    fn end(&mut self, changes: &mut Vec<Change>) -> Result<(), ReplayError> {
        let Some(mut transaction) = self.transaction.take() else {
            return Err(ReplayError::Transaction("ended without having begun"));
        };
        changes.append(&mut transaction.changes);
        Ok(())
    }

    fn abort(&mut self) -> Result<(), ReplayError> {
        let Some(transaction) = self.transaction.take() else {
            return Err(ReplayError::Transaction("aborted without having begun"));
        };
        let provenance = self.image.provenance;
        self.image = transaction.before;
        Arc::make_mut(&mut self.image).provenance = provenance;
        Ok(())
    }
}
