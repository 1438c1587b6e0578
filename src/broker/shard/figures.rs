//! What a shard says of itself when it is asked for figures.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coordinator::groups::GroupState;
use types::{Offset, PartitionIndex, TopicPartition};

use super::Shard;
use super::slot::Slot;

/// The size of one log.
#[derive(Debug, Clone)]
pub struct LogSize {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
    /// The log directory that it lies in.
    pub directory: PathBuf,
    /// Bytes of all its segments.
    pub size_bytes: u64,
    /// How many segments these are.
    pub segments: usize,
    /// Its first offset.
    pub log_start_offset: Offset,
    /// The offset after its last record.
    pub log_end_offset: Offset,
    /// Requests that wait for it.
    pub parked: usize,
}

/// The groups of the coordinators of a shard.
#[derive(Debug, Clone, Default)]
pub struct GroupCounts {
    /// Groups in memory by state.
    pub by_state: BTreeMap<GroupState, usize>,
    /// Committed offsets.
    pub offsets: usize,
}

/// All figures of one shard.
#[derive(Debug, Clone, Default)]
pub struct ShardFigures {
    /// Its logs, by topic id and partition.
    pub logs: Vec<LogSize>,
    /// Its groups.
    pub groups: GroupCounts,
    /// How long its core has worked since it started; nothing if that is not measured.
    pub busy: Option<Duration>,
}

impl Shard {
    /// The sizes of all logs of this shard.
    pub fn log_sizes(&self) -> Vec<LogSize> {
        let size = |(partition, slot): (&TopicPartition, &Slot)| LogSize {
            topic: Arc::clone(&slot.topic),
            partition: partition.partition,
            directory: slot.log.directory().path().to_owned(),
            size_bytes: slot.log.size_bytes(),
            segments: slot.log.segment_count(),
            log_start_offset: slot.log.log_start_offset(),
            log_end_offset: slot.log.log_end_offset(),
            parked: slot.replica.view().parked,
        };
        self.slots.iter().map(size).collect()
    }

    /// All figures of this shard.
    pub fn figures(&self) -> ShardFigures {
        ShardFigures {
            logs: self.log_sizes(),
            groups: self.group_counts(),
            busy: runtime::task::busy(),
        }
    }

    fn group_counts(&self) -> GroupCounts {
        let mut counts = GroupCounts::default();
        for coordinator in self.coordinators.values() {
            let view = coordinator.machine.view();
            for group in view.groups() {
                *counts.by_state.entry(group.state()).or_default() += 1;
            }
            let offsets = view.stored_group_ids().map(|id| view.offsets(id).count());
            counts.offsets += offsets.sum::<usize>();
        }
        counts
    }
}
