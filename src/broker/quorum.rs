//! Drives the metadata quorum: the machine of `raft` over the log `__cluster_metadata-0`, and the controller over it.
//!
//! One task owns both machines, the log and the snapshots. Requests are decided one at a time: the next one is
//! decided after the records of the one before are committed and replayed.

mod files;
mod recover;

use std::collections::VecDeque;
use std::sync::Arc;

use controller::{BatchPosition, Change, Controller, MetadataRecord, Request, Response};
use protocol::records::validate::ValidatedBatch;
use protocol::records::{Batch, BatchBuilder};
use raft::{Action, Actions, Input, Quorum, ReplicaStatus, RoleView};
use runtime::Clock;
use runtime::sync::{mpsc, oneshot};
use storage::{AppendBatch, DirectoryFailure, Log, ReadError, WriteError};
use types::{LeaderEpoch, NodeId, Offset};

use crate::observer::Observer;
use crate::shard::own_batch;
use files::MetadataFiles;

pub use files::{FormatError, bootstrap_snapshot};
pub use recover::RecoverQuorumError;

/// Requests to the controller that may wait; a sender beyond it waits.
pub const CONTROLLER_MAILBOX_MAX: usize = 1024;
/// Bytes of the metadata log that are read at a time.
const READ_BYTES: u64 = 1 << 20;

/// What the task is asked.
pub enum Call {
    /// Decide something.
    Decide(Request, oneshot::Sender<Response>),
    /// Describe the quorum.
    Describe(oneshot::Sender<QuorumDescription>),
    /// The node stops.
    Stop(oneshot::Sender<()>),
}

/// What DescribeQuorum tells.
#[derive(Debug, Clone)]
pub struct QuorumDescription {
    /// The leader, or -1.
    pub leader_id: NodeId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// High watermark, or -1.
    pub high_watermark: Offset,
    /// The voters.
    pub voters: Vec<ReplicaStatus>,
}

/// Why the quorum cannot go on: the process ends.
#[derive(Debug, thiserror::Error)]
pub enum QuorumFailure {
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] Arc<DirectoryFailure>),
    /// The log cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log holds what cannot be replayed.
    #[error("offset {offset} of the metadata log: {reason}")]
    Replay {
        /// Where.
        offset: Offset,
        /// What.
        reason: String,
    },
}

/// Where a newly committed image goes.
pub trait Publisher {
    /// Publishes what the controller knows now, in which `changes` came about; ends when every shard has applied it.
    fn publish(
        &mut self,
        image: Arc<controller::MetadataImage>,
        changes: Vec<Change>,
    ) -> impl Future<Output = ()>;
}

/// The machines, their log, and what waits on them.
pub struct QuorumDriver<P> {
    clock: Clock,
    quorum: Quorum,
    controller: Controller,
    log: Log,
    files: MetadataFiles,
    publisher: P,
    /// The batch that the machine is asked about, until it says where to append it.
    offered: Option<ValidatedBatch>,
    /// Everything below is replayed.
    applied: Offset,
    /// The epoch this node leads in, once the controller may decide.
    leading: Option<LeaderEpoch>,
    next_token: u64,
    is_refused: bool,
    observer: Option<Arc<dyn Observer>>,
    /// Requests that are not answered, as the observer is told.
    parked: usize,
    /// Whether what is being written may use the space that is reserved for a full disk.
    may_use_reserve: bool,
}

impl<P: Publisher> QuorumDriver<P> {
    /// Starts the machine: when this ends, this node leads and everything in the log is replayed and published.
    pub async fn start(&mut self) -> Result<(), QuorumFailure> {
        self.feed(Input::Start).await?;
        if self.leading.is_none() && std::mem::take(&mut self.is_refused) {
            return Err(WriteError::NoSpace(self.log.path().to_owned()).into());
        }
        assert!(self.leading.is_some(), "a quorum of one elects itself");
        let activate = controller::request::Activate {
            bootstrap_features: controller::features::bootstrap_features(),
        };
        self.decide(Request::Activate(activate)).await?;
        Ok(())
    }

    /// Serves calls until the node stops.
    pub async fn run(mut self, mut calls: mpsc::Receiver<Call>) -> Result<(), QuorumFailure> {
        loop {
            let deadline = self.quorum.deadline();
            let call = runtime::select! {
                biased;
                call = calls.recv() => call,
                () = runtime::time::sleep_until(&self.clock, deadline) => {
                    self.feed(Input::Tick).await?;
                    continue;
                }
            };
            match call {
                None => return Ok(()),
                Some(Call::Decide(request, sender)) => {
                    self.parked = 1 + calls.len();
                    // Without a response the asker sees that the channel closed: nothing was decided.
                    if let Some(response) = self.decide(request).await? {
                        // The asker may have gone away; what was decided stands.
                        let _ = sender.send(response);
                    }
                    self.parked = 0;
                }
                Some(Call::Describe(sender)) => {
                    let _ = sender.send(self.describe());
                }
                Some(Call::Stop(sender)) => {
                    self.feed(Input::Resign).await?;
                    let closed = self.log.begin_close().await;
                    self.log.finish(closed)?;
                    let _ = sender.send(());
                    return Ok(());
                }
            }
        }
    }

    /// Decides one request; gives the answer once its records are committed and every shard knows them.
    /// `None` if they could not be written because the disk is full.
    pub async fn decide(&mut self, request: Request) -> Result<Option<Response>, QuorumFailure> {
        let now = self.clock.now();
        let next_offset = self.log.log_end_offset();
        let decision = self.controller.decide(now, next_offset, &request);
        self.observe_controller();
        // The reserve is for what frees space and for what keeps the node alive, not for what needs more of it.
        let grows = matches!(
            request,
            Request::CreateTopics(_) | Request::CreatePartitions(_)
        );
        self.may_use_reserve = !grows;
        let limit = self.files.limits().metadata_records_per_operation_max;
        let whole = decision.records.len().max(1);
        let size = if decision.atomic { whole } else { limit };
        for records in decision.records.chunks(size) {
            if !self.propose(records).await? {
                return Ok(None);
            }
        }
        Ok(Some(decision.response))
    }

    /// Says whether the records are committed; they are not if the disk is full.
    async fn propose(&mut self, records: &[MetadataRecord]) -> Result<bool, QuorumFailure> {
        let batch = own_batch(self.batch_of(records)?);
        let input = Input::Propose {
            token: self.next_token,
            epoch: self.leading.expect("only a leader decides"),
            record_count: batch.header.record_count,
            size_bytes: u32::try_from(batch.size_bytes()).expect("a batch is below 2 GiB"),
        };
        self.next_token += 1;
        self.offered = Some(batch);
        self.feed(input).await?;
        Ok(!std::mem::take(&mut self.is_refused))
    }

    fn batch_of(&self, records: &[MetadataRecord]) -> Result<BatchBuilder, QuorumFailure> {
        let timestamp = self.clock.now().wall.as_millis();
        let mut builder = BatchBuilder::new(0);
        for record in records {
            let value =
                controller::records::encode(record).map_err(|error| QuorumFailure::Replay {
                    offset: self.applied,
                    reason: error.to_string(),
                })?;
            builder.append(timestamp, None, Some(&value), &[]);
        }
        Ok(builder)
    }

    /// Steps the machine with `input` and with what its actions lead to, until it is quiet.
    async fn feed(&mut self, input: Input) -> Result<(), QuorumFailure> {
        let mut inputs = VecDeque::from([input]);
        let mut actions = Actions::new();
        while let Some(input) = inputs.pop_front() {
            self.quorum.step(self.clock.now(), input, &mut actions);
            if let Some(observer) = &self.observer {
                observer.quorum(&self.quorum.view());
            }
            let todo: Vec<Action> = actions.drain().collect();
            for action in todo {
                if let Some(input) = self.carry_out(action).await? {
                    inputs.push_back(input);
                }
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, action: Action) -> Result<Option<Input>, QuorumFailure> {
        match action {
            Action::PersistState(state) => {
                self.files.write_quorum_state(&state).await?;
                return Ok(Some(Input::StatePersisted(state)));
            }
            Action::AppendControl {
                base_offset,
                leader_epoch,
                timestamp,
                records,
            } => {
                let batch = files::control_batch(base_offset, leader_epoch, timestamp, &records);
                let records = batch.record_bytes();
                return self
                    .append(AppendBatch {
                        header: *batch.header(),
                        records,
                    })
                    .await
                    .map(Some);
            }
            Action::Append {
                base_offset,
                leader_epoch,
                ..
            } => {
                let batch = self
                    .offered
                    .take()
                    .expect("the machine appends what was offered");
                let header = batch.header_at(base_offset, leader_epoch);
                return self
                    .append(AppendBatch {
                        header,
                        records: batch.records,
                    })
                    .await
                    .map(Some);
            }
            Action::DropAppends { .. } => {}
            Action::Refuse { error, .. } => {
                tracing::error!(%error, "a metadata change is refused");
                self.offered = None;
                self.is_refused = true;
            }
            Action::NeedFlush => return self.flush().await.map(Some),
            Action::Commit { up_to } => self.apply(up_to).await?,
            Action::LeadershipGained { epoch } => self.leading = Some(epoch),
            Action::LeadershipLost { .. } => self.leading = None,
            Action::TakeSnapshot(id) => return self.take_snapshot(id).await.map(Some),
            Action::AdvanceLogStart { offset } => {
                let finished = self
                    .log
                    .begin_advance_log_start(self.clock.now(), offset, |_| None)
                    .await;
                let log_start = self.log.finish(finished)?.log_start_offset;
                return Ok(Some(Input::LogStartMoved { log_start }));
            }
            Action::DeleteSnapshotsBefore { end_offset } => {
                self.files.delete_snapshots_before(end_offset).await?;
            }
            Action::Note(note) => tracing::trace!(figures = ?note.figures, "{}", note.what),
        }
        Ok(None)
    }

    async fn append(&mut self, batch: AppendBatch) -> Result<Input, QuorumFailure> {
        let base_offset = batch.header.base_offset;
        let mut result = self.try_append(batch.clone()).await;
        if is_no_space(&result)
            && self.may_use_reserve
            && self.log.directory().release_reserve().await
        {
            // What frees space must be possible on a full disk: deleting a topic is a metadata record.
            result = self.try_append(batch).await;
        }
        match result {
            Ok(appended) => Ok(Input::Appended {
                end_offset: appended.log_end_offset,
            }),
            Err(error @ storage::AppendError::Write(WriteError::NoSpace(_))) => {
                tracing::error!(%error, "a metadata change is refused");
                self.is_refused = true;
                let generation = self.log.generation();
                let error = raft::AppendError::NoSpaceSingle;
                Ok(Input::AppendFailed {
                    from_offset: base_offset,
                    generation,
                    error,
                })
            }
            Err(storage::AppendError::Write(error)) => Err(error.into()),
            Err(error) => panic!("the quorum and its log disagree: {error}"),
        }
    }

    async fn try_append(
        &mut self,
        batch: AppendBatch,
    ) -> Result<storage::Appended, storage::AppendError> {
        let finished = self.log.begin_append(self.clock.now(), vec![batch]).await;
        self.log.finish(finished)
    }

    async fn flush(&mut self) -> Result<Input, QuorumFailure> {
        let handle = self.log.begin_flush();
        let generation = handle.generation();
        if self.leading.is_some() && types::planted!(MetadataCommitBeforeFlush) {
            let end_offset = self.log.log_end_offset();
            return Ok(Input::Flushed {
                end_offset,
                generation,
            });
        }
        let flushed = storage::flush_all(vec![handle]).await;
        let [flushed] = flushed.as_slice() else {
            panic!("one log was flushed")
        };
        let end_offset = flushed.result()?;
        self.log.complete_flush(flushed);
        Ok(Input::Flushed {
            end_offset,
            generation,
        })
    }

    /// Replays what is committed and not yet replayed, and publishes it.
    async fn apply(&mut self, up_to: Offset) -> Result<(), QuorumFailure> {
        let mut changes = Vec::new();
        while self.applied < up_to {
            let view = self.log.view();
            let batches = view.read_batches(self.applied, up_to, READ_BYTES).await?;
            assert!(!batches.is_empty(), "what is committed is in the log");
            for batch in &batches {
                self.replay(batch, &mut changes)?;
                self.observe_controller();
                self.applied = batch.header().next_offset();
            }
        }
        self.publisher
            .publish(self.controller.image(), changes)
            .await;
        Ok(())
    }

    fn observe_controller(&self) {
        if let Some(observer) = &self.observer {
            let quorum = self.quorum.view();
            observer.controller(&self.controller.view(), &quorum, self.parked);
        }
    }

    fn replay(&mut self, batch: &Batch, changes: &mut Vec<Change>) -> Result<(), QuorumFailure> {
        let header = batch.header();
        if header.is_control() {
            self.controller.skip_to(controller::image::Provenance {
                offset: header.last_offset(),
                epoch: header.partition_leader_epoch,
                timestamp_ms: header.max_timestamp,
            });
            return Ok(());
        }
        let failed = |reason: String| QuorumFailure::Replay {
            offset: header.base_offset,
            reason,
        };
        let records = recover::metadata_records(batch).map_err(failed)?;
        let position = BatchPosition {
            base_offset: header.base_offset,
            epoch: header.partition_leader_epoch,
            timestamp_ms: header.max_timestamp,
        };
        let failed = |reason: String| QuorumFailure::Replay {
            offset: header.base_offset,
            reason,
        };
        let replayed = self.controller.replay(position, &records);
        changes.extend(replayed.map_err(|error| failed(error.to_string()))?);
        Ok(())
    }

    async fn take_snapshot(&mut self, id: raft::SnapshotId) -> Result<Input, QuorumFailure> {
        let image = self.controller.image();
        let (kraft_version, voters) = self.quorum.snapshot_voters(id);
        let header = raft::snapshot_header(image.provenance.timestamp_ms, kraft_version, voters);
        let records = controller::snapshot::snapshot_records(&image);
        let timestamp = self.clock.now().wall.as_millis();
        let content = files::snapshot(id.epoch, timestamp, &header, &records);
        match self.files.write_snapshot(id, content).await {
            Ok(()) => {
                if let Some(observer) = &self.observer {
                    observer.snapshot(id.end_offset, &image);
                }
                Ok(Input::SnapshotWritten(id))
            }
            Err(error @ WriteError::NoSpace(_)) => {
                tracing::error!(%id, %error, "a metadata snapshot could not be written");
                Ok(Input::SnapshotFailed(id))
            }
            // Its name may be there without being durable, and no later sync would make it so.
            Err(error) => Err(error.into()),
        }
    }

    fn describe(&self) -> QuorumDescription {
        let view = self.quorum.view();
        let leads = view.role == RoleView::Leader;
        QuorumDescription {
            leader_id: view.leader.unwrap_or(-1),
            leader_epoch: view.leader_epoch,
            high_watermark: view.high_watermark.filter(|_| leads).unwrap_or(-1),
            voters: self.quorum.describe_voters(self.clock.now()),
        }
    }
}

fn is_no_space(result: &Result<storage::Appended, storage::AppendError>) -> bool {
    matches!(
        result,
        Err(storage::AppendError::Write(WriteError::NoSpace(_)))
    )
}
