//! Common requests in few words.

use bytes::Bytes;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::PartitionProduceResponse;
use protocol::messages::{
    CreateTopicsRequest, FetchRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest,
    MetadataRequest, ProduceRequest, ProduceResponse,
};
use protocol::records::{Batch, BatchBuilder, Record, batches};
use protocol::wire::Records;
use types::{ErrorCode, Uuid};

use super::Kafka;
pub use super::client::code;

/// Resource type of topics in config requests.
pub const TOPIC: i8 = 2;
/// Resource type of brokers in config requests.
pub const BROKER: i8 = 4;
/// A timestamp in the near past, in milliseconds.
pub fn now_ms() -> i64 {
    runtime::Clock::start().now().wall.as_millis()
}

/// A batch with these values, keyless.
pub fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    for value in values {
        builder.append(now_ms(), None, Some(value.as_bytes()), &[]);
    }
    builder.build().into_bytes()
}

/// A batch with these values under the key `k`.
pub fn keyed(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    for value in values {
        builder.append(now_ms(), Some(b"k"), Some(value.as_bytes()), &[]);
    }
    builder.build().into_bytes()
}

/// A batch of an idempotent producer.
pub fn sequenced(producer_id: i64, epoch: i16, base_sequence: i32, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(0).producer(producer_id, epoch, base_sequence);
    for value in values {
        builder.append(now_ms(), None, Some(value.as_bytes()), &[]);
    }
    builder.build().into_bytes()
}

/// A Produce request by name for one partition.
pub fn produce_request(topic: &str, partition: i32, acks: i16, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(Records::Bytes(records)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The only partition of an answer.
pub fn only(response: ProduceResponse) -> PartitionProduceResponse {
    let mut topics = response.responses;
    assert_eq!(topics.len(), 1, "one topic was asked for");
    let mut partitions = topics.remove(0).partition_responses;
    assert_eq!(partitions.len(), 1, "one partition was asked for");
    partitions.remove(0)
}

/// A Fetch request by name for partitions of one topic, each from an offset.
pub fn fetch_request(topic: &str, from: &[(i32, i64)]) -> FetchRequest {
    let partition = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_id: 0,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: from.iter().map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The bytes of the record set of a fetched partition.
pub fn record_bytes(data: &PartitionData) -> Bytes {
    match &data.records {
        Some(Records::Bytes(bytes)) => bytes.clone(),
        other => panic!("expected a record set, not {other:?}"),
    }
}

/// The batches of a fetched partition.
pub fn fetched_batches(data: &PartitionData) -> Vec<Batch> {
    let found: Result<Vec<Batch>, _> = batches(record_bytes(data)).collect();
    found.expect("whole batches")
}

/// Records of batches.
pub fn records(batches: &[Batch]) -> Vec<Record> {
    let records = batches.iter().flat_map(Batch::records);
    records.map(|record| record.expect("a record")).collect()
}

/// The values of a fetched partition as text.
pub fn values(data: &PartitionData) -> Vec<String> {
    let value = |record: Record| {
        let value = record.value.expect("a value");
        String::from_utf8(value.to_vec()).expect("text")
    };
    records(&fetched_batches(data))
        .into_iter()
        .map(value)
        .collect()
}

impl Kafka {
    /// Creates a topic and gives its id.
    pub async fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
        let response = self
            .call(7, &create_request(name, partitions, configs))
            .await;
        let topic = &response.topics[0];
        assert_eq!(topic.error_code, 0, "{:?}", topic.error_message);
        topic.topic_id
    }

    /// Produces with acks=all to one partition.
    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> PartitionProduceResponse {
        let request = produce_request(topic, partition, -1, records);
        only(self.call(12, &request).await)
    }

    /// Produces values that must be accepted; gives the base offset.
    pub async fn put(&mut self, topic: &str, partition: i32, values: &[&str]) -> i64 {
        let answer = self.produce(topic, partition, batch(values)).await;
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        answer.base_offset
    }

    /// One partition from an offset, without waiting.
    pub async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let request = fetch_request(topic, &[(partition, offset)]);
        let response = self.call(12, &request).await;
        assert_eq!(response.error_code, 0);
        response.responses[0].partitions[0].clone()
    }

    /// All values of a partition, from its log's start.
    pub async fn all_values(&mut self, topic: &str, partition: i32) -> Vec<String> {
        let start = self.offset(topic, partition, -2).await.offset;
        let end = self.offset(topic, partition, -1).await.offset;
        let (mut next, mut all) = (start, Vec::new());
        while next < end {
            let data = self.fetch(topic, partition, next).await;
            assert_eq!(data.error_code, 0);
            let batches = fetched_batches(&data);
            next = batches
                .last()
                .expect("there is more")
                .header()
                .next_offset();
            all.extend(values(&data));
        }
        all
    }

    /// ListOffsets of one partition.
    pub async fn offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.to_owned(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: partition,
                    current_leader_epoch: -1,
                    timestamp,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = self.call(8, &request).await;
        response.topics[0].partitions[0].clone()
    }

    /// Sets a key, or with no value deletes it; gives code and message.
    pub async fn alter(
        &mut self,
        kind: i8,
        name: &str,
        key: &str,
        value: Option<&str>,
    ) -> (i16, Option<String>) {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: kind,
                resource_name: name.to_owned(),
                configs: vec![AlterableConfig {
                    name: key.to_owned(),
                    config_operation: i8::from(value.is_none()),
                    value: value.map(str::to_owned),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut response = self.call(1, &request).await;
        let one = response.responses.remove(0);
        (one.error_code, one.error_message)
    }

    /// Sets a topic's key, which must succeed.
    pub async fn set(&mut self, topic: &str, key: &str, value: &str) {
        let (error, message) = self.alter(TOPIC, topic, key, Some(value)).await;
        assert_eq!(error, code(ErrorCode::None), "{key}={value}: {message:?}");
    }

    /// Metadata of one topic, not created; code and id.
    pub async fn topic(&mut self, name: &str) -> (i16, Uuid) {
        let request = metadata_request(name, false);
        let response = self.call(12, &request).await;
        (response.topics[0].error_code, response.topics[0].topic_id)
    }
}

/// A CreateTopics request for one topic.
pub fn create_request(
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> CreateTopicsRequest {
    let config = |&(name, value): &(&str, &str)| CreatableTopicConfig {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..Default::default()
    };
    CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        }],
        timeout_ms: 30_000,
        ..Default::default()
    }
}

/// A Metadata request for one topic.
pub fn metadata_request(name: &str, allow_auto_topic_creation: bool) -> MetadataRequest {
    MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(name.to_owned()),
            ..Default::default()
        }]),
        allow_auto_topic_creation,
        ..Default::default()
    }
}
