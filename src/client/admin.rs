//! Administration: topics, configs, groups, the cluster.

use std::collections::BTreeMap;

use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest, DeleteGroupsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeClusterResponse, DescribeConfigsRequest, DescribeGroupsRequest, DescribeGroupsResponse,
    IncrementalAlterConfigsRequest, ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest,
    OffsetDeleteResponse,
};
use types::{NodeId, Offset, Uuid};

use crate::client::{Client, Lane};
use crate::error::Error;
use crate::metadata::TopicMetadata;
use crate::offsets::{NamedPartition, PerPartition};

pub use protocol::messages::describe_configs_response::DescribeConfigsResourceResult as ConfigEntry;
pub use protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
pub use protocol::messages::list_groups_response::ListedGroup;

/// What each name was answered.
pub type PerName<T> = BTreeMap<String, Result<T, Error>>;

/// What has configs, by Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ResourceKind {
    /// A topic, by its name.
    Topic = 2,
    /// A broker, by its id; all of them by the empty name.
    Broker = 4,
    /// A broker's loggers, by its id.
    BrokerLogger = 8,
    /// A client's metrics subscription.
    ClientMetrics = 16,
    /// A group, by its id.
    Group = 32,
}

/// A topic to make.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; none for the cluster's default.
    pub partition_count: Option<i32>,
    /// How many replicas of each; none for the cluster's default.
    pub replication_factor: Option<i16>,
    /// Configs other than the defaults.
    pub configs: BTreeMap<String, String>,
}

/// A change of one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Gives it this value.
    Set(String),
    /// Gives it its default.
    Delete,
    /// Adds this to a list.
    Append(String),
    /// Takes this out of a list.
    Subtract(String),
}

impl ConfigChange {
    fn parts(&self) -> (i8, Option<String>) {
        match self {
            ConfigChange::Set(value) => (0, Some(value.clone())),
            ConfigChange::Delete => (1, None),
            ConfigChange::Append(value) => (2, Some(value.clone())),
            ConfigChange::Subtract(value) => (3, Some(value.clone())),
        }
    }
}

impl Client {
    fn api_timeout_ms(&self) -> i32 {
        i32::try_from(self.config().api_timeout_ms).unwrap_or(i32::MAX)
    }

    /// Makes topics; their ids.
    ///
    /// # Errors
    /// Those of the request; each topic has its own result.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<PerName<Uuid>, Error> {
        let creatable = |topic: &NewTopic| CreatableTopic {
            name: topic.name.clone(),
            num_partitions: topic.partition_count.unwrap_or(-1),
            replication_factor: topic.replication_factor.unwrap_or(-1),
            configs: topic
                .configs
                .iter()
                .map(|(name, value)| CreatableTopicConfig {
                    name: name.clone(),
                    value: Some(value.clone()),
                    ..CreatableTopicConfig::default()
                })
                .collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.api_timeout_ms(),
            ..CreateTopicsRequest::default()
        };
        let response = self.send_any(&request).await?;
        let results = response.topics.into_iter().map(|topic| {
            let result = Error::check_with(topic.error_code, topic.error_message);
            (topic.name, result.map(|()| topic.topic_id))
        });
        Ok(results.collect())
    }

    /// Removes topics by their names.
    ///
    /// # Errors
    /// Those of the request; each topic has its own result.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<PerName<()>, Error> {
        let response = self
            .retry(async || {
                let connection = self.any_connection().await?;
                let mut request = DeleteTopicsRequest {
                    timeout_ms: self.api_timeout_ms(),
                    ..DeleteTopicsRequest::default()
                };
                // Since version 6 a topic goes by its name or its id (KIP-516).
                if connection.version::<DeleteTopicsRequest>()? >= 6 {
                    let state = |&name: &&str| DeleteTopicState {
                        name: Some(name.to_owned()),
                        ..DeleteTopicState::default()
                    };
                    request.topics = names.iter().map(state).collect();
                } else {
                    request.topic_names = names.iter().map(|&name| name.to_owned()).collect();
                }
                connection.send(&request).await
            })
            .await?;
        self.expire_metadata();
        let results = response.responses.into_iter().map(|topic| {
            let result = Error::check_with(topic.error_code, topic.error_message);
            (topic.name.unwrap_or_default(), result)
        });
        Ok(results.collect())
    }

    /// Removes topics by their ids, so that no later topic of the same name can be meant.
    ///
    /// # Errors
    /// Those of the request; each topic has its own result. [`Error::Invalid`] if the broker takes names only.
    pub async fn delete_topics_by_id(
        &self,
        ids: &[Uuid],
    ) -> Result<BTreeMap<Uuid, Result<(), Error>>, Error> {
        let state = |&topic_id: &Uuid| DeleteTopicState {
            name: None,
            topic_id,
            ..DeleteTopicState::default()
        };
        let request = DeleteTopicsRequest {
            topics: ids.iter().map(state).collect(),
            timeout_ms: self.api_timeout_ms(),
            ..DeleteTopicsRequest::default()
        };
        let response = self
            .retry(async || {
                let connection = self.any_connection().await?;
                if connection.version::<DeleteTopicsRequest>()? < 6 {
                    return Err(Error::Invalid("the broker deletes topics by name only"));
                }
                connection.send(&request).await
            })
            .await?;
        self.expire_metadata();
        let results = response.responses.into_iter().map(|topic| {
            let result = Error::check_with(topic.error_code, topic.error_message);
            (topic.topic_id, result)
        });
        Ok(results.collect())
    }

    /// Gives topics more partitions: by name, how many they shall have.
    ///
    /// # Errors
    /// Those of the request; each topic has its own result.
    pub async fn create_partitions(
        &self,
        counts: &BTreeMap<String, i32>,
    ) -> Result<PerName<()>, Error> {
        let topics = counts.iter().map(|(name, &count)| CreatePartitionsTopic {
            name: name.clone(),
            count,
            assignments: None,
            ..CreatePartitionsTopic::default()
        });
        let request = CreatePartitionsRequest {
            topics: topics.collect(),
            timeout_ms: self.api_timeout_ms(),
            ..CreatePartitionsRequest::default()
        };
        let response = self.send_any(&request).await?;
        self.expire_metadata();
        let results = response.results.into_iter().map(|topic| {
            let result = Error::check_with(topic.error_code, topic.error_message);
            (topic.name, result)
        });
        Ok(results.collect())
    }

    /// All topics of the cluster, as it describes them now.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn list_topics(&self) -> Result<BTreeMap<String, TopicMetadata>, Error> {
        self.retry(async || self.refresh_metadata(None).await)
            .await?;
        Ok(self.metadata().topics.clone())
    }

    /// Describes the configs of a resource: all of them, or those named.
    ///
    /// # Errors
    /// Those of the request and of the resource.
    pub async fn describe_configs(
        &self,
        kind: ResourceKind,
        name: &str,
        keys: Option<&[&str]>,
    ) -> Result<Vec<ConfigEntry>, Error> {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: kind as i8,
                resource_name: name.to_owned(),
                configuration_keys: keys
                    .map(|keys| keys.iter().map(|&key| key.to_owned()).collect()),
                ..DescribeConfigsResource::default()
            }],
            include_synonyms: true,
            ..DescribeConfigsRequest::default()
        };
        let response = self.send_to_resource(kind, name, &request).await?;
        let first = response.results.into_iter().next();
        let result = first.ok_or(Error::Incomplete("the resource's configs"))?;
        Error::check_with(result.error_code, result.error_message)?;
        Ok(result.configs)
    }

    /// Changes configs of a resource, all or none; only tries if `validate_only`.
    ///
    /// # Errors
    /// Those of the request and of the resource.
    pub async fn alter_configs(
        &self,
        kind: ResourceKind,
        name: &str,
        changes: &BTreeMap<String, ConfigChange>,
        validate_only: bool,
    ) -> Result<(), Error> {
        let altered = changes.iter().map(|(name, change)| {
            let (config_operation, value) = change.parts();
            AlterableConfig {
                name: name.clone(),
                config_operation,
                value,
                ..AlterableConfig::default()
            }
        });
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: kind as i8,
                resource_name: name.to_owned(),
                configs: altered.collect(),
                ..AlterConfigsResource::default()
            }],
            validate_only,
            ..IncrementalAlterConfigsRequest::default()
        };
        let response = self.send_to_resource(kind, name, &request).await?;
        let first = response.responses.into_iter().next();
        let result = first.ok_or(Error::Incomplete("the resource"))?;
        Error::check_with(result.error_code, result.error_message)
    }

    /// A single broker's configs are the broker's own business; everything else any broker knows.
    async fn send_to_resource<R: protocol::Request>(
        &self,
        kind: ResourceKind,
        name: &str,
        request: &R,
    ) -> Result<R::Response, Error> {
        let is_broker = matches!(kind, ResourceKind::Broker | ResourceKind::BrokerLogger);
        let node = name.parse::<NodeId>().ok().filter(|_| is_broker);
        let Some(node) = node else {
            return self.send_any(request).await;
        };
        self.retry(async || {
            if !self.metadata().brokers.contains_key(&node) {
                self.refresh_metadata(Some(&[])).await?;
            }
            let connection = self.connection(node, Lane::General).await?;
            connection.send(request).await
        })
        .await
    }

    /// The cluster's id, controller and brokers, by a request of its own.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn describe_cluster(&self) -> Result<DescribeClusterResponse, Error> {
        let request = DescribeClusterRequest::default();
        let response = self.send_any(&request).await?;
        Error::check_with(response.error_code, response.error_message.clone())?;
        Ok(response)
    }

    /// Removes the records below an offset of each partition, -1 for all below the high watermark; where each
    /// partition begins then.
    ///
    /// # Errors
    /// Those of the requests; each partition has its own result.
    pub async fn delete_records(
        &self,
        offsets: &BTreeMap<NamedPartition, Offset>,
    ) -> Result<PerPartition<Offset>, Error> {
        let mut by_leader: BTreeMap<NodeId, BTreeMap<&str, DeleteRecordsTopic>> = BTreeMap::new();
        for ((topic, partition), &offset) in offsets {
            let leader = self
                .retry(async || self.leader(topic, *partition).await)
                .await?;
            let topics = by_leader.entry(leader.node).or_default();
            let entry = topics.entry(topic).or_insert_with(|| DeleteRecordsTopic {
                name: topic.clone(),
                ..DeleteRecordsTopic::default()
            });
            entry.partitions.push(DeleteRecordsPartition {
                partition_index: *partition,
                offset,
                ..DeleteRecordsPartition::default()
            });
        }
        let mut results = BTreeMap::new();
        for (node, topics) in by_leader {
            let request = DeleteRecordsRequest {
                topics: topics.into_values().collect(),
                timeout_ms: self.api_timeout_ms(),
                ..DeleteRecordsRequest::default()
            };
            let connection = self.connection(node, Lane::General).await?;
            let response: DeleteRecordsResponse = connection.send(&request).await?;
            for topic in response.topics {
                for partition in topic.partitions {
                    let result = Error::check(partition.error_code);
                    let key = (topic.name.clone(), partition.partition_index);
                    results.insert(key, result.map(|()| partition.low_watermark));
                }
            }
        }
        Ok(results)
    }

    /// The groups of all brokers, each known to its own coordinator.
    ///
    /// # Errors
    /// Those of any broker.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>, Error> {
        self.retry(async || {
            self.refresh_metadata(Some(&[])).await?;
            let nodes: Vec<NodeId> = self.metadata().brokers.keys().copied().collect();
            let mut groups = BTreeMap::new();
            for node in nodes {
                let connection = self.connection(node, Lane::General).await?;
                let request = ListGroupsRequest::default();
                let response: ListGroupsResponse = connection.send(&request).await?;
                Error::check(response.error_code)?;
                for group in response.groups {
                    groups.insert(group.group_id.clone(), group);
                }
            }
            Ok(groups.into_values().collect())
        })
        .await
    }

    /// Describes a group that speaks the classic protocol; an unknown one may be described as dead.
    ///
    /// # Errors
    /// Those of the request and of the group.
    pub async fn describe_group(&self, group: &str) -> Result<DescribedGroup, Error> {
        self.with_coordinator(group, Lane::General, async |connection| {
            let request = DescribeGroupsRequest {
                groups: vec![group.to_owned()],
                ..DescribeGroupsRequest::default()
            };
            let response: DescribeGroupsResponse = connection.send(&request).await?;
            let first = response.groups.into_iter().next();
            let described = first.ok_or(Error::Incomplete("the group"))?;
            Error::check_with(described.error_code, described.error_message.clone())?;
            Ok(described)
        })
        .await
    }

    /// Removes a group that has no members, with its offsets.
    ///
    /// # Errors
    /// Those of the request and of the group: `NON_EMPTY_GROUP`, `GROUP_ID_NOT_FOUND`.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        self.with_coordinator(group, Lane::General, async |connection| {
            let request = DeleteGroupsRequest {
                groups_names: vec![group.to_owned()],
                ..DeleteGroupsRequest::default()
            };
            let response: DeleteGroupsResponse = connection.send(&request).await?;
            let first = response.results.into_iter().next();
            Error::check(first.ok_or(Error::Incomplete("the group"))?.error_code)
        })
        .await
    }

    /// Forgets a group's offsets of these partitions.
    ///
    /// # Errors
    /// Those of the request and of the group; each partition has its own result.
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &[NamedPartition],
    ) -> Result<PerPartition<()>, Error> {
        let mut topics: BTreeMap<&str, OffsetDeleteRequestTopic> = BTreeMap::new();
        for (topic, partition) in partitions {
            let entry = topics
                .entry(topic)
                .or_insert_with(|| OffsetDeleteRequestTopic {
                    name: topic.clone(),
                    ..OffsetDeleteRequestTopic::default()
                });
            entry.partitions.push(OffsetDeleteRequestPartition {
                partition_index: *partition,
            });
        }
        let request = OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: topics.into_values().collect(),
        };
        self.with_coordinator(group, Lane::General, async |connection| {
            let response: OffsetDeleteResponse = connection.send(&request).await?;
            Error::check(response.error_code)?;
            let mut results = BTreeMap::new();
            for topic in response.topics {
                for partition in topic.partitions {
                    let key = (topic.name.clone(), partition.partition_index);
                    results.insert(key, Error::check(partition.error_code));
                }
            }
            Ok(results)
        })
        .await
    }
}
