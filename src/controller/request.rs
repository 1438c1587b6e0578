//! What the controller is asked and what it answers: domain structs, which the broker's handlers convert from and to the wire.

use std::collections::BTreeMap;

use types::{NodeId, Offset, PartitionIndex, ProducerId, Uuid};

use crate::configs::ConfigEntry;
use crate::error::{
    AlterConfigError, BrokerError, CreatePartitionsError, CreateTopicError, DeleteTopicError,
    FeatureError,
};
use crate::image::{Endpoint, FeatureRange};

/// One thing to decide.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// This controller became the quorum's leader: write what a fresh log must begin with, end what a predecessor left open.
    Activate(Activate),
    /// A broker process starts.
    RegisterBroker(RegisterBroker),
    /// A controller process starts.
    RegisterController(RegisterController),
    /// A broker says that it lives, and what it wants.
    BrokerHeartbeat(BrokerHeartbeat),
    /// Create topics.
    CreateTopics(CreateTopics),
    /// Delete topics.
    DeleteTopics(DeleteTopics),
    /// Add partitions to topics.
    CreatePartitions(CreatePartitions),
    /// Change some configs of resources (KIP-339).
    IncrementalAlterConfigs(IncrementalAlterConfigs),
    /// Replace all configs of resources.
    AlterConfigs(AlterConfigs),
    /// A block of producer ids for a broker.
    AllocateProducerIds(AllocateProducerIds),
    /// Change finalized feature levels.
    UpdateFeatures(UpdateFeatures),
    /// A broker says in which log directories its replicas lie (KIP-858).
    AssignReplicasToDirs(AssignReplicasToDirs),
}

/// The answer to a [`Request`] of the same name.
#[derive(Clone, PartialEq, Debug)]
pub enum Response {
    /// To [`Request::Activate`].
    Activate,
    /// To [`Request::RegisterBroker`]: the broker epoch.
    RegisterBroker(Result<i64, BrokerError>),
    /// To [`Request::RegisterController`].
    RegisterController,
    /// To [`Request::BrokerHeartbeat`].
    BrokerHeartbeat(Result<BrokerHeartbeatReply, BrokerError>),
    /// To [`Request::CreateTopics`], in the order asked, each name once.
    CreateTopics(Vec<CreateTopicReply>),
    /// To [`Request::DeleteTopics`], in the order asked.
    DeleteTopics(Vec<DeleteTopicReply>),
    /// To [`Request::CreatePartitions`], in the order asked, each name once.
    CreatePartitions(Vec<CreatePartitionsReply>),
    /// To [`Request::IncrementalAlterConfigs`] and [`Request::AlterConfigs`], in the order asked, each resource once.
    AlterConfigs(Vec<AlterConfigsReply>),
    /// To [`Request::AllocateProducerIds`].
    AllocateProducerIds(Result<ProducerIdBlock, BrokerError>),
    /// To [`Request::UpdateFeatures`]: all or nothing.
    UpdateFeatures(Result<(), FeatureError>),
    /// To [`Request::AssignReplicasToDirs`].
    AssignReplicasToDirs(Result<Vec<AssignedReplica>, BrokerError>),
}

/// See [`Request::Activate`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Activate {
    /// Feature levels that formatting chose, written if the log holds no metadata record yet.
    pub bootstrap_features: BTreeMap<String, i16>,
}

/// See [`Request::RegisterBroker`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterBroker {
    /// The broker's id.
    pub broker_id: NodeId,
    /// The cluster it was formatted for.
    pub cluster_id: String,
    /// Drawn anew by each start of the process.
    pub incarnation_id: Uuid,
    /// Its advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// Features it supports.
    pub features: BTreeMap<String, FeatureRange>,
    /// Its rack.
    pub rack: Option<String>,
    /// Ids of its usable log directories.
    pub log_dirs: Vec<Uuid>,
    /// Whether an earlier incarnation that is not fenced is known to be dead, because this process holds its directory's lock.
    /// Otherwise registering over a live one is refused.
    pub previous_incarnation_is_dead: bool,
}

/// See [`Request::RegisterController`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterController {
    /// The controller's id.
    pub controller_id: NodeId,
    /// Drawn anew by each start of the process.
    pub incarnation_id: Uuid,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// Features it supports.
    pub features: BTreeMap<String, FeatureRange>,
}

/// See [`Request::BrokerHeartbeat`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerHeartbeat {
    /// The broker's id.
    pub broker_id: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: i64,
    /// Up to which offset of the metadata log it has read.
    pub current_metadata_offset: Offset,
    /// Whether it wants to be fenced; a starting broker does until it has recovered and caught up.
    pub want_fence: bool,
    /// Whether it wants to stop.
    pub want_shut_down: bool,
    /// Directories that get no new replicas (KIP-1066).
    pub cordoned_log_dirs: Vec<Uuid>,
}

/// What a broker learns from its heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokerHeartbeatReply {
    /// Whether it has read its own registration.
    pub is_caught_up: bool,
    /// Whether it is fenced after this.
    pub is_fenced: bool,
    /// Whether it leads nothing any more and may stop.
    pub should_shut_down: bool,
}

/// See [`Request::CreateTopics`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<CreatableTopic>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// One topic to create.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreatableTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the broker's default or with `assignments`.
    pub num_partitions: i32,
    /// How many replicas; -1 for the broker's default or with `assignments`.
    pub replication_factor: i16,
    /// Replicas by partition, if the client chooses them.
    pub assignments: Vec<(PartitionIndex, Vec<NodeId>)>,
    /// Configs to set.
    pub configs: Vec<(String, Option<String>)>,
}

/// The answer for one topic to create.
#[derive(Clone, PartialEq, Debug)]
pub struct CreateTopicReply {
    /// Its name.
    pub name: String,
    /// What was or would be created, or why not.
    pub result: Result<CreatedTopic, CreateTopicError>,
}

/// A topic that was created, or would be.
#[derive(Clone, PartialEq, Debug)]
pub struct CreatedTopic {
    /// Its id; all zero if it was only validated.
    pub topic_id: Uuid,
    /// How many partitions.
    pub num_partitions: i32,
    /// How many replicas.
    pub replication_factor: i16,
    /// All its configs in force.
    pub configs: Vec<ConfigEntry>,
}

/// Which topic is meant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TopicSelector {
    /// By its name.
    Name(String),
    /// By its id.
    Id(Uuid),
    /// By both or neither: an error that is answered for this entry.
    Invalid {
        /// The name, if given.
        name: Option<String>,
        /// The id, all zero if not given.
        id: Uuid,
    },
}

/// See [`Request::DeleteTopics`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteTopics {
    /// The topics.
    pub topics: Vec<TopicSelector>,
}

/// The answer for one topic to delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteTopicReply {
    /// Its name, where known.
    pub name: Option<String>,
    /// Its id, all zero where not known.
    pub topic_id: Uuid,
    /// Whether it is deleted.
    pub result: Result<(), DeleteTopicError>,
}

/// See [`Request::CreatePartitions`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreatePartitions {
    /// The topics.
    pub topics: Vec<CreatePartitionsTopic>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// One topic to grow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreatePartitionsTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it shall have.
    pub count: i32,
    /// Replicas of each new partition, if the client chooses them.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// The answer for one topic to grow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatePartitionsReply {
    /// Its name.
    pub name: String,
    /// Whether it grew or would.
    pub result: Result<(), CreatePartitionsError>,
}

/// What to do with one config (KIP-339).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlterOperation {
    /// Set it.
    Set,
    /// Go back to what is in force without it.
    Delete,
    /// Add to a list.
    Append,
    /// Take from a list.
    Subtract,
}

impl AlterOperation {
    /// The operation with this number on the wire.
    pub const fn from_code(code: i8) -> Option<AlterOperation> {
        match code {
            0 => Some(AlterOperation::Set),
            1 => Some(AlterOperation::Delete),
            2 => Some(AlterOperation::Append),
            3 => Some(AlterOperation::Subtract),
            _ => None,
        }
    }

    /// Kafka's name, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            AlterOperation::Set => "SET",
            AlterOperation::Delete => "DELETE",
            AlterOperation::Append => "APPEND",
            AlterOperation::Subtract => "SUBTRACT",
        }
    }
}

/// One config change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterOp {
    /// The key.
    pub key: String,
    /// The number of the operation on the wire, see [`AlterOperation::from_code`].
    pub operation: i8,
    /// The value; none with [`AlterOperation::Delete`].
    pub value: Option<String>,
}

/// A resource as the wire names it; its type may be none of ours.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ResourceName {
    /// The number of the resource's type.
    pub resource_type: i8,
    /// Its name.
    pub name: String,
}

/// See [`Request::IncrementalAlterConfigs`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IncrementalAlterConfigs {
    /// The resources and what to change.
    pub resources: Vec<(ResourceName, Vec<AlterOp>)>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// See [`Request::AlterConfigs`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlterConfigs {
    /// The resources and all their configs.
    pub resources: Vec<(ResourceName, Vec<(String, Option<String>)>)>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// The answer for one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterConfigsReply {
    /// The resource.
    pub resource: ResourceName,
    /// Whether all its changes were made or would be.
    pub result: Result<(), AlterConfigError>,
}

/// See [`Request::AllocateProducerIds`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllocateProducerIds {
    /// The broker that asks.
    pub broker_id: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: i64,
}

/// Producer ids that a broker may give out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock {
    /// The first one.
    pub first: ProducerId,
    /// How many.
    pub count: i32,
}

/// How a feature level may be changed (KIP-584).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpgradeType {
    /// Only upwards.
    Upgrade,
    /// Downwards if no metadata is lost.
    SafeDowngrade,
    /// Downwards.
    UnsafeDowngrade,
}

impl UpgradeType {
    /// The type with this number on the wire.
    pub const fn from_code(code: i8) -> Option<UpgradeType> {
        match code {
            1 => Some(UpgradeType::Upgrade),
            2 => Some(UpgradeType::SafeDowngrade),
            3 => Some(UpgradeType::UnsafeDowngrade),
            _ => None,
        }
    }
}

/// See [`Request::UpdateFeatures`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UpdateFeatures {
    /// Features, their new levels and how they may change.
    pub updates: Vec<(String, i16, UpgradeType)>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// See [`Request::AssignReplicasToDirs`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AssignReplicasToDirs {
    /// The broker whose replicas they are.
    pub broker_id: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: i64,
    /// Directory, topic and partition of each replica.
    pub replicas: Vec<(Uuid, Uuid, PartitionIndex)>,
}

/// Whether one replica's directory was taken down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssignedReplica {
    /// The directory.
    pub directory: Uuid,
    /// The topic.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: PartitionIndex,
    /// The answer.
    pub result: Result<(), BrokerError>,
}
