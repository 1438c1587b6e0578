//! Which planted bugs are found, how fast and by whom: `docs/MUTANTS.md`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What became of one planted bug.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The seed that was red first, which is green without it.
    pub seed: Option<u64>,
    /// Runs until then, or all.
    pub seeds: u64,
    /// Processor milliseconds until then.
    pub cpu_ms: u64,
    /// The first checker.
    pub checker: String,
    /// Runs in which it acted.
    pub acted_seeds: u64,
    /// How often it acted.
    pub activations: u64,
    /// Seeds that are red without it: findings of their own.
    pub red_without: Vec<u64>,
}

/// What that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A checker saw it.
    Found,
    /// It acted, and nobody saw it: a checker is missing.
    Unseen,
    /// It never acted: the workload or the faults do not get there.
    NeverActed,
}

impl Row {
    /// What it means.
    pub fn fate(&self) -> Fate {
        match (self.seed, self.activations) {
            (Some(_), _) => Fate::Found,
            (None, 0) => Fate::NeverActed,
            (None, _) => Fate::Unseen,
        }
    }
}

impl fmt::Display for Row {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, seeds, cpu) = (&self.name, self.seeds, self.cpu_ms as f64 / 1e3);
        let acted = self.activations;
        match (self.seed, self.fate()) {
            (Some(seed), _) => write!(
                f,
                "found   {name:<32} {seeds:>5} seeds {cpu:>8.1} s  {:<6} seed {seed}, acted {acted} times",
                self.checker
            ),
            (None, Fate::NeverActed) => write!(
                f,
                "IDLE    {name:<32} {seeds:>5} seeds {cpu:>8.1} s  never acted"
            ),
            (None, _) => write!(
                f,
                "UNSEEN  {name:<32} {seeds:>5} seeds {cpu:>8.1} s  acted {acted} times in {} seeds",
                self.acted_seeds
            ),
        }
    }
}

/// What became of a negative control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlRow {
    /// Its name.
    pub name: String,
    /// What happens, and is permitted.
    pub meaning: String,
    /// Runs.
    pub seeds: u64,
    /// Reports: each is a false alarm.
    pub red: Vec<u64>,
}

/// The page.
pub fn page(rows: &[Row], controls: &[ControlRow], heading: &str) -> String {
    let found = rows.iter().filter(|row| row.fate() == Fate::Found).count();
    let soon = rows
        .iter()
        .filter(|row| row.seed.is_some() && row.seeds <= 100)
        .count();
    let mut text = format!(
        "# Mutants\n\nWritten by `cargo sim mutants --write`. {heading}\n\n\
         {found} of {} found, {soon} of them within 100 seeds. *Seeds* and *CPU s* are what it took to the first red run that is green without the bug.\n\n\
         | mutant | found | seeds | CPU s | first checker | seed | acted in seeds | times |\n|---|---|---|---|---|---|---|---|\n",
        rows.len()
    );
    for row in rows {
        let fate = match row.fate() {
            Fate::Found => "yes",
            Fate::Unseen => "NO",
            Fate::NeverActed => "never acted",
        };
        let seed = row
            .seed
            .map_or_else(|| "-".to_owned(), |seed| seed.to_string());
        let checker = if row.checker.is_empty() {
            "-"
        } else {
            &row.checker
        };
        text.push_str(&format!(
            "| {} | {fate} | {} | {:.1} | {checker} | {seed} | {} | {} |\n",
            row.name,
            row.seeds,
            row.cpu_ms as f64 / 1e3,
            row.acted_seeds,
            row.activations
        ));
    }
    text.push_str("\n## Negative controls\n\nWhat is permitted must not be reported.\n\n| control | what happens | seeds | reports |\n|---|---|---|---|\n");
    for row in controls {
        let (name, meaning, red) = (&row.name, &row.meaning, row.red.len());
        text.push_str(&format!("| {name} | {meaning} | {} | {red} |\n", row.seeds));
    }
    text
}

/// The seed that found each mutant, as a page written by [`page`] says.
pub fn seeds_of(page: &str) -> BTreeMap<String, u64> {
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (name, found) = (cells.next()?, cells.next()?);
        let seed = cells.nth(3)?.parse().ok()?;
        (found == "yes").then(|| (name.to_owned(), seed))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, seed: Option<u64>, activations: u64) -> Row {
        Row {
            name: name.into(),
            seed,
            seeds: 12,
            cpu_ms: 3_400,
            checker: seed.map_or_else(String::new, |_| "S12".into()),
            acted_seeds: activations.min(4),
            activations,
            red_without: Vec::new(),
        }
    }

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let rows = [
            row("TornTailKept", Some(42), 7),
            row("AckBeforeFlush", None, 3),
            row("Sleeper", None, 0),
        ];
        let controls = [ControlRow {
            name: "rebalances".into(),
            meaning: "members come and go".into(),
            seeds: 20,
            red: vec![],
        }];
        let text = page(&rows, &controls, "Commit c0ffee.");
        assert!(
            text.contains("1 of 3 found, 1 of them within 100 seeds"),
            "{text}"
        );
        assert!(
            text.contains("| TornTailKept | yes | 12 | 3.4 | S12 | 42 | 4 | 7 |"),
            "{text}"
        );
        assert!(
            text.contains("| AckBeforeFlush | NO | 12 | 3.4 | - | - | 3 | 3 |"),
            "{text}"
        );
        assert!(text.contains("| Sleeper | never acted |"), "{text}");
        assert!(
            text.contains("| rebalances | members come and go | 20 | 0 |"),
            "{text}"
        );
        assert_eq!(
            seeds_of(&text),
            BTreeMap::from([("TornTailKept".into(), 42)])
        );
        let lines: Vec<String> = rows.iter().map(Row::to_string).collect();
        assert!(
            lines[0].starts_with("found") && lines[1].starts_with("UNSEEN"),
            "{lines:?}"
        );
        assert!(lines[2].starts_with("IDLE"), "{lines:?}");
    }
}
