//! The end of a run: everybody but the brokers is gone, nothing is asked of them any more, and they are looked at.
//!
//! * L11: whoever has nothing to do does next to nothing.
//! * L10: nothing is left of those who are gone: no connection, no request that waits, no memory, no task.
//! * L8: the log of the metadata is no longer than its snapshots allow.
//! * S12, S13: the disk holds what was acknowledged, and one image is always recovered to the same state.

use std::rc::Rc;
use std::time::Duration;

use runtime::simulated::disk::Disks;
use runtime::simulated::net::Fabric;
use runtime::simulated::nodes;
use runtime::simulated::trace::{self, Value};
use runtime::simulated::world::now_nanos;

use crate::checkers::state::Event;
use crate::watch;
use crate::world::{Nemesis, Nodes, World};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// How long the brokers are left alone before they are looked at, in seconds: longer than any session, rebalance or
/// fetch of a generated plan may take.
const QUIET_SECONDS: u64 = 15;
/// How long they are watched then, in seconds.
const WATCHED_SECONDS: u64 = 10;
/// Polls of one idle core in a second: a few timers tick, none more often than ten times a second.
const POLLS_PER_SECOND_MAX: u64 = 50;
/// Events of one idle broker in a second: now and then a checkpoint is written.
const EVENTS_PER_SECOND_MAX: u64 = 40;
/// Tasks of one idle core, whatever was asked of it before.
const TASKS_PER_CORE_MAX: usize = 12;
/// Bytes of metadata records that may lie in the log beside those that call for a snapshot: the largest change.
const METADATA_SLACK_BYTES: u64 = 64 << 10;
/// One run in so many recovers its disk twice at the end.
const RECOVERED_TWICE_ONE_IN: u64 = 4;
/// How long a recovery may take, in seconds.
const RECOVERY_SECONDS_MAX: u64 = 60;

/// Looks at the brokers when all is idle.
pub(crate) async fn idle(world: &Rc<World>, nodes: &Nodes, nemesis: &mut Nemesis) {
    for id in nodes.clients() {
        nodes::kill(id);
    }
    wait(nemesis, QUIET_SECONDS).await;
    let before = Busy::of(world, nodes);
    wait(nemesis, WATCHED_SECONDS).await;
    let after = Busy::of(world, nodes);
    livelocks(world, nodes, &before, &after);
    leaks(world, nodes);
    metadata_is_bounded(world, nodes);
    if world.plan.seed.is_multiple_of(RECOVERED_TWICE_ONE_IN) {
        recover_twice(world, nodes, nemesis).await;
    }
}

async fn wait(nemesis: &mut Nemesis, seconds: u64) {
    let end = now_nanos() + Duration::from_secs(seconds).as_nanos() as u64;
    nemesis.run_until(end, |_| false).await;
}

/// What was done so far.
struct Busy {
    /// By broker: polls of its tasks.
    polls: Vec<u64>,
    events: u64,
}

impl Busy {
    fn of(world: &World, nodes: &Nodes) -> Busy {
        let brokers = world.plan.brokers.iter();
        let polls = brokers.map(|broker| nodes::poll_count(nodes.broker(broker.id)));
        Busy {
            polls: polls.collect(),
            events: world.sink.events(),
        }
    }
}

fn livelocks(world: &World, nodes: &Nodes, before: &Busy, after: &Busy) {
    for (index, broker) in world.plan.brokers.iter().enumerate() {
        world.looked("L11", 1);
        let polls = after.polls[index].saturating_sub(before.polls[index]) / WATCHED_SECONDS;
        let bound = POLLS_PER_SECOND_MAX * broker.cores as u64;
        let node = nodes.broker(broker.id);
        trace::emit_for(
            node,
            "idle",
            &[("polls_per_second", Value::Int(polls as i64))],
        );
        if polls > bound {
            let message = format!(
                "{polls} polls a second, though nobody asks anything: {bound} are in order"
            );
            world.report("L11", &format!("broker-{}", broker.id), message);
        }
    }
    let told = [("events", Value::Int((after.events - before.events) as i64))];
    trace::emit("idle", &told);
    let events = (after.events - before.events) / WATCHED_SECONDS;
    let bound = EVENTS_PER_SECOND_MAX * world.plan.brokers.len() as u64;
    if events > bound {
        let message =
            format!("{events} events a second, though nobody asks anything: {bound} are in order");
        world.report("L11", "cluster", message);
    }
}

/// What is still there of clients that are gone.
fn leaks(world: &World, nodes: &Nodes) {
    for (machine, count) in watch::sweep() {
        world.report(
            "L10",
            &machine,
            format!("{count} requests are not answered"),
        );
    }
    let connections = Fabric::current().connections().len();
    if connections > 0 {
        let message = format!("{connections} connections are open, though all clients are gone");
        world.report("L10", "network", message);
    }
    for (index, broker) in world.plan.brokers.iter().enumerate() {
        world.looked("L10", 1);
        let Some(shared) = world.brokers[index].shared.borrow().clone() else {
            continue;
        };
        let node = nodes.broker(broker.id);
        let tasks_max = TASKS_PER_CORE_MAX * broker.cores;
        let figures = [
            ("tasks", Value::Int(nodes::task_count(node) as i64)),
            ("timers", Value::Int(nodes::timer_count(node) as i64)),
            ("polls", Value::Int(nodes::poll_count(node) as i64)),
        ];
        trace::emit_for(node, "idle", &figures);
        let left = [
            (
                "connections",
                shared.metrics.connections.get().unsigned_abs() as usize,
                0,
            ),
            (
                "bytes of requests and answers",
                shared.budget.used_bytes(),
                0,
            ),
            ("tasks", nodes::task_count(node), tasks_max),
            ("timers", nodes::timer_count(node), tasks_max),
        ];
        for (what, count, bound) in left {
            if count > bound {
                let message = format!("{count} {what} are left, {bound} are in order");
                world.report("L10", &format!("broker-{}", broker.id), message);
            }
        }
    }
}

/// The log of the metadata is cut when a snapshot covers it.
fn metadata_is_bounded(world: &World, nodes: &Nodes) {
    for broker in &world.plan.brokers {
        world.looked("L8", 1);
        let option = |name: &str, otherwise: u64| {
            let text = broker.options.get(name);
            text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
        };
        let between = option("metadata.log.max.record.bytes.between.snapshots", 20 << 20);
        let segment = option("internal.metadata.log.segment.bytes", 1 << 30);
        let files = Disks::current().files(nodes.broker(broker.id));
        let logs = files.iter().filter(|file| {
            file.path.contains("/__cluster_metadata-0/") && file.path.ends_with(".log")
        });
        let bytes: u64 = logs.map(|file| file.length_bytes).sum();
        // What the last snapshot covers, what came since, and segments that are not full.
        let bound = 2 * between.saturating_add(segment) + METADATA_SLACK_BYTES;
        if bytes > bound {
            let message = format!("{bytes} bytes of metadata records, {bound} are in order");
            world.report("L8", &format!("broker-{}", broker.id), message);
        }
    }
}

/// Recovers what a loss of power would leave now, twice.
async fn recover_twice(world: &Rc<World>, nodes: &Nodes, nemesis: &mut Nemesis) {
    for (index, broker) in world.plan.brokers.iter().enumerate() {
        let (node, name) = (nodes.broker(broker.id), format!("broker-{}", broker.id));
        let image = Disks::current().copy_image(node);
        let mut states = Vec::new();
        for _ in 0..2 {
            nemesis.restart_with(index, &image);
            let end = now_nanos() + RECOVERY_SECONDS_MAX * NANOS_PER_SECOND;
            nemesis
                .run_until(end, |world| world.brokers[index].is_serving())
                .await;
            if !world.brokers[index].is_serving() {
                let message = "does not serve after a loss of power while all was idle".to_owned();
                return world.report("L8", &name, message);
            }
            // Timers that follow a start have nothing to do with what was recovered.
            let state = watch::state_of(broker.id);
            states.push(crate::trace::digest(&format!("{state:?}")));
        }
        for &state in &states {
            watch::tell(|| Event::ImageRecovered {
                image: broker.id as u64,
                state,
            });
        }
        let told = [("same", Value::Int(i64::from(states[0] == states[1])))];
        trace::emit_for(node, "recovered-twice", &told);
    }
}
