//! How long a disk's operations take.

use types::Prng;

/// How fast a disk is. Times are drawn evenly between two bounds, both in microseconds and both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpeed {
    /// One in so many operations on cached data ends later than its call, as any of them may; 0 for none.
    pub cached_late_one_in: u32,
    /// How much later at most.
    pub cached_late_us_max: u32,
    /// One in so many reads finds its data on the device only; 0 for none.
    pub cold_read_one_in: u32,
    /// A read from the device.
    pub read_us: (u32, u32),
    /// An operation on names, lengths or space.
    pub names_us: (u32, u32),
    /// A sync, beside the time for the bytes it writes.
    pub sync_us: (u32, u32),
    /// What a sync writes in a second.
    pub sync_bytes_per_second: u64,
    /// One in so many operations of the device takes [`DiskSpeed::tail_factor`] times as long; 0 for none.
    pub tail_one_in: u32,
    /// See [`DiskSpeed::tail_one_in`].
    pub tail_factor: u32,
}

impl Default for DiskSpeed {
    /// A solid-state disk.
    fn default() -> DiskSpeed {
        DiskSpeed {
            cached_late_one_in: 8,
            cached_late_us_max: 200,
            cold_read_one_in: 32,
            read_us: (60, 250),
            names_us: (20, 200),
            sync_us: (100, 1_000),
            sync_bytes_per_second: 500_000_000,
            tail_one_in: 200,
            tail_factor: 20,
        }
    }
}

impl DiskSpeed {
    /// This disk with every operation of the device `factor` times as slow.
    ///
    /// # Panics
    /// If `factor` is zero.
    #[must_use]
    pub fn slower(self, factor: u32) -> DiskSpeed {
        assert!(factor > 0, "a disk cannot be slower by nothing");
        let times =
            |(low, high): (u32, u32)| (low.saturating_mul(factor), high.saturating_mul(factor));
        DiskSpeed {
            read_us: times(self.read_us),
            names_us: times(self.names_us),
            sync_us: times(self.sync_us),
            sync_bytes_per_second: (self.sync_bytes_per_second / u64::from(factor)).max(1),
            ..self
        }
    }
}

/// Draws the times of one disk's operations, each kind from a stream of its own.
pub(super) struct Delays {
    pub(super) speed: DiskSpeed,
    cached: Prng,
    reads: Prng,
    names: Prng,
    syncs: Prng,
}

impl Delays {
    pub(super) fn new(seed: u64, node: u64) -> Delays {
        let stream = |purpose: &str| Prng::new(seed, &format!("disk {purpose} {node}"));
        Delays {
            speed: DiskSpeed::default(),
            cached: stream("cached delays"),
            reads: stream("read delays"),
            names: stream("name delays"),
            syncs: stream("sync delays"),
        }
    }

    /// Of an operation on the page cache; 0 if it has ended when its call returns.
    pub(super) fn cached_us(&mut self) -> u64 {
        let DiskSpeed {
            cached_late_one_in,
            cached_late_us_max,
            ..
        } = self.speed;
        if one_in(&mut self.cached, cached_late_one_in) {
            1 + self.cached.below(u64::from(cached_late_us_max.max(1)))
        } else {
            0
        }
    }

    /// Of a read, which mostly finds its data in the page cache.
    pub(super) fn read_us(&mut self) -> u64 {
        if one_in(&mut self.reads, self.speed.cold_read_one_in) {
            device(&mut self.reads, &self.speed, self.speed.read_us)
        } else {
            self.cached_us()
        }
    }

    pub(super) fn names_us(&mut self) -> u64 {
        device(&mut self.names, &self.speed, self.speed.names_us)
    }

    pub(super) fn sync_us(&mut self, bytes: u64) -> u64 {
        let writing_us =
            u128::from(bytes) * 1_000_000 / u128::from(self.speed.sync_bytes_per_second.max(1));
        device(&mut self.syncs, &self.speed, self.speed.sync_us) + writing_us as u64
    }
}

fn one_in(prng: &mut Prng, count: u32) -> bool {
    count > 0 && prng.below(u64::from(count)) == 0
}

fn device(prng: &mut Prng, speed: &DiskSpeed, (low, high): (u32, u32)) -> u64 {
    let spread = u64::from(high.saturating_sub(low)) + 1;
    let drawn = u64::from(low) + prng.below(spread);
    if one_in(prng, speed.tail_one_in) {
        drawn * u64::from(speed.tail_factor.max(1))
    } else {
        drawn
    }
}
