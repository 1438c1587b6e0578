//! Sending records.
//!
//! Records gather in batches by partition and leave by the leader's connection, several requests in flight. With an
//! idempotent producer (KIP-98) a batch that is tried again is appended once and in order; a plain one may append
//! twice, but keeps the order of what it appends.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use protocol::records::{Compression, CompressionSpec, Header};
use runtime::sync::{Notify, oneshot};
use runtime::task::JoinHandle;
use runtime::time::timeout;
use types::{ErrorCode, NodeId, Offset, PartitionIndex, Prng, Uuid};

use crate::accumulator::{Accumulator, BatchPolicy, PartitionKey, RecordParts};
use crate::client::Client;
use crate::error::{DeliveryError, Error};
use crate::metadata::missing;
use crate::partitioner::partition_of_key;
use crate::sender;

/// Which acknowledgement a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Acks {
    /// None: a record counts as delivered when it was handed to the connection, at an unknown offset.
    None = 0,
    /// The leader has appended it.
    Leader = 1,
    /// All replicas in sync have it.
    All = -1,
}

/// A producer's settings. Names and defaults are Kafka's.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Which acknowledgement counts.
    pub acks: Acks,
    /// Whether the broker recognises what it has appended already; needs [`Acks::All`].
    pub is_idempotent: bool,
    /// How long a batch that is not full waits for more records, in milliseconds.
    pub linger_ms: u64,
    /// Size from which a batch takes no more records, in bytes before compression.
    pub batch_bytes_max: usize,
    /// Size of one request, in bytes; a single batch may exceed it.
    pub request_bytes_max: usize,
    /// Requests in flight to one broker at most; at most 5 if idempotent.
    pub in_flight_max: usize,
    /// How long a record may take from being given to being decided, in milliseconds.
    pub delivery_timeout_ms: u64,
    /// How long the broker may wait for the replicas, in milliseconds.
    pub request_timeout_ms: i32,
    /// How long [`Producer::send`] waits for room, in milliseconds.
    pub block_ms_max: u64,
    /// Bytes of undecided records at most; a single larger one is refused.
    pub buffer_bytes_max: usize,
    /// How batches are compressed.
    pub compression: CompressionSpec,
    /// The sequence of the first record for each partition, 0 to 2^31 - 1: for tests of what comes after the largest. A
    /// broker takes any from a producer that it does not know; under a later identity it is 0.
    pub first_sequence: i32,
}

impl Default for ProducerConfig {
    fn default() -> ProducerConfig {
        ProducerConfig {
            acks: Acks::All,
            is_idempotent: true,
            linger_ms: 5,
            batch_bytes_max: 16 << 10,
            request_bytes_max: 1 << 20,
            in_flight_max: 5,
            delivery_timeout_ms: 120_000,
            request_timeout_ms: 30_000,
            block_ms_max: 60_000,
            buffer_bytes_max: 32 << 20,
            compression: Compression::None.into(),
            first_sequence: 0,
        }
    }
}

/// A record to send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProducerRecord {
    /// The topic's name.
    pub topic: String,
    /// The partition; if none, the key decides, and without a key chance does, batch by batch.
    pub partition: Option<PartitionIndex>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none deletes the key from a compacted topic.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<Header>,
    /// Milliseconds since 1970; now, if none.
    pub timestamp: Option<i64>,
    /// The topic's id, for who must not write to another topic of that name; if none, the one known at the time.
    pub topic_id: Option<Uuid>,
}

/// Where a record was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic's name.
    pub topic: String,
    /// The topic's id, zero if the cluster has none.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset; none if the broker did not say: with [`Acks::None`], or of an old duplicate.
    pub offset: Option<Offset>,
    /// The record's timestamp, or the log's own if the topic has it so.
    pub timestamp: i64,
    /// Where the log began at that moment, if the broker said so.
    pub log_start_offset: Option<Offset>,
}

/// What becomes of a record. Dropping it does not take the record back.
#[derive(Debug)]
pub struct Delivery {
    outcome: oneshot::Receiver<Result<RecordMetadata, DeliveryError>>,
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = std::task::ready!(Pin::new(&mut self.outcome).poll(cx));
        let closed = DeliveryError {
            error: Error::Closed,
            attempts: 1,
            is_uncertain: true,
        };
        Poll::Ready(outcome.unwrap_or(Err(closed)))
    }
}

/// Sends records. When it is dropped, what is not delivered yet is given up with [`Error::Closed`].
#[derive(Debug)]
pub struct Producer {
    shared: Rc<Shared>,
}

/// What the producer shares with its tasks.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) config: ProducerConfig,
    pub(crate) accumulator: RefCell<Accumulator>,
    pub(crate) prng: RefCell<Prng>,
    /// The workers' wake-ups, by the broker that each sends to.
    pub(crate) workers: RefCell<BTreeMap<NodeId, Rc<Notify>>>,
    /// Wakes the task that finds leaders and identities.
    pub(crate) manager: Notify,
    /// Told whenever records were decided.
    pub(crate) progress: Notify,
    pub(crate) tasks: RefCell<Vec<JoinHandle<()>>>,
    /// By topic, where records without key or partition go at present.
    sticky: RefCell<BTreeMap<String, PartitionIndex>>,
    is_closed: Cell<bool>,
}

impl Producer {
    /// A producer on the client's connections.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the settings contradict each other.
    pub fn new(client: &Client, config: ProducerConfig) -> Result<Producer, Error> {
        if config.is_idempotent && config.acks != Acks::All {
            return Err(Error::Invalid("an idempotent producer needs acks=all"));
        }
        if config.in_flight_max == 0 || (config.is_idempotent && config.in_flight_max > 5) {
            return Err(Error::Invalid(
                "1 to 5 requests of an idempotent producer are in flight, 1 or more of another",
            ));
        }
        if config.first_sequence < 0 {
            return Err(Error::Invalid("sequences are not negative"));
        }
        let policy = BatchPolicy {
            is_idempotent: config.is_idempotent,
            batch_bytes_max: config.batch_bytes_max,
            request_bytes_max: config.request_bytes_max,
            linger: Duration::from_millis(config.linger_ms),
            delivery_timeout_ms: config.delivery_timeout_ms,
            compression: config.compression,
            first_sequence: config.first_sequence,
            backoff: client.backoff(),
        };
        let shared = Rc::new(Shared {
            client: client.clone(),
            config,
            accumulator: RefCell::new(Accumulator::new(policy)),
            prng: RefCell::new(client.fork_prng("producer")),
            workers: RefCell::default(),
            manager: Notify::new(),
            progress: Notify::new(),
            tasks: RefCell::default(),
            sticky: RefCell::default(),
            is_closed: Cell::new(false),
        });
        sender::start(&shared);
        Ok(Producer { shared })
    }

    /// Takes the record over, waiting for metadata and for room. From now on it belongs to one topic by its id: if that
    /// is deleted and made again, the record fails with `UNKNOWN_TOPIC_ID` instead of going to the new one.
    ///
    /// # Errors
    /// Those of the metadata, [`Error::TimedOut`] if there was no room in time, [`Error::Invalid`] if the record is
    /// larger than the buffer or its partition does not exist, `UNKNOWN_TOPIC_ID` if the topic has another id than the
    /// record asks for, [`Error::Closed`]. Nothing of the record has left then.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, Error> {
        let shared = &self.shared;
        let count = self.partition_count(&record.topic).await?;
        let now = shared.client.clock().now();
        let parts = RecordParts {
            timestamp: record.timestamp.unwrap_or(now.wall.as_millis()),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
        };
        self.wait_for_room(parts.size_bytes()).await?;
        let partition = self.choose_partition(&record, count)?;
        let topic_id = self.topic_id(&record)?;
        let (sender, outcome) = oneshot::channel();
        shared.accumulator.borrow_mut().append(
            shared.client.clock().mono(),
            PartitionKey {
                topic: record.topic.clone(),
                partition,
                topic_id,
            },
            &parts,
            sender,
        );
        shared.wake_all();
        Ok(Delivery { outcome })
    }

    /// Sends the record and waits for what becomes of it.
    ///
    /// # Errors
    /// Those of [`Producer::send`] and of the delivery.
    pub async fn send_and_wait(&self, record: ProducerRecord) -> Result<RecordMetadata, Error> {
        Ok(self.send(record).await?.await?)
    }

    /// The id of the topic that the record goes to.
    fn topic_id(&self, record: &ProducerRecord) -> Result<Uuid, Error> {
        let metadata = self.shared.client.metadata();
        let known = metadata.topics.get(&record.topic);
        let known = known.map_or(Uuid::ZERO, |topic| topic.id);
        match record.topic_id {
            Some(wanted) if wanted != known => Err(missing(ErrorCode::UnknownTopicId)),
            _ => Ok(known),
        }
    }

    /// How many partitions the topic has, as far as is known: what is old is good enough here, so that records are
    /// taken while the cluster cannot be reached.
    async fn partition_count(&self, topic: &str) -> Result<usize, Error> {
        let client = &self.shared.client;
        let known = client
            .metadata()
            .topics
            .get(topic)
            .map(|t| t.partitions.len());
        let count = match known {
            Some(count) => count,
            None => client.topic(topic).await?.partitions.len(),
        };
        if count == 0 {
            return Err(Error::Incomplete("the topic's partitions"));
        }
        Ok(count)
    }

    async fn wait_for_room(&self, size_bytes: usize) -> Result<(), Error> {
        let shared = &self.shared;
        let limit = shared.config.buffer_bytes_max;
        if size_bytes > limit {
            return Err(Error::Invalid("the record is larger than the buffer"));
        }
        let waiting = async {
            loop {
                if shared.is_closed.get() {
                    return Err(Error::Closed);
                }
                let progress = shared.progress.notified();
                if shared.accumulator.borrow().buffered_bytes + size_bytes <= limit {
                    return Ok(());
                }
                progress.await;
            }
        };
        let limit_ms = shared.config.block_ms_max;
        timeout(Duration::from_millis(limit_ms), waiting)
            .await
            .unwrap_or(Err(Error::TimedOut(limit_ms)))
    }

    fn choose_partition(
        &self,
        record: &ProducerRecord,
        count: usize,
    ) -> Result<PartitionIndex, Error> {
        if let Some(partition) = record.partition {
            return match usize::try_from(partition) {
                Ok(index) if index < count => Ok(partition),
                _ => Err(Error::Invalid("the topic has no such partition")),
            };
        }
        if let Some(key) = &record.key {
            return Ok(partition_of_key(key, count));
        }
        let mut sticky = self.shared.sticky.borrow_mut();
        if let Some(&partition) = sticky.get(&record.topic) {
            let key = PartitionKey {
                topic: record.topic.clone(),
                partition,
                topic_id: self.topic_id(record)?,
            };
            if self.shared.accumulator.borrow().has_open_batch(&key) {
                return Ok(partition);
            }
        }
        let drawn = self.shared.prng.borrow_mut().below(count as u64);
        let partition =
            PartitionIndex::try_from(drawn).map_err(|_| Error::Incomplete("a partition index"))?;
        sticky.insert(record.topic.clone(), partition);
        Ok(partition)
    }

    /// Lets nothing linger and waits until every record taken so far, and those taken meanwhile, are decided.
    pub async fn flush(&self) {
        let shared = &self.shared;
        shared.accumulator.borrow_mut().flushing += 1;
        shared.wake_all();
        loop {
            let progress = shared.progress.notified();
            if shared.accumulator.borrow().unfinished == 0 {
                break;
            }
            progress.await;
        }
        shared.accumulator.borrow_mut().flushing -= 1;
    }

    /// Takes no more records, and waits until those taken are decided.
    pub async fn close(self) {
        self.shared.is_closed.set(true);
        self.flush().await;
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        for task in self.shared.tasks.take() {
            task.abort();
        }
    }
}

impl Shared {
    /// Wakes all tasks: something may leave, or someone needs a leader.
    pub(crate) fn wake_all(&self) {
        for worker in self.workers.borrow().values() {
            worker.notify_one();
        }
        self.manager.notify_one();
    }
}
