//! One shard a core: the owner of many partitions.
//!
//! Callers step partitions' machines through it; what they append is queued and written by [`drain`], one vectored
//! write a log, after all requests of a socket read (or all calls in the mailbox) have been taken in. One flush at a
//! time covers every log that waits for it: the group commit.

mod actions;
mod coordinate;
mod epochs;
mod figures;
mod flush;
mod open;
mod pressure;
mod replies;
mod roles;
mod slot;
mod snapshot;
mod timers;
mod upkeep;
mod waiters;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use protocol::records::validate::ValidatedBatch;
use replica::{Acks, Actions, Input, LeaderEpochError, Produce, ProduceError, ProduceOk};
use runtime::sync::{Notify, oneshot};
use storage::FlushSet;
use types::{Mono, Now, PartitionIndex, TopicPartition};

use crate::core::Core;
use crate::node::NodeShared;

use coordinate::CoordinatorSlot;
use pressure::Pressure;
use replies::{Replies, Sink};
use slot::Slot;
use timers::Deadlines;

pub use coordinate::coordinate;
pub(crate) use coordinate::own_batch;
pub use figures::{GroupCounts, LogSize, ShardFigures};
pub use pressure::relieve_if_crowded;
pub use roles::apply;
pub use snapshot::{PartitionSnapshot, SnapshotQuery};
pub use timers::run as run_timers;
pub use upkeep::{close_all, unlink_deleted};
pub use waiters::FetchWaiter;

/// One partition's batch of a Produce request.
#[derive(Debug)]
pub struct ProduceItem {
    /// Where it goes.
    pub partition: TopicPartition,
    /// The batch, checked.
    pub batch: ValidatedBatch,
}

/// The answer for one item.
pub type ProduceOutcome = Result<ProduceOk, ProduceError>;

/// The partitions of one core.
pub struct Shard {
    node: Arc<NodeShared>,
    slots: BTreeMap<TopicPartition, Slot>,
    coordinators: BTreeMap<PartitionIndex, CoordinatorSlot>,
    replies: Replies,
    /// Partitions with appends that [`drain`] has to write.
    to_write: BTreeSet<TopicPartition>,
    /// Partitions of which the epoch history on disk lacks an epoch that has flushed records.
    unwritten_epochs: BTreeSet<TopicPartition>,
    /// Partitions that the next flush covers.
    to_flush: BTreeSet<TopicPartition>,
    pressure: Pressure,
    is_flushing: bool,
    flush_wanted: Rc<Notify>,
    /// Taken along by the task that flushes.
    flush_set: Option<FlushSet>,
    /// The partitions by the names of their directories, which flushes go by.
    names: BTreeMap<storage::PartitionName, TopicPartition>,
    /// Partitions of `__consumer_offsets` whose coordinators are to be loaded, and those being loaded.
    to_load: Vec<TopicPartition>,
    is_loading: BTreeSet<TopicPartition>,
    load_moved: Rc<Notify>,
    /// Deleted partitions whose logs are still busy.
    dying: BTreeMap<TopicPartition, Slot>,
    /// Logs that were deleted and whose files are to be unlinked.
    deleted: Vec<(storage::LogDirectory, storage::DeletedLog)>,
    /// Partitions that cannot be served, and why.
    fenced: BTreeMap<TopicPartition, String>,
    deadlines: Deadlines,
    timer_moved: Rc<Notify>,
    /// Emptied after each step; kept for its room.
    actions: Actions,
    events: VecDeque<Event>,
}

/// Something one machine's step means for another machine of the shard.
enum Event {
    /// An append of a coordinator was committed, or failed.
    CoordinatorAppend {
        partition: PartitionIndex,
        append: u64,
        outcome: ProduceOutcome,
    },
}

impl Shard {
    /// A shard without partitions.
    pub fn new(node: Arc<NodeShared>) -> Shard {
        let pressure = Pressure::new(
            node.directories[node.metadata_directory].files().clone(),
            node.directories.len(),
            node.limits.dirty_bytes_max,
            node.core_count(),
        );
        let journal_half_bytes = node.limits.journal_half_bytes;
        Shard {
            node,
            pressure,
            slots: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            replies: Replies::default(),
            to_write: BTreeSet::new(),
            unwritten_epochs: BTreeSet::new(),
            to_flush: BTreeSet::new(),
            is_flushing: false,
            flush_wanted: Rc::new(Notify::new()),
            flush_set: Some(FlushSet::new(journal_half_bytes)),
            names: BTreeMap::new(),
            to_load: Vec::new(),
            is_loading: BTreeSet::new(),
            load_moved: Rc::new(Notify::new()),
            dying: BTreeMap::new(),
            deleted: Vec::new(),
            fenced: BTreeMap::new(),
            deadlines: Deadlines::default(),
            timer_moved: Rc::new(Notify::new()),
            actions: Actions::new(),
            events: VecDeque::new(),
        }
    }

    /// Steps the replica of `partition`, shows it to the observer, and carries its actions out.
    fn step(&mut self, now: Now, partition: TopicPartition, input: Input) {
        let Some(slot) = self.slots.get_mut(&partition) else {
            return;
        };
        let mut actions = std::mem::take(&mut self.actions);
        slot.replica.step(now, input, &mut actions);
        self.node.observe_replica(partition, &slot.replica);
        self.carry_out(partition, &mut actions);
        self.actions = actions;
        self.note_deadline(partition);
    }

    fn append(&mut self, now: Now, item: ProduceItem, acks: Acks, deadline: Mono, sink: Sink) {
        let partition = item.partition;
        let Some(slot) = self.slots.get_mut(&partition) else {
            let error = match self.fenced.contains_key(&partition) {
                true => ProduceError::Leader(LeaderEpochError::StorageFailed),
                false => ProduceError::LeadershipLost,
            };
            self.replies.answer_sink(sink, Err(error), &mut self.events);
            return;
        };
        self.node.metrics.count(&slot.traffic, |t| &t.produces, 1);
        let token = self.replies.park(sink);
        let summary = slot::summary_of(&item.batch);
        slot.offer(token, item.batch);
        let produce = Produce {
            token,
            acks,
            expected_leader_epoch: None,
            deadline,
            batch: summary,
        };
        self.step(now, partition, Input::Produce(produce));
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.withdraw_offer();
        }
        if acks == Acks::None {
            // Answered by the write; if the machine has not refused it, there is nothing more to wait for.
            self.replies.answer_unless_done(token);
        }
    }
}

/// Takes in the batches of one request for this shard; `sender` gets their answers, in order, when all are there.
pub fn produce(
    core: &Rc<Core>,
    now: Now,
    items: Vec<ProduceItem>,
    acks: Acks,
    deadline: Mono,
    sender: oneshot::Sender<Vec<ProduceOutcome>>,
) {
    core.with_shard(|shard| {
        let request = shard.replies.begin(items.len(), sender);
        for (position, item) in items.into_iter().enumerate() {
            shard.append(
                now,
                item,
                acks,
                deadline,
                Sink::Produce { request, position },
            );
        }
        shard.handle_events(now);
    });
}

/// Writes out what was queued, and starts the flush that it needs.
pub fn drain(core: &Rc<Core>) {
    write::drain(core);
    flush::start_if_needed(core);
}
