//! Which transactions are not yet decided for readers of committed data.

use std::collections::BTreeMap;

use types::{Offset, ProducerId};

use crate::MarkerKind;

/// A transaction that a marker has ended. An aborted one is an entry of the transaction index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompletedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
    /// How it ended.
    pub kind: MarkerKind,
    /// The last stable offset once the marker is committed: the first offset of the oldest other transaction that was open
    /// then, or the offset after the marker.
    pub last_stable_offset: Offset,
}

/// Transactions of one partition that bound the last stable offset, by first offset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Transactions {
    open: BTreeMap<Offset, ProducerId>,
    // First offset to the offset of the marker, which is not known to be below the high watermark.
    ended: BTreeMap<Offset, Offset>,
}

impl Transactions {
    pub(super) fn begin(&mut self, producer_id: ProducerId, first_offset: Offset) {
        let other = self.open.insert(first_offset, producer_id);
        assert!(
            other.is_none_or(|other| other == producer_id),
            "two transactions begin at offset {first_offset}"
        );
    }

    pub(super) fn complete(
        &mut self,
        producer_id: ProducerId,
        first_offset: Offset,
        last_offset: Offset,
        kind: MarkerKind,
    ) -> CompletedTransaction {
        let owner = self.open.remove(&first_offset);
        assert_eq!(
            owner,
            Some(producer_id),
            "a transaction ends that was not open"
        );
        assert!(
            first_offset <= last_offset,
            "a transaction ends before it began"
        );
        self.ended.insert(first_offset, last_offset);
        let oldest_open = self.open.first_key_value().map(|(&first, _)| first);
        CompletedTransaction {
            producer_id,
            first_offset,
            last_offset,
            kind,
            last_stable_offset: oldest_open.unwrap_or(last_offset + 1),
        }
    }

    pub(super) fn first_undecided_offset(&self) -> Option<Offset> {
        let open = self.open.first_key_value().map(|(&first, _)| first);
        let ended = self.ended.first_key_value().map(|(&first, _)| first);
        match (open, ended) {
            (Some(open), Some(ended)) => Some(open.min(ended)),
            (open, ended) => open.or(ended),
        }
    }

    pub(super) fn decide_below(&mut self, high_watermark: Offset) {
        if !self.ended.is_empty() {
            self.ended.retain(|_, &mut marker| marker >= high_watermark);
        }
    }

    /// First offset and producer of each open transaction, by first offset.
    pub(super) fn open(&self) -> impl Iterator<Item = (Offset, ProducerId)> + '_ {
        self.open.iter().map(|(&first, &id)| (first, id))
    }
}
