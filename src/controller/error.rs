//! Why something is refused: one enum per operation, each with a total mapping to Kafka's codes.

use types::{ErrorCode, NodeId, Uuid};

use crate::configs::ConfigError;

/// Why replicas cannot be placed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlacementError {
    /// Fewer brokers than replicas.
    #[error("The replication factor is {asked}, but only {usable} broker(s) can take a replica.")]
    TooFewBrokers {
        /// Replicas asked for.
        asked: i16,
        /// Registered brokers with a directory that takes new replicas.
        usable: usize,
    },
    /// No broker may lead.
    #[error("No unfenced broker could lead the new partitions.")]
    AllBrokersFenced,
    /// The assignment names no replica.
    #[error("The assignment of partition {0} names no replica.")]
    Empty(i32),
    /// The assignment names a replica twice.
    #[error("The assignment names broker {0} more than once for one partition.")]
    Twice(NodeId),
    /// The assignment names an unknown broker.
    #[error("The assignment names broker {0}, which is not registered.")]
    Unknown(NodeId),
    /// Partitions have different numbers of replicas.
    #[error("The assignment gives partition {partition} {count} replica(s) and others {expected}.")]
    Uneven {
        /// The partition.
        partition: i32,
        /// Its number of replicas.
        count: usize,
        /// The number of the others.
        expected: usize,
    },
    /// None of the assigned brokers may lead.
    #[error("All brokers assigned to partition {0} are fenced or shutting down.")]
    AssignedFenced(i32),
    /// The partitions are not 0 to n-1.
    #[error("The assignment must number its partitions from 0 without a hole.")]
    NotConsecutive,
    /// There are not as many assignments as new partitions.
    #[error("{new} partition(s) are to be added, but {given} assignment(s) were given.")]
    Count {
        /// Partitions to add.
        new: i64,
        /// Assignments given.
        given: usize,
    },
}

impl PlacementError {
    /// Kafka's code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            PlacementError::TooFewBrokers { .. } | PlacementError::AllBrokersFenced => {
                ErrorCode::InvalidReplicationFactor
            }
            PlacementError::Empty(_)
            | PlacementError::Twice(_)
            | PlacementError::Unknown(_)
            | PlacementError::Uneven { .. }
            | PlacementError::AssignedFenced(_)
            | PlacementError::NotConsecutive
            | PlacementError::Count { .. } => ErrorCode::InvalidReplicaAssignment,
        }
    }
}

/// Why a topic's name is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicNameError {
    /// It has no character.
    #[error("Topic name is invalid: it must not be empty.")]
    Empty,
    /// It is `.` or `..`.
    #[error("Topic name is invalid: '{0}' means a directory.")]
    Dots(String),
    /// It is longer than a file name may be.
    #[error("Topic name is invalid: {0} characters, of which 249 are allowed.")]
    TooLong(usize),
    /// It holds another character.
    #[error("Topic name is invalid: '{0}' may hold only ASCII letters, digits, '.', '_' and '-'.")]
    Characters(String),
}

/// Why a topic is not created.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CreateTopicError {
    /// The request holds it more than once.
    #[error("The request names topic '{0}' more than once.")]
    Duplicate(String),
    /// Its name is no topic's name.
    #[error(transparent)]
    Name(#[from] TopicNameError),
    /// It exists.
    #[error("Topic '{0}' already exists.")]
    Exists(String),
    /// Its metrics could not be told from another's.
    #[error("Topic '{name}' collides with existing topic: {existing}")]
    Collides {
        /// The name asked for.
        name: String,
        /// The topic that differs only in `.` and `_`.
        existing: String,
    },
    /// It is the metadata log.
    #[error("Topic '{0}' is the cluster's own log and cannot be created.")]
    Reserved(String),
    /// The number of partitions is neither positive nor -1.
    #[error("The number of partitions must be at least 1, or -1 for the broker's default.")]
    Partitions,
    /// The number of replicas is neither positive nor -1.
    #[error("The replication factor must be at least 1, or -1 for the broker's default.")]
    ReplicationFactor,
    /// Both an assignment and a number were given.
    #[error("With an assignment, both the {0} must be -1.")]
    AssignmentAndCount(&'static str),
    /// The replicas cannot be placed.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// A config is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// One operation may not write so many records.
    #[error(
        "This would write more than {max} metadata records in one operation; ask for fewer partitions at a time."
    )]
    TooMany {
        /// The limit.
        max: usize,
    },
}

impl CreateTopicError {
    /// Kafka's code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            CreateTopicError::Duplicate(_)
            | CreateTopicError::Reserved(_)
            | CreateTopicError::AssignmentAndCount(_) => ErrorCode::InvalidRequest,
            CreateTopicError::Name(_) | CreateTopicError::Collides { .. } => {
                ErrorCode::InvalidTopicException
            }
            CreateTopicError::Exists(_) => ErrorCode::TopicAlreadyExists,
            CreateTopicError::Partitions => ErrorCode::InvalidPartitions,
            CreateTopicError::ReplicationFactor => ErrorCode::InvalidReplicationFactor,
            CreateTopicError::Placement(error) => error.code(),
            CreateTopicError::Config(error) => error.code(),
            CreateTopicError::TooMany { .. } => ErrorCode::PolicyViolation,
        }
    }
}

/// Why a topic is not deleted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeleteTopicError {
    /// `delete.topic.enable` is false.
    #[error("Deleting topics is switched off by delete.topic.enable.")]
    Disabled,
    /// The entry names a topic and an id, or neither.
    #[error("A topic is to be named either by its name or by its id.")]
    Selector,
    /// The request names it more than once.
    #[error("The request names this topic more than once.")]
    Duplicate,
    /// There is no topic of this name.
    #[error("There is no topic of this name.")]
    UnknownName,
    /// There is no topic of this id.
    #[error("There is no topic of this id.")]
    UnknownId,
}

impl DeleteTopicError {
    /// Kafka's code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            DeleteTopicError::Disabled => ErrorCode::TopicDeletionDisabled,
            DeleteTopicError::Selector | DeleteTopicError::Duplicate => ErrorCode::InvalidRequest,
            DeleteTopicError::UnknownName => ErrorCode::UnknownTopicOrPartition,
            DeleteTopicError::UnknownId => ErrorCode::UnknownTopicId,
        }
    }
}

/// Why a topic does not grow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CreatePartitionsError {
    /// The request names it more than once.
    #[error("The request names topic '{0}' more than once.")]
    Duplicate(String),
    /// There is no such topic.
    #[error("There is no topic '{0}'.")]
    Unknown(String),
    /// It has that many already.
    #[error("Topic already has {0} partition(s).")]
    Same(i32),
    /// It has more.
    #[error("The topic {name} has {current} partition(s), and {asked} would not be an increase.")]
    Fewer {
        /// The topic.
        name: String,
        /// Partitions it has.
        current: i32,
        /// Partitions asked for.
        asked: i32,
    },
    /// The replicas cannot be placed.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// One operation may not write so many records.
    #[error(
        "This would write more than {max} metadata records in one operation; ask for fewer partitions at a time."
    )]
    TooMany {
        /// The limit.
        max: usize,
    },
}

impl CreatePartitionsError {
    /// Kafka's code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            CreatePartitionsError::Duplicate(_) => ErrorCode::InvalidRequest,
            CreatePartitionsError::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
            CreatePartitionsError::Same(_) | CreatePartitionsError::Fewer { .. } => {
                ErrorCode::InvalidPartitions
            }
            CreatePartitionsError::Placement(error) => error.code(),
            CreatePartitionsError::TooMany { .. } => ErrorCode::PolicyViolation,
        }
    }
}

/// Why configs are not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AlterConfigError {
    /// The request names the resource more than once.
    #[error("The request names this resource more than once.")]
    DuplicateResource,
    /// The changes of a resource name a key more than once.
    #[error("The request names config '{0}' more than once.")]
    DuplicateKey(String),
    /// The resource's type has no configs here.
    #[error("{0} are not served by this broker.")]
    NotServed(&'static str),
    /// No resource has this type.
    #[error("There is no resource type {0}.")]
    UnknownType(i8),
    /// There is no such topic.
    #[error("The topic '{0}' does not exist.")]
    UnknownTopic(String),
    /// A broker is named by its number, or not at all.
    #[error("'{0}' is no broker's id.")]
    BrokerName(String),
    /// The broker is not registered.
    #[error("There is no broker {0}.")]
    UnknownBroker(NodeId),
    /// No such operation.
    #[error("There is no config operation {0}.")]
    Operation(i8),
    /// A value is missing.
    #[error("Config '{0}' needs a value.")]
    NoValue(String),
    /// Only lists can be appended to.
    #[error("Can't {operation} to config {key}, because it is not a list.")]
    NotAList {
        /// The key.
        key: String,
        /// The operation's name.
        operation: &'static str,
    },
    /// The key can be set only in the broker's own file.
    #[error("Config '{0}' can only be set in the broker's configuration file.")]
    ReadOnly(String),
    /// The key can be set only for one broker.
    #[error("Config '{0}' can only be set for one broker, not for all.")]
    PerBroker(String),
    /// The key can be set only for one listener, with its prefix.
    #[error("Config '{0}' can only be set for one listener, as listener.name.NAME.{0}.")]
    OnlyPerListener(String),
    /// A dynamic broker config has a wrong value: Kafka calls that an invalid request.
    #[error("{0}")]
    BrokerValue(ConfigError),
    /// A config is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// One operation may not write so many records.
    #[error("This would write more than {max} metadata records in one operation.")]
    TooMany {
        /// The limit.
        max: usize,
    },
}

impl AlterConfigError {
    /// Kafka's code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            AlterConfigError::DuplicateResource
            | AlterConfigError::DuplicateKey(_)
            | AlterConfigError::NotServed(_)
            | AlterConfigError::UnknownType(_)
            | AlterConfigError::BrokerName(_)
            | AlterConfigError::Operation(_)
            | AlterConfigError::NoValue(_)
            | AlterConfigError::ReadOnly(_)
            | AlterConfigError::PerBroker(_)
            | AlterConfigError::OnlyPerListener(_)
            | AlterConfigError::BrokerValue(_) => ErrorCode::InvalidRequest,
            AlterConfigError::UnknownTopic(_) => ErrorCode::UnknownTopicOrPartition,
            AlterConfigError::UnknownBroker(_) => ErrorCode::BrokerIdNotRegistered,
            AlterConfigError::NotAList { .. } => ErrorCode::InvalidConfig,
            AlterConfigError::Config(error) => error.code(),
            AlterConfigError::TooMany { .. } => ErrorCode::PolicyViolation,
        }
    }
}

/// Why a broker is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BrokerError {
    /// It was formatted for another cluster.
    #[error("the broker was formatted for another cluster")]
    ClusterId,
    /// Another incarnation of it is alive.
    #[error("another live process is registered as broker {0}")]
    Duplicate(NodeId),
    /// It does not support a feature level that is in force.
    #[error("the broker does not support a finalized feature level")]
    Features,
    /// It names no endpoint or no log directory.
    #[error(
        "a broker registers with at least one endpoint and one log directory, each directory once"
    )]
    Registration,
    /// It is not registered.
    #[error("broker {0} is not registered")]
    NotRegistered(NodeId),
    /// Its epoch is that of another incarnation.
    #[error("the broker epoch is {current}, not {given}")]
    StaleEpoch {
        /// The epoch of the registration.
        current: i64,
        /// The epoch given.
        given: i64,
    },
    /// Producer ids have run out.
    #[error("there is no producer id left")]
    ProducerIdsExhausted,
    /// There is no such topic.
    #[error("there is no topic {0}")]
    UnknownTopic(Uuid),
    /// There is no such partition.
    #[error("there is no such partition")]
    UnknownPartition,
    /// The broker has no replica of the partition.
    #[error("the broker has no replica of this partition")]
    NotAReplica,
}

impl BrokerError {
    /// Kafka's code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            BrokerError::ClusterId => ErrorCode::InconsistentClusterId,
            BrokerError::Duplicate(_) => ErrorCode::DuplicateBrokerRegistration,
            BrokerError::Features => ErrorCode::UnsupportedVersion,
            BrokerError::Registration => ErrorCode::InvalidRegistration,
            BrokerError::NotRegistered(_) => ErrorCode::BrokerIdNotRegistered,
            BrokerError::StaleEpoch { .. } => ErrorCode::StaleBrokerEpoch,
            BrokerError::ProducerIdsExhausted => ErrorCode::UnknownServerError,
            BrokerError::UnknownTopic(_) => ErrorCode::UnknownTopicId,
            BrokerError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            BrokerError::NotAReplica => ErrorCode::NotLeaderOrFollower,
        }
    }
}

/// Why a feature level is not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FeatureError {
    /// The request names it more than once.
    #[error("The request names feature {0} more than once.")]
    Duplicate(String),
    /// No such feature.
    #[error("Feature {0} is not known.")]
    Unknown(String),
    /// This level is not served.
    #[error("Feature {name} cannot have level {level}: this broker serves levels {min} to {max}.")]
    Range {
        /// The feature.
        name: String,
        /// The level asked for.
        level: i16,
        /// Lowest level served.
        min: i16,
        /// Highest level served.
        max: i16,
    },
    /// Going down was not allowed.
    #[error("Feature {name} has level {current}; lowering it to {level} needs a downgrade.")]
    IsDowngrade {
        /// The feature.
        name: String,
        /// The level in force.
        current: i16,
        /// The level asked for.
        level: i16,
    },
    /// Going down is never possible.
    #[error("Feature {0} cannot be lowered.")]
    NoDowngrade(String),
}

impl FeatureError {
    /// Kafka's code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            FeatureError::Duplicate(_) => ErrorCode::InvalidRequest,
            FeatureError::Unknown(_)
            | FeatureError::Range { .. }
            | FeatureError::IsDowngrade { .. }
            | FeatureError::NoDowngrade(_) => ErrorCode::InvalidUpdateVersion,
        }
    }
}
