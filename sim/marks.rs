//! The marks that a run can hit, and the kinds of faults that it can meet: what a sweep's table counts, and what it
//! tells as never hit.
//!
//! A mark says that something worth testing has happened since the workload began; [`Mark::seen`] says by which event of
//! the trace.

use std::collections::BTreeMap;

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its name, as `must_hit` has it.
    pub name: &'static str,
    /// What has happened when it is hit.
    pub meaning: &'static str,
    /// The event of the trace that it is seen by.
    pub seen: Seen,
}

/// An event of the trace that hits a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The event's kind.
    pub kind: &'static str,
    /// All of these must be so.
    pub tests: &'static [Test],
}

/// What must be so of a field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// The text of this field contains this.
    Has(&'static str, &'static str),
    /// The text of this field is this.
    Equals(&'static str, &'static str),
    /// The text of this field is not empty.
    Said(&'static str),
    /// The number of this field is this.
    Is(&'static str, i64),
    /// The number of this field is larger than this.
    Above(&'static str, i64),
}

use Test::{Above, Equals, Has, Is, Said};

const fn seen(
    name: &'static str,
    kind: &'static str,
    tests: &'static [Test],
    meaning: &'static str,
) -> Mark {
    Mark {
        name,
        meaning,
        seen: Seen { kind, tests },
    }
}

/// Every mark, in the order of the table.
pub const MARKS: &[Mark] = &[
    seen(
        "power-loss-lost-writes",
        "power-on",
        &[Above("writes_lost", 0)],
        "a power loss took writes that were not synced",
    ),
    seen(
        "power-loss-tore-a-write",
        "power-on",
        &[Above("writes_torn", 0)],
        "a power loss left a part of a write",
    ),
    seen(
        "power-loss-kept-writes",
        "power-on",
        &[Above("writes_kept", 0)],
        "a power loss left writes that were not synced",
    ),
    seen(
        "power-loss-lost-names",
        "power-on",
        &[Above("names_lost", 0)],
        "a power loss took names of files that were not synced",
    ),
    seen(
        "ended-by-itself",
        "broker",
        &[Has("phase", "ended"), Said("why")],
        "a broker ended by itself, because it could not go on",
    ),
    seen(
        "served-again",
        "broker",
        &[Has("phase", "serving")],
        "a broker serves again",
    ),
    seen("killed", "kill", &[], "a broker's process was killed"),
    seen("connection-reset", "rst", &[], "a connection was reset"),
    seen("bytes-lost", "drop", &[], "bytes were lost at a cut"),
    seen("bytes-held", "hold", &[], "bytes waited at a cut"),
    seen("clock-stepped", "clock-step", &[], "a wall clock stepped"),
    seen(
        "segment-created",
        "open",
        &[
            Has("file", "/t"),
            Has("file", ".log"),
            Equals("mode", "truncate"),
        ],
        "a segment of a topic was created",
    ),
    seen(
        "segment-removed",
        "remove",
        &[Has("file", ".log")],
        "a segment was removed",
    ),
    seen(
        "metadata-snapshot",
        "rename",
        &[Has("to", "__cluster_metadata"), Has("to", ".checkpoint")],
        "a snapshot of the metadata was finished",
    ),
    seen(
        "producer-snapshot",
        "rename",
        &[Has("to", ".snapshot"), Is("ok", 1)],
        "a snapshot of producers was written",
    ),
    seen(
        "producer-snapshot-read",
        "read",
        &[Has("file", ".snapshot"), Is("ok", 1)],
        "a snapshot of producers was read at a recovery",
    ),
    seen(
        "log-start-moved",
        "replica",
        &[Above("start", 0)],
        "the log start of a partition is above 0",
    ),
    seen(
        "produce-too-large",
        "produced",
        &[Is("error", 10)],
        "a batch was refused as too large",
    ),
    seen(
        "produce-out-of-order",
        "produced",
        &[Is("error", 45)],
        "a batch was refused because its sequence does not follow",
    ),
    // UNKNOWN_PRODUCER_ID is never answered any more (KIP-360).
    seen(
        "produce-unknown-producer",
        "note",
        &[Equals("what", "an-unknown-producer-goes-on")],
        "a batch in the middle of its producer's sequence was taken, because the producer is not known",
    ),
    seen(
        "produce-storage-error",
        "produced",
        &[Is("error", 56)],
        "a batch was refused because its disk has failed",
    ),
    seen(
        "produce-to-unknown-topic",
        "produced",
        // UNKNOWN_TOPIC_ID: our clients name topics by their ids.
        &[Is("error", 100)],
        "a batch was for a topic that is not there any more",
    ),
    seen(
        "fetch-out-of-range",
        "fetched",
        &[Is("error", 1)],
        "a fetch was outside the log",
    ),
    seen(
        "fetch-empty",
        "fetched",
        &[Is("bytes", 0), Is("error", 0)],
        "a fetch waited and got nothing",
    ),
    seen(
        "fetch-storage-error",
        "fetched",
        &[Is("error", 56)],
        "a fetch was refused because its disk has failed",
    ),
    seen(
        "duplicate-answered",
        "note",
        &[Equals("what", "duplicate")],
        "a batch that was sent again was answered with its first offset",
    ),
    seen(
        "append-failed",
        "note",
        &[Equals("what", "append-failed")],
        "an append failed",
    ),
    seen(
        "log-failed",
        "note",
        &[Equals("what", "log-failed")],
        "a log failed, its partition is refused from then on",
    ),
    seen(
        "no-space",
        "disk-fault",
        &[Equals("effect", "enospc"), Equals("operation", "write")],
        "a write found no space",
    ),
    seen(
        "producers-expired",
        "note",
        &[Equals("what", "producers-expired")],
        "producers were forgotten, because they were silent",
    ),
    seen(
        "group-created",
        "note",
        &[Equals("what", "a-group-is-created")],
        "a group was created",
    ),
    seen(
        "group-deleted",
        "note",
        &[Equals("what", "a-group-is-deleted")],
        "a group was deleted",
    ),
    seen(
        "group-forgotten",
        "note",
        &[Equals(
            "what",
            "a-group-without-members-and-offsets-is-forgotten",
        )],
        "a group with neither members nor offsets was forgotten",
    ),
    seen(
        "group-stable",
        "note",
        &[Equals("what", "the-group-is-stable")],
        "every member of a group got its partitions",
    ),
    seen(
        "group-empty",
        "note",
        &[Equals("what", "the-group-is-empty")],
        "the last member of a group left",
    ),
    seen(
        "generation-began",
        "note",
        &[Equals("what", "a-generation-begins")],
        "a generation of a group began",
    ),
    seen(
        "member-left",
        "note",
        &[Equals("what", "a-member-leaves")],
        "a member left its group",
    ),
    seen(
        "member-dropped",
        "note",
        &[Equals(
            "what",
            "a-member-did-not-join-in-time-and-is-dropped",
        )],
        "a member missed a rebalance",
    ),
    seen(
        "session-timed-out",
        "note",
        &[Equals("what", "a-session-timed-out")],
        "a member was silent for too long",
    ),
    seen(
        "static-member-back",
        "note",
        &[Equals("what", "a-static-member-is-back-no-rebalance")],
        "a static member came back and nobody else was disturbed",
    ),
    seen(
        "leader-missed-rebalance",
        "note",
        &[Equals(
            "what",
            "the-leader-did-not-join-in-time-another-is-elected",
        )],
        "the leader of a group missed a rebalance",
    ),
    seen(
        "offsets-expired",
        "note",
        &[Equals("what", "offsets-expire")],
        "offsets of a group without members expired",
    ),
    seen(
        "coordinator-loaded",
        "note",
        &[Equals("what", "loaded")],
        "a coordinator read its log",
    ),
    seen(
        "client-crashed",
        "client",
        &[Has("operation", "crash")],
        "a client crashed, and another took its place",
    ),
    seen(
        "outcome-unknown",
        "client",
        &[Has("stage", "info")],
        "a client never learned how its operation ended",
    ),
    seen(
        "operation-failed",
        "client",
        &[Has("stage", "fail")],
        "an operation of a client failed for certain",
    ),
];

/// Every kind of fault as verdicts count it, with what it does. Faults of operations on files are counted when they
/// meet one: operation and effect.
pub const FAULTS: &[(&str, &str)] = &[
    ("kill", "the process is killed, its page cache stays"),
    (
        "crash-loop",
        "the process is killed again and again right after its start",
    ),
    ("clean-stop", "the process is asked to end"),
    (
        "power-loss-all-survives",
        "power loss, every un-synced write survives",
    ),
    (
        "power-loss-none-survives",
        "power loss, no un-synced write survives",
    ),
    (
        "power-loss-prefix",
        "power loss, the first un-synced writes of each file survive",
    ),
    (
        "power-loss-torn",
        "power loss, parts of un-synced writes survive",
    ),
    (
        "power-loss-reordered",
        "power loss, any of the un-synced writes survive",
    ),
    ("power-loss-mixed", "power loss, each file as it comes"),
    (
        "power-loss-in-recovery",
        "power loss, and another while the broker recovers",
    ),
    ("pause", "the process stands still"),
    ("slow-processor", "each poll of a task takes long"),
    ("cut-hold", "a link is cut both ways, bytes wait"),
    ("cut-hold-one-way", "a link is cut one way, bytes wait"),
    ("cut-black-hole", "a link is cut both ways, bytes are lost"),
    (
        "cut-black-hole-one-way",
        "a link is cut one way, bytes are lost",
    ),
    ("flap", "a link comes and goes"),
    ("delay", "a link is slow"),
    ("heavy-tail", "a link is slow, and now and then much slower"),
    ("narrow", "a link lets few bytes through"),
    (
        "reset",
        "connections are reset in the middle of what they carry",
    ),
    ("slow-reader", "a node reads slowly"),
    ("write-eio", "a write fails"),
    ("write-enospc", "a write finds no space"),
    ("allocate-enospc", "space is asked for, and there is none"),
    (
        "sync-eio",
        "a sync fails and drops what it should have written",
    ),
    ("sync-dir-eio", "the sync of a directory fails"),
    ("read-eio", "a read fails"),
    ("open-eio", "an open fails"),
    ("rename-eio", "a rename fails"),
    ("write-stall", "a write takes long"),
    ("sync-stall", "a sync takes long"),
    ("read-stall", "a read takes long"),
    ("open-stall", "an open takes long"),
    ("rename-stall", "a rename takes long"),
    ("remove-stall", "a remove takes long"),
    ("rot", "bits of a closed segment rot"),
    (
        "lost-write",
        "a write that was synced long ago turns out not to be there",
    ),
    (
        "misdirected-write",
        "a write that was synced long ago turns out to have landed over the one before",
    ),
    ("clock-step-back", "the wall clock steps back"),
    ("clock-step-forward", "the wall clock steps forward"),
    ("clock-drift", "the clocks run at another speed"),
];

/// The marks that are seen in the trace, by the kind of event that may hit them.
pub fn by_kind() -> BTreeMap<&'static str, Vec<&'static Mark>> {
    let mut kinds: BTreeMap<&'static str, Vec<&'static Mark>> = BTreeMap::new();
    for mark in MARKS {
        kinds.entry(mark.seen.kind).or_default().push(mark);
    }
    kinds
}

/// Whether there is a mark of this name.
pub fn is_known(name: &str) -> bool {
    MARKS.iter().any(|mark| mark.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_there_once() {
        let names: BTreeSet<&str> = MARKS.iter().map(|mark| mark.name).collect();
        assert_eq!(names.len(), MARKS.len());
        let faults: BTreeSet<&str> = FAULTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(faults.len(), FAULTS.len());
        assert!(is_known("killed") && !is_known("kiled"));
        assert_eq!(by_kind()["power-on"].len(), 4);
    }
}
