//! The deadlines of a shard's machines, and the one timer that serves them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use types::{Mono, PartitionIndex, TopicPartition};

use super::Shard;
use crate::core::Core;

/// Which machine waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Machine {
    Replica(TopicPartition),
    Coordinator(PartitionIndex),
}

/// The machines' deadlines, in order.
#[derive(Default)]
pub(super) struct Deadlines {
    by_machine: BTreeMap<Machine, Mono>,
    in_order: BTreeSet<(Mono, Machine)>,
}

impl Deadlines {
    /// Sets a machine's deadline; says whether the earliest of all moved forward.
    pub fn set(&mut self, machine: Machine, deadline: Mono) -> bool {
        let present = self
            .by_machine
            .get(&machine)
            .copied()
            .unwrap_or(Mono::NEVER);
        if present == deadline {
            return false;
        }
        let earliest = self.earliest();
        self.in_order.remove(&(present, machine));
        if deadline == Mono::NEVER {
            self.by_machine.remove(&machine);
        } else {
            self.by_machine.insert(machine, deadline);
            self.in_order.insert((deadline, machine));
        }
        deadline < earliest
    }

    pub fn earliest(&self) -> Mono {
        self.in_order
            .first()
            .map_or(Mono::NEVER, |(deadline, _)| *deadline)
    }

    fn due(&self, now: Mono) -> Option<Machine> {
        self.in_order
            .first()
            .filter(|(deadline, _)| *deadline <= now)
            .map(|(_, machine)| *machine)
    }
}

impl Shard {
    pub(super) fn note_deadline(&mut self, partition: TopicPartition) {
        let Some(slot) = self.slots.get(&partition) else {
            return;
        };
        let deadline = slot.replica.deadline();
        if self.deadlines.set(Machine::Replica(partition), deadline) {
            self.timer_moved.notify_one();
        }
    }

    pub(super) fn note_coordinator_deadline(&mut self, partition: PartitionIndex) {
        let Some(slot) = self.coordinators.get(&partition) else {
            return;
        };
        let deadline = slot.machine.deadline();
        if self
            .deadlines
            .set(Machine::Coordinator(partition), deadline)
        {
            self.timer_moved.notify_one();
        }
    }
}

/// Ticks the machines whose deadline has come, until the node stops.
pub async fn run(core: Rc<Core>) {
    let moved = core.with_shard(|shard| Rc::clone(&shard.timer_moved));
    loop {
        let earliest = core.with_shard(|shard| shard.deadlines.earliest());
        runtime::select! {
            biased;
            () = core.stopping() => return,
            () = moved.notified() => continue,
            () = runtime::time::sleep_until(&core.clock, earliest) => {}
        }
        tick(&core);
        core.drain_shard();
    }
}

fn tick(core: &Rc<Core>) {
    let now = core.now();
    core.with_shard(|shard| {
        while let Some(machine) = shard.deadlines.due(now.mono) {
            match machine {
                Machine::Replica(partition) => shard.step(now, partition, replica::Input::Tick),
                Machine::Coordinator(partition) => shard.tick_coordinator(now, partition),
            }
            // A machine that still names a deadline in the past would spin: it is asked again a millisecond later.
            if shard.deadlines.due(now.mono) == Some(machine) {
                shard.deadlines.set(machine, now.mono.plus_millis(1));
            }
        }
        shard.handle_events(now);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_is_known_and_moves() {
        let mut deadlines = Deadlines::default();
        let (one, two) = (Machine::Coordinator(1), Machine::Coordinator(2));
        let at = |millis| Mono::START.plus_millis(millis);
        assert!(deadlines.set(one, at(10)));
        assert!(!deadlines.set(two, at(20)));
        assert_eq!(deadlines.due(at(9)), None);
        assert_eq!(deadlines.due(at(10)), Some(one));
        assert!(!deadlines.set(one, Mono::NEVER));
        assert_eq!(deadlines.earliest(), at(20));
        assert!(deadlines.set(two, at(5)));
    }
}
