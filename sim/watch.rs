//! Who looks at the brokers' machines while they run: tells the checkers of state what happens, and puts what changed
//! into the trace. Nothing that a broker does depends on it.

mod convert;
mod observer;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use coordinator::groups::{CoordinatorPhase, CoordinatorView, GroupState};
use replica::{ReplicaView, RoleView};
use runtime::simulated::trace::{self, Value};
use runtime::simulated::world::{current_node, now_nanos};
use types::{LeaderEpoch, NodeId, Offset, PartitionIndex, TopicPartition};

use crate::checkers::Report;
use crate::checkers::history::Excused;
use crate::checkers::state::{Death, Event, Recovered, Settings, State};
use crate::history::{Durability, Key};
use crate::world::World;
use crate::world::logs::{self, Side};
pub use observer::Watcher;

use convert::{batch, recovered, seen};

/// Where groups are kept.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// How a coordinator notes that it deletes a group.
const GROUP_DELETED: &str = "a group is deleted";
/// How a replica notes that it has forgotten producers; of whom, is its topic's id and its number.
const PRODUCERS_EXPIRED: &str = "producers expired";
/// A replica's producers are looked at once in so many steps.
const PRODUCERS_EVERY: u64 = 16;
/// What the disk holds is compared with what was promised once in so many answers to producers.
const DURABLE_EVERY: u64 = 512;

/// What the checkers of state know of the run, and what is needed to tell them.
#[derive(Default)]
struct Watch {
    /// Nobody, if a run is not judged.
    state: Option<State>,
    /// Who was told everything up to [`set_aside`].
    aside: Option<State>,
    /// Of each node: partitions seen in this life, and how the last one ended.
    lives: BTreeMap<NodeId, Life>,
    /// What was last seen of a replica, for the trace.
    last: BTreeMap<(NodeId, TopicPartition), [i64; 5]>,
    /// What was first seen of a replica since its node's disk was set back.
    first: BTreeMap<(NodeId, TopicPartition), [i64; 5]>,
    /// Topics by name, as the last published image has them.
    topics: BTreeMap<String, types::Uuid>,
    /// What was last seen of a coordinator and of a group, for the trace.
    last_coordinators: BTreeMap<PartitionIndex, (LeaderEpoch, CoordinatorPhase)>,
    last_groups: BTreeMap<String, (i32, GroupState, usize)>,
    /// The names that topics had.
    names: BTreeMap<types::Uuid, String>,
    /// Notes as the trace has them.
    words: BTreeMap<&'static str, String>,
    /// What waits for an answer, by node and machine.
    parked: BTreeMap<(NodeId, Machine), usize>,
    steps: u64,
    /// Answers to producers that wait for all.
    acknowledged: u64,
}

/// A machine of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Machine {
    Replica(TopicPartition),
    Coordinator(PartitionIndex),
    Quorum,
}

#[derive(Default)]
struct Life {
    death: Option<Death>,
    opened: BTreeSet<TopicPartition>,
    /// The node's number in the simulation.
    number: u64,
}

thread_local! {
    static WATCH: RefCell<Watch> = RefCell::default();
}

/// Begins a run, judged or not.
pub fn begin(settings: Option<Settings>) {
    WATCH.set(Watch {
        state: settings.map(State::new),
        ..Watch::default()
    });
}

/// Ends a run: what the checkers of state found, and what they excuse.
pub fn end() -> (Report, BTreeMap<Key, Vec<Excused>>) {
    let watch = WATCH.take();
    match watch.aside.or(watch.state) {
        Some(state) => {
            let excused = state.excused().clone();
            (state.finish(), excused)
        }
        None => (Report::default(), BTreeMap::new()),
    }
}

/// Tells the checkers what happened; nothing, if nobody judges.
pub fn tell(event: impl FnOnce() -> Event) {
    WATCH.with_borrow_mut(|watch| watch.tell(event));
}

/// A broker's process has ended.
pub fn died(node: NodeId, death: Death) {
    WATCH.with_borrow_mut(|watch| {
        let durable = match death {
            Death::Kill => Vec::new(),
            Death::Power => watch.durable_ends(node),
        };
        let life = watch.lives.entry(node).or_default();
        life.opened.clear();
        life.death = Some(death);
        watch.parked.retain(|(other, _), _| *other != node);
        watch.tell(|| Event::Died {
            node,
            death,
            durable,
        });
    });
}

/// A fault damaged a batch of this partition's log where at most its checksum tells; not even that, if another batch
/// was written over it.
pub fn log_damaged(key: Key, is_overwritten: bool) {
    let damaged = Event::LogDamaged {
        key,
        is_overwritten,
    };
    WATCH.with_borrow_mut(|watch| watch.tell(|| damaged));
}

/// Whether a log is lost without this file: its batches, or of which topic they are.
fn holds_a_log(file: &str) -> bool {
    file.ends_with(".log") || file.ends_with("partition.metadata")
}

/// A file operation met a fault, as the trace tells it.
pub fn disk_fault(number: u64, effect: &str, operation: &str, file: &str) {
    // What does not fit is refused cleanly; reads and names promise nothing.
    if effect != "eio" || !matches!(operation, "write" | "sync") || !holds_a_log(file) {
        return;
    }
    WATCH.with_borrow_mut(|watch| {
        let Some((node, key)) = watch.partition_of(number, file) else {
            return;
        };
        watch.tell(|| Event::DiskFailed { node, key });
        // A write is answered at once; a sync that fails has its time, and who asked learns of it then.
        if operation == "write" {
            watch.tell(|| Event::FailureTold { node, key });
        }
    });
}

/// A process was told that a sync of its has failed, as the trace tells it.
pub fn failure_told(number: u64, file: &str) {
    if !holds_a_log(file) {
        return;
    }
    WATCH.with_borrow_mut(|watch| {
        if let Some((node, key)) = watch.partition_of(number, file) {
            watch.tell(|| Event::FailureTold { node, key });
        }
    });
}

/// Nothing moves any more: compares what the disks of running nodes hold with what happened. What the machines of a
/// node still hold back, by machine.
pub fn sweep() -> Vec<(NodeId, String, usize)> {
    WATCH.with_borrow_mut(|watch| {
        let nodes: Vec<NodeId> = watch.lives.keys().copied().collect();
        for node in nodes {
            watch.sweep(node);
        }
        let parked = watch.parked.iter();
        parked
            .map(|((node, machine), count)| (*node, format!("{machine:?}"), *count))
            .collect()
    })
}

/// From now on brokers live through the same time again: nobody is told of it.
pub fn set_aside() {
    WATCH.with_borrow_mut(|watch| {
        if watch.aside.is_none() {
            watch.aside = watch.state.take();
        }
    });
}

/// Tells those who were set aside.
pub fn tell_aside(event: &Event) {
    WATCH.with_borrow_mut(|watch| {
        if let Some(state) = &mut watch.aside {
            state.event(now_nanos(), event);
        }
    });
}

/// Where the logs of a node begin now.
pub fn log_starts_of(node: NodeId) -> Vec<Offset> {
    WATCH.with_borrow(|watch| {
        let last = watch.last.iter().filter(|((other, _), _)| *other == node);
        last.map(|(_, figures)| figures[0]).collect()
    })
}

/// What the replicas of a node were when they were first seen since its disk was set back, in short: the same after
/// every recovery of one image. What becomes of them later depends on the time, for retention goes on.
pub fn recovered_state_of(node: NodeId) -> Vec<(TopicPartition, [i64; 5])> {
    WATCH.with_borrow(|watch| {
        let first = watch.first.iter().filter(|((other, _), _)| *other == node);
        first
            .map(|((_, partition), figures)| (*partition, *figures))
            .collect()
    })
}

/// What is known of a node's replicas belongs to an earlier time.
pub fn forget(node: NodeId) {
    WATCH.with_borrow_mut(|watch| {
        watch.last.retain(|(other, _), _| *other != node);
        watch.first.retain(|(other, _), _| *other != node);
        watch.tell(|| Event::SetBack { node });
    });
}

/// What a partition promises.
pub fn set_class(key: Key, class: Durability) {
    WATCH.with_borrow_mut(|watch| {
        if let Some(state) = &mut watch.state {
            state.set_class(key, class);
        }
    });
}

impl Watch {
    fn tell(&mut self, event: impl FnOnce() -> Event) {
        if let Some(state) = &mut self.state {
            state.event(now_nanos(), &event());
        }
    }

    /// Whose file it is.
    fn partition_of(&self, number: u64, file: &str) -> Option<(NodeId, Key)> {
        let directory = file.rsplit('/').nth(1)?;
        let (topic, partition) = directory.rsplit_once('-')?;
        let node = self.lives.iter().find(|(_, life)| life.number == number);
        let key = Key {
            topic: *self.topics.get(topic)?,
            partition: partition.parse().ok()?,
        };
        Some((*node?.0, key))
    }

    fn park(&mut self, node: NodeId, machine: Machine, count: usize) {
        match count {
            0 => self.parked.remove(&(node, machine)),
            _ => self.parked.insert((node, machine), count),
        };
    }

    /// The log starts of a node's partitions whose files nobody has damaged.
    fn starts(&self, node: NodeId) -> BTreeMap<Key, Offset> {
        let world = World::current();
        let damaged = world.clients.damaged.borrow();
        let is_sound = |partition: &TopicPartition| !damaged.contains(&Key::from(*partition));
        let last = self.last.iter().filter(|((other, _), _)| *other == node);
        last.filter(|((_, partition), _)| is_sound(partition))
            .map(|((_, partition), figures)| (Key::from(*partition), figures[0]))
            .collect()
    }

    /// What of each log of a node would survive a loss of power now.
    fn durable_ends(&self, node: NodeId) -> Vec<(Key, Offset)> {
        let Some(life) = self.lives.get(&node).filter(|_| self.state.is_some()) else {
            return Vec::new();
        };
        let starts = self.starts(node);
        let found = logs::read(life.number, Side::Durable, &starts);
        let ends = found.iter().map(|(key, log)| (*key, log.end()));
        ends.collect()
    }

    fn durable_at(&mut self, node: NodeId) {
        for (key, end) in self.durable_ends(node) {
            self.tell(|| Event::DurableAt { node, key, end });
        }
    }

    fn sweep(&mut self, node: NodeId) {
        if self.state.is_none() {
            return;
        }
        let mut starts = self.starts(node);
        let opened: BTreeSet<Key> = self.lives[&node]
            .opened
            .iter()
            .map(|&it| it.into())
            .collect();
        starts.retain(|key, _| opened.contains(key));
        for (key, log) in logs::read(self.lives[&node].number, Side::Cached, &starts) {
            let batches = log.batches.iter().map(batch).collect();
            self.tell(|| Event::Swept { node, key, batches });
        }
        self.durable_at(node);
    }

    fn trace_replica(&mut self, partition: TopicPartition, view: &ReplicaView<'_>) {
        let now = [
            view.log_start,
            view.flushed,
            view.log_end,
            view.high_watermark,
            view.last_stable,
        ];
        if self.last.insert((view.node, partition), now) == Some(now) {
            return;
        }
        self.first.entry((view.node, partition)).or_insert(now);
        let topic = partition.topic_id.to_string();
        trace::emit(
            "replica",
            &[
                ("topic", Value::Text(&topic)),
                ("partition", Value::Int(partition.partition.into())),
                ("start", Value::Int(now[0])),
                ("flushed", Value::Int(now[1])),
                ("end", Value::Int(now[2])),
                ("high", Value::Int(now[3])),
                ("stable", Value::Int(now[4])),
            ],
        );
    }

    fn trace_coordinator(&mut self, partition: PartitionIndex, view: &CoordinatorView<'_>) {
        let now = (view.epoch(), view.phase());
        if self.last_coordinators.insert(partition, now) != Some(now) {
            let phase = format!("{:?}", view.phase()).to_lowercase();
            trace::emit(
                "coordinator",
                &[
                    ("partition", Value::Int(partition.into())),
                    ("epoch", Value::Int(view.epoch().into())),
                    ("phase", Value::Text(&phase)),
                ],
            );
        }
        for group in view.groups() {
            let now = (
                group.generation_id(),
                group.state(),
                group.members().count(),
            );
            if self.last_groups.get(group.group_id()) == Some(&now) {
                continue;
            }
            self.last_groups.insert(group.group_id().to_owned(), now);
            trace::emit(
                "group",
                &[
                    ("name", Value::Text(group.group_id())),
                    ("generation", Value::Int(now.0.into())),
                    ("state", Value::Text(now.1.name())),
                    ("members", Value::Int(now.2 as i64)),
                ],
            );
        }
    }

    fn replica(&mut self, partition: TopicPartition, view: &ReplicaView<'_>) {
        self.trace_replica(partition, view);
        self.park(view.node, Machine::Replica(partition), view.parked);
        if self.state.is_none() || view.role == RoleView::Failed {
            return;
        }
        self.steps += 1;
        let key = Key::from(partition);
        let class = match view.durability {
            replica::Durability::Flushed => Durability::Flushed,
            replica::Durability::Replicated { .. } => Durability::Replicated,
        };
        let life = self.lives.entry(view.node).or_default();
        life.number = current_node();
        let is_fresh = life.opened.insert(partition);
        if is_fresh && let Some(death) = life.death {
            let number = life.number;
            let recovered = Recovered {
                batches: self.batches_of(number, key, view),
                ..recovered(key, view, death)
            };
            self.tell(|| Event::Recovered(recovered));
        }
        if let Some(state) = &mut self.state {
            state.set_class(key, class);
        }
        let with_producers = is_fresh || self.steps.is_multiple_of(PRODUCERS_EVERY);
        self.tell(|| Event::Replica(seen(key, view, with_producers)));
    }
}
