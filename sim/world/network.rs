//! The network, and faults of it.

use std::collections::BTreeMap;

use runtime::simulated::net::{Cut, Fabric, Link};

use crate::plan::{CutHow, LinkPlan};

/// What `plan` says of a link.
pub fn link(plan: &LinkPlan) -> Link {
    Link {
        latency_us: plan.latency_us,
        jitter_us: plan.jitter_us,
        tail_one_in: plan.tail_one_in,
        tail_factor: plan.tail_factor,
        bytes_per_second: plan.bytes_per_second,
        window_bytes: plan.window_bytes,
        chunk_bytes_max: plan.chunk_bytes_max,
    }
}

/// What faults have done to the links, so that each can be undone while others last.
pub(super) struct Network {
    fabric: Fabric,
    base: Link,
    /// By fault: the cuts it holds.
    cuts: BTreeMap<usize, Vec<(u64, u64)>>,
    /// By fault: the links it changed.
    changed: BTreeMap<usize, Vec<(u64, u64)>>,
    slow: BTreeMap<usize, (u64, u64)>,
}

impl Network {
    pub(super) fn new(plan: &LinkPlan) -> Network {
        let (fabric, base) = (Fabric::current(), link(plan));
        fabric.set_default_link(base);
        Network {
            fabric,
            base,
            cuts: BTreeMap::new(),
            changed: BTreeMap::new(),
            slow: BTreeMap::new(),
        }
    }

    pub(super) fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    pub(super) fn cut(&mut self, fault: usize, ways: Vec<(u64, u64)>, how: CutHow) {
        let how = match how {
            CutHow::Hold => Cut::Hold,
            CutHow::BlackHole => Cut::BlackHole,
        };
        for &(from, to) in &ways {
            self.fabric.cut(from, to, how);
        }
        self.cuts.insert(fault, ways);
    }

    /// Changes links; the last change of a link counts.
    pub(super) fn change(
        &mut self,
        fault: usize,
        ways: Vec<(u64, u64)>,
        change: impl Fn(&mut Link),
    ) {
        for &(from, to) in &ways {
            let mut link = self.base;
            change(&mut link);
            self.fabric.set_link(from, to, link);
        }
        self.changed.insert(fault, ways);
    }

    pub(super) fn slow_reader(
        &mut self,
        fault: usize,
        node: u64,
        peer: u64,
        bytes_per_second: u64,
    ) {
        self.fabric.slow_reader(node, peer, Some(bytes_per_second));
        self.slow.insert(fault, (node, peer));
    }

    /// Undoes what `fault` did, unless another fault still wants it.
    pub(super) fn undo(&mut self, fault: usize) {
        for way in self.cuts.remove(&fault).unwrap_or_default() {
            if !self.cuts.values().flatten().any(|&other| other == way) {
                self.fabric.restore(way.0, way.1);
            }
        }
        for way in self.changed.remove(&fault).unwrap_or_default() {
            if !self.changed.values().flatten().any(|&other| other == way) {
                self.fabric.set_link(way.0, way.1, self.base);
            }
        }
        if let Some((node, peer)) = self.slow.remove(&fault) {
            self.fabric.slow_reader(node, peer, None);
        }
    }

    /// Undoes everything.
    pub(super) fn undo_all(&mut self) {
        let faults: Vec<usize> = self
            .cuts
            .keys()
            .chain(self.changed.keys())
            .chain(self.slow.keys())
            .copied()
            .collect();
        for fault in faults {
            self.undo(fault);
        }
    }
}
