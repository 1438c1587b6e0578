//! The simulated half: madsim's executor, time and links, with a disk in memory.
//!
//! A whole cluster shares one process, so nothing here is global: state hangs on the madsim runtime, by node.

pub(crate) mod disk;
pub(crate) mod net;
pub(crate) mod task;
#[cfg(test)]
mod tests;

use std::io;

pub use disk::DiskSimulator;

/// What every node is granted.
const OPEN_FILES_MAX: u64 = 65_536;

/// Adds what this half needs to a madsim runtime that was just made. Every simulated world calls it before its first
/// node.
pub fn install(world: &madsim::runtime::Runtime) {
    world.add_simulator::<DiskSimulator>();
}

/// See [`crate::rng::entropy`].
pub(crate) fn entropy() -> u64 {
    madsim::rand::random()
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
