//! Cores as threads, each with tokio's current-thread executor.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

type Payload = Box<dyn Any + Send>;

/// What a panicked task leaves for its core, which otherwise would never hear of it.
#[derive(Default)]
struct PanicSlot {
    payload: Option<Payload>,
    core: Option<Waker>,
}

thread_local! {
    static PANIC: RefCell<PanicSlot> = RefCell::default();
}

/// See [`crate::task::spawn_local`].
pub(crate) fn spawn_local<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + 'static,
{
    tokio::task::spawn_local(guard(future))
}

/// Runs `future`; a panic in it is handed to the core, and the future never ends.
async fn guard<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let outcome = poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        },
    )
    .await;
    match outcome {
        Ok(output) => output,
        Err(payload) => {
            PANIC.with_borrow_mut(|slot| {
                slot.payload = Some(payload);
                if let Some(core) = slot.core.take() {
                    core.wake();
                }
            });
            pending().await
        }
    }
}

/// Polls `future` and raises the first panic of any task of this core.
fn poll_core<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    let payload = PANIC.with_borrow_mut(|slot| {
        slot.core = Some(cx.waker().clone());
        slot.payload.take()
    });
    if let Some(payload) = payload {
        resume_unwind(payload);
    }
    future.poll(cx)
}

fn executor() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn run<F: Future>(executor: &Runtime, future: F) -> F::Output {
    let tasks = LocalSet::new();
    let mut future = pin!(future);
    tasks.block_on(executor, poll_fn(|cx| poll_core(future.as_mut(), cx)))
}

/// See [`crate::task::block_on`].
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let executor = executor().expect("the operating system refuses an event queue");
    run(&executor, future)
}

/// See [`crate::task::busy`].
pub(crate) fn busy() -> Option<Duration> {
    let handle = tokio::runtime::Handle::try_current().ok()?;
    Some(handle.metrics().worker_total_busy_duration(0))
}

/// One running core.
pub(crate) struct Core<T> {
    result: oneshot::Receiver<thread::Result<T>>,
}

impl<T: Send + 'static> Core<T> {
    pub(crate) fn start<S, F>(index: usize, starter: S) -> io::Result<Core<T>>
    where
        S: FnOnce(usize) -> F + Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let executor = executor()?;
        let (sender, result) = oneshot::channel();
        thread::Builder::new()
            .name(format!("core-{index}"))
            .spawn(move || {
                let life = AssertUnwindSafe(|| run(&executor, async { starter(index).await }));
                // Nobody left to hear it: the cores were dropped without a join.
                let _ = sender.send(catch_unwind(life));
            })?;
        Ok(Core { result })
    }

    pub(crate) async fn join(self) -> T {
        match self.result.await.expect("a core sends its result") {
            Ok(value) => value,
            Err(payload) => resume_unwind(payload),
        }
    }
}
