//! The quorum machine: roles, epochs, the high watermark.

use std::collections::VecDeque;

use thiserror::Error;
use types::{LeaderEpoch, Limits, Mono, NodeId, Now, Offset};

use crate::progress::Progress;
use crate::snapshots::Snapshots;
use crate::{
    Action, Actions, AppendError, ControlRecord, Input, LeaderChange, ProposeError, QuorumState,
    QuorumView, ReplicaStatus, RoleView, SnapshotId, VoterHistory, VoterKey, VoterSet,
};

/// Who this node is and what it may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumConfig {
    /// This node as a voter.
    pub key: VoterKey,
    /// Snapshot sizes and times.
    pub limits: Limits,
    /// How long to wait after an election that failed, in milliseconds.
    pub election_backoff_ms: i64,
}

/// What recovery found on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredQuorum {
    /// What `quorum-state` holds; [`QuorumState::INITIAL`] if there is none.
    pub state: QuorumState,
    /// The log's start.
    pub log_start: Offset,
    /// The log's end.
    pub log_end: Offset,
    /// The end of what is known to be flushed.
    pub flushed_end: Offset,
    /// The leader epoch of the last record, or of the snapshot at the log's end; 0 if there is neither.
    pub last_epoch: LeaderEpoch,
    /// The log's truncation generation.
    pub generation: u64,
    /// The snapshots found whole.
    pub snapshots: Vec<SnapshotId>,
    /// Bytes in the log after the newest snapshot.
    pub bytes_after_snapshot: u64,
    /// The voters, from the newest snapshot and the log after it.
    pub voters: VoterHistory,
    /// `kraft.version`, from the same.
    pub kraft_version: i16,
}

/// Why a node cannot take part in the quorum.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StartError {
    /// No voters are known: the directory was not formatted.
    #[error("no voters are known: the metadata directory is not formatted")]
    NoVoters,
    /// This node, with this directory, is not a voter.
    #[error("node {} with directory {} is not a voter", .0.id, .0.directory_id)]
    NotAVoter(VoterKey),
    /// There are more voters, which this version cannot talk to.
    #[error("there are {0} voters: only a quorum of one is served")]
    SeveralVoters(usize),
    /// The log starts where no snapshot ends.
    #[error("the metadata log starts at {0}, and no snapshot ends there")]
    SnapshotMissing(Offset),
}

#[derive(Debug)]
enum Role {
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
struct Candidate {
    epoch: LeaderEpoch,
    /// Voters that granted it durably.
    granted: Vec<NodeId>,
}

#[derive(Debug)]
struct Leader {
    epoch: LeaderEpoch,
    /// Offset of the epoch's first record.
    epoch_start: Offset,
    progress: Progress,
    /// Whether the controller was told: something of this epoch is committed.
    is_announced: bool,
}

/// The offsets of the log: `start <= written <= assigned`, `flushed <= written`.
#[derive(Clone, Copy, Debug)]
struct LogOffsets {
    start: Offset,
    written: Offset,
    assigned: Offset,
    flushed: Offset,
    generation: u64,
}

/// An appended batch that is not committed.
#[derive(Clone, Copy, Debug)]
struct Uncommitted {
    end_offset: Offset,
    /// What it adds to the next snapshot's need; nothing for control batches.
    bytes: u64,
}

/// The metadata quorum on one node.
#[derive(Debug)]
pub struct Quorum {
    config: QuorumConfig,
    role: Role,
    /// What `quorum-state` holds durably.
    durable: QuorumState,
    /// What it is being made to hold.
    persisting: Option<QuorumState>,
    /// The newest epoch of anything known; never goes back.
    epoch: LeaderEpoch,
    log: LogOffsets,
    high_watermark: Option<Offset>,
    uncommitted: VecDeque<Uncommitted>,
    voters: VoterHistory,
    kraft_version: i16,
    snapshots: Snapshots,
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
        let starts_at_snapshot = recovered
            .snapshots
            .iter()
            .any(|snapshot| snapshot.end_offset == log_start);
        if log_start > 0 && !starts_at_snapshot {
            return Err(StartError::SnapshotMissing(log_start));
        }
        assert!(
            0 <= log_start && log_start <= log_end,
            "the log is {log_start}..{log_end}"
        );
        assert!(
            flushed_end <= log_end,
            "flushed to {flushed_end} in a log to {log_end}"
        );
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
            log: LogOffsets {
                start: log_start,
                written: log_end,
                assigned: log_end,
                flushed: flushed_end.max(log_start),
                generation: recovered.generation,
            },
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
            Input::LogStartMoved { log_start } => self.log_start_moved(log_start),
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
        let LogOffsets {
            start,
            written,
            assigned,
            flushed,
            ..
        } = self.log;
        assert!(
            start <= flushed && flushed <= written,
            "ends out of order: {:?}",
            self.log
        );
        assert!(written <= assigned, "ends out of order: {:?}", self.log);
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
        let has_snapshot = |at| {
            self.snapshots
                .durable()
                .iter()
                .any(|id| id.end_offset == at)
        };
        assert!(
            start == 0 || has_snapshot(start),
            "no snapshot ends at the log's start {start}"
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

    fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Unattached { .. } | Role::Candidate(_) | Role::Stopped => None,
        }
    }

    /// Claims the next epoch: one that nothing on this node's disk has ever named.
    fn start_election(&mut self, actions: &mut Actions) {
        assert!(
            matches!(self.role, Role::Unattached { .. }),
            "an election begins while one is under way or won"
        );
        assert!(
            self.epoch >= self.durable.leader_epoch,
            "the epoch went back"
        );
        self.epoch += 1;
        self.role = Role::Candidate(Candidate {
            epoch: self.epoch,
            granted: Vec::new(),
        });
        actions.note("candidate", &[epoch_figure(self.epoch)]);
        self.persist(
            QuorumState {
                leader_epoch: self.epoch,
                leader: None,
                voted: Some(self.config.key),
            },
            actions,
        );
    }

    fn persist(&mut self, state: QuorumState, actions: &mut Actions) {
        assert!(
            self.persisting.is_none(),
            "quorum-state is written twice at once"
        );
        assert!(
            state.leader_epoch >= self.durable.leader_epoch,
            "quorum-state would go back from epoch {}",
            self.durable.leader_epoch
        );
        self.persisting = Some(state);
        actions.push(Action::PersistState(state));
    }

    fn state_persisted(&mut self, now: Now, state: QuorumState, actions: &mut Actions) {
        assert_eq!(
            self.persisting.take(),
            Some(state),
            "quorum-state was written as nobody asked"
        );
        self.durable = state;
        let Role::Candidate(candidate) = &mut self.role else {
            return actions.note("vote of an abandoned election", &[epoch_figure(self.epoch)]);
        };
        assert_eq!(
            candidate.epoch, state.leader_epoch,
            "a vote of another epoch"
        );
        if state.leader == Some(self.config.key.id) {
            return self.become_leader(now, actions);
        }
        assert_eq!(
            state.voted,
            Some(self.config.key),
            "a candidate votes for itself"
        );
        candidate.granted.push(self.config.key.id);
        let (_, voters) = self.voters.latest().expect("a quorum knows its voters");
        if candidate.granted.len() >= voters.majority() {
            let leader = Some(self.config.key.id);
            self.persist(
                QuorumState {
                    leader,
                    voted: None,
                    ..state
                },
                actions,
            );
        }
    }

    fn become_leader(&mut self, now: Now, actions: &mut Actions) {
        let Role::Candidate(candidate) = &self.role else {
            panic!("only a candidate becomes leader, not {:?}", self.role);
        };
        let (voters_offset, voters) = self.voters.latest().expect("a quorum knows its voters");
        let epoch_start = self.log.assigned;
        let mut records = vec![ControlRecord::LeaderChange(LeaderChange {
            leader_id: self.config.key.id,
            voters: voters.iter().map(|voter| voter.key.id).collect(),
            granting_voters: candidate.granted.clone(),
        })];
        // Voters that only the bootstrap snapshot knows are not in the log: others could never learn them from it.
        let mut voters_moved = None;
        if self.kraft_version > 0 && voters_offset == -1 {
            records.push(ControlRecord::KRaftVersion(self.kraft_version));
            records.push(ControlRecord::Voters(voters.clone()));
            voters_moved = Some((epoch_start + 2, voters.clone()));
        }
        let mut progress = Progress::new(voters);
        progress.record(self.config.key.id, self.log.flushed);
        actions.note(
            "leader",
            &[epoch_figure(self.epoch), ("epoch start", epoch_start)],
        );
        let (epoch, is_announced) = (candidate.epoch, false);
        self.role = Role::Leader(Leader {
            epoch,
            epoch_start,
            progress,
            is_announced,
        });
        if let Some((offset, voters)) = voters_moved {
            self.voters.add(offset, voters);
        }
        self.assign(
            i32::try_from(records.len()).expect("at most three records"),
            0,
        );
        actions.push(Action::AppendControl {
            base_offset: epoch_start,
            leader_epoch: self.epoch,
            timestamp: now.wall.as_millis(),
            records,
        });
    }

    /// Gives the next offsets to a batch.
    fn assign(&mut self, record_count: i32, bytes: u64) -> Offset {
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

    fn appended(&mut self, end_offset: Offset, actions: &mut Actions) {
        assert!(
            self.log.written <= end_offset && end_offset <= self.log.assigned,
            "appended to {end_offset}, expected {} to {}",
            self.log.written,
            self.log.assigned
        );
        self.log.written = end_offset;
        if self.log.flushed < self.log.written {
            actions.push(Action::NeedFlush);
        }
    }

    fn append_failed(
        &mut self,
        now: Now,
        from_offset: Offset,
        generation: u64,
        error: AppendError,
        actions: &mut Actions,
    ) {
        assert_eq!(
            from_offset, self.log.written,
            "an append failed that is not the one after the log's end"
        );
        assert!(
            generation >= self.log.generation,
            "the truncation generation went back"
        );
        actions.push(Action::DropAppends { from_offset });
        self.log.assigned = from_offset;
        self.log.generation = generation;
        self.uncommitted
            .retain(|batch| batch.end_offset <= from_offset);
        self.voters.truncate_from_end(from_offset);
        match error {
            AppendError::Failed => self.stop("log failed", actions),
            AppendError::NoSpace => {
                // The controller has decided on what is lost: it starts over, in a new epoch.
                actions.note("no space", &[("from", from_offset)]);
                let election_due = now.mono.plus_millis(self.config.election_backoff_ms);
                self.lose_leadership(Role::Unattached { election_due }, actions);
            }
        }
    }

    fn flushed(&mut self, now: Now, end_offset: Offset, generation: u64, actions: &mut Actions) {
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
        self.advance_high_watermark(now, actions);
        if self.log.flushed < self.log.written {
            actions.push(Action::NeedFlush);
        }
    }

    /// Commits what a majority has flushed, once something of this epoch is among it (Raft, section 5.4.2): an older epoch's
    /// record on a majority may still be replaced.
    fn advance_high_watermark(&mut self, now: Now, actions: &mut Actions) {
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

    fn snapshot_written(&mut self, id: SnapshotId, actions: &mut Actions) {
        assert!(
            self.high_watermark
                .is_some_and(|committed| id.end_offset <= committed),
            "snapshot {id} contains what is not committed"
        );
        if let Some(oldest) = self.snapshots.written(id) {
            assert!(
                oldest.end_offset >= self.log.start,
                "the log starts above {oldest}"
            );
            actions.push(Action::AdvanceLogStart {
                offset: oldest.end_offset,
            });
            actions.push(Action::DeleteSnapshotsBefore {
                end_offset: oldest.end_offset,
            });
        }
    }

    fn log_start_moved(&mut self, log_start: Offset) {
        assert!(
            log_start >= self.log.start,
            "the log's start went back to {log_start}"
        );
        let ends_there = |id: &SnapshotId| id.end_offset == log_start;
        assert!(
            self.snapshots.durable().iter().any(ends_there),
            "no snapshot ends at the log's start {log_start}"
        );
        self.log.start = log_start;
        self.voters.truncate_from_start(log_start);
    }

    fn lose_leadership(&mut self, next: Role, actions: &mut Actions) {
        let before = std::mem::replace(&mut self.role, next);
        assert!(
            !matches!(before, Role::Stopped),
            "a stopped machine has nothing to lose"
        );
        // Who was never told needs not be told.
        if let Role::Leader(Leader {
            epoch,
            is_announced: true,
            ..
        }) = before
        {
            actions.push(Action::LeadershipLost { epoch });
        }
    }

    fn stop(&mut self, why: &'static str, actions: &mut Actions) {
        actions.note(why, &[epoch_figure(self.epoch)]);
        self.lose_leadership(Role::Stopped, actions);
        assert!(
            matches!(self.role, Role::Stopped),
            "a stopped machine goes on"
        );
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
                // A vote that is still being written is waited for: one at a time.
                if self.persisting.is_none() {
                    self.start_election(actions);
                }
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

fn epoch_figure(epoch: LeaderEpoch) -> (&'static str, i64) {
    ("epoch", i64::from(epoch))
}
