//! The broker over loopback: a node in this process, a raw client on its port, one module a story.

mod api_versions;
mod fetch;
mod harness;
mod produce;
mod refusals;
mod topics;
