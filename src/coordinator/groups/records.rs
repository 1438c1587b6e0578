//! The records of `__consumer_offsets`, bytes to meaning and back, in the versions that Kafka 4.3 writes.

use bytes::Bytes;
use protocol::stored::GroupKey;
use protocol::stored::frame::{decode_coordinator_key, decode_versioned, encode_versioned};
use protocol::stored::group_metadata_key::GroupMetadataKey;
use protocol::stored::group_metadata_value::{GroupMetadataValue, MemberMetadata};
use protocol::stored::legacy_offset_commit_key::LegacyOffsetCommitKey;
use protocol::stored::legacy_offset_commit_value::LegacyOffsetCommitValue;
use protocol::stored::offset_commit_key::OffsetCommitKey;
use protocol::stored::offset_commit_value::OffsetCommitValue;
use protocol::{DecodeError, Decoder, Message};
use types::{PartitionIndex, Uuid, Wall};

use super::image::{Change, CommittedOffset, StoredGroup, StoredMember};

/// Key type of offsets as brokers before 0.9 wrote them.
const LEGACY_OFFSET: i16 = 0;
/// Key type of offsets.
const OFFSET: i16 = 1;
/// Key type of classic groups.
const GROUP: i16 = 2;

/// Value version of an offset; the first that carries a topic id.
const OFFSET_VERSION: i16 = 4;
/// Value version of an offset whose client said when it expires: the only one that can say so.
const EXPIRING_OFFSET_VERSION: i16 = 1;
/// Value version of a classic group.
const GROUP_VERSION: i16 = 3;

/// "No time" in a record.
const NO_TIMESTAMP: i64 = -1;

/// A record to be appended: Kafka's key and value bytes, the key's type and the value's version in front; no value is a
/// tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoordinatorRecord {
    /// The key; decides what compaction keeps.
    pub key: Bytes,
    /// The value.
    pub value: Option<Bytes>,
}

/// What became of a replayed record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replayed {
    /// It changed the durable state.
    Applied,
    /// It is of a kind that this coordinator does not serve (consumer, share, streams groups), or of one it does not know.
    Ignored,
}

/// Why a record cannot be replayed. The partition cannot be served then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    /// A record without key has no place in a compacted log.
    #[error("a record has no key")]
    NoKey,
    /// The key is no key.
    #[error("a key cannot be read: {0}")]
    Key(DecodeError),
    /// The value is no value, or of a version that is not known.
    #[error("the value of a record of type {kind} cannot be read: {error}")]
    Value {
        /// The type in the record's key.
        kind: i16,
        /// What is wrong.
        error: DecodeError,
    },
}

impl Change {
    pub(super) fn encode(&self) -> CoordinatorRecord {
        let (key, value) = match self {
            Change::Offset {
                group,
                topic,
                partition,
                value,
            } => {
                let key = OffsetCommitKey {
                    group: group.to_string(),
                    topic: topic.to_string(),
                    partition: *partition,
                };
                let value = value.as_ref().map(encode_offset);
                (GroupKey::OffsetCommit(key).to_record(), value)
            }
            Change::Group { group, value } => {
                let key = GroupMetadataKey {
                    group: group.to_string(),
                };
                let value = value.as_ref().map(encode_group);
                (GroupKey::GroupMetadata(key).to_record(), value)
            }
        };
        let key = key.expect("names were checked when the request came");
        CoordinatorRecord { key, value }
    }

    /// What a record means; nothing here, if it is of a kind that is not served.
    pub(super) fn decode(
        key: Option<Bytes>,
        value: Option<Bytes>,
    ) -> Result<Option<Change>, ReplayError> {
        let key = key.ok_or(ReplayError::NoKey)?;
        let (kind, mut decoder) = decode_coordinator_key(key).map_err(ReplayError::Key)?;
        let change = match kind {
            LEGACY_OFFSET => {
                let key: LegacyOffsetCommitKey = body(&mut decoder)?;
                let value = optional(kind, value, legacy_offset)?;
                offset_change(&key.group, &key.topic, key.partition, value)
            }
            OFFSET => {
                let key: OffsetCommitKey = body(&mut decoder)?;
                let value = optional(kind, value, offset)?;
                offset_change(&key.group, &key.topic, key.partition, value)
            }
            GROUP => {
                let key: GroupMetadataKey = body(&mut decoder)?;
                Change::Group {
                    group: key.group.into(),
                    value: optional(kind, value, group)?,
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(change))
    }
}

fn body<M: Message>(decoder: &mut Decoder) -> Result<M, ReplayError> {
    let key = M::decode(decoder, 0).map_err(ReplayError::Key)?;
    decoder.finish().map_err(ReplayError::Key)?;
    Ok(key)
}

fn optional<M: Message, T>(
    kind: i16,
    value: Option<Bytes>,
    convert: impl FnOnce(M) -> T,
) -> Result<Option<T>, ReplayError> {
    let Some(value) = value else {
        return Ok(None);
    };
    match decode_versioned(value) {
        Ok(value) => Ok(Some(convert(value))),
        Err(error) => Err(ReplayError::Value { kind, error }),
    }
}

fn offset_change(
    group: &str,
    topic: &str,
    partition: PartitionIndex,
    value: Option<CommittedOffset>,
) -> Change {
    Change::Offset {
        group: group.into(),
        topic: topic.into(),
        partition,
        value,
    }
}

fn encode_offset(value: &CommittedOffset) -> Bytes {
    let version = match value.expires_at {
        Some(_) => EXPIRING_OFFSET_VERSION,
        None => OFFSET_VERSION,
    };
    let record = OffsetCommitValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.clone(),
        commit_timestamp: value.committed_at.as_millis(),
        expire_timestamp: value.expires_at.map_or(NO_TIMESTAMP, Wall::as_millis),
        topic_id: value.topic_id,
        ..OffsetCommitValue::default()
    };
    encode_versioned(&record, version).expect("metadata was checked when the request came")
}

fn encode_group(value: &StoredGroup) -> Bytes {
    let member = |member: &StoredMember| MemberMetadata {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
        ..MemberMetadata::default()
    };
    let record = GroupMetadataValue {
        protocol_type: value.protocol_type.clone(),
        generation: value.generation,
        protocol: value.protocol_name.clone(),
        leader: value.leader.clone(),
        current_state_timestamp: value.state_since.map_or(NO_TIMESTAMP, Wall::as_millis),
        members: value.members.iter().map(member).collect(),
        ..GroupMetadataValue::default()
    };
    encode_versioned(&record, GROUP_VERSION).expect("names were checked when the request came")
}

fn legacy_offset(value: LegacyOffsetCommitValue) -> CommittedOffset {
    CommittedOffset {
        offset: value.offset,
        leader_epoch: -1,
        metadata: value.metadata,
        committed_at: Wall::from_millis(value.commit_timestamp),
        expires_at: None,
        topic_id: Uuid::ZERO,
    }
}

fn offset(value: OffsetCommitValue) -> CommittedOffset {
    CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata,
        committed_at: Wall::from_millis(value.commit_timestamp),
        expires_at: timestamp(value.expire_timestamp),
        topic_id: value.topic_id,
    }
}

fn group(value: GroupMetadataValue) -> StoredGroup {
    let member = |member: MemberMetadata| StoredMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        rebalance_timeout_ms: member.rebalance_timeout,
        session_timeout_ms: member.session_timeout,
        // What stays must not hold on to the buffer that the log was read into.
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
    };
    StoredGroup {
        protocol_type: value.protocol_type,
        generation: value.generation,
        protocol_name: value.protocol,
        leader: value.leader,
        state_since: timestamp(value.current_state_timestamp),
        members: value.members.into_iter().map(member).collect(),
    }
}

fn timestamp(millis: i64) -> Option<Wall> {
    (millis != NO_TIMESTAMP).then(|| Wall::from_millis(millis))
}
