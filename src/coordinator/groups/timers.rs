//! Deadlines in one ordered map: no task and no allocation of its own per member.

use super::api::AppendId;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::Mono;

/// What happens when a deadline passes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// A member, or a member id that was handed out, has not been heard of for its session timeout.
    Heartbeat { group: Arc<str>, member: Arc<str> },
    /// The rebalance timeout of a group that gathers members.
    Join { group: Arc<str> },
    /// The first rebalance of an empty group has waited long enough, unless new members came meanwhile.
    InitialJoin {
        group: Arc<str>,
        delay_ms: i32,
        remaining_ms: i32,
    },
    /// Members of this generation that have not asked for their assignment are dropped.
    Sync { group: Arc<str>, generation: i32 },
    /// An append was not committed in time for those who wait for it.
    CommitTimeout { append: AppendId },
    /// Expired offsets and groups are looked for.
    Expiration,
}

/// A scheduled deadline; may be cancelled after it has passed, without effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct TimerHandle {
    at: Mono,
    sequence: u64,
}

/// All deadlines, in order; among equal ones, the one scheduled first comes first.
#[derive(Default, Debug)]
pub(super) struct Timers {
    queue: BTreeMap<TimerHandle, Timer>,
    next_sequence: u64,
}

impl Timers {
    pub(super) fn schedule(&mut self, at: Mono, timer: Timer) -> TimerHandle {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let handle = TimerHandle { at, sequence };
        self.queue.insert(handle, timer);
        handle
    }

    pub(super) fn cancel(&mut self, handle: TimerHandle) {
        self.queue.remove(&handle);
    }

    pub(super) fn cancel_slot(&mut self, slot: &mut Option<TimerHandle>) {
        if let Some(handle) = slot.take() {
            self.cancel(handle);
        }
    }

    pub(super) fn is_scheduled(&self, handle: Option<TimerHandle>) -> bool {
        handle.is_some_and(|handle| self.queue.contains_key(&handle))
    }

    /// The number of deadlines ever scheduled: a bound for [`Timers::pop_due`].
    pub(super) fn scheduled(&self) -> u64 {
        self.next_sequence
    }

    /// Takes the first deadline that has passed, leaving those scheduled since `bound` was read for the next tick.
    pub(super) fn pop_due(&mut self, now: Mono, bound: u64) -> Option<Timer> {
        let handle = *self
            .queue
            .keys()
            .take_while(|handle| handle.at <= now)
            .find(|handle| handle.sequence < bound)?;
        self.queue.remove(&handle)
    }

    /// When the next deadline passes.
    pub(super) fn deadline(&self) -> Mono {
        self.queue
            .first_key_value()
            .map_or(Mono::NEVER, |(handle, _)| handle.at)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_in_order_and_leaves_new_ones_for_the_next_tick() {
        let at = |millis| Mono::START.plus_millis(millis);
        let mut timers = Timers::default();
        timers.schedule(at(2), Timer::CommitTimeout { append: 1 });
        let cancelled = timers.schedule(at(1), Timer::CommitTimeout { append: 2 });
        timers.schedule(at(1), Timer::CommitTimeout { append: 3 });
        timers.schedule(at(9), Timer::Expiration);
        timers.cancel(cancelled);
        assert_eq!(timers.deadline(), at(1));
        let bound = timers.scheduled();
        timers.schedule(at(1), Timer::CommitTimeout { append: 4 });
        let mut passed = Vec::new();
        while let Some(Timer::CommitTimeout { append }) = timers.pop_due(at(5), bound) {
            passed.push(append);
        }
        assert_eq!(passed, [3, 1]);
        assert_eq!((timers.deadline(), timers.len()), (at(1), 2));
    }
}
