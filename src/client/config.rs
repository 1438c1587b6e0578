//! How a client behaves.

use runtime::Clock;

/// A client's settings. Names and defaults are Kafka's where Kafka has them.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Brokers to ask first, as `host:port`.
    pub bootstrap: Vec<String>,
    /// The client's name for itself, told with every request.
    pub client_id: String,
    /// The node's clock.
    pub clock: Clock,
    /// Seed of the client's jitter and choices.
    pub seed: u64,
    /// How long one request may take, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long connecting may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long an operation may take with all its attempts, in milliseconds.
    pub api_timeout_ms: u64,
    /// Wait before the second attempt, in milliseconds.
    pub retry_backoff_ms: u64,
    /// Longest wait between attempts, in milliseconds.
    pub retry_backoff_max_ms: u64,
    /// Age at which metadata is fetched anew, in milliseconds.
    pub metadata_max_age_ms: u64,
    /// Longest response taken, in bytes.
    pub frame_bytes_max: usize,
    /// Requests in flight on one connection at most.
    pub in_flight_max: usize,
}

impl ClientConfig {
    /// Kafka's defaults.
    pub fn new(bootstrap: &[&str], clock: Clock, seed: u64) -> ClientConfig {
        ClientConfig {
            bootstrap: bootstrap.iter().map(|&text| text.to_owned()).collect(),
            client_id: "millrace".to_owned(),
            clock,
            seed,
            request_timeout_ms: 30_000,
            connect_timeout_ms: 10_000,
            api_timeout_ms: 60_000,
            retry_backoff_ms: 100,
            retry_backoff_max_ms: 1_000,
            metadata_max_age_ms: 300_000,
            frame_bytes_max: 256 << 20,
            in_flight_max: 100,
        }
    }
}
