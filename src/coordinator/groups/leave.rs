//! Signs of life and their end: Heartbeat, LeaveGroup, session timeouts.

use std::sync::Arc;

use types::Now;

use super::api::*;
use super::errors::*;
use super::group::Group;
use super::machine::GroupCoordinator;
use super::state::GroupState;
use super::step::Step;

/// Why an id does not name a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MemberError {
    Unknown,
    Fenced,
}

macro_rules! from_member_error {
    ($($name:ident)*) => {
        $(impl From<MemberError> for $name {
            fn from(error: MemberError) -> $name {
                match error {
                    MemberError::Unknown => $name::UnknownMemberId,
                    MemberError::Fenced => $name::FencedInstanceId,
                }
            }
        })*
    };
}

from_member_error! { JoinGroupError SyncGroupError HeartbeatError LeaveMemberError OffsetCommitError }

impl GroupCoordinator {
    pub(super) fn heartbeat(
        &mut self,
        now: Now,
        token: Token,
        request: &Heartbeat,
        out: &mut Actions,
    ) {
        let (groups, _, mut step) = self.split(now, out);
        let result = if request.group_id.is_empty() {
            Err(HeartbeatError::InvalidGroupId)
        } else {
            match groups.get_mut(request.group_id.as_str()) {
                Some(group) => group.heartbeat(&mut step, request),
                None => Err(HeartbeatError::UnknownMemberId),
            }
        };
        step.reply(token, result);
    }

    pub(super) fn leave_group(
        &mut self,
        now: Now,
        token: Token,
        request: LeaveGroup,
        out: &mut Actions,
    ) {
        if request.group_id.is_empty() {
            return out.reply(token, Err(LeaveGroupError::InvalidGroupId));
        }
        let (groups, _, mut step) = self.split(now, out);
        let Some(group) = groups.get_mut(request.group_id.as_str()) else {
            let unknown = |member: LeavingMember| LeftMember {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                result: Err(LeaveMemberError::UnknownMemberId),
            };
            let left: Vec<LeftMember> = request.members.into_iter().map(unknown).collect();
            return step.reply(token, Ok(left));
        };
        let last_append = step.pending.last_id();
        let left = group.leave(&mut step, request.members);
        let id = group.id.clone();
        let append = step.pending.last_id();
        let response: Result<_, LeaveGroupError> = Ok(left);
        if append == last_append {
            step.reply(token, response);
        } else {
            // The last members have left: that they are gone must be in the log.
            step.park_known(append, token, response);
        }
        self.drop_if_hollow(&id);
    }
}

impl Group {
    /// Whether these ids name a member, and the newest one of its instance id.
    pub(super) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), MemberError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(MemberError::Unknown),
                Some(current) if **current != *member_id => return Err(MemberError::Fenced),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(MemberError::Unknown)
        }
    }

    fn heartbeat(
        &mut self,
        step: &mut Step<'_>,
        request: &Heartbeat,
    ) -> Result<HeartbeatAccepted, HeartbeatError> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(HeartbeatError::IllegalGeneration);
        }
        self.keep_alive(step, &request.member_id);
        if self.state == GroupState::PreparingRebalance {
            return Err(HeartbeatError::RebalanceInProgress);
        }
        Ok(HeartbeatAccepted)
    }

    fn leave(&mut self, step: &mut Step<'_>, members: Vec<LeavingMember>) -> Vec<LeftMember> {
        let mut left = Vec::with_capacity(members.len());
        for member in members {
            let result = match self.leaving_member_id(&member) {
                Ok(member_id) => {
                    step.out.note("a member leaves", &self.id);
                    self.remove_member(step, &member_id);
                    Ok(())
                }
                Err(error) => Err(error.into()),
            };
            left.push(LeftMember {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                result,
            });
        }
        if left.iter().any(|member| member.result.is_ok()) {
            self.rebalance_if_any(step, "members have left");
        }
        left
    }

    fn leaving_member_id(&self, member: &LeavingMember) -> Result<Arc<str>, MemberError> {
        let instance_id = member.group_instance_id.as_deref();
        if member.member_id.is_empty() {
            // An administrator knows instance ids only.
            let member_id = instance_id.and_then(|id| self.static_members.get(id));
            return member_id.cloned().ok_or(MemberError::Unknown);
        }
        if !self.pending_joins.contains_key(member.member_id.as_str()) {
            self.validate_member(&member.member_id, instance_id)?;
        }
        Ok(member.member_id.as_str().into())
    }

    /// After members are gone: the others rebalance, or a rebalance under way may be complete now.
    fn rebalance_if_any(&mut self, step: &mut Step<'_>, why: &'static str) {
        if self.state != GroupState::Empty {
            self.rebalance(step, why);
        }
    }

    /// A session timeout has passed.
    pub(super) fn heartbeat_due(&mut self, step: &mut Step<'_>, member_id: &str) {
        if self.pending_joins.contains_key(member_id) {
            step.out
                .note("a member id was handed out and not used", &self.id);
            self.remove_member(step, member_id);
            return self.complete_join_if_all_joined(step);
        }
        let Some(member) = self.members.get(member_id) else {
            return;
        };
        // Whoever waits for our answer cannot send heartbeats; a new member must have given up, though.
        if member.is_waiting() && !member.is_new {
            return;
        }
        if self.state == GroupState::PreparingRebalance && types::plant_chosen!(RebalanceStuck) {
            return;
        }
        step.out.note("a session timed out", &self.id);
        self.remove_member(step, member_id);
        self.rebalance_if_any(step, "a session timed out");
    }
}
