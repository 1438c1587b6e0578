//! How far each replica holds the log, and the high watermark that follows from it.

use std::collections::BTreeMap;

use types::{NodeId, Offset};

use crate::{Durability, Leadership};

/// How far one replica holds the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// The end of what it has written.
    pub log_end: Offset,
    /// The end of what it has flushed; never above `log_end`.
    pub flushed: Offset,
}

impl Position {
    /// Up to where this replica counts towards the high watermark in a durability class.
    pub fn counted(self, durability: Durability) -> Offset {
        match durability {
            Durability::Flushed if self.flushed < self.log_end => {
                if types::planted!(AckBeforeFlush) {
                    self.log_end
                } else {
                    self.flushed
                }
            }
            Durability::Flushed | Durability::Replicated { .. } => self.log_end,
        }
    }
}

/// The replicas of a partition as its leader sees them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    positions: BTreeMap<NodeId, Position>,
    isr: Vec<NodeId>,
}

impl Progress {
    /// The view of a leader that has just begun: it knows no replica's position.
    pub fn new(leadership: &Leadership) -> Progress {
        let progress = Progress {
            positions: leadership
                .replicas
                .iter()
                .map(|&id| (id, Position::default()))
                .collect(),
            isr: leadership.isr.clone(),
        };
        assert!(
            !progress.isr.is_empty(),
            "a leader has an in-sync replica: itself"
        );
        assert!(
            progress
                .isr
                .iter()
                .all(|id| progress.positions.contains_key(id)),
            "the ISR {:?} holds a node that is not a replica",
            progress.isr
        );
        progress
    }

    /// The committed in-sync replica set.
    pub fn isr(&self) -> &[NodeId] {
        &self.isr
    }

    /// The committed set and what is proposed to join it: acknowledgements wait for all of these (KIP-497). Nothing is
    /// proposed on a single node.
    pub fn maximal_isr(&self) -> &[NodeId] {
        &self.isr
    }

    /// Assigned replicas.
    pub fn replica_count(&self) -> usize {
        self.positions.len()
    }

    /// How far a replica holds the log, if it is one.
    pub fn position(&self, node: NodeId) -> Option<Position> {
        self.positions.get(&node).copied()
    }

    /// Takes in how far `node` holds the log.
    pub fn record(&mut self, node: NodeId, position: Position) {
        assert!(
            position.flushed <= position.log_end,
            "node {node} flushed more than it wrote: {position:?}"
        );
        let known = self.positions.get_mut(&node);
        *known.unwrap_or_else(|| panic!("node {node} is not a replica")) = position;
    }

    /// Members of the ISR that are needed before a write is accepted or shown: never more than there are replicas.
    pub fn effective_min_isr(&self, min_insync_replicas: u32) -> usize {
        usize::try_from(min_insync_replicas)
            .map_or(self.replica_count(), |min| min.min(self.replica_count()))
    }

    /// Whether the committed ISR is smaller than needed.
    pub fn is_under_min_isr(&self, min_insync_replicas: u32) -> bool {
        self.isr.len() < self.effective_min_isr(min_insync_replicas)
    }

    /// What all members of the maximal ISR hold, each counted as the class says. Whether that may be shown is the leader's
    /// matter: not while the ISR is too small.
    pub fn held_by_all(&self, durability: Durability) -> Offset {
        let counted = self
            .maximal_isr()
            .iter()
            .map(|id| self.positions[id].counted(durability));
        counted.min().expect("the ISR is never empty")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(isr: &[NodeId], positions: &[(NodeId, Offset, Offset)]) -> Progress {
        let replicas = positions.iter().map(|&(id, ..)| id).collect();
        let mut progress = Progress::new(&Leadership {
            epoch: 0,
            replicas,
            isr: isr.to_vec(),
        });
        for &(id, log_end, flushed) in positions {
            progress.record(id, Position { log_end, flushed });
        }
        progress
    }

    #[test]
    fn the_slowest_in_sync_replica_decides_as_its_class_counts() {
        let replicated = Durability::Replicated {
            flush_messages: 9,
            flush_ms: None,
        };
        // ISR, (node, log end, flushed), held when flushed, held when replicated.
        let table: &[(&[NodeId], &[(NodeId, Offset, Offset)], Offset, Offset)] = &[
            (&[1], &[(1, 7, 5)], 5, 7),
            (&[1], &[(1, 7, 5), (2, 3, 1)], 5, 7),
            (&[1, 2], &[(1, 7, 5), (2, 3, 1)], 1, 3),
            (&[1, 2, 3], &[(1, 7, 5), (2, 9, 4), (3, 6, 6)], 4, 6),
        ];
        for &(isr, positions, flushed, held) in table {
            let progress = progress(isr, positions);
            assert_eq!(
                progress.held_by_all(Durability::Flushed),
                flushed,
                "{positions:?}"
            );
            assert_eq!(progress.held_by_all(replicated), held, "{positions:?}");
        }
    }

    #[test]
    fn the_minimum_isr_never_exceeds_the_replicas() {
        // ISR size, replicas, min.insync.replicas, is it too small?
        for (in_sync, replicas, min, too_small) in [
            (1, 1, 2, false),
            (1, 3, 2, true),
            (2, 3, 2, false),
            (2, 3, 3, true),
            (1, 2, 9, true),
        ] {
            let nodes: Vec<NodeId> = (1..=replicas).collect();
            let positions: Vec<_> = nodes.iter().map(|&id| (id, 0, 0)).collect();
            let progress = progress(&nodes[..in_sync], &positions);
            assert_eq!(
                progress.is_under_min_isr(min),
                too_small,
                "{in_sync} of {replicas}, {min}"
            );
        }
    }
}
