//! Cores as tasks of one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use madsim::runtime::Runtime;
use madsim::task::AbortHandle;
use tokio::task::JoinHandle;

/// The seed of a world whose maker did not choose one.
const DEFAULT_SEED: u64 = 1;

/// The tasks that live on one core, so that they end with it.
#[derive(Default)]
struct CoreTasks {
    running: BTreeMap<u64, AbortHandle>,
    next: u64,
}

type SharedTasks = Rc<RefCell<CoreTasks>>;

thread_local! {
    /// The core whose task is being polled.
    static CURRENT: RefCell<Option<SharedTasks>> = const { RefCell::new(None) };
}

/// Polls `future` as a task of `core`.
async fn on_core<F: Future>(core: Option<SharedTasks>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(move |cx| {
        let outer = CURRENT.replace(core.clone());
        let poll = future.as_mut().poll(cx);
        CURRENT.set(outer);
        poll
    })
    .await
}

/// See [`crate::task::spawn_local`].
pub(crate) fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let Some(core) = CURRENT.with_borrow(Clone::clone) else {
        return tokio::task::spawn_local(future);
    };
    let number = {
        let mut tasks = core.borrow_mut();
        tasks.next += 1;
        tasks.next
    };
    let inside = Rc::clone(&core);
    let task = tokio::task::spawn_local(async move {
        let output = on_core(Some(Rc::clone(&inside)), future).await;
        inside.borrow_mut().running.remove(&number);
        output
    });
    core.borrow_mut()
        .running
        .insert(number, task.abort_handle());
    task
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
    let world = Runtime::with_seed_and_config(seed, madsim::Config::default());
    super::install(&world);
    world.block_on(future)
}

/// One running core.
pub(crate) struct Core<T> {
    life: JoinHandle<T>,
}

impl<T: Send + 'static> Core<T> {
    pub(crate) fn start<S, F>(index: usize, starter: S) -> io::Result<Core<T>>
    where
        S: FnOnce(usize) -> F + Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let tasks = SharedTasks::default();
        let life = tokio::task::spawn_local(async move {
            let output = on_core(Some(Rc::clone(&tasks)), async { starter(index).await }).await;
            let left = std::mem::take(&mut tasks.borrow_mut().running);
            for task in left.values() {
                task.abort();
            }
            output
        });
        Ok(Core { life })
    }

    pub(crate) async fn join(self) -> T {
        // A panic of any task ends the whole world, and nobody else can abort a core.
        self.life.await.expect("a core lives until it ends")
    }
}
