//! What is read of a replica: by observers, by fetches and the other requests that change nothing.

use bytes::Bytes;
use types::{LeaderEpoch, Offset};

use crate::leader::Leader;
use crate::machine::Role;
use crate::{
    EpochEnd, EpochHistory, Isolation, LeaderEpochError, OffsetError, ProducerDescription, Replica,
    ReplicaView, RoleView,
};

impl Replica {
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
            leader_epoch: self.leader_epoch,
            durability: self.config.durability,
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
}
