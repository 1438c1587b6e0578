//! Carries out what a partition's machine wants done, in order.

use replica::{Action, Actions};
use types::{Note, Now, TopicPartition};

use super::slot::Job;
use super::{Event, Shard};

impl Shard {
    pub(super) fn carry_out(&mut self, partition: TopicPartition, actions: &mut Actions) {
        for action in actions.drain() {
            self.carry_out_one(partition, action);
        }
    }

    fn carry_out_one(&mut self, partition: TopicPartition, action: Action) {
        let slot = self
            .slots
            .get_mut(&partition)
            .expect("a machine that was stepped has a slot");
        match action {
            Action::Append {
                token,
                base_offset,
                leader_epoch,
            } => {
                let header = slot.take_offer(token, base_offset, leader_epoch);
                let metrics = &self.node.metrics;
                let records = u64::try_from(header.record_count).unwrap_or(0);
                metrics.count(&slot.traffic, |t| &t.messages_in, records);
                metrics.count(&slot.traffic, |t| &t.bytes_in, header.size_bytes() as u64);
                if let Some(observer) = self.node.observer() {
                    observer.appending(partition, &header);
                }
                self.to_write.insert(partition);
            }
            Action::DropAppends { from_offset } => {
                let is_above = slot
                    .queue
                    .iter()
                    .all(|batch| batch.header.base_offset >= from_offset);
                assert!(is_above, "appends below {from_offset} were written");
                slot.queue.clear();
            }
            Action::Reply { token, result } => {
                if let Err(error) = &result {
                    let metrics = &self.node.metrics;
                    metrics.count(&slot.traffic, |t| &t.failed_produces, 1);
                    tracing::debug!(topic = %slot.topic, partition = partition.partition, %error, "refused");
                }
                self.replies.answer(token, result, &mut self.events);
            }
            Action::AdvanceLogStart { offset } => {
                slot.push_job(Job::AdvanceLogStart(offset));
                self.to_write.insert(partition);
            }
            Action::ReplyDeleteRecords { token, result } => {
                self.replies.answer_deletion(token, result);
            }
            Action::HighWatermark { .. } => {
                slot.waiters.wake_all();
                self.wake_loading(partition);
            }
            Action::LastStable { .. } => slot.waiters.wake_all(),
            Action::NeedFlush { .. } => {
                self.to_flush.insert(partition);
            }
            Action::WriteEpochs => {
                slot.hold_proven_offset();
                self.note_unwritten_epochs(partition);
            }
            Action::Note(note) => {
                trace(partition, &note);
                if let Some(observer) = self.node.observer() {
                    let of = format!("{}-{}", partition.topic_id, partition.partition);
                    observer.noted(note.what, &of);
                }
            }
        }
    }

    pub(super) fn handle_events(&mut self, now: Now) {
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::CoordinatorAppend {
                    partition,
                    append,
                    outcome,
                } => {
                    self.coordinator_append_ended(now, partition, append, outcome);
                }
            }
        }
    }
}

fn trace(partition: TopicPartition, note: &Note) {
    tracing::trace!(
        topic_id = %partition.topic_id,
        partition = partition.partition,
        figures = ?note.figures,
        "{}",
        note.what
    );
}
