//! One client: its process, its connections, and how its operations are told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use client::metadata::TopicMetadata;
use client::{Client, ClientConfig, Consumer, Error, Producer};
use runtime::Clock;
use runtime::simulated::nodes;
use runtime::simulated::trace::{self, Value as Field};
use runtime::simulated::world::now_nanos;
use runtime::time::sleep;
use types::{Prng, Uuid};

use super::consume::Watch;
use super::context::Context;
use crate::history::{Body, Process, Send, Stage};
use crate::plan::ClientPlan;

/// The node that outlives all others.
const SUPERVISOR: u64 = 0;

/// One client of a run.
pub(super) struct Actor {
    pub(super) context: Rc<Context>,
    pub(super) plan: ClientPlan,
    pub(super) process: Rc<Cell<Process>>,
    pub(super) clock: Clock,
    pub(super) prng: Prng,
    pub(super) client: Client,
    pub(super) producer: Option<Producer>,
    pub(super) consumer: Option<(Consumer, Rc<Watch>)>,
    /// What the last operation that did not succeed ended with.
    pub(super) last_error: RefCell<Option<Error>>,
}

impl Actor {
    /// A client that has done nothing yet.
    pub(super) fn new(context: &Rc<Context>, plan: ClientPlan) -> Actor {
        let clock = Clock::start();
        let process = context.history.borrow_mut().process();
        let (client, prng) = connect(context, &plan, &clock);
        Actor {
            context: Rc::clone(context),
            plan,
            process: Rc::new(Cell::new(process)),
            clock,
            prng,
            client,
            producer: None,
            consumer: None,
            last_error: RefCell::default(),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.plan.id
    }

    /// Tells that an operation begins.
    pub(super) fn invoke(&self, body: Body) {
        let name = body.name();
        let mut history = self.context.history.borrow_mut();
        history.invoke(now_nanos(), self.process.get(), body);
        drop(history);
        self.tell(name, "invoke");
    }

    /// Tells how the operation ended; if nobody knows, the client goes on as another process.
    pub(super) fn complete(&self, stage: Stage, body: Body) {
        let name = body.name();
        let is_end = stage == Stage::Info || body == Body::Crash;
        let mut history = self.context.history.borrow_mut();
        history.complete(now_nanos(), self.process.get(), stage, body);
        drop(history);
        self.ended(name, stage, is_end);
    }

    /// As [`Actor::complete`], of a send.
    pub(super) fn complete_send(&self, sends: Vec<Send>) -> Stage {
        let mut history = self.context.history.borrow_mut();
        let (_, stage) = history.complete_send(now_nanos(), self.process.get(), sends);
        drop(history);
        self.ended("send", stage, stage == Stage::Info);
        stage
    }

    fn ended(&self, name: &'static str, stage: Stage, is_end: bool) {
        self.context.count(name, stage);
        self.tell(
            name,
            match stage {
                Stage::Invoke => "invoke",
                Stage::Ok => "ok",
                Stage::Fail => "fail",
                Stage::Info => "info",
            },
        );
        if is_end {
            let next = self.context.history.borrow_mut().process();
            self.process.set(next);
        }
    }

    fn tell(&self, name: &str, stage: &str) {
        trace::emit(
            "client",
            &[
                ("operation", Field::Text(name)),
                ("process", Field::Int(i64::from(self.process.get()))),
                ("stage", Field::Text(stage)),
            ],
        );
    }

    pub(super) fn skip(&self, operation: &str, reason: &str) {
        self.context.skip(operation, reason);
    }

    /// The topic that has this name as far as the client knows, asked for if it knows none.
    pub(super) async fn resolve(&self, name: &str) -> Option<TopicMetadata> {
        let known = self.client.metadata().topics.get(name).cloned();
        match known {
            Some(topic) => {
                self.context.learn(name, &topic);
                Some(topic)
            }
            None => self.ask_for(name).await,
        }
    }

    /// The topic that has this name now.
    pub(super) async fn ask_for(&self, name: &str) -> Option<TopicMetadata> {
        self.client.refresh_metadata(Some(&[name])).await.ok()?;
        let topic = self.client.metadata().topics.get(name).cloned()?;
        self.context.learn(name, &topic);
        Some(topic)
    }

    /// Whether what was just said by name was about this topic: it still has the name, and ids never come back.
    pub(super) async fn was_meant(&self, name: &str, id: Uuid) -> bool {
        if !self.context.is_passing(name) {
            return true;
        }
        self.ask_for(name).await.is_some_and(|topic| topic.id == id)
    }

    /// Ends the process without a word: no record is waited for, no group left, connections just end.
    pub(super) fn crash(&mut self) {
        self.invoke(Body::Crash);
        self.producer = None;
        self.consumer = None;
        let (client, prng) = connect(&self.context, &self.plan, &self.clock);
        self.client.disconnect();
        self.client = client;
        self.prng = prng;
        self.complete(Stage::Info, Body::Crash);
    }

    /// Stands still: no heartbeat leaves, no answer is read.
    pub(super) async fn stall(&mut self, millis: u64) {
        self.tell("stall", "invoke");
        let node = madsim::plugin::node();
        let duration = Duration::from_millis(millis);
        drop(nodes::spawn_on(SUPERVISOR, async move {
            sleep(duration).await;
            nodes::resume(node);
        }));
        nodes::pause(node);
        sleep(duration).await;
        self.skip("stall", "done");
        self.tell("stall", "ok");
    }
}

fn connect(context: &Context, plan: &ClientPlan, clock: &Clock) -> (Client, Prng) {
    let life = context.next_life(plan.id);
    let purpose = format!("client {} life {life}", plan.id);
    let mut prng = Prng::new(context.plan.seed, &purpose);
    let request_timeout_ms = plan.setting("request_timeout_ms", 3_000).max(1) as u64;
    let bootstrap: Vec<&str> = context.bootstrap.iter().map(String::as_str).collect();
    let config = ClientConfig {
        client_id: format!("client-{}", plan.id),
        request_timeout_ms,
        connect_timeout_ms: request_timeout_ms.min(3_000),
        api_timeout_ms: request_timeout_ms * 3,
        metadata_max_age_ms: 5_000,
        frame_bytes_max: 64 << 20,
        ..ClientConfig::new(&bootstrap, clock.clone(), prng.next_u64())
    };
    (Client::new(config), prng)
}
