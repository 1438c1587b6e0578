//! Waiting.

use std::fmt;
use std::future::{Future, pending};
use std::time::Duration;

use types::Mono;

use crate::clock::Clock;

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

/// Waits for `duration`, to the executor's grain (a millisecond).
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until `clock` reads `at` or later; for ever if `at` is [`Mono::NEVER`].
pub async fn sleep_until(clock: &Clock, at: Mono) {
    match clock.instant(at) {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => pending().await,
    }
}

/// Runs `future` for at most `duration`, then drops it.
///
/// # Errors
/// [`Elapsed`] if the time passed first.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(duration, future)
        .await
        .map_err(|_| Elapsed)
}
