//! Who uses the cluster, and what each does.

use std::collections::BTreeMap;

use super::super::draw::Draw;
use super::super::{ClientPlan, Operation, Role, SeekTo, Step, TimeSpec, TopicPlan};

/// Operations of all clients together in a second, about.
const OPERATIONS_PER_SECOND: u64 = 50;
/// Topics that admins make and delete.
const PASSING_TOPICS: [&str; 2] = ["p0", "p1"];

/// The clients of a seed.
pub(super) fn generate(seed: u64, duration_ms: u64, topics: &[TopicPlan]) -> Vec<ClientPlan> {
    let roles = roles(seed);
    // An admin and a nuisance do little; the others share the load.
    let busy = roles
        .iter()
        .filter(|role| !matches!(role, Role::Admin | Role::Nuisance))
        .count() as u64;
    let mean_ms = 1_000 * busy / OPERATIONS_PER_SECOND;
    let clients = roles.into_iter().enumerate().map(|(index, role)| {
        let mut draw = Draw::new(seed, &format!("plan client {index}"));
        let mut client = client(index as u32, role, &mut draw);
        let mean_ms = match role {
            Role::Admin => 1_500,
            Role::Nuisance => 2_500,
            _ => mean_ms,
        };
        let mut script = Script {
            draw,
            topics,
            role,
            steps: Vec::new(),
        };
        script.write(duration_ms, mean_ms);
        if role == Role::Admin {
            script.draw = Draw::new(seed, &format!("plan groups {index}"));
            script.delete_groups(duration_ms);
        }
        client.steps = script.steps;
        client
    });
    clients.collect()
}

fn roles(seed: u64) -> Vec<Role> {
    let mut draw = Draw::new(seed, "plan roles");
    let mut roles = vec![
        Role::Producer,
        Role::Producer,
        Role::Reader,
        Role::Member,
        Role::Member,
        Role::Admin,
    ];
    if draw.one_in(2) {
        roles.push(Role::Producer);
    }
    if draw.one_in(3) {
        roles.push(Role::Reader);
    }
    if draw.one_in(3) {
        roles.push(Role::Member);
    }
    if draw.one_in(2) {
        roles.push(Role::Nuisance);
    }
    roles
}

fn client(id: u32, role: Role, draw: &mut Draw) -> ClientPlan {
    let mut client = ClientPlan {
        id,
        role,
        acks: -1,
        idempotent: false,
        in_flight: draw.between(1, 5) as usize,
        group: None,
        instance: None,
        settings: BTreeMap::new(),
        steps: Vec::new(),
    };
    let mut set = |key: &str, value: i64| {
        client.settings.insert(key.to_owned(), value);
    };
    set("request_timeout_ms", draw.pick(&[1_000, 3_000, 10_000]));
    set("delivery_timeout_ms", draw.pick(&[5_000, 15_000, 60_000]));
    match role {
        Role::Producer => {
            set("linger_ms", draw.pick(&[0, 0, 5]));
            set("batch_bytes_max", draw.pick(&[100, 500, 16_384]));
            set(
                "compression",
                draw.weighted(&[(6, 0), (1, 1), (1, 2), (1, 3), (1, 4)]),
            );
            client.idempotent = id == 0 || draw.percent(60);
            if !client.idempotent {
                client.acks = draw.pick(&[-1, -1, 1, 0]);
            } else if draw.one_in(4) {
                // Its sequences wrap around on the way.
                let first = i32::MAX - draw.small(0, 60) as i32;
                set("first_sequence", first.into());
            }
        }
        Role::Reader | Role::Member => {
            set("fetch_bytes_max", draw.pick(&[200, 10_000, 1 << 20]));
            set("partition_bytes_max", draw.pick(&[100, 5_000, 1 << 20]));
            set("sessions", draw.between(0, 1) as i64);
            set("read_committed", draw.between(0, 1) as i64);
        }
        Role::Admin | Role::Nuisance => {}
    }
    if role == Role::Member {
        set("session_timeout_ms", draw.pick(&[2_000, 6_000]));
        set("rebalance_timeout_ms", draw.pick(&[4_000, 10_000]));
        set("cooperative", i64::from(id.is_multiple_of(2)));
        client.group = Some(draw.weighted(&[(4, "g0"), (1, "g1")]).to_owned());
        client.instance = draw.one_in(4).then(|| format!("static-{id}"));
    }
    client
}

/// Writes a client's steps.
struct Script<'a> {
    draw: Draw,
    topics: &'a [TopicPlan],
    role: Role,
    steps: Vec<Step>,
}

impl Script<'_> {
    fn write(&mut self, duration_ms: u64, mean_ms: u64) {
        let mut at_ms = self.draw.between(0, 1_000);
        self.begin(at_ms);
        loop {
            at_ms += self.draw.between(mean_ms / 2, mean_ms + mean_ms / 2);
            if at_ms >= duration_ms {
                return;
            }
            let operation = match self.role {
                Role::Producer => self.produce(),
                Role::Reader => self.read(),
                Role::Member => self.take_part(),
                Role::Admin => self.administrate(),
                Role::Nuisance => self.annoy(),
            };
            let is_crash = operation == Operation::Crash;
            self.push(at_ms, operation);
            if is_crash {
                self.begin(at_ms);
            }
        }
    }

    fn push(&mut self, at_ms: u64, operation: Operation) {
        self.steps.push(Step { at_ms, operation });
    }

    /// What a process of this role does first.
    fn begin(&mut self, at_ms: u64) {
        match self.role {
            Role::Reader => {
                let operation = self.assign();
                self.push(at_ms, operation);
            }
            Role::Member => {
                let operation = self.subscribe();
                self.push(at_ms, operation);
            }
            _ => {}
        }
    }

    fn assign(&mut self) -> Operation {
        let mut partitions = Vec::new();
        for topic in self.topics {
            for partition in 0..topic.partitions {
                if self.draw.percent(70) {
                    partitions.push((topic.name.clone(), partition));
                }
            }
        }
        if self.draw.one_in(4) {
            partitions.push((self.draw.pick(&PASSING_TOPICS).to_string(), 0));
        }
        if partitions.is_empty() {
            partitions.push((self.topics[0].name.clone(), 0));
        }
        Operation::Assign(partitions)
    }

    fn subscribe(&mut self) -> Operation {
        let mut names: Vec<String> = self.topics.iter().map(|topic| topic.name.clone()).collect();
        if names.len() > 1 && self.draw.one_in(3) {
            names.pop();
        }
        if self.draw.one_in(4) {
            names.push(self.draw.pick(&PASSING_TOPICS).to_string());
        }
        Operation::Subscribe(names)
    }

    fn place(&mut self) -> (String, i32) {
        let topic = self.draw.choose(self.topics);
        let partition = self.draw.between(0, topic.partitions as u64 - 1) as i32;
        (topic.name.clone(), partition)
    }

    fn produce(&mut self) -> Operation {
        if self.draw.one_in(400) {
            return Operation::Crash;
        }
        if self.draw.one_in(300) {
            let millis = self.draw.between(500, 20_000);
            return Operation::Stall { millis };
        }
        let (topic, partition) = if self.draw.one_in(12) {
            (self.draw.pick(&PASSING_TOPICS).to_string(), 0)
        } else {
            self.place()
        };
        Operation::Send {
            topic,
            partition,
            records: self.draw.small(1, 8) as u32,
            bytes: self.draw.small(0, 400) as u32,
        }
    }

    fn poll(&mut self) -> Operation {
        let wait_ms = self.draw.pick(&[0, 20, 100, 500]);
        Operation::Poll { wait_ms }
    }

    fn read(&mut self) -> Operation {
        match self.draw.between(0, 399) {
            0 => Operation::Crash,
            1 => Operation::Stall {
                millis: self.draw.between(500, 10_000),
            },
            2..=4 => self.assign(),
            5..=14 => {
                let (topic, partition) = self.place();
                let to = match self.draw.between(0, 3) {
                    0 => SeekTo::End,
                    1 => SeekTo::Offset(self.draw.small(0, 2_000) as i64),
                    _ => SeekTo::Beginning,
                };
                Operation::Seek {
                    topic,
                    partition,
                    to,
                }
            }
            15..=40 => self.offsets(),
            _ => self.poll(),
        }
    }

    fn offsets(&mut self) -> Operation {
        let (topic, partition) = self.place();
        let at = match self.draw.between(0, 4) {
            0 | 1 => TimeSpec::Latest,
            2 => TimeSpec::Earliest,
            3 => TimeSpec::MaxTimestamp,
            _ => TimeSpec::Ago(self.draw.small(0, 60_000)),
        };
        Operation::Offsets {
            topic,
            partition,
            at,
        }
    }

    fn take_part(&mut self) -> Operation {
        match self.draw.between(0, 399) {
            0 | 1 => Operation::Crash,
            2 | 3 => Operation::Stall {
                millis: self.draw.between(500, 12_000),
            },
            4 => Operation::Leave,
            5..=7 => self.subscribe(),
            8..=14 => Operation::Committed,
            15..=80 => Operation::Commit,
            _ => self.poll(),
        }
    }

    fn administrate(&mut self) -> Operation {
        let passing = self.draw.pick(&PASSING_TOPICS).to_string();
        match self.draw.between(0, 19) {
            0..=3 => Operation::CreateTopic {
                topic: passing,
                partitions: self.draw.between(1, 2) as i32,
                configs: Vec::new(),
            },
            4..=6 => Operation::DeleteTopic(passing),
            7 => Operation::AddPartitions {
                topic: self.draw.choose(self.topics).name.clone(),
                more: 1,
            },
            8..=10 => self.delete_records(),
            11..=13 => self.alter(),
            14 => self.commit_for(),
            _ => self.offsets(),
        }
    }

    /// Never of the first topic, which keeps everything.
    fn delete_records(&mut self) -> Operation {
        let index = self.draw.between(1, self.topics.len() as u64 - 1) as usize;
        let topic = &self.topics[index];
        let percent = match self.draw.between(0, 2) {
            0 => 100,
            _ => self.draw.between(0, 99) as u8,
        };
        if self.draw.one_in(4) {
            return Operation::DeleteRecords {
                topic: self.draw.pick(&PASSING_TOPICS).to_string(),
                partition: 0,
                percent,
            };
        }
        Operation::DeleteRecords {
            topic: topic.name.clone(),
            partition: self.draw.between(0, topic.partitions as u64 - 1) as i32,
            percent,
        }
    }

    /// For a group that may have members, who do not know of it.
    fn commit_for(&mut self) -> Operation {
        let (topic, partition) = self.place();
        Operation::CommitFor {
            group: self.draw.pick(&["g0", "g0", "g1"]).to_owned(),
            topic,
            partition,
            offset: self.draw.small(0, 100) as i64,
        }
    }

    /// In some runs groups are deleted: those that have members mostly, for which it is refused, and one that only
    /// this client commits for.
    fn delete_groups(&mut self, duration_ms: u64) {
        if !self.draw.one_in(3) {
            return;
        }
        for _ in 0..self.draw.between(2, 6) {
            let at_ms = self.draw.between(1_000, duration_ms - 1);
            let (topic, partition) = self.place();
            let (group, offset) = ("g2".to_owned(), self.draw.small(0, 100) as i64);
            let operation = Operation::CommitFor {
                group,
                topic,
                partition,
                offset,
            };
            self.push(at_ms, operation);
        }
        for _ in 0..self.draw.between(1, 5) {
            let at_ms = self.draw.between(5_000, duration_ms - 1);
            let group = self.draw.pick(&["g0", "g1", "g2", "g2"]);
            self.push(at_ms, Operation::DeleteGroup(group.to_owned()));
        }
        self.steps.sort_by_key(|step| step.at_ms);
    }

    fn alter(&mut self) -> Operation {
        let index = self.draw.between(0, self.topics.len() as u64 - 1) as usize;
        let (key, values): (&str, &[&str]) = match self.draw.between(0, 4) {
            0 if index > 0 => ("retention.bytes", &["4096", "65536", ""]),
            1 if index > 0 => ("retention.ms", &["10000", "60000", ""]),
            2 => ("max.message.bytes", &["1000", "100000", ""]),
            3 => ("segment.ms", &["1000", "30000", ""]),
            _ => (
                "message.timestamp.type",
                &["LogAppendTime", "CreateTime", ""],
            ),
        };
        Operation::AlterConfig {
            topic: self.topics[index].name.clone(),
            key: key.to_owned(),
            value: self.draw.pick(values).to_string(),
        }
    }

    fn annoy(&mut self) -> Operation {
        match self.draw.between(0, 3) {
            0 | 1 => Operation::Malformed {
                seed: self.draw.number() >> 16,
            },
            2 => Operation::Abandon {
                bytes: self.draw.small(0, 5_000) as u32,
            },
            _ => Operation::Deaf {
                millis: self.draw.between(500, 10_000),
            },
        }
    }
}
