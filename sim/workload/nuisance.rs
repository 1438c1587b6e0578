//! Clients that do what no client should. None of it is history; the broker has to live with it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::Request;
use protocol::frame::encode_request;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::{
    ApiVersionsRequest, FetchRequest, FindCoordinatorRequest, ListGroupsRequest, MetadataRequest,
};
use protocol::wire::Chunk;
use runtime::net::TcpStream;
use runtime::time::{sleep, timeout};
use types::Prng;

use super::actor::Actor;

/// How long an answer is awaited.
const ANSWER: Duration = Duration::from_millis(2_000);
/// Largest answer that is read.
const READ_BYTES: usize = 64 << 10;
/// Newest version of the fetch that names topics.
const NAMED_FETCH: i16 = 12;

impl Actor {
    /// Sends a damaged frame after a sound one, and waits for what comes back.
    pub(super) async fn malformed(&mut self, seed: u64) {
        let mut prng = Prng::new(seed, "malformed");
        let told = match self.greet().await {
            Some(stream) => {
                let frame = damaged(&mut prng);
                if write(&stream, frame).await {
                    answer(&stream).await
                } else {
                    "not written"
                }
            }
            None => "no connection",
        };
        self.skip("malformed", told);
    }

    /// Announces a frame, sends so much of it, and goes away.
    pub(super) async fn abandon(&mut self, bytes: u32) {
        let told = match self.greet().await {
            Some(stream) => {
                let mut begun = BytesMut::new();
                begun.put_u32(bytes + 1_000);
                begun.put_bytes(0, bytes as usize);
                if write(&stream, begun.freeze()).await {
                    "done"
                } else {
                    "not written"
                }
            }
            None => "no connection",
        };
        self.skip("abandon", told);
    }

    /// Asks for much and reads nothing of the answer for a while.
    pub(super) async fn deaf(&mut self, millis: u64) {
        let Some(stream) = self.greet().await else {
            return self.skip("deaf", "no connection");
        };
        let topics = self.context.plan.topics.iter().map(|topic| FetchTopic {
            topic: topic.name.clone(),
            partitions: (0..topic.partitions)
                .map(|partition| FetchPartition {
                    partition,
                    current_leader_epoch: -1,
                    partition_max_bytes: 1 << 20,
                    ..FetchPartition::default()
                })
                .collect(),
            ..FetchTopic::default()
        });
        let request = FetchRequest {
            max_bytes: 8 << 20,
            session_epoch: -1,
            topics: topics.collect(),
            ..FetchRequest::default()
        };
        let asked = frame(&request, NAMED_FETCH);
        let mut told = "not written";
        // Several, so that more than one answer waits.
        for _ in 0..4 {
            if write(&stream, asked.clone()).await {
                told = "done";
            }
        }
        sleep(Duration::from_millis(millis)).await;
        answer(&stream).await;
        self.skip("deaf", told);
    }

    /// A connection on which ApiVersions was asked and answered.
    async fn greet(&mut self) -> Option<TcpStream> {
        let count = self.context.bootstrap.len() as u64;
        let index = self.prng.below(count) as usize;
        let address: SocketAddr = self.context.bootstrap[index].parse().ok()?;
        let stream = timeout(ANSWER, TcpStream::connect(address))
            .await
            .ok()?
            .ok()?;
        let hello = frame(&ApiVersionsRequest::default(), 0);
        (write(&stream, hello).await && answer(&stream).await == "answered").then_some(stream)
    }
}

async fn write(stream: &TcpStream, bytes: Bytes) -> bool {
    let written = timeout(ANSWER, stream.write_all(&[bytes])).await;
    matches!(written, Ok(Ok(())))
}

/// Reads what comes first.
async fn answer(stream: &TcpStream) -> &'static str {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    match timeout(ANSWER, stream.read(&mut buffer)).await {
        Ok(Ok(0)) => "closed",
        Ok(Ok(_)) => "answered",
        Ok(Err(_)) => "reset",
        Err(_) => "silence",
    }
}

fn frame<R: Request>(request: &R, version: i16) -> Bytes {
    let chunks = encode_request(request, version, 7, Some("nuisance"));
    let mut body = BytesMut::new();
    for chunk in chunks.expect("a sound request") {
        match chunk {
            Chunk::Bytes(bytes) => body.extend_from_slice(&bytes),
            Chunk::External(_) => panic!("a request without records"),
        }
    }
    body.freeze()
}

/// A frame that is sound but for a few bytes, or none at all.
fn damaged(prng: &mut Prng) -> Bytes {
    let sound = match prng.below(4) {
        0 => frame(&MetadataRequest::default(), 9),
        1 => frame(&FindCoordinatorRequest::default(), 3),
        2 => frame(&ListGroupsRequest::default(), 3),
        _ => frame(&FetchRequest::default(), NAMED_FETCH),
    };
    let mut bytes = BytesMut::from(&sound[..]);
    if prng.chance(1, 4) {
        let length = prng.below(200);
        bytes.clear();
        bytes.extend((0..length).map(|_| prng.next_u64() as u8));
        return bytes.freeze();
    }
    for _ in 0..=prng.below(4) {
        let place = prng.below(bytes.len() as u64) as usize;
        bytes[place] = prng.next_u64() as u8;
    }
    bytes.freeze()
}
