//! Kafka's protocol as values: every request and response, the stored records, and their bytes.
//!
//! * [`wire`]: the primitive encodings, every length bounded by what remains;
//! * [`messages`]: requests, responses and headers, generated from `schema/*.schema`;
//! * [`stored`]: records that Kafka keeps in logs and files, generated from `schema/stored/*.schema`;
//! * [`frame`]: request and response headers;
//! * [`records`]: record batches.
//!
//! Nothing here does I/O. `cargo xtask import` writes the schemas, `cargo xtask codegen` the Rust.

pub mod frame;
pub mod messages;
pub mod records;
pub mod stored;
pub mod wire;

pub use messages::ApiKey;
pub use wire::{DecodeError, Decoder, EncodeError, Encoder, Message, Request};

#[cfg(test)]
mod counting;
#[cfg(test)]
mod differential_tests;
#[cfg(test)]
mod every;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod mutate;
