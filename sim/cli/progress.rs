//! How far a long command is: a bar on a terminal, now and then a line elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two lines, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Letters of the bar.
const WIDTH: usize = 30;

/// Tells how far it is, on standard error.
pub(super) struct Progress {
    what: &'static str,
    /// How many there are, if that is known.
    all: Option<u64>,
    done: u64,
    bad: u64,
    began: Instant,
    told: Instant,
    is_terminal: bool,
}

impl Progress {
    /// Of `all` things.
    pub(super) fn new(what: &'static str, all: Option<u64>) -> Progress {
        let now = Instant::now();
        Progress {
            what,
            all,
            done: 0,
            bad: 0,
            began: now,
            told: now,
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// One more is done.
    pub(super) fn step(&mut self, is_bad: bool) {
        self.done += 1;
        self.bad += u64::from(is_bad);
    }

    /// Tells how far it is, if it is time to.
    pub(super) fn show(&mut self) {
        if self.is_terminal {
            eprint!("\r{}\x1b[K", self.line());
            let _ = std::io::stderr().flush();
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            eprintln!("{}", self.line());
        }
    }

    /// Says something between.
    pub(super) fn say(&mut self, text: &str) {
        self.clear();
        sayln!("{text}");
        let _ = std::io::stdout().flush();
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }

    /// Real milliseconds since the beginning.
    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn line(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let mut line = String::new();
        if let Some(all) = self.all {
            let filled = (self.done * WIDTH as u64 / all.max(1)) as usize;
            line = format!("[{}{}] ", "#".repeat(filled), "-".repeat(WIDTH - filled));
        }
        line += &match self.all {
            Some(all) => format!("{} of {all} {}", self.done, self.what),
            None => format!("{} {}", self.done, self.what),
        };
        if self.bad > 0 {
            line += &format!(", {} not green", self.bad);
        }
        line += &format!(", {seconds:.0} s");
        if let Some(all) = self.all
            && self.done > 0
        {
            let left = seconds * (all - self.done) as f64 / self.done as f64;
            line += &format!(", {left:.0} s left");
        }
        line
    }
}
