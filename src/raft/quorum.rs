//! The quorum machine: its state, the inputs it takes, what is read of it.

use std::collections::VecDeque;

use types::{LeaderEpoch, LogOffsets, Mono, NodeId, Now, Offset};

use crate::progress::Progress;
use crate::snapshots::{Snapshots, holds_all_below};
use crate::{
    Action, Actions, Input, ProposeError, QuorumConfig, QuorumState, QuorumView, RecoveredQuorum,
    ReplicaStatus, RoleView, SnapshotId, StartError, VoterHistory, VoterSet,
};

#[derive(Debug)]
pub(crate) enum Role {
    /// No leader is known; [`Input::Tick`] at `election_due` begins an election.
    Unattached {
        election_due: Mono,
    },
    /// The vote for itself, or the election it won, is being made durable.
    Candidate(Candidate),
    Leader(Leader),
    Stopped,
}

#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) epoch: LeaderEpoch,
    /// Voters that granted it durably.
    pub(crate) granted: Vec<NodeId>,
}

#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) epoch: LeaderEpoch,
    /// Offset of the epoch's first record.
    pub(crate) epoch_start: Offset,
    pub(crate) progress: Progress,
    /// Whether the controller was told: something of this epoch is committed.
    pub(crate) is_announced: bool,
}

/// An appended batch that is not committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uncommitted {
    pub(crate) end_offset: Offset,
    /// What it adds to the next snapshot's need; nothing for control batches.
    pub(crate) bytes: u64,
}

/// The metadata quorum on one node.
#[derive(Debug)]
pub struct Quorum {
    pub(crate) config: QuorumConfig,
    pub(crate) role: Role,
    /// What `quorum-state` holds durably.
    pub(crate) durable: QuorumState,
    /// What it is being made to hold.
    pub(crate) persisting: Option<QuorumState>,
    /// The newest epoch of anything known; never goes back.
    pub(crate) epoch: LeaderEpoch,
    pub(crate) log: LogOffsets,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) uncommitted: VecDeque<Uncommitted>,
    pub(crate) voters: VoterHistory,
    pub(crate) kraft_version: i16,
    pub(crate) snapshots: Snapshots,
}

impl Quorum {
    /// The machine of a node whose metadata log recovery has opened. [`Input::Start`] sets it going.
    ///
    /// # Errors
    /// If this node cannot take part: see [`StartError`].
    pub fn new(
        now: Now,
        config: QuorumConfig,
        recovered: RecoveredQuorum,
    ) -> Result<Quorum, StartError> {
        let (_, voters) = recovered.voters.latest().ok_or(StartError::NoVoters)?;
        if !voters.contains(config.key) {
            return Err(StartError::NotAVoter(config.key));
        }
        if voters.len() > 1 {
            return Err(StartError::SeveralVoters(voters.len()));
        }
        let RecoveredQuorum {
            log_start,
            log_end,
            flushed_end,
            ..
        } = recovered;
        if log_start > 0 && !holds_all_below(&recovered.snapshots, log_start) {
            return Err(StartError::SnapshotMissing(log_start));
        }
        let log = LogOffsets::recovered(log_start, log_end, flushed_end, recovered.generation);
        let snapshots = Snapshots::new(
            &config.limits,
            recovered.snapshots,
            recovered.bytes_after_snapshot,
            now.mono,
        );
        let quorum = Quorum {
            config,
            role: Role::Unattached {
                election_due: Mono::NEVER,
            },
            durable: recovered.state,
            persisting: None,
            epoch: recovered.state.leader_epoch.max(recovered.last_epoch),
            log,
            high_watermark: None,
            uncommitted: VecDeque::new(),
            voters: recovered.voters,
            kraft_version: recovered.kraft_version,
            snapshots,
        };
        quorum.check();
        Ok(quorum)
    }

    /// Takes in one input and writes down what is to be done. Actions are carried out in order; none may be left out.
    pub fn step(&mut self, now: Now, input: Input, actions: &mut Actions) {
        if matches!(self.role, Role::Stopped) {
            return self.step_stopped(&input, actions);
        }
        match input {
            Input::Start => self.start_election(actions),
            Input::StatePersisted(state) => self.state_persisted(now, state, actions),
            Input::Propose {
                token,
                epoch,
                record_count,
                size_bytes,
            } => {
                self.propose(token, epoch, record_count, size_bytes, actions);
            }
            Input::Appended { end_offset } => self.appended(end_offset, actions),
            Input::AppendFailed {
                from_offset,
                generation,
                error,
            } => {
                self.append_failed(now, from_offset, generation, error, actions);
            }
            Input::Flushed {
                end_offset,
                generation,
            } => {
                self.flushed(now, end_offset, generation, actions);
            }
            Input::LogFailed => self.stop("log failed", actions),
            Input::SnapshotWritten(id) => self.snapshot_written(id, actions),
            Input::SnapshotFailed(id) => self.snapshots.failed(id, now),
            Input::LogStartMoved { log_start } => self.log_start_moved(log_start, actions),
            Input::Resign => self.stop("resigned", actions),
            Input::Tick => {}
        }
        self.pass_time(now, actions);
    }

    /// When to step with [`Input::Tick`] at the latest; [`Mono::NEVER`] if nothing waits.
    pub fn deadline(&self) -> Mono {
        match &self.role {
            Role::Unattached { election_due } => *election_due,
            Role::Leader(leader) if leader.is_announced => self.snapshots.deadline(),
            Role::Leader(_) | Role::Candidate(_) | Role::Stopped => Mono::NEVER,
        }
    }

    /// Panics if the state contradicts itself.
    pub fn check(&self) {
        let LogOffsets { start, flushed, .. } = self.log;
        self.log.check();
        assert!(start <= flushed, "ends out of order: {:?}", self.log);
        assert!(
            self.durable.leader_epoch <= self.epoch,
            "quorum-state is ahead of the machine"
        );
        if let Some(high_watermark) = self.high_watermark {
            assert!(
                high_watermark <= flushed,
                "committed beyond what is flushed"
            );
            assert!(
                high_watermark >= start,
                "the log starts above what is committed"
            );
        }
        if let Role::Leader(leader) = &self.role {
            assert_eq!(
                leader.epoch, self.epoch,
                "a leader of an epoch that is not the newest"
            );
            assert_eq!(
                self.durable.leader_epoch, leader.epoch,
                "an epoch is led that is not durable"
            );
            let committed = self
                .high_watermark
                .is_some_and(|offset| offset > leader.epoch_start);
            assert_eq!(
                leader.is_announced, committed,
                "leadership announced at the wrong time"
            );
        }
        let mut end = self.high_watermark.unwrap_or(0);
        for batch in &self.uncommitted {
            assert!(
                batch.end_offset > end,
                "a batch waits although it is committed"
            );
            end = batch.end_offset;
        }
        assert!(
            start == 0 || holds_all_below(self.snapshots.durable(), start),
            "no snapshot holds everything below the log's start {start}"
        );
        assert!(self.voters.latest().is_some(), "no voters are known");
    }

    /// What observers see after each step.
    pub fn view(&self) -> QuorumView<'_> {
        let leader = self.leader();
        QuorumView {
            key: self.config.key,
            role: match &self.role {
                Role::Unattached { .. } => RoleView::Unattached,
                Role::Candidate(_) => RoleView::Candidate,
                Role::Leader(leader) if leader.is_announced => RoleView::Leader,
                Role::Leader(_) => RoleView::LeaderElect,
                Role::Stopped => RoleView::Stopped,
            },
            leader_epoch: self.epoch,
            leader: leader.map(|_| self.config.key.id),
            durable_state: self.durable,
            epoch_start: leader.map(|leader| leader.epoch_start),
            log_start: self.log.start,
            flushed: self.log.flushed,
            log_end: self.log.written,
            assigned_end: self.log.assigned,
            high_watermark: self.high_watermark,
            voters: &self.voters,
            snapshots: self.snapshots.durable(),
            snapshot_in_progress: self.snapshots.in_progress(),
            parked: self.uncommitted.len(),
            generation: self.log.generation,
        }
    }

    /// The voters as DescribeQuorum shows them: the leader is always caught up with itself.
    pub fn describe_voters(&self, now: Now) -> Vec<ReplicaStatus> {
        let (_, voters) = self.voters.latest().expect("a quorum knows its voters");
        let status = |key| ReplicaStatus {
            key,
            log_end_offset: if key == self.config.key {
                self.log.written
            } else {
                -1
            },
            last_fetch: now.wall,
            last_caught_up: now.wall,
        };
        voters.iter().map(|voter| status(voter.key)).collect()
    }

    /// The voters in force for a snapshot that ends at `id`, and `kraft.version`: what its header must hold.
    pub fn snapshot_voters(&self, id: SnapshotId) -> (i16, &VoterSet) {
        let voters = self.voters.before(id.end_offset);
        (
            self.kraft_version,
            voters.expect("voters are known as far back as a snapshot reaches"),
        )
    }

    pub(crate) fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Unattached { .. } | Role::Candidate(_) | Role::Stopped => None,
        }
    }

    /// Gives the next offsets to a batch.
    pub(crate) fn assign(&mut self, record_count: i32, bytes: u64) -> Offset {
        assert!(record_count > 0, "a batch without a record was proposed");
        let base_offset = self.log.assigned;
        self.log.assigned += Offset::from(record_count);
        self.uncommitted.push_back(Uncommitted {
            end_offset: self.log.assigned,
            bytes,
        });
        assert!(base_offset < self.log.assigned, "offsets went back");
        base_offset
    }

    fn propose(
        &mut self,
        token: u64,
        epoch: LeaderEpoch,
        record_count: i32,
        size_bytes: u32,
        actions: &mut Actions,
    ) {
        match &self.role {
            Role::Leader(leader) if leader.epoch == epoch && leader.is_announced => {
                let base_offset = self.assign(record_count, u64::from(size_bytes));
                actions.push(Action::Append {
                    token,
                    base_offset,
                    leader_epoch: epoch,
                });
            }
            _ => {
                let error = ProposeError::NotLeader { epoch };
                actions.push(Action::Refuse { token, error });
            }
        }
    }

    /// Nothing that is reported changes a stopped machine; who asks is refused.
    fn step_stopped(&self, input: &Input, actions: &mut Actions) {
        if let Input::Propose { token, epoch, .. } = *input {
            let error = ProposeError::NotLeader { epoch };
            actions.push(Action::Refuse { token, error });
        }
    }

    fn pass_time(&mut self, now: Now, actions: &mut Actions) {
        match &self.role {
            Role::Unattached { election_due } if now.mono >= *election_due => {
                self.start_election(actions);
            }
            Role::Leader(leader) if leader.is_announced && self.snapshots.is_due(now) => {
                let end_offset = self
                    .high_watermark
                    .expect("an announced leader has committed");
                let id = SnapshotId {
                    end_offset,
                    epoch: leader.epoch,
                };
                self.snapshots.begin(id);
                actions.push(Action::TakeSnapshot(id));
            }
            _ => {}
        }
    }
}

pub(crate) fn epoch_figure(epoch: LeaderEpoch) -> (&'static str, i64) {
    ("epoch", i64::from(epoch))
}
