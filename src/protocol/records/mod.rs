//! Record batches of format 2: the unit that producers send, logs keep and consumers fetch.
//!
//! * [`BatchHeader`] reads and writes the 61 bytes in front of the records.
//! * [`Batch`] is a checked view over shared bytes; [`batches`] walks a buffer of them.
//! * [`Batch::records`] yields records without copying them; [`Batch::scan`] only visits their shape.
//! * [`BatchBuilder`] makes batches.
//! * [`validate::validate_produce`] decides whether a client's batch may enter a log.
//!
//! Offsets are assigned without touching the records: the base offset, the length and the leader epoch are the
//! first 16 bytes of a batch and outside its checksum, see [`BatchHeader::prefix`] and [`Batch::chunks_at`].

mod batch;
mod builder;
mod compression;
mod control;
mod crc;
mod error;
mod header;
mod lz4;
mod record;
mod scan;
mod snappy;
pub mod validate;
mod varint;

pub use batch::{Batch, Batches, batches};
pub use builder::BatchBuilder;
pub use compression::{
    Compression, CompressionSpec, LevelOutOfRange, Scratch, compress, decompress,
};
pub use control::{CONTROL_KEY_BYTES, ControlKeyError, ControlRecordType, ParsedControlType};
pub use crc::{crc32c, crc32c_with_prefix_replaced};
pub use error::{BatchError, RecordFault};
pub use header::{
    BATCH_HEADER_BYTES, BATCH_LENGTH_MIN, BATCH_PREFIX_BYTES, BatchHeader, LOG_OVERHEAD_BYTES,
    MAGIC, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP,
    TimestampType, attribute, increment_sequence,
};
pub use record::{Header, Record, Records};
pub use scan::RecordShape;

/// How many bytes [`Batch::records`] lets a compressed batch grow to before it gives up.
///
/// Kafka sets no limit. A batch that a client may produce is at most `max.message.bytes` long, so one that expands
/// beyond this is an attack or a mistake.
pub const DECOMPRESSED_BYTES_MAX: u64 = 256 << 20;

#[cfg(test)]
mod compression_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod validate_tests;
