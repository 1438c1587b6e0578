//! The metadata log's records: which version each is written at, and its bytes in Kafka's framing (KIP-631).

use bytes::Bytes;
use protocol::stored::frame;

pub use protocol::stored::MetadataRecord;
pub use protocol::wire::{DecodeError, EncodeError};

/// The version at which a record is written: what Kafka 4.3 writes at metadata level 30, so that its tools read it.
pub fn write_version(record: &MetadataRecord) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => 4,
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => 2,
        MetadataRecord::BrokerRegistrationChange(change) => {
            if change.cordoned_log_dirs.is_some() {
                3
            } else if !change.log_dirs.is_empty() {
                2
            } else if change.in_controlled_shutdown != 0 {
                1
            } else {
                0
            }
        }
        // All others have version 0 only.
        _ => 0,
    }
}

/// The value of a log record.
///
/// # Errors
/// If a text is longer than the format can hold; no decision yields such a record.
pub fn encode(record: &MetadataRecord) -> Result<Bytes, EncodeError> {
    frame::encode_metadata(record, write_version(record))
}

/// The record in a log record's value.
///
/// # Errors
/// An unknown frame, record or version, or bytes that are not one: the log was written by a newer program, or is damaged.
pub fn decode(value: Bytes) -> Result<MetadataRecord, DecodeError> {
    frame::decode_metadata(value)
}
