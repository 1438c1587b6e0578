//! Membership in a consumer group by the classic protocol (KIP-62, static members by KIP-345).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use protocol::stored::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use protocol::stored::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use protocol::{Decoder, Encoder, Message};
use runtime::sync::Notify;
use runtime::task::{JoinHandle, spawn_local};
use runtime::time::sleep;
use types::ErrorCode;

use crate::assignor::{Assignments, Member, assign_ranges};
use crate::client::{Client, CoordinatorKind, Lane};
use crate::error::Error;
use crate::offsets::{Committer, NamedPartition};

/// The type of protocol that consumers speak among themselves.
const PROTOCOL_TYPE: &str = "consumer";
/// The assignor that we know.
const PROTOCOL_NAME: &str = "range";
/// How much longer than the group's rebalance a request that takes part in it may take.
const REBALANCE_GRACE_MS: u64 = 5_000;

/// How a consumer takes part in a group. Names and defaults are Kafka's.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group's id.
    pub group_id: String,
    /// The member's lasting name, if it has one: it may then go and come back without a rebalance.
    pub group_instance_id: Option<String>,
    /// After which silence the coordinator removes the member, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for the member, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How often the member shows that it lives, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// Whether positions are committed before rebalances, at the end, and this often in milliseconds.
    pub auto_commit_interval_ms: Option<u64>,
}

impl GroupConfig {
    /// Kafka's defaults.
    pub fn new(group_id: &str) -> GroupConfig {
        GroupConfig {
            group_id: group_id.to_owned(),
            group_instance_id: None,
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 300_000,
            heartbeat_interval_ms: 3_000,
            auto_commit_interval_ms: Some(5_000),
        }
    }
}

/// One member of a group.
#[derive(Debug)]
pub(crate) struct Membership {
    client: Client,
    pub(crate) config: GroupConfig,
    topics: Vec<String>,
    state: Rc<State>,
    heartbeats: Option<JoinHandle<()>>,
}

/// What the heartbeats share with the member.
#[derive(Debug)]
struct State {
    member_id: RefCell<String>,
    generation: Cell<i32>,
    must_join: Cell<bool>,
    fatal: RefCell<Option<Error>>,
    /// Told when the member must act.
    changed: Notify,
}

impl State {
    fn demand_join(&self) {
        self.must_join.set(true);
        self.changed.notify_one();
    }

    /// What an error of the coordinator means for the membership; whether that is all there is to do.
    fn heed(&self, error: &Error) -> bool {
        match error.code() {
            Some(ErrorCode::RebalanceInProgress) => {}
            Some(ErrorCode::IllegalGeneration) => self.generation.set(-1),
            Some(ErrorCode::UnknownMemberId) => {
                self.generation.set(-1);
                self.member_id.borrow_mut().clear();
            }
            _ => return false,
        }
        self.demand_join();
        true
    }
}

impl Membership {
    pub(crate) fn new(client: &Client, config: GroupConfig, topics: Vec<String>) -> Membership {
        Membership {
            client: client.clone(),
            config,
            topics,
            state: Rc::new(State {
                member_id: RefCell::default(),
                generation: Cell::new(-1),
                must_join: Cell::new(true),
                fatal: RefCell::default(),
                changed: Notify::new(),
            }),
            heartbeats: None,
        }
    }

    /// Asks for other topics, with the next join.
    pub(crate) fn set_topics(&mut self, topics: Vec<String>) {
        self.topics = topics;
        self.state.demand_join();
    }

    /// Whether the member must join before it goes on.
    pub(crate) fn must_join(&self) -> bool {
        self.state.must_join.get()
    }

    /// # Errors
    /// What ended the membership for good.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &*self.state.fatal.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Waits until the member must act.
    pub(crate) async fn changed(&self) {
        self.state.changed.notified().await;
    }

    /// Whether the member has a place in a generation.
    pub(crate) fn is_joined(&self) -> bool {
        self.state.generation.get() >= 0
    }

    /// The generation in which the member has its place, -1 if it has none.
    pub(crate) fn generation(&self) -> i32 {
        self.state.generation.get()
    }

    pub(crate) fn committer(&self) -> Committer {
        Committer {
            generation: self.state.generation.get(),
            member_id: self.state.member_id.borrow().clone(),
            group_instance_id: self.config.group_instance_id.clone(),
        }
    }

    /// Takes note of an error that a commit was answered with.
    pub(crate) fn heed(&self, error: &Error) {
        self.state.heed(error);
    }

    /// Joins the group, again if need be, and gives what this member is to consume.
    ///
    /// # Errors
    /// Those that joining again cannot cure.
    pub(crate) async fn join(&mut self) -> Result<Vec<NamedPartition>, Error> {
        if let Some(heartbeats) = self.heartbeats.take() {
            heartbeats.abort();
        }
        loop {
            self.state.must_join.set(false);
            match self.join_once().await {
                Ok(assigned) => {
                    self.start_heartbeats();
                    return Ok(assigned);
                }
                // The coordinator named us; it wants the name repeated (KIP-394).
                Err(error) if error.code() == Some(ErrorCode::MemberIdRequired) => {}
                Err(error) if self.state.heed(&error) => {}
                Err(error) => {
                    self.state.must_join.set(true);
                    return Err(error);
                }
            }
        }
    }

    async fn join_once(&self) -> Result<Vec<NamedPartition>, Error> {
        let joined = self.send_join().await?;
        self.state.generation.set(joined.generation_id);
        let is_leader = joined.leader == joined.member_id;
        let assignments = if is_leader && !joined.skip_assignment {
            self.assign(&joined).await?
        } else {
            Assignments::new()
        };
        let assignment = self.send_sync(&joined, &assignments).await?;
        assigned_partitions(assignment)
    }

    fn rebalance_limit_ms(&self) -> u64 {
        u64::try_from(self.config.rebalance_timeout_ms).unwrap_or(0) + REBALANCE_GRACE_MS
    }

    async fn send_join(&self) -> Result<JoinGroupResponse, Error> {
        let subscription = ConsumerProtocolSubscription {
            topics: self.topics.clone(),
            generation_id: -1,
            ..ConsumerProtocolSubscription::default()
        };
        let metadata = encode_versioned(&subscription)?;
        let group = &self.config.group_id;
        self.client
            .with_coordinator(group, Lane::Group, async |connection| {
                let request = JoinGroupRequest {
                    group_id: group.clone(),
                    session_timeout_ms: self.config.session_timeout_ms,
                    rebalance_timeout_ms: self.config.rebalance_timeout_ms,
                    member_id: self.state.member_id.borrow().clone(),
                    group_instance_id: self.config.group_instance_id.clone(),
                    protocol_type: PROTOCOL_TYPE.to_owned(),
                    protocols: vec![JoinGroupRequestProtocol {
                        name: PROTOCOL_NAME.to_owned(),
                        metadata: metadata.clone(),
                        ..JoinGroupRequestProtocol::default()
                    }],
                    ..JoinGroupRequest::default()
                };
                let limit_ms = self.rebalance_limit_ms();
                let response = connection.send_within(&request, limit_ms).await?;
                if !response.member_id.is_empty() {
                    self.state.member_id.replace(response.member_id.clone());
                }
                Error::check(response.error_code)?;
                Ok(response)
            })
            .await
    }

    /// What the leader decides for everybody.
    async fn assign(&self, joined: &JoinGroupResponse) -> Result<Assignments, Error> {
        let mut members = Vec::new();
        for member in &joined.members {
            let subscription: ConsumerProtocolSubscription =
                decode_versioned(member.metadata.clone())?;
            members.push(Member {
                member_id: member.member_id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                topics: subscription.topics,
            });
        }
        let mut counts = BTreeMap::new();
        for topic in members.iter().flat_map(|member| &member.topics) {
            if !counts.contains_key(topic) {
                let described = self.client.topic(topic).await;
                match described {
                    Ok(described) => {
                        counts.insert(topic.clone(), described.partitions.len());
                    }
                    // Nobody can be given what does not exist; a later rebalance may find it.
                    Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(assign_ranges(&members, &counts))
    }

    async fn send_sync(
        &self,
        joined: &JoinGroupResponse,
        assignments: &Assignments,
    ) -> Result<Bytes, Error> {
        let mut encoded = Vec::new();
        for (member_id, topics) in assignments {
            let assignment = ConsumerProtocolAssignment {
                assigned_partitions: topics
                    .iter()
                    .map(|(topic, partitions)| AssignedTopic {
                        topic: topic.clone(),
                        partitions: partitions.clone(),
                    })
                    .collect(),
                ..ConsumerProtocolAssignment::default()
            };
            encoded.push(SyncGroupRequestAssignment {
                member_id: member_id.clone(),
                assignment: encode_versioned(&assignment)?,
                ..SyncGroupRequestAssignment::default()
            });
        }
        let request = SyncGroupRequest {
            group_id: self.config.group_id.clone(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            group_instance_id: self.config.group_instance_id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: Some(PROTOCOL_NAME.to_owned()),
            assignments: encoded,
            ..SyncGroupRequest::default()
        };
        let group = &self.config.group_id;
        self.client
            .with_coordinator(group, Lane::Group, async |connection| {
                let limit_ms = self.rebalance_limit_ms();
                let response: SyncGroupResponse =
                    connection.send_within(&request, limit_ms).await?;
                Error::check(response.error_code)?;
                Ok(response.assignment)
            })
            .await
    }

    fn start_heartbeats(&mut self) {
        let life = beat(
            self.client.clone(),
            self.config.clone(),
            Rc::clone(&self.state),
        );
        self.heartbeats = Some(spawn_local(life));
    }

    /// Leaves the group, so that the others need not wait for the session's end. Static members stay.
    ///
    /// # Errors
    /// Those of the request.
    pub(crate) async fn leave(&mut self) -> Result<(), Error> {
        if let Some(heartbeats) = self.heartbeats.take() {
            heartbeats.abort();
        }
        let member_id = self.state.member_id.take();
        self.state.generation.set(-1);
        if member_id.is_empty() || self.config.group_instance_id.is_some() {
            return Ok(());
        }
        let group = &self.config.group_id;
        self.client
            .with_coordinator(group, Lane::Group, async |connection| {
                let mut request = LeaveGroupRequest {
                    group_id: group.clone(),
                    ..LeaveGroupRequest::default()
                };
                if connection.version::<LeaveGroupRequest>()? >= 3 {
                    request.members = vec![MemberIdentity {
                        member_id: member_id.clone(),
                        ..MemberIdentity::default()
                    }];
                } else {
                    request.member_id = member_id.clone();
                }
                let response: LeaveGroupResponse = connection.send(&request).await?;
                Error::check(response.error_code)
            })
            .await
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(heartbeats) = &self.heartbeats {
            heartbeats.abort();
        }
    }
}

/// Shows the coordinator that the member lives, until it must join again.
async fn beat(client: Client, config: GroupConfig, state: Rc<State>) {
    let group = &config.group_id;
    loop {
        sleep(Duration::from_millis(config.heartbeat_interval_ms)).await;
        let request = HeartbeatRequest {
            group_id: group.clone(),
            generation_id: state.generation.get(),
            member_id: state.member_id.borrow().clone(),
            group_instance_id: config.group_instance_id.clone(),
            ..HeartbeatRequest::default()
        };
        let beaten = async {
            let node = client.coordinator(CoordinatorKind::Group, group).await?;
            let connection = client.connection(node, Lane::Group).await?;
            let response: HeartbeatResponse = connection.send(&request).await?;
            Error::check(response.error_code)
        };
        let Err(error) = beaten.await else {
            continue;
        };
        if error.is_lost_coordinator() {
            client.forget_coordinator(CoordinatorKind::Group, group);
        }
        if state.heed(&error) {
            return;
        }
        if !error.is_retriable() {
            *state.fatal.borrow_mut() = Some(error);
            state.changed.notify_one();
            return;
        }
    }
}

/// A message with its version in front, as members send them through the coordinator.
fn encode_versioned<M: Message>(message: &M) -> Result<Bytes, Error> {
    let version = *M::VERSIONS.end();
    let mut encoder = Encoder::new();
    encoder.int16(version);
    message.encode(&mut encoder, version)?;
    Ok(encoder.into_bytes())
}

/// Reads what [`encode_versioned`] or another client wrote; what newer versions add at the end is left out.
fn decode_versioned<M: Message>(bytes: Bytes) -> Result<M, Error> {
    let mut decoder = Decoder::new(bytes);
    let version = decoder.int16()?.min(*M::VERSIONS.end());
    Ok(M::decode(&mut decoder, version)?)
}

/// The partitions that a leader's assignment names, as members get it and coordinators keep it.
///
/// # Errors
/// What is wrong with the bytes.
pub fn assigned_partitions(bytes: Bytes) -> Result<Vec<NamedPartition>, Error> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let assignment: ConsumerProtocolAssignment = decode_versioned(bytes)?;
    let topics = assignment.assigned_partitions.into_iter();
    Ok(topics
        .flat_map(|topic| {
            let name = topic.topic;
            let partitions = topic.partitions.into_iter();
            partitions.map(move |partition| (name.clone(), partition))
        })
        .collect())
}
