//! `millrace config`: configs of topics and brokers shown and changed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use client::Client;
use client::admin::{ConfigChange, ConfigEntry, ResourceKind};
use serde_json::json;
use types::NodeId;

use crate::cluster::{Cluster, key_value};
use crate::output::{self, Table};

/// The source of a config that nobody set, by Kafka's numbers.
const SOURCE_DEFAULT: i8 = 5;

/// What `config` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Describe configs: those that are set, or all.
    Describe(Describe),
    /// Change configs, all or none.
    Alter(Alter),
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Resource {
    /// A topic, by its name.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// A broker, by its id.
    #[arg(long, value_name = "ID")]
    broker: Option<NodeId>,
    /// What all brokers have unless told otherwise.
    #[arg(long)]
    broker_defaults: bool,
}

impl Resource {
    fn parts(&self) -> (ResourceKind, String) {
        match (&self.topic, self.broker) {
            (Some(name), _) => (ResourceKind::Topic, name.clone()),
            (None, Some(id)) => (ResourceKind::Broker, id.to_string()),
            (None, None) => (ResourceKind::Broker, String::new()),
        }
    }

    fn text(&self) -> String {
        match (&self.topic, self.broker) {
            (Some(name), _) => format!("topic {name}"),
            (None, Some(id)) => format!("broker {id}"),
            (None, None) => "broker defaults".to_owned(),
        }
    }
}

#[derive(clap::Args)]
struct Describe {
    #[command(flatten)]
    resource: Resource,
    /// Show configs that have their default too.
    #[arg(long, short = 'a')]
    all: bool,
    /// Show only this config. May be repeated.
    #[arg(long = "key", short = 'k', value_name = "KEY")]
    keys: Vec<String>,
}

#[derive(clap::Args)]
struct Alter {
    #[command(flatten)]
    resource: Resource,
    /// Give a config this value. May be repeated.
    #[arg(long, short = 's', value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Give a config its default again. May be repeated.
    #[arg(long, short = 'd', value_name = "KEY")]
    delete: Vec<String>,
    /// Add to a config that is a list. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    append: Vec<(String, String)>,
    /// Take out of a config that is a list. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    subtract: Vec<(String, String)>,
    /// Only say whether it could be done.
    #[arg(long)]
    validate_only: bool,
}

/// Does what was asked.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    runtime::task::block_on(async {
        let client = arguments.cluster.connect().await?;
        let is_json = arguments.cluster.json;
        match &arguments.command {
            Command::Describe(asked) => describe(&client, asked, is_json).await,
            Command::Alter(asked) => alter(&client, asked, is_json).await,
        }
    })
}

async fn describe(client: &Client, asked: &Describe, is_json: bool) -> Result<()> {
    let (kind, name) = asked.resource.parts();
    let keys: Vec<&str> = asked.keys.iter().map(String::as_str).collect();
    let keys = Some(keys.as_slice()).filter(|keys| !keys.is_empty());
    let described = client.describe_configs(kind, &name, keys).await;
    let mut configs = described.with_context(|| asked.resource.text())?;
    if let Some(unknown) = asked
        .keys
        .iter()
        .find(|key| !configs.iter().any(|config| config.name == **key))
    {
        bail!("{}: there is no config {unknown}", asked.resource.text());
    }
    if !asked.all && asked.keys.is_empty() {
        configs.retain(|config| config.config_source != SOURCE_DEFAULT);
    }
    configs.sort_by(|one, other| one.name.cmp(&other.name));
    if is_json {
        let said: Vec<_> = configs.iter().map(config_json).collect();
        return output::json(&json!(said));
    }
    output::print(&config_table(&configs).render())
}

fn config_table(configs: &[ConfigEntry]) -> Table {
    let mut table = Table::new(&["CONFIG", "VALUE", "SOURCE", "TYPE", "READ ONLY"]);
    for config in configs {
        let value = match &config.value {
            Some(value) => value.clone(),
            None if config.is_sensitive => "(hidden)".to_owned(),
            None => "-".to_owned(),
        };
        table.row(vec![
            config.name.clone(),
            value,
            source_name(config.config_source).to_owned(),
            type_name(config.config_type).to_owned(),
            if config.read_only { "yes" } else { "" }.to_owned(),
        ]);
    }
    table
}

fn config_json(config: &ConfigEntry) -> serde_json::Value {
    let synonyms: Vec<_> = config
        .synonyms
        .iter()
        .map(|synonym| {
            json!({
                "name": synonym.name,
                "value": synonym.value,
                "source": source_name(synonym.source),
            })
        })
        .collect();
    json!({
        "name": config.name,
        "value": config.value,
        "source": source_name(config.config_source),
        "type": type_name(config.config_type),
        "sensitive": config.is_sensitive,
        "readOnly": config.read_only,
        "synonyms": synonyms,
    })
}

/// Kafka's names of where a value comes from.
fn source_name(code: i8) -> &'static str {
    match code {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        SOURCE_DEFAULT => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
        8 => "DYNAMIC_GROUP_CONFIG",
        _ => "UNKNOWN",
    }
}

/// Kafka's names of what a value is.
fn type_name(code: i8) -> &'static str {
    match code {
        1 => "BOOLEAN",
        2 => "STRING",
        3 => "INT",
        4 => "SHORT",
        5 => "LONG",
        6 => "DOUBLE",
        7 => "LIST",
        8 => "CLASS",
        9 => "PASSWORD",
        _ => "UNKNOWN",
    }
}

fn changes(asked: &Alter) -> Result<BTreeMap<String, ConfigChange>> {
    let set = asked.set.iter().cloned();
    let set = set.map(|(key, value)| (key, ConfigChange::Set(value)));
    let delete = asked.delete.iter().cloned();
    let delete = delete.map(|key| (key, ConfigChange::Delete));
    let append = asked.append.iter().cloned();
    let append = append.map(|(key, value)| (key, ConfigChange::Append(value)));
    let subtract = asked.subtract.iter().cloned();
    let subtract = subtract.map(|(key, value)| (key, ConfigChange::Subtract(value)));
    let mut changes = BTreeMap::new();
    for (key, change) in set.chain(delete).chain(append).chain(subtract) {
        if changes.contains_key(&key) {
            bail!("config {key} is given twice");
        }
        changes.insert(key, change);
    }
    if changes.is_empty() {
        bail!("nothing to change: --set, --delete, --append or --subtract says what");
    }
    Ok(changes)
}

async fn alter(client: &Client, asked: &Alter, is_json: bool) -> Result<()> {
    let (kind, name) = asked.resource.parts();
    let changes = changes(asked)?;
    client
        .alter_configs(kind, &name, &changes, asked.validate_only)
        .await
        .with_context(|| asked.resource.text())?;
    let keys: Vec<&String> = changes.keys().collect();
    if is_json {
        let said = json!({
            "resource": asked.resource.text(),
            "keys": keys,
            "altered": !asked.validate_only,
        });
        return output::json(&said);
    }
    let done = if asked.validate_only {
        "could be altered"
    } else {
        "altered"
    };
    let (resource, keys) = (asked.resource.text(), output::join(&keys));
    output::line(&format!("{resource}: {keys} {done}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let line = Line::try_parse_from(line.split(' '))?;
        Ok(line.arguments)
    }

    #[test]
    fn exactly_one_resource_is_named() {
        let table = [
            (
                "config describe --topic t",
                Some((ResourceKind::Topic, "t")),
            ),
            (
                "config describe --broker 3",
                Some((ResourceKind::Broker, "3")),
            ),
            (
                "config describe --broker-defaults",
                Some((ResourceKind::Broker, "")),
            ),
            ("config describe", None),
            ("config describe --topic t --broker 1", None),
        ];
        for (line, expected) in table {
            let found = parse(line).ok().map(|arguments| match arguments.command {
                Command::Describe(asked) => asked.resource.parts(),
                Command::Alter(_) => panic!("not asked for"),
            });
            let expected = expected.map(|(kind, name)| (kind, name.to_owned()));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn changes_are_gathered_and_each_key_is_changed_once() {
        let asked = |line: &str| match parse(line).expect("a sound line").command {
            Command::Alter(asked) => changes(&asked).map_err(|error| error.to_string()),
            Command::Describe(_) => panic!("not asked for"),
        };
        let found =
            asked("config alter --topic t --set a=1 --delete b --append c=x --subtract d=y");
        let expected = BTreeMap::from([
            ("a".to_owned(), ConfigChange::Set("1".to_owned())),
            ("b".to_owned(), ConfigChange::Delete),
            ("c".to_owned(), ConfigChange::Append("x".to_owned())),
            ("d".to_owned(), ConfigChange::Subtract("y".to_owned())),
        ]);
        assert_eq!(found, Ok(expected));
        let twice = asked("config alter --topic t --set a=1 --delete a");
        assert_eq!(twice, Err("config a is given twice".to_owned()));
        assert!(asked("config alter --topic t").is_err());
    }
}
