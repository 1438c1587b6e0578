//! How a group goes from one generation to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::api::JoinProtocol;
use super::errors::SyncGroupError;
use super::group::Group;
use super::member::Member;
use super::pending::Effect;
use super::state::GroupState;
use super::step::Step;
use super::subscription::subscribed_topics;
use super::timers::Timer;

/// Least wait before a rebalance that nobody joined is tried again, so that tiny timeouts do not spin.
const RETRY_DELAY_MS_MIN: i32 = 100;

impl Group {
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
        if !absent.is_empty() && types::planted!(RebalanceStuck) {
            return;
        }
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

    pub(super) fn compute_subscribed_topics(&self) -> Option<BTreeSet<String>> {
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
}
