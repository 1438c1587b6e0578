//! The states of a classic group.

use std::fmt;

/// Where a group stands, under Kafka's names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupState {
    /// No members; offsets may be kept.
    Empty,
    /// Members are being gathered for the next generation.
    PreparingRebalance,
    /// The generation stands; its assignment is awaited from the leader and then from the log.
    CompletingRebalance,
    /// Every member can have its assignment.
    Stable,
}

impl GroupState {
    /// Kafka's name. `Dead`, the state of a group that does not exist, is not among these.
    pub const fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
        }
    }

    /// Whether a group may go from this state to `next`.
    pub(super) const fn may_become(self, next: GroupState) -> bool {
        use GroupState::*;
        matches!(
            (self, next),
            (PreparingRebalance, Empty)
                | (Empty | CompletingRebalance | Stable, PreparingRebalance)
                | (PreparingRebalance, CompletingRebalance)
                | (CompletingRebalance, Stable)
        )
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
