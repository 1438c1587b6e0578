//! Making everything of a log durable: before a clean stop.

use std::io;

use types::Offset;

use super::Log;
use super::core::Core;
use super::job::{Finished, LogJob};
use crate::error::WriteError;
use crate::names::FileKind;

impl Log {
    /// Begins to make batches and indexes durable, complete as they are at a clean stop. The log stays usable.
    /// Gives the flushed offset, which is the log end.
    pub fn begin_close(&mut self) -> LogJob<Result<Offset, WriteError>> {
        let unsynced = self.unsynced.clone();
        let is_new = self.is_directory_unsynced;
        let core = self.begin();
        LogJob::running(async move {
            let mut core = core;
            let result = run(&mut core, unsynced, is_new).await;
            Finished {
                core: Some(core),
                result,
            }
        })
    }
}

async fn run(
    core: &mut Core,
    unsynced: Vec<std::sync::Arc<crate::segment::Segment>>,
    is_new: bool,
) -> Result<Offset, WriteError> {
    let shared = core.shared.clone();
    shared.directory.check()?;
    let active = core.active().clone();
    let mut segments = unsynced;
    if active.size_bytes() > 0 {
        active.state().push_time_entry(active.base_offset());
        if !segments
            .iter()
            .any(|segment| std::sync::Arc::ptr_eq(segment, &active))
        {
            segments.push(active);
        }
    }
    for segment in &segments {
        let path = segment.path(FileKind::OffsetIndex);
        let complete = async || {
            segment.write_indexes().await?;
            for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
                segment.open_or_create(kind).await?.sync_data().await?;
            }
            match segment.open(FileKind::TransactionIndex).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                file => file?.sync_data().await,
            }
        };
        complete()
            .await
            .map_err(|error| shared.write_error("closing", &path, &error))?;
    }
    if is_new {
        let path = shared.path.join(crate::names::PARTITION_METADATA);
        let sync = async || {
            let file = shared
                .disk()
                .open(&path, runtime::disk::OpenMode::ReadWrite)
                .await?;
            file.sync_data().await?;
            shared.disk().sync_dir(shared.directory.path()).await
        };
        sync()
            .await
            .map_err(|error| shared.directory.fail("syncing", &path, &error))?;
    }
    core.sync_names().await?;
    core.is_all_flushed = true;
    Ok(core.log_end_offset)
}
