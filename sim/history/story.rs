//! Histories as stories, for tests: one line for each thing that happens.
//!
//! ```text
//! p sends acks=1 plain in_flight=1       how p's producer is configured from now on
//! p send a 1 2 b 3 => ok 0 1 7           values 1 and 2 to key a, 3 to b; offsets; `_` is an unknown offset, `fail` a failed record
//! p begins send a 1                      the start alone
//! p ends ok 0                            the end alone
//! c assign a b seek=5                    c subscribe a group=g
//! c poll => ok a 0:1 1:2 start=0 b 0:3   offset:value; start=, moved= and reset= are of the answer; `uncommitted` before =>
//! m commit g a=5 => ok                   m committed g a => ok a=5        a=none
//! m list a earliest=0 committed=3 latest=5
//! m delete_records a 5 => ok 5           m delete_topic a => ok
//! m delete_group g => ok                 producers forgotten
//! power lost                             a replicated lost 3..5           a fenced     a compacted    a retention=7
//! group g expires                        group g lost                     unclean election            no final polls
//! ```

use super::{
    Acks, Body, Committed, Durability, History, Isolation, Key, Listed, Position, Process,
};
use super::{Read, Recorder, Seek, Send, Sending, Stage};
use crate::checkers::history::{Excused, Expectations};
use std::collections::BTreeMap;
use types::{Offset, Uuid};

/// A key by its name: a letter for the topic, then the partition, 0 if there is none.
pub fn key(name: &str) -> Key {
    let (topic, partition) = name.split_at(1);
    let letter = topic.bytes().next().expect("a key has a name");
    Key {
        topic: Uuid::from_u128(u128::from(letter) << 64),
        partition: partition.parse().unwrap_or(0),
    }
}

/// The history and the expectations that a story tells. Final polls are expected unless it says otherwise.
pub fn story(text: &str) -> (History, Expectations) {
    let mut teller = Teller {
        expectations: Expectations {
            final_polls: true,
            ..Expectations::default()
        },
        ..Teller::default()
    };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        teller.time += 1_000;
        let words: Vec<&str> = line.split_whitespace().collect();
        if !teller.world(&words) {
            teller.tell(&words);
        }
    }
    (teller.recorder.finish(), teller.expectations)
}

#[derive(Default)]
struct Teller {
    recorder: Recorder,
    expectations: Expectations,
    processes: BTreeMap<String, Client>,
    time: u64,
}

/// What is known of one process.
struct Client {
    process: Process,
    sending: Sending,
    asked: Option<Body>,
}

impl Teller {
    /// Lines about the world; whether it was one.
    fn world(&mut self, words: &[&str]) -> bool {
        let at = self.time;
        match *words {
            ["power", "lost"] => self.expectations.power_losses.push(at),
            ["producers", "forgotten"] => self.expectations.forgets_retries = true,
            ["unclean", "election"] => self.expectations.unclean_election = true,
            ["no", "final", "polls"] => self.expectations.final_polls = false,
            ["group", name, what] => {
                let group = self.expectations.groups.entry(name.into()).or_default();
                match what {
                    "expires" => group.may_expire = true,
                    _ => group.lost_at.push(at),
                }
            }
            [name, "replicated", "lost", range] => {
                let (from, until) = range.split_once("..").expect("a range has two dots");
                let expected = self.expectations.keys.entry(key(name)).or_default();
                expected.class = Durability::Replicated;
                expected.excused.push(Excused {
                    from: number(from),
                    until: number(until),
                    at,
                });
            }
            [name, "fenced"] => self.expect(name).is_fenced = true,
            [name, "overwritten"] => self.expect(name).is_overwritten = true,
            [name, "compacted"] => self.expect(name).is_compacted = true,
            [name, word] if word.starts_with("retention=") => {
                self.expect(name).retention_floor = number(&word[10..]);
            }
            _ => return false,
        }
        true
    }

    fn expect(&mut self, name: &str) -> &mut crate::checkers::history::KeyExpectation {
        self.expectations.keys.entry(key(name)).or_default()
    }

    fn tell(&mut self, words: &[&str]) {
        let name = words[0].to_owned();
        let known = self
            .processes
            .entry(name.clone())
            .or_insert_with(|| Client {
                process: self.recorder.process(),
                sending: Sending::SAFE,
                asked: None,
            });
        let (process, sending) = (known.process, known.sending);
        match words[1] {
            "sends" => known.sending = configured(&words[2..]),
            "begins" => {
                let body = asked(&words[2..], sending);
                known.asked = Some(body.clone());
                self.recorder.invoke(self.time, process, body);
            }
            "ends" => {
                let body = known.asked.take().expect("what ends has begun");
                self.end(process, body, &words[2..]);
            }
            _ => {
                let arrow = words.iter().position(|word| *word == "=>");
                let body = asked(&words[1..arrow.unwrap_or(words.len())], sending);
                self.recorder.invoke(self.time, process, body.clone());
                self.time += 100;
                let answer = arrow.map_or(&["ok"][..], |arrow| &words[arrow + 1..]);
                self.end(process, body, answer);
            }
        }
    }

    fn end(&mut self, process: Process, mut body: Body, answer: &[&str]) {
        let mut stage = match answer[0] {
            "ok" => Stage::Ok,
            "fail" => Stage::Fail,
            "info" => Stage::Info,
            other => panic!("{other:?} is no end"),
        };
        if body == Body::Crash {
            stage = Stage::Info;
        }
        let answer = &answer[1..];
        match &mut body {
            Body::Send { sends, .. } => {
                for (index, send) in sends.iter_mut().enumerate() {
                    answer_send(send, stage, answer.get(index).copied());
                }
                if sends.iter().any(|send| send.stage != stage) {
                    stage = Stage::Info;
                }
            }
            Body::Poll { reads, resets, .. } => {
                for word in answer {
                    if let Some(name) = word.strip_prefix("reset=") {
                        resets.push(key(name));
                    } else if let Some(name) = word.strip_prefix("moved=") {
                        self.recorder
                            .rebalanced(process, 1, vec![key(name)], Vec::new());
                    } else {
                        answer_poll(reads, word);
                    }
                }
            }
            Body::FetchOffsets { offsets, .. } if !answer.is_empty() => {
                *offsets = answer.iter().map(|word| committed(word)).collect();
            }
            Body::DeleteRecords { low_watermark, .. } => {
                *low_watermark = answer.first().map(|word| number(word));
            }
            _ => {}
        }
        self.recorder.complete(self.time, process, stage, body);
    }
}

fn answer_send(send: &mut Send, stage: Stage, word: Option<&str>) {
    send.stage = stage;
    match word {
        None | Some("_") => {}
        Some("fail") => send.stage = Stage::Fail,
        Some("info") => send.stage = Stage::Info,
        Some(offset) => send.offset = Some(number(offset)),
    }
}

fn answer_poll(reads: &mut Vec<Read>, word: &str) {
    let last = reads.last_mut();
    if let Some((offset, value)) = word.split_once(':') {
        let read = last.expect("a record has a key");
        read.records.push((number(offset), number(value) as u64));
    } else if let Some(start) = word.strip_prefix("start=") {
        last.expect("a log start has a key").log_start = Some(number(start));
    } else {
        reads.push(Read::new(key(word), Vec::new()));
    }
}

/// What a client asks for.
fn asked(words: &[&str], sending: Sending) -> Body {
    let rest = &words[1..];
    match words[0] {
        "send" => Body::Send {
            sending,
            sends: sends(rest),
        },
        "assign" => {
            let seek = rest.iter().find_map(|word| word.strip_prefix("seek="));
            let keys = keys(rest);
            let seeks = keys.iter().filter_map(|&key| Some((key, seek_to(seek?))));
            Body::Assign {
                seeks: seeks.collect(),
                keys,
            }
        }
        "subscribe" => Body::Subscribe {
            keys: keys(rest),
            group: "g".into(),
        },
        "poll" => Body::Poll {
            isolation: match rest {
                ["uncommitted"] => Isolation::ReadUncommitted,
                _ => Isolation::ReadCommitted,
            },
            reads: Vec::new(),
            resets: Vec::new(),
        },
        "crash" => Body::Crash,
        "commit" => {
            let given_up = rest.iter().find_map(|word| word.strip_prefix("given_up="));
            let offsets = rest[1..]
                .iter()
                .filter(|word| !word.starts_with("given_up="));
            Body::CommitOffsets {
                group: rest[0].into(),
                generation: 1,
                offsets: offsets.map(|word| committed(word)).collect(),
                given_up: given_up.map_or(0, |count| count.parse().expect("a number")),
            }
        }
        "committed" => Body::FetchOffsets {
            group: rest[0].into(),
            offsets: rest[1..].iter().map(|word| committed(word)).collect(),
        },
        "list" => Body::ListOffsets {
            listed: rest[1..].iter().map(|word| listed(rest[0], word)).collect(),
        },
        "delete_records" => Body::DeleteRecords {
            key: key(rest[0]),
            before: number(rest[1]),
            low_watermark: None,
        },
        "delete_topic" => Body::DeleteTopic {
            topic: key(rest[0]).topic,
        },
        "delete_group" => Body::DeleteGroup {
            group: rest[0].into(),
        },
        other => panic!("{other:?} is nothing a client does"),
    }
}

fn sends(words: &[&str]) -> Vec<Send> {
    let mut to = None;
    let mut sends = Vec::new();
    for word in words {
        match word.parse() {
            Ok(value) => sends.push(Send::new(to.expect("a value has a key"), value)),
            Err(_) => to = Some(key(word)),
        }
    }
    sends
}

fn keys(words: &[&str]) -> Vec<Key> {
    let names = words.iter().filter(|word| !word.contains('='));
    names.map(|name| key(name)).collect()
}

fn seek_to(word: &str) -> Seek {
    match word {
        "beginning" => Seek::Beginning,
        "end" => Seek::End,
        "elsewhere" => Seek::Elsewhere,
        offset => Seek::Offset(number(offset)),
    }
}

fn committed(word: &str) -> Committed {
    let (name, offset) = word.split_once('=').unwrap_or((word, "none"));
    Committed {
        key: key(name),
        offset: (offset != "none").then(|| number(offset)),
    }
}

fn listed(name: &str, word: &str) -> Listed {
    let (position, offset) = word.split_once('=').expect("an answer has an offset");
    Listed {
        key: key(name),
        position: match position {
            "earliest" => Position::Earliest,
            "committed" => Position::LatestCommitted,
            "latest" => Position::Latest,
            other => panic!("{other:?} is no position"),
        },
        offset: Some(number(offset)),
    }
}

fn configured(words: &[&str]) -> Sending {
    let mut sending = Sending::SAFE;
    for word in words {
        match *word {
            "acks=0" => sending.acks = Acks::None,
            "acks=1" => sending.acks = Acks::Leader,
            "plain" => sending.idempotent = false,
            "no_retries" => sending.retries = false,
            "in_flight=1" => sending.in_flight_max = 1,
            "replicated" => sending.class = Durability::Replicated,
            other => panic!("{other:?} is no option of a producer"),
        }
    }
    sending
}

fn number(word: &str) -> Offset {
    word.parse()
        .unwrap_or_else(|_| panic!("{word:?} is no number"))
}
