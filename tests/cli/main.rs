//! The command line over real processes: a node that serves, and one process a command.
#![allow(
    clippy::disallowed_methods,
    reason = "the stories start processes and wait for them, as a user does"
)]

mod configs;
mod harness;
mod json;
mod offsets;
mod perf;
mod plants;
mod stops;
