//! A disk in memory, one per node: what a node meets of it, and what a simulator does to it.
//!
//! A file has two contents. Reads see the page cache; what the device holds is what a power loss leaves for sure. In
//! between lies the list of changes since the last sync. Names are a state of their own in the same way: they last
//! from the sync of their directory on, whatever was synced of their file.
//!
//! Operations take effect on the page cache when they are called. A sync reaches the device at the end of the time
//! drawn for it; what it covers is settled when somebody looks next, so that no timer is spent on it. Moments are
//! whole microseconds of the world's true time.
//!
//! A process knows its disk through one life. When the process or the power goes, operations of that life change
//! nothing any more and their completions stay open for ever: nobody is there to be told.

mod content;
mod control;
mod fault;
mod file;
mod image;
mod names;
mod platter;
mod power;
mod speed;
#[cfg(test)]
mod tests;
pub(crate) mod wait;

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use madsim::plugin::{self, Simulator};
use madsim::rand::GlobalRng;
use madsim::task::NodeId;
use madsim::time::TimeHandle;

use crate::disk::{
    Completion, DirectoryEntry, EntryKind, File as SharedFile, FileLock, Metadata, OpenMode,
};
use crate::simulated::trace::{self, Value};
use crate::simulated::world;

pub use control::{DiskImage, Disks, FileView};
pub use fault::{DiskFault, DiskOperation, Effect};
pub(crate) use file::{File, allocate, read_at, set_len, sync, write_at};
pub use power::{PowerLoss, Survival};
pub use speed::DiskSpeed;

use content::Content;
use fault::fired;
use image::PAGE_BYTES;
use names::{Body, Directory, InodeNumber, ROOT, Slot, components};
use platter::{Platter, Rack, State};
use wait::Wait;

/// The disks of a simulated world, by node.
pub struct DiskSimulator {
    rack: Arc<Rack>,
}

thread_local! {
    /// The seed of the world that is being made.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// Adds disks to a world.
pub(super) fn install(world: &madsim::runtime::Runtime, seed: u64) {
    SEED.set(seed);
    world.add_simulator::<DiskSimulator>();
}

impl Simulator for DiskSimulator {
    fn new(_: &GlobalRng, _: &TimeHandle, _: &madsim::Config) -> DiskSimulator {
        DiskSimulator {
            rack: Arc::new(Rack::new(SEED.get())),
        }
    }

    fn reset_node(&self, node: NodeId) {
        self.rack.platter(world::number_of(node)).process_died();
    }
}

/// The node of the current task.
pub(crate) fn current_node() -> u64 {
    world::current_node()
}

fn current_rack() -> Arc<Rack> {
    Arc::clone(&plugin::simulator::<DiskSimulator>().rack)
}

/// A path as it is written in traces, and its names.
fn named(path: &Path) -> (String, Vec<String>) {
    let names = components(path);
    (format!("/{}", names.join("/")), names)
}

/// A node's disk, in one life of its process.
#[derive(Clone)]
pub(crate) struct Disk {
    platter: Arc<Platter>,
    life: u64,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    pub(crate) fn new() -> Disk {
        let platter = current_rack().platter(current_node());
        let life = platter.life();
        Disk { platter, life }
    }

    /// An operation on names: meets its fault, or does its work, and ends after the device's time.
    fn operate<T>(
        &self,
        operation: DiskOperation,
        path: &str,
        told: Option<(&'static str, &[(&'static str, Value<'_>)])>,
        work: impl FnOnce(&mut State, Option<Effect>) -> io::Result<T>,
    ) -> Completion<T> {
        let platter = &self.platter;
        let now_us = platter.now_us();
        let Some(mut state) = platter.enter(self.life) else {
            return Completion::never();
        };
        let met = state.faults.meet(operation, path);
        let stalled_us = state.stalled_us(path, now_us);
        let mut due_us = now_us + state.delays.names_us() + stalled_us;
        due_us += met.map_or(0, Effect::stall_us);
        let result = match met.and_then(Effect::error) {
            Some(error) => Err(error),
            None => work(&mut state, met),
        };
        drop(state);
        platter.tell_fault(fired(met, stalled_us, &result), operation, path);
        if let Some((kind, fields)) = told {
            let ok = ("ok", Value::Int(i64::from(result.is_ok())));
            let mut all = fields.to_vec();
            all.push(ok);
            trace::emit_for(platter.node, kind, &all);
        }
        Completion::later(Wait::new(platter, self.life, due_us), result)
    }

    pub(crate) fn open(&self, path: PathBuf, mode: OpenMode) -> Completion<SharedFile> {
        let (text, names) = named(&path);
        let fields = [
            ("file", Value::Text(&text)),
            ("mode", Value::Text(mode_name(mode))),
        ];
        self.operate(
            DiskOperation::Open,
            &text,
            Some(("open", &fields)),
            |state, _| {
                let inode = state.open(&names, mode, self.platter.now_us())?;
                state.names.inode_mut(inode).handles += 1;
                let failures = state.names.content_mut(inode).failures;
                let writable = mode != OpenMode::Read;
                let file = File::new(&self.platter, self.life, inode, path, writable, failures);
                Ok(SharedFile::new(file))
            },
        )
    }

    pub(crate) fn read_file(&self, path: PathBuf) -> Completion<Bytes> {
        let (text, names) = named(&path);
        let fields = [("file", Value::Text(text.as_str()))];
        self.operate(
            DiskOperation::Read,
            &text,
            Some(("read", &fields)),
            |state, met| {
                let inode = state.open(&names, OpenMode::Read, self.platter.now_us())?;
                Ok(state.read(inode, 0, usize::MAX, met))
            },
        )
    }

    pub(crate) fn create_dir_all(&self, path: PathBuf) -> Completion<()> {
        let (text, names) = named(&path);
        self.operate(DiskOperation::MakeDirectory, &text, None, |state, _| {
            state.create_dir_all(&names)
        })
    }

    pub(crate) fn list_dir(&self, path: PathBuf) -> Completion<Vec<DirectoryEntry>> {
        let (text, names) = named(&path);
        self.operate(DiskOperation::Look, &text, None, |state, _| {
            let directory = state.find_directory(&names)?;
            let entries = &state.names.directory(directory).expect("it is one").entries;
            let listed = entries.iter().map(|(name, number)| DirectoryEntry {
                name: name.clone(),
                kind: state.kind(*number),
            });
            Ok(listed.collect())
        })
    }

    pub(crate) fn rename(&self, from: PathBuf, to: PathBuf) -> Completion<()> {
        let ((from, old), (to, new)) = (named(&from), named(&to));
        let fields = [("from", Value::Text(&from)), ("to", Value::Text(&to))];
        self.operate(
            DiskOperation::Rename,
            &to,
            Some(("rename", &fields)),
            |state, _| state.rename(&old, &new),
        )
    }

    pub(crate) fn remove_file(&self, path: PathBuf) -> Completion<()> {
        let (text, names) = named(&path);
        let fields = [("file", Value::Text(text.as_str()))];
        self.operate(
            DiskOperation::Remove,
            &text,
            Some(("remove", &fields)),
            |state, _| state.remove_file(&names),
        )
    }

    pub(crate) fn remove_dir_all(&self, path: PathBuf) -> Completion<()> {
        let (text, names) = named(&path);
        let fields = [("file", Value::Text(text.as_str()))];
        self.operate(
            DiskOperation::Remove,
            &text,
            Some(("remove", &fields)),
            |state, _| {
                let directory = state.find_directory(&names)?;
                state.remove_below(directory);
                if directory != ROOT {
                    state.names.unlink(directory);
                }
                Ok(())
            },
        )
    }

    pub(crate) fn sync_dir(&self, path: PathBuf) -> Completion<()> {
        let (text, names) = named(&path);
        let platter = &self.platter;
        let now_us = platter.now_us();
        let Some(mut state) = platter.enter(self.life) else {
            return Completion::never();
        };
        let met = state.faults.meet(DiskOperation::SyncDirectory, &text);
        let stalled_us = state.stalled_us(&text, now_us);
        let mut due_us = now_us + state.delays.sync_us(0) + stalled_us;
        due_us += met.map_or(0, Effect::stall_us);
        let error = met.and_then(Effect::error);
        let result = state.find_directory(&names).and_then(|directory| {
            state.names.settle(now_us);
            state.names.begin_sync(directory, due_us, error.is_some());
            error.map_or(Ok(()), Err)
        });
        drop(state);
        let fired = fired(met, stalled_us, &result);
        platter.tell_fault(fired, DiskOperation::SyncDirectory, &text);
        let fields = [("file", Value::Text(text.as_str()))];
        trace::emit_for(platter.node, "sync-dir", &fields);
        let wait = Wait::new(platter, self.life, due_us);
        Completion::later(wait.telling("dir-synced", &Arc::from(text)), result)
    }

    pub(crate) fn exists(&self, path: PathBuf) -> Completion<bool> {
        let (text, names) = named(&path);
        self.operate(DiskOperation::Look, &text, None, |state, _| {
            Ok(state.names.find(&names).is_some())
        })
    }

    pub(crate) fn metadata(&self, path: PathBuf) -> Completion<Metadata> {
        let (text, names) = named(&path);
        self.operate(DiskOperation::Look, &text, None, |state, _| {
            state.metadata(&names)
        })
    }

    pub(crate) fn lock_file(&self, path: PathBuf) -> Completion<FileLock> {
        let (text, names) = named(&path);
        self.operate(DiskOperation::Open, &text, None, |state, _| {
            state.open(&names, OpenMode::Create, self.platter.now_us())?;
            if state.locks.contains_key(&text) {
                return Err(ErrorKind::WouldBlock.into());
            }
            state.next_lock += 1;
            let number = state.next_lock;
            state.locks.insert(text.clone(), number);
            Ok(FileLock::new(Lock {
                platter: Arc::clone(&self.platter),
                life: self.life,
                path: text.clone(),
                number,
            }))
        })
    }

    pub(crate) fn free_bytes(&self, path: PathBuf) -> Completion<u64> {
        let (text, names) = named(&path);
        self.operate(DiskOperation::Look, &text, None, |state, _| {
            state.metadata(&names)?;
            let used = state.used_pages() * PAGE_BYTES;
            Ok(state.capacity_bytes.saturating_sub(used))
        })
    }
}

fn mode_name(mode: OpenMode) -> &'static str {
    match mode {
        OpenMode::Read => "read",
        OpenMode::ReadWrite => "read-write",
        OpenMode::Create => "create",
        OpenMode::CreateNew => "create-new",
        OpenMode::Truncate => "truncate",
    }
}

/// What the names of a disk allow.
impl State {
    fn kind(&self, number: InodeNumber) -> EntryKind {
        match self.names.inode(number).body {
            Body::Directory(_) => EntryKind::Directory,
            Body::File(_) => EntryKind::File,
        }
    }

    fn find_directory(&self, names: &[String]) -> io::Result<InodeNumber> {
        let found = self.names.find(names).ok_or(ErrorKind::NotFound)?;
        match self.kind(found) {
            EntryKind::Directory => Ok(found),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    /// Where the last of the names is, or would be.
    fn slot(&self, names: &[String]) -> io::Result<Slot> {
        let (name, parents) = names.split_last().ok_or(ErrorKind::InvalidInput)?;
        Ok(Slot {
            directory: self.find_directory(parents)?,
            name: name.clone(),
        })
    }

    fn open(&mut self, names: &[String], mode: OpenMode, now_us: u64) -> io::Result<InodeNumber> {
        let found = self.names.find(names);
        match found.map(|number| (number, self.kind(number))) {
            Some((_, EntryKind::Directory)) => Err(ErrorKind::IsADirectory.into()),
            Some(_) if mode == OpenMode::CreateNew => Err(ErrorKind::AlreadyExists.into()),
            Some((number, _)) => {
                self.settle(number, now_us);
                let content = self.names.content_mut(number);
                if mode == OpenMode::Truncate && content.cache.length() > 0 {
                    content.set_length(0);
                    content.modified_ms = crate::clock::wall().as_millis();
                }
                Ok(number)
            }
            None if matches!(mode, OpenMode::Read | OpenMode::ReadWrite) => {
                Err(ErrorKind::NotFound.into())
            }
            None => {
                let slot = self.slot(names)?;
                self.take_space(1).map_err(|_| fault::enospc())?;
                let content = Content::new(crate::clock::wall().as_millis());
                Ok(self.names.create(slot, Body::File(Box::new(content))))
            }
        }
    }

    fn create_dir_all(&mut self, names: &[String]) -> io::Result<()> {
        for depth in 1..=names.len() {
            match self
                .names
                .find(&names[..depth])
                .map(|number| self.kind(number))
            {
                Some(EntryKind::Directory) => {}
                Some(_) => return Err(ErrorKind::NotADirectory.into()),
                None => {
                    self.take_space(1).map_err(|_| fault::enospc())?;
                    let slot = self.slot(&names[..depth])?;
                    let body = Body::Directory(Directory::default());
                    self.names.create(slot, body);
                }
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: &[String], to: &[String]) -> io::Result<()> {
        let moved = self.names.find(from).ok_or(ErrorKind::NotFound)?;
        let slot = self.slot(to)?;
        if from == to {
            return Ok(());
        }
        if to.starts_with(from) || moved == ROOT {
            return Err(ErrorKind::InvalidInput.into());
        }
        if let Some(old) = self.names.find(to) {
            match (self.kind(moved), self.kind(old)) {
                (EntryKind::File, EntryKind::Directory) => {
                    return Err(ErrorKind::IsADirectory.into());
                }
                (EntryKind::Directory, EntryKind::File) => {
                    return Err(ErrorKind::NotADirectory.into());
                }
                (EntryKind::Directory, EntryKind::Directory) if !self.is_empty(old) => {
                    return Err(ErrorKind::DirectoryNotEmpty.into());
                }
                _ => {}
            }
        }
        self.names.rename(moved, slot);
        Ok(())
    }

    fn is_empty(&self, directory: InodeNumber) -> bool {
        let directory = self.names.directory(directory);
        directory.is_none_or(|directory| directory.entries.is_empty())
    }

    fn remove_file(&mut self, names: &[String]) -> io::Result<()> {
        let found = self.names.find(names).ok_or(ErrorKind::NotFound)?;
        if self.kind(found) == EntryKind::Directory {
            return Err(ErrorKind::IsADirectory.into());
        }
        self.names.unlink(found);
        Ok(())
    }

    fn remove_below(&mut self, directory: InodeNumber) {
        let entries = match self.names.directory(directory) {
            Some(directory) => directory.entries.values().copied().collect(),
            None => Vec::new(),
        };
        for entry in entries {
            self.remove_below(entry);
            self.names.unlink(entry);
        }
    }

    fn metadata(&self, names: &[String]) -> io::Result<Metadata> {
        let found = self.names.find(names).ok_or(ErrorKind::NotFound)?;
        let content = self.names.content(found);
        Ok(Metadata {
            kind: self.kind(found),
            length_bytes: content.map_or(0, |content| content.cache.length()),
            modified_ms: content.map_or(0, |content| content.modified_ms),
        })
    }
}

/// A held lock. Its number keeps a holder of an earlier life from freeing the lock of a later one.
pub(crate) struct Lock {
    platter: Arc<Platter>,
    life: u64,
    path: String,
    number: u64,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lock").field(&self.path).finish()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(mut state) = self.platter.alive(self.life)
            && state.locks.get(&self.path) == Some(&self.number)
        {
            state.locks.remove(&self.path);
        }
    }
}
