//! What each record does to the image.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::stored::{
    BrokerRegistrationChangeRecord, ConfigRecord, PartitionChangeRecord, PartitionRecord,
    RegisterBrokerRecord, RegisterControllerRecord, TopicRecord,
};
use types::{NodeId, TopicPartition, Uuid};

use crate::image::{
    BrokerImage, ConfigResource, ConfigResourceType, ControllerImage, Endpoint, FeatureRange,
    LeaderRecoveryState, MetadataImage, NO_LEADER, PartitionImage,
};
use crate::records::MetadataRecord;
use crate::replay::{Change, ReplayError};

/// "The leader did not change" in a partition change.
const LEADER_UNCHANGED: NodeId = -2;
/// "The recovery state did not change" in a partition change.
const RECOVERY_STATE_UNCHANGED: i8 = -1;

/// Applies one record that is no transaction marker.
pub(crate) fn apply(
    image: &mut MetadataImage,
    record: &MetadataRecord,
    changes: &mut Vec<Change>,
) -> Result<(), ReplayError> {
    match record {
        MetadataRecord::RegisterBroker(record) => register_broker(image, record, changes),
        MetadataRecord::UnregisterBroker(record) => {
            let epoch = image
                .brokers
                .get(&record.broker_id)
                .map(|broker| broker.epoch);
            if epoch != Some(record.broker_epoch) {
                return Err(unknown_broker(record.broker_id, record.broker_epoch));
            }
            image.brokers.remove(&record.broker_id);
            changes.push(Change::BrokerUnregistered(record.broker_id));
            Ok(())
        }
        MetadataRecord::FenceBroker(record) => {
            set_fenced(image, record.id, record.epoch, true, changes)
        }
        MetadataRecord::UnfenceBroker(record) => {
            set_fenced(image, record.id, record.epoch, false, changes)
        }
        MetadataRecord::BrokerRegistrationChange(record) => change_broker(image, record, changes),
        MetadataRecord::RegisterController(record) => {
            register_controller(image, record, changes);
            Ok(())
        }
        MetadataRecord::Topic(record) => create_topic(image, record, changes),
        MetadataRecord::RemoveTopic(record) => remove_topic(image, record.topic_id, changes),
        MetadataRecord::Partition(record) => create_partition(image, record, changes),
        MetadataRecord::PartitionChange(record) => change_partition(image, record, changes),
        MetadataRecord::Config(record) => change_config(image, record, changes),
        MetadataRecord::FeatureLevel(record) => {
            if record.feature_level == 0 {
                image.features.remove(&record.name);
            } else {
                image
                    .features
                    .insert(record.name.clone(), record.feature_level);
            }
            changes.push(Change::FeatureChanged(record.name.clone()));
            Ok(())
        }
        MetadataRecord::ProducerIds(record) => {
            if record.next_producer_id < image.next_producer_id {
                return Err(ReplayError::Malformed(format!(
                    "producer ids go back from {} to {}",
                    image.next_producer_id, record.next_producer_id
                )));
            }
            image.next_producer_id = record.next_producer_id;
            changes.push(Change::ProducerIdsAllocated);
            Ok(())
        }
        MetadataRecord::ClearElr(record) => clear_elr(image, &record.topic_name, changes),
        // Written by idle controllers, and by every cluster that once left ZooKeeper; neither says anything.
        MetadataRecord::NoOp(_) | MetadataRecord::ZkMigrationState(_) => Ok(()),
        other => Err(ReplayError::NotServed(record_name(other))),
    }
}

/// Kafka's name of a record that is not served.
fn record_name(record: &MetadataRecord) -> &'static str {
    match record {
        MetadataRecord::DelegationToken(_) => "DelegationTokenRecord",
        MetadataRecord::RemoveDelegationToken(_) => "RemoveDelegationTokenRecord",
        MetadataRecord::UserScramCredential(_) => "UserScramCredentialRecord",
        MetadataRecord::RemoveUserScramCredential(_) => "RemoveUserScramCredentialRecord",
        MetadataRecord::ClientQuota(_) => "ClientQuotaRecord",
        MetadataRecord::AccessControlEntry(_) => "AccessControlEntryRecord",
        MetadataRecord::RemoveAccessControlEntry(_) => "RemoveAccessControlEntryRecord",
        MetadataRecord::BeginTransaction(_)
        | MetadataRecord::EndTransaction(_)
        | MetadataRecord::AbortTransaction(_) => "transaction marker in the wrong place",
        _ => "record of an unknown kind",
    }
}

fn unknown_broker(id: NodeId, epoch: i64) -> ReplayError {
    ReplayError::UnknownBroker { id, epoch }
}

fn register_broker(
    image: &mut MetadataImage,
    record: &RegisterBrokerRecord,
    changes: &mut Vec<Change>,
) -> Result<(), ReplayError> {
    if record.is_migrating_zk_broker {
        return Err(ReplayError::NotServed(
            "broker that migrates from ZooKeeper",
        ));
    }
    let endpoints = record.end_points.iter().map(|endpoint| Endpoint {
        listener: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    });
    let features = record.features.iter().map(|feature| {
        let range = FeatureRange {
            min: feature.min_supported_version,
            max: feature.max_supported_version,
        };
        (feature.name.clone(), range)
    });
    let broker = BrokerImage {
        id: record.broker_id,
        epoch: record.broker_epoch,
        incarnation_id: record.incarnation_id,
        endpoints: endpoints.collect(),
        features: features.collect(),
        rack: record.rack.clone(),
        fenced: record.fenced,
        in_controlled_shutdown: record.in_controlled_shutdown,
        log_dirs: record.log_dirs.clone(),
        cordoned_log_dirs: record.cordoned_log_dirs.clone(),
    };
    image.brokers.insert(record.broker_id, Arc::new(broker));
    changes.push(Change::BrokerRegistered(record.broker_id));
    Ok(())
}

fn register_controller(
    image: &mut MetadataImage,
    record: &RegisterControllerRecord,
    changes: &mut Vec<Change>,
) {
    let endpoints = record.end_points.iter().map(|endpoint| Endpoint {
        listener: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    });
    let features: BTreeMap<String, FeatureRange> = record
        .features
        .iter()
        .map(|feature| {
            let range = FeatureRange {
                min: feature.min_supported_version,
                max: feature.max_supported_version,
            };
            (feature.name.clone(), range)
        })
        .collect();
    let controller = ControllerImage {
        id: record.controller_id,
        incarnation_id: record.incarnation_id,
        endpoints: endpoints.collect(),
        features,
    };
    image
        .controllers
        .insert(controller.id, Arc::new(controller));
    changes.push(Change::ControllerRegistered(record.controller_id));
}

fn broker_mut(
    image: &mut MetadataImage,
    id: NodeId,
    epoch: i64,
) -> Result<&mut BrokerImage, ReplayError> {
    match image.brokers.get_mut(&id) {
        Some(broker) if broker.epoch == epoch => Ok(Arc::make_mut(broker)),
        _ => Err(unknown_broker(id, epoch)),
    }
}

fn set_fenced(
    image: &mut MetadataImage,
    id: NodeId,
    epoch: i64,
    fenced: bool,
    changes: &mut Vec<Change>,
) -> Result<(), ReplayError> {
    broker_mut(image, id, epoch)?.fenced = fenced;
    changes.push(Change::BrokerChanged(id));
    Ok(())
}

fn change_broker(
    image: &mut MetadataImage,
    record: &BrokerRegistrationChangeRecord,
    changes: &mut Vec<Change>,
) -> Result<(), ReplayError> {
    let broker = broker_mut(image, record.broker_id, record.broker_epoch)?;
    match record.fenced {
        -1 => broker.fenced = false,
        0 => {}
        1 => broker.fenced = true,
        other => return Err(ReplayError::Malformed(format!("fenced is {other}"))),
    }
    match record.in_controlled_shutdown {
        0 => {}
        1 => broker.in_controlled_shutdown = true,
        other => {
            return Err(ReplayError::Malformed(format!(
                "controlled shutdown is {other}"
            )));
        }
    }
    if !record.log_dirs.is_empty() {
        broker.log_dirs = record.log_dirs.clone();
    }
    if let Some(cordoned) = &record.cordoned_log_dirs {
        broker.cordoned_log_dirs = Some(cordoned.clone());
    }
    changes.push(Change::BrokerChanged(record.broker_id));
    Ok(())
}

fn create_topic(
    image: &mut MetadataImage,
    record: &TopicRecord,
    changes: &mut Vec<Change>,
) -> Result<(), ReplayError> {
    let exists = image.topics.by_name(&record.name).is_some()
        || image.topics.by_id(record.topic_id).is_some();
    if exists || record.topic_id.is_zero() {
        return Err(ReplayError::TopicExists(record.name.clone()));
    }
    let name: Arc<str> = Arc::from(record.name.as_str());
    image.topics.insert(Arc::clone(&name), record.topic_id);
    changes.push(Change::TopicCreated {
        name,
        id: record.topic_id,
    });
    Ok(())
}

fn remove_topic(
    image: &mut MetadataImage,
    id: Uuid,
    changes: &mut Vec<Change>,
) -> Result<(), ReplayError> {
    let Some(topic) = image.topics.remove(id) else {
        return Err(ReplayError::UnknownTopic(id));
    };
    // A topic's configs end with it: no record says so on its own.
    let resource = ConfigResource::topic(&topic.name);
    if image.configs.contains_key(&resource) {
        Arc::make_mut(&mut image.configs).remove(&resource);
    }
    changes.push(Change::TopicDeleted(topic));
    Ok(())
}

fn create_partition(
    image: &mut MetadataImage,
    record: &PartitionRecord,
    changes: &mut Vec<Change>,
) -> Result<(), ReplayError> {
    let Some(topic) = image.topics.get_mut(record.topic_id) else {
        return Err(ReplayError::UnknownTopic(record.topic_id));
    };
    let mut directories = record.directories.clone();
    if directories.is_empty() {
        // Version 0 does not say: the migrating directory of KIP-858.
        directories = vec![Uuid::from_u128(2); record.replicas.len()];
    }
    let partition = PartitionImage {
        replicas: record.replicas.clone(),
        directories,
        isr: record.isr.clone(),
        removing_replicas: record.removing_replicas.clone(),
        adding_replicas: record.adding_replicas.clone(),
        eligible_leader_replicas: record.eligible_leader_replicas.clone().unwrap_or_default(),
        last_known_elr: record.last_known_elr.clone().unwrap_or_default(),
        leader: record.leader,
        leader_recovery_state: recovery_state(record.leader_recovery_state)?,
        leader_epoch: record.leader_epoch,
        partition_epoch: record.partition_epoch,
    };
    check_partition(&partition).map_err(ReplayError::Malformed)?;
    let index = record.partition_id;
    let name = TopicPartition {
        topic_id: record.topic_id,
        partition: index,
    };
    match topic.partitions.get(&index) {
        Some(old) if partition.partition_epoch < old.partition_epoch => {
            return Err(ReplayError::Malformed(format!(
                "the epoch of {name:?} goes back"
            )));
        }
        Some(old) => changes.push(Change::PartitionChanged {
            partition: name,
            leadership: old.leader_epoch != partition.leader_epoch,
        }),
        None if index < 0 => {
            return Err(ReplayError::Malformed(format!("partition {index}")));
        }
        None => changes.push(Change::PartitionCreated(name)),
    }
    topic.partitions.insert(index, Arc::new(partition));
    Ok(())
}

fn recovery_state(code: i8) -> Result<LeaderRecoveryState, ReplayError> {
    LeaderRecoveryState::from_code(code)
        .ok_or_else(|| ReplayError::Malformed(format!("leader recovery state {code}")))
}

fn change_partition(
    image: &mut MetadataImage,
    record: &PartitionChangeRecord,
    changes: &mut Vec<Change>,
) -> Result<(), ReplayError> {
    let name = TopicPartition {
        topic_id: record.topic_id,
        partition: record.partition_id,
    };
    let Some(topic) = image.topics.get_mut(record.topic_id) else {
        return Err(ReplayError::UnknownTopic(record.topic_id));
    };
    let Some(partition) = topic.partitions.get_mut(&record.partition_id) else {
        return Err(ReplayError::UnknownPartition(name));
    };
    let partition = Arc::make_mut(partition);
    merge(partition, record)?;
    check_partition(partition).map_err(ReplayError::Malformed)?;
    changes.push(Change::PartitionChanged {
        partition: name,
        leadership: record.leader != LEADER_UNCHANGED,
    });
    Ok(())
}

fn merge(
    partition: &mut PartitionImage,
    record: &PartitionChangeRecord,
) -> Result<(), ReplayError> {
    fn put<T: Clone>(field: &mut Vec<T>, new: &Option<Vec<T>>) {
        if let Some(new) = new {
            field.clone_from(new);
        }
    }
    put(&mut partition.replicas, &record.replicas);
    put(&mut partition.directories, &record.directories);
    put(&mut partition.isr, &record.isr);
    put(&mut partition.removing_replicas, &record.removing_replicas);
    put(&mut partition.adding_replicas, &record.adding_replicas);
    put(
        &mut partition.eligible_leader_replicas,
        &record.eligible_leader_replicas,
    );
    put(&mut partition.last_known_elr, &record.last_known_elr);
    if record.leader != LEADER_UNCHANGED {
        partition.leader = record.leader;
        // Losing the leader counts too: what an old leader still says must be told from what the next one says.
        partition.leader_epoch += 1;
    }
    if record.leader_recovery_state != RECOVERY_STATE_UNCHANGED {
        partition.leader_recovery_state = recovery_state(record.leader_recovery_state)?;
    }
    partition.partition_epoch += 1;
    Ok(())
}

/// What must hold for every partition.
pub(crate) fn check_partition(partition: &PartitionImage) -> Result<(), String> {
    if partition.replicas.is_empty() {
        return Err("a partition has no replica".to_owned());
    }
    if partition.directories.len() != partition.replicas.len() {
        return Err("a partition does not have one directory for each replica".to_owned());
    }
    if let Some(stray) = partition
        .isr
        .iter()
        .find(|id| !partition.replicas.contains(id))
    {
        return Err(format!("broker {stray} is in sync but no replica"));
    }
    if partition.isr.is_empty()
        && partition.eligible_leader_replicas.is_empty()
        && partition.last_known_elr.is_empty()
    {
        return Err("a partition has no in-sync replica and none that may be elected".to_owned());
    }
    if partition.leader != NO_LEADER && !partition.isr.contains(&partition.leader) {
        return Err(format!("leader {} is not in sync", partition.leader));
    }
    if partition.leader_epoch < 0 || partition.partition_epoch < 0 {
        return Err("a partition has a negative epoch".to_owned());
    }
    Ok(())
}

fn change_config(
    image: &mut MetadataImage,
    record: &ConfigRecord,
    changes: &mut Vec<Change>,
) -> Result<(), ReplayError> {
    let Some(kind) = ConfigResourceType::from_code(record.resource_type) else {
        return Err(ReplayError::UnknownResourceType(record.resource_type));
    };
    let resource = ConfigResource {
        kind,
        name: record.resource_name.clone(),
    };
    let all = Arc::make_mut(&mut image.configs);
    match &record.value {
        Some(value) => {
            let configs = all.entry(resource.clone()).or_default();
            Arc::make_mut(configs).insert(record.name.clone(), value.clone());
        }
        None => {
            if let Some(configs) = all.get_mut(&resource) {
                Arc::make_mut(configs).remove(&record.name);
                if configs.is_empty() {
                    all.remove(&resource);
                }
            }
        }
    }
    changes.push(Change::ConfigChanged {
        resource,
        key: record.name.clone(),
    });
    Ok(())
}

fn clear_elr(
    image: &mut MetadataImage,
    topic_name: &str,
    changes: &mut Vec<Change>,
) -> Result<(), ReplayError> {
    let ids: Vec<Uuid> = image
        .topics
        .iter()
        .filter(|topic| topic_name.is_empty() || &*topic.name == topic_name)
        .map(|topic| topic.id)
        .collect();
    for id in ids {
        let topic = image.topics.get_mut(id).expect("the id was just read");
        for (&index, partition) in &mut topic.partitions {
            if partition.eligible_leader_replicas.is_empty() && partition.last_known_elr.is_empty()
            {
                continue;
            }
            let partition = Arc::make_mut(partition);
            partition.eligible_leader_replicas.clear();
            partition.last_known_elr.clear();
            changes.push(Change::PartitionChanged {
                partition: TopicPartition {
                    topic_id: id,
                    partition: index,
                },
                leadership: false,
            });
        }
    }
    Ok(())
}
