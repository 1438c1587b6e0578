//! What administrators ask: ListGroups, DescribeGroups, DeleteGroups.
//!
//! Only groups that the committed log knows are shown. Their state is the one in memory: it becomes stable only once the
//! assignment is committed.

use std::sync::Arc;

use types::Now;

use super::api::*;
use super::errors::*;
use super::group::Group;
use super::image::{Change, DurableGroup};
use super::machine::GroupCoordinator;
use super::member::Member;
use super::offsets::tombstone;
use super::pending::Effect;
use super::state::GroupState;

/// The only type of group here, as ListGroups names it.
const GROUP_TYPE: &str = "classic";

impl GroupCoordinator {
    pub(super) fn list_groups(&self, request: &ListGroups) -> Vec<ListedGroup> {
        let is_asked = |filter: &[String], name: &str| {
            let matches = |asked: &String| asked.trim().eq_ignore_ascii_case(name);
            filter.is_empty() || filter.iter().any(matches)
        };
        if !is_asked(&request.types, GROUP_TYPE) {
            return Vec::new();
        }
        (self.image.groups.iter())
            .map(|(id, durable)| self.listed(id, durable))
            .filter(|listed| is_asked(&request.states, listed.state.name()))
            .collect()
    }

    fn listed(&self, id: &Arc<str>, durable: &DurableGroup) -> ListedGroup {
        let group = self.groups.get(id);
        // A deletion that is not committed yet shows the group as it was.
        let protocol_type = match group {
            Some(group) => group.protocol_type.as_deref(),
            None => durable.metadata.as_ref().map(|m| m.protocol_type.as_str()),
        };
        ListedGroup {
            group_id: id.to_string(),
            protocol_type: protocol_type.unwrap_or("").to_owned(),
            state: group.map_or(GroupState::Empty, |group| group.state),
        }
    }

    pub(super) fn describe_groups(&self, request: DescribeGroups) -> Vec<DescribeGroupResult> {
        let describe = |group_id: String| {
            let result = match self.image.groups.get_key_value(group_id.as_str()) {
                Some((id, durable)) => Ok(self.described(id, durable)),
                None => Err(DescribeGroupError::GroupIdNotFound),
            };
            DescribeGroupResult { group_id, result }
        };
        request.groups.into_iter().map(describe).collect()
    }

    fn described(&self, id: &Arc<str>, durable: &DurableGroup) -> DescribedGroup {
        let listed = self.listed(id, durable);
        let group = self.groups.get(id);
        let is_stable = listed.state == GroupState::Stable;
        let protocol_name = group.and_then(|group| group.protocol_name.as_deref());
        let protocol_name = protocol_name.filter(|_| is_stable);
        let members = group.into_iter().flat_map(|group| group.members.values());
        DescribedGroup {
            state: listed.state,
            protocol_type: listed.protocol_type,
            protocol_name: protocol_name.unwrap_or("").to_owned(),
            members: members
                .map(|m| described_member(m, protocol_name))
                .collect(),
        }
    }

    pub(super) fn delete_groups(
        &mut self,
        now: Now,
        token: Token,
        request: DeleteGroups,
        out: &mut Actions,
    ) {
        let mut changes = Vec::new();
        let mut deleted = Vec::new();
        let mut results = Vec::with_capacity(request.groups.len());
        for group_id in request.groups {
            let result = match self.take_deletable(&group_id) {
                Ok(group) => {
                    self.delete_group(&group.id, &mut changes);
                    deleted.push(group);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            results.push(DeleteGroupResult { group_id, result });
        }
        let (_, _, mut step) = self.split(now, out);
        if changes.is_empty() {
            return step.reply(token, results);
        }
        for group in &mut deleted {
            step.out.note("a group is deleted", &group.id);
            // Member ids that were handed out mean nothing any more.
            group.cancel_timers(step.timers);
        }
        let append = step.append(changes, Effect::Deletion(deleted));
        step.park_known(append, token, results);
    }

    fn take_deletable(&mut self, group_id: &str) -> Result<Group, DeleteGroupError> {
        let group = self.groups.get(group_id);
        let group = group.ok_or(DeleteGroupError::GroupIdNotFound)?;
        if group.state != GroupState::Empty {
            return Err(DeleteGroupError::NonEmptyGroup);
        }
        let group = self.groups.remove(group_id);
        Ok(group.expect("it was just looked at"))
    }

    /// The tombstones of a group: its offsets, in the log or on the way there, and then itself.
    fn delete_group(&self, id: &Arc<str>, changes: &mut Vec<Change>) {
        if let Some(durable) = self.image.groups.get(id) {
            for (topic, partitions) in &durable.offsets {
                changes.extend(partitions.keys().map(|&p| tombstone(id, topic, p)));
            }
        }
        for (topic, partition) in self.pending.touched_offsets(id) {
            if self.image.offset(id, topic, *partition).is_none() {
                changes.push(tombstone(id, topic, *partition));
            }
        }
        let group = id.clone();
        changes.push(Change::Group { group, value: None });
    }
}

fn described_member(member: &Member, protocol_name: Option<&str>) -> DescribedMember {
    let metadata = protocol_name.and_then(|name| member.metadata(name));
    DescribedMember {
        member_id: member.id.to_string(),
        group_instance_id: member.instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: metadata.cloned().unwrap_or_default(),
        assignment: member.assignment.clone(),
    }
}
