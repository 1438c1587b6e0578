//! Makes batches.

use super::compression::Compressor;
use super::varint::{varint_size, varlong_size, write_varint, write_varlong};
use super::{
    BATCH_HEADER_BYTES, Batch, BatchHeader, Compression, CompressionSpec, ControlRecordType,
    Header, LOG_OVERHEAD_BYTES, MAGIC, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, Record, TimestampType, attribute,
};
use bytes::Bytes;
use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Collects records and makes a batch of them.
///
/// Records get consecutive offsets from the base offset on, unless [`Self::append_at`] says otherwise.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    compression: CompressionSpec,
    /// The encoded records, behind room for the header.
    buffer: Vec<u8>,
    delete_horizon: Option<i64>,
    log_append_time: Option<i64>,
    last_offset: Option<Offset>,
}

impl BatchBuilder {
    /// A builder for an uncompressed batch that belongs to no producer.
    ///
    /// # Panics
    /// If `base_offset` is negative.
    pub fn new(base_offset: Offset) -> BatchBuilder {
        assert!(base_offset >= 0, "offsets are not negative");
        let header = BatchHeader {
            base_offset,
            batch_length: 0,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            magic: MAGIC,
            crc: 0,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            record_count: 0,
        };
        BatchBuilder {
            header,
            compression: CompressionSpec::default(),
            buffer: vec![0; BATCH_HEADER_BYTES],
            delete_horizon: None,
            log_append_time: None,
            last_offset: None,
        }
    }

    /// Sets how the records are compressed.
    pub fn compression(mut self, compression: impl Into<CompressionSpec>) -> BatchBuilder {
        self.compression = compression.into();
        self
    }

    /// Sets the epoch of the leader that appends the batch.
    pub fn leader_epoch(mut self, leader_epoch: LeaderEpoch) -> BatchBuilder {
        self.header.partition_leader_epoch = leader_epoch;
        self
    }

    /// Sets the idempotent producer and the sequence of its first record.
    pub fn producer(
        mut self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: i32,
    ) -> BatchBuilder {
        self.header.producer_id = producer_id;
        self.header.producer_epoch = producer_epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.header.attributes |= attribute::TRANSACTIONAL;
        self
    }

    /// Marks the batch as one of control records.
    pub fn control(mut self) -> BatchBuilder {
        self.header.attributes |= attribute::CONTROL;
        self
    }

    /// Stamps the whole batch with the time of appending, in milliseconds.
    pub fn log_append_time(mut self, millis: i64) -> BatchBuilder {
        self.log_append_time = Some(millis);
        self
    }

    /// Sets when tombstones and markers of this batch may go, in milliseconds (KIP-534). Before the first record.
    ///
    /// # Panics
    /// If there are records already.
    pub fn delete_horizon(mut self, millis: i64) -> BatchBuilder {
        assert_eq!(
            self.header.record_count, 0,
            "records count their time from the delete horizon"
        );
        self.delete_horizon = Some(millis);
        self
    }

    /// Sets a largest timestamp in milliseconds that is above those of the records, if the records that had it are gone.
    pub fn max_timestamp(mut self, millis: i64) -> BatchBuilder {
        self.header.max_timestamp = self.header.max_timestamp.max(millis);
        self
    }

    /// Sets the last offset that the batch covers, if compaction removed the records up to it.
    pub fn last_offset(mut self, last_offset: Offset) -> BatchBuilder {
        self.last_offset = Some(last_offset);
        self
    }

    /// The offset that [`Self::append`] will give.
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// Records so far.
    pub fn record_count(&self) -> usize {
        self.header.record_count as usize
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Appends a record at the next offset and gives that offset.
    ///
    /// # Panics
    /// If the batch would exceed 2^31 - 1 bytes, records or offsets.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Offset {
        let offset = self.next_offset();
        self.append_at(offset, timestamp, key, value, headers);
        offset
    }

    /// Appends a record at an offset of its own, above all before it.
    ///
    /// # Panics
    /// If the offset is not above the one before, or as [`Self::append`].
    pub fn append_at(
        &mut self,
        offset: Offset,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        assert!(offset >= self.next_offset(), "offsets in a batch only rise");
        let offset_delta = i32::try_from(offset - self.header.base_offset)
            .expect("a batch covers at most 2^31 offsets");
        if self.is_empty() {
            self.header.base_timestamp = self.delete_horizon.unwrap_or(timestamp);
        }
        let timestamp_delta = timestamp.wrapping_sub(self.header.base_timestamp);
        encode_record(
            &mut self.buffer,
            offset_delta,
            timestamp_delta,
            key,
            value,
            headers,
        );
        self.header.last_offset_delta = offset_delta;
        self.header.record_count += 1;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
    }

    /// Appends `record` at its own offset.
    ///
    /// # Panics
    /// As [`Self::append_at`].
    pub fn append_record(&mut self, record: &Record) {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        self.append_at(record.offset, record.timestamp, key, value, &record.headers);
    }

    /// Appends a control record.
    ///
    /// # Panics
    /// If the batch was not marked by [`Self::control`], or as [`Self::append`].
    pub fn append_control(
        &mut self,
        timestamp: i64,
        kind: ControlRecordType,
        value: &[u8],
    ) -> Offset {
        assert!(
            self.header.is_control(),
            "control records have batches of their own"
        );
        self.append(timestamp, Some(&kind.key()), Some(value), &[])
    }

    /// The batch. Without records it is an empty one, as compaction leaves to keep a producer's last sequence; its
    /// last offset must have been set.
    ///
    /// # Panics
    /// If it covers no offset, or as [`Self::append`].
    pub fn build(mut self) -> Batch {
        if let Some(last_offset) = self.last_offset {
            assert!(
                last_offset + 1 >= self.next_offset(),
                "the last offset is that of a record"
            );
            self.header.last_offset_delta = i32::try_from(last_offset - self.header.base_offset)
                .expect("a batch covers at most 2^31 offsets");
        }
        assert!(
            self.header.last_offset_delta >= 0,
            "a batch covers at least one offset"
        );
        if let Some(horizon) = self.delete_horizon {
            self.header.base_timestamp = horizon;
            self.header.attributes |= attribute::DELETE_HORIZON;
        }
        if let Some(time) = self.log_append_time {
            self.header.attributes |= attribute::LOG_APPEND_TIME;
            self.header.max_timestamp = time;
        }
        let compression = self.compression.compression();
        if compression == Compression::None || self.is_empty() {
            return finish(self.header, self.buffer);
        }
        let mut compressor = Compressor::open(self.compression, vec![0; BATCH_HEADER_BYTES]);
        compressor.write(&self.buffer[BATCH_HEADER_BYTES..]);
        self.header.attributes |= i16::from(compression.code());
        finish(self.header, compressor.finish())
    }
}

/// Makes a batch of a header and a buffer that holds its records behind room for the header.
///
/// # Panics
/// If the buffer is longer than 2^31 - 1 bytes.
pub(super) fn finish(mut header: BatchHeader, mut buffer: Vec<u8>) -> Batch {
    header.batch_length = i32::try_from(buffer.len() - LOG_OVERHEAD_BYTES)
        .expect("a batch is at most 2^31 - 1 bytes long");
    header.set_crc(&buffer[BATCH_HEADER_BYTES..]);
    buffer[..BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
    Batch::from_parts(header, Bytes::from(buffer))
}

/// Appends one record.
pub(super) fn encode_record(
    out: &mut Vec<u8>,
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) {
    let headers_size: usize = headers
        .iter()
        .map(|header| blob_size(Some(&header.key)) + blob_size(header.value.as_deref()))
        .sum();
    let header_count = length(headers.len());
    let size = 1
        + varlong_size(timestamp_delta)
        + varint_size(offset_delta)
        + blob_size(key)
        + blob_size(value)
        + varint_size(header_count)
        + headers_size;
    out.reserve(size + varint_size(length(size)));
    write_varint(out, length(size));
    out.push(0);
    write_varlong(out, timestamp_delta);
    write_varint(out, offset_delta);
    write_blob(out, key);
    write_blob(out, value);
    write_varint(out, header_count);
    for header in headers {
        write_blob(out, Some(&header.key));
        write_blob(out, header.value.as_deref());
    }
}

fn length(length: usize) -> i32 {
    i32::try_from(length).expect("a record is at most 2^31 - 1 bytes long")
}

fn blob_size(blob: Option<&[u8]>) -> usize {
    blob.map_or(varint_size(-1), |blob| {
        varint_size(length(blob.len())) + blob.len()
    })
}

fn write_blob(out: &mut Vec<u8>, blob: Option<&[u8]>) {
    match blob {
        None => write_varint(out, -1),
        Some(blob) => {
            write_varint(out, length(blob.len()));
            out.extend_from_slice(blob);
        }
    }
}

impl TimestampType {
    /// The value of the topic config `message.timestamp.type`.
    pub const fn name(self) -> &'static str {
        match self {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        }
    }
}
