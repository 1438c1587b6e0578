//! The group commit: every log of the shard that waits is flushed, all together, each log once at a time.
//!
//! What is appended while a log's flush is under way is covered by its next one. Flushes end one by one, so that a
//! slow file delays only its own partition.

use std::rc::Rc;

use replica::Input;
use storage::FlushedLog;
use types::{Now, TopicPartition};

use super::Shard;
use crate::core::Core;

/// Starts the flush task if something waits for it and it does not run; else wakes it.
pub(super) fn start_if_needed(core: &Rc<Core>) {
    let must_start = core.with_shard(|shard| {
        if shard.to_flush.is_empty() {
            return false;
        }
        if shard.is_flushing {
            shard.flush_wanted.notify_one();
            return false;
        }
        shard.is_flushing = true;
        true
    });
    if must_start {
        runtime::task::spawn_local(run(Rc::clone(core)));
    }
}

/// Flushes until nothing waits.
async fn run(core: Rc<Core>) {
    let wanted = core.with_shard(|shard| Rc::clone(&shard.flush_wanted));
    let mut set = core.with_shard(|shard| shard.flush_set.take().expect("only this task takes it"));
    loop {
        let handles = core.with_shard(Shard::begin_flushes);
        if !handles.is_empty() {
            core.node.metrics.flushes.add(1);
            core.node.metrics.flushed_logs.add(handles.len() as u64);
            set.extend(handles);
        }
        if set.is_empty() {
            core.with_shard(|shard| {
                shard.is_flushing = false;
                shard.flush_set = Some(set);
            });
            return;
        }
        let ended = runtime::select! {
            biased;
            ended = set.next() => ended,
            () = wanted.notified() => continue,
        };
        let now = core.now();
        core.with_shard(|shard| {
            if let Some(flushed) = ended {
                shard.end_flush(now, flushed);
                shard.release_held();
            }
            shard.handle_events(now);
        });
        super::write::drain(&core);
    }
}

impl Shard {
    fn begin_flushes(&mut self) -> Vec<storage::FlushHandle> {
        let mut handles = Vec::new();
        for partition in std::mem::take(&mut self.to_flush) {
            let Some(slot) = self.slots.get_mut(&partition) else {
                continue;
            };
            if slot.is_flushing {
                // Begun again when the present one has ended.
                slot.must_flush_again = true;
                continue;
            }
            slot.is_flushing = true;
            handles.push(slot.log.begin_flush());
        }
        handles
    }

    fn end_flush(&mut self, now: Now, flushed: FlushedLog) {
        let Some(partition) = self.partition_named(flushed.name()) else {
            return;
        };
        let slot = self.slots.get_mut(&partition).expect("it was just found");
        if !flushed.is_of(&slot.log) {
            // The log of an earlier topic of this name.
            return;
        }
        if flushed.is_settlement() {
            if flushed.result().is_ok() {
                slot.log.complete_flush(&flushed);
                self.note_unwritten_epochs(partition);
            }
            return;
        }
        slot.is_flushing = false;
        if std::mem::take(&mut slot.must_flush_again) {
            self.to_flush.insert(partition);
        }
        let generation = flushed.generation();
        match flushed.result() {
            Ok(end_offset) => {
                slot.log.complete_flush(&flushed);
                self.note_unwritten_epochs(partition);
                self.recount(partition);
                self.step(
                    now,
                    partition,
                    Input::Flushed {
                        end_offset,
                        generation,
                    },
                );
            }
            Err(failure) => self.close_directory(now, &failure),
        }
    }

    fn partition_named(&self, name: &storage::PartitionName) -> Option<TopicPartition> {
        self.names.get(name).copied()
    }
}
