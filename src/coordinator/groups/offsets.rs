//! Committed offsets: commit, fetch, delete, and their end by time or with their topic.

use std::collections::BTreeSet;
use std::sync::Arc;

use types::{Now, PartitionIndex, Uuid, Wall};

use super::api::*;
use super::config::GroupConfig;
use super::errors::*;
use super::group::Group;
use super::image::{Change, CommittedOffset, DurableGroup};
use super::machine::GroupCoordinator;
use super::pending::{Deferred, Effect};
use super::state::GroupState;
use super::step::Step;

/// Records in one append where the operation does not need them to be one batch.
const RECORDS_PER_APPEND_MAX: usize = 1000;

impl GroupCoordinator {
    pub(super) fn commit_offsets(
        &mut self,
        now: Now,
        token: Token,
        request: OffsetCommit,
        out: &mut Actions,
    ) {
        let (groups, _, mut step) = self.split(now, out);
        let group = groups.get_mut(request.group_id.as_str());
        if let Err(error) = validate_commit(group.as_deref(), &request) {
            return step.reply(token, Err(error));
        }
        let group_id: Arc<str> = match group {
            Some(group) => {
                // A commit is a sign of life.
                if group.state != GroupState::Empty
                    && group.members.contains_key(request.member_id.as_str())
                {
                    group.keep_alive(&mut step, &request.member_id);
                }
                group.id.clone()
            }
            None => request.group_id.as_str().into(),
        };
        let (changes, results) = decide_commit(now, step.config, &group_id, request);
        let response: Result<_, OffsetCommitError> = Ok(results);
        if changes.is_empty() {
            return step.reply(token, response);
        }
        let append = step.append(changes, Effect::None);
        if types::planted!(CommitAckedEarly) {
            step.reply(token, response);
        } else {
            step.park_known(append, token, response);
        }
        groups
            .entry(group_id)
            // A consumer without membership makes a group that never has members.
            .or_insert_with_key(|id| Group::empty(id.clone(), now));
    }

    pub(super) fn fetch_offsets(
        &mut self,
        now: Now,
        token: Token,
        request: OffsetFetch,
        out: &mut Actions,
    ) {
        if request.require_stable
            && let Some(append) = self.pending.newest_of(&request.group_id)
        {
            let (_, _, mut step) = self.split(now, out);
            return step.park(append, token, Deferred::Fetch(request));
        }
        out.reply(token, self.committed_offsets(&request));
    }

    /// What the committed log says. A group or a partition without offsets is no error.
    pub(super) fn committed_offsets(
        &self,
        request: &OffsetFetch,
    ) -> Result<Vec<OffsetFetchTopicResult>, OffsetFetchError> {
        let Some(topics) = &request.topics else {
            return Ok(self.all_committed_offsets(&request.group_id));
        };
        let fetch = |topic: &OffsetFetchTopic| {
            let fetch = |&partition: &PartitionIndex| {
                let stored = self
                    .image
                    .offset(&request.group_id, &topic.topic, partition);
                let stored = stored.filter(|o| {
                    is_same_topic(o.topic_id, topic.topic_id)
                        || types::planted!(OffsetsOutliveTopic)
                });
                fetched(partition, stored)
            };
            OffsetFetchTopicResult {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions: topic.partitions.iter().map(fetch).collect(),
            }
        };
        Ok(topics.iter().map(fetch).collect())
    }

    fn all_committed_offsets(&self, group_id: &str) -> Vec<OffsetFetchTopicResult> {
        let Some(durable) = self.image.groups.get(group_id) else {
            return Vec::new();
        };
        let topics = durable.offsets.iter().map(|(topic, partitions)| {
            let fetch = |(&partition, offset)| fetched(partition, Some(offset));
            let ids = partitions.values().map(|offset| offset.topic_id);
            OffsetFetchTopicResult {
                topic: topic.to_string(),
                topic_id: ids.max().unwrap_or(Uuid::ZERO),
                partitions: partitions.iter().map(fetch).collect(),
            }
        });
        topics.collect()
    }

    pub(super) fn delete_offsets(
        &mut self,
        now: Now,
        token: Token,
        request: OffsetDelete,
        out: &mut Actions,
    ) {
        let (groups, image, mut step) = self.split(now, out);
        let group = match validate_delete(groups.get(request.group_id.as_str()), &request) {
            Ok(group) => group,
            Err(error) => return step.reply(token, Err(error)),
        };
        let mut changes = Vec::new();
        let mut results = Vec::with_capacity(request.topics.len());
        for (topic, partitions) in request.topics {
            let is_subscribed = group.is_subscribed_to(&topic);
            let name: Arc<str> = topic.as_str().into();
            let mut delete = |partition| {
                if is_subscribed {
                    return (
                        partition,
                        Err(OffsetDeletePartitionError::GroupSubscribedToTopic),
                    );
                }
                let is_stored = image.offset(&group.id, &name, partition).is_some();
                if is_stored || step.pending.touches_offset(&group.id, &name, partition) {
                    changes.push(tombstone(&group.id, &name, partition));
                }
                (partition, Ok(()))
            };
            let partitions = partitions.into_iter().map(&mut delete).collect();
            results.push(OffsetDeleteTopicResult { topic, partitions });
        }
        let response: Result<_, OffsetDeleteError> = Ok(results);
        if changes.is_empty() {
            return step.reply(token, response);
        }
        let append = step.append(changes, Effect::None);
        step.park_known(append, token, response);
    }

    /// A topic is gone: so are its offsets, but not those of a younger topic of the same name.
    pub(super) fn forget_topic(
        &mut self,
        now: Now,
        topic: &str,
        topic_id: Uuid,
        out: &mut Actions,
    ) {
        let (_, image, mut step) = self.split(now, out);
        let mut changes = Vec::new();
        for (group, durable) in &image.groups {
            let Some((name, partitions)) = durable.offsets.get_key_value(topic) else {
                continue;
            };
            for (&partition, offset) in partitions {
                if is_same_topic(offset.topic_id, topic_id) {
                    changes.push(tombstone(group, name, partition));
                }
            }
        }
        for append in step.pending.iter() {
            for change in &append.changes {
                if let Change::Offset {
                    group,
                    topic: name,
                    partition,
                    value: Some(value),
                } = change
                    && **name == *topic
                    && is_same_topic(value.topic_id, topic_id)
                {
                    changes.push(tombstone(group, name, *partition));
                }
            }
        }
        append_forgotten(&mut step, changes);
    }

    /// Topics were gone before the log was loaded: so are the offsets that were committed for exactly these.
    pub(super) fn forget_topics(
        &mut self,
        now: Now,
        gone: &BTreeSet<(Arc<str>, Uuid)>,
        out: &mut Actions,
    ) {
        let (_, image, mut step) = self.split(now, out);
        let mut changes = Vec::new();
        for (group, durable) in &image.groups {
            for (topic, partitions) in &durable.offsets {
                for (&partition, offset) in partitions {
                    if gone.contains(&(topic.clone(), offset.topic_id)) {
                        changes.push(tombstone(group, topic, partition));
                    }
                }
            }
        }
        append_forgotten(&mut step, changes);
    }

    /// Forgets offsets whose time has come (KIP-211), and groups that have neither members nor offsets.
    pub(super) fn expire_offsets(&mut self, now: Now, out: &mut Actions) {
        let group_ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in group_ids {
            let (groups, image, mut step) = self.split(now, out);
            // What is in flight will be looked at next time.
            if step.pending.touches_group(&id) {
                continue;
            }
            let (Some(group), Some(durable)) = (groups.get(&id), image.groups.get(&id)) else {
                continue;
            };
            let (mut changes, all_expired) = expired(now, step.config, group, durable);
            if !changes.is_empty() {
                step.out.note("offsets expire", &id);
            }
            let mut effect = Effect::None;
            if all_expired && group.is_hollow() {
                step.out
                    .note("a group without members and offsets is forgotten", &id);
                let group = groups.remove(&id).expect("it was just looked at");
                effect = Effect::Deletion(vec![group]);
                let value = None;
                changes.push(Change::Group { group: id, value });
            }
            append_in_parts(&mut step, changes, effect);
        }
    }
}

fn validate_commit(group: Option<&Group>, request: &OffsetCommit) -> Result<(), OffsetCommitError> {
    if request.group_id.is_empty() {
        return Err(OffsetCommitError::InvalidGroupId);
    }
    let fits = |name: &str| name.len() <= STRING_BYTES_MAX;
    if !fits(&request.group_id) || !request.topics.iter().all(|topic| fits(&topic.topic)) {
        return Err(OffsetCommitError::InvalidRequest);
    }
    let is_anonymous = request.generation_id < 0;
    let Some(group) = group else {
        return match is_anonymous {
            true => Ok(()),
            false if request.knows_group_id_not_found => Err(OffsetCommitError::GroupIdNotFound),
            false => Err(OffsetCommitError::IllegalGeneration),
        };
    };
    if is_anonymous && group.state == GroupState::Empty {
        return Ok(());
    }
    let instance_id = request.group_instance_id.as_deref();
    if is_anonymous && request.member_id.is_empty() && instance_id.is_none() {
        if types::planted!(OutsiderCommits) {
            return Ok(());
        }
        // While a group has members, only they commit.
        return Err(OffsetCommitError::UnknownMemberId);
    }
    group.validate_member(&request.member_id, instance_id)?;
    if request.generation_id != group.generation && !types::planted!(OldGenerationCommits) {
        return Err(OffsetCommitError::IllegalGeneration);
    }
    if group.state == GroupState::CompletingRebalance {
        // The generation is right, but nobody owns anything in it yet.
        return Err(OffsetCommitError::RebalanceInProgress);
    }
    Ok(())
}

fn decide_commit(
    now: Now,
    config: &GroupConfig,
    group: &Arc<str>,
    request: OffsetCommit,
) -> (Vec<Change>, Vec<OffsetCommitTopicResult>) {
    let expires_at = match request.retention_time_ms {
        -1 => None,
        retention_ms => Some(Wall::from_millis(
            now.wall.as_millis().saturating_add(retention_ms),
        )),
    };
    let mut changes = Vec::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name: Arc<str> = topic.topic.as_str().into();
        let commit = |partition: OffsetCommitPartition| {
            let metadata = partition.metadata.unwrap_or_default();
            if !fits_metadata(&metadata, config) {
                let error = OffsetCommitPartitionError::OffsetMetadataTooLarge;
                return (partition.partition, Err(error));
            }
            changes.push(Change::Offset {
                group: group.clone(),
                topic: name.clone(),
                partition: partition.partition,
                value: Some(CommittedOffset {
                    offset: partition.offset,
                    // The only record that can hold an expiry holds neither epoch nor topic id.
                    leader_epoch: expires_at.map_or(partition.leader_epoch, |_| -1),
                    metadata,
                    committed_at: now.wall,
                    expires_at,
                    topic_id: expires_at.map_or(topic.topic_id, |_| Uuid::ZERO),
                }),
            });
            (partition.partition, Ok(()))
        };
        results.push(OffsetCommitTopicResult {
            topic: topic.topic,
            topic_id: topic.topic_id,
            partitions: topic.partitions.into_iter().map(commit).collect(),
        });
    }
    (changes, results)
}

/// Kafka counts the characters of a Java string; a stored string also has a limit in bytes.
fn fits_metadata(metadata: &str, config: &GroupConfig) -> bool {
    let units_max = usize::try_from(config.offset_metadata_bytes_max).unwrap_or(0);
    metadata.len() <= STRING_BYTES_MAX && metadata.encode_utf16().count() <= units_max
}

fn validate_delete<'a>(
    group: Option<&'a Group>,
    request: &OffsetDelete,
) -> Result<&'a Group, OffsetDeleteError> {
    if request.group_id.is_empty() {
        return Err(OffsetDeleteError::InvalidGroupId);
    }
    let group = group.ok_or(OffsetDeleteError::GroupIdNotFound)?;
    if group.state != GroupState::Empty && !group.uses_consumer_protocol() {
        return Err(OffsetDeleteError::NonEmptyGroup);
    }
    Ok(group)
}

/// Whether two topics of one name can be the same; an unknown id can be any.
fn is_same_topic(stored: Uuid, asked: Uuid) -> bool {
    stored.is_zero() || asked.is_zero() || stored == asked
}

fn fetched(partition: PartitionIndex, stored: Option<&CommittedOffset>) -> FetchedOffset {
    FetchedOffset {
        partition,
        offset: stored.map_or(-1, |stored| stored.offset),
        leader_epoch: stored.map_or(-1, |stored| stored.leader_epoch),
        metadata: stored.map_or_else(String::new, |stored| stored.metadata.clone()),
    }
}

pub(super) fn tombstone(group: &Arc<str>, topic: &Arc<str>, partition: PartitionIndex) -> Change {
    Change::Offset {
        group: group.clone(),
        topic: topic.clone(),
        partition,
        value: None,
    }
}

/// Appends what topics that are gone take with them.
fn append_forgotten(step: &mut Step<'_>, changes: Vec<Change>) {
    if changes.is_empty() || types::planted!(OffsetsOutliveTopic) {
        return;
    }
    append_in_parts(step, changes, Effect::None);
}

/// Appends changes that need not be one batch; the last part carries the effect.
fn append_in_parts(step: &mut Step<'_>, mut changes: Vec<Change>, effect: Effect) {
    while changes.len() > RECORDS_PER_APPEND_MAX {
        let rest = changes.split_off(RECORDS_PER_APPEND_MAX);
        step.append(changes, Effect::None);
        changes = rest;
    }
    if !changes.is_empty() {
        step.append(changes, effect);
    }
}

/// The tombstones of a group's expired offsets, and whether these are all offsets that it has.
fn expired(
    now: Now,
    config: &GroupConfig,
    group: &Group,
    durable: &DurableGroup,
) -> (Vec<Change>, bool) {
    let mut changes = Vec::new();
    let mut all_expired = true;
    for (topic, partitions) in &durable.offsets {
        for (&partition, offset) in partitions {
            let is_due = !group.is_subscribed_to(topic) && is_expired(now, config, group, offset);
            if is_due || is_expired_too_early(now, config, group, offset) {
                changes.push(tombstone(&group.id, topic, partition));
            } else {
                all_expired = false;
            }
        }
    }
    (changes, all_expired)
}

/// The planted bug of an expiry that looks only at the commit's time.
fn is_expired_too_early(
    now: Now,
    config: &GroupConfig,
    group: &Group,
    offset: &CommittedOffset,
) -> bool {
    group.state != GroupState::Empty
        && now.wall - offset.committed_at >= config.offsets_retention_ms
        && types::planted!(OffsetsExpireWhileActive)
}

/// Whether an offset's time has come. It runs
/// * from its commit, if the group never had members, or is stable and known not to consume the topic;
/// * from when the last member left, if the group had members;
/// * not at all while the group has members otherwise.
fn is_expired(now: Now, config: &GroupConfig, group: &Group, offset: &CommittedOffset) -> bool {
    let since = match (&group.protocol_type, group.state) {
        (None, _) => offset.committed_at,
        (Some(_), GroupState::Empty) => group.state_since.unwrap_or(offset.committed_at),
        (Some(_), GroupState::Stable) if group.subscribed_topics.is_some() => offset.committed_at,
        (Some(_), _) => return false,
    };
    match offset.expires_at {
        Some(expires_at) => now.wall >= expires_at,
        None => now.wall - since >= config.offsets_retention_ms,
    }
}
