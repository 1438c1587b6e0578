//! Checkers that know only what clients saw: they can judge any Kafka.
//!
//! Each checker's definition is Jepsen's, with positions taken from offsets instead of values, so that a legal
//! duplicate confuses nobody. What is a violation under which configuration says [`table`].

mod agreement;
mod expectations;
mod figures;
mod floor;
mod honesty;
mod index;
mod listings;
mod loss;
mod polls;
mod register;
mod sends;
pub mod table;
#[cfg(test)]
mod tests;

use super::Report;
use crate::history::History;

pub use expectations::{Excused, Expectations, GroupExpectation, KeyExpectation};
pub use figures::Figures;
pub use index::{Call, Indexed, KeyLog, Reading, Seen, Source, Write};

/// What the clients of a run saw, judged.
pub fn judge(history: &History, expectations: &Expectations) -> (Report, Figures) {
    let indexed = Indexed::new(history, expectations);
    let mut report = Report::default();
    agreement::check(&indexed, &mut report);
    loss::check(&indexed, &mut report);
    honesty::check(&indexed, &mut report);
    polls::check(&indexed, &mut report);
    sends::check(&indexed, &mut report);
    listings::check(&indexed, &mut report);
    register::check(&indexed, &mut report);
    report.sort();
    (report, Figures::of(&indexed))
}
