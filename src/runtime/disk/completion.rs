//! The result of a disk operation to come.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

#[cfg(madsim)]
use crate::half::disk::wait::Wait;

/// The result of a disk operation, which may have ended already. The operation does not need to be polled to go on,
/// and dropping this does not stop it.
///
/// # Panics
/// When polled or taken again after it gave its result.
#[must_use = "an operation's failure is in its completion"]
pub struct Completion<T> {
    state: State<T>,
}

enum State<T> {
    Done(Option<io::Result<T>>),
    Waiting(oneshot::Receiver<io::Result<T>>),
    #[cfg(madsim)]
    Later(Box<Wait>, Option<io::Result<T>>),
    #[cfg(madsim)]
    Never,
}

impl<T> Completion<T> {
    /// One that has ended.
    pub fn done(result: io::Result<T>) -> Completion<T> {
        Completion {
            state: State::Done(Some(result)),
        }
    }

    /// One that ends when the other end of the channel sends.
    #[cfg_attr(madsim, expect(dead_code, reason = "only threads send"))]
    pub(crate) fn waiting(receiver: oneshot::Receiver<io::Result<T>>) -> Completion<T> {
        Completion {
            state: State::Waiting(receiver),
        }
    }

    /// One that has happened and is told when `wait` is over.
    #[cfg(madsim)]
    pub(crate) fn later(wait: Wait, result: io::Result<T>) -> Completion<T> {
        Completion {
            state: State::Later(Box::new(wait), Some(result)),
        }
    }

    /// One that never ends, of a process that is no more.
    #[cfg(madsim)]
    pub(crate) fn never() -> Completion<T> {
        Completion {
            state: State::Never,
        }
    }

    /// The result, if the operation has ended and the result was not taken before; does not wait.
    pub fn try_take(&mut self) -> Option<io::Result<T>> {
        match &mut self.state {
            State::Done(result) => result.take(),
            State::Waiting(receiver) => {
                let result = match receiver.try_recv() {
                    Err(oneshot::error::TryRecvError::Empty) => return None,
                    Ok(result) => result,
                    Err(oneshot::error::TryRecvError::Closed) => Err(abandoned()),
                };
                self.state = State::Done(None);
                Some(result)
            }
            #[cfg(madsim)]
            State::Later(wait, result) => {
                let succeeded = matches!(result, Some(Ok(_)));
                if result.is_none() || !wait.is_over(succeeded) {
                    return None;
                }
                result.take()
            }
            #[cfg(madsim)]
            State::Never => None,
        }
    }
}

impl<T> Unpin for Completion<T> {}

impl<T> Future for Completion<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match &mut self.state {
            State::Done(result) => {
                Poll::Ready(result.take().expect("a completion gives its result once"))
            }
            State::Waiting(receiver) => {
                let received = std::task::ready!(Pin::new(receiver).poll(cx));
                self.state = State::Done(None);
                Poll::Ready(received.unwrap_or_else(|_| Err(abandoned())))
            }
            #[cfg(madsim)]
            State::Later(wait, result) => {
                std::task::ready!(wait.poll(cx, matches!(result, Some(Ok(_)))));
                Poll::Ready(result.take().expect("a completion gives its result once"))
            }
            #[cfg(madsim)]
            State::Never => Poll::Pending,
        }
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Done(_) => "Completion(done)",
            _ => "Completion(waiting)",
        })
    }
}

fn abandoned() -> io::Error {
    io::Error::other("the disk's worker ended before the operation did")
}
