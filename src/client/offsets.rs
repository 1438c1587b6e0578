//! Offsets: of partitions by time, and of groups.

use std::collections::BTreeMap;

use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};
use types::{ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex};

use crate::client::{Client, Lane};
use crate::error::Error;
use crate::metadata::{Leader, missing};

/// A partition by its topic's name.
pub type NamedPartition = (String, PartitionIndex);

/// Newest versions of the groups' offset requests that name topics; later ones have ids, which deleted topics lack.
const NAMED_TOPICS_VERSION_MAX: i16 = 9;
/// First version of OffsetFetch that asks for several groups.
const GROUPS_VERSION_MIN: i16 = 8;

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first one.
    Earliest,
    /// The one that the next record gets; below open transactions if only committed records are read.
    Latest,
    /// That of the record with the greatest timestamp.
    MaxTimestamp,
    /// That of the first record at or after this many milliseconds since 1970.
    Timestamp(i64),
}

impl OffsetSpec {
    fn code(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::Timestamp(millis) => millis,
        }
    }
}

/// Which records a reader sees, by Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(i8)]
pub enum IsolationLevel {
    /// Everything up to the high watermark.
    #[default]
    ReadUncommitted = 0,
    /// What no transaction can take back any more.
    ReadCommitted = 1,
}

/// An offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; none if no record is at or after the time.
    pub offset: Option<Offset>,
    /// The record's timestamp; none unless a time was asked for.
    pub timestamp: Option<i64>,
    /// The epoch of the leader that appended it, -1 if it was not told.
    pub leader_epoch: LeaderEpoch,
}

/// A group's offset of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// The epoch of the leader of the record before it, -1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// The committer's note.
    pub metadata: String,
}

impl CommittedOffset {
    /// An offset without epoch and note.
    pub fn at(offset: Offset) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
        }
    }
}

/// Who commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committer {
    /// The group's generation; -1 from outside, of a group without members.
    pub generation: i32,
    /// The member's id, empty from outside.
    pub member_id: String,
    /// The member's lasting name, if it has one.
    pub group_instance_id: Option<String>,
}

impl Committer {
    /// Somebody who is no member.
    pub fn outsider() -> Committer {
        Committer {
            generation: -1,
            member_id: String::new(),
            group_instance_id: None,
        }
    }
}

/// What each partition was answered.
pub type PerPartition<T> = BTreeMap<NamedPartition, Result<T, Error>>;

impl Client {
    /// Asks the leaders for offsets, trying again while that may help.
    ///
    /// # Errors
    /// The last that no attempt cured, of any partition.
    pub async fn list_offsets(
        &self,
        asked: &BTreeMap<NamedPartition, OffsetSpec>,
        isolation: IsolationLevel,
    ) -> Result<BTreeMap<NamedPartition, ListedOffset>, Error> {
        let mut known = BTreeMap::new();
        self.retry(async || {
            let missing = asked.iter().filter(|(key, _)| !known.contains_key(*key));
            let missing = missing.map(|(key, &spec)| (key.clone(), spec)).collect();
            let mut failure: Option<Error> = None;
            for (partition, answer) in self.list_offsets_once(&missing, isolation).await {
                match answer {
                    Ok(offset) => drop(known.insert(partition, offset)),
                    // One that trying again cannot cure ends it all.
                    Err(_) if failure.as_ref().is_some_and(|known| !known.is_retriable()) => {}
                    Err(error) => failure = Some(error),
                }
            }
            failure.map_or(Ok(()), Err)
        })
        .await?;
        Ok(known)
    }

    /// Asks the leaders for offsets once: what each of the partitions was answered.
    pub(crate) async fn list_offsets_once(
        &self,
        asked: &BTreeMap<NamedPartition, OffsetSpec>,
        isolation: IsolationLevel,
    ) -> PerPartition<ListedOffset> {
        let mut answers = PerPartition::new();
        let mut by_node: BTreeMap<NodeId, Vec<(NamedPartition, OffsetSpec, Leader)>> =
            BTreeMap::new();
        for (partition, &spec) in asked {
            match self.leader(&partition.0, partition.1).await {
                Ok(leader) => {
                    let group = by_node.entry(leader.node).or_default();
                    group.push((partition.clone(), spec, leader));
                }
                Err(error) if error.code().is_some() => {
                    answers.insert(partition.clone(), Err(error));
                }
                // Nobody tells where anything is: the other partitions need not wait for that, too.
                Err(error) => {
                    let all = asked.keys().cloned();
                    return all.map(|key| (key, Err(error.clone()))).collect();
                }
            }
        }
        for (node, group) in by_node {
            let answered = self.list_offsets_of(node, &group, isolation).await;
            for (partition, ..) in group {
                let answer = match &answered {
                    Ok(answered) => answered.get(&partition).cloned(),
                    Err(error) => Some(Err(error.clone())),
                };
                let missing = Err(Error::Incomplete("a partition's offset"));
                answers.insert(partition, answer.unwrap_or(missing));
            }
        }
        answers
    }

    async fn list_offsets_of(
        &self,
        node: NodeId,
        asked: &[(NamedPartition, OffsetSpec, Leader)],
        isolation: IsolationLevel,
    ) -> Result<PerPartition<ListedOffset>, Error> {
        let mut topics: BTreeMap<&str, ListOffsetsTopic> = BTreeMap::new();
        for ((topic, partition), spec, leader) in asked {
            let entry = topics.entry(topic).or_insert_with(|| ListOffsetsTopic {
                name: topic.clone(),
                ..ListOffsetsTopic::default()
            });
            entry.partitions.push(ListOffsetsPartition {
                partition_index: *partition,
                current_leader_epoch: leader.epoch,
                timestamp: spec.code(),
                ..ListOffsetsPartition::default()
            });
        }
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: isolation as i8,
            topics: topics.into_values().collect(),
            ..ListOffsetsRequest::default()
        };
        let connection = self.connection(node, Lane::General).await?;
        let response: ListOffsetsResponse = connection.send(&request).await?;
        let mut answers = BTreeMap::new();
        for topic in response.topics {
            for partition in topic.partitions {
                let answer = Error::check(partition.error_code).map(|()| ListedOffset {
                    offset: (partition.offset >= 0).then_some(partition.offset),
                    timestamp: (partition.timestamp >= 0).then_some(partition.timestamp),
                    leader_epoch: partition.leader_epoch,
                });
                answers.insert((topic.name.clone(), partition.partition_index), answer);
            }
        }
        Ok(answers)
    }

    /// The offsets that the group committed: of these partitions, or of all that it has any for. Partitions without
    /// one are left out.
    ///
    /// # Errors
    /// Those of the group and of any partition that no attempt cured.
    pub async fn committed_offsets(
        &self,
        group: &str,
        partitions: Option<&[NamedPartition]>,
        require_stable: bool,
    ) -> Result<BTreeMap<NamedPartition, CommittedOffset>, Error> {
        self.with_coordinator(group, Lane::General, async |connection| {
            let version = connection
                .version::<OffsetFetchRequest>()?
                .min(NAMED_TOPICS_VERSION_MAX);
            let request = offset_fetch_request(group, partitions, require_stable, version);
            let response = connection.send_at(&request, version).await?;
            read_committed_offsets(response, version)
        })
        .await
    }

    /// Commits offsets of the group.
    ///
    /// # Errors
    /// That of the first partition that was refused, or of the request. What was accepted stays committed.
    pub async fn commit_offsets(
        &self,
        group: &str,
        committer: &Committer,
        offsets: &BTreeMap<NamedPartition, CommittedOffset>,
    ) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let request = offset_commit_request(group, committer, offsets);
        self.with_coordinator(group, Lane::General, async |connection| {
            let version = connection
                .version::<OffsetCommitRequest>()?
                .min(NAMED_TOPICS_VERSION_MAX);
            let response: OffsetCommitResponse = connection.send_at(&request, version).await?;
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            for partition in partitions {
                Error::check(partition.error_code)?;
            }
            Ok(())
        })
        .await
    }
}

fn by_topic(partitions: &[NamedPartition]) -> BTreeMap<&str, Vec<PartitionIndex>> {
    let mut topics: BTreeMap<&str, Vec<PartitionIndex>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    topics
}

fn offset_fetch_request(
    group: &str,
    partitions: Option<&[NamedPartition]>,
    require_stable: bool,
    version: i16,
) -> OffsetFetchRequest {
    // Versions before 7 cannot ask for stability.
    let mut request = OffsetFetchRequest {
        require_stable: require_stable && version >= 7,
        ..OffsetFetchRequest::default()
    };
    let topics = partitions.map(by_topic);
    if version >= GROUPS_VERSION_MIN {
        let topic = |(name, partition_indexes): (&str, _)| OffsetFetchRequestTopics {
            name: name.to_owned(),
            partition_indexes,
            ..OffsetFetchRequestTopics::default()
        };
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            member_epoch: -1,
            topics: topics.map(|topics| topics.into_iter().map(topic).collect()),
            ..OffsetFetchRequestGroup::default()
        }];
    } else {
        let topic = |(name, partition_indexes): (&str, _)| OffsetFetchRequestTopic {
            name: name.to_owned(),
            partition_indexes,
            ..OffsetFetchRequestTopic::default()
        };
        request.group_id = group.to_owned();
        request.topics = topics.map(|topics| topics.into_iter().map(topic).collect());
    }
    request
}

fn read_committed_offsets(
    response: OffsetFetchResponse,
    version: i16,
) -> Result<BTreeMap<NamedPartition, CommittedOffset>, Error> {
    let mut committed = BTreeMap::new();
    let mut keep =
        |topic: &str, partition: PartitionIndex, offset, leader_epoch, metadata, code| {
            Error::check(code)?;
            if offset >= 0 {
                let metadata: Option<String> = metadata;
                let offset = CommittedOffset {
                    offset,
                    leader_epoch,
                    metadata: metadata.unwrap_or_default(),
                };
                committed.insert((topic.to_owned(), partition), offset);
            }
            Ok::<(), Error>(())
        };
    if version < GROUPS_VERSION_MIN {
        Error::check(response.error_code)?;
        for topic in response.topics {
            for p in topic.partitions {
                let epoch = p.committed_leader_epoch;
                keep(
                    &topic.name,
                    p.partition_index,
                    p.committed_offset,
                    epoch,
                    p.metadata,
                    p.error_code,
                )?;
            }
        }
        return Ok(committed);
    }
    let group = response.groups.into_iter().next();
    let group = group.ok_or_else(|| missing(ErrorCode::CoordinatorNotAvailable))?;
    Error::check(group.error_code)?;
    for topic in group.topics {
        for p in topic.partitions {
            let epoch = p.committed_leader_epoch;
            keep(
                &topic.name,
                p.partition_index,
                p.committed_offset,
                epoch,
                p.metadata,
                p.error_code,
            )?;
        }
    }
    Ok(committed)
}

fn offset_commit_request(
    group: &str,
    committer: &Committer,
    offsets: &BTreeMap<NamedPartition, CommittedOffset>,
) -> OffsetCommitRequest {
    let mut topics: BTreeMap<&str, OffsetCommitRequestTopic> = BTreeMap::new();
    for ((topic, partition), committed) in offsets {
        let entry = topics
            .entry(topic)
            .or_insert_with(|| OffsetCommitRequestTopic {
                name: topic.clone(),
                ..OffsetCommitRequestTopic::default()
            });
        entry.partitions.push(OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            committed_metadata: Some(committed.metadata.clone()),
            ..OffsetCommitRequestPartition::default()
        });
    }
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: committer.generation,
        member_id: committer.member_id.clone(),
        group_instance_id: committer.group_instance_id.clone(),
        topics: topics.into_values().collect(),
        ..OffsetCommitRequest::default()
    }
}
