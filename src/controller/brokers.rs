//! Brokers: registration, heartbeats, fencing, and what they mean for the partitions they lead.

use std::collections::BTreeSet;

use protocol::stored::{BrokerRegistrationChangeRecord, PartitionChangeRecord};
use types::{NodeId, Offset, PartitionIndex, Uuid};

use crate::controller::{Controller, Decision};
use crate::error::BrokerError;
use crate::image::{BrokerImage, ControllerImage, MetadataImage, NO_LEADER, PartitionImage};
use crate::records::MetadataRecord;
use crate::request::{
    AssignReplicasToDirs, AssignedReplica, BrokerHeartbeat, BrokerHeartbeatReply, RegisterBroker,
    RegisterController, Response,
};
use crate::snapshot::{broker_record, controller_record};

/// The registration of a broker, if it is the one with this epoch.
pub(crate) fn registered(
    image: &MetadataImage,
    id: NodeId,
    epoch: i64,
) -> Result<&BrokerImage, BrokerError> {
    match image.broker(id) {
        None => Err(BrokerError::NotRegistered(id)),
        Some(broker) if broker.epoch != epoch => Err(BrokerError::StaleEpoch {
            current: broker.epoch,
            given: epoch,
        }),
        Some(broker) => Ok(broker),
    }
}

/// A broker process starts: its predecessor is fenced, then it is registered, fenced until it has caught up.
pub(crate) fn register(
    controller: &Controller,
    next_offset: Offset,
    request: &RegisterBroker,
) -> Decision {
    let image = controller.replayer.latest();
    if let Err(error) = check_registration(image, request) {
        return Decision::atomic(Vec::new(), Response::RegisterBroker(Err(error)));
    }
    let mut records = Vec::new();
    if let Some(previous) = image.broker(request.broker_id) {
        if previous.incarnation_id == request.incarnation_id {
            let response = Response::RegisterBroker(Ok(previous.epoch));
            return Decision::atomic(records, response);
        }
        if !previous.fenced {
            records = leave_all(image, previous);
            records.push(fencing(previous, 1));
        }
    }
    // The epoch is the offset of this very record, which the driver may put into a later batch than the first.
    let epoch = next_offset + i64::try_from(records.len()).expect("few records");
    let broker = BrokerImage {
        id: request.broker_id,
        epoch,
        incarnation_id: request.incarnation_id,
        endpoints: request.endpoints.clone(),
        features: request.features.clone(),
        rack: request.rack.clone(),
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: request.log_dirs.clone(),
        cordoned_log_dirs: None,
    };
    records.push(broker_record(&broker).into());
    Decision {
        records,
        response: Response::RegisterBroker(Ok(epoch)),
        // Fencing may take more records than a batch holds. Between them the state is one that a failing broker leaves too.
        atomic: false,
    }
}

fn check_registration(image: &MetadataImage, request: &RegisterBroker) -> Result<(), BrokerError> {
    if request.cluster_id != *image.cluster_id {
        return Err(BrokerError::ClusterId);
    }
    let directories: BTreeSet<&Uuid> = request.log_dirs.iter().collect();
    let malformed = request.endpoints.is_empty()
        || directories.is_empty()
        || directories.len() != request.log_dirs.len();
    if malformed {
        return Err(BrokerError::Registration);
    }
    let supports = |name: &str, level: i16| {
        let range = request.features.get(name);
        range.is_some_and(|range| (range.min..=range.max).contains(&level))
    };
    if image
        .features
        .iter()
        .any(|(name, &level)| !supports(name, level))
    {
        return Err(BrokerError::Features);
    }
    match image.broker(request.broker_id) {
        Some(previous)
            if !previous.fenced
                && previous.incarnation_id != request.incarnation_id
                && !request.previous_incarnation_is_dead =>
        {
            Err(BrokerError::Duplicate(request.broker_id))
        }
        _ => Ok(()),
    }
}

/// A controller process starts.
pub(crate) fn register_controller(
    controller: &Controller,
    request: &RegisterController,
) -> Decision {
    let new = ControllerImage {
        id: request.controller_id,
        incarnation_id: request.incarnation_id,
        endpoints: request.endpoints.clone(),
        features: request.features.clone(),
    };
    let image = controller.replayer.latest();
    let is_known = image
        .controllers
        .get(&new.id)
        .is_some_and(|old| **old == new);
    let records = if is_known {
        Vec::new()
    } else {
        vec![controller_record(&new).into()]
    };
    Decision::atomic(records, Response::RegisterController)
}

/// A broker says that it lives: it is unfenced once it has read its own registration, and fenced when it wants to be
/// or has handed over everything in order to stop.
pub(crate) fn heartbeat(controller: &Controller, request: &BrokerHeartbeat) -> Decision {
    let image = controller.replayer.latest();
    let broker = match registered(image, request.broker_id, request.broker_epoch) {
        Ok(broker) => broker,
        Err(error) => {
            return Decision::atomic(Vec::new(), Response::BrokerHeartbeat(Err(error)));
        }
    };
    let is_caught_up = request.current_metadata_offset >= broker.epoch;
    let mut records = Vec::new();
    let mut reply = BrokerHeartbeatReply {
        is_caught_up,
        is_fenced: broker.fenced,
        should_shut_down: false,
    };
    if request.want_shut_down && (broker.fenced || broker.in_controlled_shutdown) {
        if broker.fenced || !leads_any(image, broker.id) {
            if !broker.fenced {
                records = leave_all(image, broker);
                records.push(fencing(broker, 1));
            }
            reply.is_fenced = true;
            reply.should_shut_down = true;
        }
    } else if request.want_shut_down {
        records.push(shutting_down(broker));
        records.extend(leave_all(image, broker));
    } else if request.want_fence && !broker.fenced {
        records = leave_all(image, broker);
        records.push(fencing(broker, 1));
        reply.is_fenced = true;
    } else if !request.want_fence && broker.fenced && is_caught_up {
        records.push(fencing(broker, -1));
        records.extend(elect_all(image, broker));
        reply.is_fenced = false;
    }
    records.extend(cordoning(broker, request));
    Decision {
        records,
        response: Response::BrokerHeartbeat(Ok(reply)),
        atomic: false,
    }
}

fn registration_change(broker: &BrokerImage) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.id,
        broker_epoch: broker.epoch,
        ..BrokerRegistrationChangeRecord::default()
    }
}

fn fencing(broker: &BrokerImage, fenced: i8) -> MetadataRecord {
    BrokerRegistrationChangeRecord {
        fenced,
        ..registration_change(broker)
    }
    .into()
}

fn shutting_down(broker: &BrokerImage) -> MetadataRecord {
    BrokerRegistrationChangeRecord {
        in_controlled_shutdown: 1,
        ..registration_change(broker)
    }
    .into()
}

fn cordoning(broker: &BrokerImage, request: &BrokerHeartbeat) -> Option<MetadataRecord> {
    if broker.cordoned_log_dirs.as_ref() == Some(&request.cordoned_log_dirs) {
        return None;
    }
    let record = BrokerRegistrationChangeRecord {
        cordoned_log_dirs: Some(request.cordoned_log_dirs.clone()),
        ..registration_change(broker)
    };
    Some(record.into())
}

fn partitions(
    image: &MetadataImage,
) -> impl Iterator<Item = (Uuid, PartitionIndex, &PartitionImage)> {
    image.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|(&index, partition)| (topic.id, index, &**partition))
    })
}

fn leads_any(image: &MetadataImage, broker: NodeId) -> bool {
    partitions(image).any(|(_, _, partition)| partition.leader == broker)
}

/// Whether a broker other than `except` may lead.
fn may_lead(image: &MetadataImage, id: NodeId, except: NodeId) -> bool {
    id != except && image.broker(id).is_some_and(|broker| broker.may_lead())
}

/// The first replica in preferred order that is in `isr` and may lead.
fn elect(
    image: &MetadataImage,
    partition: &PartitionImage,
    isr: &[NodeId],
    except: NodeId,
) -> NodeId {
    let mut replicas = partition.replicas.iter().copied();
    let elected = replicas.find(|id| isr.contains(id) && may_lead(image, *id, except));
    elected.unwrap_or(NO_LEADER)
}

/// The broker is lost or wants to stop: it leaves every ISR that has another member, and somebody else, or nobody, leads what it led.
/// The last in-sync replica stays in the ISR: only it holds all acknowledged records.
fn leave_all(image: &MetadataImage, broker: &BrokerImage) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for (topic_id, index, partition) in partitions(image) {
        if !partition.isr.contains(&broker.id) {
            continue;
        }
        let mut change = change_of(topic_id, index);
        let mut isr = partition.isr.clone();
        if isr.len() > 1 {
            isr.retain(|&id| id != broker.id);
            change.isr = Some(isr.clone());
        }
        if partition.leader == broker.id {
            change.leader = elect(image, partition, &isr, broker.id);
        }
        push_change(&mut records, change);
    }
    records
}

/// The broker is back: it leads what nobody led, if it was the last in sync or is among those that are.
fn elect_all(image: &MetadataImage, broker: &BrokerImage) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for (topic_id, index, partition) in partitions(image) {
        if partition.leader == NO_LEADER && partition.isr.contains(&broker.id) {
            let mut change = change_of(topic_id, index);
            change.leader = broker.id;
            push_change(&mut records, change);
        }
    }
    records
}

fn change_of(topic_id: Uuid, index: PartitionIndex) -> PartitionChangeRecord {
    PartitionChangeRecord {
        topic_id,
        partition_id: index,
        ..PartitionChangeRecord::default()
    }
}

fn push_change(records: &mut Vec<MetadataRecord>, change: PartitionChangeRecord) {
    let nothing = change_of(change.topic_id, change.partition_id);
    if change != nothing {
        records.push(change.into());
    }
}

/// A broker says in which directories its replicas lie.
pub(crate) fn assign_directories(
    controller: &Controller,
    request: &AssignReplicasToDirs,
) -> Decision {
    let image = controller.replayer.latest();
    if let Err(error) = registered(image, request.broker_id, request.broker_epoch) {
        return Decision::atomic(Vec::new(), Response::AssignReplicasToDirs(Err(error)));
    }
    let mut records = Vec::new();
    let mut replies = Vec::new();
    for &(directory, topic_id, partition) in &request.replicas {
        let result = assign_directory(image, request.broker_id, directory, topic_id, partition);
        replies.push(AssignedReplica {
            directory,
            topic_id,
            partition,
            result: result.map(|record| records.extend(record)),
        });
    }
    Decision {
        records,
        response: Response::AssignReplicasToDirs(Ok(replies)),
        atomic: false,
    }
}

fn assign_directory(
    image: &MetadataImage,
    broker: NodeId,
    directory: Uuid,
    topic_id: Uuid,
    index: PartitionIndex,
) -> Result<Option<MetadataRecord>, BrokerError> {
    let topic = image
        .topic_by_id(topic_id)
        .ok_or(BrokerError::UnknownTopic(topic_id))?;
    let partition = topic
        .partition(index)
        .ok_or(BrokerError::UnknownPartition)?;
    let replica = partition.replicas.iter().position(|&id| id == broker);
    let replica = replica.ok_or(BrokerError::NotAReplica)?;
    if partition.directories[replica] == directory {
        return Ok(None);
    }
    let mut directories = partition.directories.clone();
    directories[replica] = directory;
    let mut change = change_of(topic_id, index);
    change.directories = Some(directories);
    Ok(Some(change.into()))
}
