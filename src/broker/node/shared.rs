//! What all cores of a node share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use controller::image::TopicImage;
use controller::request::{CreatableTopic, CreateTopicReply};
use controller::{Request, Response};
use coordinator::groups::GroupCoordinator;
use replica::Replica;
use runtime::Clock;
use runtime::sync::{Notify, mpsc, oneshot};
use storage::{DirectoryFailure, LogDirectory, PartitionName};
use types::{ErrorCode, Limits, NodeId, Prng, ProducerId, TopicPartition, Uuid};

use crate::core::{ShardCall, Stopping};
use crate::image::Image;
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::quorum::{Call, QuorumDescription};
use crate::server::authorizer::{Authorizer, Quotas};
use crate::server::budget::MemoryBudget;
use crate::server::fetch_sessions::FetchSessions;
use crate::server::listener::ConnectionCounts;
use crate::server::router::Routes;
use crate::shard::ShardFigures;

/// Figures of the network side that are fixed for the node's life.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Largest request, in bytes (`socket.request.max.bytes`).
    pub request_bytes_max: usize,
    /// Requests of one connection that may be under way.
    pub requests_in_flight_max: usize,
    /// Silence after which a connection is closed, in milliseconds; none for never (`connections.max.idle.ms`).
    pub idle_ms_max: Option<i64>,
    /// Connections that the system queues before they are accepted (`socket.listen.backlog.size`).
    pub listen_backlog: u32,
    /// How often high watermarks are written down, in milliseconds (`replica.high.watermark.checkpoint.interval.ms`).
    pub high_watermark_checkpoint_interval_ms: i64,
    /// How often what only a journal has is synced in the segments, in milliseconds
    /// (`log.flush.offset.checkpoint.interval.ms`).
    pub flush_offset_checkpoint_interval_ms: i64,
    /// Largest fetch answer, in bytes (`fetch.max.bytes`).
    pub fetch_bytes_max: u64,
    /// Partitions in one answer to DescribeTopicPartitions.
    pub described_partitions_max: usize,
}

/// The controller did not answer: the node stops, or the metadata log cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the controller is not available")]
pub struct ControllerUnavailable;

impl ControllerUnavailable {
    /// Kafka's code.
    pub const fn code(self) -> ErrorCode {
        ErrorCode::KafkaStorageError
    }
}

/// What all cores of a node share.
pub struct NodeShared {
    /// This node.
    pub id: NodeId,
    /// Its config file, every known key as text.
    pub static_configs: BTreeMap<String, String>,
    /// The shape of `__consumer_offsets`.
    pub offsets_topic: controller::configs::InternalTopic,
    /// Where this node can be reached as a voter of the quorum.
    pub voter_endpoints: Vec<raft::Endpoint>,
    /// Figures fixed for the node's life.
    pub limits: Limits,
    /// Figures of the network side.
    pub settings: Settings,
    /// Its clock.
    pub clock: Clock,
    /// Who may do what.
    pub authorizer: Authorizer,
    /// Who is throttled.
    pub quotas: Quotas,
    /// Every API that is served.
    pub routes: Routes,
    /// Bytes of requests and responses.
    pub budget: MemoryBudget,
    /// What is counted.
    pub metrics: Metrics,
    /// Connections, counted.
    pub connection_counts: Arc<ConnectionCounts>,
    /// The log directories, in the order of `log.dirs`.
    pub directories: Vec<LogDirectory>,
    /// The one with the metadata log, an index into `directories`.
    pub metadata_directory: usize,
    pub(crate) mailboxes: Vec<mpsc::Sender<ShardCall>>,
    pub(crate) controller: mpsc::Sender<Call>,
    pub(super) image: ArcSwap<Image>,
    pub(super) fetch_sessions: Mutex<FetchSessions>,
    pub(super) found: Mutex<BTreeMap<PartitionName, Vec<(usize, bool)>>>,
    /// Directories with logs that are not, or not all, as a clean stop leaves them, by path.
    pub(super) unclean: Mutex<BTreeSet<PathBuf>>,
    pub(super) placed: Mutex<Vec<usize>>,
    /// Partitions of deleted topics whose directories still have their names.
    pub(super) deleting: Mutex<BTreeSet<PartitionName>>,
    pub(super) name_freed: Notify,
    pub(super) producer_ids: Mutex<(ProducerId, ProducerId)>,
    pub(super) prng: Mutex<Prng>,
    pub(super) broker_epoch: Mutex<i64>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) stop: Notify,
    pub(super) fatal: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NodeShared {
    /// The metadata in force.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Cores that the node runs on.
    pub fn core_count(&self) -> usize {
        self.mailboxes.len()
    }

    /// Which core owns a partition: always the same one, spread over all.
    pub fn owner_of(&self, partition: TopicPartition) -> usize {
        let folded = partition.topic_id.as_u128() ^ (partition.topic_id.as_u128() >> 64);
        let start = (folded as u64) as usize;
        start.wrapping_add(partition.partition as usize) % self.mailboxes.len()
    }

    /// Puts `call` into the mailbox of core `index`, whose thread makes it, between its tasks; waits while the mailbox is
    /// full. A task of a core has [`Core::post`](crate::core::Core::post); this is for who holds a running node.
    ///
    /// # Errors
    /// If the node stops.
    pub async fn post(&self, index: usize, call: ShardCall) -> Result<(), Stopping> {
        let sent = self.mailboxes[index].send(call).await;
        sent.map_err(|_| Stopping)
    }

    /// The fetch sessions; never held across an await.
    pub fn fetch_sessions(&self) -> MutexGuard<'_, FetchSessions> {
        lock(&self.fetch_sessions)
    }

    /// An independent random stream for `purpose`.
    pub fn prng(&self, purpose: &str) -> Prng {
        lock(&self.prng).fork(purpose)
    }

    /// A random id.
    pub fn random_uuid(&self) -> Uuid {
        Uuid::random(&mut lock(&self.prng))
    }

    /// The epoch of this broker's registration.
    pub fn broker_epoch(&self) -> i64 {
        *lock(&self.broker_epoch)
    }

    /// Who is shown what the node does; nobody in production.
    pub(crate) fn observer(&self) -> Option<&dyn Observer> {
        self.observer.as_deref()
    }

    pub(crate) fn observe_replica(&self, partition: TopicPartition, replica: &Replica) {
        if let Some(observer) = &self.observer {
            observer.replica(partition, &replica.view());
        }
    }

    pub(crate) fn observe_coordinator(&self, partition: i32, coordinator: &GroupCoordinator) {
        if let Some(observer) = &self.observer {
            observer.coordinator(partition, &coordinator.view());
        }
    }

    /// Where logs of this name lay when the node started, and whether each directory was stopped cleanly. There may be
    /// several: a directory that is closed when a topic is deleted keeps its log, and the next topic of that name begins
    /// in another one.
    pub(crate) fn found(&self, name: &PartitionName) -> Vec<(LogDirectory, bool)> {
        let found = lock(&self.found);
        let places = found.get(name).into_iter().flatten();
        let place =
            |&(index, was_clean): &(usize, bool)| (self.directories[index].clone(), was_clean);
        places.map(place).collect()
    }

    /// A log of this directory is not as a clean stop leaves it: the next start recovers the directory's logs.
    pub(crate) fn left_unclean(&self, directory: &LogDirectory) {
        lock(&self.unclean).insert(directory.path().to_owned());
    }

    /// Whether all logs of this directory are as a clean stop leaves them. Ends with the stop of the last log.
    pub(super) fn is_left_clean(&self, directory: &LogDirectory) -> bool {
        directory.failure().is_none() && !lock(&self.unclean).contains(directory.path())
    }

    /// Every log that a topic has is about to be opened, and so recovered.
    pub(super) fn begin_take_up(&self) {
        lock(&self.unclean).clear();
    }

    /// The names of a topic's partitions cannot be used until each is freed.
    pub(super) fn begin_delete(&self, topic: &TopicImage) {
        let names = topic
            .partitions
            .keys()
            .map(|&partition| PartitionName::new(&*topic.name, partition));
        lock(&self.deleting).extend(names);
    }

    /// The directory of a deleted partition has its new name, or there was none.
    pub(crate) fn free_name(&self, name: &PartitionName) {
        lock(&self.deleting).remove(name);
        self.name_freed.notify_waiters();
    }

    /// Waits until no deleted partition has this name.
    pub(crate) async fn name_is_free(&self, name: &PartitionName) {
        loop {
            let mut freed = pin!(self.name_freed.notified());
            // Registered before looking, so that no call is missed.
            freed.as_mut().enable();
            if !lock(&self.deleting).contains(name) {
                return;
            }
            freed.await;
        }
    }

    /// The log of this name in this directory is in use, or deleted.
    pub(crate) fn forget_found(&self, name: &PartitionName, directory: &LogDirectory) {
        if let Some(places) = lock(&self.found).get_mut(name) {
            places.retain(|(index, _)| self.directories[*index].path() != directory.path());
        }
    }

    /// Where a new partition goes: where the metadata says, else the online directory with the fewest partitions.
    pub(crate) fn directory_for(
        &self,
        image: &Image,
        partition: TopicPartition,
    ) -> Option<LogDirectory> {
        let assigned = image
            .partition(partition)
            .and_then(|state| state.directory(self.id));
        let is_assigned = |directory: &&LogDirectory| {
            assigned.is_some() && directory.properties().directory_id == assigned
        };
        if let Some(directory) = self.directories.iter().find(is_assigned) {
            return Some(directory.clone());
        }
        let mut placed = lock(&self.placed);
        let online = |index: &usize| self.directories[*index].failure().is_none();
        let index = (0..self.directories.len())
            .filter(online)
            .min_by_key(|&index| placed[index])?;
        placed[index] += 1;
        Some(self.directories[index].clone())
    }

    /// Asks the controller.
    pub async fn decide(&self, request: Request) -> Result<Response, ControllerUnavailable> {
        let (sender, receiver) = oneshot::channel();
        let call = Call::Decide(request, sender);
        self.controller
            .send(call)
            .await
            .map_err(|_| ControllerUnavailable)?;
        receiver.await.map_err(|_| ControllerUnavailable)
    }

    /// Asks the metadata quorum about itself.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, ControllerUnavailable> {
        let (sender, receiver) = oneshot::channel();
        let call = Call::Describe(sender);
        self.controller
            .send(call)
            .await
            .map_err(|_| ControllerUnavailable)?;
        receiver.await.map_err(|_| ControllerUnavailable)
    }

    /// What each core says of itself, in their order; one that has ended says nothing.
    pub async fn figures(&self) -> Vec<ShardFigures> {
        let mut waiting = Vec::new();
        for mailbox in &self.mailboxes {
            let (sender, receiver) = oneshot::channel();
            let ask: ShardCall = Box::new(|core| {
                // Whoever asked may be gone.
                let _ = sender.send(core.with_shard(|shard| shard.figures()));
            });
            if mailbox.send(ask).await.is_ok() {
                waiting.push(receiver);
            }
        }
        let mut figures = Vec::new();
        for receiver in waiting {
            figures.extend(receiver.await.ok());
        }
        figures
    }

    /// Creates topics.
    pub async fn create_topics(
        &self,
        topics: Vec<CreatableTopic>,
        validate_only: bool,
    ) -> Result<Vec<CreateTopicReply>, ErrorCode> {
        let request = controller::request::CreateTopics {
            topics,
            validate_only,
        };
        match self.decide(Request::CreateTopics(request)).await {
            Ok(Response::CreateTopics(replies)) => Ok(replies),
            Ok(other) => panic!("the controller answers what it is asked, not {other:?}"),
            Err(unavailable) => Err(unavailable.code()),
        }
    }

    /// A producer id that nobody else has.
    pub async fn next_producer_id(&self) -> Result<ProducerId, ErrorCode> {
        loop {
            if let Some(id) = self.take_producer_id() {
                return Ok(id);
            }
            let request = controller::request::AllocateProducerIds {
                broker_id: self.id,
                broker_epoch: self.broker_epoch(),
            };
            match self.decide(Request::AllocateProducerIds(request)).await {
                Ok(Response::AllocateProducerIds(Ok(block))) => {
                    *lock(&self.producer_ids) = (block.first, block.first + i64::from(block.count));
                }
                Ok(Response::AllocateProducerIds(Err(error))) => return Err(error.code()),
                Ok(other) => panic!("the controller answers what it is asked, not {other:?}"),
                Err(unavailable) => return Err(unavailable.code()),
            }
        }
    }

    fn take_producer_id(&self) -> Option<ProducerId> {
        let mut ids = lock(&self.producer_ids);
        let (next, end) = *ids;
        if next > end || (next == end && !(end > 0 && types::planted!(ProducerIdBlocksOverlap))) {
            return None;
        }
        ids.0 += 1;
        Some(next)
    }

    /// A log directory has failed. The node ends if it was the last one, or the one of the metadata.
    pub(crate) fn directory_failed(&self, failure: &DirectoryFailure) {
        let failed = self
            .directories
            .iter()
            .filter(|directory| directory.failure().is_some());
        let failed = failed.count();
        self.metrics.offline_log_directories.set(failed as i64);
        let is_metadata = self.directories[self.metadata_directory]
            .failure()
            .is_some();
        if is_metadata || failed == self.directories.len() {
            self.end(failure.to_string());
        }
    }

    /// Ends the node for this reason.
    pub(crate) fn end(&self, reason: String) {
        let mut fatal = lock(&self.fatal);
        if fatal.is_none() {
            tracing::error!(reason, "the node ends");
            *fatal = Some(reason);
        }
        drop(fatal);
        self.stop();
    }

    /// Asks the node to stop.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    pub(super) fn fatal(&self) -> Option<String> {
        lock(&self.fatal).clone()
    }
}
