//! A disk in memory, one per node, that outlives the node's kills and loses nothing.
//!
//! Operations take effect when they are called; some are told later, by delays drawn from a stream of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use madsim::plugin::{self, Simulator};
use madsim::rand::GlobalRng;
use madsim::task::NodeId;
use madsim::time::TimeHandle;
use types::Prng;

use crate::disk::{
    Completion, DirectoryEntry, EntryKind, File as SharedFile, FileLock, Metadata, OpenMode,
};

/// Bytes of every disk.
const CAPACITY_BYTES: u64 = 1 << 40;

/// The disks of a simulated world, by node.
pub struct DiskSimulator {
    platters: Mutex<BTreeMap<NodeId, Arc<Platter>>>,
}

impl DiskSimulator {
    fn platter(&self, node: NodeId) -> Arc<Platter> {
        let mut platters = lock(&self.platters);
        Arc::clone(platters.entry(node).or_default())
    }
}

impl Simulator for DiskSimulator {
    fn new(_: &GlobalRng, _: &TimeHandle, _: &madsim::Config) -> DiskSimulator {
        DiskSimulator {
            platters: Mutex::default(),
        }
    }

    fn reset_node(&self, node: NodeId) {
        lock(&self.platter(node).locks).held.clear();
    }
}

/// What one node's disk holds.
#[derive(Default)]
struct Platter {
    /// By absolute path; the root is always there and not listed.
    entries: Mutex<BTreeMap<PathBuf, Entry>>,
    locks: Mutex<Locks>,
}

#[derive(Clone)]
enum Entry {
    Directory,
    File(Arc<Inode>),
}

#[derive(Default)]
struct Locks {
    held: BTreeMap<PathBuf, u64>,
    next: u64,
}

#[derive(Default)]
struct Inode {
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    modified_ms: i64,
}

impl Content {
    fn touch(&mut self) {
        self.modified_ms = crate::clock::wall().as_millis();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under the lock")
}

/// How long operations take, in microseconds of simulated time.
struct Delays {
    prng: Mutex<Prng>,
}

impl Delays {
    /// An operation that seldom leaves the page cache.
    fn cached<T>(&self, result: io::Result<T>) -> Completion<T> {
        let delay_us = {
            let mut prng = lock(&self.prng);
            if prng.chance(3, 4) {
                0
            } else {
                20 + prng.below(180)
            }
        };
        match delay_us {
            0 => Completion::done(result),
            _ => Completion::later(Duration::from_micros(delay_us), result),
        }
    }

    /// An operation that waits for the device.
    fn device<T>(&self, result: io::Result<T>) -> Completion<T> {
        let delay_us = 50 + lock(&self.prng).below(950);
        Completion::later(Duration::from_micros(delay_us), result)
    }
}

#[derive(Clone)]
pub(crate) struct Disk {
    platter: Arc<Platter>,
    delays: Arc<Delays>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    pub(crate) fn new() -> Disk {
        let prng = Prng::new(crate::entropy(), "disk delays");
        Disk {
            platter: plugin::simulator::<DiskSimulator>().platter(plugin::node()),
            delays: Arc::new(Delays {
                prng: Mutex::new(prng),
            }),
        }
    }

    pub(crate) fn open(&self, path: PathBuf, mode: OpenMode) -> Completion<SharedFile> {
        let opened = self.platter.open(&path, mode).map(|inode| {
            SharedFile::new(File {
                inode,
                path,
                writable: mode != OpenMode::Read,
                delays: Arc::clone(&self.delays),
            })
        });
        self.delays.device(opened)
    }

    pub(crate) fn read_file(&self, path: PathBuf) -> Completion<Bytes> {
        let inode = self.platter.open(&path, OpenMode::Read);
        let content = inode.map(|inode| Bytes::copy_from_slice(&lock(&inode.content).bytes));
        self.delays.device(content)
    }

    pub(crate) fn create_dir_all(&self, path: PathBuf) -> Completion<()> {
        self.delays.device(self.platter.create_dir_all(&path))
    }

    pub(crate) fn list_dir(&self, path: PathBuf) -> Completion<Vec<DirectoryEntry>> {
        self.delays.device(self.platter.list_dir(&path))
    }

    pub(crate) fn rename(&self, from: PathBuf, to: PathBuf) -> Completion<()> {
        self.delays.device(self.platter.rename(&from, &to))
    }

    pub(crate) fn remove_file(&self, path: PathBuf) -> Completion<()> {
        self.delays.device(self.platter.remove_file(&path))
    }

    pub(crate) fn remove_dir_all(&self, path: PathBuf) -> Completion<()> {
        self.delays.device(self.platter.remove_dir_all(&path))
    }

    pub(crate) fn sync_dir(&self, path: PathBuf) -> Completion<()> {
        self.delays.device(self.platter.list_dir(&path).map(drop))
    }

    pub(crate) fn exists(&self, path: PathBuf) -> Completion<bool> {
        let found = self.platter.find(&absolute(&path));
        self.delays.device(Ok(found.is_some()))
    }

    pub(crate) fn metadata(&self, path: PathBuf) -> Completion<Metadata> {
        self.delays.device(self.platter.metadata(&path))
    }

    pub(crate) fn lock_file(&self, path: PathBuf) -> Completion<FileLock> {
        let held = self
            .platter
            .open(&path, OpenMode::Create)
            .and_then(|_| Lock::take(&self.platter, absolute(&path)));
        self.delays.device(held.map(FileLock::new))
    }

    pub(crate) fn free_bytes(&self, path: PathBuf) -> Completion<u64> {
        let free = self.platter.metadata(&path).map(|_| {
            let used: u64 = lock(&self.platter.entries)
                .values()
                .map(Entry::length_bytes)
                .sum();
            CAPACITY_BYTES.saturating_sub(used)
        });
        self.delays.device(free)
    }
}

impl Entry {
    fn length_bytes(&self) -> u64 {
        match self {
            Entry::Directory => 0,
            Entry::File(inode) => lock(&inode.content).bytes.len() as u64,
        }
    }

    fn kind(&self) -> EntryKind {
        match self {
            Entry::Directory => EntryKind::Directory,
            Entry::File(_) => EntryKind::File,
        }
    }
}

/// `path` from the root, without `.` and `..`; a relative path begins at the root.
fn absolute(path: &Path) -> PathBuf {
    let mut absolute = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => {
                absolute.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    absolute
}

impl Platter {
    fn find(&self, path: &Path) -> Option<Entry> {
        if path == Path::new("/") {
            return Some(Entry::Directory);
        }
        lock(&self.entries).get(path).cloned()
    }

    /// # Errors
    /// Unless the directory that holds `path` exists.
    fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.find(parent)) {
            Some(Entry::Directory) => Ok(()),
            Some(Entry::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<Inode>> {
        let path = absolute(path);
        match self.find(&path) {
            Some(Entry::Directory) => Err(ErrorKind::IsADirectory.into()),
            Some(Entry::File(_)) if mode == OpenMode::CreateNew => {
                Err(ErrorKind::AlreadyExists.into())
            }
            Some(Entry::File(inode)) => {
                if mode == OpenMode::Truncate {
                    lock(&inode.content).bytes.clear();
                }
                Ok(inode)
            }
            None if matches!(mode, OpenMode::Read | OpenMode::ReadWrite) => {
                Err(ErrorKind::NotFound.into())
            }
            None => {
                self.check_parent(&path)?;
                let inode = Arc::<Inode>::default();
                lock(&inode.content).touch();
                lock(&self.entries).insert(path, Entry::File(Arc::clone(&inode)));
                Ok(inode)
            }
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = absolute(path);
        let mut missing: Vec<&Path> = Vec::new();
        for ancestor in path.ancestors() {
            match self.find(ancestor) {
                None => missing.push(ancestor),
                Some(Entry::Directory) => break,
                Some(Entry::File(_)) => return Err(ErrorKind::NotADirectory.into()),
            }
        }
        let mut entries = lock(&self.entries);
        for directory in missing {
            entries.insert(directory.to_owned(), Entry::Directory);
        }
        Ok(())
    }

    /// The paths of `path` and of all in it, if there is anything.
    fn below(&self, path: &Path) -> Vec<PathBuf> {
        lock(&self.entries)
            .range(path.to_owned()..)
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with(path))
            .cloned()
            .collect()
    }

    /// # Errors
    /// Unless `path` is a directory.
    fn check_directory(&self, path: &Path) -> io::Result<()> {
        match self.find(path) {
            Some(Entry::Directory) => Ok(()),
            Some(Entry::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let path = absolute(path);
        self.check_directory(&path)?;
        let mut listed = BTreeSet::new();
        for (name, entry) in lock(&self.entries).range(path.clone()..) {
            if !name.starts_with(&path) {
                break;
            }
            if name.parent() == Some(&path) {
                let file_name = name.file_name().expect("a child has a name");
                listed.insert(DirectoryEntry {
                    name: file_name.to_string_lossy().into_owned(),
                    kind: entry.kind(),
                });
            }
        }
        Ok(listed.into_iter().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (absolute(from), absolute(to));
        let entry = self.find(&from).ok_or(ErrorKind::NotFound)?;
        self.check_parent(&to)?;
        if from == to {
            return Ok(());
        }
        match (&entry, self.find(&to)) {
            (_, None) | (Entry::File(_), Some(Entry::File(_))) => {}
            (Entry::File(_), Some(Entry::Directory)) => {
                return Err(ErrorKind::IsADirectory.into());
            }
            (Entry::Directory, Some(Entry::File(_))) => {
                return Err(ErrorKind::NotADirectory.into());
            }
            (Entry::Directory, Some(Entry::Directory)) => {
                if self.below(&to).len() > 1 {
                    return Err(ErrorKind::DirectoryNotEmpty.into());
                }
            }
        }
        if to.starts_with(&from) {
            return Err(ErrorKind::InvalidInput.into());
        }
        for old in self.below(&from) {
            let rest = old.strip_prefix(&from).expect("it is below");
            // Joining an empty rest would leave a trailing slash.
            let new = if rest.as_os_str().is_empty() {
                to.clone()
            } else {
                to.join(rest)
            };
            let mut entries = lock(&self.entries);
            let moved = entries.remove(&old).expect("it was just listed");
            entries.insert(new, moved);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = absolute(path);
        match self.find(&path) {
            None => Err(ErrorKind::NotFound.into()),
            Some(Entry::Directory) => Err(ErrorKind::IsADirectory.into()),
            Some(Entry::File(_)) => {
                lock(&self.entries).remove(&path);
                Ok(())
            }
        }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = absolute(path);
        self.check_directory(&path)?;
        for name in self.below(&path) {
            lock(&self.entries).remove(&name);
        }
        Ok(())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let entry = self.find(&absolute(path)).ok_or(ErrorKind::NotFound)?;
        Ok(Metadata {
            kind: entry.kind(),
            length_bytes: entry.length_bytes(),
            modified_ms: match &entry {
                Entry::Directory => 0,
                Entry::File(inode) => lock(&inode.content).modified_ms,
            },
        })
    }
}

/// A held lock. Its number keeps a holder of an earlier life from freeing the lock of a later one.
pub(crate) struct Lock {
    platter: Arc<Platter>,
    path: PathBuf,
    number: u64,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lock").field(&self.path).finish()
    }
}

impl Lock {
    fn take(platter: &Arc<Platter>, path: PathBuf) -> io::Result<Lock> {
        let mut locks = lock(&platter.locks);
        if locks.held.contains_key(&path) {
            return Err(ErrorKind::WouldBlock.into());
        }
        locks.next += 1;
        let number = locks.next;
        locks.held.insert(path.clone(), number);
        Ok(Lock {
            platter: Arc::clone(platter),
            path,
            number,
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut locks = lock(&self.platter.locks);
        if locks.held.get(&self.path) == Some(&self.number) {
            locks.held.remove(&self.path);
        }
    }
}

pub(crate) struct File {
    inode: Arc<Inode>,
    path: PathBuf,
    writable: bool,
    delays: Arc<Delays>,
}

impl File {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.inode.content).bytes.len() as u64)
    }

    /// Changes the content, if the file was opened for it.
    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        if !self.writable {
            return Err(ErrorKind::PermissionDenied.into());
        }
        let mut content = lock(&self.inode.content);
        change(&mut content.bytes);
        content.touch();
        Ok(())
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset fits into memory")
}

/// See [`SharedFile::write_at`].
pub(crate) fn write_at(file: &Arc<File>, offset: u64, parts: Vec<Bytes>) -> Completion<()> {
    let result = file.change(|bytes| {
        let mut at = position(offset);
        for part in parts {
            let end = at + part.len();
            if !part.is_empty() {
                bytes.resize(bytes.len().max(end), 0);
                bytes[at..end].copy_from_slice(&part);
            }
            at = end;
        }
    });
    file.delays.cached(result)
}

/// See [`SharedFile::read_at`].
pub(crate) fn read_at(file: &Arc<File>, offset: u64, length_bytes: usize) -> Completion<Bytes> {
    let read = {
        let content = lock(&file.inode.content);
        let from = position(offset).min(content.bytes.len());
        let to = from.saturating_add(length_bytes).min(content.bytes.len());
        Bytes::copy_from_slice(&content.bytes[from..to])
    };
    file.delays.cached(Ok(read))
}

/// See [`SharedFile::sync_data`].
pub(crate) fn sync(file: &Arc<File>, _all: bool) -> Completion<()> {
    file.delays.device(Ok(()))
}

/// See [`SharedFile::allocate`].
pub(crate) fn allocate(file: &Arc<File>, _offset: u64, _length_bytes: u64) -> Completion<()> {
    file.delays.device(file.change(|_| {}))
}

/// See [`SharedFile::set_len`].
pub(crate) fn set_len(file: &Arc<File>, length_bytes: u64) -> Completion<()> {
    let result = file.change(|bytes| bytes.resize(position(length_bytes), 0));
    file.delays.device(result)
}
