//! Plays the transcripts: a command a line, and indented below it what the replica wanted done. The driver here is as simple
//! as can be: it holds the log in memory, writes and flushes when the transcript says so, and can lose power.
//!
//! `MILLRACE_UPDATE_TRANSCRIPTS=1` writes down what happens instead of comparing it.
//!
//! Size: the player of the transcripts and its printer, which grow together.

use std::collections::VecDeque;
use std::fmt::Write;

use types::{Mono, NodeId, Now, Offset, Wall};

use crate::*;

const NODE: NodeId = 1;

/// A batch in the log.
#[derive(Clone, Debug)]
struct Written {
    base_offset: Offset,
    leader_epoch: i32,
    batch: BatchSummary,
    marker: Option<ControlMarker>,
}

/// A replica with the driver that plays for it.
pub(crate) struct Play {
    now: Now,
    config: ReplicaConfig,
    replica: Replica,
    actions: Actions,
    log: Vec<Written>,
    log_start: Offset,
    flushed: Offset,
    generation: u64,
    /// What the checkpoint files hold.
    epochs_file: String,
    high_watermark_file: Offset,
    /// Appends asked for and not yet written.
    queue: VecDeque<Written>,
    offered: Vec<(u64, BatchSummary)>,
    flush_under_way: Option<(Offset, u64)>,
}

impl Play {
    pub(crate) fn new(config: ReplicaConfig) -> Play {
        let replica = Replica::new(NODE, Now::default(), config.clone(), recovered_empty());
        Play {
            now: Now::default(),
            config,
            replica,
            actions: Actions::new(),
            log: Vec::new(),
            log_start: 0,
            flushed: 0,
            generation: 0,
            epochs_file: EpochHistory::new().encode_checkpoint(),
            high_watermark_file: 0,
            queue: VecDeque::new(),
            offered: Vec::new(),
            flush_under_way: None,
        }
    }

    pub(crate) fn end(&self) -> Offset {
        let last = self.log.last();
        last.map_or(self.log_start, |last| {
            last.batch.last_offset(last.base_offset) + 1
        })
    }

    fn command(&mut self, line: &str) -> String {
        let words = Words::new(line);
        let mut said = String::new();
        match words.first() {
            "leader" => {
                let isr = words.list("isr");
                let mut replicas = words.list("replicas");
                replicas.extend(&isr);
                let epoch = words.number("epoch", 0) as i32;
                self.step(Input::BecomeLeader(Leadership {
                    epoch,
                    replicas,
                    isr,
                }));
            }
            "lost" => self.step(Input::LeadershipLost),
            "produce" | "internal" => {
                let produce = self.read_produce(&words);
                self.offered.push((produce.token, produce.batch));
                self.step(match words.first() {
                    "produce" => Input::Produce(produce),
                    _ => Input::InternalAppend(produce),
                });
            }
            "write" => self.write(words.number("write", 99) as usize),
            "no-space" => self.fail(AppendError::NoSpace),
            "write-error" => self.fail(AppendError::Failed),
            "flush" => {
                self.flush_under_way
                    .get_or_insert((self.end(), self.generation));
                self.end_flush();
            }
            "begin-flush" => self.begin_flush(),
            "end-flush" => self.end_flush(),
            "flush-error" => self.step(Input::LogFailed),
            "delete" => {
                let token = words.number("delete", 0) as u64;
                let offset = words.number("to", -1);
                let deadline = self.deadline(&words);
                self.step(Input::DeleteRecords {
                    token,
                    offset,
                    deadline,
                });
            }
            "start-moved" => {
                self.log_start = words.number("start-moved", 0);
                let log_start = self.log_start;
                self.log
                    .retain(|written| written.batch.last_offset(written.base_offset) >= log_start);
                self.step(Input::LogStartMoved { log_start });
            }
            "config" => {
                self.config = read_config(&words);
                self.step(Input::ConfigChanged(self.config.clone()));
            }
            "pass" => self.pass(words.number("pass", 0)),
            "kill" => self.restart(self.end(), &mut said),
            "power-cut" => self.restart(self.flushed, &mut said),
            "found" => self.find(&words),
            _ => said = self.read(&words),
        }
        self.replica.check();
        for action in self.actions.drain() {
            let _ = writeln!(said, "{action}");
        }
        said
    }

    /// What changes nothing.
    fn read(&self, words: &Words) -> String {
        match words.first() {
            "view" => self.view(),
            "producers" => self.producers(),
            "epochs" => {
                let mut said = String::new();
                for EpochEntry {
                    epoch,
                    start_offset,
                } in self.replica.epochs().entries()
                {
                    let _ = writeln!(said, "epoch {epoch} from {start_offset}");
                }
                said
            }
            "latest" => self.latest(words),
            "epoch-end" => {
                let epoch = words.number("epoch-end", 0) as i32;
                match self
                    .replica
                    .offset_for_leader_epoch(epoch, words.epoch("in"))
                {
                    Ok(end) => format!("epoch {} ends at {}", end.epoch, end.end_offset),
                    Err(error) => format!("{}: {error}", error.code()),
                }
            }
            "snapshot" => {
                let offset = words.number("snapshot", 0);
                let file = self.replica.producer_snapshot(offset);
                let state = ProducerState::decode_snapshot(&file, offset, self.now.wall);
                describe(&state.expect("our own snapshot"))
            }
            other => panic!("the transcript says {other:?}"),
        }
    }

    pub(crate) fn step(&mut self, input: Input) {
        let before = self.actions.as_slice().len();
        self.replica.step(self.now, input, &mut self.actions);
        for action in &self.actions.as_slice()[before..] {
            match action {
                Action::Append {
                    token,
                    base_offset,
                    leader_epoch,
                } => {
                    let offered = self.offered.iter().find(|(other, _)| other == token);
                    let &(_, batch) = offered.expect("an append of what was offered");
                    let (base_offset, leader_epoch) = (*base_offset, *leader_epoch);
                    self.queue.push_back(Written {
                        base_offset,
                        leader_epoch,
                        batch,
                        marker: None,
                    });
                }
                Action::DropAppends { .. } => self.queue.clear(),
                Action::WriteEpochs => {
                    self.epochs_file = self.replica.epochs().encode_checkpoint();
                }
                Action::HighWatermark { offset } => self.high_watermark_file = *offset,
                _ => {}
            }
        }
    }

    pub(crate) fn write(&mut self, batches: usize) {
        let batches = batches.min(self.queue.len());
        for written in self.queue.drain(..batches) {
            let last = self.log.last();
            let end = last.map_or(self.log_start, |last| {
                last.batch.last_offset(last.base_offset) + 1
            });
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

    pub(crate) fn fail(&mut self, error: AppendError) {
        self.generation += 1;
        let (from_offset, generation) = (self.end(), self.generation);
        self.step(Input::AppendFailed {
            from_offset,
            generation,
            error,
        });
    }

    pub(crate) fn end_flush(&mut self) {
        let (end_offset, generation) = self.flush_under_way.take().expect("a flush was begun");
        if generation == self.generation {
            self.flushed = end_offset;
        }
        self.step(Input::Flushed {
            end_offset,
            generation,
        });
    }

    pub(crate) fn begin_flush(&mut self) {
        self.flush_under_way = Some((self.end(), self.generation));
    }

    pub(crate) fn pass(&mut self, millis: i64) {
        self.now.mono = self.now.mono.plus_millis(millis);
        self.now.wall = Wall::from_millis(self.now.wall.as_millis() + millis);
        self.step(Input::Tick);
    }

    pub(crate) fn produce(&mut self, token: u64, acks: Acks, within_ms: i64, batch: BatchSummary) {
        let deadline = self.now.mono.plus_millis(within_ms);
        self.offered.push((token, batch));
        let expected_leader_epoch = None;
        self.step(Input::Produce(Produce {
            token,
            acks,
            expected_leader_epoch,
            deadline,
            batch,
        }));
    }

    pub(crate) fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        self.actions.drain().collect()
    }

    pub(crate) fn flushed(&self) -> Offset {
        self.flushed
    }

    pub(crate) fn is_flushing(&self) -> bool {
        self.flush_under_way.is_some()
    }

    pub(crate) fn is_writing(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Base offset, producer and first sequence of each batch in the log.
    pub(crate) fn batches(&self) -> impl Iterator<Item = (Offset, (i64, i32))> + '_ {
        let identity = |batch: &BatchSummary| (batch.producer_id, batch.base_sequence);
        self.log
            .iter()
            .map(move |written| (written.base_offset, identity(&written.batch)))
    }

    pub(crate) fn at(&self, base_offset: Offset) -> Option<(i64, i32)> {
        let found = self
            .log
            .binary_search_by_key(&base_offset, |written| written.base_offset);
        found.ok().map(|at| {
            (
                self.log[at].batch.producer_id,
                self.log[at].batch.base_sequence,
            )
        })
    }

    /// The last sequence of a producer in the log, -1 if it has none there.
    pub(crate) fn last_sequence(&self, producer_id: i64) -> i32 {
        let mut newest = self.log.iter().rev();
        let found = newest.find(|written| written.batch.producer_id == producer_id);
        found.map_or(-1, |written| written.batch.last_sequence())
    }

    /// The process ends, the log keeps what lies below `survives`, and recovery flushes that.
    pub(crate) fn restart(&mut self, survives: Offset, said: &mut String) {
        self.log.retain(|written| written.base_offset < survives);
        self.queue.clear();
        self.flush_under_way = None;
        self.flushed = self.end();
        let _ = writeln!(said, "recovered {}..{}", self.log_start, self.end());
        let mut epochs = EpochHistory::decode_checkpoint(&self.epochs_file).expect("our own file");
        epochs.truncate_from_end(self.end());
        let mut producers = ProducerState::new();
        for Written {
            base_offset,
            leader_epoch,
            batch,
            marker,
        } in &self.log
        {
            epochs.assign(*leader_epoch, *base_offset);
            let replayed = producers.replay(*base_offset, batch, *marker, self.now.wall);
            if let Some(done) = replayed.expect("our own log") {
                let _ = writeln!(said, "transaction: {done:?}");
            }
        }
        let state = RecoveredState {
            log_start: self.log_start,
            log_end: self.end(),
            flushed_end: self.flushed,
            high_watermark: self.high_watermark_file,
            generation: self.generation,
            epochs,
            producers,
        };
        self.replica = Replica::new(NODE, self.now, self.config.clone(), state);
    }

    /// Puts a batch into the log as if another broker had written it; the next restart finds it.
    fn find(&mut self, words: &Words) {
        let mut batch = read_batch(words);
        let kind = match words.has("commit") {
            true => Some(MarkerKind::Commit),
            false => words.has("abort").then_some(MarkerKind::Abort),
        };
        batch.is_transactional = words.has("txn") || kind.is_some();
        batch.is_control = kind.is_some();
        let marker = kind.map(|kind| ControlMarker {
            kind,
            coordinator_epoch: 3,
            timestamp: 9,
        });
        let leader_epoch = words.number("epoch", 0) as i32;
        self.log.push(Written {
            base_offset: self.end(),
            leader_epoch,
            batch,
            marker,
        });
    }

    fn read_produce(&self, words: &Words) -> Produce {
        Produce {
            token: words.number(words.first(), 0) as u64,
            acks: Acks::from_wire(words.number("acks", -1) as i16).expect("acks"),
            expected_leader_epoch: words.epoch("in"),
            deadline: self.deadline(words),
            batch: read_batch(words),
        }
    }

    fn deadline(&self, words: &Words) -> Mono {
        match words.number("within", -1) {
            -1 => Mono::NEVER,
            millis => self.now.mono.plus_millis(millis),
        }
    }

    fn view(&self) -> String {
        let view = self.replica.view();
        let role = match view.role {
            RoleView::Idle => "idle".into(),
            RoleView::Failed => "failed".into(),
            RoleView::Leader { epoch, epoch_start } => format!("leader {epoch} from {epoch_start}"),
        };
        let mut said = format!(
            "{role}, start {}, stable {}, high watermark {}, flushed {}, end {}, assigned {}",
            view.log_start,
            view.last_stable,
            view.high_watermark,
            view.flushed,
            view.log_end,
            view.assigned_end
        );
        if view.parked > 0 {
            let _ = write!(said, ", parked {}", view.parked);
        }
        if self.replica.deadline() != Mono::NEVER {
            let _ = write!(said, ", deadline {:?}", self.replica.deadline());
        }
        said
    }

    fn producers(&self) -> String {
        match self.replica.describe_producers() {
            Ok(_) => describe(self.replica.view().producers),
            Err(error) => format!("{}: {error}", error.code()),
        }
    }

    fn latest(&self, words: &Words) -> String {
        let isolation = if words.has("committed") {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        };
        match self.replica.latest_offset(isolation, words.epoch("in")) {
            Ok(offset) => format!("offset {offset}"),
            Err(error) => format!("{}: {error}", error.code()),
        }
    }
}

fn read_batch(words: &Words) -> BatchSummary {
    let records = words.number("records", 1) as i32;
    let mut batch = BatchSummary::plain(records, 100, 100);
    if let Some((id, epoch)) = words.pair("producer") {
        batch.producer_id = id;
        batch.producer_epoch = epoch as i16;
        batch.base_sequence = words.number("sequence", 0) as i32;
    }
    batch.is_transactional = words.has("txn");
    if words.has("stamped") {
        batch.log_append_time = Some(words.number("stamped", 0));
        batch.max_timestamp = words.number("stamped", 0);
    }
    batch
}

fn describe(producers: &ProducerState) -> String {
    let mut said = String::new();
    for (id, entry) in producers.entries() {
        let _ = write!(said, "producer {id}/{}", entry.producer_epoch);
        for range in entry.batches() {
            let (first, last) = (range.base_sequence(), range.last_sequence);
            let _ = write!(said, " {first}..{last}@{}", range.base_offset());
        }
        if let Some(first) = entry.current_txn_first_offset {
            let _ = write!(said, ", transaction open since {first}");
        }
        said.push('\n');
    }
    said
}

fn recovered_empty() -> RecoveredState {
    RecoveredState {
        log_start: 0,
        log_end: 0,
        flushed_end: 0,
        high_watermark: 0,
        generation: 0,
        epochs: EpochHistory::new(),
        producers: ProducerState::new(),
    }
}

fn read_config(words: &Words) -> ReplicaConfig {
    let durability = if words.has("replicated") {
        Durability::Replicated {
            flush_messages: words.number("flush-messages", i64::MAX) as u64,
            flush_ms: words.has("flush-ms").then(|| words.number("flush-ms", 0)),
        }
    } else {
        Durability::Flushed
    };
    ReplicaConfig {
        durability,
        min_insync_replicas: words.number("min-insync", 1) as u32,
        producer_id_expiration_ms: words.number("expiration-ms", 86_400_000),
        producer_id_expiration_check_interval_ms: words.number("check-ms", 600_000),
    }
}

/// A command: words, each perhaps followed by its value.
struct Words<'a> {
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Words<'a> {
        Words {
            words: line.split_ascii_whitespace().collect(),
        }
    }

    fn first(&self) -> &'a str {
        self.words[0]
    }

    fn has(&self, name: &str) -> bool {
        self.words.contains(&name)
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        let at = self.words.iter().position(|&word| word == name)?;
        self.words.get(at + 1).copied()
    }

    fn number(&self, name: &str, default: i64) -> i64 {
        let parse = |text: &str| text.parse().unwrap_or_else(|_| panic!("{name} {text}"));
        self.value(name).map_or(default, parse)
    }

    fn epoch(&self, name: &str) -> Option<i32> {
        self.has(name).then(|| self.number(name, 0) as i32)
    }

    fn pair(&self, name: &str) -> Option<(i64, i64)> {
        let (id, epoch) = self.value(name)?.split_once('/')?;
        Some((id.parse().ok()?, epoch.parse().ok()?))
    }

    fn list(&self, name: &str) -> Vec<NodeId> {
        let ids = self.value(name).unwrap_or("1").split(',');
        ids.map(|id| id.parse().expect("a node")).collect()
    }
}

/// Plays a transcript and gives it back with what happened.
fn play(transcript: &str) -> String {
    let mut play: Option<Play> = None;
    let mut result = String::new();
    for line in transcript.lines().filter(|line| !line.starts_with("    ")) {
        result.push_str(line);
        result.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let said = if line.starts_with("replica ") {
            play = Some(Play::new(read_config(&Words::new(line))));
            String::new()
        } else {
            play.as_mut()
                .expect("a transcript begins with a replica")
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
    acknowledgements
    duplicates
    failures
    leadership
    deletion
    background_flush
    restarts
    transactions_found
}
