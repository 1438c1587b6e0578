//! What recovery found in a file, written once more.

use std::io;

use runtime::disk::File;
use types::planted;

/// How much is written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Writes the bytes of `file` from `from` up to `to` once more, into `target` at the same place: what was found good and is not known
/// to have been synced. After a failed sync the system may hold pages that the disk never got and that it takes for
/// clean: the next life of the process reads them, and a sync of them does nothing and succeeds.
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
