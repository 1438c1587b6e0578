//! Names of files and directories, as Kafka gives them.

use types::{Offset, PartitionIndex, Uuid};

/// Suffix of a file that is no longer part of its log and waits to be removed.
pub const DELETED_SUFFIX: &str = ".deleted";
/// Suffix of a file that is being written and may be dropped after a crash.
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// Suffix of a complete file that is about to replace others.
pub const SWAP_SUFFIX: &str = ".swap";
/// Suffix of the directory of a deleted partition.
pub const DELETED_DIRECTORY_SUFFIX: &str = "-delete";
/// Suffix of the directory of a replica that is being moved here from another log directory.
pub const FUTURE_DIRECTORY_SUFFIX: &str = "-future";
/// Suffix of the directory of a partition that belongs to no topic known to the cluster.
pub const STRAY_DIRECTORY_SUFFIX: &str = "-stray";
/// The epoch history of a partition.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// The topic id of a partition.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// Longest name of a file, in bytes, on the file systems we know.
const FILE_NAME_BYTES_MAX: usize = 255;

/// A file that belongs to a log, by its suffix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileKind {
    /// Record batches.
    Log,
    /// Sparse index from offset to position.
    OffsetIndex,
    /// Sparse index from time to offset.
    TimeIndex,
    /// Aborted transactions.
    TransactionIndex,
    /// Producer state up to the offset in the name.
    ProducerSnapshot,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [FileKind; 5] = [
        FileKind::Log,
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TransactionIndex,
        FileKind::ProducerSnapshot,
    ];

    /// The suffix, with its dot.
    pub const fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::OffsetIndex => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TransactionIndex => ".txnindex",
            FileKind::ProducerSnapshot => ".snapshot",
        }
    }

    /// The file's name: the offset in 20 digits, then the suffix.
    pub fn file_name(self, offset: Offset) -> String {
        format!("{offset:020}{}", self.suffix())
    }
}

/// What a file in a partition's directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartitionFile {
    /// A file of the log, with the offset in its name.
    Kept(FileKind, Offset),
    /// A file that waits to be removed (`.deleted`) or was left unfinished (`.cleaned`).
    Leftover,
    /// A complete file of the kind that is about to replace others (`.swap`).
    Swap(FileKind, Offset),
    /// Anything else.
    Other,
}

/// Recognizes the name of a file in a partition's directory.
pub fn parse_partition_file(name: &str) -> PartitionFile {
    if name.ends_with(DELETED_SUFFIX) || name.ends_with(CLEANED_SUFFIX) {
        return PartitionFile::Leftover;
    }
    let (stem, swap) = match name.strip_suffix(SWAP_SUFFIX) {
        Some(stem) => (stem, true),
        None => (name, false),
    };
    let Some((digits, suffix)) = stem.split_at_checked(20) else {
        return PartitionFile::Other;
    };
    let kind = FileKind::ALL
        .into_iter()
        .find(|kind| kind.suffix() == suffix);
    let Some((kind, offset)) = kind.zip(parse_decimal(digits)) else {
        return PartitionFile::Other;
    };
    if swap {
        PartitionFile::Swap(kind, offset)
    } else {
        PartitionFile::Kept(kind, offset)
    }
}

fn parse_decimal(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A partition by its topic's name: what directories and checkpoint files are named by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionName {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: PartitionIndex,
}

impl PartitionName {
    /// The partition of the topic.
    pub fn new(topic: impl Into<String>, partition: PartitionIndex) -> PartitionName {
        PartitionName {
            topic: topic.into(),
            partition,
        }
    }

    /// The directory's name once the partition is deleted: unique, and never longer than a file name may be.
    pub fn deleted_directory(&self, unique: Uuid) -> String {
        let suffix = format!(
            "-{}.{:032x}{DELETED_DIRECTORY_SUFFIX}",
            self.partition,
            unique.as_u128()
        );
        let room = FILE_NAME_BYTES_MAX - suffix.len();
        let topic = &self.topic[..self.topic.floor_char_boundary(room)];
        format!("{topic}{suffix}")
    }
}

impl std::fmt::Display for PartitionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a directory inside a log directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DirectoryEntry {
    /// A partition's log.
    Partition(PartitionName),
    /// A deleted partition that waits to be removed.
    Deleted,
    /// A replica on its way here from another log directory.
    Future,
    /// A partition of no known topic, set aside by Kafka.
    Stray,
    /// Anything else.
    Other,
}

/// Recognizes the name of a directory inside a log directory.
pub fn parse_directory(name: &str) -> DirectoryEntry {
    let unique_suffix = |suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|stem| stem.contains('.'))
    };
    if unique_suffix(DELETED_DIRECTORY_SUFFIX) {
        return DirectoryEntry::Deleted;
    }
    if unique_suffix(FUTURE_DIRECTORY_SUFFIX) {
        return DirectoryEntry::Future;
    }
    if unique_suffix(STRAY_DIRECTORY_SUFFIX) {
        return DirectoryEntry::Stray;
    }
    match name.rsplit_once('-') {
        Some((topic, digits)) if !topic.is_empty() => {
            match parse_decimal(digits).map(i32::try_from) {
                Some(Ok(partition)) => {
                    DirectoryEntry::Partition(PartitionName::new(topic, partition))
                }
                _ => DirectoryEntry::Other,
            }
        }
        _ => DirectoryEntry::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_partition() {
        let table = [
            (
                "00000000000000000000.log",
                PartitionFile::Kept(FileKind::Log, 0),
            ),
            (
                "00000000000000000042.index",
                PartitionFile::Kept(FileKind::OffsetIndex, 42),
            ),
            (
                "09223372036854775807.timeindex",
                PartitionFile::Kept(FileKind::TimeIndex, i64::MAX),
            ),
            (
                "00000000000000000007.txnindex",
                PartitionFile::Kept(FileKind::TransactionIndex, 7),
            ),
            (
                "00000000000000000007.snapshot",
                PartitionFile::Kept(FileKind::ProducerSnapshot, 7),
            ),
            ("00000000000000000007.log.deleted", PartitionFile::Leftover),
            ("00000000000000000007.log.cleaned", PartitionFile::Leftover),
            (
                "00000000000000000007.log.swap",
                PartitionFile::Swap(FileKind::Log, 7),
            ),
            ("leader-epoch-checkpoint", PartitionFile::Other),
            ("partition.metadata", PartitionFile::Other),
            ("99999999999999999999.log", PartitionFile::Other),
            ("-0000000000000000001.log", PartitionFile::Other),
            ("7.log", PartitionFile::Other),
            ("00000000000000000007.logs", PartitionFile::Other),
            ("", PartitionFile::Other),
        ];
        for (name, expected) in table {
            assert_eq!(parse_partition_file(name), expected, "{name}");
        }
        assert_eq!(FileKind::Log.file_name(42), "00000000000000000042.log");
    }

    #[test]
    fn directories() {
        let partition =
            |topic: &str, index| DirectoryEntry::Partition(PartitionName::new(topic, index));
        let table = [
            ("orders-0", partition("orders", 0)),
            ("a-b.c-12", partition("a-b.c", 12)),
            ("__cluster_metadata-0", partition("__cluster_metadata", 0)),
            (
                "orders-0.0123456789abcdef0123456789abcdef-delete",
                DirectoryEntry::Deleted,
            ),
            (
                "orders-0.0123456789abcdef0123456789abcdef-future",
                DirectoryEntry::Future,
            ),
            (
                "orders-0.0123456789abcdef0123456789abcdef-stray",
                DirectoryEntry::Stray,
            ),
            ("orders", DirectoryEntry::Other),
            ("orders-", DirectoryEntry::Other),
            ("-1", DirectoryEntry::Other),
            ("orders-99999999999", DirectoryEntry::Other),
            ("lost+found", DirectoryEntry::Other),
        ];
        for (name, expected) in table {
            assert_eq!(parse_directory(name), expected, "{name}");
        }
    }

    #[test]
    fn deleted_directories_have_short_names() {
        let long = PartitionName::new("x".repeat(249), 123_456);
        let name = long.deleted_directory(Uuid::from_u128(7));
        assert_eq!(name.len(), 255);
        assert_eq!(parse_directory(&name), DirectoryEntry::Deleted);
        let short = PartitionName::new("orders", 3).deleted_directory(Uuid::from_u128(0xab));
        assert_eq!(short, "orders-3.000000000000000000000000000000ab-delete");
    }
}
