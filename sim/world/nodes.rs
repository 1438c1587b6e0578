//! The nodes of a run, by name.

use std::collections::BTreeMap;
use std::rc::Rc;

use madsim::runtime::Handle;
use madsim::task::NodeId;
use runtime::simulated::leaks;
use runtime::simulated::net::Fabric;
use runtime::simulated::nodes;
use runtime::simulated::world::number_of;

use super::{World, broker_address, broker_node, client_address, judge_address};
use crate::workload;

/// The nodes of a run.
pub struct Nodes {
    ids: BTreeMap<String, NodeId>,
    judge_id: NodeId,
    /// The judge's number, whose tasks the simulator starts itself.
    pub judge: u64,
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

    /// The number of the broker with this `node.id`.
    pub fn broker(&self, id: i32) -> u64 {
        self.number(&format!("broker-{id}"))
    }

    /// The clients and the judge.
    pub fn clients(&self) -> Vec<NodeId> {
        let named = self.ids.iter();
        let clients = named.filter(|(name, _)| name.starts_with("client-"));
        clients.map(|(_, &id)| id).chain([self.judge_id]).collect()
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
}

/// Makes all nodes. Clients wait for the workload to begin.
pub fn build(runtime: &Handle, world: &Rc<World>) -> Nodes {
    leaks::in_madsim(|| make(runtime, world))
}

fn make(runtime: &Handle, world: &Rc<World>) -> Nodes {
    let mut ids = BTreeMap::new();
    let fabric = Fabric::current();
    for (index, broker) in world.plan.brokers.iter().enumerate() {
        let name = format!("broker-{}", broker.id);
        let node = runtime
            .create_node()
            .name(&name)
            .ip(broker_address(index))
            .init(move || nodes::live(broker_node::live(index)))
            .build();
        world.sink.name(number_of(node.id()), &name);
        fabric.set_ip(number_of(node.id()), broker_address(index));
        ids.insert(name, node.id());
    }
    for (index, client) in world.plan.clients.iter().enumerate() {
        let name = format!("client-{}", client.id);
        let node = runtime
            .create_node()
            .name(&name)
            .ip(client_address(index))
            .init(move || nodes::live(client_life(index)))
            .build();
        world.sink.name(number_of(node.id()), &name);
        fabric.set_ip(number_of(node.id()), client_address(index));
        ids.insert(name, node.id());
    }
    let judge = runtime
        .create_node()
        .name("judge")
        .ip(judge_address())
        .init(|| nodes::live(std::future::pending()))
        .build();
    world.sink.name(number_of(judge.id()), "judge");
    fabric.set_ip(number_of(judge.id()), judge_address());
    Nodes {
        ids,
        judge_id: judge.id(),
        judge: number_of(judge.id()),
    }
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
