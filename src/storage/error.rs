//! What can go wrong, operation by operation, and what Kafka calls it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use types::{ErrorCode, Offset};

/// The failure that closed a log directory. Nothing is written to the directory after it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("log directory {}: {operation} {}: {reason}", directory.display(), path.display())]
pub struct DirectoryFailure {
    /// The log directory.
    pub directory: PathBuf,
    /// What was attempted.
    pub operation: &'static str,
    /// The file or directory it was attempted on.
    pub path: PathBuf,
    /// What the system said.
    pub reason: String,
}

/// Why something was not written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk is full. Nothing has changed; a later try may succeed.
    #[error("no space left for {}", .0.display())]
    NoSpace(PathBuf),
    /// The log directory has failed, now or earlier.
    #[error(transparent)]
    DirectoryFailed(#[from] Arc<DirectoryFailure>),
}

impl WriteError {
    /// Kafka's code.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            WriteError::NoSpace(_) | WriteError::DirectoryFailed(_) => ErrorCode::KafkaStorageError,
        }
    }
}

/// Why batches were not appended. The log is as it was before.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// A batch begins below the end of the log, or of the batch before it.
    #[error("a batch at offset {base_offset} cannot follow the log end offset {log_end_offset}")]
    BelowLogEnd {
        /// The batch's base offset.
        base_offset: Offset,
        /// Where the next batch may begin at the earliest.
        log_end_offset: Offset,
    },
    /// A batch's header and bytes do not fit together, or it is larger than a segment can be.
    #[error(
        "the batch at offset {base_offset} has {size_bytes} bytes, its header says {header_bytes}"
    )]
    Malformed {
        /// The batch's base offset.
        base_offset: Offset,
        /// The bytes given.
        size_bytes: usize,
        /// The size by its header.
        header_bytes: usize,
    },
    /// The batches could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl AppendError {
    /// Kafka's code.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            AppendError::BelowLogEnd { .. } => ErrorCode::UnknownServerError,
            AppendError::Malformed { .. } => ErrorCode::CorruptMessage,
            AppendError::Write(error) => error.error_code(),
        }
    }
}

/// Why nothing could be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is below the log's start or above its end.
    #[error("offset {offset} is not within {log_start_offset}..={log_end_offset}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The first offset of the log.
        log_start_offset: Offset,
        /// The offset that the next batch will get.
        log_end_offset: Offset,
    },
    /// The view is of a log that was truncated or removed since: take a new one.
    #[error("the log was truncated or removed since it was looked at")]
    Replaced,
    /// A batch that was whole once is not any more.
    #[error("{} is damaged at byte {position}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The log directory has failed, now or earlier.
    #[error(transparent)]
    DirectoryFailed(#[from] Arc<DirectoryFailure>),
}

impl ReadError {
    /// Kafka's code.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::Replaced => ErrorCode::NotLeaderOrFollower,
            ReadError::Damaged { .. } => ErrorCode::CorruptMessage,
            ReadError::DirectoryFailed(_) => ErrorCode::KafkaStorageError,
        }
    }
}

/// A batch that is bad below the proven offset: it was durable once, so cutting it away is not ours to decide.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{} is damaged at byte {position} (offset {offset}), below the offset {proven_offset} up to which everything was \
     synced: {reason}. The partition is fenced; only an explicit truncation to offset {offset} makes it usable again, \
     and loses what follows",
    path.display()
)]
pub struct Fence {
    /// The damaged file.
    pub path: PathBuf,
    /// Where in it the bad batch begins, in bytes.
    pub position: u64,
    /// The offset that the bad batch must have had, or more.
    pub offset: Offset,
    /// Everything below this offset is known to have been synced.
    pub proven_offset: Offset,
    /// What is wrong.
    pub reason: String,
}

/// Why a log could not be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The log is damaged where it had been durable.
    #[error(transparent)]
    Fenced(Box<Fence>),
    /// A small file of the partition cannot be understood.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Recovery could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl OpenError {
    /// Kafka's code.
    pub fn error_code(&self) -> ErrorCode {
        ErrorCode::KafkaStorageError
    }
}

impl From<Arc<DirectoryFailure>> for OpenError {
    fn from(failure: Arc<DirectoryFailure>) -> OpenError {
        OpenError::Write(WriteError::DirectoryFailed(failure))
    }
}

impl From<Arc<DirectoryFailure>> for AppendError {
    fn from(failure: Arc<DirectoryFailure>) -> AppendError {
        AppendError::Write(WriteError::DirectoryFailed(failure))
    }
}

/// Why a log directory could not be opened or formatted.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is no `meta.properties`.
    #[error("{} is not formatted: it has no meta.properties", .0.display())]
    NotFormatted(PathBuf),
    /// There is one already.
    #[error("{} is formatted already", .0.display())]
    AlreadyFormatted(PathBuf),
    /// Another process uses the directory.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// A file of the directory cannot be understood.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl DirectoryError {
    pub(crate) fn io(path: &Path, error: io::Error) -> DirectoryError {
        DirectoryError::Io {
            path: path.to_owned(),
            error,
        }
    }
}

/// Whether the system says that the disk, or the owner's share of it, is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
