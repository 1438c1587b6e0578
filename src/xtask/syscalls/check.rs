//! The order that durability needs, looked for in a trace.
//!
//! * Before an acknowledgement is written to the client, every log that the request wrote has been synced, by a sync
//!   that began after the write had ended, or a journal was written after that and synced; its name, and its directory's
//!   name, too.
//! * Every file that is written beside its place (`.tmp`, `.cleaned`) is synced after the last write and before the
//!   rename, and its directory after the rename.
//! * Every name made, changed or removed in the data directory is followed by a sync of the folder that it is in.

use super::trace::Call;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a request must have made durable before its answer.
pub struct Expected {
    /// The request, for people.
    pub what: String,
    /// The directories of the partitions that hold what it wrote; empty if it promises nothing.
    pub partitions: Vec<String>,
}

/// A file or folder of the data directory.
#[derive(Default, Clone)]
struct State {
    /// The line on which the last write ended.
    written: Option<usize>,
    /// The line on which the name came to be, or to be gone.
    named: Option<usize>,
    is_gone: bool,
}

/// The history of a data directory while its trace is read.
pub struct Checker<'a> {
    data: &'a str,
    files: BTreeMap<String, State>,
    /// Syncs by path: the lines of begin and end of each.
    syncs: BTreeMap<String, Vec<(usize, usize)>>,
    complaints: Vec<String>,
    /// Writes found below each acknowledgement that promises something.
    pub acknowledged: usize,
}

/// A file whose loss recovery makes good, written without waiting: its content may lag behind.
fn is_expendable(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    [".lock", ".reserved-space"].contains(&name)
        || name.starts_with("leader-epoch-checkpoint")
        || name.ends_with(".snapshot")
        || name.ends_with(".snapshot.tmp")
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl<'a> Checker<'a> {
    fn new(data: &'a str) -> Checker<'a> {
        Checker {
            data,
            files: BTreeMap::new(),
            syncs: BTreeMap::new(),
            complaints: Vec::new(),
            acknowledged: 0,
        }
    }

    fn is_ours(&self, path: &str) -> bool {
        path.strip_prefix(self.data)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether a sync of `path` began after line `after` and ended before line `before`.
    fn is_synced(&self, path: &str, after: usize, before: usize) -> bool {
        let syncs = self.syncs.get(path).map_or(&[][..], Vec::as_slice);
        syncs
            .iter()
            .any(|(began, ended)| *began > after && *ended < before)
    }

    /// Whether a journal was written after line `after`, and synced after that and before line `before`. What it holds
    /// is not looked at.
    fn is_journaled(&self, after: usize, before: usize) -> bool {
        let journals = self.files.iter().filter(|(path, state)| {
            path.starts_with(&format!("{}/.journal-", self.data)) && !state.is_gone
        });
        journals
            .filter_map(|(path, state)| Some((path, state.written?)))
            .any(|(path, written)| written > after && self.is_synced(path, written, before))
    }

    fn name(&mut self, path: &str, line: usize, is_gone: bool) {
        if self.is_ours(path) {
            let written = self.files.get(path).and_then(|state| state.written);
            let state = State {
                written: written.filter(|_| !is_gone),
                named: Some(line),
                is_gone,
            };
            self.files.insert(path.to_owned(), state);
        }
    }

    fn take(&mut self, call: &Call) {
        if call.result < 0 {
            return;
        }
        match call.name.as_str() {
            _ if call.is_sync() => {
                let lines = (call.began, call.ended);
                self.syncs
                    .entry(call.descriptor().to_owned())
                    .or_default()
                    .push(lines);
            }
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "ftruncate" => {
                let path = call.descriptor().to_owned();
                if self.is_ours(&path) {
                    self.files.entry(path).or_default().written = Some(call.ended);
                }
            }
            "openat" | "creat" if call.arguments.contains("O_CREAT") => {
                let path = call.path(0).to_owned();
                if self.files.get(&path).is_none_or(|state| state.is_gone) {
                    self.name(&path, call.ended, false);
                }
            }
            "mkdir" | "mkdirat" => self.name(call.path(0), call.ended, false),
            "unlink" | "unlinkat" | "rmdir" => self.name(call.path(0), call.ended, true),
            "rename" | "renameat" | "renameat2" => self.rename(call),
            _ => {}
        }
    }

    fn rename(&mut self, call: &Call) {
        let (from, to) = (call.path(0).to_owned(), call.path(1).to_owned());
        if !self.is_ours(&from) {
            return;
        }
        let is_prepared = from.ends_with(".tmp") || from.ends_with(".cleaned");
        let written = self.files.get(&from).and_then(|state| state.written);
        if is_prepared
            && !is_expendable(&to)
            && written.is_none_or(|line| !self.is_synced(&from, line, call.began))
        {
            self.complain(
                call.began,
                &format!("{from} was renamed without having been synced"),
            );
        }
        self.move_below(&from, &to);
        let syncs = self.syncs.remove(&from).unwrap_or_default();
        self.syncs.insert(to.clone(), syncs);
        self.name(&from, call.ended, true);
        self.name(&to, call.ended, false);
    }

    /// What was known of a file, or of the files of a folder, goes with it.
    fn move_below(&mut self, from: &str, to: &str) {
        let below = format!("{from}/");
        let moved: Vec<String> = self
            .files
            .keys()
            .filter(|path| path.starts_with(&below))
            .cloned()
            .collect();
        for path in moved {
            let state = self.files.remove(&path).unwrap_or_default();
            self.files
                .insert(format!("{to}/{}", &path[below.len()..]), state);
        }
        if let Some(state) = self.files.get(from).cloned() {
            self.files.insert(to.to_owned(), state);
        }
    }

    /// An answer leaves: what it promises must be durable.
    fn acknowledge(&mut self, expected: &Expected, line: usize) {
        for partition in &expected.partitions {
            let folder = format!("{}/{partition}", self.data);
            let prefix = format!("{folder}/");
            let logs = self
                .files
                .iter()
                .filter(|(path, _)| path.starts_with(&prefix) && path.ends_with(".log"));
            let logs: Vec<(String, State)> = logs
                .map(|(path, state)| (path.clone(), state.clone()))
                .collect();
            for (path, state) in &logs {
                if state.is_gone {
                    continue;
                }
                if let Some(written) = state.written {
                    self.acknowledged += 1;
                    if !self.is_synced(path, written, line) && !self.is_journaled(written, line) {
                        self.complain(
                            line,
                            &format!("{}: answered before {path} was synced", expected.what),
                        );
                    }
                }
                self.check_name(&expected.what, path, state, line);
            }
            if let Some(state) = self.files.get(&folder).cloned() {
                self.check_name(&expected.what, &folder, &state, line);
            }
            if logs.iter().all(|(_, state)| state.written.is_none()) {
                self.complain(
                    line,
                    &format!("{}: nothing was written to {partition}", expected.what),
                );
            }
        }
    }

    fn check_name(&mut self, what: &str, path: &str, state: &State, line: usize) {
        let Some(named) = state.named else { return };
        if !self.is_synced(parent(path), named, line) {
            self.complain(line, &format!("{what}: the name {path} was not synced"));
        }
    }

    fn complain(&mut self, line: usize, what: &str) {
        self.complaints.push(format!("line {}: {what}", line + 1));
    }

    /// At the end of a clean stop nothing may be left that a power cut takes back.
    fn end(&mut self, line: usize) {
        let files = std::mem::take(&mut self.files);
        for (path, state) in &files {
            let folder = parent(path);
            let is_folder_gone =
                files.get(folder).is_some_and(|state| state.is_gone) || folder.ends_with("-delete");
            // That a file is gone need not be durable: the next start removes it again.
            if is_expendable(path)
                || is_folder_gone
                || path.ends_with("-delete")
                || state.is_gone
                || path.ends_with(".deleted")
            {
                continue;
            }
            self.check_name("at the end", path, state, line);
            let is_file = state.written.filter(|_| !path.ends_with(".tmp"));
            if is_file.is_some_and(|written| !self.is_synced(path, written, line)) {
                self.complain(line, &format!("at the end {path} is not synced"));
            }
        }
    }
}

/// What a check found.
pub struct Findings {
    /// What is out of order, each with its line.
    pub complaints: Vec<String>,
    /// Answers that were matched with requests.
    pub answers: usize,
    /// Logs whose sync was looked for before an answer.
    pub acknowledged: usize,
}

impl Findings {
    /// In lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for complaint in &self.complaints {
            let _ = writeln!(text, "-- {complaint}");
        }
        text
    }
}

/// Checks a trace of a broker with the data directory `data`, of which a client on `port` has asked for `expected`,
/// one request at a time.
pub fn check(calls: &[Call], data: &str, port: u16, expected: &[Expected]) -> Findings {
    let mut checker = Checker::new(data);
    let client = format!(":{port}]");
    let mut answers = 0;
    let mut order: Vec<&Call> = calls.iter().collect();
    // An answer counts from where its write begins, everything else from where it ends.
    let is_answer = |call: &Call| {
        matches!(
            call.name.as_str(),
            "write" | "writev" | "sendto" | "sendmsg" | "sendfile"
        ) && call.descriptor().starts_with("TCP")
            && call.descriptor().ends_with(&client)
            && call.result > 0
    };
    order.sort_by_key(|call| {
        if is_answer(call) {
            call.began
        } else {
            call.ended
        }
    });
    for call in order {
        if !is_answer(call) {
            checker.take(call);
            continue;
        }
        if let Some(expected) = expected.get(answers) {
            checker.acknowledge(expected, call.began);
        }
        answers += 1;
    }
    let last = calls.iter().map(|call| call.ended).max().unwrap_or(0);
    checker.end(last + 1);
    if answers != expected.len() {
        checker.complain(
            last,
            &format!("{answers} answers for {} requests", expected.len()),
        );
    }
    Findings {
        complaints: checker.complaints,
        answers,
        acknowledged: checker.acknowledged,
    }
}
