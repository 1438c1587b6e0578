//! What the log says: the durable state of all groups of a partition, a function of its committed records.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use types::{LeaderEpoch, Offset, PartitionIndex, Uuid, Wall};

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    /// The next offset to be consumed.
    pub offset: Offset,
    /// The leader epoch of the last consumed record, -1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// What the client kept with it.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: Wall,
    /// When it expires, if its client said so; else the broker's retention decides.
    pub expires_at: Option<Wall>,
    /// The topic's id, zero if unknown.
    pub topic_id: Uuid,
}

/// A group as stored after a rebalance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredGroup {
    /// The protocol type, empty if the group never had a member.
    pub protocol_type: String,
    /// The generation.
    pub generation: i32,
    /// The chosen protocol, if there are members.
    pub protocol_name: Option<String>,
    /// The leader's member id, if there are members.
    pub leader: Option<String>,
    /// When the group came into its state, if the record is new enough to say so.
    pub state_since: Option<Wall>,
    /// The members.
    pub members: Vec<StoredMember>,
}

/// A member as stored after a rebalance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredMember {
    /// The member's id.
    pub member_id: String,
    /// The id of a static member.
    pub group_instance_id: Option<String>,
    /// The client id.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// The rebalance timeout in milliseconds, -1 in old records.
    pub rebalance_timeout_ms: i32,
    /// The session timeout in milliseconds.
    pub session_timeout_ms: i32,
    /// The member's metadata for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader assigned.
    pub assignment: Bytes,
}

/// One record's meaning.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Change {
    /// An offset is committed, or (none) forgotten.
    Offset {
        group: Arc<str>,
        topic: Arc<str>,
        partition: PartitionIndex,
        value: Option<CommittedOffset>,
    },
    /// A group is stored, or (none) forgotten.
    Group {
        group: Arc<str>,
        value: Option<StoredGroup>,
    },
}

impl Change {
    pub(super) fn group(&self) -> &Arc<str> {
        match self {
            Change::Offset { group, .. } | Change::Group { group, .. } => group,
        }
    }
}

/// The offsets of a group by topic and partition.
pub(super) type OffsetsByTopic = BTreeMap<Arc<str>, BTreeMap<PartitionIndex, CommittedOffset>>;

/// A group in the image.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct DurableGroup {
    /// What its last group record says; none for a group that only committed offsets.
    pub(super) metadata: Option<StoredGroup>,
    /// Its offsets; no topic without partitions.
    pub(super) offsets: OffsetsByTopic,
}

/// The durable state. Live and rebuilt images are equal because both come from [`Image::apply`] alone.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Image {
    pub(super) groups: BTreeMap<Arc<str>, DurableGroup>,
}

impl Image {
    /// Takes one record in.
    ///
    /// A group is there from its first record until its tombstone: forgetting its last offset does not end it.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Offset {
                group,
                topic,
                partition,
                value: Some(value),
            } => {
                let durable = self.groups.entry(group).or_default();
                let partitions = durable.offsets.entry(topic).or_default();
                partitions.insert(partition, value);
            }
            Change::Offset {
                group,
                topic,
                partition,
                value: None,
            } => self.forget_offset(&group, &topic, partition),
            Change::Group {
                group,
                value: Some(value),
            } => self.groups.entry(group).or_default().metadata = Some(value),
            Change::Group { group, value: None } => self.forget_group(&group),
        }
    }

    fn forget_offset(&mut self, group: &str, topic: &str, partition: PartitionIndex) {
        let Some(durable) = self.groups.get_mut(group) else {
            return;
        };
        let Some(partitions) = durable.offsets.get_mut(topic) else {
            return;
        };
        partitions.remove(&partition);
        if partitions.is_empty() {
            durable.offsets.remove(topic);
        }
    }

    fn forget_group(&mut self, group: &str) {
        let Some(durable) = self.groups.get_mut(group) else {
            return;
        };
        // Offsets are never dropped by a group's tombstone, only by their own: they come first in a deletion.
        durable.metadata = None;
        if durable.offsets.is_empty() {
            self.groups.remove(group);
        }
    }

    pub(super) fn offset(
        &self,
        group: &str,
        topic: &str,
        partition: PartitionIndex,
    ) -> Option<&CommittedOffset> {
        self.groups.get(group)?.offsets.get(topic)?.get(&partition)
    }
}
