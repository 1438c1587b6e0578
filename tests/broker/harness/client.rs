//! A client that knows frames and nothing else: no retries, no versions negotiated.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::Request;
use protocol::frame::{decode_response, encode_request};
use protocol::wire::Chunk;
use runtime::net::TcpStream;
use runtime::time::timeout;
use types::ErrorCode;

use super::PATIENCE;

/// One connection.
pub struct Kafka {
    stream: TcpStream,
    buffer: BytesMut,
    next_correlation_id: i32,
    expected: i32,
    /// Bytes of one read at most.
    read_bytes: usize,
}

impl Kafka {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Kafka {
        let stream = TcpStream::connect(address).await.expect("the node listens");
        stream.set_nodelay(true).expect("a fresh connection");
        Kafka {
            stream,
            buffer: BytesMut::new(),
            next_correlation_id: 0,
            expected: 0,
            read_bytes: usize::MAX,
        }
    }

    /// From now on reads at most so many bytes at a time, and lets others run in between.
    pub fn read_slowly(&mut self, read_bytes: usize) {
        self.read_bytes = read_bytes;
    }

    /// Sends without waiting for the answer.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) {
        let frame = encode_request(request, version, self.next_correlation_id, Some("stories"));
        let frame = frame.unwrap_or_else(|error| panic!("{:?} v{version}: {error}", R::KEY));
        self.next_correlation_id += 1;
        let parts: Vec<Bytes> = frame
            .into_iter()
            .map(|chunk| match chunk {
                Chunk::Bytes(bytes) => bytes,
                Chunk::External(_) => panic!("requests hold their bytes"),
            })
            .collect();
        self.raw(&parts).await;
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, parts: &[Bytes]) {
        self.try_raw(parts).await.expect("the node reads");
    }

    /// Sends bytes as they are; the node may have closed the connection.
    pub async fn try_raw(&mut self, parts: &[Bytes]) -> std::io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(parts))
            .await
            .expect("the node reads in time")
    }

    /// The next frame without its length; none if the node closed the connection.
    pub async fn frame(&mut self) -> Option<Bytes> {
        timeout(PATIENCE, self.next_frame())
            .await
            .expect("the node answers in time")
    }

    /// The next frame if it comes within this time.
    pub async fn frame_within(&mut self, duration: Duration) -> Option<Bytes> {
        timeout(duration, self.next_frame()).await.ok().flatten()
    }

    async fn next_frame(&mut self) -> Option<Bytes> {
        loop {
            if let Ok(length) = (&self.buffer[..]).try_get_i32() {
                let length = usize::try_from(length).expect("a length");
                if self.buffer.len() >= 4 + length {
                    self.buffer.advance(4);
                    return Some(self.buffer.split_to(length).freeze());
                }
            }
            self.buffer.reserve(64 << 10);
            if self.read_bytes < usize::MAX {
                runtime::task::yield_now().await;
            }
            let mut room = (&mut self.buffer).limit(self.read_bytes);
            // A reset is an end as well.
            if self.stream.read(&mut room).await.unwrap_or(0) == 0 {
                assert!(self.buffer.is_empty(), "the node closed within a frame");
                return None;
            }
        }
    }

    /// The next answer, which must be to the oldest request without one.
    pub async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let frame = self.frame().await;
        let frame = frame.unwrap_or_else(|| panic!("{:?} v{version}: closed", R::KEY));
        self.decode::<R>(version, frame)
    }

    /// Decodes the frame that answers the oldest request without an answer.
    pub fn decode<R: Request>(&mut self, version: i16, frame: Bytes) -> R::Response {
        let (correlation_id, response) = decode_response::<R>(frame, version)
            .unwrap_or_else(|error| panic!("{:?} v{version}: {error}", R::KEY));
        assert_eq!(correlation_id, self.expected, "answers come in order");
        self.expected += 1;
        response
    }

    /// Asks and waits.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }

    /// A request that has no answer, such as Produce with acks=0.
    pub async fn tell<R: Request>(&mut self, version: i16, request: &R) {
        self.send(version, request).await;
        self.expected += 1;
    }

    /// Whether the node closes the connection, and says nothing before.
    pub async fn is_closed(&mut self) -> bool {
        self.frame().await.is_none()
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// The number that stands on the wire.
pub fn code(code: ErrorCode) -> i16 {
    code.code()
}
