//! Faults of disks.

use std::collections::BTreeMap;

use runtime::simulated::disk::{
    DiskFault, DiskOperation, DiskSpeed, Disks, Effect, FileView, Survival,
};
use runtime::simulated::trace::{self, Value};

use protocol::records::batches;

use super::{Nodes, World, logs};
use crate::history::Key;
use crate::plan::{self, Fault, FileFault, Plan, Stalled};
use crate::watch;

/// Where a batch's checksum stands; it covers all that is behind it. A flip of what stands in front of it (base offset,
/// length, leader epoch) that leaves offsets plausible nobody can tell from the truth, with Kafka neither.
const CHECKSUM_PLACE: u64 = 17;

/// What faults have done to the disks.
pub(super) struct DiskFaults {
    disks: Disks,
    /// Capacities to give back, by node.
    capacities: BTreeMap<u64, u64>,
    /// By fault: the node whose disk it troubles.
    troubled: BTreeMap<usize, u64>,
}

impl DiskFaults {
    pub(super) fn new(plan: &Plan, nodes: &Nodes) -> DiskFaults {
        let disks = Disks::current();
        let mut capacities = BTreeMap::new();
        for broker in &plan.brokers {
            let node = nodes.number(&format!("broker-{}", broker.id));
            disks.set_capacity(node, broker.disk_bytes);
            capacities.insert(node, broker.disk_bytes);
            disks.set_speed(
                node,
                DiskSpeed {
                    sync_us: (broker.sync_us_max / 10, broker.sync_us_max),
                    ..DiskSpeed::default()
                },
            );
        }
        DiskFaults {
            disks,
            capacities,
            troubled: BTreeMap::new(),
        }
    }

    /// Arms a fault of a disk; it tells itself when it meets an operation.
    pub(super) fn begin(&mut self, index: usize, fault: &Fault, nodes: &Nodes, world: &World) {
        let (name, planned) = match fault {
            Fault::Disk {
                node,
                effect,
                path,
                skip,
                times,
            } => (node, Some(disk_fault(*effect, path, *skip, *times))),
            Fault::Stall {
                node,
                path,
                millis,
                times,
                operation,
            } => {
                let operation = match operation {
                    Stalled::Any => DiskOperation::Any,
                    Stalled::Sync => DiskOperation::Sync,
                    Stalled::Remove => DiskOperation::Remove,
                    Stalled::Rename => DiskOperation::Rename,
                };
                (node, Some(stall(operation, path, *millis, *times)))
            }
            Fault::DiskFull { node, .. }
            | Fault::Rot { node, .. }
            | Fault::LostWrite { node, .. }
            | Fault::MisdirectedWrite { node, .. } => (node, None),
            _ => unreachable!("only faults of disks come here"),
        };
        let node = nodes.number(name);
        self.troubled.insert(index, node);
        match (planned, fault) {
            (Some(planned), _) => self.disks.add_fault(node, planned),
            (None, Fault::DiskFull { bytes_left, .. }) => {
                let used = self.disks.used_bytes(node);
                self.disks.set_capacity(node, used + bytes_left);
            }
            (None, fault) => self.damage(node, fault, world),
        }
    }

    /// Ends a fault, and with it every other that was armed on the same disk.
    pub(super) fn end(&mut self, index: usize) {
        let Some(node) = self.troubled.remove(&index) else {
            return;
        };
        self.disks.set_capacity(node, self.capacities[&node]);
        self.disks.clear_faults(node);
    }

    pub(super) fn clear_all(&mut self) {
        self.troubled.clear();
        for (&node, &capacity) in &self.capacities {
            self.disks.set_capacity(node, capacity);
            self.disks.clear_faults(node);
        }
    }

    /// Damages a batch below its log's proven offset, where only a checksum can tell, and tells the clients' judge: its
    /// partition may be refused, or read to an error.
    fn damage(&self, node: u64, fault: &Fault, world: &World) {
        let (path, place) = match fault {
            Fault::Rot { path, place, .. } => (path, u64::from(*place)),
            Fault::LostWrite { path, .. } | Fault::MisdirectedWrite { path, .. } => (path, 500),
            _ => return,
        };
        let files = self.disks.files(node);
        let proven = self.proven_segments(node, &files, path);
        let index = (proven.len() as u64 * place / 1_000) as usize;
        let Some((file, key, batches)) = proven.get(index) else {
            return;
        };
        // Another part of the same number says where in the segment.
        let index = (batches.len() as u64 * (place * 7 % 1_000) / 1_000) as usize;
        if self.damage_batch(node, fault, &file.path, batches, index) {
            let is_overwritten = is_misdirected(fault, batches, index);
            world.clients.damaged.borrow_mut().insert(*key);
            if is_overwritten {
                world.clients.overwritten.borrow_mut().insert(*key);
            }
            watch::log_damaged(*key, is_overwritten);
            let name = fault.name();
            trace::emit_for(
                node,
                "fault",
                &[
                    ("name", Value::Text(name)),
                    ("file", Value::Text(&file.path)),
                ],
            );
        }
    }

    /// Damages one of the `batches` of a segment, each with its position and length.
    fn damage_batch(
        &self,
        node: u64,
        fault: &Fault,
        path: &str,
        batches: &[(u64, u64)],
        index: usize,
    ) -> bool {
        let (start, length) = batches[index];
        let length_bytes = usize::try_from(length).expect("a batch fits into memory");
        match fault {
            Fault::Rot { place, .. } => {
                let place = u64::from(*place);
                let offset = start
                    + CHECKSUM_PLACE
                    + (length - CHECKSUM_PLACE) * (place * 3 % 1_000) / 1_000;
                self.disks.rot(node, path, offset, 1 << (place % 8))
            }
            _ if is_misdirected(fault, batches, index) => {
                // Over the batch before: nothing but its offsets says that it does not belong there.
                let by = batches[index - 1].0 as i64 - start as i64;
                self.disks.misdirect(node, path, start, length_bytes, by)
            }
            _ => self.disks.lose(node, path, start, length_bytes),
        }
    }

    /// The segments that have batches below what the broker will believe to be synced, whenever it is started again, with
    /// position and length of these: recovery may not cut there.
    fn proven_segments<'a>(&self, node: u64, files: &'a [FileView], path: &str) -> Vec<Proven<'a>> {
        let logs = files
            .iter()
            .filter(|file| file.path.contains(path) && file.path.ends_with(".log"));
        let proven = logs.filter_map(|file| {
            let (directory, _) = file.path.rsplit_once('/')?;
            let metadata = format!("{directory}/partition.metadata");
            let key = logs::key_of(directory, &self.disks.durable_bytes(node, metadata)?)?;
            let end = logs::proven_offset(node, directory);
            let bytes = self.disks.durable_bytes(node, &file.path)?;
            let mut position = 0;
            let mut proven = Vec::new();
            for batch in batches(bytes) {
                let Ok(batch) = batch else { break };
                let length = batch.header().size_bytes() as u64;
                if batch.header().next_offset() > end || position + length > file.sound_to_bytes {
                    break;
                }
                proven.push((position, length));
                position += length;
            }
            (!proven.is_empty()).then_some((file, key, proven))
        });
        proven.collect()
    }
}

/// A segment, its partition, and position and length of its batches.
type Proven<'a> = (&'a FileView, Key, Vec<(u64, u64)>);

/// Whether the fault writes this batch over the one before it. Of the last batch that is proven it does not: recovery
/// would take what is left for a log that ends there, as `docs/GUARANTEES.md` says.
fn is_misdirected(fault: &Fault, batches: &[(u64, u64)], index: usize) -> bool {
    let is_last = index + 1 == batches.len();
    matches!(fault, Fault::MisdirectedWrite { .. }) && index > 0 && !is_last
}

/// What the disk calls a plan's word.
pub(super) fn survival_of(survival: plan::Survival) -> Survival {
    match survival {
        plan::Survival::All => Survival::All,
        plan::Survival::None => Survival::None,
        plan::Survival::Prefix => Survival::Prefix,
        plan::Survival::Torn => Survival::Torn,
        plan::Survival::Reordered => Survival::Reordered,
        plan::Survival::Mixed => Survival::Mixed,
    }
}

fn disk_fault(effect: FileFault, path: &str, skip: u32, times: u32) -> DiskFault {
    let (operation, effect) = match effect {
        FileFault::WriteError => (DiskOperation::Write, Effect::Eio),
        FileFault::SyncError => (DiskOperation::Sync, Effect::Eio),
        FileFault::DirectorySyncError => (DiskOperation::SyncDirectory, Effect::Eio),
        FileFault::ReadError => (DiskOperation::Read, Effect::Eio),
        FileFault::OpenError => (DiskOperation::Open, Effect::Eio),
        FileFault::RenameError => (DiskOperation::Rename, Effect::Eio),
        FileFault::NoSpace => (DiskOperation::Write, Effect::Enospc),
    };
    DiskFault {
        operation,
        path_contains: path.to_owned(),
        skip,
        times,
        effect,
    }
}

fn stall(operation: DiskOperation, path: &str, millis: u64, times: u32) -> DiskFault {
    DiskFault {
        operation,
        path_contains: path.to_owned(),
        skip: 0,
        times,
        effect: Effect::StallUs(millis * 1_000),
    }
}
