//! What only a leader does: accept batches, advance the high watermark.

use types::{LeaderEpoch, Mono, Now, Offset};

use crate::machine::{Role, Undo, refuse};
use crate::parked::{ParkedDeletion, ParkedProduce, Wait};
use crate::{
    Acks, Action, Actions, DeleteRecordsError, Durability, LeaderEpochError, Leadership, Origin,
    Position, Produce, ProduceError, Progress, Replica, SequenceVerdict,
};

/// What a leader knows beyond its log.
#[derive(Debug)]
pub(crate) struct Leader {
    pub epoch: LeaderEpoch,
    /// The log's end when the epoch began.
    pub epoch_start: Offset,
    pub progress: Progress,
}

impl Replica {
    pub(crate) fn become_leader(&mut self, leadership: Leadership, actions: &mut Actions) {
        assert!(
            leadership.epoch >= self.leader_epoch.max(0),
            "leader epoch {} after {}",
            leadership.epoch,
            self.leader_epoch
        );
        assert!(
            leadership.isr.contains(&self.node),
            "a leader is in its own ISR"
        );
        if matches!(self.role, Role::Failed) {
            return actions.note(
                "leadership of a failed log",
                &[epoch_figure(leadership.epoch)],
            );
        }
        let progress = Progress::new(&leadership);
        match &mut self.role {
            Role::Leader(leader) if leader.epoch == leadership.epoch => {
                leader.progress = progress;
            }
            _ => self.begin_epoch(leadership.epoch, progress, actions),
        }
        self.advance_high_watermark(actions);
        let is_behind = self.log.flushed < self.log.written;
        if self.config.durability == Durability::Flushed && is_behind {
            actions.push(Action::NeedFlush { awaited: true });
        }
    }

    fn begin_epoch(&mut self, epoch: LeaderEpoch, progress: Progress, actions: &mut Actions) {
        // An append of an older epoch is never acknowledged in a newer one: this leader cannot tell what happened between.
        self.abandon_parked(
            ProduceError::LeadershipLost,
            LeaderEpochError::NotLeader,
            actions,
        );
        actions.note(
            "leader",
            &[epoch_figure(epoch), ("epoch start", self.log.assigned)],
        );
        if epoch == self.leader_epoch {
            // Only metadata that failed to bump the epoch over a restart does this: offsets above what survived are given twice.
            actions.note("leadership resumed in an old epoch", &[epoch_figure(epoch)]);
        }
        self.leader_epoch = epoch;
        let epoch_start = self.log.assigned;
        // The epoch begins now, not at its first append: followers of a leader that never wrote must find it.
        if self.epochs.assign(epoch, epoch_start) {
            actions.push(Action::WriteEpochs);
        }
        self.role = Role::Leader(Leader {
            epoch,
            epoch_start,
            progress,
        });
    }

    pub(crate) fn leadership_lost(&mut self, actions: &mut Actions) {
        if matches!(self.role, Role::Failed) {
            return;
        }
        self.role = Role::Idle;
        actions.note("leadership lost", &[epoch_figure(self.leader_epoch)]);
        self.abandon_parked(
            ProduceError::LeadershipLost,
            LeaderEpochError::NotLeader,
            actions,
        );
        assert_eq!(self.parked.len(), 0, "requests are parked without a leader");
    }

    pub(crate) fn produce(&mut self, now: Now, produce: Produce, actions: &mut Actions) {
        if produce.batch.is_transactional || produce.batch.is_control {
            return refuse(produce.token, ProduceError::TransactionalBatch, actions);
        }
        self.accept(now, produce, Origin::Client, actions);
    }

    pub(crate) fn internal_append(&mut self, now: Now, produce: Produce, actions: &mut Actions) {
        assert!(
            produce.expected_leader_epoch.is_some(),
            "an internal append names the epoch it was decided in"
        );
        assert!(
            !produce.batch.is_transactional && !produce.batch.is_control,
            "coordinators append plain batches"
        );
        self.accept(now, produce, Origin::Coordinator, actions);
    }

    fn accept(&mut self, now: Now, produce: Produce, origin: Origin, actions: &mut Actions) {
        match self.judge(&produce, origin) {
            Ok((epoch, SequenceVerdict::Append)) => self.append(now, epoch, produce, actions),
            Ok((_, SequenceVerdict::Duplicate(range))) => {
                actions.note("duplicate", &[("base offset", range.base_offset())]);
                let log_append_time = produce.batch.log_append_time.map(|_| range.timestamp);
                let wrong = i64::from(types::planted!(CachedOffsetWrong));
                let (base, mut end) = (range.base_offset() + wrong, range.last_offset + 1);
                if end > self.high_watermark && types::planted!(DuplicateBeforeFlush) {
                    end = self.high_watermark;
                }
                self.park_or_acknowledge(&produce, base, end, log_append_time, actions);
            }
            Err(error) => refuse(produce.token, error, actions),
        }
    }

    fn judge(
        &self,
        produce: &Produce,
        origin: Origin,
    ) -> Result<(LeaderEpoch, SequenceVerdict), ProduceError> {
        let leader = self.require_leader(produce.expected_leader_epoch)?;
        let min_insync_replicas = self.config.min_insync_replicas;
        if produce.acks == Acks::All && leader.progress.is_under_min_isr(min_insync_replicas) {
            let (in_sync, required) = insync_figures(&leader.progress, min_insync_replicas);
            return Err(ProduceError::NotEnoughReplicas { in_sync, required });
        }
        if !produce.batch.has_producer_id() {
            return Ok((leader.epoch, SequenceVerdict::Append));
        }
        Ok((leader.epoch, self.producers.judge(&produce.batch, origin)?))
    }

    fn append(&mut self, now: Now, epoch: LeaderEpoch, produce: Produce, actions: &mut Actions) {
        let Produce { token, batch, .. } = produce;
        assert!(
            batch.last_offset_delta >= 0,
            "a validated batch has an offset for its record"
        );
        let base_offset = self.log.assigned;
        let end_offset = batch.last_offset(base_offset) + 1;
        if batch.has_producer_id() {
            let before = self.producers.append(base_offset, &batch, now.wall);
            let producer_id = batch.producer_id;
            if before.is_none() && batch.base_sequence > 0 {
                let figures = [("sequence", i64::from(batch.base_sequence))];
                actions.note("an unknown producer goes on", &figures);
            }
            self.undo.push_back(Undo {
                base_offset,
                end_offset,
                producer_id,
                before,
            });
        }
        self.log.assigned = end_offset;
        actions.push(Action::Append {
            token,
            base_offset,
            leader_epoch: epoch,
        });
        self.park_or_acknowledge(
            &produce,
            base_offset,
            end_offset,
            batch.log_append_time,
            actions,
        );
        assert!(
            self.log.written < self.log.assigned,
            "an append was assigned below the log's end"
        );
    }

    fn park_or_acknowledge(
        &mut self,
        produce: &Produce,
        base_offset: Offset,
        end_offset: Offset,
        log_append_time: Option<i64>,
        actions: &mut Actions,
    ) {
        let silent = produce.acks == Acks::None;
        let (wait, held) = match produce.acks {
            Acks::None | Acks::Leader => (Wait::Written, self.log.written),
            Acks::All => (Wait::Committed, self.high_watermark),
        };
        let parked = ParkedProduce {
            token: produce.token,
            base_offset,
            end_offset,
            wait,
            silent,
            deadline: if silent {
                Mono::NEVER
            } else {
                produce.deadline
            },
            log_append_time,
        };
        if end_offset <= held {
            self.acknowledge(parked, actions);
        } else {
            self.parked.park(parked);
        }
    }

    /// Recomputes the high watermark from what every in-sync replica holds, and answers what it reaches. It never goes back,
    /// and does not move while the ISR is smaller than `min.insync.replicas` (KIP-966).
    pub(crate) fn advance_high_watermark(&mut self, actions: &mut Actions) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let own = Position {
            log_end: self.log.written,
            flushed: self.log.flushed,
        };
        leader.progress.record(self.node, own);
        let held = leader.progress.held_by_all(self.config.durability);
        if held <= self.high_watermark {
            return;
        }
        if leader
            .progress
            .is_under_min_isr(self.config.min_insync_replicas)
        {
            return actions.note(
                "high watermark held below the minimum ISR",
                &[("held", held)],
            );
        }
        assert!(
            held <= self.log.written,
            "others hold more than the leader wrote"
        );
        self.high_watermark = held;
        actions.push(Action::HighWatermark { offset: held });
        self.producers.decide_below(held);
        self.advance_last_stable(actions);
        while let Some(produce) = self.parked.take_reached(Wait::Committed, held) {
            self.acknowledge(produce, actions);
        }
    }

    pub(crate) fn advance_last_stable(&mut self, actions: &mut Actions) {
        let bound = self.stable_bound();
        assert!(
            bound >= self.last_stable,
            "the last stable offset went back to {bound}"
        );
        assert!(
            bound <= self.high_watermark,
            "the last stable offset passed the high watermark"
        );
        if bound > self.last_stable {
            self.last_stable = bound;
            actions.push(Action::LastStable { offset: bound });
        }
    }

    pub(crate) fn delete_records(
        &mut self,
        token: u64,
        offset: Offset,
        deadline: Mono,
        actions: &mut Actions,
    ) {
        match self.judge_deletion(offset) {
            Err(error) => {
                actions.push(Action::ReplyDeleteRecords {
                    token,
                    result: Err(error),
                });
            }
            Ok(offset) if offset <= self.log.start => {
                let result = Ok(self.log.start);
                actions.push(Action::ReplyDeleteRecords { token, result });
            }
            Ok(offset) => {
                assert!(
                    offset <= self.high_watermark,
                    "deletion above the high watermark"
                );
                self.parked.park_deletion(ParkedDeletion {
                    token,
                    offset,
                    deadline,
                });
                actions.push(Action::AdvanceLogStart { offset });
            }
        }
    }

    fn judge_deletion(&self, offset: Offset) -> Result<Offset, DeleteRecordsError> {
        self.require_leader(None)?;
        let high_watermark = self.high_watermark;
        match offset {
            -1 if high_watermark < self.log.written
                && types::planted!(DeletedAboveHighWatermark) =>
            {
                Ok(self.log.written)
            }
            -1 => Ok(high_watermark),
            offset if (0..=high_watermark).contains(&offset) => Ok(offset),
            offset => Err(DeleteRecordsError::OutOfRange {
                offset,
                high_watermark,
            }),
        }
    }
}

fn epoch_figure(epoch: LeaderEpoch) -> (&'static str, i64) {
    ("epoch", i64::from(epoch))
}

fn insync_figures(progress: &Progress, min_insync_replicas: u32) -> (u32, u32) {
    let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    (
        narrow(progress.isr().len()),
        narrow(progress.effective_min_isr(min_insync_replicas)),
    )
}
