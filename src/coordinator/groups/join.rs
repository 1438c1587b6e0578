//! JoinGroup.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use types::{Now, Prng, Uuid};

use super::api::*;
use super::config::GroupConfig;
use super::errors::{JoinGroupError, Unavailable};
use super::group::Group;
use super::machine::{GroupCoordinator, size_max};
use super::member::Member;
use super::pending::{Effect, StaticReplacement};
use super::state::GroupState;
use super::step::Step;
use super::timers::Timer;

/// The dash and the random part of a member id, in bytes.
const MEMBER_ID_SUFFIX_BYTES: usize = 37;

impl GroupCoordinator {
    pub(super) fn join_group(
        &mut self,
        now: Now,
        token: Token,
        mut request: JoinGroup,
        out: &mut Actions,
    ) {
        if let Err(error) = validate(&request, &self.config) {
            let member_id = request.member_id;
            out.reply(token, Err(JoinGroupFailure { member_id, error }));
            return;
        }
        tidy_protocols(&mut request);
        if request.rebalance_timeout_ms < 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        let (groups, _, mut step) = self.split(now, out);
        if !groups.contains_key(request.group_id.as_str()) {
            let id: Arc<str> = request.group_id.as_str().into();
            let group = Group::empty(id.clone(), now);
            if let Some(failure) = refuse_first_join(&group, &request) {
                step.reply(token, Err(failure));
                return;
            }
            // The log must know the group before anybody is shown it.
            let change = group.stored_change(&Default::default());
            step.append(vec![change], Effect::None);
            step.out.note("a group is created", &id);
            groups.insert(id, group);
        }
        let group = groups.get_mut(request.group_id.as_str());
        let group = group.expect("it was there or has just been created");
        group.join(&mut step, token, request);
    }
}

fn validate(request: &JoinGroup, config: &GroupConfig) -> Result<(), JoinGroupError> {
    if request.group_id.is_empty() {
        return Err(JoinGroupError::InvalidGroupId);
    }
    let allowed = config.session_timeout_ms_min..=config.session_timeout_ms_max;
    if !allowed.contains(&request.session_timeout_ms) {
        return Err(JoinGroupError::InvalidSessionTimeout);
    }
    let name_bytes_max = STRING_BYTES_MAX - MEMBER_ID_SUFFIX_BYTES;
    let instance_id = request.group_instance_id.as_deref().unwrap_or("");
    let fits = request.group_id.len() <= STRING_BYTES_MAX
        && request.client_id.len() <= name_bytes_max
        && instance_id.len() <= name_bytes_max
        && request.client_host.len() <= STRING_BYTES_MAX
        && request.protocol_type.len() <= STRING_BYTES_MAX
        && (request.protocols.iter()).all(|protocol| protocol.name.len() <= STRING_BYTES_MAX);
    if !fits {
        return Err(JoinGroupError::InvalidRequest);
    }
    Ok(())
}

/// Every protocol once, at its first place, with metadata that does not hold on to the request's buffer: it outlives it.
fn tidy_protocols(request: &mut JoinGroup) {
    let mut names = BTreeSet::new();
    request
        .protocols
        .retain(|protocol| names.insert(protocol.name.clone()));
    for protocol in &mut request.protocols {
        protocol.metadata = Bytes::copy_from_slice(&protocol.metadata);
    }
}

/// Why a group that does not exist is not created for this request.
fn refuse_first_join(group: &Group, request: &JoinGroup) -> Option<JoinGroupFailure> {
    let error = if !request.member_id.is_empty() {
        JoinGroupError::UnknownMemberId
    } else if !group.supports(&request.protocol_type, &request.protocols) {
        JoinGroupError::InconsistentGroupProtocol
    } else {
        return None;
    };
    let member_id = request.member_id.clone();
    Some(JoinGroupFailure { member_id, error })
}

/// A new member id: client or instance id, a dash, a random UUID as Java prints it.
fn draw_member_id(prng: &mut Prng, name: &str) -> Arc<str> {
    let hex = format!("{:032x}", Uuid::random(prng).as_u128());
    let (a, b, c, d, e) = (
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    );
    format!("{name}-{a}-{b}-{c}-{d}-{e}").into()
}

impl Group {
    fn join(&mut self, step: &mut Step<'_>, token: Token, request: JoinGroup) {
        if !self.accepts(step.config, &request.member_id) {
            step.out.note("the group is full", &self.id);
            self.remove_member(step, &request.member_id);
            self.complete_join_if_all_joined(step);
            let error = JoinGroupError::GroupMaxSizeReached;
            return refuse(step, token, "", error);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            let error = JoinGroupError::InconsistentGroupProtocol;
            return refuse(step, token, &request.member_id, error);
        }
        if request.member_id.is_empty() {
            self.join_new(step, token, request);
        } else if self.pending_joins.contains_key(request.member_id.as_str()) {
            self.join_pending(step, token, request);
        } else {
            self.join_known(step, token, request);
        }
    }

    /// Whether there is room. While members are gathered only those count that have come, so that the last ones of a group
    /// that is too large are turned away.
    fn accepts(&self, config: &GroupConfig, member_id: &str) -> bool {
        let size_max = size_max(config);
        let member = self.members.get(member_id);
        match self.state {
            GroupState::Empty => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some())
                    || self.awaiting_join_count < size_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.members.len() < size_max
            }
        }
    }

    fn join_new(&mut self, step: &mut Step<'_>, token: Token, request: JoinGroup) {
        match &request.group_instance_id {
            Some(instance_id) => {
                let new_id = draw_member_id(step.prng, instance_id);
                match self.static_members.get(instance_id.as_str()).cloned() {
                    Some(old_id) => self.rejoin_static(step, token, request, &old_id, new_id),
                    None => self.add_member(step, token, request, new_id),
                }
            }
            None => {
                let new_id = draw_member_id(step.prng, &request.client_id);
                if request.requires_known_member_id {
                    self.hand_out_member_id(step, token, &request, new_id);
                } else {
                    self.add_member(step, token, request, new_id);
                }
            }
        }
    }

    /// The client must come again with its id, so that a client that gives up leaves no member behind (KIP-394).
    fn hand_out_member_id(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: &JoinGroup,
        member_id: Arc<str>,
    ) {
        let timer = Timer::Heartbeat {
            group: self.id.clone(),
            member: member_id.clone(),
        };
        let at = step.after_millis(request.session_timeout_ms);
        let handle = step.timers.schedule(at, timer);
        refuse(step, token, &member_id, JoinGroupError::MemberIdRequired);
        self.pending_joins.insert(member_id, handle);
    }

    fn join_pending(&mut self, step: &mut Step<'_>, token: Token, request: JoinGroup) {
        if request.group_instance_id.is_some() {
            // Member ids are handed out to dynamic members only.
            let error = JoinGroupError::UnknownMemberId;
            return refuse(step, token, &request.member_id, error);
        }
        let member_id: Arc<str> = request.member_id.as_str().into();
        self.add_member(step, token, request, member_id);
    }

    fn add_member(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: JoinGroup,
        member_id: Arc<str>,
    ) {
        if self.state == GroupState::PreparingRebalance
            && self.previous_state == Some(GroupState::Empty)
        {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        let member = Member {
            id: member_id.clone(),
            instance_id: request.group_instance_id.as_deref().map(Arc::from),
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
            heartbeat: None,
        };
        self.insert_member(step, member);
        // A client that gave up would leave its parked join behind for ever; one that is still there asks again.
        self.expect_within(step, &member_id, step.config.new_member_join_timeout_ms);
        self.rebalance(step, "a member joins");
    }

    fn join_known(&mut self, step: &mut Step<'_>, token: Token, request: JoinGroup) {
        let member_id = request.member_id.clone();
        let instance_id = request.group_instance_id.as_deref();
        if let Err(error) = self.validate_member(&member_id, instance_id) {
            return refuse(step, token, &member_id, error.into());
        }
        let is_leader = self.is_leader(&member_id);
        let is_unchanged = self.member_mut(&member_id).protocols == request.protocols;
        let why = match self.state {
            GroupState::PreparingRebalance => "a member joins again",
            // It may have missed the answer of this generation.
            GroupState::CompletingRebalance if is_unchanged => {
                return step.reply(token, Ok(self.joined(&member_id, is_leader)));
            }
            GroupState::Stable if is_unchanged && !is_leader => {
                return step.reply(token, Ok(self.joined(&member_id, false)));
            }
            // What the leader knows beyond its metadata may have changed, such as partition counts.
            GroupState::Stable if is_leader => "the leader joins again",
            GroupState::CompletingRebalance | GroupState::Stable => "a member changes its metadata",
            GroupState::Empty => unreachable!("an empty group has no members to validate"),
        };
        self.update_member(step, &member_id, &request, token);
        self.rebalance(step, why);
    }

    /// A static member is back with an empty member id: it takes its predecessor's place under a new id (KIP-345).
    fn rejoin_static(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: JoinGroup,
        old_id: &str,
        new_id: Arc<str>,
    ) {
        let old_leader = self.leader_or_empty();
        let old = self.member_mut(old_id);
        let replacement = StaticReplacement {
            old_member_id: old.id.clone(),
            old_rebalance_timeout_ms: old.rebalance_timeout_ms,
            old_session_timeout_ms: old.session_timeout_ms,
            old_protocols: old.protocols.clone(),
            instance_id: old.instance_id.clone().expect("a static member"),
            group: self.id.clone(),
            generation: self.generation,
            new_member_id: new_id.clone(),
            old_leader,
            supports_skipping_assignment: request.supports_skipping_assignment,
        };
        self.replace_static_member(step, old_id, &new_id);
        self.update_member(step, &new_id, &request, token);
        self.keep_alive(step, &new_id);
        match self.state {
            GroupState::Stable
                if self.protocol_name.as_deref() == Some(self.select_protocol().as_str()) =>
            {
                step.out
                    .note("a static member is back, no rebalance", &self.id);
                let assignment = (self.members.values())
                    .map(|member| (member.id.clone(), member.assignment.clone()))
                    .collect();
                let change = self.stored_change(&assignment);
                step.append(vec![change], Effect::StaticMember(Box::new(replacement)));
            }
            GroupState::Stable => {
                self.rebalance(step, "a static member's return changes the protocol");
            }
            // The leader may already compute an assignment for the old id: the new one would get none.
            GroupState::CompletingRebalance => {
                self.prepare_rebalance(step, "a static member is back");
            }
            GroupState::PreparingRebalance => self.complete_join_if_all_joined(step),
            GroupState::Empty => unreachable!("an empty group has no static members"),
        }
    }

    /// The new id of a static member is in the log: it may know its place.
    pub(super) fn static_member_stored(
        &mut self,
        step: &mut Step<'_>,
        replacement: &StaticReplacement,
    ) {
        let member_id = &replacement.new_member_id;
        if self.state != GroupState::Stable || self.generation != replacement.generation {
            // A rebalance came between; the parked join takes part in it.
            return;
        }
        let Some(token) = self.take_join(member_id) else {
            return;
        };
        let mut joined = self.joined(member_id, false);
        if replacement.supports_skipping_assignment {
            let is_leader = self.is_leader(member_id);
            joined = self.joined(member_id, is_leader);
            joined.skip_assignment = is_leader;
        } else {
            // A client that cannot skip the assignment must not take itself for the leader.
            joined.leader = replacement.old_leader.clone();
        }
        self.keep_alive(step, member_id);
        step.reply(token, Ok(joined));
    }

    /// The new id of a static member could not be stored: the old one stays.
    pub(super) fn static_member_not_stored(
        &mut self,
        step: &mut Step<'_>,
        replacement: &StaticReplacement,
        unavailable: Unavailable,
    ) {
        let member_id = &replacement.new_member_id;
        let is_current = self.static_members.get(&replacement.instance_id) == Some(member_id);
        if !is_current
            || self.state != GroupState::Stable
            || self.generation != replacement.generation
        {
            return;
        }
        self.refuse_join(
            step,
            member_id,
            "",
            JoinGroupError::Unavailable(unavailable),
        );
        self.set_protocols(member_id, replacement.old_protocols.clone());
        let member = self.member_mut(member_id);
        member.rebalance_timeout_ms = replacement.old_rebalance_timeout_ms;
        member.session_timeout_ms = replacement.old_session_timeout_ms;
        self.replace_static_member(step, member_id, &replacement.old_member_id);
    }
}

fn refuse(step: &mut Step<'_>, token: Token, member_id: &str, error: JoinGroupError) {
    let member_id = member_id.to_owned();
    step.reply(token, Err(JoinGroupFailure { member_id, error }));
}
