//! A broker's process: the same broker that ships, started, run until it ends, started again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use broker::config::StaticConfig;
use broker::node::{NodeConfig, NodeError, NodeShared};
use broker::server::authorizer::{Authorizer, Quotas};
use runtime::Clock;
use runtime::disk::Disk;
use runtime::simulated::trace::{self, Value};
use types::Prng;

use super::{PORT, World, broker_address};
use crate::plan::BrokerPlan;

/// Where a broker's logs lie, unless its plan says otherwise.
const LOG_DIRECTORY: &str = "/data/a";

/// Where a broker's process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not run.
    Down,
    /// It recovers.
    Starting,
    /// It serves.
    Serving,
    /// It ended by itself: why, if that was no clean stop.
    Ended(Option<String>),
}

/// A broker as its surroundings know it.
pub struct BrokerState {
    /// Where its process stands.
    pub phase: RefCell<Phase>,
    /// The running process, for asking it to end.
    pub shared: RefCell<Option<Arc<NodeShared>>>,
    /// Processes so far.
    pub lives: Cell<u32>,
}

impl Default for BrokerState {
    fn default() -> BrokerState {
        BrokerState {
            phase: RefCell::new(Phase::Down),
            shared: RefCell::default(),
            lives: Cell::new(0),
        }
    }
}

impl BrokerState {
    /// Whether it serves.
    pub fn is_serving(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }
}

fn enter(index: usize, phase: Phase) {
    let world = World::current();
    let (name, detail) = match &phase {
        Phase::Down => ("down", ""),
        Phase::Starting => ("starting", ""),
        Phase::Serving => ("serving", ""),
        Phase::Ended(None) => ("ended", "clean"),
        Phase::Ended(Some(reason)) => ("ended", reason.as_str()),
    };
    trace::emit(
        "broker",
        &[("phase", Value::Text(name)), ("why", Value::Text(detail))],
    );
    *world.brokers[index].phase.borrow_mut() = phase;
    world.moved.notify_one();
}

/// The life of one process of the broker at `index` of the plan, from start to end.
pub(super) async fn live(index: usize) {
    let lives = &World::current().brokers[index].lives;
    let life = lives.get();
    lives.set(life + 1);
    enter(index, Phase::Starting);
    let ended = match start(index, life).await {
        Ok(node) => {
            *World::current().brokers[index].shared.borrow_mut() = Some(Arc::clone(&node.shared));
            enter(index, Phase::Serving);
            node.ended().await
        }
        Err(error) => Err(error),
    };
    World::current().brokers[index].shared.borrow_mut().take();
    enter(
        index,
        Phase::Ended(ended.err().map(|error| error.to_string())),
    );
}

async fn start(index: usize, life: u32) -> Result<broker::node::RunningNode, NodeError> {
    let world = World::current();
    let plan = &world.plan.brokers[index];
    let (disk, clock) = (Disk::new(), Clock::start());
    let config = config(index, plan);
    let seed = Prng::new(world.plan.seed, &format!("broker {} life {life}", plan.id)).next_u64();
    // The cluster's ids do not depend on how often its first start was cut short.
    let mut prng = Prng::new(world.plan.seed, &format!("format {}", plan.id));
    broker::node::format(&disk, &config, None, clock.now(), &mut prng).await?;
    broker::node::start(NodeConfig {
        config,
        disk,
        clock,
        seed,
        cores: plan.cores,
        open_files_max: plan.open_files_max,
        memory_bytes_max: plan.memory_bytes_max,
        authorizer: Authorizer::AllowAll,
        quotas: Quotas::Unlimited,
        observer: world.observers[index].clone(),
    })
    .await
}

/// The broker's configuration: the embedded default, at its address, with what its plan says.
///
/// # Panics
/// If the plan's options are no configuration: plans are checked before they are run.
fn config(index: usize, plan: &BrokerPlan) -> StaticConfig {
    parse_options(index, plan).unwrap_or_else(|reason| panic!("{reason}"))
}

/// Reads the options of a broker's plan.
///
/// # Errors
/// What is wrong with them.
pub(super) fn parse_options(index: usize, plan: &BrokerPlan) -> Result<StaticConfig, String> {
    let mut texts: BTreeMap<String, String> = StaticConfig::embedded(LOG_DIRECTORY);
    let address = broker_address(index);
    texts.insert("node.id".into(), plan.id.to_string());
    texts.insert("listeners".into(), format!("PLAINTEXT://{address}:{PORT}"));
    texts.extend(plan.options.clone());
    StaticConfig::parse(&texts)
        .map(|(config, _)| config)
        .map_err(|error| format!("brokers[{index}].options: {error}"))
}
