//! Requests that Kafka's own client cannot make, and limits.
//!
//! Size: a table of requests, one story each.

use types::{ErrorCode, Uuid};

use crate::configs::TopicConfig;
use crate::image::{ConfigResource, DIRECTORY_UNASSIGNED, NO_LEADER};
use crate::request::*;
use crate::test_support::{Cluster, registration};

fn topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: -1,
        ..CreatableTopic::default()
    }
}

fn create(cluster: &mut Cluster, topics: Vec<CreatableTopic>) -> (Vec<ErrorCode>, usize) {
    let request = Request::CreateTopics(CreateTopics {
        topics,
        validate_only: false,
    });
    match cluster.ask(&request) {
        (Response::CreateTopics(replies), records) => {
            let code = |reply: &CreateTopicReply| {
                reply
                    .result
                    .as_ref()
                    .map_or_else(|e| e.code(), |_| ErrorCode::None)
            };
            (replies.iter().map(code).collect(), records.len())
        }
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn topics_of_one_request_do_not_hinder_each_other() {
    let mut cluster = Cluster::started();
    let topics = vec![
        topic("good", 2),
        topic("twice", 1),
        topic("twice", 1),
        topic("x.y", 1),
        topic("x_y", 1),
        topic("bad name", 1),
    ];
    let (codes, records) = create(&mut cluster, topics);
    use ErrorCode::{InvalidRequest, InvalidTopicException, None};
    let expected = [
        None,
        InvalidRequest,
        None,
        InvalidTopicException,
        InvalidTopicException,
    ];
    assert_eq!(codes, expected, "each name is answered once");
    assert_eq!(records, 3 + 2);
}

#[test]
fn too_many_records_are_refused_together() {
    let mut cluster = Cluster::started();
    let policy = ErrorCode::PolicyViolation;
    assert_eq!(
        create(&mut cluster, vec![topic("a", 10_000)]),
        (vec![policy], 0)
    );
    let (codes, records) = create(
        &mut cluster,
        vec![topic("a", 6_000), topic("b", 6_000), topic("c", 0)],
    );
    assert_eq!(
        (codes, records),
        (vec![policy, policy, ErrorCode::InvalidPartitions], 0)
    );
    assert_eq!(
        create(&mut cluster, vec![topic("a", 9_999)]),
        (vec![ErrorCode::None], 10_000)
    );
    assert_eq!(
        cluster.operate("grow a partitions=25000").0,
        "POLICY_VIOLATION"
    );
    assert_eq!(cluster.operate("grow a partitions=11000").0, "NONE");
    assert_eq!(
        cluster
            .controller
            .image()
            .topic("a")
            .unwrap()
            .partition_count(),
        11_000
    );
    // Stopping writes more than one batch may hold, so it is not one batch.
    let epoch = cluster.controller.image().broker(1).unwrap().epoch;
    assert_eq!(cluster.heartbeat(epoch, true).1.len(), 11_001);
}

#[test]
fn assignment_and_count_exclude_each_other() {
    let mut cluster = Cluster::started();
    for (partitions, replicas) in [(1, -1), (-1, 1)] {
        let topic = CreatableTopic {
            replication_factor: replicas,
            assignments: vec![(0, vec![1])],
            ..topic("a", partitions)
        };
        assert_eq!(
            create(&mut cluster, vec![topic]).0,
            [ErrorCode::InvalidRequest]
        );
    }
    let null = CreatableTopic {
        configs: vec![("retention.ms".to_owned(), None)],
        ..topic("a", 1)
    };
    assert_eq!(
        create(&mut cluster, vec![null]).0,
        [ErrorCode::InvalidConfig]
    );
}

#[test]
fn defaults_come_from_the_broker() {
    let mut cluster = Cluster::started();
    let configs = &mut cluster.controller.config.static_configs;
    configs.insert("num.partitions".to_owned(), "7".to_owned());
    create(&mut cluster, vec![topic("a", -1)]);
    let image = cluster.controller.image();
    let topic = image.topic("a").unwrap();
    assert_eq!(
        (topic.partition_count(), topic.replication_factor()),
        (7, 1)
    );
    assert_eq!(
        topic.partition(0).unwrap().directories,
        [Uuid::from_u128(1000)]
    );
}

#[test]
fn what_brokers_are_told_while_they_run_is_checked() {
    let mut cluster = Cluster::started();
    for (operation, expected) in [
        (
            "alter broker: =max.connections.per.ip.overrides=10.0.0.1:5,::1:6",
            "NONE",
        ),
        (
            "alter broker: =max.connections.per.ip.overrides=10.0.0.1",
            "INVALID_REQUEST",
        ),
        ("alter broker:1 =listeners=PLAINTEXT://:1", "INVALID_CONFIG"),
        (
            "alter broker:1 =listener.name.plaintext.ssl.keystore.type=PEM",
            "NONE",
        ),
        (
            "alter broker: =listener.name.plaintext.ssl.keystore.type=PEM",
            "INVALID_REQUEST",
        ),
        (
            "alter broker:1 =listener.name.plaintext.max.connections=5",
            "INVALID_CONFIG",
        ),
        ("alter broker:1 =cordoned.log.dirs=/data", "INVALID_CONFIG"),
        ("alter broker: +log.cleanup.policy=compact", "NONE"),
        ("alter broker: +log.retention.ms=5", "INVALID_CONFIG"),
        ("alter broker:1 !no.such", "NONE"),
    ] {
        assert_eq!(cluster.operate(operation).0, expected, "{operation}");
    }
    let image = cluster.controller.image();
    let policy = image.config_value(&ConfigResource::broker_default(), "log.cleanup.policy");
    assert_eq!(policy, Some("delete,compact"));
}

#[test]
fn a_wrong_default_is_refused_like_a_wrong_number() {
    let mut cluster = Cluster::started();
    let configs = &mut cluster.controller.config.static_configs;
    configs.insert("default.replication.factor".to_owned(), "0".to_owned());
    let refused = ErrorCode::InvalidReplicationFactor;
    assert_eq!(create(&mut cluster, vec![topic("a", 1)]).0, [refused]);
}

#[test]
fn nothing_is_placed_on_a_fenced_broker() {
    let mut cluster = Cluster::started();
    let epoch = cluster.register(2);
    assert_eq!(
        create(&mut cluster, vec![topic("a", 1)]).0,
        [ErrorCode::InvalidReplicationFactor]
    );
    assert_eq!(
        cluster.operate("create a assign=0:1").0,
        "INVALID_REPLICA_ASSIGNMENT"
    );
    // Only a broker that has read its own registration is unfenced.
    let request = BrokerHeartbeat {
        broker_id: 1,
        broker_epoch: epoch,
        current_metadata_offset: epoch - 1,
        want_fence: false,
        want_shut_down: false,
        cordoned_log_dirs: Vec::new(),
    };
    let reply = |caught_up, fenced| {
        let reply = BrokerHeartbeatReply {
            is_caught_up: caught_up,
            is_fenced: fenced,
            should_shut_down: false,
        };
        Response::BrokerHeartbeat(Ok(reply))
    };
    let early = Request::BrokerHeartbeat(request.clone());
    assert_eq!(cluster.ask(&early).0, reply(false, true));
    let wanting = Request::BrokerHeartbeat(BrokerHeartbeat {
        want_fence: true,
        current_metadata_offset: epoch,
        ..request.clone()
    });
    assert_eq!(cluster.ask(&wanting), (reply(true, true), Vec::new()));
    let late = BrokerHeartbeat {
        current_metadata_offset: epoch,
        ..request
    };
    assert_eq!(
        cluster.ask(&Request::BrokerHeartbeat(late)).0,
        reply(true, false)
    );
    assert_eq!(
        create(&mut cluster, vec![topic("a", 1)]).0,
        [ErrorCode::None]
    );
}

/// Registers and unfences one more broker; returns its epoch.
fn add_broker(cluster: &mut Cluster, id: i32) -> i64 {
    let Request::RegisterBroker(first) = registration(u128::from(id.unsigned_abs())) else {
        panic!("a registration is a registration");
    };
    let request = RegisterBroker {
        broker_id: id,
        ..first
    };
    let (response, _) = cluster.ask(&Request::RegisterBroker(request));
    let Response::RegisterBroker(Ok(epoch)) = response else {
        panic!("{response:?}")
    };
    beat(cluster, id, epoch, false);
    epoch
}

fn beat(cluster: &mut Cluster, id: i32, epoch: i64, want_fence: bool) {
    let (response, _) = cluster.ask(&Request::BrokerHeartbeat(BrokerHeartbeat {
        broker_id: id,
        broker_epoch: epoch,
        current_metadata_offset: cluster.next_offset,
        want_fence,
        want_shut_down: false,
        cordoned_log_dirs: Vec::new(),
    }));
    assert!(
        matches!(response, Response::BrokerHeartbeat(Ok(_))),
        "{response:?}"
    );
}

#[test]
fn a_fenced_leader_leaves_the_isr_and_the_last_one_stays_in_it() {
    let mut cluster = Cluster::started();
    let second = add_broker(&mut cluster, 2);
    let third = add_broker(&mut cluster, 3);
    cluster.operate("create a assign=0:2,3");
    let state = |cluster: &Cluster| {
        let image = cluster.controller.image();
        let partition = image.topic("a").unwrap().partition(0).cloned().unwrap();
        (
            partition.leader,
            partition.isr.clone(),
            partition.leader_epoch,
            partition.partition_epoch,
        )
    };
    assert_eq!(state(&cluster), (2, vec![2, 3], 0, 0));
    beat(&mut cluster, 2, second, true);
    assert_eq!(state(&cluster), (3, vec![3], 1, 1));
    beat(&mut cluster, 3, third, true);
    assert_eq!(
        state(&cluster),
        (NO_LEADER, vec![3], 2, 2),
        "only it has all records"
    );
    beat(&mut cluster, 2, second, false);
    assert_eq!(
        state(&cluster),
        (NO_LEADER, vec![3], 2, 2),
        "who left the ISR may not lead"
    );
    beat(&mut cluster, 3, third, false);
    assert_eq!(state(&cluster), (3, vec![3], 3, 3));
}

#[test]
fn replicas_are_spread_over_brokers() {
    let mut cluster = Cluster::started();
    for id in [2, 3] {
        add_broker(&mut cluster, id);
    }
    cluster.operate("create a partitions=6 rf=2");
    let image = cluster.controller.image();
    let mut led = [0; 4];
    for partition in image.topic("a").unwrap().partitions.values() {
        led[usize::try_from(partition.leader).unwrap()] += 1;
        assert_eq!(partition.replicas[0], partition.leader);
        assert!(partition.replicas.len() == 2 && partition.replicas[0] != partition.replicas[1]);
    }
    assert_eq!(led, [0, 2, 2, 2]);
    assert_eq!(
        cluster.operate("create b partitions=1 rf=4").0,
        "INVALID_REPLICATION_FACTOR"
    );
}

#[test]
fn a_deleted_topic_hinders_no_other_name() {
    let mut cluster = Cluster::started();
    for (operation, expected) in [
        ("create a.b partitions=1", "NONE"),
        ("create a_b partitions=1", "INVALID_TOPIC_EXCEPTION"),
        ("delete a.b", "NONE"),
        ("create a_b partitions=1", "NONE"),
        ("create a.b partitions=1", "INVALID_TOPIC_EXCEPTION"),
    ] {
        assert_eq!(cluster.operate(operation).0, expected, "{operation}");
    }
}

#[test]
fn stale_and_foreign_brokers_are_refused() {
    let mut cluster = Cluster::started();
    let first = cluster.controller.image().broker(1).unwrap().epoch;
    let second = cluster.register(2);
    assert_eq!(
        cluster.heartbeat(first, false).0.unwrap_err().code(),
        ErrorCode::StaleBrokerEpoch
    );
    assert!(cluster.heartbeat(second, false).0.is_ok());
    let stale = AllocateProducerIds {
        broker_id: 1,
        broker_epoch: first,
    };
    let (response, records) = cluster.ask(&Request::AllocateProducerIds(stale));
    assert!(matches!(response, Response::AllocateProducerIds(Err(_))) && records.is_empty());

    let image = cluster.controller.image();
    let broker = image.broker(1).unwrap();
    let good = RegisterBroker {
        broker_id: 1,
        cluster_id: image.cluster_id.to_string(),
        incarnation_id: Uuid::from_u128(9),
        endpoints: broker.endpoints.clone(),
        features: broker.features.clone(),
        rack: None,
        log_dirs: broker.log_dirs.clone(),
        previous_incarnation_is_dead: false,
    };
    let same = RegisterBroker {
        incarnation_id: broker.incarnation_id,
        ..good.clone()
    };
    let foreign = RegisterBroker {
        cluster_id: "other".to_owned(),
        ..good.clone()
    };
    let bare = RegisterBroker {
        log_dirs: Vec::new(),
        ..good.clone()
    };
    let old = RegisterBroker {
        features: Default::default(),
        ..good.clone()
    };
    for (request, expected) in [
        (good, Err(ErrorCode::DuplicateBrokerRegistration)),
        (same, Ok(second)),
        (foreign, Err(ErrorCode::InconsistentClusterId)),
        (bare, Err(ErrorCode::InvalidRegistration)),
        (old, Err(ErrorCode::UnsupportedVersion)),
    ] {
        let (response, records) = cluster.ask(&Request::RegisterBroker(request));
        let Response::RegisterBroker(result) = response else {
            panic!("{response:?}")
        };
        assert_eq!(result.map_err(|error| error.code()), expected);
        assert_eq!(records, Vec::new());
    }
}

#[test]
fn topics_are_deleted_by_name_or_id_once() {
    let mut cluster = Cluster::started();
    create(
        &mut cluster,
        vec![topic("a", 1), topic("b", 1), topic("c", 1)],
    );
    let image = cluster.controller.image();
    let id = |name: &str| image.topic(name).unwrap().id;
    let request = DeleteTopics {
        topics: vec![
            TopicSelector::Name("a".to_owned()),
            TopicSelector::Name("b".to_owned()),
            TopicSelector::Id(id("b")),
            TopicSelector::Id(id("c")),
            TopicSelector::Id(Uuid::from_u128(5)),
            TopicSelector::Invalid {
                name: Some("c".to_owned()),
                id: id("c"),
            },
        ],
    };
    let (response, _) = cluster.ask(&Request::DeleteTopics(request.clone()));
    let Response::DeleteTopics(replies) = response else {
        panic!("{response:?}")
    };
    let codes: Vec<ErrorCode> = replies
        .iter()
        .map(|reply| {
            reply
                .result
                .as_ref()
                .map_or_else(|e| e.code(), |_| ErrorCode::None)
        })
        .collect();
    use ErrorCode::{InvalidRequest, None, TopicDeletionDisabled, UnknownTopicId};
    let expected = [
        None,
        InvalidRequest,
        InvalidRequest,
        None,
        UnknownTopicId,
        InvalidRequest,
    ];
    assert_eq!(codes, expected);
    assert_eq!(
        replies[3].name.as_deref(),
        Some("c"),
        "an id is answered with its name"
    );
    let left: Vec<String> = cluster
        .controller
        .image()
        .topics
        .iter()
        .map(|topic| topic.name.to_string())
        .collect();
    assert_eq!(left, ["b"]);

    let configs = &mut cluster.controller.config.static_configs;
    configs.insert("delete.topic.enable".to_owned(), "false".to_owned());
    let (response, _) = cluster.ask(&Request::DeleteTopics(request));
    let Response::DeleteTopics(replies) = response else {
        panic!("{response:?}")
    };
    let code = |reply: &DeleteTopicReply| reply.result.as_ref().unwrap_err().code();
    assert!(
        replies
            .iter()
            .all(|reply| code(reply) == TopicDeletionDisabled)
    );
}

#[test]
fn legacy_alter_replaces_everything() {
    let mut cluster = Cluster::started();
    cluster.operate("create a partitions=1 retention.ms=5 flush.messages=10");
    let request = |configs: &[(&str, Option<&str>)]| {
        let configs = configs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned)));
        Request::AlterConfigs(AlterConfigs {
            resources: vec![(
                ResourceName {
                    resource_type: 2,
                    name: "a".to_owned(),
                },
                configs.collect(),
            )],
            validate_only: false,
        })
    };
    let config = |cluster: &Cluster| {
        let image = cluster.controller.image();
        image
            .config(&ConfigResource::topic("a"))
            .map(|configs| format!("{configs:?}"))
    };
    cluster.ask(&request(&[("retention.ms", Some("6"))]));
    assert_eq!(
        config(&cluster).as_deref(),
        Some(r#"{"retention.ms": "6"}"#)
    );
    for wrong in [
        ("retention.ms", None),
        ("retention.ms", Some("x")),
        ("no.such", Some("1")),
    ] {
        let (_, records) = cluster.ask(&request(&[wrong]));
        assert_eq!(records, Vec::new(), "{wrong:?}");
    }
    cluster.ask(&request(&[]));
    assert_eq!(config(&cluster), None);
}

#[test]
fn a_change_of_config_acts_at_once_and_appends_to_what_is_in_force() {
    let mut cluster = Cluster::started();
    cluster.operate("create a partitions=1");
    let read = |cluster: &Cluster| TopicConfig::of_topic(&cluster.controller.config_view(), "a");
    assert!(read(&cluster).is_flushed(), "topics are flushed by default");
    assert_eq!(read(&cluster).retention_ms, 7 * 24 * 60 * 60 * 1000);
    for (operation, retention_ms) in [
        ("alter broker: =log.retention.ms=50", 50),
        ("alter broker:1 =log.retention.ms=60", 60),
        ("alter topic:a =retention.ms=70", 70),
        ("alter topic:a !retention.ms", 60),
        ("alter broker:1 !log.retention.ms", 50),
    ] {
        assert_eq!(cluster.operate(operation).0, "NONE");
        assert_eq!(read(&cluster).retention_ms, retention_ms, "{operation}");
    }
    cluster.operate("alter broker: =log.flush.interval.messages=100");
    assert_eq!(read(&cluster).flush_messages, 100);
    // What a user appends to is what is in force: compaction asked for by all brokers must not be lost.
    cluster.operate("alter broker: =log.cleanup.policy=compact");
    cluster.operate("alter topic:a +cleanup.policy=delete");
    let policy = read(&cluster).cleanup_policy;
    assert!(policy.compact && policy.delete);
}

#[test]
fn directories_of_several_disks_are_told_later() {
    let mut cluster = Cluster::started();
    let image = cluster.controller.image();
    let broker = image.broker(1).unwrap();
    let (first, second) = (Uuid::from_u128(1000), Uuid::from_u128(2000));
    let (response, _) = cluster.ask(&Request::RegisterBroker(RegisterBroker {
        broker_id: 1,
        cluster_id: image.cluster_id.to_string(),
        incarnation_id: Uuid::from_u128(2),
        endpoints: broker.endpoints.clone(),
        features: broker.features.clone(),
        rack: None,
        log_dirs: vec![first, second],
        previous_incarnation_is_dead: true,
    }));
    let Response::RegisterBroker(Ok(broker_epoch)) = response else {
        panic!("{response:?}")
    };
    cluster.heartbeat(broker_epoch, false).0.unwrap();
    create(&mut cluster, vec![topic("a", 1)]);
    let id = cluster.controller.image().topic("a").unwrap().id;
    let directory = |cluster: &Cluster| {
        cluster
            .controller
            .image()
            .topic("a")
            .unwrap()
            .partition(0)
            .unwrap()
            .directory(1)
    };
    assert_eq!(directory(&cluster), Some(DIRECTORY_UNASSIGNED));
    let assign = Request::AssignReplicasToDirs(AssignReplicasToDirs {
        broker_id: 1,
        broker_epoch,
        replicas: vec![
            (second, id, 0),
            (second, id, 1),
            (second, Uuid::from_u128(3), 0),
        ],
    });
    let (response, records) = cluster.ask(&assign);
    let Response::AssignReplicasToDirs(Ok(replies)) = response else {
        panic!("{response:?}")
    };
    let codes: Vec<Option<ErrorCode>> = replies
        .iter()
        .map(|reply| reply.result.err().map(|error| error.code()))
        .collect();
    assert_eq!(
        codes,
        [
            None,
            Some(ErrorCode::UnknownTopicOrPartition),
            Some(ErrorCode::UnknownTopicId)
        ]
    );
    assert_eq!((directory(&cluster), records.len()), (Some(second), 1));
    assert_eq!(
        cluster.ask(&assign).1,
        Vec::new(),
        "what is known is not written again"
    );
}
