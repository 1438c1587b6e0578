//! The coordinator as a whole: transcripts, Kafka's own records, random walks.

mod bench;
mod kafka_records;
mod limits;
mod random;
mod script;
mod show;
mod transcripts;
