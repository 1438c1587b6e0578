//! A client that knows frames.

use bytes::{Buf, Bytes, BytesMut};
use protocol::Request;
use protocol::frame::decode_response;
use runtime::net::TcpStream;

use crate::counting::Asked;
use crate::node::Node;

/// One connection.
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// A new one.
    pub async fn to(node: &Node) -> Connection {
        let address = node.running.ready.listeners["PLAINTEXT"];
        let stream = TcpStream::connect(address).await;
        let stream = stream.expect("the node listens");
        stream.set_nodelay(true).expect("a fresh connection");
        Connection { stream }
    }

    /// Sends a frame, waits for the answer, and gives it with what the node asked for meanwhile.
    pub async fn ask(&mut self, frame: &Bytes) -> (Bytes, Asked) {
        let before = Asked::so_far();
        let sent = self.stream.write_all(std::slice::from_ref(frame)).await;
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
    pub async fn call<R: Request>(&mut self, version: i16, frame: &Bytes) -> R::Response {
        let (answer, _) = self.ask(frame).await;
        let (_, response) = decode_response::<R>(answer, version).expect("an answer");
        response
    }
}
