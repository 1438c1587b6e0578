//! One client connection: reads frames, starts their handlers in order, writes the answers in order.
//!
//! One task, hand-polled: all frames of one socket read are started, the shard of this core then writes what
//! they appended in one go, and the answers leave in one vectored write. Requests go on while earlier ones wait.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use runtime::disk::Completion;
use runtime::io::{AsyncReadExt, AsyncWrite};
use runtime::net::TcpStream;
use types::Mono;

use crate::core::Core;
use crate::server::budget::Charge;
use crate::server::context::Peer;
use crate::server::inbox::Inbox;
use crate::server::response::{Frame, NoReply, Piece};
use crate::server::router::{self, Handling};

/// The most that is read of a file range at a time, in bytes.
const FILE_READ_BYTES_MAX: usize = 128 << 10;
/// A connection that could be idle is not looked at more often than this, in milliseconds.
const IDLE_CHECK_MS_MIN: i64 = 100;
/// How soon a connection that waits for room in the memory budget looks again, in milliseconds.
const BUDGET_CHECK_MS: i64 = 10;
/// Pieces gathered in one vectored write.
const WRITE_SLICES_MAX: usize = 64;
/// A request up to this size is received even where the budget is used up, in bytes.
const SMALL_REQUEST_BYTES: usize = 16 << 10;

/// Why a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The client closed it.
    ByClient,
    /// The socket failed.
    Io(io::Error),
    /// The client broke the protocol, or asked for what is not served.
    Refused(String),
    /// Nothing was said for `connections.max.idle.ms`.
    Idle,
    /// The node stops.
    Stopping,
}

enum Slot {
    /// Under way, with the size of its frame in bytes.
    Handling(Handling, usize),
    Done(Frame),
    Silent,
}

/// One connection's state.
pub struct Connection {
    core: Rc<Core>,
    peer: Rc<Peer>,
    stream: TcpStream,
    inbox: Inbox,
    inbox_charge: Charge,
    in_flight: VecDeque<Slot>,
    in_flight_max: usize,
    output: VecDeque<Piece>,
    output_charge: Charge,
    file_read: Option<Completion<Bytes>>,
    requests_charge: Charge,
    muted_until: Option<Mono>,
    waits_for_budget: bool,
    /// Whether there is room in the budget for a large buffer.
    may_be_large: bool,
    last_activity: Mono,
    reading: bool,
    is_serving: bool,
}

impl Connection {
    /// A connection over `stream`.
    pub fn new(core: Rc<Core>, peer: Rc<Peer>, stream: TcpStream) -> Connection {
        let settings = &core.node.settings;
        Connection {
            inbox: Inbox::new(settings.request_bytes_max),
            inbox_charge: core.node.budget.charge(),
            in_flight: VecDeque::new(),
            in_flight_max: settings.requests_in_flight_max,
            output: VecDeque::new(),
            output_charge: core.node.budget.charge(),
            file_read: None,
            requests_charge: core.node.budget.charge(),
            muted_until: None,
            waits_for_budget: false,
            may_be_large: false,
            last_activity: core.now().mono,
            reading: true,
            is_serving: true,
            core,
            peer,
            stream,
        }
    }

    /// Serves the connection until it ends.
    pub async fn serve(mut self) -> Ended {
        loop {
            let core = Rc::clone(&self.core);
            let (deadline, is_serving) = (self.deadline(), self.is_serving);
            let known = (self.muted_until, self.waits_for_budget);
            let step = runtime::select! {
                biased;
                ended = poll_fn(|cx| self.poll_unless_sooner(cx, known)) => ended,
                () = core.serving_ended(), if is_serving => {
                    self.is_serving = false;
                    self.reading = false;
                    None
                }
                () = runtime::time::sleep_until(&core.clock, deadline) => None,
            };
            if let Some(ended) = step {
                return ended;
            }
            if !self.is_serving && self.is_quiet() {
                return Ended::Stopping;
            }
            if self.is_idle(core.now().mono) {
                return Ended::Idle;
            }
        }
    }

    /// Polls; ends with nothing if the connection has to be looked at sooner than was `known`.
    fn poll_unless_sooner(
        &mut self,
        cx: &mut Context<'_>,
        known: (Option<Mono>, bool),
    ) -> Poll<Option<Ended>> {
        let (muted_until, waits_for_budget) = known;
        match self.poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending
                if self.muted_until != muted_until
                    || (self.waits_for_budget && !waits_for_budget) =>
            {
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_quiet(&self) -> bool {
        self.in_flight.is_empty() && self.output.is_empty()
    }

    /// When to look again whether the connection is muted or idle. While requests are under way it is not idle, and is
    /// looked at again a little later.
    fn deadline(&self) -> Mono {
        let now = self.core.now().mono;
        if self.waits_for_budget && self.muted_until.is_none() {
            return now.plus_millis(BUDGET_CHECK_MS);
        }
        let soonest = now.plus_millis(IDLE_CHECK_MS_MIN);
        self.muted_until
            .unwrap_or_else(|| self.idle_at().max(soonest))
    }

    fn idle_at(&self) -> Mono {
        match self.core.node.settings.idle_ms_max {
            Some(idle_ms_max) => self.last_activity.plus_millis(idle_ms_max),
            None => Mono::NEVER,
        }
    }

    fn is_idle(&mut self, now: Mono) -> bool {
        if self.muted_until.is_some_and(|until| until <= now) {
            self.muted_until = None;
        }
        // A connection that waits for an answer, of a long poll for example, is not idle.
        self.in_flight.is_empty() && self.idle_at() <= now
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            match self.poll_once(cx) {
                Ok(true) => {}
                Ok(false) if !self.reading && self.is_quiet() => {
                    return Poll::Ready(Ended::ByClient);
                }
                Ok(false) => {
                    self.inbox.release_if_empty();
                    self.inbox_charge.set(self.inbox.capacity_bytes());
                    return Poll::Pending;
                }
                Err(ended) => return Poll::Ready(ended),
            }
        }
    }

    /// One round: read, start, write what was appended, collect answers, send. Says whether anything moved.
    fn poll_once(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut progressed = self.poll_read(cx)?;
        progressed |= self.start_frames(cx)?;
        self.core.drain_shard();
        progressed |= self.poll_handlers(cx)?;
        progressed |= self.poll_write(cx).map_err(Ended::Io)?;
        if progressed {
            self.last_activity = self.core.now().mono;
        }
        Ok(progressed)
    }

    fn may_read(&mut self) -> bool {
        self.waits_for_budget = false;
        if !self.reading || self.muted_until.is_some() || self.in_flight.len() >= self.in_flight_max
        {
            return false;
        }
        let budget = &self.core.node.budget;
        if self.inbox.len() < SMALL_REQUEST_BYTES {
            self.may_be_large = budget.has_room();
            return true;
        }
        self.may_be_large = budget.has_room() || budget.take_overdraft(self.peer.number);
        // Nobody tells when there is room again.
        self.waits_for_budget = !self.may_be_large;
        self.may_be_large
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        if !self.may_read() {
            return Ok(false);
        }
        let (buffer, read_bytes_max) = self.inbox.buffer_for_read(self.may_be_large);
        let mut limited = buffer.limit(read_bytes_max);
        let read = pin!(self.stream.read_buf(&mut limited)).poll(cx);
        match read {
            Poll::Ready(Ok(0)) => {
                self.reading = false;
                Ok(false)
            }
            Poll::Ready(Ok(_)) => {
                self.inbox_charge.set(self.inbox.capacity_bytes());
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(Ended::Io(error)),
            Poll::Pending => Ok(false),
        }
    }

    /// Starts every whole frame, each polled once, in order: what it appends is in order too.
    fn start_frames(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut started = false;
        while self.in_flight.len() < self.in_flight_max && self.muted_until.is_none() {
            let frame = self
                .inbox
                .next_frame()
                .map_err(|error| Ended::Refused(error.to_string()))?;
            let Some(frame) = frame else { break };
            self.core.node.budget.end_overdraft(self.peer.number);
            let frame_bytes = frame.len();
            let handling = router::start(&self.core, &self.peer, frame).map_err(Ended::Refused)?;
            let mut slot = Slot::Handling(handling, frame_bytes);
            if !poll_slot(&mut slot, cx)? {
                let held_bytes = self.requests_charge.bytes() + frame_bytes;
                self.requests_charge.set(held_bytes);
            }
            self.in_flight.push_back(slot);
            started = true;
        }
        if started {
            self.inbox_charge.set(self.inbox.capacity_bytes());
        }
        Ok(started)
    }

    fn poll_handlers(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut held_bytes = self.requests_charge.bytes();
        for slot in &mut self.in_flight {
            if let Slot::Handling(_, frame_bytes) = *slot
                && poll_slot(slot, cx)?
            {
                held_bytes -= frame_bytes;
            }
        }
        if held_bytes != self.requests_charge.bytes() {
            self.requests_charge.set(held_bytes);
        }
        let mut moved = false;
        while let Some(Slot::Done(_) | Slot::Silent) = self.in_flight.front() {
            moved = true;
            if let Some(Slot::Done(frame)) = self.in_flight.pop_front() {
                self.send(frame);
            }
        }
        Ok(moved)
    }

    fn send(&mut self, frame: Frame) {
        let now = self.core.now().mono;
        if let Some(timing) = frame.timing {
            self.core.node.metrics.requests.answered(timing, now);
        }
        if frame.throttle_time_ms > 0 {
            let until = now.plus_millis(i64::from(frame.throttle_time_ms));
            self.muted_until = self.muted_until.max(Some(until));
        }
        self.output.extend(frame.pieces);
        self.charge_output();
    }

    fn charge_output(&mut self) {
        let in_memory = self.output.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File(_) => 0,
        });
        self.output_charge.set(in_memory.sum());
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        loop {
            match self.output.front() {
                None => break,
                Some(Piece::Bytes(_)) => {
                    let Poll::Ready(written) = self.poll_write_bytes(cx) else {
                        break;
                    };
                    self.consume(written?);
                    wrote = true;
                }
                Some(Piece::File(_)) => {
                    // Nothing is read for a socket that takes nothing.
                    let Poll::Ready(read) = self.poll_read_file(cx) else {
                        break;
                    };
                    self.output.push_front(Piece::Bytes(read?));
                }
            }
        }
        if wrote {
            self.charge_output();
        }
        Ok(wrote)
    }

    fn poll_write_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.output) {
            let Piece::Bytes(bytes) = piece else { break };
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count])
    }

    fn consume(&mut self, mut written: usize) {
        while let Some(Piece::Bytes(bytes)) = self.output.front_mut() {
            if bytes.len() > written {
                bytes.advance(written);
                return;
            }
            written -= bytes.len();
            self.output.pop_front();
        }
        assert_eq!(written, 0, "no more is written than there was");
    }

    /// Reads the next part of the file range in front, and takes it off the range.
    fn poll_read_file(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let Some(Piece::File(range)) = self.output.front_mut() else {
            unreachable!("the caller saw a file range in front");
        };
        let completion = self
            .file_read
            .get_or_insert_with(|| range.read_front(FILE_READ_BYTES_MAX));
        let Poll::Ready(read) = Pin::new(completion).poll(cx) else {
            return Poll::Pending;
        };
        self.file_read = None;
        let read = read.and_then(|bytes| match bytes.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(bytes),
        });
        if let Ok(bytes) = &read
            && range.advance(bytes.len())
        {
            self.output.pop_front();
        }
        Poll::Ready(read)
    }
}

/// Polls a handler that is under way; says whether there is none any more.
fn poll_slot(slot: &mut Slot, cx: &mut Context<'_>) -> Result<bool, Ended> {
    let Slot::Handling(handling, _) = slot else {
        return Ok(true);
    };
    match handling.as_mut().poll(cx) {
        Poll::Pending => return Ok(false),
        Poll::Ready(Ok(frame)) => *slot = Slot::Done(frame),
        Poll::Ready(Err(NoReply::NotExpected)) => *slot = Slot::Silent,
        Poll::Ready(Err(NoReply::Close(reason))) => return Err(Ended::Refused(reason)),
    }
    Ok(true)
}

impl Drop for Connection {
    /// Who leaves in the middle of a request gives back what it may have taken beyond the budget.
    fn drop(&mut self) {
        self.core.node.budget.end_overdraft(self.peer.number);
    }
}
