//! Random walks: clients that do anything, a log that takes its time, fails and changes hands.
//!
//! Beside what the bench checks after every step: assignments never cross generations or members, generations never go
//! back, an acknowledged commit is never superseded by an older one, a refused one writes nothing. In the end well-behaved
//! clients reach a stable group, and silent ones leave an empty one.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use types::{Uuid, Wall};

use super::bench::Bench;
use super::script::subscription;
use crate::groups::image::Change;
use crate::groups::*;

const GROUPS: [&str; 2] = ["g", "h"];
const CLIENTS_PER_GROUP: usize = 4;

#[derive(Clone, Debug)]
enum Operation {
    Join(usize, u8),
    JoinAsNew(usize, u8),
    Sync(usize),
    Heartbeat(usize),
    Leave(usize),
    Commit(usize, i32),
    CommitAnonymous(usize, i32),
    Fetch(usize, bool),
    OffsetDelete(usize, i32),
    Delete(usize),
    Look(usize),
    TopicDeleted,
    Pass(i64),
    WallStep(i64),
    Committed(u64),
    CommittedAll,
    Fail(usize, u8),
    ChangeHands(bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let client = 0..GROUPS.len() * CLIENTS_PER_GROUP;
    prop_oneof![
        6 => (client.clone(), any::<u8>()).prop_map(|(c, p)| Join(c, p)),
        2 => (client.clone(), any::<u8>()).prop_map(|(c, p)| JoinAsNew(c, p)),
        6 => client.clone().prop_map(Sync),
        4 => client.clone().prop_map(Heartbeat),
        2 => client.clone().prop_map(Leave),
        4 => (client.clone(), 0..3).prop_map(|(c, p)| Commit(c, p)),
        1 => (client.clone(), 0..3).prop_map(|(c, p)| CommitAnonymous(c, p)),
        1 => (client.clone(), any::<bool>()).prop_map(|(c, stable)| Fetch(c, stable)),
        1 => (client.clone(), 0..3).prop_map(|(c, p)| OffsetDelete(c, p)),
        1 => client.clone().prop_map(Delete),
        1 => client.prop_map(Look),
        1 => Just(TopicDeleted),
        6 => prop_oneof![0..50i64, 0..7_000i64, 0..700_000i64].prop_map(Pass),
        1 => (-10_000_000..10_000_000i64).prop_map(WallStep),
        2 => (0..4u64).prop_map(Committed),
        6 => Just(CommittedAll),
        1 => (0..4usize, any::<u8>()).prop_map(|(n, e)| Fail(n, e)),
        1 => any::<bool>().prop_map(ChangeHands),
    ]
}

/// What a client waits for.
#[derive(Clone, PartialEq, Debug)]
enum Asked {
    Join,
    /// With the assignment that its leader would give it.
    Sync(Bytes),
    Heartbeat,
    Leave,
    Commit {
        partition: i32,
        offset: i64,
    },
    Other,
}

#[derive(Default, Debug)]
struct Client {
    group: &'static str,
    instance: Option<String>,
    member_id: String,
    generation: i32,
    /// Who is to be assigned something, if this is the leader.
    members: Vec<JoinedMember>,
    must_join: bool,
    has_assignment: bool,
    asked: BTreeMap<Token, Asked>,
}

struct Walk {
    bench: Bench,
    clients: Vec<Client>,
    next_token: Token,
    next_offset: i64,
    /// The largest acknowledged offset by group and partition.
    acknowledged: BTreeMap<(String, i32), i64>,
    /// The largest offset that was asked to be committed before the last tombstone of a partition.
    forgotten: BTreeMap<(String, i32), i64>,
    generations: BTreeMap<String, i32>,
}

/// What a leader assigns to a member: it names the generation and the member, a static one by its instance.
fn assignment(generation: i32, member_id: &str, instance: Option<&str>) -> Bytes {
    format!("{generation} {}", instance.unwrap_or(member_id)).into()
}

impl Walk {
    fn new(config: GroupConfig, seed: u64) -> Walk {
        let mut bench = Bench::new(config, seed);
        bench.elect();
        let client = |index: usize| Client {
            group: GROUPS[index / CLIENTS_PER_GROUP],
            // Half of the clients are static members.
            instance: (index % 2 == 1).then(|| format!("instance-{index}")),
            must_join: true,
            ..Client::default()
        };
        Walk {
            bench,
            clients: (0..GROUPS.len() * CLIENTS_PER_GROUP).map(client).collect(),
            next_token: 0,
            next_offset: 0,
            acknowledged: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            generations: BTreeMap::new(),
        }
    }

    fn take(&mut self, operation: &Operation) {
        match *operation {
            Operation::Join(client, protocols) => self.join(client, protocols, false),
            Operation::JoinAsNew(client, protocols) => self.join(client, protocols, true),
            Operation::Sync(client) => self.sync(client),
            Operation::Heartbeat(client) => self.heartbeat(client),
            Operation::Leave(client) => self.leave(client),
            Operation::Commit(client, partition) => self.commit(client, partition, false),
            Operation::CommitAnonymous(client, partition) => self.commit(client, partition, true),
            Operation::Fetch(client, require_stable) => {
                let group_id = self.clients[client].group.to_owned();
                let topics = None;
                let request = OffsetFetch {
                    group_id,
                    topics,
                    require_stable,
                };
                self.ask(client, Asked::Other, request);
            }
            Operation::OffsetDelete(client, partition) => {
                let group_id = self.clients[client].group.to_owned();
                let topics = vec![("t".to_owned(), vec![partition])];
                self.ask(client, Asked::Other, OffsetDelete { group_id, topics });
            }
            Operation::Delete(client) => {
                let groups = vec![self.clients[client].group.to_owned()];
                self.ask(client, Asked::Other, DeleteGroups { groups });
            }
            Operation::Look(client) => {
                let groups = vec![self.clients[client].group.to_owned()];
                self.ask(client, Asked::Other, DescribeGroups { groups });
                self.ask(client, Asked::Other, ListGroups::default());
            }
            _ => self.take_surroundings(operation),
        }
    }

    /// What the log, the clocks and the cluster do.
    fn take_surroundings(&mut self, operation: &Operation) {
        let actions = match *operation {
            Operation::TopicDeleted => self.bench.step(Input::TopicDeleted {
                topic: "t".to_owned(),
                topic_id: Uuid::ZERO,
            }),
            Operation::Pass(millis) => self.bench.pass(millis),
            Operation::WallStep(millis) => {
                let wall = &mut self.bench.now.wall;
                *wall = Wall::from_millis(wall.as_millis() + millis);
                return;
            }
            Operation::Committed(count) => match self.bench.in_flight.first_key_value() {
                Some((first, _)) => self.bench.commit(first + count),
                None => return,
            },
            Operation::CommittedAll => self.bench.commit_all(),
            Operation::Fail(index, error) => {
                let Some(&append) = self.bench.in_flight.keys().nth(index) else {
                    return;
                };
                let errors = [
                    AppendError::NotEnoughReplicas,
                    AppendError::TooLarge,
                    AppendError::Storage,
                ];
                let error = errors[usize::from(error) % errors.len()];
                self.bench.fail(append, error)
            }
            Operation::ChangeHands(in_flight_survives) => {
                self.generations.clear();
                let actions = self.bench.resign(in_flight_survives);
                self.hear(&actions);
                self.bench.elect()
            }
            _ => unreachable!("clients' operations are taken elsewhere"),
        };
        self.hear(&actions);
    }

    fn ask(&mut self, client: usize, asked: Asked, request: impl Into<Request>) {
        self.next_token += 1;
        self.clients[client].asked.insert(self.next_token, asked);
        let actions = self.bench.request(self.next_token, request);
        let refused = |action: &Action| {
            matches!(
                action,
                Action::Reply {
                    response: Response::OffsetCommit(Err(_)),
                    ..
                }
            )
        };
        if actions.iter().any(refused) {
            let appends = |action: &Action| matches!(action, Action::Append { .. });
            assert!(!actions.iter().any(appends), "a refused commit is written");
        }
        self.hear(&actions);
    }

    fn join(&mut self, index: usize, protocols: u8, as_new: bool) {
        let client = &self.clients[index];
        let topics = if protocols & 1 == 0 { "t" } else { "t+u" };
        let mut names = vec!["range", "sticky"];
        if protocols & 2 != 0 {
            names.reverse();
        }
        if protocols & 12 == 12 {
            names.truncate(1);
        }
        let protocol = |name: &str| JoinProtocol {
            name: name.to_owned(),
            metadata: subscription(topics),
        };
        let request = JoinGroup {
            group_id: client.group.to_owned(),
            session_timeout_ms: 6_000 + i32::from(protocols & 16) * 100,
            rebalance_timeout_ms: i32::from(protocols & 32) * 300 - 1,
            member_id: match as_new {
                true => String::new(),
                false => client.member_id.clone(),
            },
            group_instance_id: client.instance.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: names.into_iter().map(protocol).collect(),
            reason: None,
            client_id: format!("client-{index}"),
            client_host: "/127.0.0.1".to_owned(),
            requires_known_member_id: protocols & 64 == 0,
            supports_skipping_assignment: protocols & 128 == 0,
        };
        self.ask(index, Asked::Join, request);
    }

    fn sync(&mut self, index: usize) {
        let client = &self.clients[index];
        let generation = client.generation;
        let assign = |member: &JoinedMember| {
            let instance = member.group_instance_id.as_deref();
            let bytes = assignment(generation, &member.member_id, instance);
            (member.member_id.clone(), bytes)
        };
        let request = SyncGroup {
            group_id: client.group.to_owned(),
            generation_id: generation,
            member_id: client.member_id.clone(),
            group_instance_id: client.instance.clone(),
            assignments: client.members.iter().map(assign).collect(),
            ..SyncGroup::default()
        };
        let instance = client.instance.as_deref();
        let expected = assignment(generation, &client.member_id, instance);
        self.ask(index, Asked::Sync(expected), request);
    }

    fn heartbeat(&mut self, index: usize) {
        let client = &self.clients[index];
        let request = Heartbeat {
            group_id: client.group.to_owned(),
            generation_id: client.generation,
            member_id: client.member_id.clone(),
            group_instance_id: client.instance.clone(),
        };
        self.ask(index, Asked::Heartbeat, request);
    }

    fn leave(&mut self, index: usize) {
        let client = &self.clients[index];
        let member = LeavingMember {
            member_id: client.member_id.clone(),
            group_instance_id: client.instance.clone(),
            reason: None,
        };
        let request = LeaveGroup {
            group_id: client.group.to_owned(),
            members: vec![member],
        };
        self.ask(index, Asked::Leave, request);
    }

    fn commit(&mut self, index: usize, partition: i32, anonymous: bool) {
        self.next_offset += 1;
        let offset = self.next_offset;
        let client = &self.clients[index];
        let topic = OffsetCommitTopic {
            topic: "t".to_owned(),
            topic_id: Uuid::ZERO,
            partitions: vec![OffsetCommitPartition {
                partition,
                offset,
                leader_epoch: -1,
                metadata: None,
            }],
        };
        let mut request = OffsetCommit {
            group_id: client.group.to_owned(),
            generation_id: -1,
            retention_time_ms: -1,
            topics: vec![topic],
            ..OffsetCommit::default()
        };
        if !anonymous {
            request.generation_id = client.generation;
            request.member_id = client.member_id.clone();
            request.group_instance_id = client.instance.clone();
        }
        self.ask(index, Asked::Commit { partition, offset }, request);
    }

    fn hear(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Append { records, .. } => self.hear_append(records),
                Action::Reply { token, response } => self.hear_reply(*token, response),
                Action::Note { .. } => {}
            }
        }
        self.check();
    }

    fn hear_append(&mut self, records: &[CoordinatorRecord]) {
        for record in records {
            let change = Change::decode(Some(record.key.clone()), record.value.clone());
            if let Some(Change::Offset {
                group,
                partition,
                value: None,
                ..
            }) = change.expect("our own record")
            {
                let key = (group.to_string(), partition);
                self.acknowledged.remove(&key);
                self.forgotten.insert(key, self.next_offset);
            }
        }
    }

    fn hear_reply(&mut self, token: Token, response: &Response) {
        let client = self
            .clients
            .iter_mut()
            .find(|c| c.asked.contains_key(&token));
        let client = client.expect("somebody asked");
        let asked = client.asked.remove(&token).expect("it was just found");
        match (asked, response) {
            (Asked::Join, Response::JoinGroup(Ok(joined))) => {
                client.member_id = joined.member_id.clone();
                client.generation = joined.generation_id;
                client.members = match joined.skip_assignment {
                    true => Vec::new(),
                    false => joined.members.clone(),
                };
                client.must_join = false;
                client.has_assignment = false;
            }
            (Asked::Join, Response::JoinGroup(Err(failure))) => {
                client.must_join = true;
                match failure.error {
                    JoinGroupError::MemberIdRequired => {
                        client.member_id = failure.member_id.clone();
                    }
                    JoinGroupError::UnknownMemberId | JoinGroupError::FencedInstanceId => {
                        client.member_id = String::new();
                    }
                    _ => {}
                }
            }
            (Asked::Sync(expected), Response::SyncGroup(Ok(synced))) => {
                // A leader may have assigned before it knew of this member's new id: nothing, then.
                let fits = synced.assignment == expected || synced.assignment.is_empty();
                assert!(fits, "{:?} for {expected:?}", synced.assignment);
                client.has_assignment = true;
            }
            (Asked::Sync(_), Response::SyncGroup(Err(error))) => client.lose(error.code()),
            (Asked::Heartbeat, Response::Heartbeat(Err(error))) => client.lose(error.code()),
            (Asked::Leave, Response::LeaveGroup(_)) => client.must_join = true,
            (Asked::Commit { partition, offset }, Response::OffsetCommit(Ok(_))) => {
                let key = (client.group.to_owned(), partition);
                let forgotten = self.forgotten.get(&key).copied().unwrap_or(0);
                if offset > forgotten {
                    self.acknowledged.insert(key, offset);
                }
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        let view = self.bench.machine.view();
        let mut generations = BTreeMap::new();
        for group in view.groups() {
            let id = group.group_id().to_owned();
            let last = self.generations.get(&id).copied().unwrap_or(0);
            assert!(
                group.generation_id() >= last,
                "{id}: a generation goes back"
            );
            generations.insert(id, group.generation_id());
        }
        self.generations = generations;
        if view.phase() != CoordinatorPhase::Active {
            return;
        }
        for ((group, partition), acknowledged) in &self.acknowledged {
            let stored = view.offsets(group).find(|(_, p, _)| p == partition);
            let stored = stored.map_or(-1, |(_, _, offset)| offset.offset);
            assert!(
                stored >= *acknowledged,
                "{group}: an acknowledged commit is lost"
            );
        }
    }

    /// Every client does what a client should; the log works.
    fn behave(&mut self) {
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            if !client.asked.is_empty() {
                continue;
            }
            if client.must_join {
                self.join(index, 0, false);
            } else if !client.has_assignment {
                self.sync(index);
            } else {
                self.heartbeat(index);
            }
        }
        self.take(&Operation::CommittedAll);
        self.take(&Operation::Pass(1_000));
    }

    fn assert_settled(&self) {
        for client in &self.clients {
            let settled = client.has_assignment && !client.must_join;
            assert!(settled, "not settled: {client:?}");
        }
        for group in self.bench.machine.view().groups() {
            assert_eq!(group.state(), GroupState::Stable);
            assert_eq!(group.members().count(), CLIENTS_PER_GROUP);
        }
    }

    /// Nobody says anything any more; the log works.
    fn fall_silent(&mut self) {
        for _ in 0..20 {
            self.take(&Operation::Pass(60_000));
            self.take(&Operation::CommittedAll);
        }
        assert!(self.bench.waiting.is_empty(), "somebody waits for ever");
        for group in self.bench.machine.view().groups() {
            assert_eq!(group.state(), GroupState::Empty, "{}", group.group_id());
        }
    }
}

impl Client {
    fn lose(&mut self, code: types::ErrorCode) {
        use types::ErrorCode::{CoordinatorNotAvailable, NotCoordinator};
        if matches!(code, NotCoordinator | CoordinatorNotAvailable) {
            return;
        }
        self.must_join = true;
        self.has_assignment = false;
        if matches!(
            code,
            types::ErrorCode::UnknownMemberId | types::ErrorCode::FencedInstanceId
        ) {
            self.member_id = String::new();
        }
    }
}

fn configs() -> impl Strategy<Value = GroupConfig> {
    let delays = prop_oneof![Just(0), Just(100), Just(3_000)];
    let sizes = prop_oneof![4 => Just(i32::MAX), 1 => 1..4i32];
    let retentions = prop_oneof![Just(100_000i64), Just(i64::MAX)];
    (delays, sizes, retentions).prop_map(|(delay, size, retention)| GroupConfig {
        initial_rebalance_delay_ms: delay,
        group_size_max: size,
        offsets_retention_ms: retention,
        ..GroupConfig::default()
    })
}

proptest! {
    // A found walk is told as a transcript; PROPTEST_CASES asks for more of them.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_walk_ends_well(
        config in configs(),
        seed in any::<u64>(),
        operations in prop::collection::vec(operation(), 1..150),
    ) {
        let mut walk = Walk::new(config, seed);
        for operation in &operations {
            walk.take(operation);
        }
        let roomy = GroupConfig { group_size_max: i32::MAX, ..config };
        let actions = walk.bench.step(Input::Configure(roomy));
        walk.hear(&actions);
        for _ in 0..400 {
            walk.behave();
        }
        walk.assert_settled();
        walk.fall_silent();
    }
}
