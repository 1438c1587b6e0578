//! From fetched bytes to records.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::messages::fetch_response::AbortedTransaction;
use protocol::records::{Batch, BatchError, ControlRecordType, Header, ParsedControlType, batches};
use types::{LeaderEpoch, Offset, PartitionIndex, ProducerId, Uuid};

use crate::error::Error;
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
}

/// Reads the records at `from` and above out of whole batches; a cut batch at the end is left for the next fetch.
/// Control records are never given; those of aborted transactions are left out of committed reads.
///
/// # Errors
/// Whatever is wrong with a whole batch.
pub(crate) fn read_records(
    partition: &NamedPartition,
    topic_id: Uuid,
    bytes: Bytes,
    from: Offset,
    isolation: IsolationLevel,
    aborted: &[AbortedTransaction],
) -> Result<Fetched, Error> {
    let mut filter = Aborted::new(isolation, aborted);
    let mut fetched = Fetched::default();
    for batch in batches(bytes) {
        let batch = match batch {
            Err(error) if error.is_incomplete() => break,
            batch => batch?,
        };
        batch.verify_crc()?;
        let header = batch.header();
        fetched.next_offset = Some(header.next_offset());
        fetched.leader_epoch = Some(header.partition_leader_epoch);
        if header.next_offset() <= from || filter.leaves_out(&batch)? {
            continue;
        }
        for record in batch.records() {
            let record = record?;
            if record.offset < from {
                continue;
            }
            fetched.records.push(ConsumedRecord {
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
    }
    Ok(fetched)
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
        .unwrap()
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
        assert_eq!(read(vec![cut.slice(..20)], 14, None), Fetched::default());
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
    fn a_damaged_batch_is_an_error() {
        let mut bytes = batch(0, &["value"]).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let partition = ("t".to_owned(), 0);
        let isolation = IsolationLevel::ReadUncommitted;
        let result = read_records(&partition, Uuid::ZERO, bytes.into(), 0, isolation, &[]);
        assert!(matches!(result, Err(Error::Records(_))), "{result:?}");
    }
}
