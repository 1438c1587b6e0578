//! What the terminal shows.

use super::cell::Cell;
use super::plan::Side;
use super::result::{CellResult, Figures, metric};

/// A figure with as many digits as tell something.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1e6 => format!("{:.2}M", value / 1e6),
        size if size >= 1e4 => format!("{:.1}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A ratio with its spread.
pub fn quotient(result: &CellResult, name: &str) -> Option<String> {
    let ratio = result.ratio(name)?;
    Some(format!(
        "{}x ({}-{})",
        number(ratio.median),
        number(ratio.min),
        number(ratio.max)
    ))
}

/// One line after each run.
pub fn progress(cell: &Cell, side: Side, pair: usize, figures: &Figures) {
    let side = match side {
        Side::A => "A",
        Side::B => "B",
    };
    let told: Vec<String> = metric::ALL
        .iter()
        .filter_map(|name| Some(format!("{} {name}", number(*figures.get(*name)?))))
        .take(4)
        .collect();
    println!("   {} pair {pair} {side}: {}", cell.name, told.join(", "));
}

/// The rows of a cell: each figure with both sides and their ratio.
pub fn rows(result: &CellResult) -> Vec<[String; 4]> {
    let told = |side: Side, name: &str| {
        let figure = result.figure(side, name);
        figure.map_or_else(|| "-".to_owned(), number)
    };
    metric::ALL
        .iter()
        .filter(|name| {
            [Side::A, Side::B]
                .iter()
                .any(|side| result.figure(*side, name).is_some())
        })
        .map(|name| {
            [
                (*name).to_owned(),
                told(Side::A, name),
                told(Side::B, name),
                quotient(result, name).unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect()
}

/// A cell when all its runs are done.
pub fn cell(result: &CellResult) -> String {
    let mut text = format!("{}: {}\n", result.name, result.title);
    for [name, ours, peer, ratio] in rows(result) {
        text.push_str(&format!("  {name:<24} {ours:>9} {peer:>9}  {ratio}\n"));
    }
    if let Some(failure) = &result.failure {
        text.push_str(&format!("  NOT MEASURED: {failure}\n"));
    }
    if let Some(noise) = result.noise() {
        text.push_str(&format!("  NOISY: {noise}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::result::samples;
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_so() {
        for (value, wanted) in [
            (0.0, "0"),
            (0.0123, "0.0123"),
            (0.5, "0.50"),
            (12.34, "12.3"),
            (543.2, "543"),
            (9_876.0, "9876"),
            (31_250.0, "31.2k"),
            (1_234_567.0, "1.23M"),
        ] {
            assert_eq!(number(value), wanted);
        }
    }

    #[test]
    fn a_cell_shows_both_sides_and_their_ratio() {
        let name = metric::CPU_PER_GB;
        let runs = vec![
            samples::run(Side::A, name, 0.2),
            samples::run(Side::B, name, 0.8),
            samples::run(Side::B, name, 1.0),
            samples::run(Side::A, name, 0.2),
        ];
        let mut result = samples::cell("w1-x", runs);
        result.runs[1].noise.steal_percent = 5.0;
        let text = cell(&result);
        assert!(text.contains("0.20      0.90  0.23x (0.20-0.25)"), "{text}");
        assert!(text.contains("NOISY: B: 5.0 % steal"), "{text}");
        result.failure = Some("no compiler".to_owned());
        assert!(cell(&result).contains("NOT MEASURED: no compiler"));
    }
}
