//! S32, S33, S34: a coordinator keeps what it acknowledged, and serves only when it knows all.

use super::State;
use super::events::{CommitBegun, CoordinatorSeen, Death, GroupSeen, OffsetCommitted};
use crate::checkers::CheckerId;
use crate::history::Key;
use std::collections::{BTreeMap, BTreeSet};
use types::{ErrorCode, LeaderEpoch, Offset, Uuid};

/// What the checkers remember of groups.
#[derive(Debug, Default)]
pub struct Groups {
    /// Generations, with the coordinator and its epoch: what a new epoch loads may be older than what members were told.
    generations: BTreeMap<String, (i32, LeaderEpoch, i32)>,
    /// Coordinators by partition of the offsets topic: whether they serve, and in which epoch.
    coordinators: BTreeMap<i32, (bool, LeaderEpoch)>,
    /// The generation in which a group was last stable, with its coordinator: that is in the log.
    stable: BTreeMap<String, (i32, i32)>,
    /// Since when a group has members, by the event.
    members_since: BTreeMap<String, u32>,
    /// Offsets that were there when a group was last seen with members who read them.
    read: BTreeSet<(String, Key)>,
    /// Groups whose deletion is on its way into the log. Another of the name may have members by then, who still find
    /// the offsets of the one before.
    deleting: BTreeSet<String>,
    registers: BTreeMap<(String, Key), Register>,
    /// Whether a loss of power may have taken commits since.
    may_have_lost: bool,
}

/// What a deletion of the group commits.
const NOTHING: Offset = -1;

/// One committed offset.
#[derive(Debug, Default)]
struct Register {
    /// The last acknowledged one, and those that were under way together with it: answers may overtake each other.
    acked: BTreeSet<Offset>,
    /// Commits that began and were not answered: each may be there.
    begun: Vec<Begun>,
    /// The event of the last answer.
    answered: u32,
    /// Whether beginnings are told at all: without them nothing can be judged.
    is_watched: bool,
    /// Acknowledged ones that a later one superseded.
    superseded: BTreeSet<Offset>,
}

/// A commit that has come to the coordinator.
#[derive(Clone, Copy, Debug)]
struct Begun {
    offset: Offset,
    generation: i32,
    /// The group's generation at that moment, -1 if unknown.
    current: i32,
    /// Whether the coordinator served at that moment.
    was_served: bool,
    /// The event.
    number: u32,
    /// When its request came, in simulated nanoseconds.
    at: u64,
}

/// Whether a refusal with this says that nothing was kept and nothing will be.
fn is_definite(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::IllegalGeneration
            | ErrorCode::UnknownMemberId
            | ErrorCode::RebalanceInProgress
            | ErrorCode::FencedInstanceId
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::OffsetMetadataTooLarge
            | ErrorCode::GroupIdNotFound
    )
}

impl Register {
    /// A commit was acknowledged by the event of this number.
    fn answered(&mut self, begun: Begun, number: u32) {
        if begun.number > self.answered {
            self.superseded.append(&mut self.acked);
        }
        self.answered = number;
        self.acked.insert(begun.offset);
        self.superseded.remove(&begun.offset);
    }
}

impl Groups {
    fn registers_of(&mut self, group: &str) -> impl Iterator<Item = &mut Register> {
        let registers = self.registers.iter_mut();
        let of_group = registers.filter(move |((other, _), _)| other == group);
        of_group.map(|(_, register)| register)
    }

    /// A node died: coordinators have to load again.
    pub fn died(&mut self, death: Death, commits_are_replicated: bool) {
        self.coordinators.clear();
        self.generations.clear();
        self.members_since.clear();
        self.read.clear();
        self.deleting.clear();
        if death == Death::Power && commits_are_replicated {
            self.registers.clear();
            self.stable.clear();
            self.may_have_lost = true;
        }
    }
}

impl State {
    pub(super) fn commit_begun(&mut self, begins: &CommitBegun) {
        let (group, key) = (&begins.group, begins.key);
        let current = self.current_generation(group);
        let coordinator = self.groups.coordinators.get(&begins.coordinator);
        let was_served = coordinator.is_some_and(|(is_serving, _)| *is_serving);
        let registers = &mut self.groups.registers;
        let register = registers.entry((group.clone(), key)).or_default();
        register.begun.push(Begun {
            offset: begins.offset,
            generation: begins.generation,
            current,
            was_served,
            number: self.number,
            at: begins.began,
        });
        register.is_watched = true;
    }

    fn current_generation(&self, group: &str) -> i32 {
        let known = self.groups.generations.get(group);
        known.map_or(-1, |group| group.2)
    }

    pub(super) fn offset_committed(&mut self, committed: &OffsetCommitted) {
        let (group, key) = (&committed.group, committed.key);
        let current = self.current_generation(group);
        let registers = &mut self.groups.registers;
        let register = registers.entry((group.clone(), key)).or_default();
        // Who asks again, because no answer came, asks for the same: only the moment tells which of them is answered.
        let at = register.begun.iter().position(|begun| {
            (begun.offset, begun.generation, begun.at)
                == (committed.offset, committed.generation, committed.began)
        });
        if committed.error != ErrorCode::None {
            if is_definite(committed.error) {
                at.map(|at| register.begun.remove(at));
            }
            return;
        }
        let begun = at.map(|at| register.begun.remove(at)).unwrap_or(Begun {
            offset: committed.offset,
            generation: committed.generation,
            current,
            was_served: false,
            number: self.number,
            at: committed.began,
        });
        if self.is_gone(key, begun.at, "an offset was committed") {
            return;
        }
        self.judge_commit(committed, begun);
        let registers = &mut self.groups.registers;
        let register = registers.entry((group.clone(), key)).or_default();
        register.answered(begun, self.number);
    }

    /// To delete a group is to commit nothing to each of its registers.
    pub(super) fn group_deleting(&mut self, group: &str) {
        let begun = Begun {
            offset: NOTHING,
            generation: -1,
            current: -1,
            was_served: true,
            number: self.number,
            at: self.now,
        };
        self.groups.deleting.insert(group.to_owned());
        for register in self.groups.registers_of(group) {
            register.begun.push(begun);
        }
    }

    pub(super) fn group_deleted(&mut self, group: &str) {
        let number = self.number;
        for register in self.groups.registers_of(group) {
            let mut begun = register.begun.iter();
            let Some(at) = begun.position(|begun| begun.offset == NOTHING) else {
                continue;
            };
            let begun = register.begun.remove(at);
            register.answered(begun, number);
        }
    }

    /// What was when the commit came counts, too: a later generation, or the end of the term, does not take back what
    /// was accepted then.
    fn judge_commit(&mut self, committed: &OffsetCommitted, begun: Begun) {
        let group = &committed.group;
        let serves = self.groups.coordinators.get(&committed.coordinator);
        let is_serving = serves.is_none_or(|(is_serving, _)| *is_serving);
        self.demand(
            is_serving || begun.was_served,
            CheckerId::S34,
            group,
            || "a commit was acknowledged by a coordinator that does not serve".to_owned(),
        );
        let (generation, current) = (committed.generation, begun.current);
        self.demand(
            generation < 0 || generation >= current,
            CheckerId::S33,
            group,
            || format!("a commit of generation {generation} was accepted in generation {current}"),
        );
        let since = self.groups.members_since.get(group);
        let had_members = since.is_some_and(|since| *since < begun.number);
        self.demand(
            generation >= 0 || !had_members,
            CheckerId::S33,
            group,
            || "somebody without a generation committed, though the group has members".to_owned(),
        );
    }

    pub(super) fn coordinator(&mut self, seen: &CoordinatorSeen) {
        let before = self
            .groups
            .coordinators
            .insert(seen.partition, (seen.is_serving, seen.leader_epoch));
        let epoch = before.map_or(-1, |before| before.1);
        let object = format!("coordinator {}", seen.partition);
        self.demand(seen.leader_epoch >= epoch, CheckerId::S34, object, || {
            format!("its epoch went back from {epoch} to {}", seen.leader_epoch)
        });
        if !seen.is_serving {
            return;
        }
        let is_there = |name: &String| seen.groups.iter().any(|group| group.group == *name);
        let groups = &mut self.groups;
        groups
            .stable
            .retain(|name, (by, _)| *by != seen.partition || is_there(name));
        for group in &seen.groups {
            self.group(seen, group);
        }
    }

    /// A stable group's generation is in the log: it never goes back, whoever loads it.
    fn stable(&mut self, by: &CoordinatorSeen, seen: &GroupSeen) {
        let name = &seen.group;
        let stable = self.groups.stable.get(name).map_or(-1, |stable| stable.1);
        let generation = seen.generation;
        self.demand(generation >= stable, CheckerId::S33, name, || {
            format!("its generation is {generation}; it was stable in {stable}")
        });
        if seen.is_stable {
            let now = (by.partition, generation);
            self.groups.stable.insert(name.clone(), now);
        }
    }

    fn group(&mut self, by: &CoordinatorSeen, seen: &GroupSeen) {
        let name = &seen.group;
        let now = (by.partition, by.leader_epoch, seen.generation);
        let before = self.groups.generations.insert(name.clone(), now);
        let same_term = before.filter(|before| (before.0, before.1) == (now.0, now.1));
        let before = same_term.map_or(-1, |before| before.2);
        self.stable(by, seen);
        // A group that was removed begins anew.
        let is_new = seen.generation <= 1;
        self.demand(
            seen.generation >= before || is_new,
            CheckerId::S33,
            name,
            || {
                format!(
                    "its generation went back from {before} to {}",
                    seen.generation
                )
            },
        );
        let mut owners: BTreeMap<Key, &str> = BTreeMap::new();
        for (member, keys) in &seen.owners {
            for key in keys {
                let other = owners.insert(*key, member);
                self.demand(other.is_none(), CheckerId::S33, name, || {
                    format!(
                        "{key} is owned by {} and by {member}",
                        other.unwrap_or_default()
                    )
                });
            }
        }
        self.offsets(by, seen);
        if seen.has_members {
            let since = self.groups.members_since.entry(name.clone());
            since.or_insert(self.number);
        } else {
            self.groups.members_since.remove(name);
        }
    }

    /// What members read does not expire: notes it, and what of it is gone. What is there when the first member comes may
    /// have expired before, with its end still on its way into the log: it counts from when all is in the log.
    fn expired(&mut self, by: &CoordinatorSeen, seen: &GroupSeen) -> Vec<String> {
        if seen.offsets.is_empty() {
            self.groups.deleting.remove(&seen.group);
        }
        let is_deleting = self.groups.deleting.contains(&seen.group);
        let is_read =
            |key: &Key| seen.has_members && !is_deleting && seen.subscribed.contains(&key.topic);
        let of_group = |(group, _): &&(String, Key)| *group == seen.group;
        let known = &self.groups.read;
        let is_there = |key: &Key| seen.offsets.iter().any(|(there, _)| there == key);
        let gone: Vec<String> = known
            .iter()
            .filter(of_group)
            .map(|(_, key)| key)
            .filter(|key| is_read(key) && !is_there(key) && !self.may_be_gone(key.topic))
            .map(|key| format!("{key} has expired, though members read it"))
            .collect();
        let there = seen.offsets.iter().map(|(key, _)| *key).filter(is_read);
        let there = there.map(|key| (seen.group.clone(), key));
        let there: Vec<_> = there
            .filter(|read| by.is_settled || known.contains(read))
            .collect();
        self.groups.read.retain(|(group, _)| *group != seen.group);
        self.groups.read.extend(there);
        gone
    }

    /// What lies in memory is the last acknowledged commit, or one that nobody has been told of yet.
    fn offsets(&mut self, by: &CoordinatorSeen, seen: &GroupSeen) {
        let offsets: BTreeMap<Key, Offset> = seen.offsets.iter().copied().collect();
        let expire = self.settings.offsets_expire;
        let lowest = Key {
            topic: Uuid::ZERO,
            partition: i32::MIN,
        };
        let from = (seen.group.clone(), lowest);
        let mut wrong = self.expired(by, seen);
        let mut looked = 0;
        for ((group, key), register) in self.groups.registers.range(from..) {
            if *group != seen.group {
                break;
            }
            let acked = &register.acked;
            let is_judged = register.is_watched && !acked.is_empty();
            if !is_judged || self.may_be_gone(key.topic) {
                continue;
            }
            looked += 1;
            let may_be = |told: &Offset| {
                acked.contains(told) || register.begun.iter().any(|begun| begun.offset == *told)
            };
            match offsets.get(key) {
                Some(told) if may_be(told) => {}
                Some(told) if register.superseded.contains(told) => {
                    wrong.push(format!(
                        "{key} is {told} again, after {acked:?} was acknowledged"
                    ));
                }
                Some(told) if !self.groups.may_have_lost => {
                    wrong.push(format!("{key} is {told}; {acked:?} was acknowledged"));
                }
                None if !expire && !may_be(&NOTHING) => {
                    wrong.push(format!("{key} is gone; {acked:?} was acknowledged"))
                }
                _ => {}
            }
        }
        self.report.looked(CheckerId::S32, looked);
        for message in wrong {
            self.find(CheckerId::S32, &seen.group, message);
        }
    }
}
