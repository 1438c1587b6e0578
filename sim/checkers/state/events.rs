//! What a node is seen to be and to do, in the words of the checkers.
//!
//! Whoever watches a node turns what it is shown into these; checkers know nothing of the broker's own types.

use crate::history::{Acks, Isolation, Key};
use std::collections::BTreeSet;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Uuid};

/// One batch in a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of all that does not change when it is stored.
    pub crc: u32,
    /// The idempotent producer, -1 if none.
    pub producer_id: ProducerId,
    /// The producer's epoch, -1 if none.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of its first record, -1 if none.
    pub base_sequence: i32,
    /// The largest timestamp in milliseconds, -1 if none.
    pub max_timestamp: i64,
    /// Whether it is a transaction's marker.
    pub is_control: bool,
    /// Its attributes as stored: compression, kind of timestamp and the rest.
    pub attributes: i16,
    /// Its size in the log, in bytes; 0 if the watcher does not know it.
    pub size_bytes: u64,
}

/// A batch as its producer sent it, before the broker stamped or recompressed it as its topic demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// CRC-32C.
    pub crc: u32,
    /// Attributes.
    pub attributes: i16,
}

impl Batch {
    /// The offset behind it.
    pub fn end(&self) -> Offset {
        self.last_offset + 1
    }

    /// The sequence of its last record, modulo 2^31.
    pub fn last_sequence(&self) -> i32 {
        let records = self.last_offset - self.base_offset;
        ((i64::from(self.base_sequence) + records) & 0x7fff_ffff) as i32
    }

    /// Whether both hold the same records of the same producer, wherever they lie, byte by byte.
    pub fn is_same_content(&self, other: &Batch) -> bool {
        self.crc == other.crc && self.is_same_place(other)
    }

    /// Whether both have as many records of the same producer, at the same place in its sequence.
    pub fn is_same_place(&self, other: &Batch) -> bool {
        let length = |batch: &Batch| batch.last_offset - batch.base_offset;
        length(self) == length(other)
            && self.producer_id == other.producer_id
            && self.producer_epoch == other.producer_epoch
            && self.base_sequence == other.base_sequence
    }
}

/// A producer in a replica's memory, after all batches that have an offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerSeen {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of its last record; `None` if only markers are known.
    pub last_sequence: Option<i32>,
    /// The offset of its last record.
    pub last_offset: Option<Offset>,
    /// Its last batches, by which a repeated one is known, oldest first: the sequence and the offset of the last record;
    /// `None` when the watcher did not look.
    pub window: Option<Vec<(i32, Offset)>>,
}

/// A replica after a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaSeen {
    /// Which node.
    pub node: NodeId,
    /// Which partition.
    pub key: Key,
    /// The epoch in which it leads, if it does.
    pub leads: Option<LeaderEpoch>,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// The end of what it believes to be flushed.
    pub flushed: Offset,
    /// The end of what is written.
    pub log_end: Offset,
    /// The end of what has an offset.
    pub assigned_end: Offset,
    /// The end of what is visible.
    pub high_watermark: Offset,
    /// The end of what is visible at read_committed.
    pub last_stable: Offset,
    /// Epochs and their first offsets, ascending.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// Producers, ascending; `None` when the watcher did not look.
    pub producers: Option<Vec<ProducerSeen>>,
}

/// A partition of a Produce request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Produced {
    /// Which node.
    pub node: NodeId,
    /// When the request came, in simulated nanoseconds.
    pub began: u64,
    /// Which partition.
    pub key: Key,
    /// Whom the client waits for.
    pub acks: Acks,
    /// The batch as it was to be stored: its offsets count from 0, its leader epoch means nothing.
    pub batch: Batch,
    /// The batch as it was sent.
    pub sent: Sent,
    /// Where the broker says it lies, or why it is refused.
    pub result: Result<Offset, ErrorCode>,
}

/// A partition of a Fetch request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// Which node.
    pub node: NodeId,
    /// When the request came, in simulated nanoseconds.
    pub began: u64,
    /// Which partition.
    pub key: Key,
    /// What the client may see.
    pub isolation: Isolation,
    /// Where it reads from.
    pub offset: Offset,
    /// Whether it worked.
    pub error: ErrorCode,
    /// Whether any record is in the answer.
    pub has_records: bool,
    /// Bytes of batches in the answer; 0 if there are none, or if the watcher does not know.
    pub length_bytes: u64,
    /// The offset behind the last batch in the answer, if the watcher knows it.
    pub records_end: Option<Offset>,
    /// High watermark told, -1 for none.
    pub high_watermark: Offset,
    /// Last stable offset told, -1 for none.
    pub last_stable: Offset,
    /// Log start told, -1 for none.
    pub log_start: Offset,
}

/// What a ListOffsets request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The log start.
    Earliest,
    /// The high watermark, or at read_committed the last stable offset.
    Latest,
    /// The first record with at least this timestamp in milliseconds.
    Timestamp(i64),
}

/// A partition of a ListOffsets request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetsListed {
    /// Which node.
    pub node: NodeId,
    /// When the request came, in simulated nanoseconds.
    pub began: u64,
    /// Which partition.
    pub key: Key,
    /// What the client may see.
    pub isolation: Isolation,
    /// What it asks for.
    pub asked: Asked,
    /// The offset, or `None` if there is none, or why it is refused.
    pub result: Result<Option<Offset>, ErrorCode>,
}

/// A partition of an OffsetForLeaderEpoch request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEndTold {
    /// Which node.
    pub node: NodeId,
    /// When the request came, in simulated nanoseconds.
    pub began: u64,
    /// Which partition.
    pub key: Key,
    /// The epoch whose end is asked for.
    pub asked: LeaderEpoch,
    /// The largest epoch not above it and where that ends, both -1 if nothing is known of it; or why it is refused.
    pub result: Result<(LeaderEpoch, Offset), ErrorCode>,
}

/// How a node died.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// Its process ended; what it had written stays.
    Kill,
    /// Its machine lost power; what it had not synced may be gone.
    Power,
}

/// A partition's log right after its node started again, before anything is appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Which node.
    pub node: NodeId,
    /// Which partition.
    pub key: Key,
    /// How the node had died.
    pub death: Death,
    /// The log start.
    pub log_start: Offset,
    /// The log end.
    pub log_end: Offset,
    /// Its batches, if the watcher read them.
    pub batches: Option<Vec<Batch>>,
    /// Whether the broker refuses to serve it because it found damage that it must not repair.
    pub is_fenced: bool,
}

/// A group as its coordinator has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSeen {
    /// The group's name.
    pub group: String,
    /// Its generation.
    pub generation: i32,
    /// Whether it is stable: then its generation is in the log.
    pub is_stable: bool,
    /// Whether it has members.
    pub has_members: bool,
    /// Topics that its members are known to read.
    pub subscribed: Vec<Uuid>,
    /// Members of the current generation that have been told their partitions, with these; only while the group is stable.
    pub owners: Vec<(String, Vec<Key>)>,
    /// Committed offsets in memory.
    pub offsets: Vec<(Key, Offset)>,
}

/// The coordinator of a partition of the offsets topic after a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoordinatorSeen {
    /// Which node.
    pub node: NodeId,
    /// Which partition of the offsets topic.
    pub partition: i32,
    /// Its leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// Whether it serves: it leads and has loaded all.
    pub is_serving: bool,
    /// Whether all that it has decided is in its log and in its memory.
    pub is_settled: bool,
    /// Groups that changed, or all of them.
    pub groups: Vec<GroupSeen>,
}

/// A commit of an offset comes to its group's coordinator: from now on it may be there. Its answer comes when it is in
/// the log, and by then the group may have gone on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitBegun {
    /// When the request came, in nanoseconds of the run: its answer names the same moment.
    pub began: u64,
    /// Which partition of the offsets topic holds the group.
    pub coordinator: i32,
    /// The group's name.
    pub group: String,
    /// The generation in which it is committed; negative without membership.
    pub generation: i32,
    /// Whose offset.
    pub key: Key,
    /// Which offset.
    pub offset: Offset,
}

/// A partition of an OffsetCommit request is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommitted {
    /// Which node.
    pub node: NodeId,
    /// When the request came, in nanoseconds of the run.
    pub began: u64,
    /// Which partition of the offsets topic holds the group.
    pub coordinator: i32,
    /// The group's name.
    pub group: String,
    /// The generation in which it is committed; negative without membership.
    pub generation: i32,
    /// Whose offset.
    pub key: Key,
    /// Which offset.
    pub offset: Offset,
    /// Whether it is kept.
    pub error: ErrorCode,
}

/// The metadata quorum of a node after a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumSeen {
    /// Which node.
    pub node: NodeId,
    /// The newest epoch.
    pub leader_epoch: LeaderEpoch,
    /// The log start.
    pub log_start: Offset,
    /// The end of what is flushed.
    pub flushed: Offset,
    /// The end of what is written.
    pub log_end: Offset,
    /// The end of what is committed, if known.
    pub high_watermark: Option<Offset>,
    /// The ends of the durable snapshots.
    pub snapshots: Vec<Offset>,
    /// Whether it is the only voter.
    pub is_alone: bool,
}

/// Something that happened to the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A batch has an offset and is queued for writing: it may be taken back until the log end has passed it.
    Appended {
        /// Which node.
        node: NodeId,
        /// Which partition.
        key: Key,
        /// The batch as stored.
        batch: Batch,
    },
    /// A replica was stepped.
    Replica(ReplicaSeen),
    /// A Produce was answered.
    Produced(Produced),
    /// A Fetch was answered.
    Fetched(Fetched),
    /// A ListOffsets was answered.
    OffsetsListed(OffsetsListed),
    /// An OffsetForLeaderEpoch was answered.
    EpochEndTold(EpochEndTold),
    /// The simulated disk says how much of a log would survive a loss of power now.
    DurableAt {
        /// Which node.
        node: NodeId,
        /// Which partition.
        key: Key,
        /// The end of what would survive.
        end: Offset,
    },
    /// A node dies. With a loss of power every partition of class *replicated* is cut to what is durable.
    Died {
        /// Which node.
        node: NodeId,
        /// How.
        death: Death,
        /// What survives of each log, if the simulated disk was asked; otherwise what the broker believed.
        durable: Vec<(Key, Offset)>,
    },
    /// A node started again, and opened a partition.
    Recovered(Recovered),
    /// A node recovered the same disk image another time, to the state with this hash.
    ImageRecovered {
        /// Hash of the disk image before.
        image: u64,
        /// Hash of the state afterwards.
        state: u64,
    },
    /// A node's disk was set back to an earlier time: what the node did with metadata since then is no more.
    SetBack {
        /// Which node.
        node: NodeId,
    },
    /// What a running node's disk holds of a log at the end of the run, when nothing moves any more.
    Swept {
        /// Which node.
        node: NodeId,
        /// Which partition.
        key: Key,
        /// The sound batches from the log start on, without a gap.
        batches: Vec<Batch>,
    },
    /// A fault damaged a batch of the log where at most its checksum tells: whoever reads only its header believes it.
    LogDamaged {
        /// Which partition.
        key: Key,
        /// Whether not even a checksum tells: a batch was written over another.
        is_overwritten: bool,
    },
    /// A write or sync of a partition's files fails for good: what was not synced before may be gone from now on.
    DiskFailed {
        /// Which node.
        node: NodeId,
        /// Which partition.
        key: Key,
    },
    /// The broker was told of that: a sync takes its time, and until then nobody knows that it will fail.
    FailureTold {
        /// Which node.
        node: NodeId,
        /// Which partition.
        key: Key,
    },
    /// A producer id was handed out.
    ProducerIdGiven {
        /// The id.
        producer_id: ProducerId,
        /// Its epoch.
        producer_epoch: ProducerEpoch,
    },
    /// A replica has forgotten producers because they were silent for long.
    ProducersExpired {
        /// Of which partition.
        key: Key,
    },
    /// A commit of an offset comes to its group's coordinator.
    CommitBegun(CommitBegun),
    /// An OffsetCommit was answered.
    OffsetCommitted(OffsetCommitted),
    /// A coordinator writes that a group is deleted: from now on its offsets may be gone.
    GroupDeleting {
        /// Which group.
        group: String,
    },
    /// A client was told that a group is deleted.
    GroupDeleted {
        /// Which group.
        group: String,
    },
    /// A coordinator was stepped.
    Coordinator(CoordinatorSeen),
    /// The quorum was stepped.
    Quorum(QuorumSeen),
    /// A node acts on this metadata from now on.
    ImageSeen {
        /// Which node.
        node: NodeId,
        /// The offset behind the last record in it.
        offset: Offset,
        /// A hash of all its content.
        hash: u64,
    },
    /// A snapshot was written or loaded.
    SnapshotSeen {
        /// Which node.
        node: NodeId,
        /// The offset behind the last record in it.
        offset: Offset,
        /// The hash of the metadata in it.
        hash: u64,
    },
    /// These are all topics that a node knows from now on.
    TopicsSeen {
        /// Their ids.
        topics: BTreeSet<Uuid>,
    },
    /// The deletion of a topic was acknowledged.
    TopicDeleted {
        /// Its id.
        topic: Uuid,
    },
}
