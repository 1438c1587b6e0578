//! A node's two clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use types::{Mono, Now, Wall};

/// A node's clocks, made once when the node starts and given to everything that reads time. Cheap to clone.
///
/// `Now::mono` counts from the clock's making; it never goes back. `Now::wall` may step both ways.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose monotonic reading begins now, at [`Mono::START`].
    pub fn start() -> Clock {
        Clock {
            origin: executor_now(),
        }
    }

    /// Both clocks, read one right after the other.
    pub fn now(&self) -> Now {
        Now {
            mono: self.mono(),
            wall: wall(),
        }
    }

    /// The monotonic clock alone.
    pub fn mono(&self) -> Mono {
        Mono::START + executor_now().saturating_duration_since(self.origin)
    }

    /// The executor's moment for a reading of this clock; `None` if it lies out of the executor's range.
    pub(crate) fn instant(&self, at: Mono) -> Option<Instant> {
        if at == Mono::NEVER {
            return None;
        }
        self.origin.checked_add(Duration::from_nanos(at.as_nanos()))
    }
}

/// The executor's moment, by which its timers go.
#[cfg_attr(
    madsim,
    expect(
        clippy::disallowed_methods,
        reason = "madsim's moments are std's, under virtual time"
    )
)]
pub(crate) fn executor_now() -> Instant {
    Instant::now()
}

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
