//! `docs/PERFORMANCE.md`: the tables are made from the JSON, what people wrote around them stays.

use super::goals::GOALS;
use super::plan::{Mode, Side};
use super::result::{CellResult, Report};
use super::table::{number, quotient, rows};
use anyhow::{Context, Result};
use std::fmt::Write as _;

const BEGIN: &str = "<!-- made by `cargo xtask bench --write`: begin -->";
const END: &str = "<!-- made by `cargo xtask bench --write`: end -->";

/// The page before anything was measured.
const SKELETON: &str = "# Performance

Millrace and Apache Kafka side by side, on one machine, in one run; `TESTING.md` says how to run it and how to read it.
The tables are made by `cargo xtask bench --write`; the profiles below them are written by people.

<!-- made by `cargo xtask bench --write`: begin -->
<!-- made by `cargo xtask bench --write`: end -->

## Profiles

For each of W1, W2, W4 and W5a: where the processor's time goes, what the limit is, how far we are from it, what was tried and did not pay.

### W1

Not written yet.

### W2

Not written yet.

### W4

Not written yet.

### W5a

Not written yet.
";

/// The page with these results: `present` is what the page is now.
///
/// # Errors
/// If the page has lost its markers.
pub fn page(present: Option<&str>, report: &Report) -> Result<String> {
    let present = present.unwrap_or(SKELETON);
    let (head, rest) = present
        .split_once(BEGIN)
        .context("docs/PERFORMANCE.md has no marker where the tables begin")?;
    let (_, tail) = rest
        .split_once(END)
        .context("docs/PERFORMANCE.md has no marker where the tables end")?;
    Ok(format!("{head}{BEGIN}\n\n{}\n{END}{tail}", made(report)))
}

fn made(report: &Report) -> String {
    let mut text = String::from("## Where it was measured\n\n");
    let machine = &report.machine;
    let kind = match report.mode {
        Mode::Full => "full",
        Mode::Quick => "quick: runs of seconds, which show where one stands and prove nothing",
    };
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "- {name}: {value}");
    };
    line("date", &format!("{} UTC", report.date));
    line("command", &format!("`cargo xtask {}`", report.command));
    line("kind of run", kind);
    let size = format!(
        "{} x {}, {:.0} GiB, {}, {}",
        machine.processors,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        machine.file_system
    );
    line("machine", &size);
    for (name, version) in &report.versions {
        line(name, version);
    }
    if let Some(shape) = &report.peer_shape {
        line("Kafka's shape", shape);
    }
    if let Some(choice) = &report.shape {
        line("chosen because", &choice.reason);
    }
    text.push_str(&goals(report));
    text.push_str("\n## All figures\n\nMedians of the runs; the ratio is the median of the pairs' ratios, with the least and the greatest.\n");
    for cell in &report.cells {
        text.push_str(&figures(cell));
    }
    text
}

fn goals(report: &Report) -> String {
    let mut text = String::from(
        "\n## Goals\n\nRatios are Millrace ÷ Kafka; a cell marked with a star was noisy.\n\n\
         | cell | figure | Millrace | Kafka | ratio | goal | | moonshot |\n|---|---|---|---|---|---|---|---|\n",
    );
    for goal in GOALS {
        for cell in report.cells.iter().filter(|cell| goal.is_of(cell)) {
            let told = |side: Side| {
                let figure = cell.figure(side, goal.metric());
                figure.map_or_else(|| "-".to_owned(), number)
            };
            let (wanted, verdict) = match goal.judge(cell) {
                Some(judged) if judged.is_met => (judged.goal, "met"),
                Some(judged) => (judged.goal, "**not met**"),
                None => ("-".to_owned(), "not measured"),
            };
            let star = if cell.noise().is_some() { " *" } else { "" };
            let _ = writeln!(
                text,
                "| {}{star} | {} | {} | {} | {} | {wanted} | {verdict} | {} |",
                cell.name,
                goal.metric(),
                told(Side::A),
                told(Side::B),
                quotient(cell, goal.metric()).unwrap_or_else(|| "-".to_owned()),
                goal.moonshot
            );
        }
    }
    text
}

fn figures(cell: &CellResult) -> String {
    let pairs = cell.runs.len() / 2;
    let mut text = format!(
        "\n### {}\n\n{}. {pairs} pairs, {} UTC.\n",
        cell.name, cell.title, cell.date
    );
    if let Some(noise) = cell.noise() {
        let _ = writeln!(text, "Noisy: {noise}.");
    }
    if let Some(failure) = &cell.failure {
        let _ = writeln!(text, "Not measured to its end: {failure}.");
    }
    if !cell.runs.is_empty() {
        text.push_str("\n| figure | Millrace | Kafka | ratio |\n|---|---|---|---|\n");
    }
    for row in rows(cell) {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::result::{metric, samples};
    use super::*;

    fn report() -> Report {
        let name = metric::CPU_PER_GB;
        let runs = vec![
            samples::run(Side::A, name, 0.3),
            samples::run(Side::B, name, 1.0),
        ];
        samples::report(vec![samples::cell("w1-1KiB-16p-java", runs)])
    }

    #[test]
    fn what_people_wrote_stays() {
        let first = page(None, &report()).expect("a page");
        let written = first.replace(
            "### W4\n\nNot written yet.",
            "### W4\n\nAll of it is syncs.",
        );
        let second = page(Some(&written), &report()).expect("a page");
        assert!(second.contains("All of it is syncs."));
        assert_eq!(written, second);
        assert!(page(Some("# Performance\n"), &report()).is_err());
    }

    #[test]
    fn a_goal_stands_beside_its_ratio() {
        let text = page(None, &report()).expect("a page");
        let row = "| w1-1KiB-16p-java | broker CPU-s/GB | 0.30 | 1.00 | 0.30x (0.30-0.30) | ≤ 0.4x | met | ≤ 0.25x |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("- Apache Kafka: 4.3.1"), "{text}");
        assert!(text.contains("what w1-1KiB-16p-java is. 1 pairs"), "{text}");
    }

    #[test]
    fn what_failed_is_told() {
        let mut report = report();
        report.cells[0].runs.clear();
        report.cells[0].failure = Some("no compiler".to_owned());
        let text = page(None, &report).expect("a page");
        assert!(text.contains("Not measured to its end: no compiler."));
        assert!(text.contains("| - | - | - | - | not measured |"), "{text}");
    }
}
