//! The machine itself: its life, its steps, and what is true between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use types::{LeaderEpoch, Mono, Now, Prng};

use super::api::*;
use super::config::GroupConfig;
use super::errors::{AppendError, JoinGroupError, SyncGroupError, Unavailable};
use super::group::Group;
use super::image::{Change, Image};
use super::pending::{Deferred, Effect, Pending, PendingAppend};
use super::records::{ReplayError, Replayed};
use super::state::GroupState;
use super::step::Step;
use super::timers::{Timer, Timers};
use super::view::{CoordinatorPhase, CoordinatorView};

/// The coordinator of the groups of one partition of `__consumer_offsets`.
pub struct GroupCoordinator {
    pub(super) phase: CoordinatorPhase,
    pub(super) epoch: LeaderEpoch,
    pub(super) config: GroupConfig,
    pub(super) prng: Prng,
    /// Groups in memory, as of the newest decision.
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    /// Groups in the log, as of the newest committed record.
    pub(super) image: Image,
    pub(super) pending: Pending,
    pub(super) timers: Timers,
}

impl GroupCoordinator {
    /// A coordinator that leads nothing yet. Member ids are drawn from `prng`.
    pub fn new(config: GroupConfig, prng: Prng) -> GroupCoordinator {
        GroupCoordinator {
            phase: CoordinatorPhase::Resigned,
            epoch: -1,
            config,
            prng,
            groups: BTreeMap::new(),
            image: Image::default(),
            pending: Pending::default(),
            timers: Timers::default(),
        }
    }

    /// Takes one input and adds what is to be done to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Actions) {
        match input {
            Input::Elected { epoch } => {
                self.drop_term(out);
                self.epoch = epoch;
                self.phase = CoordinatorPhase::Loading;
                out.note("elected, the log is being replayed", "");
            }
            Input::Loaded => self.loaded(now, out),
            Input::Resigned => {
                self.drop_term(out);
                self.phase = CoordinatorPhase::Resigned;
                out.note("resigned", "");
            }
            Input::Configure(config) => self.config = config,
            Input::Request { token, request } => self.request(now, token, request, out),
            Input::Committed { up_to } => self.committed(now, up_to, out),
            Input::AppendFailed { append, error } => self.append_failed(now, append, error, out),
            Input::TopicDeleted { topic, topic_id } => {
                if self.phase == CoordinatorPhase::Active {
                    self.forget_topic(now, &topic, topic_id, out);
                }
            }
            Input::TopicsGone { topics } => {
                if self.phase == CoordinatorPhase::Active {
                    self.forget_topics(now, &topics, out);
                }
            }
            Input::Tick => self.tick(now, out),
        }
    }

    /// When the next [`Input::Tick`] is due; [`Mono::NEVER`] if none is.
    pub fn deadline(&self) -> Mono {
        self.timers.deadline()
    }

    /// What an observer may see.
    pub fn view(&self) -> CoordinatorView<'_> {
        CoordinatorView(self)
    }

    /// Takes in one committed record of the partition, in log order, between [`Input::Elected`] and [`Input::Loaded`].
    ///
    /// Records of a transaction are to be given once its end is known, and only if it was committed.
    ///
    /// # Errors
    /// If the record cannot be read: the partition is not served in this term then, as in Kafka.
    ///
    /// # Panics
    /// If the coordinator is not loading.
    pub fn replay(
        &mut self,
        key: Option<Bytes>,
        value: Option<Bytes>,
    ) -> Result<Replayed, ReplayError> {
        assert!(
            matches!(
                self.phase,
                CoordinatorPhase::Loading | CoordinatorPhase::Failed
            ),
            "a record is replayed while not loading"
        );
        match Change::decode(key, value) {
            Ok(Some(change)) => {
                if !(types::plant_chosen!(ReplayKeepsFirst) && self.is_first_kept(&change)) {
                    self.image.apply(change);
                }
                Ok(Replayed::Applied)
            }
            Ok(None) => Ok(Replayed::Ignored),
            Err(error) => {
                self.phase = CoordinatorPhase::Failed;
                Err(error)
            }
        }
    }

    /// The planted bug of a replay that keeps the first value of a key.
    fn is_first_kept(&self, change: &Change) -> bool {
        let Change::Offset {
            group,
            topic,
            partition,
            value: Some(value),
        } = change
        else {
            return false;
        };
        let first = self.image.offset(group, topic, *partition);
        first.is_some_and(|first| first.offset != value.offset) && types::planted!(ReplayKeepsFirst)
    }

    /// The fields that a step may touch, beside the groups and the image.
    pub(super) fn split<'a>(
        &'a mut self,
        now: Now,
        out: &'a mut Actions,
    ) -> (&'a mut BTreeMap<Arc<str>, Group>, &'a Image, Step<'a>) {
        let step = Step {
            now,
            config: &self.config,
            timers: &mut self.timers,
            pending: &mut self.pending,
            prng: &mut self.prng,
            out,
        };
        (&mut self.groups, &self.image, step)
    }

    fn drop_term(&mut self, out: &mut Actions) {
        self.timers.clear();
        let lost = Unavailable::NotCoordinator;
        for append in self.pending.drain() {
            for waiting in append.waiting {
                out.reply(waiting.token, waiting.response.refused(lost));
            }
        }
        for mut group in std::mem::take(&mut self.groups).into_values() {
            for member in group.members.values_mut() {
                if let Some(token) = member.awaiting_join.take() {
                    let failure = JoinGroupFailure {
                        member_id: member.id.to_string(),
                        error: JoinGroupError::Unavailable(lost),
                    };
                    out.reply(token, Err(failure));
                }
                if let Some(token) = member.awaiting_sync.take() {
                    out.reply(token, Err(SyncGroupError::Unavailable(lost)));
                }
            }
        }
        self.image = Image::default();
    }

    fn loaded(&mut self, now: Now, out: &mut Actions) {
        if self.phase != CoordinatorPhase::Loading {
            out.note("the log could not be replayed, nothing is served", "");
            return;
        }
        self.phase = CoordinatorPhase::Active;
        out.note("loaded", "");
        let stored: Vec<Group> = (self.image.groups.iter())
            .map(|(id, durable)| match &durable.metadata {
                Some(metadata) => Group::from_stored(id.clone(), metadata, now),
                None => Group::empty(id.clone(), now),
            })
            .collect();
        let (groups, _, mut step) = self.split(now, out);
        for mut group in stored {
            if group.generation > 1 && types::planted!(GenerationForgotten) {
                group.generation = 1;
            }
            let member_ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
            for member_id in &member_ids {
                group.keep_alive(&mut step, member_id);
            }
            if group.members.len() > size_max(step.config) {
                group.prepare_rebalance(&mut step, "a loaded group is larger than it may be");
            }
            groups.insert(group.id.clone(), group);
        }
        self.schedule_expiration(now);
    }

    fn request(&mut self, now: Now, token: Token, request: Request, out: &mut Actions) {
        let unavailable = match self.phase {
            CoordinatorPhase::Active => None,
            CoordinatorPhase::Loading => Some(Unavailable::Loading),
            CoordinatorPhase::Resigned | CoordinatorPhase::Failed => {
                Some(Unavailable::NotCoordinator)
            }
        };
        if let Some(unavailable) = unavailable {
            out.reply(token, request.refused(unavailable));
            return;
        }
        match request {
            Request::JoinGroup(request) => self.join_group(now, token, request, out),
            Request::SyncGroup(request) => self.sync_group(now, token, request, out),
            Request::Heartbeat(request) => self.heartbeat(now, token, &request, out),
            Request::LeaveGroup(request) => self.leave_group(now, token, request, out),
            Request::OffsetCommit(request) => self.commit_offsets(now, token, request, out),
            Request::OffsetFetch(request) => self.fetch_offsets(now, token, request, out),
            Request::OffsetDelete(request) => self.delete_offsets(now, token, request, out),
            Request::ListGroups(request) => out.reply(token, Ok(self.list_groups(&request))),
            Request::DescribeGroups(request) => {
                out.reply(token, self.describe_groups(request));
            }
            Request::DeleteGroups(request) => self.delete_groups(now, token, request, out),
        }
    }

    fn tick(&mut self, now: Now, out: &mut Actions) {
        let bound = self.timers.scheduled();
        while let Some(timer) = self.timers.pop_due(now.mono, bound) {
            self.timer_due(now, timer, out);
        }
    }

    fn timer_due(&mut self, now: Now, timer: Timer, out: &mut Actions) {
        let id = match &timer {
            Timer::CommitTimeout { append } => {
                let append = *append;
                return self.commit_timed_out(now, append, out);
            }
            Timer::Expiration => {
                self.expire_offsets(now, out);
                return self.schedule_expiration(now);
            }
            Timer::Heartbeat { group, .. }
            | Timer::Join { group }
            | Timer::InitialJoin { group, .. }
            | Timer::Sync { group, .. } => group.clone(),
        };
        let (groups, _, mut step) = self.split(now, out);
        let Some(group) = groups.get_mut(&id) else {
            return;
        };
        match timer {
            Timer::Heartbeat { member, .. } => group.heartbeat_due(&mut step, &member),
            Timer::Join { .. } => group.complete_join(&mut step),
            Timer::InitialJoin {
                delay_ms,
                remaining_ms,
                ..
            } => group.initial_join_due(&mut step, delay_ms, remaining_ms),
            Timer::Sync { generation, .. } => group.sync_due(&mut step, generation),
            Timer::CommitTimeout { .. } | Timer::Expiration => {
                unreachable!("answered before a group is looked up")
            }
        }
        self.drop_if_hollow(&id);
    }

    // Appends.

    fn committed(&mut self, now: Now, up_to: AppendId, out: &mut Actions) {
        while let Some(append) = self.pending.pop_up_to(up_to) {
            for change in append.changes {
                self.change_committed(now, change);
            }
            if let Some(timeout) = append.timeout {
                self.timers.cancel(timeout);
            }
            let (groups, _, mut step) = self.split(now, out);
            match append.effect {
                Effect::None | Effect::Deletion(_) => {}
                Effect::Assignment {
                    group,
                    generation,
                    assignment,
                } => {
                    if let Some(group) = groups.get_mut(&group) {
                        group.assignment_stored(&mut step, append.id, generation, &assignment);
                    }
                }
                Effect::StaticMember(replacement) => {
                    if let Some(group) = groups.get_mut(&replacement.group) {
                        group.static_member_stored(&mut step, &replacement);
                    }
                }
            }
            for waiting in append.waiting {
                let response = match waiting.response {
                    Deferred::Known(response) => response,
                    Deferred::Fetch(request) => self.committed_offsets(&request).into(),
                };
                out.reply(waiting.token, response);
            }
        }
    }

    fn append_failed(&mut self, now: Now, id: AppendId, error: AppendError, out: &mut Actions) {
        // Ids are never used again: a report about an earlier term finds nothing.
        let Some(append) = self.pending.remove(id) else {
            return;
        };
        if let Some(timeout) = append.timeout {
            self.timers.cancel(timeout);
        }
        let touched: Vec<Arc<str>> = (append.changes.iter())
            .map(|change| change.group().clone())
            .collect();
        self.undo(now, append, error, out);
        for group in touched {
            self.drop_if_hollow(&group);
        }
    }

    /// The append may still be committed; those who wait are told that it took too long.
    fn commit_timed_out(&mut self, now: Now, id: AppendId, out: &mut Actions) {
        let Some(append) = self.pending.get_mut(id) else {
            return;
        };
        append.timeout = None;
        let effect = match append.effect {
            // Whether the groups are gone will be known later.
            Effect::None | Effect::Deletion(_) => Effect::None,
            Effect::Assignment { .. } | Effect::StaticMember(_) => {
                std::mem::replace(&mut append.effect, Effect::None)
            }
        };
        let waiting = std::mem::take(&mut append.waiting);
        let expired = PendingAppend {
            id,
            changes: Vec::new(),
            effect,
            waiting,
            timeout: None,
        };
        self.undo(now, expired, AppendError::TimedOut, out);
    }

    fn undo(&mut self, now: Now, append: PendingAppend, error: AppendError, out: &mut Actions) {
        let unavailable = error.unavailable();
        let (groups, _, mut step) = self.split(now, out);
        match append.effect {
            Effect::None => {}
            Effect::Assignment {
                group, generation, ..
            } => {
                if let Some(group) = groups.get_mut(&group) {
                    group.assignment_not_stored(&mut step, append.id, generation, unavailable);
                }
            }
            Effect::StaticMember(replacement) => {
                if let Some(group) = groups.get_mut(&replacement.group) {
                    group.static_member_not_stored(&mut step, &replacement, unavailable);
                }
            }
            Effect::Deletion(deleted) => {
                for mut group in deleted {
                    let successor = groups.get(&group.id);
                    if successor.is_none_or(Group::is_hollow) {
                        // Whoever saw the successor's generation must not see it again.
                        let seen = successor.map_or(0, |successor| successor.generation);
                        group.generation = group.generation.max(seen);
                        groups.insert(group.id.clone(), group);
                    }
                }
            }
        }
        for waiting in append.waiting {
            out.reply(waiting.token, waiting.response.refused(unavailable));
        }
    }

    fn change_committed(&mut self, now: Now, change: Change) {
        match change {
            Change::Offset { value: Some(_), .. } | Change::Group { value: Some(_), .. } => {
                self.image.apply(change);
            }
            Change::Offset {
                ref group,
                value: None,
                ..
            } => {
                let group = group.clone();
                self.image.apply(change);
                self.drop_if_hollow(&group);
            }
            Change::Group {
                ref group,
                value: None,
            } => {
                let group = group.clone();
                self.image.apply(change);
                self.group_forgotten(now, group);
            }
        }
    }

    /// A group's tombstone is committed.
    fn group_forgotten(&mut self, now: Now, id: Arc<str>) {
        if self.image.groups.contains_key(&id) {
            // Offsets whose own tombstones did not get through keep a group that never had members.
            self.groups
                .entry(id)
                .or_insert_with_key(|id| Group::empty(id.clone(), now));
        } else {
            self.drop_if_hollow(&id);
        }
    }

    /// Forgets a group that is neither in the log, nor about to be, nor waited for.
    pub(super) fn drop_if_hollow(&mut self, id: &Arc<str>) {
        let is_hollow = self.groups.get(id).is_some_and(Group::is_hollow);
        if is_hollow && !self.image.groups.contains_key(id) && !self.pending.touches_group(id) {
            self.groups.remove(id);
        }
    }

    pub(super) fn parked_count(&self) -> usize {
        let appends: usize = self.pending.iter().map(|append| append.waiting.len()).sum();
        let members = self
            .groups
            .values()
            .flat_map(|group| group.members.values());
        let members: usize = members
            .map(|m| {
                usize::from(m.awaiting_join.is_some()) + usize::from(m.awaiting_sync.is_some())
            })
            .sum();
        appends + members
    }

    fn schedule_expiration(&mut self, now: Now) {
        let interval_ms = self.config.offsets_retention_check_interval_ms.max(1);
        let at = now.mono.plus_millis(interval_ms);
        self.timers.schedule(at, Timer::Expiration);
    }

    // Invariants.

    /// Asserts what is true between steps.
    ///
    /// # Panics
    /// If any of it is not.
    pub fn check(&self) {
        if self.phase != CoordinatorPhase::Active {
            assert!(self.groups.is_empty(), "groups in memory while not active");
            assert_eq!(self.pending.len(), 0, "appends in flight while not active");
            assert_eq!(self.timers.len(), 0, "deadlines while not active");
            return;
        }
        for (id, group) in &self.groups {
            assert_eq!(*id, group.id, "a group under another's id");
            self.check_membership(group);
            self.check_progress(group);
            let known = self.image.groups.contains_key(id) || self.pending.touches_group(id);
            assert!(known || !group.is_hollow(), "{id}: a hollow group is kept");
        }
        for id in self.image.groups.keys() {
            let deleted = self.pending.touches_group(id);
            assert!(
                self.groups.contains_key(id) || deleted,
                "{id}: a stored group is not in memory"
            );
        }
    }

    fn check_membership(&self, group: &Group) {
        let id = &group.id;
        let awaiting = group.members.values().filter(|m| m.awaiting_join.is_some());
        assert_eq!(group.awaiting_join_count, awaiting.count(), "{id}: joins");
        assert_eq!(
            group.leader.is_some(),
            !group.members.is_empty(),
            "{id}: a leader if and only if there are members"
        );
        if let Some(leader) = &group.leader {
            assert!(group.members.contains_key(leader), "{id}: a foreign leader");
        }
        let instances = (group.members.values())
            .filter_map(|member| Some((member.instance_id.clone()?, member.id.clone())));
        assert_eq!(
            group.static_members,
            instances.collect::<BTreeMap<_, _>>(),
            "{id}: static members"
        );
        let mut supported: BTreeMap<&str, usize> = BTreeMap::new();
        for protocol in group.members.values().flat_map(|member| &member.protocols) {
            *supported.entry(&protocol.name).or_default() += 1;
        }
        let counted = group
            .supported
            .iter()
            .map(|(name, &count)| (&**name, count));
        assert_eq!(
            counted.collect::<BTreeMap<_, _>>(),
            supported,
            "{id}: protocols"
        );
        if !group.members.is_empty() {
            group.select_protocol();
        }
        for member_id in group.pending_joins.keys() {
            assert!(!group.members.contains_key(member_id), "{id}: joined twice");
        }
        for member_id in &group.pending_syncs {
            assert!(
                group.members.contains_key(member_id),
                "{id}: a foreign sync"
            );
        }
    }

    /// Every wait has an end: a group in a rebalance has a deadline or an append in flight, a silent member a session timeout.
    fn check_progress(&self, group: &Group) {
        let id = &group.id;
        match group.state {
            GroupState::Empty => {
                assert!(group.members.is_empty(), "{id}: an empty group has members");
                assert!(group.join_timer.is_none() && group.sync_timer.is_none());
            }
            GroupState::PreparingRebalance => assert!(
                self.timers.is_scheduled(group.join_timer),
                "{id}: nothing ends the gathering of members"
            ),
            GroupState::CompletingRebalance => {
                assert!(!group.members.is_empty(), "{id}: a generation of nobody");
                assert!(group.protocol_name.is_some(), "{id}: no protocol");
                let stores = group.assignment_append;
                assert!(
                    self.timers.is_scheduled(group.sync_timer) || stores.is_some(),
                    "{id}: nothing ends the wait for the assignment"
                );
            }
            GroupState::Stable => {
                assert!(!group.members.is_empty(), "{id}: a stable group of nobody");
                assert!(group.protocol_name.is_some(), "{id}: no protocol");
            }
        }
        for member in group.members.values() {
            assert!(
                member.is_waiting() || self.timers.is_scheduled(member.heartbeat),
                "{id}: {} could be silent for ever",
                member.id
            );
        }
        for handle in group.pending_joins.values() {
            assert!(self.timers.is_scheduled(Some(*handle)), "{id}: no expiry");
        }
    }
}

/// The most members a group may have.
pub(super) fn size_max(config: &GroupConfig) -> usize {
    usize::try_from(config.group_size_max).unwrap_or(0)
}
