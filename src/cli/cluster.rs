//! What every subcommand that talks to a cluster has in common.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use client::{Client, ClientConfig, Error};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::messages::{MetadataRequest, MetadataResponse};
use runtime::Clock;
use types::{ErrorCode, PartitionIndex};

/// How long an operation is tried, in milliseconds.
const API_TIMEOUT_MS: u64 = 30_000;

/// Which cluster, and how its answers are shown.
#[derive(clap::Args, Clone)]
pub(crate) struct Cluster {
    /// Brokers to ask first, as host:port, separated by commas.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT,..",
        value_delimiter = ',',
        default_value = "127.0.0.1:9092"
    )]
    bootstrap_server: Vec<String>,
    /// Say it as JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Cluster {
    /// A client with one connection open, so that an unreachable cluster is found out at once.
    pub async fn connect(&self) -> Result<Client> {
        let addresses: Vec<&str> = self.bootstrap_server.iter().map(String::as_str).collect();
        let mut config = ClientConfig::new(&addresses, Clock::start(), runtime::entropy());
        config.client_id = "millrace-cli".to_owned();
        config.api_timeout_ms = API_TIMEOUT_MS;
        let client = Client::new(config);
        client
            .any_connection()
            .await
            .with_context(|| format!("--bootstrap-server {}", self.bootstrap_server.join(",")))?;
        Ok(client)
    }
}

/// Describes topics without making those that do not exist; no names means all there are.
///
/// # Errors
/// Those of the request. A topic that is refused has its code in the answer.
pub(crate) async fn metadata(
    client: &Client,
    names: Option<&[String]>,
) -> Result<MetadataResponse, Error> {
    let topic = |name: &String| MetadataRequestTopic {
        name: Some(name.clone()),
        ..MetadataRequestTopic::default()
    };
    let request = MetadataRequest {
        topics: names.map(|names| names.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    client.send_any(&request).await
}

/// Describes topics that must exist, by name.
///
/// # Errors
/// Those of the request, and the first topic that is refused.
pub(crate) async fn existing_topics(
    client: &Client,
    names: &[String],
) -> Result<BTreeMap<String, MetadataResponseTopic>> {
    let response = metadata(client, Some(names)).await?;
    let mut topics = BTreeMap::new();
    for topic in response.topics {
        let name = topic.name.clone().unwrap_or_default();
        match ErrorCode::from_code(topic.error_code) {
            Some(ErrorCode::None) => drop(topics.insert(name, topic)),
            Some(ErrorCode::UnknownTopicOrPartition) => bail!("topic {name} does not exist"),
            _ => Error::check(topic.error_code).with_context(|| format!("topic {name}"))?,
        }
    }
    match names.iter().find(|name| !topics.contains_key(*name)) {
        Some(missing) => bail!("topic {missing}: the answer lacks it"),
        None => Ok(topics),
    }
}

/// The partitions of a topic that must exist.
///
/// # Errors
/// See [`existing_topics`].
pub(crate) async fn partitions_of(client: &Client, topic: &str) -> Result<Vec<PartitionIndex>> {
    let topics = existing_topics(client, &[topic.to_owned()]).await?;
    let partitions = topics[topic].partitions.iter();
    Ok(partitions.map(|one| one.partition_index).collect())
}

/// A `KEY=VALUE` argument.
///
/// # Errors
/// Without `=`, or without a key.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Fails with all errors of what was done to several things, each with its name.
///
/// # Errors
/// If there is any.
pub(crate) fn all_done<T>(what: &str, results: BTreeMap<String, Result<T, Error>>) -> Result<()> {
    let failed: Vec<String> = results
        .into_iter()
        .filter_map(|(name, result)| Some(format!("{what} {name}: {}", result.err()?)))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{}", failed.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_given_as_key_and_value() {
        let table = [
            ("a=b", Some(("a", "b"))),
            (" a =b=c ", Some(("a", "b=c "))),
            ("a=", Some(("a", ""))),
            ("=b", None),
            ("a", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(key_value(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn every_failure_is_named() {
        let failed = |code| {
            Err::<(), _>(Error::Broker {
                code,
                message: None,
            })
        };
        let results = BTreeMap::from([
            ("a".to_owned(), failed(ErrorCode::InvalidConfig)),
            ("b".to_owned(), Ok(())),
            ("c".to_owned(), failed(ErrorCode::TopicAlreadyExists)),
        ]);
        let error = all_done("topic", results).unwrap_err().to_string();
        let (first, second) = error.split_once("; ").expect("two failures");
        assert!(first.starts_with("topic a: "), "{error}");
        assert!(second.starts_with("topic c: "), "{error}");
    }
}
