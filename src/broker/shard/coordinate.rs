//! Drives the group coordinators of the partitions of `__consumer_offsets` that this shard owns.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use coordinator::groups::{
    Action, Actions, AppendError, GroupCoordinator, Input, Request, Response, Token,
};
use protocol::records::validate::ValidatedBatch;
use protocol::records::{BATCH_HEADER_BYTES, Batch, BatchBuilder, Record};
use replica::{Acks, ControlMarker, MarkerKind, Produce, ProduceError};
use runtime::sync::oneshot;
use types::{LeaderEpoch, Mono, Now, Offset, PartitionIndex, ProducerId, TopicPartition, Uuid};

use super::replies::Sink;
use super::{ProduceOutcome, Shard, slot};
use crate::core::Core;

/// Bytes of the log that are replayed at a time while a coordinator loads.
const LOAD_BYTES: u64 = 1 << 20;

/// The coordinator of one partition's groups.
pub(super) struct CoordinatorSlot {
    pub machine: GroupCoordinator,
    pub partition: TopicPartition,
    epoch: LeaderEpoch,
    next_token: Token,
    asking: BTreeMap<Token, oneshot::Sender<Response>>,
    /// Commits inside of transactions whose end has not been replayed, by their producers.
    undecided: BTreeMap<ProducerId, Vec<(Option<Bytes>, Option<Bytes>)>>,
}

/// Asks the coordinator of `partition` of `__consumer_offsets`; it must be a partition of this core.
/// `sender` is dropped if this node does not coordinate it.
pub fn coordinate(
    core: &Rc<Core>,
    now: Now,
    partition: PartitionIndex,
    request: Request,
    sender: oneshot::Sender<Response>,
) {
    core.with_shard(|shard| {
        let Some(coordinator) = shard.coordinators.get_mut(&partition) else {
            return;
        };
        let token = coordinator.next_token;
        coordinator.next_token += 1;
        coordinator.asking.insert(token, sender);
        shard.step_coordinator(now, partition, Input::Request { token, request });
        shard.handle_events(now);
    });
}

impl Shard {
    /// Steps a coordinator, shows it to the observer, and carries its actions out.
    pub(super) fn step_coordinator(&mut self, now: Now, partition: PartitionIndex, input: Input) {
        let Some(coordinator) = self.coordinators.get_mut(&partition) else {
            return;
        };
        let mut actions = Actions::new();
        coordinator.machine.step(now, input, &mut actions);
        self.node
            .observe_coordinator(partition, &coordinator.machine);
        for action in actions.take() {
            match action {
                Action::Append { id, records } => {
                    let (partition_of_log, epoch) = self.coordinator_place(partition);
                    let batch = batch_of(now, records);
                    let sink = Sink::Coordinator {
                        partition,
                        append: id,
                    };
                    self.internal_append(now, partition_of_log, epoch, batch, sink);
                }
                Action::Reply { token, response } => self.answer_asking(partition, token, response),
                Action::Note { what, group } => {
                    tracing::trace!(partition, group, "{what}");
                    if let Some(observer) = self.node.observer() {
                        observer.noted(what, &group);
                    }
                }
            }
        }
        self.note_coordinator_deadline(partition);
    }

    fn coordinator_place(&self, partition: PartitionIndex) -> (TopicPartition, LeaderEpoch) {
        let coordinator = &self.coordinators[&partition];
        (coordinator.partition, coordinator.epoch)
    }

    fn answer_asking(&mut self, partition: PartitionIndex, token: Token, response: Response) {
        let coordinator = self
            .coordinators
            .get_mut(&partition)
            .expect("it was just stepped");
        let sender = coordinator
            .asking
            .remove(&token)
            .expect("a request is answered once");
        // The connection may have gone away; then nobody needs the answer.
        let _ = sender.send(response);
    }

    pub(super) fn tick_coordinator(&mut self, now: Now, partition: PartitionIndex) {
        self.step_coordinator(now, partition, Input::Tick);
    }

    /// Appends a batch of this node's own.
    fn internal_append(
        &mut self,
        now: Now,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        batch: ValidatedBatch,
        sink: Sink,
    ) {
        let Some(slot) = self.slots.get_mut(&partition) else {
            self.replies
                .answer_sink(sink, Err(ProduceError::LeadershipLost), &mut self.events);
            return;
        };
        let token = self.replies.park(sink);
        let produce = Produce {
            token,
            acks: Acks::All,
            expected_leader_epoch: Some(epoch),
            deadline: Mono::NEVER,
            batch: slot::summary_of(&batch),
        };
        slot.offer(token, batch);
        self.step(now, partition, replica::Input::InternalAppend(produce));
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.withdraw_offer();
        }
    }

    pub(super) fn coordinator_append_ended(
        &mut self,
        now: Now,
        partition: PartitionIndex,
        append: u64,
        outcome: ProduceOutcome,
    ) {
        let input = match outcome {
            Ok(_) => Input::Committed { up_to: append },
            Err(error) if !error.is_definite() => Input::Resigned,
            Err(error) => Input::AppendFailed {
                append,
                error: append_error(&error),
            },
        };
        self.step_coordinator(now, partition, input);
    }

    /// A topic is gone: so are the offsets that groups have committed for it.
    pub(super) fn forget_topic_offsets(&mut self, now: Now, topic: &str, topic_id: Uuid) {
        let partitions: Vec<_> = self.coordinators.keys().copied().collect();
        for partition in partitions {
            let deleted = Input::TopicDeleted {
                topic: topic.to_owned(),
                topic_id,
            };
            self.step_coordinator(now, partition, deleted);
        }
    }

    /// Topics were deleted while nobody led the partition, or while its log was replayed. The image in force knows of
    /// every deletion that the shard has been told of, and the shard will be told of every later one.
    fn forget_gone_topics(&mut self, now: Now, partition: PartitionIndex) {
        let Some(coordinator) = self.coordinators.get(&partition) else {
            return;
        };
        let image = self.node.image();
        let is_known = |name: &str, id: Uuid| {
            let topic = image.topic(name);
            topic.is_some_and(|topic| id.is_zero() || topic.id == id)
        };
        let mut topics = coordinator.machine.view().offset_topics();
        topics.retain(|(name, id)| !is_known(name, *id));
        if !topics.is_empty() {
            tracing::info!(
                partition,
                topics = topics.len(),
                "offsets of deleted topics are forgotten"
            );
            self.step_coordinator(now, partition, Input::TopicsGone { topics });
        }
    }

    /// This node leads a partition of `__consumer_offsets`: its groups are coordinated here.
    pub(super) fn elect_coordinator(
        &mut self,
        now: Now,
        partition: TopicPartition,
        epoch: LeaderEpoch,
    ) {
        let index = partition.partition;
        let image = self.node.image();
        let config = image.broker_config().groups;
        let node = &self.node;
        let coordinator = self
            .coordinators
            .entry(index)
            .or_insert_with(|| CoordinatorSlot {
                machine: GroupCoordinator::new(
                    config,
                    node.prng(&format!("group coordinator {index}")),
                ),
                partition,
                epoch,
                next_token: 0,
                asking: BTreeMap::new(),
                undecided: BTreeMap::new(),
            });
        coordinator.partition = partition;
        coordinator.epoch = epoch;
        coordinator.undecided.clear();
        self.step_coordinator(now, index, Input::Elected { epoch });
        self.to_load.push(partition);
    }

    pub(super) fn resign_coordinator(&mut self, now: Now, partition: PartitionIndex) {
        self.step_coordinator(now, partition, Input::Resigned);
    }

    pub(super) fn wake_loading(&mut self, partition: TopicPartition) {
        if self.is_loading.contains(&partition) {
            self.load_moved.notify_waiters();
        }
    }
}

fn append_error(error: &ProduceError) -> AppendError {
    match error {
        ProduceError::NotEnoughReplicas { .. } => AppendError::NotEnoughReplicas,
        ProduceError::TimedOut => AppendError::TimedOut,
        ProduceError::Leader(_) | ProduceError::LeadershipLost => AppendError::NotLeader,
        ProduceError::Append(_)
        | ProduceError::LogFailed
        | ProduceError::Sequence(_)
        | ProduceError::TransactionalBatch => AppendError::Storage,
    }
}

fn batch_of(now: Now, records: Vec<coordinator::groups::CoordinatorRecord>) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(0);
    for record in records {
        builder.append(
            now.wall.as_millis(),
            Some(&record.key),
            record.value.as_deref(),
            &[],
        );
    }
    own_batch(builder)
}

/// A batch that this node has made, as if it had come from a client.
pub(crate) fn own_batch(builder: BatchBuilder) -> ValidatedBatch {
    let batch = builder.build();
    let header = *batch.header();
    ValidatedBatch {
        header,
        records: batch.bytes().slice(BATCH_HEADER_BYTES..),
        record_count: u32::try_from(header.record_count).expect("a batch counts its records"),
        max_timestamp: header.max_timestamp,
        offset_delta_of_max_timestamp: 0,
        log_append_time: None,
        reencoded: false,
    }
}

/// Replays the logs of partitions whose coordinators were elected, each in its own task.
pub(super) fn start_loads(core: &Rc<Core>) {
    let to_load = core.with_shard(|shard| {
        let to_load = std::mem::take(&mut shard.to_load);
        shard.is_loading.extend(to_load.iter().copied());
        to_load
    });
    for partition in to_load {
        let core = Rc::clone(core);
        runtime::task::spawn_local(async move {
            if let Err(reason) = load(&core, partition).await {
                tracing::error!(
                    partition = partition.partition,
                    reason,
                    "the groups of a partition of __consumer_offsets are not served"
                );
            }
            core.with_shard(|shard| shard.is_loading.remove(&partition));
            core.drain_shard();
        });
    }
}

/// Replays everything that was in the log at the election, once all of it is committed.
async fn load(core: &Rc<Core>, partition: TopicPartition) -> Result<(), String> {
    let view = core.with_shard(|shard| {
        let slot = shard.slots.get(&partition)?;
        Some((
            slot.log.view(),
            slot.log.log_start_offset(),
            slot.log.log_end_offset(),
        ))
    });
    let (view, mut offset, end) = view.ok_or("the partition is gone")?;
    wait_committed(core, partition, end).await?;
    while offset < end {
        let batches = view
            .read_batches(offset, end, LOAD_BYTES)
            .await
            .map_err(|e| e.to_string())?;
        if batches.is_empty() {
            break;
        }
        offset = core.with_shard(|shard| shard.replay(partition, offset, &batches))?;
    }
    let now = core.now();
    core.with_shard(|shard| {
        shard.step_coordinator(now, partition.partition, Input::Loaded);
        shard.forget_gone_topics(now, partition.partition);
        shard.handle_events(now);
    });
    Ok(())
}

async fn wait_committed(
    core: &Rc<Core>,
    partition: TopicPartition,
    end: Offset,
) -> Result<(), String> {
    let moved = core.with_shard(|shard| Rc::clone(&shard.load_moved));
    loop {
        let notified = moved.notified();
        let committed = core.with_shard(|shard| {
            shard
                .slots
                .get(&partition)
                .map(|slot| slot.replica.view().high_watermark)
        });
        if committed.ok_or("the partition is gone")? >= end {
            return Ok(());
        }
        runtime::select! {
            biased;
            () = core.stopping() => return Err("the node is stopping".to_owned()),
            () = notified => {}
        }
    }
}

impl Shard {
    /// Replays the batches from `offset` on; gives the offset after them.
    fn replay(
        &mut self,
        partition: TopicPartition,
        offset: Offset,
        batches: &[Batch],
    ) -> Result<Offset, String> {
        let coordinator = self
            .coordinators
            .get_mut(&partition.partition)
            .ok_or("the coordinator is gone")?;
        let mut next = offset;
        for batch in batches {
            next = batch.header().next_offset();
            for record in batch.records() {
                let record = record.map_err(|error| error.to_string())?;
                if record.offset >= offset {
                    let at = record.offset;
                    let replayed = coordinator.replay(batch, record);
                    replayed.map_err(|error| format!("offset {at}: {error}"))?;
                }
            }
        }
        assert!(next > offset, "a read gives the batch at its offset");
        Ok(next)
    }
}

impl CoordinatorSlot {
    /// Replays a record; one of a transaction once its end is replayed, and only if it was committed.
    fn replay(&mut self, batch: &Batch, record: Record) -> Result<(), String> {
        let header = batch.header();
        if header.is_control() {
            let (Some(key), Some(value)) = (record.key, record.value) else {
                return Ok(());
            };
            let marker = ControlMarker::decode(&key, value, record.timestamp);
            let marker = marker.map_err(|error| error.to_string())?;
            let undecided = self.undecided.remove(&header.producer_id);
            if marker.is_some_and(|marker| marker.kind == MarkerKind::Commit) {
                for (key, value) in undecided.into_iter().flatten() {
                    self.replay_plain(key, value)?;
                }
            }
            return Ok(());
        }
        if header.is_transactional() {
            let undecided = self.undecided.entry(header.producer_id).or_default();
            undecided.push((record.key, record.value));
            return Ok(());
        }
        // What is written later counts, even if a transaction that wrote before it is decided after it.
        for undecided in self.undecided.values_mut() {
            undecided.retain(|(key, _)| *key != record.key);
        }
        self.replay_plain(record.key, record.value)
    }

    fn replay_plain(&mut self, key: Option<Bytes>, value: Option<Bytes>) -> Result<(), String> {
        let replayed = self.machine.replay(key, value);
        replayed.map(drop).map_err(|error| error.to_string())
    }
}
