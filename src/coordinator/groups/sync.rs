//! SyncGroup: the leader's assignment goes into the log and then out to the members.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use types::Now;

use super::api::*;
use super::errors::{SyncGroupError, Unavailable};
use super::group::Group;
use super::machine::GroupCoordinator;
use super::pending::Effect;
use super::state::GroupState;
use super::step::Step;

impl GroupCoordinator {
    pub(super) fn sync_group(
        &mut self,
        now: Now,
        token: Token,
        request: SyncGroup,
        out: &mut Actions,
    ) {
        if request.group_id.is_empty() {
            return out.reply(token, Err(SyncGroupError::InvalidGroupId));
        }
        let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
        if request.requires_protocol && !names_protocol {
            return out.reply(token, Err(SyncGroupError::InconsistentGroupProtocol));
        }
        let (groups, _, mut step) = self.split(now, out);
        match groups.get_mut(request.group_id.as_str()) {
            Some(group) => group.sync(&mut step, token, request),
            None => step.reply(token, Err(SyncGroupError::UnknownMemberId)),
        }
    }
}

impl Group {
    fn sync(&mut self, step: &mut Step<'_>, token: Token, request: SyncGroup) {
        if let Err(error) = self.validate_sync(&request) {
            return step.reply(token, Err(error));
        }
        let member_id = request.member_id.as_str();
        match self.state {
            GroupState::PreparingRebalance => {
                step.reply(token, Err(SyncGroupError::RebalanceInProgress));
            }
            GroupState::CompletingRebalance => {
                self.refuse_sync(step, member_id, SyncGroupError::RebalanceInProgress);
                self.member_mut(member_id).awaiting_sync = Some(token);
                self.mark_synced(step, member_id);
                // A second assignment for one generation could hand a partition to two members.
                if self.is_leader(member_id) && self.assignment_append.is_none() {
                    self.store_assignment(step, request.assignments);
                }
            }
            GroupState::Stable => {
                self.mark_synced(step, member_id);
                let assignment = self.member_mut(member_id).assignment.clone();
                let synced = self.synced(assignment);
                step.reply(token, Ok(synced));
            }
            GroupState::Empty => unreachable!("an empty group has no members to validate"),
        }
    }

    fn validate_sync(&self, request: &SyncGroup) -> Result<(), SyncGroupError> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(SyncGroupError::IllegalGeneration);
        }
        let differs = |asked: &Option<String>, own: &Option<String>| match (asked, own) {
            (Some(asked), Some(own)) => asked != own,
            _ => false,
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(SyncGroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn synced(&self, assignment: Bytes) -> SyncedGroup {
        SyncedGroup {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment,
        }
    }

    fn mark_synced(&mut self, step: &mut Step<'_>, member_id: &str) {
        self.pending_syncs.remove(member_id);
        if self.pending_syncs.is_empty() {
            step.timers.cancel_slot(&mut self.sync_timer);
        }
    }

    fn store_assignment(&mut self, step: &mut Step<'_>, assignments: Vec<(String, Bytes)>) {
        let mut assignment: BTreeMap<Arc<str>, Bytes> = BTreeMap::new();
        for (member_id, bytes) in assignments {
            // An assignment for somebody else is nobody's. What stays outlives the request's buffer.
            if let Some((member_id, _)) = self.members.get_key_value(member_id.as_str()) {
                assignment.insert(member_id.clone(), Bytes::copy_from_slice(&bytes));
            }
        }
        let change = self.stored_change(&assignment);
        let effect = Effect::Assignment {
            group: self.id.clone(),
            generation: self.generation,
            assignment,
        };
        self.assignment_append = Some(step.append(vec![change], effect));
    }

    /// The assignment is in the log: it is handed out.
    pub(super) fn assignment_stored(
        &mut self,
        step: &mut Step<'_>,
        append: AppendId,
        generation: i32,
        assignment: &BTreeMap<Arc<str>, Bytes>,
    ) {
        if self.assignment_append != Some(append) || self.generation != generation {
            // The group has moved on; the next generation's assignment follows in the log.
            return;
        }
        let member_ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let bytes = assignment.get(&member_id).cloned().unwrap_or_default();
            let member = self.member_mut(&member_id);
            member.assignment = bytes.clone();
            if let Some(token) = member.awaiting_sync.take() {
                let synced = self.synced(bytes);
                step.reply(token, Ok(synced));
                self.keep_alive(step, &member_id);
            }
        }
        self.transition(GroupState::Stable, step.now);
        step.out.note("the group is stable", &self.id);
    }

    /// The assignment could not be stored: the members start over.
    pub(super) fn assignment_not_stored(
        &mut self,
        step: &mut Step<'_>,
        append: AppendId,
        generation: i32,
        unavailable: Unavailable,
    ) {
        if self.assignment_append != Some(append) || self.generation != generation {
            return;
        }
        self.refuse_assignment(step, SyncGroupError::Unavailable(unavailable));
        self.rebalance(step, "the assignment could not be stored");
    }

    /// Members that joined a generation and never asked for their assignment are dropped.
    pub(super) fn sync_due(&mut self, step: &mut Step<'_>, generation: i32) {
        let is_under_way = matches!(
            self.state,
            GroupState::CompletingRebalance | GroupState::Stable
        );
        self.sync_timer = None;
        if generation != self.generation || !is_under_way || self.pending_syncs.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.pending_syncs) {
            self.remove_member(step, &member_id);
        }
        self.prepare_rebalance(step, "members did not ask for their assignment in time");
    }
}
