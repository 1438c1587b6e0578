//! Histories of a correct broker have no findings; one corruption of them has.
//!
//! The broker is a handful of lists in memory. Clients interleave at random: their answers get lost, plain producers repeat themselves,
//! consumers are killed, groups commit. It is correct by its smallness.

use super::super::{Expectations, judge};
use crate::checkers::Report;
use crate::history::{Acks, Body, Committed, History, Isolation, Key, Listed, Position};
use crate::history::{Process, Read, Recorder, Seek, Send, Sending, Stage, Value};
use std::collections::BTreeMap;
use types::{Offset, Prng, Uuid};

/// A run of the model.
pub struct Model {
    prng: Prng,
    recorder: Recorder,
    time: u64,
    value: Value,
    logs: BTreeMap<Key, Vec<Value>>,
    starts: BTreeMap<Key, Offset>,
    committed: BTreeMap<Key, Offset>,
    clients: Vec<Client>,
}

enum Role {
    Producer(Sending),
    Consumer(BTreeMap<Key, Offset>),
    Member,
}

struct Client {
    process: Process,
    role: Role,
    /// What is under way: the answer is made at some time before it is told.
    asked: Option<(Body, bool)>,
}

impl Model {
    /// The history of `steps` steps of `seed`, with final polls.
    pub fn run(seed: u64, steps: u64) -> History {
        let mut model = Model::new(seed);
        for _ in 0..steps {
            model.step();
        }
        for client in 0..model.clients.len() {
            while model.clients[client].asked.is_some() {
                model.go_on(client);
            }
        }
        model.final_polls();
        model.recorder.finish()
    }

    fn new(seed: u64) -> Model {
        let mut recorder = Recorder::new();
        let plain = Sending {
            idempotent: false,
            ..Sending::SAFE
        };
        let weak = Sending {
            acks: Acks::Leader,
            ..plain
        };
        let nothing = || Role::Consumer(BTreeMap::new());
        let roles = [
            Role::Producer(Sending::SAFE),
            Role::Producer(Sending::SAFE),
            Role::Producer(plain),
            Role::Producer(weak),
            nothing(),
            nothing(),
            Role::Member,
            Role::Member,
        ];
        let client = |role| Client {
            process: recorder.process(),
            role,
            asked: None,
        };
        let clients = roles.into_iter().map(client).collect();
        let keys = (0..3).map(|partition| Key {
            topic: Uuid::from_u128(77 << 64),
            partition,
        });
        let keys: Vec<Key> = keys.collect();
        Model {
            prng: Prng::new(seed, "model"),
            recorder,
            time: 0,
            value: 0,
            logs: keys.iter().map(|&key| (key, Vec::new())).collect(),
            starts: keys.iter().map(|&key| (key, 0)).collect(),
            committed: BTreeMap::new(),
            clients,
        }
    }

    fn step(&mut self) {
        let client = self.prng.below(self.clients.len() as u64) as usize;
        if self.clients[client].asked.is_some() {
            self.go_on(client);
            return;
        }
        let body = self.wish(client);
        self.time += 1 + self.prng.below(1_000_000);
        let process = self.clients[client].process;
        self.recorder.invoke(self.time, process, body.clone());
        self.clients[client].asked = Some((body, false));
    }

    fn a_key(&mut self) -> Key {
        let at = self.prng.below(self.logs.len() as u64) as usize;
        *self.logs.keys().nth(at).expect("there are keys")
    }

    fn wish(&mut self, client: usize) -> Body {
        let key = self.a_key();
        let choice = self.prng.below(20);
        match &self.clients[client].role {
            Role::Producer(sending) => {
                let sending = *sending;
                let sends = (0..=self.prng.below(4)).map(|_| {
                    self.value += 1;
                    Send::new(key, self.value)
                });
                Body::Send {
                    sends: sends.collect(),
                    sending,
                }
            }
            Role::Consumer(_) if choice == 0 => Body::Assign {
                keys: self.logs.keys().copied().collect(),
                seeks: vec![(key, Seek::Beginning)],
            },
            Role::Consumer(_) if choice == 1 => Body::Crash,
            Role::Consumer(positions) if positions.is_empty() => Body::Assign {
                keys: self.logs.keys().copied().collect(),
                seeks: Vec::new(),
            },
            Role::Consumer(_) => Body::Poll {
                isolation: Isolation::ReadCommitted,
                reads: Vec::new(),
                resets: Vec::new(),
            },
            Role::Member => self.member(key, choice),
        }
    }

    fn member(&mut self, key: Key, choice: u64) -> Body {
        let group = "g".to_owned();
        let end = self.logs[&key].len() as u64;
        match choice {
            0..8 => Body::CommitOffsets {
                group,
                generation: 1,
                offsets: vec![Committed {
                    key,
                    offset: Some(self.prng.below(end + 1) as Offset),
                }],
                given_up: 0,
            },
            8..16 => Body::FetchOffsets {
                group,
                offsets: vec![Committed { key, offset: None }],
            },
            16 => Body::DeleteRecords {
                key,
                before: self.prng.below(end / 2 + 1) as Offset,
                low_watermark: None,
            },
            _ => {
                let positions = [
                    Position::Earliest,
                    Position::LatestCommitted,
                    Position::Latest,
                ];
                let listed = positions.map(|position| Listed {
                    key,
                    position,
                    offset: None,
                });
                Body::ListOffsets {
                    listed: listed.to_vec(),
                }
            }
        }
    }

    /// First the broker acts, then the client hears of it, or not.
    fn go_on(&mut self, client: usize) {
        let (mut body, has_acted) = self.clients[client].asked.take().expect("it asked");
        if !has_acted {
            let stage = self.act(client, &mut body);
            if stage == Some(Stage::Ok) {
                self.clients[client].asked = Some((body, true));
            } else {
                self.tell(client, stage.unwrap_or(Stage::Info), body);
            }
            return;
        }
        let is_read = matches!(
            body,
            Body::Poll { .. } | Body::FetchOffsets { .. } | Body::ListOffsets { .. }
        );
        let is_lost = self.prng.chance(1, 12);
        if is_lost && !is_read && body != Body::Crash {
            forget(&mut body);
            self.tell(client, Stage::Info, body);
        } else {
            self.tell(client, Stage::Ok, body);
        }
    }

    /// The broker's part. `None`: the request was lost on its way.
    fn act(&mut self, client: usize, body: &mut Body) -> Option<Stage> {
        let fails = self.prng.chance(1, 20);
        let is_lost = self.prng.chance(1, 20);
        match body {
            Body::Send { .. } if is_lost => return None,
            Body::Send { sends, .. } if fails => {
                for send in sends {
                    send.stage = Stage::Fail;
                }
                return Some(Stage::Fail);
            }
            Body::Send { sends, sending } => {
                let log = self.logs.get_mut(&sends[0].key).expect("it exists");
                if !sending.idempotent && self.prng.chance(1, 10) {
                    log.extend(sends.iter().map(|send| send.value));
                }
                for send in sends {
                    send.offset = Some(log.len() as Offset);
                    send.stage = Stage::Ok;
                    log.push(send.value);
                }
            }
            Body::Poll { reads, resets, .. } => {
                let Role::Consumer(positions) = &mut self.clients[client].role else {
                    unreachable!("only consumers poll");
                };
                for (&key, position) in positions.iter_mut() {
                    let start = self.starts[&key];
                    if *position < start {
                        *position = start;
                        resets.push(key);
                    }
                    let records = take(&mut self.prng, &self.logs[&key], position);
                    reads.push(Read::new(key, records));
                }
            }
            Body::Assign { keys, seeks } => {
                let Role::Consumer(positions) = &mut self.clients[client].role else {
                    unreachable!("only consumers assign");
                };
                for key in keys {
                    positions.entry(*key).or_insert(0);
                }
                for (key, _) in seeks {
                    positions.insert(*key, 0);
                }
            }
            Body::CommitOffsets { .. } if fails => return Some(Stage::Fail),
            Body::CommitOffsets { .. } if is_lost => return None,
            Body::CommitOffsets { offsets, .. } => {
                let Committed { key, offset } = offsets[0];
                self.committed.insert(key, offset.expect("it was asked"));
            }
            Body::FetchOffsets { offsets, .. } => {
                offsets[0].offset = self.committed.get(&offsets[0].key).copied();
            }
            Body::DeleteRecords {
                key,
                before,
                low_watermark,
            } => {
                let start = self.starts.get_mut(key).expect("it exists");
                *start = (*start).max(*before);
                *low_watermark = Some(*start);
            }
            Body::ListOffsets { listed } => {
                for one in listed {
                    one.offset = Some(match one.position {
                        Position::Earliest => self.starts[&one.key],
                        _ => self.logs[&one.key].len() as Offset,
                    });
                }
            }
            _ => {}
        }
        Some(Stage::Ok)
    }

    fn tell(&mut self, client: usize, stage: Stage, body: Body) {
        self.time += 1 + self.prng.below(1_000_000);
        let process = self.clients[client].process;
        let dies = stage == Stage::Info || body == Body::Crash;
        let stage = if dies { Stage::Info } else { stage };
        self.recorder.complete(self.time, process, stage, body);
        if dies {
            let client = &mut self.clients[client];
            client.process = self.recorder.process();
            if let Role::Consumer(positions) = &mut client.role {
                positions.clear();
            }
        }
    }

    /// A fresh consumer reads everything, in several polls.
    fn final_polls(&mut self) {
        let process = self.recorder.process();
        let keys: Vec<Key> = self.logs.keys().copied().collect();
        let mut positions: BTreeMap<Key, Offset> = self.starts.clone();
        let seeks = keys.iter().map(|&key| (key, Seek::Beginning));
        let assign = Body::Assign {
            seeks: seeks.collect(),
            keys,
        };
        self.time += 1;
        self.recorder.invoke(self.time, process, assign.clone());
        self.recorder
            .complete(self.time, process, Stage::Ok, assign);
        while positions
            .iter()
            .any(|(key, at)| *at < self.logs[key].len() as Offset)
        {
            let mut reads = Vec::new();
            for (key, at) in &mut positions {
                reads.push(Read::new(*key, take(&mut self.prng, &self.logs[key], at)));
            }
            let poll = |reads| Body::Poll {
                isolation: Isolation::ReadCommitted,
                reads,
                resets: Vec::new(),
            };
            self.time += 1;
            self.recorder.invoke(self.time, process, poll(Vec::new()));
            self.recorder
                .complete(self.time, process, Stage::Ok, poll(reads));
        }
    }
}

/// A few records from a position on.
fn take(prng: &mut Prng, log: &[Value], position: &mut Offset) -> Vec<(Offset, Value)> {
    let from = *position as usize;
    let until = log.len().min(from + prng.below(12) as usize);
    *position = until.max(from) as Offset;
    (from..until).map(|at| (at as Offset, log[at])).collect()
}

/// The answer was lost.
fn forget(body: &mut Body) {
    match body {
        Body::Send { sends, .. } => {
            for send in sends {
                send.offset = None;
                send.stage = Stage::Info;
            }
        }
        Body::DeleteRecords { low_watermark, .. } => *low_watermark = None,
        _ => {}
    }
}

pub fn expectations() -> Expectations {
    Expectations {
        final_polls: true,
        ..Expectations::default()
    }
}

fn judged(history: &History) -> Report {
    judge(history, &expectations()).0
}

#[test]
fn a_correct_broker_has_no_findings() {
    for seed in 0..300 {
        let history = Model::run(seed, 400);
        let report = judged(&history);
        assert!(report.is_green(), "seed {seed}: {:#?}", report.findings);
        assert!(
            report
                .undecided
                .keys()
                .all(|reason| reason.starts_with("H16")),
            "{report:?}"
        );
    }
}
