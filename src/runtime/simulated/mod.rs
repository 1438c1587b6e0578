//! The simulated half: madsim's executor and time, with links and a disk of our own.
//!
//! A whole cluster shares one process, so nothing here is global: state hangs on the madsim runtime, by node.

#[cfg(test)]
mod banned_tests;
pub(crate) mod clock;
pub mod clocks;
#[cfg(test)]
mod coupling;
pub mod disk;
mod entropy;
pub(crate) mod executor;
pub(crate) mod join;
pub mod leaks;
mod lives;
pub mod net;
pub mod nodes;
#[cfg(test)]
mod nodes_tests;
pub(crate) mod task;
#[cfg(test)]
mod tests;
pub(crate) mod timers;
pub mod trace;
mod turns;
pub mod world;

use std::io;
use std::time::Duration;

pub use disk::DiskSimulator;

/// What every node is granted.
const OPEN_FILES_MAX: u64 = 65_536;

/// Adds what this half needs to a madsim runtime that was just made, and begins a new world on this thread: every
/// stream is `types::Prng::new(seed, purpose)`. Every simulated world calls it before its first node.
pub fn install(world: &madsim::runtime::Runtime, seed: u64) {
    world::begin(seed);
    timers::begin();
    turns::start_world();
    clocks::begin(seed);
    entropy::begin();
    lives::begin();
    disk::install(world, seed);
    net::install(world, seed);
}

/// Runs `future` as the supervisor of a new world made from `seed`, until it ends; then all nodes end too.
pub fn run<F: std::future::Future>(seed: u64, future: F) -> F::Output {
    let world = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
    install(&world, seed);
    world.block_on(executor::supervise(future))
}

/// See [`crate::rng::entropy`].
pub(crate) fn entropy() -> u64 {
    entropy::draw()
}

/// See [`crate::signal::terminated`].
pub(crate) fn terminated() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let asked = madsim::signal::ctrl_c().await;
        asked.expect("a simulated interrupt cannot be refused");
    })
}

/// See [`crate::process::open_files_max`].
pub(crate) fn open_files_max() -> u64 {
    OPEN_FILES_MAX
}

/// See [`crate::process::use_small_pages`].
pub(crate) fn use_small_pages() {}

/// See [`crate::process::cpu_time`].
pub(crate) fn cpu_time() -> Duration {
    Duration::ZERO
}

/// See [`crate::process::core_count`].
pub(crate) fn core_count() -> usize {
    1
}

/// An empty directory for a test: the root of a disk that is as new as its world.
#[cfg(test)]
pub(crate) struct TestPlace;

#[cfg(test)]
impl TestPlace {
    pub(crate) fn new() -> TestPlace {
        TestPlace
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        std::path::Path::new("/")
    }
}
