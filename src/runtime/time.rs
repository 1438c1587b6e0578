//! Waiting.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use types::Mono;

use crate::clock::Clock;
use crate::half;

/// The time given to [`timeout`] passed before the future ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time given has passed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Waits for `duration` by the node's monotonic clock, to the executor's grain (a millisecond; simulated, a
/// microsecond).
pub async fn sleep(duration: Duration) {
    half::clock::sleep(duration).await;
}

/// Waits until `clock` reads `at` or later; for ever if `at` is [`Mono::NEVER`].
pub async fn sleep_until(clock: &Clock, at: Mono) {
    half::clock::sleep_until(clock.origin(), at).await;
}

/// A timer exact to some tens of microseconds where [`sleep`] is to a millisecond, for who must act at a moment: a load
/// generator that begins late measures itself. It holds a descriptor.
#[derive(Debug)]
pub struct Alarm {
    alarm: half::clock::Alarm,
}

impl Alarm {
    /// A timer that waits for nothing yet.
    ///
    /// # Errors
    /// If the operating system refuses a descriptor.
    pub fn new() -> std::io::Result<Alarm> {
        Ok(Alarm {
            alarm: half::clock::Alarm::new()?,
        })
    }

    /// Waits until `clock` reads `at` or later; for ever if `at` is [`Mono::NEVER`]. Dropping the future ends the wait.
    ///
    /// # Errors
    /// If the operating system refuses the timer.
    pub async fn sleep_until(&mut self, clock: &Clock, at: Mono) -> std::io::Result<()> {
        self.alarm.sleep_until(clock.origin(), at).await
    }
}

/// Runs `future` for at most `duration`, then drops it.
///
/// # Errors
/// [`Elapsed`] if the time passed first.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    half::clock::timeout(duration, future).await.ok_or(Elapsed)
}
