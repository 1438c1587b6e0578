//! The small files beside the segments: epoch history and producer snapshots, both opaque here.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use types::{LeaderEpoch, Offset};

use crate::error::{OpenError, WriteError};
use crate::log::Shared;
use crate::names::{FileKind, LEADER_EPOCH_CHECKPOINT, PartitionFile, parse_partition_file};
use crate::text::{format_leader_epochs, parse_leader_epochs, utf8};

/// Snapshots that are kept besides those at the base of a segment.
const LATEST_SNAPSHOTS_KEPT: usize = 2;

/// Epoch history and producer snapshots of a partition. Independent of what jobs do to its log; cheap to clone.
#[derive(Clone, Debug)]
pub struct PartitionFiles {
    shared: Arc<Shared>,
}

impl PartitionFiles {
    pub(crate) fn new(shared: Arc<Shared>) -> PartitionFiles {
        PartitionFiles { shared }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.shared.path.join(name)
    }

    /// Replaces the epoch history, durably: epochs with their first offsets, in order. Of an open log it is written
    /// with [`crate::Log::begin_write_epochs`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub(crate) async fn write_leader_epochs(
        &self,
        epochs: &[(LeaderEpoch, Offset)],
    ) -> Result<(), WriteError> {
        let _open = self.shared.directory.files().small_file().await;
        let path = self.path(LEADER_EPOCH_CHECKPOINT);
        let text = Bytes::from(format_leader_epochs(epochs));
        self.shared.directory.replace_file(&path, text).await
    }

    /// The epoch history; empty if there is none.
    ///
    /// # Errors
    /// [`OpenError::Unreadable`] if the file is damaged: the history can be rebuilt from the batches.
    pub async fn read_leader_epochs(&self) -> Result<Vec<(LeaderEpoch, Offset)>, OpenError> {
        let path = self.path(LEADER_EPOCH_CHECKPOINT);
        match self.shared.disk().read_file(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.shared.directory.fail("reading", &path, &error).into()),
            Ok(bytes) => {
                utf8(&bytes)
                    .and_then(parse_leader_epochs)
                    .map_err(|error| OpenError::Unreadable {
                        path,
                        reason: error.to_string(),
                    })
            }
        }
    }

    /// Writes the producers' state as it is at `offset`, durably.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write_producer_snapshot(
        &self,
        offset: Offset,
        snapshot: Bytes,
    ) -> Result<(), WriteError> {
        let _open = self.shared.directory.files().small_file().await;
        let path = self.path(&FileKind::ProducerSnapshot.file_name(offset));
        self.shared.directory.replace_file(&path, snapshot).await
    }

    /// The offsets at which there are snapshots, in order.
    ///
    /// # Errors
    /// [`OpenError::Write`] if the directory cannot be read.
    pub async fn list_producer_snapshots(&self) -> Result<Vec<Offset>, OpenError> {
        let entries = self.shared.disk().list_dir(&*self.shared.path).await;
        let entries = entries.map_err(|error| {
            self.shared
                .directory
                .fail("listing", &self.shared.path, &error)
        })?;
        let snapshots =
            entries
                .iter()
                .filter_map(|entry| match parse_partition_file(&entry.name) {
                    PartitionFile::Kept(FileKind::ProducerSnapshot, offset) => Some(offset),
                    _ => None,
                });
        Ok(snapshots.collect())
    }

    /// The snapshot at `offset`, if there is one.
    ///
    /// # Errors
    /// [`OpenError::Write`] if it cannot be read.
    pub async fn read_producer_snapshot(&self, offset: Offset) -> Result<Option<Bytes>, OpenError> {
        let path = self.path(&FileKind::ProducerSnapshot.file_name(offset));
        match self.shared.disk().read_file(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.shared.directory.fail("reading", &path, &error).into()),
            Ok(bytes) => Ok(Some(bytes)),
        }
    }

    /// Removes the snapshot at `offset`: one that turned out damaged, or is above the end of the log.
    ///
    /// # Errors
    /// [`WriteError`]; one that is gone already is none.
    pub async fn remove_producer_snapshot(&self, offset: Offset) -> Result<(), WriteError> {
        let path = self.path(&FileKind::ProducerSnapshot.file_name(offset));
        self.shared.directory.remove_file(&path).await
    }

    /// Removes the snapshots that no start will need: all but the last two and those at the base of a segment.
    ///
    /// # Errors
    /// As listing and removing.
    pub async fn prune_producer_snapshots(
        &self,
        segment_base_offsets: &[Offset],
    ) -> Result<(), OpenError> {
        let snapshots = self.list_producer_snapshots().await?;
        let old = snapshots.len().saturating_sub(LATEST_SNAPSHOTS_KEPT);
        for offset in &snapshots[..old] {
            if !segment_base_offsets.contains(offset) {
                self.remove_producer_snapshot(*offset).await?;
            }
        }
        Ok(())
    }
}
