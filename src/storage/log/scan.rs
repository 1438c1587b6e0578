//! Reading a segment's file from end to end, to see what of it can be trusted.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use protocol::records::{Batch, BatchError};
use runtime::disk::File;
use types::{LeaderEpoch, Offset, ProducerId};

use crate::segment::SegmentState;

const CHUNK_BYTES: usize = 1 << 20;

/// Where and why a segment is not to be trusted any further.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BadBatch {
    pub path: PathBuf,
    pub position: u64,
    /// The lowest offset that the bad batch can have had.
    pub offset: Offset,
    pub reason: String,
}

/// How a scan goes about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanOptions {
    pub index_interval_bytes: u64,
    /// Checksums are compared, too.
    pub verifies_checksums: bool,
    /// Batches below are known to have been synced.
    pub proven_offset: Offset,
}

/// A scan of a segment's file; what it has seen is in its fields.
pub(super) struct Scan<'a> {
    file: &'a File,
    path: &'a Path,
    base_offset: Offset,
    options: ScanOptions,
    /// What is remembered of the good batches.
    pub state: SegmentState,
    /// The offset after the last good batch.
    pub next_offset: Offset,
    /// Offsets and producers of the markers that end transactions.
    pub markers: Vec<(Offset, ProducerId)>,
    /// Epochs in order, each with the base offset of its first batch.
    pub epochs: &'a mut Vec<(LeaderEpoch, Offset)>,
    /// Where the first good batch lies that is not known to have been synced.
    pub unproven_from: Option<u64>,
    pub bad: Option<BadBatch>,
}

impl<'a> Scan<'a> {
    /// A scan that goes on behind what `state` tells, where offsets of `next_offset` or more are due.
    pub fn new(
        file: &'a File,
        path: &'a Path,
        base_offset: Offset,
        options: ScanOptions,
        state: SegmentState,
        next_offset: Offset,
        epochs: &'a mut Vec<(LeaderEpoch, Offset)>,
    ) -> Scan<'a> {
        Scan {
            file,
            path,
            base_offset,
            options,
            state,
            next_offset,
            markers: Vec::new(),
            epochs,
            unproven_from: None,
            bad: None,
        }
    }

    /// Walks over batches up to `end`, or up to the first bad one.
    ///
    /// # Errors
    /// Of reading.
    pub async fn run(&mut self, end: u64) -> std::io::Result<()> {
        let mut chunk = Bytes::new();
        let mut wanted = CHUNK_BYTES;
        while self.state.size_bytes < end && self.bad.is_none() {
            let position = self.state.size_bytes;
            let room = end - position;
            match Batch::parse(&chunk) {
                Err(BatchError::Incomplete { needed_bytes, .. }) if needed_bytes <= room => {
                    if chunk.len() as u64 >= needed_bytes.min(room) && !chunk.is_empty() {
                        self.stop("the file ends inside the batch");
                        break;
                    }
                    wanted = wanted
                        .max(usize::try_from(needed_bytes).expect("a batch fits into memory"));
                    let length = wanted.min(usize::try_from(room).unwrap_or(usize::MAX));
                    let read = self.file.read_at(position, length).await?;
                    if read.len() <= chunk.len() {
                        self.stop("the file ends inside the batch");
                    }
                    chunk = read;
                    wanted = CHUNK_BYTES;
                }
                Err(BatchError::Incomplete { .. }) => self.stop("the file ends inside the batch"),
                Err(error) => self.stop(error),
                Ok(batch) => {
                    if self.accept(&batch) {
                        chunk = chunk.slice(batch.size_bytes()..);
                    }
                }
            }
        }
        Ok(())
    }

    fn stop(&mut self, reason: impl ToString) {
        self.bad = Some(BadBatch {
            path: self.path.to_owned(),
            position: self.state.size_bytes,
            offset: self.next_offset,
            reason: reason.to_string(),
        });
    }

    fn accept(&mut self, batch: &Batch) -> bool {
        let header = batch.header();
        if let Err(error) = header.check() {
            self.stop(error);
        } else if header.base_offset < self.next_offset {
            self.stop(format!(
                "base offset {} is below {}",
                header.base_offset, self.next_offset
            ));
        } else if header.last_offset() - self.base_offset > i64::from(i32::MAX) {
            self.stop(format!(
                "last offset {} is too far from the segment's base",
                header.last_offset()
            ));
        } else if let Some(error) = self
            .options
            .verifies_checksums
            .then(|| batch.verify_crc().err())
            .flatten()
        {
            self.stop(error);
        }
        if self.bad.is_some() {
            return false;
        }
        let epoch = header.partition_leader_epoch;
        if epoch >= 0 && self.epochs.last().is_none_or(|(last, _)| epoch > *last) {
            self.epochs.push((epoch, header.base_offset));
        }
        if header.is_control() && header.has_producer_id() {
            self.markers.push((header.base_offset, header.producer_id));
        }
        if header.next_offset() > self.options.proven_offset {
            self.unproven_from.get_or_insert(self.state.size_bytes);
        }
        self.state
            .note_batch(self.base_offset, header, self.options.index_interval_bytes);
        self.next_offset = header.next_offset();
        true
    }
}
