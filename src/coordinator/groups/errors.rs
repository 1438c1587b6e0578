//! Why an operation is refused: one enum per operation, each with a total mapping to Kafka's codes.

use types::ErrorCode;

/// Why the whole coordinator cannot serve a request, whatever the request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unavailable {
    /// Another broker leads the partition, or leadership was lost while the request was parked.
    NotCoordinator,
    /// The partition is still being replayed.
    Loading,
    /// The records could not be committed in time or to enough replicas; they may still become committed.
    NotAvailable,
    /// The records were refused for good, for instance because the batch is too large.
    Unknown,
}

impl Unavailable {
    /// Kafka's code.
    pub const fn code(self) -> ErrorCode {
        match self {
            Unavailable::NotCoordinator => ErrorCode::NotCoordinator,
            Unavailable::Loading => ErrorCode::CoordinatorLoadInProgress,
            Unavailable::NotAvailable => ErrorCode::CoordinatorNotAvailable,
            Unavailable::Unknown => ErrorCode::UnknownServerError,
        }
    }
}

/// Why an append did not happen or was not committed in time, as the driver reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// The partition's in-sync set is too small.
    NotEnoughReplicas,
    /// The batch was not committed in time.
    TimedOut,
    /// This broker does not lead the partition any more.
    NotLeader,
    /// The log directory failed before anything was written.
    Storage,
    /// The batch is larger than the topic allows.
    TooLarge,
}

impl AppendError {
    /// What a client that waited for this append is told.
    pub const fn unavailable(self) -> Unavailable {
        match self {
            AppendError::NotEnoughReplicas | AppendError::TimedOut => Unavailable::NotAvailable,
            AppendError::NotLeader | AppendError::Storage => Unavailable::NotCoordinator,
            AppendError::TooLarge => Unavailable::Unknown,
        }
    }
}

macro_rules! operation_errors {
    ($(
        $(#[$outer:meta])*
        $name:ident { $($(#[$inner:meta])* $variant:ident => $code:ident,)* }
    )*) => {
        $(
            $(#[$outer])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug)]
            pub enum $name {
                /// The coordinator cannot serve the request now.
                Unavailable(Unavailable),
                $($(#[$inner])* $variant,)*
            }

            impl $name {
                /// Kafka's code.
                pub const fn code(self) -> ErrorCode {
                    match self {
                        $name::Unavailable(unavailable) => unavailable.code(),
                        $($name::$variant => ErrorCode::$code,)*
                    }
                }
            }

            impl From<Unavailable> for $name {
                fn from(unavailable: Unavailable) -> $name {
                    $name::Unavailable(unavailable)
                }
            }
        )*
    };
}

operation_errors! {
    /// Why a JoinGroup is refused.
    JoinGroupError {
        /// The group id is empty.
        InvalidGroupId => InvalidGroupId,
        /// A string of the request cannot be stored: longer than 32,767 bytes.
        InvalidRequest => InvalidRequest,
        /// The session timeout lies outside the configured range.
        InvalidSessionTimeout => InvalidSessionTimeout,
        /// The member must join again with the id that comes with this error (KIP-394).
        MemberIdRequired => MemberIdRequired,
        /// The group has as many members as it may have (KIP-389).
        GroupMaxSizeReached => GroupMaxSizeReached,
        /// No protocol of the member is supported by every other member, or its protocol type is another.
        InconsistentGroupProtocol => InconsistentGroupProtocol,
        /// The group does not know this member.
        UnknownMemberId => UnknownMemberId,
        /// A newer member has taken over this instance id (KIP-345).
        FencedInstanceId => FencedInstanceId,
        /// The same member sent another JoinGroup, which replaces this one.
        RebalanceInProgress => RebalanceInProgress,
    }

    /// Why a SyncGroup is refused.
    SyncGroupError {
        /// The group id is empty.
        InvalidGroupId => InvalidGroupId,
        /// The group does not know this member.
        UnknownMemberId => UnknownMemberId,
        /// A newer member has taken over this instance id (KIP-345).
        FencedInstanceId => FencedInstanceId,
        /// The group is at another generation.
        IllegalGeneration => IllegalGeneration,
        /// Protocol type or name differ from the group's (KIP-559).
        InconsistentGroupProtocol => InconsistentGroupProtocol,
        /// A new rebalance has begun; the member must join again.
        RebalanceInProgress => RebalanceInProgress,
    }

    /// Why a Heartbeat is refused.
    HeartbeatError {
        /// The group id is empty.
        InvalidGroupId => InvalidGroupId,
        /// The group does not know this member.
        UnknownMemberId => UnknownMemberId,
        /// A newer member has taken over this instance id (KIP-345).
        FencedInstanceId => FencedInstanceId,
        /// The group is at another generation.
        IllegalGeneration => IllegalGeneration,
        /// A rebalance has begun; the member must join again.
        RebalanceInProgress => RebalanceInProgress,
    }

    /// Why a LeaveGroup is refused as a whole.
    LeaveGroupError {
        /// The group id is empty.
        InvalidGroupId => InvalidGroupId,
    }

    /// Why one member of a LeaveGroup is not removed.
    LeaveMemberError {
        /// The group does not know this member.
        UnknownMemberId => UnknownMemberId,
        /// The instance id belongs to a newer member (KIP-345).
        FencedInstanceId => FencedInstanceId,
    }

    /// Why an OffsetCommit is refused as a whole.
    OffsetCommitError {
        /// The group id is empty.
        InvalidGroupId => InvalidGroupId,
        /// A string of the request cannot be stored: longer than 32,767 bytes.
        InvalidRequest => InvalidRequest,
        /// The group does not exist and the commit carries a generation (version 9 and later).
        GroupIdNotFound => GroupIdNotFound,
        /// The group is at another generation, or does not exist (before version 9).
        IllegalGeneration => IllegalGeneration,
        /// The group does not know this member, or the commit names none though the group has members.
        UnknownMemberId => UnknownMemberId,
        /// A newer member has taken over this instance id (KIP-345).
        FencedInstanceId => FencedInstanceId,
        /// The group waits for its assignment; the member keeps what it has.
        RebalanceInProgress => RebalanceInProgress,
    }

    /// Why one partition of an OffsetCommit is refused.
    OffsetCommitPartitionError {
        /// The metadata string is longer than `offset.metadata.max.bytes`.
        OffsetMetadataTooLarge => OffsetMetadataTooLarge,
    }

    /// Why an OffsetFetch is refused.
    OffsetFetchError {
    }

    /// Why an OffsetDelete is refused as a whole.
    OffsetDeleteError {
        /// The group id is empty.
        InvalidGroupId => InvalidGroupId,
        /// There is no such group.
        GroupIdNotFound => GroupIdNotFound,
        /// The group has members and is not of protocol type `consumer`.
        NonEmptyGroup => NonEmptyGroup,
    }

    /// Why one partition of an OffsetDelete is refused.
    OffsetDeletePartitionError {
        /// A member is subscribed to the topic.
        GroupSubscribedToTopic => GroupSubscribedToTopic,
    }

    /// Why a ListGroups is refused.
    ListGroupsError {
    }

    /// Why a group cannot be described.
    DescribeGroupError {
        /// There is no such group. Before version 6 of DescribeGroups a handler shows it as a group in state `Dead`, without error.
        GroupIdNotFound => GroupIdNotFound,
    }

    /// Why a group cannot be deleted.
    DeleteGroupError {
        /// There is no such group.
        GroupIdNotFound => GroupIdNotFound,
        /// The group has members.
        NonEmptyGroup => NonEmptyGroup,
    }
}
