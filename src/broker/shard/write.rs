//! Writes what the machines have asked for: appends first, then the log's other jobs, one job a log at a time.

use std::rc::Rc;

use replica::{AppendError, Input};
use storage::{Appended, Finished, LogJob, WriteError};
use types::{LeaderEpoch, Now, Offset, TopicPartition};

use super::Shard;
use super::epochs::EpochsJob;
use super::slot::Job;
use crate::core::Core;

type Retained = Result<storage::Retained, WriteError>;
type AppendResult = Result<Appended, storage::AppendError>;

/// A job that did not end at once.
enum Running {
    Append(Offset, LogJob<AppendResult>),
    /// The log start is moved, or retention looked at.
    Retain(LogJob<Retained>),
    Unlink(LogJob<Result<usize, WriteError>>),
    Epochs(EpochsJob),
}

/// The end of one.
enum Ended {
    Append(Offset, Finished<AppendResult>),
    Retain(Finished<Retained>),
    Unlink(Finished<Result<usize, WriteError>>),
    Epochs(LeaderEpoch, Finished<Result<(), WriteError>>),
}

impl Running {
    fn try_take(self) -> Result<Ended, Running> {
        match self {
            Running::Append(from, job) => match job.try_take() {
                Ok(finished) => Ok(Ended::Append(from, finished)),
                Err(job) => Err(Running::Append(from, job)),
            },
            Running::Retain(job) => match job.try_take() {
                Ok(finished) => Ok(Ended::Retain(finished)),
                Err(job) => Err(Running::Retain(job)),
            },
            Running::Unlink(job) => match job.try_take() {
                Ok(finished) => Ok(Ended::Unlink(finished)),
                Err(job) => Err(Running::Unlink(job)),
            },
            Running::Epochs((newest, job)) => match job.try_take() {
                Ok(finished) => Ok(Ended::Epochs(newest, finished)),
                Err(job) => Err(Running::Epochs((newest, job))),
            },
        }
    }

    async fn ended(self) -> Ended {
        match self {
            Running::Append(from, job) => Ended::Append(from, job.await),
            Running::Retain(job) => Ended::Retain(job.await),
            Running::Unlink(job) => Ended::Unlink(job.await),
            Running::Epochs((newest, job)) => Ended::Epochs(newest, job.await),
        }
    }
}

impl Ended {
    /// Gives a log that is to be deleted its parts back; what the job did is of no interest any more.
    fn bring_back(self, log: &mut storage::Log) {
        match self {
            Ended::Append(_, finished) => drop(log.finish(finished)),
            Ended::Retain(finished) => drop(log.finish(finished)),
            Ended::Unlink(finished) => drop(log.finish(finished)),
            Ended::Epochs(_, finished) => drop(log.finish(finished)),
        }
    }
}

/// Begins the work of every partition that has some.
pub(super) fn drain(core: &Rc<Core>) {
    loop {
        let now = core.now();
        let running = core.with_shard(|shard| {
            let running = shard.begin_all(now);
            shard.handle_events(now);
            running
        });
        for (partition, running) in running {
            runtime::task::spawn_local(finish_later(Rc::clone(core), partition, running));
        }
        // Ended appends may have made coordinators append again.
        if core.with_shard(|shard| shard.to_write.is_empty()) {
            return;
        }
    }
}

async fn finish_later(core: Rc<Core>, partition: TopicPartition, running: Running) {
    let ended = running.ended().await;
    let now = core.now();
    let dying = core.with_shard(|shard| {
        let dying = shard.dying.remove(&partition);
        if dying.is_none() {
            if let Some(slot) = shard.slots.get_mut(&partition) {
                slot.is_busy = false;
            }
            shard.end(now, partition, ended);
            shard.to_write.insert(partition);
            return None;
        }
        dying.map(|slot| (slot, ended))
    });
    if let Some((mut slot, ended)) = dying {
        ended.bring_back(&mut slot.log);
        super::roles::delete_log(Rc::clone(&core), slot).await;
    }
    core.drain_shard();
}

impl Shard {
    /// Begins what can be begun; gives back the jobs that did not end at once.
    fn begin_all(&mut self, now: Now) -> Vec<(TopicPartition, Running)> {
        let mut later = Vec::new();
        for partition in std::mem::take(&mut self.to_write) {
            while let Some(running) = self.begin_next(now, partition) {
                match running.try_take() {
                    Ok(ended) => self.end(now, partition, ended),
                    Err(running) => {
                        self.slots
                            .get_mut(&partition)
                            .expect("it has a job")
                            .is_busy = true;
                        later.push((partition, running));
                        break;
                    }
                }
            }
        }
        self.relieve();
        later
    }

    fn begin_next(&mut self, now: Now, partition: TopicPartition) -> Option<Running> {
        let slot = self.slots.get_mut(&partition)?;
        if !slot.has_work() {
            return None;
        }
        // Its other jobs go on: they may be what makes room.
        let may_append = !slot.queue.is_empty() && !self.hold_back(partition);
        if may_append {
            self.note_opening(partition);
        }
        let slot = self.slots.get_mut(&partition)?;
        if may_append {
            let room = self.pressure.room(slot);
            let batches = slot.take_queued(room);
            let from = batches[0].header.base_offset;
            return Some(Running::Append(from, slot.log.begin_append(now, batches)));
        }
        match slot.jobs.pop_front()? {
            Job::AdvanceLogStart(offset) => {
                let producers = |end| Some(slot.replica.producer_snapshot(end));
                let job = slot.log.begin_advance_log_start(now, offset, producers);
                Some(Running::Retain(job))
            }
            Job::Retain => {
                let upper_offset = slot.replica.view().high_watermark;
                let producers = |end| slot.replica.producer_snapshot(end);
                let job = slot.log.begin_retention(now, upper_offset, producers);
                Some(Running::Retain(job))
            }
            Job::Unlink => Some(Running::Unlink(slot.log.begin_remove_deleted(now))),
            Job::WriteEpochs => match slot.begin_write_epochs() {
                Some(job) => Some(Running::Epochs(job)),
                None => self.begin_next(now, partition),
            },
        }
    }

    fn end(&mut self, now: Now, partition: TopicPartition, ended: Ended) {
        self.opened(partition);
        let Some(slot) = self.slots.get_mut(&partition) else {
            return;
        };
        match ended {
            Ended::Append(from, finished) => {
                let result = slot.log.finish(finished);
                self.recount(partition);
                self.appended(now, partition, from, result);
            }
            Ended::Unlink(finished) => {
                if let Err(error) = slot.log.finish(finished) {
                    self.write_failed(now, partition, &error);
                }
            }
            Ended::Epochs(newest, finished) => {
                let result = slot.log.finish(finished);
                self.epochs_written(now, partition, newest, result);
            }
            Ended::Retain(finished) => match slot.log.finish(finished) {
                Ok(retained) => {
                    let log_start = retained.log_start_offset;
                    if log_start > slot.replica.view().log_start {
                        self.step(now, partition, Input::LogStartMoved { log_start });
                    }
                }
                Err(error) => self.write_failed(now, partition, &error),
            },
        }
    }

    fn appended(
        &mut self,
        now: Now,
        partition: TopicPartition,
        from_offset: Offset,
        result: AppendResult,
    ) {
        let slot = self.slots.get_mut(&partition).expect("it has appended");
        match result {
            Ok(appended) => {
                if appended.has_rolled {
                    self.snapshot_producers(partition, appended.log_end_offset);
                    self.to_flush.insert(partition);
                }
                let end_offset = appended.log_end_offset;
                self.step(now, partition, Input::Appended { end_offset });
            }
            Err(storage::AppendError::Write(WriteError::NoSpace(path))) => {
                tracing::error!(topic = %slot.topic, partition = partition.partition, path = %path.display(),
                    "no space left: the append is refused, reads go on");
                let generation = slot.log.generation();
                let error = AppendError::NoSpace;
                let failed = Input::AppendFailed {
                    from_offset,
                    generation,
                    error,
                };
                self.step(now, partition, failed);
            }
            Err(storage::AppendError::Write(error)) => self.write_failed(now, partition, &error),
            Err(error) => panic!("the machine and the log disagree: {error}"),
        }
    }

    pub(super) fn write_failed(&mut self, now: Now, partition: TopicPartition, error: &WriteError) {
        match error {
            WriteError::DirectoryFailed(failure) => self.close_directory(now, failure),
            WriteError::NoSpace(path) => {
                let topic = self.slots.get(&partition).map(|slot| slot.topic.as_ref());
                tracing::error!(topic, partition = partition.partition, path = %path.display(),
                    "no space left: tried again at the next change");
            }
        }
    }
}
