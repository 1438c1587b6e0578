//! Kafka's protocol: bytes to structs and back.

pub mod records;
