//! Waiting for the end of a disk operation, with one timer at most.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::platter::{Platter, lock};
use crate::simulated::trace::{self, Value};

/// Whom the timer wakes: whoever polled last, if it still waits.
#[derive(Default)]
struct Sleeper(Mutex<Option<Waker>>);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        let waker = lock(&self.0).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The moment at which an operation's result is known to its process, if that still lives then.
pub(crate) struct Wait {
    platter: Arc<Platter>,
    life: u64,
    due_us: u64,
    sleeper: Option<Arc<Sleeper>>,
    /// The event to tell at the end, and its file.
    told: Option<(&'static str, Arc<str>)>,
}

impl Wait {
    pub(super) fn new(platter: &Arc<Platter>, life: u64, due_us: u64) -> Wait {
        Wait {
            platter: Arc::clone(platter),
            life,
            due_us,
            sleeper: None,
            told: None,
        }
    }

    /// Tells `kind` of `file` when it is over.
    pub(super) fn telling(mut self, kind: &'static str, file: &Arc<str>) -> Wait {
        self.told = Some((kind, Arc::clone(file)));
        self
    }

    /// Whether the result may be given. A process that is no more learns of nothing.
    pub(crate) fn is_over(&mut self, succeeded: bool) -> bool {
        if self.platter.life() != self.life || self.platter.now_us() < self.due_us {
            return false;
        }
        let Some((kind, file)) = self.told.take() else {
            return true;
        };
        let fields = [
            ("file", Value::Text(&file)),
            ("ok", Value::Int(i64::from(succeeded))),
        ];
        trace::emit_for(self.platter.node, kind, &fields);
        // Whoever was told may have switched the power off.
        self.platter.life() == self.life
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, succeeded: bool) -> Poll<()> {
        if self.is_over(succeeded) {
            return Poll::Ready(());
        }
        if self.platter.life() != self.life {
            return Poll::Pending;
        }
        if let Some(sleeper) = &self.sleeper {
            *lock(&sleeper.0) = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let sleeper = Arc::new(Sleeper(Mutex::new(Some(cx.waker().clone()))));
        let time = self.platter.time();
        let left = Duration::from_micros(self.due_us).saturating_sub(time.elapsed());
        let deadline = time.now_instant() + left;
        // A sleep of madsim's lasts a millisecond at least, unless its deadline is set again.
        let mut sleep = time.sleep_until(deadline);
        Pin::new(&mut sleep).reset(deadline);
        let waker = Waker::from(Arc::clone(&sleeper));
        let fired = Future::poll(Pin::new(&mut sleep), &mut Context::from_waker(&waker));
        assert!(fired.is_pending(), "the deadline lies ahead");
        self.sleeper = Some(sleeper);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // The timer stays, as madsim's do, and wakes nobody.
        if let Some(sleeper) = &self.sleeper {
            lock(&sleeper.0).take();
        }
    }
}
