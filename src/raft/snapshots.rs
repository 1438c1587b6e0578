//! When a snapshot is taken and which ones stay (KIP-630).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use types::{LeaderEpoch, Limits, Mono, Now, Offset};

/// A snapshot's name: what it contains ends at `end_offset`, and `epoch` is that of the last record in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SnapshotId {
    /// The offset after the last one it contains.
    pub end_offset: Offset,
    /// The leader epoch of that last record; 0 for the bootstrap snapshot.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// The snapshot that `format` writes: it contains no offset of the log.
    pub const BOOTSTRAP: SnapshotId = SnapshotId {
        end_offset: 0,
        epoch: 0,
    };
}

/// A file name that is not a snapshot's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("not the name of a snapshot")]
pub struct SnapshotIdError;

impl fmt::Display for SnapshotId {
    /// The file's name: `00000000000000000000-0000000000.checkpoint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:010}.checkpoint", self.end_offset, self.epoch)
    }
}

impl FromStr for SnapshotId {
    type Err = SnapshotIdError;

    fn from_str(name: &str) -> Result<SnapshotId, SnapshotIdError> {
        let numbers = name.strip_suffix(".checkpoint").ok_or(SnapshotIdError)?;
        let (end_offset, epoch) = numbers.split_once('-').ok_or(SnapshotIdError)?;
        let digits = |text: &str, count| {
            text.len() == count && text.bytes().all(|digit| digit.is_ascii_digit())
        };
        if !digits(end_offset, 20) || !digits(epoch, 10) {
            return Err(SnapshotIdError);
        }
        Ok(SnapshotId {
            end_offset: end_offset.parse().map_err(|_| SnapshotIdError)?,
            epoch: epoch.parse().map_err(|_| SnapshotIdError)?,
        })
    }
}

/// Whether one of `snapshots` holds everything below `log_start`, so that the log continues it.
///
/// It need not end there: the one that did may have been lost with the disk's cache, and a newer one serves as well.
pub(crate) fn holds_all_below(snapshots: &[SnapshotId], log_start: Offset) -> bool {
    snapshots.iter().any(|id| id.end_offset >= log_start)
}

/// When the next snapshot is due, and which ones are kept: the newest two, so that one which turns out unreadable is not the
/// only one. The log begins at the end of the older.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    bytes_max: u64,
    interval_ms: i64,
    /// By end offset.
    durable: Vec<SnapshotId>,
    in_progress: Option<SnapshotId>,
    /// Bytes of proposals that are committed and in no snapshot.
    bytes: u64,
    /// When the oldest of these was committed.
    since: Option<Mono>,
}

impl Snapshots {
    pub fn new(limits: &Limits, mut durable: Vec<SnapshotId>, bytes: u64, now: Mono) -> Snapshots {
        durable.sort_unstable();
        Snapshots {
            bytes_max: limits.metadata_snapshot_bytes,
            interval_ms: limits.metadata_snapshot_interval_ms,
            durable,
            in_progress: None,
            bytes,
            since: (bytes > 0).then_some(now),
        }
    }

    pub fn durable(&self) -> &[SnapshotId] {
        &self.durable
    }

    pub fn in_progress(&self) -> Option<SnapshotId> {
        self.in_progress
    }

    /// Counts what was committed.
    pub fn committed(&mut self, bytes: u64, now: Now) {
        self.bytes += bytes;
        if bytes > 0 && self.since.is_none() {
            self.since = Some(now.mono);
        }
    }

    pub fn deadline(&self) -> Mono {
        match (self.since, self.in_progress) {
            (Some(since), None) => since.plus_millis(self.interval_ms),
            _ => Mono::NEVER,
        }
    }

    pub fn is_due(&self, now: Now) -> bool {
        self.in_progress.is_none()
            && self.bytes > 0
            && (self.bytes >= self.bytes_max || now.mono >= self.deadline())
    }

    pub fn begin(&mut self, id: SnapshotId) {
        assert!(
            self.in_progress.is_none(),
            "two snapshots are written at once"
        );
        assert!(
            self.durable
                .last()
                .is_none_or(|last| last.end_offset < id.end_offset),
            "snapshot {id} is not newer than the last"
        );
        self.in_progress = Some(id);
        self.bytes = 0;
        self.since = None;
    }

    /// The snapshot is durable. The end of the older of the two newest: where the log is to begin.
    pub fn written(&mut self, id: SnapshotId) -> Option<Offset> {
        assert_eq!(
            self.in_progress,
            Some(id),
            "a snapshot was written that was not asked for"
        );
        self.in_progress = None;
        self.durable.push(id);
        assert!(self.durable.is_sorted(), "snapshots are out of order");
        let older = self.durable.len().checked_sub(2)?;
        let cut = self.durable[older].end_offset;
        let is_beyond = cut > 0 && types::planted!(MetadataCutBeyondSnapshot);
        Some(cut + Offset::from(is_beyond))
    }

    /// The log begins at `log_start`: snapshots that end below it are of no more use. Whether there were any.
    pub fn forget_before(&mut self, log_start: Offset) -> bool {
        let before = self.durable.len();
        self.durable.retain(|id| id.end_offset >= log_start);
        assert!(
            !self.durable.is_empty(),
            "no snapshot would be left at {log_start}"
        );
        self.durable.len() < before
    }

    /// The snapshot was not written: what it would have contained is still in none.
    pub fn failed(&mut self, id: SnapshotId, now: Now) {
        assert_eq!(
            self.in_progress,
            Some(id),
            "a snapshot failed that was not asked for"
        );
        self.in_progress = None;
        self.bytes = self.bytes.max(1);
        self.since = Some(now.mono);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let table = [
            (
                SnapshotId::BOOTSTRAP,
                "00000000000000000000-0000000000.checkpoint",
            ),
            (
                SnapshotId {
                    end_offset: 123,
                    epoch: 4,
                },
                "00000000000000000123-0000000004.checkpoint",
            ),
        ];
        for (id, name) in table {
            assert_eq!(id.to_string(), name);
            assert_eq!(name.parse(), Ok(id));
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "00000000000000000000.log",
            "1-2.checkpoint",
            "00000000000000000123-00000000+4.checkpoint",
            "00000000000000000123-0000000004.checkpoint.part",
            "99999999999999999999-0000000004.checkpoint",
        ] {
            assert_eq!(name.parse::<SnapshotId>(), Err(SnapshotIdError), "{name}");
        }
    }
}
