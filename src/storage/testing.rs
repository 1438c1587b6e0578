//! Helpers of this crate's tests: a log directory in a temporary folder, and batches.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use protocol::records::{Batch, BatchBuilder};
use runtime::disk::{Disk, OpenMode};
use types::{Mono, Now, Offset, Uuid, Wall};

use crate::{
    AppendBatch, AppendError, Appended, DirectoryContent, FileCache, FileKind, Log, LogConfig,
    LogDirectory, LogView, MetaProperties, OpenError, PartitionName, Recovered,
};

pub const TOPIC_ID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);

/// A moment: `seconds` after the start, by both clocks.
pub fn at(seconds: i64) -> Now {
    Now {
        mono: Mono::START.plus_millis(seconds * 1000),
        wall: Wall::from_millis(1_700_000_000_000 + seconds * 1000),
    }
}

/// A log directory that is opened and left as a test wants it.
pub struct Home {
    _folder: tempfile::TempDir,
    pub disk: Disk,
    pub path: PathBuf,
}

impl Home {
    pub async fn new() -> Home {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("logs");
        let disk = Disk::new();
        let properties = MetaProperties {
            node_id: 1,
            cluster_id: Uuid::from_u128(77).to_string(),
            directory_id: Some(Uuid::from_u128(99)),
        };
        LogDirectory::format(&disk, &path, &properties)
            .await
            .expect("formatting");
        Home {
            _folder: folder,
            disk,
            path,
        }
    }

    pub async fn open(&self) -> (LogDirectory, DirectoryContent) {
        self.open_with(64).await
    }

    pub async fn open_with(&self, open_files_max: usize) -> (LogDirectory, DirectoryContent) {
        let files = FileCache::new(self.disk.clone(), open_files_max);
        LogDirectory::open(&files, &self.path)
            .await
            .expect("opening the log directory")
    }

    /// The path of a segment's file of the partition `orders-0`.
    pub fn file(&self, kind: FileKind, base_offset: Offset) -> PathBuf {
        self.path.join("orders-0").join(kind.file_name(base_offset))
    }

    /// Changes one byte of a file.
    pub async fn flip(&self, path: &Path, position: u64) {
        let file = self
            .disk
            .open(path, OpenMode::ReadWrite)
            .await
            .expect("a file to damage");
        let byte = file.read_at(position, 1).await.expect("a byte")[0];
        file.write_at(position, vec![Bytes::from(vec![byte ^ 0x40])])
            .await
            .expect("damage");
    }

    /// Cuts a file, or makes it longer by zeros.
    pub async fn resize(&self, path: &Path, change: i64) {
        let file = self
            .disk
            .open(path, OpenMode::ReadWrite)
            .await
            .expect("a file to resize");
        let length = file.len().expect("its length");
        file.set_len(length.saturating_add_signed(change))
            .await
            .expect("resizing");
    }

    pub async fn names(&self) -> Vec<String> {
        let entries = self
            .disk
            .list_dir(self.path.join("orders-0"))
            .await
            .expect("listing");
        entries.into_iter().map(|entry| entry.name).collect()
    }
}

pub fn orders() -> PartitionName {
    PartitionName::new("orders", 0)
}

/// Small segments and a dense index.
pub fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 1000,
        index_interval_bytes: 100,
        ..LogConfig::default()
    }
}

pub async fn create(directory: &LogDirectory, config: LogConfig) -> Log {
    Log::create(directory, &orders(), TOPIC_ID, config, at(0))
        .await
        .expect("a new log")
}

pub async fn reopen(
    directory: &LogDirectory,
    was_clean: bool,
) -> Result<(Log, Recovered), OpenError> {
    Log::open(directory, &orders(), small(), was_clean, at(0)).await
}

/// A batch of `count` records from `base_offset` on, a millisecond of record time for each offset.
pub fn batch(base_offset: Offset, count: usize, value_bytes: usize) -> Batch {
    let mut builder = BatchBuilder::new(base_offset).leader_epoch(0);
    for index in 0..count {
        let timestamp = 1_700_000_000_000 + base_offset + index as i64;
        builder.append(timestamp, None, Some(&vec![b'x'; value_bytes]), &[]);
    }
    builder.build()
}

pub fn given(batch: &Batch) -> AppendBatch {
    AppendBatch {
        header: *batch.header(),
        records: batch.record_bytes(),
    }
}

pub async fn append(log: &mut Log, now: Now, batches: &[Batch]) -> Result<Appended, AppendError> {
    let finished = log
        .begin_append(now, batches.iter().map(given).collect())
        .await;
    log.finish(finished)
}

/// Appends `count` batches of two records, 50 bytes each, one by one.
pub async fn fill(log: &mut Log, count: usize) {
    for _ in 0..count {
        let next = batch(log.log_end_offset(), 2, 50);
        append(log, at(0), &[next]).await.expect("an append");
    }
}

pub async fn flush(log: &mut Log) -> Offset {
    let handle = log.begin_flush();
    let flushed = crate::flush_all(vec![handle])
        .await
        .pop()
        .expect("one flush");
    flushed.result().expect("a flush");
    log.complete_flush(&flushed)
}

/// The snapshot of producers that nobody has.
pub fn no_producers(_: Offset) -> Bytes {
    Bytes::from_static(b"none")
}

/// The base offsets of all batches from `from` on, as a reader in memory sees them.
pub async fn bases(view: &LogView, from: Offset) -> Vec<Offset> {
    let batches = view
        .read_batches(from, i64::MAX, u64::MAX)
        .await
        .expect("reading");
    batches
        .iter()
        .map(|batch| {
            batch.verify_crc().expect("a good batch");
            batch.header().base_offset
        })
        .collect()
}

/// The bytes that a read finds, as a consumer gets them.
pub async fn bytes_read(
    view: &LogView,
    from: Offset,
    upper: Offset,
    max_bytes: u64,
    min_one: bool,
) -> Vec<Batch> {
    let found = view
        .read(from, upper, max_bytes, min_one)
        .await
        .expect("reading");
    let mut bytes = BytesMut::new();
    for range in &found.ranges {
        bytes.extend_from_slice(&range.read().await.expect("the range"));
    }
    assert_eq!(bytes.len() as u64, found.length_bytes);
    protocol::records::batches(bytes.freeze())
        .map(|batch| batch.expect("whole batches"))
        .collect()
}
