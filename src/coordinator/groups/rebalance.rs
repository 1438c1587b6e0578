//! A group in memory: its members, and how it goes from one generation to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use types::{Mono, Now, Prng, Wall};

use super::api::*;
use super::config::GroupConfig;
use super::errors::{JoinGroupError, SyncGroupError};
use super::image::{Change, StoredGroup, StoredMember};
use super::member::Member;
use super::pending::{Deferred, Effect, Pending, PendingAppend, Waiting};
use super::state::GroupState;
use super::subscription::subscribed_topics;
use super::timers::{Timer, TimerHandle, Timers};

/// Kafka's protocol type of consumers, the only one whose metadata is looked into.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Least wait before a rebalance that nobody joined is tried again, so that tiny timeouts do not spin.
const RETRY_DELAY_MS_MIN: i32 = 100;

/// What one step may touch beside the group it is about.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) config: &'a GroupConfig,
    pub(super) timers: &'a mut Timers,
    pub(super) pending: &'a mut Pending,
    pub(super) prng: &'a mut Prng,
    pub(super) out: &'a mut Actions,
}

impl Step<'_> {
    pub(super) fn after_millis(&self, millis: i32) -> Mono {
        self.now.mono.plus_millis(i64::from(millis))
    }

    pub(super) fn reply(&mut self, token: Token, response: impl Into<Response>) {
        self.out.reply(token, response);
    }

    /// Hands an append to the driver.
    pub(super) fn append(&mut self, changes: Vec<Change>, effect: Effect) -> AppendId {
        assert!(!changes.is_empty(), "an append without records");
        let id = self.pending.next_id();
        let records = changes.iter().map(Change::encode).collect();
        self.out.push(Action::Append { id, records });
        let timeout = match effect {
            Effect::None | Effect::Deletion(_) => None,
            Effect::Assignment { .. } | Effect::StaticMember(_) => Some(self.commit_timeout(id)),
        };
        self.pending.push(PendingAppend {
            id,
            changes,
            effect,
            waiting: Vec::new(),
            timeout,
        });
        id
    }

    /// Parks an answer until an append is committed.
    pub(super) fn park(&mut self, append: AppendId, token: Token, response: Deferred) {
        let timeout = self.commit_timeout(append);
        let pending = self.pending.get_mut(append);
        let pending = pending.expect("an answer waits for an append in flight");
        pending.waiting.push(Waiting { token, response });
        let old = pending.timeout.replace(timeout);
        if let Some(old) = old {
            self.timers.cancel(old);
        }
    }

    /// Parks an answer that is known.
    pub(super) fn park_known(
        &mut self,
        append: AppendId,
        token: Token,
        response: impl Into<Response>,
    ) {
        self.park(append, token, Deferred::Known(response.into()));
    }

    fn commit_timeout(&mut self, append: AppendId) -> TimerHandle {
        let at = self.after_millis(self.config.offset_commit_timeout_ms);
        self.timers.schedule(at, Timer::CommitTimeout { append })
    }
}

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
        if let Some(instance_id) = &instance_id {
            self.static_members.insert(instance_id.clone(), id.clone());
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
        if let Some(twin) = self.members.insert(id, member) {
            self.count_protocols(&twin.protocols, -1);
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

    // Rebalance.

    /// Begins a rebalance where one may begin, else sees whether the one under way is complete.
    pub(super) fn rebalance(&mut self, step: &mut Step<'_>, why: &'static str) {
        if self.state.may_become(GroupState::PreparingRebalance) {
            self.prepare_rebalance(step, why);
        } else {
            self.complete_join_if_all_joined(step);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, step: &mut Step<'_>, why: &'static str) {
        if self.state == GroupState::CompletingRebalance {
            self.refuse_assignment(step, SyncGroupError::RebalanceInProgress);
        }
        self.pending_syncs.clear();
        step.timers.cancel_slot(&mut self.sync_timer);
        let is_initial = self.state == GroupState::Empty;
        self.transition(GroupState::PreparingRebalance, step.now);
        step.out.note(why, &self.id);
        if is_initial {
            self.new_member_added = false;
            let delay_ms = step.config.initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
            self.schedule_initial_join(step, delay_ms, remaining_ms);
        } else if self.has_all_members_joined() {
            self.complete_join(step);
        } else {
            let timeout_ms = self.rebalance_timeout_ms();
            self.schedule_join(step, timeout_ms);
        }
    }

    fn schedule_join(&mut self, step: &mut Step<'_>, timeout_ms: i32) {
        step.timers.cancel_slot(&mut self.join_timer);
        let group = self.id.clone();
        let at = step.after_millis(timeout_ms);
        self.join_timer = Some(step.timers.schedule(at, Timer::Join { group }));
    }

    fn schedule_initial_join(&mut self, step: &mut Step<'_>, delay_ms: i32, remaining_ms: i32) {
        step.timers.cancel_slot(&mut self.join_timer);
        let timer = Timer::InitialJoin {
            group: self.id.clone(),
            delay_ms,
            remaining_ms,
        };
        let at = step.after_millis(delay_ms);
        self.join_timer = Some(step.timers.schedule(at, timer));
    }

    /// The first rebalance has waited; it waits on while members keep coming, at most the rebalance timeout in all.
    pub(super) fn initial_join_due(
        &mut self,
        step: &mut Step<'_>,
        delay_ms: i32,
        remaining_ms: i32,
    ) {
        if self.new_member_added && remaining_ms != 0 {
            self.new_member_added = false;
            let next_delay_ms = step.config.initial_rebalance_delay_ms.min(remaining_ms);
            let next_remaining_ms = remaining_ms.saturating_sub(delay_ms).max(0);
            self.schedule_initial_join(step, next_delay_ms, next_remaining_ms);
        } else {
            self.complete_join(step);
        }
    }

    /// Ends the gathering of members as soon as all are there; the first rebalance waits out its delay.
    pub(super) fn complete_join_if_all_joined(&mut self, step: &mut Step<'_>) {
        if self.state == GroupState::PreparingRebalance
            && self.previous_state != Some(GroupState::Empty)
            && self.has_all_members_joined()
        {
            self.complete_join(step);
        }
    }

    /// Ends the gathering of members: dynamic members that did not come are dropped, the others are the next generation.
    pub(super) fn complete_join(&mut self, step: &mut Step<'_>) {
        step.timers.cancel_slot(&mut self.join_timer);
        let is_absent = |member: &&Member| member.awaiting_join.is_none();
        let absent: Vec<Arc<str>> = (self.members.values().filter(is_absent))
            .filter(|member| member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for member_id in absent {
            step.out
                .note("a member did not join in time and is dropped", &self.id);
            self.remove_member(step, &member_id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader(step) {
            // Only static members that did not come are left: their session timeouts will end this.
            let timeout_ms = self.rebalance_timeout_ms().max(RETRY_DELAY_MS_MIN);
            step.out
                .note("nobody joined, the rebalance waits on", &self.id);
            self.schedule_join(step, timeout_ms);
            return;
        }
        self.begin_generation(step);
    }

    /// Makes sure that the leader is a member that joined.
    fn elect_joined_leader(&mut self, step: &mut Step<'_>) -> bool {
        let has_joined = |member: &Member| member.awaiting_join.is_some();
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(has_joined) {
            return true;
        }
        let next = self.members.values().find(|member| has_joined(member));
        let Some(next) = next.map(|member| member.id.clone()) else {
            return false;
        };
        step.out.note(
            "the leader did not join in time, another is elected",
            &self.id,
        );
        self.leader = Some(next);
        true
    }

    fn begin_generation(&mut self, step: &mut Step<'_>) {
        self.generation = match self.generation {
            ..0 | i32::MAX => 1,
            generation => generation + 1,
        };
        self.pending_syncs.clear();
        if self.members.is_empty() {
            self.protocol_name = None;
            self.subscribed_topics = self.compute_subscribed_topics();
            self.transition(GroupState::Empty, step.now);
            step.out.note("the group is empty", &self.id);
            let change = self.stored_change(&BTreeMap::new());
            step.append(vec![change], Effect::None);
            return;
        }
        self.protocol_name = Some(self.select_protocol());
        self.subscribed_topics = self.compute_subscribed_topics();
        self.transition(GroupState::CompletingRebalance, step.now);
        step.out.note("a generation begins", &self.id);
        let member_ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            if let Some(token) = self.take_join(&member_id) {
                let joined = self.joined(&member_id, self.is_leader(&member_id));
                step.reply(token, Ok(joined));
            }
            self.keep_alive(step, &member_id);
            self.member_mut(&member_id).is_new = false;
            self.pending_syncs.insert(member_id);
        }
        let timer = Timer::Sync {
            group: self.id.clone(),
            generation: self.generation,
        };
        let at = step.after_millis(self.rebalance_timeout_ms());
        step.timers.cancel_slot(&mut self.sync_timer);
        self.sync_timer = Some(step.timers.schedule(at, timer));
    }

    /// The protocol that most members want most among those that all support; the leader's order decides between equals.
    pub(super) fn select_protocol(&self) -> String {
        let is_candidate =
            |name: &str| self.supported.get(name).copied() == Some(self.members.len());
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let mut names = member.protocols.iter().map(|p| p.name.as_str());
            let vote = names.find(|name| is_candidate(name));
            *votes
                .entry(vote.expect("every group has a protocol that all members support"))
                .or_default() += 1;
        }
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        let rank = |name: &str| {
            let mut protocols = leader.iter().flat_map(|member| &member.protocols);
            protocols.position(|protocol| protocol.name == name)
        };
        let best = votes
            .into_iter()
            .min_by_key(|&(name, count)| (std::cmp::Reverse(count), rank(name)));
        best.expect("a group with members has votes").0.to_owned()
    }

    /// Whether a member with these protocols fits into the group.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[JoinProtocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let count = |name: &str| self.supported.get(name).copied().unwrap_or(0);
        self.protocol_type.as_deref() == Some(protocol_type)
            && (protocols.iter()).any(|protocol| count(&protocol.name) == self.members.len())
    }

    fn compute_subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol_name.as_deref()?)?;
            topics.append(&mut subscribed_topics(metadata)?);
        }
        Some(topics)
    }

    /// Answers every parked SyncGroup with an error and forgets the assignment of the generation.
    pub(super) fn refuse_assignment(&mut self, step: &mut Step<'_>, error: SyncGroupError) {
        let member_ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let member = self.member_mut(&member_id);
            member.assignment = Bytes::new();
            if member.awaiting_sync.is_some() {
                self.refuse_sync(step, &member_id, error);
                self.keep_alive(step, &member_id);
            }
        }
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
