//! What a producer holds: batches by partition, their sequences, and which of them may leave.
//!
//! No I/O and no waiting here. A batch is *attempted* once it was given to a connection; its outcome is *uncertain*
//! while an attempt ended without the broker's word. Idempotent batches of one partition leave in order of their
//! sequences, several at a time; when one comes back to be tried again, the partition waits for the others in flight,
//! and those that came back leave one by one, so that the broker never forgets one that it appended. Plain producers have one batch of a partition in flight, which keeps order.

mod pending;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::records::{BatchBuilder, CompressionSpec, Header, increment_sequence};
use types::{
    ErrorCode, Mono, NodeId, Offset, PartitionIndex, Prng, ProducerEpoch, ProducerId, Uuid,
};

use crate::backoff::Backoff;
use crate::error::{DeliveryError, Error};
use crate::producer::RecordMetadata;
use pending::Content;
pub(crate) use pending::{DeliverySender, PendingBatch};

/// Batches of one partition in flight at most: brokers remember that many (KIP-98).
const IN_FLIGHT_PER_PARTITION_MAX: usize = 5;

/// A partition of one topic, not of another that has its name later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionKey {
    pub(crate) topic: String,
    pub(crate) partition: PartitionIndex,
    /// Zero if the cluster has no ids.
    pub(crate) topic_id: Uuid,
}

impl PartitionKey {
    /// Whether the topic that now has the name is the one meant.
    pub(crate) fn is_of(&self, topic_id: Uuid) -> bool {
        topic_id == self.topic_id || topic_id == Uuid::ZERO || self.topic_id == Uuid::ZERO
    }
}

/// Settings that decide when a batch leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchPolicy {
    pub(crate) is_idempotent: bool,
    pub(crate) batch_bytes_max: usize,
    pub(crate) request_bytes_max: usize,
    pub(crate) linger: Duration,
    pub(crate) delivery_timeout_ms: u64,
    pub(crate) compression: CompressionSpec,
    /// Of the first record for each partition, under the first identity.
    pub(crate) first_sequence: i32,
    pub(crate) backoff: Backoff,
}

/// The batches of one partition.
#[derive(Debug)]
struct Queue {
    /// Oldest first; only the last one may still grow.
    batches: VecDeque<PendingBatch>,
    in_flight: usize,
    /// Sequences of those in flight, if they have any.
    in_flight_sequences: Vec<i32>,
    /// Whether what is in flight is a batch that came back before.
    is_retrying: bool,
    /// Sequence of the next batch that is attempted for the first time.
    next_sequence: i32,
    /// Whether a batch with a sequence failed for good: its sequences can not go on.
    is_broken: bool,
    retry_at: Mono,
    backoff: Backoff,
}

impl Queue {
    /// Puts a batch back in order of the attempts; attempted batches are all older than the rest.
    fn put_back(&mut self, batch: PendingBatch) {
        let is_after = |other: &PendingBatch| match (other.sequence, batch.sequence) {
            (Some(other), Some(own)) => is_before(own, other),
            _ => true,
        };
        let place = self
            .batches
            .iter()
            .position(|other| !other.is_attempted() || is_after(other));
        self.batches
            .insert(place.unwrap_or(self.batches.len()), batch);
    }

    /// Whether the broker found the batch out of order because one before it was not appended yet, or will never be.
    fn explains(&self, batch: &PendingBatch, error: &Error) -> bool {
        let Some(own) = batch.sequence else {
            return false;
        };
        let queued = self.batches.iter().filter_map(|other| other.sequence);
        let mut unresolved = queued.chain(self.in_flight_sequences.iter().copied());
        error.code() == Some(ErrorCode::OutOfOrderSequenceNumber)
            && (self.is_broken || unresolved.any(|other| is_before(other, own)))
    }
}

/// Whether one sequence comes before another, which is never far away; they wrap around after 2^31 - 1.
fn is_before(one: i32, other: i32) -> bool {
    one != other && (other.wrapping_sub(one) & i32::MAX) < 1 << 30
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Attempt {
    /// Appended at this offset, -1 if the broker did not say, with the log's own time if the topic has it so.
    Appended {
        base_offset: Offset,
        log_append_time_ms: Option<i64>,
        log_start_offset: Option<Offset>,
    },
    /// Failed.
    Failed { error: Error, fate: Fate },
}

/// Where a batch was appended.
struct Place {
    base_offset: Offset,
    log_append_time_ms: Option<i64>,
    log_start_offset: Option<Offset>,
}

/// What is known of a batch whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing of it was handed to a connection.
    NeverLeft,
    /// The broker says that it did not append it.
    Refused,
    /// The broker may have appended it.
    Unknown,
}

/// All of a producer's batches.
#[derive(Debug)]
pub(crate) struct Accumulator {
    policy: BatchPolicy,
    queues: BTreeMap<PartitionKey, Queue>,
    identity: Option<(ProducerId, ProducerEpoch)>,
    /// Whether the identity is given up as soon as no attempted batch depends on it.
    is_resetting: bool,
    /// Partition that was drained last, after which the next drain begins.
    last_drained: Option<PartitionKey>,
    pub(crate) buffered_bytes: usize,
    /// Records whose delivery is not decided.
    pub(crate) unfinished: usize,
    /// Callers that wait for everything to leave: nothing lingers.
    pub(crate) flushing: usize,
}

impl Accumulator {
    pub(crate) fn new(policy: BatchPolicy) -> Accumulator {
        Accumulator {
            policy,
            queues: BTreeMap::new(),
            identity: None,
            is_resetting: false,
            last_drained: None,
            buffered_bytes: 0,
            unfinished: 0,
            flushing: 0,
        }
    }

    /// Whether the next record without a key may join a batch that is still open there.
    pub(crate) fn has_open_batch(&self, key: &PartitionKey) -> bool {
        let queue = self.queues.get(key);
        queue
            .and_then(|queue| queue.batches.back())
            .is_some_and(|batch| {
                !batch.is_attempted() && batch.size_bytes() < self.policy.batch_bytes_max
            })
    }

    /// Adds a record to the partition's last batch, or to a new one if it would not fit.
    pub(crate) fn append(
        &mut self,
        now: Mono,
        partition: PartitionKey,
        record: &RecordParts<'_>,
        delivery: DeliverySender,
    ) {
        let policy = self.policy;
        let queue = self.queues.entry(partition).or_insert_with(|| Queue {
            batches: VecDeque::new(),
            in_flight: 0,
            in_flight_sequences: Vec::new(),
            is_retrying: false,
            next_sequence: policy.first_sequence,
            is_broken: false,
            retry_at: Mono::START,
            backoff: policy.backoff,
        });
        let size_bytes = record.size_bytes();
        let fits = queue.batches.back().is_some_and(|batch| {
            !batch.is_attempted() && batch.size_bytes() + size_bytes <= policy.batch_bytes_max
        });
        if !fits {
            let builder = BatchBuilder::new(0).compression(policy.compression);
            queue.batches.push_back(PendingBatch {
                content: Content::Open(builder),
                sequence: None,
                attempts: 0,
                is_uncertain: false,
                created: now,
                buffered_bytes: 0,
                deliveries: Vec::new(),
                last_error: None,
            });
        }
        let batch = queue.batches.back_mut().expect("a batch was just made");
        let Content::Open(builder) = &mut batch.content else {
            panic!("the last batch is open");
        };
        builder.append(record.timestamp, record.key, record.value, record.headers);
        batch.buffered_bytes += size_bytes;
        batch.deliveries.push((record.timestamp, delivery));
        self.buffered_bytes += size_bytes;
        self.unfinished += 1;
    }

    /// The partitions that have something to send.
    pub(crate) fn waiting_partitions(&self) -> Vec<PartitionKey> {
        self.queues
            .iter()
            .filter(|(_, queue)| !queue.batches.is_empty())
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Whether an identity is needed before anything can leave.
    pub(crate) fn needs_identity(&self) -> bool {
        self.policy.is_idempotent && self.identity.is_none() && self.unfinished > 0
    }

    pub(crate) fn set_identity(&mut self, id: ProducerId, epoch: ProducerEpoch) {
        self.identity = Some((id, epoch));
    }

    /// Takes the batches that may leave for `node` now, at most one of each partition, marked as attempted.
    pub(crate) fn drain(
        &mut self,
        now: Mono,
        node: NodeId,
        leader_of: impl Fn(&PartitionKey) -> Option<NodeId>,
    ) -> Vec<(PartitionKey, PendingBatch)> {
        if self.policy.is_idempotent && self.identity.is_none() {
            return Vec::new();
        }
        let mut drained = Vec::new();
        let mut size_bytes = 0;
        for key in self.keys_in_turn() {
            let moment = self.moment(&key);
            let queue = self.queues.get_mut(&key).expect("the key was just listed");
            if moment.is_none_or(|moment| moment > now) || leader_of(&key) != Some(node) {
                continue;
            }
            let front = queue.batches.front().expect("it has a moment");
            if !drained.is_empty()
                && size_bytes + front.size_bytes() > self.policy.request_bytes_max
            {
                break;
            }
            let mut batch = queue.batches.pop_front().expect("it has a moment");
            queue.is_retrying = batch.is_attempted();
            if !batch.is_attempted() {
                batch.build(self.identity, queue.next_sequence);
                queue.next_sequence = increment_sequence(queue.next_sequence, batch.record_count());
            }
            queue.in_flight += 1;
            queue.in_flight_sequences.extend(batch.sequence);
            size_bytes += batch.size_bytes();
            self.last_drained = Some(key.clone());
            drained.push((key, batch));
        }
        drained
    }

    /// The partitions that have something to send, beginning after the one drained last.
    fn keys_in_turn(&self) -> Vec<PartitionKey> {
        let mut keys = self.waiting_partitions();
        if let Some(last) = &self.last_drained {
            let first = keys.partition_point(|key| key <= last);
            keys.rotate_left(first);
        }
        keys
    }

    /// When the partition's first batch may leave; `None` while something else must happen first.
    fn moment(&self, key: &PartitionKey) -> Option<Mono> {
        let queue = self.queues.get(key)?;
        let front = queue.batches.front()?;
        let in_flight_max = if self.policy.is_idempotent {
            IN_FLIGHT_PER_PARTITION_MAX
        } else {
            1
        };
        let is_held = queue.in_flight >= in_flight_max
            || (queue.in_flight > 0 && (queue.is_retrying || front.is_attempted()))
            || queue.is_broken
            || (self.is_resetting && !front.is_attempted());
        if is_held {
            return None;
        }
        let is_full = queue.batches.len() > 1 || front.size_bytes() >= self.policy.batch_bytes_max;
        let ready_at = if is_full || front.is_attempted() || self.flushing > 0 {
            Mono::START
        } else {
            front.created + self.policy.linger
        };
        Some(ready_at.max(queue.retry_at))
    }

    /// The next moment at which [`Accumulator::drain`] may give something for `node`.
    pub(crate) fn next_drain(
        &self,
        node: NodeId,
        leader_of: impl Fn(&PartitionKey) -> Option<NodeId>,
    ) -> Mono {
        if self.policy.is_idempotent && self.identity.is_none() {
            return Mono::NEVER;
        }
        self.queues
            .iter()
            .filter(|(key, queue)| !queue.batches.is_empty() && leader_of(key) == Some(node))
            .filter_map(|(key, _)| self.moment(key))
            .min()
            .unwrap_or(Mono::NEVER)
    }

    /// The next moment at which a waiting batch is too old.
    pub(crate) fn next_expiry(&self) -> Mono {
        let fronts = self
            .queues
            .values()
            .filter_map(|queue| queue.batches.front());
        fronts
            .map(|batch| self.expiry(batch))
            .min()
            .unwrap_or(Mono::NEVER)
    }

    fn expiry(&self, batch: &PendingBatch) -> Mono {
        let timeout_ms = i64::try_from(self.policy.delivery_timeout_ms).unwrap_or(i64::MAX);
        batch.created.plus_millis(timeout_ms)
    }

    /// Fails what has waited too long.
    pub(crate) fn expire(&mut self, now: Mono) {
        for key in self.waiting_partitions() {
            loop {
                let front = self.queues[&key].batches.front();
                if front.is_none_or(|batch| self.expiry(batch) > now) {
                    break;
                }
                let queue = self.queues.get_mut(&key).expect("the key was just listed");
                let batch = queue.batches.pop_front().expect("there is a first");
                let error = batch
                    .last_error
                    .clone()
                    .unwrap_or(Error::TimedOut(self.policy.delivery_timeout_ms));
                self.give_up(&key, batch, &error);
            }
        }
        self.settle();
    }

    /// Fails everything that waits for the partition.
    pub(crate) fn fail_partition(&mut self, key: &PartitionKey, error: &Error) {
        while let Some(queue) = self.queues.get_mut(key) {
            let Some(batch) = queue.batches.pop_front() else {
                break;
            };
            self.give_up(key, batch, error);
        }
        self.settle();
    }

    /// Takes back a batch that [`Accumulator::drain`] gave, with what became of it.
    pub(crate) fn attempted(
        &mut self,
        now: Mono,
        key: &PartitionKey,
        mut batch: PendingBatch,
        attempt: Attempt,
        prng: &mut Prng,
    ) {
        let fresh_backoff = self.policy.backoff;
        let queue = self.queue(key);
        queue.in_flight -= 1;
        queue
            .in_flight_sequences
            .retain(|&other| Some(other) != batch.sequence);
        match attempt {
            Attempt::Appended {
                base_offset,
                log_append_time_ms,
                log_start_offset,
            } => {
                queue.backoff = fresh_backoff;
                let place = Place {
                    base_offset,
                    log_append_time_ms,
                    log_start_offset,
                };
                self.deliver(key, batch, &place);
            }
            Attempt::Failed { error, fate } => {
                batch.is_uncertain |= fate == Fate::Unknown;
                batch.attempts += u32::from(fate != Fate::NeverLeft);
                if error.is_retriable() || queue.explains(&batch, &error) {
                    queue.retry_at = now + queue.backoff.next(prng);
                    batch.last_error = Some(error);
                    queue.put_back(batch);
                } else {
                    self.give_up(key, batch, &error);
                }
            }
        }
        self.settle();
    }

    fn queue(&mut self, key: &PartitionKey) -> &mut Queue {
        self.queues
            .get_mut(key)
            .expect("a partition that was drained is never forgotten")
    }

    /// Fails a batch for good. If it had sequences, those after it cannot go on.
    fn give_up(&mut self, key: &PartitionKey, batch: PendingBatch, error: &Error) {
        if batch.sequence.is_some() {
            self.queue(key).is_broken = true;
            self.is_resetting = true;
        }
        self.forget(&batch);
        let failed = DeliveryError {
            error: error.clone(),
            attempts: batch.attempts,
            is_uncertain: batch.is_uncertain,
        };
        for (_, delivery) in batch.deliveries {
            // Whoever dropped its delivery does not want to know.
            let _ = delivery.send(Err(failed.clone()));
        }
    }

    fn deliver(&mut self, key: &PartitionKey, batch: PendingBatch, place: &Place) {
        self.forget(&batch);
        for (index, (timestamp, delivery)) in batch.deliveries.into_iter().enumerate() {
            let offset = if place.base_offset < 0 {
                None
            } else {
                Some(place.base_offset + index as Offset)
            };
            let metadata = RecordMetadata {
                topic: key.topic.clone(),
                topic_id: key.topic_id,
                partition: key.partition,
                offset,
                timestamp: place.log_append_time_ms.unwrap_or(timestamp),
                log_start_offset: place.log_start_offset,
            };
            // Whoever dropped its delivery does not want to know.
            let _ = delivery.send(Ok(metadata));
        }
    }

    fn forget(&mut self, batch: &PendingBatch) {
        self.buffered_bytes -= batch.buffered_bytes;
        self.unfinished -= batch.deliveries.len();
    }

    /// Ends a reset once nothing depends on the old identity.
    fn settle(&mut self) {
        if !self.is_resetting {
            return;
        }
        for key in self.queues.keys().cloned().collect::<Vec<_>>() {
            self.settle_broken(&key);
        }
        let depends = |queue: &Queue| {
            queue.in_flight > 0 || queue.batches.iter().any(PendingBatch::is_attempted)
        };
        if self.queues.values().any(depends) {
            return;
        }
        self.is_resetting = false;
        self.identity = None;
        self.policy.first_sequence = 0;
        for queue in self.queues.values_mut() {
            queue.is_broken = false;
            queue.next_sequence = 0;
        }
    }

    /// Decides the attempted batches of a broken partition once all are back: those whose outcome is uncertain fail,
    /// since another identity could append them twice; the others were surely refused and begin anew.
    fn settle_broken(&mut self, key: &PartitionKey) {
        let queue = self.queue(key);
        if !queue.is_broken || queue.in_flight > 0 {
            return;
        }
        for mut batch in std::mem::take(&mut queue.batches) {
            if !batch.is_attempted() {
                self.queue(key).batches.push_back(batch);
                continue;
            }
            let compression = self.policy.compression;
            let last_error = batch.last_error.clone();
            let reason = last_error.unwrap_or(Error::TimedOut(self.policy.delivery_timeout_ms));
            let outcome = if batch.is_uncertain {
                Err(reason)
            } else {
                batch.unbuild(compression)
            };
            match outcome {
                Ok(()) => self.queue(key).batches.push_back(batch),
                Err(error) => self.give_up(key, batch, &error),
            }
        }
    }
}

/// A record's parts, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordParts<'a> {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header],
}

impl RecordParts<'_> {
    /// Bytes that the record takes in a batch at most.
    pub(crate) fn size_bytes(&self) -> usize {
        // Lengths, deltas and counts are varints: at most 5 bytes each but the timestamp's 10.
        const OVERHEAD_BYTES: usize = 36;
        const HEADER_OVERHEAD_BYTES: usize = 10;
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers = self.headers.iter().map(|header| {
            HEADER_OVERHEAD_BYTES + header.key.len() + length(header.value.as_deref())
        });
        OVERHEAD_BYTES + length(self.key) + length(self.value) + headers.sum::<usize>()
    }
}
