//! Each checker fires at the smallest history that is wrong, and keeps still at its legal neighbour.

mod controls;
mod corruptions;
mod model;
mod rows;
mod speed;
mod stories;

use super::judge;
use crate::checkers::Report;
use crate::history::story::story;
use std::collections::BTreeSet;

/// What a story is judged to be.
fn judged(text: &str) -> Report {
    let (history, expectations) = story(text);
    judge(&history, &expectations).0
}

/// The names of the checkers that fire at a story.
fn fires(text: &str) -> String {
    let report = judged(text);
    let names: BTreeSet<_> = report
        .findings
        .iter()
        .map(|finding| finding.checker)
        .collect();
    let names: Vec<_> = names.iter().map(|name| name.name()).collect();
    names.join(" ")
}

/// Tells each story of a table and compares who fires.
fn tell(table: &[(&str, &str, &str)]) {
    for (name, text, expected) in table {
        let report = judged(text);
        assert_eq!(fires(text), *expected, "{name}: {:#?}", report.findings);
    }
}
