//! The indexes of a log's segments after a stop: believed, or made anew.

use std::io;
use std::sync::Arc;

use protocol::records::{BATCH_HEADER_BYTES, BatchHeader};
use runtime::disk::File;
use types::{Offset, ProducerId};

use super::recover::Recovery;
use crate::error::OpenError;
use crate::index::{
    AbortedTransaction, Entry, OffsetEntry, SparseIndex, TimeEntry, decode_entries,
};
use crate::names::FileKind;
use crate::segment::{Segment, SegmentState, TimestampOffset};

impl Recovery<'_> {
    /// Keeps what is right of a segment's index of aborted transactions.
    pub(super) async fn keep_aborted(
        &mut self,
        segment: &Arc<Segment>,
        markers: &[(Offset, ProducerId)],
    ) -> Result<(), OpenError> {
        if !markers.is_empty() {
            let base_offset = segment.base_offset();
            self.recovered.aborted_from.get_or_insert(base_offset);
        }
        let path = segment.path(FileKind::TransactionIndex);
        let kept = keep_aborted(segment, markers).await;
        kept.map_err(|error| self.fail("repairing", &path, &error))
    }

    /// What the indexes of a segment say, and the offset after the last batch they know; `None` if there are none or
    /// they are wrong. What lies behind their last entry is yet to be walked over.
    pub(super) async fn load_indexes(
        &self,
        base_offset: Offset,
        file: &File,
        length: u64,
    ) -> io::Result<Option<Loaded>> {
        let Some((offset_count, offset_last)) = self
            .last_entry::<OffsetEntry>(FileKind::OffsetIndex, base_offset)
            .await?
        else {
            return Ok(None);
        };
        let Some((time_count, time_last)) = self
            .last_entry::<TimeEntry>(FileKind::TimeIndex, base_offset)
            .await?
        else {
            return Ok(None);
        };
        let mut state = self.empty_state();
        state.offset_index = SparseIndex::in_file(offset_count, offset_last);
        state.time_index = SparseIndex::in_file(time_count, time_last);
        if let Some(time) = time_last {
            let offset = base_offset + i64::from(time.relative_offset);
            state.max_timestamp = TimestampOffset {
                timestamp: time.timestamp,
                offset,
            };
        }
        let Some(entry) = offset_last else {
            // Too small for an entry, or the entries are lost: the walk tells.
            let is_small = length <= 2 * self.config.index_interval_bytes.max(4096);
            let is_sound = is_small && (length == 0 || time_last.is_some());
            return Ok(is_sound.then_some(Loaded {
                state,
                walk_offset: base_offset,
                next_offset: base_offset,
            }));
        };
        let position = u64::from(entry.position);
        let bytes = file.read_at(position, BATCH_HEADER_BYTES).await?;
        let header = BatchHeader::parse(&bytes).ok().filter(|header| {
            header.check().is_ok()
                && header.last_offset() == base_offset + i64::from(entry.relative_offset)
                && position + header.size_bytes() as u64 <= length
        });
        let Some(header) = header.filter(|_| time_last.is_some()) else {
            return Ok(None);
        };
        // The walk begins with the entry's batch and finds no entry due there again.
        state.size_bytes = position;
        state.first_timestamp = first_timestamp(file).await?;
        Ok(Some(Loaded {
            state,
            walk_offset: header.base_offset,
            next_offset: header.next_offset(),
        }))
    }

    /// Whether a segment's index of aborted transactions, if there is one, can be right.
    pub(super) async fn is_aborted_sound(&self, base_offset: Offset) -> io::Result<bool> {
        let name = FileKind::TransactionIndex.file_name(base_offset);
        let bytes = match self
            .shared
            .disk()
            .read_file(self.shared.path.join(name))
            .await
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            bytes => bytes?,
        };
        let mut last_offset = base_offset - 1;
        let mut is_sound = |entry: AbortedTransaction| {
            let is_after = entry.last_offset > last_offset;
            last_offset = entry.last_offset;
            is_after && entry.first_offset <= entry.last_offset
        };
        let is_whole = bytes.len() % AbortedTransaction::SIZE_BYTES == 0;
        Ok(is_whole && decode_entries::<AbortedTransaction>(&bytes).all(&mut is_sound))
    }

    /// How many entries an index file has, and the last; `None` if it is missing or its length or last entry cannot
    /// be right.
    async fn last_entry<E: Entry>(
        &self,
        kind: FileKind,
        base_offset: Offset,
    ) -> io::Result<Option<(u32, Option<E>)>> {
        let path = self.shared.path.join(kind.file_name(base_offset));
        let bytes = match self.shared.disk().read_file(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        if bytes.len() % E::SIZE_BYTES != 0
            || !crate::index::is_in_order(decode_entries::<E>(&bytes))
        {
            return Ok(None);
        }
        let count = bytes.len() / E::SIZE_BYTES;
        Ok(Some((count as u32, decode_entries::<E>(&bytes).last())))
    }

    /// Replaces the index files by what a scan has found.
    pub(super) async fn rewrite_indexes(
        &mut self,
        segment: &Arc<Segment>,
    ) -> Result<(), OpenError> {
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            let path = segment.path(kind);
            match self.shared.disk().remove_file(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.fail("removing", &path, &error));
                }
                _ => {}
            }
        }
        self.recovered.rebuilt_indexes += usize::from(!segment.state().offset_index.is_empty());
        let write = async || {
            segment.write_indexes().await?;
            segment.make_indexes().await
        };
        match write().await {
            // They wait in memory for space.
            Err(error) if crate::error::is_no_space(&error) => Ok(()),
            Err(error) => Err(self.fail("writing", &segment.path(FileKind::OffsetIndex), &error)),
            Ok(()) => self.sync_indexes(segment).await,
        }
    }

    /// Makes the index files of a segment durable. The next start believes them below the proven offset: zeros in a
    /// time index would make all of the segment's records look old, for retention, too.
    async fn sync_indexes(&self, segment: &Arc<Segment>) -> Result<(), OpenError> {
        let mut running = Vec::new();
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            let path = segment.path(kind);
            let file = segment.open(kind).await;
            let file = file.map_err(|error| self.fail("opening", &path, &error))?;
            running.push((path, file.sync_data()));
        }
        Ok(self.shared.end_syncs(running).await?)
    }
}

/// Keeps the aborted transactions in front whose markers are in the segment. What a crash has taken, the owner gives
/// again.
async fn keep_aborted(segment: &Arc<Segment>, markers: &[(Offset, ProducerId)]) -> io::Result<()> {
    let listed = segment.read_aborted().await?;
    let is_known = |entry: &&AbortedTransaction| {
        entry.first_offset <= entry.last_offset
            && markers
                .binary_search(&(entry.last_offset, entry.producer_id))
                .is_ok()
    };
    let kept = listed.iter().take_while(is_known).count();
    let length = (kept * AbortedTransaction::SIZE_BYTES) as u64;
    let file = match segment.open(FileKind::TransactionIndex).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if file.len()? > length {
        file.set_len(length).await?;
    }
    Ok(())
}

/// What the indexes of a segment say.
pub(super) struct Loaded {
    /// Up to and without the batch of the last entry.
    pub state: SegmentState,
    /// That batch's base offset.
    pub walk_offset: Offset,
    /// The offset after that batch.
    pub next_offset: Offset,
}

async fn first_timestamp(file: &File) -> io::Result<Option<i64>> {
    let bytes = file.read_at(0, BATCH_HEADER_BYTES).await?;
    Ok(BatchHeader::parse(&bytes)
        .ok()
        .map(|header| header.max_timestamp))
}
