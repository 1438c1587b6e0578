//! Adding to the index of aborted transactions.

use std::io;

use super::Log;
use super::core::Core;
use super::job::{Finished, LogJob};
use crate::error::WriteError;
use crate::index::{AbortedTransaction, Entry, encode_entries};
use crate::names::FileKind;

impl Log {
    /// Begins to add aborted transactions, in order of their markers, each to the segment that holds its marker.
    /// Those that are there already are left out, so a rebuilding may give all of them again.
    ///
    /// The entries are synced when their segment ends and at a clean stop; after a crash the owner rebuilds those of
    /// the batches that recovery has checked.
    pub fn begin_append_aborted(
        &mut self,
        aborted: Vec<AbortedTransaction>,
    ) -> LogJob<Result<(), WriteError>> {
        let core = self.begin();
        if aborted.is_empty() {
            return LogJob::done_with(core, Ok(()));
        }
        LogJob::running(async move {
            let mut core = core;
            let result = add(&mut core, &aborted).await;
            Finished {
                core: Some(core),
                result,
            }
        })
    }
}

async fn add(core: &mut Core, aborted: &[AbortedTransaction]) -> Result<(), WriteError> {
    core.shared.directory.check()?;
    let segments = core.segments.clone();
    for (index, segment) in segments.iter().enumerate() {
        let end = segments
            .get(index + 1)
            .map_or(i64::MAX, |next| next.base_offset());
        let is_ours =
            |entry: &&AbortedTransaction| (segment.base_offset()..end).contains(&entry.last_offset);
        let mut new: Vec<AbortedTransaction> = aborted.iter().filter(is_ours).copied().collect();
        if new.is_empty() {
            continue;
        }
        let write = async || -> io::Result<()> {
            let known = segment.read_aborted().await?;
            let last = known.last().map_or(-1, |entry| entry.last_offset);
            new.retain(|entry| entry.last_offset > last);
            let file = segment.open_or_create(FileKind::TransactionIndex).await?;
            let position = (known.len() * AbortedTransaction::SIZE_BYTES) as u64;
            file.write_at(position, vec![encode_entries(&new)]).await
        };
        let mut write = write;
        let written = write().await;
        let path = segment.path(FileKind::TransactionIndex);
        written.map_err(|error| core.shared.write_error("writing", &path, &error))?;
        core.are_names_changed = true;
        core.written.push(segment.clone());
    }
    Ok(())
}
