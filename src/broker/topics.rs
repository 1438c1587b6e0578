//! Names of topics that are the broker's own.

/// Where group offsets live.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Where transactions will live.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// Where share groups will live.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";

/// Whether clients see the topic as internal and may not write to it.
pub fn is_internal(name: &str) -> bool {
    [CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE].contains(&name)
}
