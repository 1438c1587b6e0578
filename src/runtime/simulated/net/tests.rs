//! What only the simulated fabric can show.

mod cuts;
mod links;
mod nodes;
mod repeats;

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use madsim::runtime::{Handle, NodeHandle};

use super::{Fabric, Link, number_of as number};
use crate::net::{ListenOptions, TcpListener, TcpStream};
use crate::simulated::trace::{self, Event, Sink, Value};
use crate::simulated::world;
use crate::time::timeout;

const PORT: u16 = 9092;

/// A link on which everything takes a millisecond, in pieces as large as they are written.
const EVEN: Link = Link {
    latency_us: 1000,
    jitter_us: 0,
    tail_one_in: 0,
    tail_factor: 1,
    bytes_per_second: 1_000_000_000,
    window_bytes: 64 << 10,
    chunk_bytes_max: 64 << 10,
};

/// Tells `story` in a new world of `seed` whose links are even.
fn in_world<F: Future>(seed: u64, story: impl FnOnce() -> F) -> F::Output {
    crate::simulated::run(seed, async {
        Fabric::current().set_default_link(EVEN);
        story().await
    })
}

fn ip(place: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, place])
}

/// A node with the address `ip(place)`.
fn node(place: u8) -> NodeHandle {
    let node = Handle::current().create_node().ip(ip(place)).build();
    Fabric::current().set_ip(number(node.id()), ip(place));
    node
}

fn id(node: &NodeHandle) -> u64 {
    number(node.id())
}

async fn connect_to(node: &NodeHandle, address: SocketAddr) -> io::Result<TcpStream> {
    let connect = TcpStream::connect(address);
    node.spawn(connect).await.expect("nobody kills the node")
}

async fn listen_on(node: &NodeHandle, address: SocketAddr, backlog: u32) -> TcpListener {
    let options = ListenOptions {
        backlog,
        ..ListenOptions::default()
    };
    let bind = TcpListener::bind(address, options);
    let bound = node.spawn(bind).await.expect("nobody kills the node");
    bound.expect("the address is free")
}

/// Two nodes, and a connection that the first opened with the second.
struct Pair {
    client: NodeHandle,
    server: NodeHandle,
    listener: TcpListener,
    client_end: TcpStream,
    server_end: TcpStream,
}

impl Pair {
    async fn new() -> Pair {
        Pair::of_nodes(1, 2).await
    }

    async fn of_nodes(client: u8, server: u8) -> Pair {
        let (client, server_ip) = (node(client), ip(server));
        let server = node(server);
        let address = SocketAddr::new(server_ip, PORT);
        let listener = listen_on(&server, address, 100).await;
        let client_end = connect_to(&client, address).await.unwrap();
        let (server_end, _) = listener.accept().await.unwrap();
        Pair {
            client,
            server,
            listener,
            client_end,
            server_end,
        }
    }

    fn ids(&self) -> (u64, u64) {
        (id(&self.client), id(&self.server))
    }
}

fn now_us() -> u64 {
    world::now_nanos() / 1_000
}

fn pattern(length_bytes: usize) -> Bytes {
    (0..length_bytes).map(|at| (at % 251) as u8).collect()
}

async fn write(stream: &TcpStream, bytes: &Bytes) {
    stream.write_all(std::slice::from_ref(bytes)).await.unwrap();
}

async fn read_exactly(stream: &TcpStream, length_bytes: usize) -> BytesMut {
    let mut seen = BytesMut::new();
    while seen.len() < length_bytes {
        seen.reserve(length_bytes - seen.len());
        assert_ne!(stream.read(&mut seen).await.unwrap(), 0, "it ended early");
    }
    seen
}

/// Reads until the stream ends or fails; what was read and how it failed.
async fn read_all(stream: &TcpStream) -> (BytesMut, Option<ErrorKind>) {
    let mut seen = BytesMut::new();
    loop {
        seen.reserve(64 << 10);
        match stream.read(&mut seen).await {
            Ok(0) => return (seen, None),
            Ok(_) => {}
            Err(error) => return (seen, Some(error.kind())),
        }
    }
}

/// Whether nothing arrives at the stream for ten simulated seconds.
async fn is_silent(stream: &TcpStream) -> bool {
    timeout(Duration::from_secs(10), stream.readable())
        .await
        .is_err()
}

/// An event as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    at_nanos: u64,
    node: u64,
    kind: &'static str,
    fields: Vec<(&'static str, i64)>,
}

#[derive(Default)]
struct Recorder {
    seen: RefCell<Vec<Seen>>,
}

impl Sink for Recorder {
    fn event(&self, event: &Event<'_>) {
        let fields = event.fields.iter().map(|&(name, value)| match value {
            Value::Int(number) => (name, number),
            Value::Text(_) => unreachable!("the fabric tells numbers"),
        });
        self.seen.borrow_mut().push(Seen {
            at_nanos: event.at_nanos,
            node: event.node,
            kind: event.kind,
            fields: fields.collect(),
        });
    }
}

/// What happens in `story`, told to the end.
async fn recorded<F: Future>(story: F) -> (F::Output, Vec<Seen>) {
    let recorder = Rc::new(Recorder::default());
    trace::set_sink(Some(recorder.clone()));
    let output = story.await;
    trace::set_sink(None);
    let seen = recorder.seen.take();
    (output, seen)
}

fn kinds(seen: &[Seen]) -> Vec<(u64, &'static str)> {
    seen.iter().map(|event| (event.node, event.kind)).collect()
}
