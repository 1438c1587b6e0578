//! Partition logs and small durable files, in Kafka's layout and formats, over the runtime's disk.
//!
//! * [`LogDirectory`]: one folder on one disk: its lock, whose it is, its checkpoints, whether it has failed.
//! * [`Log`]: one partition's log, owned by one shard. What changes it is a [`LogJob`]: begun with the log at hand,
//!   driven without it, handed back to [`Log::finish`]. One job at a time for each log; any number of logs at once.
//! * [`LogView`]: what a connection reads from: a cheap, bounded, immutable look at a log.
//! * [`flush_all`]: one group commit for a set of logs; flushing goes on beside appending.
//!
//! Batches are given at exact offsets and stored as they are. Producer state is an opaque blob tied to an offset, and
//! epoch history a list that is kept for its owner. There are no timers and no tasks here: what is to happen later,
//! the owner asks for later.

mod checkpoint;
mod config;
mod directory;
#[cfg(test)]
mod directory_tests;
mod error;
mod files;
mod flush;
#[cfg(test)]
mod full_disk_tests;
mod index;
mod journal;
#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod kafka_directory_tests;
#[cfg(test)]
mod kafka_tests;
mod log;
#[cfg(test)]
mod model_tests;
mod names;
mod partition_files;
mod range;
mod segment;
mod segment_reader;
mod text;
mod view;

#[cfg(test)]
mod testing;

pub use checkpoint::Checkpoint;
pub use config::{CleanupPolicy, LogConfig};
pub use directory::{
    CLEAN_SHUTDOWN_MARKER, DirectoryContent, HIGH_WATERMARK_CHECKPOINT, LOCK_FILE,
    LOG_START_CHECKPOINT, LogDirectory, META_PROPERTIES, RECOVERY_POINT_CHECKPOINT, RESERVED_SPACE,
};
pub use error::{
    AppendError, DirectoryError, DirectoryFailure, Fence, OpenError, ReadError, WriteError,
};
pub use files::{FileCache, replace_file};
pub use flush::{FlushHandle, FlushSet, FlushedLog, flush_all};
pub use index::AbortedTransaction;
pub use journal::{Entry as JournalEntry, journal_entries, journal_place};
pub use log::{
    AppendBatch, Appended, DeletedLog, Finished, Log, LogJob, Recovered, Retained, Truncated,
    truncate_fenced,
};
pub use names::{FileKind, PartitionName};
pub use partition_files::PartitionFiles;
pub use range::FileRange;
pub use segment::{Segment, TimestampOffset};
pub use text::{MetaProperties, TextError};
pub use view::{HeaderScan, LogView, ReadRanges, ScannedBatch};
