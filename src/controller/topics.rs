//! Topics: creating, deleting and growing them.

use std::collections::{BTreeMap, BTreeSet};

use protocol::stored::{ConfigRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};
use types::{NodeId, Uuid};

use crate::configs::{describe_topic_with, validate_topic_configs};
use crate::controller::{Controller, Decision, collision_key, may_collide};
use crate::error::{
    CreatePartitionsError, CreateTopicError, DeleteTopicError, PlacementError, TopicNameError,
};
use crate::image::{ConfigMap, ConfigResourceType, MetadataImage};
use crate::placement::{Assignment, check_assignment, place};
use crate::records::MetadataRecord;
use crate::request::{
    CreatableTopic, CreatePartitions, CreatePartitionsReply, CreatePartitionsTopic,
    CreateTopicReply, CreateTopics, CreatedTopic, DeleteTopicReply, DeleteTopics, Response,
    TopicSelector,
};

/// Longest name of a topic: with a partition's number it must still be a file name.
pub const TOPIC_NAME_LENGTH_MAX: usize = 249;
/// The quorum's own log.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// Whether a text may be a topic's name.
///
/// # Errors
/// What is wrong with it.
pub fn check_topic_name(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(TopicNameError::Dots(name.to_owned()));
    }
    if name.len() > TOPIC_NAME_LENGTH_MAX {
        return Err(TopicNameError::TooLong(name.chars().count()));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.bytes().all(allowed) {
        return Err(TopicNameError::Characters(name.to_owned()));
    }
    Ok(())
}

/// Whether a text may be a topic's name.
pub fn is_valid_topic_name(name: &str) -> bool {
    check_topic_name(name).is_ok()
}

struct Planned {
    topic_id: Uuid,
    configs: ConfigMap,
    assignments: Vec<Assignment>,
}

impl Planned {
    fn record_count(&self) -> usize {
        1 + self.configs.len() + self.assignments.len()
    }

    fn records(&self, name: &str, image: &MetadataImage) -> Vec<MetadataRecord> {
        let topic = TopicRecord {
            name: name.to_owned(),
            topic_id: self.topic_id,
            ..TopicRecord::default()
        };
        let mut records: Vec<MetadataRecord> = vec![topic.into()];
        for (key, value) in &self.configs {
            let config = ConfigRecord {
                resource_type: ConfigResourceType::Topic.code(),
                resource_name: name.to_owned(),
                name: key.clone(),
                value: Some(value.clone()),
                ..ConfigRecord::default()
            };
            records.push(config.into());
        }
        for (index, assignment) in (0i32..).zip(&self.assignments) {
            records.push(partition(self.topic_id, index, assignment, image).into());
        }
        records
    }
}

fn partition(
    topic_id: Uuid,
    index: i32,
    assignment: &Assignment,
    image: &MetadataImage,
) -> PartitionRecord {
    let directory = |id: &NodeId| crate::placement::directory_of_new_replica(image, *id);
    PartitionRecord {
        partition_id: index,
        topic_id,
        replicas: assignment.replicas.clone(),
        isr: assignment.isr.clone(),
        leader: assignment.leader(),
        leader_recovery_state: 0,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: assignment.replicas.iter().map(directory).collect(),
        ..PartitionRecord::default()
    }
}

/// Creates topics: each that can be is created, all together in one batch.
pub(crate) fn create(controller: &mut Controller, request: &CreateTopics) -> Decision {
    let limit = controller.config.limits.metadata_records_per_operation_max;
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let mut new_names = BTreeMap::new();
    let mut answered = BTreeSet::new();
    let mut plans: Vec<(&CreatableTopic, Result<Planned, CreateTopicError>)> = Vec::new();
    let mut count = 0usize;
    for topic in &request.topics {
        if !answered.insert(&topic.name) {
            continue;
        }
        let plan = if times[topic.name.as_str()] > 1 {
            Err(CreateTopicError::Duplicate(topic.name.clone()))
        } else {
            plan(controller, topic, &new_names, limit)
        };
        if let Ok(plan) = &plan {
            count += plan.record_count();
            new_names.insert(collision_key(&topic.name), topic.name.clone());
        }
        plans.push((topic, plan));
    }
    // One batch holds all or nothing, so too much is refused for every topic that would have been part of it.
    let too_many = count > limit;
    let mut records = Vec::new();
    let mut replies = Vec::new();
    for (topic, plan) in plans {
        let result = match plan {
            Ok(_) if too_many => Err(CreateTopicError::TooMany { max: limit }),
            Ok(plan) => {
                if !request.validate_only {
                    records.extend(plan.records(&topic.name, controller.replayer.latest()));
                }
                Ok(created(controller, &plan, request.validate_only))
            }
            Err(error) => Err(error),
        };
        replies.push(CreateTopicReply {
            name: topic.name.clone(),
            result,
        });
    }
    Decision::atomic(records, Response::CreateTopics(replies))
}

fn created(controller: &Controller, plan: &Planned, validate_only: bool) -> CreatedTopic {
    let replicas = plan
        .assignments
        .first()
        .map_or(0, |assignment| assignment.replicas.len());
    CreatedTopic {
        topic_id: if validate_only {
            Uuid::ZERO
        } else {
            plan.topic_id
        },
        num_partitions: i32::try_from(plan.assignments.len()).expect("the limit is below 2^31"),
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        configs: describe_topic_with(&controller.config_view(), &plan.configs),
    }
}

fn plan(
    controller: &mut Controller,
    topic: &CreatableTopic,
    new_names: &BTreeMap<String, String>,
    limit: usize,
) -> Result<Planned, CreateTopicError> {
    if topic.name == METADATA_TOPIC {
        return Err(CreateTopicError::Reserved(topic.name.clone()));
    }
    check_topic_name(&topic.name)?;
    check_collision(controller, &topic.name, new_names)?;
    if controller.replayer.latest().topic(&topic.name).is_some() {
        return Err(CreateTopicError::Exists(topic.name.clone()));
    }
    let mut configs = ConfigMap::new();
    for (key, value) in &topic.configs {
        let Some(value) = value else {
            return Err(crate::configs::ConfigError::Null(key.clone()).into());
        };
        configs.insert(key.clone(), value.clone());
    }
    validate_topic_configs(&configs, &configs, &controller.config.limits)?;
    let assignments = if topic.assignments.is_empty() {
        assign(controller, topic, limit)?
    } else {
        assign_as_asked(controller.replayer.latest(), topic)?
    };
    let mut topic_id = Uuid::random(&mut controller.prng);
    while controller.replayer.latest().topic_by_id(topic_id).is_some() {
        topic_id = Uuid::random(&mut controller.prng);
    }
    Ok(Planned {
        topic_id,
        configs,
        assignments,
    })
}

fn check_collision(
    controller: &Controller,
    name: &str,
    new_names: &BTreeMap<String, String>,
) -> Result<(), CreateTopicError> {
    if !may_collide(name) {
        return Ok(());
    }
    let key = collision_key(name);
    let existing = controller
        .colliding
        .get(&key)
        .into_iter()
        .flatten()
        .map(|name| &**name);
    let new = new_names.get(&key).map(String::as_str);
    match existing.chain(new).find(|other| *other != name) {
        Some(existing) => Err(CreateTopicError::Collides {
            name: name.to_owned(),
            existing: existing.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Places the replicas of a new topic.
fn assign(
    controller: &mut Controller,
    topic: &CreatableTopic,
    limit: usize,
) -> Result<Vec<Assignment>, CreateTopicError> {
    let view = controller.config_view();
    let replicas = match topic.replication_factor {
        -1 => view.number("default.replication.factor"),
        number if number >= 1 => i64::from(number),
        _ => return Err(CreateTopicError::ReplicationFactor),
    };
    // The broker's default may be any number, and is checked like one that was asked for.
    let replicas = i16::try_from(replicas)
        .ok()
        .filter(|&replicas| replicas >= 1);
    let replicas = replicas.ok_or(CreateTopicError::ReplicationFactor)?;
    let count = match topic.num_partitions {
        -1 => view.number("num.partitions"),
        number if number >= 1 => i64::from(number),
        _ => return Err(CreateTopicError::Partitions),
    };
    let count = usize::try_from(count).map_err(|_| CreateTopicError::Partitions)?;
    if count > limit {
        return Err(CreateTopicError::TooMany { max: limit });
    }
    let (image, prng) = (controller.replayer.image(), &mut controller.prng);
    Ok(place(&image, prng, count, replicas)?)
}

fn assign_as_asked(
    image: &MetadataImage,
    topic: &CreatableTopic,
) -> Result<Vec<Assignment>, CreateTopicError> {
    if topic.replication_factor != -1 {
        return Err(CreateTopicError::AssignmentAndCount("replication factor"));
    }
    if topic.num_partitions != -1 {
        return Err(CreateTopicError::AssignmentAndCount("number of partitions"));
    }
    let mut assignments = BTreeMap::new();
    let mut expected = None;
    for (index, replicas) in &topic.assignments {
        let assignment = check_assignment(image, *index, replicas, expected)?;
        expected = Some(replicas.len());
        if assignments.insert(*index, assignment).is_some() {
            return Err(PlacementError::NotConsecutive.into());
        }
    }
    if !assignments
        .keys()
        .copied()
        .eq(0..i32::try_from(assignments.len()).unwrap_or(i32::MAX))
    {
        return Err(PlacementError::NotConsecutive.into());
    }
    Ok(assignments.into_values().collect())
}

/// Deletes topics, all together in one batch.
pub(crate) fn delete(controller: &Controller, request: &DeleteTopics) -> Decision {
    let enabled = controller.config_view().boolean("delete.topic.enable");
    let image = controller.replayer.latest();
    let mut ids: BTreeMap<Uuid, usize> = BTreeMap::new();
    for id in request
        .topics
        .iter()
        .filter_map(|selector| find(image, selector).ok())
    {
        *ids.entry(id).or_default() += 1;
    }
    let mut records = Vec::new();
    let mut replies = Vec::new();
    for selector in &request.topics {
        let result = match find(image, selector) {
            _ if !enabled => Err(DeleteTopicError::Disabled),
            Ok(id) if ids[&id] > 1 => Err(DeleteTopicError::Duplicate),
            result => result,
        };
        let (name, topic_id) = shown(image, selector);
        replies.push(DeleteTopicReply {
            name,
            topic_id,
            result: result.map(|topic_id| {
                let record = RemoveTopicRecord {
                    topic_id,
                    ..RemoveTopicRecord::default()
                };
                records.push(record.into());
            }),
        });
    }
    Decision {
        records,
        response: Response::DeleteTopics(replies),
        // Each topic's end is one record: any part of them is a state that other requests could have led to.
        atomic: false,
    }
}

fn find(image: &MetadataImage, selector: &TopicSelector) -> Result<Uuid, DeleteTopicError> {
    match selector {
        TopicSelector::Name(name) => image
            .topic(name)
            .map(|topic| topic.id)
            .ok_or(DeleteTopicError::UnknownName),
        TopicSelector::Id(id) => image
            .topic_by_id(*id)
            .map(|topic| topic.id)
            .ok_or(DeleteTopicError::UnknownId),
        TopicSelector::Invalid { .. } => Err(DeleteTopicError::Selector),
    }
}

/// The name and id that an answer shows: those asked for, and what is known beside them.
fn shown(image: &MetadataImage, selector: &TopicSelector) -> (Option<String>, Uuid) {
    match selector {
        TopicSelector::Name(name) => {
            let id = image.topic(name).map_or(Uuid::ZERO, |topic| topic.id);
            (Some(name.clone()), id)
        }
        TopicSelector::Id(id) => (
            image.topic_by_id(*id).map(|topic| topic.name.to_string()),
            *id,
        ),
        TopicSelector::Invalid { name, id } => (name.clone(), *id),
    }
}

/// Adds partitions to topics, all together in one batch.
pub(crate) fn create_partitions(
    controller: &mut Controller,
    request: &CreatePartitions,
) -> Decision {
    let limit = controller.config.limits.metadata_records_per_operation_max;
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let mut answered = BTreeSet::new();
    let mut records: Vec<MetadataRecord> = Vec::new();
    let mut replies = Vec::new();
    for topic in &request.topics {
        if !answered.insert(&topic.name) {
            continue;
        }
        let grown = if times[topic.name.as_str()] > 1 {
            Err(CreatePartitionsError::Duplicate(topic.name.clone()))
        } else {
            grow(controller, topic, limit)
        };
        let result = match grown {
            Ok(new) if records.len() + new.len() > limit => {
                Err(CreatePartitionsError::TooMany { max: limit })
            }
            Ok(new) => {
                records.extend(new);
                Ok(())
            }
            Err(error) => Err(error),
        };
        replies.push(CreatePartitionsReply {
            name: topic.name.clone(),
            result,
        });
    }
    if request.validate_only {
        records.clear();
    }
    Decision::atomic(records, Response::CreatePartitions(replies))
}

fn grow(
    controller: &mut Controller,
    request: &CreatePartitionsTopic,
    limit: usize,
) -> Result<Vec<MetadataRecord>, CreatePartitionsError> {
    let image = controller.replayer.image();
    let Some(topic) = image.topic(&request.name) else {
        return Err(CreatePartitionsError::Unknown(request.name.clone()));
    };
    let current = topic.partition_count();
    if request.count == current {
        return Err(CreatePartitionsError::Same(current));
    }
    if request.count < current {
        return Err(CreatePartitionsError::Fewer {
            name: request.name.clone(),
            current,
            asked: request.count,
        });
    }
    let new = i64::from(request.count) - i64::from(current);
    let replicas = topic.replication_factor();
    let assignments = match &request.assignments {
        Some(asked) if i64::try_from(asked.len()) != Ok(new) => {
            return Err(PlacementError::Count {
                new,
                given: asked.len(),
            }
            .into());
        }
        Some(asked) => {
            let expected = usize::try_from(replicas).ok();
            (current..)
                .zip(asked)
                .map(|(index, asked)| check_assignment(&image, index, asked, expected))
                .collect::<Result<Vec<_>, _>>()?
        }
        None => {
            let new = usize::try_from(new).expect("it is positive");
            if new > limit {
                return Err(CreatePartitionsError::TooMany { max: limit });
            }
            place(&image, &mut controller.prng, new, replicas)?
        }
    };
    let records = (current..)
        .zip(&assignments)
        .map(|(index, assignment)| partition(topic.id, index, assignment, &image).into());
    Ok(records.collect())
}
