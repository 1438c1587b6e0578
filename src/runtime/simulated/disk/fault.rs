//! Faults of a disk: what goes wrong, where, and how often.

use std::io;

/// What a fault waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskOperation {
    /// Any of the others.
    Any,
    /// Opening or locking a file.
    Open,
    /// Reading from an open file, or a file as a whole.
    Read,
    /// Writing to an open file.
    Write,
    /// A sync of a file. Callers that share one sync share its fault.
    Sync,
    /// A sync of a directory.
    SyncDirectory,
    /// Giving a file or directory another name.
    Rename,
    /// Removing a file, or a directory with all in it.
    Remove,
    /// Reserving space.
    Allocate,
    /// Setting a file's length.
    SetLength,
    /// Making a directory.
    MakeDirectory,
    /// Listing a directory, or asking what is known of a name.
    Look,
}

impl DiskOperation {
    /// Its name in traces.
    pub fn name(self) -> &'static str {
        match self {
            DiskOperation::Any => "any",
            DiskOperation::Open => "open",
            DiskOperation::Read => "read",
            DiskOperation::Write => "write",
            DiskOperation::Sync => "sync",
            DiskOperation::SyncDirectory => "sync-dir",
            DiskOperation::Rename => "rename",
            DiskOperation::Remove => "remove",
            DiskOperation::Allocate => "allocate",
            DiskOperation::SetLength => "set-length",
            DiskOperation::MakeDirectory => "make-dir",
            DiskOperation::Look => "look",
        }
    }
}

/// What a fault does to the operation it meets. An effect that has no meaning for an operation leaves it alone and is
/// not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The operation fails (EIO). A failed write has changed any part of its range; a failed sync has written any
    /// part of what it should have, never writes the rest, and later reads see what is on the device or, drawn, what
    /// was cached. A later sync through a new handle says ok and writes nothing of it.
    Eio,
    /// The operation fails for want of space. A failed write may have changed a first part of its range.
    Enospc,
    /// The operation takes so many microseconds longer; no other operation does.
    StallUs(u64),
    /// Of a write, or of all writes that a sync writes: the device says ok and keeps what it had.
    LoseWrite,
    /// Of a write, or of all writes that a sync writes: they land so many bytes further on in the same file, and what
    /// lands outside of it lands nowhere. The device says ok.
    MisdirectWrite {
        /// How far from their true place, negative for nearer to the file's start.
        by_bytes: i64,
    },
    /// One drawn bit of what is read is flipped on the device and stays so. Of reads only.
    Rot,
}

impl Effect {
    /// Its name in traces and tables of faults.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Eio => "eio",
            Effect::Enospc => "enospc",
            Effect::StallUs(_) => "stall",
            Effect::LoseWrite => "lose-write",
            Effect::MisdirectWrite { .. } => "misdirect-write",
            Effect::Rot => "rot",
        }
    }

    fn fits(self, operation: DiskOperation) -> bool {
        use DiskOperation as On;
        match self {
            Effect::Eio | Effect::StallUs(_) => true,
            Effect::Enospc => matches!(
                operation,
                On::Open
                    | On::Write
                    | On::Sync
                    | On::SyncDirectory
                    | On::Rename
                    | On::Allocate
                    | On::SetLength
                    | On::MakeDirectory
            ),
            Effect::LoseWrite | Effect::MisdirectWrite { .. } => {
                matches!(operation, On::Write | On::Sync)
            }
            Effect::Rot => operation == On::Read,
        }
    }

    /// The error the operation fails with, if it does.
    pub(super) fn error(self) -> Option<io::Error> {
        match self {
            Effect::Eio => Some(eio()),
            Effect::Enospc => Some(enospc()),
            _ => None,
        }
    }

    pub(super) fn stall_us(self) -> u64 {
        match self {
            Effect::StallUs(micros) => micros,
            _ => 0,
        }
    }
}

/// A fault to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFault {
    /// The operations it may meet.
    pub operation: DiskOperation,
    /// Only those on a path with this in it. An open file goes by the path it was opened by.
    pub path_contains: String,
    /// Matching operations that it lets by first.
    pub skip: u32,
    /// Operations it meets after those; `u32::MAX` is every one, for good.
    pub times: u32,
    /// What it does to them.
    pub effect: Effect,
}

/// The faults to come of one disk, the oldest first.
#[derive(Default)]
pub(super) struct Faults {
    waiting: Vec<DiskFault>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: DiskFault) {
        if fault.times > 0 {
            self.waiting.push(fault);
        }
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// What happens to an operation that begins now. The first fault that has no more to let by meets it; the
    /// others count it.
    pub(super) fn meet(&mut self, operation: DiskOperation, path: &str) -> Option<Effect> {
        let mut met = None;
        for fault in &mut self.waiting {
            let matches = (fault.operation == operation || fault.operation == DiskOperation::Any)
                && fault.effect.fits(operation)
                && path.contains(&fault.path_contains);
            if !matches {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if met.is_none() {
                met = Some(fault.effect);
                if fault.times != u32::MAX {
                    fault.times -= 1;
                }
            }
        }
        if met.is_some() {
            self.waiting.retain(|fault| fault.times > 0);
        }
        met
    }
}

/// What has happened to an operation: the fault that met it, else the stall that held it up, else a disk that is full.
pub(super) fn fired<T>(
    met: Option<Effect>,
    stalled_us: u64,
    result: &io::Result<T>,
) -> Option<Effect> {
    let is_full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
    if met.is_some() {
        met
    } else if stalled_us > 0 {
        Some(Effect::StallUs(stalled_us))
    } else if result.as_ref().is_err_and(is_full) {
        Some(Effect::Enospc)
    } else {
        None
    }
}

/// The device failed.
pub(super) fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// The disk is full.
pub(super) fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}

/// The handle is of an earlier life.
pub(super) fn stale() -> io::Error {
    io::Error::from_raw_os_error(116)
}
