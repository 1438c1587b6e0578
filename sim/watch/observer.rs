//! What the broker tells of itself, as events of the trace and of the checkers.

use std::sync::Arc;

use broker::observer::{
    EpochEndAnswered, FetchAnswered, ListOffsetsAnswered, Observer, OffsetCommitAnswered,
    OffsetCommitBegins, ProduceAnswered,
};
use controller::MetadataImage;
use coordinator::groups::{CoordinatorPhase, CoordinatorView};
use protocol::records::BatchHeader;
use raft::QuorumView;
use replica::ReplicaView;
use runtime::simulated::trace::{self, Value};
use runtime::simulated::world::now_nanos;
use types::{ErrorCode, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicPartition};

use super::convert::{batch, group_seen, isolation, sent};
use super::{DURABLE_EVERY, GROUP_DELETED, Machine, PRODUCERS_EXPIRED, WATCH, tell};
use crate::checkers::state::{
    Asked, CommitBegun, CoordinatorSeen, EpochEndTold, Event, Fetched, OffsetCommitted,
    OffsetsListed, Produced, QuorumSeen,
};
use crate::history::{Acks, Key};

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
    fn moment(&self) -> u64 {
        now_nanos()
    }

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
            let waiting = view.parked_count() + view.appends_in_flight();
            watch.park(self.node, Machine::Coordinator(partition), waiting);
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
                is_settled: view.appends_in_flight() == 0,
                groups,
            };
            state.event(now_nanos(), &Event::Coordinator(seen));
        });
    }

    fn quorum(&self, view: &QuorumView<'_>) {
        WATCH.with_borrow_mut(|watch| watch.park(self.node, Machine::Quorum, view.parked));
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
            let names = watch.topics.iter().map(|(name, id)| (*id, name.clone()));
            watch.names.extend(names);
            let topics = watch.topics.values().copied().collect();
            watch.tell(|| Event::TopicsSeen { topics });
            let (node, offset) = (self.node, image.provenance.offset + 1);
            watch.tell(|| Event::ImageSeen {
                node,
                offset,
                hash: image.digest(),
            });
        });
    }

    fn noted(&self, what: &'static str, of: &str) {
        WATCH.with_borrow_mut(|watch| {
            if what == GROUP_DELETED {
                let group = of.to_owned();
                watch.tell(|| Event::GroupDeleting { group });
            }
            if what == PRODUCERS_EXPIRED
                && let Some((topic, partition)) = of.rsplit_once('-')
                && let (Ok(topic), Ok(partition)) = (topic.parse(), partition.parse())
            {
                let key = Key { topic, partition };
                watch.tell(|| Event::ProducersExpired { key });
            }
            let words = watch.words.entry(what);
            let what = words.or_insert_with(|| what.replace(", ", "-").replace(' ', "-"));
            trace::emit(
                "note",
                &[("what", Value::Text(what)), ("of", Value::Text(of))],
            );
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
        let is_promise = answer.acks == replica::Acks::All && result.is_ok();
        tell(|| {
            Event::Produced(Produced {
                node: self.node,
                began: answer.began,
                key: answer.partition.into(),
                acks: match answer.acks {
                    replica::Acks::None => Acks::None,
                    replica::Acks::Leader => Acks::Leader,
                    replica::Acks::All => Acks::All,
                },
                batch: batch(answer.header),
                sent: sent(answer.sent),
                result,
            })
        });
        WATCH.with_borrow_mut(|watch| {
            watch.acknowledged += u64::from(is_promise);
            if is_promise && watch.acknowledged.is_multiple_of(DURABLE_EVERY) {
                watch.durable_at(self.node);
            }
        });
    }

    fn produce_refused(&self, partition: PartitionIndex, error: ErrorCode) {
        trace::emit(
            "produced",
            &[
                ("partition", Value::Int(partition.into())),
                ("offset", Value::Int(-1)),
                ("error", Value::Int(error as i64)),
            ],
        );
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
                began: answer.began,
                key: answer.partition.into(),
                isolation: isolation(answer.isolation),
                offset: answer.fetch_offset,
                error: answer.error,
                has_records: answer.length_bytes > 0,
                length_bytes: answer.length_bytes,
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
                began: answer.began,
                key: answer.partition.into(),
                isolation: isolation(answer.isolation),
                asked,
                result: answer
                    .result
                    .map(|(offset, _, _)| (offset >= 0).then_some(offset)),
            })
        });
    }

    fn epoch_end_answered(&self, answer: &EpochEndAnswered) {
        tell(|| {
            Event::EpochEndTold(EpochEndTold {
                node: self.node,
                began: answer.began,
                key: answer.partition.into(),
                asked: answer.asked_epoch,
                result: answer.result,
            })
        });
    }

    fn offset_commit_begins(&self, commit: &OffsetCommitBegins<'_>) {
        tell(|| {
            Event::CommitBegun(CommitBegun {
                began: commit.began,
                coordinator: commit.coordinator.unwrap_or(-1),
                group: commit.group_id.to_owned(),
                generation: commit.generation_id,
                key: commit.partition.into(),
                offset: commit.offset,
            })
        });
    }

    fn offset_commit_answered(&self, answer: &OffsetCommitAnswered<'_>) {
        tell(|| {
            Event::OffsetCommitted(OffsetCommitted {
                node: self.node,
                began: answer.began,
                coordinator: answer.coordinator.unwrap_or(-1),
                group: answer.group_id.to_owned(),
                generation: answer.generation_id,
                key: answer.partition.into(),
                offset: answer.offset,
                error: answer.error,
            })
        });
    }

    fn producer_id_given(&self, producer_id: ProducerId, producer_epoch: ProducerEpoch) {
        tell(|| Event::ProducerIdGiven {
            producer_id,
            producer_epoch,
        });
    }

    fn snapshot(&self, end_offset: Offset, image: &MetadataImage) {
        tell(|| Event::SnapshotSeen {
            node: self.node,
            offset: end_offset,
            hash: image.digest(),
        });
    }
}
