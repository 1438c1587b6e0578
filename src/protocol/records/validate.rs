//! Whether a client's batch may enter a log, and what of it the leader rewrites.
//!
//! The rules are those of Kafka for appends of clients, and the golden file `verdicts.txt` holds its own answers. Where
//! this differs, it is stricter on bytes that no known client sends:
//! * bytes behind the batch or behind its compressed records are refused, not cut off or ignored;
//! * offset deltas must count up from 0, whatever the codec: Kafka stores or renumbers some, and fails on others;
//! * the length of a record must fit its parts even where the record is only skipped over;
//! * LogAppendTime, a delete horizon and attribute bits without a meaning are not for clients to set;
//! * a producer id needs an epoch, and a transactional batch a producer id.
//!
//! And what Kafka answers with UNKNOWN_SERVER_ERROR has a code of its own: INVALID_RECORD if the records do not
//! decompress, UNSUPPORTED_COMPRESSION_TYPE if there is no such codec, CORRUPT_MESSAGE if the length is beyond 2^31.

use super::compression::Compressor;
use super::{
    BATCH_HEADER_BYTES, Batch, BatchError, BatchHeader, Compression, CompressionSpec,
    LOG_OVERHEAD_BYTES, NO_TIMESTAMP, RecordShape, Scratch, TimestampType, attribute,
};
use bytes::Bytes;
use std::fmt;
use std::ops::ControlFlow;
use thiserror::Error;
use types::{ErrorCode, LeaderEpoch, Offset, Wall};

/// At most this many records of a refused batch are named; all are counted.
pub const RECORD_ERRORS_MAX: usize = 1000;

/// The first version of Produce whose clients know Zstandard.
const ZSTD_PRODUCE_VERSION_MIN: i16 = 7;

/// The topic's configs that decide about a produced batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducePolicy {
    /// `max.message.bytes`: largest batch in bytes, header included, as it comes and as it is written.
    pub max_message_bytes: usize,
    /// `segment.bytes`: a batch never exceeds a segment.
    pub segment_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far back a client's timestamp may lie, in milliseconds.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead a client's timestamp may lie, in milliseconds.
    pub timestamp_after_max_ms: i64,
    /// `compression.type` with its level.
    pub compression: TargetCompression,
    /// Whether `cleanup.policy` has `compact`: then every record needs a key.
    pub compact: bool,
    /// Bytes that a batch's records may decompress to. It bounds time, not memory: at most some 64 KiB are held.
    pub decompressed_bytes_max: u64,
}

/// How a topic keeps its batches (`compression.type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TargetCompression {
    /// As the producer sent them.
    #[default]
    Producer,
    /// With this codec; a batch that already has the codec stays as it is, whatever its level.
    Codec(CompressionSpec),
}

/// A batch that may be appended as soon as it has an offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValidatedBatch {
    /// The header to be written, checksum included, but for base offset (0) and leader epoch, which the checksum leaves out.
    pub header: BatchHeader,
    /// The records to be written, as they are in the request unless [`Self::reencoded`].
    pub records: Bytes,
    /// How many records there are, at least 1.
    pub record_count: u32,
    /// The largest timestamp of the records in milliseconds, or the time of appending; -1 if no record has any.
    pub max_timestamp: i64,
    /// Offset, after the base offset, of the first record with that timestamp. (Kafka's time index names the last
    /// offset of the batch instead.)
    pub offset_delta_of_max_timestamp: i32,
    /// The time of appending in milliseconds if the topic has LogAppendTime; it goes into the response.
    pub log_append_time: Option<i64>,
    /// Whether the records were compressed anew or renumbered, so that they share nothing with the request.
    pub reencoded: bool,
}

impl ValidatedBatch {
    /// Bytes of the whole batch as it will be written.
    pub fn size_bytes(&self) -> usize {
        self.header.size_bytes()
    }

    /// The batch at its offset, as two chunks to be written one after the other: a new header and the records, shared.
    pub fn chunks_at(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> [Bytes; 2] {
        let header = self.header_at(base_offset, leader_epoch);
        [
            Bytes::copy_from_slice(&header.encode()),
            self.records.clone(),
        ]
    }

    /// The header with its offset and epoch.
    pub fn header_at(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> BatchHeader {
        BatchHeader {
            base_offset,
            partition_leader_epoch: leader_epoch,
            ..self.header
        }
    }

    /// Sets another time of appending, in milliseconds, and the checksum accordingly; the records are not read.
    ///
    /// # Panics
    /// If the topic does not have LogAppendTime.
    pub fn set_log_append_time(&mut self, millis: i64) {
        assert!(
            self.log_append_time.is_some(),
            "only LogAppendTime is set by the leader"
        );
        self.header
            .set_max_timestamp(TimestampType::LogAppendTime, millis);
        self.log_append_time = Some(millis);
        self.max_timestamp = millis;
    }
}

/// Why a client's batch was refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ProduceRecordsError {
    /// There is no whole batch.
    #[error("a produce request needs one whole record batch for each partition")]
    NoBatch,
    /// Something follows the first batch.
    #[error("a produce request may hold only one record batch for each partition")]
    BytesAfterBatch,
    /// The batch has the record format 0 or 1.
    #[error("record format {0} is not supported, only 2 is")]
    OldFormat(i8),
    /// The bytes are no batch, or were damaged on the way.
    #[error("{0}")]
    Corrupt(BatchError),
    /// The client set a base offset.
    #[error("the base offset must be 0, it is {0}")]
    BaseOffset(Offset),
    /// Count and last offset delta contradict each other.
    #[error(
        "the batch says that it has {record_count} records up to offset delta {last_offset_delta}"
    )]
    Offsets {
        /// The header's count.
        record_count: i32,
        /// The header's last offset delta.
        last_offset_delta: i32,
    },
    /// Attribute bits are set that a client cannot set.
    #[error("the attributes {0:#06x} are not for clients to set")]
    Attributes(i16),
    /// Clients do not write control records.
    #[error("clients may not write control records")]
    Control,
    /// Producer id, epoch and sequence contradict each other.
    #[error(
        "producer id {producer_id}, epoch {producer_epoch} and sequence {base_sequence} do not go together"
    )]
    Producer {
        /// The header's producer id.
        producer_id: i64,
        /// The header's producer epoch.
        producer_epoch: i16,
        /// The header's base sequence.
        base_sequence: i32,
    },
    /// A transactional batch names no producer.
    #[error("a transactional batch needs a producer id")]
    TransactionalWithoutProducer,
    /// The codec does not exist, or not in this version of the request.
    #[error("compression code {code} cannot be used with Produce version {version}")]
    UnsupportedCompression {
        /// The code in the attributes.
        code: u8,
        /// The version of the request.
        version: i16,
    },
    /// The batch is larger than `max.message.bytes`.
    #[error("the batch has {size_bytes} bytes, more than the {limit_bytes} of max.message.bytes")]
    TooLarge {
        /// The batch as it came, or so much of it as was compressed anew.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The batch is larger than a segment.
    #[error("the batch has {size_bytes} bytes, more than the {limit_bytes} of segment.bytes")]
    LargerThanSegment {
        /// The batch.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The records cannot be read.
    #[error("{0}")]
    Unreadable(BatchError),
    /// A record's offset is not the one after that of the record before it.
    #[error("record {index} has the offset delta {offset_delta}")]
    OffsetDelta {
        /// Index of the record.
        index: u32,
        /// The delta that it has.
        offset_delta: i32,
    },
    /// Some records were refused, and so all of the batch.
    #[error("{total} records were rejected, the first because {}", Reason(errors))]
    Records {
        /// The first [`RECORD_ERRORS_MAX`] of them.
        errors: Vec<RecordError>,
        /// How many there are.
        total: u32,
        /// Whether a timestamp is among the causes.
        invalid_timestamp: bool,
    },
}

struct Reason<'a>(&'a [RecordError]);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first() {
            Some(error) => write!(f, "of record {}: {}", error.index, error.cause),
            None => f.write_str("of an unknown one"),
        }
    }
}

/// A refused record: an entry of `record_errors` in the response (KIP-467).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordError {
    /// Index of the record in the batch, from 0.
    pub index: u32,
    /// Why it was refused; its text is the message of the entry.
    pub cause: RecordRefusal,
}

/// Why a record was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RecordRefusal {
    /// A compacted topic needs keys.
    #[error("a compacted topic takes no record without a key")]
    NoKey,
    /// The timestamp is too far from the broker's clock.
    #[error("timestamp {timestamp} is outside of [{earliest}, {latest}]")]
    Timestamp {
        /// The record's timestamp in milliseconds.
        timestamp: i64,
        /// The earliest that is allowed.
        earliest: i64,
        /// The latest that is allowed.
        latest: i64,
    },
    /// The client claims that the leader stamped the batch.
    #[error("a client may not set the timestamp type LogAppendTime")]
    LogAppendTime,
}

impl ProduceRecordsError {
    /// Kafka's code for the partition in the response.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            ProduceRecordsError::Corrupt(_) => ErrorCode::CorruptMessage,
            ProduceRecordsError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            ProduceRecordsError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            ProduceRecordsError::UnsupportedCompression { .. } => {
                ErrorCode::UnsupportedCompressionType
            }
            ProduceRecordsError::Unreadable(BatchError::DecompressedTooLarge { .. }) => {
                ErrorCode::MessageTooLarge
            }
            ProduceRecordsError::Records {
                invalid_timestamp: true,
                ..
            } => ErrorCode::InvalidTimestamp,
            ProduceRecordsError::NoBatch
            | ProduceRecordsError::BytesAfterBatch
            | ProduceRecordsError::OldFormat(_)
            | ProduceRecordsError::BaseOffset(_)
            | ProduceRecordsError::Offsets { .. }
            | ProduceRecordsError::Attributes(_)
            | ProduceRecordsError::Control
            | ProduceRecordsError::Producer { .. }
            | ProduceRecordsError::TransactionalWithoutProducer
            | ProduceRecordsError::Unreadable(_)
            | ProduceRecordsError::OffsetDelta { .. }
            | ProduceRecordsError::Records { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// The entries for `record_errors`, if single records are to blame.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            ProduceRecordsError::Records { errors, .. } => errors,
            _ => &[],
        }
    }
}

/// Decides about the records that a client produced to one partition with Produce of `version`.
///
/// `records` is shared, not copied, unless the topic wants another codec. The checksum is computed once; every record's
/// structure is walked, compressed ones by decompressing piece by piece with the buffers of `scratch`. Nothing is
/// allocated per record, except where one is refused.
///
/// The header comes back as it is to be written: with the largest timestamp of the records, or `now` under
/// LogAppendTime. Sequences and epochs are the replica's business.
///
/// # Errors
/// See [`ProduceRecordsError`]; nothing of the batch may be appended.
pub fn validate_produce(
    now: Wall,
    policy: &ProducePolicy,
    scratch: &mut Scratch,
    records: &Bytes,
    version: i16,
) -> Result<ValidatedBatch, ProduceRecordsError> {
    let batch = only_batch(records)?;
    let source = check_before_checksum(&batch, policy, version)?;
    batch.verify_crc().map_err(ProduceRecordsError::Corrupt)?;
    if batch.size_bytes() < records.len() {
        return Err(ProduceRecordsError::BytesAfterBatch);
    }
    check_header(batch.header())?;
    let mut check = RecordCheck::new(now, policy, batch.header());
    let target = match policy.compression {
        TargetCompression::Codec(spec) if spec.compression() != source => Some(spec),
        TargetCompression::Codec(_) | TargetCompression::Producer => None,
    };
    let reencoded = walk(&batch, policy, scratch, target, &mut check)?;
    check.verdict()?;
    let validated = check.validated(&batch, reencoded);
    check_size(validated.size_bytes(), policy)?;
    Ok(validated)
}

fn only_batch(records: &Bytes) -> Result<Batch, ProduceRecordsError> {
    let batch = Batch::parse(records).map_err(|error| match error {
        BatchError::Incomplete { .. } => ProduceRecordsError::NoBatch,
        BatchError::UnsupportedMagic(magic @ 0..=1) => ProduceRecordsError::OldFormat(magic),
        error => ProduceRecordsError::Corrupt(error),
    })?;
    let behind = records.slice(batch.size_bytes()..);
    // A wrong length makes records look like the next batch, which is no fault of the client.
    match Batch::parse(&behind) {
        Ok(_) => Err(ProduceRecordsError::BytesAfterBatch),
        Err(error @ BatchError::LengthOutOfRange(_))
        | Err(error @ BatchError::UnsupportedMagic(3.. | ..=-1)) => {
            Err(ProduceRecordsError::Corrupt(error))
        }
        Err(_) => Ok(batch),
    }
}

fn check_before_checksum(
    batch: &Batch,
    policy: &ProducePolicy,
    version: i16,
) -> Result<Compression, ProduceRecordsError> {
    let header = batch.header();
    let code = (header.attributes & attribute::COMPRESSION) as u8;
    let unsupported = ProduceRecordsError::UnsupportedCompression { code, version };
    let source = header.compression().map_err(|_| unsupported.clone())?;
    if source == Compression::Zstd && version < ZSTD_PRODUCE_VERSION_MIN {
        return Err(unsupported);
    }
    if header.base_offset != 0 {
        return Err(ProduceRecordsError::BaseOffset(header.base_offset));
    }
    check_message_size(batch.size_bytes(), policy)?;
    Ok(source)
}

fn check_message_size(
    size_bytes: usize,
    policy: &ProducePolicy,
) -> Result<(), ProduceRecordsError> {
    let limit_bytes = policy.max_message_bytes;
    if size_bytes > limit_bytes {
        return Err(ProduceRecordsError::TooLarge {
            size_bytes,
            limit_bytes,
        });
    }
    Ok(())
}

fn check_size(size_bytes: usize, policy: &ProducePolicy) -> Result<(), ProduceRecordsError> {
    check_message_size(size_bytes, policy)?;
    let limit_bytes = policy.segment_bytes;
    if size_bytes > limit_bytes {
        return Err(ProduceRecordsError::LargerThanSegment {
            size_bytes,
            limit_bytes,
        });
    }
    Ok(())
}

fn check_header(header: &BatchHeader) -> Result<(), ProduceRecordsError> {
    let (record_count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    if record_count < 1 || i64::from(last_offset_delta) + 1 != i64::from(record_count) {
        return Err(ProduceRecordsError::Offsets {
            record_count,
            last_offset_delta,
        });
    }
    if header.is_control() {
        return Err(ProduceRecordsError::Control);
    }
    let refused_bits = !attribute::KNOWN | attribute::DELETE_HORIZON;
    if header.attributes & refused_bits != 0 {
        return Err(ProduceRecordsError::Attributes(header.attributes));
    }
    if header.has_producer_id() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(ProduceRecordsError::Producer {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        });
    }
    if header.is_transactional() && !header.has_producer_id() {
        return Err(ProduceRecordsError::TransactionalWithoutProducer);
    }
    Ok(())
}

/// Walks the records; gives them compressed anew, behind room for a header, if there is a target.
fn walk(
    batch: &Batch,
    policy: &ProducePolicy,
    scratch: &mut Scratch,
    target: Option<CompressionSpec>,
    check: &mut RecordCheck<'_>,
) -> Result<Option<Reencoded>, ProduceRecordsError> {
    let limit = policy.decompressed_bytes_max;
    let visit = |shape: &RecordShape| {
        check.record(shape);
        ControlFlow::Continue(())
    };
    let Some(spec) = target else {
        let walked = batch.scan(scratch, limit, visit);
        return walked
            .map(|()| None)
            .map_err(ProduceRecordsError::Unreadable);
    };
    let mut compressor = Compressor::open(spec, vec![0; BATCH_HEADER_BYTES]);
    let mut tee = |bytes: &[u8]| {
        // What exceeds the limit is refused below; there is no use in compressing on.
        if compressor.buffered_bytes() <= policy.max_message_bytes {
            compressor.write(bytes);
        }
    };
    let walked = super::scan::scan(batch, scratch, limit, Some(&mut tee), visit);
    walked.map_err(ProduceRecordsError::Unreadable)?;
    let buffer = compressor.finish();
    Ok(Some(Reencoded {
        compression: spec.compression(),
        buffer,
    }))
}

/// Records that were compressed anew, behind room for a header.
struct Reencoded {
    compression: Compression,
    buffer: Vec<u8>,
}

/// What is learned of the records one by one.
struct RecordCheck<'a> {
    policy: &'a ProducePolicy,
    now: i64,
    base_timestamp: i64,
    claims_log_append_time: bool,
    check_timestamps: bool,
    max_timestamp: i64,
    max_timestamp_delta: i32,
    stray: Option<(u32, i32)>,
    errors: Vec<RecordError>,
    total: u32,
    invalid_timestamp: bool,
}

impl<'a> RecordCheck<'a> {
    fn new(now: Wall, policy: &'a ProducePolicy, header: &BatchHeader) -> RecordCheck<'a> {
        RecordCheck {
            policy,
            now: now.as_millis(),
            base_timestamp: header.base_timestamp,
            claims_log_append_time: header.timestamp_type() == TimestampType::LogAppendTime,
            check_timestamps: policy.timestamp_type == TimestampType::CreateTime,
            max_timestamp: NO_TIMESTAMP,
            max_timestamp_delta: 0,
            stray: None,
            errors: Vec::new(),
            total: 0,
            invalid_timestamp: false,
        }
    }

    #[inline(always)]
    fn record(&mut self, shape: &RecordShape) {
        let (timestamp, overflows) = self.base_timestamp.overflowing_add(shape.timestamp_delta);
        if timestamp > self.max_timestamp {
            self.max_timestamp = timestamp;
            self.max_timestamp_delta = shape.offset_delta;
        }
        if shape.offset_delta as u32 != shape.index && self.stray.is_none() {
            self.stray = Some((shape.index, shape.offset_delta));
        }
        if self.policy.compact && shape.key_bytes.is_none() {
            self.refuse(shape.index, RecordRefusal::NoKey);
        } else if self.claims_log_append_time {
            self.refuse(shape.index, RecordRefusal::LogAppendTime);
        } else if self.check_timestamps && (overflows || !self.is_in_time(timestamp)) {
            self.refuse(shape.index, self.out_of_time(timestamp));
        }
    }

    #[inline(always)]
    fn is_in_time(&self, timestamp: i64) -> bool {
        let behind = self.now.saturating_sub(timestamp);
        let ahead = timestamp.saturating_sub(self.now);
        timestamp == NO_TIMESTAMP
            || (behind <= self.policy.timestamp_before_max_ms
                && ahead <= self.policy.timestamp_after_max_ms)
    }

    #[cold]
    fn out_of_time(&self, timestamp: i64) -> RecordRefusal {
        RecordRefusal::Timestamp {
            timestamp,
            earliest: self.now.saturating_sub(self.policy.timestamp_before_max_ms),
            latest: self.now.saturating_add(self.policy.timestamp_after_max_ms),
        }
    }

    #[cold]
    fn refuse(&mut self, index: u32, cause: RecordRefusal) {
        self.total += 1;
        self.invalid_timestamp |= !matches!(cause, RecordRefusal::NoKey);
        if self.errors.len() < RECORD_ERRORS_MAX {
            self.errors.push(RecordError { index, cause });
        }
    }

    fn verdict(&mut self) -> Result<(), ProduceRecordsError> {
        if self.total > 0 {
            return Err(ProduceRecordsError::Records {
                errors: std::mem::take(&mut self.errors),
                total: self.total,
                invalid_timestamp: self.invalid_timestamp,
            });
        }
        match self.stray {
            None => Ok(()),
            Some((index, offset_delta)) => Err(ProduceRecordsError::OffsetDelta {
                index,
                offset_delta,
            }),
        }
    }

    fn validated(&self, batch: &Batch, reencoded: Option<Reencoded>) -> ValidatedBatch {
        let timestamp_type = self.policy.timestamp_type;
        let stamped = timestamp_type == TimestampType::LogAppendTime;
        let max_timestamp = if stamped {
            self.now
        } else {
            self.max_timestamp
        };
        let mut header = *batch.header();
        header.partition_leader_epoch = super::NO_PARTITION_LEADER_EPOCH;
        header.set_max_timestamp(timestamp_type, max_timestamp);
        let was_reencoded = reencoded.is_some();
        let records = match reencoded {
            None => batch.record_bytes(),
            Some(Reencoded {
                compression,
                buffer,
            }) => {
                header.attributes &= !attribute::COMPRESSION;
                header.attributes |= i16::from(compression.code());
                header.batch_length =
                    i32::try_from(buffer.len() - LOG_OVERHEAD_BYTES).unwrap_or(i32::MAX);
                header.set_crc(&buffer[BATCH_HEADER_BYTES..]);
                Bytes::from(buffer).slice(BATCH_HEADER_BYTES..)
            }
        };
        ValidatedBatch {
            header,
            records,
            record_count: header.record_count as u32,
            max_timestamp,
            offset_delta_of_max_timestamp: if stamped { 0 } else { self.max_timestamp_delta },
            log_append_time: stamped.then_some(self.now),
            reencoded: was_reencoded,
        }
    }
}
