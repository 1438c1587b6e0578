//! The end of a run: everybody but the brokers is gone, nothing is asked of them any more, and they are looked at.
//!
//! * L8, L10, L11: see [`crate::checkers::idle`].
//! * S12, S13: the disk holds what was acknowledged, and one image is always recovered to the same state.

use std::rc::Rc;

use runtime::simulated::disk::Disks;
use runtime::simulated::net::Fabric;
use runtime::simulated::nodes;
use runtime::simulated::trace::{self, Value};
use runtime::simulated::world::now_nanos;
use types::{NodeId, Offset};

use crate::checkers::idle::{BrokerIdle, Idle, judge};
use crate::checkers::state::Event;
use crate::plan::BrokerPlan;
use crate::watch;
use crate::world::{Nemesis, Nodes, World};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// How long the brokers are left alone before they are looked at, in seconds: longer than any session, rebalance or
/// fetch of a generated plan may take.
const QUIET_SECONDS: u64 = 15;
/// How long they are watched then at a time, in seconds, and how often: retention may have something to delete now and
/// then, but who is never quiet is never done.
const WATCHED_SECONDS: u64 = 3;
const WATCHES: usize = 4;
/// How often at most, if retention goes on: by its time it deletes as steadily as was produced, until all is gone. Longer
/// than it keeps anything in a generated plan, if it does not keep it for days.
const WATCHES_MAX: usize = 25;
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
    let mut watched = vec![Busy::of(world, nodes)];
    let (mut left, mut log_starts) = (WATCHES, log_starts_of(world));
    while left > 0 && watched.len() <= WATCHES_MAX {
        wait(nemesis, WATCHED_SECONDS).await;
        watched.push(Busy::of(world, nodes));
        // A log start moves only forward, and no further than the log's end: this work has an end.
        let before = std::mem::replace(&mut log_starts, log_starts_of(world));
        left -= usize::from(log_starts == before);
    }
    let parked = parked(nemesis).await;
    let found = judge(&seen(world, nodes, &watched, &parked));
    world.found(found);
    if world.plan.seed.is_multiple_of(RECOVERED_TWICE_ONE_IN) {
        recover_twice(world, nodes, nemesis).await;
    }
}

/// What machines of nodes hold back, by machine, now and a little later: a broker writes by itself now and then (offsets
/// that expire), which takes a moment.
async fn parked(nemesis: &mut Nemesis) -> Vec<(NodeId, String, usize)> {
    let before = watch::sweep();
    if before.is_empty() {
        return before;
    }
    wait(nemesis, 1).await;
    let mut parked = watch::sweep();
    parked.retain(|(node, machine, _)| {
        let mut before = before.iter();
        before.any(|(other, same, _)| (other, same) == (node, machine))
    });
    parked
}

async fn wait(nemesis: &mut Nemesis, seconds: u64) {
    let end = now_nanos() + seconds * NANOS_PER_SECOND;
    nemesis.run_until(end, |_| false).await;
}

/// Where the logs of the brokers begin.
fn log_starts_of(world: &World) -> Vec<Offset> {
    let brokers = world.plan.brokers.iter();
    brokers
        .flat_map(|broker| watch::log_starts_of(broker.id))
        .collect()
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

/// What is there now, and what happened in the quietest of the times that were watched.
fn seen(
    world: &World,
    nodes: &Nodes,
    watched: &[Busy],
    parked: &[(NodeId, String, usize)],
) -> Idle {
    let least = |figure: &dyn Fn(&Busy) -> u64| {
        let pairs = watched.windows(2);
        let passed = pairs.map(|pair| figure(&pair[1]).saturating_sub(figure(&pair[0])));
        passed.min().unwrap_or(0) / WATCHED_SECONDS
    };
    let mut brokers = Vec::new();
    for (index, plan) in world.plan.brokers.iter().enumerate() {
        let node = nodes.broker(plan.id);
        let shared = world.brokers[index].shared.borrow().clone();
        let own = parked.iter().filter(|(id, ..)| *id == plan.id);
        let broker = BrokerIdle {
            name: format!("broker-{}", plan.id),
            cores: plan.cores as u64,
            polls_per_second: least(&|busy| busy.polls[index]),
            tasks: nodes::task_count(node) as u64,
            timers: nodes::timer_count(node) as u64,
            connections: shared
                .as_ref()
                .map_or(0, |shared| shared.metrics.connections.get().unsigned_abs()),
            request_bytes: shared.map_or(0, |shared| shared.budget.used_bytes() as u64),
            parked: own
                .map(|(_, machine, count)| (machine.clone(), *count as u64))
                .collect(),
            metadata_bytes: metadata_bytes(node),
            metadata_bytes_max: metadata_bytes_max(plan),
        };
        tell(node, &broker);
        brokers.push(broker);
    }
    Idle {
        brokers,
        connections: Fabric::current().connections().len() as u64,
        events_per_second: least(&|busy| busy.events),
    }
}

fn tell(node: u64, broker: &BrokerIdle) {
    let figures = [
        (
            "polls_per_second",
            Value::Int(broker.polls_per_second as i64),
        ),
        ("tasks", Value::Int(broker.tasks as i64)),
        ("timers", Value::Int(broker.timers as i64)),
        ("metadata_bytes", Value::Int(broker.metadata_bytes as i64)),
    ];
    trace::emit_for(node, "idle", &figures);
}

fn metadata_bytes(node: u64) -> u64 {
    let files = Disks::current().files(node);
    let logs = files
        .iter()
        .filter(|file| file.path.contains("/__cluster_metadata-0/") && file.path.ends_with(".log"));
    logs.map(|file| file.length_bytes).sum()
}

/// What the last snapshot covers, what came since, and segments that are not full.
fn metadata_bytes_max(plan: &BrokerPlan) -> u64 {
    let option = |name: &str, otherwise: u64| {
        let text = plan.options.get(name);
        text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let between = option("metadata.log.max.record.bytes.between.snapshots", 20 << 20);
    let segment = option("internal.metadata.log.segment.bytes", 1 << 30);
    2 * between.saturating_add(segment) + METADATA_SLACK_BYTES
}

/// Recovers what a loss of power would leave now, twice.
async fn recover_twice(world: &Rc<World>, nodes: &Nodes, nemesis: &mut Nemesis) {
    for (index, broker) in world.plan.brokers.iter().enumerate() {
        let node = nodes.broker(broker.id);
        let image = Disks::current().copy_image(node);
        let mut states = Vec::new();
        for _ in 0..2 {
            nemesis.restart_with(index, &image);
            let end = now_nanos() + RECOVERY_SECONDS_MAX * NANOS_PER_SECOND;
            nemesis
                .run_until(end, |world| world.brokers[index].is_serving())
                .await;
            if !world.brokers[index].is_serving() {
                let name = format!("broker-{}", broker.id);
                let message = "does not serve after a loss of power while all was idle".to_owned();
                return world.report("L8", &name, message);
            }
            // The other recovery begins where this one did.
            watch::set_aside();
            let state = watch::recovered_state_of(broker.id);
            states.push(crate::trace::digest(&format!("{state:?}")));
        }
        for &state in &states {
            watch::tell_aside(&Event::ImageRecovered {
                image: broker.id as u64,
                state,
            });
        }
        let told = [("same", Value::Int(i64::from(states[0] == states[1])))];
        trace::emit_for(node, "recovered-twice", &told);
    }
}
