//! Open files.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::content::{Content, Fate};
use super::fault::{DiskOperation, Effect, enospc, fired, stale};
use super::image::{PAGE_BYTES, pages_of};
use super::named;
use super::names::InodeNumber;
use super::platter::{Platter, State, lock};
use super::wait::Wait;
use crate::disk::Completion;
use crate::simulated::trace::{self, Value};

/// An open file, in one life of its process.
pub(crate) struct File {
    platter: Arc<Platter>,
    life: u64,
    inode: InodeNumber,
    path: PathBuf,
    /// The path as traces and faults know it.
    name: Arc<str>,
    writable: bool,
    syncs: Mutex<HandleSyncs>,
}

/// The syncs of one handle: at most one runs, those asked for meanwhile share the next.
struct HandleSyncs {
    /// Failed syncs of the file that this handle need not tell of.
    failures: u64,
    /// When the first sync of this handle fails, and with what.
    failed: Option<(u64, i32)>,
    running_until_us: u64,
    /// The number and the end of the one that waits.
    next: Option<(u64, u64)>,
}

impl File {
    pub(super) fn new(
        platter: &Arc<Platter>,
        life: u64,
        inode: InodeNumber,
        path: PathBuf,
        writable: bool,
        failures: u64,
    ) -> File {
        File {
            platter: Arc::clone(platter),
            life,
            inode,
            name: Arc::from(named(&path).0),
            path,
            writable,
            syncs: Mutex::new(HandleSyncs {
                failures,
                failed: None,
                running_until_us: 0,
                next: None,
            }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        let state = self.platter.enter(self.life).ok_or_else(stale)?;
        let content = state.names.content(self.inode);
        Ok(content.expect("only files are opened").cache.length())
    }

    /// Whether the handle may change the file.
    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(ErrorKind::PermissionDenied.into())
        }
    }

    fn ends<T>(&self, now_us: u64, delay_us: u64, result: io::Result<T>) -> Completion<T> {
        if delay_us == 0 && self.platter.life() == self.life {
            return Completion::done(result);
        }
        let wait = Wait::new(&self.platter, self.life, now_us + delay_us);
        Completion::later(wait, result)
    }

    fn tell(&self, kind: &'static str, fields: [(&'static str, u64); 2], ok: bool) {
        let [(one, first), (two, second)] = fields;
        let fields = [
            ("file", Value::Text(&self.name)),
            (one, Value::Int(first as i64)),
            (two, Value::Int(second as i64)),
            ("ok", Value::Int(i64::from(ok))),
        ];
        trace::emit_for(self.platter.node, kind, &fields);
    }

    /// An operation on the file's length or space, which waits for the device.
    fn change(
        &self,
        operation: DiskOperation,
        fields: [(&'static str, u64); 2],
        change: impl FnOnce(&mut State) -> io::Result<()>,
    ) -> Completion<()> {
        let now_us = self.platter.now_us();
        let Some(mut state) = self.platter.enter(self.life) else {
            return Completion::never();
        };
        state.settle(self.inode, now_us);
        let met = state.faults.meet(operation, &self.name);
        let stalled_us = state.stalled_us(&self.name, now_us);
        let mut delay_us = state.delays.names_us() + stalled_us;
        delay_us += met.map_or(0, Effect::stall_us);
        let result = self
            .check_writable()
            .and_then(|()| match met.and_then(Effect::error) {
                Some(error) => Err(error),
                None => change(&mut state),
            });
        drop(state);
        let fired = fired(met, stalled_us, &result);
        self.platter.tell_fault(fired, operation, &self.name);
        self.tell(operation.name(), fields, result.is_ok());
        self.ends(now_us, delay_us, result)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Some(mut state) = self.platter.alive(self.life) {
            state.names.inode_mut(self.inode).handles -= 1;
            state.names.collect(self.inode);
        }
    }
}

impl State {
    /// Ends the file's syncs whose time has come; of a directory there are none.
    pub(super) fn settle(&mut self, inode: InodeNumber, now_us: u64) {
        if self.names.content(inode).is_some() {
            let content = self.names.content_mut(inode);
            content.settle(now_us, self.settle_key.wrapping_add(inode));
        }
    }

    pub(super) fn read(
        &mut self,
        inode: InodeNumber,
        offset: u64,
        length_bytes: usize,
        met: Option<Effect>,
    ) -> Bytes {
        let content = self.names.content_mut(inode);
        let end = offset
            .saturating_add(length_bytes as u64)
            .min(content.cache.length());
        if met == Some(Effect::Rot) && offset < end {
            let at = offset + self.fault_prng.below(end - offset);
            content.rot(at, 1 << self.fault_prng.below(8));
        }
        content.cache.read(offset, length_bytes)
    }

    /// Writes all of `parts`, or as much as faults and space allow.
    fn write(
        &mut self,
        inode: InodeNumber,
        offset: u64,
        parts: Vec<Bytes>,
        met: Option<Effect>,
    ) -> io::Result<()> {
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let content = self.names.content_mut(inode);
        content.modified_ms = crate::clock::wall().as_millis();
        let fate = match met {
            Some(Effect::LoseWrite) => Fate::Lost,
            Some(Effect::MisdirectWrite { by_bytes }) => Fate::Misdirected(by_bytes),
            _ => Fate::Kept,
        };
        let range = offset..offset + length;
        let pages = pages_of(&range);
        let growth = content.growth(&range);
        let (error, possible) = match met.and_then(Effect::error) {
            Some(error) => (error, length),
            None => match self.take_space(growth) {
                Ok(()) => {
                    self.names.content_mut(inode).write(offset, &parts, fate);
                    return Ok(());
                }
                // The free pages hold a first part of it.
                Err(free) => {
                    let fits = (pages.end - growth + free) * PAGE_BYTES;
                    (enospc(), fits.saturating_sub(offset).min(length))
                }
            },
        };
        if self.fault_prng.chance(1, 2) && possible > 0 {
            let part = self.fault_prng.below(possible) as usize;
            let first = Bytes::from(parts.concat()).slice(..part);
            self.names.content_mut(inode).write(offset, &[first], fate);
        }
        Err(error)
    }
}

/// See [`crate::disk::File::write_at`].
pub(crate) fn write_at(file: &Arc<File>, offset: u64, parts: Vec<Bytes>) -> Completion<()> {
    let length: usize = parts.iter().map(Bytes::len).sum();
    let now_us = file.platter.now_us();
    let Some(mut state) = file.platter.enter(file.life) else {
        return Completion::never();
    };
    state.settle(file.inode, now_us);
    let met = state.faults.meet(DiskOperation::Write, &file.name);
    let delay_us = state.delays.cached_us() + met.map_or(0, Effect::stall_us);
    let result = file
        .check_writable()
        .and_then(|()| state.write(file.inode, offset, parts, met));
    drop(state);
    let platter = &file.platter;
    let fired = fired(met, 0, &result);
    platter.tell_fault(fired, DiskOperation::Write, &file.name);
    let fields = [("offset", offset), ("bytes", length as u64)];
    file.tell("write", fields, result.is_ok());
    file.ends(now_us, delay_us, result)
}

/// See [`crate::disk::File::read_at`].
pub(crate) fn read_at(file: &Arc<File>, offset: u64, length_bytes: usize) -> Completion<Bytes> {
    let now_us = file.platter.now_us();
    let Some(mut state) = file.platter.enter(file.life) else {
        return Completion::never();
    };
    state.settle(file.inode, now_us);
    let met = state.faults.meet(DiskOperation::Read, &file.name);
    let delay_us = state.delays.read_us() + met.map_or(0, Effect::stall_us);
    let result = match met.and_then(Effect::error) {
        Some(error) => Err(error),
        None => Ok(state.read(file.inode, offset, length_bytes, met)),
    };
    drop(state);
    let platter = &file.platter;
    platter.tell_fault(met, DiskOperation::Read, &file.name);
    let count = result.as_ref().map_or(0, Bytes::len) as u64;
    file.tell(
        "read",
        [("offset", offset), ("bytes", count)],
        result.is_ok(),
    );
    file.ends(now_us, delay_us, result)
}

/// What a call of sync comes to.
struct SyncOutcome {
    due_us: u64,
    error: Option<i32>,
    met: Option<Effect>,
    /// Whether this call sent one to the device, and what it covers.
    bytes: Option<u64>,
}

impl SyncOutcome {
    fn shared(due_us: u64, error: Option<i32>) -> SyncOutcome {
        SyncOutcome {
            due_us,
            error,
            met: None,
            bytes: None,
        }
    }
}

const EIO: i32 = 5;

impl HandleSyncs {
    /// Begins a sync, or joins the one that waits.
    fn ask(&mut self, state: &mut State, file: &File, now_us: u64) -> SyncOutcome {
        if self.failed.is_none() && state.names.content_mut(file.inode).failures != self.failures {
            self.failed = Some((now_us, EIO));
        }
        if let Some((since_us, error)) = self.failed {
            return SyncOutcome::shared(since_us.max(now_us), Some(error));
        }
        if now_us >= self.running_until_us
            && let Some((_, due_us)) = self.next.take()
        {
            self.running_until_us = due_us;
        }
        let waits = now_us < self.running_until_us;
        if waits && let Some((number, due_us)) = self.next {
            let content = state.names.content_mut(file.inode);
            content.widen_sync(number);
            return SyncOutcome::shared(due_us, self.check(content, due_us));
        }
        let met = state.faults.meet(DiskOperation::Sync, &file.name);
        let begins_us = if waits { self.running_until_us } else { now_us };
        let bytes = state.names.content_mut(file.inode).changed_bytes();
        let stalled_us = state.stalled_us(&file.name, now_us);
        let due_us =
            begins_us + state.delays.sync_us(bytes) + stalled_us + met.map_or(0, Effect::stall_us);
        let error = met.and_then(Effect::error);
        let fate = match met {
            Some(Effect::LoseWrite) => Fate::Lost,
            Some(Effect::MisdirectWrite { by_bytes }) => Fate::Misdirected(by_bytes),
            _ => Fate::Kept,
        };
        let content = state.names.content_mut(file.inode);
        let number = content.begin_sync(due_us, error.is_some(), fate);
        if waits {
            self.next = Some((number, due_us));
        } else {
            self.running_until_us = due_us;
        }
        if let Some(code) = error.and_then(|error| error.raw_os_error()) {
            self.failed = Some((due_us, code));
        }
        SyncOutcome {
            due_us,
            error: self.check(content, due_us),
            met: fired(met, stalled_us, &Ok(())),
            bytes: Some(bytes),
        }
    }

    /// What a sync that ends then has to tell: also the failure of another handle's before it.
    fn check(&mut self, content: &Content, due_us: u64) -> Option<i32> {
        if self.failed.is_none() && content.fails_by(due_us) {
            self.failed = Some((due_us, EIO));
        }
        self.failed.map(|(_, error)| error)
    }
}

/// See [`crate::disk::File::sync_data`].
pub(crate) fn sync(file: &Arc<File>, _all: bool) -> Completion<()> {
    let now_us = file.platter.now_us();
    let Some(mut state) = file.platter.enter(file.life) else {
        return Completion::never();
    };
    state.settle(file.inode, now_us);
    let outcome = lock(&file.syncs).ask(&mut state, file, now_us);
    drop(state);
    let platter = &file.platter;
    platter.tell_fault(outcome.met, DiskOperation::Sync, &file.name);
    if let Some(bytes) = outcome.bytes {
        let takes_us = outcome.due_us - now_us;
        let ok = outcome.error.is_none();
        file.tell("sync", [("bytes", bytes), ("takes_us", takes_us)], ok);
    }
    let wait = Wait::new(platter, file.life, outcome.due_us).telling("synced", &file.name);
    let result = match outcome.error {
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Ok(()),
    };
    Completion::later(wait, result)
}

/// See [`crate::disk::File::allocate`].
pub(crate) fn allocate(file: &Arc<File>, offset: u64, length_bytes: u64) -> Completion<()> {
    if length_bytes == 0 {
        return Completion::done(Ok(()));
    }
    let fields = [("offset", offset), ("bytes", length_bytes)];
    file.change(DiskOperation::Allocate, fields, |state| {
        let end = offset.saturating_add(length_bytes);
        let growth = state.names.content_mut(file.inode).reserve_growth(end);
        state.take_space(growth).map_err(|_| enospc())?;
        state.names.content_mut(file.inode).reserve(end);
        Ok(())
    })
}

/// See [`crate::disk::File::set_len`].
pub(crate) fn set_len(file: &Arc<File>, length_bytes: u64) -> Completion<()> {
    let fields = [("offset", length_bytes), ("bytes", 0)];
    file.change(DiskOperation::SetLength, fields, |state| {
        let content = state.names.content_mut(file.inode);
        content.set_length(length_bytes);
        content.modified_ms = crate::clock::wall().as_millis();
        Ok(())
    })
}
