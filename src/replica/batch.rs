//! What the machine needs to know of a record batch.

use bytes::Bytes;
use protocol::records::{BatchHeader, ControlRecordType, ParsedControlType, TimestampType};
use protocol::stored::end_txn_marker::EndTxnMarker;
use protocol::wire::{Decoder, Message};
use thiserror::Error;
use types::{Offset, ProducerEpoch, ProducerId};

/// The facts of one validated record batch, without its offset: taken from its header by the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchSummary {
    /// The producer, or -1 if it is not idempotent.
    pub producer_id: ProducerId,
    /// The producer's epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Records in the batch; less than `last_offset_delta + 1` after compaction, 0 in a batch that was emptied by it.
    pub record_count: i32,
    /// Offset of the last record minus that of the first, 0 or more.
    pub last_offset_delta: i32,
    /// Largest timestamp in the batch, in milliseconds since 1970, or -1.
    pub max_timestamp: i64,
    /// The broker's append time in milliseconds, if the topic stamps it (`message.timestamp.type=LogAppendTime`).
    pub log_append_time: Option<i64>,
    /// Whether the batch belongs to a transaction.
    pub is_transactional: bool,
    /// Whether the batch holds a control record.
    pub is_control: bool,
    /// Size in the log, in bytes, header included.
    pub size_bytes: u32,
}

impl BatchSummary {
    /// A plain batch of `record_count` records with no producer id: what most internal appends are.
    pub fn plain(record_count: i32, max_timestamp: i64, size_bytes: u32) -> BatchSummary {
        assert!(record_count > 0, "a batch to append holds no record");
        BatchSummary {
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count,
            last_offset_delta: record_count - 1,
            max_timestamp,
            log_append_time: None,
            is_transactional: false,
            is_control: false,
            size_bytes,
        }
    }

    /// Whether the batch carries a producer id.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }

    /// Sequence number of the last record: it wraps from 2^31 - 1 to 0. -1 without a producer.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        crate::add_to_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Offset of the last record if the first lies at `base_offset`.
    pub fn last_offset(&self, base_offset: Offset) -> Offset {
        base_offset + Offset::from(self.last_offset_delta)
    }
}

impl From<&BatchHeader> for BatchSummary {
    fn from(header: &BatchHeader) -> BatchSummary {
        let stamps = header.timestamp_type() == TimestampType::LogAppendTime;
        BatchSummary {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            record_count: header.record_count,
            last_offset_delta: header.last_offset_delta,
            max_timestamp: header.max_timestamp,
            log_append_time: stamps.then_some(header.max_timestamp),
            is_transactional: header.is_transactional(),
            is_control: header.is_control(),
            size_bytes: u32::try_from(header.size_bytes()).unwrap_or(u32::MAX),
        }
    }
}

/// What a transaction's end marker says: the body of its only record (`EndTxnMarker`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlMarker {
    /// How the transaction ended.
    pub kind: MarkerKind,
    /// Epoch of the transaction coordinator that decided it.
    pub coordinator_epoch: i32,
    /// Timestamp of the marker's record, in milliseconds since 1970.
    pub timestamp: i64,
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkerKind {
    /// Its records are visible to readers of committed data.
    Commit,
    /// Its records are not.
    Abort,
}

/// A control record that is not a readable transaction marker.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("a transaction marker is unreadable: {0}")]
pub struct MarkerError(String);

impl ControlMarker {
    /// Reads the record of a control batch. `None` if it is a control record of another kind, which changes no producer.
    ///
    /// # Errors
    /// [`MarkerError`] if key or value are not what they should be.
    pub fn decode(
        key: &[u8],
        value: Bytes,
        timestamp: i64,
    ) -> Result<Option<ControlMarker>, MarkerError> {
        let parsed = ControlRecordType::parse_key(key);
        let kind = match parsed.map_err(|error| MarkerError(error.to_string()))? {
            ParsedControlType::Known(ControlRecordType::Commit) => MarkerKind::Commit,
            ParsedControlType::Known(ControlRecordType::Abort) => MarkerKind::Abort,
            ParsedControlType::Known(_) | ParsedControlType::Unknown(_) => return Ok(None),
        };
        let marker = decode_end_marker(value).map_err(|error| MarkerError(error.to_string()))?;
        let coordinator_epoch = marker.coordinator_epoch;
        Ok(Some(ControlMarker {
            kind,
            coordinator_epoch,
            timestamp,
        }))
    }
}

/// The value: version and body. A later version may only have grown.
fn decode_end_marker(value: Bytes) -> Result<EndTxnMarker, protocol::wire::DecodeError> {
    let mut decoder = Decoder::new(value);
    let version = decoder.int16()?;
    EndTxnMarker::decode(&mut decoder, version.min(*EndTxnMarker::VERSIONS.end()))
}
