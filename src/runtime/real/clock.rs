//! The operating system's clocks, the monotonic one through tokio, whose timers go by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use types::{Mono, Wall};

/// Where a monotonic reading began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    instant: Instant,
}

impl Origin {
    pub(crate) fn now() -> Origin {
        Origin {
            instant: Instant::now(),
        }
    }

    pub(crate) fn passed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.instant)
    }

    pub(crate) fn wall(&self) -> Wall {
        wall()
    }

    /// The executor's moment for a reading; `None` if it lies out of the executor's range.
    fn instant(&self, at: Mono) -> Option<Instant> {
        if at == Mono::NEVER {
            return None;
        }
        self.instant
            .checked_add(Duration::from_nanos(at.as_nanos()))
    }
}

/// See [`crate::clock::wall`].
pub(crate) fn wall() -> Wall {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the wall clock"
    )]
    let now = SystemTime::now();
    let millis = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    };
    Wall::from_millis(millis)
}

/// See [`crate::time::sleep`].
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// See [`crate::time::sleep_until`].
pub(crate) async fn sleep_until(origin: &Origin, at: Mono) {
    match origin.instant(at) {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// See [`crate::time::timeout`].
pub(crate) async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(duration, future).await.ok()
}
