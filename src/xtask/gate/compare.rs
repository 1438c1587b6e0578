//! Figures against those of a baseline.

use std::collections::BTreeMap;

/// Figures by their names, each `SCENARIO.KIND`.
pub type Figures = BTreeMap<String, f64>;

/// By how much instructions may grow, as a share.
const INSTRUCTIONS_GROWTH_MAX: f64 = 0.03;
/// By how much the bytes that are copied for a byte may grow: far less than one copy more, and more than what a slow
/// file at the wrong moment adds.
const COPIED_GROWTH_MAX: f64 = 0.02;
/// What a figure counts, and so by how much it may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Executed by a request, or for a record.
    Instructions,
    /// Calls to the allocator.
    Allocations,
    /// Bytes copied for a byte of record batches.
    CopiedPerByte,
    /// System calls of a request, or of many that are in flight together.
    SystemCalls,
}

impl Kind {
    fn of(name: &str) -> Option<Kind> {
        match name.rsplit_once('.')?.1 {
            "instructions" => Some(Kind::Instructions),
            "allocations" => Some(Kind::Allocations),
            "copied_per_byte" => Some(Kind::CopiedPerByte),
            "system_calls" => Some(Kind::SystemCalls),
            _ => None,
        }
    }

    /// How far from `old` a figure may be in either direction without a word.
    fn slack(self, old: f64) -> f64 {
        match self {
            Kind::Instructions => old * INSTRUCTIONS_GROWTH_MAX,
            Kind::Allocations | Kind::SystemCalls => 0.0,
            Kind::CopiedPerByte => COPIED_GROWTH_MAX,
        }
    }
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it was, or nearly.
    Same,
    /// Better than it was: the baseline should say so, or the next change for the worse goes unseen.
    Better,
    /// More than it may be.
    Worse,
    /// The baseline does not have it.
    New,
    /// It was not counted.
    Gone,
    /// Nobody knows what it counts.
    Unknown,
}

impl Verdict {
    /// Whether the gate lets it through.
    pub fn is_good(self) -> bool {
        matches!(self, Verdict::Same | Verdict::Better)
    }

    /// What a reader is told.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Same => "",
            Verdict::Better => "better: write it with `cargo xtask gate --write`",
            Verdict::Worse => "WORSE",
            Verdict::New => "NOT IN THE BASELINE: `cargo xtask gate --write`",
            Verdict::Gone => "NOT COUNTED any more: `cargo xtask gate --write`",
            Verdict::Unknown => "UNKNOWN KIND: see src/xtask/gate/compare.rs",
        }
    }
}

/// One figure of both.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// In the baseline.
    pub old: Option<f64>,
    /// Counted now.
    pub new: Option<f64>,
    /// What became of it.
    pub verdict: Verdict,
}

impl Row {
    /// The row as a line of a table.
    pub fn line(&self) -> String {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), shown);
        let percent = match (self.old, self.new) {
            (Some(old), Some(new)) if old > 0.0 => {
                format!("{:+.2} %", (new - old) / old * 100.0)
            }
            _ => "-".to_owned(),
        };
        let line = format!(
            "{:<36} {:>12} {:>12} {percent:>10}  {}",
            self.name,
            number(self.old),
            number(self.new),
            self.verdict.words()
        );
        line.trim_end().to_owned()
    }
}

fn shown(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What is written down of a figure: more digits would change with every run.
pub fn rounded(name: &str, value: f64) -> f64 {
    match Kind::of(name) {
        Some(Kind::Instructions) if value >= 1000.0 => value.round(),
        _ => (value * 1000.0).round() / 1000.0,
    }
}

/// Every figure of either, in the order of their names.
pub fn compare(old: &Figures, new: &Figures) -> Vec<Row> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let row = |name: &String| {
        let (old, new) = (old.get(name).copied(), new.get(name).copied());
        Row {
            name: name.clone(),
            old,
            new,
            verdict: judge(name, old, new),
        }
    };
    names.into_iter().map(row).collect()
}

fn judge(name: &str, old: Option<f64>, new: Option<f64>) -> Verdict {
    let Some(kind) = Kind::of(name) else {
        return Verdict::Unknown;
    };
    match (old, new) {
        (None, _) => Verdict::New,
        (_, None) => Verdict::Gone,
        (Some(old), Some(new)) if new > old + kind.slack(old) => Verdict::Worse,
        (Some(old), Some(new)) if new < old - kind.slack(old) => Verdict::Better,
        _ => Verdict::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_limit() {
        let table = [
            ("a.instructions", 1000.0, 1000.0, Verdict::Same),
            ("a.instructions", 1000.0, 1020.0, Verdict::Same),
            ("a.instructions", 1000.0, 1040.0, Verdict::Worse),
            ("a.instructions", 1000.0, 980.0, Verdict::Same),
            ("a.instructions", 1000.0, 950.0, Verdict::Better),
            ("a.allocations", 34.0, 34.0, Verdict::Same),
            ("a.allocations", 34.0, 35.0, Verdict::Worse),
            ("a.allocations", 34.0, 33.0, Verdict::Better),
            ("a.allocations", 0.0, 1.0, Verdict::Worse),
            ("a.copied_per_byte", 2.07, 2.08, Verdict::Same),
            ("a.copied_per_byte", 2.07, 3.07, Verdict::Worse),
            ("a.copied_per_byte", 2.07, 2.0, Verdict::Better),
            ("a.system_calls", 4.0, 4.0, Verdict::Same),
            ("a.system_calls", 4.0, 5.0, Verdict::Worse),
            ("a.system_calls", 4.0, 3.0, Verdict::Better),
            ("a.wishes", 1.0, 1.0, Verdict::Unknown),
            ("wishes", 1.0, 1.0, Verdict::Unknown),
        ];
        for (name, old, new, verdict) in table {
            let judged = judge(name, Some(old), Some(new));
            assert_eq!(judged, verdict, "{name}: {old} to {new}");
        }
    }

    #[test]
    fn a_figure_that_only_one_side_has_is_bad() {
        let old = Figures::from([("a.allocations".into(), 1.0), ("b.allocations".into(), 2.0)]);
        let new = Figures::from([("b.allocations".into(), 2.0), ("c.allocations".into(), 3.0)]);
        let rows = compare(&old, &new);
        let verdicts: Vec<(&str, Verdict)> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.verdict))
            .collect();
        let expected = [
            ("a.allocations", Verdict::Gone),
            ("b.allocations", Verdict::Same),
            ("c.allocations", Verdict::New),
        ];
        assert_eq!(verdicts, expected);
        assert!(!Verdict::Gone.is_good() && !Verdict::New.is_good());
    }

    #[test]
    fn a_line_has_the_old_and_the_new_figure() {
        let row = |name: &str, old, new| Row {
            name: name.to_owned(),
            old,
            new,
            verdict: judge(name, old, new),
        };
        let worse = row("a.instructions", Some(1000.0), Some(1040.0)).line();
        let words: Vec<&str> = worse.split_whitespace().collect();
        assert_eq!(
            words,
            ["a.instructions", "1000", "1040", "+4.00", "%", "WORSE"]
        );
        let new = row("a.copied_per_byte", None, Some(2.0701)).line();
        let words: Vec<&str> = new.split_whitespace().collect();
        assert_eq!(words[..4], ["a.copied_per_byte", "-", "2.07", "-"]);
    }
}
