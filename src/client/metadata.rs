//! What a client knows of the cluster.

use std::collections::BTreeMap;

use protocol::messages::MetadataResponse;
use protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use types::{ErrorCode, LeaderEpoch, NodeId, PartitionIndex, Uuid};

use crate::error::Error;

/// A broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The broker's rack, if it has one.
    pub rack: Option<String>,
}

/// One partition, as the cluster last described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The leader, if there is one.
    pub leader: Option<NodeId>,
    /// The leader's epoch, -1 if it was not told.
    pub leader_epoch: LeaderEpoch,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The replicas in sync.
    pub in_sync_replicas: Vec<NodeId>,
    /// The replicas that are not served.
    pub offline_replicas: Vec<NodeId>,
}

/// One topic, as the cluster last described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// The topic's id, zero if the broker told none.
    pub id: Uuid,
    /// Whether the cluster made the topic for itself.
    pub is_internal: bool,
    /// The partitions by index.
    pub partitions: BTreeMap<PartitionIndex, PartitionMetadata>,
}

/// Where a partition is led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The leader's node.
    pub node: NodeId,
    /// Its epoch, -1 if it was not told.
    pub epoch: LeaderEpoch,
    /// The topic's id, zero if it was not told.
    pub topic_id: Uuid,
}

/// What a client knows of the cluster. Topics that nobody asked for are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The cluster's id, once known.
    pub cluster_id: Option<String>,
    /// The broker that takes what is meant for the controller, once known.
    pub controller: Option<NodeId>,
    /// The brokers that are alive.
    pub brokers: BTreeMap<NodeId, BrokerAddress>,
    /// The topics by name.
    pub topics: BTreeMap<String, TopicMetadata>,
}

impl Metadata {
    /// Where the partition is led.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `LEADER_NOT_AVAILABLE`, both retriable.
    pub fn leader(&self, topic: &str, partition: PartitionIndex) -> Result<Leader, Error> {
        let known = self.topics.get(topic);
        let found = known.and_then(|topic| Some((topic.id, topic.partitions.get(&partition)?)));
        let Some((topic_id, partition)) = found else {
            return Err(missing(ErrorCode::UnknownTopicOrPartition));
        };
        let node = partition
            .leader
            .ok_or_else(|| missing(ErrorCode::LeaderNotAvailable))?;
        Ok(Leader {
            node,
            epoch: partition.leader_epoch,
            topic_id,
        })
    }

    /// The name of the topic with this id.
    pub fn topic_name(&self, id: Uuid) -> Option<&str> {
        self.topics
            .iter()
            .find(|(_, topic)| topic.id == id)
            .map(|(name, _)| name.as_str())
    }

    /// Takes over what the cluster said; topics that it did not mention stay. Gives the topics that it refused to
    /// describe, with the reason.
    pub(crate) fn update(&mut self, response: MetadataResponse) -> BTreeMap<String, Error> {
        self.cluster_id = response.cluster_id;
        self.controller = (response.controller_id >= 0).then_some(response.controller_id);
        self.brokers = response
            .brokers
            .into_iter()
            .filter_map(|broker| {
                let address = BrokerAddress {
                    host: broker.host,
                    port: u16::try_from(broker.port).ok()?,
                    rack: broker.rack,
                };
                Some((broker.node_id, address))
            })
            .collect();
        let mut refused = BTreeMap::new();
        for topic in response.topics {
            let Some(name) = topic.name.clone() else {
                continue;
            };
            match Error::check(topic.error_code) {
                Ok(()) => {
                    self.topics.insert(name, describe(topic));
                }
                Err(error) => {
                    self.topics.remove(&name);
                    refused.insert(name, error);
                }
            }
        }
        refused
    }
}

fn describe(topic: MetadataResponseTopic) -> TopicMetadata {
    let describe_partition = |partition: MetadataResponsePartition| {
        let described = PartitionMetadata {
            leader: (partition.leader_id >= 0).then_some(partition.leader_id),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes,
            in_sync_replicas: partition.isr_nodes,
            offline_replicas: partition.offline_replicas,
        };
        (partition.partition_index, described)
    };
    TopicMetadata {
        id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions: topic
            .partitions
            .into_iter()
            .map(describe_partition)
            .collect(),
    }
}

pub(crate) fn missing(code: ErrorCode) -> Error {
    Error::Broker {
        code,
        message: None,
    }
}
