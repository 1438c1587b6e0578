//! Files and directories.
//!
//! Every operation begins when it is called, returns a [`Completion`] and goes on whether or not that is polled or
//! kept. In the real half writes to the page cache and reads from it have usually ended when the call returns; no
//! caller may rely on it.

mod completion;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub use completion::Completion;

use crate::half;

/// Worker threads of a disk at most. A file whose device hangs holds one; the others serve on.
pub const WORKERS_MAX: usize = 32;
/// Operations that may wait for a worker; the next caller is held up until one is taken.
pub const QUEUE_LENGTH_MAX: usize = 65_536;

/// How [`Disk::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A file for reading and writing, made empty if there is none.
    Create,
    /// A file for reading and writing that must not exist yet (`AlreadyExists`).
    CreateNew,
    /// A file for reading and writing, made if there is none, emptied if there is one.
    Truncate,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else, such as a symbolic link.
    Other,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// The entry's name, without its directory. Names that are not UTF-8 have their bad bytes replaced.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What is known of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: EntryKind,
    /// Its length in bytes; of a directory, whatever the system says.
    pub length_bytes: u64,
    /// When its content last changed, in milliseconds since 1970-01-01 UTC.
    pub modified_ms: i64,
}

/// A node's disk. Cheap to clone; may be used from every core.
#[derive(Clone, Debug)]
pub struct Disk {
    inner: half::disk::Disk,
}

impl Disk {
    /// The disk of this node. The real half starts its worker threads when they are needed, and ends idle ones.
    pub fn new() -> Disk {
        Disk {
            inner: half::disk::Disk::new(),
        }
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `PermissionDenied`, and what else the system says.
    pub fn open(&self, path: impl Into<PathBuf>, mode: OpenMode) -> Completion<File> {
        self.inner.open(path.into(), mode)
    }

    /// The whole content of the file at `path`.
    ///
    /// # Errors
    /// As [`Disk::open`], and those of reading.
    pub fn read_file(&self, path: impl Into<PathBuf>) -> Completion<Bytes> {
        self.inner.read_file(path.into())
    }

    /// Makes the directory `path` and those above it that do not exist. None of the names is synced.
    ///
    /// # Errors
    /// What the system says.
    pub fn create_dir_all(&self, path: impl Into<PathBuf>) -> Completion<()> {
        self.inner.create_dir_all(path.into())
    }

    /// The entries of the directory `path`, ordered by name.
    ///
    /// # Errors
    /// What the system says.
    pub fn list_dir(&self, path: impl Into<PathBuf>) -> Completion<Vec<DirectoryEntry>> {
        self.inner.list_dir(path.into())
    }

    /// Gives `from` the name `to`, replacing what had it. Durable after [`Disk::sync_dir`] of both directories.
    ///
    /// # Errors
    /// What the system says.
    pub fn rename(&self, from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Completion<()> {
        self.inner.rename(from.into(), to.into())
    }

    /// Removes the file `path`. Open handles keep their content.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_file(&self, path: impl Into<PathBuf>) -> Completion<()> {
        self.inner.remove_file(path.into())
    }

    /// Removes the directory `path` and all in it.
    ///
    /// # Errors
    /// What the system says; some of it may then be gone.
    pub fn remove_dir_all(&self, path: impl Into<PathBuf>) -> Completion<()> {
        self.inner.remove_dir_all(path.into())
    }

    /// Makes the names in the directory `path` durable, as they were when this was called.
    ///
    /// # Errors
    /// What the system says. A failed sync must not be tried again: what it lost is lost.
    pub fn sync_dir(&self, path: impl Into<PathBuf>) -> Completion<()> {
        self.inner.sync_dir(path.into())
    }

    /// Whether there is anything at `path`.
    ///
    /// # Errors
    /// If that cannot be told.
    pub fn exists(&self, path: impl Into<PathBuf>) -> Completion<bool> {
        self.inner.exists(path.into())
    }

    /// What is known of the file or directory at `path`; symbolic links are followed.
    ///
    /// # Errors
    /// `NotFound`, and what else the system says.
    pub fn metadata(&self, path: impl Into<PathBuf>) -> Completion<Metadata> {
        self.inner.metadata(path.into())
    }

    /// Takes the exclusive lock of the file at `path`, made if there is none, against every other holder in this and
    /// in other processes. The file stays when the lock goes.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else holds it.
    pub fn lock_file(&self, path: impl Into<PathBuf>) -> Completion<FileLock> {
        self.inner.lock_file(path.into())
    }

    /// Bytes that an unprivileged writer may still write to the file system that holds `path`.
    ///
    /// # Errors
    /// What the system says.
    pub fn free_bytes(&self, path: impl Into<PathBuf>) -> Completion<u64> {
        self.inner.free_bytes(path.into())
    }
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::new()
    }
}

/// An open file. Cheap to clone; may be used from every core. Closed with its last clone and its last operation.
#[derive(Clone)]
pub struct File {
    inner: Arc<half::disk::File>,
}

impl File {
    pub(crate) fn new(inner: half::disk::File) -> File {
        File {
            inner: Arc::new(inner),
        }
    }

    #[cfg(not(madsim))]
    pub(crate) fn half(&self) -> &Arc<half::disk::File> {
        &self.inner
    }

    /// The path it was opened by. The file may have been renamed since.
    pub fn path(&self) -> &Path {
        self.inner.path()
    }

    /// Writes `parts`, one after the other, from `offset` on, wholly. Writes that overlap in time and place leave
    /// either content.
    ///
    /// # Errors
    /// `StorageFull`, and what else the system says; any part of the range may then have changed.
    pub fn write_at(&self, offset: u64, parts: Vec<Bytes>) -> Completion<()> {
        half::disk::write_at(&self.inner, offset, parts)
    }

    /// Reads `length_bytes` bytes from `offset` on; fewer only where the file ends.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_at(&self, offset: u64, length_bytes: usize) -> Completion<Bytes> {
        half::disk::read_at(&self.inner, offset, length_bytes)
    }

    /// Makes durable all that was written before the call, and the length needed to read it (fdatasync). Syncs of one
    /// file that are asked for while one runs share the next one.
    ///
    /// # Errors
    /// What the system says. After one failed sync of this handle all later ones fail with the same kind: what was
    /// lost is unknown, and a sync that succeeds later would hide it.
    pub fn sync_data(&self) -> Completion<()> {
        half::disk::sync(&self.inner, false)
    }

    /// As [`File::sync_data`], with all of the file's metadata (fsync).
    ///
    /// # Errors
    /// As [`File::sync_data`].
    pub fn sync_all(&self) -> Completion<()> {
        half::disk::sync(&self.inner, true)
    }

    /// Reserves space for the range without changing the file's length or content. A file system that cannot do it
    /// answers as if it had.
    ///
    /// # Errors
    /// `StorageFull`, and what else the system says.
    pub fn allocate(&self, offset: u64, length_bytes: u64) -> Completion<()> {
        half::disk::allocate(&self.inner, offset, length_bytes)
    }

    /// Sets the file's length, cutting it or adding zeros.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_len(&self, length_bytes: u64) -> Completion<()> {
        half::disk::set_len(&self.inner, length_bytes)
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    /// Whether the file is empty.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.path()).finish()
    }
}

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub struct FileLock {
    _inner: half::disk::Lock,
}

impl FileLock {
    pub(crate) fn new(inner: half::disk::Lock) -> FileLock {
        FileLock { _inner: inner }
    }
}
