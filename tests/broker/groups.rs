//! The classic group protocol over the wire.

use bytes::Bytes;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use types::{ErrorCode, Uuid};

use crate::harness::{Broker, Kafka, code, run, until};

const TOPIC: &str = "topic";

/// Waits until the coordinator of a group has loaded.
pub async fn coordinated(broker: &Broker, group: &str) {
    until("the coordinator is there", async || {
        let mut kafka = broker.kafka().await;
        for version in 0..=6 {
            let request = match version {
                4.. => FindCoordinatorRequest {
                    coordinator_keys: vec![group.to_owned()],
                    ..Default::default()
                },
                _ => FindCoordinatorRequest {
                    key: group.to_owned(),
                    ..Default::default()
                },
            };
            let found = kafka.call(version, &request).await;
            let error = match version {
                4.. => found.coordinators[0].error_code,
                _ => found.error_code,
            };
            if error != 0 {
                return None;
            }
        }
        let heartbeat = heartbeat(&mut kafka, 4, group, "nobody", 1).await;
        (heartbeat == code(ErrorCode::UnknownMemberId)).then_some(())
    })
    .await;
}

fn join_request(group: &str, member: &str, instance: Option<&str>) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0"),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Joins as a new member, with the detour over a member id where the version has it.
async fn join(
    kafka: &mut Kafka,
    version: i16,
    group: &str,
    instance: Option<&str>,
) -> JoinGroupResponse {
    let mut request = join_request(group, "", instance);
    if version == 0 {
        request.rebalance_timeout_ms = -1;
    }
    let first = kafka.call(version, &request).await;
    if version < 4 || instance.is_some() {
        return first;
    }
    assert_eq!(first.error_code, code(ErrorCode::MemberIdRequired));
    request.member_id = first.member_id;
    kafka.call(version, &request).await
}

fn sync_request(
    group: &str,
    member: &str,
    generation: i32,
    given: &[(&str, &'static [u8])],
) -> SyncGroupRequest {
    let assignment = |&(member, assignment): &(&str, &'static [u8])| SyncGroupRequestAssignment {
        member_id: member.to_owned(),
        assignment: Bytes::from_static(assignment),
        ..Default::default()
    };
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: generation,
        member_id: member.to_owned(),
        assignments: given.iter().map(assignment).collect(),
        ..Default::default()
    }
}

async fn heartbeat(
    kafka: &mut Kafka,
    version: i16,
    group: &str,
    member: &str,
    generation: i32,
) -> i16 {
    let request = HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id: generation,
        member_id: member.to_owned(),
        ..Default::default()
    };
    kafka.call(version, &request).await.error_code
}

/// Commits an offset of partition 0; gives the partition's code.
async fn commit(
    kafka: &mut Kafka,
    version: i16,
    group: &str,
    member: (&str, i32),
    topic_id: Uuid,
    offset: i64,
) -> i16 {
    let mut topic = OffsetCommitRequestTopic {
        partitions: vec![OffsetCommitRequestPartition {
            committed_offset: offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(format!("m{offset}")),
            ..Default::default()
        }],
        ..Default::default()
    };
    match version {
        10.. => topic.topic_id = topic_id,
        _ => topic.name = TOPIC.to_owned(),
    }
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        member_id: member.0.to_owned(),
        generation_id_or_member_epoch: member.1,
        retention_time_ms: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let response = kafka.call(version, &request).await;
    response.topics[0].partitions[0].error_code
}

/// Commits an offset of partition 0 of a topic for a group without members; gives the partition's code.
pub async fn commit_to(kafka: &mut Kafka, group: &str, topic: &str, offset: i64) -> i16 {
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                committed_leader_epoch: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = kafka.call(8, &request).await;
    response.topics[0].partitions[0].error_code
}

/// Every committed offset of a group: topic and offset of partition 0.
pub async fn all_committed(kafka: &mut Kafka, group: &str) -> Vec<(String, i64)> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            member_epoch: -1,
            topics: None,
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = kafka.call(9, &request).await;
    let topics = &response.groups[0].topics;
    topics
        .iter()
        .map(|topic| (topic.name.clone(), topic.partitions[0].committed_offset))
        .collect()
}

/// The committed offset and metadata of partition 0.
async fn committed(
    kafka: &mut Kafka,
    version: i16,
    group: &str,
    topic_id: Uuid,
) -> (i64, Option<String>) {
    if version < 8 {
        let request = OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: TOPIC.to_owned(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        };
        let response = kafka.call(version, &request).await;
        let partition = &response.topics[0].partitions[0];
        assert_eq!((response.error_code, partition.error_code), (0, 0));
        return (partition.committed_offset, partition.metadata.clone());
    }
    let mut topic = OffsetFetchRequestTopics {
        partition_indexes: vec![0],
        ..Default::default()
    };
    match version {
        10.. => topic.topic_id = topic_id,
        _ => topic.name = TOPIC.to_owned(),
    }
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            member_id: None,
            member_epoch: -1,
            topics: Some(vec![topic]),
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = kafka.call(version, &request).await;
    let group = &response.groups[0];
    assert_eq!(group.error_code, 0);
    let partition = &group.topics[0].partitions[0];
    assert_eq!(partition.error_code, 0, "v{version}");
    (partition.committed_offset, partition.metadata.clone())
}

async fn leave(kafka: &mut Kafka, version: i16, group: &str, member: &str) {
    let mut request = LeaveGroupRequest {
        group_id: group.to_owned(),
        ..Default::default()
    };
    match version {
        3.. => {
            request.members = vec![MemberIdentity {
                member_id: member.to_owned(),
                ..Default::default()
            }]
        }
        _ => request.member_id = member.to_owned(),
    }
    let response = kafka.call(version, &request).await;
    assert_eq!(response.error_code, 0);
    assert!(response.members.iter().all(|member| member.error_code == 0));
}

async fn state(kafka: &mut Kafka, group: &str) -> (String, usize) {
    let mut seen = (String::new(), 0);
    for version in 0..=6 {
        let request = DescribeGroupsRequest {
            groups: vec![group.to_owned()],
            ..Default::default()
        };
        let mut response = kafka.call(version, &request).await;
        let group = response.groups.remove(0);
        seen = (group.group_state, group.members.len());
    }
    seen
}

#[test]
fn every_version_lives_a_members_life() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let id = kafka.create(TOPIC, 1, &[]).await;
        for version in 0..=9 {
            let group = format!("group-{version}");
            coordinated(&broker, &group).await;
            let joined = join(&mut kafka, version, &group, None).await;
            assert_eq!(joined.error_code, 0, "v{version}");
            assert_eq!(
                (joined.generation_id, &joined.leader),
                (1, &joined.member_id)
            );
            assert_eq!(joined.protocol_name.as_deref(), Some("range"));
            assert_eq!(joined.members.len(), 1);
            let member = joined.member_id.as_str();
            let mut sync = sync_request(&group, member, 1, &[(member, b"mine")]);
            if version >= 5 {
                sync.protocol_type = Some("consumer".to_owned());
                sync.protocol_name = Some("range".to_owned());
            }
            let synced = kafka.call(version.min(5), &sync).await;
            assert_eq!(
                (synced.error_code, &synced.assignment[..]),
                (0, &b"mine"[..])
            );
            assert_eq!(
                heartbeat(&mut kafka, version.min(4), &group, member, 1).await,
                0
            );
            assert_eq!(state(&mut kafka, &group).await, ("Stable".to_owned(), 1));
            let with = (version + 1).clamp(2, 10);
            let offset = i64::from(version) + 1;
            assert_eq!(
                commit(&mut kafka, with, &group, (member, 1), id, offset).await,
                0
            );
            let seen = committed(&mut kafka, version + 1, &group, id).await;
            assert_eq!(
                seen,
                (offset, Some(format!("m{offset}"))),
                "v{}",
                version + 1
            );
            let stale = commit(&mut kafka, with, &group, (member, 0), id, 99).await;
            // Version 9 renamed it for members of the new protocol; classic members keep theirs.
            assert_eq!(stale, code(ErrorCode::IllegalGeneration), "v{with}");
            leave(&mut kafka, version.min(5), &group, member).await;
            assert_eq!(state(&mut kafka, &group).await, ("Empty".to_owned(), 0));
        }
        for version in 0..=5 {
            let listed = kafka.call(version, &ListGroupsRequest::default()).await;
            assert_eq!(listed.groups.len(), 10, "v{version}");
        }
        broker.stop().await;
    });
}

#[test]
fn members_share_the_work_and_a_third_waits_for_them() {
    run(async {
        let broker = Broker::new().await;
        let group = "shared";
        coordinated(&broker, group).await;
        let (mut one, mut two) = (broker.kafka().await, broker.kafka().await);
        let first = join(&mut one, 9, group, None).await;
        let first_id = first.member_id.as_str();
        let synced = one
            .call(5, &sync_of(group, first_id, 1, &[(first_id, b"all")]))
            .await;
        assert_eq!(synced.error_code, 0);
        let mut request = join_request(group, "", None);
        let second = two.call(9, &request).await;
        request.member_id = second.member_id.clone();
        // The second is parked until the first has joined again.
        two.send(9, &request).await;
        until("the first hears of it", async || {
            let mut kafka = broker.kafka().await;
            let heard = heartbeat(&mut kafka, 4, group, first_id, 1).await;
            (heard == code(ErrorCode::RebalanceInProgress)).then_some(())
        })
        .await;
        let again = one.call(9, &join_request(group, first_id, None)).await;
        let joined = two.receive::<JoinGroupRequest>(9).await;
        assert_eq!((again.error_code, again.generation_id), (0, 2));
        assert_eq!((joined.error_code, joined.generation_id), (0, 2));
        let second_id = joined.member_id.as_str();
        assert_eq!(
            (again.leader.as_str(), joined.leader.as_str()),
            (first_id, first_id)
        );
        assert_eq!((again.members.len(), joined.members.len()), (2, 0));
        two.send(5, &sync_of(group, second_id, 2, &[])).await;
        let given = [(first_id, &b"one"[..]), (second_id, &b"two"[..])];
        let synced = one.call(5, &sync_of(group, first_id, 2, &given)).await;
        assert_eq!(&synced.assignment[..], b"one");
        let synced = two.receive::<SyncGroupRequest>(5).await;
        assert_eq!(&synced.assignment[..], b"two");
        assert_eq!(heartbeat(&mut one, 4, group, first_id, 2).await, 0);
        let old = heartbeat(&mut one, 4, group, first_id, 1).await;
        assert_eq!(old, code(ErrorCode::IllegalGeneration));
        broker.stop().await;
    });
}

fn sync_of(
    group: &str,
    member: &str,
    generation: i32,
    given: &[(&str, &'static [u8])],
) -> SyncGroupRequest {
    SyncGroupRequest {
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        ..sync_request(group, member, generation, given)
    }
}

#[test]
fn a_static_member_comes_back_as_itself() {
    run(async {
        let broker = Broker::new().await;
        let group = "static";
        coordinated(&broker, group).await;
        let mut kafka = broker.kafka().await;
        let first = join(&mut kafka, 7, group, Some("instance")).await;
        assert_eq!(first.error_code, 0);
        let id = first.member_id.as_str();
        let mut sync = sync_of(group, id, 1, &[(id, b"mine")]);
        sync.group_instance_id = Some("instance".to_owned());
        assert_eq!(kafka.call(5, &sync).await.error_code, 0);
        // Started anew it gets a new id, and no rebalance.
        let second = join(&mut kafka, 7, group, Some("instance")).await;
        assert_eq!((second.error_code, second.generation_id), (0, 1));
        assert_ne!(second.member_id, id);
        let mut beat = HeartbeatRequest {
            group_id: group.to_owned(),
            generation_id: 1,
            member_id: id.to_owned(),
            group_instance_id: Some("instance".to_owned()),
            ..Default::default()
        };
        let fenced = kafka.call(4, &beat).await.error_code;
        assert_eq!(fenced, code(ErrorCode::FencedInstanceId));
        beat.member_id = second.member_id.clone();
        assert_eq!(kafka.call(4, &beat).await.error_code, 0);
        let mut again = sync_of(group, &second.member_id, 1, &[]);
        again.group_instance_id = Some("instance".to_owned());
        assert_eq!(&kafka.call(5, &again).await.assignment[..], b"mine");
        // An administrator removes it by its name.
        let request = LeaveGroupRequest {
            group_id: group.to_owned(),
            members: vec![MemberIdentity {
                member_id: String::new(),
                group_instance_id: Some("instance".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let left = kafka.call(5, &request).await;
        assert_eq!(left.members[0].error_code, 0);
        assert_eq!(state(&mut kafka, group).await, ("Empty".to_owned(), 0));
        broker.stop().await;
    });
}

#[test]
fn groups_and_offsets_outlive_the_broker() {
    run(async {
        let mut broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let id = kafka.create(TOPIC, 1, &[]).await;
        let group = "kept";
        coordinated(&broker, group).await;
        let joined = join(&mut kafka, 9, group, None).await;
        let member = joined.member_id.as_str();
        let synced = kafka
            .call(5, &sync_of(group, member, 1, &[(member, b"mine")]))
            .await;
        assert_eq!(synced.error_code, 0);
        for (round, is_kill) in [(1, false), (2, true), (3, true)] {
            let mut kafka = broker.kafka().await;
            assert_eq!(
                commit(&mut kafka, 9, group, (member, 1), id, round).await,
                0
            );
            // A simple consumer commits without being a member, in a group of its own.
            assert_eq!(
                commit(&mut kafka, 8, "simple", ("", -1), id, round).await,
                0
            );
            let data = match is_kill {
                true => broker.killed().await,
                false => broker.stop().await,
            };
            broker = data.start().await;
            for group in [group, "simple"] {
                coordinated(&broker, group).await;
                let mut kafka = broker.kafka().await;
                let (offset, _) = committed(&mut kafka, 9, group, id).await;
                assert_eq!(offset, round, "{group}");
            }
            let mut kafka = broker.kafka().await;
            assert_eq!(heartbeat(&mut kafka, 4, group, member, 1).await, 0);
            assert_eq!(state(&mut kafka, group).await, ("Stable".to_owned(), 1));
        }
        broker.stop().await;
    });
}

#[test]
fn groups_and_offsets_are_deleted() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let id = kafka.create(TOPIC, 1, &[]).await;
        let group = "doomed";
        coordinated(&broker, group).await;
        let joined = join(&mut kafka, 9, group, None).await;
        let member = joined.member_id.as_str();
        let synced = kafka
            .call(5, &sync_of(group, member, 1, &[(member, b"mine")]))
            .await;
        assert_eq!(synced.error_code, 0);
        assert_eq!(commit(&mut kafka, 9, group, (member, 1), id, 5).await, 0);
        let delete = |name: &str| DeleteGroupsRequest {
            groups_names: vec![name.to_owned()],
            ..Default::default()
        };
        let refused = kafka.call(2, &delete(group)).await;
        assert_eq!(
            refused.results[0].error_code,
            code(ErrorCode::NonEmptyGroup)
        );
        leave(&mut kafka, 5, group, member).await;
        let delete_offset = OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: vec![OffsetDeleteRequestTopic {
                name: TOPIC.to_owned(),
                partitions: vec![OffsetDeleteRequestPartition::default()],
                ..Default::default()
            }],
            ..Default::default()
        };
        let deleted = kafka.call(0, &delete_offset).await;
        assert_eq!(deleted.error_code, 0);
        assert_eq!(deleted.topics[0].partitions[0].error_code, 0);
        assert_eq!(committed(&mut kafka, 9, group, id).await.0, -1);
        assert_eq!(commit(&mut kafka, 8, group, ("", -1), id, 6).await, 0);
        for (name, expected) in [
            (group, ErrorCode::None),
            (group, ErrorCode::GroupIdNotFound),
        ] {
            let deleted = kafka.call(1, &delete(name)).await;
            assert_eq!(deleted.results[0].error_code, code(expected));
        }
        assert_eq!(committed(&mut kafka, 9, group, id).await.0, -1);
        // A deleted topic takes its offsets along.
        assert_eq!(commit(&mut kafka, 8, "simple", ("", -1), id, 7).await, 0);
        crate::topics::delete(&mut kafka, TOPIC).await;
        let new = kafka.create(TOPIC, 1, &[]).await;
        until("its offsets are gone", async || {
            let mut kafka = broker.kafka().await;
            let (offset, _) = committed(&mut kafka, 9, "simple", new).await;
            (offset == -1).then_some(())
        })
        .await;
        broker.stop().await;
    });
}

#[test]
fn bad_members_are_refused() {
    run(async {
        let broker = Broker::new().await;
        let group = "strict";
        coordinated(&broker, group).await;
        let mut kafka = broker.kafka().await;
        let mut short = join_request(group, "", None);
        short.session_timeout_ms = 1;
        let mut nameless = join_request("", "", None);
        nameless.protocols.truncate(1);
        let stranger = join_request(group, "stranger", None);
        for (what, request, expected) in [
            ("a short session", short, ErrorCode::InvalidSessionTimeout),
            ("no group", nameless, ErrorCode::InvalidGroupId),
            ("an unknown member", stranger, ErrorCode::UnknownMemberId),
        ] {
            let refused = kafka.call(9, &request).await;
            assert_eq!(refused.error_code, code(expected), "{what}");
        }
        let joined = join(&mut kafka, 9, group, None).await;
        assert_eq!(joined.error_code, 0);
        let mut other = join_request(group, "", None);
        other.protocol_type = "connect".to_owned();
        let refused = kafka.call(3, &other).await;
        assert_eq!(
            refused.error_code,
            code(ErrorCode::InconsistentGroupProtocol)
        );
        let unknown = sync_of(group, "stranger", 1, &[]);
        let refused = kafka.call(5, &unknown).await;
        assert_eq!(refused.error_code, code(ErrorCode::UnknownMemberId));
        broker.stop().await;
    });
}
