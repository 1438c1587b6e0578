//! Where two traces of the same plan part.

use std::io::BufRead;

/// Lines that are told before and after the place.
const LINES_TOLD: usize = 5;

/// The first difference of two traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The line, from 1.
    pub line: u64,
    /// The event that came first otherwise, of each trace; nothing where a trace is over.
    pub events: [Option<String>; 2],
    /// The lines before it, which are the same.
    pub before: Vec<String>,
    /// What came after it, of each trace.
    pub after: [Vec<String>; 2],
}

/// Finds the first line in which two traces differ; none, if they are the same.
///
/// # Errors
/// Those of the readers.
pub fn first_difference(
    a: &mut dyn BufRead,
    b: &mut dyn BufRead,
) -> std::io::Result<Option<Difference>> {
    let mut before: Vec<String> = Vec::new();
    let (mut left, mut right) = (String::new(), String::new());
    let mut line = 0;
    loop {
        line += 1;
        let ended = read(a, &mut left)? + read(b, &mut right)? == 0;
        if left != right {
            let after = [rest(a)?, rest(b)?];
            return Ok(Some(Difference {
                line,
                events: [told(&left), told(&right)],
                before,
                after,
            }));
        }
        if ended {
            return Ok(None);
        }
        if !left.starts_with('#') {
            if before.len() == LINES_TOLD {
                before.remove(0);
            }
            before.push(left.trim_end().to_owned());
        }
    }
}

fn read(from: &mut dyn BufRead, line: &mut String) -> std::io::Result<usize> {
    line.clear();
    from.read_line(line)
}

fn told(line: &str) -> Option<String> {
    (!line.is_empty()).then(|| line.trim_end().to_owned())
}

fn rest(from: &mut dyn BufRead) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut line = String::new();
    while lines.len() < LINES_TOLD && read(from, &mut line)? > 0 {
        lines.push(line.trim_end().to_owned());
    }
    Ok(lines)
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.before {
            writeln!(f, "    {line}")?;
        }
        for (sign, index) in [('-', 0), ('+', 1)] {
            let event = self.events[index]
                .as_deref()
                .unwrap_or("(the trace is over)");
            writeln!(f, "  {sign} {event}")?;
            for line in &self.after[index] {
                writeln!(f, "  {sign}   {line}")?;
            }
        }
        let event = self
            .events
            .iter()
            .flatten()
            .find(|line| !line.starts_with('#'));
        let mut words = event
            .map(|line| line.split_whitespace())
            .into_iter()
            .flatten();
        match (words.next(), words.next(), words.next()) {
            (Some(time), Some(node), Some(kind)) => {
                write!(
                    f,
                    "first difference: line {}, {time} s, {node}, {kind}",
                    self.line
                )
            }
            // The texts are the same, and a hash of what they stand for is not.
            _ => write!(
                f,
                "first difference: line {}, in what a line does not tell",
                self.line
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "# trace 1\n   0.000100 broker-1   open file=/a\n   0.000200 client-0   connect peer=1\n\
         # slice 0 node 1 hash 12\n   0.100300 broker-1   sync file=/a\n   0.200000 broker-1   write bytes=5\n";

    fn compare(a: &str, b: &str) -> Option<Difference> {
        first_difference(&mut a.as_bytes(), &mut b.as_bytes()).expect("memory can be read")
    }

    #[test]
    fn the_same_is_no_difference() {
        assert_eq!(compare(TRACE, TRACE), None);
    }

    #[test]
    fn event_node_and_time_are_told() {
        let found = compare(TRACE, &TRACE.replace("sync file=/a", "sync file=/b")).expect("one");
        assert_eq!(found.line, 5);
        let text = found.to_string();
        assert!(
            text.contains("  -    0.100300 broker-1   sync file=/a"),
            "{text}"
        );
        assert!(
            text.ends_with("line 5, 0.100300 s, broker-1, sync"),
            "{text}"
        );
        let found = compare(
            TRACE,
            &TRACE[..TRACE.find("   0.200000").expect("it is there")],
        )
        .expect("one");
        assert_eq!(found.events[1], None);
        let found = compare(TRACE, &TRACE.replace("hash 12", "hash 13")).expect("one");
        assert!(
            found.to_string().contains("in what a line does not tell"),
            "{found}"
        );
    }
}
