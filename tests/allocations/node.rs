//! A node of one core in this process, and a client that knows frames.

use broker::config::StaticConfig;
use broker::node::{NodeConfig, RunningNode};
use broker::server::authorizer::{Authorizer, Quotas};
use bytes::{Buf, Bytes, BytesMut};
use protocol::Request;
use protocol::frame::{decode_response, encode_request};
use protocol::wire::Chunk;
use runtime::Clock;
use runtime::disk::Disk;
use runtime::net::TcpStream;
use tempfile::TempDir;
use types::Prng;

use crate::counting::Asked;

/// A node that runs.
pub struct Broker {
    root: TempDir,
    node: RunningNode,
}

impl Broker {
    /// In an empty directory.
    pub async fn start() -> Broker {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data").display().to_string();
        let mut texts = StaticConfig::embedded(&data);
        let listeners = ("listeners".to_owned(), "PLAINTEXT://127.0.0.1:0".to_owned());
        texts.extend([listeners]);
        let (config, _) = StaticConfig::parse(&texts).expect("a good config");
        let (disk, clock) = (Disk::new(), Clock::start());
        let mut prng = Prng::new(7, "format");
        let formatted = broker::node::format(&disk, &config, None, clock.now(), &mut prng);
        formatted.await.expect("an empty directory is formatted");
        let node = broker::node::start(NodeConfig {
            config,
            disk,
            clock,
            seed: 7,
            cores: 1,
            open_files_max: 400,
            memory_bytes_max: 64 << 20,
            authorizer: Authorizer::AllowAll,
            quotas: Quotas::Unlimited,
            observer: None,
        });
        let node = node.await.expect("the node starts");
        Broker { root, node }
    }

    /// A new connection.
    pub async fn connect(&self) -> Connection {
        let address = self.node.ready.listeners["PLAINTEXT"];
        let stream = TcpStream::connect(address).await;
        let stream = stream.expect("the node listens");
        stream.set_nodelay(true).expect("a fresh connection");
        Connection { stream }
    }

    /// Stops it.
    pub async fn stop(self) {
        self.node.shared.stop();
        self.node.ended().await.expect("a clean end");
        drop(self.root);
    }
}

/// A request as it is sent.
pub struct Frame {
    parts: Vec<Bytes>,
    /// Its length with its length's four bytes.
    pub length_bytes: u64,
}

/// The frame of `request`.
pub fn frame<R: Request>(version: i16, request: &R) -> Frame {
    let chunks = encode_request(request, version, 1, Some("counting")).expect("a request");
    let part = |chunk| match chunk {
        Chunk::Bytes(bytes) => bytes,
        Chunk::External(_) => panic!("requests hold their bytes"),
    };
    let parts: Vec<Bytes> = chunks.into_iter().map(part).collect();
    let length_bytes = parts.iter().map(|part| part.len() as u64).sum();
    Frame {
        parts,
        length_bytes,
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Sends a frame, waits for the answer, and gives it with what the node asked for meanwhile.
    pub async fn ask(&mut self, frame: &Frame) -> (Bytes, Asked) {
        let before = Asked::so_far();
        let sent = self.stream.write_all(&frame.parts).await;
        sent.expect("the node reads");
        let mut buffer = BytesMut::with_capacity(64 << 10);
        loop {
            if let Ok(length) = (&buffer[..]).try_get_i32()
                && buffer.len() >= 4 + length as usize
            {
                break;
            }
            buffer.reserve(64 << 10);
            let count = self.stream.read(&mut buffer).await.expect("an answer");
            assert!(count > 0, "the node closed the connection");
        }
        let asked = Asked::so_far() - before;
        buffer.advance(4);
        (buffer.freeze(), asked)
    }

    /// As [`Connection::ask`], with the answer decoded.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let (answer, _) = self.ask(&frame(version, request)).await;
        let (_, response) = decode_response::<R>(answer, version).expect("an answer");
        response
    }
}
