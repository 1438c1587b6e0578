//! Removing segments and whole logs.

use std::sync::Arc;

use types::{Mono, Now, Uuid};

use super::Log;
use super::core::{Core, Removal};
use super::job::{Finished, LogJob};
use crate::directory::LogDirectory;
use crate::error::WriteError;
use crate::names::{DELETED_SUFFIX, FileKind, PartitionName};
use crate::segment::Segment;

/// A log that is no more: its directory waits to be removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedLog {
    /// The directory's new name, for [`crate::LogDirectory::remove_deleted`].
    pub directory_name: String,
    /// When it may be removed.
    pub due: Mono,
}

impl Log {
    /// Begins to delete the log: its checkpoints forget it and its directory gets another name, durably. Readers go
    /// on with what they have open. `unique` makes the name unlike any other. After success the log can only be
    /// dropped.
    pub fn begin_delete(
        &mut self,
        now: Now,
        unique: Uuid,
    ) -> LogJob<Result<DeletedLog, WriteError>> {
        let due = now.mono.plus_millis(self.config.file_delete_delay_ms);
        self.withdraw();
        let core = self.begin();
        LogJob::running(async move {
            let result = delete(&core, due, unique).await;
            Finished {
                core: Some(core),
                result,
            }
        })
    }

    /// Begins to remove the files of segments that retention took out and whose delay is over; gives their number.
    pub fn begin_remove_deleted(&mut self, now: Now) -> LogJob<Result<usize, WriteError>> {
        let mut core = self.begin();
        if core.removals.iter().all(|removal| removal.due > now.mono) {
            return LogJob::done_with(core, Ok(0));
        }
        LogJob::running(async move {
            let result = remove_due(&mut core, now.mono).await;
            Finished {
                core: Some(core),
                result,
            }
        })
    }

    /// When [`Log::begin_remove_deleted`] has something to do next.
    pub fn removal_due(&self) -> Option<Mono> {
        self.core
            .as_deref()
            .and_then(|core| core.removals.iter().map(|removal| removal.due).min())
    }
}

async fn delete(core: &Core, due: Mono, unique: Uuid) -> Result<DeletedLog, WriteError> {
    let shared = &core.shared;
    let directory = &shared.directory;
    directory.check()?;
    for segment in &core.segments {
        segment.set_replaced();
    }
    directory.note_deleted(&shared.path);
    let directory_name = rename(directory, &shared.name, unique).await?;
    for segment in &core.segments {
        directory.files().forget(segment);
    }
    forget(directory, &shared.name).await?;
    Ok(DeletedLog {
        directory_name,
        due,
    })
}

/// Has the checkpoints forget a partition, durably: a later one of this name must not be believed to have what this
/// one had. A full disk must not keep the log that fills it: then they know it until there is one of its name, which is
/// not made before they have forgotten this one.
async fn forget(directory: &LogDirectory, name: &PartitionName) -> Result<(), WriteError> {
    if directory.recovery_points().get(name).is_some() && types::planted!(CheckpointsOutliveTopic) {
        return Ok(());
    }
    match directory.forget_offsets(name).await {
        Err(WriteError::NoSpace(_)) => Ok(()),
        forgotten => forgotten,
    }
}

/// Gives a partition's directory the name of a deleted one, durably; gives that name.
async fn rename(
    directory: &LogDirectory,
    name: &PartitionName,
    unique: Uuid,
) -> Result<String, WriteError> {
    let directory_name = name.deleted_directory(unique);
    let from = directory.path().join(name.to_string());
    let to = directory.path().join(&directory_name);
    let renamed = async {
        directory.disk().rename(&from, &to).await?;
        directory.disk().sync_dir(directory.path()).await
    };
    renamed
        .await
        .map_err(|error| directory.fail("renaming", &from, &error))?;
    Ok(directory_name)
}

impl LogDirectory {
    /// Deletes a partition whose log cannot be opened, as [`Log::begin_delete`] does an open one. Its files may be
    /// removed at once.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn delete_unopened(
        &self,
        now: Now,
        name: &PartitionName,
        unique: Uuid,
    ) -> Result<DeletedLog, WriteError> {
        self.check()?;
        let directory_name = rename(self, name, unique).await?;
        forget(self, name).await?;
        Ok(DeletedLog {
            directory_name,
            due: now.mono,
        })
    }
}

async fn remove_due(core: &mut Core, now: Mono) -> Result<usize, WriteError> {
    let mut removed = 0;
    let (due, kept) = core
        .removals
        .drain(..)
        .partition(|removal| removal.due <= now);
    core.removals = kept;
    let due: Vec<Removal> = due;
    for path in due.into_iter().flat_map(|removal| removal.paths) {
        core.shared.directory.remove_file(&path).await?;
        removed += 1;
    }
    Ok(removed)
}

impl Core {
    /// Takes the first `count` segments out of the log: their files are renamed, the oldest first, so that what is
    /// left is always without a hole, and removed after a delay.
    pub(super) async fn take_out(&mut self, count: usize, due: Mono) -> Result<(), WriteError> {
        for _ in 0..count {
            let segment = self
                .segments
                .first()
                .expect("as many segments as are taken out")
                .clone();
            self.rename_deleted(&segment, due).await?;
            self.segments.remove(0);
            self.is_list_changed = true;
            self.are_names_changed = true;
        }
        Ok(())
    }

    async fn rename_deleted(
        &mut self,
        segment: &Arc<Segment>,
        due: Mono,
    ) -> Result<(), WriteError> {
        let mut paths = Vec::new();
        for kind in FileKind::ALL {
            let from = self.shared.path.join(kind.file_name(segment.base_offset()));
            let mut to = from.clone().into_os_string();
            to.push(DELETED_SUFFIX);
            match self.shared.disk().rename(&from, &to).await {
                Ok(()) => paths.push(to.into()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.shared.write_error("renaming", &from, &error)),
            }
        }
        segment.set_deleted();
        self.removals.push(Removal { due, paths });
        Ok(())
    }
}
