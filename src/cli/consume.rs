//! `millrace consume`: records as lines.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use client::Client;
use client::consumer::{
    ConsumedRecord, Consumer, ConsumerConfig, GroupConfig, IsolationLevel, NamedPartition,
    OffsetReset, OffsetSpec,
};
use client::offsets::CommittedOffset;
use serde_json::{Map, Value, json};
use types::{Offset, PartitionIndex};

use crate::cluster::{Cluster, partitions_of};
use crate::output;
use crate::produce::separator;

/// How long one wait for records is, in milliseconds.
const POLL_MS: u64 = 1_000;

/// Where reading of a partition begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    Earliest,
    Latest,
    At(Offset),
    /// So many records before the end.
    BeforeEnd(Offset),
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" | "beginning" => Ok(Start::Earliest),
        "latest" | "end" => Ok(Start::Latest),
        text => match text.parse::<Offset>() {
            Ok(offset) if offset >= 0 => Ok(Start::At(offset)),
            Ok(offset) => Ok(Start::BeforeEnd(offset.saturating_neg())),
            Err(_) => Err("expected earliest, latest, an offset, or -N".to_owned()),
        },
    }
}

/// What `consume` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    /// The topic's name.
    topic: String,
    /// Begin at the first record where nothing says otherwise; by default at the end.
    #[arg(long, short = 'b')]
    from_beginning: bool,
    /// Read only this partition.
    #[arg(long, short = 'p', conflicts_with = "group")]
    partition: Option<PartitionIndex>,
    /// Begin there: earliest, latest, an offset, or -N for N records before the end.
    #[arg(
        long,
        short = 'o',
        allow_hyphen_values = true,
        value_parser = start,
        conflicts_with_all = ["group", "from_beginning"]
    )]
    offset: Option<Start>,
    /// Take part in this group: partitions are shared with its other members, and what was read is committed.
    #[arg(long, short = 'g')]
    group: Option<String>,
    /// End after so many records.
    #[arg(long, short = 'n')]
    max_messages: Option<u64>,
    /// End when no record came for so long, in milliseconds.
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// Only records that no transaction can take back.
    #[arg(long)]
    read_committed: bool,
    #[command(flatten)]
    format: Format,
}

/// What of a record is shown.
#[derive(clap::Args, Default)]
struct Format {
    /// Show keys.
    #[arg(long)]
    print_key: bool,
    /// Show timestamps, in milliseconds since 1970.
    #[arg(long)]
    print_timestamp: bool,
    /// Show partitions.
    #[arg(long)]
    print_partition: bool,
    /// Show offsets.
    #[arg(long)]
    print_offset: bool,
    /// Show headers.
    #[arg(long)]
    print_headers: bool,
    /// What stands between the parts of a line.
    #[arg(long, short = 'K', value_name = "TEXT", default_value = "\t", value_parser = separator)]
    key_separator: String,
    /// How null is shown.
    #[arg(long, value_name = "TEXT", default_value = "null")]
    null_marker: String,
}

/// Consumes.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    runtime::task::block_on(async {
        let client = arguments.cluster.connect().await?;
        let terminated = runtime::signal::terminated().context("signals")?;
        let mut consumer = consumer(&client, arguments).await?;
        let mut printer = Printer {
            arguments,
            left: arguments.max_messages.unwrap_or(u64::MAX),
            next_offsets: BTreeMap::new(),
        };
        let ended = runtime::select! {
            biased;
            () = terminated => Ok(()),
            ended = read(&client, &mut consumer, &mut printer) => ended,
        };
        ended?;
        if printer.is_bounded() && arguments.group.is_some() {
            consumer.commit_offsets(&printer.next_offsets).await?;
        }
        Ok(consumer.close().await?)
    })
}

async fn consumer(client: &Client, arguments: &Arguments) -> Result<Consumer> {
    let topic = &arguments.topic;
    let indexes = partitions_of(client, topic).await?;
    let mut consumer = Consumer::new(client, config(arguments));
    if arguments.group.is_some() {
        consumer.subscribe(&[topic])?;
        return Ok(consumer);
    }
    let wanted: Vec<NamedPartition> = match arguments.partition {
        Some(index) if !indexes.contains(&index) => {
            bail!("--partition {index}: topic {topic} has {}", indexes.len())
        }
        Some(index) => vec![(topic.clone(), index)],
        None => indexes
            .iter()
            .map(|&index| (topic.clone(), index))
            .collect(),
    };
    consumer.assign(&wanted);
    seek(client, &mut consumer, arguments, &wanted).await?;
    Ok(consumer)
}

fn config(arguments: &Arguments) -> ConsumerConfig {
    let group = arguments.group.as_ref().map(|id| GroupConfig {
        // A bounded read commits exactly what it has shown, at its end.
        auto_commit_interval_ms: match arguments.max_messages {
            Some(_) => None,
            None => GroupConfig::new(id).auto_commit_interval_ms,
        },
        ..GroupConfig::new(id)
    });
    let begins_early = arguments.from_beginning || arguments.offset == Some(Start::Earliest);
    ConsumerConfig {
        isolation: match arguments.read_committed {
            true => IsolationLevel::ReadCommitted,
            false => IsolationLevel::ReadUncommitted,
        },
        offset_reset: match begins_early {
            true => OffsetReset::Earliest,
            false => OffsetReset::Latest,
        },
        group,
        ..ConsumerConfig::default()
    }
}

async fn seek(
    client: &Client,
    consumer: &mut Consumer,
    arguments: &Arguments,
    wanted: &[NamedPartition],
) -> Result<()> {
    let back = match arguments.offset {
        None | Some(Start::Earliest | Start::Latest) => return Ok(()),
        Some(Start::At(offset)) => {
            for partition in wanted {
                consumer.seek(partition, offset)?;
            }
            return Ok(());
        }
        Some(Start::BeforeEnd(back)) => back,
    };
    let listed = async |spec| {
        let asked = wanted.iter().map(|one| (one.clone(), spec)).collect();
        client
            .list_offsets(&asked, IsolationLevel::ReadUncommitted)
            .await
    };
    let (starts, ends) = (
        listed(OffsetSpec::Earliest).await?,
        listed(OffsetSpec::Latest).await?,
    );
    for (partition, end) in ends {
        let start = starts.get(&partition).and_then(|listed| listed.offset);
        let end = end.offset.context("the answer lacks an end offset")?;
        consumer.seek(&partition, (end - back).max(start.unwrap_or(0)))?;
    }
    Ok(())
}

async fn read(client: &Client, consumer: &mut Consumer, printer: &mut Printer<'_>) -> Result<()> {
    let clock = client.clock();
    let timeout_ms = printer.arguments.timeout_ms;
    let wait = timeout_ms.map(|millis| i64::try_from(millis).unwrap_or(i64::MAX));
    let mut deadline = wait.map(|millis| clock.mono().plus_millis(millis));
    while printer.left > 0 {
        let records = consumer
            .poll(timeout_ms.unwrap_or(POLL_MS).min(POLL_MS))
            .await?;
        let now = clock.mono();
        if !records.is_empty() {
            printer.print(&records)?;
            deadline = wait.map(|millis| now.plus_millis(millis));
        } else if deadline.is_some_and(|deadline| now >= deadline) {
            return Ok(());
        }
    }
    Ok(())
}

struct Printer<'a> {
    arguments: &'a Arguments,
    /// Records still to be shown.
    left: u64,
    /// Where each partition goes on after what was shown.
    next_offsets: BTreeMap<NamedPartition, CommittedOffset>,
}

impl Printer<'_> {
    fn is_bounded(&self) -> bool {
        self.arguments.max_messages.is_some()
    }

    fn print(&mut self, records: &[ConsumedRecord]) -> Result<()> {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX);
        let mut text = Vec::new();
        for record in records.iter().take(count) {
            if self.arguments.cluster.json {
                text.extend_from_slice(record_json(record).to_string().as_bytes());
            } else {
                self.arguments.format.put(&mut text, record);
            }
            text.push(b'\n');
            self.left -= 1;
            let partition = (record.topic.clone(), record.partition);
            let next = CommittedOffset {
                leader_epoch: record.leader_epoch,
                ..CommittedOffset::at(record.offset + 1)
            };
            self.next_offsets.insert(partition, next);
        }
        let mut out = io::stdout().lock();
        out.write_all(&text)?;
        out.flush()?;
        Ok(())
    }
}

impl Format {
    fn put(&self, text: &mut Vec<u8>, record: &ConsumedRecord) {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.print_timestamp {
            parts.push(format!("timestamp:{}", record.timestamp).into());
        }
        if self.print_partition {
            parts.push(format!("partition:{}", record.partition).into());
        }
        if self.print_offset {
            parts.push(format!("offset:{}", record.offset).into());
        }
        if self.print_headers {
            parts.push(self.headers(record));
        }
        if self.print_key {
            parts.push(self.bytes(record.key.as_ref()).to_vec());
        }
        parts.push(self.bytes(record.value.as_ref()).to_vec());
        text.extend(parts.join(self.key_separator.as_bytes()));
    }

    fn bytes<'a>(&'a self, bytes: Option<&'a Bytes>) -> &'a [u8] {
        bytes.map_or(self.null_marker.as_bytes(), |bytes| bytes)
    }

    fn headers(&self, record: &ConsumedRecord) -> Vec<u8> {
        if record.headers.is_empty() {
            return b"no headers".to_vec();
        }
        let header = |header: &protocol::records::Header| {
            [&header.key[..], self.bytes(header.value.as_ref())].join(&b':')
        };
        let headers: Vec<Vec<u8>> = record.headers.iter().map(header).collect();
        headers.join(&b',')
    }
}

fn record_json(record: &ConsumedRecord) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(record.topic));
    object.insert("partition".to_owned(), json!(record.partition));
    object.insert("offset".to_owned(), json!(record.offset));
    object.insert("timestamp".to_owned(), json!(record.timestamp));
    output::put_bytes(&mut object, "key", record.key.as_ref());
    output::put_bytes(&mut object, "value", record.value.as_ref());
    let header = |header: &protocol::records::Header| {
        let mut object = Map::new();
        output::put_bytes(&mut object, "key", Some(&header.key));
        output::put_bytes(&mut object, "value", header.value.as_ref());
        Value::Object(object)
    };
    let headers: Vec<Value> = record.headers.iter().map(header).collect();
    object.insert("headers".to_owned(), Value::Array(headers));
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::records::Header;

    fn record() -> ConsumedRecord {
        ConsumedRecord {
            topic: "t".to_owned(),
            topic_id: types::Uuid::ZERO,
            partition: 2,
            offset: 17,
            timestamp: 1_700_000_000_000,
            key: Some(Bytes::from_static(b"k")),
            value: None,
            headers: vec![Header {
                key: Bytes::from_static(b"h"),
                value: Some(Bytes::from_static(b"\xff")),
            }],
            leader_epoch: 3,
        }
    }

    fn text(format: &Format) -> Vec<u8> {
        let mut text = Vec::new();
        format.put(&mut text, &record());
        text
    }

    #[test]
    fn a_line_has_the_parts_that_were_asked_for() {
        let plain = Format {
            key_separator: "|".to_owned(),
            null_marker: "-".to_owned(),
            ..Format::default()
        };
        assert_eq!(text(&plain), b"-");
        let all = Format {
            print_key: true,
            print_timestamp: true,
            print_partition: true,
            print_offset: true,
            print_headers: true,
            ..plain
        };
        let expected = b"timestamp:1700000000000|partition:2|offset:17|h:\xff|k|-";
        assert_eq!(text(&all), expected);
    }

    #[test]
    fn a_record_is_a_json_object() {
        let expected = json!({
            "topic": "t", "partition": 2, "offset": 17, "timestamp": 1_700_000_000_000_i64,
            "key": "k", "value": null, "headers": [{ "key": "h", "valueHex": "ff" }],
        });
        assert_eq!(record_json(&record()), expected);
    }

    #[test]
    fn a_start_is_a_place_an_offset_or_a_distance_from_the_end() {
        let table = [
            ("earliest", Some(Start::Earliest)),
            ("end", Some(Start::Latest)),
            ("0", Some(Start::At(0))),
            ("-5", Some(Start::BeforeEnd(5))),
            ("x", None),
        ];
        for (text, expected) in table {
            assert_eq!(start(text).ok(), expected, "{text}");
        }
    }
}
