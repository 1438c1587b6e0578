//! What a coordinator may be configured with.

/// The group configs, under Kafka's names. Times are in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`: shortest session timeout that a member may ask for.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`: longest session timeout that a member may ask for.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members before its first rebalance.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: most members a group may have.
    pub group_size_max: i32,
    /// `offset.metadata.max.bytes`: longest metadata string of a committed offset, in UTF-16 units as Kafka counts them.
    pub offset_metadata_bytes_max: i32,
    /// `offsets.retention.minutes`, in milliseconds: how long offsets outlive their group's last member.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`: how often expired offsets and groups are looked for.
    pub offsets_retention_check_interval_ms: i64,
    /// `offsets.commit.timeout.ms`: how long a request waits for its records to be committed.
    pub offset_commit_timeout_ms: i32,
    /// How long a new member's parked JoinGroup may wait before the member is dropped. Kafka: 5 minutes, not configurable.
    pub new_member_join_timeout_ms: i32,
}

impl Default for GroupConfig {
    /// Kafka 4.3's defaults.
    fn default() -> GroupConfig {
        GroupConfig {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 30 * 60 * 1000,
            initial_rebalance_delay_ms: 3_000,
            group_size_max: i32::MAX,
            offset_metadata_bytes_max: 4096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            offsets_retention_check_interval_ms: 10 * 60 * 1000,
            offset_commit_timeout_ms: 5_000,
            new_member_join_timeout_ms: 5 * 60 * 1000,
        }
    }
}
