//! A Kafka client over the runtime's streams: for the command line, the brokers, the tests and simulated workloads.
//!
//! * [`Connection`]: one pipelined connection to one broker.
//! * [`Client`]: a cluster: its metadata, routing to leaders and coordinators, retries.
//! * [`Producer`], [`Consumer`].
//!
//! Everything lives on one core: nothing here is `Send`, and background work is tasks of the core. Time comes from a
//! [`runtime::Clock`], jitter from a seeded stream, so that a client behaves the same in a simulation run again.

mod accumulator;
pub mod admin;
mod assignor;
mod backoff;
mod client;
mod config;
mod connection;
pub mod consumer;
mod epochs;
mod error;
mod fetched;
mod group;
#[cfg(test)]
mod live;
pub mod metadata;
#[cfg(test)]
mod mock;
mod observer;
pub mod offsets;
mod partitioner;
pub mod producer;
mod sender;
mod session;
#[cfg(test)]
mod tests;

pub use client::{Client, CoordinatorKind, Lane};
pub use config::ClientConfig;
pub use connection::{Connection, ConnectionOptions, Reply, Sent};
pub use consumer::{Consumer, ConsumerConfig};
pub use error::{DeliveryError, Error};
pub use group::assigned_partitions;
pub use metadata::Metadata;
pub use producer::{Producer, ProducerConfig};
