//! Open files: few at a time, opened when needed; and small files replaced as a whole.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use runtime::disk::{Disk, File, OpenMode};
use runtime::sync::{Semaphore, SemaphorePermit};

use crate::names::FileKind;
use crate::segment::Segment;

/// Entries of the clock's round that may be stale before they are looked for.
const HAND_SLACK: usize = 64;
/// Files that the clock's hand passes at most at a time.
const HAND_STEPS_MAX: usize = 64;

/// Small files of partitions that are open at once at most, however many partitions want theirs written.
const SMALL_FILES_MAX: usize = 64;

/// Locks a mutex whose data stay sound when a holder panics: every critical section here is a few assignments.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The segment files that are open, over all logs and directories of a node. Cheap to clone.
///
/// Which file is closed when there are too many is decided by the clock algorithm: those not used since the hand
/// passed last. A file whose bytes are not synced yet is never chosen, nor is one closed under a reader: a reader
/// holds it itself.
#[derive(Clone)]
pub struct FileCache {
    inner: Arc<CacheInner>,
}

struct CacheInner {
    disk: Disk,
    open_files_max: usize,
    open_files: AtomicUsize,
    hand: Mutex<VecDeque<(Weak<Segment>, FileKind)>>,
    small_files: Semaphore,
    /// Openings that owners have announced.
    announced: AtomicUsize,
}

/// A file of a segment: open, or not.
#[derive(Default, Debug)]
pub(crate) struct Slot {
    state: Mutex<SlotState>,
}

#[derive(Default, Debug)]
struct SlotState {
    file: Option<File>,
    used: bool,
    unsynced: bool,
}

impl Slot {
    /// The open file, which counts as used now.
    pub fn get(&self) -> Option<File> {
        let mut state = lock(&self.state);
        state.used = true;
        state.file.clone()
    }

    /// Whether the file is open.
    pub fn is_open(&self) -> bool {
        lock(&self.state).file.is_some()
    }

    /// Forgets the open file.
    pub fn close(&self) -> bool {
        lock(&self.state).file.take().is_some()
    }

    /// Says whether the file holds bytes that are not synced.
    pub fn set_unsynced(&self, unsynced: bool) {
        lock(&self.state).unsynced = unsynced;
    }

    /// Closes the file if it was not used since the last call and holds no unsynced bytes.
    fn close_if_idle(&self) -> bool {
        let mut state = lock(&self.state);
        if state.unsynced || std::mem::take(&mut state.used) {
            return false;
        }
        state.file.take().is_some()
    }
}

impl FileCache {
    /// A cache of at most about `open_files_max` open files on `disk`.
    pub fn new(disk: Disk, open_files_max: usize) -> FileCache {
        FileCache {
            inner: Arc::new(CacheInner {
                disk,
                open_files_max: open_files_max.max(1),
                open_files: AtomicUsize::new(0),
                hand: Mutex::new(VecDeque::new()),
                announced: AtomicUsize::new(0),
                small_files: Semaphore::new((open_files_max / 4).clamp(1, SMALL_FILES_MAX)),
            }),
        }
    }

    /// The disk that the files are on.
    pub fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    /// Waits until one more small file of a partition may be open: for as long as what is given is kept.
    pub(crate) async fn small_file(&self) -> SemaphorePermit<'_> {
        let permit = self.inner.small_files.acquire().await;
        permit.expect("it is never closed")
    }

    /// How many files the cache holds open. Readers may hold more.
    pub fn open_files(&self) -> usize {
        self.inner.open_files.load(Ordering::Relaxed)
    }

    /// Entries of the clock's round, stale ones included.
    #[cfg(test)]
    pub(crate) fn listed_files(&self) -> usize {
        lock(&self.inner.hand).len()
    }

    /// Whether more files are open than there should be, because many hold unsynced bytes: a flush of the logs that
    /// need one lets go of them.
    pub fn is_crowded(&self) -> bool {
        self.open_files() > self.inner.open_files_max
    }

    /// Whether there would be too many if `more` were opened beside those that are announced, and none closed.
    pub fn is_crowded_by(&self, more: usize) -> bool {
        let announced = self.inner.announced.load(Ordering::Relaxed);
        self.open_files() + announced + more > self.inner.open_files_max
    }

    /// Announces that a file is about to be opened: every core counts it, until [`FileCache::end_opening`].
    pub fn begin_opening(&self) {
        self.inner.announced.fetch_add(1, Ordering::Relaxed);
    }

    /// The file is open, or will not be.
    pub fn end_opening(&self) {
        let before = self.inner.announced.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "an opening ended that was not announced");
    }

    /// Opens the file of a segment, or gives the open one.
    pub(crate) async fn open(
        &self,
        segment: &Arc<Segment>,
        kind: FileKind,
        mode: OpenMode,
    ) -> io::Result<File> {
        if let Some(file) = segment.slot(kind).get() {
            return Ok(file);
        }
        let opened = self.inner.disk.open(segment.path(kind), mode).await;
        let file = match opened {
            // Retention may be about to say that it has renamed the file.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && mode == OpenMode::ReadWrite =>
            {
                self.inner
                    .disk
                    .open(segment.deleted_path(kind), mode)
                    .await?
            }
            file => file?,
        };
        // The mark is set before another file takes the name: unmarked, this file is still the segment's.
        if segment.is_replaced() {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.insert(segment, kind, file.clone());
        Ok(file)
    }

    /// Takes an open file of a segment into the cache.
    pub(crate) fn insert(&self, segment: &Arc<Segment>, kind: FileKind, file: File) {
        let replaced = {
            let mut state = lock(&segment.slot(kind).state);
            state.used = true;
            state.file.replace(file).is_some()
        };
        if replaced {
            return;
        }
        self.inner.open_files.fetch_add(1, Ordering::Relaxed);
        {
            let mut hand = lock(&self.inner.hand);
            hand.push_back((Arc::downgrade(segment), kind));
            // What was closed by other ways than the hand is still listed.
            if hand.len() > 2 * self.open_files() + HAND_SLACK {
                hand.retain(|(segment, kind)| {
                    segment
                        .upgrade()
                        .is_some_and(|alive| alive.slot(*kind).is_open())
                });
            }
        }
        self.close_idle();
    }

    /// Closes the files of a segment that leaves its log.
    pub(crate) fn forget(&self, segment: &Segment) {
        for kind in Segment::FILES {
            if segment.slot(kind).close() {
                self.inner.open_files.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Closes files while there are too many.
    pub(crate) fn close_idle(&self) {
        if !self.is_crowded() {
            return;
        }
        let mut hand = lock(&self.inner.hand);
        // Two rounds at most, for the first takes the marks of use away; but nobody goes round all files in one go.
        let mut steps = (2 * hand.len()).min(HAND_STEPS_MAX);
        while steps > 0 && self.is_crowded() {
            steps -= 1;
            let Some((segment, kind)) = hand.pop_front() else {
                break;
            };
            let Some(alive) = segment.upgrade() else {
                continue;
            };
            if alive.slot(kind).close_if_idle() {
                self.inner.open_files.fetch_sub(1, Ordering::Relaxed);
            } else if alive.slot(kind).is_open() {
                hand.push_back((segment, kind));
            }
        }
    }

    /// A segment is gone, with `open_files` of its files open.
    pub(crate) fn dropped(&self, open_files: usize) {
        self.inner
            .open_files
            .fetch_sub(open_files, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for FileCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "FileCache({} of {})",
            self.open_files(),
            self.inner.open_files_max
        )
    }
}

/// Replaces the file at `path` so that after a crash either the old or the new content is there: a file beside it is
/// written and synced, takes its name, and the directory is synced.
///
/// # Errors
/// What the system says.
pub async fn replace_file(disk: &Disk, path: &Path, content: Bytes) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let file = disk.open(&temporary, OpenMode::Truncate).await?;
    let written = file.write_at(0, vec![content]).await;
    if let Err(error) = written {
        // A full disk must not keep the half of a file.
        let _ = disk.remove_file(&temporary).await;
        return Err(error);
    }
    if !types::planted!(CheckpointNotSynced) {
        file.sync_data().await?;
    }
    disk.rename(&temporary, path).await?;
    let synced = disk.sync_dir(path.parent().unwrap_or(Path::new("."))).await;
    synced.map_err(|error: io::Error| match error.kind() {
        // The new name is there, only not durable: that is no refusal which leaves everything as it was.
        io::ErrorKind::StorageFull => io::Error::other(error),
        _ => error,
    })
}
