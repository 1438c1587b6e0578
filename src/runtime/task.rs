//! Tasks, and the cores they run on.
//!
//! A core is one executor on one thread (simulated: one task). Tasks stay on the core that spawned them, so they need
//! not be `Send`. A task that panics takes its core down: [`Cores::join`] and [`block_on`] raise the panic again, and
//! in release builds, which abort on panic, the process ends at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::half;

/// The task was aborted before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted;

/// The result of a task to come. Dropping it detaches the task, which goes on.
#[derive(Debug)]
pub struct JoinHandle<T> {
    task: tokio::task::JoinHandle<T>,
}

impl<T> JoinHandle<T> {
    /// Drops the task at its next await, unless it has ended.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Whether the task has ended or was dropped.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Aborted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task)
            .poll(cx)
            .map(|result| result.map_err(|_| Aborted))
    }
}

/// Runs `future` on this core, beside the calling task.
///
/// # Panics
/// Outside [`block_on`] and [`start_cores`].
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    JoinHandle {
        task: half::task::spawn_local(future),
    }
}

/// How long this core has worked, rather than waited, since it started; nothing where that is not measured.
pub fn busy() -> Option<Duration> {
    half::task::busy()
}

/// Lets the core's other tasks run first.
pub async fn yield_now() {
    tokio::task::yield_now().await;
}

/// Runs `future` on the calling thread until it ends: the entry of programs, tools and tests.
///
/// Simulated: a whole simulated world of one node; its seed is the environment's `MADSIM_TEST_SEED`, or 1.
///
/// # Panics
/// If any task of this core panicked, with that task's message.
pub fn block_on<F: Future>(future: F) -> F::Output {
    half::task::block_on(future)
}

/// Running cores, see [`start_cores`].
#[must_use = "cores are joined, or their panics go unseen"]
pub struct Cores<T> {
    cores: Vec<half::task::Core<T>>,
}

/// Starts one core per starter. Each starter runs on its core, is given the core's index, and makes the future that
/// is the core's life: when it ends, the core's remaining tasks are dropped and the core ends.
///
/// # Errors
/// If the operating system refuses a thread or its event queue.
pub fn start_cores<S, F>(starters: Vec<S>) -> std::io::Result<Cores<F::Output>>
where
    S: FnOnce(usize) -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    let cores = starters
        .into_iter()
        .enumerate()
        .map(|(index, starter)| half::task::Core::start(index, starter))
        .collect::<std::io::Result<Vec<_>>>()?;
    Ok(Cores { cores })
}

impl<T: Send + 'static> Cores<T> {
    /// Waits until every core has ended; their results, in order of their index.
    ///
    /// # Panics
    /// If a core panicked, with its message.
    pub async fn join(self) -> Vec<T> {
        let mut results = Vec::with_capacity(self.cores.len());
        for core in self.cores {
            results.push(core.join().await);
        }
        results
    }
}
