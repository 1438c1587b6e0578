//! Which segments may go, by time, by size, and below the log start.

use types::{Now, Offset};

use super::Log;
use super::core::Core;
use super::job::{Finished, LogJob};
use crate::config::LogConfig;
use crate::error::WriteError;

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
    pub fn begin_retention(
        &mut self,
        now: Now,
        upper_offset: Offset,
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
        LogJob::running(async move {
            let mut core = core;
            let result = retain(&mut core, &config, now, count).await;
            Finished {
                core: Some(core),
                result,
            }
        })
    }

    /// Begins to move the log start up to `offset`, durably, and takes out the segments that are wholly below it. An
    /// offset at or below the log start changes nothing. Gives the log start.
    ///
    /// # Panics
    /// If `offset` is above the log end.
    pub fn begin_advance_log_start(
        &mut self,
        now: Now,
        offset: Offset,
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
        LogJob::running(async move {
            let mut core = core;
            let result = advance(&mut core, &config, now, offset).await;
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
    if count == core.segments.len() {
        // The log goes on where it was; the new segment's name is what remembers that.
        core.roll(config, now, core.log_end_offset).await?;
        core.make_active_durable(config).await?;
    }
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
) -> Result<Retained, WriteError> {
    let directory = core.shared.directory.clone();
    directory.check()?;
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
