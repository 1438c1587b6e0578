//! Opens a partition: finds or makes its log, and builds the machine's state from what is in it.

use std::path::PathBuf;
use std::sync::Arc;

use controller::image::TopicImage;
use replica::{
    BatchSummary, ControlMarker, EpochEntry, EpochHistory, MarkerKind, ProducerState,
    RecoveredState, Replica,
};
use storage::{
    AbortedTransaction, Log, LogConfig, LogDirectory, OpenError, PartitionName, Recovered,
    ScannedBatch, WriteError,
};
use types::{LeaderEpoch, Now, Offset, TopicPartition};

use super::Shard;
use super::slot::Slot;
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
    /// A control record cannot be read.
    #[error("a control record cannot be read: {0}")]
    Control(String),
    /// Two directories have a log of the topic.
    #[error("a log of the topic is in {} and in {}", .0.display(), .1.display())]
    Twice(PathBuf, PathBuf),
    /// No log directory can take it.
    #[error("no log directory is online")]
    NoDirectory,
}

impl OpenPartitionError {
    /// Whether there was no space: a later try may succeed.
    pub(super) fn is_no_space(&self) -> bool {
        matches!(
            self,
            OpenPartitionError::Open(OpenError::Write(WriteError::NoSpace(_)))
                | OpenPartitionError::Create(WriteError::NoSpace(_))
        )
    }
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
    core.node.name_is_free(&name).await;
    let found = open_found(core, &name, topic, &config.log).await?;
    let (mut log, found) = match found {
        Some(found) => found,
        None => {
            let directory = core.node.directory_for(image, partition);
            let directory = directory.ok_or(OpenPartitionError::NoDirectory)?;
            let config = config.log.clone();
            (
                Log::create(&directory, &name, topic.id, config, core.now()).await?,
                Recovered::default(),
            )
        }
    };
    let (recovered, written_epoch) = recover(core, &mut log, found).await?;
    let replica = Replica::new(core.node.id, core.now(), config.replica.clone(), recovered);
    let traffic = core.node.metrics.topics.of(&topic.name);
    let name = Arc::clone(&topic.name);
    Ok(Slot::new(
        name,
        replica,
        log,
        config,
        traffic,
        written_epoch,
    ))
}

/// Opens the topic's log, if it was found. Logs of earlier topics of the same name, and one that was never flushed and
/// nobody knows of which topic, are deleted.
async fn open_found(
    core: &Core,
    name: &PartitionName,
    topic: &TopicImage,
    config: &LogConfig,
) -> Result<Option<(Log, Recovered)>, OpenPartitionError> {
    let Some((directory, was_clean)) = find(core, name, topic).await? else {
        return Ok(None);
    };
    let opened = Log::open(&directory, name, config.clone(), was_clean, core.now()).await;
    let (mut log, recovered) = opened?;
    if log.topic_id().is_none() {
        log.assign_topic_id(topic.id).await?;
    }
    core.node.forget_found(name, &directory);
    if let Some(reason) = &recovered.cut_reason {
        tracing::warn!(partition = %name, reason, cut_bytes = recovered.cut_bytes,
            dropped_segments = recovered.dropped_segments, "recovery has cut the log");
        core.node.metrics.recovery_cuts.add(1);
    }
    Ok(Some((log, recovered)))
}

/// Which of the logs of this name that were found is the topic's, and whether its directory was stopped cleanly. The
/// others are deleted.
async fn find(
    core: &Core,
    name: &PartitionName,
    topic: &TopicImage,
) -> Result<Option<(LogDirectory, bool)>, OpenPartitionError> {
    let mut unclear = None;
    let mut known = Vec::new();
    for (directory, was_clean) in core.node.found(name) {
        match directory.topic_id_of(name).await {
            Ok(id) => known.push((directory, was_clean, id)),
            // It may be the topic's: nothing is made in its place.
            Err(error) => unclear = Some(error.into()),
        }
    }
    // One of which is not written whose it is is taken for what its name says, unless another one is the topic's.
    let is_written = known.iter().any(|(.., id)| *id == Some(topic.id));
    let mut ours: Option<(LogDirectory, bool)> = None;
    for (directory, was_clean, id) in known {
        if id == Some(topic.id) || (id.is_none() && !is_written) {
            let path = directory.path().to_owned();
            if let Some((first, _)) = ours.replace((directory, was_clean)) {
                let first = first.path().to_owned();
                return Err(OpenPartitionError::Twice(first, path));
            }
            continue;
        }
        tracing::warn!(partition = %name, directory = %directory.path().display(),
            "a log that is not this topic's is deleted");
        if let Err(error) = super::roles::delete_found(core, &directory, name).await {
            unclear = Some(error.into());
        }
    }
    match (ours, unclear) {
        (None, Some(error)) => Err(error),
        (ours, Some(error)) => {
            tracing::warn!(partition = %name, %error, "another log of its name stays as it is");
            Ok(ours)
        }
        (ours, None) => Ok(ours),
    }
}

/// Epochs seen in the log, each with its start offset.
type Epochs = Vec<(LeaderEpoch, Offset)>;

/// What the machine starts with, and the newest epoch of the history on disk that no crash can take away.
async fn recover(
    core: &Core,
    log: &mut Log,
    found: Recovered,
) -> Result<(RecoveredState, LeaderEpoch), OpenPartitionError> {
    let (producers, aborted) = producers(core.now(), log, found.aborted_from).await?;
    if found.aborted_from.is_some() {
        index_aborted(log, aborted).await?;
    }
    let (log_start, log_end) = (log.log_start_offset(), log.log_end_offset());
    let stored = stored_epochs(log, found.proven_offset).await?;
    let written_epoch = written_epoch(stored.as_deref(), found.proven_offset);
    let mut epochs = match stored {
        Some(stored) => epoch_history(stored, found.epochs, log_end),
        None => epoch_history(Vec::new(), epochs_in(log).await?, log_end),
    };
    epochs.truncate_from_start(log_start);
    let high_watermark = log
        .directory()
        .high_watermarks()
        .get(log.name())
        .unwrap_or(log_start);
    let recovered = RecoveredState {
        log_start,
        log_end,
        flushed_end: log.flushed_offset(),
        high_watermark,
        generation: log.generation(),
        epochs,
        producers,
    };
    Ok((recovered, written_epoch))
}

/// The history on disk; nothing if it cannot be relied on, and the batches have to tell.
async fn stored_epochs(
    log: &Log,
    proven_offset: Offset,
) -> Result<Option<Epochs>, OpenPartitionError> {
    match log.partition_files().read_leader_epochs().await {
        // It is written before anything of the log is proven.
        Ok(stored) if stored.is_empty() && proven_offset > log.log_start_offset() => {
            tracing::warn!(partition = %log.name(), "the epoch history is gone: it is read from the batches");
            Ok(None)
        }
        Ok(stored) => Ok(Some(stored)),
        Err(OpenError::Unreadable { path, reason }) => {
            tracing::warn!(path = %path.display(), reason, "the epoch history is read from the batches");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The newest epoch of the stored ones that was written before the offset after its start was proven, or -1. A later
/// one may be known to the page cache only.
fn written_epoch(stored: Option<&[(LeaderEpoch, Offset)]>, proven_offset: Offset) -> LeaderEpoch {
    let stored = stored.unwrap_or_default().iter();
    let proven = stored.filter(|(_, start_offset)| *start_offset < proven_offset);
    proven.map(|&(epoch, _)| epoch).max().unwrap_or(-1)
}

/// The stored history, and what recovery saw in the batches above it. An epoch that is stored begins where it is
/// stored, however far back recovery looked.
fn epoch_history(stored: Epochs, seen: Epochs, log_end: Offset) -> EpochHistory {
    let entry = |(epoch, start_offset)| EpochEntry {
        epoch,
        start_offset,
    };
    let mut epochs = EpochHistory::from_entries(stored.into_iter().map(entry));
    epochs.truncate_from_end(log_end);
    for (epoch, start_offset) in seen {
        if epochs.latest().is_none_or(|latest| latest.epoch < epoch) {
            epochs.assign(epoch, start_offset);
        }
    }
    epochs.truncate_from_end(log_end);
    epochs
}

/// The epochs of all batches of a log.
async fn epochs_in(log: &Log) -> Result<Epochs, OpenPartitionError> {
    let mut epochs = Epochs::new();
    let mut scan = log.view().scan_headers(log.log_start_offset())?;
    while let Some(batch) = scan.next().await? {
        let epoch = batch.header.partition_leader_epoch;
        if epochs.last().is_none_or(|&(latest, _)| latest < epoch) {
            epochs.push((epoch, batch.header.base_offset));
        }
    }
    Ok(epochs)
}

/// Gives the index of aborted transactions what it lacks, durably.
async fn index_aborted(
    log: &mut Log,
    aborted: Vec<AbortedTransaction>,
) -> Result<(), OpenPartitionError> {
    let finished = log.begin_append_aborted(aborted).await;
    log.finish(finished)?;
    for flushed in storage::flush_all(vec![log.begin_flush()]).await {
        log.complete_flush(&flushed);
        flushed.result().map_err(WriteError::from)?;
    }
    Ok(())
}

/// The producers at the log's end: a snapshot and the batches after it. It is the newest one, unless the transactions
/// that were aborted from `aborted_from` on are to be found: then one from before.
async fn producers(
    now: Now,
    log: &Log,
    aborted_from: Option<Offset>,
) -> Result<(ProducerState, Vec<AbortedTransaction>), OpenPartitionError> {
    let upper = aborted_from.unwrap_or(Offset::MAX);
    let upper = upper.min(log.log_end_offset());
    let (mut state, from) = newest_snapshot(now, log, upper).await?;
    let mut aborted = Vec::new();
    if from >= log.log_end_offset() || types::planted!(ProducersNotRebuilt) {
        return Ok((state, aborted));
    }
    let mut scan = log.view().scan_headers(from)?;
    while let Some(batch) = scan.next().await? {
        let header = &batch.header;
        let is_first = header.base_offset == from && header.producer_id >= 0;
        // A log start may lie inside of a batch, whose producer is remembered all the same.
        if header.next_offset() <= from || (is_first && types::planted!(ProducersRebuiltTooLate)) {
            continue;
        }
        let ended = state.replay(
            header.base_offset,
            &BatchSummary::from(header),
            marker(&batch)?,
            now.wall,
        )?;
        let ended = ended.filter(|ended| {
            ended.kind == MarkerKind::Abort && aborted_from <= Some(ended.last_offset)
        });
        aborted.extend(ended.map(|ended| AbortedTransaction {
            producer_id: ended.producer_id,
            first_offset: ended.first_offset,
            last_offset: ended.last_offset,
            last_stable_offset: ended.last_stable_offset,
        }));
    }
    Ok((state, aborted))
}

/// The newest producer snapshot at or below `upper` that can be read. One from below the log start does not help: the
/// batches between are deleted, and whoever went on in them would be remembered as before, and refused when he goes on
/// again. Nobody is remembered of whom nothing is left, and may go on anywhere (KIP-360).
async fn newest_snapshot(
    now: Now,
    log: &Log,
    upper: Offset,
) -> Result<(ProducerState, Offset), OpenPartitionError> {
    let files = log.partition_files();
    let mut offsets = files.list_producer_snapshots().await?;
    let log_start = log.log_start_offset();
    offsets.retain(|&offset| log_start <= offset && offset <= upper);
    offsets.sort_unstable();
    while let Some(offset) = offsets.pop() {
        let Some(content) = files.read_producer_snapshot(offset).await? else {
            continue;
        };
        match ProducerState::decode_snapshot(&content, offset, now.wall) {
            Ok(state) => return Ok((state, offset)),
            Err(error) => {
                tracing::warn!(partition = %log.name(), offset, %error,
                    "a producer snapshot is damaged: the one before it is used");
            }
        }
    }
    Ok((ProducerState::new(), log_start))
}

fn marker(batch: &ScannedBatch) -> Result<Option<ControlMarker>, OpenPartitionError> {
    let Some(record) = batch
        .control
        .as_ref()
        .and_then(|batch| batch.records().next())
    else {
        return Ok(None);
    };
    let record = record.map_err(|error| OpenPartitionError::Control(error.to_string()))?;
    let (Some(key), Some(value)) = (record.key, record.value) else {
        return Ok(None);
    };
    let marker = ControlMarker::decode(&key, value, record.timestamp);
    marker.map_err(|error| OpenPartitionError::Control(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_recovery_sees_only_continues_the_stored_epochs() {
        let cases: [(&str, &[(i32, i64)], &[(i32, i64)], i64, &[(i32, i64)]); 5] = [
            (
                "nothing stored",
                &[],
                &[(0, 0), (2, 50)],
                100,
                &[(0, 0), (2, 50)],
            ),
            (
                "an older epoch is seen again",
                &[(0, 0), (2, 50)],
                &[(0, 30), (2, 50)],
                100,
                &[(0, 0), (2, 50)],
            ),
            (
                "the newest epoch has no batch",
                &[(0, 0), (3, 100)],
                &[(0, 99)],
                100,
                &[(0, 0)],
            ),
            (
                "the file lags behind",
                &[(0, 0)],
                &[(0, 40), (2, 50)],
                100,
                &[(0, 0), (2, 50)],
            ),
            (
                "the log was cut",
                &[(0, 0), (2, 50)],
                &[(0, 40)],
                45,
                &[(0, 0)],
            ),
        ];
        for (story, stored, seen, log_end, wanted) in cases {
            let history = epoch_history(stored.to_vec(), seen.to_vec(), log_end);
            let found: Vec<_> = history
                .entries()
                .map(|entry| (entry.epoch, entry.start_offset))
                .collect();
            assert_eq!(found, wanted, "{story}");
        }
    }
}
