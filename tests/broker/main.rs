//! The broker over loopback: a node in this process, a raw client on its port, one module a story.

mod api_versions;
mod bad_input;
mod configs;
mod fetch;
mod groups;
mod harness;
mod produce;
mod refusals;
mod storage;
mod topics;
