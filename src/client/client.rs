//! A cluster as seen by a client: its metadata, connections to its brokers, routing, retries.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataResponse,
};
use protocol::{ApiKey, Request};
use runtime::Clock;
use runtime::sync::Semaphore;
use runtime::time::sleep;
use types::{ErrorCode, Mono, NodeId, PartitionIndex, Prng};

use crate::backoff::Backoff;
use crate::config::ClientConfig;
use crate::connection::{Connection, ConnectionOptions, Sent};
use crate::error::Error;
use crate::metadata::{BrokerAddress, Leader, Metadata, TopicMetadata, missing};

/// What a connection is for. A broker answers one connection's requests in order, so what it may park for long has
/// a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Requests that are answered at once.
    General,
    /// Produce requests, whose order matters.
    Produce,
    /// Fetches that wait for records.
    Fetch,
    /// A group's requests, of which JoinGroup and SyncGroup wait for the other members.
    Group,
}

/// Which kind of coordinator is looked for, by Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum CoordinatorKind {
    /// That of a consumer group.
    Group = 0,
    /// That of a transactional id.
    Transaction = 1,
}

/// A client of one cluster. Cheap to clone; clones share connections and metadata.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    prng: RefCell<Prng>,
    metadata: RefCell<Metadata>,
    /// When the metadata must be fetched anew.
    metadata_expiry: Cell<Mono>,
    /// Held while metadata is fetched, so that many who miss it ask once.
    metadata_gate: Semaphore,
    /// Topics that somebody asked for.
    wanted: RefCell<BTreeSet<String>>,
    slots: RefCell<BTreeMap<(Endpoint, Lane), Rc<Slot>>>,
    coordinators: RefCell<BTreeMap<(CoordinatorKind, String), NodeId>>,
    sent: Sent,
}

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Endpoint {
    Broker(NodeId),
    /// By index in the configuration.
    Bootstrap(usize),
}

/// The place of one connection, that opens and replaces it when it is broken.
#[derive(Debug)]
struct Slot {
    gate: Semaphore,
    connection: RefCell<Option<Rc<Connection>>>,
}

impl Slot {
    fn alive(&self) -> Option<Rc<Connection>> {
        let connection = self.connection.borrow();
        connection.as_ref().filter(|c| c.is_alive()).map(Rc::clone)
    }
}

impl Client {
    /// A client that connects when it is first used.
    pub fn new(config: ClientConfig) -> Client {
        let prng = Prng::new(config.seed, "client");
        Client {
            inner: Rc::new(Inner {
                config,
                prng: RefCell::new(prng),
                metadata: RefCell::default(),
                metadata_expiry: Cell::new(Mono::START),
                metadata_gate: Semaphore::new(1),
                wanted: RefCell::default(),
                slots: RefCell::default(),
                coordinators: RefCell::default(),
                sent: Sent::default(),
            }),
        }
    }

    /// The settings.
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// The node's clock.
    pub fn clock(&self) -> &Clock {
        &self.inner.config.clock
    }

    /// A stream of random numbers of its own for `purpose`.
    pub fn fork_prng(&self, purpose: &str) -> Prng {
        self.inner.prng.borrow_mut().fork(purpose)
    }

    /// How many requests of this API the client and its clones have handed to connections: tells an operation that
    /// was tried once from one that was tried again.
    pub fn requests_sent(&self, api: ApiKey) -> u64 {
        self.inner.sent.of(api)
    }

    /// How many of them no answer has come to. What is given up may still reach a broker that is slow, after what was
    /// sent later on another connection: it acts, or acts again, then.
    pub fn requests_unanswered(&self, api: ApiKey) -> u64 {
        self.inner.sent.unanswered(api)
    }

    /// What is known of the cluster now. Do not hold it across an await.
    pub fn metadata(&self) -> Ref<'_, Metadata> {
        self.inner.metadata.borrow()
    }

    /// The connection to the broker, opened if need be.
    ///
    /// # Errors
    /// [`Error::Connect`] also if the metadata does not know the broker.
    pub async fn connection(&self, node: NodeId, lane: Lane) -> Result<Rc<Connection>, Error> {
        let address = self.metadata().brokers.get(&node).cloned();
        let Some(address) = address else {
            self.expire_metadata();
            return Err(Error::Connect {
                address: format!("broker {node}"),
                reason: "the cluster does not list it".to_owned(),
            });
        };
        self.open(Endpoint::Broker(node), &address.host, address.port, lane)
            .await
    }

    async fn open(
        &self,
        endpoint: Endpoint,
        host: &str,
        port: u16,
        lane: Lane,
    ) -> Result<Rc<Connection>, Error> {
        let slot = Rc::clone(
            self.inner
                .slots
                .borrow_mut()
                .entry((endpoint, lane))
                .or_insert_with(|| {
                    Rc::new(Slot {
                        gate: Semaphore::new(1),
                        connection: RefCell::default(),
                    })
                }),
        );
        if let Some(connection) = slot.alive() {
            return Ok(connection);
        }
        let _gate = slot.gate.acquire().await.map_err(|_| Error::Closed)?;
        if let Some(connection) = slot.alive() {
            return Ok(connection);
        }
        let config = &self.inner.config;
        let options = ConnectionOptions {
            client_id: config.client_id.clone(),
            clock: config.clock.clone(),
            connect_timeout_ms: config.connect_timeout_ms,
            request_timeout_ms: config.request_timeout_ms,
            frame_bytes_max: config.frame_bytes_max,
            in_flight_max: config.in_flight_max,
            sent: self.inner.sent.clone(),
        };
        let connection = Rc::new(Connection::open(host, port, options).await?);
        *slot.connection.borrow_mut() = Some(Rc::clone(&connection));
        Ok(connection)
    }

    /// A connection to some broker: one that is open, else the first that opens, known brokers before the bootstrap
    /// list.
    ///
    /// # Errors
    /// That of the last one tried.
    pub async fn any_connection(&self) -> Result<Rc<Connection>, Error> {
        let open = self
            .inner
            .slots
            .borrow()
            .iter()
            .filter(|((_, lane), _)| *lane == Lane::General)
            .find_map(|(_, slot)| slot.alive());
        if let Some(connection) = open {
            return Ok(connection);
        }
        let mut last = Error::Invalid("no bootstrap server was given");
        for (endpoint, host, port) in self.candidates()? {
            match self.open(endpoint, &host, port, Lane::General).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Brokers to try, each list begun at a random place.
    fn candidates(&self) -> Result<Vec<(Endpoint, String, u16)>, Error> {
        let mut known: Vec<_> = self
            .metadata()
            .brokers
            .iter()
            .map(|(&node, address)| (Endpoint::Broker(node), address.host.clone(), address.port))
            .collect();
        let mut bootstrap = Vec::new();
        for (index, text) in self.inner.config.bootstrap.iter().enumerate() {
            let (host, port) = parse_address(text)?;
            bootstrap.push((Endpoint::Bootstrap(index), host, port));
        }
        let mut prng = self.inner.prng.borrow_mut();
        for list in [&mut known, &mut bootstrap] {
            if !list.is_empty() {
                let first = prng.below(list.len() as u64) as usize;
                list.rotate_left(first);
            }
        }
        known.append(&mut bootstrap);
        Ok(known)
    }

    /// Sends the request to some broker, trying again while that may help.
    ///
    /// # Errors
    /// The last one, once the operation's time is over or trying again cannot help.
    pub async fn send_any<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        self.retry(async || self.any_connection().await?.send(request).await)
            .await
    }

    /// Runs `attempt` until it succeeds, fails for good, or the time of one operation is over; waits in between.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn retry<T>(
        &self,
        attempt: impl AsyncFnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.retry_within(self.inner.config.api_timeout_ms, attempt)
            .await
    }

    /// As [`Client::retry`], for `timeout_ms` milliseconds.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn retry_within<T>(
        &self,
        timeout_ms: u64,
        mut attempt: impl AsyncFnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let millis = i64::try_from(timeout_ms).unwrap_or(i64::MAX);
        let deadline = self.clock().mono().plus_millis(millis);
        let mut backoff = self.backoff();
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) if !error.is_retriable() => return Err(error),
                Err(error) => error,
            };
            if error.is_stale_metadata() {
                self.expire_metadata();
            }
            let wait = self.next_wait(&mut backoff);
            if self.clock().mono() + wait >= deadline {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    pub(crate) fn backoff(&self) -> Backoff {
        let config = &self.inner.config;
        Backoff::new(config.retry_backoff_ms, config.retry_backoff_max_ms)
    }

    pub(crate) fn next_wait(&self, backoff: &mut Backoff) -> Duration {
        backoff.next(&mut self.inner.prng.borrow_mut())
    }

    /// Says that the metadata is not to be trusted: it is fetched again before its next use.
    pub fn expire_metadata(&self) {
        self.inner.metadata_expiry.set(Mono::START);
    }

    fn is_metadata_fresh(&self) -> bool {
        self.clock().mono() < self.inner.metadata_expiry.get()
    }

    /// Fetches the metadata of these topics and of all that were asked for before; no topics means all there are.
    /// Gives the topics that the cluster refused to describe, with the reason.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn refresh_metadata(
        &self,
        topics: Option<&[&str]>,
    ) -> Result<BTreeMap<String, Error>, Error> {
        if let Some(topics) = topics {
            let names = topics.iter().map(|&topic| topic.to_owned());
            self.inner.wanted.borrow_mut().extend(names);
        }
        let _gate = self
            .inner
            .metadata_gate
            .acquire()
            .await
            .map_err(|_| Error::Closed)?;
        self.fetch_metadata(topics.is_none()).await
    }

    async fn fetch_metadata(&self, all: bool) -> Result<BTreeMap<String, Error>, Error> {
        let topic = |name: &String| MetadataRequestTopic {
            name: Some(name.clone()),
            ..MetadataRequestTopic::default()
        };
        let wanted = self.inner.wanted.borrow().iter().map(topic).collect();
        let request = MetadataRequest {
            topics: (!all).then_some(wanted),
            allow_auto_topic_creation: true,
            ..MetadataRequest::default()
        };
        let connection = self.any_connection().await?;
        let response: MetadataResponse = connection.send(&request).await?;
        let refused = self.inner.metadata.borrow_mut().update(response);
        let age_ms = i64::try_from(self.inner.config.metadata_max_age_ms).unwrap_or(i64::MAX);
        let expiry = self.clock().mono().plus_millis(age_ms);
        self.inner.metadata_expiry.set(expiry);
        Ok(refused)
    }

    /// Makes sure that the topic is described and the description is fresh; one attempt.
    async fn know_topic(&self, topic: &str) -> Result<(), Error> {
        let is_known = || self.is_metadata_fresh() && self.metadata().topics.contains_key(topic);
        if is_known() {
            return Ok(());
        }
        self.inner.wanted.borrow_mut().insert(topic.to_owned());
        let _gate = self
            .inner
            .metadata_gate
            .acquire()
            .await
            .map_err(|_| Error::Closed)?;
        if is_known() {
            return Ok(());
        }
        let mut refused = self.fetch_metadata(false).await?;
        match refused.remove(topic) {
            Some(error) => Err(error),
            None if self.metadata().topics.contains_key(topic) => Ok(()),
            None => Err(missing(ErrorCode::UnknownTopicOrPartition)),
        }
    }

    /// The topic's description, fetched if need be, trying again while it is unknown.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn topic(&self, topic: &str) -> Result<TopicMetadata, Error> {
        self.retry(async || {
            self.know_topic(topic).await?;
            self.metadata()
                .topics
                .get(topic)
                .cloned()
                .ok_or_else(|| missing(ErrorCode::UnknownTopicOrPartition))
        })
        .await
    }

    /// Where the partition is led; one attempt, which fetches metadata if need be.
    ///
    /// # Errors
    /// Those of the request, `UNKNOWN_TOPIC_OR_PARTITION`, `LEADER_NOT_AVAILABLE`.
    pub async fn leader(&self, topic: &str, partition: PartitionIndex) -> Result<Leader, Error> {
        self.know_topic(topic).await?;
        let leader = self.metadata().leader(topic, partition);
        if leader.is_err() {
            self.expire_metadata();
        }
        leader
    }

    /// The coordinator's node, looked up if it is not known; one attempt.
    ///
    /// # Errors
    /// Those of the request, `COORDINATOR_NOT_AVAILABLE`.
    pub async fn coordinator(&self, kind: CoordinatorKind, key: &str) -> Result<NodeId, Error> {
        let known = (kind, key.to_owned());
        if let Some(&node) = self.inner.coordinators.borrow().get(&known) {
            return Ok(node);
        }
        let connection = self.any_connection().await?;
        // Since version 4 several keys are asked for at once (KIP-699).
        let is_plural = connection.version::<FindCoordinatorRequest>()? >= 4;
        let mut request = FindCoordinatorRequest {
            key_type: kind as i8,
            ..FindCoordinatorRequest::default()
        };
        if is_plural {
            request.coordinator_keys = vec![key.to_owned()];
        } else {
            request.key = key.to_owned();
        }
        let (node, address) = found(connection.send(&request).await?, is_plural)?;
        let mut metadata = self.inner.metadata.borrow_mut();
        metadata.brokers.entry(node).or_insert(address);
        self.inner.coordinators.borrow_mut().insert(known, node);
        Ok(node)
    }

    /// Says that the coordinator may be another one than we think.
    pub fn forget_coordinator(&self, kind: CoordinatorKind, key: &str) {
        let known = (kind, key.to_owned());
        self.inner.coordinators.borrow_mut().remove(&known);
    }

    /// Runs `attempt` on a connection to the group's coordinator, looking it up and trying again while that may help.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn with_coordinator<T>(
        &self,
        group: &str,
        lane: Lane,
        mut attempt: impl AsyncFnMut(Rc<Connection>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.retry(async || {
            let result = async {
                let node = self.coordinator(CoordinatorKind::Group, group).await?;
                attempt(self.connection(node, lane).await?).await
            }
            .await;
            if result.as_ref().is_err_and(Error::is_lost_coordinator) {
                self.forget_coordinator(CoordinatorKind::Group, group);
            }
            result
        })
        .await
    }

    /// Closes all connections. The client may go on: it opens others.
    pub fn disconnect(&self) {
        self.inner.slots.borrow_mut().clear();
    }
}

/// Node and address out of an answer of either shape.
fn found(
    response: FindCoordinatorResponse,
    is_plural: bool,
) -> Result<(NodeId, BrokerAddress), Error> {
    let (code, message, node, host, port) = if is_plural {
        let first = response.coordinators.into_iter().next();
        let first = first.ok_or(Error::Incomplete("the coordinator"))?;
        (
            first.error_code,
            first.error_message,
            first.node_id,
            first.host,
            first.port,
        )
    } else {
        (
            response.error_code,
            response.error_message,
            response.node_id,
            response.host,
            response.port,
        )
    };
    Error::check_with(code, message)?;
    let port = u16::try_from(port).map_err(|_| Error::Incomplete("the coordinator's port"))?;
    let address = BrokerAddress {
        host,
        port,
        rack: None,
    };
    Ok((node, address))
}

/// Host and port of `host:port` or `[address]:port`.
fn parse_address(text: &str) -> Result<(String, u16), Error> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok()?;
        (!host.is_empty()).then(|| (host.to_owned(), port))
    });
    parsed.ok_or(Error::Invalid("a bootstrap server is given as host:port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        let table = [
            ("localhost:9092", Some(("localhost", 9092))),
            ("[::1]:19092", Some(("::1", 19092))),
            ("localhost", None),
            (":9092", None),
            ("host:70000", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(parse_address(text).ok(), expected, "{text}");
        }
    }
}
