//! The judge: a client that no fault touches. It makes the topics, and after the faults it looks whether the cluster
//! serves again and what is left in it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use client::Error;
use client::admin::NewTopic;
use client::offsets::{IsolationLevel, OffsetSpec};
use protocol::ApiKey;
use runtime::simulated::world::now_nanos;
use runtime::time::sleep;
use types::{ErrorCode, Offset};

use super::NANOS_PER_MS;
use super::actor::Actor;
use super::consume::error_name;
use super::context::Context;
use super::members;
use super::tail;
use crate::history::{Key, Position, Stage};
use crate::plan::{ClientPlan, Role};
use crate::verdict::Report;

/// How long making the topics may take, in simulated milliseconds.
const SET_UP_MS_MAX: u64 = 60_000;
/// How long one produce may take after healing, in milliseconds: a request timeout.
const PRODUCE_MS_MAX: i64 = 30_000;
/// Wait between two tries, in milliseconds.
const RETRY_MS: u64 = 200;
/// After so many partitions that cannot be written the judge stops looking.
const FAILED_PRODUCES_MAX: usize = 3;
/// How long it may take to learn the ends of one partition, in milliseconds: those behind it need time, too.
const ENDS_MS_MAX: u64 = 10_000;
/// How long reading a damaged partition may take, in milliseconds.
const DAMAGED_MS_MAX: u64 = 20_000;
/// Fetches without progress that a reader may need for each partition, beside those that wait for records.
const IDLE_FETCHES_MAX: u64 = 200;

/// A client of the judge's: clients of the plan come before it.
pub(super) fn client(context: &Context, place: u32, role: Role) -> ClientPlan {
    ClientPlan {
        id: context.plan.clients.len() as u32 + place,
        role,
        acks: -1,
        idempotent: true,
        in_flight: 5,
        group: None,
        instance: None,
        settings: BTreeMap::from([
            ("request_timeout_ms".to_owned(), 3_000),
            ("delivery_timeout_ms".to_owned(), PRODUCE_MS_MAX),
        ]),
        steps: Vec::new(),
    }
}

pub(super) fn report(checker: &str, object: impl ToString, message: String) -> Report {
    Report {
        checker: checker.to_owned(),
        object: object.to_string(),
        message,
        at_us: now_nanos() / 1_000,
    }
}

/// Makes the plan's topics, trying again, and waits until all their partitions are served.
///
/// # Errors
/// The last one, after a minute.
pub async fn set_up(context: &Rc<Context>) -> Result<(), Error> {
    let actor = Actor::new(context, client(context, 0, Role::Admin));
    let deadline = now_nanos() + SET_UP_MS_MAX * NANOS_PER_MS;
    loop {
        match try_set_up(&actor).await {
            Ok(()) => return Ok(()),
            Err(error) if now_nanos() >= deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(RETRY_MS)).await,
        }
    }
}

async fn try_set_up(actor: &Actor) -> Result<(), Error> {
    let plans = &actor.context.plan.topics;
    let topics: Vec<NewTopic> = plans
        .iter()
        .map(|topic| NewTopic {
            name: topic.name.clone(),
            partition_count: Some(topic.partitions),
            replication_factor: None,
            configs: topic.configs.clone(),
        })
        .collect();
    for result in actor.client.create_topics(&topics).await?.into_values() {
        match result {
            Err(error) if error.code() != Some(ErrorCode::TopicAlreadyExists) => return Err(error),
            _ => {}
        }
    }
    let mut asked = BTreeMap::new();
    for plan in plans {
        let topic = actor.client.topic(&plan.name).await?;
        actor.context.learn(&plan.name, &topic);
        for &partition in topic.partitions.keys() {
            asked.insert((plan.name.clone(), partition), OffsetSpec::Latest);
        }
    }
    let isolation = IsolationLevel::ReadUncommitted;
    actor.client.list_offsets(&asked, isolation).await?;
    Ok(())
}

/// Every partition of every topic that clients may use.
async fn all_partitions(actor: &Actor) -> Result<BTreeMap<(String, i32), Key>, Error> {
    let mut partitions = BTreeMap::new();
    for (name, topic) in actor.client.list_topics().await? {
        if topic.is_internal {
            continue;
        }
        actor.context.learn(&name, &topic);
        for &partition in topic.partitions.keys() {
            let key = Key {
                topic: topic.id,
                partition,
            };
            partitions.insert((name.clone(), partition), key);
        }
    }
    Ok(partitions)
}

fn is_damaged(actor: &Actor, key: Key) -> bool {
    actor.context.damaged.borrow().contains(&key)
}

/// Whether the error says that a partition's files are damaged.
fn tells_damage(error: &Error) -> bool {
    let code = error.code();
    matches!(error, Error::Records(_))
        || matches!(
            code,
            Some(ErrorCode::KafkaStorageError | ErrorCode::CorruptMessage)
        )
}

/// Whether the judge last heard that the partition is damaged, and it is; noted then. A partition that no fault damaged
/// has to be served: after healing no disk fails any more, and a broker that had closed a log directory was restarted.
pub(super) fn is_fenced(actor: &Actor, key: Key) -> bool {
    let is_told = actor.last_error.borrow().as_ref().is_some_and(tells_damage);
    if is_told && is_damaged(actor, key) {
        actor.context.fenced.borrow_mut().insert(key);
        return true;
    }
    false
}

fn last_error(actor: &Actor) -> String {
    let error = actor.last_error.borrow();
    error
        .as_ref()
        .map_or("no error".to_owned(), Error::to_string)
}

/// What [`final_reads`] found.
#[derive(Debug, Default)]
pub struct FinalReads {
    /// The high watermark of each partition, up to which was read.
    pub ends: BTreeMap<Key, Offset>,
    /// Partitions that were not read to their end.
    pub missing: BTreeSet<Key>,
    /// L5: what kept a reader from reaching the end.
    pub reports: Vec<Report>,
}

/// A new client reads every partition of every topic from its beginning to its end, uncommitted, and tells it to the
/// history. `deadline_nanos` is true simulated time.
pub async fn final_reads(context: &Rc<Context>, deadline_nanos: u64) -> FinalReads {
    let mut found = FinalReads::default();
    let mut actor = Actor::new(context, client(context, 1, Role::Reader));
    let partitions = loop {
        match all_partitions(&actor).await {
            Ok(partitions) => break partitions,
            Err(error) if now_nanos() >= deadline_nanos => {
                let message = format!("topics cannot be listed: {error}");
                found.reports.push(report("L5", "cluster", message));
                return found;
            }
            Err(_) => sleep(Duration::from_millis(RETRY_MS)).await,
        }
    };
    let mut starts = BTreeMap::new();
    for ((topic, partition), &key) in &partitions {
        let patience_nanos = now_nanos() + ENDS_MS_MAX * NANOS_PER_MS;
        match ends_of(&mut actor, topic, key, patience_nanos.min(deadline_nanos)).await {
            Some((start, end)) => {
                starts.insert((topic.clone(), *partition), start);
                found.ends.insert(key, end);
            }
            None if is_fenced(&actor, key) => {}
            None => {
                let object = format!("{topic}-{partition}");
                let message = format!("its ends cannot be learned: {}", last_error(&actor));
                found.reports.push(report("L5", object, message));
                found.missing.insert(key);
            }
        }
    }
    let (damaged, sound): (Vec<_>, Vec<_>) = starts
        .into_keys()
        .partition(|named| is_damaged(&actor, partitions[named]));
    if !sound.is_empty() {
        actor.assign(&sound).await;
        read_to_end(&mut actor, &mut found, deadline_nanos).await;
        let read = sound.into_iter().filter_map(|(topic, partition)| {
            let key = *partitions.get(&(topic.clone(), partition))?;
            Some((topic, partition, key))
        });
        let read: Vec<_> = read.collect();
        tail::follow(context, &mut actor, &read, &mut found).await;
    }
    for named in damaged {
        let key = partitions[&named];
        let mut actor = Actor::new(context, client(context, 1, Role::Reader));
        actor.assign(std::slice::from_ref(&named)).await;
        if let Some(report) = read_damaged(&mut actor, &named, key, &found).await {
            found.reports.push(report);
            found.missing.insert(key);
        }
    }
    found
}

/// A partition whose files were damaged has to be read to its end, or to an error that says that it is damaged: never
/// silently less.
async fn read_damaged(
    actor: &mut Actor,
    named: &(String, i32),
    key: Key,
    found: &FinalReads,
) -> Option<Report> {
    let end = found.ends[&key];
    let deadline_nanos = now_nanos() + DAMAGED_MS_MAX * NANOS_PER_MS;
    let mut last = "no error".to_owned();
    loop {
        let positions = actor
            .consumer
            .as_ref()
            .map(|(consumer, _)| consumer.positions());
        let position = positions.and_then(|positions| positions.get(named).copied());
        if end == 0 || position.is_some_and(|position| position >= end) {
            return None;
        }
        if now_nanos() >= deadline_nanos {
            let object = format!("{}-{}", named.0, named.1);
            let message = format!(
                "its files are damaged, and no reader is told: reading stands at {position:?}, the end is {end}, {last}"
            );
            return Some(report("S39", object, message));
        }
        match actor.poll(RETRY_MS).await {
            Some(Err(error)) if tells_damage(&error) => {
                actor.context.fenced.borrow_mut().insert(key);
                return None;
            }
            Some(Err(error)) => {
                last = error.to_string();
                sleep(Duration::from_millis(RETRY_MS)).await;
            }
            _ => {}
        }
    }
}

/// Log start and high watermark.
async fn ends_of(
    actor: &mut Actor,
    topic: &str,
    key: Key,
    deadline_nanos: u64,
) -> Option<(Offset, Offset)> {
    let isolation = IsolationLevel::ReadUncommitted;
    let questions = [
        (Position::Earliest, OffsetSpec::Earliest, isolation),
        (Position::Latest, OffsetSpec::Latest, isolation),
    ];
    loop {
        let answers = actor.list(topic, key, &questions).await;
        if let Some([Some(start), Some(end)]) = answers.as_deref() {
            return Some((*start, *end));
        }
        if now_nanos() >= deadline_nanos || is_fenced(actor, key) {
            return None;
        }
        sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

pub(super) async fn read_to_end(actor: &mut Actor, found: &mut FinalReads, deadline_nanos: u64) {
    let before = actor.client.requests_sent(ApiKey::Fetch);
    let mut fruitful = 0;
    let mut last = "no error".to_owned();
    loop {
        let left = unread(actor, &found.ends);
        if left.is_empty() {
            break;
        }
        let fetches = actor.client.requests_sent(ApiKey::Fetch) - before;
        let is_loop = fetches > fruitful + IDLE_FETCHES_MAX * (1 + found.ends.len() as u64);
        if now_nanos() >= deadline_nanos || is_loop {
            for (object, key, message) in left {
                let message =
                    format!("{message}; {fetches} fetches, {fruitful} with records, {last}");
                found.reports.push(report("L5", object, message));
                found.missing.insert(key);
            }
            break;
        }
        match actor.poll(RETRY_MS).await {
            Some(Ok(0)) | None => {}
            Some(Ok(_)) => fruitful += 1,
            Some(Err(error)) => {
                actor.skip("final read", &error_name(&error));
                last = error.to_string();
                sleep(Duration::from_millis(RETRY_MS)).await;
            }
        }
    }
}

/// The partitions whose end is not reached, with where reading stands.
fn unread(actor: &Actor, ends: &BTreeMap<Key, Offset>) -> Vec<(String, Key, String)> {
    let Some((consumer, _)) = &actor.consumer else {
        return Vec::new();
    };
    let positions = consumer.positions();
    let mut left = Vec::new();
    for place in consumer.partitions() {
        let key = Key {
            topic: place.topic_id,
            partition: place.partition,
        };
        let named = (place.topic.clone(), place.partition);
        let position = positions.get(&named).copied();
        let Some(&end) = ends.get(&key) else {
            continue;
        };
        if position.is_none_or(|position| position < end) && end > 0 {
            let object = format!("{}-{}", place.topic, place.partition);
            let at = position.map_or("nowhere".to_owned(), |position| position.to_string());
            left.push((
                object,
                key,
                format!("reading stands at {at}, the end is {end}"),
            ));
        }
    }
    left
}

/// L7: groups work again after healing.
pub async fn groups(context: &Rc<Context>) -> Vec<Report> {
    members::groups(context).await
}

/// L4: one record for every partition, acknowledged by all within a request timeout. Call it before [`final_reads`],
/// which reads what this writes.
pub async fn producing(context: &Rc<Context>) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut actor = Actor::new(context, client(context, 2, Role::Producer));
    let partitions = match all_partitions(&actor).await {
        Ok(partitions) => partitions,
        Err(error) => {
            let message = format!("topics cannot be listed: {error}");
            return vec![report("L4", "cluster", message)];
        }
    };
    for ((topic, partition), key) in partitions {
        let began = now_nanos();
        context.produced.set(context.produced.get() + 1);
        let sent = actor.send(&topic, partition, 1, 0).await;
        let took_ms = (now_nanos() - began) / NANOS_PER_MS;
        let is_ok = sent.is_some_and(|(stage, _)| stage == Stage::Ok);
        if (is_ok && took_ms <= PRODUCE_MS_MAX as u64) || (!is_ok && is_fenced(&actor, key)) {
            continue;
        }
        let error = last_error(&actor);
        let message =
            format!("a produce with acks=all took {took_ms} ms, succeeded: {is_ok}, {error}");
        reports.push(report("L4", format!("{topic}-{partition}"), message));
        if reports.len() >= FAILED_PRODUCES_MAX {
            // The others would only take their time, too.
            break;
        }
    }
    reports
}
