//! The clocks of the nodes: offset, drift and steps, in front of true simulated time.
//!
//! A node's monotonic reading runs at `1 + drift`, never goes back and never steps. Its wall clock is the world's
//! beginning plus that reading plus an offset, which may be set or stepped both ways. A node's timers run by its
//! monotonic clock.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::trace::{self, Value};
use super::{timers, world};

/// The most a clock may drift either way: a tenth.
const DRIFT_PPM_MAX: i32 = 100_000;
const MILLION: i128 = 1_000_000;

/// One node's clock: a straight line since drift was last set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NodeClock {
    /// True time at which the line begins.
    true_nanos: u64,
    /// What the monotonic clock read there.
    mono_nanos: u64,
    drift_ppm: i32,
    /// Milliseconds that the wall clock is ahead of the line.
    offset_ms: i64,
}

impl NodeClock {
    /// The monotonic reading at a true time, not before the line's beginning.
    pub(crate) fn mono_at(&self, true_nanos: u64) -> u64 {
        let passed = i128::from(true_nanos.saturating_sub(self.true_nanos));
        let nanos = passed * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        self.mono_nanos
            .saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The first true time at which the monotonic clock reads `mono_nanos` or later.
    pub(crate) fn true_at(&self, mono_nanos: u64) -> u64 {
        let passed = i128::from(mono_nanos.saturating_sub(self.mono_nanos));
        let rate = MILLION + i128::from(self.drift_ppm);
        let nanos = (passed * MILLION + rate - 1) / rate;
        self.true_nanos
            .saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[derive(Default)]
struct Table {
    /// Milliseconds since 1970 at which the world began.
    epoch_ms: i64,
    nodes: BTreeMap<u64, NodeClock>,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

/// The clocks of the running world.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    world: u64,
}

impl Clocks {
    /// The clocks of the world that was installed last on this thread.
    pub fn current() -> Clocks {
        Clocks {
            world: world::number(),
        }
    }

    /// Sets how far the wall clock of `node` is ahead of the world's, in milliseconds. A change is a step.
    pub fn set_offset_ms(&self, node: u64, offset_ms: i64) {
        let before = self.change(node, |clock, _| {
            std::mem::replace(&mut clock.offset_ms, offset_ms)
        });
        if before != offset_ms {
            told(node, "offset_ms", offset_ms);
        }
    }

    /// Steps the wall clock of `node` by `step_ms` milliseconds, forward or back.
    pub fn step_wall_ms(&self, node: u64, step_ms: i64) {
        self.change(node, |clock, _| {
            clock.offset_ms = clock.offset_ms.saturating_add(step_ms);
        });
        told(node, "step_ms", step_ms);
    }

    /// Lets both clocks of `node`, and its timers, run faster by `drift_ppm` parts in a million from now on.
    ///
    /// # Panics
    /// If the drift is over a tenth either way.
    pub fn set_drift_ppm(&self, node: u64, drift_ppm: i32) {
        assert!(
            (-DRIFT_PPM_MAX..=DRIFT_PPM_MAX).contains(&drift_ppm),
            "a clock drifts by at most {DRIFT_PPM_MAX} ppm"
        );
        self.change(node, |clock, now_nanos| {
            clock.mono_nanos = clock.mono_at(now_nanos);
            clock.true_nanos = now_nanos;
            clock.drift_ppm = drift_ppm;
        });
        timers::clock_changed(node);
        told(node, "drift_ppm", i64::from(drift_ppm));
    }

    fn change<T>(&self, node: u64, change: impl FnOnce(&mut NodeClock, u64) -> T) -> T {
        assert_eq!(
            self.world,
            world::number(),
            "the clocks of an earlier world"
        );
        let now_nanos = world::now_nanos();
        TABLE.with_borrow_mut(|table| change(table.nodes.entry(node).or_default(), now_nanos))
    }
}

fn told(node: u64, field: &'static str, value: i64) {
    trace::emit_for(node, "clock-step", &[(field, Value::Int(value))]);
}

/// Begins a world whose wall clocks start at a drawn moment of the years 2024 to 2026.
pub(crate) fn begin(seed: u64) {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    let drawn_ms = types::Prng::new(seed, "wall clock").below(3 * YEAR_MS);
    let epoch_ms = i64::try_from(54 * YEAR_MS + drawn_ms).expect("a date of this century");
    TABLE.set(Table {
        epoch_ms,
        nodes: BTreeMap::new(),
    });
}

/// The clock of `node`.
pub(crate) fn of(node: u64) -> NodeClock {
    TABLE.with_borrow(|table| table.nodes.get(&node).copied().unwrap_or_default())
}

/// What the monotonic clock of `node` reads, in nanoseconds; it counts over all its lives.
pub(crate) fn mono_nanos(node: u64) -> u64 {
    of(node).mono_at(world::now_nanos())
}

/// What the wall clock of `node` reads, in milliseconds since 1970.
pub(crate) fn wall_ms(node: u64) -> i64 {
    let clock = of(node);
    let ran_ms = clock.mono_at(world::now_nanos()) / 1_000_000;
    epoch_ms()
        .saturating_add_unsigned(ran_ms)
        .saturating_add(clock.offset_ms)
}

/// What a wall clock without fault reads, in milliseconds since 1970.
pub fn true_wall_ms() -> i64 {
    epoch_ms().saturating_add_unsigned(world::now_nanos() / 1_000_000)
}

fn epoch_ms() -> i64 {
    TABLE.with_borrow(|table| table.epoch_ms)
}
