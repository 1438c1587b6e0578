//! The timers of a simulated world, in one queue of whole microseconds.
//!
//! Timers of one moment fire in the order of their nodes, then of their making in that node, so that no node's timers
//! depend on how many another one made. A timer that is dropped leaves the queue.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{clocks, executor, world};

/// True nanoseconds, node, and place among the timers of that node.
type Key = (u64, u64, u64);

#[derive(Default)]
struct Queue {
    entries: BTreeMap<Key, Waker>,
    /// By node: how many timers it made.
    made: BTreeMap<u64, u64>,
}

thread_local! {
    static QUEUE: RefCell<Queue> = RefCell::default();
}

/// Begins a world without timers.
pub(crate) fn begin() {
    let before = QUEUE.take();
    drop(before);
}

/// The number under which the network's timers stand, after those of all nodes.
pub(crate) const NETWORK: u64 = u64::MAX;

/// One waker to be woken at one moment, unless this is dropped before.
#[derive(Debug)]
pub(crate) struct Timer {
    world: u64,
    key: Key,
}

impl Timer {
    /// Wakes `waker` when true time is `at_nanos`, rounded up to whole microseconds; what is past, at once after the
    /// tasks that are ready.
    pub(crate) fn new(node: u64, at_nanos: u64, waker: Waker) -> Timer {
        let at_nanos = at_nanos.div_ceil(1_000).saturating_mul(1_000);
        let key = QUEUE.with_borrow_mut(|queue| {
            let made = queue.made.entry(node).or_default();
            *made += 1;
            let key = (at_nanos, node, *made);
            queue.entries.insert(key, waker);
            key
        });
        executor::timer_added(at_nanos);
        Timer {
            world: world::number(),
            key,
        }
    }

    /// Wakes `waker` from now on, whoever it was before; false if the timer has fired.
    pub(crate) fn set_waker(&self, waker: &Waker) -> bool {
        self.world == world::number()
            && QUEUE.with_borrow_mut(|queue| match queue.entries.get_mut(&self.key) {
                Some(entry) => {
                    entry.clone_from(waker);
                    true
                }
                None => false,
            })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.world != world::number() {
            return;
        }
        // The thread may be ending, and its queue be gone.
        let waker = QUEUE.try_with(|queue| queue.borrow_mut().entries.remove(&self.key));
        drop(waker);
    }
}

/// Timers of `node` that have not fired.
pub(crate) fn count(node: u64) -> usize {
    QUEUE.with_borrow(|queue| queue.entries.keys().filter(|key| key.1 == node).count())
}

/// When the next timer is due, in true nanoseconds.
pub(crate) fn next_nanos() -> Option<u64> {
    QUEUE.with_borrow(|queue| queue.entries.keys().next().map(|key| key.0))
}

/// Moves true time on to `nanos` and fires what is due then.
pub(crate) fn fire(nanos: u64) {
    world::advance_to(nanos);
    loop {
        let due = QUEUE.with_borrow_mut(|queue| {
            let entry = queue.entries.first_entry()?;
            (entry.key().0 <= nanos).then(|| entry.remove())
        });
        match due {
            Some(waker) => waker.wake(),
            None => return,
        }
    }
}

/// Wakes all that waits by the clock of `node`, which then looks at its clock again.
pub(crate) fn clock_changed(node: u64) {
    let wakers = QUEUE.with_borrow_mut(|queue| {
        let all = queue.entries.iter();
        let of_node = all.filter(|(key, _)| key.1 == node);
        of_node.map(|(_, waker)| waker.clone()).collect::<Vec<_>>()
    });
    for waker in wakers {
        waker.wake();
    }
}

/// By which clock a [`Sleep`] goes, and until when.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// What the node's monotonic clock reads, in nanoseconds.
    Mono(u64),
    /// True nanoseconds.
    True(u64),
}

/// Waiting for a moment.
#[derive(Debug)]
pub(crate) struct Sleep {
    node: u64,
    until: Until,
    timer: Option<Timer>,
    /// Waiting of a task that runs on none of our cores: by madsim's clock.
    foreign: Option<Pin<Box<madsim::time::Sleep>>>,
}

impl Sleep {
    fn new(node: u64, until: Until) -> Sleep {
        Sleep {
            node,
            until,
            timer: None,
            foreign: None,
        }
    }

    /// Until the clock of the current node has gone on by `duration`, at least a microsecond.
    pub(crate) fn lasting(duration: Duration) -> Sleep {
        let node = world::current_node();
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let until = clocks::mono_nanos(node).saturating_add(nanos.max(1));
        Sleep::new(node, Until::Mono(until))
    }

    /// Until the monotonic clock of `node` reads `mono_nanos`.
    pub(crate) fn until_mono(node: u64, mono_nanos: u64) -> Sleep {
        Sleep::new(node, Until::Mono(mono_nanos))
    }

    /// Until true time is `true_nanos`: for devices of `node`, which do not go by its clock.
    pub(crate) fn until_true(node: u64, true_nanos: u64) -> Sleep {
        Sleep::new(node, Until::True(true_nanos))
    }

    /// True nanoseconds at which it is over, if its node's clock goes on as now.
    fn true_nanos(&self) -> u64 {
        match self.until {
            Until::Mono(nanos) => clocks::of(self.node).true_at(nanos),
            Until::True(nanos) => nanos,
        }
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        match self.until {
            Until::Mono(nanos) => clocks::mono_nanos(self.node) >= nanos,
            Until::True(nanos) => world::now_nanos() >= nanos,
        }
    }

    fn poll_foreign(&mut self, cx: &mut Context<'_>) {
        let left = self.true_nanos().saturating_sub(world::madsim_nanos());
        let time = madsim::time::TimeHandle::current();
        let deadline = time.now_instant() + Duration::from_nanos(left.saturating_add(1_000));
        let mut sleep = Box::pin(time.sleep_until(deadline));
        // madsim's sleeps last a millisecond at least, unless their end is set again.
        sleep.as_mut().reset(deadline);
        assert!(sleep.as_mut().poll(cx).is_pending(), "its end lies ahead");
        self.foreign = Some(sleep);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over() {
            self.timer = None;
            return Poll::Ready(());
        }
        if !executor::is_on_core() {
            self.poll_foreign(cx);
            return Poll::Pending;
        }
        let at_nanos = self.true_nanos();
        let kept = self.timer.take().filter(|timer| {
            let same = timer.key.0 == at_nanos.div_ceil(1_000).saturating_mul(1_000);
            same && timer.set_waker(cx.waker())
        });
        self.timer =
            Some(kept.unwrap_or_else(|| Timer::new(self.node, at_nanos, cx.waker().clone())));
        Poll::Pending
    }
}

/// See [`crate::time::sleep`].
pub(crate) async fn sleep(duration: Duration) {
    Sleep::lasting(duration).await;
}

/// See [`crate::time::timeout`].
pub(crate) async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    let mut sleep = Sleep::lasting(duration);
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        Pin::new(&mut sleep).poll(cx).map(|()| None)
    })
    .await
}
