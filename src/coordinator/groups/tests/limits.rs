//! Requests that cannot be stored, and records that nobody should have written.

use bytes::Bytes;
use types::{Now, Uuid};

use super::bench::Bench;
use crate::groups::image::{Change, StoredGroup, StoredMember};
use crate::groups::*;

fn join_failure(request: JoinGroup) -> Option<JoinGroupError> {
    let mut bench = Bench::new(GroupConfig::default(), 1);
    bench.elect();
    let actions = bench.request(1, request);
    actions.into_iter().find_map(|action| match action {
        Action::Reply {
            response: Response::JoinGroup(Err(failure)),
            ..
        } => Some(failure.error),
        _ => None,
    })
}

fn join() -> JoinGroup {
    JoinGroup {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinProtocol {
            name: "range".to_owned(),
            metadata: Bytes::new(),
        }],
        client_id: "c".to_owned(),
        requires_known_member_id: true,
        ..JoinGroup::default()
    }
}

#[test]
fn a_join_that_no_record_could_hold_is_refused() {
    let long = |bytes: usize| "x".repeat(bytes);
    let named = |name: String| JoinProtocol {
        name,
        metadata: Bytes::new(),
    };
    let too_long = STRING_BYTES_MAX + 1;
    let table = [
        JoinGroup {
            group_id: long(too_long),
            ..join()
        },
        JoinGroup {
            client_id: long(STRING_BYTES_MAX - 36),
            ..join()
        },
        JoinGroup {
            group_instance_id: Some(long(STRING_BYTES_MAX - 36)),
            ..join()
        },
        JoinGroup {
            client_host: long(too_long),
            ..join()
        },
        JoinGroup {
            protocol_type: long(too_long),
            ..join()
        },
        JoinGroup {
            protocols: vec![named(long(too_long))],
            ..join()
        },
    ];
    for (row, request) in table.into_iter().enumerate() {
        assert_eq!(
            join_failure(request),
            Some(JoinGroupError::InvalidRequest),
            "row {row}"
        );
    }
    // The longest that fit are taken and can be written.
    let longest = JoinGroup {
        group_id: long(STRING_BYTES_MAX),
        client_id: long(STRING_BYTES_MAX - 37),
        ..join()
    };
    assert_eq!(
        join_failure(longest),
        Some(JoinGroupError::MemberIdRequired)
    );
}

#[test]
fn a_commit_that_no_record_could_hold_is_refused() {
    let commit = |group: usize, topic: usize, metadata: usize| {
        let config = GroupConfig {
            offset_metadata_bytes_max: i32::MAX,
            ..GroupConfig::default()
        };
        let mut bench = Bench::new(config, 1);
        bench.elect();
        let partition = OffsetCommitPartition {
            metadata: Some("\u{e9}".repeat(metadata)),
            ..OffsetCommitPartition::default()
        };
        let topic = OffsetCommitTopic {
            topic: "t".repeat(topic),
            topic_id: Uuid::ZERO,
            partitions: vec![partition],
        };
        let request = OffsetCommit {
            group_id: "g".repeat(group),
            generation_id: -1,
            retention_time_ms: -1,
            topics: vec![topic],
            ..OffsetCommit::default()
        };
        let mut actions = bench.request(1, request);
        actions.extend(bench.commit_all());
        actions.into_iter().find_map(|action| match action {
            Action::Reply {
                response: Response::OffsetCommit(result),
                ..
            } => Some(result.map(|topics| topics[0].partitions[0].1)),
            _ => None,
        })
    };
    let max = STRING_BYTES_MAX;
    assert_eq!(commit(max, max, max / 2), Some(Ok(Ok(()))));
    let invalid = Some(Err(OffsetCommitError::InvalidRequest));
    assert_eq!(commit(max + 1, 1, 0), invalid);
    assert_eq!(commit(1, max + 1, 0), invalid);
    let too_large = OffsetCommitPartitionError::OffsetMetadataTooLarge;
    assert_eq!(commit(1, 1, max / 2 + 1), Some(Ok(Err(too_large))));
}

#[test]
fn strange_records_make_no_strange_groups() {
    let member = |member_id: &str, instance: Option<&str>| StoredMember {
        member_id: member_id.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        client_id: String::new(),
        client_host: String::new(),
        rebalance_timeout_ms: -1,
        session_timeout_ms: 10_000,
        subscription: Bytes::new(),
        assignment: Bytes::new(),
    };
    let table = [
        // Two members with one instance id, and one member twice.
        vec![member("a", Some("i")), member("b", Some("i"))],
        vec![member("a", Some("i")), member("a", Some("j"))],
        vec![member("a", Some("i")), member("a", None)],
    ];
    for members in table {
        let stored = StoredGroup {
            protocol_type: "consumer".to_owned(),
            generation: i32::MAX,
            // No protocol, and a leader that is not there.
            protocol_name: None,
            leader: Some("nobody".to_owned()),
            state_since: None,
            members,
        };
        let group = "g".into();
        let value = Some(stored);
        let mut bench = Bench::new(GroupConfig::default(), 1);
        bench.log.push(Change::Group { group, value }.encode());
        bench.elect();
        let group = bench.machine.view().groups().next().expect("the group");
        assert_eq!(group.members().count(), 1);
        let member_id = group.leader().expect("a leader").to_owned();
        let rejoin = JoinGroup {
            member_id,
            protocols: vec![JoinProtocol::default()],
            ..join()
        };
        let actions = bench.request(1, rejoin);
        let joined = actions.iter().find_map(|action| match action {
            Action::Reply {
                response: Response::JoinGroup(Ok(joined)),
                ..
            } => Some(joined.generation_id),
            _ => None,
        });
        assert_eq!(
            joined,
            Some(1),
            "the last generation is followed by the first"
        );
        bench.pass(60_000);
        bench.commit_all();
    }
}

#[test]
fn nothing_is_due_before_an_election() {
    let mut bench = Bench::new(GroupConfig::default(), 1);
    assert_eq!(bench.machine.deadline(), types::Mono::NEVER);
    assert_eq!(bench.now.mono, Now::default().mono);
    assert!(bench.step(Input::Tick).is_empty());
    assert!(bench.commit(7).is_empty());
    let topic = "t".to_owned();
    let topic_id = Uuid::ZERO;
    assert!(
        bench
            .step(Input::TopicDeleted { topic, topic_id })
            .is_empty()
    );
}

#[test]
fn many_offsets_expire_in_parts_and_none_is_lost_from_sight() {
    let config = GroupConfig {
        offsets_retention_ms: 1,
        ..GroupConfig::default()
    };
    let mut bench = Bench::new(config, 1);
    bench.elect();
    let partition = |partition| OffsetCommitPartition {
        partition,
        ..OffsetCommitPartition::default()
    };
    let topic = OffsetCommitTopic {
        topic: "t".to_owned(),
        topic_id: Uuid::ZERO,
        partitions: (0..1500).map(partition).collect(),
    };
    let request = OffsetCommit {
        group_id: "g".to_owned(),
        generation_id: -1,
        retention_time_ms: -1,
        topics: vec![topic],
        ..OffsetCommit::default()
    };
    bench.request(1, request);
    bench.commit_all();
    bench.pass(600_000);
    let parts: Vec<usize> = bench.in_flight.values().map(Vec::len).collect();
    assert_eq!(parts, [1000, 501]);
    // The first part does not get through, the group's tombstone in the second does: the rest is a simple group.
    let first = *bench.in_flight.keys().next().expect("two parts");
    bench.fail(first, AppendError::NotEnoughReplicas);
    bench.commit_all();
    assert_eq!(bench.machine.view().offsets("g").count(), 1000);
    assert_eq!(bench.machine.view().groups().count(), 1);
    bench.pass(600_000);
    bench.commit_all();
    assert_eq!(bench.machine.view().groups().count(), 0);
}

#[test]
fn offsets_of_topics_that_went_before_the_load_are_forgotten() {
    let mut bench = Bench::new(GroupConfig::default(), 1);
    bench.elect();
    let id = |low| Uuid::from_u128(low);
    // `old` was made anew under another id; of `unknown` nobody stored the id.
    let topics = [
        ("kept", id(1)),
        ("gone", id(2)),
        ("old", id(3)),
        ("unknown", Uuid::ZERO),
    ];
    for group in ["g", "h"] {
        let topics = topics.map(|(topic, topic_id)| OffsetCommitTopic {
            topic: topic.to_owned(),
            topic_id,
            partitions: vec![OffsetCommitPartition::default()],
        });
        let request = OffsetCommit {
            group_id: group.to_owned(),
            generation_id: -1,
            retention_time_ms: -1,
            topics: topics.into(),
            ..OffsetCommit::default()
        };
        bench.request(if group == "g" { 1 } else { 2 }, request);
    }
    bench.commit_all();
    let listed = bench.machine.view().offset_topics();
    let name = |(topic, topic_id): (&str, Uuid)| (topic.into(), topic_id);
    assert_eq!(listed, topics.map(name).into());
    let gone = [("gone", id(2)), ("old", id(3)), ("unknown", id(9))].map(name);
    bench.step(Input::TopicsGone {
        topics: gone.into(),
    });
    let tombstones: usize = bench.in_flight.values().map(Vec::len).sum();
    assert_eq!(tombstones, 4);
    bench.commit_all();
    for group in ["g", "h"] {
        let view = bench.machine.view();
        let left: Vec<&str> = view.offsets(group).map(|(topic, _, _)| topic).collect();
        assert_eq!(left, ["kept", "unknown"]);
    }
    // Not while nobody is coordinated here.
    bench.step(Input::Resigned);
    let topics = bench.machine.view().offset_topics();
    assert!(bench.step(Input::TopicsGone { topics }).is_empty());
}
