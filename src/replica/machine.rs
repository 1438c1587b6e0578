//! The replica: its state, the inputs it takes, the passing of time.

use std::collections::VecDeque;

use types::{LeaderEpoch, LogOffsets, Mono, NodeId, Now, Offset, ProducerId};

use crate::leader::Leader;
use crate::parked::{Expired, Parked, ParkedProduce};
use crate::{
    Action, Actions, DeleteRecordsError, Durability, EpochHistory, Input, LeaderEpochError,
    ProduceError, ProduceOk, ProducerEntry, ProducerState, RecoveredState, ReplicaConfig,
};

/// What this replica is to its partition.
#[derive(Debug)]
pub(crate) enum Role {
    /// Neither leader nor follower.
    Idle,
    Leader(Leader),
    /// The log is closed; only a new replica, after recovery, opens it.
    Failed,
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
pub(crate) struct BackgroundFlush {
    /// Records below this are flushed, or a flush of them was asked for.
    pub asked: Offset,
    /// When the oldest record at or above `asked` was written.
    pub waiting_since: Option<Mono>,
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
    pub(crate) background: BackgroundFlush,
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
        let log = LogOffsets::recovered(log_start, log_end, flushed_end, state.generation);
        let shown_max = match config.durability {
            Durability::Flushed => log.flushed,
            Durability::Replicated { .. } => log_end,
        };
        let high_watermark = high_watermark.clamp(log_start, shown_max);
        let check_interval_ms = config.producer_id_expiration_check_interval_ms;
        let mut replica = Replica {
            node,
            config,
            role: Role::Idle,
            leader_epoch: state.epochs.latest().map_or(-1, |latest| latest.epoch),
            log,
            high_watermark,
            last_stable: high_watermark,
            epochs: state.epochs,
            producers: state.producers,
            undo: VecDeque::new(),
            parked: Parked::default(),
            shown_unflushed: 0,
            background: BackgroundFlush {
                asked: log.flushed,
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
        if matches!(self.role, Role::Failed) {
            return Mono::NEVER;
        }
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
        self.log.check();
        if self.config.durability == Durability::Flushed {
            assert!(
                self.high_watermark <= flushed.max(self.shown_unflushed)
                    || types::plant_chosen!(AckBeforeFlush),
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
            base_offset: match produce.base_offset > 0 && types::planted!(AckWrongOffset) {
                true => 0,
                false => produce.base_offset,
            },
            log_append_time: produce.log_append_time,
            log_start_offset: self.log.start,
        });
        actions.push(Action::Reply {
            token: produce.token,
            result,
        });
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
