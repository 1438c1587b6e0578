//! One file: what the page cache shows, what the device holds, and the changes in between.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use types::Prng;

use super::image::{Image, PAGE_BYTES, pages_of};

/// Changes of one file that wait for a sync; beyond it the oldest are written back unasked, as kernels do.
pub(super) const CHANGES_MAX: usize = 256;
/// Their bytes.
const CHANGED_BYTES_MAX: u64 = 32 << 20;
/// What is shared rather than copied: a small part of a large buffer would keep the whole of it.
const SHARED_BYTES_MIN: usize = 16 << 10;

/// A change of a file that is not on the device yet.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) number: u64,
    pub(super) kind: ChangeKind,
    pub(super) fate: Fate,
}

#[derive(Clone)]
pub(super) enum ChangeKind {
    Write {
        offset: u64,
        bytes: Bytes,
    },
    /// The file was cut or made longer.
    Length(u64),
    /// Of a write whose bytes were dropped by a failed sync: the length it gave the file.
    LengthAtLeast(u64),
}

impl ChangeKind {
    /// The first byte that it may change.
    fn from(&self, durable_length: u64) -> u64 {
        match self {
            ChangeKind::Write { offset, .. } => (*offset).min(durable_length),
            ChangeKind::Length(length) => (*length).min(durable_length),
            ChangeKind::LengthAtLeast(_) => durable_length,
        }
    }

    pub(super) fn range(&self) -> Range<u64> {
        match self {
            ChangeKind::Write { offset, bytes } => *offset..*offset + bytes.len() as u64,
            ChangeKind::Length(_) | ChangeKind::LengthAtLeast(_) => 0..0,
        }
    }

    fn bytes(&self) -> u64 {
        let range = self.range();
        range.end - range.start
    }
}

/// What the device does with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Lost,
    Misdirected(i64),
}

/// A sync on its way to the device.
pub(super) struct SyncRun {
    pub(super) number: u64,
    pub(super) due_us: u64,
    /// It writes the changes below this number.
    pub(super) below: u64,
    pub(super) fails: bool,
    pub(super) fate: Fate,
}

/// A file.
#[derive(Default)]
pub(super) struct Content {
    pub(super) cache: Image,
    pub(super) durable: Image,
    pub(super) changes: VecDeque<Change>,
    changed_bytes: u64,
    next_change: u64,
    /// No change that waits touches the device's bytes below this.
    clean_to: u64,
    /// Where the device holds something else than the page cache although no change waits.
    damage: Vec<Range<u64>>,
    /// By the time they end.
    runs: Vec<SyncRun>,
    next_run: u64,
    /// Failed syncs so far. A handle that was open when one failed learns of it at its next sync.
    pub(super) failures: u64,
    pub(super) modified_ms: i64,
    /// Space is reserved up to here.
    reserved_to: u64,
    /// Pages of space it takes.
    pub(super) charged_pages: u64,
}

impl Content {
    pub(super) fn new(modified_ms: i64) -> Content {
        Content {
            clean_to: u64::MAX,
            modified_ms,
            ..Content::default()
        }
    }

    /// A file that is wholly on the device.
    pub(super) fn from_device(durable: Image, modified_ms: i64) -> Content {
        let mut content = Content::new(modified_ms);
        content.cache = durable.clone();
        content.durable = durable;
        content.recharge();
        content
    }

    /// Pages of space that a write of `range` would add.
    pub(super) fn growth(&self, range: &Range<u64>) -> u64 {
        let pages = pages_of(range);
        let first = pages.start.max(self.reserved_to / PAGE_BYTES);
        let wanted = pages.end.saturating_sub(first);
        wanted - self.cache.present(first..first + wanted).min(wanted)
    }

    fn recharge(&mut self) {
        let reserved = self.reserved_to / PAGE_BYTES;
        self.charged_pages = reserved + self.cache.present(reserved..u64::MAX);
    }

    pub(super) fn write(&mut self, offset: u64, parts: &[Bytes], fate: Fate) {
        let bytes = match parts {
            [one] if one.len() >= SHARED_BYTES_MIN => one.clone(),
            _ => Bytes::from(parts.concat()),
        };
        if bytes.is_empty() {
            return;
        }
        self.charged_pages += self.growth(&(offset..offset + bytes.len() as u64));
        self.cache.write(offset, &bytes);
        self.push(ChangeKind::Write { offset, bytes }, fate);
    }

    pub(super) fn set_length(&mut self, length: u64) {
        let cuts = length <= self.cache.length();
        self.cache.set_length(length);
        self.push(ChangeKind::Length(length), Fate::Kept);
        if cuts {
            self.reserved_to = self.reserved_to.min(length);
            self.recharge();
        }
    }

    /// Pages of space that reserving up to `end` would add.
    pub(super) fn reserve_growth(&self, end: u64) -> u64 {
        let (from, to) = (self.reserved_to / PAGE_BYTES, end.div_ceil(PAGE_BYTES));
        to.saturating_sub(from)
            .saturating_sub(self.cache.present(from..to.max(from)))
    }

    pub(super) fn reserve(&mut self, end: u64) {
        let end = end.div_ceil(PAGE_BYTES) * PAGE_BYTES;
        self.reserved_to = self.reserved_to.max(end);
        self.recharge();
    }

    fn push(&mut self, kind: ChangeKind, fate: Fate) {
        self.clean_to = self.clean_to.min(kind.from(self.durable.length()));
        self.changed_bytes += kind.bytes();
        self.changes.push_back(Change {
            number: self.next_change,
            kind,
            fate,
        });
        self.next_change += 1;
        while self.changes.len() > CHANGES_MAX
            || (self.changed_bytes > CHANGED_BYTES_MAX && self.changes.len() > 1)
        {
            let oldest = self.changes.pop_front().expect("there are too many");
            self.land(&oldest, oldest.fate);
            // The clean part may have grown; not to look for it is on the safe side, and the next sync does.
        }
    }

    /// Bytes below this survive a power loss exactly as they are read now.
    pub(super) fn sound_to(&self) -> u64 {
        let damaged_from = self.damage.iter().map(|range| range.start).min();
        self.clean_to
            .min(damaged_from.unwrap_or(u64::MAX))
            .min(self.durable.length())
            .min(self.cache.length())
    }

    /// Bytes that wait for a sync.
    pub(super) fn changed_bytes(&self) -> u64 {
        self.changed_bytes
    }

    /// Puts a change on the device.
    pub(super) fn land(&mut self, change: &Change, fate: Fate) {
        self.changed_bytes -= change.kind.bytes();
        match &change.kind {
            ChangeKind::Write { offset, bytes } => match fate {
                Fate::Kept => {
                    self.durable.write(*offset, bytes);
                    self.repaired(change.kind.range());
                }
                Fate::Lost => self.lost(change.kind.range()),
                Fate::Misdirected(by) => self.misdirected(*offset, bytes, by),
            },
            ChangeKind::Length(length) => {
                self.durable.set_length(*length);
                self.damage.retain(|range| range.start < *length);
            }
            ChangeKind::LengthAtLeast(length) => {
                let length = self.durable.length().max(*length);
                self.durable.set_length(length);
            }
        }
    }

    fn repaired(&mut self, range: Range<u64>) {
        self.damage
            .retain(|old| old.start < range.start || old.end > range.end);
    }

    /// The device said ok and wrote nothing. The file's length is not in the lost place.
    fn lost(&mut self, range: Range<u64>) {
        let length = self.durable.length().max(range.end);
        self.durable.set_length(length);
        self.damage.push(range);
    }

    fn misdirected(&mut self, offset: u64, bytes: &Bytes, by: i64) {
        let length = self.durable.length().max(offset + bytes.len() as u64);
        self.lost(offset..offset + bytes.len() as u64);
        let target = i128::from(offset) + i128::from(by);
        let skipped = (-target).clamp(0, bytes.len() as i128) as usize;
        let start = target.max(0) as u64;
        let room = length.saturating_sub(start).min(bytes.len() as u64) as usize;
        let landing = &bytes[skipped..room.max(skipped).min(bytes.len())];
        if !landing.is_empty() {
            self.durable.write(start, landing);
            self.damage.push(start..start + landing.len() as u64);
            // What it fell on may be cached no more; whoever reads it again meets it.
            self.durable.set_length(length);
        }
    }

    /// Reads see the device from now on wherever it differs, with the changes that still wait.
    fn evict_damage(&mut self) {
        if self.damage.is_empty() {
            return;
        }
        let mut seen = self.durable.clone();
        for change in &self.changes {
            match &change.kind {
                ChangeKind::Write { offset, bytes } => seen.write(*offset, bytes),
                ChangeKind::Length(length) => seen.set_length(*length),
                ChangeKind::LengthAtLeast(length) => {
                    let length = seen.length().max(*length);
                    seen.set_length(length);
                }
            }
        }
        for range in std::mem::take(&mut self.damage) {
            self.cache.take_over(range, &seen);
        }
    }

    /// Begins a sync of all changes so far; its number.
    pub(super) fn begin_sync(&mut self, due_us: u64, fails: bool, fate: Fate) -> u64 {
        let number = self.next_run;
        self.next_run += 1;
        let run = SyncRun {
            number,
            due_us,
            below: self.next_change,
            fails,
            fate,
        };
        let at = self.runs.partition_point(|other| other.due_us <= due_us);
        self.runs.insert(at, run);
        number
    }

    /// Lets the sync `number`, which has not begun yet, write all changes so far.
    pub(super) fn widen_sync(&mut self, number: u64) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.number == number) {
            run.below = self.next_change;
        }
    }

    /// Whether a sync that ends by `due_us` fails.
    pub(super) fn fails_by(&self, due_us: u64) -> bool {
        self.runs
            .iter()
            .any(|run| run.fails && run.due_us <= due_us)
    }

    /// Ends the syncs whose time has come.
    ///
    /// What is drawn for a sync depends on `key` and its number alone: whoever looks at a file, and so settles it
    /// earlier than it would have been, changes nothing.
    pub(super) fn settle(&mut self, now_us: u64, key: u64) {
        while self.runs.first().is_some_and(|run| run.due_us <= now_us) {
            let run = self.runs.remove(0);
            let drawn = key ^ run.number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut prng = Prng::new(drawn, "disk settles");
            if run.fails {
                self.fail(&run, &mut prng);
            } else {
                self.finish(&run, &mut prng);
            }
            let durable_length = self.durable.length();
            self.clean_to = self
                .changes
                .iter()
                .map(|change| change.kind.from(durable_length))
                .min()
                .unwrap_or(u64::MAX);
        }
    }

    /// The changes that `run` writes.
    fn taken_by(&mut self, run: &SyncRun) -> Vec<Change> {
        let count = self
            .changes
            .partition_point(|change| change.number < run.below);
        self.changes.drain(..count).collect()
    }

    fn finish(&mut self, run: &SyncRun, prng: &mut Prng) {
        let mut shows_device = false;
        for change in self.taken_by(run) {
            let fate = if change.fate == Fate::Kept {
                run.fate
            } else {
                change.fate
            };
            self.land(&change, fate);
            shows_device |= fate != Fate::Kept && prng.chance(1, 2);
        }
        if shows_device {
            self.evict_damage();
        }
    }

    /// The pages that could not be written count as clean from now on: no later sync writes them.
    fn fail(&mut self, run: &SyncRun, prng: &mut Prng) {
        self.failures += 1;
        let taken = self.taken_by(run);
        // Nothing, a first part, or any part was written before the device gave up.
        let written = match prng.below(3) {
            0 => 0,
            1 => prng.below(taken.len() as u64 + 1) as usize,
            _ => usize::MAX,
        };
        let shows_device = prng.chance(1, 2);
        let mut dropped = Vec::new();
        for (index, change) in taken.into_iter().enumerate() {
            let lands = if written == usize::MAX {
                prng.chance(1, 2)
            } else {
                index < written
            };
            if lands || !matches!(change.kind, ChangeKind::Write { .. }) {
                // Lengths are the file system's, not pages: they wait for the next sync.
                if lands {
                    self.land(&change, change.fate);
                } else {
                    dropped.push(change);
                }
                continue;
            }
            let range = change.kind.range();
            self.changed_bytes -= change.kind.bytes();
            self.damage.push(range.clone());
            dropped.push(Change {
                number: change.number,
                kind: ChangeKind::LengthAtLeast(range.end),
                fate: Fate::Kept,
            });
        }
        for change in dropped.into_iter().rev() {
            self.changes.push_front(change);
        }
        if shows_device {
            self.evict_damage();
        }
    }

    /// Flips bits on the device and in the cache, as if the page had been read again since; `false` if there is no
    /// such byte.
    pub(super) fn rot(&mut self, offset: u64, bits: u8) -> bool {
        let waits = self
            .changes
            .iter()
            .any(|change| change.kind.range().contains(&offset));
        let flipped = self.durable.flip(offset, bits);
        if flipped && !waits {
            self.cache.flip(offset, bits);
        } else if flipped {
            self.damage.push(offset..offset + 1);
        }
        flipped
    }

    /// Replaces bytes on the device and in the cache, as if the pages had been read again since; `false` if the device
    /// does not have all of them, or one waits for a sync.
    pub(super) fn overwrite(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let end = offset + bytes.len() as u64;
        let mut ranges = self.changes.iter().map(|change| change.kind.range());
        if end > self.durable.length()
            || ranges.any(|range| range.start < end && offset < range.end)
        {
            return false;
        }
        self.durable.write(offset, bytes);
        self.cache.write(offset, bytes);
        true
    }

    /// The power is gone: what was on its way is judged with the rest.
    pub(super) fn stop_syncs(&mut self) {
        self.runs.clear();
    }

    /// The device's bytes are all that is left.
    pub(super) fn lose_cache(&mut self, keeps_reservation: bool) {
        self.changes.clear();
        self.changed_bytes = 0;
        self.clean_to = u64::MAX;
        self.damage.clear();
        self.runs.clear();
        self.cache = self.durable.clone();
        if !keeps_reservation {
            self.reserved_to = 0;
        }
        self.recharge();
    }
}
