//! DescribeQuorum (55): the metadata quorum (KIP-595, KIP-853). Versions 0 to 2.

use std::ops::RangeInclusive;
use std::rc::Rc;

use protocol::messages::describe_quorum_request::TopicData as AskedTopic;
use protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use raft::ReplicaStatus;
use types::{ErrorCode, Uuid};

use crate::quorum::QuorumDescription;
use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// Answers for the metadata log, the only log of the quorum.
pub async fn handle(
    context: Rc<RequestContext>,
    request: DescribeQuorumRequest,
) -> Outcome<DescribeQuorumResponse> {
    let refused = |code: ErrorCode| {
        let error_message = (context.version >= 2).then(|| code.to_string());
        reply(DescribeQuorumResponse {
            error_code: code.code(),
            error_message,
            ..Default::default()
        })
    };
    if !context.authorize(Operation::Describe, Resource::Cluster) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    if !is_about_metadata(&request.topics) {
        return refused(ErrorCode::UnknownTopicOrPartition);
    }
    let description = match context.core.node.describe_quorum().await {
        Ok(description) => description,
        Err(unavailable) => return refused(unavailable.code()),
    };
    let topic = TopicData {
        topic_name: controller::METADATA_TOPIC.to_owned(),
        partitions: vec![partition(context.version, &description)],
        ..Default::default()
    };
    let nodes = match context.version {
        2.. => nodes(&context, &description),
        _ => Vec::new(),
    };
    reply(DescribeQuorumResponse {
        topics: vec![topic],
        nodes,
        ..Default::default()
    })
}

fn is_about_metadata(topics: &[AskedTopic]) -> bool {
    let [topic] = topics else { return false };
    let [partition] = topic.partitions.as_slice() else {
        return false;
    };
    topic.topic_name == controller::METADATA_TOPIC && partition.partition_index == 0
}

fn partition(version: i16, description: &QuorumDescription) -> PartitionData {
    PartitionData {
        leader_id: description.leader_id,
        leader_epoch: description.leader_epoch,
        high_watermark: description.high_watermark,
        current_voters: description
            .voters
            .iter()
            .map(|status| replica_state(version, status))
            .collect(),
        ..Default::default()
    }
}

fn replica_state(version: i16, status: &ReplicaStatus) -> ReplicaState {
    ReplicaState {
        replica_id: status.key.id,
        replica_directory_id: if version >= 2 {
            status.key.directory_id
        } else {
            Uuid::ZERO
        },
        log_end_offset: status.log_end_offset,
        last_fetch_timestamp: status.last_fetch.as_millis(),
        last_caught_up_timestamp: status.last_caught_up.as_millis(),
        ..Default::default()
    }
}

fn nodes(context: &RequestContext, description: &QuorumDescription) -> Vec<Node> {
    let endpoints = &context.core.node.voter_endpoints;
    let listener = |endpoint: &raft::Endpoint| Listener {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..Default::default()
    };
    let node = |status: &ReplicaStatus| Node {
        node_id: status.key.id,
        listeners: endpoints.iter().map(listener).collect(),
        ..Default::default()
    };
    description.voters.iter().map(node).collect()
}
