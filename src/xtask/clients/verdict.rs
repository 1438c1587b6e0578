//! What a suite's checks mean: each listed check must pass, each miss must have its reason written down.

use super::Peer;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// One line of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    name: String,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Check {
    /// Reads `ok NAME`, `FAIL NAME reason` or `skip NAME reason`; any other line is talk.
    pub fn parse(line: &str) -> Option<Check> {
        let (word, rest) = line.trim_end().split_once(' ')?;
        let (name, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let outcome = match word {
            "ok" => Outcome::Passed,
            "FAIL" => Outcome::Failed(reason.to_owned()),
            "skip" => Outcome::Skipped(reason.to_owned()),
            _ => return None,
        };
        Some(Check {
            name: name.to_owned(),
            outcome,
        })
    }

    /// A check of the harness itself that did not pass.
    pub fn failed(name: &str, reason: &str) -> Check {
        Check {
            name: name.to_owned(),
            outcome: Outcome::Failed(reason.to_owned()),
        }
    }
}

/// The name under which the harness reports a suite that did not come to its end.
pub const COMPLETED: &str = "suite-completed";

/// A suite's outcome.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether nothing has to be done.
    pub good: bool,
    /// Checks that passed.
    pub passed: usize,
    /// Checks that did not pass, and whose reason is written down.
    pub known_misses: usize,
    /// What has to be done, a line each.
    pub complaints: Vec<String>,
    new: Vec<String>,
}

impl Verdict {
    /// Judges `checks` by the lists in `folder`.
    pub fn of(folder: &Path, peer: Peer, checks: &[Check]) -> Result<Verdict> {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let listed = read(list_of(peer));
        let findings = read("FINDINGS.md");
        Ok(Verdict::judge(&listed, &findings, peer, checks))
    }

    fn judge(listed: &str, findings: &str, peer: Peer, checks: &[Check]) -> Verdict {
        let expected: BTreeSet<&str> = names(listed).collect();
        let mut verdict = Verdict {
            good: true,
            passed: 0,
            known_misses: 0,
            new: Vec::new(),
            complaints: Vec::new(),
        };
        let mut outcomes: BTreeMap<&str, &Outcome> = BTreeMap::new();
        for check in checks {
            if outcomes.insert(&check.name, &check.outcome).is_some() {
                verdict.complain(&format!("{} was reported twice", check.name));
            }
        }
        for (name, outcome) in &outcomes {
            let (word, reason) = match outcome {
                Outcome::Passed => {
                    verdict.passed += 1;
                    if !expected.contains(name) {
                        verdict.new.push((*name).to_owned());
                    }
                    continue;
                }
                Outcome::Failed(reason) => ("failed", reason),
                Outcome::Skipped(reason) => ("was skipped", reason),
            };
            if expected.contains(name) || *name == COMPLETED {
                verdict.complain(&format!("{name} {word}: {reason}"));
            } else if peer == Peer::Millrace && !explains(findings, name) {
                verdict.complain(&format!(
                    "{name} {word} and FINDINGS.md gives no reason: {reason}"
                ));
            } else {
                verdict.known_misses += 1;
            }
        }
        for name in expected.iter().filter(|name| !outcomes.contains_key(*name)) {
            verdict.complain(&format!("{name} did not run"));
        }
        if verdict.passed == 0 {
            verdict.complain("no check passed");
        }
        verdict
    }

    /// Notes something that has to be done.
    pub fn complain(&mut self, what: &str) {
        self.good = false;
        self.complaints.push(what.to_owned());
    }

    /// Adds the passes that are not listed yet to the peer's list.
    pub fn accept(&self, folder: &Path, peer: Peer) -> Result<()> {
        let path = folder.join(list_of(peer));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let comments = text.lines().filter(|line| line.starts_with('#'));
        let mut lines: Vec<&str> = comments.collect();
        let all: BTreeSet<&str> = names(&text)
            .chain(self.new.iter().map(String::as_str))
            .collect();
        lines.extend(all);
        std::fs::write(&path, lines.join("\n") + "\n").with_context(|| path.display().to_string())
    }

    /// Says the outcome.
    pub fn print(&self, name: &str, took: Duration) {
        for complaint in &self.complaints {
            println!("-- {name}: {complaint}");
        }
        if !self.new.is_empty() {
            println!("-- {name}: pass and are not listed: {}", self.new.join(" "));
        }
        let word = if self.good { "good" } else { "BAD" };
        println!(
            "== {name}: {word}, {} passed, {} known misses, {} complaints, {:.1} s",
            self.passed,
            self.known_misses,
            self.complaints.len(),
            took.as_secs_f64()
        );
    }
}

fn list_of(peer: Peer) -> &'static str {
    match peer {
        Peer::Millrace => "expected.txt",
        Peer::Kafka => "kafka.txt",
    }
}

/// The names of a list: one a line, `#` begins a comment.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or("").trim())
        .filter(|name| !name.is_empty())
}

/// Whether the page names the check between backquotes.
fn explains(findings: &str, name: &str) -> bool {
    findings.contains(&format!("`{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_checks_or_talk() {
        let cases = [
            ("ok a", Some(("a", Outcome::Passed))),
            (
                "FAIL b no answer came",
                Some(("b", Outcome::Failed("no answer came".into()))),
            ),
            ("skip c", Some(("c", Outcome::Skipped(String::new())))),
            ("building", None),
            ("okay d", None),
        ];
        for (line, wanted) in cases {
            let wanted = wanted.map(|(name, outcome)| Check {
                name: name.into(),
                outcome,
            });
            assert_eq!(Check::parse(line), wanted, "{line}");
        }
    }

    #[test]
    fn a_verdict_is_good_only_when_every_miss_is_known() {
        let cases = [
            ("all pass", "a\nb", "", "ok a\nok b", true),
            ("a new pass", "a", "", "ok a\nok b", true),
            (
                "a listed check fails",
                "a\nb",
                "`b` is hard",
                "ok a\nFAIL b x",
                false,
            ),
            (
                "a listed check is skipped",
                "a\nb",
                "`b`",
                "ok a\nskip b x",
                false,
            ),
            ("a listed check does not run", "a\nb", "", "ok a", false),
            (
                "an explained miss",
                "a",
                "`b` needs a cluster",
                "ok a\nFAIL b x",
                true,
            ),
            ("an unexplained miss", "a", "", "ok a\nFAIL b x", false),
            ("reported twice", "a", "", "ok a\nok a", false),
            ("nothing passes", "", "`b`", "FAIL b x", false),
            (
                "did not end",
                "a",
                "`suite-completed`",
                "ok a\nFAIL suite-completed x",
                false,
            ),
            ("comments", "# list\na # why", "", "ok a", true),
        ];
        for (story, listed, findings, output, good) in cases {
            let checks: Vec<Check> = output.lines().filter_map(Check::parse).collect();
            let verdict = Verdict::judge(listed, findings, Peer::Millrace, &checks);
            assert_eq!(verdict.good, good, "{story}: {verdict:?}");
        }
    }
}
