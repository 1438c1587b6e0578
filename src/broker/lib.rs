//! The drivers: the loops that own the machines and carry out their actions.
//!
//! Start at [`node`], the composition root; then `shard/`, where partitions live, and `server/`, where requests come from.

/// A node's config file, parsed and checked.
pub mod config {
    pub use controller::configs::{StaticConfig, StaticConfigError, Warning};
}
pub mod core;
pub mod handlers;
mod housekeeping;
pub mod image;
pub mod metrics;
pub mod node;
pub mod observer;
pub mod quorum;
pub mod server;
pub mod shard;
pub mod topics;
