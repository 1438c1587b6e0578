//! A connection without a socket to a node in this process.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use broker::core::Core;
use broker::server::context::Peer;
use broker::server::inbox::Inbox;
use broker::server::response::{Frame, Piece};
use broker::server::router::{self, Handling};
use protocol::Request;
use protocol::frame::decode_response;
use runtime::sync::oneshot;

use crate::node::Node;

/// The largest frame, in bytes.
const FRAME_BYTES_MAX: usize = 100 << 20;

impl Node {
    /// Runs `story` as a task of the node's core, and gives what it gives. This thread sleeps meanwhile.
    pub async fn tell<T, F>(&self, story: impl FnOnce(Connection) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let begin = move |core: &Rc<Core>| {
            let story = story(Connection::new(Rc::clone(core)));
            runtime::task::spawn_local(async move {
                let _ = sender.send(story.await);
            });
        };
        let posted = self.running.shared.post(0, Box::new(begin)).await;
        posted.expect("the node runs");
        receiver.await.expect("the story ends")
    }
}

/// A connection whose bytes come from memory, and whose answers go nowhere.
pub struct Connection {
    /// The core that it lives on.
    pub core: Rc<Core>,
    peer: Rc<Peer>,
    inbox: Inbox,
}

impl Connection {
    fn new(core: Rc<Core>) -> Connection {
        let peer = Peer {
            number: 1,
            listener: "PLAINTEXT".to_owned(),
            address: ([127, 0, 0, 1], 1).into(),
            principal: "User:ANONYMOUS".to_owned(),
        };
        Connection {
            core,
            peer: Rc::new(peer),
            inbox: Inbox::new(FRAME_BYTES_MAX),
        }
    }

    /// Receives the bytes of one frame, handles it, and gives its answer. What the kernel would do, to copy the bytes
    /// out of the socket, is one copy here.
    pub async fn ask(&mut self, wire: &[u8]) -> Frame {
        let mut handling = None;
        let answer = poll_fn(|cx| match &mut handling {
            None => {
                let started = self.start(wire);
                self.poll(handling.insert(started), cx)
            }
            Some(handling) => self.poll(handling, cx),
        });
        let frame = answer.await;
        self.inbox.release_if_empty();
        frame
    }

    fn start(&mut self, wire: &[u8]) -> Handling {
        let mut rest = wire;
        while !rest.is_empty() {
            let (buffer, read_bytes_max) = self.inbox.buffer_for_read(true);
            let room = (buffer.capacity() - buffer.len()).min(read_bytes_max);
            let (now, later) = rest.split_at(room.min(rest.len()));
            buffer.extend_from_slice(now);
            rest = later;
        }
        let frame = self.inbox.next_frame().expect("a good frame");
        router::start(&self.core, &self.peer, frame.expect("it is whole")).expect("it is served")
    }

    /// As a connection does it: the handler runs, what it appended is written, the handler answers.
    fn poll(&self, handling: &mut Handling, cx: &mut Context<'_>) -> Poll<Frame> {
        let mut polled = handling.as_mut().poll(cx);
        if polled.is_pending() {
            self.core.drain_shard();
            polled = handling.as_mut().poll(cx);
        }
        polled.map(|answer| answer.expect("an answer"))
    }

    /// As [`Connection::ask`], with the answer decoded.
    pub async fn call<R: Request>(&mut self, version: i16, wire: &[u8]) -> R::Response {
        let frame = self.ask(wire).await;
        let mut bytes = Vec::new();
        for piece in frame.pieces {
            match piece {
                Piece::Bytes(part) => bytes.extend_from_slice(&part),
                Piece::File(range) => {
                    bytes.extend_from_slice(&range.begin_read().await.expect("it is read"));
                }
            }
        }
        let (_, response) =
            decode_response::<R>(bytes.split_off(4).into(), version).expect("an answer");
        response
    }
}
