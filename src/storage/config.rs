//! What a topic's configs mean to its logs.

use types::Limits;

/// Which old records a log may drop (`cleanup.policy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CleanupPolicy {
    /// Segments past the retention time or size are removed.
    pub delete: bool,
    /// The last value of each key is kept.
    pub compact: bool,
}

/// The configs of a topic that its logs act upon. A change acts from the next operation on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// Size at which a segment rolls, in bytes (`segment.bytes`).
    pub segment_bytes: u64,
    /// Age at which a segment rolls, in milliseconds of record time (`segment.ms`).
    pub segment_ms: i64,
    /// Size of an index at which its segment rolls, in bytes (`segment.index.bytes`).
    pub segment_index_bytes: u64,
    /// Bytes of records between two index entries (`index.interval.bytes`).
    pub index_interval_bytes: u64,
    /// Age at which a segment is removed, in milliseconds; negative: never (`retention.ms`).
    pub retention_ms: i64,
    /// Size of a log above which its oldest segments are removed, in bytes; negative: never (`retention.bytes`).
    pub retention_bytes: i64,
    /// Milliseconds between a segment's renaming and its removal (`file.delete.delay.ms`).
    pub file_delete_delay_ms: i64,
    /// Whether a segment's space is allocated when it is made (`preallocate`).
    pub preallocate: bool,
    /// Which old records may go (`cleanup.policy`).
    pub cleanup: CleanupPolicy,
    /// Whether a journal may hold what is flushed, until the segments are synced: for logs whose appends are flushed one
    /// by one.
    pub is_journaled: bool,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            preallocate: false,
            cleanup: CleanupPolicy {
                delete: true,
                compact: false,
            },
            is_journaled: false,
        }
    }
}

impl LogConfig {
    /// The config with the node's limits applied: `internal.*` sizes win over the topic's.
    pub fn limited(mut self, limits: &Limits) -> LogConfig {
        if let Some(bytes) = limits.segment_bytes_override {
            self.segment_bytes = bytes;
        }
        if let Some(bytes) = limits.index_interval_bytes_override {
            self.index_interval_bytes = bytes;
        }
        // Positions are 31 bits wide in the index files.
        self.segment_bytes = self.segment_bytes.min(i32::MAX as u64);
        self
    }
}
