//! Reading records, alone or in a group.
//!
//! Size: one type whose halves, assigned and subscribed, share all of its state.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use protocol::messages::fetch_response::PartitionData;
use protocol::messages::{FetchRequest, FetchResponse};
use protocol::wire::Records;
use runtime::sync::select;
use runtime::time::sleep_until;
use types::{ErrorCode, LeaderEpoch, Mono, NodeId, Offset, Uuid};

use crate::client::{Client, Lane};
use crate::connection::Reply;
use crate::error::Error;
use crate::fetched::read_records;
use crate::group::Membership;
use crate::metadata::Leader;
use crate::observer::Observers;
use crate::offsets::CommittedOffset;
use crate::session::{Session, Wanted};

pub use crate::fetched::ConsumedRecord;
pub use crate::group::GroupConfig;
pub use crate::observer::{Answered, Observer, PartitionOfTopic};
pub use crate::offsets::{IsolationLevel, NamedPartition, OffsetSpec};

/// How much longer than its wait a fetch may take, in milliseconds.
const FETCH_GRACE_MS: u64 = 30_000;

/// Where to begin where nothing says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record.
    Earliest,
    /// At the end.
    Latest,
    /// Nowhere: [`Consumer::poll`] fails with `OFFSET_OUT_OF_RANGE`.
    None,
}

/// A consumer's settings. Names and defaults are Kafka's.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// Which records are seen.
    pub isolation: IsolationLevel,
    /// How long the broker may wait for records, in milliseconds.
    pub fetch_wait_ms_max: i32,
    /// How many bytes are worth an answer.
    pub fetch_bytes_min: i32,
    /// Bytes of one answer at most; a single batch may exceed it.
    pub fetch_bytes_max: i32,
    /// Bytes of one partition in one answer at most; a single batch may exceed it.
    pub partition_bytes_max: i32,
    /// Whether brokers remember what is fetched, so that requests name only what changed (KIP-227).
    pub uses_fetch_sessions: bool,
    /// Where to begin without a committed offset, or when the position is gone.
    pub offset_reset: OffsetReset,
    /// The group to take part in or to commit for, if any.
    pub group: Option<GroupConfig>,
}

impl Default for ConsumerConfig {
    fn default() -> ConsumerConfig {
        ConsumerConfig {
            isolation: IsolationLevel::ReadUncommitted,
            fetch_wait_ms_max: 500,
            fetch_bytes_min: 1,
            fetch_bytes_max: 50 << 20,
            partition_bytes_max: 1 << 20,
            uses_fetch_sessions: true,
            offset_reset: OffsetReset::Latest,
            group: None,
        }
    }
}

/// Where reading stands in a partition.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// The next offset to read; none until it is found.
    offset: Option<Offset>,
    /// Whether the committed offset counts no more, so that the reset decides.
    must_reset: bool,
    leader_epoch: LeaderEpoch,
    /// The topic in which it stands, zero until it is known.
    topic_id: Uuid,
    /// No fetch before this.
    retry_at: Mono,
}

impl Position {
    const UNKNOWN: Position = Position {
        offset: None,
        must_reset: false,
        leader_epoch: -1,
        topic_id: Uuid::ZERO,
        retry_at: Mono::START,
    };
}

/// Reads records. Work happens in [`Consumer::poll`], but for a member's heartbeats.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    positions: BTreeMap<NamedPartition, Position>,
    fetches: BTreeMap<NodeId, Fetch>,
    sessions: BTreeMap<NodeId, Session>,
    membership: Option<Membership>,
    next_auto_commit: Mono,
    observers: Observers,
    /// What the next poll fails with: records of the same answer were given first.
    failure: Option<Error>,
}

/// A fetch whose answer is awaited, with the offsets that it asked for.
#[derive(Debug)]
struct Fetch {
    reply: Reply<FetchRequest>,
    asked: BTreeMap<NamedPartition, Offset>,
}

impl Consumer {
    /// A consumer on the client's connections, which reads nothing yet.
    pub fn new(client: &Client, config: ConsumerConfig) -> Consumer {
        Consumer {
            client: client.clone(),
            config,
            positions: BTreeMap::new(),
            fetches: BTreeMap::new(),
            sessions: BTreeMap::new(),
            membership: None,
            next_auto_commit: Mono::START,
            observers: Observers::default(),
            failure: None,
        }
    }

    /// Tells `observer` of rebalances, answers and resets from now on.
    pub fn observe(&mut self, observer: Rc<dyn Observer>) {
        self.observers.add(observer);
    }

    /// The generation of the group in which the consumer has a place, if it has one.
    pub fn generation(&self) -> Option<i32> {
        let generation = self.membership.as_ref().map(Membership::generation);
        generation.filter(|&generation| generation >= 0)
    }

    /// The partition with the id of its topic as this consumer reads it.
    fn identified(&self, partition: &NamedPartition) -> PartitionOfTopic {
        let position = self.positions.get(partition);
        let known = position.map_or(Uuid::ZERO, |position| position.topic_id);
        let topic_id = if known == Uuid::ZERO {
            let metadata = self.client.metadata();
            let topic = metadata.topics.get(&partition.0);
            topic.map_or(Uuid::ZERO, |topic| topic.id)
        } else {
            known
        };
        PartitionOfTopic {
            topic: partition.0.clone(),
            topic_id,
            partition: partition.1,
        }
    }

    /// The partitions that are read, with the ids of their topics.
    pub fn partitions(&self) -> Vec<PartitionOfTopic> {
        let partitions = self.positions.keys();
        partitions
            .map(|partition| self.identified(partition))
            .collect()
    }

    /// Reads these partitions from now on and no others, without taking part in a group.
    pub fn assign(&mut self, partitions: &[NamedPartition]) {
        self.membership = None;
        self.set_partitions(partitions);
    }

    /// Takes part in the group of the settings, asking for these topics.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the settings name no group.
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<(), Error> {
        let group = self.config.group.clone();
        let group = group.ok_or(Error::Invalid("a subscription needs a group"))?;
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        match &mut self.membership {
            // A member stays one: what it had is taken away when it joins anew.
            Some(membership) => membership.set_topics(topics),
            None => {
                self.membership = Some(Membership::new(&self.client, group, topics));
                self.set_partitions(&[]);
            }
        }
        Ok(())
    }

    /// Keeps the positions of partitions that were read before.
    fn set_partitions(&mut self, partitions: &[NamedPartition]) {
        let wanted: BTreeSet<_> = partitions.iter().cloned().collect();
        self.positions.retain(|key, _| wanted.contains(key));
        for partition in wanted {
            self.positions.entry(partition).or_insert(Position::UNKNOWN);
        }
    }

    /// The partitions that are read.
    pub fn assignment(&self) -> Vec<NamedPartition> {
        self.positions.keys().cloned().collect()
    }

    /// Reads the partition from `offset` on.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not assigned.
    pub fn seek(&mut self, partition: &NamedPartition, offset: Offset) -> Result<(), Error> {
        let position = self
            .positions
            .get_mut(partition)
            .ok_or(Error::Invalid("the partition is not assigned"))?;
        *position = Position {
            offset: Some(offset),
            topic_id: position.topic_id,
            ..Position::UNKNOWN
        };
        Ok(())
    }

    /// The next offset to read of each partition where it is known.
    pub fn positions(&self) -> BTreeMap<NamedPartition, Offset> {
        let known = self.positions.iter();
        known
            .filter_map(|(key, position)| Some((key.clone(), position.offset?)))
            .collect()
    }

    /// The next records, waiting for at most `timeout_ms` milliseconds; none if there were none in time. Joining the
    /// group may take longer.
    ///
    /// # Errors
    /// What trying again cannot cure. The consumer may go on.
    pub async fn poll(&mut self, timeout_ms: u64) -> Result<Vec<ConsumedRecord>, Error> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let millis = i64::try_from(timeout_ms).unwrap_or(i64::MAX);
        let deadline = self.client.clock().mono().plus_millis(millis);
        loop {
            self.take_part().await?;
            self.auto_commit().await?;
            let prepared = self.prepare().await;
            if let Err(error) = prepared {
                self.heed(error)?;
            }
            let wake = self.next_retry().min(deadline);
            let woken = self.wait(wake).await;
            if let Some((node, answer)) = woken {
                let fetch = self.fetches.remove(&node);
                let asked = fetch.map(|fetch| fetch.asked).unwrap_or_default();
                let records = match answer {
                    Ok(response) => self.take_answer(node, &asked, response)?,
                    Err(error) => {
                        self.session_failed(node);
                        self.delay(asked.keys());
                        self.heed(error)?;
                        Vec::new()
                    }
                };
                if !records.is_empty() {
                    return Ok(records);
                }
            }
            if self.client.clock().mono() >= deadline {
                return Ok(Vec::new());
            }
        }
    }

    /// Passes over what trying again may cure.
    fn heed(&self, error: Error) -> Result<(), Error> {
        if !error.is_retriable() {
            return Err(error);
        }
        if error.is_stale_metadata() {
            self.client.expire_metadata();
        }
        Ok(())
    }

    /// No fetch of these partitions for a moment.
    fn delay<'a>(&mut self, partitions: impl Iterator<Item = &'a NamedPartition>) {
        let wait = self.client.next_wait(&mut self.client.backoff());
        let retry_at = self.client.clock().mono() + wait;
        for partition in partitions {
            if let Some(position) = self.positions.get_mut(partition) {
                position.retry_at = retry_at;
            }
        }
    }

    fn next_retry(&self) -> Mono {
        let now = self.client.clock().mono();
        let asked: BTreeSet<_> = self
            .fetches
            .values()
            .flat_map(|fetch| fetch.asked.keys())
            .collect();
        let waiting = self
            .positions
            .iter()
            .filter(|(key, _)| !asked.contains(key));
        let moments = waiting.map(|(_, position)| position.retry_at);
        // What could be fetched already waits for its broker's answer.
        moments
            .filter(|&moment| moment > now)
            .min()
            .unwrap_or(Mono::NEVER)
    }

    /// Joins the group if need be.
    async fn take_part(&mut self) -> Result<(), Error> {
        let Some(membership) = &self.membership else {
            return Ok(());
        };
        membership.check()?;
        if !membership.must_join() {
            return Ok(());
        }
        let may_commit =
            membership.is_joined() && membership.config.auto_commit_interval_ms.is_some();
        if may_commit {
            self.commit_as_member().await?;
        }
        let revoked = self.partitions();
        let Some(membership) = &mut self.membership else {
            return Ok(());
        };
        self.observers.revoked(membership.generation(), &revoked);
        // Somebody else may read on in the meantime.
        self.positions.clear();
        let assigned = membership.join().await?;
        let generation = membership.generation();
        self.set_partitions(&assigned);
        self.observers.assigned(generation, &self.partitions());
        Ok(())
    }

    async fn auto_commit(&mut self) -> Result<(), Error> {
        let interval_ms = self
            .membership
            .as_ref()
            .and_then(|membership| membership.config.auto_commit_interval_ms);
        let now = self.client.clock().mono();
        let Some(interval_ms) = interval_ms.filter(|_| now >= self.next_auto_commit) else {
            return Ok(());
        };
        let millis = i64::try_from(interval_ms).unwrap_or(i64::MAX);
        self.next_auto_commit = now.plus_millis(millis);
        self.commit_as_member().await
    }

    /// Commits the positions; a refusal because the group moved on is left to the next join.
    async fn commit_as_member(&mut self) -> Result<(), Error> {
        match self.commit().await {
            Err(error) => {
                let moved_on = matches!(
                    error.code(),
                    Some(
                        ErrorCode::RebalanceInProgress
                            | ErrorCode::IllegalGeneration
                            | ErrorCode::UnknownMemberId
                    )
                );
                if moved_on { Ok(()) } else { self.heed(error) }
            }
            Ok(()) => Ok(()),
        }
    }

    /// Commits the next offset to read of every partition for the group.
    ///
    /// # Errors
    /// Those of the request; `REBALANCE_IN_PROGRESS`, `ILLEGAL_GENERATION`, `UNKNOWN_MEMBER_ID` if the group moved on.
    pub async fn commit(&mut self) -> Result<(), Error> {
        let offsets = self
            .positions
            .iter()
            .filter_map(|(key, position)| {
                let committed = CommittedOffset {
                    offset: position.offset?,
                    leader_epoch: position.leader_epoch,
                    metadata: String::new(),
                };
                Some((key.clone(), committed))
            })
            .collect();
        self.commit_offsets(&offsets).await
    }

    /// Commits these offsets for the group, as a member if the consumer is one.
    ///
    /// # Errors
    /// As [`Consumer::commit`]; [`Error::Invalid`] if the settings name no group.
    pub async fn commit_offsets(
        &mut self,
        offsets: &BTreeMap<NamedPartition, CommittedOffset>,
    ) -> Result<(), Error> {
        let group = self.config.group.as_ref();
        let group = group.ok_or(Error::Invalid("a commit needs a group"))?;
        let committer = match &self.membership {
            Some(membership) => membership.committer(),
            None => crate::offsets::Committer::outsider(),
        };
        let result = self
            .client
            .commit_offsets(&group.group_id, &committer, offsets)
            .await;
        if let (Err(error), Some(membership)) = (&result, &self.membership) {
            membership.heed(error);
        }
        result
    }

    /// Finds unknown positions and sends the fetches that may leave.
    async fn prepare(&mut self) -> Result<(), Error> {
        self.find_positions().await?;
        for (node, wanted) in self.wanted().await? {
            let request = self.fetch_request(node, &wanted);
            let asked: BTreeMap<_, _> = wanted
                .into_iter()
                .map(|(key, wanted)| (key, wanted.offset))
                .collect();
            let limit_ms = FETCH_GRACE_MS + self.config.fetch_wait_ms_max.max(0) as u64;
            let submitted = async {
                let connection = self.client.connection(node, Lane::Fetch).await?;
                connection.submit_within(&request, limit_ms).await
            };
            match submitted.await {
                Ok(reply) => drop(self.fetches.insert(node, Fetch { reply, asked })),
                Err(error) => {
                    self.session_failed(node);
                    self.delay(asked.keys());
                    self.heed(error)?;
                }
            }
        }
        Ok(())
    }

    fn session_failed(&mut self, node: NodeId) {
        if let Some(session) = self.sessions.get_mut(&node) {
            session.failed();
        }
    }

    async fn find_positions(&mut self) -> Result<(), Error> {
        let now = self.client.clock().mono();
        let unknown: Vec<_> = self
            .positions
            .iter()
            .filter(|(_, position)| position.offset.is_none() && position.retry_at <= now)
            .map(|(key, position)| (key.clone(), position.must_reset))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut to_reset = Vec::new();
        let mut to_look_up = Vec::new();
        for (key, must_reset) in unknown {
            if must_reset || self.config.group.is_none() {
                to_reset.push(key);
            } else {
                to_look_up.push(key);
            }
        }
        if let Some(group) = self
            .config
            .group
            .as_ref()
            .filter(|_| !to_look_up.is_empty())
        {
            let group_id = &group.group_id;
            let committed = self
                .client
                .committed_offsets(group_id, Some(&to_look_up), true)
                .await?;
            for key in to_look_up {
                match committed.get(&key) {
                    Some(committed) => self.seek(&key, committed.offset)?,
                    None => to_reset.push(key),
                }
            }
        }
        self.reset(to_reset).await
    }

    /// Looks up where to begin, for each partition on its own: one that is not served keeps no other from being read.
    async fn reset(&mut self, partitions: Vec<NamedPartition>) -> Result<(), Error> {
        if partitions.is_empty() {
            return Ok(());
        }
        let spec = match self.config.offset_reset {
            OffsetReset::Earliest => OffsetSpec::Earliest,
            OffsetReset::Latest => OffsetSpec::Latest,
            OffsetReset::None => return Error::check(ErrorCode::OffsetOutOfRange.code()),
        };
        let asked = partitions.into_iter().map(|key| (key, spec)).collect();
        let isolation = self.config.isolation;
        let mut failure = None;
        for (key, answer) in self.client.list_offsets_once(&asked, isolation).await {
            let found =
                answer.and_then(|listed| listed.offset.ok_or(Error::Incomplete("an offset")));
            match found {
                Ok(offset) => {
                    self.seek(&key, offset)?;
                    self.observers.begun(&self.identified(&key), offset);
                }
                Err(error) => {
                    self.delay([&key].into_iter());
                    failure = failure.or(self.heed(error).err());
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// What is to be fetched of each broker that has no fetch of ours.
    async fn wanted(
        &mut self,
    ) -> Result<BTreeMap<NodeId, BTreeMap<NamedPartition, Wanted>>, Error> {
        let now = self.client.clock().mono();
        let ready: Vec<_> = self
            .positions
            .iter()
            .filter(|(_, position)| position.retry_at <= now)
            .filter_map(|(key, position)| Some((key.clone(), position.offset?)))
            .collect();
        let mut wanted: BTreeMap<NodeId, BTreeMap<NamedPartition, Wanted>> = BTreeMap::new();
        for (key, offset) in ready {
            let leader = match self.client.leader(&key.0, key.1).await {
                Ok(leader) => leader,
                Err(error) => {
                    self.delay([&key].into_iter());
                    self.heed(error)?;
                    continue;
                }
            };
            if self.is_replaced(&key, &leader) {
                self.start_over(&key);
                continue;
            }
            if !self.fetches.contains_key(&leader.node) {
                let partition = Wanted {
                    topic_id: leader.topic_id,
                    offset,
                    leader_epoch: leader.epoch,
                    bytes_max: self.config.partition_bytes_max,
                };
                wanted
                    .entry(leader.node)
                    .or_default()
                    .insert(key, partition);
            }
        }
        Ok(wanted)
    }

    /// Whether the position stands in a topic that was deleted and made again. Takes note of the topic if not.
    fn is_replaced(&mut self, key: &NamedPartition, leader: &Leader) -> bool {
        let Some(position) = self.positions.get_mut(key) else {
            return false;
        };
        let is_other = position.topic_id != Uuid::ZERO && position.topic_id != leader.topic_id;
        if !is_other {
            position.topic_id = leader.topic_id;
        }
        is_other
    }

    /// Gives up the position: the reset decides where to go on.
    fn start_over(&mut self, key: &NamedPartition) {
        self.observers.reset(&self.identified(key));
        let position = Position {
            must_reset: true,
            ..Position::UNKNOWN
        };
        self.positions.insert(key.clone(), position);
    }

    fn fetch_request(
        &mut self,
        node: NodeId,
        wanted: &BTreeMap<NamedPartition, Wanted>,
    ) -> FetchRequest {
        let mut request = FetchRequest {
            max_wait_ms: self.config.fetch_wait_ms_max,
            min_bytes: self.config.fetch_bytes_min,
            max_bytes: self.config.fetch_bytes_max,
            isolation_level: self.config.isolation as i8,
            ..FetchRequest::default()
        };
        let uses_sessions = self.config.uses_fetch_sessions;
        let session = self.sessions.entry(node);
        let session = session.or_insert_with(|| Session::new(uses_sessions));
        session.fill(&mut request, wanted);
        self.observers.asked(node);
        request
    }

    /// Waits for the first answer, for a change of the group, or until `until`.
    async fn wait(&mut self, until: Mono) -> Option<(NodeId, Result<FetchResponse, Error>)> {
        let fetches = &mut self.fetches;
        let answer = poll_fn(|cx| {
            for (&node, fetch) in fetches.iter_mut() {
                if let Poll::Ready(answer) = Pin::new(&mut fetch.reply).poll(cx) {
                    return Poll::Ready((node, answer));
                }
            }
            Poll::Pending
        });
        let changed = async {
            match &self.membership {
                Some(membership) => membership.changed().await,
                None => pending().await,
            }
        };
        select! {
            biased;
            answer = answer => Some(answer),
            () = changed => None,
            () = sleep_until(self.client.clock(), until) => None,
        }
    }

    fn take_answer(
        &mut self,
        node: NodeId,
        asked: &BTreeMap<NamedPartition, Offset>,
        response: FetchResponse,
    ) -> Result<Vec<ConsumedRecord>, Error> {
        if let Err(error) = Error::check(response.error_code) {
            match (self.sessions.get_mut(&node), error.code()) {
                (Some(session), Some(ErrorCode::FetchSessionIdNotFound)) => session.forgotten(),
                (Some(session), _) => session.failed(),
                (None, _) => {}
            }
            self.delay(asked.keys());
            self.heed(error)?;
            return Ok(Vec::new());
        }
        if let Some(session) = self.sessions.get_mut(&node) {
            session.answered(response.session_id);
        }
        let mut records = Vec::new();
        let mut failure = None;
        for topic in response.responses {
            // Since version 13 topics go by their ids.
            let name = if topic.topic.is_empty() {
                let metadata = self.client.metadata();
                metadata.topic_name(topic.topic_id).map(str::to_owned)
            } else {
                Some(topic.topic)
            };
            let Some(name) = name else {
                self.client.expire_metadata();
                continue;
            };
            for partition in topic.partitions {
                let key = (name.clone(), partition.partition_index);
                // What was moved by a seek or a rebalance in the meantime is fetched anew.
                let position = self
                    .positions
                    .get(&key)
                    .and_then(|position| position.offset);
                if let Some(&from) = asked.get(&key)
                    && position == Some(from)
                    && self.is_meant(&key, topic.topic_id)
                {
                    let (mut taken, trouble) = self.take_partition(&key, from, partition);
                    records.append(&mut taken);
                    failure = failure.or(trouble);
                }
            }
        }
        match failure {
            Some(error) if records.is_empty() => Err(error),
            failure => {
                self.failure = failure;
                Ok(records)
            }
        }
    }

    /// Whether an answer about the topic with this id, zero if the version has none, is about the partition's topic.
    fn is_meant(&self, key: &NamedPartition, topic_id: Uuid) -> bool {
        let position = self.positions.get(key);
        position.is_some_and(|position| {
            topic_id == Uuid::ZERO
                || position.topic_id == Uuid::ZERO
                || topic_id == position.topic_id
        })
    }

    /// The records of a partition's answer, and what trying again cannot cure behind them.
    fn take_partition(
        &mut self,
        key: &NamedPartition,
        from: Offset,
        answer: PartitionData,
    ) -> (Vec<ConsumedRecord>, Option<Error>) {
        if let Err(error) = Error::check(answer.error_code) {
            return (Vec::new(), self.refused(key, error));
        }
        let partition = self.identified(key);
        let topic_id = partition.topic_id;
        let known = |offset: Offset| (offset >= 0).then_some(offset);
        self.observers.answered(&Answered {
            partition,
            log_start_offset: known(answer.log_start_offset),
            last_stable_offset: known(answer.last_stable_offset),
            high_watermark: known(answer.high_watermark),
        });
        let bytes = match answer.records {
            Some(Records::Bytes(bytes)) if !bytes.is_empty() => bytes,
            _ => return (Vec::new(), None),
        };
        let aborted = answer.aborted_transactions.unwrap_or_default();
        let fetched = read_records(key, topic_id, bytes, from, self.config.isolation, &aborted);
        if let (Some(next), Some(position)) = (fetched.next_offset, self.positions.get_mut(key)) {
            position.offset = Some(next.max(from));
            position.leader_epoch = fetched.leader_epoch.unwrap_or(position.leader_epoch);
        }
        if fetched.damage.is_some() {
            self.delay([key].into_iter());
        }
        (fetched.records, fetched.damage.map(Error::from))
    }

    /// A partition's answer is an error: given back if trying again cannot cure it.
    fn refused(&mut self, key: &NamedPartition, error: Error) -> Option<Error> {
        match error.code() {
            Some(ErrorCode::OffsetOutOfRange) if self.config.offset_reset != OffsetReset::None => {
                self.start_over(key);
                None
            }
            // The records are damaged where they lie: they stay so.
            Some(ErrorCode::CorruptMessage) => {
                self.delay([key].into_iter());
                Some(error)
            }
            _ => {
                self.delay([key].into_iter());
                self.heed(error).err()
            }
        }
    }

    /// Commits if the settings say so, and leaves the group.
    ///
    /// # Errors
    /// Those of the commit and of leaving.
    pub async fn close(mut self) -> Result<(), Error> {
        let commits = self.membership.as_ref().is_some_and(|membership| {
            membership.is_joined() && membership.config.auto_commit_interval_ms.is_some()
        });
        if commits {
            self.commit_as_member().await?;
        }
        match &mut self.membership {
            Some(membership) => membership.leave().await,
            None => Ok(()),
        }
    }
}
