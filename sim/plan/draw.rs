//! Drawing from a stream.

use types::Prng;

/// A stream of choices for one purpose.
pub(super) struct Draw {
    prng: Prng,
}

impl Draw {
    pub(super) fn new(seed: u64, purpose: &str) -> Draw {
        Draw {
            prng: Prng::new(seed, purpose),
        }
    }

    /// One of `choices`.
    pub(super) fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.prng.below(choices.len() as u64) as usize]
    }

    /// One of `choices`, by value.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *self.choose(choices)
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.prng.below(high - low + 1)
    }

    /// As [`Draw::between`], small numbers more often than large ones.
    pub(super) fn small(&mut self, low: u64, high: u64) -> u64 {
        let top = self.between(low, high);
        self.between(low, top)
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.prng.chance(1, n)
    }

    /// True `percent` times of a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.prng.chance(percent, 100)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.prng.next_u64()
    }

    /// One of `choices`, each as often as its weight says.
    pub(super) fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let total = choices.iter().map(|(weight, _)| weight).sum();
        let mut place = self.prng.below(total);
        for &(weight, choice) in choices {
            if place < weight {
                return choice;
            }
            place -= weight;
        }
        unreachable!("the place is below the sum of the weights")
    }
}
