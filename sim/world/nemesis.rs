//! Who breaks things: carries out a plan's faults at their time, or when what they wait for has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use runtime::simulated::clocks::Clocks;
use runtime::simulated::disk::{DiskImage, Disks};
use runtime::simulated::nodes::{self, Condition};
use runtime::simulated::trace::{self, Value};
use runtime::simulated::world::now_nanos;
use runtime::sync::select;

use super::disks::{DiskFaults, survival_of};
use super::network::Network;
use super::{Nodes, Phase, World};
use crate::checkers::state::Death;
use crate::plan::{Event, Fault, Survival, When};
use crate::watch;

/// How long a broker that ended by itself stays down, in milliseconds.
const RESTART_MS: u64 = 1_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// Something to do at a time.
#[derive(Clone, Debug)]
enum Action {
    /// A fault begins.
    Begin(usize),
    /// It ends.
    End(usize),
    /// A stopped broker is started.
    Start(usize),
    /// A flapping link changes.
    Flap(usize, bool),
    /// A broker in a crash loop is killed, so many times more.
    KillAgain(usize, u32),
}

/// Why a broker is down, or stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Nobody holds it.
    Free,
    /// This fault does.
    By(usize),
    /// It ended by itself and is started soon.
    Restarting,
}

/// Who breaks things.
pub struct Nemesis {
    world: Rc<World>,
    nodes: Rc<Nodes>,
    network: Network,
    disks: DiskFaults,
    agenda: BTreeMap<(u64, u64), Action>,
    entries: u64,
    held: Vec<Held>,
    /// Brokers without power, and what their disks keep.
    dark: BTreeMap<usize, Survival>,
    /// Faults that last.
    active: BTreeSet<usize>,
    /// Faults whose second part has come.
    repeated: BTreeSet<usize>,
}

impl Nemesis {
    /// The one of a run. The links are as its plan says from now on.
    pub fn new(world: &Rc<World>, nodes: &Rc<Nodes>) -> Nemesis {
        let clocks = Clocks::current();
        for broker in &world.plan.brokers {
            let node = nodes.number(&format!("broker-{}", broker.id));
            clocks.set_offset_ms(node, broker.clock_offset_ms);
            clocks.set_drift_ppm(node, broker.clock_drift_ppm);
        }
        Nemesis {
            world: Rc::clone(world),
            nodes: Rc::clone(nodes),
            network: Network::new(&world.plan.link),
            disks: DiskFaults::new(&world.plan, nodes),
            agenda: BTreeMap::new(),
            entries: 0,
            held: vec![Held::Free; world.plan.brokers.len()],
            dark: BTreeMap::new(),
            active: BTreeSet::new(),
            repeated: BTreeSet::new(),
        }
    }

    /// Takes the plan's faults in: the workload begins now.
    pub fn begin(&mut self) {
        let began = now_nanos();
        for (index, planned) in self.world.plan.faults.iter().enumerate() {
            match &planned.when {
                When::AtMs(at_ms) => {
                    let at = began + at_ms * NANOS_PER_MS;
                    self.entries += 1;
                    self.agenda.insert((at, self.entries), Action::Begin(index));
                }
                When::Event(event) => self.world.sink.await_event(index, event.clone()),
            }
        }
    }

    /// Runs until the simulated time `end_nanos`, or until `is_over` says so after anything moved.
    pub async fn run_until(&mut self, end_nanos: u64, is_over: impl Fn(&World) -> bool) {
        let world = Rc::clone(&self.world);
        loop {
            self.restart_what_ended();
            for index in world.sink.take_happened() {
                self.happened(index);
            }
            self.act();
            let now = now_nanos();
            if now >= end_nanos || is_over(&world) {
                return;
            }
            let next = self
                .agenda
                .first_key_value()
                .map_or(end_nanos, |(key, _)| key.0);
            let wait = Duration::from_nanos(next.min(end_nanos).saturating_sub(now));
            select! {
                biased;
                () = world.sink.happening() => {}
                () = world.moved.notified() => {}
                () = madsim::time::sleep(wait) => {}
            }
        }
    }

    /// Ends every fault for good, starts what is down, and crashes the clients that still have something to do: what
    /// they were slow with (a group that they move, a topic that they delete) is not the judge's to wait for. A broker
    /// that has closed a log directory is started again, as its operator does who has seen to the disk: it does not
    /// open one again by itself.
    pub fn heal(&mut self) {
        self.world.sink.await_nothing();
        self.world.sink.take_happened();
        self.agenda.clear();
        self.active.clear();
        self.network.undo_all();
        self.disks.clear_all();
        self.crash_clients();
        let clocks = Clocks::current();
        for index in 0..self.held.len() {
            let node = self.number(index);
            clocks.set_drift_ppm(node, self.world.plan.brokers[index].clock_drift_ppm);
            nodes::set_poll_cost_us(node, 0);
            match std::mem::replace(&mut self.held[index], Held::Free) {
                Held::Free if self.has_closed_directory(index) => {
                    self.kill(index);
                    self.start(index);
                }
                Held::Free => {}
                Held::By(fault) if matches!(self.fault(fault), Fault::Pause { .. }) => {
                    nodes::resume(self.nodes.id(&self.name(index)));
                }
                Held::By(_) | Held::Restarting => self.start(index),
            }
        }
    }

    /// Whether the process that ends has met a sync that failed.
    fn has_failed_sync(&self, broker: usize) -> bool {
        let state = &self.world.brokers[broker];
        let is_told = |reason: &str| reason.contains("syncing");
        let ended = matches!(&*state.phase.borrow(), Phase::Ended(Some(reason)) if is_told(reason));
        let shared = state.shared.borrow();
        let mut directories = shared.iter().flat_map(|shared| &shared.directories);
        ended
            || directories.any(|directory| {
                directory
                    .failure()
                    .is_some_and(|failure| is_told(&failure.to_string()))
            })
    }

    fn has_closed_directory(&self, broker: usize) -> bool {
        let shared = self.world.brokers[broker].shared.borrow();
        let mut directories = shared.iter().flat_map(|shared| &shared.directories);
        directories.any(|directory| directory.failure().is_some())
    }

    fn crash_clients(&self) {
        for client in &self.world.plan.clients {
            let name = format!("client-{}", client.id);
            if nodes::condition(self.nodes.number(&name)) != Condition::Ended {
                nodes::kill(self.nodes.id(&name));
            }
        }
    }

    fn fault(&self, index: usize) -> Fault {
        self.world.plan.faults[index].fault.clone()
    }

    fn name(&self, broker: usize) -> String {
        format!("broker-{}", self.world.plan.brokers[broker].id)
    }

    fn number(&self, broker: usize) -> u64 {
        self.nodes.number(&self.name(broker))
    }

    fn plan_in(&mut self, after_ms: u64, action: Action) {
        self.entries += 1;
        let at = now_nanos() + after_ms * NANOS_PER_MS;
        self.agenda.insert((at, self.entries), action);
    }

    /// Does everything whose time has come.
    fn act(&mut self) {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > now_nanos() {
                return;
            }
            match entry.remove() {
                Action::Begin(index) => self.begin_fault(index),
                Action::End(index) => self.end_fault(index),
                Action::Start(broker) => self.start_again(broker),
                Action::Flap(index, is_cut) => self.flap(index, is_cut),
                Action::KillAgain(index, left) => self.kill_again(index, left),
            }
        }
    }

    /// An event that was waited for has happened; those beyond the faults are of power losses in recovery.
    fn happened(&mut self, index: usize) {
        let count = self.world.plan.faults.len();
        if index < count {
            return self.begin_fault(index);
        }
        let index = index - count;
        if let Fault::PowerLossInRecovery { node, survival, .. } = self.fault(index) {
            let broker = broker_of(&node);
            if self.held[broker] == Held::Free {
                self.tell("fault", index);
                self.hold(broker, index);
                self.power_off(broker, survival);
                self.plan_in(RESTART_MS, Action::End(index));
            }
        }
    }

    fn tell(&self, kind: &'static str, index: usize) {
        let name = self.world.plan.faults[index].fault.name();
        trace::emit(
            kind,
            &[
                ("name", Value::Text(name)),
                ("index", Value::Int(index as i64)),
            ],
        );
    }

    fn begin_fault(&mut self, index: usize) {
        let for_ms = self.world.plan.faults[index].for_ms;
        let fault = self.fault(index);
        let has_begun = match &fault {
            Fault::Kill { node }
            | Fault::CrashLoop { node, .. }
            | Fault::CleanStop { node }
            | Fault::PowerLoss { node, .. }
            | Fault::PowerLossInRecovery { node, .. }
            | Fault::Pause { node } => self.stop_broker(index, broker_of(node), &fault),
            Fault::ClockStep { node, by_ms } => {
                Clocks::current().step_wall_ms(self.nodes.number(node), *by_ms);
                true
            }
            Fault::ClockDrift { node, ppm } => {
                Clocks::current().set_drift_ppm(self.nodes.number(node), *ppm);
                true
            }
            Fault::SlowProcessor { node, poll_us } => {
                nodes::set_poll_cost_us(self.nodes.number(node), *poll_us);
                true
            }
            Fault::Cut { .. }
            | Fault::Flap { .. }
            | Fault::Delay { .. }
            | Fault::Narrow { .. }
            | Fault::Reset { .. }
            | Fault::SlowReader { .. } => self.disturb(index, &fault),
            _ => {
                // These tell themselves when they meet an operation.
                self.disks.begin(index, &fault, &self.nodes, &self.world);
                self.tell("fault-armed", index);
                self.plan_in(for_ms, Action::End(index));
                return;
            }
        };
        if has_begun {
            self.active.insert(index);
            self.tell("fault", index);
            self.plan_in(for_ms, Action::End(index));
        } else {
            self.tell("fault-skipped", index);
        }
    }

    fn hold(&mut self, broker: usize, fault: usize) {
        self.held[broker] = Held::By(fault);
    }

    /// Stops a broker in the fault's way; not if something else holds it.
    fn stop_broker(&mut self, index: usize, broker: usize, fault: &Fault) -> bool {
        if self.held[broker] != Held::Free {
            return false;
        }
        match fault {
            Fault::PowerLoss { survival, .. } | Fault::PowerLossInRecovery { survival, .. } => {
                self.power_off(broker, *survival);
            }
            Fault::Pause { .. } => {
                nodes::pause(self.nodes.id(&self.name(broker)));
            }
            Fault::CleanStop { .. } => {
                let shared = self.world.brokers[broker].shared.borrow().clone();
                let Some(shared) = shared else { return false };
                shared.stop();
            }
            Fault::CrashLoop { times, life_ms, .. } => {
                self.kill(broker);
                self.start(broker);
                self.plan_in(*life_ms, Action::KillAgain(index, *times));
            }
            _ => self.kill(broker),
        }
        self.hold(broker, index);
        true
    }

    fn kill_again(&mut self, index: usize, left: u32) {
        let Fault::CrashLoop { node, life_ms, .. } = self.fault(index) else {
            return;
        };
        let broker = broker_of(&node);
        if left == 0 || self.held[broker] != Held::By(index) {
            return;
        }
        self.kill(broker);
        if left > 1 {
            self.start(broker);
            self.plan_in(life_ms, Action::KillAgain(index, left - 1));
        }
    }

    fn kill(&mut self, broker: usize) {
        nodes::kill(self.nodes.id(&self.name(broker)));
        self.died(broker, Death::Kill);
    }

    fn power_off(&mut self, broker: usize, survival: Survival) {
        nodes::power_off(self.nodes.id(&self.name(broker)));
        self.dark.insert(broker, survival);
        self.world.power_losses.borrow_mut().push(now_nanos());
        self.died(broker, Death::Power);
    }

    /// Takes the power from a broker that nothing holds, and starts it again with this on its disk.
    pub fn restart_with(&mut self, broker: usize, image: &DiskImage) {
        self.power_off(broker, Survival::None);
        let id = self.nodes.id(&self.name(broker));
        self.dark.remove(&broker);
        nodes::power_on(id, survival_of(Survival::None));
        Disks::current().restore_image(self.number(broker), image);
        watch::forget(self.world.plan.brokers[broker].id);
        nodes::start(id);
    }

    fn died(&self, broker: usize, death: Death) {
        watch::died(self.world.plan.brokers[broker].id, death);
        if death == Death::Kill && self.has_failed_sync(broker) {
            // The next life may read what the device has: for what nobody waited to be synced (acks of 0 and 1) that
            // is a loss of power.
            self.world.power_losses.borrow_mut().push(now_nanos());
        }
        let state = &self.world.brokers[broker];
        state.shared.borrow_mut().take();
        *state.phase.borrow_mut() = Phase::Down;
    }

    fn start(&mut self, broker: usize) {
        let phase = self.world.brokers[broker].phase.borrow().clone();
        if let Phase::Ended(_) = phase {
            // It was asked to end, and nobody was told yet.
            self.died(broker, Death::Kill);
        }
        let id = self.nodes.id(&self.name(broker));
        if let Some(survival) = self.dark.remove(&broker) {
            nodes::power_on(id, survival_of(survival));
        }
        nodes::start(id);
    }

    fn start_again(&mut self, broker: usize) {
        if self.held[broker] == Held::Restarting {
            self.held[broker] = Held::Free;
            self.start(broker);
        }
    }

    /// A broker that ended by itself (its disk failed) is started again soon, as a service manager would.
    fn restart_what_ended(&mut self) {
        for broker in 0..self.held.len() {
            let phase = self.world.brokers[broker].phase.borrow().clone();
            let Phase::Ended(_) = phase else { continue };
            if self.held[broker] == Held::Free {
                self.kill(broker);
                self.held[broker] = Held::Restarting;
                self.plan_in(RESTART_MS, Action::Start(broker));
            }
        }
    }

    fn end_fault(&mut self, index: usize) {
        let fault = self.fault(index);
        self.active.remove(&index);
        match &fault {
            Fault::Kill { node }
            | Fault::CrashLoop { node, .. }
            | Fault::CleanStop { node }
            | Fault::PowerLoss { node, .. }
            | Fault::PowerLossInRecovery { node, .. }
            | Fault::Pause { node } => self.release(index, broker_of(node), &fault),
            Fault::ClockDrift { node, .. } => {
                let drift = self.world.plan.brokers[broker_of(node)].clock_drift_ppm;
                Clocks::current().set_drift_ppm(self.nodes.number(node), drift);
            }
            Fault::SlowProcessor { node, .. } => {
                nodes::set_poll_cost_us(self.nodes.number(node), 0);
            }
            _ => {
                self.network.undo(index);
                self.disks.end(index);
            }
        }
        self.tell("fault-ended", index);
    }

    /// A broker that a fault held goes on.
    fn release(&mut self, index: usize, broker: usize, fault: &Fault) {
        if self.held[broker] != Held::By(index) {
            return;
        }
        if let Fault::CleanStop { .. } = fault
            && *self.world.brokers[broker].phase.borrow() == Phase::Serving
        {
            // It has not ended yet: give it time.
            return self.plan_in(RESTART_MS, Action::End(index));
        }
        self.held[broker] = Held::Free;
        match fault {
            Fault::Pause { .. } => nodes::resume(self.nodes.id(&self.name(broker))),
            Fault::PowerLossInRecovery { operations, .. } => {
                if self.repeated.insert(index) {
                    let event = Event {
                        kind: "disk".into(),
                        node: self.name(broker),
                        contains: String::new(),
                        nth: *operations,
                        after_ms: 0,
                        before_ms: 0,
                    };
                    let later = index + self.world.plan.faults.len();
                    self.world.sink.await_event(later, event);
                }
                self.start(broker);
            }
            _ => self.start(broker),
        }
    }

    fn ways(&self, from: &str, to: &str, both: bool) -> Vec<(u64, u64)> {
        let mut ways = Vec::new();
        for from in self.nodes.matching(from) {
            for to in self.nodes.matching(to) {
                if from != to {
                    ways.push((from, to));
                    if both {
                        ways.push((to, from));
                    }
                }
            }
        }
        ways
    }

    /// Disturbs the network.
    fn disturb(&mut self, index: usize, fault: &Fault) -> bool {
        match fault {
            Fault::Cut {
                from,
                to,
                how,
                both,
            } => {
                let ways = self.ways(from, to, *both);
                self.network.cut(index, ways, *how);
            }
            Fault::Flap { .. } => {
                self.active.insert(index);
                self.flap(index, true);
            }
            Fault::Delay {
                from,
                to,
                latency_us,
                tail_one_in,
            } => {
                let ways = self.ways(from, to, false);
                self.network.change(index, ways, |link| {
                    link.latency_us = link.latency_us.saturating_add(*latency_us);
                    link.tail_one_in = *tail_one_in;
                    link.tail_factor = 10;
                });
            }
            Fault::Narrow {
                from,
                to,
                bytes_per_second,
            } => {
                let ways = self.ways(from, to, false);
                self.network.change(index, ways, |link| {
                    link.bytes_per_second = *bytes_per_second
                });
            }
            Fault::Reset { a, b } => {
                let (a, b) = (self.nodes.number(a), self.nodes.number(b));
                return self.network.fabric().reset(a, b, usize::MAX) > 0;
            }
            Fault::SlowReader {
                node,
                peer,
                bytes_per_second,
            } => {
                let (node, peer) = (self.nodes.number(node), self.nodes.number(peer));
                self.network
                    .slow_reader(index, node, peer, *bytes_per_second);
            }
            _ => unreachable!("only faults of the network come here"),
        }
        true
    }

    fn flap(&mut self, index: usize, is_cut: bool) {
        let Fault::Flap { from, to, every_ms } = self.fault(index) else {
            return;
        };
        if !self.active.contains(&index) {
            return;
        }
        if is_cut {
            let ways = self.ways(&from, &to, true);
            self.network.cut(index, ways, crate::plan::CutHow::Hold);
        } else {
            self.network.undo(index);
        }
        self.plan_in(every_ms, Action::Flap(index, !is_cut));
    }
}

/// The broker's place in the plan, by its node's name.
fn broker_of(name: &str) -> usize {
    name.strip_prefix("broker-")
        .and_then(|id| id.parse::<usize>().ok())
        .map(|id| id - 1)
        .unwrap_or_else(|| panic!("{name} is no broker"))
}
