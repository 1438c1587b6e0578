//! What the driver reports of the log and its snapshots, and what is committed by it.

use types::{Now, Offset};

use crate::quorum::Role;
use crate::{Action, Actions, AppendError, Quorum, SnapshotId};

impl Quorum {
    pub(crate) fn appended(&mut self, end_offset: Offset, actions: &mut Actions) {
        self.log.appended(end_offset);
        if self.log.flushed < self.log.written {
            actions.push(Action::NeedFlush);
        }
    }

    pub(crate) fn append_failed(
        &mut self,
        now: Now,
        from_offset: Offset,
        generation: u64,
        error: AppendError,
        actions: &mut Actions,
    ) {
        self.log.append_failed(from_offset, generation);
        actions.push(Action::DropAppends { from_offset });
        self.log.assigned = from_offset;
        self.uncommitted
            .retain(|batch| batch.end_offset <= from_offset);
        self.voters.truncate_from_end(from_offset);
        match error {
            AppendError::Failed => self.stop("log failed", actions),
            AppendError::NoSpaceSingle if self.has_begun_epoch_below(from_offset) => {
                actions.note(
                    "no space, nothing was decided upon it",
                    &[("from", from_offset)],
                );
            }
            AppendError::NoSpace | AppendError::NoSpaceSingle => {
                // The controller has decided on what is lost: it starts over, in a new epoch.
                actions.note("no space", &[("from", from_offset)]);
                let election_due = now.mono.plus_millis(self.config.election_backoff_ms);
                self.lose_leadership(Role::Unattached { election_due }, actions);
            }
        }
    }

    /// Whether this node leads, and the first record of its epoch lies below `offset`.
    fn has_begun_epoch_below(&self, offset: Offset) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.epoch_start < offset)
    }

    pub(crate) fn flushed(
        &mut self,
        now: Now,
        end_offset: Offset,
        generation: u64,
        actions: &mut Actions,
    ) {
        if !self.log.flushed(end_offset, generation) {
            actions.note(
                "flush report of an older generation",
                &[("end", end_offset)],
            );
        }
        self.advance_high_watermark(now, actions);
        if self.log.flushed < self.log.written {
            actions.push(Action::NeedFlush);
        }
    }

    /// Commits what a majority has flushed, once something of this epoch is among it (Raft, section 5.4.2): an older epoch's
    /// record on a majority may still be replaced.
    pub(crate) fn advance_high_watermark(&mut self, now: Now, actions: &mut Actions) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.progress.record(self.config.key.id, self.log.flushed);
        let held = leader.progress.held_by_majority();
        if held <= leader.epoch_start || self.high_watermark.is_some_and(|known| held <= known) {
            return;
        }
        assert!(
            held <= self.log.flushed,
            "committed beyond what this leader has flushed"
        );
        self.high_watermark = Some(held);
        let mut bytes = 0;
        while let Some(batch) = self.uncommitted.front()
            && batch.end_offset <= held
        {
            bytes += batch.bytes;
            self.uncommitted.pop_front();
        }
        self.snapshots.committed(bytes, now);
        actions.push(Action::Commit { up_to: held });
        if !leader.is_announced {
            leader.is_announced = true;
            let epoch = leader.epoch;
            actions.push(Action::LeadershipGained { epoch });
        }
    }

    pub(crate) fn snapshot_written(&mut self, id: SnapshotId, actions: &mut Actions) {
        assert!(
            self.high_watermark
                .is_some_and(|committed| id.end_offset <= committed),
            "snapshot {id} contains what is not committed"
        );
        if let Some(offset) = self
            .snapshots
            .written(id)
            .filter(|&end| end > self.log.start)
        {
            actions.push(Action::AdvanceLogStart { offset });
        }
    }

    /// Only now do older snapshots go: until the start is durable a restart needs the one that ends at the old start.
    pub(crate) fn log_start_moved(&mut self, log_start: Offset, actions: &mut Actions) {
        let ends_there = |id: &SnapshotId| id.end_offset == log_start;
        assert!(
            self.snapshots.durable().iter().any(ends_there),
            "no snapshot ends at the log's start {log_start}"
        );
        self.log.start_moved(log_start);
        self.voters.truncate_from_start(log_start);
        if self.snapshots.forget_before(log_start) {
            actions.push(Action::DeleteSnapshotsBefore {
                end_offset: log_start,
            });
        }
    }
}
