//! The simulated world of a run: its nodes, what they share, and who breaks them.
//!
//! Nodes are numbered as madsim does: 0 is the supervisor, which runs the faults; then come the brokers, the clients in
//! the plan's order, and the judge, a client that no fault touches.

mod broker_node;
mod disks;
pub mod logs;
mod nemesis;
mod network;
mod nodes;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use broker::observer::Observer;
use runtime::sync::Notify;

use crate::checkers;
use crate::plan::Plan;
use crate::trace::TraceSink;
use crate::verdict::Report;
use crate::workload::Context;

pub use broker_node::{BrokerState, Phase};
pub use nemesis::Nemesis;
pub use nodes::{Nodes, build};

/// The port that every broker serves at.
const PORT: u16 = 9092;

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// What the nodes of a run share. Only the simulator's own parts look at it, never a broker.
pub struct World {
    /// What is run.
    pub plan: Plan,
    /// Where the trace goes.
    pub sink: Rc<TraceSink>,
    /// What the clients share.
    pub clients: Rc<Context>,
    /// The brokers, in the plan's order.
    pub brokers: Vec<BrokerState>,
    /// Who is shown the brokers' steps, in the plan's order.
    pub observers: Vec<Option<Arc<dyn Observer>>>,
    /// What the simulator itself found wrong.
    pub reports: RefCell<Vec<Report>>,
    /// Told when the life of a broker or a client changed.
    pub moved: Notify,
    /// Told when the workload begins.
    pub workload: Notify,
    /// When brokers lost power, in simulated nanoseconds, ascending.
    pub power_losses: RefCell<Vec<u64>>,
    /// Whether the judge has read everything at the end.
    pub has_final_reads: Cell<bool>,
    /// How much the checkers that ask the cluster looked at, by name.
    pub work: RefCell<BTreeMap<String, u64>>,
    /// Clients that have done all they had to do.
    pub clients_done: Cell<usize>,
}

impl World {
    /// The world of this thread.
    ///
    /// # Panics
    /// Outside a run.
    pub fn current() -> Rc<World> {
        WORLD.with_borrow(|world| Rc::clone(world.as_ref().expect("a run has a world")))
    }

    /// Makes `world` the one of this thread, or ends it.
    pub fn set_current(world: Option<Rc<World>>) {
        WORLD.set(world);
    }

    /// Completes when the workload has begun.
    pub async fn workload_began(&self) {
        let begun = self.workload.notified();
        if self.clients.began_nanos.get() == 0 {
            begun.await;
        }
    }

    /// A checker looked at so many things.
    pub fn looked(&self, checker: &str, count: u64) {
        *self
            .work
            .borrow_mut()
            .entry(checker.to_owned())
            .or_default() += count;
    }

    /// Takes in what a checker says that looks at the cluster as it is now.
    pub fn found(&self, found: checkers::Report) {
        for (checker, count) in &found.work {
            self.looked(checker.name(), *count);
        }
        for finding in found.findings {
            self.report(finding.checker.name(), &finding.object, finding.message);
        }
    }

    /// Tells a finding of the simulator itself.
    pub fn report(&self, checker: &str, object: &str, message: String) {
        self.report_at(
            runtime::simulated::world::now_nanos() / 1_000,
            checker,
            object,
            message,
        );
    }

    /// Tells what was seen wrong at a time, in simulated microseconds.
    pub fn report_at(&self, at_us: u64, checker: &str, object: &str, message: String) {
        self.reports.borrow_mut().push(Report {
            checker: checker.to_owned(),
            object: object.to_owned(),
            message,
            at_us,
        });
    }
}

/// The address of the broker with this place in the plan.
pub fn broker_address(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + index as u8))
}

/// The address of the client with this place in the plan.
pub fn client_address(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1 + index as u8))
}

/// The address of the judge.
pub fn judge_address() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 2, 1))
}

/// Where clients find the cluster.
pub fn bootstrap(plan: &Plan) -> Vec<String> {
    (0..plan.brokers.len())
        .map(|index| format!("{}:{PORT}", broker_address(index)))
        .collect()
}
