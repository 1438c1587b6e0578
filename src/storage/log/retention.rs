//! Which segments may go, by time, by size, and below the log start.

use bytes::Bytes;
use types::{Now, Offset};

use super::Log;
use super::core::Core;
use super::job::{Finished, LogJob};
use crate::config::LogConfig;
use crate::error::WriteError;
use crate::partition_files::PartitionFiles;

/// What retention did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retained {
    /// Segments taken out of the log.
    pub removed_segments: usize,
    /// Their bytes.
    pub removed_bytes: u64,
    /// The log start offset now.
    pub log_start_offset: Offset,
}

impl Log {
    /// Begins to take out the segments that the config's time or size no longer keeps, from the oldest on and only
    /// those that end at or below `upper_offset` (the high watermark). Their files are removed later, see
    /// [`Log::begin_remove_deleted`].
    ///
    /// Once a log is emptied, its batches tell nothing of producers any more: `producers` is then asked for their snapshot
    /// at the log end, which is made durable first.
    pub fn begin_retention(
        &mut self,
        now: Now,
        upper_offset: Offset,
        producers: impl FnOnce(Offset) -> Bytes,
    ) -> LogJob<Result<Retained, WriteError>> {
        let config = self.config.clone();
        let core = self.begin();
        let count = removable(&core, &config, now, upper_offset);
        if count == 0 {
            let retained = Retained {
                log_start_offset: core.log_start_offset,
                ..Retained::default()
            };
            return LogJob::done_with(core, Ok(retained));
        }
        let is_emptied = count == core.segments.len();
        let snapshot = is_emptied.then(|| producers(core.log_end_offset));
        LogJob::running(async move {
            let mut core = core;
            let result = match snapshot {
                Some(snapshot) => empty(&mut core, &config, now, snapshot).await,
                None => retain(&mut core, &config, now, count).await,
            };
            Finished {
                core: Some(core),
                result,
            }
        })
    }

    /// Begins to move the log start up to `offset`, durably, and takes out the segments that are wholly below it. An
    /// offset at or below the log start changes nothing. Gives the log start.
    ///
    /// What lies below tells nothing of producers after a restart: `producers` is asked for their snapshot at the log
    /// end, which is made durable first, if the disk has room for it.
    ///
    /// # Panics
    /// If `offset` is above the log end.
    pub fn begin_advance_log_start(
        &mut self,
        now: Now,
        offset: Offset,
        producers: impl FnOnce(Offset) -> Option<Bytes>,
    ) -> LogJob<Result<Retained, WriteError>> {
        let config = self.config.clone();
        let core = self.begin();
        assert!(
            offset <= core.log_end_offset,
            "the log start stays at or below the log end"
        );
        if offset <= core.log_start_offset {
            let retained = Retained {
                log_start_offset: core.log_start_offset,
                ..Retained::default()
            };
            return LogJob::done_with(core, Ok(retained));
        }
        let snapshot = producers(core.log_end_offset);
        LogJob::running(async move {
            let mut core = core;
            let result = advance(&mut core, &config, now, offset, snapshot).await;
            Finished {
                core: Some(core),
                result,
            }
        })
    }
}

/// Where a segment ends: where the next one begins.
fn end_of(core: &Core, index: usize) -> Offset {
    core.segments
        .get(index + 1)
        .map_or(core.log_end_offset, |next| next.base_offset())
}

/// How many of the oldest segments may go.
fn removable(core: &Core, config: &LogConfig, now: Now, upper_offset: Offset) -> usize {
    let mut excess_bytes = match u64::try_from(config.retention_bytes) {
        Ok(bytes) if config.cleanup.delete => core.size_bytes().saturating_sub(bytes),
        _ => 0,
    };
    let mut count = 0;
    for (index, segment) in core.segments.iter().enumerate() {
        let size_bytes = segment.size_bytes();
        let end = end_of(core, index);
        let is_active = index + 1 == core.segments.len();
        let is_old = config.cleanup.delete && is_expired(segment, config, now);
        let is_excess = excess_bytes >= size_bytes && excess_bytes > 0;
        let is_below_start = end <= core.log_start_offset && !is_active;
        let is_due = size_bytes > 0 && (is_old || (is_excess && !is_active));
        let may_go =
            is_due && (end <= upper_offset || types::planted!(RetentionAboveHighWatermark));
        if !may_go && !is_below_start {
            break;
        }
        excess_bytes = excess_bytes.saturating_sub(size_bytes);
        count += 1;
    }
    count
}

fn is_expired(segment: &crate::segment::Segment, config: &LogConfig, now: Now) -> bool {
    let state = segment.state();
    let newest_ms = match state.max_timestamp.timestamp {
        timestamp if timestamp >= 0 => timestamp,
        _ => state.created_ms,
    };
    config.retention_ms >= 0 && now.wall.as_millis().saturating_sub(newest_ms) > config.retention_ms
}

/// Takes out all segments there are. Without space for the snapshot of the producers the last one stays.
async fn empty(
    core: &mut Core,
    config: &LogConfig,
    now: Now,
    snapshot: Bytes,
) -> Result<Retained, WriteError> {
    let count = core.segments.len();
    let files = PartitionFiles::new(core.shared.clone());
    let end = core.log_end_offset;
    match files.write_producer_snapshot(end, snapshot).await {
        Ok(()) => {
            // The log goes on where it was; the new segment's name is what remembers that.
            core.roll(config, now, end).await?;
            core.make_active_durable(config).await?;
            retain(core, config, now, count).await
        }
        Err(WriteError::NoSpace(_)) if count > 1 => retain(core, config, now, count - 1).await,
        Err(error) => Err(error),
    }
}

async fn retain(
    core: &mut Core,
    config: &LogConfig,
    now: Now,
    count: usize,
) -> Result<Retained, WriteError> {
    core.shared.directory.check()?;
    let removed_bytes = core.segments[..count]
        .iter()
        .map(|segment| segment.size_bytes())
        .sum();
    let log_start_offset = core
        .log_start_offset
        .max(core.segments[count].base_offset());
    let due = now.mono.plus_millis(config.file_delete_delay_ms);
    let directory = core.shared.directory.clone();
    directory
        .log_starts()
        .set(&core.shared.name, log_start_offset);
    match directory.persist(directory.log_starts()).await {
        // A full disk gets its space by what follows; the checkpoint is written a second later.
        Ok(()) | Err(WriteError::NoSpace(_)) => {}
        Err(error) => return Err(error),
    }
    // Who is told a log start must not be told a lower one after a loss of power, and renames are not synced.
    core.log_start_offset = log_start_offset;
    core.take_out(count, due).await?;
    tracing::info!(name = %core.shared.name, segments = count, removed_bytes, log_start_offset, "retention");
    Ok(Retained {
        removed_segments: count,
        removed_bytes,
        log_start_offset,
    })
}

async fn advance(
    core: &mut Core,
    config: &LogConfig,
    now: Now,
    offset: Offset,
    snapshot: Option<Bytes>,
) -> Result<Retained, WriteError> {
    let directory = core.shared.directory.clone();
    directory.check()?;
    if let Some(snapshot) = snapshot {
        let files = PartitionFiles::new(core.shared.clone());
        match files
            .write_producer_snapshot(core.log_end_offset, snapshot)
            .await
        {
            // Records are deleted to make room.
            Err(WriteError::NoSpace(_)) => {}
            written => written?,
        }
    }
    directory.log_starts().set(&core.shared.name, offset);
    if let Err(error) = directory.persist(directory.log_starts()).await {
        directory
            .log_starts()
            .set(&core.shared.name, core.log_start_offset);
        return Err(error);
    }
    core.log_start_offset = offset;
    let last = core.segments.len() - 1;
    let count = (0..last)
        .take_while(|index| end_of(core, *index) <= offset)
        .count();
    let removed_bytes = core.segments[..count]
        .iter()
        .map(|segment| segment.size_bytes())
        .sum();
    core.take_out(count, now.mono.plus_millis(config.file_delete_delay_ms))
        .await?;
    Ok(Retained {
        removed_segments: count,
        removed_bytes,
        log_start_offset: offset,
    })
}
