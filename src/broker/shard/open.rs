//! Opens a partition: finds or makes its log, and builds the machine's state from what is in it.

use std::sync::Arc;

use controller::TopicImage;
use protocol::stored::EndTxnMarker;
use replica::{
    BatchSummary, ControlMarker, EpochEntry, EpochHistory, MarkerKind, ProducerState,
    RecoveredState, Replica,
};
use storage::{Log, LogDirectory, OpenError, PartitionName, ScannedBatch, WriteError};
use types::{Now, Offset, TopicPartition};

use super::slot::Slot;
use super::Shard;
use crate::core::Core;
use crate::image::Image;

/// Why a partition cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenPartitionError {
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log cannot be made.
    #[error(transparent)]
    Create(#[from] WriteError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] storage::ReadError),
    /// The log contradicts itself.
    #[error(transparent)]
    Replay(#[from] replica::ReplayError),
    /// No log directory can take it.
    #[error("no log directory is online")]
    NoDirectory,
}

/// The slot of a partition whose log is there or is made now.
pub(super) async fn open(
    core: &Core,
    image: &Image,
    topic: &TopicImage,
    partition: TopicPartition,
) -> Result<Slot, OpenPartitionError> {
    let config = Arc::clone(image.topic_config(&topic.name));
    let name = Shard::name_of(&topic.name, partition);
    let log = match core.node.found(&name) {
        Some((directory, was_clean)) => {
            open_found(core, &name, &directory, was_clean, topic, &config).await?
        }
        None => None,
    };
    let log = match log {
        Some(log) => log,
        None => {
            let directory = core.node.directory_for(image, partition);
            let directory = directory.ok_or(OpenPartitionError::NoDirectory)?;
            Log::create(&directory, &name, topic.id, config.log.clone(), core.now()).await?
        }
    };
    let recovered = recover(core, &log).await?;
    let replica = Replica::new(core.node.id, core.now(), config.replica.clone(), recovered);
    Ok(Slot::new(Arc::clone(&topic.name), replica, log, config))
}

/// Opens the log that was found, unless it is one of an earlier topic of the same name: that one is deleted.
async fn open_found(
    core: &Core,
    name: &PartitionName,
    directory: &LogDirectory,
    was_clean: bool,
    topic: &TopicImage,
    config: &crate::image::TopicConfig,
) -> Result<Option<Log>, OpenPartitionError> {
    let opened = Log::open(directory, name, config.log.clone(), was_clean, core.now()).await;
    let (mut log, recovered) = opened?;
    core.node.forget_found(name);
    if log.topic_id().is_some_and(|id| id != topic.id) {
        tracing::warn!(partition = %name, "the log of a deleted topic of this name is deleted");
        let finished = log.begin_delete(core.now(), core.node.random_uuid()).await;
        let deleted = log.finish(finished)?;
        let directory = directory.clone();
        core.with_shard(|shard| shard.deleted.push((directory, deleted)));
        return Ok(None);
    }
    if let Some(reason) = &recovered.cut_reason {
        tracing::warn!(partition = %name, reason, cut_bytes = recovered.cut_bytes,
            dropped_segments = recovered.dropped_segments, "recovery has cut the log");
        core.node.metrics.recovery_cuts.add(1);
    }
    core.with_shard(|shard| shard.recovered_epochs.insert(name.clone(), recovered.epochs));
    Ok(Some(log))
}

async fn recover(core: &Core, log: &Log) -> Result<RecoveredState, OpenPartitionError> {
    let (log_start, log_end) = (log.log_start_offset(), log.log_end_offset());
    let seen = core.with_shard(|shard| shard.recovered_epochs.remove(log.name()));
    let stored = log.partition_files().read_leader_epochs().await?;
    let entries = stored.into_iter().chain(seen.unwrap_or_default());
    let entries = entries.map(|(epoch, start_offset)| EpochEntry { epoch, start_offset });
    let mut epochs = EpochHistory::from_entries(entries);
    epochs.truncate_from_end(log_end);
    epochs.truncate_from_start(log_start);
    let high_watermark = log.directory().high_watermarks().get(log.name()).unwrap_or(log_start);
    Ok(RecoveredState {
        log_start,
        log_end,
        flushed_end: log.flushed_offset(),
        high_watermark,
        generation: log.generation(),
        epochs,
        producers: producers(core.now(), log).await?,
    })
}

/// The producers at the log's end: the newest snapshot, and the batches after it.
async fn producers(now: Now, log: &Log) -> Result<ProducerState, OpenPartitionError> {
    let (mut state, from) = newest_snapshot(now, log).await?;
    if from >= log.log_end_offset() {
        return Ok(state);
    }
    let mut scan = log.view().scan_headers(from)?;
    while let Some(batch) = scan.next().await? {
        let header = &batch.header;
        if header.base_offset < from {
            continue;
        }
        let summary = BatchSummary {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            record_count: header.record_count,
            last_offset_delta: header.last_offset_delta,
            max_timestamp: header.max_timestamp,
            log_append_time: None,
            is_transactional: header.is_transactional(),
            is_control: header.is_control(),
            size_bytes: u32::try_from(header.size_bytes()).expect("a batch is below 2 GiB"),
        };
        state.replay(header.base_offset, &summary, marker(&batch), now.wall)?;
    }
    Ok(state)
}

async fn newest_snapshot(
    now: Now,
    log: &Log,
) -> Result<(ProducerState, Offset), OpenPartitionError> {
    let files = log.partition_files();
    let mut offsets = files.list_producer_snapshots().await?;
    offsets.retain(|&offset| offset <= log.log_end_offset());
    offsets.sort_unstable();
    while let Some(offset) = offsets.pop() {
        let Some(content) = files.read_producer_snapshot(offset).await? else { continue };
        match ProducerState::decode_snapshot(&content, offset, now.wall) {
            Ok(state) => return Ok((state, offset.max(log.log_start_offset()))),
            Err(error) => {
                tracing::warn!(partition = %log.name(), offset, %error,
                    "a producer snapshot is damaged: the one before it is used");
            }
        }
    }
    Ok((ProducerState::new(), log.log_start_offset()))
}

fn marker(batch: &ScannedBatch) -> Option<ControlMarker> {
    use protocol::records::{ControlRecordType, ParsedControlType};
    let record = batch.control.as_ref()?.records().next()?.ok()?;
    let kind = match ControlRecordType::parse_key(&record.key?).ok()? {
        ParsedControlType::Known(ControlRecordType::Commit) => MarkerKind::Commit,
        ParsedControlType::Known(ControlRecordType::Abort) => MarkerKind::Abort,
        _ => return None,
    };
    let body = protocol::stored::frame::decode_versioned::<EndTxnMarker>(record.value?).ok()?;
    let coordinator_epoch = body.coordinator_epoch;
    Some(ControlMarker { kind, coordinator_epoch, timestamp: record.timestamp })
}
