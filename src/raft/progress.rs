//! How far each voter holds the log durably.

use std::collections::BTreeMap;

use types::{NodeId, Offset};

use crate::VoterSet;

/// Flushed ends by voter, as the leader knows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    flushed: BTreeMap<NodeId, Offset>,
}

impl Progress {
    pub fn new(voters: &VoterSet) -> Progress {
        assert!(!voters.is_empty(), "a quorum has a voter");
        Progress {
            flushed: voters.iter().map(|voter| (voter.key.id, 0)).collect(),
        }
    }

    pub fn record(&mut self, node: NodeId, flushed: Offset) {
        let known = self.flushed.get_mut(&node);
        let known = known.unwrap_or_else(|| panic!("node {node} does not vote"));
        assert!(*known <= flushed, "node {node} lost what it had flushed");
        *known = flushed;
    }

    /// The end of what a majority holds.
    pub fn held_by_majority(&self) -> Offset {
        let mut ends: Vec<Offset> = self.flushed.values().copied().collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let majority = ends.len() / 2 + 1;
        ends[majority - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Voter, VoterKey};
    use types::Uuid;

    #[test]
    fn the_majority_decides() {
        // Flushed ends, what a majority holds.
        let table: &[(&[Offset], Offset)] = &[
            (&[7], 7),
            (&[7, 5], 5),
            (&[7, 5, 0], 5),
            (&[9, 9, 1, 1], 1),
            (&[9, 8, 7, 1, 1], 7),
        ];
        for &(ends, held) in table {
            let voter = |id| Voter {
                key: VoterKey {
                    id,
                    directory_id: Uuid::ZERO,
                },
                endpoints: Vec::new(),
                kraft_versions: (0, 1),
            };
            let ids = 1..=NodeId::try_from(ends.len()).unwrap_or(0);
            let mut progress = Progress::new(&VoterSet::new(ids.clone().map(voter)));
            for (id, &end) in ids.zip(ends) {
                progress.record(id, end);
            }
            assert_eq!(progress.held_by_majority(), held, "{ends:?}");
        }
    }
}
