//! Calls that a room may not make, each with what to use instead.
//!
//! A call that must stay is listed in `src/xtask/tidy/exceptions.toml` with its reason; an exception that excuses nothing is a finding.

use super::Finding;
use super::rooms::{self, Kind};
use super::source::{Source, behind_matching};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;
use toml::Table;

/// A word that some rooms may not write.
struct Ban {
    word: &'static str,
    /// Rooms in which it is allowed.
    allowed: fn(&Source, Kind) -> bool,
    /// Whether tests may write it.
    tests_may: bool,
    instead: &'static str,
}

const NOWHERE: fn(&Source, Kind) -> bool = |_, _| false;
/// Everything but what runs inside a node.
const OUTSIDE: fn(&Source, Kind) -> bool =
    |_, kind| matches!(kind, Kind::Runtime | Kind::Chore | Kind::Harness);
const NOT_PURE: fn(&Source, Kind) -> bool = |_, kind| kind != Kind::Pure;
const PRINTS: fn(&Source, Kind) -> bool = |source, kind| {
    matches!(kind, Kind::Chore | Kind::Harness)
        || matches!(source.room.as_str(), "cli" | "millrace")
};
const NOT_MACHINE: fn(&Source, Kind) -> bool = |source, _| !rooms::is_machine(&source.room);
const SIMULATED: fn(&Source, Kind) -> bool = |source, kind| {
    matches!(kind, Kind::Runtime | Kind::Harness) || source.path.ends_with("types/planted.rs")
};

const BANS: &[Ban] = &[
    ban(
        "todo!",
        NOWHERE,
        false,
        "write it, or return an error that says what is not served",
    ),
    ban(
        "unimplemented!",
        NOWHERE,
        false,
        "write it, or return an error that says what is not served",
    ),
    ban("dbg!", NOWHERE, false, "remove it"),
    ban("std::fs", OUTSIDE, true, "files go through runtime::disk"),
    ban(
        "std::thread",
        OUTSIDE,
        true,
        "threads and tasks come from runtime::task",
    ),
    ban(
        "std::process::Command",
        OUTSIDE,
        true,
        "a broker starts no processes; tests of processes live in tests/ and xtask",
    ),
    ban(
        "Instant::now",
        OUTSIDE,
        true,
        "time is an argument (types::Now); drivers read runtime::Clock",
    ),
    ban(
        "SystemTime::now",
        OUTSIDE,
        true,
        "time is an argument (types::Now); drivers read runtime::Clock",
    ),
    ban(
        "tokio::",
        |_, kind| matches!(kind, Kind::Runtime | Kind::Harness),
        false,
        "use what runtime offers (net, time, task, sync, io)",
    ),
    ban(
        "madsim",
        SIMULATED,
        false,
        "cfg(madsim) lives in runtime, sim and types::planted!: put the difference behind runtime",
    ),
    ban("std::time::Instant", NOT_PURE, true, "use types::Mono"),
    ban("std::time::SystemTime", NOT_PURE, true, "use types::Wall"),
    ban("std::env", NOT_PURE, true, "take the value as an argument"),
    ban(
        "async",
        NOT_PURE,
        false,
        "a pure crate takes an input and gives actions; waiting is the driver's",
    ),
    ban(
        "thread_local!",
        SIMULATED,
        true,
        "give the value at construction",
    ),
    ban(
        "static mut",
        NOWHERE,
        false,
        "give the value at construction",
    ),
    ban(
        "OnceLock",
        NOT_PURE,
        true,
        "give the value at construction, or make it a const",
    ),
    ban(
        "LazyLock",
        NOT_PURE,
        true,
        "give the value at construction, or make it a const",
    ),
    ban(
        "Mutex",
        NOT_PURE,
        true,
        "a machine has one owner and takes &mut self",
    ),
    ban(
        "RwLock",
        NOT_PURE,
        true,
        "a machine has one owner and takes &mut self",
    ),
    ban(
        "HashMap",
        NOT_PURE,
        true,
        "use BTreeMap: its order is the same in every run",
    ),
    ban(
        "HashSet",
        NOT_PURE,
        true,
        "use BTreeSet: its order is the same in every run",
    ),
    ban(
        "println!",
        PRINTS,
        true,
        "log with tracing, or note it on the actions",
    ),
    ban(
        "eprintln!",
        PRINTS,
        true,
        "log with tracing, or note it on the actions",
    ),
    ban(
        "protocol::messages",
        NOT_MACHINE,
        false,
        "a machine has its own domain structs; the broker's handlers convert",
    ),
    ban(
        "protocol::frame",
        NOT_MACHINE,
        false,
        "a machine has its own domain structs; the broker's handlers convert",
    ),
];

const fn ban(
    word: &'static str,
    allowed: fn(&Source, Kind) -> bool,
    tests_may: bool,
    instead: &'static str,
) -> Ban {
    Ban {
        word,
        allowed,
        tests_may,
        instead,
    }
}

/// Names of std::net that open sockets; addresses are only data.
const SOCKETS: &[&str] = &["TcpListener", "TcpStream", "UdpSocket", "ToSocketAddrs"];

/// Findings of every banned call in `sources`.
pub fn check(root: &Path, sources: &[Source]) -> Result<Vec<Finding>> {
    let mut exceptions = Exceptions::read(root)?;
    let mut findings = Vec::new();
    for source in sources {
        let kind = kind_of(source);
        for rule in BANS.iter().filter(|rule| !(rule.allowed)(source, kind)) {
            for at in source.words(rule.word) {
                let excused =
                    (rule.tests_may && source.in_tests(at)) || exceptions.excuse(source, rule.word);
                if !excused {
                    let message = format!("`{}` is banned here: {}", rule.word, rule.instead);
                    findings.push(Finding::new(&source.path, source.line_at(at), message));
                }
            }
        }
        findings.extend(sockets(source, kind));
        findings.extend(unbiased(source));
        findings.extend(fix_me(source));
    }
    findings.extend(exceptions.unused());
    Ok(findings)
}

/// The kind of the room, which a file outside the table does not have: then the strictest that may act.
fn kind_of(source: &Source) -> Kind {
    match rooms::room(&source.room) {
        Some(room) => room.kind,
        None if source.path.starts_with("src") => Kind::Inside,
        None => Kind::Harness,
    }
}

fn sockets(source: &Source, kind: Kind) -> Vec<Finding> {
    if OUTSIDE(source, kind) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for at in source.words("std::net") {
        let end = source.code[at..]
            .find(';')
            .map_or(source.code.len(), |semicolon| at + semicolon);
        let line_end = source.code[at..]
            .find('\n')
            .map_or(end, |newline| at + newline);
        let end = if source.code[at..end].contains('{') {
            end
        } else {
            end.min(line_end)
        };
        let used = &source.code[at..end];
        let opens = SOCKETS
            .iter()
            .any(|name| super::source::find_words(used, name).next().is_some());
        if (opens || used == "std::net") && !source.in_tests(at) {
            let message = "`std::net` sockets are banned here: they come from runtime::net";
            findings.push(Finding::new(&source.path, source.line_at(at), message));
        }
    }
    findings
}

/// `select!` polls in random order unless it begins with `biased;`, and a replay would differ.
fn unbiased(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for at in source.words("select!") {
        let rest = source.code[at + "select!".len()..].trim_start();
        let open = source.code.len() - rest.len();
        let body = &source.code[open..behind_matching(&source.code, open)];
        let first = body.trim_start_matches(['{', '(']).trim_start();
        if rest.starts_with(['{', '(']) && !first.starts_with("biased") && !first.starts_with('$') {
            let message = "`select!` without `biased;`: write it first, so that a seed replays";
            findings.push(Finding::new(&source.path, source.line_at(at), message));
        }
    }
    findings
}

fn fix_me(source: &Source) -> Vec<Finding> {
    let word = concat!("FIX", "ME");
    let places = super::source::find_words(&source.comments, word);
    let message = format!("`{word}`: do it now, or write the limitation as a sentence");
    places
        .map(|at| Finding::new(&source.path, source.line_at(at), message.clone()))
        .collect()
}

/// Calls that may stay: path -> word -> reason.
struct Exceptions {
    listed: BTreeMap<(String, String), (usize, bool)>,
}

const EXCEPTIONS: &str = "src/xtask/tidy/exceptions.toml";

impl Exceptions {
    fn read(root: &Path) -> Result<Exceptions> {
        let mut listed = BTreeMap::new();
        let path = root.join(EXCEPTIONS);
        if path.is_file() {
            let text = std::fs::read_to_string(path)?;
            let table: Table = text.parse().context(EXCEPTIONS)?;
            for (file, words) in &table {
                for (word, reason) in words.as_table().context("a table of words per file")? {
                    let reason = reason.as_str().context("a reason in words")?;
                    anyhow::ensure!(
                        reason.len() > 10,
                        "{EXCEPTIONS}: {file}: {word} needs a reason"
                    );
                    let line = text.lines().position(|line| line.contains(file.as_str()));
                    listed.insert((file.clone(), word.clone()), (line.unwrap_or(0) + 1, false));
                }
            }
        }
        Ok(Exceptions { listed })
    }

    fn excuse(&mut self, source: &Source, word: &str) -> bool {
        let key = (source.path.to_string_lossy().into_owned(), word.to_owned());
        let Some((_, used)) = self.listed.get_mut(&key) else {
            return false;
        };
        *used = true;
        true
    }

    fn unused(&self) -> Vec<Finding> {
        let unused = self.listed.iter().filter(|(_, (_, used))| !used);
        unused
            .map(|((file, word), (line, _))| {
                let message = format!("{file} no longer writes `{word}`: remove the exception");
                Finding::new(Path::new(EXCEPTIONS), *line, message)
            })
            .collect()
    }
}
