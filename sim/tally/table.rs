//! A tally for a person.

use std::fmt::{self, Write};

use super::{Count, End, Tally, Trouble};
use crate::marks::{FAULTS, MARKS};

/// Runs that are not green and are told whole; the others are only counted.
const TROUBLES_TOLD_MAX: usize = 40;
/// Letters of a message.
const MESSAGE_LETTERS_MAX: usize = 160;

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts(
            f,
            "fault kinds",
            &self.faults,
            FAULTS.iter().map(|(name, _)| *name),
        )?;
        self.counts(f, "marks", &self.marks, MARKS.iter().map(|mark| mark.name))?;
        self.operations(f)?;
        self.work(f)?;
        self.troubles(f)?;
        self.sums(f)
    }
}

impl Tally {
    fn counts<'a>(
        &self,
        f: &mut fmt::Formatter<'_>,
        title: &str,
        counts: &std::collections::BTreeMap<String, Count>,
        known: impl Iterator<Item = &'a str>,
    ) -> fmt::Result {
        writeln!(f, "{title:<32} {:>12} {:>8}", "times", "seeds")?;
        for (name, count) in counts {
            writeln!(f, "  {name:<30} {:>12} {:>8}", count.times, count.seeds)?;
        }
        let never: Vec<&str> = known.filter(|name| !counts.contains_key(*name)).collect();
        if !never.is_empty() {
            writeln!(f, "  never: {}", never.join(", "))?;
        }
        writeln!(f)
    }

    fn operations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<32} {:>12} {:>8} {:>8}",
            "operations", "ok", "fail", "unknown"
        )?;
        for (name, outcomes) in &self.operations {
            let (ok, fail, info) = (outcomes.ok, outcomes.fail, outcomes.info);
            writeln!(f, "  {name:<30} {ok:>12} {fail:>8} {info:>8}")?;
        }
        writeln!(f)
    }

    fn work(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::from("checkers looked at:");
        for (name, count) in &self.work {
            write!(line, " {name} {count}")?;
        }
        writeln!(f, "{line}\n")
    }

    fn troubles(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for trouble in self.troubles.iter().take(TROUBLES_TOLD_MAX) {
            writeln!(f, "{trouble}")?;
        }
        if let Some(more) = self.troubles.len().checked_sub(TROUBLES_TOLD_MAX)
            && more > 0
        {
            writeln!(f, "and {more} more")?;
        }
        if !self.is_green() {
            writeln!(f)?;
        }
        Ok(())
    }

    fn sums(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |end: End| self.troubles.iter().filter(|one| one.end == end).count();
        let (red, died, stale) = (count(End::Red), count(End::Died), count(End::Stale));
        write!(f, "{} seeds: {} green, {red} red", self.seeds, self.green)?;
        for (number, word) in [(died, "died"), (stale, "stale")] {
            if number > 0 {
                write!(f, ", {number} {word}")?;
            }
        }
        if self.not_begun > 0 {
            write!(f, ", {} not begun in time", self.not_begun)?;
        }
        writeln!(f)?;
        if let Some(planted) = &self.planted {
            let (times, seeds) = (self.activations.times, self.activations.seeds);
            writeln!(f, "planted {planted}: acted {times} times in {seeds} seeds")?;
        }
        let (simulated, cpu) = (self.simulated_ms as f64 / 1e3, self.cpu_ms as f64 / 1e3);
        writeln!(
            f,
            "{:.0} seeds a core-minute, {:.0} simulated seconds a CPU second ({simulated:.0} s in {cpu:.1} s), {} events",
            self.seeds_per_core_minute(),
            self.speed(),
            self.events
        )?;
        writeln!(f, "commit {} generator {}", self.commit, self.generator)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.end {
            End::Red => "RED",
            End::Died => "DIED",
            End::Stale => "STALE",
        };
        let message: String = self.message.chars().take(MESSAGE_LETTERS_MAX).collect();
        let (checker, object) = (&self.checker, &self.object);
        write!(
            f,
            "{word} seed {}: {checker} {object}: {message}",
            self.seed
        )?;
        if self.reports > 1 {
            write!(f, " (and {} more)", self.reports - 1)?;
        }
        write!(f, "\n  {}", self.replay)
    }
}
