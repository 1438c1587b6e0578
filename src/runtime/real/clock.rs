//! The operating system's clocks, the monotonic one through tokio, whose timers go by it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
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

/// See [`crate::time::Alarm`]: a timer of the kernel, for the executor's own have a grain of a millisecond.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "the descriptor is owned and stays the same, and the newer way is unsafe code"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Alarm { timer })
    }

    pub(crate) async fn sleep_until(&mut self, origin: &Origin, at: Mono) -> io::Result<()> {
        let Some(instant) = origin.instant(at) else {
            return std::future::pending().await;
        };
        // The kernel may wake a little early by this clock's reading: then once more.
        loop {
            let left = instant.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.wait(left).await?;
        }
    }

    async fn wait(&mut self, duration: Duration) -> io::Result<()> {
        let zero = Timespec::default();
        let value = Timespec::try_from(duration).map_err(io::Error::other)?;
        let once = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            let read =
                ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expirations[..])?));
            match read {
                Ok(result) => return result.map(drop),
                Err(_is_not_ready) => {}
            }
        }
    }
}
