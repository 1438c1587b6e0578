//! The producer's tasks: one that finds leaders and the identity, and one for each broker that sends to it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::PartitionProduceResponse;
use protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use protocol::wire::Records;
use runtime::sync::{Notify, select};
use runtime::task::spawn_local;
use runtime::time::{sleep, sleep_until};
use types::{ErrorCode, Mono, NodeId, PartitionIndex, Uuid};

use crate::accumulator::{Attempt, Fate, PartitionKey, PendingBatch};
use crate::client::Lane;
use crate::connection::Reply;
use crate::error::Error;
use crate::metadata::{Leader, Metadata};
use crate::producer::{Acks, Shared};

/// Starts the producer's tasks.
pub(crate) fn start(shared: &Rc<Shared>) {
    let manager = spawn_local(manage(Rc::clone(shared)));
    shared.tasks.borrow_mut().push(manager);
}

/// Keeps an identity and the leaders known, starts workers, fails what is too old.
async fn manage(shared: Rc<Shared>) {
    loop {
        if shared.accumulator.borrow().needs_identity() {
            find_identity(&shared).await;
        }
        let all_known = find_leaders(&shared).await;
        let now = shared.client.clock().mono();
        shared.accumulator.borrow_mut().expire(now);
        shared.progress.notify_waiters();
        for worker in shared.workers.borrow().values() {
            worker.notify_one();
        }
        let needs_more = !all_known || shared.accumulator.borrow().needs_identity();
        let expiry = shared.accumulator.borrow().next_expiry();
        if needs_more {
            let wait = shared.client.next_wait(&mut shared.client.backoff());
            sleep(wait).await;
        } else {
            select! {
                biased;
                () = shared.manager.notified() => {}
                () = sleep_until(shared.client.clock(), expiry) => {}
            }
        }
    }
}

/// Asks for a producer id, once. Failing for good fails what waits.
async fn find_identity(shared: &Shared) {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let asked = async {
        let connection = shared.client.any_connection().await?;
        let response: InitProducerIdResponse = connection.send(&request).await?;
        Error::check(response.error_code)?;
        Ok((response.producer_id, response.producer_epoch))
    };
    match asked.await {
        Ok((id, epoch)) => shared.accumulator.borrow_mut().set_identity(id, epoch),
        Err(error) => give_up_if_final(shared, None, &error),
    }
}

/// Finds the leaders of all partitions that have something to send, and starts workers for them; whether all are
/// known.
async fn find_leaders(shared: &Rc<Shared>) -> bool {
    let waiting = shared.accumulator.borrow().waiting_partitions();
    let mut all_known = true;
    for key in waiting {
        match leader(shared, &key).await {
            Ok(leader) => ensure_worker(shared, leader.node),
            Err(error) => {
                all_known = false;
                give_up_if_final(shared, Some(&key), &error);
            }
        }
    }
    all_known
}

/// Where the partition is led, unless its topic is gone for good: another one has its name.
async fn leader(shared: &Shared, key: &PartitionKey) -> Result<Leader, Error> {
    let leader = shared.client.leader(&key.topic, key.partition).await?;
    if !key.is_of(leader.topic_id) {
        return Err(Error::Replaced(key.topic.clone()));
    }
    Ok(leader)
}

fn give_up_if_final(shared: &Shared, key: Option<&PartitionKey>, error: &Error) {
    if error.is_retriable() {
        return;
    }
    let mut accumulator = shared.accumulator.borrow_mut();
    match key {
        Some(key) => accumulator.fail_partition(key, error),
        None => {
            for key in accumulator.waiting_partitions() {
                accumulator.fail_partition(&key, error);
            }
        }
    }
}

fn ensure_worker(shared: &Rc<Shared>, node: NodeId) {
    if shared.workers.borrow().contains_key(&node) {
        return;
    }
    let wake = Rc::new(Notify::new());
    shared.workers.borrow_mut().insert(node, Rc::clone(&wake));
    let worker = spawn_local(work(Rc::clone(shared), node, wake));
    shared.tasks.borrow_mut().push(worker);
}

/// A request whose answer is awaited.
struct InFlight {
    reply: Reply<ProduceRequest>,
    batches: Vec<(PartitionKey, PendingBatch)>,
}

/// Sends to one broker whatever it leads.
async fn work(shared: Rc<Shared>, node: NodeId, wake: Rc<Notify>) {
    let mut in_flight: VecDeque<InFlight> = VecDeque::new();
    loop {
        while in_flight.len() < shared.config.in_flight_max {
            let batches = drain(&shared, node);
            if batches.is_empty() {
                break;
            }
            in_flight.extend(send(&shared, node, batches).await);
        }
        let moment = if in_flight.len() < shared.config.in_flight_max {
            next_drain(&shared, node)
        } else {
            Mono::NEVER
        };
        let is_waiting = !in_flight.is_empty();
        select! {
            biased;
            answer = first_answer(&mut in_flight), if is_waiting => {
                let done = in_flight.pop_front().expect("an answer came for the first");
                finish(&shared, done.batches, answer);
            }
            () = wake.notified() => {}
            () = sleep_until(shared.client.clock(), moment) => {}
        }
    }
}

async fn first_answer(in_flight: &mut VecDeque<InFlight>) -> Result<ProduceResponse, Error> {
    let first = in_flight.front_mut().expect("something is in flight");
    (&mut first.reply).await
}

fn leader_of<'a>(metadata: &'a Metadata) -> impl Fn(&PartitionKey) -> Option<NodeId> + 'a {
    |key| {
        let leader = metadata.leader(&key.topic, key.partition).ok()?;
        key.is_of(leader.topic_id).then_some(leader.node)
    }
}

fn drain(shared: &Shared, node: NodeId) -> Vec<(PartitionKey, PendingBatch)> {
    let metadata = shared.client.metadata();
    let now = shared.client.clock().mono();
    let mut accumulator = shared.accumulator.borrow_mut();
    accumulator.drain(now, node, leader_of(&metadata))
}

fn next_drain(shared: &Shared, node: NodeId) -> Mono {
    let metadata = shared.client.metadata();
    let accumulator = shared.accumulator.borrow();
    accumulator.next_drain(node, leader_of(&metadata))
}

/// Sends the batches in one request; nothing is in flight if that failed or no answer is to come.
async fn send(
    shared: &Rc<Shared>,
    node: NodeId,
    batches: Vec<(PartitionKey, PendingBatch)>,
) -> Option<InFlight> {
    let request = produce_request(shared, &batches);
    let submitted = async {
        let connection = shared.client.connection(node, Lane::Produce).await?;
        if shared.config.acks == Acks::None {
            connection.send_without_answer(&request).await?;
            return Ok(None);
        }
        Ok(Some(connection.submit(&request).await?))
    };
    match submitted.await {
        Ok(Some(reply)) => Some(InFlight { reply, batches }),
        Ok(None) => {
            for (key, batch) in batches {
                let attempt = Attempt::Appended {
                    base_offset: -1,
                    log_append_time_ms: None,
                    log_start_offset: None,
                };
                decide(shared, &key, batch, attempt);
            }
            after(shared);
            None
        }
        Err(error) => {
            // Nothing left this process.
            fail_all(shared, batches, &error, Fate::NeverLeft);
            None
        }
    }
}

fn produce_request(shared: &Shared, batches: &[(PartitionKey, PendingBatch)]) -> ProduceRequest {
    let mut topics: BTreeMap<(&str, Uuid), TopicProduceData> = BTreeMap::new();
    for (key, batch) in batches {
        let entry = topics.entry((&key.topic, key.topic_id));
        let data = entry.or_insert_with(|| TopicProduceData {
            name: key.topic.clone(),
            topic_id: key.topic_id,
            ..TopicProduceData::default()
        });
        data.partition_data.push(PartitionProduceData {
            index: key.partition,
            records: Some(Records::Bytes(batch.batch().bytes().clone())),
            ..PartitionProduceData::default()
        });
    }
    ProduceRequest {
        acks: shared.config.acks as i16,
        timeout_ms: shared.config.request_timeout_ms,
        topic_data: topics.into_values().collect(),
        ..ProduceRequest::default()
    }
}

/// Tells each batch what the answer says of it.
fn finish(
    shared: &Shared,
    batches: Vec<(PartitionKey, PendingBatch)>,
    answer: Result<ProduceResponse, Error>,
) {
    let response = match answer {
        Ok(response) => response,
        Err(error) => return fail_all(shared, batches, &error, Fate::Unknown),
    };
    let mut answers = by_partition(response);
    for (key, batch) in batches {
        // Since version 13 topics go by their ids.
        let named = (key.topic.clone(), Uuid::ZERO, key.partition);
        let identified = (String::new(), key.topic_id, key.partition);
        let answer = answers
            .remove(&named)
            .or_else(|| answers.remove(&identified));
        let attempt = match answer {
            Some(answer) => judge(answer),
            None => Attempt::Failed {
                error: Error::Incomplete("a partition of the request"),
                fate: Fate::Unknown,
            },
        };
        if let Attempt::Failed { error, .. } = &attempt
            && error.is_stale_metadata()
        {
            shared.client.expire_metadata();
        }
        decide(shared, &key, batch, attempt);
    }
    after(shared);
}

/// The answers by topic, as the version names it, and partition.
fn by_partition(
    response: ProduceResponse,
) -> BTreeMap<(String, Uuid, PartitionIndex), PartitionProduceResponse> {
    let mut answers = BTreeMap::new();
    for topic in response.responses {
        for partition in topic.partition_responses {
            let key = (topic.name.clone(), topic.topic_id, partition.index);
            answers.insert(key, partition);
        }
    }
    answers
}

fn judge(answer: PartitionProduceResponse) -> Attempt {
    let appended = |base_offset| Attempt::Appended {
        base_offset,
        log_append_time_ms: (answer.log_append_time_ms >= 0).then_some(answer.log_append_time_ms),
        log_start_offset: (answer.log_start_offset >= 0).then_some(answer.log_start_offset),
    };
    let message = answer
        .error_message
        .clone()
        .or_else(|| first_record_error(&answer));
    match Error::check_with(answer.error_code, message) {
        Ok(()) => appended(answer.base_offset),
        // It was appended before, so long ago that the broker does not know where.
        Err(error) if error.code() == Some(ErrorCode::DuplicateSequenceNumber) => appended(-1),
        Err(error) => Attempt::Failed {
            fate: fate(&error),
            error,
        },
    }
}

/// What an answer with this error says of the batch.
fn fate(error: &Error) -> Fate {
    match error.code() {
        None
        | Some(
            ErrorCode::RequestTimedOut
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::UnknownServerError
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::KafkaStorageError,
        ) => Fate::Unknown,
        Some(_) => Fate::Refused,
    }
}

fn first_record_error(answer: &PartitionProduceResponse) -> Option<String> {
    let first = answer.record_errors.first()?;
    let text = first
        .batch_index_error_message
        .as_deref()
        .unwrap_or("refused");
    Some(format!("record {} of the batch: {text}", first.batch_index))
}

fn fail_all(
    shared: &Shared,
    batches: Vec<(PartitionKey, PendingBatch)>,
    error: &Error,
    fate: Fate,
) {
    if error.is_stale_metadata() {
        shared.client.expire_metadata();
    }
    for (key, batch) in batches {
        let error = error.clone();
        let attempt = Attempt::Failed { error, fate };
        decide(shared, &key, batch, attempt);
    }
    after(shared);
}

fn decide(shared: &Shared, key: &PartitionKey, batch: PendingBatch, attempt: Attempt) {
    let now = shared.client.clock().mono();
    shared.accumulator.borrow_mut().attempted(
        now,
        key,
        batch,
        attempt,
        &mut shared.prng.borrow_mut(),
    );
}

/// Wakes whoever waited for room, for the end, or for another batch of a partition.
fn after(shared: &Shared) {
    shared.progress.notify_waiters();
    shared.wake_all();
}
