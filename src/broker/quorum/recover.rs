//! Opens the metadata log: the newest whole snapshot, and the log after it.

use std::sync::Arc;

use bytes::Bytes;
use controller::{BatchPosition, Controller, ControllerConfig, MetadataImage, MetadataRecord};
use protocol::records::{Batch, batches};
use raft::{
    ControlRecord, Quorum, QuorumConfig, RecoveredQuorum, SnapshotId, VoterHistory, VoterKey,
};
use runtime::Clock;
use storage::{Log, LogConfig, LogDirectory, PartitionName, WriteError};
use types::{Limits, Offset, Prng};

use super::files::{METADATA_FOLDER, MetadataFiles};
use super::{Publisher, QuorumDriver};
use crate::observer::Observer;

/// How long a failed election is waited out, in milliseconds.
const ELECTION_BACKOFF_MS: i64 = 1000;

/// Why the metadata cannot be recovered: the process ends.
#[derive(Debug, thiserror::Error)]
pub enum RecoverQuorumError {
    /// The log.
    #[error("the metadata log: {0}")]
    Log(#[from] storage::OpenError),
    /// The log.
    #[error("the metadata log: {0}")]
    Read(#[from] storage::ReadError),
    /// The log.
    #[error("the metadata log: {0}")]
    Create(#[from] storage::WriteError),
    /// A file beside it.
    #[error("a file of the metadata log: {0}")]
    File(#[from] std::io::Error),
    /// No snapshot can be read.
    #[error("the metadata snapshot {id} cannot be used: {reason}")]
    Snapshot {
        /// Which.
        id: SnapshotId,
        /// Why.
        reason: String,
    },
    /// There is no snapshot at all.
    #[error("the metadata directory is not formatted: it has no snapshot")]
    NotFormatted,
    /// This node cannot take part.
    #[error(transparent)]
    Start(#[from] raft::StartError),
}

/// What a snapshot says.
struct Snapshot {
    id: SnapshotId,
    voters: VoterHistory,
    kraft_version: i16,
    records: Vec<MetadataRecord>,
    timestamp_ms: i64,
}

impl<P: Publisher> QuorumDriver<P> {
    /// Opens the metadata log in `directory` and builds the machines from it. Nothing is published yet; `observer` is
    /// shown every step from then on.
    ///
    /// # Errors
    /// See [`RecoverQuorumError`].
    pub async fn recover(
        clock: Clock,
        directory: &LogDirectory,
        was_clean: bool,
        key: VoterKey,
        config: ControllerConfig,
        prng: Prng,
        publisher: P,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<QuorumDriver<P>, RecoverQuorumError> {
        let limits = config.limits.clone();
        let folder = directory.path().join(METADATA_FOLDER);
        let files = MetadataFiles::new(directory.clone(), folder, limits.clone());
        let log = open_log(directory, was_clean, &limits, &clock).await?;
        let (snapshot, snapshots) = newest_snapshot(&files, was_clean).await?;
        let (voters, kraft_version, bytes_after_snapshot, last_epoch) =
            scan_control(&log, &snapshot).await?;
        let recovered = RecoveredQuorum {
            state: files.read_quorum_state().await?,
            log_start: log.log_start_offset(),
            log_end: log.log_end_offset(),
            flushed_end: log.flushed_offset(),
            last_epoch,
            generation: log.generation(),
            snapshots,
            bytes_after_snapshot,
            voters,
            kraft_version,
        };
        let quorum_config = QuorumConfig {
            key,
            limits,
            election_backoff_ms: ELECTION_BACKOFF_MS,
        };
        let quorum = Quorum::new(clock.now(), quorum_config, recovered)?;
        let image = image_of(&snapshot, directory.properties().cluster_id.as_str())?;
        if let Some(observer) = &observer {
            observer.snapshot(snapshot.id.end_offset, &image);
        }
        Ok(QuorumDriver {
            clock,
            quorum,
            controller: Controller::new(config, image, prng),
            applied: snapshot.id.end_offset,
            log,
            files,
            publisher,
            offered: None,
            leading: None,
            next_token: 0,
            is_refused: false,
            observer,
            parked: 0,
            may_use_reserve: true,
        })
    }
}

async fn open_log(
    directory: &LogDirectory,
    was_clean: bool,
    limits: &Limits,
    clock: &Clock,
) -> Result<Log, RecoverQuorumError> {
    let config = LogConfig {
        segment_bytes: limits.metadata_segment_bytes,
        segment_ms: i64::MAX,
        retention_ms: -1,
        retention_bytes: -1,
        ..LogConfig::default()
    };
    let name = PartitionName::new(controller::METADATA_TOPIC, 0);
    let (mut log, recovered) = Log::open(directory, &name, config, was_clean, clock.now()).await?;
    // Each start reads its epochs from the batches; there are no transactions.
    log.hold_proven_offset(None);
    if let Some(reason) = recovered.cut_reason {
        tracing::warn!(
            reason,
            cut_bytes = recovered.cut_bytes,
            "recovery has cut the metadata log"
        );
    }
    Ok(log)
}

/// The newest snapshot that can be read, and the ids of all that are as old or older.
///
/// After an unclean stop it is written once more: a sync of its directory may have failed, and then the system shows a
/// name that the disk never got and that no later sync writes.
async fn newest_snapshot(
    files: &MetadataFiles,
    was_clean: bool,
) -> Result<(Snapshot, Vec<SnapshotId>), RecoverQuorumError> {
    let mut ids = files.list_snapshots().await?;
    while let Some(&id) = ids.last() {
        let content = files.read_snapshot(id).await?;
        match read_snapshot(id, content.clone()) {
            Ok(snapshot) => {
                if !was_clean {
                    write_again(files, id, content).await?;
                }
                return Ok((snapshot, ids));
            }
            Err(reason) if ids.len() == 1 => {
                return Err(RecoverQuorumError::Snapshot { id, reason });
            }
            Err(reason) => {
                tracing::error!(%id, reason, "a metadata snapshot is damaged: an older one is used");
                ids.pop();
            }
        }
    }
    Err(RecoverQuorumError::NotFormatted)
}

async fn write_again(
    files: &MetadataFiles,
    id: SnapshotId,
    content: Bytes,
) -> Result<(), RecoverQuorumError> {
    match files.write_snapshot(id, content).await {
        Err(error @ WriteError::NoSpace(_)) => {
            tracing::warn!(%id, %error, "a metadata snapshot is used although it may not be durable");
            Ok(())
        }
        written => Ok(written?),
    }
}

fn read_snapshot(id: SnapshotId, content: Bytes) -> Result<Snapshot, String> {
    let mut snapshot = Snapshot {
        id,
        voters: VoterHistory::new(),
        kraft_version: 0,
        records: Vec::new(),
        timestamp_ms: 0,
    };
    let mut is_whole = false;
    for batch in batches(content) {
        let batch = batch.map_err(|error| error.to_string())?;
        batch.verify_crc().map_err(|error| error.to_string())?;
        if !batch.header().is_control() {
            snapshot.records.extend(metadata_records(&batch)?);
            continue;
        }
        for control in control_records(&batch)? {
            match control {
                ControlRecord::SnapshotHeader {
                    last_contained_log_timestamp,
                } => {
                    snapshot.timestamp_ms = last_contained_log_timestamp;
                }
                ControlRecord::SnapshotFooter => is_whole = true,
                ControlRecord::KRaftVersion(version) => snapshot.kraft_version = version,
                ControlRecord::Voters(voters) => {
                    snapshot.voters.add(id.end_offset - 1, voters);
                }
                ControlRecord::LeaderChange(_) => {}
            }
        }
    }
    if is_whole {
        Ok(snapshot)
    } else {
        Err("it has no footer: it is cut off".to_owned())
    }
}

/// The voters, the version, the bytes and the last epoch that the log adds to the snapshot.
async fn scan_control(
    log: &Log,
    snapshot: &Snapshot,
) -> Result<(VoterHistory, i16, u64, i32), RecoverQuorumError> {
    let (mut voters, mut kraft_version) = (snapshot.voters.clone(), snapshot.kraft_version);
    let (mut bytes, mut last_epoch) = (0, snapshot.id.epoch);
    let from: Offset = snapshot.id.end_offset.max(log.log_start_offset());
    let mut scan = log.view().scan_headers(from)?;
    while let Some(scanned) = scan.next().await? {
        let header = &scanned.header;
        if header.base_offset < snapshot.id.end_offset {
            continue;
        }
        last_epoch = header.partition_leader_epoch;
        let Some(batch) = &scanned.control else {
            bytes += header.size_bytes() as u64;
            continue;
        };
        let damaged = |reason| RecoverQuorumError::Snapshot {
            id: snapshot.id,
            reason,
        };
        for control in control_records(batch).map_err(damaged)? {
            match control {
                ControlRecord::KRaftVersion(version) => kraft_version = version,
                ControlRecord::Voters(set) => voters.add(header.base_offset, set),
                _ => {}
            }
        }
    }
    Ok((voters, kraft_version, bytes, last_epoch))
}

fn image_of(
    snapshot: &Snapshot,
    cluster_id: &str,
) -> Result<Arc<MetadataImage>, RecoverQuorumError> {
    if snapshot.id == SnapshotId::BOOTSTRAP && snapshot.records.is_empty() {
        return Ok(Arc::new(MetadataImage::empty(cluster_id)));
    }
    let position = BatchPosition {
        base_offset: snapshot.id.end_offset - 1,
        epoch: snapshot.id.epoch,
        timestamp_ms: snapshot.timestamp_ms,
    };
    controller::snapshot::from_snapshot(cluster_id, position, &snapshot.records).map_err(|error| {
        RecoverQuorumError::Snapshot {
            id: snapshot.id,
            reason: error.to_string(),
        }
    })
}

fn control_records(batch: &Batch) -> Result<Vec<ControlRecord>, String> {
    let mut controls = Vec::new();
    for record in batch.records() {
        let record = record.map_err(|error| error.to_string())?;
        let decoded = ControlRecord::decode(record.key.as_deref(), record.value);
        controls.extend(decoded.map_err(|error| error.to_string())?);
    }
    Ok(controls)
}

/// The metadata records in a batch.
pub(super) fn metadata_records(batch: &Batch) -> Result<Vec<MetadataRecord>, String> {
    let mut records = Vec::new();
    for record in batch.records() {
        let record = record.map_err(|error| error.to_string())?;
        let value = record.value.ok_or("a metadata record has no value")?;
        records.push(controller::records::decode(value).map_err(|error| error.to_string())?);
    }
    Ok(records)
}
