//! Claiming an epoch, leading it, giving it up.

use types::Now;

use crate::progress::Progress;
use crate::quorum::{Candidate, Leader, Role, epoch_figure};
use crate::{Action, Actions, ControlRecord, LeaderChange, Quorum, QuorumState};

impl Quorum {
    /// Claims the next epoch: one that nothing on this node's disk has ever named.
    pub(crate) fn start_election(&mut self, actions: &mut Actions) {
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

    pub(crate) fn persist(&mut self, state: QuorumState, actions: &mut Actions) {
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

    pub(crate) fn state_persisted(&mut self, now: Now, state: QuorumState, actions: &mut Actions) {
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

    pub(crate) fn become_leader(&mut self, now: Now, actions: &mut Actions) {
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

    pub(crate) fn lose_leadership(&mut self, next: Role, actions: &mut Actions) {
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

    pub(crate) fn stop(&mut self, why: &'static str, actions: &mut Actions) {
        actions.note(why, &[epoch_figure(self.epoch)]);
        self.lose_leadership(Role::Stopped, actions);
        assert!(
            matches!(self.role, Role::Stopped),
            "a stopped machine goes on"
        );
    }
}
