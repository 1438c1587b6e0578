//! The threads that wait for the disk so that no core has to.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::disk::{Completion, QUEUE_LENGTH_MAX, WORKERS_MAX};

/// How long a worker without work stays.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// A worker's stack: its jobs are system calls.
const STACK_BYTES: usize = 256 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// A bounded pool: threads come when work waits and nobody is idle, and go when idle. Jobs begin in the order of
/// their submission and end in any.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when a job is queued or the pool closes.
    work: Condvar,
    /// Signalled when a job leaves the full queue.
    room: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    workers: usize,
    /// Workers that wait for work, at most `workers`.
    idle: usize,
    closed: bool,
}

impl Pool {
    pub(crate) fn new() -> Pool {
        Pool {
            shared: Arc::default(),
        }
    }

    /// Runs `job` on a worker. Its result is sent even if nobody waits for it.
    pub(crate) fn submit<T, F>(&self, job: F) -> Completion<T>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let enqueued = self.enqueue(Box::new(move || {
            // The caller may have dropped its completion: the operation still had to happen.
            let _ = sender.send(job());
        }));
        match enqueued {
            Ok(()) => Completion::waiting(receiver),
            Err(error) => Completion::done(Err(error)),
        }
    }

    /// Queues `job`, which reports by itself.
    ///
    /// # Errors
    /// If there is no worker and the system refuses one.
    pub(crate) fn enqueue(&self, job: Job) -> io::Result<()> {
        let mut state = self.shared.lock();
        while state.queue.len() >= QUEUE_LENGTH_MAX {
            state = self.shared.room.wait(state).expect("no job panics");
        }
        if state.queue.len() >= state.idle && state.workers < WORKERS_MAX {
            match self.start_worker() {
                Ok(()) => state.workers += 1,
                Err(error) if state.workers == 0 => return Err(error),
                // The workers there are will come to it.
                Err(_) => {}
            }
        }
        state.queue.push_back(job);
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    fn start_worker(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name("disk".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || shared.work())
            .map(drop)
    }

    #[cfg(test)]
    pub(crate) fn worker_count(&self) -> usize {
        self.shared.lock().workers
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no job runs under the lock")
    }

    /// A worker's life.
    fn work(&self) {
        while let Some(job) = self.next_job() {
            job();
        }
    }

    /// The next job, waiting for one; `None` when this worker shall end, which is then counted out already.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                if state.queue.len() + 1 == QUEUE_LENGTH_MAX {
                    self.room.notify_all();
                }
                return Some(job);
            }
            if state.closed {
                state.workers -= 1;
                return None;
            }
            state.idle += 1;
            let (woken, waited) = self
                .work
                .wait_timeout(state, IDLE_TIMEOUT)
                .expect("no job runs under the lock");
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                state.workers -= 1;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::task::block_on;

    #[test]
    fn a_stalled_job_holds_one_worker_and_others_go_on() {
        let pool = Pool::new();
        let (release, gate) = mpsc::channel::<()>();
        let stalled = pool.submit(move || gate.recv().map_err(io::Error::other));
        block_on(async {
            for number in 0..100 {
                assert_eq!(pool.submit(move || Ok(number)).await.unwrap(), number);
            }
            release.send(()).unwrap();
            stalled.await.unwrap();
        });
    }

    #[test]
    fn workers_are_bounded_and_every_job_runs() {
        let pool = Pool::new();
        let jobs: Vec<_> = (0..1000)
            .map(|number| pool.submit(move || Ok(number)))
            .collect();
        assert!(pool.worker_count() <= WORKERS_MAX);
        block_on(async {
            for (number, job) in jobs.into_iter().enumerate() {
                assert_eq!(job.await.unwrap(), number);
            }
        });
    }

    #[test]
    fn jobs_queued_before_the_pool_is_dropped_still_run() {
        let pool = Pool::new();
        let job = pool.submit(|| Ok(7));
        drop(pool);
        assert_eq!(block_on(job).unwrap(), 7);
    }
}
