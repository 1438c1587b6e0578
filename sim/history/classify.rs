//! What an error says about what happened.
//!
//! Soundness lies here: an operation may be called failed only when no attempt of it can have had, or can still get, its effect.
//! Every error that is not known to be definite is unknown.

use super::{Body, Stage};
use types::ErrorCode;

/// Why a client gave up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The broker answered with this code.
    Broker(ErrorCode),
    /// The broker answered with a number that is no code of Kafka's.
    UnknownCode(i16),
    /// The connection ended after the request was, or may have been, written.
    Disconnected,
    /// The client's time ran out while a request was, or may have been, under way.
    TimedOut,
    /// The answer could not be read.
    Unreadable,
    /// No byte of any attempt was ever written to a connection.
    NeverSent,
}

/// Which attempt an error belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempts {
    /// The first and only one.
    One,
    /// An earlier attempt was made, and its end is unknown or was an error.
    Several,
}

/// How an operation of this kind ends with this failure.
///
/// A send that ends as [`Stage::Ok`] here was a duplicate: it lies in the log, at an unknown offset.
pub fn classify(body: &Body, failure: Failure, attempts: Attempts) -> Stage {
    if is_read(body) {
        return Stage::Fail;
    }
    let code = match failure {
        Failure::NeverSent if attempts == Attempts::One => return Stage::Fail,
        Failure::Broker(code) => code,
        _ => return Stage::Info,
    };
    let is_send = matches!(body, Body::Send { .. });
    if is_send && code == ErrorCode::DuplicateSequenceNumber {
        return Stage::Ok;
    }
    let is_definite = match body {
        Body::Send { .. } => is_definite_for_send(code),
        Body::CommitOffsets { .. } => is_definite_for_commit(code),
        _ => is_definite_for_admin(code),
    };
    if is_definite && attempts == Attempts::One {
        Stage::Fail
    } else {
        Stage::Info
    }
}

/// Operations without an effect on the cluster: whatever went wrong, nothing was changed.
fn is_read(body: &Body) -> bool {
    matches!(
        body,
        Body::Poll { .. }
            | Body::FetchOffsets { .. }
            | Body::ListOffsets { .. }
            | Body::Assign { .. }
            | Body::Subscribe { .. }
    )
}

fn is_definite_for_send(code: ErrorCode) -> bool {
    use ErrorCode::*;
    matches!(
        code,
        NotEnoughReplicas
            | InvalidTopicException
            | InvalidRequiredAcks
            | InvalidTimestamp
            | InvalidRequest
            | InvalidRecord
            | InvalidTxnState
            | InvalidProducerIdMapping
            | MessageTooLarge
            | RecordListTooLarge
            | TopicAuthorizationFailed
            | ClusterAuthorizationFailed
            | TransactionalIdAuthorizationFailed
            | OutOfOrderSequenceNumber
            | InvalidProducerEpoch
            | ProducerFenced
    )
}

/// A commit of an old generation or epoch, or of nobody the group knows, has no effect.
fn is_definite_for_commit(code: ErrorCode) -> bool {
    use ErrorCode::*;
    matches!(
        code,
        IllegalGeneration
            | UnknownMemberId
            | RebalanceInProgress
            | FencedInstanceId
            | FencedMemberEpoch
            | StaleMemberEpoch
            | InvalidGroupId
            | InvalidRequest
            | InvalidCommitOffsetSize
            | OffsetMetadataTooLarge
            | GroupIdNotFound
            | TopicAuthorizationFailed
            | GroupAuthorizationFailed
    )
}

fn is_definite_for_admin(code: ErrorCode) -> bool {
    use ErrorCode::*;
    matches!(
        code,
        InvalidTopicException
            | TopicAlreadyExists
            | InvalidPartitions
            | InvalidReplicationFactor
            | InvalidReplicaAssignment
            | InvalidConfig
            | InvalidRequest
            | PolicyViolation
            | OffsetOutOfRange
            | TopicAuthorizationFailed
            | ClusterAuthorizationFailed
            | GroupAuthorizationFailed
            | TopicDeletionDisabled
            | NonEmptyGroup
            | GroupIdNotFound
            | InvalidGroupId
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Isolation, Sending};
    use types::Uuid;

    #[test]
    fn only_what_is_certain_is_called_failed() {
        use Attempts::{One, Several};
        use ErrorCode::*;
        use Failure::*;
        let send = || Body::Send {
            sending: Sending::SAFE,
            sends: vec![],
        };
        let commit = || Body::CommitOffsets {
            group: "g".into(),
            generation: 1,
            offsets: vec![],
            given_up: 0,
        };
        let poll = || Body::Poll {
            isolation: Isolation::ReadCommitted,
            reads: vec![],
            resets: vec![],
        };
        let delete = || Body::DeleteTopic { topic: Uuid::ZERO };
        let table = [
            (send(), Broker(NotEnoughReplicas), One, Stage::Fail),
            (send(), Broker(NotEnoughReplicas), Several, Stage::Info),
            (send(), Broker(OutOfOrderSequenceNumber), One, Stage::Fail),
            (
                send(),
                Broker(OutOfOrderSequenceNumber),
                Several,
                Stage::Info,
            ),
            (send(), Broker(DuplicateSequenceNumber), Several, Stage::Ok),
            (send(), Broker(MessageTooLarge), One, Stage::Fail),
            (send(), Broker(InvalidProducerEpoch), One, Stage::Fail),
            (send(), Broker(ProducerFenced), One, Stage::Fail),
            (send(), Broker(NotLeaderOrFollower), One, Stage::Info),
            (
                send(),
                Broker(NotEnoughReplicasAfterAppend),
                One,
                Stage::Info,
            ),
            (send(), Broker(KafkaStorageError), One, Stage::Info),
            (send(), Broker(UnknownServerError), One, Stage::Info),
            (send(), Broker(UnknownTopicOrPartition), One, Stage::Info),
            (send(), Broker(UnknownTopicId), One, Stage::Info),
            (send(), Broker(InconsistentTopicId), One, Stage::Info),
            (send(), Broker(RequestTimedOut), One, Stage::Info),
            (send(), UnknownCode(999), One, Stage::Info),
            (send(), TimedOut, One, Stage::Info),
            (send(), Disconnected, One, Stage::Info),
            (send(), Unreadable, One, Stage::Info),
            (send(), NeverSent, One, Stage::Fail),
            (send(), NeverSent, Several, Stage::Info),
            (commit(), Broker(IllegalGeneration), One, Stage::Fail),
            (commit(), Broker(IllegalGeneration), Several, Stage::Info),
            (commit(), Broker(NotCoordinator), One, Stage::Info),
            (commit(), TimedOut, One, Stage::Info),
            (poll(), TimedOut, Several, Stage::Fail),
            (delete(), Broker(UnknownTopicId), One, Stage::Info),
            (delete(), Broker(TopicDeletionDisabled), One, Stage::Fail),
        ];
        for (body, failure, attempts, expected) in table {
            let stage = classify(&body, failure, attempts);
            assert_eq!(stage, expected, "{} {failure:?} {attempts:?}", body.name());
        }
    }
}
