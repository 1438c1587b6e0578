//! What an observer may see of a coordinator: borrowed, read only.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use types::{LeaderEpoch, PartitionIndex, Uuid};

use super::group::Group;
use super::image::{CommittedOffset, StoredGroup};
use super::machine::GroupCoordinator;
use super::member::Member;
use super::state::GroupState;

/// Where a coordinator is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CoordinatorPhase {
    /// Another broker leads the partition.
    Resigned,
    /// The log is being replayed.
    Loading,
    /// Requests are served.
    Active,
    /// The log could not be replayed; requests are refused until the next election.
    Failed,
}

/// A coordinator, looked at.
#[derive(Clone, Copy)]
pub struct CoordinatorView<'a>(pub(super) &'a GroupCoordinator);

impl<'a> CoordinatorView<'a> {
    /// Where the coordinator is in its life.
    pub fn phase(self) -> CoordinatorPhase {
        self.0.phase
    }

    /// The leader epoch of the current or last term, -1 before the first.
    pub fn epoch(self) -> LeaderEpoch {
        self.0.epoch
    }

    /// The groups in memory, by id, uncommitted ones included.
    pub fn groups(self) -> impl Iterator<Item = GroupView<'a>> {
        self.0.groups.values().map(GroupView)
    }

    /// The ids of the groups that the committed log knows.
    pub fn stored_group_ids(self) -> impl Iterator<Item = &'a str> {
        self.0.image.groups.keys().map(|id| &**id)
    }

    /// A group as the committed log has it.
    pub fn stored_group(self, group_id: &str) -> Option<&'a StoredGroup> {
        self.0.image.groups.get(group_id)?.metadata.as_ref()
    }

    /// The committed offsets of a group, by topic and partition.
    pub fn offsets(
        self,
        group_id: &str,
    ) -> impl Iterator<Item = (&'a str, PartitionIndex, &'a CommittedOffset)> {
        let topics = self
            .0
            .image
            .groups
            .get(group_id)
            .map(|group| &group.offsets);
        topics
            .into_iter()
            .flatten()
            .flat_map(|(topic, partitions)| {
                partitions
                    .iter()
                    .map(move |(&partition, offset)| (&**topic, partition, offset))
            })
    }

    /// Every topic that a group has committed offsets for, with the id that was stored beside them: zero if unknown.
    pub fn offset_topics(self) -> BTreeSet<(Arc<str>, Uuid)> {
        let topics = self.0.image.groups.values();
        topics
            .flat_map(|group| &group.offsets)
            .flat_map(|(topic, partitions)| {
                let ids = partitions.values().map(|offset| offset.topic_id);
                ids.map(|id| (topic.clone(), id))
            })
            .collect()
    }

    /// Appends handed out and neither committed nor failed yet.
    pub fn appends_in_flight(self) -> usize {
        self.0.pending.len()
    }

    /// Requests that are not answered yet.
    pub fn parked_count(self) -> usize {
        self.0.parked_count()
    }
}

/// A group in memory, looked at.
#[derive(Clone, Copy)]
pub struct GroupView<'a>(&'a Group);

impl<'a> GroupView<'a> {
    /// The group's id.
    pub fn group_id(self) -> &'a str {
        &self.0.id
    }

    /// Its state.
    pub fn state(self) -> GroupState {
        self.0.state
    }

    /// Its generation.
    pub fn generation_id(self) -> i32 {
        self.0.generation
    }

    /// Its protocol type, if it ever had a member.
    pub fn protocol_type(self) -> Option<&'a str> {
        self.0.protocol_type.as_deref()
    }

    /// The chosen protocol.
    pub fn protocol_name(self) -> Option<&'a str> {
        self.0.protocol_name.as_deref()
    }

    /// The leader's member id.
    pub fn leader(self) -> Option<&'a str> {
        self.0.leader.as_deref()
    }

    /// Its members, by member id.
    pub fn members(self) -> impl Iterator<Item = MemberView<'a>> {
        self.0.members.values().map(MemberView)
    }

    /// Whether its members consume the topic; while a consumer group's subscription is unknown, every topic counts.
    pub fn is_subscribed_to(self, topic: &str) -> bool {
        self.0.is_subscribed_to(topic)
    }

    /// Member ids that were handed out and have not joined yet.
    pub fn pending_join_count(self) -> usize {
        self.0.pending_joins.len()
    }
}

/// A member in memory, looked at.
#[derive(Clone, Copy)]
pub struct MemberView<'a>(&'a Member);

impl<'a> MemberView<'a> {
    /// The member's id.
    pub fn member_id(self) -> &'a str {
        &self.0.id
    }

    /// The id of a static member.
    pub fn group_instance_id(self) -> Option<&'a str> {
        self.0.instance_id.as_deref()
    }

    /// Whether a JoinGroup of it is parked.
    pub fn is_awaiting_join(self) -> bool {
        self.0.awaiting_join.is_some()
    }

    /// Whether a SyncGroup of it is parked.
    pub fn is_awaiting_sync(self) -> bool {
        self.0.awaiting_sync.is_some()
    }

    /// What the leader assigned to it.
    pub fn assignment(self) -> &'a Bytes {
        &self.0.assignment
    }
}
