//! The broker over loopback: a node in this process, a raw client on its port, one module a story.
#![allow(
    clippy::disallowed_methods,
    reason = "the stories look at a node's files, and damage them, from outside"
)]
#![allow(
    clippy::needless_update,
    reason = "requests are written alike, however many fields they set"
)]

mod api_versions;
mod bad_input;
mod bounds;
mod configs;
mod fetch;
mod groups;
mod harness;
mod metrics;
mod observer;
mod produce;
mod recovery;
mod refusals;
mod slow_clients;
mod stop;
mod storage;
mod topics;
