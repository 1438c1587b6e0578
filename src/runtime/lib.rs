//! The one door to the outside world: clocks, timers, tasks, sockets, files, entropy, signals.
//!
//! The crate has two halves with one interface. The real half is tokio (one current-thread executor per core) with
//! rustix and a bounded pool of threads for disk work that may wait. The simulated half, built with `--cfg madsim`,
//! is madsim's executor and virtual time with a disk in memory. `contract.rs` states what both halves promise.
//!
//! No other crate of this workspace touches the outside, and none outside this one (and the simulator) asks which
//! half it runs on.

pub mod clock;
pub mod disk;
pub mod io;
pub mod net;
pub mod process;
pub mod rng;
pub mod signal;
pub mod sync;
pub mod task;
pub mod time;

#[cfg(not(madsim))]
mod real;
#[cfg(not(madsim))]
use real as half;

#[cfg(madsim)]
pub mod simulated;
#[cfg(madsim)]
use simulated as half;

#[cfg(test)]
mod contract;

pub use clock::Clock;
pub use rng::entropy;
pub use sync::select;
