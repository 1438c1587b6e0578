//! Work on a log that may wait for the disk, done while nobody holds the log.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::core::Core;

/// A change of a log under way. It is a future that needs no borrow of the log; its [`Finished`] goes back to
/// [`super::Log::finish`].
///
/// A job must be driven to its end: a log whose job was dropped can only be dropped too.
#[must_use = "a job does nothing until it is driven, and its log waits for it"]
pub struct LogJob<T> {
    state: State<T>,
}

enum State<T> {
    Done(Option<Finished<T>>),
    Running(Pin<Box<dyn Future<Output = Finished<T>>>>),
}

/// The end of a job: what [`super::Log::finish`] turns into the job's result.
#[must_use = "the log waits for it"]
pub struct Finished<T> {
    /// The log's parts, if the job took them along.
    pub(super) core: Option<Box<Core>>,
    pub(super) result: T,
}

impl<T> LogJob<T> {
    pub(super) fn done(result: T) -> LogJob<T> {
        LogJob {
            state: State::Done(Some(Finished { core: None, result })),
        }
    }

    pub(super) fn done_with(core: Box<Core>, result: T) -> LogJob<T> {
        LogJob {
            state: State::Done(Some(Finished {
                core: Some(core),
                result,
            })),
        }
    }

    pub(super) fn running(future: impl Future<Output = Finished<T>> + 'static) -> LogJob<T> {
        LogJob {
            state: State::Running(Box::pin(future)),
        }
    }

    /// The end, if it has come without waiting.
    ///
    /// # Errors
    /// The job, which still has to be awaited.
    pub fn try_take(mut self) -> Result<Finished<T>, LogJob<T>> {
        match Pin::new(&mut self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(finished) => Ok(finished),
            Poll::Pending => Err(self),
        }
    }
}

impl<T> Unpin for LogJob<T> {}

impl<T> Future for LogJob<T> {
    type Output = Finished<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished<T>> {
        match &mut self.state {
            State::Done(finished) => Poll::Ready(finished.take().expect("a job ends once")),
            State::Running(future) => future.as_mut().poll(context),
        }
    }
}

impl<T> std::fmt::Debug for LogJob<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::Done(_) => "LogJob(done)",
            State::Running(_) => "LogJob(running)",
        })
    }
}
