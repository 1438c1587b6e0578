//! What the metadata log says, as one immutable value that is cheap to share and to change.
//!
//! Every level is behind an [`Arc`]: publishing is one pointer, and the first change after a publication copies
//! only the path to what changes (at most one pointer per topic of the cluster).

use std::collections::BTreeMap;
use std::sync::Arc;

use types::{LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerId, TopicPartition, Uuid};

/// "No node" where a leader would be named.
pub const NO_LEADER: NodeId = -1;
/// The directory id of a replica whose directory is not known yet (KIP-858).
pub const DIRECTORY_UNASSIGNED: Uuid = Uuid::from_u128(0);
/// The directory id of a replica whose directory failed (KIP-858).
pub const DIRECTORY_LOST: Uuid = Uuid::from_u128(1);

/// Which part of the metadata log an image contains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Provenance {
    /// Offset of the last record contained, -1 for an empty image.
    pub offset: Offset,
    /// Leader epoch of that record, -1 for an empty image.
    pub epoch: LeaderEpoch,
    /// Append time of that record, in wall milliseconds.
    pub timestamp_ms: i64,
}

impl Provenance {
    /// Of an image without any record.
    pub const EMPTY: Provenance = Provenance {
        offset: -1,
        epoch: -1,
        timestamp_ms: -1,
    };
}

/// Everything the metadata log says at one offset.
#[derive(Clone, PartialEq, Debug)]
pub struct MetadataImage {
    /// Which part of the log is contained.
    pub provenance: Provenance,
    /// The cluster's id, from `meta.properties`: the log does not hold it.
    pub cluster_id: Arc<str>,
    /// Topics and their partitions.
    pub topics: TopicsImage,
    /// Registered brokers by id, fenced ones too.
    pub brokers: BTreeMap<NodeId, Arc<BrokerImage>>,
    /// Registered controllers by id.
    pub controllers: BTreeMap<NodeId, Arc<ControllerImage>>,
    /// Dynamic configs that are set, by resource; a resource without any is absent.
    pub configs: Arc<BTreeMap<ConfigResource, Arc<ConfigMap>>>,
    /// Finalized feature levels above 0, `kraft.version` excepted: that one is the quorum's.
    pub features: BTreeMap<String, i16>,
    /// First producer id that no block contains.
    pub next_producer_id: ProducerId,
}

/// The dynamic configs of one resource.
pub type ConfigMap = BTreeMap<String, String>;

impl MetadataImage {
    /// The image of an empty log.
    pub fn empty(cluster_id: &str) -> MetadataImage {
        MetadataImage {
            provenance: Provenance::EMPTY,
            cluster_id: Arc::from(cluster_id),
            topics: TopicsImage::default(),
            brokers: BTreeMap::new(),
            controllers: BTreeMap::new(),
            configs: Arc::new(BTreeMap::new()),
            features: BTreeMap::new(),
            next_producer_id: 0,
        }
    }

    /// Whether the two images say the same, wherever in a log they were read.
    pub fn same_content(&self, other: &MetadataImage) -> bool {
        let mut moved = other.clone();
        moved.provenance = self.provenance;
        *self == moved
    }

    /// The topic with this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.by_name(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.topics.by_id(id)
    }

    /// One partition.
    pub fn partition(&self, partition: TopicPartition) -> Option<&Arc<PartitionImage>> {
        self.topic_by_id(partition.topic_id)?
            .partitions
            .get(&partition.partition)
    }

    /// One registered broker.
    pub fn broker(&self, id: NodeId) -> Option<&Arc<BrokerImage>> {
        self.brokers.get(&id)
    }

    /// Brokers that may serve clients, in order of their id.
    pub fn unfenced_brokers(&self) -> impl Iterator<Item = &Arc<BrokerImage>> {
        self.brokers.values().filter(|broker| !broker.fenced)
    }

    /// The node that clients are told is the controller: in KRaft a live broker, which forwards (KIP-590).
    pub fn controller_for_clients(&self) -> Option<NodeId> {
        self.unfenced_brokers().next().map(|broker| broker.id)
    }

    /// The dynamic configs of a resource, if any is set.
    pub fn config(&self, resource: &ConfigResource) -> Option<&Arc<ConfigMap>> {
        self.configs.get(resource)
    }

    /// One dynamic config of a resource.
    pub fn config_value(&self, resource: &ConfigResource, key: &str) -> Option<&str> {
        self.config(resource)?.get(key).map(String::as_str)
    }

    /// The finalized level of a feature, 0 if it is not in force.
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }
}

/// All topics, by name and by id.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TopicsImage {
    by_name: Arc<BTreeMap<Arc<str>, Arc<TopicImage>>>,
    names: Arc<BTreeMap<Uuid, Arc<str>>>,
}

impl TopicsImage {
    /// The topic with this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name)
    }

    /// The topic with this id.
    pub fn by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        let name = self.names.get(&id)?;
        let topic = self.by_name.get(name);
        assert!(topic.is_some(), "topic {id} is known by id but not by name");
        topic
    }

    /// The name of the topic with this id.
    pub fn name_of(&self, id: Uuid) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// Every topic, in order of its name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.values()
    }

    /// Topics whose name is not before `name`, in order.
    pub fn from_name(&self, name: &str) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name
            .range::<str, _>((std::ops::Bound::Included(name), std::ops::Bound::Unbounded))
            .map(|(_, topic)| topic)
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Adds a topic without partitions.
    pub(crate) fn insert(&mut self, name: Arc<str>, id: Uuid) {
        assert!(!self.by_name.contains_key(&name), "topic {name} twice");
        assert!(!self.names.contains_key(&id), "topic id {id} twice");
        let topic = TopicImage {
            name: Arc::clone(&name),
            id,
            partitions: BTreeMap::new(),
        };
        Arc::make_mut(&mut self.by_name).insert(Arc::clone(&name), Arc::new(topic));
        Arc::make_mut(&mut self.names).insert(id, name);
    }

    /// Takes a topic away.
    pub(crate) fn remove(&mut self, id: Uuid) -> Option<Arc<TopicImage>> {
        let name = Arc::make_mut(&mut self.names).remove(&id)?;
        let topic = Arc::make_mut(&mut self.by_name).remove(&name);
        assert!(topic.is_some(), "topic {name} was known only by its id");
        topic
    }

    /// A topic, to be changed.
    pub(crate) fn get_mut(&mut self, id: Uuid) -> Option<&mut TopicImage> {
        let name = self.names.get(&id)?;
        let topic = Arc::make_mut(&mut self.by_name).get_mut(name)?;
        Some(Arc::make_mut(topic))
    }
}

/// One topic.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// Its id: a topic deleted and created again has another.
    pub id: Uuid,
    /// Its partitions, 0 to n-1.
    pub partitions: BTreeMap<PartitionIndex, Arc<PartitionImage>>,
}

impl TopicImage {
    /// How many partitions it has.
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("a topic has fewer than 2^31 partitions")
    }

    /// One partition.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<PartitionImage>> {
        self.partitions.get(&index)
    }

    /// Replicas of its first partition: what tools show as the topic's replication factor.
    pub fn replication_factor(&self) -> i16 {
        let replicas = self
            .partitions
            .values()
            .next()
            .map_or(0, |p| p.replicas.len());
        i16::try_from(replicas).unwrap_or(i16::MAX)
    }
}

/// How a partition's leader came to be (KIP-704).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LeaderRecoveryState {
    /// Elected from the in-sync replicas, or recovered since.
    #[default]
    Recovered,
    /// Elected uncleanly and not yet recovered.
    Recovering,
}

impl LeaderRecoveryState {
    /// The number in records and on the wire.
    pub const fn code(self) -> i8 {
        match self {
            LeaderRecoveryState::Recovered => 0,
            LeaderRecoveryState::Recovering => 1,
        }
    }

    /// The state with this number.
    pub const fn from_code(code: i8) -> Option<LeaderRecoveryState> {
        match code {
            0 => Some(LeaderRecoveryState::Recovered),
            1 => Some(LeaderRecoveryState::Recovering),
            _ => None,
        }
    }
}

/// One partition's assignment and leadership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionImage {
    /// Assigned brokers, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The log directory of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// In-sync replicas. Invariant: a subset of `replicas`, not empty (unless ELR is in force).
    pub isr: Vec<NodeId>,
    /// Replicas that a reassignment takes away.
    pub removing_replicas: Vec<NodeId>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Vec<NodeId>,
    /// Replicas outside the ISR that hold all committed records (KIP-966).
    pub eligible_leader_replicas: Vec<NodeId>,
    /// The last eligible replicas known before all were lost (KIP-966).
    pub last_known_elr: Vec<NodeId>,
    /// The leader, or [`NO_LEADER`]. Invariant: in `isr` where there is one.
    pub leader: NodeId,
    /// How the leader came to be.
    pub leader_recovery_state: LeaderRecoveryState,
    /// Raised whenever leadership changes or ends.
    pub leader_epoch: LeaderEpoch,
    /// Raised with every change of the partition.
    pub partition_epoch: i32,
}

impl PartitionImage {
    /// Whether there is a leader.
    pub fn has_leader(&self) -> bool {
        self.leader != NO_LEADER
    }

    /// The directory of this broker's replica, if it has one.
    pub fn directory(&self, broker: NodeId) -> Option<Uuid> {
        let index = self
            .replicas
            .iter()
            .position(|&replica| replica == broker)?;
        self.directories.get(index).copied()
    }
}

/// Kafka's security protocols.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SecurityProtocol {
    /// No authentication, no encryption.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// The number in records and on the wire.
    pub const fn code(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }

    /// The protocol with this name in capitals.
    pub fn from_name(name: &str) -> Option<SecurityProtocol> {
        match name {
            "PLAINTEXT" => Some(SecurityProtocol::Plaintext),
            "SSL" => Some(SecurityProtocol::Ssl),
            "SASL_PLAINTEXT" => Some(SecurityProtocol::SaslPlaintext),
            "SASL_SSL" => Some(SecurityProtocol::SaslSsl),
            _ => None,
        }
    }
}

/// Where a node can be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: String,
    /// Host name or address to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// The number of the security protocol, see [`SecurityProtocol::code`].
    pub security_protocol: i16,
}

/// The levels of a feature that a node supports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeatureRange {
    /// Lowest supported level.
    pub min: i16,
    /// Highest supported level.
    pub max: i16,
}

/// One registered broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerImage {
    /// Its id.
    pub id: NodeId,
    /// The epoch of this registration: the offset of its record.
    pub epoch: i64,
    /// Drawn anew by each start of the process.
    pub incarnation_id: Uuid,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// Features it supports.
    pub features: BTreeMap<String, FeatureRange>,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it must not lead or be shown to clients.
    pub fenced: bool,
    /// Whether it is handing over its leaderships in order to stop.
    pub in_controlled_shutdown: bool,
    /// Ids of its usable log directories.
    pub log_dirs: Vec<Uuid>,
    /// Directories that get no new replicas (KIP-1066); `None` before the broker has said so.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

impl BrokerImage {
    /// Its endpoint on a listener.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.listener == listener)
    }

    /// Whether it may be elected.
    pub fn may_lead(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

/// One registered controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerImage {
    /// Its id.
    pub id: NodeId,
    /// Drawn anew by each start of the process.
    pub incarnation_id: Uuid,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// Features it supports.
    pub features: BTreeMap<String, FeatureRange>,
}

/// Kinds of things that have configs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ConfigResourceType {
    /// A topic, by name.
    Topic,
    /// A broker, by id in decimal; the empty name is the default of all brokers.
    Broker,
    /// A subscription of client metrics (KIP-714).
    ClientMetrics,
    /// A group (KIP-848).
    Group,
}

impl ConfigResourceType {
    /// The number in records and on the wire.
    pub const fn code(self) -> i8 {
        match self {
            ConfigResourceType::Topic => 2,
            ConfigResourceType::Broker => 4,
            ConfigResourceType::ClientMetrics => 16,
            ConfigResourceType::Group => 32,
        }
    }

    /// The type with this number; broker loggers (8) have no stored configs.
    pub const fn from_code(code: i8) -> Option<ConfigResourceType> {
        match code {
            2 => Some(ConfigResourceType::Topic),
            4 => Some(ConfigResourceType::Broker),
            16 => Some(ConfigResourceType::ClientMetrics),
            32 => Some(ConfigResourceType::Group),
            _ => None,
        }
    }
}

/// A thing that has configs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConfigResource {
    /// Its kind.
    pub kind: ConfigResourceType,
    /// Its name; empty for the default of all brokers.
    pub name: String,
}

impl ConfigResource {
    /// A topic.
    pub fn topic(name: &str) -> ConfigResource {
        ConfigResource {
            kind: ConfigResourceType::Topic,
            name: name.to_owned(),
        }
    }

    /// One broker.
    pub fn broker(id: NodeId) -> ConfigResource {
        ConfigResource {
            kind: ConfigResourceType::Broker,
            name: id.to_string(),
        }
    }

    /// The default of all brokers.
    pub fn broker_default() -> ConfigResource {
        ConfigResource {
            kind: ConfigResourceType::Broker,
            name: String::new(),
        }
    }
}
