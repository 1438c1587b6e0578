//! A broker for tests: one node, one topic, the protocol's real bytes, and faults by script.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::pending;
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use protocol::frame::{RequestHeader, encode_response};
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::produce_request::PartitionProduceData;
use protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse,
};
use protocol::records::{Batch, increment_sequence};
use protocol::wire::{Chunk, Records};
use protocol::{ApiKey, Decoder, Message};
use runtime::net::{ListenOptions, TcpListener, TcpStream};
use runtime::task::{JoinHandle, spawn_local};
use types::{ErrorCode, Offset, PartitionIndex, ProducerEpoch, ProducerId, Uuid};

/// The only topic.
pub(crate) const TOPIC: &str = "orders";
const TOPIC_ID: Uuid = Uuid::from_u128(0x1000);

/// What the broker does wrong with the next request of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Does nothing wrong.
    Nothing,
    /// Refuses each partition with this.
    Refuse(ErrorCode),
    /// Does what was asked and answers this all the same.
    DoAndRefuse(ErrorCode),
    /// Closes the connection without doing anything.
    Disconnect,
    /// Does what was asked, then closes the connection instead of answering.
    DoAndDisconnect,
    /// Neither answers nor reads on, on this connection.
    Silence,
    /// Answers with another correlation id.
    WrongCorrelation,
    /// Announces a frame of this length.
    Announce(i32),
}

/// A partition's log, with what it knows of producers.
#[derive(Debug, Default)]
struct Log {
    batches: Vec<Batch>,
    end: Offset,
    producers: BTreeMap<ProducerId, Producer>,
}

#[derive(Debug, Default)]
struct Producer {
    epoch: ProducerEpoch,
    /// First sequence and base offset of the last five batches.
    recent: VecDeque<(i32, Offset)>,
    next_sequence: i32,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    logs: RefCell<BTreeMap<PartitionIndex, Log>>,
    /// What to do with the requests to come, by API.
    pub(crate) script: RefCell<BTreeMap<ApiKey, VecDeque<Fault>>>,
    pub(crate) partition_count: Cell<i32>,
    /// Partitions that are not served, because the disk that they are on has failed.
    pub(crate) failed: RefCell<BTreeSet<PartitionIndex>>,
    /// Newest ApiVersions that the broker knows.
    pub(crate) api_versions_max: Cell<i16>,
    next_producer_id: Cell<ProducerId>,
    pub(crate) connections: Cell<usize>,
}

/// A running broker; ends when dropped.
pub(crate) struct MockBroker {
    pub(crate) state: Rc<State>,
    pub(crate) address: String,
    accepting: JoinHandle<()>,
}

impl Drop for MockBroker {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl MockBroker {
    pub(crate) async fn start(partition_count: i32) -> MockBroker {
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = TcpListener::bind(address, ListenOptions::default())
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Rc::new(State::default());
        state.partition_count.set(partition_count);
        state
            .api_versions_max
            .set(*ApiVersionsRequest::VERSIONS.end());
        let shared = Rc::clone(&state);
        let accepting = spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                shared.connections.set(shared.connections.get() + 1);
                let connection = Connection {
                    state: Rc::clone(&shared),
                    stream,
                    port,
                };
                drop(spawn_local(connection.serve()));
            }
        });
        MockBroker {
            state,
            address: format!("127.0.0.1:{port}"),
            accepting,
        }
    }

    /// Lets the API's next requests go wrong in this order.
    pub(crate) fn plan(&self, api: ApiKey, faults: impl IntoIterator<Item = Fault>) {
        let mut script = self.state.script.borrow_mut();
        script.entry(api).or_default().extend(faults);
    }

    /// The values in a partition's log, in order.
    pub(crate) fn values(&self, partition: PartitionIndex) -> Vec<String> {
        let logs = self.state.logs.borrow();
        let batches = logs.get(&partition).map_or(&[][..], |log| &log.batches);
        let records = batches.iter().flat_map(Batch::records);
        records
            .map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap())
            .collect()
    }
}

struct Connection {
    state: Rc<State>,
    stream: TcpStream,
    port: u16,
}

impl Connection {
    async fn serve(self) {
        let mut buffer = BytesMut::new();
        loop {
            while let Some(frame) = take_frame(&mut buffer) {
                if !self.handle(frame).await {
                    return;
                }
            }
            buffer.reserve(1 << 16);
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Whether the connection goes on.
    async fn handle(&self, frame: Bytes) -> bool {
        let mut decoder = Decoder::new(frame);
        let mut header = RequestHeader::decode(&mut decoder).unwrap();
        let api = ApiKey::from_code(header.api_key).unwrap();
        let planned = self
            .state
            .script
            .borrow_mut()
            .get_mut(&api)
            .and_then(VecDeque::pop_front);
        let fault = planned.unwrap_or(Fault::Nothing);
        if fault == Fault::Disconnect {
            return false;
        }
        let answer = self.answer(api, &header, decoder, fault);
        match fault {
            Fault::DoAndDisconnect => return false,
            Fault::Silence => return pending().await,
            Fault::WrongCorrelation => header.correlation_id ^= 1,
            Fault::Announce(length) => {
                let announced = Bytes::copy_from_slice(&length.to_be_bytes());
                return self.stream.write_all(&[announced]).await.is_ok();
            }
            _ => {}
        }
        let Some(answer) = answer else {
            return true;
        };
        let mut bytes = answer.to_vec();
        bytes[4..8].copy_from_slice(&header.correlation_id.to_be_bytes());
        self.stream.write_all(&[bytes.into()]).await.is_ok()
    }

    fn answer(
        &self,
        api: ApiKey,
        header: &RequestHeader,
        mut decoder: Decoder,
        fault: Fault,
    ) -> Option<Bytes> {
        let version = header.api_version;
        match api {
            ApiKey::ApiVersions => Some(self.api_versions(version)),
            ApiKey::Metadata => {
                MetadataRequest::decode(&mut decoder, version).unwrap();
                Some(encode(&self.metadata(), version))
            }
            ApiKey::InitProducerId => {
                InitProducerIdRequest::decode(&mut decoder, version).unwrap();
                let id = self.state.next_producer_id.get() + 1;
                self.state.next_producer_id.set(id);
                let response = InitProducerIdResponse {
                    producer_id: id,
                    producer_epoch: 0,
                    ..InitProducerIdResponse::default()
                };
                Some(encode(&response, version))
            }
            ApiKey::Produce => {
                let request = ProduceRequest::decode(&mut decoder, version).unwrap();
                let response = self.produce(&request, fault);
                (request.acks != 0).then(|| encode(&response, version))
            }
            ApiKey::ListOffsets => {
                let request = ListOffsetsRequest::decode(&mut decoder, version).unwrap();
                Some(encode(&self.list_offsets(&request), version))
            }
            ApiKey::Fetch => {
                let request = FetchRequest::decode(&mut decoder, version).unwrap();
                Some(encode(&self.fetch(&request, fault), version))
            }
            other => panic!("the mock does not serve {}", other.name()),
        }
    }

    fn api_versions(&self, version: i16) -> Bytes {
        let served = [
            ApiKey::Produce,
            ApiKey::Fetch,
            ApiKey::ListOffsets,
            ApiKey::Metadata,
            ApiKey::ApiVersions,
            ApiKey::InitProducerId,
        ];
        let known = version <= self.state.api_versions_max.get();
        let api_keys = served.map(|api| ApiVersion {
            api_key: api.code(),
            min_version: *api.versions().start(),
            max_version: *api.versions().end(),
            ..ApiVersion::default()
        });
        let response = ApiVersionsResponse {
            error_code: if known {
                0
            } else {
                ErrorCode::UnsupportedVersion.code()
            },
            api_keys: api_keys.to_vec(),
            ..ApiVersionsResponse::default()
        };
        encode(&response, if known { version } else { 0 })
    }

    fn metadata(&self) -> MetadataResponse {
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: 1,
            leader_epoch: 0,
            replica_nodes: vec![1],
            isr_nodes: vec![1],
            ..MetadataResponsePartition::default()
        };
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: "127.0.0.1".to_owned(),
                port: i32::from(self.port),
                ..MetadataResponseBroker::default()
            }],
            controller_id: 1,
            topics: vec![MetadataResponseTopic {
                name: Some(TOPIC.to_owned()),
                topic_id: TOPIC_ID,
                partitions: (0..self.state.partition_count.get())
                    .map(partition)
                    .collect(),
                ..MetadataResponseTopic::default()
            }],
            ..MetadataResponse::default()
        }
    }

    fn produce(&self, request: &ProduceRequest, fault: Fault) -> ProduceResponse {
        let topic = |data: &protocol::messages::produce_request::TopicProduceData| {
            let partitions = data.partition_data.iter();
            TopicProduceResponse {
                name: data.name.clone(),
                topic_id: data.topic_id,
                partition_responses: partitions.map(|p| self.append(p, fault)).collect(),
                ..TopicProduceResponse::default()
            }
        };
        ProduceResponse {
            responses: request.topic_data.iter().map(topic).collect(),
            ..ProduceResponse::default()
        }
    }

    fn append(&self, data: &PartitionProduceData, fault: Fault) -> PartitionProduceResponse {
        let outcome = match fault {
            Fault::Refuse(code) => Err(code),
            _ => {
                let Some(Records::Bytes(bytes)) = &data.records else {
                    panic!("a producer sends bytes");
                };
                let batch = Batch::parse(bytes).unwrap();
                batch.verify_crc().unwrap();
                let mut logs = self.state.logs.borrow_mut();
                logs.entry(data.index).or_default().append(&batch)
            }
        };
        let (code, base_offset) = match (fault, outcome) {
            (Fault::DoAndRefuse(code), _) => (code, -1),
            (_, Ok(base_offset)) => (ErrorCode::None, base_offset),
            (_, Err(code)) => (code, -1),
        };
        PartitionProduceResponse {
            index: data.index,
            error_code: code.code(),
            base_offset,
            ..PartitionProduceResponse::default()
        }
    }

    fn code_of(&self, partition: PartitionIndex) -> ErrorCode {
        if self.state.failed.borrow().contains(&partition) {
            ErrorCode::KafkaStorageError
        } else {
            ErrorCode::None
        }
    }

    fn list_offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let logs = self.state.logs.borrow();
        let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| {
                    let end = logs
                        .get(&partition.partition_index)
                        .map_or(0, |log| log.end);
                    ListOffsetsPartitionResponse {
                        partition_index: partition.partition_index,
                        error_code: self.code_of(partition.partition_index).code(),
                        offset: if partition.timestamp == -1 { end } else { 0 },
                        ..ListOffsetsPartitionResponse::default()
                    }
                })
                .collect(),
            ..ListOffsetsTopicResponse::default()
        });
        ListOffsetsResponse {
            topics: topics.collect(),
            ..ListOffsetsResponse::default()
        }
    }

    /// Never waits: one batch of each partition, or none.
    fn fetch(&self, request: &FetchRequest, fault: Fault) -> FetchResponse {
        let logs = self.state.logs.borrow();
        let partition = |asked: &protocol::messages::fetch_request::FetchPartition| {
            let code = match fault {
                Fault::Refuse(code) => code,
                _ => self.code_of(asked.partition),
            };
            let log = logs.get(&asked.partition);
            let next = log.and_then(|log| {
                let mut batches = log.batches.iter();
                batches.find(|batch| batch.header().next_offset() > asked.fetch_offset)
            });
            let bytes = next.map(|batch| batch.bytes().clone()).unwrap_or_default();
            PartitionData {
                partition_index: asked.partition,
                error_code: code.code(),
                records: Some(Records::Bytes(bytes)),
                ..PartitionData::default()
            }
        };
        let topics = request.topics.iter().map(|topic| FetchableTopicResponse {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(partition).collect(),
            ..FetchableTopicResponse::default()
        });
        FetchResponse {
            responses: topics.collect(),
            ..FetchResponse::default()
        }
    }
}

impl Log {
    /// Appends as a leader does: a batch seen before is answered with its first offset, a gap in the sequences is
    /// refused.
    fn append(&mut self, batch: &Batch) -> Result<Offset, ErrorCode> {
        let header = batch.header();
        let base_offset = self.end;
        if header.has_producer_id() {
            let producer = self.producers.entry(header.producer_id).or_default();
            if header.producer_epoch < producer.epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            let seen = producer.recent.iter();
            let mut same = seen.filter(|(sequence, _)| *sequence == header.base_sequence);
            if let Some(&(_, offset)) = same.next() {
                return Ok(offset);
            }
            if header.base_sequence != producer.next_sequence {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            producer.next_sequence = increment_sequence(header.base_sequence, header.record_count);
            producer
                .recent
                .push_back((header.base_sequence, base_offset));
            if producer.recent.len() > 5 {
                producer.recent.pop_front();
            }
        }
        let stored: Bytes = batch.chunks_at(base_offset, 0).concat().into();
        self.batches.push(Batch::parse(&stored).unwrap());
        self.end += i64::from(header.record_count);
        Ok(base_offset)
    }
}

fn take_frame(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = (&buffer[..]).try_get_i32().ok()? as usize;
    if buffer.len() < 4 + length {
        return None;
    }
    buffer.advance(4);
    Some(buffer.split_to(length).freeze())
}

/// A response frame; its correlation id is filled in later.
fn encode<M: Message>(response: &M, version: i16) -> Bytes {
    let chunks = encode_response(response, version, 0).unwrap();
    let bytes = chunks.into_iter().map(|chunk| match chunk {
        Chunk::Bytes(bytes) => bytes,
        Chunk::External(_) => panic!("the mock sends bytes"),
    });
    bytes.collect::<Vec<_>>().concat().into()
}
