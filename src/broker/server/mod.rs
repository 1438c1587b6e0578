//! Listener, connections, the way from a frame to its handler and back.

pub mod authorizer;
pub mod budget;
mod connection;
pub mod context;
pub mod fetch_sessions;
pub mod inbox;
pub mod listener;
mod outbox;
pub mod response;
pub mod router;
