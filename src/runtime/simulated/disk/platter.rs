//! One node's disk: its state, its lives, and the moments at which things happen on it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use types::Prng;

use super::fault::{DiskOperation, Effect, Faults};
use super::image::PAGE_BYTES;
use super::names::{Body, InodeNumber, Names};
use super::power::{PowerLoss, Survival, lose_power};
use super::speed::Delays;
use crate::simulated::trace::{self, Value};
use crate::simulated::world;

/// Bytes of a disk whose capacity nobody set.
pub(super) const CAPACITY_BYTES: u64 = 1 << 40;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under the lock")
}

/// One node's disk.
pub(crate) struct Platter {
    pub(super) node: u64,
    /// Grows when the process or the power goes. What was opened in one life is refused in the next.
    life: AtomicU64,
    state: Mutex<State>,
}

/// All files on some paths are held up.
struct Stall {
    path_contains: String,
    until_us: u64,
}

/// What is on a disk and what is to happen to it.
pub(super) struct State {
    pub(super) is_on: bool,
    pub(super) names: Names,
    pub(super) delays: Delays,
    pub(super) faults: Faults,
    stalls: Vec<Stall>,
    /// Draws how faults work out.
    pub(super) fault_prng: Prng,
    /// What the ends of syncs are drawn from, with the file and the sync.
    pub(super) settle_key: u64,
    seed: u64,
    power_losses: u64,
    /// Lock holders by path.
    pub(super) locks: BTreeMap<String, u64>,
    pub(super) next_lock: u64,
    pub(super) capacity_bytes: u64,
    /// Pages in use at most; counted anew when it may matter.
    used_pages_max: u64,
    /// Operations through handles of an earlier life.
    pub(super) refused: u64,
}

impl State {
    fn new(seed: u64, node: u64) -> State {
        State {
            is_on: true,
            names: Names::default(),
            delays: Delays::new(seed, node),
            faults: Faults::default(),
            stalls: Vec::new(),
            fault_prng: Prng::new(seed, &format!("disk faults {node}")),
            settle_key: Prng::new(seed, &format!("disk settles {node}")).next_u64(),
            seed,
            power_losses: 0,
            locks: BTreeMap::new(),
            next_lock: 0,
            capacity_bytes: CAPACITY_BYTES,
            used_pages_max: 0,
            refused: 0,
        }
    }

    pub(super) fn stall(&mut self, path_contains: &str, until_us: u64) {
        self.stalls.push(Stall {
            path_contains: path_contains.to_owned(),
            until_us,
        });
    }

    pub(super) fn clear_stalls(&mut self) {
        self.stalls.clear();
    }

    /// How much longer the device leaves `path` waiting.
    pub(super) fn stalled_us(&mut self, path: &str, now_us: u64) -> u64 {
        if self.stalls.is_empty() {
            return 0;
        }
        self.stalls.retain(|stall| stall.until_us > now_us);
        self.stalls
            .iter()
            .filter(|stall| path.contains(&stall.path_contains))
            .map(|stall| stall.until_us - now_us)
            .max()
            .unwrap_or(0)
    }

    pub(super) fn used_pages(&self) -> u64 {
        let charge = |body: &Body| match body {
            Body::Directory(_) => 1,
            Body::File(content) => 1 + content.charged_pages,
        };
        self.names
            .inodes
            .values()
            .filter(|inode| inode.slot.is_some() || inode.handles > 0)
            .map(|inode| charge(&inode.body))
            .sum()
    }

    /// Takes `pages` of space if there are so many.
    ///
    /// # Errors
    /// The pages there are, none of which is taken.
    pub(super) fn take_space(&mut self, pages: u64) -> Result<(), u64> {
        let capacity = self.capacity_bytes / PAGE_BYTES;
        if self.used_pages_max + pages > capacity && pages > 0 {
            self.used_pages_max = self.used_pages();
            let free = capacity.saturating_sub(self.used_pages_max);
            if free < pages {
                return Err(free);
            }
        }
        self.used_pages_max += pages;
        Ok(())
    }

    /// Ends all syncs whose time has come.
    pub(super) fn settle_all(&mut self, now_us: u64) {
        self.names.settle(now_us);
        for (number, inode) in &mut self.names.inodes {
            if let Body::File(content) = &mut inode.body {
                content.settle(now_us, self.settle_key.wrapping_add(*number));
            }
        }
    }

    fn close_all(&mut self) {
        self.locks.clear();
        let open: Vec<InodeNumber> = self
            .names
            .inodes
            .iter()
            .filter(|(_, inode)| inode.handles > 0)
            .map(|(number, _)| *number)
            .collect();
        for number in open {
            self.names.inode_mut(number).handles = 0;
            self.names.collect(number);
        }
    }

    /// What is left when the power comes back.
    fn lose_power(&mut self, survival: Survival) -> PowerLoss {
        self.power_losses += 1;
        let cycle = self.power_losses;
        let stream =
            |purpose: &str| Prng::new(self.seed, &format!("disk survival {cycle} {purpose}"));
        let mut names_prng = stream("names");
        let numbers: Vec<InodeNumber> = self.names.inodes.keys().copied().collect();
        let mut loss = PowerLoss::default();
        for number in numbers {
            // A file draws by its name, so that another file more or less does not change its fate.
            let name = self
                .names
                .path(number)
                .or_else(|| self.names.durable_path(number));
            if let Body::File(content) = &mut self.names.inode_mut(number).body {
                let mut prng = match name {
                    Some(name) => stream(&name),
                    None => stream(&format!("nameless {number}")),
                };
                loss += lose_power(content, survival, &mut prng);
            }
        }
        let survival = survival.draw(&mut names_prng);
        loss += self.names.lose_power(survival, &mut names_prng);
        self.locks.clear();
        self.used_pages_max = self.used_pages();
        loss
    }

    pub(super) fn replace_names(&mut self, names: Names) {
        self.names = names;
        self.locks.clear();
        self.used_pages_max = self.used_pages();
    }
}

impl Platter {
    pub(super) fn new(seed: u64, node: u64) -> Platter {
        // One seed a node, so that two nodes with the same files draw apart.
        let seed = Prng::new(seed, &format!("disk {node}")).next_u64();
        Platter {
            node,
            life: AtomicU64::new(0),
            state: Mutex::new(State::new(seed, node)),
        }
    }

    pub(super) fn life(&self) -> u64 {
        self.life.load(Ordering::Relaxed)
    }

    /// Whole microseconds since the world began.
    pub(super) fn now_us(&self) -> u64 {
        world::now_nanos() / 1_000
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The state, for an operation of `life`; `None`, and counted, if that is over.
    pub(super) fn enter(&self, life: u64) -> Option<MutexGuard<'_, State>> {
        let alive = self.alive(life);
        if alive.is_none() {
            self.state().refused += 1;
        }
        alive
    }

    /// The state, for what `life` gives back; `None` if that is over.
    pub(super) fn alive(&self, life: u64) -> Option<MutexGuard<'_, State>> {
        let state = self.state();
        (life == self.life() && state.is_on).then_some(state)
    }

    fn next_life(&self) {
        self.life.fetch_add(1, Ordering::Relaxed);
    }

    /// See [`super::Disks::power_off`].
    pub(super) fn power_off(&self) {
        let now_us = self.now_us();
        {
            let mut state = self.state();
            if !state.is_on {
                return;
            }
            self.next_life();
            state.is_on = false;
            state.settle_all(now_us);
            state.names.stop_syncs();
            for inode in state.names.inodes.values_mut() {
                if let Body::File(content) = &mut inode.body {
                    content.stop_syncs();
                }
            }
        }
        trace::emit_for(self.node, "power-off", &[]);
    }

    /// See [`super::Disks::power_on`].
    pub(super) fn power_on(&self, survival: Survival) -> PowerLoss {
        self.power_off();
        let loss = {
            let mut state = self.state();
            let loss = state.lose_power(survival);
            state.is_on = true;
            self.next_life();
            loss
        };
        let count = |value: u64| Value::Int(value as i64);
        trace::emit_for(
            self.node,
            "power-on",
            &[
                ("survival", Value::Text(survival.name())),
                ("writes_kept", count(loss.writes_kept)),
                ("writes_torn", count(loss.writes_torn)),
                ("writes_lost", count(loss.writes_lost)),
                ("names_kept", count(loss.names_kept)),
                ("names_lost", count(loss.names_lost)),
            ],
        );
        loss
    }

    /// See [`super::Disks::process_died`].
    pub(super) fn process_died(&self) {
        let mut state = self.state();
        self.next_life();
        if state.is_on {
            state.close_all();
        }
    }

    /// Puts other content on the disk, under whoever runs, and tells `kind` of it.
    pub(super) fn replace(&self, names: Names, kind: &'static str) {
        {
            let mut state = self.state();
            self.next_life();
            state.replace_names(names);
        }
        trace::emit_for(self.node, kind, &[]);
    }

    /// Tells that a fault met an operation.
    pub(super) fn tell_fault(&self, met: Option<Effect>, operation: DiskOperation, path: &str) {
        if let Some(effect) = met {
            trace::emit_for(
                self.node,
                "disk-fault",
                &[
                    ("effect", Value::Text(effect.name())),
                    ("operation", Value::Text(operation.name())),
                    ("file", Value::Text(path)),
                ],
            );
        }
    }
}

/// The disks of a simulated world, by node.
pub(super) struct Rack {
    seed: u64,
    platters: Mutex<BTreeMap<u64, Arc<Platter>>>,
}

impl Rack {
    pub(super) fn new(seed: u64) -> Rack {
        Rack {
            seed,
            platters: Mutex::default(),
        }
    }

    pub(super) fn platter(&self, node: u64) -> Arc<Platter> {
        let mut platters = lock(&self.platters);
        let platter = platters
            .entry(node)
            .or_insert_with(|| Arc::new(Platter::new(self.seed, node)));
        Arc::clone(platter)
    }
}
