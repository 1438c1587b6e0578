//! What can be wrong with a batch.

use super::Compression;
use thiserror::Error;
use types::ErrorCode;

/// Why bytes are not a batch, or its records cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum BatchError {
    /// The buffer ends inside the batch. At the end of a fetch or of a file that is being written this is no corruption.
    #[error("the batch needs {needed_bytes} bytes and {available_bytes} are there")]
    Incomplete {
        /// Bytes from the start of the batch that are known to be needed, at least 12.
        needed_bytes: u64,
        /// Bytes that are there.
        available_bytes: u64,
    },
    /// The length field cannot be that of a batch.
    #[error("a batch cannot have the length {0}")]
    LengthOutOfRange(i32),
    /// The batch has another format than 2.
    #[error("record format {0} is not supported, only 2 is")]
    UnsupportedMagic(i8),
    /// The stored checksum is not that of the bytes.
    #[error("the checksum is {computed:#010x} and the batch says {stored:#010x}")]
    ChecksumMismatch {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// Offsets, delta or count of the header contradict each other or are negative.
    #[error(
        "base offset {base_offset}, last offset delta {last_offset_delta} and record count {record_count} cannot be those of a batch"
    )]
    OffsetsOutOfRange {
        /// The header's base offset.
        base_offset: i64,
        /// The header's last offset delta.
        last_offset_delta: i32,
        /// The header's record count.
        record_count: i32,
    },
    /// The compression code of the attributes is none that exists.
    #[error("there is no compression with code {0}")]
    UnknownCompression(u8),
    /// The records do not decompress.
    #[error("the records are not valid {}: {detail}", compression.name())]
    Decompression {
        /// The codec in use.
        compression: Compression,
        /// What the codec said.
        detail: String,
    },
    /// The records decompress to more than the caller allows.
    #[error("the records decompress to more than {limit_bytes} bytes")]
    DecompressedTooLarge {
        /// The caller's limit.
        limit_bytes: u64,
    },
    /// A record is malformed.
    #[error("record {index}: {fault}")]
    Record {
        /// Index of the record in its batch, from 0.
        index: u32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// Bytes are left after the last record.
    #[error("bytes are left after the {record_count} records that the batch says it has")]
    BytesAfterRecords {
        /// Records that the header counts.
        record_count: i32,
    },
}

/// What is wrong with the bytes of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RecordFault {
    /// The bytes end inside the record.
    #[error("the bytes end inside it")]
    Truncated,
    /// A variable-length number has no end.
    #[error("a number in it has no end")]
    NumberTooLong,
    /// The length is negative or more than the batch holds.
    #[error("its length {0} is out of range")]
    LengthOutOfRange(i32),
    /// Key, value or headers do not fill the length exactly.
    #[error("its parts do not add up to its length of {0} bytes")]
    LengthMismatch(i32),
    /// The count of headers is negative or more than fit into the record.
    #[error("its header count {0} is out of range")]
    HeaderCountOutOfRange(i32),
    /// A header has no key.
    #[error("a header has the key length {0}")]
    HeaderKeyLengthOutOfRange(i32),
}

impl BatchError {
    /// Kafka's code for a reader that came across this batch.
    ///
    /// Producing has its own mapping, see [`super::validate::ProduceRecordsError`].
    pub fn error_code(&self) -> ErrorCode {
        match self {
            BatchError::Incomplete { .. }
            | BatchError::LengthOutOfRange(_)
            | BatchError::ChecksumMismatch { .. }
            | BatchError::OffsetsOutOfRange { .. } => ErrorCode::CorruptMessage,
            BatchError::UnsupportedMagic(_) => ErrorCode::UnsupportedForMessageFormat,
            BatchError::UnknownCompression(_) => ErrorCode::UnsupportedCompressionType,
            BatchError::DecompressedTooLarge { .. } => ErrorCode::MessageTooLarge,
            BatchError::Decompression { .. }
            | BatchError::Record { .. }
            | BatchError::BytesAfterRecords { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// Whether more bytes could make this batch whole.
    pub fn is_incomplete(&self) -> bool {
        matches!(self, BatchError::Incomplete { .. })
    }
}
