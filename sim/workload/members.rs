//! L7: groups work again after healing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use runtime::simulated::world::now_nanos;
use runtime::task::{JoinHandle, spawn_local};
use runtime::time::sleep;

use super::NANOS_PER_MS;
use super::actor::Actor;
use super::context::Context;
use super::judge::{client, report};
use crate::plan::Role;
use crate::verdict::Report;

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
    for (place, (group, bound_ms)) in bounds.into_iter().enumerate() {
        let first = 3 + place as u32 * MEMBERS;
        // Two rebalances, a look-up of the coordinator, and the proof that nothing moves.
        context.groups_judged.set(context.groups_judged.get() + 1);
        let limit_ms = 2 * bound_ms as u64 + 2 * STABLE_MS + 5_000;
        reports.extend(judge_group(context, &group, first, limit_ms).await);
    }
    reports
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
                // Who owns nothing, or has not found where to read, has nothing to commit.
                None => shown.has_committed.set(shown.owned.borrow().is_empty()),
            }
        }
    }
    actor.leave().await;
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
