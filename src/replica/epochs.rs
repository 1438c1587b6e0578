//! The history of leader epochs: which epoch began at which offset (KIP-101, KIP-279, KIP-320).

use std::collections::VecDeque;

use thiserror::Error;
use types::{LeaderEpoch, Offset};

/// One leader epoch and the offset at which it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    /// The epoch, 0 or more.
    pub epoch: LeaderEpoch,
    /// Offset of the first record that its leader could append.
    pub start_offset: Offset,
}

/// The answer to "where does this epoch end": OffsetForLeaderEpoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEnd {
    /// The largest epoch not above the one asked that the log knows, or -1.
    pub epoch: LeaderEpoch,
    /// The offset after its last record, or -1.
    pub end_offset: Offset,
}

impl EpochEnd {
    /// Nothing is known of the epoch.
    pub const UNKNOWN: EpochEnd = EpochEnd {
        epoch: -1,
        end_offset: -1,
    };
}

/// Why a leader epoch checkpoint cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum EpochsError {
    /// A line is not what it should be; lines count from 1.
    #[error("line {0} of the leader epoch checkpoint is malformed")]
    Line(usize),
    /// A version this code does not know.
    #[error("leader epoch checkpoint version {0} is not known")]
    Version(i32),
    /// The announced number of entries is not there.
    #[error("the leader epoch checkpoint announces {announced} entries and holds {held}")]
    Count {
        /// In the second line.
        announced: usize,
        /// In the lines after it.
        held: usize,
    },
}

/// The epochs of one log, oldest first: epochs and start offsets both strictly increase.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EpochHistory {
    entries: VecDeque<EpochEntry>,
}

impl EpochHistory {
    /// An empty history.
    pub fn new() -> EpochHistory {
        EpochHistory::default()
    }

    /// The history with these entries; later ones win over earlier ones that contradict them.
    pub fn from_entries(entries: impl IntoIterator<Item = EpochEntry>) -> EpochHistory {
        let mut history = EpochHistory::new();
        for entry in entries {
            history.assign(entry.epoch, entry.start_offset);
        }
        history.check();
        history
    }

    /// Oldest first: the entries of `leader-epoch-checkpoint`.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = EpochEntry> + '_ {
        self.entries.iter().copied()
    }

    /// The newest entry.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.back().copied()
    }

    /// The epoch of the record at `offset`, if the history reaches back that far.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// Records that `epoch` begins at `start_offset`. Entries that contradict it go: those at or above its epoch or its start,
    /// except that a known epoch keeps its earlier start. Whether the history changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        assert!(epoch >= 0, "a leader epoch is 0 or more, not {epoch}");
        assert!(
            start_offset >= 0,
            "an epoch starts at 0 or more, not {start_offset}"
        );
        if let Some(latest) = self.latest()
            && latest.epoch == epoch
            && start_offset >= latest.start_offset
        {
            return false;
        }
        while self
            .latest()
            .is_some_and(|last| last.epoch >= epoch || last.start_offset >= start_offset)
        {
            self.entries.pop_back();
        }
        self.entries.push_back(EpochEntry {
            epoch,
            start_offset,
        });
        true
    }

    /// The log now ends at `end_offset`: epochs that began there or later never held a record. Whether the history changed.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        assert!(end_offset >= 0, "a log ends at 0 or more, not {end_offset}");
        let before = self.entries.len();
        while self
            .latest()
            .is_some_and(|last| last.start_offset >= end_offset)
        {
            self.entries.pop_back();
        }
        assert!(
            self.latest()
                .is_none_or(|last| last.start_offset < end_offset),
            "an epoch starts at the truncated end {end_offset}"
        );
        self.entries.len() != before
    }

    /// The log now starts at `log_start`: older epochs go, the one in force there begins there. Whether the history changed.
    pub fn truncate_from_start(&mut self, log_start: Offset) -> bool {
        assert!(log_start >= 0, "a log starts at 0 or more, not {log_start}");
        let older = self
            .entries
            .partition_point(|entry| entry.start_offset <= log_start);
        let Some(in_force) = older.checked_sub(1).map(|index| self.entries[index]) else {
            return false;
        };
        self.entries.drain(..older - 1);
        self.entries[0].start_offset = log_start;
        self.check();
        older > 1 || in_force.start_offset != log_start
    }

    /// Where `epoch` ends in a log that ends at `log_end`, as OffsetForLeaderEpoch answers.
    ///
    /// The newest epoch ends at the log's end. An epoch above it is unknown. Any other ends where the next higher known one
    /// starts, and the answer names the largest known epoch that is not above it; below all known ones it is the asked epoch.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch, log_end: Offset) -> EpochEnd {
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let known = above.checked_sub(1).map(|index| self.entries[index].epoch);
        match (epoch, self.entries.get(above), known) {
            (..0, _, _) => EpochEnd::UNKNOWN,
            (_, Some(_), Some(known)) if types::planted!(EpochEndsWithLog) => EpochEnd {
                epoch: known,
                end_offset: log_end,
            },
            (_, Some(higher), known) => EpochEnd {
                epoch: known.unwrap_or(epoch),
                end_offset: higher.start_offset,
            },
            (_, None, Some(latest)) if latest == epoch => EpochEnd {
                epoch,
                end_offset: log_end,
            },
            (_, None, _) => EpochEnd::UNKNOWN,
        }
    }

    /// The text of `leader-epoch-checkpoint`: version, number of entries, then epoch and start offset a line.
    pub fn encode_checkpoint(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for EpochEntry {
            epoch,
            start_offset,
        } in self.entries()
        {
            text.push_str(&format!("{epoch} {start_offset}\n"));
        }
        text
    }

    /// Reads the text of `leader-epoch-checkpoint`.
    pub fn decode_checkpoint(text: &str) -> Result<EpochHistory, EpochsError> {
        let mut lines = text.lines().zip(1..);
        let mut number = |line| {
            let (text, at) = lines.next().ok_or(EpochsError::Line(line))?;
            text.trim()
                .parse::<usize>()
                .map_err(|_| EpochsError::Line(at))
        };
        let version = number(1)?;
        if version != 0 {
            return Err(EpochsError::Version(
                i32::try_from(version).unwrap_or(i32::MAX),
            ));
        }
        let announced = number(2)?;
        let mut history = EpochHistory::new();
        let mut held = 0;
        for (line, at) in lines.filter(|(line, _)| !line.trim().is_empty()) {
            let entry = parse_entry(line).ok_or(EpochsError::Line(at))?;
            history.assign(entry.epoch, entry.start_offset);
            held += 1;
        }
        if held != announced {
            return Err(EpochsError::Count { announced, held });
        }
        history.check();
        Ok(history)
    }

    /// Panics if the history is not strictly increasing.
    pub fn check(&self) {
        for (older, newer) in self.entries.iter().zip(self.entries.iter().skip(1)) {
            assert!(
                older.epoch < newer.epoch && older.start_offset < newer.start_offset,
                "leader epochs out of order: {older:?} before {newer:?}"
            );
        }
    }
}

fn parse_entry(line: &str) -> Option<EpochEntry> {
    let mut fields = line.split_ascii_whitespace();
    let epoch = fields
        .next()?
        .parse()
        .ok()
        .filter(|&epoch: &LeaderEpoch| epoch >= 0)?;
    let start_offset = fields
        .next()?
        .parse()
        .ok()
        .filter(|&offset: &Offset| offset >= 0)?;
    fields.next().is_none().then_some(EpochEntry {
        epoch,
        start_offset,
    })
}

#[cfg(test)]
mod tests;
