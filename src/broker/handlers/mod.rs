//! One file per API: supported versions on top, wire to domain and back, no state.

pub mod alter_configs;
pub mod api_versions;
mod authorized;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod fetch;
pub mod find_coordinator;
mod group;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;

use protocol::ApiKey;

use crate::handlers;
use crate::server::router::{Route, Routes, handle, route};

/// Every API that is served. What is not here is not advertised.
pub fn routes() -> Routes {
    let produce = Route {
        advertised: produce::ADVERTISED,
        ..route!(Produce, produce)
    };
    Routes::new(vec![
        produce,
        route!(Fetch, fetch),
        route!(ListOffsets, list_offsets),
        route!(Metadata, metadata),
        route!(OffsetCommit, offset_commit),
        route!(OffsetFetch, offset_fetch),
        route!(FindCoordinator, find_coordinator),
        route!(JoinGroup, join_group),
        route!(Heartbeat, heartbeat),
        route!(LeaveGroup, leave_group),
        route!(SyncGroup, sync_group),
        route!(DescribeGroups, describe_groups),
        route!(ListGroups, list_groups),
        route!(ApiVersions, api_versions),
        route!(CreateTopics, create_topics),
        route!(DeleteTopics, delete_topics),
        route!(DeleteRecords, delete_records),
        route!(InitProducerId, init_producer_id),
        route!(OffsetForLeaderEpoch, offset_for_leader_epoch),
        route!(DescribeConfigs, describe_configs),
        route!(AlterConfigs, alter_configs),
        route!(DescribeLogDirs, describe_log_dirs),
        route!(CreatePartitions, create_partitions),
        route!(DeleteGroups, delete_groups),
        route!(IncrementalAlterConfigs, incremental_alter_configs),
        route!(OffsetDelete, offset_delete),
        route!(DescribeQuorum, describe_quorum),
        route!(DescribeCluster, describe_cluster),
        route!(DescribeProducers, describe_producers),
        route!(ListConfigResources, list_config_resources),
        route!(DescribeTopicPartitions, describe_topic_partitions),
    ])
}
