//! The simulated clients.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use types::Uuid;

use crate::history::{Durability, Key, Recorder};
use crate::plan::{ClientPlan, Plan};

/// What all clients of a run share.
pub struct Context {
    /// The run.
    pub plan: Plan,
    /// What they saw.
    pub history: RefCell<Recorder>,
    /// True simulated time when the workload began; 0 before.
    pub began_nanos: Cell<u64>,
    /// Where they find the cluster.
    pub bootstrap: Vec<String>,
    /// What topics promise.
    pub classes: RefCell<BTreeMap<Key, Durability>>,
    /// Topics by id.
    pub names: RefCell<BTreeMap<Uuid, String>>,
}

/// Runs all steps of one client.
pub async fn live(_context: Rc<Context>, _client: ClientPlan) {}
