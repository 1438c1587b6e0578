//! The replica: its state, its inputs about the log, its reads.

use std::collections::VecDeque;

use bytes::Bytes;
use types::{LeaderEpoch, Mono, NodeId, Now, Offset, ProducerId};

use crate::leader::Leader;
use crate::parked::{Expired, Parked, ParkedProduce, Wait};
use crate::{
    Action, Actions, AppendError, DeleteRecordsError, EpochEnd, EpochHistory, Input,
    LeaderEpochError, OffsetError, ProduceError, ProduceOk, ProducerDescription, ProducerEntry,
    ProducerState, ReplicaView, RoleView,
};

/// What an acknowledgement with acks=all means, by the topic's `flush.messages`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// `flush.messages=1`: every replica counts only up to what it has flushed; nothing else is shown.
    Flushed,
    /// Any larger number: every replica counts what it has written, and flushes in the background.
    Replicated {
        /// Records after which a flush is asked for, more than 1.
        flush_messages: u64,
        /// Milliseconds after which a flush is asked for, if any.
        flush_ms: Option<i64>,
    },
}

/// What a topic's and a node's configuration say about a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaConfig {
    /// The durability class.
    pub durability: Durability,
    /// `min.insync.replicas`, 1 or more.
    pub min_insync_replicas: u32,
    /// Wall milliseconds of idleness after which a producer is forgotten, 1 or more.
    pub producer_id_expiration_ms: i64,
    /// How often that is looked for, in milliseconds, 1 or more.
    pub producer_id_expiration_check_interval_ms: i64,
}

impl ReplicaConfig {
    fn check(&self) {
        assert!(
            self.min_insync_replicas >= 1,
            "min.insync.replicas is 1 or more"
        );
        assert!(
            self.producer_id_expiration_ms >= 1,
            "producer.id.expiration.ms is 1 or more"
        );
        assert!(
            self.producer_id_expiration_check_interval_ms >= 1,
            "the interval of producer id checks is 1 ms or more"
        );
        if let Durability::Replicated { flush_messages, .. } = self.durability {
            assert!(flush_messages > 1, "flush.messages=1 is the class flushed");
        }
    }
}

/// What recovery found on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredState {
    /// The log's start.
    pub log_start: Offset,
    /// The log's end.
    pub log_end: Offset,
    /// The end of what is known to be flushed, at most `log_end`.
    pub flushed_end: Offset,
    /// The checkpointed high watermark; one outside the log is moved into it.
    pub high_watermark: Offset,
    /// The log's truncation generation.
    pub generation: u64,
    /// The leader epochs of the log.
    pub epochs: EpochHistory,
    /// The producer state at `log_end`.
    pub producers: ProducerState,
}

/// Which records a reader may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// All below the high watermark.
    ReadUncommitted,
    /// All below the last stable offset.
    ReadCommitted,
}

/// What this replica is to its partition.
#[derive(Debug)]
pub(crate) enum Role {
    /// Neither leader nor follower.
    Idle,
    Leader(Leader),
    /// The log is closed; only a new replica, after recovery, opens it.
    Failed,
}

/// The offsets of the log: `start <= written <= assigned`, `flushed <= written`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOffsets {
    pub start: Offset,
    /// The end of what the driver has reported as appended.
    pub written: Offset,
    /// The end of what has an offset.
    pub assigned: Offset,
    pub flushed: Offset,
    /// Bumped by the log whenever it is cut back; a flush report of another one raises nothing.
    pub generation: u64,
}

/// What a producer's entry was before a batch that is assigned but not yet written.
#[derive(Debug)]
pub(crate) struct Undo {
    pub base_offset: Offset,
    pub end_offset: Offset,
    pub producer_id: ProducerId,
    pub before: Option<ProducerEntry>,
}

/// When the class *replicated* asks for a flush that nobody waits for.
#[derive(Clone, Copy, Debug)]
struct BackgroundFlush {
    /// Records below this are flushed, or a flush of them was asked for.
    asked: Offset,
    /// When the oldest record at or above `asked` was written.
    waiting_since: Option<Mono>,
}

/// One partition's replica on this node.
#[derive(Debug)]
pub struct Replica {
    pub(crate) node: NodeId,
    pub(crate) config: ReplicaConfig,
    pub(crate) role: Role,
    /// The newest leader epoch seen; never goes back.
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) log: LogOffsets,
    pub(crate) high_watermark: Offset,
    pub(crate) last_stable: Offset,
    pub(crate) epochs: EpochHistory,
    pub(crate) producers: ProducerState,
    /// Of batches at or above `log.written`, oldest first.
    pub(crate) undo: VecDeque<Undo>,
    pub(crate) parked: Parked,
    /// What was shown in class *replicated* before the class became *flushed* may lie above what is flushed.
    shown_unflushed: Offset,
    background: BackgroundFlush,
    expiry_due: Mono,
}

impl Replica {
    /// The replica on `node` of a log that recovery has opened. It leads nothing yet.
    pub fn new(node: NodeId, now: Now, config: ReplicaConfig, state: RecoveredState) -> Replica {
        config.check();
        let RecoveredState {
            log_start,
            log_end,
            flushed_end,
            high_watermark,
            ..
        } = state;
        assert!(
            0 <= log_start && log_start <= log_end,
            "the log is {log_start}..{log_end}"
        );
        assert!(
            flushed_end <= log_end,
            "flushed to {flushed_end} in a log to {log_end}"
        );
        let flushed = flushed_end.max(log_start);
        let shown_max = match config.durability {
            Durability::Flushed => flushed,
            Durability::Replicated { .. } => log_end,
        };
        let high_watermark = high_watermark.clamp(log_start, shown_max);
        let check_interval_ms = config.producer_id_expiration_check_interval_ms;
        let mut replica = Replica {
            node,
            config,
            role: Role::Idle,
            leader_epoch: state.epochs.latest().map_or(-1, |latest| latest.epoch),
            log: LogOffsets {
                start: log_start,
                written: log_end,
                assigned: log_end,
                flushed,
                generation: state.generation,
            },
            high_watermark,
            last_stable: high_watermark,
            epochs: state.epochs,
            producers: state.producers,
            undo: VecDeque::new(),
            parked: Parked::default(),
            shown_unflushed: 0,
            background: BackgroundFlush {
                asked: flushed,
                waiting_since: None,
            },
            expiry_due: now.mono.plus_millis(check_interval_ms),
        };
        replica.producers.decide_below(high_watermark);
        replica.last_stable = replica.stable_bound();
        replica.check();
        replica
    }

    /// Takes in one input and writes down what is to be done. Actions are carried out in order; none may be left out.
    pub fn step(&mut self, now: Now, input: Input, actions: &mut Actions) {
        match input {
            Input::Produce(produce) => self.produce(now, produce, actions),
            Input::InternalAppend(produce) => self.internal_append(now, produce, actions),
            Input::Appended { end_offset } => self.appended(now, end_offset, actions),
            Input::Flushed {
                end_offset,
                generation,
            } => {
                self.flushed(now, end_offset, generation, actions);
            }
            Input::AppendFailed {
                from_offset,
                generation,
                error,
            } => {
                self.append_failed(from_offset, generation, error, actions);
            }
            Input::LogFailed => self.log_failed(actions),
            Input::BecomeLeader(leadership) => self.become_leader(leadership, actions),
            Input::LeadershipLost => self.leadership_lost(actions),
            Input::LogStartMoved { log_start } => self.log_start_moved(log_start, actions),
            Input::DeleteRecords {
                token,
                offset,
                deadline,
            } => {
                self.delete_records(token, offset, deadline, actions);
            }
            Input::ConfigChanged(config) => self.config_changed(config, actions),
            Input::Tick => {}
        }
        self.pass_time(now, actions);
    }

    /// When to step with [`Input::Tick`] at the latest; [`Mono::NEVER`] if nothing waits.
    pub fn deadline(&self) -> Mono {
        let expiry = if self.producers.is_empty() {
            Mono::NEVER
        } else {
            self.expiry_due
        };
        self.parked
            .deadline()
            .min(expiry)
            .min(self.background_flush_due())
    }

    /// Panics if the state contradicts itself. Costs more than a step: for tests and simulation.
    pub fn check(&self) {
        let LogOffsets {
            start,
            written,
            assigned,
            flushed,
            ..
        } = self.log;
        assert!(
            start <= self.last_stable,
            "the last stable offset lies below the log"
        );
        assert!(
            self.last_stable <= self.high_watermark,
            "unstable records are shown"
        );
        assert!(
            self.high_watermark <= written,
            "unwritten records are shown"
        );
        assert!(
            flushed <= written && written <= assigned,
            "ends out of order: {:?}",
            self.log
        );
        if self.config.durability == Durability::Flushed {
            assert!(
                self.high_watermark <= flushed.max(self.shown_unflushed)
                    || types::planted!(AckBeforeFlush),
                "records are shown that are not flushed: {} of {:?}",
                self.high_watermark,
                self.log
            );
        }
        assert_eq!(
            self.last_stable,
            self.stable_bound(),
            "the last stable offset is stale"
        );
        self.epochs.check();
        self.producers.check();
        if !matches!(self.role, Role::Failed) {
            self.parked.check(written, self.high_watermark, start);
        } else {
            assert_eq!(self.parked.len(), 0, "requests are parked on a failed log");
        }
        let mut end = written;
        for undo in &self.undo {
            assert!(
                undo.base_offset >= end,
                "an append to take back is written or overlaps"
            );
            end = undo.end_offset;
        }
        assert!(end <= assigned, "an append to take back has no offset");
    }

    /// What observers see after each step.
    pub fn view(&self) -> ReplicaView<'_> {
        let leader = self.leader();
        ReplicaView {
            node: self.node,
            role: match &self.role {
                Role::Idle => RoleView::Idle,
                Role::Leader(leader) => RoleView::Leader {
                    epoch: leader.epoch,
                    epoch_start: leader.epoch_start,
                },
                Role::Failed => RoleView::Failed,
            },
            log_start: self.log.start,
            flushed: self.log.flushed,
            log_end: self.log.written,
            assigned_end: self.log.assigned,
            high_watermark: self.high_watermark,
            last_stable: self.last_stable,
            epochs: &self.epochs,
            isr: leader.map_or(&[], |leader| leader.progress.isr()),
            maximal_isr: leader.map_or(&[], |leader| leader.progress.maximal_isr()),
            min_insync_replicas: self.config.min_insync_replicas,
            producers: &self.producers,
            parked: self.parked.len(),
            generation: self.log.generation,
        }
    }

    /// Where a reader of this isolation must stop. Retention never deletes above [`Isolation::ReadUncommitted`]'s.
    pub fn fetch_bound(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable,
        }
    }

    /// The latest offset as ListOffsets answers it, and the bound of its timestamp lookups.
    pub fn latest_offset(
        &self,
        isolation: Isolation,
        expected_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Offset, OffsetError> {
        let leader = self.require_leader(expected_leader_epoch)?;
        if self.high_watermark < leader.epoch_start {
            return Err(OffsetError::NotAvailable {
                high_watermark: self.high_watermark,
                epoch_start: leader.epoch_start,
            });
        }
        Ok(self.fetch_bound(isolation))
    }

    /// Whether this replica leads, and in the epoch the request names, if it names one.
    pub fn check_leader_epoch(
        &self,
        expected: Option<LeaderEpoch>,
    ) -> Result<LeaderEpoch, LeaderEpochError> {
        self.require_leader(expected).map(|leader| leader.epoch)
    }

    /// Where `epoch` ends, as OffsetForLeaderEpoch answers.
    pub fn offset_for_leader_epoch(
        &self,
        epoch: LeaderEpoch,
        expected_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<EpochEnd, LeaderEpochError> {
        self.require_leader(expected_leader_epoch)?;
        Ok(self.epochs.end_offset_for_epoch(epoch, self.log.written))
    }

    /// Which epoch began where: the content of the leader epoch checkpoint.
    pub fn epochs(&self) -> &EpochHistory {
        &self.epochs
    }

    /// The producers, as DescribeProducers answers; [`ProducerState::last_batches`] for the cleaner is in the view.
    pub fn describe_producers(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = ProducerDescription> + '_, LeaderEpochError> {
        self.require_leader(None)?;
        Ok(self.producers.describe())
    }

    /// The content of the producer snapshot at `offset`: the log's end, or a batch boundary within the appends that are not
    /// reported as written yet (a roll in the middle of an append job, asked for before its [`Input::Appended`]).
    pub fn producer_snapshot(&self, offset: Offset) -> Bytes {
        assert!(
            self.log.written <= offset && offset <= self.log.assigned,
            "no producer state is known at {offset}, only from {} to {}",
            self.log.written,
            self.log.assigned
        );
        if self
            .undo
            .back()
            .is_none_or(|undo| undo.end_offset <= offset)
        {
            return self.producers.encode_snapshot();
        }
        let mut producers = self.producers.clone();
        for undo in self
            .undo
            .iter()
            .rev()
            .take_while(|undo| undo.end_offset > offset)
        {
            assert!(
                undo.base_offset >= offset,
                "a snapshot at {offset} would split a batch"
            );
            producers.restore(undo.producer_id, undo.before.clone());
        }
        producers.encode_snapshot()
    }

    pub(crate) fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Idle | Role::Failed => None,
        }
    }

    pub(crate) fn require_leader(
        &self,
        expected: Option<LeaderEpoch>,
    ) -> Result<&Leader, LeaderEpochError> {
        let leader = match &self.role {
            Role::Leader(leader) => leader,
            Role::Idle => return Err(LeaderEpochError::NotLeader),
            Role::Failed => return Err(LeaderEpochError::StorageFailed),
        };
        let current = leader.epoch;
        match expected {
            Some(requested) if requested < current => {
                Err(LeaderEpochError::Fenced { requested, current })
            }
            Some(requested) if requested > current => {
                Err(LeaderEpochError::Unknown { requested, current })
            }
            _ => Ok(leader),
        }
    }

    /// The last stable offset as it follows from the rest of the state.
    pub(crate) fn stable_bound(&self) -> Offset {
        let undecided = self
            .producers
            .first_undecided_offset()
            .unwrap_or(Offset::MAX);
        undecided.max(self.log.start).min(self.high_watermark)
    }

    fn appended(&mut self, now: Now, end_offset: Offset, actions: &mut Actions) {
        if matches!(self.role, Role::Failed) {
            return actions.note("append report after the log failed", &[("end", end_offset)]);
        }
        assert!(
            self.log.written <= end_offset && end_offset <= self.log.assigned,
            "appended to {end_offset}, expected {} to {}",
            self.log.written,
            self.log.assigned
        );
        self.log.written = end_offset;
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

    fn flushed(&mut self, now: Now, end_offset: Offset, generation: u64, actions: &mut Actions) {
        if matches!(self.role, Role::Failed) {
            return actions.note("flush report after the log failed", &[("end", end_offset)]);
        }
        if generation == self.log.generation {
            assert!(
                end_offset <= self.log.written,
                "flushed to {end_offset} in a log written to {}",
                self.log.written
            );
            self.log.flushed = self.log.flushed.max(end_offset);
        } else {
            assert!(
                generation < self.log.generation,
                "a flush of a generation yet to come"
            );
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

    fn append_failed(
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
        assert_eq!(
            from_offset, self.log.written,
            "an append failed that is not the one after the log's end"
        );
        assert!(
            generation >= self.log.generation,
            "the truncation generation went back"
        );
        actions.note(
            "append failed",
            &[("from", from_offset), ("assigned", self.log.assigned)],
        );
        actions.push(Action::DropAppends { from_offset });
        self.take_back(from_offset, actions);
        self.log.generation = generation;
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

    /// Answers everything parked with an error.
    pub(crate) fn abandon_parked(
        &mut self,
        produce_error: ProduceError,
        deletion_error: LeaderEpochError,
        actions: &mut Actions,
    ) {
        while let Some(produce) = self.parked.take_above(-1) {
            refuse(produce.token, produce_error, actions);
        }
        while let Some(deletion) = self.parked.take_deleted(Offset::MAX) {
            let result = Err(DeleteRecordsError::Leader(deletion_error));
            actions.push(Action::ReplyDeleteRecords {
                token: deletion.token,
                result,
            });
        }
    }

    fn log_start_moved(&mut self, log_start: Offset, actions: &mut Actions) {
        assert!(
            log_start >= self.log.start,
            "the log's start went back to {log_start}"
        );
        assert!(
            log_start <= self.high_watermark,
            "the log's start {log_start} passed the high watermark {}",
            self.high_watermark
        );
        self.log.start = log_start;
        if self.epochs.truncate_from_start(log_start) {
            actions.push(Action::WriteEpochs);
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

    fn config_changed(&mut self, config: ReplicaConfig, actions: &mut Actions) {
        config.check();
        if self.config.durability != Durability::Flushed {
            self.shown_unflushed = self.high_watermark;
        }
        self.config = config;
        self.advance_high_watermark(actions);
        if self.config.durability == Durability::Flushed && self.log.flushed < self.log.written {
            actions.push(Action::NeedFlush { awaited: true });
        }
    }

    /// Answers `produce`, whose batch is held as it asked.
    pub(crate) fn acknowledge(&self, produce: ParkedProduce, actions: &mut Actions) {
        if produce.silent {
            return;
        }
        let result = Ok(ProduceOk {
            base_offset: produce.base_offset,
            log_append_time: produce.log_append_time,
            log_start_offset: self.log.start,
        });
        actions.push(Action::Reply {
            token: produce.token,
            result,
        });
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

    fn ask_for_background_flush(&mut self, actions: &mut Actions) {
        self.background = BackgroundFlush {
            asked: self.log.written,
            waiting_since: None,
        };
        actions.push(Action::NeedFlush { awaited: false });
    }

    fn background_flush_due(&self) -> Mono {
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

    fn pass_time(&mut self, now: Now, actions: &mut Actions) {
        while let Some(expired) = self.parked.take_expired(now.mono) {
            match expired {
                Expired::Produce(produce) => refuse(produce.token, ProduceError::TimedOut, actions),
                Expired::Deletion(deletion) => actions.push(Action::ReplyDeleteRecords {
                    token: deletion.token,
                    result: Err(DeleteRecordsError::TimedOut),
                }),
            }
        }
        if now.mono >= self.background_flush_due() && !matches!(self.role, Role::Failed) {
            self.ask_for_background_flush(actions);
        }
        if now.mono >= self.expiry_due {
            let interval_ms = self.config.producer_id_expiration_check_interval_ms;
            self.expiry_due = now.mono.plus_millis(interval_ms);
            let expiration_ms = self.config.producer_id_expiration_ms;
            let expired = self
                .producers
                .expire(now.wall, expiration_ms, self.log.written);
            if expired > 0 {
                let count = i64::try_from(expired).unwrap_or(i64::MAX);
                actions.note("producers expired", &[("count", count)]);
            }
        }
    }
}

pub(crate) fn refuse(token: u64, error: ProduceError, actions: &mut Actions) {
    actions.push(Action::Reply {
        token,
        result: Err(error),
    });
}
