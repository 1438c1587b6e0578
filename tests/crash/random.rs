//! Seeded random numbers: xorshift64*, enough for moments in time.

use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

/// The generator.
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number within `range`.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D);
        range.start + word % (range.end - range.start)
    }
}

/// A seed that no other run had.
pub fn fresh_seed() -> u64 {
    let hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.finish() % 1_000_000_000
}
