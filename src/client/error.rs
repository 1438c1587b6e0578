//! What can go wrong between a client and a cluster.

use std::io;

use protocol::records::BatchError;
use protocol::{ApiKey, DecodeError, EncodeError};
use types::ErrorCode;

/// Why an operation of the client failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// No connection could be made.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Host and port.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The connection ended before the answer came: whether the request was carried out is unknown.
    #[error("disconnected: {0}")]
    Disconnected(String),
    /// The time given passed first: whether a request in flight was carried out is unknown.
    #[error("timed out after {0} ms")]
    TimedOut(u64),
    /// The broker announced a frame longer than this client takes, or a negative length.
    #[error("the broker announced a frame of {length_bytes} bytes, the limit is {limit_bytes}")]
    Frame {
        /// The announced length.
        length_bytes: i32,
        /// The client's limit.
        limit_bytes: usize,
    },
    /// The answer is no such message.
    #[error("cannot read the answer: {0}")]
    Decode(#[from] DecodeError),
    /// The request cannot be said at the version that both sides know.
    #[error("cannot say this to this broker: {0}")]
    Encode(#[from] EncodeError),
    /// Fetched bytes are no sound record batches.
    #[error("cannot read fetched records: {0}")]
    Records(#[from] BatchError),
    /// The broker serves no version of this API that we know.
    #[error("the broker does not serve {}", .0.name())]
    Unsupported(ApiKey),
    /// The broker answered with an error.
    #[error("{code}{}", .message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Broker {
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's own words, if it gave any.
        message: Option<String>,
    },
    /// The broker answered with an error code that we do not know.
    #[error("unknown error code {0}")]
    UnknownCode(i16),
    /// The answer lacks something that was asked for.
    #[error("the answer lacks {0}")]
    Incomplete(&'static str),
    /// The caller asked for something that cannot be.
    #[error("{0}")]
    Invalid(&'static str),
    /// The topic was deleted, and another one has its name now.
    #[error("topic {0} was deleted and made again")]
    Replaced(String),
    /// The producer, consumer or client was closed.
    #[error("closed")]
    Closed,
}

/// Why a record was not delivered, and what is known of its fate.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct DeliveryError {
    /// What the last attempt ended with.
    pub error: Error,
    /// How many requests that hold the record left, or may have left, this process; with 0 it was certainly not appended.
    pub attempts: u32,
    /// Whether one of them ended without the broker's word that nothing was appended.
    pub is_uncertain: bool,
}

impl DeliveryError {
    /// The broker's code, if the last attempt ended with one.
    pub fn code(&self) -> Option<ErrorCode> {
        self.error.code()
    }
}

impl From<DeliveryError> for Error {
    fn from(failed: DeliveryError) -> Error {
        failed.error
    }
}

impl Error {
    /// The error of a broker's error code; `Ok` if it is none.
    ///
    /// # Errors
    /// [`Error::Broker`] or [`Error::UnknownCode`].
    pub fn check(code: i16) -> Result<(), Error> {
        Error::check_with(code, None)
    }

    /// As [`Error::check`], with the broker's own words.
    ///
    /// # Errors
    /// [`Error::Broker`] or [`Error::UnknownCode`].
    pub fn check_with(code: i16, message: Option<String>) -> Result<(), Error> {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => Ok(()),
            Some(code) => Err(Error::Broker { code, message }),
            None => Err(Error::UnknownCode(code)),
        }
    }

    /// The broker's code, if the broker answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether trying again may help. A request that must not be carried out twice needs more than that.
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Disconnected(_) | Error::TimedOut(_) => true,
            Error::Broker { code, .. } => code.is_retriable(),
            _ => false,
        }
    }

    /// Whether the cluster's metadata may have changed since it was fetched.
    pub(crate) fn is_stale_metadata(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Disconnected(_) | Error::TimedOut(_) => true,
            Error::Broker { code, .. } => matches!(
                code,
                ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::LeaderNotAvailable
                    | ErrorCode::NotLeaderOrFollower
                    | ErrorCode::ReplicaNotAvailable
                    | ErrorCode::FencedLeaderEpoch
                    | ErrorCode::UnknownLeaderEpoch
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::InconsistentTopicId
                    | ErrorCode::KafkaStorageError
                    | ErrorCode::ListenerNotFound
            ),
            _ => false,
        }
    }

    /// Whether the group's or transaction's coordinator may be another one than we think.
    pub(crate) fn is_lost_coordinator(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Disconnected(_) | Error::TimedOut(_) => true,
            Error::Broker { code, .. } => matches!(
                code,
                ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable
            ),
            _ => false,
        }
    }

    pub(crate) fn disconnected(error: &io::Error) -> Error {
        Error::Disconnected(error.to_string())
    }
}
