//! L7: groups work again after healing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use client::offsets::{IsolationLevel, OffsetSpec};
use coordinator::groups::partition_for_group;
use runtime::simulated::world::now_nanos;
use runtime::task::{JoinHandle, spawn_local};
use runtime::time::sleep;

use super::NANOS_PER_MS;
use super::actor::Actor;
use super::consume::key_of;
use super::context::Context;
use super::judge::{client, is_fenced, report};
use crate::history::{Key, Position};
use crate::plan::Role;
use crate::verdict::Report;
use crate::watch::OFFSETS_TOPIC;

/// Members of a group of the judge's.
const MEMBERS: u32 = 2;
const SESSION_TIMEOUT_MS: i64 = 6_000;
const REBALANCE_TIMEOUT_MS: i64 = 10_000;
/// How long a group must stay as it is: long enough for three heartbeats.
const STABLE_MS: u64 = SESSION_TIMEOUT_MS as u64;
/// How often the judge looks.
const LOOK_MS: u64 = 100;
/// Longest wait of a member's poll, in milliseconds.
const POLL_MS: u64 = 100;

/// What a member shows the judge.
#[derive(Default)]
struct Shown {
    generation: Cell<Option<i32>>,
    owned: RefCell<BTreeSet<(String, i32)>>,
    /// Whether a commit succeeded in the generation that is shown.
    has_committed: Cell<bool>,
    /// What a poll or commit last failed with.
    trouble: RefCell<String>,
    must_stop: Cell<bool>,
}

/// Every group of the plan, and one that nobody used before, with fresh members: becomes stable, owns every partition
/// once, heartbeats are accepted, commits succeed.
pub(super) async fn groups(context: &Rc<Context>) -> Vec<Report> {
    let mut bounds: BTreeMap<String, i64> = BTreeMap::new();
    bounds.insert("judge".to_owned(), REBALANCE_TIMEOUT_MS);
    for client in &context.plan.clients {
        if let Some(group) = &client.group {
            let bound = client.setting("rebalance_timeout_ms", REBALANCE_TIMEOUT_MS)
                + client.setting("session_timeout_ms", SESSION_TIMEOUT_MS);
            let known = bounds.entry(group.clone()).or_insert(REBALANCE_TIMEOUT_MS);
            *known = bound.max(*known);
        }
    }
    let mut reports = Vec::new();
    let fenced = fenced_coordinators(context).await;
    for (place, (group, bound_ms)) in bounds.into_iter().enumerate() {
        if is_coordinated_by(&fenced, &group) {
            continue;
        }
        let first = 4 + place as u32 * MEMBERS;
        // Two rebalances, a look-up of the coordinator, and the proof that nothing moves.
        context.groups_judged.set(context.groups_judged.get() + 1);
        let limit_ms = 2 * bound_ms as u64 + 2 * STABLE_MS + 5_000;
        reports.extend(judge_group(context, &group, first, limit_ms).await);
    }
    reports
}

/// How many partitions hold the groups, and which of them answer that their log directory is fenced off: their groups
/// cannot be served, as L4 and L5 cannot.
async fn fenced_coordinators(context: &Rc<Context>) -> (i32, BTreeSet<i32>) {
    let mut actor = Actor::new(context, client(context, 3, Role::Admin));
    let Some(topic) = actor.ask_for(OFFSETS_TOPIC).await else {
        return (0, BTreeSet::new());
    };
    let mut fenced = BTreeSet::new();
    for &partition in topic.partitions.keys() {
        let key = Key {
            topic: topic.id,
            partition,
        };
        let latest = (
            Position::Latest,
            OffsetSpec::Latest,
            IsolationLevel::ReadUncommitted,
        );
        if actor.list(OFFSETS_TOPIC, key, &[latest]).await.is_none() && is_fenced(&actor, key) {
            fenced.insert(partition);
        }
    }
    (topic.partitions.len() as i32, fenced)
}

fn is_coordinated_by((count, fenced): &(i32, BTreeSet<i32>), group: &str) -> bool {
    *count > 0 && fenced.contains(&partition_for_group(group, *count))
}

async fn judge_group(
    context: &Rc<Context>,
    group: &str,
    first: u32,
    limit_ms: u64,
) -> Option<Report> {
    let topics: Vec<String> = context.plan.topics.iter().map(|t| t.name.clone()).collect();
    let mut shown = Vec::new();
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    for place in first..first + MEMBERS {
        let mut plan = client(context, place, Role::Member);
        plan.group = Some(group.to_owned());
        let settings = [
            ("session_timeout_ms", SESSION_TIMEOUT_MS),
            ("rebalance_timeout_ms", REBALANCE_TIMEOUT_MS),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        plan.settings.extend(settings);
        let actor = Actor::new(context, plan);
        let member = Rc::new(Shown::default());
        shown.push(Rc::clone(&member));
        tasks.push(spawn_local(take_part(actor, topics.clone(), member)));
    }
    let report = watch(context, group, &shown, limit_ms).await;
    for member in &shown {
        member.must_stop.set(true);
    }
    for task in tasks {
        // It ends by itself: its operation under way is told.
        let _ = task.await;
    }
    report
}

/// A member's life until it must stop; then it leaves.
async fn take_part(mut actor: Actor, topics: Vec<String>, shown: Rc<Shown>) {
    actor.subscribe(&topics).await;
    while !shown.must_stop.get() {
        if let Some(Err(error)) = actor.poll(POLL_MS).await {
            shown.trouble.replace(error.to_string());
            sleep(Duration::from_millis(LOOK_MS)).await;
        }
        let consumer = actor.consumer.as_ref();
        let generation = consumer.and_then(|(consumer, _)| consumer.generation());
        if generation != shown.generation.get() {
            shown.has_committed.set(false);
        }
        shown.generation.set(generation);
        let owned = consumer.map(|(consumer, _)| consumer.assignment());
        shown.owned.replace(owned.into_iter().flatten().collect());
        if generation.is_some() && !shown.has_committed.get() {
            match actor.commit().await {
                Some(Ok(())) => shown.has_committed.set(true),
                Some(Err(error)) => drop(shown.trouble.replace(error.to_string())),
                // Who owns nothing that is served has nothing to commit.
                None => shown.has_committed.set(owns_nothing_served(&actor)),
            }
        }
    }
    actor.leave().await;
}

fn owns_nothing_served(actor: &Actor) -> bool {
    let fenced = actor.context.fenced.borrow();
    let owned = actor.reading();
    owned.iter().all(|place| fenced.contains(&key_of(place)))
}

async fn watch(
    context: &Context,
    group: &str,
    shown: &[Rc<Shown>],
    limit_ms: u64,
) -> Option<Report> {
    let deadline = now_nanos() + limit_ms * NANOS_PER_MS;
    let mut stable_since: Option<(u64, i32)> = None;
    loop {
        let fault = fault(context, shown);
        let generation = shown[0].generation.get().unwrap_or(-1);
        let now = now_nanos();
        stable_since = match (&fault, stable_since) {
            (Some(_), _) => None,
            (None, Some((since, known))) if known == generation => Some((since, known)),
            (None, _) => Some((now, generation)),
        };
        if stable_since.is_some_and(|(since, _)| now - since >= STABLE_MS * NANOS_PER_MS) {
            return None;
        }
        if now >= deadline {
            let fault = fault.unwrap_or_else(|| "its generation changes".to_owned());
            let message = format!("not stable within {limit_ms} ms: {fault}");
            return Some(report("L7", group, message));
        }
        sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// What is wrong with the group at this moment.
fn fault(context: &Context, shown: &[Rc<Shown>]) -> Option<String> {
    let trouble = |member: &Shown| member.trouble.borrow().clone();
    let mut owned = BTreeSet::new();
    for (place, member) in shown.iter().enumerate() {
        if member.generation.get().is_none() || member.generation != shown[0].generation {
            return Some(format!("member {place} has no place: {}", trouble(member)));
        }
        for partition in member.owned.borrow().iter() {
            if !owned.insert(partition.clone()) {
                return Some(format!("{}-{} has two owners", partition.0, partition.1));
            }
        }
        if !member.has_committed.get() {
            return Some(format!("member {place} cannot commit: {}", trouble(member)));
        }
    }
    let topics = context.plan.topics.iter();
    let mut wanted =
        topics.flat_map(|topic| (0..topic.partitions).map(|index| (topic.name.clone(), index)));
    let unowned = wanted.find(|partition| !owned.contains(partition));
    unowned.map(|(topic, partition)| format!("{topic}-{partition} has no owner"))
}
