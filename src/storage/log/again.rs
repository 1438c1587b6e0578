//! What recovery found in a file, written once more.

use std::io;
use std::path::Path;

use runtime::disk::{File, OpenMode};
use types::planted;

use super::recover::Recovery;
use crate::error::{OpenError, WriteError};
use crate::names::CLEANED_SUFFIX;

/// How much is written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Writes the bytes of `file` from `from` up to `to` once more, into `target` at the same place: what was found good and
/// is not known to have been synced. After a failed sync the system may hold pages that the disk never got and that it
/// takes for clean: the next life of the process reads them, and a sync of them does nothing and succeeds.
///
/// # Errors
/// What the system says; `UnexpectedEof`, if the file is shorter.
pub(super) async fn write_again(file: &File, from: u64, target: &File, to: u64) -> io::Result<()> {
    let mut position = from;
    while position < to && !planted!(RecoveryBelievesPageCache) {
        let length = usize::try_from(to - position).unwrap_or(usize::MAX);
        let bytes = file.read_at(position, length.min(CHUNK_BYTES)).await?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = bytes.len() as u64;
        target.write_at(position, vec![bytes]).await?;
        position += length;
    }
    Ok(())
}

impl Recovery<'_> {
    /// As [`write_again`], with the error as recovery tells it.
    pub(super) async fn again(
        &self,
        file: &File,
        from: u64,
        target: &File,
        to: u64,
    ) -> Result<(), OpenError> {
        let written = write_again(file, from, target, to).await;
        written.map_err(|error| self.fail("writing again", target.path(), &error))
    }

    /// As [`write_again`], of a segment whose name is not known to have been synced either: a failed sync of
    /// the directory may have left a name that no later one writes. A copy of the first `size_bytes` takes its place,
    /// for a new name is written in any case. Without space for a copy its bytes are written where they are.
    pub(super) async fn write_anew(
        &self,
        file: File,
        path: &Path,
        size_bytes: u64,
    ) -> Result<File, OpenError> {
        let disk = self.shared.disk();
        let mut copy_path = path.as_os_str().to_owned();
        copy_path.push(CLEANED_SUFFIX);
        let copied = async {
            let copy = disk.open(&copy_path, OpenMode::Truncate).await;
            let copy = copy.map_err(|error| self.fail("opening", path, &error))?;
            self.again(&file, 0, &copy, size_bytes).await?;
            Ok(copy)
        };
        let copy: Result<File, OpenError> = copied.await;
        match copy {
            Ok(copy) => {
                let synced = copy.sync_data().await;
                synced.map_err(|error| self.shared.directory.fail("syncing", path, &error))?;
                let renamed = disk.rename(&copy_path, path).await;
                renamed.map_err(|error| self.fail("renaming", path, &error))?;
                Ok(copy)
            }
            Err(OpenError::Write(WriteError::NoSpace(_))) => {
                // What there is of it is a leftover, which goes now or at the next start.
                let _ = disk.remove_file(&copy_path).await;
                self.again(&file, 0, &file, size_bytes).await?;
                Ok(file)
            }
            Err(error) => Err(error),
        }
    }
}
