//! Who votes, and from which offset on (KIP-853).

use std::collections::BTreeMap;

use types::{NodeId, Offset, Uuid};

/// A voter's identity: a node that lost its disk comes back with another directory and is another voter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VoterKey {
    /// The node.
    pub id: NodeId,
    /// Its metadata log directory.
    pub directory_id: Uuid,
}

/// Where a voter listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The listener's name.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// One voter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voter {
    /// Its identity.
    pub key: VoterKey,
    /// Its controller listeners.
    pub endpoints: Vec<Endpoint>,
    /// Oldest and newest `kraft.version` it can run.
    pub kraft_versions: (i16, i16),
}

/// The voters in force, by node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VoterSet {
    voters: BTreeMap<NodeId, Voter>,
}

impl VoterSet {
    /// The set of these voters; of several with one node id the last stays.
    pub fn new(voters: impl IntoIterator<Item = Voter>) -> VoterSet {
        VoterSet {
            voters: voters
                .into_iter()
                .map(|voter| (voter.key.id, voter))
                .collect(),
        }
    }

    /// How many vote.
    pub fn len(&self) -> usize {
        self.voters.len()
    }

    /// Whether nobody votes.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// By node id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Voter> {
        self.voters.values()
    }

    /// Whether exactly this identity votes.
    pub fn contains(&self, key: VoterKey) -> bool {
        self.voters
            .get(&key.id)
            .is_some_and(|voter| voter.key == key)
    }

    /// Voters that make a majority.
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}

/// Voter sets by the offset of the record that set them; the latest is in force at once, committed or not.
///
/// A set that came with a snapshot has the snapshot's end offset minus 1: that of the bootstrap snapshot is -1.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VoterHistory {
    sets: BTreeMap<Offset, VoterSet>,
}

impl VoterHistory {
    /// No set is known.
    pub fn new() -> VoterHistory {
        VoterHistory::default()
    }

    /// Takes in a set found, or appended, at `offset`, above every one known.
    pub fn add(&mut self, offset: Offset, set: VoterSet) {
        assert!(
            offset >= -1,
            "a voter set lies at -1 or above, not at {offset}"
        );
        assert!(
            self.latest().is_none_or(|(latest, _)| latest < offset),
            "voter sets come in the order of the log"
        );
        self.sets.insert(offset, set);
    }

    /// The set in force and the offset it came with.
    pub fn latest(&self) -> Option<(Offset, &VoterSet)> {
        self.sets
            .last_key_value()
            .map(|(&offset, set)| (offset, set))
    }

    /// The set in force for a snapshot that ends at `end_offset`.
    pub fn before(&self, end_offset: Offset) -> Option<&VoterSet> {
        self.sets
            .range(..end_offset)
            .next_back()
            .map(|(_, set)| set)
    }

    /// The log ends at `end_offset`: sets at or above it never were.
    pub fn truncate_from_end(&mut self, end_offset: Offset) {
        self.sets.split_off(&end_offset);
    }

    /// The log starts at `log_start`, the end of a snapshot: older sets go, except the one in force there.
    pub fn truncate_from_start(&mut self, log_start: Offset) {
        let in_force = self
            .sets
            .range(..log_start)
            .next_back()
            .map(|(&offset, _)| offset);
        if let Some(in_force) = in_force {
            self.sets = self.sets.split_off(&in_force);
        }
    }
}
