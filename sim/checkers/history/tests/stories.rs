//! Pairs of stories: one that must fire, and its legal neighbour.

use super::{judged, tell};

#[test]
fn everybody_sees_the_same_value_at_an_offset() {
    tell(&[
        (
            "two polls differ",
            "p send a 1 => info
             q send a 2 => info
             c poll => ok a 0:1
             d poll => ok a 0:2",
            "H1a",
        ),
        (
            "two polls agree",
            "p send a 1 => info
             q send a 2 => info
             c poll => ok a 0:1
             d poll => ok a 0:1",
            "",
        ),
        (
            "a failed poll sees what is safe too",
            "p send a 1 => info
             q send a 2 => info
             c poll => fail a 0:1
             d poll => ok a 0:2",
            "H1a",
        ),
        (
            "a send and a poll differ",
            "q send a 2 => info
             p send a 1 => ok 0
             c poll => ok a 0:2 1:1",
            "H1b H2",
        ),
        (
            "a send and a poll agree",
            "p send a 1 => ok 0
             q send a 2 => info
             c poll => ok a 0:1 1:2",
            "",
        ),
        (
            "two sends differ",
            "p begins send a 1
             q begins send a 2
             p ends ok 0
             q ends ok 0
             c poll => ok a 0:1 1:2",
            "H1b H2",
        ),
        (
            "two sends at acks=1 differ: the first was lost with its leader",
            "p sends acks=1
             q sends acks=1
             p send a 1 => ok 0
             q send a 2 => ok 0
             c poll => ok a 0:2",
            "",
        ),
    ]);
}

#[test]
fn a_value_lies_once() {
    tell(&[
        (
            "an idempotent producer's value twice",
            "p send a 1 => ok 0
             c poll => ok a 0:1 1:1",
            "H2",
        ),
        (
            "an idempotent producer's value twice, which was forgotten in between",
            "producers forgotten
             p send a 1 => ok 0
             c poll => ok a 0:1 1:1",
            "",
        ),
        (
            "a plain producer's retry",
            "p sends plain
             p send a 1 => ok 1
             c poll => ok a 0:1 1:1",
            "",
        ),
        (
            "an idempotent producer at acks=1",
            "p sends acks=1
             p send a 1 => ok 0
             c poll => ok a 0:1 1:1",
            "H2",
        ),
        (
            "the application sent it again under a new identity",
            "p send a 1 => info
             q send a 1 => ok 1
             c poll => ok a 0:1 1:1",
            "",
        ),
    ]);
}

#[test]
fn what_was_acknowledged_is_read() {
    tell(&[
        (
            "lost below what was read",
            "p send a 1 2 => ok 0 1
             c poll => ok a 1:2",
            "H3",
        ),
        (
            "lost beyond what was read",
            "p send a 1 2 => ok 0 1
             c poll => ok a 0:1",
            "H16",
        ),
        (
            "all read, by two consumers together",
            "p send a 1 2 => ok 0 1
             c poll => ok a 0:1
             d poll => ok a 1:2",
            "",
        ),
        (
            "in doubt, and not there",
            "p send a 1 => info
             q send a 2 => ok 0
             c poll => ok a 0:2",
            "",
        ),
        (
            "in doubt, and there",
            "p send a 1 => info
             q send a 2 => ok 1
             c poll => ok a 0:1 1:2",
            "",
        ),
        (
            "one record of three failed, the others did not",
            "p send a 1 2 3 => ok 0 fail 1
             c poll => ok a 0:1",
            "H16",
        ),
        (
            "deleted up to the floor",
            "p send a 1 2 => ok 0 1
             m delete_records a 1 => ok 1
             c poll => ok a 1:2",
            "",
        ),
        (
            "a deletion in doubt excuses only what it asked for",
            "p send a 1 2 3 => ok 0 1 2
             m delete_records a 1 => info
             c poll => ok a 2:3",
            "H3",
        ),
        (
            "a deletion that failed excuses nothing",
            "p send a 1 2 => ok 0 1
             m delete_records a 1 => fail
             c poll => ok a 1:2",
            "H3",
        ),
        (
            "a deletion up to the high watermark in doubt excuses what was there",
            "p send a 1 2 => ok 0 1
             m delete_records a -1 => info
             c poll => ok a 1:2",
            "",
        ),
        (
            "retention may have come",
            "a retention=1
             p send a 1 2 => ok 0 1
             c poll => ok a 1:2",
            "",
        ),
        (
            "the log start of an answer is a floor",
            "p send a 1 2 => ok 0 1
             c poll => ok a 1:2 start=1",
            "",
        ),
        (
            "the topic is gone",
            "p send a 1 => ok 0
             m delete_topic a => info",
            "",
        ),
        (
            "the topic is not gone",
            "p send a 1 => ok 0
             m delete_topic a => fail",
            "H16",
        ),
        (
            "a fenced partition need not be read",
            "a fenced
             p send a 1 => ok 0",
            "",
        ),
        (
            "nobody read to the end",
            "no final polls
             p send a 1 => ok 0",
            "",
        ),
    ]);
}

#[test]
fn what_failed_for_certain_is_not_seen() {
    tell(&[
        (
            "read by a poll",
            "p send a 1 => fail
             c poll => ok a 0:1",
            "H4 H23",
        ),
        (
            "read by a poll that failed afterwards",
            "p send a 1 => fail
             c poll => fail a 0:1",
            "H23",
        ),
        (
            "one record failed, another did not",
            "p send a 1 2 => ok 0 fail
             c poll => ok a 0:1 1:2",
            "H4 H23",
        ),
        (
            "in doubt is not failed",
            "p send a 1 => info
             c poll => ok a 0:1",
            "",
        ),
        (
            "failed at acks=1 before a leader that had appended it was replaced",
            "p sends acks=1
             p send a 1 => fail
             c poll => ok a 0:1",
            "",
        ),
    ]);
}

#[test]
fn a_poll_reads_in_order() {
    tell(&[
        (
            "one left out",
            "p send a 1 2 3 => ok 0 1 2
             d poll => ok a 0:1 1:2
             c poll => ok a 0:1 2:3",
            "H9",
        ),
        (
            "offsets may have gaps",
            "p send a 1 3 => ok 0 2
             c poll => ok a 0:1 2:3",
            "",
        ),
        (
            "one left out, over which another was written",
            "a overwritten
             p send a 1 2 3 => ok 0 1 2
             d poll => ok a 0:1 1:2
             c poll => ok a 0:1 2:3",
            "",
        ),
        (
            "went back, although one was written over another",
            "a overwritten
             p send a 1 2 => ok 0 1
             c poll => ok a 1:2 0:1",
            "H10",
        ),
        (
            "went back",
            "p send a 1 2 => ok 0 1
             c poll => ok a 1:2 0:1",
            "H10",
        ),
        (
            "repeated",
            "p send a 1 => ok 0
             c poll => ok a 0:1 0:1",
            "H10",
        ),
        (
            "went back over an offset that was reset",
            "p send a 1 2 => ok 0 1
             c poll => ok a 1:2 a 0:1 reset=a",
            "",
        ),
        (
            "went back because the partition moved",
            "p send a 1 2 => ok 0 1
             c poll => ok a 1:2 0:1 moved=a",
            "",
        ),
        (
            "legal duplicates confuse nobody",
            "p sends plain
             p send a 1 2 => ok 2 3
             c poll => ok a 0:1 1:2 2:1 3:2",
            "",
        ),
        (
            "a compacted topic leaves out what it likes",
            "a compacted
             p send a 1 2 3 => ok 0 1 2
             d poll => ok a 0:1 1:2
             c poll => ok a 0:1 2:3",
            "",
        ),
    ]);
}

#[test]
fn a_consumer_goes_on_where_it_was() {
    tell(&[
        (
            "one left out",
            "p send a 1 2 3 => ok 0 1 2
             d poll => ok a 0:1 1:2
             c assign a
             c poll => ok a 0:1
             c poll => ok a 2:3",
            "H11",
        ),
        (
            "what lies between was deleted",
            "p send a 1 2 3 => ok 0 1 2
             d poll => ok a 0:1 1:2
             c assign a
             c poll => ok a 0:1
             m delete_records a 2 => ok 2
             c poll => ok a 2:3",
            "",
        ),
        (
            "went back",
            "p send a 1 2 => ok 0 1
             c assign a
             c poll => ok a 0:1 1:2
             c poll => ok a 1:2",
            "H12",
        ),
        (
            "went back after it had asked for that",
            "p send a 1 2 => ok 0 1
             c assign a
             c poll => ok a 0:1 1:2
             c assign a seek=beginning
             c poll => ok a 0:1",
            "",
        ),
        (
            "asked for an offset and got an earlier one",
            "p send a 1 2 => ok 0 1
             c assign a seek=1
             c poll => ok a 0:1 1:2",
            "H12",
        ),
        (
            "asked for an offset and got a later one",
            "p send a 1 2 3 => ok 0 1 2
             d poll => ok a 0:1
             c assign a seek=1
             c poll => ok a 2:3
             e poll => ok a 1:2",
            "H11",
        ),
        (
            "the same assignment again moves nothing",
            "p send a 1 2 => ok 0 1
             c assign a
             c poll => ok a 0:1 1:2
             c assign a b
             c poll => ok a 1:2",
            "H12",
        ),
        (
            "given up and taken again",
            "p send a 1 2 => ok 0 1
             c assign a
             c poll => ok a 0:1 1:2
             c assign b
             c assign a
             c poll => ok a 0:1",
            "",
        ),
        (
            "in a group repeats are at least once",
            "p send a 1 2 => ok 0 1
             c subscribe a
             c poll => ok a 0:1 1:2
             c poll => ok a 1:2",
            "",
        ),
        (
            "out of range resets",
            "p send a 1 2 => ok 0 1
             c assign a
             c poll => ok a 0:1 1:2
             c poll => ok a 0:1 reset=a",
            "",
        ),
    ]);
}

#[test]
fn what_is_sent_later_lies_later() {
    let read = "c poll => ok a 0:2 1:1 2:3";
    let one = |options: &str| {
        format!("p sends {options}\np send a 1 2 => ok 1 0\nq send a 3 => ok 2\n{read}")
    };
    let two = |options: &str| {
        format!(
            "p sends {options}\np send a 1 => ok 1\np send a 2 => ok 0\nq send a 3 => ok 2\n{read}"
        )
    };
    tell(&[
        ("one operation", &one(""), "H14"),
        ("one operation, no idempotence", &one("plain"), ""),
        ("no overtaking", &one("plain in_flight=1"), "H14"),
        ("nothing is tried again", &one("plain no_retries"), "H14"),
        ("two operations", &two(""), "H15 H26"),
        ("two operations, no idempotence", &two("plain"), "H26"),
        ("acks=1", &two("acks=1"), "H15"),
        (
            "acks=1, and the power was lost between",
            &format!(
                "p sends acks=1\np send a 1 => ok 1\npower lost\np send a 2 => ok 0\nq send a 3 => ok 2\n{read}"
            ),
            "",
        ),
        (
            "others in between",
            "p begins send a 1 2
             q send a 3 => ok 1
             p ends ok 0 2
             c poll => ok a 0:1 1:3 2:2",
            "",
        ),
    ]);
    let report = judged(
        "p begins send a 1 2
         q send a 3 => ok 1
         p ends ok 0 2
         c poll => ok a 0:1 1:3 2:2",
    );
    assert_eq!(
        report.permitted.get(&crate::checkers::CheckerId::H13),
        Some(&1)
    );
}

#[test]
fn writes_lie_in_the_order_of_time() {
    tell(&[
        (
            "acknowledged before the other began",
            "p send a 1 => ok 1
             q send a 2 => ok 0
             c poll => ok a 0:2 1:1",
            "H26",
        ),
        (
            "both under way at once",
            "p begins send a 1
             q begins send a 2
             p ends ok 1
             q ends ok 0
             c poll => ok a 0:2 1:1",
            "",
        ),
        (
            "in doubt, and read before what came first",
            "p send a 1 => ok 1
             q send a 2 => info
             c poll => ok a 0:2 1:1",
            "H26",
        ),
        (
            "acks=1 promises no order",
            "p sends acks=1
             p send a 1 => ok 1
             q send a 2 => ok 0
             c poll => ok a 0:2 1:1",
            "",
        ),
    ]);
}

#[test]
fn nobody_reads_what_nobody_wrote() {
    tell(&[
        ("a value from nowhere", "c poll => ok a 0:9", "H19"),
        (
            "a value of another partition",
            "p send b 9 => ok 0
             c poll => ok a 0:9 b 0:9",
            "H19",
        ),
        (
            "read before it was written",
            "c poll => ok a 0:9
             p send a 9 => ok 0",
            "H19",
        ),
        (
            "read before its write ended",
            "p begins send a 9
             c poll => ok a 0:9
             p ends ok 0",
            "",
        ),
    ]);
}

#[test]
fn listed_offsets_never_go_back() {
    tell(&[
        (
            "the end went back",
            "m list a latest=5
             m list a latest=4",
            "H20",
        ),
        (
            "another client may be told less: it asked another leader",
            "m list a latest=5
             n list a latest=4",
            "",
        ),
        (
            "the start went back",
            "m list a earliest=2
             m list a earliest=1",
            "H20",
        ),
        (
            "start beyond the end",
            "m list a earliest=6 latest=5",
            "H20",
        ),
        (
            "stable beyond the high watermark",
            "m list a committed=6 latest=5",
            "H20",
        ),
        (
            "stable below the start",
            "m list a earliest=3 committed=2",
            "H20",
        ),
        (
            "the end asked before the start: it may have grown between",
            "m list a latest=5 committed=4 earliest=4",
            "",
        ),
        (
            "all in order",
            "m list a earliest=0 committed=3 latest=5
             m list a earliest=3 committed=5 latest=5",
            "",
        ),
    ]);
}
