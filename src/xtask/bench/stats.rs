//! Statistics of a few runs.

use serde::{Deserialize, Serialize};

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Quotients of pairs of runs that followed each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Of the pairs' quotients.
    pub median: f64,
    /// The smallest of them.
    pub min: f64,
    /// The largest of them.
    pub max: f64,
    /// How many there are.
    pub pairs: usize,
}

impl Ratio {
    /// First ÷ second of each pair; none without a pair whose second is above zero.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Ratio> {
        let quotients: Vec<f64> = pairs
            .iter()
            .filter(|(_, second)| *second > 0.0)
            .map(|(first, second)| first / second)
            .collect();
        Some(Ratio {
            median: median(&quotients)?,
            min: quotients.iter().copied().fold(f64::INFINITY, f64::min),
            max: quotients.iter().copied().fold(0.0, f64::max),
            pairs: quotients.len(),
        })
    }

    /// By how much the largest lies above the smallest: 0.2 is 20 %.
    pub fn spread(&self) -> f64 {
        if self.min > 0.0 {
            self.max / self.min - 1.0
        } else if self.max > 0.0 {
            f64::INFINITY
        } else {
            0.0
        }
    }
}

/// The mean of quotients, in which 2 and 0.5 cancel out.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logarithms: f64 = values.iter().map(|value| value.ln()).sum();
    (!values.is_empty()).then(|| (logarithms / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, wanted) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![4.0, 1.0], Some(2.5)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
        ] {
            assert_eq!(median(&values), wanted, "{values:?}");
        }
    }

    #[test]
    fn a_ratio_is_of_pairs_and_not_of_medians() {
        let ratio = Ratio::of(&[(1.0, 2.0), (9.0, 10.0), (3.0, 4.0)]).expect("three pairs");
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.75, 0.5, 0.9));
        assert!((ratio.spread() - 0.8).abs() < 1e-9);
        assert_eq!(Ratio::of(&[(1.0, 0.0)]), None);
        assert_eq!(Ratio::of(&[]), None);
        let nothing = Ratio::of(&[(0.0, 1.0)]).expect("a pair");
        assert_eq!(nothing.spread(), 0.0);
        let wild = Ratio::of(&[(0.0, 1.0), (1.0, 1.0)]).expect("two pairs");
        assert_eq!(wild.spread(), f64::INFINITY);
    }

    #[test]
    fn a_geometric_mean_takes_no_side() {
        let mean = geometric_mean(&[2.0, 0.5]).expect("two values");
        assert!((mean - 1.0).abs() < 1e-9);
        assert_eq!(geometric_mean(&[]), None);
    }
}
