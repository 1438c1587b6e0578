//! Appending: one positional write for all batches of a segment; all batches or none.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use protocol::records::{BATCH_HEADER_BYTES, BatchHeader};
use types::{Now, Offset};

use super::core::Core;
use super::job::Finished;
use crate::config::LogConfig;
use crate::error::{AppendError, WriteError};
use crate::names::FileKind;
use crate::segment::{Segment, SegmentState};

/// A batch to be stored.
#[derive(Clone, Debug)]
pub struct AppendBatch {
    /// The header as it shall be stored: with its final base offset, leader epoch, and timestamps.
    pub header: BatchHeader,
    /// What follows the header, as it came: it is written from here.
    pub records: Bytes,
}

/// What an append did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The first batch's base offset; the log end offset if there was no batch.
    pub base_offset: Offset,
    /// Where the next batch may begin.
    pub log_end_offset: Offset,
    /// Bytes written.
    pub size_bytes: u64,
    /// Whether a segment ended. Then a flush is due even where no ack waits for one, and it is time for a snapshot of
    /// the producers.
    pub has_rolled: bool,
}

/// Batches that go into one segment.
pub(super) struct Group {
    /// The base offset of a new segment, if one begins here.
    rolls_to: Option<Offset>,
    headers: Vec<BatchHeader>,
    chunks: Vec<Bytes>,
    size_bytes: u64,
}

/// The batches of an append, by segment.
pub(super) struct Plan {
    groups: Vec<Group>,
    appended: Appended,
    config: LogConfig,
    now: Now,
}

/// What decides about rolling.
struct RollState {
    base_offset: Offset,
    size_bytes: u64,
    first_timestamp: Option<i64>,
    created_ms: i64,
    is_index_full: bool,
}

impl RollState {
    fn of(segment: &Segment, config: &LogConfig) -> RollState {
        let state = segment.state();
        RollState {
            base_offset: segment.base_offset(),
            size_bytes: state.size_bytes,
            first_timestamp: state.first_timestamp,
            created_ms: state.created_ms,
            is_index_full: state.is_index_full(config.segment_index_bytes),
        }
    }

    fn at(base_offset: Offset, now: Now) -> RollState {
        RollState {
            base_offset,
            size_bytes: 0,
            first_timestamp: None,
            created_ms: now.wall.as_millis(),
            is_index_full: false,
        }
    }

    /// Whether the batch belongs into a new segment. An empty segment rolls only for offsets it cannot hold.
    fn must_roll(&self, header: &BatchHeader, config: &LogConfig, now: Now) -> bool {
        if header.last_offset() - self.base_offset > i64::from(i32::MAX) {
            return true;
        }
        if self.size_bytes == 0 {
            return false;
        }
        let age_ms = match self.first_timestamp {
            Some(first) if first >= 0 => header.max_timestamp.saturating_sub(first),
            _ => now.wall.as_millis().saturating_sub(self.created_ms),
        };
        self.size_bytes + header.size_bytes() as u64 > config.segment_bytes
            || age_ms > config.segment_ms
            || self.is_index_full
    }

    fn add(&mut self, header: &BatchHeader) {
        self.size_bytes += header.size_bytes() as u64;
        self.first_timestamp.get_or_insert(header.max_timestamp);
    }
}

/// The base offset of a segment that begins with this batch: where the log ends, though there may be a gap in front of
/// the batch, so that recovery knows a segment that has lost its end. Only a batch too far away has a segment of its own.
fn segment_base(end_offset: Offset, header: &BatchHeader) -> Offset {
    if header.last_offset() - end_offset > i64::from(i32::MAX) {
        return header.base_offset;
    }
    end_offset
}

impl Plan {
    /// Divides the batches among segments.
    pub fn new(
        core: &Core,
        config: &LogConfig,
        now: Now,
        batches: Vec<AppendBatch>,
    ) -> Result<Plan, AppendError> {
        check(core.log_end_offset, &batches)?;
        let base_offset = batches
            .first()
            .map_or(core.log_end_offset, |batch| batch.header.base_offset);
        let log_end_offset = batches
            .last()
            .map_or(core.log_end_offset, |batch| batch.header.next_offset());
        let size_bytes = batches
            .iter()
            .map(|batch| batch.header.size_bytes() as u64)
            .sum();
        let mut groups: Vec<Group> = Vec::with_capacity(1);
        let mut state = RollState::of(core.active(), config);
        let mut end_offset = core.log_end_offset;
        let mut headers = BytesMut::with_capacity(batches.len() * BATCH_HEADER_BYTES);
        for batch in batches {
            let header = batch.header;
            let rolls_to = state
                .must_roll(&header, config, now)
                .then(|| segment_base(end_offset, &header));
            end_offset = header.next_offset();
            if let Some(base) = rolls_to {
                state = RollState::at(base, now);
            }
            if rolls_to.is_some() || groups.is_empty() {
                groups.push(Group {
                    rolls_to,
                    headers: Vec::new(),
                    chunks: Vec::new(),
                    size_bytes: 0,
                });
            }
            state.add(&header);
            groups
                .last_mut()
                .expect("one was pushed")
                .add(header, batch.records, &mut headers);
        }
        let has_rolled = groups.iter().any(|group| group.rolls_to.is_some());
        let appended = Appended {
            base_offset,
            log_end_offset,
            size_bytes,
            has_rolled,
        };
        Ok(Plan {
            groups,
            appended,
            config: config.clone(),
            now,
        })
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// What will have been done.
    pub fn appended(&self) -> Appended {
        self.appended
    }

    /// The bytes to write if they all belong into the active segment.
    pub fn take_single_write(&mut self) -> Option<Vec<Bytes>> {
        match &mut self.groups[..] {
            [group] if group.rolls_to.is_none() => Some(match self.config.is_journaled {
                true => group.chunks.clone(),
                false => std::mem::take(&mut group.chunks),
            }),
            _ => None,
        }
    }
}

impl Group {
    fn add(&mut self, header: BatchHeader, records: Bytes, headers: &mut BytesMut) {
        self.size_bytes += header.size_bytes() as u64;
        headers.extend_from_slice(&header.encode());
        self.chunks.push(headers.split().freeze());
        if !records.is_empty() {
            self.chunks.push(records);
        }
        self.headers.push(header);
    }
}

fn check(log_end_offset: Offset, batches: &[AppendBatch]) -> Result<(), AppendError> {
    let mut next = log_end_offset;
    for AppendBatch { header, records } in batches {
        let base_offset = header.base_offset;
        let (size_bytes, header_bytes) = (BATCH_HEADER_BYTES + records.len(), header.size_bytes());
        if size_bytes != header_bytes || header.check().is_err() {
            return Err(AppendError::Malformed {
                base_offset,
                size_bytes,
                header_bytes,
            });
        }
        if base_offset < next {
            return Err(AppendError::BelowLogEnd {
                base_offset,
                log_end_offset: next,
            });
        }
        next = header.next_offset();
    }
    Ok(())
}

/// Takes note of a group that has been written to the active segment.
fn note_written(core: &mut Core, group: &Group, config: &LogConfig) {
    let segment = core.active().clone();
    {
        let mut state = segment.state();
        for header in &group.headers {
            state.note_batch(segment.base_offset(), header, config.index_interval_bytes);
        }
    }
    segment.slot(FileKind::Log).set_unsynced(true);
    core.log_end_offset = group
        .headers
        .last()
        .map_or(core.log_end_offset, BatchHeader::next_offset);
    core.appended_bytes += group.size_bytes;
    if config.is_journaled {
        core.captured.extend_from_slice(&group.chunks);
    }
    core.written.push(segment);
}

/// Takes note of a single write that has ended well.
pub(super) fn finish_single(core: &mut Core, plan: &Plan) -> Appended {
    let [group] = &plan.groups[..] else {
        panic!("a single write has a single group")
    };
    note_written(core, group, &plan.config);
    plan.appended
}

/// What is needed to take an append back.
struct Undo {
    segments: usize,
    active: Arc<Segment>,
    state: SegmentState,
    log_end_offset: Offset,
    written: usize,
    appended_bytes: u64,
    captured: usize,
}

impl Undo {
    fn new(core: &Core) -> Undo {
        Undo {
            segments: core.segments.len(),
            active: core.active().clone(),
            state: core.active().state().clone(),
            log_end_offset: core.log_end_offset,
            written: core.written.len(),
            appended_bytes: core.appended_bytes,
            captured: core.captured.len(),
        }
    }

    /// Cuts the log back to where it was.
    async fn run(self, core: &mut Core) -> Result<(), WriteError> {
        for segment in core.segments.split_off(self.segments) {
            let path = segment.path(FileKind::Log);
            core.shared.directory.files().forget(&segment);
            core.shared.directory.remove_file(&path).await?;
        }
        let size_bytes = self.state.size_bytes;
        *self.active.state() = self.state;
        core.log_end_offset = self.log_end_offset;
        core.written.truncate(self.written);
        core.appended_bytes = self.appended_bytes;
        core.captured.truncate(self.captured);
        if let Some(file) = self.active.slot(FileKind::Log).get() {
            let path = self.active.path(FileKind::Log);
            let cut = file.set_len(size_bytes).await;
            // A disk that has no room to cut a file has no use.
            cut.map_err(|error| core.shared.directory.fail("cutting", &path, &error))?;
        }
        Ok(())
    }
}

/// Writes the groups of a plan, one segment after the other.
pub(super) async fn run(
    mut core: Box<Core>,
    plan: Plan,
) -> Finished<Result<Appended, AppendError>> {
    let log_end_offset = core.log_end_offset;
    let undo = Undo::new(&core);
    let mut result = Ok(plan.appended);
    for group in &plan.groups {
        if let Err(error) = write_group(&mut core, group, &plan).await {
            result = Err(AppendError::Write(refuse(&mut core, undo, error).await));
            break;
        }
    }
    // As if the indexes of a segment that ends here could not be written.
    if result.is_ok()
        && plan.appended.has_rolled
        && log_end_offset > 0
        && types::planted!(IndexErrorReusesOffsets)
    {
        core.log_end_offset = log_end_offset;
        let path = core.active().path(FileKind::OffsetIndex);
        result = Err(AppendError::Write(WriteError::NoSpace(path)));
    }
    Finished {
        core: Some(core),
        result,
    }
}

async fn write_group(core: &mut Core, group: &Group, plan: &Plan) -> Result<(), WriteError> {
    if let Some(base_offset) = group.rolls_to {
        core.roll(&plan.config, plan.now, base_offset).await?;
    } else if core.active().state().offset_index.is_due() {
        let active = core.active().clone();
        core.write_indexes(&active).await?;
    }
    let file = core.active_file(&plan.config).await?;
    let position = core.active().size_bytes();
    let written = believed(file.write_at(position, group.chunks.clone()).await);
    written.map_err(|error| core.shared.write_error("appending to", file.path(), &error))?;
    note_written(core, group, &plan.config);
    Ok(())
}

/// What is believed of a write: what the disk said, but for the planted bug that overhears errors.
fn believed(written: std::io::Result<()>) -> std::io::Result<()> {
    written.or_else(|error| {
        if !crate::error::is_no_space(&error) && types::planted!(WriteErrorSwallowed) {
            Ok(())
        } else {
            Err(error)
        }
    })
}

/// Ends a single write that was begun before, or has failed.
pub(super) async fn end_single(
    mut core: Box<Core>,
    plan: Plan,
    written: impl Future<Output = std::io::Result<()>>,
) -> Finished<Result<Appended, AppendError>> {
    let undo = Undo::new(&core);
    let result = match believed(written.await) {
        Ok(()) => Ok(finish_single(&mut core, &plan)),
        Err(error) => {
            let path = core.active().path(FileKind::Log);
            let error = core.shared.write_error("appending to", &path, &error);
            Err(AppendError::Write(refuse(&mut core, undo, error).await))
        }
    };
    Finished {
        core: Some(core),
        result,
    }
}

/// Takes back what a failed append has written; a full disk then only refuses.
async fn refuse(core: &mut Core, undo: Undo, error: WriteError) -> WriteError {
    match error {
        WriteError::NoSpace(_) => match undo.run(core).await {
            Ok(()) => error,
            Err(worse) => worse,
        },
        failed => failed,
    }
}
