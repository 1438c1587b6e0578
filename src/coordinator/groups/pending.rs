//! Appends in flight, what they will change, and who waits for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use types::PartitionIndex;

use super::api::{AppendId, JoinProtocol, OffsetFetch, Response, Token};
use super::errors::Unavailable;
use super::group::Group;
use super::image::Change;
use super::timers::TimerHandle;

/// What an append does to the state in memory beyond its records.
#[derive(Debug)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// A generation's assignment is stored: it is handed out and the group is stable.
    Assignment {
        group: Arc<str>,
        generation: i32,
        assignment: BTreeMap<Arc<str>, Bytes>,
    },
    /// A static member came back to a stable group under a new id.
    StaticMember(Box<StaticReplacement>),
    /// Groups were deleted; they come back if the append fails.
    Deletion(Vec<Group>),
}

/// How to answer a returning static member, and how to undo its return.
#[derive(Debug)]
pub(super) struct StaticReplacement {
    pub(super) group: Arc<str>,
    pub(super) generation: i32,
    pub(super) instance_id: Arc<str>,
    pub(super) old_member_id: Arc<str>,
    pub(super) new_member_id: Arc<str>,
    pub(super) old_rebalance_timeout_ms: i32,
    pub(super) old_session_timeout_ms: i32,
    pub(super) old_protocols: Vec<JoinProtocol>,
    /// The leader before the return: what a client that cannot skip the assignment is told (KIP-814).
    pub(super) old_leader: String,
    pub(super) supports_skipping_assignment: bool,
}

/// A request whose answer waits for an append.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) token: Token,
    /// The answer if the append is committed.
    pub(super) response: Deferred,
}

/// An answer that is known now, or read once everything before it is committed.
#[derive(Debug)]
pub(super) enum Deferred {
    /// Known.
    Known(Response),
    /// An OffsetFetch that waits for commits in flight.
    Fetch(OffsetFetch),
}

impl Deferred {
    /// The same answer, refused.
    pub(super) fn refused(&self, unavailable: Unavailable) -> Response {
        match self {
            // Consumers before 3.9 do not know COORDINATOR_NOT_AVAILABLE here.
            Deferred::Fetch(_) if unavailable == Unavailable::NotAvailable => {
                Response::OffsetFetch(Err(Unavailable::NotCoordinator.into()))
            }
            Deferred::Fetch(_) => Response::OffsetFetch(Err(unavailable.into())),
            Deferred::Known(response) => response.refused(unavailable),
        }
    }
}

/// One append in flight.
#[derive(Debug)]
pub(super) struct PendingAppend {
    pub(super) id: AppendId,
    pub(super) changes: Vec<Change>,
    pub(super) effect: Effect,
    pub(super) waiting: Vec<Waiting>,
    pub(super) timeout: Option<TimerHandle>,
}

/// What is in flight for one group.
#[derive(Default, Debug)]
pub(super) struct Touched {
    changes: usize,
    offsets: BTreeMap<(Arc<str>, PartitionIndex), usize>,
}

/// Every append in flight, in order.
#[derive(Default, Debug)]
pub(super) struct Pending {
    appends: VecDeque<PendingAppend>,
    touched: BTreeMap<Arc<str>, Touched>,
    last_id: AppendId,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.appends.len()
    }

    pub(super) fn last_id(&self) -> AppendId {
        self.last_id
    }

    pub(super) fn next_id(&mut self) -> AppendId {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn push(&mut self, append: PendingAppend) {
        for change in &append.changes {
            let touched = self.touched.entry(change.group().clone()).or_default();
            touched.changes += 1;
            if let Change::Offset {
                topic, partition, ..
            } = change
            {
                let key = (topic.clone(), *partition);
                *touched.offsets.entry(key).or_default() += 1;
            }
        }
        self.appends.push_back(append);
    }

    /// Takes the oldest append if it is not newer than `up_to`.
    pub(super) fn pop_up_to(&mut self, up_to: AppendId) -> Option<PendingAppend> {
        let append = self.appends.pop_front_if(|append| append.id <= up_to)?;
        self.untouch(&append);
        Some(append)
    }

    pub(super) fn remove(&mut self, id: AppendId) -> Option<PendingAppend> {
        let index = self.index(id)?;
        let append = self.appends.remove(index)?;
        self.untouch(&append);
        Some(append)
    }

    pub(super) fn get_mut(&mut self, id: AppendId) -> Option<&mut PendingAppend> {
        let index = self.index(id)?;
        self.appends.get_mut(index)
    }

    fn index(&self, id: AppendId) -> Option<usize> {
        self.appends
            .binary_search_by_key(&id, |append| append.id)
            .ok()
    }

    fn untouch(&mut self, append: &PendingAppend) {
        for change in &append.changes {
            let group = change.group();
            let touched = self.touched.get_mut(group);
            let touched = touched.expect("an append in flight touches its groups");
            touched.changes -= 1;
            if let Change::Offset {
                topic, partition, ..
            } = change
            {
                let key = (topic.clone(), *partition);
                let count = touched.offsets.get_mut(&key);
                let count = count.expect("an append in flight touches its offsets");
                *count -= 1;
                if *count == 0 {
                    touched.offsets.remove(&key);
                }
            }
            if touched.changes == 0 {
                self.touched.remove(group);
            }
        }
    }

    /// Whether anything of this group is in flight.
    pub(super) fn touches_group(&self, group: &str) -> bool {
        self.touched.contains_key(group)
    }

    /// Whether an offset is in flight.
    pub(super) fn touches_offset(
        &self,
        group: &str,
        topic: &Arc<str>,
        partition: PartitionIndex,
    ) -> bool {
        self.touched
            .get(group)
            .is_some_and(|touched| touched.offsets.contains_key(&(topic.clone(), partition)))
    }

    /// The offsets of a group that are in flight.
    pub(super) fn touched_offsets<'a>(
        &'a self,
        group: &str,
    ) -> impl Iterator<Item = &'a (Arc<str>, PartitionIndex)> + use<'a> {
        let touched = self.touched.get(group);
        touched
            .into_iter()
            .flat_map(|touched| touched.offsets.keys())
    }

    /// The newest append in flight that touches a group.
    pub(super) fn newest_of(&self, group: &str) -> Option<AppendId> {
        if !self.touches_group(group) {
            return None;
        }
        let touches = |append: &&PendingAppend| {
            append
                .changes
                .iter()
                .any(|change| **change.group() == *group)
        };
        self.appends
            .iter()
            .rev()
            .find(touches)
            .map(|append| append.id)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = PendingAppend> {
        self.touched.clear();
        std::mem::take(&mut self.appends).into_iter()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PendingAppend> {
        self.appends.iter()
    }
}
