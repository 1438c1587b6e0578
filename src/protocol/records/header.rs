//! The 61 bytes in front of the records of a batch.

use super::crc::{crc32c, crc32c_with_prefix_replaced};
use super::{BatchError, Compression};
use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes of a batch's header.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes at the start of a batch that its checksum leaves out and that the log sets: base offset, length, leader epoch.
pub const BATCH_PREFIX_BYTES: usize = 16;
/// Bytes of base offset and length, which the length does not count.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// The smallest length field of a batch: its header without records.
pub const BATCH_LENGTH_MIN: i32 = (BATCH_HEADER_BYTES - LOG_OVERHEAD_BYTES) as i32;
/// The smallest length field of any record format, that of format 0.
const OLD_LENGTH_MIN: i32 = 14;
/// The largest length field with which the size of a batch is a 32-bit number.
const BATCH_LENGTH_MAX: i32 = i32::MAX - LOG_OVERHEAD_BYTES as i32;
/// The record format this module reads and writes.
pub const MAGIC: i8 = 2;
/// The leader epoch of a batch that no leader has taken yet.
pub const NO_PARTITION_LEADER_EPOCH: LeaderEpoch = -1;
/// The producer id of a batch that is not idempotent.
pub const NO_PRODUCER_ID: ProducerId = -1;
/// The producer epoch of a batch that is not idempotent.
pub const NO_PRODUCER_EPOCH: ProducerEpoch = -1;
/// The base sequence of a batch that is not idempotent.
pub const NO_SEQUENCE: i32 = -1;
/// The timestamp of a record that has none.
pub const NO_TIMESTAMP: i64 = -1;

/// Where the checksummed part begins: after length, leader epoch, magic and the checksum itself.
const CHECKSUMMED_FROM: usize = 21;
/// Where the magic byte is, in every record format.
const MAGIC_AT: usize = 16;

/// Bits of [`BatchHeader::attributes`].
pub mod attribute {
    /// The compression code.
    pub const COMPRESSION: i16 = 0x07;
    /// Set if the timestamp is when the leader appended the batch, unset if when the client made the records.
    pub const LOG_APPEND_TIME: i16 = 0x08;
    /// Set if the batch belongs to a transaction.
    pub const TRANSACTIONAL: i16 = 0x10;
    /// Set if the batch holds a control record.
    pub const CONTROL: i16 = 0x20;
    /// Set if the base timestamp is the delete horizon (KIP-534).
    pub const DELETE_HORIZON: i16 = 0x40;
    /// Every bit that has a meaning.
    pub const KNOWN: i16 = 0x7f;
}

/// Whose clock stamped the records of a batch (`message.timestamp.type`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum TimestampType {
    /// The client's, record by record.
    #[default]
    CreateTime,
    /// The leader's, one for the whole batch.
    LogAppendTime,
}

/// The header of a batch, all fields as they are on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record that the batch had when it was written; compaction may have removed that record.
    pub base_offset: Offset,
    /// Bytes after this field: 12 less than the whole batch.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch, -1 if none did.
    pub partition_leader_epoch: LeaderEpoch,
    /// The record format, 2.
    pub magic: i8,
    /// CRC-32C of everything after this field.
    pub crc: u32,
    /// Bits of [`attribute`].
    pub attributes: i16,
    /// Offset of the last record less the base offset; compaction keeps it.
    pub last_offset_delta: i32,
    /// What timestamp deltas count from, in milliseconds; the delete horizon if that bit is set.
    pub base_timestamp: i64,
    /// The largest timestamp in the batch in milliseconds, or the time of appending; -1 if no record has any.
    pub max_timestamp: i64,
    /// The idempotent producer, -1 if none.
    pub producer_id: ProducerId,
    /// The producer's epoch, -1 if none.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record, -1 if none.
    pub base_sequence: i32,
    /// Records in the batch; zero after compaction removed all of them.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may be shorter or longer than the batch.
    ///
    /// # Errors
    /// [`BatchError::Incomplete`] if the header is not all there; [`BatchError::LengthOutOfRange`] and
    /// [`BatchError::UnsupportedMagic`] as soon as the bytes show it. Nothing else is checked, see [`Self::check`].
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let incomplete = |needed: usize| BatchError::Incomplete {
            needed_bytes: needed as u64,
            available_bytes: bytes.len() as u64,
        };
        let Some(overhead) = bytes.first_chunk::<LOG_OVERHEAD_BYTES>() else {
            return Err(incomplete(LOG_OVERHEAD_BYTES));
        };
        let batch_length = Fields(&overhead[8..]).i32();
        let out_of_range = BatchError::LengthOutOfRange(batch_length);
        if !(OLD_LENGTH_MIN..=BATCH_LENGTH_MAX).contains(&batch_length) {
            return Err(out_of_range);
        }
        if let Some(&magic) = bytes.get(MAGIC_AT)
            && magic as i8 != MAGIC
        {
            return Err(BatchError::UnsupportedMagic(magic as i8));
        }
        if batch_length < BATCH_LENGTH_MIN {
            return Err(out_of_range);
        }
        let header = bytes.first_chunk::<BATCH_HEADER_BYTES>();
        header
            .map(Self::decode)
            .ok_or_else(|| incomplete(BATCH_HEADER_BYTES))
    }

    fn decode(bytes: &[u8; BATCH_HEADER_BYTES]) -> BatchHeader {
        let mut fields = Fields(bytes);
        BatchHeader {
            base_offset: fields.i64(),
            batch_length: fields.i32(),
            partition_leader_epoch: fields.i32(),
            magic: fields.i8(),
            crc: fields.i32() as u32,
            attributes: fields.i16(),
            last_offset_delta: fields.i32(),
            base_timestamp: fields.i64(),
            max_timestamp: fields.i64(),
            producer_id: fields.i64(),
            producer_epoch: fields.i16(),
            base_sequence: fields.i32(),
            record_count: fields.i32(),
        }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        bytes[16] = self.magic as u8;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        bytes
    }

    /// The first 16 bytes of this batch at another offset and leader epoch. They are outside the checksum.
    pub fn prefix(
        &self,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
    ) -> [u8; BATCH_PREFIX_BYTES] {
        let mut bytes = [0; BATCH_PREFIX_BYTES];
        bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
        bytes
    }

    /// Checks what every batch of a log satisfies: offsets and count that are not negative and agree, and a known
    /// compression.
    ///
    /// # Errors
    /// [`BatchError::OffsetsOutOfRange`], [`BatchError::UnknownCompression`].
    pub fn check(&self) -> Result<(), BatchError> {
        self.compression()?;
        let delta = i64::from(self.last_offset_delta);
        let in_range = self.base_offset >= 0
            && delta >= 0
            && self
                .base_offset
                .checked_add(delta)
                .is_some_and(|last| last < i64::MAX)
            && (0..=delta + 1).contains(&i64::from(self.record_count));
        if in_range {
            return Ok(());
        }
        Err(BatchError::OffsetsOutOfRange {
            base_offset: self.base_offset,
            last_offset_delta: self.last_offset_delta,
            record_count: self.record_count,
        })
    }

    /// Bytes of the whole batch, header included. At least 61 for a header that was parsed.
    pub fn size_bytes(&self) -> usize {
        LOG_OVERHEAD_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Bytes of the records, compressed as they are.
    pub fn records_bytes(&self) -> usize {
        self.size_bytes().saturating_sub(BATCH_HEADER_BYTES)
    }

    /// Offset of the last record that the batch had when it was written. Meaningful if [`Self::check`] passed.
    pub fn last_offset(&self) -> Offset {
        self.base_offset
            .wrapping_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the batch. Meaningful if [`Self::check`] passed.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().wrapping_add(1)
    }

    /// The sequence number of the last record, -1 if there is none. Sequences wrap after 2^31 - 1.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return NO_SEQUENCE;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta.max(0))
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`] for the codes 5 to 7.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        let code = (self.attributes & attribute::COMPRESSION) as u8;
        Compression::from_code(code).ok_or(BatchError::UnknownCompression(code))
    }

    /// Whose clock stamped the records.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & attribute::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & attribute::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record.
    pub fn is_control(&self) -> bool {
        self.attributes & attribute::CONTROL != 0
    }

    /// Whether an idempotent producer wrote the batch.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// When tombstones and markers of the batch may go, in milliseconds, once the cleaner has set it (KIP-534).
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & attribute::DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Sets timestamp type and largest timestamp, and the checksum accordingly, without reading the records.
    ///
    /// The checksum must have been right before.
    pub fn set_max_timestamp(&mut self, timestamp_type: TimestampType, max_timestamp: i64) {
        let before = *self;
        self.attributes = match timestamp_type {
            TimestampType::CreateTime => self.attributes & !attribute::LOG_APPEND_TIME,
            TimestampType::LogAppendTime => self.attributes | attribute::LOG_APPEND_TIME,
        };
        self.max_timestamp = max_timestamp;
        if *self != before {
            self.crc = crc32c_with_prefix_replaced(
                before.crc,
                &before.encode()[CHECKSUMMED_FROM..],
                &self.encode()[CHECKSUMMED_FROM..],
                self.records_bytes() as u64,
            );
        }
    }

    /// Computes and sets the checksum for these records.
    pub(super) fn set_crc(&mut self, records: &[u8]) {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        digest.update(&self.encode()[CHECKSUMMED_FROM..]);
        digest.update(records);
        self.crc = digest.finalize() as u32;
    }
}

/// The checksum of a whole batch's bytes.
pub(super) fn batch_crc(batch: &[u8]) -> u32 {
    crc32c(&batch[CHECKSUMMED_FROM..])
}

/// The sequence number `increment` records after `sequence`; sequences go from 0 to 2^31 - 1 and start again.
///
/// # Panics
/// If either is negative.
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    assert!(
        sequence >= 0 && increment >= 0,
        "sequences are not negative"
    );
    (sequence as u32).wrapping_add(increment as u32) as i32 & i32::MAX
}

/// Reads big-endian fields one after the other; the caller knows that they are there.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .expect("the fields fill the header");
        self.0 = rest;
        *head
    }

    fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.take())
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
}
