//! What a principal hears who may do nothing, and one who is throttled.

use broker::server::authorizer::{Authorizer, Quotas};
use protocol::ApiKey;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use protocol::messages::{
    AlterConfigsRequest, ApiVersionsRequest, CreatePartitionsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest,
    DescribeTopicPartitionsRequest, FindCoordinatorRequest, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListConfigResourcesRequest,
    ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, SyncGroupRequest,
    alter_configs_request, describe_configs_request, describe_producers_request,
    describe_quorum_request, describe_topic_partitions_request,
};
use types::{ErrorCode, Uuid};

use crate::harness::{
    BROKER, Broker, Data, Kafka, Options, TOPIC, batch, code, create_request, fetch_request,
    metadata_request, only, produce_request, run,
};

const NAME: &str = "hidden";
const GROUP: &str = "group";

/// A node with a topic, restarted so that nobody may do anything.
async fn denying() -> (Broker, Uuid) {
    let broker = Broker::new().await;
    let mut kafka = broker.kafka().await;
    let id = kafka.create(NAME, 1, &[]).await;
    kafka.put(NAME, 0, &["secret"]).await;
    let mut data: Data = broker.stop().await;
    data.options().authorizer = Authorizer::DenyAll;
    (data.start().await, id)
}

#[test]
fn every_handler_refuses_who_may_do_nothing() {
    run(async {
        let (broker, id) = denying().await;
        let mut kafka = broker.kafka().await;
        for route in broker::handlers::routes().iter() {
            let (seen, expected) = refusal(&mut kafka, route.key, id).await;
            let name = |code| ErrorCode::from_code(code).map_or("?", ErrorCode::name);
            assert_eq!(
                name(seen),
                name(code(expected)),
                "{:?} answers who may do nothing",
                route.key
            );
        }
        broker.stop().await;
    });
}

/// The code that an API answers, and the one that Kafka does. An API without a row fails.
async fn refusal(kafka: &mut Kafka, key: ApiKey, id: Uuid) -> (i16, ErrorCode) {
    use ErrorCode::{
        ClusterAuthorizationFailed as Cluster, GroupAuthorizationFailed as Group,
        TopicAuthorizationFailed as Topic,
    };
    match key {
        ApiKey::Produce => (
            kafka.produce(NAME, 0, batch(&["a"])).await.error_code,
            Topic,
        ),
        ApiKey::Fetch => (kafka.fetch(NAME, 0, 0).await.error_code, Topic),
        ApiKey::ListOffsets => (list_offsets(kafka).await, Topic),
        ApiKey::Metadata => (metadata(kafka, id).await, Topic),
        ApiKey::CreateTopics => (create_topics(kafka).await, Topic),
        ApiKey::DeleteTopics => (delete_topics(kafka, id).await, Topic),
        ApiKey::DeleteRecords => (delete_records(kafka).await, Topic),
        ApiKey::OffsetForLeaderEpoch => (offset_for_leader_epoch(kafka).await, Topic),
        ApiKey::CreatePartitions => (create_partitions(kafka).await, Topic),
        ApiKey::DescribeProducers => (describe_producers(kafka).await, Topic),
        ApiKey::DescribeTopicPartitions => (describe_topic_partitions(kafka).await, Topic),
        ApiKey::DescribeConfigs => (describe_configs(kafka).await, Topic),
        ApiKey::AlterConfigs => (alter_configs(kafka).await, Topic),
        ApiKey::IncrementalAlterConfigs => (incremental_alter_configs(kafka).await, Topic),
        ApiKey::InitProducerId => {
            let request = InitProducerIdRequest {
                transactional_id: None,
                ..Default::default()
            };
            (kafka.call(4, &request).await.error_code, Cluster)
        }
        ApiKey::DescribeLogDirs => {
            let request = DescribeLogDirsRequest::default();
            (kafka.call(4, &request).await.error_code, Cluster)
        }
        ApiKey::DescribeQuorum => (describe_quorum(kafka).await, Cluster),
        ApiKey::ListConfigResources => {
            let request = ListConfigResourcesRequest::default();
            (kafka.call(1, &request).await.error_code, Cluster)
        }
        // It is told to everybody, but not what one may do.
        ApiKey::DescribeCluster => (describe_cluster(kafka).await, ErrorCode::None),
        ApiKey::ApiVersions => {
            let request = ApiVersionsRequest::default();
            (kafka.call(2, &request).await.error_code, ErrorCode::None)
        }
        // Groups that may not be described are left out.
        ApiKey::ListGroups => {
            let response = kafka.call(4, &ListGroupsRequest::default()).await;
            assert!(response.groups.is_empty());
            (response.error_code, ErrorCode::None)
        }
        _ => (group_refusal(kafka, key).await, Group),
    }
}

async fn group_refusal(kafka: &mut Kafka, key: ApiKey) -> i16 {
    let group_id = GROUP.to_owned();
    match key {
        ApiKey::OffsetCommit => offset_commit(kafka).await,
        ApiKey::OffsetFetch => offset_fetch(kafka).await,
        ApiKey::FindCoordinator => {
            let coordinator_keys = vec![group_id];
            let request = FindCoordinatorRequest {
                coordinator_keys,
                ..Default::default()
            };
            kafka.call(4, &request).await.coordinators[0].error_code
        }
        ApiKey::JoinGroup => {
            let request = JoinGroupRequest {
                group_id,
                session_timeout_ms: 10_000,
                protocol_type: "consumer".to_owned(),
                ..Default::default()
            };
            kafka.call(9, &request).await.error_code
        }
        ApiKey::Heartbeat => {
            let request = HeartbeatRequest {
                group_id,
                ..Default::default()
            };
            kafka.call(4, &request).await.error_code
        }
        ApiKey::LeaveGroup => {
            let request = LeaveGroupRequest {
                group_id,
                ..Default::default()
            };
            kafka.call(5, &request).await.error_code
        }
        ApiKey::SyncGroup => {
            let request = SyncGroupRequest {
                group_id,
                ..Default::default()
            };
            kafka.call(5, &request).await.error_code
        }
        ApiKey::DescribeGroups => {
            let groups = vec![group_id];
            let request = DescribeGroupsRequest {
                groups,
                ..Default::default()
            };
            kafka.call(5, &request).await.groups[0].error_code
        }
        ApiKey::DeleteGroups => {
            let groups_names = vec![group_id];
            let request = DeleteGroupsRequest {
                groups_names,
                ..Default::default()
            };
            kafka.call(2, &request).await.results[0].error_code
        }
        ApiKey::OffsetDelete => offset_delete(kafka, group_id).await,
        other => panic!("{other:?} is served and has no row here"),
    }
}

async fn list_offsets(kafka: &mut Kafka) -> i16 {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: NAME.to_owned(),
            partitions: vec![ListOffsetsPartition {
                timestamp: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    kafka.call(8, &request).await.topics[0].partitions[0].error_code
}

async fn metadata(kafka: &mut Kafka, id: Uuid) -> i16 {
    let all = MetadataRequest {
        topics: None,
        include_cluster_authorized_operations: true,
        ..Default::default()
    };
    let response = kafka.call(10, &all).await;
    assert!(response.topics.is_empty(), "what may not be seen is absent");
    assert_eq!(response.cluster_authorized_operations, 0);
    let by_id = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id: id,
            name: None,
            ..Default::default()
        }]),
        ..Default::default()
    };
    let response = kafka.call(12, &by_id).await;
    assert_eq!(
        response.topics[0].error_code,
        code(ErrorCode::UnknownTopicId)
    );
    assert_eq!(response.topics[0].name, None);
    let mut seen = Vec::new();
    for name in [NAME, "absent"] {
        let response = kafka.call(12, &metadata_request(name, true)).await;
        seen.push(response.topics[0].error_code);
    }
    assert_eq!(seen[0], seen[1], "existence is hidden");
    seen[0]
}

async fn create_topics(kafka: &mut Kafka) -> i16 {
    let response = kafka.call(7, &create_request("new", 1, &[])).await;
    response.topics[0].error_code
}

async fn delete_topics(kafka: &mut Kafka, id: Uuid) -> i16 {
    let request = DeleteTopicsRequest {
        topics: vec![
            DeleteTopicState {
                name: Some(NAME.to_owned()),
                ..Default::default()
            },
            DeleteTopicState {
                topic_id: id,
                ..Default::default()
            },
        ],
        ..Default::default()
    };
    let response = kafka.call(6, &request).await;
    let of = |id: Uuid| {
        let found = response.responses.iter().find(|one| one.topic_id == id);
        found.expect("an answer each").error_code
    };
    assert_eq!(of(id), code(ErrorCode::UnknownTopicId), "by id");
    of(Uuid::ZERO)
}

async fn delete_records(kafka: &mut Kafka) -> i16 {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: NAME.to_owned(),
            partitions: vec![DeleteRecordsPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    kafka.call(2, &request).await.topics[0].partitions[0].error_code
}

async fn offset_for_leader_epoch(kafka: &mut Kafka) -> i16 {
    let request = OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic {
            topic: NAME.to_owned(),
            partitions: vec![OffsetForLeaderPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    kafka.call(4, &request).await.topics[0].partitions[0].error_code
}

async fn create_partitions(kafka: &mut Kafka) -> i16 {
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: NAME.to_owned(),
            count: 2,
            assignments: None,
            ..Default::default()
        }],
        ..Default::default()
    };
    kafka.call(3, &request).await.results[0].error_code
}

async fn describe_producers(kafka: &mut Kafka) -> i16 {
    let request = DescribeProducersRequest {
        topics: vec![describe_producers_request::TopicRequest {
            name: NAME.to_owned(),
            partition_indexes: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    };
    kafka.call(0, &request).await.topics[0].partitions[0].error_code
}

async fn describe_topic_partitions(kafka: &mut Kafka) -> i16 {
    let mut request = DescribeTopicPartitionsRequest::default();
    assert!(kafka.call(0, &request).await.topics.is_empty());
    request.topics = vec![describe_topic_partitions_request::TopicRequest {
        name: NAME.to_owned(),
        ..Default::default()
    }];
    kafka.call(0, &request).await.topics[0].error_code
}

async fn describe_configs(kafka: &mut Kafka) -> i16 {
    let resource = |kind, name: &str| describe_configs_request::DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        ..Default::default()
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource(TOPIC, NAME), resource(BROKER, "1")],
        ..Default::default()
    };
    let response = kafka.call(4, &request).await;
    let of = |kind| {
        let result = response
            .results
            .iter()
            .find(|one| one.resource_type == kind);
        let result = result.expect("an answer each");
        assert!(result.configs.is_empty());
        result.error_code
    };
    assert_eq!(of(BROKER), code(ErrorCode::ClusterAuthorizationFailed));
    of(TOPIC)
}

async fn alter_configs(kafka: &mut Kafka) -> i16 {
    let resource = |kind, name: &str| alter_configs_request::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        ..Default::default()
    };
    let request = AlterConfigsRequest {
        resources: vec![resource(TOPIC, NAME), resource(BROKER, "1")],
        ..Default::default()
    };
    let response = kafka.call(2, &request).await;
    let of = |kind| {
        let mut found = response.responses.iter();
        let found = found.find(|one| one.resource_type == kind);
        found.expect("an answer each").error_code
    };
    assert_eq!(of(BROKER), code(ErrorCode::ClusterAuthorizationFailed));
    of(TOPIC)
}

async fn incremental_alter_configs(kafka: &mut Kafka) -> i16 {
    let (error, _) = kafka
        .alter(BROKER, "1", "log.retention.ms", Some("1"))
        .await;
    assert_eq!(error, code(ErrorCode::ClusterAuthorizationFailed));
    let (error, _) = kafka.alter(TOPIC, NAME, "retention.ms", Some("1")).await;
    error
}

async fn describe_quorum(kafka: &mut Kafka) -> i16 {
    let request = DescribeQuorumRequest {
        topics: vec![describe_quorum_request::TopicData {
            topic_name: "__cluster_metadata".to_owned(),
            partitions: vec![describe_quorum_request::PartitionData::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    kafka.call(2, &request).await.error_code
}

async fn describe_cluster(kafka: &mut Kafka) -> i16 {
    let request = DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        endpoint_type: 1,
        ..Default::default()
    };
    let response = kafka.call(2, &request).await;
    assert_eq!(response.cluster_authorized_operations, 0);
    response.error_code
}

async fn offset_commit(kafka: &mut Kafka) -> i16 {
    let request = OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: NAME.to_owned(),
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    kafka.call(8, &request).await.topics[0].partitions[0].error_code
}

async fn offset_fetch(kafka: &mut Kafka) -> i16 {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: GROUP.to_owned(),
            topics: None,
            ..Default::default()
        }],
        ..Default::default()
    };
    kafka.call(8, &request).await.groups[0].error_code
}

async fn offset_delete(kafka: &mut Kafka, group_id: String) -> i16 {
    let request = OffsetDeleteRequest {
        group_id,
        topics: vec![OffsetDeleteRequestTopic {
            name: NAME.to_owned(),
            partitions: vec![OffsetDeleteRequestPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    kafka.call(0, &request).await.error_code
}

const THROTTLE_MS: i32 = 250;

#[test]
fn a_throttled_client_is_told_and_muted() {
    run(async {
        let options = Options {
            quotas: Quotas::Fixed(THROTTLE_MS as u32),
            ..Options::default()
        };
        let broker = Broker::with(options).await;
        let mut kafka = broker.kafka().await;
        let clock = runtime::Clock::start();
        for key in [
            ApiKey::CreateTopics,
            ApiKey::Produce,
            ApiKey::Fetch,
            ApiKey::CreatePartitions,
            ApiKey::DeleteTopics,
        ] {
            let asked = clock.mono();
            assert_eq!(throttled(&mut kafka, key).await, THROTTLE_MS, "{key:?}");
            kafka.call(2, &ApiVersionsRequest::default()).await;
            let muted = clock.mono().since(asked).as_millis();
            assert!(muted >= THROTTLE_MS as u128, "{key:?}: only {muted} ms");
        }
        broker.stop().await;
    });
}

#[test]
fn who_produces_without_an_answer_is_muted_as_well() {
    run(async {
        let options = Options {
            quotas: Quotas::Fixed(THROTTLE_MS as u32),
            ..Options::default()
        };
        let broker = Broker::with(options).await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        let mut kafka = broker.kafka().await;
        let clock = runtime::Clock::start();
        let asked = clock.mono();
        let request = produce_request("topic", 0, 0, batch(&["a"]));
        kafka.tell(9, &request).await;
        // Sent in one go with what mutes, it may be under way already; what follows is not.
        kafka.call(2, &ApiVersionsRequest::default()).await;
        kafka.call(2, &ApiVersionsRequest::default()).await;
        let muted = clock.mono().since(asked).as_millis();
        assert!(muted >= THROTTLE_MS as u128, "only {muted} ms");
        broker.stop().await;
    });
}

async fn throttled(kafka: &mut Kafka, key: ApiKey) -> i32 {
    match key {
        ApiKey::CreateTopics => {
            let request = create_request("topic", 1, &[]);
            kafka.call(7, &request).await.throttle_time_ms
        }
        ApiKey::Produce => {
            let request = produce_request("topic", 0, -1, batch(&["a"]));
            let response = kafka.call(9, &request).await;
            let throttle_time_ms = response.throttle_time_ms;
            assert_eq!(only(response).error_code, 0);
            throttle_time_ms
        }
        ApiKey::Fetch => {
            let request = fetch_request("topic", &[(0, 0)]);
            kafka.call(12, &request).await.throttle_time_ms
        }
        ApiKey::CreatePartitions => {
            let request = CreatePartitionsRequest {
                topics: vec![CreatePartitionsTopic {
                    name: "topic".to_owned(),
                    count: 2,
                    assignments: None,
                    ..Default::default()
                }],
                ..Default::default()
            };
            kafka.call(3, &request).await.throttle_time_ms
        }
        ApiKey::DeleteTopics => {
            let request = DeleteTopicsRequest {
                topic_names: vec!["topic".to_owned()],
                ..Default::default()
            };
            kafka.call(5, &request).await.throttle_time_ms
        }
        other => panic!("{other:?} is not charged"),
    }
}
