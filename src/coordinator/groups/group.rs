//! A group in memory: its members, what they support, what they wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use types::{Now, Wall};

use super::api::*;
use super::errors::{JoinGroupError, SyncGroupError};
use super::image::{Change, StoredGroup, StoredMember};
use super::member::Member;
use super::state::GroupState;
use super::step::Step;
use super::timers::{Timer, TimerHandle, Timers};

/// Kafka's protocol type of consumers, the only one whose metadata is looked into.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// A classic group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Arc<str>,
    pub(super) state: GroupState,
    pub(super) previous_state: Option<GroupState>,
    /// When the state was entered; unknown in records of old brokers.
    pub(super) state_since: Option<Wall>,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol_name: Option<String>,
    pub(super) generation: i32,
    /// A member; none if and only if there is no member.
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Member ids by instance id.
    pub(super) static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Member ids that were handed out and have not joined, with their expiry.
    pub(super) pending_joins: BTreeMap<Arc<str>, TimerHandle>,
    /// Members of this generation that have not asked for their assignment.
    pub(super) pending_syncs: BTreeSet<Arc<str>>,
    /// How many members have a JoinGroup parked.
    pub(super) awaiting_join_count: usize,
    /// How many members support each protocol.
    pub(super) supported: BTreeMap<String, usize>,
    /// What the members consume; none if unknown or not of type `consumer`.
    pub(super) subscribed_topics: Option<BTreeSet<String>>,
    /// A member came while the first rebalance was being delayed.
    pub(super) new_member_added: bool,
    pub(super) join_timer: Option<TimerHandle>,
    pub(super) sync_timer: Option<TimerHandle>,
    /// The append that stores this generation's assignment.
    pub(super) assignment_append: Option<AppendId>,
}

impl Group {
    /// A group without members.
    pub(super) fn empty(id: Arc<str>, now: Now) -> Group {
        Group {
            id,
            state: GroupState::Empty,
            previous_state: None,
            state_since: Some(now.wall),
            protocol_type: None,
            protocol_name: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            awaiting_join_count: 0,
            supported: BTreeMap::new(),
            subscribed_topics: None,
            new_member_added: false,
            join_timer: None,
            sync_timer: None,
            assignment_append: None,
        }
    }

    /// The group that a record describes: stable if it has members, else empty.
    pub(super) fn from_stored(id: Arc<str>, stored: &StoredGroup, now: Now) -> Group {
        let mut group = Group::empty(id, now);
        group.state_since = stored.state_since;
        group.generation = stored.generation;
        group.protocol_name = stored.protocol_name.clone();
        if !stored.members.is_empty() {
            // No record of Kafka's has members and no protocol; if one had, this is the one that they all share.
            group.protocol_name.get_or_insert_default();
        }
        if !stored.protocol_type.is_empty() {
            group.protocol_type = Some(stored.protocol_type.clone());
        }
        for member in &stored.members {
            group.insert_stored_member(member, stored.protocol_name.as_deref().unwrap_or(""));
        }
        let leader = stored.leader.as_deref();
        let known = leader.and_then(|leader| group.members.get_key_value(leader));
        group.leader = known
            .or_else(|| group.members.first_key_value())
            .map(|(id, _)| id.clone());
        if !group.members.is_empty() {
            group.state = GroupState::Stable;
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    fn insert_stored_member(&mut self, stored: &StoredMember, protocol_name: &str) {
        let id: Arc<str> = stored.member_id.as_str().into();
        let instance_id: Option<Arc<str>> = stored.group_instance_id.as_deref().map(Arc::from);
        self.remove_stored_member(Some(&stored.member_id));
        if let Some(instance_id) = &instance_id {
            // Were two members of a record to share an instance id, the later one would have it.
            let twin = self.static_members.insert(instance_id.clone(), id.clone());
            self.remove_stored_member(twin.as_deref());
        }
        let rebalance_timeout_ms = match stored.rebalance_timeout_ms {
            ..0 => stored.session_timeout_ms,
            timeout_ms => timeout_ms,
        };
        let member = Member {
            id: id.clone(),
            instance_id,
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            rebalance_timeout_ms,
            session_timeout_ms: stored.session_timeout_ms,
            protocols: vec![JoinProtocol {
                name: protocol_name.to_owned(),
                metadata: stored.subscription.clone(),
            }],
            assignment: stored.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            heartbeat: None,
        };
        self.count_protocols(&member.protocols, 1);
        self.members.insert(id, member);
    }

    fn remove_stored_member(&mut self, member_id: Option<&str>) {
        if let Some(twin) = member_id.and_then(|id| self.members.remove(id)) {
            self.count_protocols(&twin.protocols, -1);
            self.static_members.retain(|_, id| *id != twin.id);
        }
    }

    /// Whether nothing but memory knows this group, and nobody would miss it.
    pub(super) fn is_hollow(&self) -> bool {
        self.state == GroupState::Empty && self.pending_joins.is_empty()
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(super) fn member_mut(&mut self, member_id: &str) -> &mut Member {
        self.members
            .get_mut(member_id)
            .expect("a member that was just validated")
    }

    pub(super) fn leader_or_empty(&self) -> String {
        self.leader.as_deref().unwrap_or("").to_owned()
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether a member consumes the topic; while a consumer group's subscription is unknown, every topic counts.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub(super) fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join_count && self.pending_joins.is_empty()
    }

    /// How long a rebalance waits: the longest that any member asked for.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        let timeouts = self.members.values().map(|m| m.rebalance_timeout_ms);
        timeouts.max().unwrap_or(0)
    }

    pub(super) fn transition(&mut self, next: GroupState, now: Now) {
        assert!(
            self.state.may_become(next),
            "group {} cannot go from {} to {next}",
            self.id,
            self.state
        );
        self.previous_state = Some(self.state);
        self.state = next;
        self.state_since = Some(now.wall);
        if next != GroupState::CompletingRebalance {
            self.assignment_append = None;
        }
    }

    // Membership.

    fn count_protocols(&mut self, protocols: &[JoinProtocol], by: isize) {
        for protocol in protocols {
            let count = self.supported.entry(protocol.name.clone()).or_default();
            *count = count
                .checked_add_signed(by)
                .expect("protocol counts follow the members");
            if *count == 0 {
                self.supported.remove(&protocol.name);
            }
        }
    }

    pub(super) fn insert_member(&mut self, step: &mut Step<'_>, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            let twin = self
                .static_members
                .insert(instance_id.clone(), member.id.clone());
            assert!(twin.is_none(), "two members with one instance id");
        }
        if let Some(handle) = self.pending_joins.remove(&member.id) {
            step.timers.cancel(handle);
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        if member.awaiting_join.is_some() {
            self.awaiting_join_count += 1;
        }
        self.count_protocols(&member.protocols, 1);
        let twin = self.members.insert(member.id.clone(), member);
        assert!(twin.is_none(), "two members with one id");
    }

    /// Removes a member or a handed-out member id. Whatever it has parked is answered UNKNOWN_MEMBER_ID, so that a client
    /// that is still there starts over.
    pub(super) fn remove_member(&mut self, step: &mut Step<'_>, member_id: &str) {
        if let Some(handle) = self.pending_joins.remove(member_id) {
            step.timers.cancel(handle);
        }
        self.pending_syncs.remove(member_id);
        self.refuse_join(step, member_id, "", JoinGroupError::UnknownMemberId);
        self.refuse_sync(step, member_id, SyncGroupError::UnknownMemberId);
        let Some(mut member) = self.members.remove(member_id) else {
            return;
        };
        step.timers.cancel_slot(&mut member.heartbeat);
        self.count_protocols(&member.protocols, -1);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.first_key_value().map(|(id, _)| id.clone());
        }
    }

    /// Gives a member new protocols and timeouts, and parks its JoinGroup if there is one.
    pub(super) fn update_member(
        &mut self,
        step: &mut Step<'_>,
        member_id: &str,
        request: &JoinGroup,
        token: Token,
    ) {
        self.refuse_join(
            step,
            member_id,
            member_id,
            JoinGroupError::RebalanceInProgress,
        );
        self.set_protocols(member_id, request.protocols.clone());
        let member = self.member_mut(member_id);
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        member.awaiting_join = Some(token);
        self.awaiting_join_count += 1;
    }

    pub(super) fn set_protocols(&mut self, member_id: &str, protocols: Vec<JoinProtocol>) {
        self.count_protocols(&protocols, 1);
        let old = std::mem::replace(&mut self.member_mut(member_id).protocols, protocols);
        self.count_protocols(&old, -1);
    }

    /// Gives a static member a new id; whatever its predecessor has parked is fenced.
    pub(super) fn replace_static_member(
        &mut self,
        step: &mut Step<'_>,
        old_id: &str,
        new_id: &Arc<str>,
    ) {
        self.refuse_join(step, old_id, old_id, JoinGroupError::FencedInstanceId);
        self.refuse_sync(step, old_id, SyncGroupError::FencedInstanceId);
        let member = self.members.remove(old_id);
        let mut member = member.expect("a static member that was just looked up");
        step.timers.cancel_slot(&mut member.heartbeat);
        member.id = new_id.clone();
        member.is_new = false;
        let instance_id = member.instance_id.clone();
        let instance_id = instance_id.expect("a static member has an instance id");
        self.static_members.insert(instance_id, new_id.clone());
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if self.pending_syncs.remove(old_id) {
            self.pending_syncs.insert(new_id.clone());
        }
        self.members.insert(new_id.clone(), member);
        self.keep_alive(step, new_id);
    }

    /// Restarts a member's session timeout.
    pub(super) fn keep_alive(&mut self, step: &mut Step<'_>, member_id: &str) {
        let timeout_ms = self.member_mut(member_id).session_timeout_ms;
        self.expect_within(step, member_id, timeout_ms);
    }

    /// Expects a sign of life of a member within this time.
    pub(super) fn expect_within(&mut self, step: &mut Step<'_>, member_id: &str, timeout_ms: i32) {
        let group = self.id.clone();
        let member = self.member_mut(member_id);
        step.timers.cancel_slot(&mut member.heartbeat);
        let timer = Timer::Heartbeat {
            group,
            member: member.id.clone(),
        };
        let at = step.after_millis(timeout_ms);
        member.heartbeat = Some(step.timers.schedule(at, timer));
    }

    // Answers.

    /// Takes the parked JoinGroup of a member, if there is one.
    pub(super) fn take_join(&mut self, member_id: &str) -> Option<Token> {
        let token = self.members.get_mut(member_id)?.awaiting_join.take()?;
        self.awaiting_join_count -= 1;
        Some(token)
    }

    pub(super) fn refuse_join(
        &mut self,
        step: &mut Step<'_>,
        member_id: &str,
        answered_id: &str,
        error: JoinGroupError,
    ) {
        if let Some(token) = self.take_join(member_id) {
            let member_id = answered_id.to_owned();
            step.reply(token, Err(JoinGroupFailure { member_id, error }));
        }
    }

    pub(super) fn refuse_sync(
        &mut self,
        step: &mut Step<'_>,
        member_id: &str,
        error: SyncGroupError,
    ) {
        let member = self.members.get_mut(member_id);
        if let Some(token) = member.and_then(|member| member.awaiting_sync.take()) {
            step.reply(token, Err(error));
        }
    }

    /// The answer to a member of the current generation.
    pub(super) fn joined(&self, member_id: &str, with_members: bool) -> JoinedGroup {
        let members = match &self.protocol_name {
            Some(protocol_name) if with_members => self.joined_members(protocol_name),
            _ => Vec::new(),
        };
        JoinedGroup {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader_or_empty(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members,
        }
    }

    fn joined_members(&self, protocol_name: &str) -> Vec<JoinedMember> {
        let member = |member: &Member| JoinedMember {
            member_id: member.id.to_string(),
            group_instance_id: member.instance_id.as_deref().map(str::to_owned),
            metadata: member.metadata(protocol_name).cloned().unwrap_or_default(),
        };
        self.members.values().map(member).collect()
    }

    /// The record of the group with this assignment.
    pub(super) fn stored_change(&self, assignment: &BTreeMap<Arc<str>, Bytes>) -> Change {
        let protocol_name = self.protocol_name.as_deref().unwrap_or("");
        let member = |member: &Member| StoredMember {
            member_id: member.id.to_string(),
            group_instance_id: member.instance_id.as_deref().map(str::to_owned),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol_name).cloned().unwrap_or_default(),
            assignment: assignment.get(&member.id).cloned().unwrap_or_default(),
        };
        let stored = StoredGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.as_deref().map(str::to_owned),
            state_since: self.state_since,
            members: self.members.values().map(member).collect(),
        };
        Change::Group {
            group: self.id.clone(),
            value: Some(stored),
        }
    }

    /// Ends every deadline of the group.
    pub(super) fn cancel_timers(&mut self, timers: &mut Timers) {
        timers.cancel_slot(&mut self.join_timer);
        timers.cancel_slot(&mut self.sync_timer);
        for handle in std::mem::take(&mut self.pending_joins).into_values() {
            timers.cancel(handle);
        }
        for member in self.members.values_mut() {
            timers.cancel_slot(&mut member.heartbeat);
        }
    }
}
