//! Sizes and times that are fixed for a node's life and that simulation shrinks.

/// Limits given at node construction. The `internal.*` configs set them at start only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Smallest `segment.bytes` that a topic may ask for, in bytes. Kafka: 1 MiB.
    pub segment_bytes_min: u64,
    /// If set, every topic's segment size in bytes, whatever its config says (`internal.segment.bytes`).
    pub segment_bytes_override: Option<u64>,
    /// If set, every topic's index interval in bytes, whatever its config says (`internal.index.interval.bytes`).
    pub index_interval_bytes_override: Option<u64>,
    /// Size at which the metadata log rolls, in bytes. Kafka: 1 GiB.
    pub metadata_segment_bytes: u64,
    /// Bytes of new metadata records after which a snapshot is written. Kafka: 20 MiB.
    pub metadata_snapshot_bytes: u64,
    /// Wall milliseconds after which a snapshot is written if there is anything new. Kafka: 1 hour.
    pub metadata_snapshot_interval_ms: i64,
    /// Producer ids handed to a broker at a time. Kafka: 1000.
    pub producer_id_block_size: i64,
    /// Incremental fetch sessions a node keeps. Kafka: 1000.
    pub fetch_session_slots: usize,
    /// Wall milliseconds of idleness after which a producer id is forgotten. Kafka: 1 day.
    pub producer_id_expiration_ms: i64,
    /// How often expired producer ids are looked for, in milliseconds. Kafka: 10 minutes.
    pub producer_id_expiration_check_interval_ms: i64,
    /// Bytes of one log directory that may be written and not synced: appends beyond are held back until a flush has
    /// brought them down.
    pub dirty_bytes_max: u64,
    /// Bytes of each half of a journal, of which a shard has one in each log directory with topics of class *flushed*; 0:
    /// no journals.
    pub journal_half_bytes: u64,
    /// Records one metadata operation may write. Kafka: 10,000.
    pub metadata_records_per_operation_max: usize,
}

impl Default for Limits {
    /// Kafka's own figures.
    fn default() -> Limits {
        Limits {
            segment_bytes_min: 1 << 20,
            segment_bytes_override: None,
            index_interval_bytes_override: None,
            metadata_segment_bytes: 1 << 30,
            metadata_snapshot_bytes: 20 << 20,
            metadata_snapshot_interval_ms: 60 * 60 * 1000,
            producer_id_block_size: 1000,
            fetch_session_slots: 1000,
            producer_id_expiration_ms: 24 * 60 * 60 * 1000,
            producer_id_expiration_check_interval_ms: 10 * 60 * 1000,
            dirty_bytes_max: 256 << 20,
            journal_half_bytes: 16 << 20,
            metadata_records_per_operation_max: 10_000,
        }
    }
}
