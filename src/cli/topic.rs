//! `millrace topic`: topics made, shown, changed, removed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use client::admin::{ConfigChange, ConfigEntry, NewTopic, ResourceKind};
use client::offsets::{IsolationLevel, ListedOffset, NamedPartition, OffsetSpec};
use client::{Client, Error};
use protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use serde_json::json;
use types::ErrorCode;

use crate::cluster::{self, Cluster, all_done, existing_topics, key_value};
use crate::output::{self, Table};

/// The source of a config that was set for the topic itself, by Kafka's numbers.
const SOURCE_TOPIC: i8 = 1;

/// What `topic` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make topics.
    Create(Create),
    /// List all topics.
    List(List),
    /// Describe topics: partitions, their leaders, replicas and offsets, and configs that are set.
    Describe(Describe),
    /// Add partitions to a topic, or change its configs.
    Alter(Alter),
    /// Remove topics with all their records.
    Delete(Delete),
}

#[derive(clap::Args)]
struct Create {
    /// The topics' names.
    #[arg(required = true)]
    names: Vec<String>,
    /// How many partitions each has; by default what the cluster says (num.partitions).
    #[arg(long, short = 'p')]
    partitions: Option<i32>,
    /// How many replicas each partition has; by default what the cluster says (default.replication.factor).
    #[arg(long, short = 'r')]
    replication_factor: Option<i16>,
    /// A config of the topics. May be repeated.
    #[arg(long = "config", short = 'c', value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// Topics that exist already are no error.
    #[arg(long)]
    if_not_exists: bool,
}

#[derive(clap::Args)]
struct List {
    /// Leave out topics that the cluster made for itself.
    #[arg(long)]
    exclude_internal: bool,
}

#[derive(clap::Args)]
struct Describe {
    /// The topics' names; without any, all topics.
    names: Vec<String>,
}

#[derive(clap::Args)]
struct Alter {
    /// The topic's name.
    name: String,
    /// How many partitions it shall have: more than now.
    #[arg(long, short = 'p')]
    partitions: Option<i32>,
    /// A config to set. May be repeated.
    #[arg(long = "config", short = 'c', value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// A config to give its default again. May be repeated.
    #[arg(long = "delete-config", value_name = "KEY")]
    deleted_configs: Vec<String>,
}

#[derive(clap::Args)]
struct Delete {
    /// The topics' names.
    #[arg(required = true)]
    names: Vec<String>,
    /// Topics that do not exist are no error.
    #[arg(long)]
    if_exists: bool,
}

/// Does what was asked.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    runtime::task::block_on(async {
        let client = arguments.cluster.connect().await?;
        let is_json = arguments.cluster.json;
        match &arguments.command {
            Command::Create(asked) => create(&client, asked, is_json).await,
            Command::List(asked) => list(&client, asked, is_json).await,
            Command::Describe(asked) => describe(&client, asked, is_json).await,
            Command::Alter(asked) => alter(&client, asked, is_json).await,
            Command::Delete(asked) => delete(&client, asked, is_json).await,
        }
    })
}

fn is_code<T>(result: &Result<T, Error>, code: ErrorCode) -> bool {
    let error = result.as_ref().err();
    error.and_then(Error::code) == Some(code)
}

async fn create(client: &Client, asked: &Create, is_json: bool) -> Result<()> {
    let new = |name: &String| NewTopic {
        name: name.clone(),
        partition_count: asked.partitions,
        replication_factor: asked.replication_factor,
        configs: asked.configs.iter().cloned().collect(),
    };
    let topics: Vec<NewTopic> = asked.names.iter().map(new).collect();
    let mut results = client.create_topics(&topics).await?;
    if asked.if_not_exists {
        results.retain(|_, result| !is_code(result, ErrorCode::TopicAlreadyExists));
    }
    for (name, result) in &results {
        let Ok(id) = result else { continue };
        if is_json {
            let said = json!({ "name": name, "topicId": id.to_string(), "created": true });
            output::json(&said)?;
        } else {
            output::line(&format!("created topic {name} with id {id}"))?;
        }
    }
    all_done("topic", results)
}

async fn list(client: &Client, asked: &List, is_json: bool) -> Result<()> {
    let mut topics = cluster::metadata(client, None).await?.topics;
    topics.retain(|topic| !(asked.exclude_internal && topic.is_internal));
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    if is_json {
        let said: Vec<_> = topics.iter().map(summary_json).collect();
        return output::json(&json!(said));
    }
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS", "INTERNAL"]);
    for topic in &topics {
        table.row(vec![
            topic.name.clone().unwrap_or_default(),
            topic.partitions.len().to_string(),
            replication_factor(topic).to_string(),
            if topic.is_internal { "yes" } else { "" }.to_owned(),
        ]);
    }
    output::print(&table.render())
}

fn replication_factor(topic: &MetadataResponseTopic) -> usize {
    let first = topic.partitions.first();
    first.map_or(0, |partition| partition.replica_nodes.len())
}

fn summary_json(topic: &MetadataResponseTopic) -> serde_json::Value {
    json!({
        "name": topic.name,
        "topicId": topic.topic_id.to_string(),
        "partitions": topic.partitions.len(),
        "replicationFactor": replication_factor(topic),
        "internal": topic.is_internal,
    })
}

async fn describe(client: &Client, asked: &Describe, is_json: bool) -> Result<()> {
    let topics = if asked.names.is_empty() {
        let all = cluster::metadata(client, None).await?.topics;
        let named = |topic: MetadataResponseTopic| Some((topic.name.clone()?, topic));
        all.into_iter().filter_map(named).collect()
    } else {
        existing_topics(client, &asked.names).await?
    };
    let mut said = Vec::new();
    for (name, mut topic) in topics {
        topic.partitions.sort_by_key(|one| one.partition_index);
        let described = Described {
            configs: configs_set(client, &name).await?,
            starts: offsets(client, &name, &topic, OffsetSpec::Earliest).await?,
            ends: offsets(client, &name, &topic, OffsetSpec::Latest).await?,
            name,
            topic,
        };
        if is_json {
            said.push(described.json());
        } else {
            output::print(&described.text())?;
        }
    }
    if is_json {
        output::json(&json!(said))?;
    }
    Ok(())
}

async fn configs_set(client: &Client, name: &str) -> Result<Vec<ConfigEntry>> {
    let configs = client
        .describe_configs(ResourceKind::Topic, name, None)
        .await;
    let mut configs = configs.with_context(|| format!("configs of topic {name}"))?;
    configs.retain(|config| config.config_source == SOURCE_TOPIC);
    configs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(configs)
}

type Offsets = BTreeMap<NamedPartition, ListedOffset>;

/// Offsets of the partitions that have a leader.
async fn offsets(
    client: &Client,
    name: &str,
    topic: &MetadataResponseTopic,
    spec: OffsetSpec,
) -> Result<Offsets> {
    let led = topic.partitions.iter().filter(|one| one.leader_id >= 0);
    let asked = led
        .map(|one| ((name.to_owned(), one.partition_index), spec))
        .collect();
    let listed = client
        .list_offsets(&asked, IsolationLevel::ReadUncommitted)
        .await;
    listed.with_context(|| format!("offsets of topic {name}"))
}

struct Described {
    name: String,
    topic: MetadataResponseTopic,
    configs: Vec<ConfigEntry>,
    starts: Offsets,
    ends: Offsets,
}

impl Described {
    fn offset(&self, offsets: &Offsets, partition: &MetadataResponsePartition) -> Option<i64> {
        let key = (self.name.clone(), partition.partition_index);
        offsets.get(&key)?.offset
    }

    fn text(&self) -> String {
        let configs: Vec<String> = self.configs.iter().map(config_text).collect();
        let mut table = Table::new(&[
            "PARTITION",
            "LEADER",
            "EPOCH",
            "REPLICAS",
            "IN SYNC",
            "OFFLINE",
            "START",
            "END",
        ]);
        for partition in &self.topic.partitions {
            let leader = Some(partition.leader_id).filter(|&leader| leader >= 0);
            table.row(vec![
                partition.partition_index.to_string(),
                output::or_dash(leader),
                partition.leader_epoch.to_string(),
                output::join(&partition.replica_nodes),
                output::join(&partition.isr_nodes),
                output::join(&partition.offline_replicas),
                output::or_dash(self.offset(&self.starts, partition)),
                output::or_dash(self.offset(&self.ends, partition)),
            ]);
        }
        format!(
            "topic {} with id {}, partitions {}, replication factor {}, configs {}\n{}\n",
            self.name,
            self.topic.topic_id,
            self.topic.partitions.len(),
            replication_factor(&self.topic),
            output::join(&configs),
            table.render(),
        )
    }

    fn json(&self) -> serde_json::Value {
        let partition = |one: &MetadataResponsePartition| {
            json!({
                "partition": one.partition_index,
                "leader": Some(one.leader_id).filter(|&leader| leader >= 0),
                "leaderEpoch": one.leader_epoch,
                "replicas": one.replica_nodes,
                "isr": one.isr_nodes,
                "offlineReplicas": one.offline_replicas,
                "startOffset": self.offset(&self.starts, one),
                "endOffset": self.offset(&self.ends, one),
            })
        };
        let configs: BTreeMap<_, _> = self
            .configs
            .iter()
            .map(|config| (&config.name, &config.value))
            .collect();
        let partitions: Vec<_> = self.topic.partitions.iter().map(partition).collect();
        json!({
            "name": self.name,
            "topicId": self.topic.topic_id.to_string(),
            "internal": self.topic.is_internal,
            "replicationFactor": replication_factor(&self.topic),
            "configs": configs,
            "partitions": partitions,
        })
    }
}

fn config_text(config: &ConfigEntry) -> String {
    let value = config.value.as_deref().unwrap_or("(hidden)");
    format!("{}={value}", config.name)
}

async fn alter(client: &Client, asked: &Alter, is_json: bool) -> Result<()> {
    let changes = config_changes(asked)?;
    let name = &asked.name;
    if asked.partitions.is_none() && changes.is_empty() {
        bail!("nothing to change: --partitions, --config or --delete-config says what");
    }
    if !changes.is_empty() {
        client
            .alter_configs(ResourceKind::Topic, name, &changes, false)
            .await
            .with_context(|| format!("configs of topic {name}"))?;
    }
    if let Some(count) = asked.partitions {
        let counts = BTreeMap::from([(name.clone(), count)]);
        all_done("topic", client.create_partitions(&counts).await?)?;
    }
    if is_json {
        return output::json(&json!({ "name": name, "altered": true }));
    }
    output::line(&format!("altered topic {name}"))
}

fn config_changes(asked: &Alter) -> Result<BTreeMap<String, ConfigChange>> {
    let mut changes = BTreeMap::new();
    let set = asked.configs.iter();
    let set = set.map(|(key, value)| (key, ConfigChange::Set(value.clone())));
    let deleted = asked.deleted_configs.iter();
    for (key, change) in set.chain(deleted.map(|key| (key, ConfigChange::Delete))) {
        if changes.insert(key.clone(), change).is_some() {
            bail!("config {key} is given twice");
        }
    }
    Ok(changes)
}

async fn delete(client: &Client, asked: &Delete, is_json: bool) -> Result<()> {
    let names: Vec<&str> = asked.names.iter().map(String::as_str).collect();
    let mut results = client.delete_topics(&names).await?;
    if asked.if_exists {
        results.retain(|_, result| !is_code(result, ErrorCode::UnknownTopicOrPartition));
    }
    for (name, result) in &results {
        if result.is_err() {
            continue;
        }
        if is_json {
            output::json(&json!({ "name": name, "deleted": true }))?;
        } else {
            output::line(&format!("deleted topic {name}"))?;
        }
    }
    all_done("topic", results)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described() -> Described {
        let partition = |index, leader| MetadataResponsePartition {
            partition_index: index,
            leader_id: leader,
            leader_epoch: 4,
            replica_nodes: vec![1, 2],
            isr_nodes: vec![1],
            ..MetadataResponsePartition::default()
        };
        let at = |offset| ListedOffset {
            offset: Some(offset),
            timestamp: None,
            leader_epoch: 4,
        };
        Described {
            name: "t".to_owned(),
            topic: MetadataResponseTopic {
                name: Some("t".to_owned()),
                partitions: vec![partition(0, 1), partition(1, -1)],
                ..MetadataResponseTopic::default()
            },
            configs: vec![ConfigEntry {
                name: "retention.ms".to_owned(),
                value: Some("5".to_owned()),
                ..ConfigEntry::default()
            }],
            starts: BTreeMap::from([(("t".to_owned(), 0), at(3))]),
            ends: BTreeMap::from([(("t".to_owned(), 0), at(12))]),
        }
    }

    #[test]
    fn a_description_shows_partitions_with_and_without_a_leader() {
        let expected = "\
topic t with id AAAAAAAAAAAAAAAAAAAAAA, partitions 2, replication factor 2, configs retention.ms=5
PARTITION  LEADER  EPOCH  REPLICAS  IN SYNC  OFFLINE  START  END
        0       1      4  1,2             1  -            3   12
        1       -      4  1,2             1  -            -    -

";
        assert_eq!(described().text(), expected);
        let json = described().json();
        assert_eq!(json["configs"]["retention.ms"], "5");
        assert_eq!(json["partitions"][0]["endOffset"], 12);
        assert_eq!(json["partitions"][1]["leader"], serde_json::Value::Null);
    }

    #[test]
    fn a_config_is_not_set_and_deleted_at_once() {
        let mut asked = Alter {
            name: "t".to_owned(),
            partitions: None,
            configs: vec![("a".to_owned(), "1".to_owned())],
            deleted_configs: vec!["b".to_owned()],
        };
        assert_eq!(config_changes(&asked).unwrap().len(), 2);
        asked.deleted_configs.push("a".to_owned());
        let error = config_changes(&asked).unwrap_err().to_string();
        assert_eq!(error, "config a is given twice");
    }
}
