//! Reading, alone and in a group.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use client::consumer::{
    Answered, ConsumedRecord, ConsumerConfig, GroupConfig, IsolationLevel, NamedPartition,
    Observer, OffsetReset, PartitionOfTopic,
};
use client::offsets::OffsetSpec;
use client::{Consumer, Error};
use protocol::ApiKey;
use runtime::simulated::world::now_nanos;
use types::{NodeId, Offset};

use super::actor::Actor;
use super::context::Context;
use super::failure::stage_of;
use super::values;
use crate::history::{Body, Committed, Isolation, Key, Process, Read, Seek, Stage};
use crate::plan::{ClientPlan, SeekTo};

/// Hears what happens to a client's consumer between the ends of its operations.
pub(super) struct Watch {
    context: Rc<Context>,
    process: Rc<Cell<Process>>,
    resets: RefCell<BTreeSet<Key>>,
    /// The log starts of the answers since the last operation.
    log_starts: RefCell<BTreeMap<Key, Offset>>,
    /// Of which topic a partition was that is to be begun anew.
    begins: RefCell<BTreeMap<NamedPartition, Key>>,
    /// When the last fetch was sent.
    asked: Cell<u64>,
}

impl Watch {
    fn keys(&self, partitions: &[PartitionOfTopic]) -> Vec<Key> {
        partitions.iter().map(key_of).collect()
    }

    fn rebalanced(&self, generation: i32, assigned: Vec<Key>, revoked: Vec<Key>) {
        let mut history = self.context.history.borrow_mut();
        history.rebalanced(self.process.get(), generation, assigned, revoked);
    }

    fn log_starts_at(&self, key: Key, start: Offset) {
        let mut starts = self.log_starts.borrow_mut();
        let known = starts.entry(key).or_insert(start);
        *known = start.max(*known);
    }
}

impl Observer for Watch {
    fn revoked(&self, generation: i32, partitions: &[PartitionOfTopic]) {
        self.rebalanced(generation, Vec::new(), self.keys(partitions));
    }

    fn assigned(&self, generation: i32, partitions: &[PartitionOfTopic]) {
        self.rebalanced(generation, self.keys(partitions), Vec::new());
    }

    fn asked(&self, _node: NodeId) {
        self.asked.set(now_nanos());
    }

    fn answered(&self, answered: &Answered) {
        if let Some(start) = answered.log_start_offset {
            self.log_starts_at(key_of(&answered.partition), start);
        }
    }

    fn reset(&self, partition: &PartitionOfTopic) {
        let key = key_of(partition);
        self.resets.borrow_mut().insert(key);
        self.begins.borrow_mut().insert(name_of(partition), key);
    }

    fn begun(&self, partition: &PartitionOfTopic, offset: Offset) {
        // A consumer here begins at the log start. What was out of range is below it: no fetch will tell. Should
        // another topic have the name now, then the one before was deleted, and its log start does not matter any more.
        let of = self.begins.borrow_mut().remove(&name_of(partition));
        if let Some(key) = of {
            self.log_starts_at(key, offset);
        }
    }
}

pub(super) fn key_of(partition: &PartitionOfTopic) -> Key {
    Key {
        topic: partition.topic_id,
        partition: partition.partition,
    }
}

fn name_of(partition: &PartitionOfTopic) -> NamedPartition {
    (partition.topic.clone(), partition.partition)
}

impl Actor {
    pub(super) fn isolation(&self) -> (IsolationLevel, Isolation) {
        if self.plan.setting("read_committed", 0) == 1 {
            (IsolationLevel::ReadCommitted, Isolation::ReadCommitted)
        } else {
            (IsolationLevel::ReadUncommitted, Isolation::ReadUncommitted)
        }
    }

    fn start_consumer(&mut self) {
        if self.consumer.is_some() {
            return;
        }
        let config = config(&self.plan, self.isolation().0);
        let mut consumer = Consumer::new(&self.client, config);
        let watch = Rc::new(Watch {
            context: Rc::clone(&self.context),
            process: Rc::clone(&self.process),
            resets: RefCell::default(),
            log_starts: RefCell::default(),
            begins: RefCell::default(),
            asked: Cell::new(0),
        });
        consumer.observe(Rc::clone(&watch) as Rc<dyn Observer>);
        self.consumer = Some((consumer, watch));
    }

    /// Every partition that the consumer reads.
    pub(super) fn reading(&self) -> Vec<PartitionOfTopic> {
        let consumer = self.consumer.as_ref();
        consumer.map_or_else(Vec::new, |(consumer, _)| consumer.partitions())
    }

    /// Reads exactly these from now on: new ones from their beginning.
    pub(super) async fn assign(&mut self, partitions: &[(String, i32)]) {
        let mut named = Vec::new();
        for (topic, partition) in partitions {
            match self.resolve(topic).await {
                Some(known) if known.partitions.contains_key(partition) => {
                    named.push((topic.clone(), *partition));
                }
                Some(_) => self.skip("assign", "unknown partition"),
                None => self.skip("assign", "unknown topic"),
            }
        }
        let before: BTreeSet<_> = self.reading().iter().map(key_of).collect();
        self.start_consumer();
        if let Some((consumer, _)) = &mut self.consumer {
            consumer.assign(&named);
        }
        let keys: Vec<Key> = self.reading().iter().map(key_of).collect();
        let new = keys.iter().filter(|key| !before.contains(key));
        let seeks = new.map(|&key| (key, Seek::Beginning)).collect();
        self.at_once(Body::Assign { keys, seeks });
    }

    /// Tells an operation that is done in the moment in which it is asked for.
    fn at_once(&self, body: Body) {
        self.invoke(body.clone());
        self.complete(Stage::Ok, body);
    }

    /// Takes part in its group for these topics.
    pub(super) async fn subscribe(&mut self, topics: &[String]) {
        let Some(group) = self.plan.group.clone() else {
            return self.skip("subscribe", "no group");
        };
        let mut keys = Vec::new();
        for topic in topics {
            if let Some(known) = self.resolve(topic).await {
                keys.extend(known.partitions.keys().map(|&partition| Key {
                    topic: known.id,
                    partition,
                }));
            }
        }
        self.start_consumer();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        if let Some((consumer, _)) = &mut self.consumer {
            let subscribed = consumer.subscribe(&names);
            subscribed.expect("the settings name a group");
        }
        self.at_once(Body::Subscribe { keys, group });
    }

    /// Goes on elsewhere in a partition that it reads.
    pub(super) async fn seek(&mut self, topic: &str, partition: i32, to: SeekTo) {
        let named: NamedPartition = (topic.to_owned(), partition);
        let reading = self.reading();
        let Some(place) = reading.iter().find(|place| name_of(place) == named) else {
            return self.skip("seek", "not assigned");
        };
        let offset = match to {
            SeekTo::Offset(offset) => Some(offset),
            SeekTo::Beginning => self.look_up(&named, OffsetSpec::Earliest).await,
            SeekTo::End => self.look_up(&named, OffsetSpec::Latest).await,
        };
        let Some(offset) = offset else {
            return self.skip("seek", "no offset");
        };
        if let Some((consumer, _)) = &mut self.consumer {
            let sought = consumer.seek(&named, offset);
            sought.expect("it is assigned");
        }
        let keys = reading.iter().map(key_of).collect();
        let seeks = vec![(key_of(place), Seek::Offset(offset))];
        self.at_once(Body::Assign { keys, seeks });
    }

    async fn look_up(&self, partition: &NamedPartition, spec: OffsetSpec) -> Option<Offset> {
        let asked = BTreeMap::from([(partition.clone(), spec)]);
        let isolation = self.isolation().0;
        let found = self.client.list_offsets(&asked, isolation).await.ok()?;
        found.get(partition)?.offset
    }

    /// Reads once; what came, if the consumer reads anything.
    pub(super) async fn poll(&mut self, wait_ms: u64) -> Option<Result<usize, Error>> {
        let isolation = self.isolation().1;
        let body = |reads, resets| Body::Poll {
            isolation,
            reads,
            resets,
        };
        if self.consumer.is_none() {
            self.skip("poll", "nothing to read");
            return None;
        }
        self.invoke(body(Vec::new(), Vec::new()));
        let (consumer, watch) = self.consumer.as_mut().expect("just seen");
        let polled = consumer.poll(wait_ms).await;
        Some(match polled {
            Ok(records) => {
                let resets = watch.resets.take().into_iter().collect();
                let reads = reads(&records, &watch.log_starts.take(), watch.asked.get());
                self.complete(Stage::Ok, body(reads, resets));
                Ok(records.len())
            }
            Err(error) => {
                self.skip("poll", &error_name(&error));
                self.complete(Stage::Fail, body(Vec::new(), Vec::new()));
                Err(error)
            }
        })
    }

    /// Commits what was read; how that ended, if it began.
    pub(super) async fn commit(&mut self) -> Option<Result<(), Error>> {
        let group = self.plan.group.clone()?;
        let reading = self.reading();
        let Some((consumer, _)) = &mut self.consumer else {
            self.skip("commit", "no member");
            return None;
        };
        let Some(generation) = consumer.generation() else {
            self.skip("commit", "no member");
            return None;
        };
        let positions = consumer.positions();
        let read = reading.iter().filter_map(|place| {
            let offset = *positions.get(&name_of(place))?;
            Some(Committed {
                key: key_of(place),
                offset: Some(offset),
            })
        });
        let offsets: Vec<Committed> = read.collect();
        if offsets.is_empty() {
            self.skip("commit", "nothing read");
            return None;
        }
        let mut body = Body::CommitOffsets {
            group,
            generation,
            offsets,
            given_up: 0,
        };
        self.invoke(body.clone());
        let before = self.client.requests_sent(ApiKey::OffsetCommit);
        let unanswered = self.client.requests_unanswered(ApiKey::OffsetCommit);
        let (consumer, _) = self.consumer.as_mut().expect("just seen");
        let committed = consumer.commit().await;
        let requests = self.client.requests_sent(ApiKey::OffsetCommit) - before;
        let mut stage = match &committed {
            Ok(()) => Stage::Ok,
            Err(error) => stage_of(&body, error, requests),
        };
        for place in &reading {
            if !self.was_meant(&place.topic, place.topic_id).await {
                stage = Stage::Info;
            }
        }
        self.count_given_up(&mut body, unanswered);
        self.complete(stage, body);
        Some(committed)
    }

    /// Says in a commit how many of its requests nobody answered: so many more than `before`.
    pub(super) fn count_given_up(&self, body: &mut Body, before: u64) {
        if let Body::CommitOffsets { given_up, .. } = body {
            *given_up = (self.client.requests_unanswered(ApiKey::OffsetCommit) - before) as u32;
        }
    }

    /// Asks for the group's offsets of everything that it may read.
    pub(super) async fn committed(&mut self) {
        let Some(group) = self.plan.group.clone() else {
            return self.skip("committed", "no group");
        };
        let reading = self.reading();
        if reading.is_empty() {
            return self.skip("committed", "nothing to read");
        }
        let body = |offsets| Body::FetchOffsets {
            group: group.clone(),
            offsets,
        };
        let asked = |offset_of: &dyn Fn(&PartitionOfTopic) -> Option<Offset>| {
            let asked = reading.iter().map(|place| Committed {
                key: key_of(place),
                offset: offset_of(place),
            });
            asked.collect()
        };
        let nothing = body(asked(&|_| None));
        self.invoke(nothing.clone());
        let named: Vec<NamedPartition> = reading.iter().map(name_of).collect();
        let answer = self
            .client
            .committed_offsets(&group, Some(&named), true)
            .await;
        let mut is_sound = true;
        for place in &reading {
            is_sound &= self.was_meant(&place.topic, place.topic_id).await;
        }
        match answer {
            Ok(found) if is_sound => {
                let offset = |place: &PartitionOfTopic| Some(found.get(&name_of(place))?.offset);
                self.complete(Stage::Ok, body(asked(&offset)));
            }
            _ => self.complete(Stage::Fail, nothing),
        }
    }

    /// Leaves the group, or stops reading.
    pub(super) async fn leave(&mut self) {
        let revoked = self.reading();
        let Some((consumer, watch)) = self.consumer.take() else {
            return self.skip("leave", "no member");
        };
        if let Some(generation) = consumer.generation() {
            watch.revoked(generation, &revoked);
        }
        let left = consumer.close().await;
        self.skip("leave", if left.is_ok() { "done" } else { "failed" });
    }
}

/// The records of one answer by partition, with the log starts that were told since the last one.
fn reads(records: &[ConsumedRecord], log_starts: &BTreeMap<Key, Offset>, asked: u64) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    for record in records {
        let key = Key {
            topic: record.topic_id,
            partition: record.partition,
        };
        let value = values::decode(record.value.as_deref());
        match reads.last_mut() {
            Some(read) if read.key == key => read.records.push((record.offset, value)),
            _ => reads.push(Read {
                key,
                records: vec![(record.offset, value)],
                log_start: log_starts.get(&key).copied(),
                asked: Some(asked),
            }),
        }
    }
    let seen: BTreeSet<Key> = reads.iter().map(|read| read.key).collect();
    // A log that begins later may have no records at all.
    let others = log_starts
        .iter()
        .filter(|&(key, &start)| start > 0 && !seen.contains(key));
    reads.extend(others.map(|(&key, &start)| Read {
        key,
        records: Vec::new(),
        log_start: Some(start),
        asked: Some(asked),
    }));
    reads
}

/// A short name of an error, for counting.
pub(super) fn error_name(error: &Error) -> String {
    match error {
        Error::Broker { code, .. } => format!("{code}"),
        Error::Records(_) => "damaged records".to_owned(),
        Error::TimedOut(_) => "timed out".to_owned(),
        Error::Disconnected(_) => "disconnected".to_owned(),
        Error::Connect { .. } => "no connection".to_owned(),
        _ => "other error".to_owned(),
    }
}

fn config(plan: &ClientPlan, isolation: IsolationLevel) -> ConsumerConfig {
    let number = |name: &str, otherwise: i64| {
        i32::try_from(plan.setting(name, otherwise)).unwrap_or(i32::MAX)
    };
    let group = plan.group.as_ref().map(|group| {
        let session_timeout_ms = number("session_timeout_ms", 6_000);
        GroupConfig {
            group_instance_id: plan.instance.clone(),
            session_timeout_ms,
            rebalance_timeout_ms: number("rebalance_timeout_ms", 10_000),
            heartbeat_interval_ms: (session_timeout_ms / 3).max(1) as u64,
            // Only what the plan says is committed, so that the history knows of it.
            auto_commit_interval_ms: None,
            ..GroupConfig::new(group)
        }
    });
    ConsumerConfig {
        isolation,
        fetch_wait_ms_max: number("fetch_wait_ms_max", 500),
        fetch_bytes_max: number("fetch_bytes_max", 1 << 20),
        partition_bytes_max: number("partition_bytes_max", 1 << 20),
        uses_fetch_sessions: plan.setting("sessions", 1) == 1,
        offset_reset: OffsetReset::Earliest,
        group,
        ..ConsumerConfig::default()
    }
}
