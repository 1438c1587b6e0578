//! Produce (0): appends record batches.
//!
//! Versions 3 to 13 are served; ApiVersions says 0 to 13, because librdkafka turns compression off otherwise (KAFKA-18659).
//! Topics are named by id since 13. The partitions of a request are appended and waited for together.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use controller::image::TopicImage;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use protocol::messages::{ProduceRequest, ProduceResponse};
use protocol::records::BatchHeader;
use protocol::records::validate::{
    ProduceRecordsError, RecordError, ValidatedBatch, validate_produce,
};
use protocol::wire::Records;
use replica::{Acks, ProduceError};
use runtime::sync::oneshot;
use types::{ErrorCode, Mono, TopicPartition};

use crate::observer::ProduceAnswered;
use crate::server::authorizer::{Operation, Resource};
use crate::server::context::{Quota, RequestContext};
use crate::server::response::{NoReply, Outcome, reply};
use crate::shard::{ProduceItem, ProduceOutcome};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 3..=13;
/// Versions that ApiVersions tells.
pub const ADVERTISED: RangeInclusive<i16> = 0..=13;

/// The answer of one partition.
type Answer = Result<replica::ProduceOk, Refusal>;

/// Why one partition's records were not appended.
#[derive(Debug)]
enum Refusal {
    /// Before they came to the partition.
    Code(ErrorCode, Option<String>),
    /// The batch is not acceptable.
    Records(ProduceRecordsError),
    /// The partition's replica refused.
    Replica(ProduceError),
}

impl Refusal {
    fn code(&self) -> ErrorCode {
        match self {
            Refusal::Code(code, _) => *code,
            Refusal::Records(error) => error.error_code(),
            Refusal::Replica(error) => error.code(),
        }
    }
}

/// Checks the batches, hands each shard its own in one message, waits for all, and answers.
pub async fn handle(
    context: Rc<RequestContext>,
    request: ProduceRequest,
) -> Outcome<ProduceResponse> {
    let Some(acks) = Acks::from_wire(request.acks) else {
        return answer_all(&context, &request, ErrorCode::InvalidRequiredAcks);
    };
    if request.transactional_id.is_some() {
        // Transactions are not served yet. This code is fatal to the Java client and to librdkafka.
        return answer_all(
            &context,
            &request,
            ErrorCode::TransactionalIdAuthorizationFailed,
        );
    }
    let deadline = context
        .now
        .mono
        .plus_millis(i64::from(request.timeout_ms.max(0)));
    let mut pending = Pending::new(&request.topic_data);
    for (topic_index, topic) in request.topic_data.into_iter().enumerate() {
        accept_topic(&context, topic_index, topic, &mut pending);
    }
    let produced_bytes = pending.bytes;
    let answers = pending.append(&context, acks, deadline).await;
    let throttle_time_ms = context.charge(Quota::Produce, produced_bytes);
    if acks == Acks::None {
        return match answers
            .iter()
            .flat_map(|topic| &topic.partitions)
            .find_map(first_error)
        {
            Some(code) => Err(NoReply::Close(format!(
                "produce with acks=0 failed: {code}"
            ))),
            None => Err(NoReply::NotExpected),
        };
    }
    let responses = answers
        .into_iter()
        .map(|topic| topic.into_response(&context))
        .collect();
    reply(ProduceResponse {
        responses,
        throttle_time_ms,
        ..Default::default()
    })
}

fn first_error((_, answer): &(i32, Option<Answer>)) -> Option<ErrorCode> {
    match answer {
        Some(Err(refusal)) => Some(refusal.code()),
        _ => None,
    }
}

fn answer_all(
    context: &RequestContext,
    request: &ProduceRequest,
    code: ErrorCode,
) -> Outcome<ProduceResponse> {
    if request.acks == 0 {
        return Err(NoReply::Close(format!(
            "produce with acks=0 failed: {code}"
        )));
    }
    let responses = request.topic_data.iter().map(|topic| {
        let refuse = |partition: &PartitionProduceData| {
            (partition.index, Some(Err(Refusal::Code(code, None))))
        };
        let partitions = topic.partition_data.iter().map(refuse).collect();
        TopicAnswers {
            topic: topic.clone_name(),
            partitions,
        }
        .into_response(context)
    });
    reply(ProduceResponse {
        responses: responses.collect(),
        ..Default::default()
    })
}

/// A topic as the request named it.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    topic_id: types::Uuid,
}

trait CloneName {
    fn clone_name(&self) -> Named;
}

impl CloneName for TopicProduceData {
    fn clone_name(&self) -> Named {
        Named {
            name: self.name.clone(),
            topic_id: self.topic_id,
        }
    }
}

/// The answers of one topic, in the request's order.
#[derive(Debug)]
struct TopicAnswers {
    topic: Named,
    partitions: Vec<(i32, Option<Answer>)>,
}

impl TopicAnswers {
    fn into_response(self, context: &RequestContext) -> TopicProduceResponse {
        let topic = match context.version {
            13.. => context.image.topic_by_id(self.topic.topic_id),
            _ => context.image.topic(&self.topic.name),
        };
        let partitions = self.partitions.into_iter().map(|(index, answer)| {
            let answer = answer.expect("every partition has its answer");
            partition_response(context.version, topic, index, answer)
        });
        TopicProduceResponse {
            partition_responses: partitions.collect(),
            name: self.topic.name,
            topic_id: self.topic.topic_id,
            ..Default::default()
        }
    }
}

fn partition_response(
    version: i16,
    topic: Option<&Arc<TopicImage>>,
    index: i32,
    answer: Answer,
) -> PartitionProduceResponse {
    let refusal = match answer {
        Ok(ok) => {
            return PartitionProduceResponse {
                index,
                base_offset: ok.base_offset,
                log_append_time_ms: ok.log_append_time.unwrap_or(-1),
                log_start_offset: ok.log_start_offset,
                ..Default::default()
            };
        }
        Err(refusal) => refusal,
    };
    let code = refusal.code();
    let mut response = PartitionProduceResponse {
        index,
        error_code: code.code(),
        base_offset: -1,
        ..Default::default()
    };
    match refusal {
        Refusal::Code(_, message) => response.error_message = message,
        Refusal::Records(error) => {
            response.error_message = Some(error.to_string());
            let record_error = |error: &RecordError| BatchIndexAndErrorMessage {
                batch_index: i32::try_from(error.index).unwrap_or(i32::MAX),
                batch_index_error_message: Some(error.cause.to_string()),
                ..Default::default()
            };
            response.record_errors = error.record_errors().iter().map(record_error).collect();
        }
        Refusal::Replica(error) => response.error_message = Some(error.to_string()),
    }
    if version >= 10
        && code == ErrorCode::NotLeaderOrFollower
        && let Some(partition) = topic.and_then(|topic| topic.partition(index))
    {
        response.current_leader = LeaderIdAndEpoch {
            leader_id: partition.leader,
            leader_epoch: partition.leader_epoch,
            ..Default::default()
        };
    }
    response
}

/// Where an item's answer goes: topic and partition by their place in the request.
type Place = (usize, usize);

/// What the observer is shown of a batch.
#[derive(Debug, Clone, Copy)]
struct Observed {
    partition: TopicPartition,
    header: BatchHeader,
    sent: BatchHeader,
}

/// A request's batches on their way, by the shard that owns them.
struct Pending {
    answers: Vec<TopicAnswers>,
    by_shard: BTreeMap<usize, (Vec<ProduceItem>, Vec<Place>)>,
    bytes: u64,
    /// What the observer will be shown; empty without one.
    observed: BTreeMap<Place, Observed>,
}

impl Pending {
    fn new(topics: &[TopicProduceData]) -> Pending {
        let answers = topics.iter().map(|topic| TopicAnswers {
            topic: topic.clone_name(),
            partitions: topic
                .partition_data
                .iter()
                .map(|data| (data.index, None))
                .collect(),
        });
        Pending {
            answers: answers.collect(),
            by_shard: BTreeMap::new(),
            bytes: 0,
            observed: BTreeMap::new(),
        }
    }

    fn refuse(&mut self, place: Place, refusal: Refusal) {
        self.answers[place.0].partitions[place.1].1 = Some(Err(refusal));
    }

    fn push(&mut self, shard: usize, place: Place, item: ProduceItem, sent: Option<BatchHeader>) {
        if let Some(sent) = sent {
            let observed = Observed {
                partition: item.partition,
                header: item.batch.header,
                sent,
            };
            self.observed.insert(place, observed);
        }
        self.bytes += item.batch.size_bytes() as u64;
        let (items, places) = self.by_shard.entry(shard).or_default();
        items.push(item);
        places.push(place);
    }

    /// Sends every shard its items, then waits for all of them.
    async fn append(
        mut self,
        context: &RequestContext,
        acks: Acks,
        deadline: Mono,
    ) -> Vec<TopicAnswers> {
        let mut waiting = Vec::with_capacity(self.by_shard.len());
        for (shard, (items, places)) in std::mem::take(&mut self.by_shard) {
            let (sender, receiver) = oneshot::channel();
            let now = context.now;
            let append = move |core: &Rc<crate::core::Core>| {
                crate::shard::produce(core, now, items, acks, deadline, sender);
            };
            // On a node that stops the receiver fails, and so does the wait below.
            let _ = context.core.post(shard, append).await;
            waiting.push((receiver, places));
        }
        for (receiver, places) in waiting {
            let outcomes = receiver.await.ok();
            for (position, &(topic, partition)) in places.iter().enumerate() {
                let answer = match &outcomes {
                    Some(outcomes) => outcome_answer(&outcomes[position]),
                    None => Err(Refusal::Code(ErrorCode::NotLeaderOrFollower, None)),
                };
                self.observe(context, (topic, partition), acks, &answer);
                self.answers[topic].partitions[partition].1 = Some(answer);
            }
        }
        self.answers
    }

    fn observe(&self, context: &RequestContext, place: Place, acks: Acks, answer: &Answer) {
        let Some(observer) = context.core.node.observer() else {
            return;
        };
        let observed = &self.observed[&place];
        observer.produce_answered(&ProduceAnswered {
            began: context.began,
            partition: observed.partition,
            acks,
            header: &observed.header,
            sent: &observed.sent,
            result: answer.as_ref().map(|ok| *ok).map_err(Refusal::code),
        });
    }
}

fn outcome_answer(outcome: &ProduceOutcome) -> Answer {
    match outcome {
        Ok(ok) => Ok(*ok),
        Err(error) => Err(Refusal::Replica(*error)),
    }
}

fn accept_topic(
    context: &RequestContext,
    topic_index: usize,
    data: TopicProduceData,
    pending: &mut Pending,
) {
    let topic = match context.version {
        13.. => context
            .image
            .topic_by_id(data.topic_id)
            .ok_or(ErrorCode::UnknownTopicId),
        _ => context
            .image
            .topic(&data.name)
            .ok_or(ErrorCode::UnknownTopicOrPartition),
    };
    let name = topic.map_or(data.name.as_str(), |topic| &topic.name);
    let is_observed = context.core.node.observer().is_some();
    let allowed = context.authorize(Operation::Write, Resource::Topic(name));
    for (partition_index, partition) in data.partition_data.into_iter().enumerate() {
        let place = (topic_index, partition_index);
        let sent = is_observed.then(|| sent_header(&partition)).flatten();
        let result = match topic {
            _ if !allowed => Err(Refusal::Code(ErrorCode::TopicAuthorizationFailed, None)),
            Err(code) => Err(Refusal::Code(code, None)),
            Ok(topic) => accept_partition(context, topic, partition),
        };
        match result {
            Ok(item) => {
                let shard = context.core.owner_of(item.partition);
                pending.push(shard, place, item, sent);
            }
            Err(refusal) => {
                let index = pending.answers[topic_index].partitions[partition_index].0;
                if let Some(observer) = context.core.node.observer() {
                    observer.produce_refused(index, refusal.code());
                }
                if let Ok(topic) = topic {
                    let metrics = &context.core.node.metrics;
                    let traffic = metrics.topics.of(&topic.name);
                    metrics.count(&traffic, |t| &t.produces, 1);
                    metrics.count(&traffic, |t| &t.failed_produces, 1);
                }
                pending.refuse(place, refusal);
            }
        }
    }
}

/// The header of a batch as it came, for the observer; every batch that is accepted has one.
fn sent_header(data: &PartitionProduceData) -> Option<BatchHeader> {
    match &data.records {
        Some(Records::Bytes(bytes)) => BatchHeader::parse(bytes).ok(),
        _ => None,
    }
}

fn accept_partition(
    context: &RequestContext,
    topic: &Arc<TopicImage>,
    data: PartitionProduceData,
) -> Result<ProduceItem, Refusal> {
    if topic.partition(data.index).is_none() {
        return Err(Refusal::Code(ErrorCode::UnknownTopicOrPartition, None));
    }
    if topic.name.starts_with("__") && crate::topics::is_internal(&topic.name) {
        let reason = "clients cannot write to an internal topic".to_owned();
        return Err(Refusal::Code(
            ErrorCode::InvalidTopicException,
            Some(reason),
        ));
    }
    let batch = validate(context, topic, data.records)?;
    if batch.header.is_transactional() {
        return Err(Refusal::Code(
            ErrorCode::TransactionalIdAuthorizationFailed,
            None,
        ));
    }
    let partition = TopicPartition {
        topic_id: topic.id,
        partition: data.index,
    };
    Ok(ProduceItem { partition, batch })
}

fn validate(
    context: &RequestContext,
    topic: &TopicImage,
    records: Option<Records>,
) -> Result<ValidatedBatch, Refusal> {
    let bytes = match records {
        Some(Records::Bytes(bytes)) => bytes,
        Some(Records::External(_)) => unreachable!("a request holds its records"),
        None => bytes::Bytes::new(),
    };
    let policy = &context.image.topic_config(&topic.name).produce_policy;
    let mut scratch = context.core.scratch();
    validate_produce(
        context.now.wall,
        policy,
        &mut scratch,
        &bytes,
        context.version,
    )
    .map_err(|error| {
        tracing::debug!(topic = %topic.name, %error, "records are refused");
        Refusal::Records(error)
    })
}
