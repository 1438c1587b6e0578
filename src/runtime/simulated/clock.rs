//! The clocks that a node reads, and waiting by them.

use std::future::pending;
use std::time::Duration;

use types::{Mono, Wall};

use super::timers::Sleep;
pub(crate) use super::timers::{sleep, timeout};
use super::{clocks, world};

/// Where a monotonic reading began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    node: u64,
    mono_nanos: u64,
}

impl Origin {
    pub(crate) fn now() -> Origin {
        let node = world::current_node();
        Origin {
            node,
            mono_nanos: clocks::mono_nanos(node),
        }
    }

    pub(crate) fn passed(&self) -> Duration {
        Duration::from_nanos(clocks::mono_nanos(self.node) - self.mono_nanos)
    }

    pub(crate) fn wall(&self) -> Wall {
        Wall::from_millis(clocks::wall_ms(self.node))
    }
}

/// See [`crate::clock::wall`].
pub(crate) fn wall() -> Wall {
    Wall::from_millis(clocks::wall_ms(world::current_node()))
}

/// See [`crate::time::sleep_until`].
pub(crate) async fn sleep_until(origin: &Origin, at: Mono) {
    if at == Mono::NEVER {
        return pending().await;
    }
    let mono_nanos = origin.mono_nanos.saturating_add(at.as_nanos());
    Sleep::until_mono(origin.node, mono_nanos).await;
}

/// See [`crate::time::Alarm`]: here every timer is exact.
#[derive(Debug)]
pub(crate) struct Alarm;

impl Alarm {
    pub(crate) fn new() -> std::io::Result<Alarm> {
        Ok(Alarm)
    }

    pub(crate) async fn sleep_until(&mut self, origin: &Origin, at: Mono) -> std::io::Result<()> {
        sleep_until(origin, at).await;
        Ok(())
    }
}
