//! The language of the transcripts.
//!
//! A line `> WORDS` is an input, the lines after it are what came of it, `#` begins a remark. Requests begin with a token:
//! `> 7 heartbeat g @1 gen=3`. `""` is the empty word. Options are `name=value`; `@n` is the n-th member id that appeared.
//!
//! | line | meaning |
//! |---|---|
//! | `config NAME=N ..` | before or after the election: `delay`, `size`, `retention`, `metadata`, `timeout` (of commits) |
//! | `elected`, `resigned`, `resigned committed` | a term begins (the log is replayed), ends (what was in flight is lost, or not) |
//! | `loading` | a term begins and replay has not ended |
//! | `pass MS` | time passes with all its deadlines |
//! | `wall MS` | the wall clock steps |
//! | `committed [N]` | the high watermark passes append N, or all |
//! | `fail N ERROR` | append N is not in the log |
//! | `topic-deleted T [ID]` | |
//! | `join G client=C [as=@n] [instance=I] [type=T] [protocols=p:topics,..] [session=MS] [rebalance=MS] [v=N]` | |
//! | `sync G @n gen=N [instance=I] [name=P] [type=T] [@m:bytes ..] [v=N]` | |
//! | `heartbeat G @n gen=N [instance=I]`, `leave G (@n \| /I \| @n/I) ..` | |
//! | `commit G T-P=OFFSET[:METADATA] .. [as=@n] [gen=N] [instance=I] [retention=MS] [id=N] [v=N]` | |
//! | `fetch G [T-P ..] [id=N] [stable]`, `offset-delete G T-P ..` | |
//! | `list [state=S] [type=T]`, `describe G ..`, `delete G ..` | |

use std::collections::BTreeMap;

use bytes::Bytes;
use types::{Uuid, Wall};

use super::bench::Bench;
use super::show::Names;
use crate::groups::*;

/// Runs the inputs of a transcript and gives the transcript that should have been.
pub(super) fn run(transcript: &str) -> String {
    let mut script = Script {
        bench: Bench::new(GroupConfig::default(), 1),
        config: GroupConfig::default(),
        names: Names::default(),
    };
    let mut lines = Vec::new();
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            lines.push(line.to_owned());
            for action in script.command(command) {
                lines.push(script.names.show(&action));
            }
        } else if line.is_empty() || line.starts_with('#') {
            lines.push(line.to_owned());
        }
    }
    // Whoever waits at the end of a story is answered at the end of the term.
    script.bench.resign(true);
    lines.join("\n") + "\n"
}

struct Script {
    bench: Bench,
    config: GroupConfig,
    names: Names,
}

/// A line's words: those without `=`, and the options.
struct Words {
    plain: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Words {
    fn of(line: &str) -> Words {
        let mut words = Words {
            plain: Vec::new(),
            options: BTreeMap::new(),
        };
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) if !name.contains('-') => {
                    words.options.insert(name.to_owned(), value.to_owned());
                }
                _ if word == "\"\"" => words.plain.push(String::new()),
                _ => words.plain.push(word.to_owned()),
            }
        }
        words
    }

    fn text(&self, name: &str) -> Option<String> {
        self.options.get(name).cloned()
    }

    fn number(&self, name: &str, default: i64) -> i64 {
        let value = self.options.get(name);
        value.map_or(default, |value| value.parse().expect("a number"))
    }

    fn rest(&self) -> &[String] {
        &self.plain[2..]
    }

    fn topic_id(&self) -> Uuid {
        Uuid::from_u128(self.number("id", 0) as u128)
    }
}

impl Script {
    fn command(&mut self, line: &str) -> Vec<Action> {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = Words::of(rest);
        let number = |index: usize| words.plain[index].parse::<i64>().expect("a number");
        if let Ok(token) = first.parse() {
            let request = self.parse(&words);
            return self.bench.request(token, request);
        }
        match first {
            "config" => self.configure(&words),
            "elected" => self.bench.elect(),
            "loading" => self.bench.step(Input::Elected { epoch: 99 }),
            "resigned" => self.bench.resign(rest == "committed"),
            "pass" => self.bench.pass(number(0)),
            "wall" => {
                let wall = &mut self.bench.now.wall;
                *wall = Wall::from_millis(wall.as_millis() + number(0));
                Vec::new()
            }
            "committed" if rest.is_empty() => self.bench.commit_all(),
            "committed" => self.bench.commit(number(0) as AppendId),
            "fail" => {
                let error = append_error(&words.plain[1]);
                self.bench.fail(number(0) as AppendId, error)
            }
            "topic-deleted" => self.bench.step(Input::TopicDeleted {
                topic: words.plain[0].clone(),
                topic_id: words.topic_id(),
            }),
            _ => panic!("an unknown line: {line}"),
        }
    }

    fn configure(&mut self, words: &Words) -> Vec<Action> {
        let config = &mut self.config;
        for (name, value) in &words.options {
            let value: i64 = value.parse().expect("a number");
            match name.as_str() {
                "delay" => config.initial_rebalance_delay_ms = value as i32,
                "size" => config.group_size_max = value as i32,
                "retention" => config.offsets_retention_ms = value,
                "metadata" => config.offset_metadata_bytes_max = value as i32,
                "timeout" => config.offset_commit_timeout_ms = value as i32,
                _ => panic!("an unknown config: {name}"),
            }
        }
        self.bench.step(Input::Configure(self.config))
    }

    fn parse(&self, words: &Words) -> Request {
        match words.plain[0].as_str() {
            "join" => self.join(words).into(),
            "sync" => self.sync(words).into(),
            "heartbeat" => Heartbeat {
                group_id: words.plain[1].clone(),
                generation_id: words.number("gen", -1) as i32,
                member_id: self.names.id(&words.plain[2]),
                group_instance_id: words.text("instance"),
            }
            .into(),
            "leave" => self.leave(words).into(),
            "commit" => self.commit(words).into(),
            "fetch" => fetch(words).into(),
            "offset-delete" => OffsetDelete {
                group_id: words.plain[1].clone(),
                topics: by_topic(words.rest().iter().map(|word| topic_partition(word))),
            }
            .into(),
            "list" => ListGroups {
                states: words.text("state").into_iter().collect(),
                types: words.text("type").into_iter().collect(),
            }
            .into(),
            "describe" => DescribeGroups {
                groups: words.plain[1..].to_vec(),
            }
            .into(),
            "delete" => DeleteGroups {
                groups: words.plain[1..].to_vec(),
            }
            .into(),
            other => panic!("an unknown request: {other}"),
        }
    }

    fn join(&self, words: &Words) -> JoinGroup {
        let version = words.number("v", 9);
        let protocol_type = words.text("type").unwrap_or_else(|| "consumer".to_owned());
        let protocols = words
            .text("protocols")
            .unwrap_or_else(|| "range:t".to_owned());
        let protocol = |text: &str| {
            let (name, topics) = text.split_once(':').unwrap_or((text, ""));
            JoinProtocol {
                name: name.to_owned(),
                metadata: match protocol_type.as_str() {
                    "consumer" => subscription(topics),
                    _ => Bytes::copy_from_slice(topics.as_bytes()),
                },
            }
        };
        let protocols = protocols.split(',').filter(|text| !text.is_empty());
        JoinGroup {
            group_id: words.plain.get(1).cloned().unwrap_or_default(),
            session_timeout_ms: words.number("session", 10_000) as i32,
            rebalance_timeout_ms: words.number("rebalance", 20_000) as i32,
            member_id: words
                .text("as")
                .map_or(String::new(), |id| self.names.id(&id)),
            group_instance_id: words.text("instance"),
            protocols: protocols.map(protocol).collect(),
            protocol_type,
            reason: None,
            client_id: words.text("client").unwrap_or_else(|| "c".to_owned()),
            client_host: "/127.0.0.1".to_owned(),
            requires_known_member_id: version >= 4,
            supports_skipping_assignment: version >= 9,
        }
    }

    fn sync(&self, words: &Words) -> SyncGroup {
        let assignment = |word: &String| {
            let (id, bytes) = word.split_once(':').expect("@n:bytes");
            (self.names.id(id), Bytes::copy_from_slice(bytes.as_bytes()))
        };
        SyncGroup {
            group_id: words.plain[1].clone(),
            generation_id: words.number("gen", -1) as i32,
            member_id: self.names.id(&words.plain[2]),
            group_instance_id: words.text("instance"),
            protocol_type: words.text("type"),
            protocol_name: words.text("name"),
            requires_protocol: words.number("v", 4) >= 5,
            assignments: words.plain[3..].iter().map(assignment).collect(),
        }
    }

    fn leave(&self, words: &Words) -> LeaveGroup {
        let member = |word: &String| {
            let (id, instance) = match word.split_once('/') {
                Some((id, instance)) => (id, Some(instance.to_owned())),
                None => (word.as_str(), None),
            };
            LeavingMember {
                member_id: self.names.id(id),
                group_instance_id: instance,
                reason: None,
            }
        };
        LeaveGroup {
            group_id: words.plain[1].clone(),
            members: words.rest().iter().map(member).collect(),
        }
    }

    fn commit(&self, words: &Words) -> OffsetCommit {
        let offset = |word: &String| {
            let (name, value) = word.split_once('=').expect("T-P=OFFSET");
            let (offset, metadata) = match value.split_once(':') {
                Some((offset, metadata)) => (offset, Some(metadata.to_owned())),
                None => (value, None),
            };
            let (topic, partition) = topic_partition(name);
            let partition = OffsetCommitPartition {
                partition,
                offset: offset.parse().expect("an offset"),
                leader_epoch: 5,
                metadata,
            };
            (topic, partition)
        };
        let topics = by_topic(words.rest().iter().map(offset));
        let topic_id = words.topic_id();
        OffsetCommit {
            group_id: words.plain[1].clone(),
            generation_id: words.number("gen", -1) as i32,
            member_id: words
                .text("as")
                .map_or(String::new(), |id| self.names.id(&id)),
            group_instance_id: words.text("instance"),
            retention_time_ms: words.number("retention", -1),
            knows_group_id_not_found: words.number("v", 9) >= 9,
            topics: (topics.into_iter())
                .map(|(topic, partitions)| OffsetCommitTopic {
                    topic,
                    topic_id,
                    partitions,
                })
                .collect(),
        }
    }
}

fn fetch(words: &Words) -> OffsetFetch {
    let require_stable = words.rest().iter().any(|word| word == "stable");
    let asked = words.rest().iter().filter(|word| *word != "stable");
    let topics = by_topic(asked.map(|word| topic_partition(word)));
    let topic_id = words.topic_id();
    let topic = |(topic, partitions)| OffsetFetchTopic {
        topic,
        topic_id,
        partitions,
    };
    OffsetFetch {
        group_id: words.plain[1].clone(),
        topics: (!topics.is_empty()).then(|| topics.into_iter().map(topic).collect()),
        require_stable,
    }
}

fn topic_partition(word: &str) -> (String, i32) {
    let (topic, partition) = word.rsplit_once('-').expect("T-P");
    (topic.to_owned(), partition.parse().expect("a partition"))
}

fn by_topic<T>(items: impl Iterator<Item = (String, T)>) -> Vec<(String, Vec<T>)> {
    let mut topics: Vec<(String, Vec<T>)> = Vec::new();
    for (topic, item) in items {
        match topics.iter_mut().find(|(name, _)| *name == topic) {
            Some((_, list)) => list.push(item),
            None => topics.push((topic, vec![item])),
        }
    }
    topics
}

fn append_error(name: &str) -> AppendError {
    match name {
        "replicas" => AppendError::NotEnoughReplicas,
        "leader" => AppendError::NotLeader,
        "storage" => AppendError::Storage,
        "large" => AppendError::TooLarge,
        _ => panic!("an unknown error: {name}"),
    }
}

/// A consumer's join metadata for topics joined by `+`, as the Java client writes version 0.
pub(super) fn subscription(topics: &str) -> Bytes {
    let topics: Vec<&str> = topics
        .split('+')
        .filter(|topic| !topic.is_empty())
        .collect();
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}
