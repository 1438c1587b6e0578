//! The small files beside the metadata log: `quorum-state` and the snapshots.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use controller::MetadataRecord;
use protocol::records::{Batch, BatchBuilder};
use raft::{ControlRecord, QuorumState, SnapshotId, VoterSet};
use runtime::disk::Disk;
use storage::{LogDirectory, WriteError};
use types::{LeaderEpoch, Limits, Offset};

/// Metadata records in one batch of a snapshot.
const SNAPSHOT_BATCH_RECORDS: usize = 1024;
/// The name of the file with the election state.
const QUORUM_STATE: &str = "quorum-state";

/// Why a directory cannot be formatted.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// What the system says.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        error: io::Error,
    },
    /// The log directory.
    #[error(transparent)]
    Directory(#[from] storage::DirectoryError),
}

/// The files in the metadata log's folder.
pub(super) struct MetadataFiles {
    directory: LogDirectory,
    folder: PathBuf,
    limits: Limits,
}

impl MetadataFiles {
    pub fn new(directory: LogDirectory, folder: PathBuf, limits: Limits) -> MetadataFiles {
        MetadataFiles {
            directory,
            folder,
            limits,
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn disk(&self) -> &Disk {
        self.directory.disk()
    }

    pub async fn read_quorum_state(&self) -> io::Result<QuorumState> {
        let path = self.folder.join(QUORUM_STATE);
        match self.disk().read_file(&path).await {
            Ok(content) => QuorumState::decode(&content)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(QuorumState::INITIAL),
            Err(error) => Err(error),
        }
    }

    /// Written durably, also on a full disk as long as space is reserved.
    pub async fn write_quorum_state(&self, state: &QuorumState) -> Result<(), WriteError> {
        let path = self.folder.join(QUORUM_STATE);
        let content = Bytes::from(state.encode());
        self.directory
            .replace_file_with_reserve(&path, content)
            .await
    }

    /// The snapshots that are there, oldest first.
    pub async fn list_snapshots(&self) -> io::Result<Vec<SnapshotId>> {
        let entries = self.disk().list_dir(&self.folder).await?;
        let mut ids: Vec<SnapshotId> = entries
            .iter()
            .filter_map(|entry| entry.name.parse().ok())
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    pub async fn read_snapshot(&self, id: SnapshotId) -> io::Result<Bytes> {
        self.disk()
            .read_file(self.folder.join(id.to_string()))
            .await
    }

    pub async fn write_snapshot(&self, id: SnapshotId, content: Bytes) -> Result<(), WriteError> {
        let path = self.folder.join(id.to_string());
        self.directory.replace_file(&path, content).await
    }

    pub async fn delete_snapshots_before(&self, end_offset: Offset) -> Result<(), WriteError> {
        let failed = |error| self.directory.fail("listing", &self.folder, &error);
        for id in self.list_snapshots().await.map_err(failed)? {
            if id.end_offset < end_offset {
                let path = self.folder.join(id.to_string());
                self.directory.remove_file(&path).await?;
            }
        }
        Ok(())
    }
}

/// A batch of control records, ready at its offset.
pub(super) fn control_batch(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp: i64,
    records: &[ControlRecord],
) -> Batch {
    let mut builder = BatchBuilder::new(base_offset)
        .control()
        .leader_epoch(leader_epoch);
    for record in records {
        builder.append_control(timestamp, record.kind(), &record.value());
    }
    builder.build()
}

/// The content of a snapshot file: header, records, footer.
pub(super) fn snapshot(
    epoch: LeaderEpoch,
    timestamp: i64,
    header: &[ControlRecord],
    records: &[MetadataRecord],
) -> Bytes {
    let mut content = BytesMut::new();
    let mut offset = 0;
    let mut push = |batch: Batch| {
        content.extend_from_slice(batch.bytes());
        batch.header().next_offset()
    };
    offset = push(control_batch(offset, epoch, timestamp, header));
    for records in records.chunks(SNAPSHOT_BATCH_RECORDS) {
        let mut builder = BatchBuilder::new(offset).leader_epoch(epoch);
        for record in records {
            let value = controller::records::encode(record).expect("the image came from records");
            builder.append(timestamp, None, Some(&value), &[]);
        }
        offset = push(builder.build());
    }
    push(control_batch(
        offset,
        epoch,
        timestamp,
        &[ControlRecord::SnapshotFooter],
    ));
    content.freeze()
}

/// Writes the snapshot that a newly formatted metadata directory begins with: the voters, and no metadata.
///
/// # Errors
/// What the system says.
pub async fn bootstrap_snapshot(
    disk: &Disk,
    metadata_directory: &Path,
    timestamp: i64,
    voters: &VoterSet,
) -> Result<(), FormatError> {
    let folder = metadata_directory.join(METADATA_FOLDER);
    let failed = |error| FormatError::Io {
        path: folder.clone(),
        error,
    };
    disk.create_dir_all(&folder).await.map_err(failed)?;
    let header = raft::snapshot_header(0, KRAFT_VERSION, voters);
    let content = snapshot(0, timestamp, &header, &[]);
    let path = folder.join(SnapshotId::BOOTSTRAP.to_string());
    storage::replace_file(disk, &path, content)
        .await
        .map_err(failed)?;
    disk.sync_dir(metadata_directory).await.map_err(failed)
}

/// The folder of the metadata log.
pub(super) const METADATA_FOLDER: &str = "__cluster_metadata-0";
/// The `kraft.version` of a new cluster: voters are kept in the log (KIP-853).
const KRAFT_VERSION: i16 = controller::features::KRAFT_VERSION_LEVEL;
