//! The lives of the nodes: start, kill, loss of power, pause.
//!
//! A node is one of madsim's, so that names and numbers agree, but what happens to it is done here, in this order:
//! its disk and its connections learn of it, its tasks are dropped in the order of their spawning, then madsim's own
//! remains go. Nothing of an ended life runs or is told afterwards.

use std::future::Future;
use std::panic::Location;

use madsim::runtime::Handle;
use madsim::task::NodeId;

use super::disk::{Disks, PowerLoss, Survival};
use super::net::{Fabric, Stop};
use super::trace::{self, Value};
use super::world::number_of;
use super::{executor, leaks, lives, timers, turns, world};
use crate::task::{JoinHandle, spawn_local};

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its process runs.
    Running,
    /// Its process ended by itself.
    Ended,
    /// Its process runs and gets no turns.
    Paused,
    /// Its process was killed.
    Killed,
    /// It has no power.
    Off,
}

fn set(node: u64, condition: Condition) {
    lives::change(node, |node| node.condition = condition);
}

/// What `node` is doing.
pub fn condition(node: u64) -> Condition {
    lives::node(node).condition
}

/// Which life `node` is in, from 0; each [`start`] begins the next.
pub fn life(node: u64) -> u64 {
    lives::node(node).life
}

/// What a node's `init` is made of: `future`, on the node's first core. The node's process ends with it.
///
/// ```ignore
/// handle.create_node().name("broker-1").init(|| nodes::live(broker())).build();
/// ```
pub async fn live<F>(future: F)
where
    F: Future<Output = ()> + 'static,
{
    executor::on_core(0, async move {
        let node = world::current_node();
        let life = [("life", Value::Int(life(node) as i64))];
        trace::emit("node-start", &life);
        // A task among the others, so that it is dropped with them; nobody aborts it.
        if spawn_local(future).await.is_ok() {
            set(node, Condition::Ended);
            trace::emit("node-end", &life);
        }
    })
    .await;
}

/// Runs `future` as a task of the first core of `node`, which must have begun to run.
///
/// # Panics
/// If the node has no core: its `init` is not [`live`], or has ended, or had no turn yet.
#[track_caller]
pub fn spawn_on<F>(node: u64, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let cores = turns::cores_of(node);
    let core = cores
        .first()
        .unwrap_or_else(|| panic!("node {node} has no core that runs"));
    JoinHandle::new(core.spawn(future, Location::caller()))
}

/// Ends the process of `node` at once. Its disk keeps the page cache; its system resets its connections.
pub fn kill(node: NodeId) {
    let number = number_of(node);
    match condition(number) {
        Condition::Killed | Condition::Off => return,
        // What its system does for a process that is no more is the same.
        Condition::Ended => {}
        Condition::Running | Condition::Paused => trace::emit_for(number, "kill", &[]),
    }
    Disks::current().process_died(number);
    Fabric::current().node_stopped(number, Stop::Kill);
    end(node, Condition::Killed);
}

/// Takes the power from `node`: its disk keeps what [`power_on`] will decide, its connections fall silent.
///
/// The instant part may have been done before, by [`Disks::power_off`] inside a trace event.
pub fn power_off(node: NodeId) {
    let number = number_of(node);
    if condition(number) == Condition::Off {
        return;
    }
    Disks::current().power_off(number);
    Fabric::current().node_stopped(number, Stop::Power);
    end(node, Condition::Off);
}

fn end(node: NodeId, condition: Condition) {
    let number = number_of(node);
    assert_ne!(number, world::current_node(), "a node does not end itself");
    set(number, condition);
    for core in turns::cores_of(number) {
        core.end();
        turns::remove(&core);
    }
    leaks::in_madsim(|| Handle::current().kill(node));
}

/// Gives power back to `node`: what its disk keeps is drawn by `survival`, its system answers again. Its process
/// starts with [`start`].
pub fn power_on(node: NodeId, survival: Survival) -> PowerLoss {
    let number = number_of(node);
    let loss = Disks::current().power_on(number, survival);
    Fabric::current().node_started(number);
    if condition(number) == Condition::Off {
        set(number, Condition::Killed);
    }
    loss
}

/// Starts the next life of `node`: what was given to its `init`, with clocks that run on and fresh entropy. A process
/// that still runs is killed before.
///
/// # Panics
/// If the node has no power.
pub fn start(node: NodeId) {
    let number = number_of(node);
    assert_ne!(
        condition(number),
        Condition::Off,
        "node {number} has no power"
    );
    kill(node);
    lives::change(number, |node| {
        node.life += 1;
        node.condition = Condition::Running;
    });
    leaks::in_madsim(|| Handle::current().restart(node));
}

/// Stops giving turns to `node`; its clocks run on, its system goes on taking in bytes, its timers come due.
pub fn pause(node: NodeId) {
    let number = number_of(node);
    if condition(number) == Condition::Running {
        trace::emit_for(number, "pause", &[]);
        set(number, Condition::Paused);
        for core in turns::cores_of(number) {
            core.paused.set(true);
        }
    }
}

/// Ends a pause of `node`.
pub fn resume(node: NodeId) {
    let number = number_of(node);
    if condition(number) == Condition::Paused {
        trace::emit_for(number, "resume", &[]);
        set(number, Condition::Running);
        for core in turns::cores_of(number) {
            core.paused.set(false);
            if core.is_ready() {
                turns::ready(&core);
            }
        }
    }
}

/// Asks the process of `node` to end, as SIGTERM does; one that does not listen dies of it.
pub fn terminate(node: NodeId) {
    Handle::current().send_ctrl_c(node);
}

/// Makes the processor of `node` slow: each poll of a task keeps its core busy for `cost_us` microseconds from now on;
/// 0, as at first, takes no time.
pub fn set_poll_cost_us(node: u64, cost_us: u32) {
    lives::change(node, |node| node.poll_cost_us = cost_us);
    for core in turns::cores_of(node) {
        core.poll_cost_us.set(cost_us);
    }
}

/// Tasks that have not ended on the cores of `node`, each core's own future left out.
pub fn task_count(node: u64) -> usize {
    let cores = turns::cores_of(node);
    cores.iter().map(|core| core.task_count()).sum()
}

/// How often tasks were polled on the cores of `node` in this life.
pub fn poll_count(node: u64) -> u64 {
    let cores = turns::cores_of(node);
    cores.iter().map(|core| core.polls_ever.get()).sum()
}

/// Timers that `node` waits for.
pub fn timer_count(node: u64) -> usize {
    timers::count(node)
}
