//! Plays the transcripts: a command a line, and indented below it what the quorum machine wanted done. The driver here is as
//! simple as can be: it holds the log and the files in memory, writes and flushes when the transcript says so, and can lose
//! power.
//!
//! `MILLRACE_UPDATE_TRANSCRIPTS=1` writes down what happens instead of comparing it.

use std::collections::VecDeque;
use std::fmt::Write;

use types::{Limits, Mono, Now, Offset, Uuid, Wall};

use crate::*;

const KEY: VoterKey = VoterKey {
    id: 1,
    directory_id: Uuid::from_u128(0x77),
};

/// A batch in the log.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub base_offset: Offset,
    pub end_offset: Offset,
    pub epoch: i32,
    pub token: Option<u64>,
    bytes: u64,
    controls: Vec<ControlRecord>,
}

/// A quorum machine with the driver that plays for it.
pub(crate) struct Play {
    now: Now,
    config: QuorumConfig,
    quorum: Quorum,
    actions: Actions,
    pub(crate) log: Vec<Written>,
    log_start: Offset,
    flushed: Offset,
    generation: u64,
    state_file: String,
    snapshots: Vec<SnapshotId>,
    /// Asked for and not yet done.
    persist: Option<QuorumState>,
    snapshot: Option<SnapshotId>,
    start_to: Option<Offset>,
    queue: VecDeque<Written>,
    offered: Vec<(u64, i32, u32)>,
    flush_under_way: Option<(Offset, u64)>,
}

fn bootstrap_voters() -> VoterSet {
    VoterSet::new([Voter {
        key: KEY,
        endpoints: Vec::new(),
        kraft_versions: (0, 1),
    }])
}

impl Play {
    pub(crate) fn new(limits: Limits) -> Play {
        let config = QuorumConfig {
            key: KEY,
            limits,
            election_backoff_ms: 1000,
        };
        let state_file = QuorumState::INITIAL.encode();
        let formatted = RecoveredQuorum {
            state: QuorumState::INITIAL,
            log_start: 0,
            log_end: 0,
            flushed_end: 0,
            last_epoch: 0,
            generation: 0,
            snapshots: vec![SnapshotId::BOOTSTRAP],
            bytes_after_snapshot: 0,
            voters: history([(-1, bootstrap_voters())]),
            kraft_version: 1,
        };
        let quorum = Quorum::new(Now::default(), config.clone(), formatted);
        Play {
            now: Now::default(),
            config,
            quorum: quorum.expect("a formatted directory"),
            actions: Actions::new(),
            log: Vec::new(),
            log_start: 0,
            flushed: 0,
            generation: 0,
            state_file,
            snapshots: vec![SnapshotId::BOOTSTRAP],
            persist: None,
            snapshot: None,
            start_to: None,
            queue: VecDeque::new(),
            offered: Vec::new(),
            flush_under_way: None,
        }
    }

    fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |name: &str, default: i64| {
            let at = words.iter().position(|&word| word == name);
            let value = at.and_then(|at| words.get(at + 1));
            value.map_or(default, |text| text.parse().expect("a number"))
        };
        let mut said = String::new();
        match words[0] {
            "start" => self.step(Input::Start),
            "persisted" => self.persisted(),
            "propose" => {
                let (token, epoch) = (number("propose", 0) as u64, number("epoch", 1) as i32);
                let (records, bytes) = (number("records", 1) as i32, number("bytes", 100) as u32);
                self.propose(token, epoch, records, bytes);
            }
            "write" => self.write(number("write", 99) as usize),
            "no-space" => self.fail(AppendError::NoSpace),
            "no-space-single" => self.fail(AppendError::NoSpaceSingle),
            "write-error" => self.fail(AppendError::Failed),
            "begin-flush" => self.begin_flush(),
            "end-flush" => self.end_flush(),
            "flush" => {
                self.begin_flush();
                self.end_flush();
            }
            "flush-error" => self.step(Input::LogFailed),
            "snapshot-written" => self.snapshot_written(),
            "snapshot-failed" => {
                let id = self.snapshot.take().expect("a snapshot is being written");
                self.step(Input::SnapshotFailed(id));
            }
            "start-moved" => self.start_moved(),
            "resign" => self.step(Input::Resign),
            "pass" => self.pass(number("pass", 0)),
            "kill" => self.restart(self.end(), &mut said),
            "power-cut" => self.restart(self.flushed, &mut said),
            "view" => said = self.view(),
            "quorum-state" => said = self.state_file.clone(),
            "voters" => {
                for status in self.quorum.describe_voters(self.now) {
                    let (key, end) = (status.key, status.log_end_offset);
                    let _ = writeln!(said, "{} {} end {end}", key.id, key.directory_id);
                }
                let latest = self.quorum.view().voters.latest();
                let _ = write!(
                    said,
                    "from offset {}",
                    latest.map_or(-2, |(offset, _)| offset)
                );
            }
            other => panic!("the transcript says {other:?}"),
        }
        self.quorum.check();
        for action in self.actions.drain() {
            let _ = writeln!(said, "{action}");
        }
        said
    }

    pub(crate) fn step(&mut self, input: Input) {
        let before = self.actions.as_slice().len();
        self.quorum.step(self.now, input, &mut self.actions);
        let new: Vec<Action> = self.actions.as_slice()[before..].to_vec();
        for action in new {
            match action {
                Action::PersistState(state) => self.persist = Some(state),
                Action::AppendControl {
                    base_offset,
                    leader_epoch,
                    records,
                    ..
                } => {
                    self.queue.push_back(Written {
                        base_offset,
                        end_offset: base_offset + records.len() as Offset,
                        epoch: leader_epoch,
                        token: None,
                        bytes: 0,
                        controls: records,
                    });
                }
                Action::Append {
                    token,
                    base_offset,
                    leader_epoch,
                } => {
                    let offered = self.offered.iter().find(|(other, ..)| *other == token);
                    let &(_, records, bytes) = offered.expect("an append of what was offered");
                    self.queue.push_back(Written {
                        base_offset,
                        end_offset: base_offset + Offset::from(records),
                        epoch: leader_epoch,
                        token: Some(token),
                        bytes: u64::from(bytes),
                        controls: Vec::new(),
                    });
                }
                Action::DropAppends { .. } => self.queue.clear(),
                Action::TakeSnapshot(id) => self.snapshot = Some(id),
                Action::AdvanceLogStart { offset } => self.start_to = Some(offset),
                Action::DeleteSnapshotsBefore { end_offset } => {
                    self.snapshots.retain(|id| id.end_offset >= end_offset);
                }
                _ => {}
            }
        }
    }

    pub(crate) fn end(&self) -> Offset {
        self.log
            .last()
            .map_or(self.log_start, |last| last.end_offset)
    }

    pub(crate) fn persisted(&mut self) {
        if let Some(state) = self.persist.take() {
            self.state_file = state.encode();
            self.step(Input::StatePersisted(state));
        }
    }

    pub(crate) fn propose(&mut self, token: u64, epoch: i32, record_count: i32, size_bytes: u32) {
        self.offered.push((token, record_count, size_bytes));
        self.step(Input::Propose {
            token,
            epoch,
            record_count,
            size_bytes,
        });
    }

    pub(crate) fn write(&mut self, batches: usize) {
        let batches = batches.min(self.queue.len());
        for written in self.queue.drain(..batches) {
            let end = self
                .log
                .last()
                .map_or(self.log_start, |last| last.end_offset);
            assert_eq!(
                written.base_offset, end,
                "a batch is not appended at the log's end"
            );
            self.log.push(written);
        }
        self.step(Input::Appended {
            end_offset: self.end(),
        });
    }

    pub(crate) fn is_writing(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn fail(&mut self, error: AppendError) {
        self.generation += 1;
        let (from_offset, generation) = (self.end(), self.generation);
        self.step(Input::AppendFailed {
            from_offset,
            generation,
            error,
        });
    }

    pub(crate) fn begin_flush(&mut self) {
        self.flush_under_way = Some((self.end(), self.generation));
    }

    pub(crate) fn end_flush(&mut self) {
        if let Some((end_offset, generation)) = self.flush_under_way.take() {
            if generation == self.generation {
                self.flushed = end_offset;
            }
            self.step(Input::Flushed {
                end_offset,
                generation,
            });
        }
    }

    pub(crate) fn snapshot_written(&mut self) {
        if let Some(id) = self.snapshot.take() {
            self.snapshots.push(id);
            self.step(Input::SnapshotWritten(id));
        }
    }

    pub(crate) fn start_moved(&mut self) {
        if let Some(log_start) = self.start_to.take() {
            self.log_start = log_start;
            self.log.retain(|written| written.end_offset > log_start);
            self.step(Input::LogStartMoved { log_start });
        }
    }

    pub(crate) fn pass(&mut self, millis: i64) {
        self.now.mono = self.now.mono.plus_millis(millis);
        self.now.wall = Wall::from_millis(self.now.wall.as_millis() + millis);
        self.step(Input::Tick);
    }

    pub(crate) fn flushed(&self) -> Offset {
        self.flushed
    }

    pub(crate) fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        self.actions.drain().collect()
    }

    /// The process ends, the log keeps what lies below `survives`, and recovery flushes that.
    pub(crate) fn restart(&mut self, survives: Offset, said: &mut String) {
        self.log.retain(|written| written.base_offset < survives);
        self.queue.clear();
        (self.flush_under_way, self.persist, self.snapshot) = (None, None, None);
        self.start_to = None;
        self.flushed = self.end();
        let _ = writeln!(said, "recovered {}..{}", self.log_start, self.end());
        let newest = self
            .snapshots
            .last()
            .copied()
            .expect("a snapshot always stays");
        let mut voters = history([(newest.end_offset - 1, bootstrap_voters())]);
        let mut bytes_after_snapshot = 0;
        for written in &self.log {
            for (offset, record) in (written.base_offset..).zip(&written.controls) {
                if let ControlRecord::Voters(set) = record
                    && offset >= newest.end_offset
                {
                    voters.add(offset, set.clone());
                }
            }
            if written.base_offset >= newest.end_offset {
                bytes_after_snapshot += written.bytes;
            }
        }
        let state = QuorumState::decode(self.state_file.as_bytes()).expect("our own file");
        let recovered = RecoveredQuorum {
            state,
            log_start: self.log_start,
            log_end: self.end(),
            flushed_end: self.flushed,
            last_epoch: self.log.last().map_or(newest.epoch, |last| last.epoch),
            generation: self.generation,
            snapshots: self.snapshots.clone(),
            bytes_after_snapshot,
            voters,
            kraft_version: 1,
        };
        let quorum = Quorum::new(self.now, self.config.clone(), recovered);
        self.quorum = quorum.expect("a directory of ours");
    }

    fn view(&self) -> String {
        let view = self.quorum.view();
        let mut said = format!(
            "{:?}, epoch {}, start {}, committed {}, flushed {}, end {}, assigned {}",
            view.role,
            view.leader_epoch,
            view.log_start,
            view.high_watermark
                .map_or("nothing yet".into(), |offset| offset.to_string()),
            view.flushed,
            view.log_end,
            view.assigned_end
        );
        if view.parked > 0 {
            let _ = write!(said, ", parked {}", view.parked);
        }
        if self.quorum.deadline() != Mono::NEVER {
            let _ = write!(said, ", deadline {:?}", self.quorum.deadline());
        }
        said
    }
}

fn history<const N: usize>(sets: [(Offset, VoterSet); N]) -> VoterHistory {
    let mut history = VoterHistory::new();
    for (offset, set) in sets {
        history.add(offset, set);
    }
    history
}

fn play(transcript: &str) -> String {
    let mut play: Option<Play> = None;
    let mut result = String::new();
    for line in transcript.lines().filter(|line| !line.starts_with("    ")) {
        result.push_str(line);
        result.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let said = if line == "quorum" {
            play = Some(Play::new(Limits {
                metadata_snapshot_bytes: 1000,
                metadata_snapshot_interval_ms: 60_000,
                ..Limits::default()
            }));
            String::new()
        } else {
            play.as_mut()
                .expect("a transcript begins with a quorum")
                .command(line)
        };
        for line in said.lines() {
            let _ = writeln!(result, "    {line}");
        }
    }
    result
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test rewrites its own expectation when told to"
)]
fn check(name: &str, transcript: &str) {
    let played = play(transcript);
    if std::env::var_os("MILLRACE_UPDATE_TRANSCRIPTS").is_some() {
        let path = format!("{}/transcripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, played).expect("the transcript is written");
        return;
    }
    for (at, (expected, happened)) in transcript.lines().zip(played.lines()).enumerate() {
        assert_eq!(happened, expected, "{name}.txt, line {}\n{played}", at + 1);
    }
    assert_eq!(played, transcript, "{name}.txt ends differently");
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let name = stringify!($name);
                check(name, include_str!(concat!("transcripts/", stringify!($name), ".txt")));
            }
        )*
    };
}

transcripts! {
    elections
    commits
    failures
    snapshots
}

#[test]
fn who_cannot_take_part_is_told_why() {
    let other = VoterKey {
        id: 1,
        directory_id: Uuid::from_u128(0x78),
    };
    let voter = |id, directory| Voter {
        key: VoterKey {
            id,
            directory_id: Uuid::from_u128(directory),
        },
        endpoints: Vec::new(),
        kraft_versions: (0, 1),
    };
    let two = VoterSet::new([voter(1, 0x77), voter(2, 0x99)]);
    // This node, log start, voters, why not.
    let table = [
        (KEY, 0, history([]), StartError::NoVoters),
        (
            other,
            0,
            history([(-1, bootstrap_voters())]),
            StartError::NotAVoter(other),
        ),
        (KEY, 0, history([(-1, two)]), StartError::SeveralVoters(2)),
        (
            KEY,
            5,
            history([(-1, bootstrap_voters())]),
            StartError::SnapshotMissing(5),
        ),
    ];
    for (key, log_start, voters, expected) in table {
        let config = QuorumConfig {
            key,
            limits: Limits::default(),
            election_backoff_ms: 1000,
        };
        let recovered = RecoveredQuorum {
            state: QuorumState::INITIAL,
            log_start,
            log_end: 9,
            flushed_end: 9,
            last_epoch: 1,
            generation: 0,
            snapshots: vec![SnapshotId::BOOTSTRAP],
            bytes_after_snapshot: 0,
            voters,
            kraft_version: 1,
        };
        let result = Quorum::new(Now::default(), config, recovered);
        assert_eq!(result.map(|_| ()), Err(expected));
    }
}
