//! One client connection: reads frames, starts their handlers in order, writes the answers in order.
//!
//! One task, hand-polled: all frames of one socket read are started, the shard of this core then writes what
//! they appended in one go, and the answers leave in one vectored write. Requests go on while earlier ones wait.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use runtime::io::AsyncReadExt;
use runtime::net::TcpStream;
use types::Mono;

use crate::core::Core;
use crate::server::budget::Charge;
use crate::server::context::Peer;
use crate::server::inbox::Inbox;
use crate::server::outbox::Outbox;
use crate::server::response::{Frame, NoReply};
use crate::server::router::{self, Handling};

/// A connection that could be idle is not looked at more often than this, in milliseconds.
const IDLE_CHECK_MS_MIN: i64 = 100;
/// How soon a connection that waits for room in the memory budget looks again, in milliseconds.
const BUDGET_CHECK_MS: i64 = 10;
/// A request up to this size is received even where the budget is used up, in bytes.
const SMALL_REQUEST_BYTES: usize = 16 << 10;
/// Of a client that broke the protocol, so much is read and thrown away before its connection is closed, in bytes.
const DISCARDED_BYTES_MAX: usize = 256 << 10;

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
    /// The client broke the protocol here: answers to what came before still go out, nothing behind it is started.
    Bad(String),
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
    outbox: Outbox,
    outbox_charge: Charge,
    requests_charge: Charge,
    muted_until: Option<Mono>,
    waits_for_budget: bool,
    /// Whether there is room in the budget for a large buffer.
    may_be_large: bool,
    last_activity: Mono,
    reading: bool,
    /// Whether the client broke the protocol: nothing more is read or started.
    is_broken: bool,
    /// Why it is closed once every answer has gone out.
    refused: Option<String>,
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
            outbox: Outbox::default(),
            outbox_charge: core.node.budget.charge(),
            requests_charge: core.node.budget.charge(),
            muted_until: None,
            waits_for_budget: false,
            may_be_large: false,
            last_activity: core.now().mono,
            reading: true,
            is_broken: false,
            refused: None,
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
        self.in_flight.is_empty() && self.outbox.is_empty()
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
                    return Poll::Ready(match self.refused.take() {
                        Some(reason) => self.refuse(reason),
                        None => Ended::ByClient,
                    });
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
        progressed |= self.start_frames(cx);
        self.core.drain_shard();
        progressed |= self.poll_handlers(cx);
        progressed |= self.poll_send(cx)?;
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
        // There is no buffer for a client that says nothing.
        if self.inbox.is_empty()
            && let Poll::Pending = pin!(self.stream.readable()).poll(cx).map_err(Ended::Io)?
        {
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
    fn start_frames(&mut self, cx: &mut Context<'_>) -> bool {
        let mut started = false;
        while self.may_start() {
            let slot = match self.inbox.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => self.start_frame(cx, frame),
                Err(error) => Slot::Bad(error.to_string()),
            };
            self.is_broken |= matches!(slot, Slot::Bad(_));
            self.in_flight.push_back(slot);
            started = true;
        }
        if started {
            self.inbox_charge.set(self.inbox.capacity_bytes());
        }
        started
    }

    fn may_start(&self) -> bool {
        !self.is_broken && self.in_flight.len() < self.in_flight_max && self.muted_until.is_none()
    }

    fn start_frame(&mut self, cx: &mut Context<'_>, frame: Bytes) -> Slot {
        self.core.node.budget.end_overdraft(self.peer.number);
        let frame_bytes = frame.len();
        let mut slot = match router::start(&self.core, &self.peer, frame) {
            Ok(handling) => Slot::Handling(handling, frame_bytes),
            Err(reason) => Slot::Bad(reason),
        };
        if !poll_slot(&mut slot, cx) {
            let held_bytes = self.requests_charge.bytes() + frame_bytes;
            self.requests_charge.set(held_bytes);
        }
        slot
    }

    fn poll_handlers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut held_bytes = self.requests_charge.bytes();
        for slot in &mut self.in_flight {
            if let Slot::Handling(_, frame_bytes) = *slot
                && poll_slot(slot, cx)
            {
                held_bytes -= frame_bytes;
                self.is_broken |= matches!(slot, Slot::Bad(_));
            }
        }
        self.reading &= !self.is_broken;
        if held_bytes != self.requests_charge.bytes() {
            self.requests_charge.set(held_bytes);
        }
        let mut moved = false;
        while !matches!(self.in_flight.front(), None | Some(Slot::Handling(..))) {
            moved = true;
            match self.in_flight.pop_front() {
                Some(Slot::Done(frame)) => self.send(frame),
                Some(Slot::Bad(reason)) => self.end_after_answers(reason),
                _ => {}
            }
        }
        moved
    }

    /// Gives up everything behind a bad request, which is next in the order.
    fn end_after_answers(&mut self, reason: String) {
        self.refused = Some(reason);
        self.in_flight.clear();
        self.requests_charge.set(0);
    }

    /// Ends the connection of a client that broke the protocol, after all answers have been handed to the system.
    fn refuse(&mut self, reason: String) -> Ended {
        // Bytes that nobody has read turn the close into a reset, which may overtake the answers.
        let mut discarded = BytesMut::with_capacity(DISCARDED_BYTES_MAX);
        let _ = self.stream.try_read(&mut discarded);
        Ended::Refused(reason)
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
        self.outbox.push(frame.pieces);
        self.outbox_charge.set(self.outbox.memory_bytes());
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let has_sent = self
            .outbox
            .poll_send(&mut self.stream, cx)
            .map_err(Ended::Io)?;
        if has_sent {
            self.outbox_charge.set(self.outbox.memory_bytes());
        }
        Ok(has_sent)
    }
}

/// Polls a handler that is under way; says whether there is none any more.
fn poll_slot(slot: &mut Slot, cx: &mut Context<'_>) -> bool {
    let Slot::Handling(handling, _) = slot else {
        return true;
    };
    *slot = match handling.as_mut().poll(cx) {
        Poll::Pending => return false,
        Poll::Ready(Ok(frame)) => Slot::Done(frame),
        Poll::Ready(Err(NoReply::NotExpected)) => Slot::Silent,
        Poll::Ready(Err(NoReply::Close(reason))) => Slot::Bad(reason),
    };
    true
}

impl Drop for Connection {
    /// Who leaves in the middle of a request gives back what it may have taken beyond the budget.
    fn drop(&mut self) {
        self.core.node.budget.end_overdraft(self.peer.number);
    }
}
