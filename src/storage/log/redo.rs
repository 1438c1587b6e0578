//! What a journal holds and the segments lack, appended to them.

use protocol::records::{Batch, batches};
use types::{Offset, planted};

use super::recover::Recovery;
use crate::error::OpenError;
use crate::journal::Entry;
use crate::names::FileKind;

impl Recovery<'_> {
    /// Appends to the last segment what the journals hold above the end that recovery has found; says whether there was
    /// anything. Then the log is to be recovered once more: what was added is not durable yet, nor in any index.
    pub(super) async fn redo(&mut self, entries: &[Entry]) -> Result<bool, OpenError> {
        let Some(segment) = self.segments.last().cloned() else {
            return Ok(false);
        };
        let missing = self.missing(entries);
        if missing.is_empty() || planted!(JournalNotReplayed) {
            return Ok(false);
        }
        let path = segment.path(FileKind::Log);
        let file = segment.open(FileKind::Log).await;
        let file = file.map_err(|error| self.fail("opening", &path, &error))?;
        tracing::info!(
            name = %self.shared.name, offset = self.next_offset, batches = missing.len(),
            "appending what the log lacks from the journal"
        );
        let chunks = missing.into_iter().map(Batch::into_bytes).collect();
        let written = file.write_at(segment.size_bytes(), chunks).await;
        written.map_err(|error| self.fail("appending to", &path, &error))?;
        Ok(true)
    }

    /// The batches of `entries` that go on where the log ends. One of an older epoch than the log's is from before a
    /// truncation.
    fn missing(&self, entries: &[Entry]) -> Vec<Batch> {
        let mut missing = Vec::new();
        let mut end = self.next_offset;
        let mut epoch = self.recovered.epochs.last().map_or(-1, |(epoch, _)| *epoch);
        for entry in entries {
            let mut previous_end = entry.previous_end;
            for batch in entry.chunks.iter().flat_map(|chunk| batches(chunk.clone())) {
                let Ok(batch) = batch else { break };
                let header = *batch.header();
                let is_next = goes_on(end, previous_end, header.base_offset);
                previous_end = header.next_offset();
                if !is_next || header.partition_leader_epoch < epoch || batch.verify_crc().is_err()
                {
                    continue;
                }
                (end, epoch) = (header.next_offset(), header.partition_leader_epoch);
                missing.push(batch);
            }
        }
        missing
    }
}

/// Whether a batch that was appended where the log ended at `previous_end` is the next one of a log that ends at `end`.
fn goes_on(end: Offset, previous_end: Offset, base_offset: Offset) -> bool {
    (previous_end..=base_offset).contains(&end)
}
