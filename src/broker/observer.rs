//! Who may look on: after every machine step, before any of its actions leaves the node.

use coordinator::groups::CoordinatorView;
use replica::ReplicaView;
use types::{PartitionIndex, TopicPartition};

/// Is shown every step of a node's machines, read-only. Absent in production; checkers read state in no other way.
pub trait Observer: Send + Sync {
    /// A partition's replica was stepped.
    fn replica(&self, partition: TopicPartition, view: &ReplicaView<'_>);

    /// The coordinator of a partition of `__consumer_offsets` was stepped.
    fn coordinator(&self, partition: PartitionIndex, view: &CoordinatorView<'_>);
}
