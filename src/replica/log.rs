//! What the driver reports of the log: appends, flushes, failures, a new start.

use types::{Mono, Now, Offset};

use crate::machine::{BackgroundFlush, Role, refuse};
use crate::parked::Wait;
use crate::{Action, Actions, AppendError, Durability, LeaderEpochError, ProduceError, Replica};

impl Replica {
    pub(crate) fn appended(&mut self, now: Now, end_offset: Offset, actions: &mut Actions) {
        if matches!(self.role, Role::Failed) {
            return actions.note("append report after the log failed", &[("end", end_offset)]);
        }
        self.log.appended(end_offset);
        while self
            .undo
            .front()
            .is_some_and(|undo| undo.base_offset < end_offset)
        {
            let undo = self.undo.pop_front();
            assert!(
                undo.is_none_or(|undo| undo.end_offset <= end_offset),
                "half a batch was appended, up to {end_offset}"
            );
        }
        while let Some(produce) = self.parked.take_reached(Wait::Written, end_offset) {
            self.acknowledge(produce, actions);
        }
        self.advance_high_watermark(actions);
        self.ask_for_flush(now, actions);
    }

    pub(crate) fn flushed(
        &mut self,
        now: Now,
        end_offset: Offset,
        generation: u64,
        actions: &mut Actions,
    ) {
        if matches!(self.role, Role::Failed) {
            return actions.note("flush report after the log failed", &[("end", end_offset)]);
        }
        if !self.log.flushed(end_offset, generation) {
            actions.note(
                "flush report of an older generation",
                &[("end", end_offset)],
            );
        }
        // What was asked for and is not covered by this flush is asked for again.
        self.background.asked = self.log.flushed;
        self.background.waiting_since = None;
        self.advance_high_watermark(actions);
        self.ask_for_flush(now, actions);
    }

    pub(crate) fn append_failed(
        &mut self,
        from_offset: Offset,
        generation: u64,
        error: AppendError,
        actions: &mut Actions,
    ) {
        if matches!(self.role, Role::Failed) {
            return actions.note(
                "append failure after the log failed",
                &[("from", from_offset)],
            );
        }
        self.log.append_failed(from_offset, generation);
        actions.note(
            "append failed",
            &[("from", from_offset), ("assigned", self.log.assigned)],
        );
        actions.push(Action::DropAppends { from_offset });
        self.take_back(from_offset, actions);
        while let Some(produce) = self.parked.take_above(from_offset) {
            refuse(produce.token, ProduceError::Append(error), actions);
        }
        match error {
            AppendError::NoSpace => {}
            AppendError::Failed => self.log_failed(actions),
        }
    }

    /// Offsets and producer state return to what they were when the log ended at `from_offset`.
    fn take_back(&mut self, from_offset: Offset, actions: &mut Actions) {
        while let Some(undo) = self.undo.pop_back() {
            assert!(
                undo.base_offset >= from_offset,
                "a written batch would be taken back"
            );
            self.producers.restore(undo.producer_id, undo.before);
        }
        self.log.assigned = from_offset;
        // An epoch that began above the new end, while the failed appends were under way, begins at it.
        let mut changed = false;
        if self
            .epochs
            .latest()
            .is_some_and(|latest| latest.start_offset > from_offset)
        {
            changed = self.epochs.truncate_from_end(from_offset + 1);
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.epoch_start = leader.epoch_start.min(from_offset);
            changed |= self.epochs.assign(leader.epoch, from_offset);
        }
        if changed {
            actions.push(Action::WriteEpochs);
        }
        assert!(
            self.epochs
                .latest()
                .is_none_or(|latest| latest.start_offset <= from_offset),
            "an epoch starts above the log's end"
        );
    }

    pub(crate) fn log_failed(&mut self, actions: &mut Actions) {
        if matches!(self.role, Role::Failed) {
            return;
        }
        self.role = Role::Failed;
        actions.note("log failed", &[("end", self.log.written)]);
        self.abandon_parked(
            ProduceError::LogFailed,
            LeaderEpochError::StorageFailed,
            actions,
        );
        assert_eq!(self.parked.len(), 0, "requests are parked on a failed log");
    }

    pub(crate) fn log_start_moved(&mut self, log_start: Offset, actions: &mut Actions) {
        assert!(
            log_start <= self.high_watermark,
            "the log's start {log_start} passed the high watermark {}",
            self.high_watermark
        );
        self.log.start_moved(log_start);
        if self.epochs.truncate_from_start(log_start) {
            actions.push(Action::WriteEpochs);
        }
        if types::plant_chosen!(ProducersDroppedWithRecords)
            && self.producers.has_only_below(log_start)
            && types::planted!(ProducersDroppedWithRecords)
        {
            self.producers.forget_below(log_start);
        }
        self.advance_last_stable(actions);
        while let Some(deletion) = self.parked.take_deleted(log_start) {
            let result = Ok(log_start);
            actions.push(Action::ReplyDeleteRecords {
                token: deletion.token,
                result,
            });
        }
    }

    /// In class *flushed* somebody always waits: for the answer, or for the records to be shown.
    fn ask_for_flush(&mut self, now: Now, actions: &mut Actions) {
        match self.config.durability {
            Durability::Flushed if self.log.flushed < self.log.written => {
                actions.push(Action::NeedFlush { awaited: true });
            }
            Durability::Flushed => {}
            Durability::Replicated { flush_messages, .. } => {
                let asked = self.background.asked.max(self.log.flushed);
                let records = u64::try_from(self.log.written - asked).unwrap_or(0);
                if records >= flush_messages {
                    self.ask_for_background_flush(actions);
                } else if records > 0 && self.background.waiting_since.is_none() {
                    self.background.waiting_since = Some(now.mono);
                }
            }
        }
    }

    pub(crate) fn ask_for_background_flush(&mut self, actions: &mut Actions) {
        self.background = BackgroundFlush {
            asked: self.log.written,
            waiting_since: None,
        };
        actions.push(Action::NeedFlush { awaited: false });
    }

    pub(crate) fn background_flush_due(&self) -> Mono {
        match (self.config.durability, self.background.waiting_since) {
            (
                Durability::Replicated {
                    flush_ms: Some(flush_ms),
                    ..
                },
                Some(since),
            ) => since.plus_millis(flush_ms),
            _ => Mono::NEVER,
        }
    }
}
