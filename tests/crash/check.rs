//! Reads the topic back and compares it with what the producers were told.

use crate::writers::History;
use anyhow::{Context, Result, bail, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One record as it was read.
pub struct Record {
    partition: i32,
    offset: i64,
    producer: u32,
    number: u64,
}

const READ_MAX: Duration = Duration::from_secs(120);

/// Every record of the topic, partition by partition, in the order of offsets.
pub fn read_all(bootstrap: &str, topic: &str, partitions: i32) -> Result<Vec<Record>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "crash-check")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    let mut left = BTreeMap::new();
    for partition in 0..partitions {
        let (start, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(20))?;
        ensure!(start == 0, "partition {partition} begins at {start}");
        if end > 0 {
            left.insert(partition, end);
            assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
    }
    consumer.assign(&assignment)?;
    let deadline = Instant::now() + READ_MAX;
    let mut records = Vec::new();
    while !left.is_empty() {
        ensure!(
            Instant::now() < deadline,
            "not everything was read within {READ_MAX:?}"
        );
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let message = message?;
        let text = |bytes: Option<&[u8]>| -> Result<String> {
            Ok(String::from_utf8(bytes.context("no bytes")?.to_vec())?)
        };
        records.push(Record {
            partition: message.partition(),
            offset: message.offset(),
            producer: text(message.key())?.parse()?,
            number: text(message.payload())?.parse()?,
        });
        if left
            .get(&message.partition())
            .is_some_and(|end| message.offset() + 1 >= *end)
        {
            left.remove(&message.partition());
        }
    }
    Ok(records)
}

/// Every acknowledged number is there once, at its offset, and each producer's numbers are in order without a gap.
pub fn judge(histories: &[History], records: &[Record]) -> Result<()> {
    let mut offsets: BTreeMap<i32, i64> = BTreeMap::new();
    let mut found: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
    for record in records {
        let next = offsets.entry(record.partition).or_insert(0);
        ensure!(
            record.offset == *next,
            "partition {}: offset {} follows {}",
            record.partition,
            record.offset,
            *next - 1
        );
        *next += 1;
        found.entry(record.producer).or_default().push(record);
    }
    let mut faults = Vec::new();
    for history in histories {
        let read = found.remove(&history.producer).unwrap_or_default();
        faults.extend(faults_of(history, &read));
    }
    ensure!(found.is_empty(), "records of producers that do not exist");
    if !faults.is_empty() {
        faults
            .iter()
            .take(20)
            .for_each(|fault| println!("crash: {fault}"));
        bail!("{} faults", faults.len());
    }
    Ok(())
}

fn faults_of(history: &History, read: &[&Record]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut places: BTreeMap<u64, i64> = BTreeMap::new();
    let who = history.producer;
    let mut wanted = 0;
    for record in read {
        let number = record.number;
        if record.partition != history.partition {
            faults.push(format!(
                "producer {who}: {number} is in partition {}",
                record.partition
            ));
        }
        if let Some(first) = places.insert(number, record.offset) {
            faults.push(format!(
                "producer {who}: {number} twice, at {first} and {}",
                record.offset
            ));
        } else if number != wanted {
            faults.push(format!(
                "producer {who}: {number} at {} where {wanted} was due",
                record.offset
            ));
        }
        wanted = number + 1;
    }
    for (number, offset) in &history.acknowledged {
        match places.get(number) {
            None => faults.push(format!(
                "producer {who}: {number}, acknowledged at {offset}, is lost"
            )),
            Some(place) if *offset >= 0 && place != offset => faults.push(format!(
                "producer {who}: {number}, acknowledged at {offset}, is at {place}"
            )),
            Some(_) => {}
        }
    }
    if let Some(last) = places
        .keys()
        .next_back()
        .filter(|last| **last >= history.sent_end)
    {
        faults.push(format!("producer {who}: {last} was never sent"));
    }
    faults
}
