//! The journal of the class *flushed*: what many logs append in a moment becomes durable by one write and one sync, and
//! the segments are synced later, many appends at a time.
//!
//! A journal is a file in the log directory with two halves. A group of entries, batches of several logs, is written
//! and synced; then the flushes of these logs have ended. A half that is full is *settled*: the segments of every log
//! in it are synced, while the other half is filled; then it is filled anew. So whatever was flushed is in a synced
//! segment or in a journal, and nothing of a journal is trusted but what a start finds missing in the segments.
//!
//! After an unclean stop [`crate::Log::open`] appends what the log lacks, as far as it goes on where the log ends.
//! Journals are removed once every log in them was opened, deleted or closed cleanly. After a clean stop there is none:
//! the segments alone are complete, and Kafka can take them over.

mod files;
mod group;
mod writer;

pub(crate) use files::Journals;
pub use files::{journal_entries, journal_place};
pub use group::Entry;
pub(crate) use writer::{ENTRY_BYTES_MAX, Journal};
