//! Who may look on: after every machine step, before any of its actions leaves the node, and at every answer that a
//! checker judges.
//!
//! Absent in production: then each place costs one branch and builds nothing. Everything shown is borrowed and may be
//! kept only as a copy; an observer must not wait. Calls of one node may come from all its cores.

use controller::{ControllerView, MetadataImage};
use coordinator::groups::CoordinatorView;
use protocol::records::BatchHeader;
use raft::QuorumView;
use replica::{Acks, Isolation, ProduceOk, ReplicaView};
use types::{
    ErrorCode, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicPartition,
};

/// Is shown every step of a node's machines and what the node answers, read-only. Checkers read state in no other way.
/// Whoever looks at a part only leaves the other methods as they are.
pub trait Observer: Send + Sync {
    /// The present moment, as the observer counts. A request's answers are shown with the moment in which it came.
    fn moment(&self) -> u64 {
        0
    }

    /// A partition's replica was stepped.
    fn replica(&self, _partition: TopicPartition, _view: &ReplicaView<'_>) {}

    /// A batch has got its offsets and its leader epoch and is queued for writing: it may be taken back, as long as the
    /// replica's `log_end` has not passed it. `header` is what will be stored.
    fn appending(&self, _partition: TopicPartition, _header: &BatchHeader) {}

    /// The coordinator of a partition of `__consumer_offsets` was stepped.
    fn coordinator(&self, _partition: PartitionIndex, _view: &CoordinatorView<'_>) {}

    /// The metadata quorum was stepped.
    fn quorum(&self, _view: &QuorumView<'_>) {}

    /// The controller has decided a request, or replayed a batch. `quorum` is the quorum below it at this moment: what
    /// is committed, written and flushed. `parked` requests are not answered: the one that is being decided, and those
    /// that waited behind it when it was taken up.
    fn controller(&self, _view: &ControllerView<'_>, _quorum: &QuorumView<'_>, _parked: usize) {}

    /// All handlers of this node see this metadata from now on; the shards follow before anyone is answered.
    fn published(&self, _image: &MetadataImage) {}

    /// A partition of a Produce request is answered, in this moment; with acks=0 nothing is sent.
    fn produce_answered(&self, _answer: &ProduceAnswered<'_>) {}

    /// A partition of a Produce request is refused before it came to the partition's replica, if there is one.
    fn produce_refused(&self, _partition: PartitionIndex, _error: ErrorCode) {}

    /// A partition of a Fetch request is answered. What an incremental session leaves out is not shown.
    fn fetch_answered(&self, _answer: &FetchAnswered) {}

    /// A partition of a ListOffsets request is answered.
    fn list_offsets_answered(&self, _answer: &ListOffsetsAnswered) {}

    /// A partition of an OffsetForLeaderEpoch request is answered.
    fn epoch_end_answered(&self, _answer: &EpochEndAnswered) {}

    /// A partition of an OffsetCommit request goes to the group's coordinator, which will say whether it is kept.
    fn offset_commit_begins(&self, _commit: &OffsetCommitBegins<'_>) {}

    /// A partition of an OffsetCommit request is answered.
    fn offset_commit_answered(&self, _answer: &OffsetCommitAnswered<'_>) {}

    /// A producer is given this identity.
    fn producer_id_given(&self, _producer_id: ProducerId, _producer_epoch: ProducerEpoch) {}

    /// A snapshot of the metadata up to `end_offset` was written durably, or the node begins with it: `image` is what
    /// it holds.
    fn snapshot(&self, _end_offset: Offset, _image: &MetadataImage) {}
    /// A machine tells what happened, in fixed words, and of whom: a group, or a partition by its topic's id.
    fn noted(&self, _what: &'static str, _of: &str) {}
}

/// The answer of one partition of a Produce request that came as far as the partition's replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProduceAnswered<'a> {
    /// When the request came, as the observer counts.
    pub began: u64,
    /// The partition.
    pub partition: TopicPartition,
    /// What the client waits for.
    pub acks: Acks,
    /// The batch as it was to be appended: CRC, producer and sequence are what is stored, offsets and epoch are not.
    /// Of one that was appended before, the first is stored, which may have been stamped or compressed otherwise.
    pub header: &'a BatchHeader,
    /// The batch as it was sent.
    pub sent: &'a BatchHeader,
    /// Where it lies, or why it is refused.
    pub result: Result<ProduceOk, ErrorCode>,
}

/// The answer of one partition of a Fetch request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchAnswered {
    /// When the request came, as the observer counts.
    pub began: u64,
    /// The partition.
    pub partition: TopicPartition,
    /// Which records the client may see.
    pub isolation: Isolation,
    /// Where it reads from.
    pub fetch_offset: Offset,
    /// Whether it worked.
    pub error: ErrorCode,
    /// Bytes of whole batches, of which the first holds `fetch_offset` or begins above it and all begin below the
    /// high watermark (with read_committed the last stable offset) that is told. Records are not read here, so which
    /// offsets these are only the client sees.
    pub length_bytes: u64,
    /// The leader's epoch; -1 if it was refused before.
    pub leader_epoch: LeaderEpoch,
    /// High watermark that is told, -1 for none.
    pub high_watermark: Offset,
    /// Last stable offset that is told, -1 for none.
    pub last_stable: Offset,
    /// Log start that is told, -1 for none.
    pub log_start: Offset,
}

/// The answer of one partition of a ListOffsets request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListOffsetsAnswered {
    /// When the request came, as the observer counts.
    pub began: u64,
    /// The partition.
    pub partition: TopicPartition,
    /// Which records the client may see.
    pub isolation: Isolation,
    /// What it asks for: a time in milliseconds, or one of the named offsets, which are negative.
    pub asked_timestamp: i64,
    /// The offset, its timestamp and its leader epoch, each -1 for none.
    pub result: Result<(Offset, i64, LeaderEpoch), ErrorCode>,
}

/// The answer of one partition of an OffsetForLeaderEpoch request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEndAnswered {
    /// When the request came, as the observer counts.
    pub began: u64,
    /// The partition.
    pub partition: TopicPartition,
    /// The epoch whose end is asked for.
    pub asked_epoch: LeaderEpoch,
    /// The largest epoch not above it and where that ends, both -1 if nothing is known of it.
    pub result: Result<(LeaderEpoch, Offset), ErrorCode>,
}

/// One partition of an OffsetCommit request on its way to the group's coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetCommitBegins<'a> {
    /// When the request came, as the observer counts.
    pub began: u64,
    /// Which partition of `__consumer_offsets` holds the group, if that is known.
    pub coordinator: Option<PartitionIndex>,
    /// The group.
    pub group_id: &'a str,
    /// The generation in which it commits; negative without membership.
    pub generation_id: i32,
    /// Whose offset it is.
    pub partition: TopicPartition,
    /// The next offset to be consumed.
    pub offset: Offset,
}

/// The answer of one partition of an OffsetCommit request that came as far as the group's coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetCommitAnswered<'a> {
    /// When the request came, as the observer counts.
    pub began: u64,
    /// Which partition of `__consumer_offsets` holds the group, if that is known.
    pub coordinator: Option<PartitionIndex>,
    /// The group.
    pub group_id: &'a str,
    /// The generation in which it commits; negative without membership.
    pub generation_id: i32,
    /// Whose offset it is.
    pub partition: TopicPartition,
    /// The next offset to be consumed.
    pub offset: Offset,
    /// Whether it is kept.
    pub error: ErrorCode,
}
