//! One member of a classic group.

use std::sync::Arc;

use bytes::Bytes;

use super::api::{JoinProtocol, Token};
use super::timers::TimerHandle;

/// A member, between its first JoinGroup and its end.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// What the member supports, most wanted first.
    pub(super) protocols: Vec<JoinProtocol>,
    /// What the leader assigned in the current generation.
    pub(super) assignment: Bytes,
    /// The parked JoinGroup.
    pub(super) awaiting_join: Option<Token>,
    /// The parked SyncGroup.
    pub(super) awaiting_sync: Option<Token>,
    /// Not yet part of any generation: its parked JoinGroup does not keep it alive for ever.
    pub(super) is_new: bool,
    /// The session deadline. It may have passed without effect while the member was waiting for us.
    pub(super) heartbeat: Option<TimerHandle>,
}

impl Member {
    /// The member's metadata for a protocol.
    pub(super) fn metadata(&self, protocol_name: &str) -> Option<&Bytes> {
        let protocol = self.protocols.iter().find(|p| p.name == protocol_name)?;
        Some(&protocol.metadata)
    }

    /// Whether the member waits for an answer of ours, so that its silence is our doing.
    pub(super) fn is_waiting(&self) -> bool {
        self.awaiting_join.is_some() || self.awaiting_sync.is_some()
    }
}
