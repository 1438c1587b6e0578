//! A shard's own upkeep: retention, unlinking, producer snapshots, closing.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use replica::Input;
use storage::{DirectoryFailure, WriteError};
use types::{ErrorCode, Mono, Now, Offset, TopicPartition};

use super::Shard;
use super::slot::{Job, Slot};
use super::timers::Machine;
use crate::core::Core;
use crate::topics;

/// How often, and how many times, it is looked whether a log that is to be closed is idle.
const IDLE_STEP: Duration = Duration::from_millis(5);
const IDLE_STEPS_MAX: usize = 1000;

impl Shard {
    /// Has every log look at its retention.
    pub fn retain_all(&mut self) {
        for (partition, slot) in &mut self.slots {
            slot.push_job(Job::Retain);
            self.to_write.insert(*partition);
        }
    }

    /// Has every log synced that has flushed records in a journal alone: then recovery may begin behind them.
    pub fn settle_journaled(&mut self) {
        for (partition, slot) in &mut self.slots {
            if slot.log.settle() {
                self.to_flush.insert(*partition);
            }
        }
    }

    /// Notes every high watermark in its directory's checkpoint.
    pub fn note_high_watermarks(&self) {
        for slot in self.slots.values() {
            let high_watermark = slot.replica.view().high_watermark;
            let checkpoint = slot.log.directory().high_watermarks();
            if checkpoint.get(slot.log.name()) != Some(high_watermark) {
                checkpoint.set(slot.log.name(), high_watermark);
            }
        }
    }

    /// Why a partition that has no slot is not served.
    pub(super) fn missing_error(&self, partition: TopicPartition) -> ErrorCode {
        match self.fenced.contains_key(&partition) {
            true => ErrorCode::KafkaStorageError,
            false => ErrorCode::NotLeaderOrFollower,
        }
    }

    pub(super) fn forget_deadline(&mut self, partition: TopicPartition) {
        self.deadlines.set(Machine::Replica(partition), Mono::NEVER);
    }

    /// Writes the producers at `offset` down, in the background: recovery begins from there.
    pub(super) fn snapshot_producers(&mut self, partition: TopicPartition, offset: Offset) {
        let Some(slot) = self.slots.get(&partition) else {
            return;
        };
        let content = slot.replica.producer_snapshot(offset);
        let files = slot.log.partition_files();
        runtime::task::spawn_local(async move {
            if let Err(error) = files.write_producer_snapshot(offset, content).await {
                tracing::warn!(%error, "a producer snapshot is not written: recovery takes longer");
            }
        });
    }

    /// A log directory has failed: none of its partitions is served any more.
    pub(super) fn close_directory(&mut self, now: Now, failure: &Arc<DirectoryFailure>) {
        let in_it = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.log.directory().failure().is_some());
        let partitions: Vec<_> = in_it.map(|(partition, _)| *partition).collect();
        if partitions.is_empty() && self.node.directories.iter().all(|d| d.failure().is_none()) {
            // A log that was deleted meanwhile: its names are gone, its directory is well.
            tracing::debug!(%failure, "a deleted partition's file is gone");
            return;
        }
        tracing::error!(%failure, partitions = partitions.len(), "a log directory is closed");
        for partition in partitions {
            self.step(now, partition, Input::LogFailed);
            let Some(mut slot) = self.remove_slot(partition) else {
                continue;
            };
            if &*slot.topic == topics::CONSUMER_OFFSETS {
                self.resign_coordinator(now, partition.partition);
                self.coordinators.remove(&partition.partition);
            }
            slot.waiters.wake_all();
            self.forget_deadline(partition);
            self.fenced.insert(partition, failure.to_string());
            self.node.metrics.partitions.add(-1);
        }
        self.node.directory_failed(failure);
    }
}

/// Unlinks the files of deleted segments and logs whose delay is over.
pub async fn unlink_deleted(core: &Rc<Core>) {
    let now = core.now();
    let due = core.with_shard(|shard| {
        for (partition, slot) in &mut shard.slots {
            if slot.log.removal_due().is_some_and(|due| due <= now.mono) {
                slot.push_job(Job::Unlink);
                shard.to_write.insert(*partition);
            }
        }
        let (due, later) = std::mem::take(&mut shard.deleted)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, deleted)| deleted.due <= now.mono);
        shard.deleted = later;
        due
    });
    core.drain_shard();
    for (directory, deleted) in due {
        if let Err(error) = directory.remove_deleted(&deleted.directory_name).await {
            tracing::warn!(%error, "the files of a deleted partition stay");
        }
    }
}

/// Makes every log of the shard durable and complete, as a clean stop leaves it.
pub async fn close_all(core: &Rc<Core>) {
    let partitions: Vec<_> = core.with_shard(|shard| shard.slots.keys().copied().collect());
    for partition in partitions {
        wait_idle(core, partition).await;
        let now = core.now();
        let slot = core.with_shard(|shard| {
            shard.step(now, partition, Input::LeadershipLost);
            shard.handle_events(now);
            shard.remove_slot(partition)
        });
        let Some(mut slot) = slot else { continue };
        if slot.is_busy {
            tracing::warn!(topic = %slot.topic, "a log is busy while the node stops: it is recovered at the next start");
            core.node.left_unclean(slot.log.directory());
            continue;
        }
        let end = slot.replica.view().log_end;
        let snapshot = slot.replica.producer_snapshot(end);
        let files = slot.log.partition_files();
        let finished = slot.log.begin_close().await;
        let closed = slot.log.finish(finished).map(|_| ());
        let epochs = write_epochs(&mut slot).await;
        let producers = files.write_producer_snapshot(end, snapshot).await;
        if let Err(error) = closed.and(epochs).and(producers) {
            tracing::error!(topic = %slot.topic, %error, "a log is not closed cleanly");
            core.node.left_unclean(slot.log.directory());
        }
        let name = slot.log.name().clone();
        slot.log
            .directory()
            .high_watermarks()
            .set(&name, slot.replica.view().high_watermark);
    }
}

async fn write_epochs(slot: &mut Slot) -> Result<(), WriteError> {
    let Some((newest, job)) = slot.begin_write_epochs() else {
        return Ok(());
    };
    let finished = job.await;
    slot.log.finish(finished)?;
    slot.epochs_written(newest);
    Ok(())
}

/// Waits a little for a job of the log that is under way.
async fn wait_idle(core: &Rc<Core>, partition: TopicPartition) {
    for _ in 0..IDLE_STEPS_MAX {
        let is_busy = core.with_shard(|shard| {
            shard
                .slots
                .get(&partition)
                .is_some_and(|slot| slot.is_busy || slot.has_work())
        });
        if !is_busy {
            return;
        }
        core.drain_shard();
        runtime::time::sleep(IDLE_STEP).await;
    }
}
