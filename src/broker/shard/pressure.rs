//! Bounds what is written and not yet synced: its bytes in each log directory, and the open files that hold them.
//!
//! An append beyond a bound is held back in its partition's queue, not refused, while flushes let go of what is there.
//! Each shard keeps to its share of the bytes, so that no shard waits for another one's flush.

use std::collections::BTreeSet;
use std::rc::Rc;

use storage::FileCache;
use types::TopicPartition;

use super::Shard;
use super::slot::Slot;
use crate::core::Core;

/// What of a shard's writes no flush covers.
pub(super) struct Pressure {
    files: FileCache,
    /// Bytes in one log directory at which appends to it are held back.
    bytes_max: u64,
    /// Bytes that no flush covers, by log directory.
    bytes: Vec<u64>,
    /// Appends under way that open their file first.
    opening: usize,
    /// Partitions whose appends are held back.
    held: BTreeSet<TopicPartition>,
    /// Whether every log of the shard is to be flushed.
    is_relief_due: bool,
}

/// What of it is one partition's.
#[derive(Default, Debug)]
pub(super) struct Counted {
    directory: usize,
    bytes: u64,
    is_opening: bool,
}

impl Pressure {
    /// `dirty_bytes_max` is that of a log directory, shared by `cores` shards.
    pub fn new(
        files: FileCache,
        directories: usize,
        dirty_bytes_max: u64,
        cores: usize,
    ) -> Pressure {
        Pressure {
            files,
            bytes_max: (dirty_bytes_max / cores.max(1) as u64).max(1),
            bytes: vec![0; directories],
            opening: 0,
            held: BTreeSet::new(),
            is_relief_due: false,
        }
    }

    /// Bytes that this partition may append before it is held back.
    pub fn room(&self, slot: &Slot) -> u64 {
        self.bytes_max
            .saturating_sub(self.bytes[slot.counted.directory])
    }

    /// Whether an append of this partition has to wait for a flush. `can_relieve` tells whether
    /// there is anything to wait for.
    fn must_hold(&self, slot: &Slot, can_relieve: impl FnOnce() -> bool) -> bool {
        if self.bytes[slot.counted.directory] >= self.bytes_max {
            return true;
        }
        !slot.log.is_open() && self.files.is_crowded_by(1) && can_relieve()
    }
}

impl Shard {
    /// A slot comes in, its log without bytes that were appended.
    pub(super) fn count_in(&self, slot: &mut Slot) {
        let path = slot.log.directory().path();
        let mut directories = self.node.directories.iter();
        let directory = directories.position(|directory| directory.path() == path);
        slot.counted.directory = directory.expect("a log is in a directory of the node");
    }

    /// A log has appended, or was flushed.
    pub(super) fn recount(&mut self, partition: TopicPartition) {
        let Some(slot) = self.slots.get_mut(&partition) else {
            return;
        };
        let bytes = &mut self.pressure.bytes[slot.counted.directory];
        let before = *bytes;
        *bytes = before - slot.counted.bytes + slot.log.unflushed_bytes();
        slot.counted.bytes = slot.log.unflushed_bytes();
        // Flushing begins at half of the bound, so that appends need not wait for it.
        let half = self.pressure.bytes_max / 2;
        self.pressure.is_relief_due |= before < half && *bytes >= half;
    }

    /// Takes a slot out, with its share.
    pub(super) fn remove_slot(&mut self, partition: TopicPartition) -> Option<Slot> {
        self.opened(partition);
        let mut slot = self.slots.remove(&partition)?;
        let share = std::mem::take(&mut slot.counted.bytes);
        self.pressure.bytes[slot.counted.directory] -= share;
        self.pressure.held.remove(&partition);
        self.release_held();
        self.names.remove(slot.log.name());
        Some(slot)
    }

    /// Whether an append of this partition is to wait; then it is looked at again when a flush or an opening has ended.
    pub(super) fn hold_back(&mut self, partition: TopicPartition) -> bool {
        let Some(slot) = self.slots.get(&partition) else {
            return false;
        };
        let can_relieve = || {
            let mut slots = self.slots.values();
            self.pressure.opening > 0
                || slots.any(|slot| slot.is_flushing || slot.log.needs_flush())
        };
        let must_hold = self.pressure.must_hold(slot, can_relieve);
        if must_hold {
            self.pressure.held.insert(partition);
            self.pressure.is_relief_due = true;
        }
        must_hold
    }

    /// An append begins; one that opens its file counts among the open files.
    pub(super) fn note_opening(&mut self, partition: TopicPartition) {
        let slot = self.slots.get_mut(&partition).expect("it appends");
        if !slot.log.is_open() {
            slot.counted.is_opening = true;
            self.pressure.opening += 1;
            self.pressure.files.begin_opening();
        }
    }

    /// An append has ended.
    pub(super) fn opened(&mut self, partition: TopicPartition) {
        if let Some(slot) = self.slots.get_mut(&partition)
            && std::mem::take(&mut slot.counted.is_opening)
        {
            self.pressure.opening -= 1;
            self.pressure.files.end_opening();
            // What it has written is to be flushed; or nothing was written, and there is room.
            self.release_held();
        }
    }

    /// Something has ended that others may be waiting for: they look again whether they may append.
    pub(super) fn release_held(&mut self) {
        self.to_write.append(&mut self.pressure.held);
    }

    /// Has everything flushed that can be, if it is due.
    pub(super) fn relieve(&mut self) {
        if !std::mem::take(&mut self.pressure.is_relief_due) {
            return;
        }
        let dirty = self.slots.iter();
        let dirty = dirty.filter(|(_, slot)| !slot.is_flushing && slot.log.needs_flush());
        self.to_flush.extend(dirty.map(|(partition, _)| *partition));
    }
}

/// Looks whether more files are open than there should be; then flushes let go of those with unsynced bytes. Appends
/// ask on their own.
pub fn relieve_if_crowded(core: &Rc<Core>) {
    let is_crowded = core.with_shard(|shard| {
        let is_crowded = shard.pressure.files.is_crowded();
        shard.pressure.is_relief_due |= is_crowded;
        is_crowded
    });
    if is_crowded {
        core.drain_shard();
    }
}
