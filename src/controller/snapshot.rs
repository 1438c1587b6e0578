//! An image as records, and back.

use std::sync::Arc;

use protocol::stored::register_broker_record::{BrokerEndpoint, BrokerFeature};
use protocol::stored::register_controller_record::{ControllerEndpoint, ControllerFeature};
use protocol::stored::{
    ConfigRecord, FeatureLevelRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord,
    RegisterControllerRecord, TopicRecord,
};
use types::{PartitionIndex, Uuid};

use crate::image::{BrokerImage, ControllerImage, MetadataImage, PartitionImage};
use crate::records::MetadataRecord;
use crate::replay::{BatchPosition, ReplayError, Replayer};

/// Records that replay to an image that says the same as this one, in the order that Kafka writes its snapshots.
pub fn snapshot_records(image: &MetadataImage) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    // The metadata version comes first: it says how to read the rest.
    let features = image.features.iter();
    let (version, others): (Vec<_>, Vec<_>) =
        features.partition(|(name, _)| *name == crate::features::METADATA_VERSION);
    for (name, &level) in version.into_iter().chain(others) {
        records.push(feature_record(name, level));
    }
    records.extend(
        image
            .brokers
            .values()
            .map(|broker| broker_record(broker).into()),
    );
    records.extend(
        image
            .controllers
            .values()
            .map(|c| controller_record(c).into()),
    );
    for topic in image.topics.iter() {
        let record = TopicRecord {
            name: topic.name.to_string(),
            topic_id: topic.id,
            ..TopicRecord::default()
        };
        records.push(record.into());
        for (&index, partition) in &topic.partitions {
            records.push(partition_record(topic.id, index, partition).into());
        }
    }
    for (resource, configs) in image.configs.iter() {
        for (key, value) in configs.iter() {
            let record = ConfigRecord {
                resource_type: resource.kind.code(),
                resource_name: resource.name.clone(),
                name: key.clone(),
                value: Some(value.clone()),
                ..ConfigRecord::default()
            };
            records.push(record.into());
        }
    }
    if image.next_producer_id > 0 {
        let record = ProducerIdsRecord {
            // Which broker got the last block does not matter after the fact.
            broker_id: -1,
            broker_epoch: -1,
            next_producer_id: image.next_producer_id,
            ..ProducerIdsRecord::default()
        };
        records.push(record.into());
    }
    records
}

/// The image that a snapshot's records say, at the snapshot's own position: `position.base_offset` is its last contained offset.
///
/// # Errors
/// [`ReplayError`] if the records contradict each other or are not served.
pub fn from_snapshot(
    cluster_id: &str,
    position: BatchPosition,
    records: &[MetadataRecord],
) -> Result<Arc<MetadataImage>, ReplayError> {
    let mut replayer = Replayer::new(Arc::new(MetadataImage::empty(cluster_id)));
    let start = BatchPosition {
        base_offset: 0,
        ..position
    };
    replayer.replay_batch(start, records)?;
    if replayer.in_transaction() {
        return Err(ReplayError::Transaction("open at the end of a snapshot"));
    }
    let mut image = replayer.image();
    Arc::make_mut(&mut image).provenance = crate::image::Provenance {
        offset: position.base_offset,
        epoch: position.epoch,
        timestamp_ms: position.timestamp_ms,
    };
    Ok(image)
}

pub(crate) fn feature_record(name: &str, level: i16) -> MetadataRecord {
    FeatureLevelRecord {
        name: name.to_owned(),
        feature_level: level,
        ..FeatureLevelRecord::default()
    }
    .into()
}

pub(crate) fn broker_record(broker: &BrokerImage) -> RegisterBrokerRecord {
    let endpoints = broker.endpoints.iter().map(|endpoint| BrokerEndpoint {
        name: endpoint.listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
        ..BrokerEndpoint::default()
    });
    let features = broker.features.iter().map(|(name, range)| BrokerFeature {
        name: name.clone(),
        min_supported_version: range.min,
        max_supported_version: range.max,
        ..BrokerFeature::default()
    });
    RegisterBrokerRecord {
        broker_id: broker.id,
        incarnation_id: broker.incarnation_id,
        broker_epoch: broker.epoch,
        end_points: endpoints.collect(),
        features: features.collect(),
        rack: broker.rack.clone(),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.clone(),
        cordoned_log_dirs: broker.cordoned_log_dirs.clone(),
        ..RegisterBrokerRecord::default()
    }
}

pub(crate) fn controller_record(controller: &ControllerImage) -> RegisterControllerRecord {
    let endpoints = controller
        .endpoints
        .iter()
        .map(|endpoint| ControllerEndpoint {
            name: endpoint.listener.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
            ..ControllerEndpoint::default()
        });
    let features = controller
        .features
        .iter()
        .map(|(name, range)| ControllerFeature {
            name: name.clone(),
            min_supported_version: range.min,
            max_supported_version: range.max,
            ..ControllerFeature::default()
        });
    RegisterControllerRecord {
        controller_id: controller.id,
        incarnation_id: controller.incarnation_id,
        end_points: endpoints.collect(),
        features: features.collect(),
        ..RegisterControllerRecord::default()
    }
}

pub(crate) fn partition_record(
    topic_id: Uuid,
    index: PartitionIndex,
    partition: &PartitionImage,
) -> PartitionRecord {
    let nullable = |ids: &Vec<i32>| (!ids.is_empty()).then(|| ids.clone());
    PartitionRecord {
        partition_id: index,
        topic_id,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        removing_replicas: partition.removing_replicas.clone(),
        adding_replicas: partition.adding_replicas.clone(),
        leader: partition.leader,
        leader_recovery_state: partition.leader_recovery_state.code(),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        directories: partition.directories.clone(),
        eligible_leader_replicas: nullable(&partition.eligible_leader_replicas),
        last_known_elr: nullable(&partition.last_known_elr),
        ..PartitionRecord::default()
    }
}
