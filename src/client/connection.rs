//! One connection to one broker: requests leave in order, answers come in the same order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::wire::Chunk;
use protocol::{ApiKey, Decoder, Message, Request, frame};
use runtime::Clock;
use runtime::net::{TcpStream, lookup_host};
use runtime::sync::{Notify, mpsc, oneshot};
use runtime::task::{JoinHandle, spawn_local};
use runtime::time::{sleep_until, timeout};
use types::{ErrorCode, Mono};

use crate::error::Error;

/// Free space offered to one read of the socket, in bytes.
const READ_BYTES: usize = 64 << 10;
/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;
/// Requests that one write gathers at most.
const WRITE_REQUESTS_MAX: usize = 32;

/// How a [`Connection`] behaves.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// The client's name for itself.
    pub client_id: String,
    /// The node's clock.
    pub clock: Clock,
    /// How long connecting, with the negotiation of versions, may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long a request may take unless it says otherwise, in milliseconds.
    pub request_timeout_ms: u64,
    /// Longest response taken, in bytes.
    pub frame_bytes_max: usize,
    /// Requests in flight at most; more wait.
    pub in_flight_max: usize,
    /// Where the requests are counted; connections may share it.
    pub sent: Sent,
}

/// How many requests of each API were handed to connections.
#[derive(Clone, Debug, Default)]
pub struct Sent(Rc<RefCell<BTreeMap<i16, Counts>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: u64,
    answered: u64,
}

impl Sent {
    /// Requests of this API so far.
    pub fn of(&self, api: ApiKey) -> u64 {
        self.counts(api).sent
    }

    /// Those of them that no answer has come to.
    pub fn unanswered(&self, api: ApiKey) -> u64 {
        let counts = self.counts(api);
        counts.sent - counts.answered
    }

    fn counts(&self, api: ApiKey) -> Counts {
        self.0
            .borrow()
            .get(&api.code())
            .copied()
            .unwrap_or_default()
    }

    fn count(&self, api: ApiKey) {
        self.0.borrow_mut().entry(api.code()).or_default().sent += 1;
    }

    fn count_answer(&self, api: ApiKey) {
        self.0.borrow_mut().entry(api.code()).or_default().answered += 1;
    }
}

/// A connection to a broker, its versions negotiated. When it breaks, all requests in flight fail and it stays broken.
#[derive(Debug)]
pub struct Connection {
    shared: Rc<Shared>,
    requests: mpsc::Sender<Vec<Bytes>>,
    versions: BTreeMap<i16, RangeInclusive<i16>>,
    tasks: [JoinHandle<()>; 3],
}

/// What the connection's tasks share with it.
#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    options: ConnectionOptions,
    /// Requests that wait for their answer, oldest first.
    pending: RefCell<VecDeque<Pending>>,
    next_correlation_id: Cell<i32>,
    /// Why the connection ended, once it has.
    ended: RefCell<Option<Error>>,
    /// Woken when a request leaves whose deadline is before all that are watched.
    deadline_moved: Notify,
    /// Woken when a request in flight was answered or the connection ended.
    room: Notify,
}

#[derive(Debug)]
struct Pending {
    api: ApiKey,
    correlation_id: i32,
    deadline: Mono,
    timeout_ms: u64,
    reply: oneshot::Sender<Result<Bytes, Error>>,
}

/// The answer to a request that has left, to come.
#[derive(Debug)]
pub struct Reply<R: Request> {
    frame: oneshot::Receiver<Result<Bytes, Error>>,
    version: i16,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Unpin for Reply<R> {}

impl<R: Request> Future for Reply<R> {
    type Output = Result<R::Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let frame = std::task::ready!(Pin::new(&mut self.frame).poll(cx));
        let frame = frame.unwrap_or_else(|_| Err(Error::Disconnected("closed".to_owned())))?;
        let (_, response) = frame::decode_response::<R>(frame, self.version)?;
        Poll::Ready(Ok(response))
    }
}

impl Connection {
    /// Connects to `host` at `port` and learns which versions the broker serves.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::TimedOut`], and those of the first request.
    pub async fn open(
        host: &str,
        port: u16,
        options: ConnectionOptions,
    ) -> Result<Connection, Error> {
        let limit_ms = options.connect_timeout_ms;
        let opening = async {
            let stream = connect(host, port).await?;
            let mut connection = Connection::over(stream, options);
            connection.negotiate().await?;
            Ok(connection)
        };
        timeout(Duration::from_millis(limit_ms), opening)
            .await
            .unwrap_or(Err(Error::TimedOut(limit_ms)))
    }

    /// A connection over a stream, without negotiation.
    fn over(stream: TcpStream, options: ConnectionOptions) -> Connection {
        let (requests, queue) = mpsc::channel(options.in_flight_max.max(1));
        let shared = Rc::new(Shared {
            stream,
            options,
            pending: RefCell::default(),
            next_correlation_id: Cell::new(0),
            ended: RefCell::default(),
            deadline_moved: Notify::new(),
            room: Notify::new(),
        });
        let tasks = [
            spawn_local(write(Rc::clone(&shared), queue)),
            spawn_local(read(Rc::clone(&shared))),
            spawn_local(watch(Rc::clone(&shared))),
        ];
        Connection {
            shared,
            requests,
            versions: BTreeMap::new(),
            tasks,
        }
    }

    /// Asks for the broker's versions (KIP-35); a broker that does not know our newest way of asking says so in the
    /// oldest one (KIP-511).
    async fn negotiate(&mut self) -> Result<(), Error> {
        let request = ApiVersionsRequest {
            client_software_name: "millrace".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ApiVersionsRequest::default()
        };
        let version = newest::<ApiVersionsRequest>();
        let answer = self.submit_raw(&request, version, None).await?;
        let frame = answer.await.map_err(|_| Error::Closed)??;
        let mut response = decode_api_versions(frame, version)?;
        if response.error_code == ErrorCode::UnsupportedVersion.code() {
            let oldest = ApiVersionsRequest::default();
            let answer = self.submit_raw(&oldest, 0, None).await?;
            response = decode_api_versions(answer.await.map_err(|_| Error::Closed)??, 0)?;
        }
        Error::check(response.error_code)?;
        self.versions = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version..=api.max_version))
            .collect();
        Ok(())
    }

    /// The newest version of the request that both sides know.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if there is none.
    pub fn version<R: Request>(&self) -> Result<i16, Error> {
        let theirs = self
            .versions
            .get(&R::KEY.code())
            .ok_or(Error::Unsupported(R::KEY))?;
        let version = newest::<R>().min(*theirs.end());
        if version < *theirs.start() || version < *R::VERSIONS.start() {
            return Err(Error::Unsupported(R::KEY));
        }
        Ok(version)
    }

    /// Whether the broker serves the API at some version.
    pub fn serves(&self, api: ApiKey) -> bool {
        self.versions.contains_key(&api.code())
    }

    /// Sends the request at the newest common version and awaits the answer.
    ///
    /// # Errors
    /// All of [`Error`] but a broker's code inside the answer, which is the caller's to read.
    pub async fn send<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        self.submit(request).await?.await
    }

    /// As [`Connection::send`], with another time limit, for requests that the broker may park.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn send_within<R: Request>(
        &self,
        request: &R,
        timeout_ms: u64,
    ) -> Result<R::Response, Error> {
        self.submit_within(request, timeout_ms).await?.await
    }

    /// As [`Connection::send`], at a version of the caller's choice.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn send_at<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, Error> {
        let reply: Reply<R> = Reply {
            frame: self.submit_raw(request, version, None).await?,
            version,
            request: PhantomData,
        };
        reply.await
    }

    /// Queues the request, in order of the calls, and gives its answer to come. Waits only while too many are in
    /// flight.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn submit<R: Request>(&self, request: &R) -> Result<Reply<R>, Error> {
        self.submit_within(request, self.shared.options.request_timeout_ms)
            .await
    }

    /// As [`Connection::submit`], with another time limit.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn submit_within<R: Request>(
        &self,
        request: &R,
        timeout_ms: u64,
    ) -> Result<Reply<R>, Error> {
        let version = self.version::<R>()?;
        Ok(Reply {
            frame: self.submit_raw(request, version, Some(timeout_ms)).await?,
            version,
            request: PhantomData,
        })
    }

    /// Queues a request that has no answer, such as a Produce with acks 0.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn send_without_answer<R: Request>(&self, request: &R) -> Result<(), Error> {
        let version = self.version::<R>()?;
        let permit = self.requests.reserve().await.map_err(|_| self.reason())?;
        self.check_alive()?;
        permit.send(self.encode(request, version)?.1);
        self.shared.options.sent.count(R::KEY);
        Ok(())
    }

    async fn submit_raw<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout_ms: Option<u64>,
    ) -> Result<oneshot::Receiver<Result<Bytes, Error>>, Error> {
        let permit = loop {
            let permit = self.requests.reserve().await.map_err(|_| self.reason())?;
            self.check_alive()?;
            if self.in_flight() < self.shared.options.in_flight_max {
                break permit;
            }
            drop(permit);
            self.shared.room.notified().await;
        };
        let (correlation_id, frame) = self.encode(request, version)?;
        let (reply, answer) = oneshot::channel();
        let timeout_ms = timeout_ms.unwrap_or(self.shared.options.request_timeout_ms);
        self.shared
            .expect(R::KEY, correlation_id, timeout_ms, reply);
        permit.send(frame);
        self.shared.options.sent.count(R::KEY);
        Ok(answer)
    }

    fn encode<R: Request>(&self, request: &R, version: i16) -> Result<(i32, Vec<Bytes>), Error> {
        let correlation_id = self.shared.next_correlation_id.get();
        let client_id = Some(self.shared.options.client_id.as_str());
        let chunks = frame::encode_request(request, version, correlation_id, client_id)?;
        let parts = chunks
            .into_iter()
            .map(|chunk| match chunk {
                Chunk::Bytes(bytes) => Ok(bytes),
                Chunk::External(_) => Err(Error::Invalid("a request's records must be bytes")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.shared
            .next_correlation_id
            .set(correlation_id.wrapping_add(1) & i32::MAX);
        Ok((correlation_id, parts))
    }

    /// Requests that wait for their answer.
    pub fn in_flight(&self) -> usize {
        self.shared.pending.borrow().len()
    }

    /// Whether the connection still works, as far as is known.
    pub fn is_alive(&self) -> bool {
        self.shared.ended.borrow().is_none()
    }

    fn check_alive(&self) -> Result<(), Error> {
        match &*self.shared.ended.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn reason(&self) -> Error {
        self.check_alive().err().unwrap_or(Error::Closed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.end(Error::Closed);
    }
}

impl Shared {
    /// Notes that an answer is awaited.
    fn expect(
        &self,
        api: ApiKey,
        correlation_id: i32,
        timeout_ms: u64,
        reply: oneshot::Sender<Result<Bytes, Error>>,
    ) {
        let millis = i64::try_from(timeout_ms).unwrap_or(i64::MAX);
        let deadline = self.options.clock.mono().plus_millis(millis);
        if deadline < self.first_deadline() {
            self.deadline_moved.notify_one();
        }
        self.pending.borrow_mut().push_back(Pending {
            api,
            correlation_id,
            deadline,
            timeout_ms,
            reply,
        });
    }

    fn first_deadline(&self) -> Mono {
        let pending = self.pending.borrow();
        let deadlines = pending.iter().map(|pending| pending.deadline);
        deadlines.min().unwrap_or(Mono::NEVER)
    }

    /// Hands an answer to whoever waits for it.
    fn deliver(&self, frame: Bytes) -> Result<(), Error> {
        let correlation_id = (&frame[..])
            .try_get_i32()
            .map_err(|_| Error::Incomplete("a correlation id"))?;
        let Some(pending) = self.pending.borrow_mut().pop_front() else {
            return Err(Error::Disconnected(
                "an answer came that nobody asked for".to_owned(),
            ));
        };
        if pending.correlation_id != correlation_id {
            let text = "answers came out of order".to_owned();
            // Whoever waits hears the reason with the others.
            self.pending.borrow_mut().push_front(pending);
            return Err(Error::Disconnected(text));
        }
        self.room.notify_one();
        self.options.sent.count_answer(pending.api);
        // Whoever dropped its reply does not want it.
        let _ = pending.reply.send(Ok(frame));
        Ok(())
    }

    /// Fails all requests in flight and all later ones.
    fn end(&self, error: Error) {
        if self.ended.borrow().is_some() {
            return;
        }
        *self.ended.borrow_mut() = Some(error.clone());
        // The peer sees the end at once, even while somebody holds the stream.
        let _ = self.stream.shutdown_write();
        let pending = std::mem::take(&mut *self.pending.borrow_mut());
        for request in pending {
            // Whoever dropped its reply does not want to know.
            let _ = request.reply.send(Err(error.clone()));
        }
        self.room.notify_waiters();
        self.room.notify_one();
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, Error> {
    let failed = |error: std::io::Error| Error::Connect {
        address: format!("{host}:{port}"),
        reason: error.to_string(),
    };
    let mut last = std::io::Error::other("the name has no address");
    for address in lookup_host(host, port).await.map_err(failed)? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(failed)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// The newest version of the request that is not still being worked on.
fn newest<R: Request>() -> i16 {
    let newest = *R::VERSIONS.end();
    if R::KEY.is_latest_unstable() {
        newest - 1
    } else {
        newest
    }
}

/// The answer to ApiVersions, in version 0 if it says that it does not know the version asked.
fn decode_api_versions(frame: Bytes, version: i16) -> Result<ApiVersionsResponse, Error> {
    let mut body = Decoder::new(frame);
    body.int32()?;
    let mut ahead = body.clone();
    let is_refused = ahead.int16()? == ErrorCode::UnsupportedVersion.code();
    let version = if is_refused { 0 } else { version };
    Ok(ApiVersionsResponse::decode(&mut body, version)?)
}

/// Writes queued requests until the connection is dropped or breaks.
async fn write(shared: Rc<Shared>, mut queue: mpsc::Receiver<Vec<Bytes>>) {
    while let Some(mut parts) = queue.recv().await {
        for _ in 1..WRITE_REQUESTS_MAX {
            match queue.try_recv() {
                Ok(more) => parts.extend(more),
                Err(_) => break,
            }
        }
        if let Err(error) = shared.stream.write_all(&parts).await {
            shared.end(Error::disconnected(&error));
            return;
        }
    }
}

/// Reads answers until the connection breaks.
async fn read(shared: Rc<Shared>) {
    let error = match read_frames(&shared).await {
        Ok(()) => Error::Disconnected("the broker closed the connection".to_owned()),
        Err(error) => error,
    };
    shared.end(error);
}

async fn read_frames(shared: &Shared) -> Result<(), Error> {
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = take_frame(&mut buffer, shared.options.frame_bytes_max)? {
            shared.deliver(frame)?;
        }
        buffer.reserve(READ_BYTES);
        let count = shared.stream.read(&mut buffer).await;
        if count.map_err(|error| Error::disconnected(&error))? == 0 {
            return Ok(());
        }
    }
}

/// The first frame of `buffer`, without its length, if it is whole.
fn take_frame(buffer: &mut BytesMut, limit_bytes: usize) -> Result<Option<Bytes>, Error> {
    let Ok(length_bytes) = (&buffer[..]).try_get_i32() else {
        return Ok(None);
    };
    let length = usize::try_from(length_bytes)
        .ok()
        .filter(|&length| length <= limit_bytes)
        .ok_or(Error::Frame {
            length_bytes,
            limit_bytes,
        })?;
    if buffer.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Breaks the connection when an answer is overdue: later answers could not come before it.
async fn watch(shared: Rc<Shared>) {
    loop {
        let deadline = shared.first_deadline();
        runtime::sync::select! {
            biased;
            () = shared.deadline_moved.notified() => {}
            () = sleep_until(&shared.options.clock, deadline) => {}
        }
        let now = shared.options.clock.mono();
        let overdue = shared
            .pending
            .borrow()
            .iter()
            .find(|pending| pending.deadline <= now)
            .map(|pending| pending.timeout_ms);
        if let Some(timeout_ms) = overdue {
            shared.end(Error::TimedOut(timeout_ms));
            return;
        }
    }
}
