//! Who looks at the brokers' machines while they run: tells the checkers of state what happens, and puts what changed
//! into the trace. Nothing that a broker does depends on it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker::observer::{
    FetchAnswered, ListOffsetsAnswered, Observer, OffsetCommitAnswered, OffsetCommitBegins,
    ProduceAnswered,
};
use controller::MetadataImage;
use coordinator::groups::{
    CoordinatorPhase, CoordinatorView, GroupState, GroupView, partition_for_group,
};
use protocol::records::BatchHeader;
use raft::QuorumView;
use replica::{ReplicaView, RoleView};
use runtime::simulated::trace::{self, Value};
use runtime::simulated::world::now_nanos;
use types::{LeaderEpoch, NodeId, PartitionIndex, TopicPartition};

use crate::checkers::Report;
use crate::checkers::history::Excused;
use crate::checkers::state::{
    Asked, Batch, CommitBegun, CoordinatorSeen, Death, Event, Fetched, GroupSeen, OffsetCommitted,
    OffsetsListed, Produced, ProducerSeen, QuorumSeen, Recovered, ReplicaSeen, Settings, State,
};
use crate::history::{Acks, Durability, Isolation, Key};

/// Where groups are kept.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// A replica's producers are looked at once in so many steps.
const PRODUCERS_EVERY: u64 = 16;

/// What the checkers of state know of the run, and what is needed to tell them.
#[derive(Default)]
struct Watch {
    /// Nobody, if a run is not judged.
    state: Option<State>,
    /// Of each node: partitions seen in this life, and how the last one ended.
    lives: BTreeMap<NodeId, Life>,
    /// What was last seen of a replica, for the trace.
    last: BTreeMap<(NodeId, TopicPartition), [i64; 5]>,
    /// Topics by name, as the last published image has them.
    topics: BTreeMap<String, types::Uuid>,
    /// How many partitions the offsets topic has in it.
    coordinators: i32,
    /// What was last seen of a coordinator and of a group, for the trace.
    last_coordinators: BTreeMap<PartitionIndex, (LeaderEpoch, CoordinatorPhase)>,
    last_groups: BTreeMap<String, (i32, GroupState, usize)>,
    steps: u64,
}

#[derive(Default)]
struct Life {
    death: Option<Death>,
    opened: BTreeSet<TopicPartition>,
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
    match watch.state {
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
        let life = watch.lives.entry(node).or_default();
        life.opened.clear();
        life.death = Some(death);
        watch.tell(|| Event::Died {
            node,
            death,
            durable: Vec::new(),
        });
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
        let is_fresh = life.opened.insert(partition);
        if is_fresh && let Some(death) = life.death {
            let recovered = recovered(key, view, death);
            self.tell(|| Event::Recovered(recovered));
        }
        if let Some(state) = &mut self.state {
            state.set_class(key, class);
        }
        let with_producers = is_fresh || self.steps % PRODUCERS_EVERY == 0;
        self.tell(|| Event::Replica(seen(key, view, with_producers)));
    }
}

fn recovered(key: Key, view: &ReplicaView<'_>, death: Death) -> Recovered {
    Recovered {
        node: view.node,
        key,
        death,
        log_start: view.log_start,
        log_end: view.log_end,
        batches: None,
        is_fenced: false,
    }
}

fn seen(key: Key, view: &ReplicaView<'_>, with_producers: bool) -> ReplicaSeen {
    let producers = with_producers.then(|| {
        let entries = view.producers.entries();
        entries
            .map(|(producer_id, entry)| ProducerSeen {
                producer_id,
                producer_epoch: entry.producer_epoch,
                last_sequence: (entry.last_sequence() >= 0).then(|| entry.last_sequence()),
                last_offset: entry.last_offset(),
            })
            .collect()
    });
    ReplicaSeen {
        node: view.node,
        key,
        leads: match view.role {
            RoleView::Leader { epoch, .. } => Some(epoch),
            _ => None,
        },
        log_start: view.log_start,
        flushed: view.flushed,
        log_end: view.log_end,
        assigned_end: view.assigned_end,
        high_watermark: view.high_watermark,
        last_stable: view.last_stable,
        epochs: view
            .epochs
            .entries()
            .map(|entry| (entry.epoch, entry.start_offset))
            .collect(),
        producers,
    }
}

fn batch(header: &BatchHeader) -> Batch {
    Batch {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        leader_epoch: header.partition_leader_epoch,
        crc: header.crc,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        max_timestamp: header.max_timestamp,
        is_control: header.is_control(),
    }
}

fn isolation(isolation: replica::Isolation) -> Isolation {
    match isolation {
        replica::Isolation::ReadUncommitted => Isolation::ReadUncommitted,
        replica::Isolation::ReadCommitted => Isolation::ReadCommitted,
    }
}

/// Looks at the broker with this `node.id`.
#[derive(Clone, Copy, Debug)]
pub struct Watcher {
    node: NodeId,
}

impl Watcher {
    /// One for the broker with this `node.id`.
    pub fn new(node: NodeId) -> Arc<Watcher> {
        Arc::new(Watcher { node })
    }
}

impl Observer for Watcher {
    fn replica(&self, partition: TopicPartition, view: &ReplicaView<'_>) {
        WATCH.with_borrow_mut(|watch| watch.replica(partition, view));
    }

    fn appending(&self, partition: TopicPartition, header: &BatchHeader) {
        tell(|| Event::Appended {
            node: self.node,
            key: partition.into(),
            batch: batch(header),
        });
    }

    fn coordinator(&self, partition: PartitionIndex, view: &CoordinatorView<'_>) {
        WATCH.with_borrow_mut(|watch| {
            watch.trace_coordinator(partition, view);
            let topics = &watch.topics;
            let Some(state) = &mut watch.state else {
                return;
            };
            let is_serving = view.phase() == CoordinatorPhase::Active;
            let groups = view.groups().filter(|_| is_serving);
            let groups = groups
                .map(|group| group_seen(group, *view, topics))
                .collect();
            let seen = CoordinatorSeen {
                node: self.node,
                partition,
                leader_epoch: view.epoch(),
                is_serving,
                groups,
            };
            state.event(now_nanos(), &Event::Coordinator(seen));
        });
    }

    fn quorum(&self, view: &QuorumView<'_>) {
        tell(|| {
            Event::Quorum(QuorumSeen {
                node: self.node,
                leader_epoch: view.leader_epoch,
                log_start: view.log_start,
                flushed: view.flushed,
                log_end: view.log_end,
                high_watermark: view.high_watermark,
                snapshots: view.snapshots.iter().map(|id| id.end_offset).collect(),
                is_alone: true,
            })
        });
    }

    fn published(&self, image: &MetadataImage) {
        WATCH.with_borrow_mut(|watch| {
            watch.topics = image
                .topics
                .iter()
                .map(|topic| (topic.name.to_string(), topic.id))
                .collect();
            let offsets_topic = image.topic(OFFSETS_TOPIC);
            watch.coordinators = offsets_topic.map_or(0, |topic| topic.partition_count());
            let (node, offset) = (self.node, image.provenance.offset + 1);
            watch.tell(|| Event::ImageSeen {
                node,
                offset,
                hash: image.digest(),
            });
        });
    }

    fn produce_answered(&self, answer: &ProduceAnswered<'_>) {
        let result = answer.result.map(|done| done.base_offset);
        trace::emit(
            "produced",
            &[
                ("partition", Value::Int(answer.partition.partition.into())),
                ("offset", Value::Int(result.unwrap_or(-1))),
                (
                    "error",
                    Value::Int(answer.result.err().map_or(0, |error| error as i64)),
                ),
            ],
        );
        tell(|| {
            Event::Produced(Produced {
                node: self.node,
                key: answer.partition.into(),
                acks: match answer.acks {
                    replica::Acks::None => Acks::None,
                    replica::Acks::Leader => Acks::Leader,
                    replica::Acks::All => Acks::All,
                },
                batch: batch(answer.header),
                result,
            })
        });
    }

    fn fetch_answered(&self, answer: &FetchAnswered) {
        trace::emit(
            "fetched",
            &[
                ("partition", Value::Int(answer.partition.partition.into())),
                ("from", Value::Int(answer.fetch_offset)),
                ("bytes", Value::Int(answer.length_bytes as i64)),
                ("high", Value::Int(answer.high_watermark)),
                ("error", Value::Int(answer.error as i64)),
            ],
        );
        tell(|| {
            Event::Fetched(Fetched {
                node: self.node,
                key: answer.partition.into(),
                isolation: isolation(answer.isolation),
                offset: answer.fetch_offset,
                error: answer.error,
                has_records: answer.length_bytes > 0,
                records_end: None,
                high_watermark: answer.high_watermark,
                last_stable: answer.last_stable,
                log_start: answer.log_start,
            })
        });
    }

    fn list_offsets_answered(&self, answer: &ListOffsetsAnswered) {
        let asked = match answer.asked_timestamp {
            -1 => Asked::Latest,
            -2 => Asked::Earliest,
            timestamp if timestamp >= 0 => Asked::Timestamp(timestamp),
            _ => return,
        };
        tell(|| {
            Event::OffsetsListed(OffsetsListed {
                node: self.node,
                key: answer.partition.into(),
                isolation: isolation(answer.isolation),
                asked,
                result: answer
                    .result
                    .map(|(offset, _, _)| (offset >= 0).then_some(offset)),
            })
        });
    }

    fn offset_commit_begins(&self, commit: &OffsetCommitBegins<'_>) {
        let coordinator = coordinator_of(commit.group_id);
        tell(|| {
            Event::CommitBegun(CommitBegun {
                coordinator,
                group: commit.group_id.to_owned(),
                generation: commit.generation_id,
                key: commit.partition.into(),
                offset: commit.offset,
            })
        });
    }

    fn offset_commit_answered(&self, answer: &OffsetCommitAnswered<'_>) {
        let coordinator = coordinator_of(answer.group_id);
        tell(|| {
            Event::OffsetCommitted(OffsetCommitted {
                node: self.node,
                coordinator,
                group: answer.group_id.to_owned(),
                generation: answer.generation_id,
                key: answer.partition.into(),
                offset: answer.offset,
                error: answer.error,
            })
        });
    }
}

/// The partition of the offsets topic that holds the group.
fn coordinator_of(group: &str) -> PartitionIndex {
    WATCH.with_borrow(|watch| partition_for_group(group, watch.coordinators.max(1)))
}

fn group_seen(
    group: GroupView<'_>,
    coordinator: CoordinatorView<'_>,
    topics: &BTreeMap<String, types::Uuid>,
) -> GroupSeen {
    let offsets = coordinator.offsets(group.group_id());
    let is_stable = group.state() == GroupState::Stable;
    let members = group.members().filter(|_| is_stable);
    let owners = members.map(|member| {
        let assigned = client::assigned_partitions(member.assignment().clone()).unwrap_or_default();
        let keys = assigned.into_iter().filter_map(|(topic, partition)| {
            let topic = *topics.get(&topic)?;
            Some(Key { topic, partition })
        });
        (member.member_id().to_owned(), keys.collect())
    });
    GroupSeen {
        group: group.group_id().to_owned(),
        generation: group.generation_id(),
        owners: owners.collect(),
        offsets: offsets
            .map(|(_, partition, committed)| {
                let topic = committed.topic_id;
                (Key { topic, partition }, committed.offset)
            })
            .collect(),
    }
}
