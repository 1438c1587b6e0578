//! Which brokers get the replicas of new partitions.

use std::collections::BTreeSet;

use types::{NodeId, Prng, Uuid};

use crate::error::PlacementError;
use crate::image::{DIRECTORY_UNASSIGNED, MetadataImage, NO_LEADER};

/// One new partition's brokers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Assignment {
    /// All of them, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those that may lead.
    pub isr: Vec<NodeId>,
}

impl Assignment {
    /// The first that may lead.
    pub fn leader(&self) -> NodeId {
        self.isr.first().copied().unwrap_or(NO_LEADER)
    }
}

fn in_sync(image: &MetadataImage, replicas: &[NodeId]) -> Vec<NodeId> {
    let may_lead = |id: &NodeId| image.broker(*id).is_some_and(|broker| broker.may_lead());
    replicas.iter().copied().filter(may_lead).collect()
}

/// Places `count` partitions of `replicas` replicas each: leaders go round the brokers that may lead, from a random one on,
/// and each partition's further replicas follow it on that ring, fenced brokers last.
pub(crate) fn place(
    image: &MetadataImage,
    prng: &mut Prng,
    count: usize,
    replicas: i16,
) -> Result<Vec<Assignment>, PlacementError> {
    let usable = |id: &NodeId| {
        let broker = &image.brokers[id];
        let cordoned = broker.cordoned_log_dirs.as_deref().unwrap_or_default();
        broker
            .log_dirs
            .iter()
            .any(|directory| !cordoned.contains(directory))
    };
    let all: Vec<NodeId> = image.brokers.keys().copied().filter(usable).collect();
    let wanted = usize::try_from(replicas).unwrap_or(0);
    assert!(wanted > 0, "a partition has at least one replica");
    if all.len() < wanted {
        return Err(PlacementError::TooFewBrokers {
            asked: replicas,
            usable: all.len(),
        });
    }
    let leaders = in_sync(image, &all);
    if leaders.is_empty() {
        return Err(PlacementError::AllBrokersFenced);
    }
    let others: Vec<NodeId> = all
        .iter()
        .copied()
        .filter(|id| !leaders.contains(id))
        .collect();
    let start = usize::try_from(prng.below(leaders.len() as u64)).expect("below a length");
    let assignments = (0..count).map(|partition| {
        let mut ring = leaders.clone();
        ring.rotate_left((start + partition) % leaders.len());
        ring.extend(&others);
        ring.truncate(wanted);
        let isr = in_sync(image, &ring);
        Assignment {
            replicas: ring,
            isr,
        }
    });
    Ok(assignments.collect())
}

/// Checks one partition's brokers as a client chose them; all partitions of a topic have equally many.
pub(crate) fn check_assignment(
    image: &MetadataImage,
    partition: i32,
    replicas: &[NodeId],
    expected: Option<usize>,
) -> Result<Assignment, PlacementError> {
    if replicas.is_empty() {
        return Err(PlacementError::Empty(partition));
    }
    let mut seen = BTreeSet::new();
    for &id in replicas {
        if !seen.insert(id) {
            return Err(PlacementError::Twice(id));
        }
        if image.broker(id).is_none() {
            return Err(PlacementError::Unknown(id));
        }
    }
    if let Some(expected) = expected
        && expected != replicas.len()
    {
        return Err(PlacementError::Uneven {
            partition,
            count: replicas.len(),
            expected,
        });
    }
    let isr = in_sync(image, replicas);
    if isr.is_empty() {
        return Err(PlacementError::AssignedFenced(partition));
    }
    Ok(Assignment {
        replicas: replicas.to_vec(),
        isr,
    })
}

/// Where a new replica will lie: known at once if its broker has but one directory, else said later by the broker.
pub(crate) fn directory_of_new_replica(image: &MetadataImage, id: NodeId) -> Uuid {
    match image.broker(id).map(|broker| broker.log_dirs.as_slice()) {
        Some([only]) => *only,
        _ => DIRECTORY_UNASSIGNED,
    }
}
