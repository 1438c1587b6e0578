//! H21: the committed offsets of a group are a linearizable register for each partition.
//!
//! The search is Wing and Gong's with Lowe's just-in-time order: walk along the history with the set of all states that
//! the register may be in, and give an operation its effect no earlier than somebody needs it. Values need not be
//! unique. Two facts keep the set small: a read that can be served is served at once, for it changes nothing; and a commit
//! whose end nobody knows acts only when a pending read demands its value, for nobody demands that it acts at all.
//! A commit of which some requests were given up without an answer may act once more for each of them.
//! The set is bounded; a register that exceeds the bound is undecided, and counted.

use super::expectations::GroupExpectation;
use super::index::Indexed;
use crate::checkers::{CheckerId, Report};
use crate::history::{Body, Committed, Index, Key, Stage};
use std::collections::{BTreeMap, BTreeSet};
use types::Offset;

/// States a register may be in at one time.
const STATES_MAX: usize = 4096;

/// What lies in the register; `None` before the first commit.
type Content = Option<Offset>;

/// An operation on one register.
#[derive(Clone, Copy)]
struct Access {
    content: Content,
    is_read: bool,
    /// Whether it must have its effect: it was acknowledged.
    is_certain: bool,
    invoke: Index,
    end: Index,
}

/// One possible state: the content, and which accesses have begun but not had their effect.
type State = (Content, Vec<u32>);

/// What happens to a register, in the order of the history.
enum Event {
    Begin(u32),
    End(u32),
    /// Commits that were not flushed may be gone.
    Lost,
}

/// Checks every group and partition.
pub fn check(indexed: &Indexed<'_>, report: &mut Report) {
    let mut registers: BTreeMap<(&str, Key), Vec<Access>> = BTreeMap::new();
    for call in &indexed.calls {
        let stage = indexed.stage(call);
        let (group, offsets, is_read, given_up) = match &indexed.told(call).body {
            Body::CommitOffsets {
                group,
                offsets,
                given_up,
                ..
            } if stage != Stage::Fail => (group, offsets, false, *given_up),
            Body::FetchOffsets { group, offsets } if stage == Stage::Ok => {
                (group, offsets, true, 0)
            }
            _ => continue,
        };
        for &Committed { key, offset } in offsets {
            let accesses = registers.entry((group, key)).or_default();
            let access = Access {
                content: offset,
                is_read,
                is_certain: stage == Stage::Ok,
                invoke: call.invoke,
                end: call.end.unwrap_or(Index::MAX),
            };
            accesses.push(access);
            // A request that was given up acts late, and then another one of the same operation has acted before.
            let late = Access {
                is_certain: false,
                ..access
            };
            accesses.extend((0..given_up).map(|_| late));
        }
    }
    add_deletions(indexed, &mut registers);
    add_strays(indexed, &mut registers);
    for ((group, key), accesses) in &registers {
        report.looked(CheckerId::H21, accesses.len() as u64);
        let expected = indexed.expectations.groups.get(*group);
        let is_deleted = indexed.log(key).is_some_and(|log| log.is_deleted);
        let may_expire = is_deleted || expected.is_some_and(|group| group.may_expire);
        let events = events(indexed, accesses, expected);
        let register = Register {
            accesses,
            may_expire,
        };
        match register.walk(&events) {
            Walk::Fine => {}
            Walk::TooMany => report.cannot_decide("H21: too many states"),
            Walk::Stuck(_) if indexed.expectations.unclean_election => {
                report.permit(CheckerId::H21);
            }
            Walk::Stuck(at) => {
                let (message, operations) = register.tell(at);
                report.find(
                    CheckerId::H21,
                    format!("{group} {key}"),
                    message,
                    operations,
                );
            }
        }
    }
}

/// A group that is deleted takes all its offsets with it: that is as if nothing was committed to each.
fn add_deletions(indexed: &Indexed<'_>, registers: &mut BTreeMap<(&str, Key), Vec<Access>>) {
    for call in &indexed.calls {
        let stage = indexed.stage(call);
        let Body::DeleteGroup { group } = &indexed.told(call).body else {
            continue;
        };
        if stage == Stage::Fail {
            continue;
        }
        let access = Access {
            content: None,
            is_read: false,
            is_certain: stage == Stage::Ok,
            invoke: call.invoke,
            end: call.end.unwrap_or(Index::MAX),
        };
        let of_group = registers
            .iter_mut()
            .filter(|((other, _), _)| other == group);
        of_group.for_each(|(_, accesses)| accesses.push(access));
    }
}

/// A commit that ended in doubt while its topic was made anew may have come to any topic of that name.
fn add_strays(indexed: &Indexed<'_>, registers: &mut BTreeMap<(&str, Key), Vec<Access>>) {
    let names = &indexed.expectations.names;
    let mut strays = Vec::new();
    for ((group, key), accesses) in registers.iter() {
        let Some(name) = names.get(&key.topic) else {
            continue;
        };
        let others = names
            .iter()
            .filter(|(id, other)| **id != key.topic && *other == name);
        for (&topic, _) in others {
            let in_doubt = accesses
                .iter()
                .filter(|one| !one.is_read && !one.is_certain);
            let other = Key { topic, ..*key };
            strays.extend(in_doubt.map(|access| ((*group, other), *access)));
        }
    }
    for (place, access) in strays {
        if let Some(register) = registers.get_mut(&place) {
            register.push(access);
        }
    }
}

fn events(
    indexed: &Indexed<'_>,
    accesses: &[Access],
    expected: Option<&GroupExpectation>,
) -> Vec<Event> {
    let mut events = Vec::with_capacity(accesses.len() * 2);
    for (number, access) in accesses.iter().enumerate() {
        // A commit in doubt stays under way for ever.
        let end = if access.is_certain {
            access.end
        } else {
            Index::MAX
        };
        events.push((access.invoke, Event::Begin(number as u32)));
        if end != Index::MAX {
            events.push((end, Event::End(number as u32)));
        }
    }
    let operations = &indexed.history.operations;
    for &lost_at in expected.iter().flat_map(|group| &group.lost_at) {
        let at = operations.partition_point(|operation| operation.time < lost_at);
        events.push((at as Index, Event::Lost));
    }
    // At one place a loss comes before what was told there: it lies between two operations.
    events.sort_by_key(|(at, event)| (*at, !matches!(event, Event::Lost)));
    events.into_iter().map(|(_, event)| event).collect()
}

enum Walk {
    Fine,
    TooMany,
    /// This access ended as no order of effects allows.
    Stuck(u32),
}

struct Register<'a> {
    accesses: &'a [Access],
    may_expire: bool,
}

impl Register<'_> {
    fn walk(&self, events: &[Event]) -> Walk {
        let mut states: BTreeSet<State> = BTreeSet::from([(None, Vec::new())]);
        let mut written: BTreeSet<Content> = BTreeSet::from([None]);
        for event in events {
            states = match *event {
                Event::Begin(number) => {
                    let access = &self.accesses[number as usize];
                    if !access.is_read {
                        written.insert(access.content);
                    }
                    states
                        .into_iter()
                        .map(|state| self.begin(state, number))
                        .collect()
                }
                Event::End(number) => match self.end(states, number) {
                    Some(states) if states.is_empty() => return Walk::Stuck(number),
                    Some(states) => self.without_weaker(states),
                    None => return Walk::TooMany,
                },
                Event::Lost => self.lose(&states, &written),
            };
            if states.len() > STATES_MAX {
                return Walk::TooMany;
            }
        }
        Walk::Fine
    }

    fn begin(&self, (content, mut open): State, number: u32) -> State {
        let access = &self.accesses[number as usize];
        if !(access.is_read && access.content == content) {
            open.push(number);
        }
        (content, open)
    }

    /// All states in which the access `number` has had its effect; `None` if they are too many.
    fn end(&self, states: BTreeSet<State>, number: u32) -> Option<BTreeSet<State>> {
        let mut reached = states.clone();
        let mut todo: Vec<State> = states.into_iter().collect();
        let mut done = BTreeSet::new();
        while let Some(state) = todo.pop() {
            if !state.1.contains(&number) {
                done.insert(state.clone());
            }
            for next in self.successors(&state) {
                if reached.insert(next.clone()) {
                    todo.push(next);
                }
            }
            if reached.len() > STATES_MAX {
                return None;
            }
        }
        Some(done)
    }

    /// The states after one more effect.
    fn successors(&self, (_, open): &State) -> Vec<State> {
        let demands = |content: Content| {
            let mut reads = open.iter().map(|&number| &self.accesses[number as usize]);
            reads.any(|access| access.is_read && access.content == content)
        };
        let mut next = Vec::new();
        let mut doubtful = BTreeSet::new();
        for &number in open {
            let access = &self.accesses[number as usize];
            let acts = !access.is_read
                && (access.is_certain
                    || (demands(access.content) && doubtful.insert(access.content)));
            if acts {
                next.push(self.after(open, Some(number), access.content));
            }
        }
        if self.may_expire && demands(None) {
            next.push(self.after(open, None, None));
        }
        next
    }

    /// The register holds `content` now; reads that wanted it are served.
    fn after(&self, open: &[u32], effect: Option<u32>, content: Content) -> State {
        let is_open = |number: &u32| {
            let access = &self.accesses[*number as usize];
            Some(*number) != effect && !(access.is_read && access.content == content)
        };
        (content, open.iter().copied().filter(is_open).collect())
    }

    /// Any earlier content may be back.
    fn lose(&self, states: &BTreeSet<State>, written: &BTreeSet<Content>) -> BTreeSet<State> {
        let mut lost = states.clone();
        for (_, open) in states {
            for &content in written {
                lost.insert(self.after(open, None, content));
            }
        }
        lost
    }

    /// Drops a state that differs from another only by having used up commits in doubt.
    fn without_weaker(&self, states: BTreeSet<State>) -> BTreeSet<State> {
        let certain = |state: &State| -> Vec<u32> {
            let is_certain = |number: &&u32| self.accesses[**number as usize].is_certain;
            state.1.iter().filter(is_certain).copied().collect()
        };
        let mut groups: BTreeMap<(Content, Vec<u32>), Vec<State>> = BTreeMap::new();
        for state in states {
            let group = groups.entry((state.0, certain(&state))).or_default();
            let has = |more: &State, less: &State| less.1.iter().all(|n| more.1.contains(n));
            if group.iter().any(|kept| has(kept, &state)) {
                continue;
            }
            group.retain(|kept| !has(&state, kept));
            group.push(state);
        }
        groups.into_values().flatten().collect()
    }

    fn tell(&self, stuck: u32) -> (String, Vec<Index>) {
        let access = &self.accesses[stuck as usize];
        let say = |content: Content| content.map_or("nothing".to_owned(), |at| at.to_string());
        let last = self
            .accesses
            .iter()
            .filter(|other| !other.is_read && other.is_certain && other.end < access.invoke)
            .max_by_key(|other| other.end);
        let was_written = self.accesses.iter().any(|other| {
            !other.is_read && other.content == access.content && other.invoke < access.end
        });
        let verb = if access.is_read { "read" } else { "committed" };
        let before = last.map_or("nothing was committed before".to_owned(), |last| {
            format!("the last commit before it was {}", say(last.content))
        });
        let never = if was_written || access.content.is_none() {
            ""
        } else {
            ", and nobody ever committed that"
        };
        let message = format!("{} was {verb}; {before}{never}", say(access.content));
        let mut operations = vec![access.invoke, access.end];
        operations.extend(last.map(|last| last.end));
        operations.sort_unstable();
        (message, operations)
    }
}
