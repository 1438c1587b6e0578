//! A log directory: one folder on one disk, owned by one node, with the partitions in it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use runtime::disk::{Disk, EntryKind, FileLock, OpenMode};
use runtime::sync::Notify;

use crate::checkpoint::Checkpoint;
use crate::error::{DirectoryError, DirectoryFailure, WriteError, is_no_space};
use crate::files::{FileCache, lock, replace_file};
use crate::journal::Journals;
use crate::names::{DirectoryEntry, PartitionName, parse_directory};
use crate::text::{MetaProperties, utf8};

/// Whose directory it is.
pub const META_PROPERTIES: &str = "meta.properties";
/// Held while the directory is in use.
pub const LOCK_FILE: &str = ".lock";
/// There after a clean stop.
pub const CLEAN_SHUTDOWN_MARKER: &str = ".kafka_cleanshutdown";
/// The proven offsets.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// The log start offsets.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// The high watermarks.
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
/// How far Kafka's cleaner has come; nobody else writes it.
const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// Space that is given back when the disk is full, so that what frees space can be written.
pub const RESERVED_SPACE: &str = ".reserved-space";

const RESERVED_SPACE_BYTES: u64 = 1 << 20;

/// A log directory in use. Cheap to clone; may be used from every core.
#[derive(Clone)]
pub struct LogDirectory {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Disk,
    path: PathBuf,
    files: FileCache,
    properties: MetaProperties,
    recovery_points: Checkpoint,
    log_starts: Checkpoint,
    high_watermarks: Checkpoint,
    is_failed: AtomicBool,
    failure: Mutex<Option<Arc<DirectoryFailure>>>,
    /// Where partitions lay that have been deleted.
    deleted: Mutex<BTreeSet<PathBuf>>,
    failure_told: Notify,
    unflushed_bytes: AtomicU64,
    has_reserve: AtomicBool,
    was_cleaned_by_kafka: bool,
    journals: Mutex<Journals>,
    /// Logs that were opened or made.
    logs: AtomicU64,
    _lock: FileLock,
}

/// What was in a log directory when it was opened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DirectoryContent {
    /// Whether the last owner stopped cleanly: logs may be trusted.
    pub was_clean: bool,
    /// The broker epoch in the marker of the clean stop, -1 if there is none.
    pub broker_epoch: i64,
    /// The partitions, in order of their names.
    pub partitions: Vec<PartitionName>,
    /// Directories of deleted partitions, to be given to [`LogDirectory::remove_deleted`].
    pub deleted: Vec<String>,
    /// Directories that Kafka left for purposes that are not ours (`-future`, `-stray`): they stay as they are.
    pub set_aside: Vec<String>,
}

impl LogDirectory {
    /// Makes a log directory: the folder and its `meta.properties`, durably.
    ///
    /// # Errors
    /// [`DirectoryError::AlreadyFormatted`], and what the system says.
    pub async fn format(
        disk: &Disk,
        path: &Path,
        properties: &MetaProperties,
    ) -> Result<(), DirectoryError> {
        let io = |error| DirectoryError::io(path, error);
        disk.create_dir_all(path).await.map_err(io)?;
        let file = path.join(META_PROPERTIES);
        if disk.exists(&file).await.map_err(io)? {
            return Err(DirectoryError::AlreadyFormatted(path.to_owned()));
        }
        replace_file(disk, &file, Bytes::from(properties.format()))
            .await
            .map_err(io)?;
        // Every folder above: any of them may have been made just now, or by a try that was cut short, and without its
        // name in the folder above it everything below is gone after a loss of power.
        for parent in path.ancestors().skip(1) {
            if parent.as_os_str().is_empty() {
                break;
            }
            match disk.sync_dir(parent).await {
                // What this process may not even open it has not made.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
                synced => synced.map_err(io)?,
            }
        }
        Ok(())
    }

    /// Reads the `meta.properties` of a directory without taking it into use; `None` if it is not formatted.
    ///
    /// # Errors
    /// [`DirectoryError::Unreadable`], and what the system says.
    pub async fn properties_of(
        disk: &Disk,
        path: &Path,
    ) -> Result<Option<MetaProperties>, DirectoryError> {
        let file = path.join(META_PROPERTIES);
        match disk.read_file(&file).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DirectoryError::io(&file, error)),
            Ok(bytes) => match utf8(&bytes).and_then(MetaProperties::parse) {
                Ok(properties) => Ok(Some(properties)),
                Err(error) => Err(DirectoryError::Unreadable {
                    path: file,
                    reason: error.to_string(),
                }),
            },
        }
    }

    /// Takes a directory into use: locks it, reads its checkpoints, and removes the marker of the clean stop, so that
    /// a crash from now on is seen as one.
    ///
    /// # Errors
    /// [`DirectoryError::NotFormatted`], [`DirectoryError::Locked`], [`DirectoryError::Unreadable`], and what the
    /// system says.
    pub async fn open(
        files: &FileCache,
        path: &Path,
    ) -> Result<(LogDirectory, DirectoryContent), DirectoryError> {
        let disk = files.disk();
        let io = |error| DirectoryError::io(path, error);
        let Some(properties) = LogDirectory::properties_of(disk, path).await? else {
            return Err(DirectoryError::NotFormatted(path.to_owned()));
        };
        let lock = match disk.lock_file(path.join(LOCK_FILE)).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(DirectoryError::Locked(path.to_owned()));
            }
            lock => lock.map_err(io)?,
        };
        let mut content = list(disk, path).await.map_err(io)?;
        let load = async |name| Checkpoint::load(disk, &path.join(name)).await;
        let cleaner = disk.metadata(path.join(CLEANER_CHECKPOINT)).await;
        let was_cleaned_by_kafka = match cleaner {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            found => found.map(|_| true).map_err(io)?,
        };
        let nonce = runtime::rng::entropy();
        let journals = Journals::load(disk, path, &content.partitions, nonce).await;
        let journals = journals.map_err(io)?;
        let inner = Inner {
            disk: disk.clone(),
            path: path.to_owned(),
            files: files.clone(),
            properties,
            recovery_points: load(RECOVERY_POINT_CHECKPOINT).await?,
            log_starts: load(LOG_START_CHECKPOINT).await?,
            high_watermarks: load(HIGH_WATERMARK_CHECKPOINT).await?,
            is_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            deleted: Mutex::new(BTreeSet::new()),
            failure_told: Notify::new(),
            unflushed_bytes: AtomicU64::new(0),
            has_reserve: AtomicBool::new(false),
            was_cleaned_by_kafka,
            journals: Mutex::new(journals),
            logs: AtomicU64::new(0),
            _lock: lock,
        };
        take_marker(disk, path, &mut content).await.map_err(io)?;
        let directory = LogDirectory {
            inner: Arc::new(inner),
        };
        directory.restore_reserve().await;
        Ok((directory, content))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What its `meta.properties` says.
    pub fn properties(&self) -> &MetaProperties {
        &self.inner.properties
    }

    /// The disk it is on.
    pub fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    /// Whether Kafka ran on the directory, and nobody has stopped cleanly on it since: its cleaner may have taken the end
    /// of any segment of a compacted log.
    pub(crate) fn was_cleaned_by_kafka(&self) -> bool {
        self.inner.was_cleaned_by_kafka
    }

    /// A number that no other log of the directory has.
    pub(crate) fn next_log_number(&self) -> u64 {
        self.inner.logs.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn journals(&self) -> &Mutex<Journals> {
        &self.inner.journals
    }

    /// The open files of the node.
    pub fn files(&self) -> &FileCache {
        &self.inner.files
    }

    /// The proven offsets: everything below them is known to have been synced. Logs set them; a driver persists them
    /// with [`LogDirectory::write_checkpoints`].
    pub fn recovery_points(&self) -> &Checkpoint {
        &self.inner.recovery_points
    }

    /// The log start offsets. Logs set and persist them.
    pub fn log_starts(&self) -> &Checkpoint {
        &self.inner.log_starts
    }

    /// The high watermarks. The driver sets them.
    pub fn high_watermarks(&self) -> &Checkpoint {
        &self.inner.high_watermarks
    }

    /// Bytes appended to the logs of this directory that no completed flush covers.
    pub fn unflushed_bytes(&self) -> u64 {
        self.inner.unflushed_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add_unflushed(&self, bytes: u64) {
        self.inner
            .unflushed_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove_unflushed(&self, bytes: u64) {
        self.inner
            .unflushed_bytes
            .fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that may still be written to the directory's file system.
    ///
    /// # Errors
    /// What the system says.
    pub async fn free_bytes(&self) -> io::Result<u64> {
        self.inner.disk.free_bytes(self.path()).await
    }

    /// Why the directory has failed, if it has.
    pub fn failure(&self) -> Option<Arc<DirectoryFailure>> {
        if !self.inner.is_failed.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.inner.failure).clone()
    }

    /// Waits until the directory fails.
    pub async fn failed(&self) -> Arc<DirectoryFailure> {
        loop {
            let told = self.inner.failure_told.notified();
            if let Some(failure) = self.failure() {
                return failure;
            }
            told.await;
        }
    }

    /// From now on a file that is missing below `path` is no failure of the directory: its partition is deleted, and
    /// what was under way for it (a flush, a checkpoint, a read) finds the name gone.
    pub(crate) fn note_deleted(&self, path: &Path) {
        lock(&self.inner.deleted).insert(path.to_owned());
    }

    /// A new partition lies at `path`: what is missing below it is a failure again.
    pub(crate) fn note_created(&self, path: &Path) {
        lock(&self.inner.deleted).remove(path);
    }

    fn is_of_deleted(&self, path: &Path, error: &io::Error) -> bool {
        let deleted = lock(&self.inner.deleted);
        error.kind() == io::ErrorKind::NotFound
            && path.ancestors().any(|ancestor| deleted.contains(ancestor))
    }

    /// Declares the directory failed: nothing is written to it from now on. The first failure counts.
    /// A name that is missing because its partition is deleted is told like a failure, and fails nothing else.
    pub fn fail(
        &self,
        operation: &'static str,
        path: &Path,
        error: &io::Error,
    ) -> Arc<DirectoryFailure> {
        let new = || DirectoryFailure {
            directory: self.inner.path.clone(),
            operation,
            path: path.to_owned(),
            reason: error.to_string(),
        };
        if self.is_of_deleted(path, error) {
            return Arc::new(new());
        }
        let failure = {
            let mut known = lock(&self.inner.failure);
            known.get_or_insert_with(|| Arc::new(new())).clone()
        };
        if !self.inner.is_failed.swap(true, Ordering::AcqRel) {
            tracing::error!(%failure, "log directory failed");
            self.inner.failure_told.notify_waiters();
        }
        failure
    }

    pub(crate) fn check(&self) -> Result<(), Arc<DirectoryFailure>> {
        self.failure().map_or(Ok(()), Err)
    }

    /// What an error of a write means: a full disk refuses, anything else closes the directory.
    pub(crate) fn write_error(
        &self,
        operation: &'static str,
        path: &Path,
        error: &io::Error,
    ) -> WriteError {
        if is_no_space(error) && !self.inner.is_failed.load(Ordering::Acquire) {
            return WriteError::NoSpace(path.to_owned());
        }
        WriteError::DirectoryFailed(self.fail(operation, path, error))
    }

    /// Has the checkpoints forget a partition, durably. Those of which the file cannot be written still know it.
    pub(crate) async fn forget_offsets(&self, name: &PartitionName) -> Result<(), WriteError> {
        self.forget_journaled(name);
        self.high_watermarks().remove(name);
        for checkpoint in [self.recovery_points(), self.log_starts()] {
            let Some(known) = checkpoint.get(name) else {
                continue;
            };
            checkpoint.remove(name);
            if let Err(error) = self.persist(checkpoint).await {
                checkpoint.set(name, known);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes the changes of a checkpoint durable; on a full disk the reserved space is given back for it.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn persist(&self, checkpoint: &Checkpoint) -> Result<(), WriteError> {
        self.write_with_reserve(checkpoint.path(), async || checkpoint.persist().await)
            .await
    }

    /// Replaces a file durably: a crash leaves the one before or this one.
    ///
    /// # Errors
    /// [`WriteError`]; after [`WriteError::NoSpace`] the one before is still there.
    pub async fn replace_file(&self, path: &Path, content: Bytes) -> Result<(), WriteError> {
        self.check()?;
        self.write_file(path, content).await
    }

    async fn write_file(&self, path: &Path, content: Bytes) -> Result<(), WriteError> {
        let replaced = replace_file(&self.inner.disk, path, content).await;
        replaced.map_err(|error| self.write_error("writing", path, &error))
    }

    /// As [`LogDirectory::replace_file`]; on a full disk the reserved space is given back for it.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn replace_file_with_reserve(
        &self,
        path: &Path,
        content: Bytes,
    ) -> Result<(), WriteError> {
        let replace = async || replace_file(&self.inner.disk, path, content.clone()).await;
        self.write_with_reserve(path, replace).await
    }

    async fn write_with_reserve(
        &self,
        path: &Path,
        write: impl AsyncFn() -> io::Result<()>,
    ) -> Result<(), WriteError> {
        self.check()?;
        let mut written = write().await;
        if written.as_ref().is_err_and(is_no_space) && self.release_reserve().await {
            written = write().await;
        }
        written.map_err(|error| self.write_error("writing", path, &error))
    }

    /// Removes a file; one that is gone already is none to remove.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn remove_file(&self, path: &Path) -> Result<(), WriteError> {
        let removed = self.inner.disk.remove_file(path).await;
        self.end_removal(path, removed)
    }

    fn end_removal(&self, path: &Path, removed: io::Result<()>) -> Result<(), WriteError> {
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.write_error("removing", path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the changes of every checkpoint durable. To be called about once a second, and before a clean stop.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write_checkpoints(&self) -> Result<(), WriteError> {
        self.check()?;
        let inner = &self.inner;
        for checkpoint in [
            &inner.recovery_points,
            &inner.log_starts,
            &inner.high_watermarks,
        ] {
            if checkpoint.is_changed() {
                self.persist(checkpoint).await?;
            }
        }
        self.remove_earlier_journals().await?;
        self.restore_reserve().await;
        Ok(())
    }

    /// Gives the reserved space back to the file system: for writes that free more than they take. Says whether there
    /// was any.
    pub async fn release_reserve(&self) -> bool {
        if !self.inner.has_reserve.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.inner
            .disk
            .remove_file(self.path().join(RESERVED_SPACE))
            .await
            .is_ok()
    }

    async fn restore_reserve(&self) {
        if self.inner.has_reserve.load(Ordering::Relaxed) || self.failure().is_some() {
            return;
        }
        let path = self.path().join(RESERVED_SPACE);
        let reserve = async || {
            let file = self.inner.disk.open(&path, OpenMode::Create).await?;
            file.allocate(0, RESERVED_SPACE_BYTES).await
        };
        // Without it a full disk is only less comfortable.
        if reserve().await.is_ok() {
            self.inner.has_reserve.store(true, Ordering::Relaxed);
        }
    }

    /// Removes the directory of a deleted partition, by its name.
    ///
    /// # Errors
    /// [`WriteError`]; a directory that is gone already is none.
    pub async fn remove_deleted(&self, name: &str) -> Result<(), WriteError> {
        self.check()?;
        let path = self.path().join(name);
        let removed = self.inner.disk.remove_dir_all(&path).await;
        self.end_removal(&path, removed)
    }

    /// Ends the use of the directory cleanly: the next start trusts the logs. Every log must have been closed with
    /// [`crate::Log::begin_close`] and without an error before, and the directory must not have failed.
    ///
    /// # Errors
    /// [`WriteError`]; the next start then recovers.
    pub async fn close_clean(&self, broker_epoch: i64) -> Result<(), WriteError> {
        if !types::plant_chosen!(CleanMarkAfterFailure) {
            self.write_checkpoints().await?;
            self.check()?;
        }
        if self.was_cleaned_by_kafka() {
            // Every log is proven now. Kafka makes a new one, and cleans from the front.
            self.remove_file(&self.path().join(CLEANER_CHECKPOINT))
                .await?;
        }
        self.remove_current_journals().await?;
        let marker = self.path().join(CLEAN_SHUTDOWN_MARKER);
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        self.write_file(&marker, Bytes::from(text)).await
    }
}

impl std::fmt::Debug for LogDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LogDirectory")
            .field(&self.inner.path)
            .finish()
    }
}

async fn list(disk: &Disk, path: &Path) -> io::Result<DirectoryContent> {
    let mut content = DirectoryContent {
        broker_epoch: -1,
        ..DirectoryContent::default()
    };
    for entry in disk.list_dir(path).await? {
        if entry.kind != EntryKind::Directory {
            continue;
        }
        match parse_directory(&entry.name) {
            DirectoryEntry::Partition(name) => content.partitions.push(name),
            DirectoryEntry::Deleted => content.deleted.push(entry.name),
            DirectoryEntry::Future | DirectoryEntry::Stray => content.set_aside.push(entry.name),
            DirectoryEntry::Other => {}
        }
    }
    content.partitions.sort();
    Ok(content)
}

async fn take_marker(disk: &Disk, path: &Path, content: &mut DirectoryContent) -> io::Result<()> {
    let marker = path.join(CLEAN_SHUTDOWN_MARKER);
    match disk.read_file(&marker).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(bytes) => {
            content.was_clean = true;
            content.broker_epoch = broker_epoch(&String::from_utf8_lossy(&bytes)).unwrap_or(-1);
        }
    }
    disk.remove_file(&marker).await?;
    disk.sync_dir(path).await
}

/// The number after `"brokerEpoch":`.
fn broker_epoch(marker: &str) -> Option<i64> {
    let (_, rest) = marker.split_once("\"brokerEpoch\"")?;
    let digits = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = digits
        .find(|c: char| c != '-' && !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_names_an_epoch() {
        assert_eq!(broker_epoch("{\"version\":0,\"brokerEpoch\":42}"), Some(42));
        assert_eq!(
            broker_epoch("{ \"brokerEpoch\" : -1 , \"version\" : 0 }"),
            Some(-1)
        );
        assert_eq!(broker_epoch(""), None);
    }
}
