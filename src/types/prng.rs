//! Seeded randomness: one independent stream per purpose.

/// A small, fast, seeded generator (xoshiro256++, Blackman and Vigna 2019). Not for secrets.
///
/// Every stream is named by its purpose, so that drawing more from one never shifts another.
#[derive(Clone, Debug)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// The stream of `seed` for `purpose`.
    pub fn new(seed: u64, purpose: &str) -> Prng {
        // FNV-1a folds the purpose into the seed; splitmix64 spreads it over the state.
        let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ seed;
        for byte in purpose.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut spread = hash ^ seed.rotate_left(32);
        let state = std::array::from_fn(|_| {
            spread = spread.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = spread;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        Prng { state }
    }

    /// An independent stream for `purpose`, drawn from this one.
    pub fn fork(&mut self, purpose: &str) -> Prng {
        Prng::new(self.next_u64(), purpose)
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let mut next = [a, b, c ^ a, d ^ b];
        next[1] ^= next[2];
        next[0] ^= next[3];
        next[2] ^= b << 17;
        next[3] = next[3].rotate_left(45);
        self.state = next;
        result
    }

    /// A number below `bound`, uniform.
    ///
    /// # Panics
    /// If `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a number below zero was asked for");
        // Lemire's multiply-and-shift with rejection.
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if (product as u64) >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }

    /// True with probability `numerator` in `denominator`.
    ///
    /// # Panics
    /// If `denominator` is zero.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_purpose() {
        let draw = |seed, purpose: &str| {
            let mut prng = Prng::new(seed, purpose);
            [prng.next_u64(), prng.next_u64(), prng.next_u64()]
        };
        assert_eq!(draw(1, "elections"), draw(1, "elections"));
        assert_ne!(draw(1, "elections"), draw(1, "placement"));
        assert_ne!(draw(1, "elections"), draw(2, "elections"));
    }

    #[test]
    fn matches_the_published_generator() {
        // First outputs of the reference implementation from the state 1, 2, 3, 4.
        let mut prng = Prng {
            state: [1, 2, 3, 4],
        };
        let expected = [
            41_943_041,
            58_720_359,
            3_588_806_011_781_223,
            3_591_011_842_654_386,
        ];
        assert_eq!(std::array::from_fn(|_| prng.next_u64()), expected);
    }

    #[test]
    fn below_stays_below() {
        let mut prng = Prng::new(3, "below");
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[prng.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
