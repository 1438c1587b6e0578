//! Operating errors, each with a total mapping to Kafka's codes.

use thiserror::Error;
use types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Why a sequence number or producer epoch was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SequenceError {
    /// The sequence does not follow the last one of this producer and epoch.
    #[error(
        "sequence {base_sequence} of producer {producer_id} epoch {producer_epoch} does not follow {last_sequence}"
    )]
    OutOfOrder {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        producer_epoch: ProducerEpoch,
        /// The batch's first sequence.
        base_sequence: i32,
        /// The last sequence seen, -1 if none in this epoch.
        last_sequence: i32,
    },
    /// The producer's epoch is older than one seen before.
    #[error("epoch {producer_epoch} of producer {producer_id} is older than {current_epoch}")]
    StaleEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        producer_epoch: ProducerEpoch,
        /// The newest epoch seen.
        current_epoch: ProducerEpoch,
    },
    /// A plain batch of a producer whose transaction is open.
    #[error("producer {producer_id} has a transaction open since offset {first_offset}")]
    TransactionOpen {
        /// The producer.
        producer_id: ProducerId,
        /// First offset of the open transaction.
        first_offset: Offset,
    },
}

impl SequenceError {
    /// Kafka's code.
    pub fn code(&self) -> ErrorCode {
        match self {
            SequenceError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
            SequenceError::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            SequenceError::TransactionOpen { .. } => ErrorCode::InvalidTxnState,
        }
    }
}

/// Why a request's leader epoch, or this replica's role, does not allow what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LeaderEpochError {
    /// This replica does not lead the partition.
    #[error("this replica does not lead the partition")]
    NotLeader,
    /// The log's directory was closed after a failure.
    #[error("the log was closed after a storage failure")]
    StorageFailed,
    /// The request knows an older leader epoch.
    #[error("the request's leader epoch {requested} is older than {current}")]
    Fenced {
        /// The request's.
        requested: LeaderEpoch,
        /// This replica's.
        current: LeaderEpoch,
    },
    /// The request knows a newer leader epoch than this replica.
    #[error("the request's leader epoch {requested} is newer than {current}")]
    Unknown {
        /// The request's.
        requested: LeaderEpoch,
        /// This replica's.
        current: LeaderEpoch,
    },
}

impl LeaderEpochError {
    /// Kafka's code.
    pub fn code(&self) -> ErrorCode {
        match self {
            LeaderEpochError::NotLeader => ErrorCode::NotLeaderOrFollower,
            LeaderEpochError::StorageFailed => ErrorCode::KafkaStorageError,
            LeaderEpochError::Fenced { .. } => ErrorCode::FencedLeaderEpoch,
            LeaderEpochError::Unknown { .. } => ErrorCode::UnknownLeaderEpoch,
        }
    }
}

/// Why a batch was not acknowledged. Only errors for which [`ProduceError::is_definite`] say that it was not appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ProduceError {
    /// Refused before the append: role or leader epoch.
    #[error(transparent)]
    Leader(#[from] LeaderEpochError),
    /// Refused before the append: fewer in-sync replicas than `min.insync.replicas`, and acks=all was asked.
    #[error("{in_sync} in-sync replicas, {required} required")]
    NotEnoughReplicas {
        /// Members of the ISR.
        in_sync: u32,
        /// Members needed.
        required: u32,
    },
    /// Refused before the append: idempotence.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// Refused before the append: a client's transactional or control batch, which only the transaction machinery may append.
    #[error("transactional and control batches are not accepted here")]
    TransactionalBatch,
    /// The append failed and was cut back.
    #[error("the append failed: {0}")]
    Append(AppendError),
    /// Leadership was lost after the append; whether it survives is not known.
    #[error("leadership was lost after the append")]
    LeadershipLost,
    /// The log failed after the append; whether it survives is not known.
    #[error("the log failed after the append")]
    LogFailed,
    /// The deadline passed after the append; it may still be acknowledged to a retry.
    #[error("the deadline passed before the append was held by all in-sync replicas")]
    TimedOut,
}

impl ProduceError {
    /// Kafka's code.
    pub fn code(&self) -> ErrorCode {
        match self {
            ProduceError::Leader(error) => error.code(),
            ProduceError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
            ProduceError::Sequence(error) => error.code(),
            ProduceError::TransactionalBatch => ErrorCode::InvalidTxnState,
            ProduceError::Append(error) => error.code(),
            ProduceError::LeadershipLost => ErrorCode::NotLeaderOrFollower,
            ProduceError::LogFailed => ErrorCode::KafkaStorageError,
            ProduceError::TimedOut => ErrorCode::RequestTimedOut,
        }
    }

    /// Whether the batch is certainly not in the log.
    pub fn is_definite(&self) -> bool {
        match self {
            ProduceError::Leader(_)
            | ProduceError::NotEnoughReplicas { .. }
            | ProduceError::Sequence(_)
            | ProduceError::TransactionalBatch
            | ProduceError::Append(AppendError::NoSpace) => true,
            ProduceError::Append(AppendError::Failed)
            | ProduceError::LeadershipLost
            | ProduceError::LogFailed
            | ProduceError::TimedOut => false,
        }
    }
}

/// Why an append is not in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum AppendError {
    /// No space: the log was cut back to its last whole batch and stays open.
    #[error("no space left")]
    NoSpace,
    /// Any other failure: the log is closed.
    #[error("write failed")]
    Failed,
}

impl AppendError {
    /// Kafka's code.
    pub fn code(&self) -> ErrorCode {
        match self {
            AppendError::NoSpace | AppendError::Failed => ErrorCode::KafkaStorageError,
        }
    }
}

/// Why records were not deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DeleteRecordsError {
    /// Role.
    #[error(transparent)]
    Leader(#[from] LeaderEpochError),
    /// The offset is above the high watermark, or negative and not -1.
    #[error("offset {offset} is not within 0 and the high watermark {high_watermark}")]
    OutOfRange {
        /// What was asked.
        offset: Offset,
        /// The high watermark.
        high_watermark: Offset,
    },
    /// The deadline passed; the records may be deleted later.
    #[error("the deadline passed before the log start had moved")]
    TimedOut,
}

impl DeleteRecordsError {
    /// Kafka's code.
    pub fn code(&self) -> ErrorCode {
        match self {
            DeleteRecordsError::Leader(error) => error.code(),
            DeleteRecordsError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            DeleteRecordsError::TimedOut => ErrorCode::RequestTimedOut,
        }
    }
}

/// Why an offset can not be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum OffsetError {
    /// Role or leader epoch.
    #[error(transparent)]
    Leader(#[from] LeaderEpochError),
    /// A new leader does not know yet what is committed: the high watermark is below the start of its epoch (KIP-207).
    #[error("the high watermark {high_watermark} has not reached the epoch's start {epoch_start}")]
    NotAvailable {
        /// The high watermark.
        high_watermark: Offset,
        /// Where the leader's epoch starts.
        epoch_start: Offset,
    },
}

impl OffsetError {
    /// Kafka's code.
    pub fn code(&self) -> ErrorCode {
        match self {
            OffsetError::Leader(error) => error.code(),
            OffsetError::NotAvailable { .. } => ErrorCode::OffsetNotAvailable,
        }
    }
}

/// Why a batch of the log does not fit the producer state: the log contradicts itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ReplayError {
    /// A plain batch of a producer whose transaction is open.
    #[error(
        "offset {offset}: a plain batch of producer {producer_id} inside its transaction open since {first_offset}"
    )]
    PlainBatchInTransaction {
        /// Of the batch.
        offset: Offset,
        /// The producer.
        producer_id: ProducerId,
        /// First offset of the open transaction.
        first_offset: Offset,
    },
    /// A control batch with records, but no marker was given.
    #[error("offset {offset}: a transaction marker is unreadable")]
    MarkerMissing {
        /// Of the batch.
        offset: Offset,
    },
}

/// Why a producer snapshot cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SnapshotError {
    /// It ends early or has bytes left over.
    #[error("the producer snapshot's {bytes} bytes do not hold what they announce")]
    Length {
        /// Its size in bytes.
        bytes: usize,
    },
    /// A version this code does not know.
    #[error("producer snapshot version {0} is not known")]
    Version(i16),
    /// The checksum does not match.
    #[error("the producer snapshot's CRC is {computed:#010x}, it says {stored:#010x}")]
    Crc {
        /// In the file.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// An entry's fields contradict each other.
    #[error("producer {0} has an impossible entry")]
    Entry(ProducerId),
}
