//! Applies the metadata to a shard: opens, creates, deletes logs, and tells the machines what they lead.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use controller::Change;
use controller::image::TopicImage;
use replica::{Input, Leadership};
use storage::{LogDirectory, PartitionName, WriteError};
use types::{Now, TopicPartition};

use super::slot::Slot;
use super::{Shard, open};
use crate::core::Core;
use crate::image::Image;
use crate::topics;

/// Logs that a shard opens at the same time.
const OPENING_MAX: usize = 8;

/// Wait before a partition is taken up again for which there was no space.
const NO_SPACE_WAIT: Duration = Duration::from_secs(1);

/// Brings the shard of this core in line with `image`, in which `changes` have come about.
/// Ends when every new partition can be used.
pub async fn apply(core: Rc<Core>, image: Arc<Image>, changes: Arc<Vec<Change>>) {
    let mut to_open = VecDeque::new();
    for change in changes.iter() {
        match change {
            Change::TopicDeleted(topic) => delete_topic(&core, topic).await,
            Change::PartitionCreated(partition)
            | Change::PartitionChanged {
                partition,
                leadership: true,
            } if core.owner_of(*partition) == core.index => {
                to_open.push_back(*partition);
            }
            _ => {}
        }
    }
    if changes
        .iter()
        .any(|change| matches!(change, Change::ConfigChanged { .. }))
    {
        let now = core.now();
        core.with_shard(|shard| shard.apply_configs(now, &image));
    }
    open_all(&core, &image, to_open).await;
    super::coordinate::start_loads(&core);
    core.drain_shard();
}

async fn open_all(core: &Rc<Core>, image: &Arc<Image>, to_open: VecDeque<TopicPartition>) {
    let workers = to_open.len().min(OPENING_MAX);
    let queue = Rc::new(RefCell::new(to_open));
    let mut running = Vec::with_capacity(workers);
    for _ in 0..workers {
        let (core, image, queue) = (Rc::clone(core), Arc::clone(image), Rc::clone(&queue));
        running.push(runtime::task::spawn_local(async move {
            loop {
                let Some(partition) = queue.borrow_mut().pop_front() else {
                    return;
                };
                take_up(&core, &image, partition).await;
            }
        }));
    }
    for worker in running {
        let _ = worker.await;
    }
}

/// Tries again a little later to take up a partition for which there was no space, unless it is gone by then.
fn take_up_later(core: &Rc<Core>, partition: TopicPartition) {
    let core = Rc::clone(core);
    runtime::task::spawn_local(async move {
        runtime::time::sleep(NO_SPACE_WAIT).await;
        let is_wanted = core.with_shard(|shard| {
            shard.fenced.contains_key(&partition) && !shard.slots.contains_key(&partition)
        });
        if is_wanted {
            let image = core.node.image();
            take_up(&core, &image, partition).await;
            core.with_shard(|shard| {
                if shard.slots.contains_key(&partition) {
                    shard.fenced.remove(&partition);
                }
            });
            super::coordinate::start_loads(&core);
            core.drain_shard();
        }
    });
}

/// Makes sure that a partition has its slot, and tells the machine its role.
async fn take_up(core: &Rc<Core>, image: &Arc<Image>, partition: TopicPartition) {
    // What a later record of the same batch has deleted is not there.
    let Some(topic) = image.topic_by_id(partition.topic_id) else {
        return;
    };
    let Some(state) = topic.partition(partition.partition) else {
        return;
    };
    if !state.replicas.contains(&core.node.id) {
        return;
    }
    let is_open = core.with_shard(|shard| shard.slots.contains_key(&partition));
    if !is_open {
        match open::open(core, image, topic, partition).await {
            Ok(slot) => core.with_shard(|shard| shard.insert(partition, slot)),
            Err(error) => {
                tracing::error!(topic = %topic.name, partition = partition.partition, %error,
                    "the partition is not served");
                let name = Shard::name_of(&topic.name, partition);
                for (directory, _) in core.node.found(&name) {
                    core.node.left_unclean(&directory);
                }
                core.with_shard(|shard| shard.fenced.insert(partition, error.to_string()));
                if error.is_no_space() {
                    take_up_later(core, partition);
                }
                return;
            }
        }
    }
    let now = core.now();
    core.with_shard(|shard| {
        if state.leader == core.node.id {
            let leadership = Leadership {
                epoch: state.leader_epoch,
                replicas: state.replicas.clone(),
                isr: state.isr.clone(),
            };
            shard.step(now, partition, Input::BecomeLeader(leadership));
            if &*topic.name == topics::CONSUMER_OFFSETS {
                shard.elect_coordinator(now, partition, state.leader_epoch);
            }
        } else {
            shard.step(now, partition, Input::LeadershipLost);
            if &*topic.name == topics::CONSUMER_OFFSETS {
                shard.resign_coordinator(now, partition.partition);
            }
        }
        shard.handle_events(now);
    });
}

async fn delete_topic(core: &Rc<Core>, topic: &TopicImage) {
    let now = core.now();
    core.with_shard(|shard| {
        shard.forget_topic_offsets(now, &topic.name, topic.id);
        shard.handle_events(now);
    });
    for &index in topic.partitions.keys() {
        let partition = TopicPartition {
            topic_id: topic.id,
            partition: index,
        };
        if core.owner_of(partition) != core.index {
            continue;
        }
        // The files go in the background: the topic is gone for its clients already, and its name is kept from a new
        // one until they are out of the way.
        match core.with_shard(|shard| shard.take_out(now, partition)) {
            // The job that is under way brings the log back when it ends.
            Some(slot) if slot.is_busy => core.with_shard(|shard| {
                shard.dying.insert(partition, slot);
            }),
            Some(slot) => {
                runtime::task::spawn_local(delete_log(Rc::clone(core), slot));
            }
            None => {
                let name = Shard::name_of(&topic.name, partition);
                runtime::task::spawn_local(delete_unopened(Rc::clone(core), name));
            }
        }
    }
}

/// Deletes what there is of a partition that is gone and could not be opened.
async fn delete_unopened(core: Rc<Core>, name: PartitionName) {
    // No topic has this name now, so all of them may go.
    for (directory, _) in core.node.found(&name) {
        if let Err(error) = delete_found(&core, &directory, &name).await {
            tracing::error!(partition = %name, %error, "a deleted log stays");
        }
    }
    core.node.free_name(&name);
}

/// Deletes a log that was found in this directory and is of no topic that there is.
pub(super) async fn delete_found(
    core: &Core,
    directory: &LogDirectory,
    name: &PartitionName,
) -> Result<(), WriteError> {
    let unique = core.node.random_uuid();
    let deleted = directory.delete_unopened(core.now(), name, unique).await?;
    core.node.forget_found(name, directory);
    core.with_shard(|shard| shard.deleted.push((directory.clone(), deleted)));
    Ok(())
}

/// Deletes the log of a partition that is gone.
pub(super) async fn delete_log(core: Rc<Core>, mut slot: Slot) {
    let unique = core.node.random_uuid();
    let finished = slot.log.begin_delete(core.now(), unique).await;
    let directory = slot.log.directory().clone();
    match slot.log.finish(finished) {
        Ok(deleted) => core.with_shard(|shard| shard.deleted.push((directory, deleted))),
        Err(error) => {
            tracing::error!(topic = %slot.topic, %error, "a deleted partition's log stays");
        }
    }
    core.node.free_name(slot.log.name());
}

impl Shard {
    fn insert(&mut self, partition: TopicPartition, mut slot: Slot) {
        self.count_in(&mut slot);
        let name = slot.log.name().clone();
        self.fenced.remove(&partition);
        self.names.insert(name, partition);
        self.node.metrics.partitions.add(1);
        slot.hold_proven_offset();
        let previous = self.slots.insert(partition, slot);
        assert!(previous.is_none(), "a partition is opened once");
        self.note_unwritten_epochs(partition);
    }

    /// Takes a partition away: whoever waits for it is answered.
    fn take_out(&mut self, now: Now, partition: TopicPartition) -> Option<Slot> {
        self.fenced.remove(&partition);
        let topic = self.slots.get(&partition)?.topic.clone();
        self.step(now, partition, Input::LeadershipLost);
        self.handle_events(now);
        if &*topic == topics::CONSUMER_OFFSETS {
            self.resign_coordinator(now, partition.partition);
            self.coordinators.remove(&partition.partition);
        }
        let mut slot = self.remove_slot(partition).expect("it was just there");
        slot.waiters.wake_all();
        self.forget_deadline(partition);
        self.to_write.remove(&partition);
        self.to_flush.remove(&partition);
        self.node.metrics.partitions.add(-1);
        Some(slot)
    }

    /// Tells every machine and log whose configs changed.
    fn apply_configs(&mut self, now: Now, image: &Image) {
        let partitions: Vec<_> = self.slots.keys().copied().collect();
        for partition in partitions {
            let slot = self.slots.get_mut(&partition).expect("it was just there");
            let config = image.topic_config(&slot.topic);
            if slot.config == *config {
                continue;
            }
            slot.config = Arc::clone(config);
            slot.log.set_config(config.log.clone());
            let changed = Input::ConfigChanged(config.replica.clone());
            self.step(now, partition, changed);
        }
        let groups = image.broker_config().groups;
        let coordinators: Vec<_> = self.coordinators.keys().copied().collect();
        for partition in coordinators {
            let configure = coordinator::groups::Input::Configure(groups);
            self.step_coordinator(now, partition, configure);
        }
        self.handle_events(now);
    }

    /// The name of a partition's directory.
    pub(super) fn name_of(topic: &str, partition: TopicPartition) -> PartitionName {
        PartitionName::new(topic, partition.partition)
    }
}
