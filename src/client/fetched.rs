//! From fetched bytes to records.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::messages::fetch_response::AbortedTransaction;
use protocol::records::{Batch, BatchError, ControlRecordType, Header, ParsedControlType, batches};
use types::{LeaderEpoch, Offset, PartitionIndex, ProducerId, Uuid};

use crate::offsets::{IsolationLevel, NamedPartition};

/// A record that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumedRecord {
    /// The topic's name.
    pub topic: String,
    /// The topic's id, zero if the cluster has none.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: PartitionIndex,
    /// The record's offset.
    pub offset: Offset,
    /// Milliseconds since 1970: the producer's, or the log's if the topic has it so.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<Header>,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

/// What one partition's bytes hold.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Fetched {
    pub(crate) records: Vec<ConsumedRecord>,
    /// Where to go on; none if there was no whole batch.
    pub(crate) next_offset: Option<Offset>,
    /// The epoch of the last batch.
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    /// What is wrong with the batch behind these: reading cannot go on there.
    pub(crate) damage: Option<BatchError>,
}

/// Reads the records at `from` and above out of whole batches; a cut batch at the end is left for the next fetch.
/// Control records are never given; those of aborted transactions are left out of committed reads. What lies in front of
/// a damaged batch is given; a broker sends at least one whole batch, so a cut one at the beginning is damaged.
pub(crate) fn read_records(
    partition: &NamedPartition,
    topic_id: Uuid,
    bytes: Bytes,
    from: Offset,
    isolation: IsolationLevel,
    aborted: &[AbortedTransaction],
) -> Fetched {
    let mut filter = Aborted::new(isolation, aborted);
    let mut fetched = Fetched::default();
    for batch in batches(bytes) {
        let read = match batch {
            Err(error) if error.is_incomplete() && fetched.next_offset.is_some() => break,
            Err(error) => Err(error),
            Ok(batch) => read_batch(&batch, partition, topic_id, from, &mut filter)
                .map(|records| (records, *batch.header())),
        };
        match read {
            Ok((mut records, header)) => {
                fetched.records.append(&mut records);
                fetched.next_offset = Some(header.next_offset());
                fetched.leader_epoch = Some(header.partition_leader_epoch);
            }
            Err(error) => {
                fetched.damage = Some(error);
                break;
            }
        }
    }
    fetched
}

fn read_batch(
    batch: &Batch,
    partition: &NamedPartition,
    topic_id: Uuid,
    from: Offset,
    filter: &mut Aborted,
) -> Result<Vec<ConsumedRecord>, BatchError> {
    batch.verify_crc()?;
    let header = batch.header();
    let mut records = Vec::new();
    if header.next_offset() <= from || filter.leaves_out(batch)? {
        return Ok(records);
    }
    for record in batch.records() {
        let record = record?;
        if record.offset < from {
            continue;
        }
        records.push(ConsumedRecord {
            topic: partition.0.clone(),
            topic_id,
            partition: partition.1,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
            leader_epoch: header.partition_leader_epoch,
        });
    }
    Ok(records)
}

/// Which transactions were aborted, at the place where reading stands.
struct Aborted {
    /// Producers of transactions that begin later, by their first offsets.
    later: BTreeMap<Offset, Vec<ProducerId>>,
    /// Producers whose transaction at this place was aborted.
    open: BTreeSet<ProducerId>,
}

impl Aborted {
    fn new(isolation: IsolationLevel, aborted: &[AbortedTransaction]) -> Aborted {
        let mut later: BTreeMap<Offset, Vec<ProducerId>> = BTreeMap::new();
        if isolation == IsolationLevel::ReadCommitted {
            for transaction in aborted {
                let producers = later.entry(transaction.first_offset).or_default();
                producers.push(transaction.producer_id);
            }
        }
        Aborted {
            later,
            open: BTreeSet::new(),
        }
    }

    /// Whether the next batch is not for readers.
    fn leaves_out(&mut self, batch: &Batch) -> Result<bool, BatchError> {
        let header = batch.header();
        while let Some(entry) = self.later.first_entry() {
            if *entry.key() > header.last_offset() {
                break;
            }
            self.open.extend(entry.remove());
        }
        if header.is_control() {
            if is_abort_marker(batch)? {
                self.open.remove(&header.producer_id);
            }
            return Ok(true);
        }
        Ok(header.is_transactional() && self.open.contains(&header.producer_id))
    }
}

fn is_abort_marker(batch: &Batch) -> Result<bool, BatchError> {
    let Some(record) = batch.records().next() else {
        return Ok(false);
    };
    let key = record?.key.unwrap_or_default();
    let kind = ControlRecordType::parse_key(&key);
    Ok(matches!(
        kind,
        Ok(ParsedControlType::Known(ControlRecordType::Abort))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::records::BatchBuilder;

    fn batch(base_offset: Offset, values: &[&str]) -> Bytes {
        let mut builder = BatchBuilder::new(base_offset).leader_epoch(3);
        for value in values {
            builder.append(7, None, Some(value.as_bytes()), &[]);
        }
        builder.build().into_bytes()
    }

    fn transactional(base_offset: Offset, producer_id: ProducerId, value: &str) -> Bytes {
        let mut builder = BatchBuilder::new(base_offset)
            .producer(producer_id, 0, 0)
            .transactional();
        builder.append(7, None, Some(value.as_bytes()), &[]);
        builder.build().into_bytes()
    }

    fn marker(base_offset: Offset, producer_id: ProducerId, kind: ControlRecordType) -> Bytes {
        let mut builder = BatchBuilder::new(base_offset)
            .producer(producer_id, 0, -1)
            .transactional()
            .control();
        builder.append_control(7, kind, &[0; 6]);
        builder.build().into_bytes()
    }

    fn read(bytes: Vec<Bytes>, from: Offset, aborted: Option<&[(ProducerId, Offset)]>) -> Fetched {
        let isolation = match aborted {
            Some(_) => IsolationLevel::ReadCommitted,
            None => IsolationLevel::ReadUncommitted,
        };
        let aborted: Vec<_> = aborted
            .unwrap_or_default()
            .iter()
            .map(|&(producer_id, first_offset)| AbortedTransaction {
                producer_id,
                first_offset,
                ..AbortedTransaction::default()
            })
            .collect();
        let partition = ("t".to_owned(), 0);
        read_records(
            &partition,
            Uuid::ZERO,
            bytes.concat().into(),
            from,
            isolation,
            &aborted,
        )
    }

    fn offsets(fetched: &Fetched) -> Vec<Offset> {
        fetched.records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn records_below_the_position_and_cut_batches_are_left_out() {
        let whole = [batch(10, &["a", "b", "c"]), batch(13, &["d"])];
        let cut = batch(14, &["e"]);
        let mut bytes = whole.to_vec();
        bytes.push(cut.slice(..cut.len() - 1));
        let fetched = read(bytes, 11, None);
        assert_eq!(offsets(&fetched), [11, 12, 13]);
        assert_eq!(
            (fetched.next_offset, fetched.leader_epoch),
            (Some(14), Some(3))
        );
        assert_eq!(fetched.damage, None);
        let nothing_whole = read(vec![cut.slice(..20)], 14, None);
        assert_eq!(nothing_whole.next_offset, None);
        assert!(
            nothing_whole
                .damage
                .is_some_and(|damage| damage.is_incomplete())
        );
    }

    #[test]
    fn aborted_transactions_are_left_out_of_committed_reads_only() {
        let log = vec![
            transactional(0, 1, "aborted"),
            transactional(1, 2, "committed"),
            marker(2, 1, ControlRecordType::Abort),
            transactional(3, 1, "committed later"),
            marker(4, 2, ControlRecordType::Commit),
            batch(5, &["plain"]),
        ];
        let committed = read(log.clone(), 0, Some(&[(1, 0)]));
        assert_eq!(offsets(&committed), [1, 3, 5]);
        assert_eq!(committed.next_offset, Some(6));
        assert_eq!(offsets(&read(log, 0, None)), [0, 1, 3, 5]);
    }

    #[test]
    fn what_lies_in_front_of_a_damaged_batch_is_given() {
        let mut damaged = batch(2, &["c"]).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let log = vec![batch(0, &["a", "b"]), damaged.into(), batch(3, &["d"])];
        let fetched = read(log.clone(), 0, None);
        assert_eq!(offsets(&fetched), [0, 1]);
        assert_eq!(fetched.next_offset, Some(2));
        assert!(fetched.damage.is_some());
        let behind = read(log[1..].to_vec(), 2, None);
        assert_eq!((offsets(&behind), behind.next_offset), (vec![], None));
        assert!(behind.damage.is_some());
    }
}
