//! The nodes of a run, by name.

use std::collections::BTreeMap;
use std::rc::Rc;

use madsim::runtime::{Handle, NodeHandle};
use madsim::task::NodeId;
use runtime::simulated::world::number_of;

use super::{World, broker_address, broker_node, client_address, judge_address};
use crate::workload;

/// The nodes of a run.
pub struct Nodes {
    handle: Handle,
    ids: BTreeMap<String, NodeId>,
    /// The judge, whose tasks the simulator starts itself.
    pub judge: NodeHandle,
}

impl Nodes {
    /// The node with this name.
    ///
    /// # Panics
    /// If there is none: plans are checked before they are run.
    pub fn id(&self, name: &str) -> NodeId {
        *self
            .ids
            .get(name)
            .unwrap_or_else(|| panic!("no node is named {name}"))
    }

    /// The number of the node with this name.
    pub fn number(&self, name: &str) -> u64 {
        number_of(self.id(name))
    }

    /// The numbers of the nodes that a fault means: one, or all but the supervisor and the judge for `*`.
    pub fn matching(&self, name: &str) -> Vec<u64> {
        if name != "*" {
            return vec![self.number(name)];
        }
        self.ids.values().map(|&id| number_of(id)).collect()
    }

    /// madsim's own handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Makes the brokers and the judge; brokers start at once, clients with [`Nodes::start_clients`].
pub fn build(runtime: &Handle, world: &Rc<World>) -> Nodes {
    let mut ids = BTreeMap::new();
    for (index, broker) in world.plan.brokers.iter().enumerate() {
        let name = format!("broker-{}", broker.id);
        let node = runtime
            .create_node()
            .name(&name)
            .ip(broker_address(index))
            .init(move || on_core(move || broker_node::live(index)))
            .build();
        world.sink.name(number_of(node.id()), &name);
        ids.insert(name, node.id());
    }
    for (index, client) in world.plan.clients.iter().enumerate() {
        let name = format!("client-{}", client.id);
        let node = runtime
            .create_node()
            .name(&name)
            .ip(client_address(index))
            .init(move || on_core(move || client_life(index)))
            .build();
        world.sink.name(number_of(node.id()), &name);
        ids.insert(name, node.id());
    }
    let judge = runtime
        .create_node()
        .name("judge")
        .ip(judge_address())
        .build();
    world.sink.name(number_of(judge.id()), "judge");
    Nodes {
        handle: runtime.clone(),
        ids,
        judge,
    }
}

/// The life of a node with one core.
async fn on_core<F: Future<Output = ()> + 'static>(life: impl FnOnce() -> F + Send + 'static) {
    let cores = runtime::task::start_cores(vec![move |_| life()]);
    cores.expect("a simulated core always starts").join().await;
}

/// A client's node: waits until the workload begins, then does what its plan says.
async fn client_life(index: usize) {
    let world = World::current();
    let client = world.plan.clients[index].clone();
    while world.clients.began_nanos.get() == 0 {
        world.workload_began().await;
    }
    workload::live(Rc::clone(&world.clients), client).await;
    let world = World::current();
    world.clients_done.set(world.clients_done.get() + 1);
    world.moved.notify_one();
}
