//! Coordinators as pure machines: what decides about groups, without clock, disk or network.
//!
//! A coordinator is event-sourced. A request is decided against the state in memory, its records are handed to the driver,
//! and the answer stays parked until the driver reports that the append is committed. Losing the partition's leadership
//! drops the memory state; the log rebuilds it.

pub mod groups;
