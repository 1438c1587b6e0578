//! Long polls that wait for a partition to have more to read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use runtime::sync::Notify;

/// One long poll. It registers with every partition that it reads, before it reads,
/// so that an append between the two is not missed.
#[derive(Default)]
pub struct FetchWaiter {
    woken: AtomicBool,
    notify: Notify,
}

impl FetchWaiter {
    /// A waiter that nobody has woken.
    pub fn new() -> Arc<FetchWaiter> {
        Arc::new(FetchWaiter::default())
    }

    /// Wakes the long poll; again has no effect.
    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Whether it was woken.
    pub fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Waits until it is woken.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

/// The waiters of one partition. Dead ones are dropped as the list grows, so it holds at most
/// about twice as many as live.
#[derive(Default)]
pub struct Waiters {
    waiters: Vec<Weak<FetchWaiter>>,
    prune_at: usize,
}

/// A list shorter than this is not looked through for dead waiters.
const PRUNE_LENGTH_MIN: usize = 16;

impl Waiters {
    /// Registers `waiter`.
    pub fn register(&mut self, waiter: &Arc<FetchWaiter>) {
        if self.waiters.len() >= self.prune_at.max(PRUNE_LENGTH_MIN) {
            self.waiters.retain(|waiter| waiter.strong_count() > 0);
            self.prune_at = self.waiters.len() * 2;
        }
        self.waiters.push(Arc::downgrade(waiter));
    }

    /// Wakes all and forgets them.
    pub fn wake_all(&mut self) {
        for waiter in self.waiters.drain(..) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_waiters_do_not_pile_up() {
        let mut waiters = Waiters::default();
        let live = FetchWaiter::new();
        waiters.register(&live);
        for _ in 0..10_000 {
            waiters.register(&FetchWaiter::new());
        }
        assert!(waiters.waiters.len() <= 2 * PRUNE_LENGTH_MIN);
        waiters.wake_all();
        assert!(live.is_woken());
        assert!(waiters.waiters.is_empty());
    }
}
