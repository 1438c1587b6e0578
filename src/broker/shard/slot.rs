//! One partition on its shard: the machine, the log, and what is between them.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::records::BatchHeader;
use protocol::records::validate::ValidatedBatch;
use replica::{BatchSummary, Replica};
use storage::{AppendBatch, Log};
use types::{LeaderEpoch, Offset};

use super::pressure::Counted;
use super::waiters::Waiters;
use crate::image::TopicConfig;
use crate::metrics::Traffic;

/// A partition that this node leads.
pub(super) struct Slot {
    /// The topic's name.
    pub topic: Arc<str>,
    pub replica: Replica,
    pub log: Log,
    /// The configs in force, as last told to the machine and the log.
    pub config: Arc<TopicConfig>,
    /// What clients do with the topic.
    pub traffic: Arc<Traffic>,
    /// The batch that the machine is being asked about, until it says where to append it.
    offered: Option<(u64, ValidatedBatch)>,
    /// Appends that the machine has asked for and nobody has begun to write.
    pub queue: VecDeque<AppendBatch>,
    /// Whether a job of the log is under way: then nothing else may be begun.
    pub is_busy: bool,
    pub is_flushing: bool,
    /// Whether a flush was asked for while one was under way.
    pub must_flush_again: bool,
    /// What the log shall do when it is free, in order.
    pub jobs: VecDeque<Job>,
    pub waiters: Waiters,
    /// The newest epoch that the history on disk has, -1 if none.
    pub written_epoch: LeaderEpoch,
    /// Its share of what the shard's [`super::pressure::Pressure`] counts.
    pub counted: Counted,
}

/// Something other than appending that a log has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    /// Move the log's start up.
    AdvanceLogStart(Offset),
    /// Remove what retention lets go.
    Retain,
    /// Unlink the files of removed segments.
    Unlink,
    /// Write down which epoch began where.
    WriteEpochs,
}

impl Slot {
    /// A slot over a machine and its log.
    pub fn new(
        topic: Arc<str>,
        replica: Replica,
        log: Log,
        config: Arc<TopicConfig>,
        traffic: Arc<Traffic>,
        written_epoch: LeaderEpoch,
    ) -> Slot {
        Slot {
            topic,
            replica,
            log,
            config,
            traffic,
            offered: None,
            queue: VecDeque::new(),
            is_busy: false,
            is_flushing: false,
            must_flush_again: false,
            jobs: VecDeque::new(),
            waiters: Waiters::default(),
            written_epoch,
            counted: Counted::default(),
        }
    }

    /// Holds the batch that the machine is asked about next.
    pub fn offer(&mut self, token: u64, batch: ValidatedBatch) {
        assert!(self.offered.is_none(), "one batch is offered at a time");
        self.offered = Some((token, batch));
    }

    /// Drops the batch if the machine did not take it.
    pub fn withdraw_offer(&mut self) {
        self.offered = None;
    }

    /// Queues the offered batch at its offset; gives what will be stored of it.
    pub fn take_offer(
        &mut self,
        token: u64,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
    ) -> BatchHeader {
        let (offered, batch) = self
            .offered
            .take()
            .expect("the machine appends what was offered");
        assert_eq!(offered, token, "the machine appends what was offered");
        let header = batch.header_at(base_offset, leader_epoch);
        self.queue.push_back(AppendBatch {
            header,
            records: batch.records,
        });
        header
    }

    /// The first batches of the queue up to about so many bytes, one at least.
    pub fn take_queued(&mut self, bytes: u64) -> Vec<AppendBatch> {
        let mut taken_bytes = 0;
        let mut is_within = |batch: &AppendBatch| {
            let is_within = taken_bytes < bytes.max(1);
            taken_bytes += batch.header.size_bytes() as u64;
            is_within
        };
        let count = self.queue.iter().take_while(|batch| is_within(batch));
        let count = count.count();
        self.queue.drain(..count).collect()
    }

    /// Queues a job unless the same waits already.
    pub fn push_job(&mut self, job: Job) {
        if !self.jobs.contains(&job) {
            self.jobs.push_back(job);
        }
    }

    /// Whether there is something to begin.
    pub fn has_work(&self) -> bool {
        !self.is_busy && (!self.queue.is_empty() || !self.jobs.is_empty())
    }
}

/// What the machine needs to know of a batch.
pub(super) fn summary_of(batch: &ValidatedBatch) -> BatchSummary {
    BatchSummary::from(&batch.header)
}
