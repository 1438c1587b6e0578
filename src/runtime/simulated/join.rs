//! The result of a task to come, in the simulated half.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::executor::{self, TaskAddress};
use crate::task::Aborted;

/// Where a task leaves its result.
pub(crate) struct Slot<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    result: Option<Result<T, Aborted>>,
    ended: bool,
    waiting: Option<Waker>,
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Arc<Slot<T>> {
        Arc::new(Slot {
            state: Mutex::new(State {
                result: None,
                ended: false,
                waiting: None,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("nothing panics under the lock")
    }

    /// Leaves the result, unless there is one.
    pub(crate) fn end(&self, result: Result<T, Aborted>) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        state.ended = true;
        state.result = Some(result);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

/// What the executor knows of a slot.
pub(crate) trait Ending {
    /// The task was dropped; nothing if it had ended.
    fn dropped(&self);
}

impl<T> Ending for Slot<T> {
    fn dropped(&self) {
        self.end(Err(Aborted));
    }
}

/// See [`crate::task::JoinHandle`].
pub(crate) enum JoinHandle<T> {
    /// Of a task on one of our cores.
    Own {
        slot: Arc<Slot<T>>,
        task: TaskAddress,
    },
    /// Of a task that madsim runs itself.
    Foreign(tokio::task::JoinHandle<T>),
}

impl<T> JoinHandle<T> {
    pub(crate) fn abort(&self) {
        match self {
            JoinHandle::Own { task, .. } => executor::abort(*task),
            JoinHandle::Foreign(task) => task.abort(),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        match self {
            JoinHandle::Own { slot, .. } => slot.state().ended,
            JoinHandle::Foreign(task) => task.is_finished(),
        }
    }
}

impl<T> std::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            JoinHandle::Own { .. } => "JoinHandle",
            JoinHandle::Foreign(_) => "JoinHandle(foreign)",
        })
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Aborted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            JoinHandle::Own { slot, .. } => {
                let mut state = slot.state();
                if let Some(result) = state.result.take() {
                    return Poll::Ready(result);
                }
                assert!(!state.ended, "a task gives its result once");
                state.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
            JoinHandle::Foreign(task) => Pin::new(task)
                .poll(cx)
                .map(|result| result.map_err(|_| Aborted)),
        }
    }
}
