//! The simulator: controllers, brokers, clients, their network, disks and clocks in one process, from one seed.
//!
//! A seed is expanded into a [`plan`], the plan is run, what clients asked and were told is a [`history`], and
//! [`checkers`] judge it. The parts that run exist only in the simulation build (`--cfg madsim`); plans, histories,
//! checkers and verdicts are plain data.

pub mod bench;
pub mod checkers;
pub mod compare;
pub mod controls;
pub mod history;
#[cfg(madsim)]
mod idle;
#[cfg(madsim)]
pub mod interposed;
pub mod marks;
pub mod plan;
#[cfg(madsim)]
pub mod run;
pub mod scenario;
pub mod scoreboard;
pub mod tally;
#[cfg(madsim)]
pub mod trace;
pub mod verdict;
#[cfg(madsim)]
pub mod watch;
#[cfg(madsim)]
pub mod workload;
#[cfg(madsim)]
pub mod world;
