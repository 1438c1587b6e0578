//! Records that a real Kafka wrote, replayed and written again.

use bytes::Bytes;
use types::{Prng, Uuid, Wall};

use super::bench::Bench;
use crate::groups::image::Change;
use crate::groups::*;

const RECORDS: &str = include_str!("kafka_records.txt");

fn records() -> Vec<(Bytes, Option<Bytes>)> {
    let lines = RECORDS.lines().filter(|line| !line.starts_with('#'));
    let record = |line: &str| {
        let (key, value) = line.split_once(' ').expect("key and value");
        let value = (value != "-").then(|| hex(value));
        (hex(key), value)
    };
    lines.map(record).collect()
}

fn hex(text: &str) -> Bytes {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
        u8::from_str_radix(pair, 16).expect("hexadecimal digits")
    };
    digits.map(byte).collect()
}

#[test]
fn every_record_is_written_back_byte_for_byte() {
    let records = records();
    assert_eq!(records.len(), 17);
    for (key, value) in records {
        let change = Change::decode(Some(key.clone()), value.clone());
        let change = change
            .expect("Kafka's own record")
            .expect("a kind we serve");
        assert_eq!(change.encode(), CoordinatorRecord { key, value });
    }
}

/// The coordinator after a replay of the first `count` records.
fn replayed(count: usize) -> Bench {
    let mut bench = Bench::new(GroupConfig::default(), 1);
    let records = records().into_iter().take(count);
    bench.log = records
        .map(|(key, value)| CoordinatorRecord { key, value })
        .collect();
    bench.elect();
    bench
}

#[test]
fn a_replayed_group_is_stable_with_its_member() {
    let bench = replayed(4);
    let view = bench.machine.view();
    let group = view.groups().next().expect("g1");
    assert_eq!((group.group_id(), group.generation_id()), ("g1", 1));
    assert_eq!(group.state(), GroupState::Stable);
    assert_eq!(group.protocol_type(), Some("consumer"));
    assert_eq!(group.protocol_name(), Some("range"));
    let members: Vec<MemberView<'_>> = group.members().collect();
    assert_eq!(members.len(), 1);
    assert_eq!(Some(members[0].member_id()), group.leader());
    assert_eq!(members[0].assignment().len(), 21);
    let offsets: Vec<_> = view.offsets("g1").collect();
    let expected = CommittedOffset {
        offset: 43,
        leader_epoch: 3,
        metadata: String::new(),
        committed_at: Wall::from_millis(0x1a1_fd9f_5e56),
        expires_at: None,
        topic_id: Uuid::from_u128(0x636f_9cf2_a21b_41d3_9487_e55a_7074_0305),
    };
    assert_eq!(offsets, [("t", 0, &expected)]);
}

#[test]
fn an_offset_with_its_own_expiry_keeps_it() {
    let bench = replayed(7);
    let (_, _, offset) = bench.machine.view().offsets("g1").next().expect("g1 t-0");
    let expires_at = offset.expires_at.expect("the client said when");
    assert_eq!(expires_at - offset.committed_at, 3_600_000);
    assert_eq!((offset.offset, offset.metadata.as_str()), (51, "old"));
}

#[test]
fn a_whole_log_leaves_what_kafka_listed() {
    let bench = replayed(17);
    let groups = bench.machine.view().groups();
    let groups: Vec<_> = groups
        .map(|g| (g.group_id(), g.state(), g.generation_id()))
        .collect();
    let empty = GroupState::Empty;
    assert_eq!(
        groups,
        [("g2", empty, 2), ("g3", empty, 0), ("g4", empty, 0)]
    );
    assert_eq!(bench.machine.view().offsets("g3").count(), 0);
}

#[test]
fn a_returned_static_member_has_its_newest_id() {
    let bench = replayed(13);
    let group = bench.machine.view().groups().next().expect("g2");
    let members: Vec<_> = group
        .members()
        .map(|m| (m.group_instance_id(), &m.member_id()[..9]))
        .collect();
    assert_eq!(members, [(Some("inst"), "inst-088c")]);
}

#[test]
fn foreign_and_broken_records() {
    let mut machine = GroupCoordinator::new(GroupConfig::default(), Prng::new(1, "ids"));
    let mut out = Actions::new();
    let now = types::Now::default();
    let bytes = |text: &str| Some(hex(text));
    machine.step(now, Input::Elected { epoch: 1 }, &mut out);
    // Consumer, share and streams groups, and kinds that do not exist yet.
    for kind in ["0003", "0005", "0008", "000b", "0010", "0017", "7fff"] {
        let key = bytes(&format!("{kind}00026731"));
        assert_eq!(machine.replay(key, bytes("0000")), Ok(Replayed::Ignored));
    }
    // An offset as brokers before 0.9 wrote it.
    let legacy = machine.replay(
        bytes("0000000167000174000000ff"),
        bytes("0000000000000000000500016d0000000000000007"),
    );
    assert_eq!(legacy, Ok(Replayed::Applied));
    let (topic, partition, offset) = machine.view().offsets("g").next().expect("g t-255");
    assert_eq!((topic, partition, offset.offset), ("t", 255, 5));
    assert_eq!(machine.replay(None, None), Err(ReplayError::NoKey));
    assert_eq!(machine.view().phase(), CoordinatorPhase::Failed);
    let broken = [
        ("00", None),
        ("0001000267", None),
        ("000200026731ff", None),
        ("000200026731", Some("")),
        ("000200026731", Some("0005")),
        ("000200026731", Some("000300")),
    ];
    for (key, value) in broken {
        let replayed = machine.replay(bytes(key), value.map(hex));
        assert!(replayed.is_err(), "{key} {value:?}");
    }
    // Nothing is served from a log that cannot be read.
    machine.step(now, Input::Loaded, &mut out);
    machine.check();
    out.take();
    let request = ListGroups::default().into();
    machine.step(now, Input::Request { token: 1, request }, &mut out);
    let refused = Response::ListGroups(Err(Unavailable::NotCoordinator.into()));
    let response = refused.clone();
    assert_eq!(out.take(), [Action::Reply { token: 1, response }]);
}
