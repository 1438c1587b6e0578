//! The operating system's files.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the one place that touches files"
)]

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::sync::oneshot;

use super::pool::Pool;
use crate::disk::{
    Completion, DirectoryEntry, EntryKind, File as SharedFile, FileLock, Metadata, OpenMode,
};

/// Slices that one vectored write takes at most (`IOV_MAX`).
const WRITE_SLICES_MAX: usize = 1024;
/// Bytes written to a file after which the kernel is asked to begin with sending them to the disk.
const WRITEBACK_BYTES: u64 = 256 << 10;

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pool: Arc<Pool>,
}

impl Disk {
    pub(crate) fn new() -> Disk {
        Disk {
            pool: Arc::new(Pool::new()),
        }
    }

    pub(crate) fn open(&self, path: PathBuf, mode: OpenMode) -> Completion<SharedFile> {
        let pool = Arc::clone(&self.pool);
        self.pool.submit(move || {
            let inner = open(&path, mode)?;
            Ok(SharedFile::new(File {
                inner,
                path,
                pool,
                sync: Mutex::default(),
                unsent_bytes: AtomicU64::new(0),
                is_sending: AtomicBool::new(false),
            }))
        })
    }

    pub(crate) fn read_file(&self, path: PathBuf) -> Completion<Bytes> {
        self.pool.submit(move || fs::read(path).map(Bytes::from))
    }

    pub(crate) fn create_dir_all(&self, path: PathBuf) -> Completion<()> {
        self.pool.submit(move || fs::create_dir_all(path))
    }

    pub(crate) fn list_dir(&self, path: PathBuf) -> Completion<Vec<DirectoryEntry>> {
        self.pool.submit(move || list_dir(&path))
    }

    pub(crate) fn rename(&self, from: PathBuf, to: PathBuf) -> Completion<()> {
        self.pool.submit(move || fs::rename(from, to))
    }

    pub(crate) fn remove_file(&self, path: PathBuf) -> Completion<()> {
        self.pool.submit(move || fs::remove_file(path))
    }

    pub(crate) fn remove_dir_all(&self, path: PathBuf) -> Completion<()> {
        self.pool.submit(move || fs::remove_dir_all(path))
    }

    pub(crate) fn sync_dir(&self, path: PathBuf) -> Completion<()> {
        self.pool.submit(move || {
            let directory = fs::File::open(path)?;
            Ok(retry(|| rustix::fs::fsync(&directory))?)
        })
    }

    pub(crate) fn exists(&self, path: PathBuf) -> Completion<bool> {
        self.pool.submit(move || path.try_exists())
    }

    pub(crate) fn metadata(&self, path: PathBuf) -> Completion<Metadata> {
        self.pool.submit(move || metadata(&path))
    }

    pub(crate) fn lock_file(&self, path: PathBuf) -> Completion<FileLock> {
        self.pool.submit(move || {
            let file = open(&path, OpenMode::Create)?;
            retry(|| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive))?;
            Ok(FileLock::new(Lock { _file: file }))
        })
    }

    pub(crate) fn free_bytes(&self, path: PathBuf) -> Completion<u64> {
        self.pool.submit(move || {
            let state = retry(|| rustix::fs::statvfs(&path))?;
            Ok(state.f_bavail.saturating_mul(state.f_frsize))
        })
    }
}

/// The lock of an open file description: it goes when the file is closed.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: fs::File,
}

pub(crate) struct File {
    inner: fs::File,
    path: PathBuf,
    pool: Arc<Pool>,
    sync: Mutex<SyncState>,
    /// Bytes written since the kernel was last asked to begin with sending them to the disk.
    unsent_bytes: AtomicU64,
    /// Whether it is being asked.
    is_sending: AtomicBool,
}

/// The syncs of one file: at most one runs, those asked for meanwhile share the next.
#[derive(Default)]
struct SyncState {
    running: bool,
    waiting: Vec<oneshot::Sender<io::Result<()>>>,
    /// Whether one of those waiting wants all metadata.
    waiting_all: bool,
    /// The first failure, which every later sync repeats.
    failed: Option<Errno>,
}

impl File {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.inner.metadata()?.len())
    }

    pub(crate) fn descriptor(&self) -> &fs::File {
        &self.inner
    }

    /// Brings the range into the page cache, unless both of its ends are there already.
    pub(crate) fn warm(self: &Arc<Self>, offset: u64, length_bytes: usize) -> Completion<()> {
        let last = offset + length_bytes.saturating_sub(1) as u64;
        let mut byte = [0u8; 1];
        let is_warm = [offset, last].into_iter().all(|at| {
            // An error here is met again, and told, by the read that follows.
            !matches!(self.read_now(at, &mut byte), Ok(ReadNow::Waits(_)))
        });
        if is_warm {
            return Completion::done(Ok(()));
        }
        let file = Arc::clone(self);
        self.pool.submit(move || {
            let mut scratch = vec![0; length_bytes];
            file.read_waiting(offset, &mut scratch, 0).map(drop)
        })
    }

    /// Reads what the page cache holds, without waiting for the disk.
    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Result<ReadNow, Errno> {
        let mut filled = 0;
        while filled < buffer.len() {
            let mut slices = [IoSliceMut::new(&mut buffer[filled..])];
            let at = offset + filled as u64;
            match rustix::io::preadv2(&self.inner, &mut slices, at, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Ok(ReadNow::Ended(filled)),
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                // The page is not cached, or the file system or the kernel cannot tell.
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    return Ok(ReadNow::Waits(filled));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ReadNow::Ended(filled))
    }

    /// Fills `buffer`, of which `filled` bytes are read already; how many bytes the file had for it.
    fn read_waiting(&self, offset: u64, buffer: &mut [u8], mut filled: usize) -> io::Result<usize> {
        while filled < buffer.len() {
            let at = offset + filled as u64;
            let count = retry(|| rustix::io::pread(&self.inner, &mut buffer[filled..], at))?;
            if count == 0 {
                break;
            }
            filled += count;
        }
        Ok(filled)
    }

    fn write_all(&self, offset: u64, parts: &[Bytes]) -> io::Result<()> {
        let mut at = offset;
        for group in parts.chunks(WRITE_SLICES_MAX) {
            let mut slices: Vec<IoSlice<'_>> =
                group.iter().map(|part| IoSlice::new(part)).collect();
            let mut rest = &mut slices[..];
            // Empty slices at the front would make a write of nothing look like a full disk.
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                let count = retry(|| rustix::io::pwritev(&self.inner, rest, at))?;
                if count == 0 {
                    return Err(ErrorKind::WriteZero.into());
                }
                at += count as u64;
                IoSlice::advance_slices(&mut rest, count);
            }
        }
        Ok(())
    }

    fn lock_sync(&self) -> MutexGuard<'_, SyncState> {
        self.sync.lock().expect("nothing panics under the lock")
    }

    /// Runs the syncs asked for until there are none.
    fn run_syncs(&self) {
        loop {
            let (waiting, all) = {
                let mut state = self.lock_sync();
                if state.waiting.is_empty() {
                    state.running = false;
                    return;
                }
                let all = std::mem::take(&mut state.waiting_all);
                (std::mem::take(&mut state.waiting), all)
            };
            let outcome = self.sync_once(all);
            for sender in waiting {
                // Whoever dropped its completion does not want to know.
                let _ = sender.send(outcome.map_err(io::Error::from));
            }
        }
    }

    fn sync_once(&self, all: bool) -> Result<(), Errno> {
        if let Some(error) = self.lock_sync().failed {
            return Err(error);
        }
        let outcome = if all {
            retry(|| rustix::fs::fsync(&self.inner))
        } else {
            retry(|| rustix::fs::fdatasync(&self.inner))
        };
        if let Err(error) = outcome {
            self.lock_sync().failed = Some(error);
        }
        outcome
    }
}

enum ReadNow {
    /// So many bytes were read: all that was asked for, or all that the file has.
    Ended(usize),
    /// So many bytes were read, the next one is not in the page cache.
    Waits(usize),
}

/// See [`SharedFile::write_at`].
pub(crate) fn write_at(file: &Arc<File>, offset: u64, parts: Vec<Bytes>) -> Completion<()> {
    let written = file.write_all(offset, &parts);
    let length_bytes: usize = parts.iter().map(Bytes::len).sum();
    begin_writeback(file, length_bytes as u64);
    Completion::done(written)
}

/// Has the kernel begin to send what was written to the disk, whenever enough has come together: a sync then has little
/// left to do, and what is written meanwhile does not wait behind all of it. It makes nothing durable.
fn begin_writeback(file: &Arc<File>, length_bytes: u64) {
    let unsent_bytes = file.unsent_bytes.fetch_add(length_bytes, Relaxed) + length_bytes;
    if unsent_bytes < WRITEBACK_BYTES || file.is_sending.swap(true, Acquire) {
        return;
    }
    file.unsent_bytes.store(0, Relaxed);
    let target = Arc::clone(file);
    // A hint: what it does not do, the next sync does, and tells what goes wrong.
    let enqueued = file.pool.enqueue(Box::new(move || {
        send(&target.inner);
        target.is_sending.store(false, Release);
    }));
    if enqueued.is_err() {
        file.is_sending.store(false, Release);
    }
}

/// Begins to write the whole file's dirty pages, without waiting for them.
#[expect(unsafe_code, reason = "no library has this call")]
fn send(file: &fs::File) {
    // SAFETY: the descriptor is open as long as the file is borrowed, and no memory is handed over.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// See [`SharedFile::read_at`].
pub(crate) fn read_at(file: &Arc<File>, offset: u64, length_bytes: usize) -> Completion<Bytes> {
    let mut buffer = vec![0; length_bytes];
    match file.read_now(offset, &mut buffer) {
        Ok(ReadNow::Ended(filled)) => {
            buffer.truncate(filled);
            Completion::done(Ok(Bytes::from(buffer)))
        }
        Ok(ReadNow::Waits(filled)) => {
            let reader = Arc::clone(file);
            file.pool.submit(move || {
                let filled = reader.read_waiting(offset, &mut buffer, filled)?;
                buffer.truncate(filled);
                Ok(Bytes::from(buffer))
            })
        }
        Err(error) => Completion::done(Err(error.into())),
    }
}

/// See [`SharedFile::sync_data`].
pub(crate) fn sync(file: &Arc<File>, all: bool) -> Completion<()> {
    let (sender, receiver) = oneshot::channel();
    let starts = {
        let mut state = file.lock_sync();
        state.waiting.push(sender);
        state.waiting_all |= all;
        !std::mem::replace(&mut state.running, true)
    };
    if starts {
        let runner = Arc::clone(file);
        if let Err(error) = file.pool.enqueue(Box::new(move || runner.run_syncs())) {
            let mut state = file.lock_sync();
            state.running = false;
            state.waiting.clear();
            return Completion::done(Err(error));
        }
    }
    Completion::waiting(receiver)
}

/// See [`SharedFile::allocate`].
pub(crate) fn allocate(file: &Arc<File>, offset: u64, length_bytes: u64) -> Completion<()> {
    if length_bytes == 0 {
        return Completion::done(Ok(()));
    }
    let target = Arc::clone(file);
    file.pool.submit(move || {
        let mode = FallocateFlags::KEEP_SIZE;
        match retry(|| rustix::fs::fallocate(&target.inner, mode, offset, length_bytes)) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
}

/// See [`SharedFile::set_len`].
pub(crate) fn set_len(file: &Arc<File>, length_bytes: u64) -> Completion<()> {
    let target = Arc::clone(file);
    file.pool.submit(move || target.inner.set_len(length_bytes))
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn open(path: &Path, mode: OpenMode) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    match mode {
        OpenMode::Read => &mut options,
        OpenMode::ReadWrite => options.write(true),
        OpenMode::Create => options.write(true).create(true).truncate(false),
        OpenMode::CreateNew => options.write(true).create_new(true),
        OpenMode::Truncate => options.write(true).create(true).truncate(true),
    };
    options.open(path)
}

fn kind(file_type: fs::FileType) -> EntryKind {
    if file_type.is_file() {
        EntryKind::File
    } else if file_type.is_dir() {
        EntryKind::Directory
    } else {
        EntryKind::Other
    }
}

fn list_dir(path: &Path) -> io::Result<Vec<DirectoryEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        entries.push(DirectoryEntry {
            name: entry.file_name().to_string_lossy().into_owned(),
            kind: kind(entry.file_type()?),
        });
    }
    entries.sort();
    Ok(entries)
}

fn metadata(path: &Path) -> io::Result<Metadata> {
    let known = fs::metadata(path)?;
    let modified_ms = match known.modified()?.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(_) => 0,
    };
    Ok(Metadata {
        kind: kind(known.file_type()),
        length_bytes: known.len(),
        modified_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_sent_to_the_disk_in_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let file = Arc::new(File {
            inner: open(&path, OpenMode::Create).expect("it opens"),
            path,
            pool: Arc::new(Pool::new()),
            sync: Mutex::default(),
            unsent_bytes: AtomicU64::new(0),
            is_sending: AtomicBool::new(false),
        });
        let part = Bytes::from(vec![7; WRITEBACK_BYTES as usize / 3 + 1]);
        for (index, unsent) in [1, 2, 0].into_iter().enumerate() {
            let offset = (index * part.len()) as u64;
            let written = write_at(&file, offset, vec![part.clone()]);
            crate::task::block_on(written).expect("it is written");
            let bytes = file.unsent_bytes.load(Relaxed);
            assert_eq!(bytes, unsent * part.len() as u64, "after write {index}");
        }
        assert_eq!(
            fs::read(&file.path).expect("it reads"),
            vec![7; 3 * part.len()]
        );
    }
}
