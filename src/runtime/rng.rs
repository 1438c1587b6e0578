//! Entropy, drawn once per node.

/// 64 random bits from the operating system, or from the seed of the simulation.
///
/// For node construction only: everything later draws from a [`types::Prng`] made of this.
pub fn entropy() -> u64 {
    crate::half::entropy()
}
