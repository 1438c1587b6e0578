//! Cores as tasks of one thread.

use std::future::Future;
use std::io;
use std::panic::Location;
use std::time::Duration;

use tokio::sync::oneshot;

pub(crate) use super::join::JoinHandle;
use super::{executor, leaks};

/// The seed of a world whose maker did not choose one.
const DEFAULT_SEED: u64 = 1;

/// See [`crate::task::spawn_local`].
#[track_caller]
pub(crate) fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    executor::spawn_local(future, Location::caller())
}

/// See [`crate::task::busy`]: simulated work takes no time.
pub(crate) fn busy() -> Option<Duration> {
    None
}

/// See [`crate::task::block_on`].
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let seed = std::env::var("MADSIM_TEST_SEED").map_or(DEFAULT_SEED, |text| {
        text.parse().expect("MADSIM_TEST_SEED is a number")
    });
    super::run(seed, future)
}

/// One running core.
pub(crate) struct Core<T> {
    result: oneshot::Receiver<T>,
}

impl<T: Send + 'static> Core<T> {
    pub(crate) fn start<S, F>(index: usize, starter: S) -> io::Result<Core<T>>
    where
        S: FnOnce(usize) -> F + Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (sender, result) = oneshot::channel();
        let core = executor::on_core(index, async move {
            // As a task among the core's others, so that it is dropped with them if the node ends.
            let life = spawn_local(async move { starter(index).await });
            if let Ok(output) = life.await {
                // Nobody left to hear it: the cores were dropped without a join.
                let _ = sender.send(output);
            }
        });
        leaks::in_madsim(|| tokio::task::spawn_local(core));
        Ok(Core { result })
    }

    pub(crate) async fn join(self) -> T {
        // A panic of any task ends the whole world, and nobody else can abort a core.
        self.result.await.expect("a core lives until it ends")
    }
}
