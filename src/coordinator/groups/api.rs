//! What goes into the machine and what comes out: closed, printable, free of wire types.

use super::config::GroupConfig;
use super::errors::*;
use super::records::CoordinatorRecord;
use super::state::GroupState;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use types::{LeaderEpoch, Offset, PartitionIndex, Uuid};

/// The driver's name for a request in flight; comes back in exactly one [`Action::Reply`].
pub type Token = u64;

/// The number of an append, counted from 1 over the machine's whole life, never reused.
pub type AppendId = u64;

/// The longest string that a record of Kafka's group formats can hold, in bytes.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// What can happen to a coordinator.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// This broker leads the partition from now on; replay follows. Anything of an earlier term is dropped.
    Elected {
        /// The leader epoch of the new term.
        epoch: LeaderEpoch,
    },
    /// Replay has reached the high watermark, which has reached the start of this term.
    Loaded,
    /// The partition is lost: parked requests are answered NOT_COORDINATOR and the state in memory is dropped.
    Resigned,
    /// New configs; they act on the next decision.
    Configure(GroupConfig),
    /// A client asks.
    Request {
        /// Comes back with the answer.
        token: Token,
        /// What is asked.
        request: Request,
    },
    /// Every append up to this one is committed.
    Committed {
        /// The newest committed append.
        up_to: AppendId,
    },
    /// One append is certainly not in the log and never will be.
    AppendFailed {
        /// The append.
        append: AppendId,
        /// Why.
        error: AppendError,
    },
    /// A topic is gone: its committed offsets go too. Means nothing unless the coordinator is active: topics that went
    /// before are told by [`Input::TopicsGone`].
    TopicDeleted {
        /// The topic's name.
        topic: String,
        /// The topic's id; offsets that were committed for another topic of the same name stay.
        topic_id: Uuid,
    },
    /// Topics went while nobody led the partition, or while its log was being replayed: of the pairs that
    /// [`super::CoordinatorView::offset_topics`] gave after [`Input::Loaded`], those that the metadata does not know.
    /// Means nothing unless the coordinator is active.
    TopicsGone {
        /// Exactly what was given. Here a zero id is that of offsets whose topic's id is unknown, no others.
        topics: BTreeSet<(Arc<str>, Uuid)>,
    },
    /// The deadline has passed.
    Tick,
}

/// What a machine wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Append these records to the partition as one batch.
    Append {
        /// Named again in [`Input::Committed`] or [`Input::AppendFailed`].
        id: AppendId,
        /// The records, in order; never empty.
        records: Vec<CoordinatorRecord>,
    },
    /// Answer a request.
    Reply {
        /// The request.
        token: Token,
        /// The answer.
        response: Response,
    },
    /// Something worth a line in a trace.
    Note {
        /// What happened; a constant, so that coverage can be marked by it.
        what: &'static str,
        /// The group it happened to, empty if none.
        group: String,
    },
}

/// The actions of one or more steps, in order.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Actions {
    list: Vec<Action>,
}

impl Actions {
    /// No actions.
    pub fn new() -> Actions {
        Actions::default()
    }

    /// Takes what has been collected, in order.
    pub fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.list)
    }

    /// Whether nothing has been collected.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn push(&mut self, action: Action) {
        self.list.push(action);
    }

    pub(super) fn note(&mut self, what: &'static str, group: &str) {
        self.list.push(Action::Note {
            what,
            group: group.to_owned(),
        });
    }

    pub(super) fn reply(&mut self, token: Token, response: impl Into<Response>) {
        self.list.push(Action::Reply {
            token,
            response: response.into(),
        });
    }
}

macro_rules! requests {
    ($($(#[$meta:meta])* $name:ident($request:ident) -> $response:ty;)*) => {
        /// What a client may ask a group coordinator.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Request {
            $($(#[$meta])* $name($request),)*
        }

        /// The answer to a [`Request`], by the same name.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Response {
            $($(#[$meta])* $name($response),)*
        }

        $(
            impl From<$request> for Request {
                fn from(request: $request) -> Request {
                    Request::$name(request)
                }
            }

            impl From<$response> for Response {
                fn from(response: $response) -> Response {
                    Response::$name(response)
                }
            }
        )*
    };
}

requests! {
    /// JoinGroup, versions 0-9.
    JoinGroup(JoinGroup) -> Result<JoinedGroup, JoinGroupFailure>;
    /// SyncGroup, versions 0-5.
    SyncGroup(SyncGroup) -> Result<SyncedGroup, SyncGroupError>;
    /// Heartbeat, versions 0-4.
    Heartbeat(Heartbeat) -> Result<HeartbeatAccepted, HeartbeatError>;
    /// LeaveGroup, versions 0-5.
    LeaveGroup(LeaveGroup) -> Result<Vec<LeftMember>, LeaveGroupError>;
    /// OffsetCommit, versions 2-10.
    OffsetCommit(OffsetCommit) -> Result<Vec<OffsetCommitTopicResult>, OffsetCommitError>;
    /// OffsetFetch of one group, versions 1-10.
    OffsetFetch(OffsetFetch) -> Result<Vec<OffsetFetchTopicResult>, OffsetFetchError>;
    /// OffsetDelete, version 0.
    OffsetDelete(OffsetDelete) -> Result<Vec<OffsetDeleteTopicResult>, OffsetDeleteError>;
    /// ListGroups, versions 0-5, for the groups of this partition.
    ListGroups(ListGroups) -> Result<Vec<ListedGroup>, ListGroupsError>;
    /// DescribeGroups, versions 0-6, for groups of this partition.
    DescribeGroups(DescribeGroups) -> Vec<DescribeGroupResult>;
    /// DeleteGroups, versions 0-2, for groups of this partition.
    DeleteGroups(DeleteGroups) -> Vec<DeleteGroupResult>;
}

/// A member asks to be part of the next generation.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct JoinGroup {
    /// The group; not empty.
    pub group_id: String,
    /// Milliseconds without heartbeat after which the member is dropped.
    pub session_timeout_ms: i32,
    /// Milliseconds that a rebalance waits for this member; negative (version 0) means the session timeout.
    pub rebalance_timeout_ms: i32,
    /// The member's id; empty at the first join.
    pub member_id: String,
    /// The id of a static member (version 5 and later).
    pub group_instance_id: Option<String>,
    /// The protocol type, for instance `consumer`; not empty.
    pub protocol_type: String,
    /// What the member supports, most wanted first; not empty.
    pub protocols: Vec<JoinProtocol>,
    /// Why the member joins (version 8 and later).
    pub reason: Option<String>,
    /// The client id of the request's header, empty if it has none.
    pub client_id: String,
    /// The client's address as Kafka prints it, for instance `/127.0.0.1`.
    pub client_host: String,
    /// Whether a first join is answered MEMBER_ID_REQUIRED (version 4 and later).
    pub requires_known_member_id: bool,
    /// Whether the client understands `skip_assignment` (version 9 and later, KIP-814).
    pub supports_skipping_assignment: bool,
}

/// One protocol of a member, with the member's metadata for it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JoinProtocol {
    /// The protocol's name, for instance `range`.
    pub name: String,
    /// What the leader will see; opaque here.
    pub metadata: Bytes,
}

/// A member is part of a generation.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct JoinedGroup {
    /// The generation.
    pub generation_id: i32,
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The chosen protocol.
    pub protocol_name: Option<String>,
    /// The leader's member id.
    pub leader: String,
    /// Whether the leader must not compute an assignment (KIP-814).
    pub skip_assignment: bool,
    /// The member's own id.
    pub member_id: String,
    /// Every member, only for the leader.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JoinedMember {
    /// The member's id.
    pub member_id: String,
    /// The id of a static member.
    pub group_instance_id: Option<String>,
    /// The member's metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// A JoinGroup was refused. The answer on the wire has generation -1 and an empty leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinGroupFailure {
    /// The member id of the answer: a new one for MEMBER_ID_REQUIRED.
    pub member_id: String,
    /// Why.
    pub error: JoinGroupError,
}

/// A member asks for its assignment; the leader brings everyone's.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SyncGroup {
    /// The group; not empty.
    pub group_id: String,
    /// The generation that the member has joined.
    pub generation_id: i32,
    /// The member's id.
    pub member_id: String,
    /// The id of a static member (version 3 and later).
    pub group_instance_id: Option<String>,
    /// The protocol type as the member knows it (version 5 and later).
    pub protocol_type: Option<String>,
    /// The protocol as the member knows it (version 5 and later).
    pub protocol_name: Option<String>,
    /// Whether type and name must be given (version 5 and later).
    pub requires_protocol: bool,
    /// The leader's assignment by member id, empty from others.
    pub assignments: Vec<(String, Bytes)>,
}

/// A member's assignment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncedGroup {
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The chosen protocol.
    pub protocol_name: Option<String>,
    /// What the leader assigned; empty if nothing.
    pub assignment: Bytes,
}

/// A member says that it lives.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Heartbeat {
    /// The group; not empty.
    pub group_id: String,
    /// The member's generation.
    pub generation_id: i32,
    /// The member's id.
    pub member_id: String,
    /// The id of a static member (version 3 and later).
    pub group_instance_id: Option<String>,
}

/// A heartbeat was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeartbeatAccepted;

/// Members leave, or an administrator removes them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LeaveGroup {
    /// The group; not empty.
    pub group_id: String,
    /// Who leaves; exactly one before version 3.
    pub members: Vec<LeavingMember>,
}

/// One member that leaves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeavingMember {
    /// The member's id; empty to remove a static member by its instance id.
    pub member_id: String,
    /// The id of a static member.
    pub group_instance_id: Option<String>,
    /// Why (version 5 and later).
    pub reason: Option<String>,
}

/// What became of one leaving member, ids as they were asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftMember {
    /// The member's id.
    pub member_id: String,
    /// The id of a static member.
    pub group_instance_id: Option<String>,
    /// Whether it left.
    pub result: Result<(), LeaveMemberError>,
}

/// Offsets to be kept for a group.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OffsetCommit {
    /// The group; not empty.
    pub group_id: String,
    /// The member's generation; negative from a consumer without group membership.
    pub generation_id: i32,
    /// The member's id; empty from a consumer without group membership.
    pub member_id: String,
    /// The id of a static member (version 7 and later).
    pub group_instance_id: Option<String>,
    /// How long to keep the offsets, in milliseconds; -1 for the broker's retention (only versions 2-4 can say otherwise).
    pub retention_time_ms: i64,
    /// Whether the client knows GROUP_ID_NOT_FOUND (version 9 and later).
    pub knows_group_id_not_found: bool,
    /// The offsets, of topics that exist.
    pub topics: Vec<OffsetCommitTopic>,
}

/// The offsets of one topic.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OffsetCommitTopic {
    /// The topic's name.
    pub topic: String,
    /// The topic's id, zero if unknown.
    pub topic_id: Uuid,
    /// Its partitions.
    pub partitions: Vec<OffsetCommitPartition>,
}

/// The offset of one partition.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OffsetCommitPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to be consumed.
    pub offset: Offset,
    /// The leader epoch of the last consumed record, -1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// Whatever the client wants to keep with it.
    pub metadata: Option<String>,
}

/// What became of one topic's offsets.
#[derive(Clone, PartialEq, Debug)]
pub struct OffsetCommitTopicResult {
    /// The topic's name.
    pub topic: String,
    /// The topic's id, zero if unknown.
    pub topic_id: Uuid,
    /// Per partition.
    pub partitions: Vec<(PartitionIndex, Result<(), OffsetCommitPartitionError>)>,
}

/// Which offsets are kept for a group?
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OffsetFetch {
    /// The group.
    pub group_id: String,
    /// Which partitions; `None` for every one that has an offset.
    pub topics: Option<Vec<OffsetFetchTopic>>,
    /// Whether to wait for commits in flight (KIP-447).
    pub require_stable: bool,
}

/// The partitions of one topic.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OffsetFetchTopic {
    /// The topic's name.
    pub topic: String,
    /// The topic's id, zero if unknown; an offset that was kept for another topic of that name is not shown.
    pub topic_id: Uuid,
    /// Its partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// The offsets of one topic.
#[derive(Clone, PartialEq, Debug)]
pub struct OffsetFetchTopicResult {
    /// The topic's name.
    pub topic: String,
    /// The topic's id: as asked, or (all topics) as stored; zero if unknown.
    pub topic_id: Uuid,
    /// Per partition.
    pub partitions: Vec<FetchedOffset>,
}

/// The offset of one partition; offset -1, leader epoch -1 and empty metadata if there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to be consumed, -1 if none is kept.
    pub offset: Offset,
    /// The leader epoch of the last consumed record, -1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// What the client kept with it.
    pub metadata: String,
}

/// Offsets to be forgotten.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OffsetDelete {
    /// The group; not empty.
    pub group_id: String,
    /// Topics that exist and their partitions.
    pub topics: Vec<(String, Vec<PartitionIndex>)>,
}

/// What became of one topic's offsets.
#[derive(Clone, PartialEq, Debug)]
pub struct OffsetDeleteTopicResult {
    /// The topic's name.
    pub topic: String,
    /// Per partition.
    pub partitions: Vec<(PartitionIndex, Result<(), OffsetDeletePartitionError>)>,
}

/// Which groups are there?
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ListGroups {
    /// Only groups in one of these states, by name in any case; all if empty.
    pub states: Vec<String>,
    /// Only groups of these types (`classic` is the only one here), in any case; all if empty.
    pub types: Vec<String>,
}

/// A group in a list; its type is `classic`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGroup {
    /// The group.
    pub group_id: String,
    /// Its protocol type, empty if it never had a member.
    pub protocol_type: String,
    /// Its state.
    pub state: GroupState,
}

/// What are these groups like?
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DescribeGroups {
    /// The groups.
    pub groups: Vec<String>,
}

/// One group, described or not.
#[derive(Clone, PartialEq, Debug)]
pub struct DescribeGroupResult {
    /// The group.
    pub group_id: String,
    /// What it is like.
    pub result: Result<DescribedGroup, DescribeGroupError>,
}

/// What a group is like.
#[derive(Clone, PartialEq, Debug)]
pub struct DescribedGroup {
    /// Its state.
    pub state: GroupState,
    /// Its protocol type, empty if it never had a member.
    pub protocol_type: String,
    /// The chosen protocol; empty unless the group is stable.
    pub protocol_name: String,
    /// Its members, by member id.
    pub members: Vec<DescribedMember>,
}

/// What a member is like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// The member's id.
    pub member_id: String,
    /// The id of a static member.
    pub group_instance_id: Option<String>,
    /// The client id.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// Its metadata for the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// Groups to be forgotten with all their offsets.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DeleteGroups {
    /// The groups.
    pub groups: Vec<String>,
}

/// What became of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteGroupResult {
    /// The group.
    pub group_id: String,
    /// Whether it is deleted.
    pub result: Result<(), DeleteGroupError>,
}
