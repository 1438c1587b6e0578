//! A coordinator with its driver played by the test: a log, two clocks, and an account of who waits.

use std::collections::{BTreeMap, BTreeSet};

use types::{Mono, Now, Prng, Wall};

use crate::groups::*;

/// 2026-01-01T00:00:00Z.
const WALL_START_MS: i64 = 1_767_225_600_000;

pub(super) struct Bench {
    pub(super) machine: GroupCoordinator,
    pub(super) now: Now,
    /// Appends that are neither committed nor failed.
    pub(super) in_flight: BTreeMap<AppendId, Vec<CoordinatorRecord>>,
    /// The committed log.
    pub(super) log: Vec<CoordinatorRecord>,
    /// Requests that are not answered.
    pub(super) waiting: BTreeSet<Token>,
    epoch: i32,
    last_append: AppendId,
}

impl Bench {
    pub(super) fn new(config: GroupConfig, seed: u64) -> Bench {
        let now = Now {
            mono: Mono::START,
            wall: Wall::from_millis(WALL_START_MS),
        };
        Bench {
            machine: GroupCoordinator::new(config, Prng::new(seed, "member ids")),
            now,
            in_flight: BTreeMap::new(),
            log: Vec::new(),
            waiting: BTreeSet::new(),
            epoch: 0,
            last_append: 0,
        }
    }

    /// One step with everything checked that is true after every step.
    pub(super) fn step(&mut self, input: Input) -> Vec<Action> {
        if let Input::Request { token, .. } = &input {
            assert!(self.waiting.insert(*token), "the test repeats a token");
        }
        let mut out = Actions::new();
        self.machine.step(self.now, input, &mut out);
        self.machine.check();
        let actions = out.take();
        for action in &actions {
            match action {
                Action::Append { id, records } => {
                    assert!(*id > self.last_append, "append ids only grow");
                    assert!(!records.is_empty(), "an append without records");
                    self.last_append = *id;
                    self.in_flight.insert(*id, records.clone());
                }
                Action::Reply { token, .. } => {
                    assert!(
                        self.waiting.remove(token),
                        "token {token} is answered twice"
                    );
                }
                Action::Note { .. } => {}
            }
        }
        assert_eq!(
            self.machine.view().appends_in_flight(),
            self.in_flight.len()
        );
        assert_eq!(self.machine.view().parked_count(), self.waiting.len());
        actions
    }

    pub(super) fn request(&mut self, token: Token, request: impl Into<Request>) -> Vec<Action> {
        let request = request.into();
        self.step(Input::Request { token, request })
    }

    /// The high watermark passes everything up to this append.
    pub(super) fn commit(&mut self, up_to: AppendId) -> Vec<Action> {
        let later = self.in_flight.split_off(&(up_to + 1));
        let committed = std::mem::replace(&mut self.in_flight, later);
        self.log.extend(committed.into_values().flatten());
        let actions = self.step(Input::Committed { up_to });
        self.assert_rebuilt();
        actions
    }

    pub(super) fn commit_all(&mut self) -> Vec<Action> {
        self.commit(self.last_append)
    }

    pub(super) fn fail(&mut self, append: AppendId, error: AppendError) -> Vec<Action> {
        self.in_flight.remove(&append);
        let actions = self.step(Input::AppendFailed { append, error });
        self.assert_rebuilt();
        actions
    }

    /// Leadership is lost; what was in flight turns out to be committed or not.
    pub(super) fn resign(&mut self, in_flight_survives: bool) -> Vec<Action> {
        let in_flight = std::mem::take(&mut self.in_flight);
        if in_flight_survives {
            self.log.extend(in_flight.into_values().flatten());
        }
        let actions = self.step(Input::Resigned);
        assert!(self.waiting.is_empty(), "a term ends and somebody waits on");
        actions
    }

    /// Leadership comes (back) and the log is replayed.
    pub(super) fn elect(&mut self) -> Vec<Action> {
        self.epoch += 1;
        let mut actions = self.step(Input::Elected { epoch: self.epoch });
        replay(&mut self.machine, &self.log);
        actions.extend(self.step(Input::Loaded));
        actions
    }

    /// Time passes, and every deadline in it.
    pub(super) fn pass(&mut self, millis: i64) -> Vec<Action> {
        let end = Now {
            mono: self.now.mono.plus_millis(millis),
            wall: Wall::from_millis(self.now.wall.as_millis() + millis),
        };
        let mut actions = Vec::new();
        while self.machine.deadline() <= end.mono {
            let due = self.machine.deadline().max(self.now.mono);
            let passed_ms = due.since(self.now.mono).as_millis() as i64;
            self.now = Now {
                mono: due,
                wall: Wall::from_millis(self.now.wall.as_millis() + passed_ms),
            };
            actions.extend(self.step(Input::Tick));
        }
        self.now = end;
        actions
    }

    /// The durable state is a function of the committed log.
    fn assert_rebuilt(&self) {
        let mut rebuilt = GroupCoordinator::new(GroupConfig::default(), Prng::new(0, "rebuilt"));
        let mut out = Actions::new();
        rebuilt.step(self.now, Input::Elected { epoch: 1 }, &mut out);
        replay(&mut rebuilt, &self.log);
        assert_eq!(rebuilt.image, self.machine.image, "live and rebuilt differ");
    }
}

fn replay(machine: &mut GroupCoordinator, log: &[CoordinatorRecord]) {
    for record in log {
        let replayed = machine.replay(Some(record.key.clone()), record.value.clone());
        assert_eq!(replayed, Ok(Replayed::Applied));
    }
}
