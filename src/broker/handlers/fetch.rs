//! Fetch (1): reads record batches, waiting for more if there are too few.
//!
//! Versions 4 to 18; topics by id since 13. Incremental sessions: KIP-227. Divergence: KIP-595.
//! An empty partition is answered with an empty record set, never null. The request's `max_bytes` holds over all
//! partitions, but the first non-empty batch is always given. Whether to wait is decided after interest was registered.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use controller::image::TopicImage;
use protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use protocol::messages::{FetchRequest, FetchResponse};
use protocol::wire::{External, Records};
use replica::Isolation;
use storage::FileRange;
use types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicPartition};

use crate::metrics::Traffic;
use crate::observer::FetchAnswered;
use crate::server::authorizer::{Operation, Resource};
use crate::server::context::{Quota, RequestContext};
use crate::server::fetch_sessions::{SessionPlan, SessionRequest, Told, TopicKey, Wanted};
use crate::server::response::{Outcome, Reply, reply};
use crate::shard::{FetchWaiter, PartitionSnapshot, SnapshotQuery};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 4..=18;

/// Reads what the session plan says, waits while it is too little, answers.
pub async fn handle(context: Rc<RequestContext>, request: FetchRequest) -> Outcome<FetchResponse> {
    if request.replica_id >= 0 || request.replica_state.replica_id >= 0 {
        // Replication comes with the cluster: nobody is a follower of this node.
        return refuse(ErrorCode::ClusterAuthorizationFailed);
    }
    let plan = match plan(&context, &request) {
        Ok(plan) => plan,
        Err(code) => return refuse(code),
    };
    let reads = read_until_enough(&context, &request, &plan).await;
    let isolation = Isolation::from_wire(request.isolation_level);
    answer(&context, &plan, isolation, reads)
}

fn refuse(code: ErrorCode) -> Outcome<FetchResponse> {
    reply(FetchResponse {
        error_code: code.code(),
        ..Default::default()
    })
}

fn plan(context: &RequestContext, request: &FetchRequest) -> Result<SessionPlan, ErrorCode> {
    let uses_topic_ids = context.version >= 13;
    let key = |name: &str, id| match uses_topic_ids {
        true => TopicKey::Id(id),
        false => TopicKey::Name(Arc::from(name)),
    };
    let mut wanted = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let asked = Wanted {
                fetch_offset: partition.fetch_offset,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                partition_max_bytes: partition.partition_max_bytes,
            };
            wanted.push((
                (key(&topic.topic, topic.topic_id), partition.partition),
                asked,
            ));
        }
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        for &partition in &topic.partitions {
            forgotten.push((key(&topic.topic, topic.topic_id), partition));
        }
    }
    let session = SessionRequest {
        id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids,
        wanted: &wanted,
        forgotten: &forgotten,
    };
    context
        .core
        .node
        .fetch_sessions()
        .plan(context.now.mono, session)
}

/// One partition's answer so far.
struct PartitionRead {
    error: ErrorCode,
    snapshot: Option<PartitionSnapshot>,
    ranges: Vec<FileRange>,
    aborted: Option<Vec<storage::AbortedTransaction>>,
}

impl PartitionRead {
    fn refused(error: ErrorCode) -> PartitionRead {
        PartitionRead {
            error,
            snapshot: None,
            ranges: Vec::new(),
            aborted: None,
        }
    }

    fn bytes(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| u64::from(range.length_bytes()))
            .sum()
    }

    fn answers_at_once(&self) -> bool {
        let diverges = self
            .snapshot
            .as_ref()
            .is_some_and(|snapshot| snapshot.diverging.is_some());
        !self.error.is_none() || diverges
    }
}

async fn read_until_enough(
    context: &Rc<RequestContext>,
    request: &FetchRequest,
    plan: &SessionPlan,
) -> Vec<PartitionRead> {
    let mut reads = read_all(context, request, plan, None).await;
    let deadline = context.now.mono.plus_millis(i64::from(request.max_wait_ms));
    while !is_enough(&reads, request) && context.core.now().mono < deadline {
        let waiter = FetchWaiter::new();
        reads = read_all(context, request, plan, Some(&waiter)).await;
        if is_enough(&reads, request) {
            break;
        }
        runtime::select! {
            biased;
            () = waiter.woken() => {}
            () = context.core.serving_ended() => break,
            () = runtime::time::sleep_until(&context.core.clock, deadline) => {}
        }
        reads = read_all(context, request, plan, None).await;
    }
    reads
}

fn is_enough(reads: &[PartitionRead], request: &FetchRequest) -> bool {
    let bytes: u64 = reads.iter().map(PartitionRead::bytes).sum();
    let wanted = u64::try_from(request.min_bytes).unwrap_or(0);
    reads.is_empty() || bytes >= wanted || reads.iter().any(PartitionRead::answers_at_once)
}

/// Reads every partition of the plan, in its order, within the bytes that the request allows.
async fn read_all(
    context: &Rc<RequestContext>,
    request: &FetchRequest,
    plan: &SessionPlan,
    waiter: Option<&Arc<FetchWaiter>>,
) -> Vec<PartitionRead> {
    let snapshots = snapshots(context, plan, waiter).await;
    let bytes_max = context.core.node.settings.fetch_bytes_max;
    let mut remaining = u64::try_from(request.max_bytes).unwrap_or(0).min(bytes_max);
    let mut is_first = true;
    let mut reads = Vec::with_capacity(snapshots.len());
    for ((_, wanted), snapshot) in plan.partitions.iter().zip(snapshots) {
        let read = match snapshot {
            Err(code) => PartitionRead::refused(code),
            Ok(snapshot) => {
                let bytes = u64::try_from(wanted.partition_max_bytes)
                    .unwrap_or(0)
                    .min(remaining);
                read_one(
                    request,
                    *wanted,
                    snapshot,
                    bytes,
                    is_first,
                    waiter.is_some(),
                )
                .await
            }
        };
        let bytes = read.bytes();
        remaining = remaining.saturating_sub(bytes);
        is_first &= bytes == 0;
        reads.push(read);
    }
    reads
}

/// Asks every shard that owns a partition of the plan, one message each.
async fn snapshots(
    context: &Rc<RequestContext>,
    plan: &SessionPlan,
    waiter: Option<&Arc<FetchWaiter>>,
) -> Vec<Result<PartitionSnapshot, ErrorCode>> {
    let mut answers: Vec<Option<Result<PartitionSnapshot, ErrorCode>>> = Vec::new();
    let mut by_shard = std::collections::BTreeMap::<usize, Vec<(usize, SnapshotQuery)>>::new();
    for (place, ((topic, partition), wanted)) in plan.partitions.iter().enumerate() {
        match resolve(context, topic, *partition) {
            Err(code) => answers.push(Some(Err(code))),
            Ok(partition) => {
                let query = SnapshotQuery {
                    partition,
                    current_leader_epoch: wanted.current_leader_epoch,
                    last_fetched: (wanted.last_fetched_epoch >= 0)
                        .then_some((wanted.last_fetched_epoch, wanted.fetch_offset)),
                    wants_epochs: false,
                };
                answers.push(None);
                by_shard
                    .entry(context.core.owner_of(partition))
                    .or_default()
                    .push((place, query));
            }
        }
    }
    for (shard, queries) in by_shard {
        let waiter = waiter.cloned();
        let places: Vec<usize> = queries.iter().map(|(place, _)| *place).collect();
        let ask = move |core: &Rc<crate::core::Core>| {
            let ask = |(_, query)| core.with_shard(|shard| shard.snapshot(query, waiter.as_ref()));
            queries.into_iter().map(ask).collect::<Vec<_>>()
        };
        let snapshots = context.core.call(shard, ask).await;
        let stopping = || {
            places
                .iter()
                .map(|_| Err(ErrorCode::NotLeaderOrFollower))
                .collect()
        };
        let snapshots: Vec<_> = snapshots.unwrap_or_else(|_| stopping());
        for (place, snapshot) in places.into_iter().zip(snapshots) {
            answers[place] = Some(snapshot);
        }
    }
    answers
        .into_iter()
        .map(|answer| answer.expect("every partition was asked"))
        .collect()
}

fn resolve(
    context: &RequestContext,
    topic: &TopicKey,
    partition: PartitionIndex,
) -> Result<TopicPartition, ErrorCode> {
    let (found, unknown) = match topic {
        TopicKey::Id(id) => (context.image.topic_by_id(*id), ErrorCode::UnknownTopicId),
        TopicKey::Name(name) => (
            context.image.topic(name),
            ErrorCode::UnknownTopicOrPartition,
        ),
    };
    let name = match (found, topic) {
        (Some(topic), _) => &topic.name,
        (None, TopicKey::Name(name)) => name,
        (None, TopicKey::Id(_)) => return Err(unknown),
    };
    if !context.authorize(Operation::Read, Resource::Topic(name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let topic = found.ok_or(unknown)?;
    if topic.partition(partition).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    Ok(TopicPartition {
        topic_id: topic.id,
        partition,
    })
}

async fn read_one(
    request: &FetchRequest,
    wanted: Wanted,
    snapshot: PartitionSnapshot,
    bytes_max: u64,
    is_first: bool,
    is_long_poll: bool,
) -> PartitionRead {
    let offset = wanted.fetch_offset;
    let mut read = PartitionRead::refused(ErrorCode::None);
    let isolation = Isolation::from_wire(request.isolation_level);
    let mut upper = snapshot.bound(isolation);
    if is_long_poll && upper < snapshot.log_end_offset && types::planted!(LongPollLosesBound) {
        upper = snapshot.log_end_offset;
    }
    if offset < snapshot.log_start_offset || offset > snapshot.log_end_offset {
        read.error = ErrorCode::OffsetOutOfRange;
    } else if snapshot.diverging.is_none() && offset < upper {
        match snapshot.view.read(offset, upper, bytes_max, is_first).await {
            Ok(found) => read.ranges = found.ranges,
            Err(error) => read.error = error.error_code(),
        }
    }
    if isolation == Isolation::ReadCommitted {
        match snapshot.view.aborted_transactions(offset, upper).await {
            Ok(aborted) => read.aborted = Some(aborted),
            Err(error) => read.error = error.error_code(),
        }
    }
    read.snapshot = Some(snapshot);
    read
}

fn answer(
    context: &RequestContext,
    plan: &SessionPlan,
    isolation: Isolation,
    reads: Vec<PartitionRead>,
) -> Outcome<FetchResponse> {
    let mut response = FetchResponse {
        session_id: plan.id,
        ..Default::default()
    };
    let mut ranges = Vec::new();
    let mut bytes = 0;
    let mut sessions = context.core.node.fetch_sessions();
    for (((topic, partition), wanted), read) in plan.partitions.iter().zip(reads) {
        let length_bytes = read.bytes();
        bytes += length_bytes;
        let leader_epoch = read.snapshot.as_ref().map_or(-1, |s| s.leader_epoch);
        let data = partition_data(context, topic, *partition, read, &mut ranges);
        let told = Told {
            high_watermark: data.high_watermark,
            log_start_offset: data.log_start_offset,
            is_error: data.error_code != 0 || data.diverging_epoch.epoch >= 0,
            has_records: data
                .records
                .as_ref()
                .is_some_and(|records| records.length_bytes() > 0),
        };
        let is_news = plan.id == 0 || sessions.tell(plan.id, topic, *partition, told);
        if is_news || !plan.is_incremental {
            observe(
                context,
                topic,
                wanted.fetch_offset,
                isolation,
                leader_epoch,
                length_bytes,
                &data,
            );
            push(&mut response.responses, topic, data);
        }
    }
    drop(sessions);
    response.throttle_time_ms = context.charge(Quota::Fetch, bytes);
    Ok(Reply {
        body: response,
        ranges,
    })
}

fn observe(
    context: &RequestContext,
    topic: &TopicKey,
    fetch_offset: Offset,
    isolation: Isolation,
    leader_epoch: LeaderEpoch,
    length_bytes: u64,
    data: &PartitionData,
) {
    let Some(observer) = context.core.node.observer() else {
        return;
    };
    let Some(topic) = find_topic(context, topic) else {
        return;
    };
    observer.fetch_answered(&FetchAnswered {
        began: context.began,
        partition: TopicPartition {
            topic_id: topic.id,
            partition: data.partition_index,
        },
        isolation,
        fetch_offset,
        error: ErrorCode::from_code(data.error_code).expect("one of ours"),
        length_bytes,
        leader_epoch,
        high_watermark: data.high_watermark,
        last_stable: data.last_stable_offset,
        log_start: data.log_start_offset,
    });
}

fn push(topics: &mut Vec<FetchableTopicResponse>, key: &TopicKey, data: PartitionData) {
    let is_same = |topic: &FetchableTopicResponse| match key {
        TopicKey::Id(id) => topic.topic_id == *id,
        TopicKey::Name(name) => *topic.topic == **name,
    };
    if !topics.last().is_some_and(is_same) {
        let mut topic = FetchableTopicResponse::default();
        match key {
            TopicKey::Id(id) => topic.topic_id = *id,
            TopicKey::Name(name) => topic.topic = name.to_string(),
        }
        topics.push(topic);
    }
    topics
        .last_mut()
        .expect("just pushed")
        .partitions
        .push(data);
}

fn partition_data(
    context: &RequestContext,
    topic: &TopicKey,
    partition_index: PartitionIndex,
    read: PartitionRead,
    ranges: &mut Vec<Vec<FileRange>>,
) -> PartitionData {
    let mut data = PartitionData {
        partition_index,
        error_code: read.error.code(),
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        preferred_read_replica: -1,
        records: Some(Records::Bytes(bytes::Bytes::new())),
        ..Default::default()
    };
    count(context, topic, &read);
    let tells_leader = [ErrorCode::NotLeaderOrFollower, ErrorCode::FencedLeaderEpoch];
    if context.version >= 12 && tells_leader.contains(&read.error) {
        data.current_leader = current_leader(context, topic, partition_index);
    }
    let length_bytes = read.bytes();
    data.aborted_transactions = read.aborted.map(|aborted| {
        let entry = |aborted: storage::AbortedTransaction| AbortedTransaction {
            producer_id: aborted.producer_id,
            first_offset: aborted.first_offset,
            ..Default::default()
        };
        aborted.into_iter().map(entry).collect()
    });
    let Some(snapshot) = read.snapshot else {
        return data;
    };
    if read.error.is_none() || read.error == ErrorCode::OffsetOutOfRange {
        data.high_watermark = snapshot.high_watermark;
        data.last_stable_offset = snapshot.last_stable_offset;
        data.log_start_offset = snapshot.log_start_offset;
    }
    if let Some((epoch, end_offset)) = snapshot.diverging {
        data.diverging_epoch = EpochEndOffset {
            epoch,
            end_offset,
            ..Default::default()
        };
    }
    if length_bytes > 0 {
        let slot = u32::try_from(ranges.len()).expect("fewer than 2^32 partitions");
        let length_bytes = u32::try_from(length_bytes).expect("a response is below 2 GiB");
        data.records = Some(Records::External(External { slot, length_bytes }));
        ranges.push(read.ranges);
    }
    data
}

/// Counts a partition that is answered; one that does not exist has nobody to count for.
fn count(context: &RequestContext, topic: &TopicKey, read: &PartitionRead) {
    let metrics = &context.core.node.metrics;
    let failed = u64::from(!read.error.is_none());
    let count = |traffic: &Traffic| {
        metrics.count(traffic, |t| &t.fetches, 1);
        metrics.count(traffic, |t| &t.failed_fetches, failed);
        metrics.count(traffic, |t| &t.bytes_out, read.bytes());
    };
    if let Some(snapshot) = &read.snapshot {
        count(&snapshot.traffic);
    } else if let Some(topic) = find_topic(context, topic) {
        count(&metrics.topics.of(&topic.name));
    }
}

fn find_topic<'a>(context: &'a RequestContext, topic: &TopicKey) -> Option<&'a Arc<TopicImage>> {
    match topic {
        TopicKey::Id(id) => context.image.topic_by_id(*id),
        TopicKey::Name(name) => context.image.topic(name),
    }
}

fn current_leader(
    context: &RequestContext,
    topic: &TopicKey,
    partition: PartitionIndex,
) -> LeaderIdAndEpoch {
    match find_topic(context, topic).and_then(|topic| topic.partition(partition)) {
        Some(partition) => LeaderIdAndEpoch {
            leader_id: partition.leader,
            leader_epoch: partition.leader_epoch,
            ..Default::default()
        },
        None => LeaderIdAndEpoch::default(),
    }
}
