//! A checkpoint file of a log directory: one offset per partition, written when its owner asks for it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use runtime::disk::Disk;
use runtime::sync::oneshot;
use types::Offset;

use crate::error::DirectoryError;
use crate::files::{lock, replace_file};
use crate::names::PartitionName;
use crate::text::{format_offsets, parse_offsets, utf8};

/// One offset per partition, in memory and in a file.
///
/// Changes are made in memory; [`Checkpoint::persist`] makes all those made before it durable, however many callers
/// on however many cores ask for it at once.
#[derive(Debug)]
pub struct Checkpoint {
    disk: Disk,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    offsets: BTreeMap<PartitionName, Offset>,
    /// Rises with each change.
    version: u64,
    /// The version in the file.
    persisted: u64,
    is_writing: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

/// Ends a writing even if it is dropped half way.
struct Writing<'a>(&'a Checkpoint);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = lock(&self.0.state);
            state.is_writing = false;
            std::mem::take(&mut state.waiting)
        };
        for waiter in waiting {
            // One that has gone away needs no word.
            let _ = waiter.send(());
        }
    }
}

impl Checkpoint {
    /// Reads the checkpoint at `path`; a missing file is an empty one.
    ///
    /// # Errors
    /// If the file cannot be read or understood.
    pub(crate) async fn load(disk: &Disk, path: &Path) -> Result<Checkpoint, DirectoryError> {
        let offsets = match disk.read_file(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(DirectoryError::io(path, error)),
            Ok(bytes) => utf8(&bytes).and_then(parse_offsets).map_err(|error| {
                DirectoryError::Unreadable {
                    path: path.to_owned(),
                    reason: error.to_string(),
                }
            })?,
        };
        let state = State {
            offsets,
            ..State::default()
        };
        Ok(Checkpoint {
            disk: disk.clone(),
            path: path.to_owned(),
            state: Mutex::new(state),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The offset of a partition, if it has one.
    pub fn get(&self, name: &PartitionName) -> Option<Offset> {
        lock(&self.state).offsets.get(name).copied()
    }

    /// Sets the offset of a partition.
    pub fn set(&self, name: &PartitionName, offset: Offset) {
        let mut state = lock(&self.state);
        if state.offsets.get(name) == Some(&offset) {
            return;
        }
        match state.offsets.get_mut(name) {
            Some(known) => *known = offset,
            None => drop(state.offsets.insert(name.clone(), offset)),
        }
        state.version += 1;
    }

    /// Lowers the offset of a partition; says whether it was higher.
    pub fn lower(&self, name: &PartitionName, offset: Offset) -> bool {
        let mut state = lock(&self.state);
        match state.offsets.get_mut(name) {
            Some(known) if *known > offset => *known = offset,
            _ => return false,
        }
        state.version += 1;
        true
    }

    /// Forgets a partition.
    pub fn remove(&self, name: &PartitionName) {
        let mut state = lock(&self.state);
        if state.offsets.remove(name).is_some() {
            state.version += 1;
        }
    }

    /// Whether there are changes that are not in the file.
    pub fn is_changed(&self) -> bool {
        let state = lock(&self.state);
        state.version > state.persisted
    }

    /// Makes every change made before the call durable. Calls made while a write runs share the next one.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn persist(&self) -> io::Result<()> {
        let wanted = lock(&self.state).version;
        loop {
            let turn = {
                let mut state = lock(&self.state);
                if state.persisted >= wanted {
                    return Ok(());
                }
                if state.is_writing {
                    let (sender, receiver) = oneshot::channel();
                    state.waiting.push(sender);
                    Err(receiver)
                } else {
                    state.is_writing = true;
                    Ok((state.version, format_offsets(&state.offsets)))
                }
            };
            match turn {
                // A writer that was dropped sends nothing: look again all the same.
                Err(receiver) => drop(receiver.await),
                Ok((version, text)) => {
                    let writing = Writing(self);
                    replace_file(&self.disk, &self.path, Bytes::from(text)).await?;
                    lock(&self.state).persisted = version;
                    drop(writing);
                }
            }
        }
    }
}
