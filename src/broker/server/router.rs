//! From a frame to its handler.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::rc::Rc;

use bytes::Bytes;
use protocol::wire::Decoder;
use protocol::{ApiKey, Request};
use types::Mono;

use crate::core::Core;
use crate::handlers;
use crate::metrics::Timing;
use crate::server::context::{Peer, RequestContext};
use crate::server::response::{Frame, NoReply, Outcome, encode_frame};

/// The share of the memory budget that decoding one request may take: arrays and strings are larger in memory than on
/// the wire.
const DECODE_SHARE: usize = 8;

/// A request that is being handled.
pub type Handling = Pin<Box<dyn Future<Output = Result<Frame, NoReply>>>>;

/// An API that is served: its versions and its handler.
pub struct Route {
    /// Which API.
    pub key: ApiKey,
    /// Versions that are handled.
    pub versions: RangeInclusive<i16>,
    /// Versions that ApiVersions tells, if they differ (Produce says 0 to 13, KAFKA-18659).
    pub advertised: RangeInclusive<i16>,
    pub(crate) start: fn(RequestContext, Decoder, i32) -> Handling,
}

/// The route of one API: `route!(Produce, produce)`.
macro_rules! route {
    ($key:ident, $module:ident) => {
        Route {
            key: ApiKey::$key,
            versions: handlers::$module::VERSIONS,
            advertised: handlers::$module::VERSIONS,
            start: |context, decoder, correlation_id| {
                Box::pin(handle(
                    context,
                    decoder,
                    correlation_id,
                    handlers::$module::handle,
                ))
            },
        }
    };
}
pub(crate) use route;

/// Decodes, handles, encodes.
pub(crate) async fn handle<R, F>(
    context: RequestContext,
    mut decoder: Decoder,
    correlation_id: i32,
    handler: impl FnOnce(Rc<RequestContext>, R) -> F,
) -> Result<Frame, NoReply>
where
    R: Request,
    F: Future<Output = Outcome<R::Response>>,
{
    let version = context.version;
    let close = |reason: String| NoReply::Close(reason);
    let request = R::decode(&mut decoder, version)
        .map_err(|error| close(format!("{:?} v{version}: {error}", R::KEY)))?;
    // What follows the request is ignored, as Kafka does: librdkafka sends some at Metadata 13.
    let throttle = Rc::clone(&context.throttle_time_ms);
    let (core, started) = (Rc::clone(&context.core), context.now.mono);
    let (outcome, waited) = watch(&core, handler(Rc::new(context), request)).await;
    let answered = core.now().mono;
    let timing = Timing {
        key: R::KEY,
        started,
        waited: waited.unwrap_or(answered),
        answered,
    };
    let reply = match outcome {
        Ok(reply) => reply,
        // Who is not answered is muted all the same.
        Err(NoReply::NotExpected) if throttle.get() > 0 => {
            return Ok(Frame {
                throttle_time_ms: throttle.get(),
                timing: Some(timing),
                ..Default::default()
            });
        }
        Err(no_reply) => {
            core.node.metrics.requests.answered(timing, answered);
            return Err(no_reply);
        }
    };
    let mut frame = encode_frame(R::KEY, version, correlation_id, reply)
        .map_err(|error| close(format!("{:?} v{version}: cannot answer: {error}", R::KEY)))?;
    frame.throttle_time_ms = throttle.get();
    frame.timing = Some(timing);
    Ok(frame)
}

/// Waits for a handler; gives besides what it gives when it waited for the first time, if it did.
async fn watch<T>(core: &Core, handling: impl Future<Output = T>) -> (T, Option<Mono>) {
    let mut handling = pin!(handling);
    let mut waited = None;
    let outcome = poll_fn(|cx| {
        let polled = handling.as_mut().poll(cx);
        if polled.is_pending() && waited.is_none() {
            waited = Some(core.now().mono);
        }
        polled
    });
    (outcome.await, waited)
}

/// Starts handling one frame.
///
/// # Errors
/// If the header cannot be read, or asks for an API or a version that is not served: the connection is closed,
/// except for ApiVersions, which answers an unknown version in version 0 with the list that is served.
pub fn start(core: &Rc<Core>, peer: &Rc<Peer>, frame: Bytes) -> Result<Handling, String> {
    let mut decoder = Decoder::new(frame);
    decoder.limit_memory(core.node.budget.limit_bytes() / DECODE_SHARE);
    let header = protocol::frame::RequestHeader::decode(&mut decoder)
        .map_err(|error| format!("request header: {error}"))?;
    let key = ApiKey::from_code(header.api_key)
        .ok_or_else(|| format!("unknown API key {}", header.api_key))?;
    let route = core
        .node
        .routes
        .get(key)
        .ok_or_else(|| format!("{key:?} is not served"))?;
    let version = header.api_version;
    if !route.versions.contains(&version) {
        if key == ApiKey::ApiVersions {
            return Ok(Box::pin(handlers::api_versions::refuse_version(
                Rc::clone(core),
                header.correlation_id,
            )));
        }
        let served = &route.versions;
        return Err(format!(
            "{key:?} version {version} is not served, {served:?} are"
        ));
    }
    core.node.metrics.requests.count(key, version);
    let context = RequestContext {
        core: Rc::clone(core),
        peer: Rc::clone(peer),
        client_id: header.client_id.unwrap_or_default(),
        version,
        image: core.node.image(),
        now: core.now(),
        began: core.node.observer().map_or(0, |observer| observer.moment()),
        throttle_time_ms: Rc::new(Cell::new(0)),
    };
    Ok((route.start)(context, decoder, header.correlation_id))
}

/// Every API that is served.
pub struct Routes {
    routes: Vec<Route>,
    by_code: Vec<Option<usize>>,
}

impl Routes {
    /// The table over `routes`.
    ///
    /// # Panics
    /// If two routes serve the same API.
    pub fn new(routes: Vec<Route>) -> Routes {
        let codes = routes
            .iter()
            .map(|route| route.key.code() as usize + 1)
            .max()
            .unwrap_or(0);
        let mut by_code = vec![None; codes];
        for (index, route) in routes.iter().enumerate() {
            let place: &mut Option<usize> = &mut by_code[route.key.code() as usize];
            assert!(place.is_none(), "{:?} has two routes", route.key);
            *place = Some(index);
        }
        Routes { routes, by_code }
    }

    /// The route of `key`, if it is served.
    pub fn get(&self, key: ApiKey) -> Option<&Route> {
        let index = (*self.by_code.get(key.code() as usize)?)?;
        Some(&self.routes[index])
    }

    /// Every route, in order of the API key.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.by_code
            .iter()
            .flatten()
            .map(|&index| &self.routes[index])
    }
}
