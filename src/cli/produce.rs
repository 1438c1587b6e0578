//! `millrace produce`: lines of standard input become records.

use std::collections::VecDeque;
use std::io::BufRead;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use client::producer::{Acks, Delivery, Producer, ProducerConfig, ProducerRecord, RecordMetadata};
use protocol::records::{Compression, CompressionSpec, Header};
use runtime::sync::mpsc;
use serde_json::json;
use types::PartitionIndex;

use crate::cluster::{Cluster, key_value};
use crate::output;

/// Records that may be undecided.
const UNDECIDED_MAX: usize = 10_000;
/// Lines read ahead.
const LINES_MAX: usize = 1_000;

/// Which acknowledgement is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum AcksArgument {
    /// None.
    #[value(name = "0")]
    None,
    /// The leader's.
    #[value(name = "1")]
    Leader,
    /// That of all replicas in sync.
    #[value(name = "all", alias = "-1")]
    All,
}

impl AcksArgument {
    /// As producers have it.
    pub fn acks(self) -> Acks {
        match self {
            AcksArgument::None => Acks::None,
            AcksArgument::Leader => Acks::Leader,
            AcksArgument::All => Acks::All,
        }
    }
}

/// What `produce` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    /// The topic's name.
    topic: String,
    /// What stands between key and value in a line; without it, a line is a value.
    #[arg(long, short = 'K', value_name = "TEXT", value_parser = separator)]
    key_separator: Option<String>,
    /// A value, or a key, that is exactly this text is null.
    #[arg(long, value_name = "TEXT")]
    null_marker: Option<String>,
    /// A header of every record. May be repeated.
    #[arg(long = "header", short = 'H', value_name = "KEY=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// The partition of all records; by default keys decide, and without a key chance does.
    #[arg(long, short = 'p')]
    partition: Option<PartitionIndex>,
    /// Which acknowledgement is waited for.
    #[arg(long, value_enum, default_value = "all", allow_hyphen_values = true)]
    acks: AcksArgument,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd.
    #[arg(long, short = 'z', default_value = "none", value_parser = compression)]
    compression: Compression,
}

pub(crate) fn compression(text: &str) -> Result<Compression, String> {
    Compression::from_name(text)
        .ok_or_else(|| "expected none, gzip, snappy, lz4 or zstd".to_owned())
}

/// A separator, with `\t` for a tab as shells make it hard to type.
pub(crate) fn separator(text: &str) -> Result<String, String> {
    match text {
        "" => Err("expected at least one character".to_owned()),
        text => Ok(text.replace("\\t", "\t")),
    }
}

/// Produces.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    runtime::task::block_on(async {
        let client = arguments.cluster.connect().await?;
        let is_idempotent = arguments.acks == AcksArgument::All;
        let config = ProducerConfig {
            acks: arguments.acks.acks(),
            is_idempotent,
            compression: CompressionSpec::from(arguments.compression),
            ..ProducerConfig::default()
        };
        let mut session = Session {
            producer: Producer::new(&client, config)?,
            undecided: VecDeque::new(),
            is_json: arguments.cluster.json,
        };
        let mut lines = lines_of_input()?;
        let mut number = 0;
        while let Some(line) = lines.recv().await {
            number += 1;
            let line = line.context("standard input")?;
            let record = record_of(arguments, &line).with_context(|| format!("line {number}"))?;
            session.send(number, record).await?;
        }
        session.finish().await
    })
}

/// The lines of standard input, without their ends. They are read on a thread of their own, because waiting for
/// one must not keep the producer from sending.
fn lines_of_input() -> Result<mpsc::Receiver<std::io::Result<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    let reader = move |_index| async move {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = match input.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => Ok(without_end(line)),
                Err(error) => Err(error),
            };
            // Nobody waits for lines any more: the program ends.
            if sender.send(read).await.is_err() {
                return;
            }
        }
    };
    // Not joined: it may be waiting for a line that never comes when the program ends.
    drop(runtime::task::start_cores(vec![reader])?);
    Ok(receiver)
}

fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    if line.ends_with(b"\n") {
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
    }
    line
}

fn record_of(arguments: &Arguments, line: &[u8]) -> Result<ProducerRecord> {
    let (key, value) = match &arguments.key_separator {
        None => (None, line),
        Some(separator) => {
            let (key, value) = split(line, separator.as_bytes())
                .with_context(|| format!("there is no key separator {separator:?}"))?;
            (Some(key), value)
        }
    };
    let null = arguments.null_marker.as_ref().map(String::as_bytes);
    let bytes = |part: &[u8]| (Some(part) != null).then(|| Bytes::copy_from_slice(part));
    let header = |(key, value): &(String, String)| Header {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    };
    Ok(ProducerRecord {
        topic: arguments.topic.clone(),
        partition: arguments.partition,
        key: key.and_then(bytes),
        value: bytes(value),
        headers: arguments.headers.iter().map(header).collect(),
        timestamp: None,
        topic_id: None,
    })
}

fn split<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut windows = line.windows(separator.len());
    let at = windows.position(|window| window == separator)?;
    Some((&line[..at], &line[at + separator.len()..]))
}

struct Session {
    producer: Producer,
    /// Records that are not decided yet, with the numbers of their lines.
    undecided: VecDeque<(u64, Delivery)>,
    is_json: bool,
}

impl Session {
    async fn send(&mut self, number: u64, record: ProducerRecord) -> Result<()> {
        let topic = record.topic.clone();
        let sent = self.producer.send(record).await;
        let delivery = sent.with_context(|| format!("line {number}, topic {topic}"))?;
        self.undecided.push_back((number, delivery));
        while self.undecided.len() >= UNDECIDED_MAX {
            self.decide_first().await?;
        }
        Ok(())
    }

    async fn decide_first(&mut self) -> Result<()> {
        let Some((number, delivery)) = self.undecided.pop_front() else {
            return Ok(());
        };
        match delivery.await {
            Ok(record) if self.is_json => output::json(&record_json(&record)),
            Ok(_) => Ok(()),
            Err(error) => bail!("line {number}: {error}"),
        }
    }

    async fn finish(mut self) -> Result<()> {
        self.producer.flush().await;
        while !self.undecided.is_empty() {
            self.decide_first().await?;
        }
        self.producer.close().await;
        Ok(())
    }
}

fn record_json(record: &RecordMetadata) -> serde_json::Value {
    json!({
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
    })
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

    fn parse(line: &[&str]) -> Arguments {
        let line = Line::try_parse_from(["produce", "t"].iter().chain(line));
        line.expect("a sound line").arguments
    }

    #[test]
    fn a_line_is_a_value_or_key_and_value() {
        let separated: &[&str] = &["--key-separator", "::"];
        let marked: &[&str] = &["-K", "\\t", "--null-marker", "NULL"];
        let table: [(&[&str], &[u8], Option<(Option<&str>, Option<&str>)>); 8] = [
            (&[], b"a:b", Some((None, Some("a:b")))),
            (&[], b"", Some((None, Some("")))),
            (separated, b"a::b::c", Some((Some("a"), Some("b::c")))),
            (separated, b"::b", Some((Some(""), Some("b")))),
            (separated, b"a:b", None),
            (marked, b"a\tNULL", Some((Some("a"), None))),
            (marked, b"NULL\tb", Some((None, Some("b")))),
            (marked, b"a\t NULL", Some((Some("a"), Some(" NULL")))),
        ];
        for (options, line, expected) in table {
            let record = record_of(&parse(options), line).ok();
            let found = record.map(|record| (record.key, record.value));
            let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
            let expected = expected.map(|(key, value)| (key.map(bytes), value.map(bytes)));
            assert_eq!(found, expected, "{options:?} {line:?}");
        }
    }

    #[test]
    fn options_are_read() {
        let arguments = parse(&["--acks", "-1", "-z", "zstd", "-p", "3", "-H", "a=b=c"]);
        assert_eq!(arguments.acks, AcksArgument::All);
        assert_eq!(arguments.compression, Compression::Zstd);
        let record = record_of(&arguments, b"v").expect("a record");
        assert_eq!(record.partition, Some(3));
        assert_eq!(record.headers[0].value.as_deref(), Some(&b"b=c"[..]));
        assert!(compression("lzma").is_err());
        assert!(separator("").is_err());
    }

    #[test]
    fn line_ends_are_taken_off() {
        for (line, expected) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\r", "a\r"),
            ("\n", ""),
            ("a", "a"),
        ] {
            assert_eq!(without_end(line.into()), expected.as_bytes(), "{line:?}");
        }
    }
}
