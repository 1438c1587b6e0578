//! Topics, records, configs, and asking for offsets.

use std::collections::BTreeMap;
use std::rc::Rc;

use client::admin::{ConfigChange, NewTopic, ResourceKind};
use client::offsets::{CommittedOffset, Committer, IsolationLevel, NamedPartition, OffsetSpec};
use client::{Client, Error};
use protocol::ApiKey;
use types::{Offset, Uuid};

use super::actor::Actor;
use super::failure::stage_of;
use crate::checkers::state::Event;
use crate::history::{Body, Committed, Key, Listed, Position, Stage};
use crate::plan::TimeSpec;
use crate::watch;

/// One question about offsets: what the history calls it, and how the client asks it.
type Question = (Position, OffsetSpec, IsolationLevel);

impl Actor {
    /// Where a partition is, as far as the client knows.
    async fn place(&self, operation: &str, topic: &str, partition: i32) -> Option<Key> {
        let Some(known) = self.resolve(topic).await else {
            self.skip(operation, "unknown topic");
            return None;
        };
        if !known.partitions.contains_key(&partition) {
            self.skip(operation, "unknown partition");
            return None;
        }
        Some(Key {
            topic: known.id,
            partition,
        })
    }

    /// Asks for an offset. Who asks for the latest asks for all three ends of the log, from low to high.
    pub(super) async fn offsets(&mut self, topic: &str, partition: i32, at: TimeSpec) {
        let Some(key) = self.place("offsets", topic, partition).await else {
            return;
        };
        let (uncommitted, committed) = (
            IsolationLevel::ReadUncommitted,
            IsolationLevel::ReadCommitted,
        );
        let earliest = (Position::Earliest, OffsetSpec::Earliest, uncommitted);
        let questions = match at {
            TimeSpec::Earliest => vec![earliest],
            TimeSpec::Latest => vec![
                earliest,
                (Position::LatestCommitted, OffsetSpec::Latest, committed),
                (Position::Latest, OffsetSpec::Latest, uncommitted),
            ],
            TimeSpec::MaxTimestamp => {
                vec![(
                    Position::MaxTimestamp,
                    OffsetSpec::MaxTimestamp,
                    uncommitted,
                )]
            }
            TimeSpec::Ago(millis) => {
                let now = self.clock.now().wall.as_millis();
                let at = now - i64::try_from(millis).unwrap_or(0);
                vec![(
                    Position::Timestamp(at),
                    OffsetSpec::Timestamp(at),
                    uncommitted,
                )]
            }
        };
        drop(self.list(topic, key, &questions).await);
        if at == TimeSpec::Latest {
            self.epoch_ends(topic, partition).await;
        }
    }

    /// Asks where epochs end: the newest, one before it, one to come. The broker's answers are judged where it gives
    /// them.
    async fn epoch_ends(&mut self, topic: &str, partition: i32) {
        let Ok(leader) = self.client.leader(topic, partition).await else {
            return;
        };
        let named = (topic.to_owned(), partition);
        for epoch in [leader.epoch, leader.epoch / 2, leader.epoch + 1] {
            if let Err(error) = self.client.epoch_end(&named, epoch).await {
                self.last_error.replace(Some(error));
                return;
            }
        }
    }

    /// Asks these questions one after another; the answers, if all came.
    pub(super) async fn list(
        &mut self,
        topic: &str,
        key: Key,
        questions: &[Question],
    ) -> Option<Vec<Option<Offset>>> {
        let asked: Vec<Listed> = questions
            .iter()
            .map(|&(position, ..)| Listed {
                key,
                position,
                offset: None,
            })
            .collect();
        self.invoke(Body::ListOffsets {
            listed: asked.clone(),
        });
        let mut listed = asked.clone();
        let mut answers = Vec::new();
        for (listed, &(_, spec, isolation)) in listed.iter_mut().zip(questions) {
            match list_one(&self.client, topic, key.partition, spec, isolation).await {
                Ok(offset) => {
                    listed.offset = offset;
                    answers.push(offset);
                }
                Err(error) => {
                    self.last_error.replace(Some(error));
                    break;
                }
            }
        }
        let all_came = answers.len() == questions.len();
        if all_came && self.was_meant(topic, key.topic).await {
            self.complete(Stage::Ok, Body::ListOffsets { listed });
            return Some(answers);
        }
        self.complete(Stage::Fail, Body::ListOffsets { listed: asked });
        None
    }

    pub(super) async fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(String, String)],
    ) {
        let body = |keys| Body::CreateTopic {
            name: name.to_owned(),
            keys,
        };
        let topic = NewTopic {
            name: name.to_owned(),
            partition_count: Some(partitions),
            replication_factor: None,
            configs: configs.iter().cloned().collect(),
        };
        self.invoke(body(Vec::new()));
        let before = self.client.requests_sent(ApiKey::CreateTopics);
        let created = self.client.create_topics(&[topic]).await;
        let created = created.and_then(|mut results| {
            let own = results.remove(name);
            own.unwrap_or(Err(Error::Incomplete("the topic")))
        });
        match created {
            Ok(id) => {
                self.context.learn_partitions(name, id, 0..partitions);
                let keys = (0..partitions).map(|partition| Key {
                    topic: id,
                    partition,
                });
                self.complete(Stage::Ok, body(keys.collect()));
            }
            Err(error) => self.failed(body(Vec::new()), &error, ApiKey::CreateTopics, before),
        }
    }

    /// Tells how an operation ended that failed; `before` counts the requests that were sent before it.
    fn failed(&self, body: Body, error: &Error, api: ApiKey, before: u64) {
        let requests = self.client.requests_sent(api) - before;
        let stage = stage_of(&body, error, requests);
        self.last_error.replace(Some(error.clone()));
        self.complete(stage, body);
    }

    pub(super) async fn delete_topic(&mut self, name: &str) {
        let Some(topic) = self.ask_for(name).await.map(|topic| topic.id) else {
            return self.skip("delete_topic", "unknown topic");
        };
        let body = Body::DeleteTopic { topic };
        self.invoke(body.clone());
        let before = self.client.requests_sent(ApiKey::DeleteTopics);
        let deleted = self.client.delete_topics_by_id(&[topic]).await;
        let deleted = deleted.and_then(|mut results| {
            let own = results.remove(&topic);
            own.unwrap_or(Err(Error::Incomplete("the topic")))
        });
        match deleted {
            Ok(()) => {
                watch::tell(|| Event::TopicDeleted { topic });
                self.complete(Stage::Ok, body);
            }
            Err(error) => self.failed(body, &error, ApiKey::DeleteTopics, before),
        }
    }

    /// Deletes a group, which is refused while it has members. Then asks for its offsets.
    pub(super) async fn delete_group(&mut self, name: &str) {
        let group = name.to_owned();
        let body = Body::DeleteGroup {
            group: group.clone(),
        };
        self.invoke(body.clone());
        let before = self.client.requests_sent(ApiKey::DeleteGroups);
        match self.client.delete_group(name).await {
            Ok(()) => {
                watch::tell(|| Event::GroupDeleted { group });
                self.complete(Stage::Ok, body);
            }
            Err(error) => self.failed(body, &error, ApiKey::DeleteGroups, before),
        }
        self.committed_of(name).await;
    }

    /// Asks what a group has committed to the plan's topics.
    async fn committed_of(&mut self, group: &str) {
        let context = Rc::clone(&self.context);
        let mut places = Vec::new();
        for topic in &context.plan.topics {
            for partition in 0..topic.partitions {
                if let Some(key) = self.place("fetch_offsets", &topic.name, partition).await {
                    places.push(((topic.name.clone(), partition), key));
                }
            }
        }
        let body = |offset_of: &dyn Fn(&NamedPartition) -> Option<Offset>| Body::FetchOffsets {
            group: group.to_owned(),
            offsets: places
                .iter()
                .map(|(named, key)| Committed {
                    key: *key,
                    offset: offset_of(named),
                })
                .collect(),
        };
        self.invoke(body(&|_| None));
        let named: Vec<NamedPartition> = places.iter().map(|(named, _)| named.clone()).collect();
        let answer = self
            .client
            .committed_offsets(group, Some(&named), true)
            .await;
        match answer {
            Ok(found) => {
                let offset = |named: &NamedPartition| Some(found.get(named)?.offset);
                self.complete(Stage::Ok, body(&offset));
            }
            Err(error) => {
                self.last_error.replace(Some(error));
                self.complete(Stage::Fail, body(&|_| None));
            }
        }
    }

    pub(super) async fn add_partitions(&mut self, name: &str, more: i32) {
        let Some(known) = self.ask_for(name).await else {
            return self.skip("add_partitions", "unknown topic");
        };
        let topic: Uuid = known.id;
        let count = known.partitions.len() as i32 + more;
        let body = Body::CreatePartitions { topic, count };
        self.invoke(body.clone());
        let before = self.client.requests_sent(ApiKey::CreatePartitions);
        let counts = BTreeMap::from([(name.to_owned(), count)]);
        let grown = self.client.create_partitions(&counts).await;
        let grown = grown.and_then(|mut results| {
            let own = results.remove(name);
            own.unwrap_or(Err(Error::Incomplete("the topic")))
        });
        let is_sound = self.was_meant(name, topic).await;
        match grown {
            Ok(()) if is_sound => {
                self.context.learn_partitions(name, topic, 0..count);
                self.complete(Stage::Ok, body);
            }
            Ok(()) => self.complete(Stage::Info, body),
            Err(error) => self.failed(body, &error, ApiKey::CreatePartitions, before),
        }
    }

    /// Deletes this part of what lies between log start and end.
    pub(super) async fn delete_records(&mut self, topic: &str, partition: i32, percent: u8) {
        let Some(key) = self.place("delete_records", topic, partition).await else {
            return;
        };
        let uncommitted = IsolationLevel::ReadUncommitted;
        let questions = [
            (Position::Earliest, OffsetSpec::Earliest, uncommitted),
            (Position::Latest, OffsetSpec::Latest, uncommitted),
        ];
        let ends = self.list(topic, key, &questions).await;
        let Some([Some(start), Some(end)]) = ends.as_deref() else {
            return self.skip("delete_records", "no offsets");
        };
        let before = match percent {
            100.. => -1,
            _ => start + (end - start) * Offset::from(percent) / 100,
        };
        let body = |low_watermark| Body::DeleteRecords {
            key,
            before,
            low_watermark,
        };
        self.invoke(body(None));
        let sent = self.client.requests_sent(ApiKey::DeleteRecords);
        let named = (topic.to_owned(), partition);
        let asked = BTreeMap::from([(named.clone(), before)]);
        let deleted = self.client.delete_records(&asked).await;
        let deleted = deleted.and_then(|mut results| {
            let own = results.remove(&named);
            own.unwrap_or(Err(Error::Incomplete("the partition")))
        });
        let is_sound = self.was_meant(topic, key.topic).await;
        match deleted {
            Ok(low) if is_sound => self.complete(Stage::Ok, body(Some(low))),
            Ok(_) => self.complete(Stage::Info, body(None)),
            Err(error) => self.failed(body(None), &error, ApiKey::DeleteRecords, sent),
        }
    }

    /// Commits for a group without being its member, which is right only while it has none.
    pub(super) async fn commit_for(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: Offset,
    ) {
        let Some(key) = self.place("commit_for", topic, partition).await else {
            return;
        };
        let committed = Committed {
            key,
            offset: Some(offset),
        };
        let mut body = Body::CommitOffsets {
            group: group.to_owned(),
            generation: -1,
            offsets: vec![committed],
            given_up: 0,
        };
        self.invoke(body.clone());
        let before = self.client.requests_sent(ApiKey::OffsetCommit);
        let unanswered = self.client.requests_unanswered(ApiKey::OffsetCommit);
        let named = (topic.to_owned(), partition);
        let offsets = BTreeMap::from([(named, CommittedOffset::at(offset))]);
        let outsider = Committer::outsider();
        let result = self.client.commit_offsets(group, &outsider, &offsets).await;
        let is_sound = self.was_meant(topic, key.topic).await;
        self.count_given_up(&mut body, unanswered);
        match result {
            Ok(()) if is_sound => self.complete(Stage::Ok, body),
            Ok(()) => self.complete(Stage::Info, body),
            Err(error) => self.failed(body, &error, ApiKey::OffsetCommit, before),
        }
    }

    pub(super) async fn alter_config(&mut self, topic: &str, key: &str, value: &str) {
        let value = (!value.is_empty()).then(|| value.to_owned());
        let body = Body::AlterConfig {
            resource: topic.to_owned(),
            name: key.to_owned(),
            value: value.clone(),
        };
        self.invoke(body.clone());
        let before = self.client.requests_sent(ApiKey::IncrementalAlterConfigs);
        let change = value.map_or(ConfigChange::Delete, ConfigChange::Set);
        let changes = BTreeMap::from([(key.to_owned(), change)]);
        let altered = self
            .client
            .alter_configs(ResourceKind::Topic, topic, &changes, false)
            .await;
        match altered {
            Ok(()) => self.complete(Stage::Ok, body),
            Err(error) => self.failed(body, &error, ApiKey::IncrementalAlterConfigs, before),
        }
    }
}

async fn list_one(
    client: &Client,
    topic: &str,
    partition: i32,
    spec: OffsetSpec,
    isolation: IsolationLevel,
) -> Result<Option<Offset>, Error> {
    let named = (topic.to_owned(), partition);
    let asked = BTreeMap::from([(named.clone(), spec)]);
    let found = client.list_offsets(&asked, isolation).await?;
    Ok(found.get(&named).and_then(|listed| listed.offset))
}
