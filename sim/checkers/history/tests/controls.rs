//! What must not be reported: the negative controls of the bug catalogue as far as clients without transactions meet them,
//! groups' committed offsets, and losses of power.

use super::{judged, tell};
use crate::checkers::CheckerId;

#[test]
fn committed_offsets_are_a_register() {
    tell(&[
        (
            "read what was committed",
            "m committed g a => ok a=none
             m commit g a=5 => ok
             n committed g a => ok a=5",
            "",
        ),
        (
            "went back",
            "m commit g a=3 => ok
             m commit g a=5 => ok
             n committed g a => ok a=3",
            "H21",
        ),
        (
            "was forgotten",
            "m commit g a=3 => ok
             n committed g a => ok a=none",
            "H21",
        ),
        (
            "expired",
            "group g expires
             m commit g a=3 => ok
             n committed g a => ok a=none
             m commit g a=4 => ok
             n committed g a => ok a=4",
            "",
        ),
        (
            "was deleted with its group",
            "m commit g a=3 => ok
             m delete_group g => ok
             n committed g a => ok a=none
             m commit g a=4 => ok
             n committed g a => ok a=4",
            "",
        ),
        (
            "may have been deleted with its group",
            "m commit g a=3 => ok
             m delete_group g => info
             n committed g a => ok a=3
             n committed g a => ok a=none",
            "",
        ),
        (
            "is still there when its group was deleted",
            "m commit g a=3 => ok
             m delete_group g => ok
             n committed g a => ok a=3",
            "H21",
        ),
        (
            "is gone though its group could not be deleted",
            "m commit g a=3 => ok
             m delete_group g => fail
             n committed g a => ok a=none",
            "H21",
        ),
        (
            "is gone with another group",
            "m commit g a=3 => ok
             m delete_group h => ok
             n committed g a => ok a=none",
            "H21",
        ),
        (
            "expired, and came back",
            "group g expires
             m commit g a=3 => ok
             n committed g a => ok a=none
             n committed g a => ok a=3",
            "H21",
        ),
        (
            "a fenced commit took effect",
            "m commit g a=3 => ok
             o commit g a=2 => fail
             n committed g a => ok a=2",
            "H21",
        ),
        (
            "a request of it that was given up acts after what was committed later",
            "m commit g a=3 given_up=1 => ok
             m commit g a=5 => ok
             n committed g a => ok a=5
             n committed g a => ok a=3",
            "",
        ),
    ]);
}

#[test]
fn commits_in_doubt_act_once_and_at_any_time() {
    tell(&[
        (
            "a request that was given up acts twice",
            "m commit g a=3 given_up=1 => ok
             m commit g a=5 => ok
             n committed g a => ok a=3
             m commit g a=6 => ok
             n committed g a => ok a=3",
            "H21",
        ),
        (
            "a commit in doubt takes effect late",
            "o commit g a=2 => info
             m commit g a=3 => ok
             n committed g a => ok a=3
             n committed g a => ok a=2
             n committed g a => ok a=2",
            "",
        ),
        (
            "a commit in doubt takes effect once",
            "o commit g a=2 => info
             m commit g a=3 => ok
             n committed g a => ok a=2
             m commit g a=4 => ok
             n committed g a => ok a=2",
            "H21",
        ),
        (
            "nobody committed that",
            "m commit g a=3 => ok
             n committed g a => ok a=7",
            "H21",
        ),
        (
            "commits at the same time, in either order, but in one",
            "m begins commit g a=3
             o begins commit g a=4
             m ends ok
             o ends ok
             n committed g a => ok a=3
             n committed g a => ok a=3",
            "",
        ),
        (
            "commits at the same time, and both orders are seen",
            "m begins commit g a=3
             o begins commit g a=4
             m ends ok
             o ends ok
             n committed g a => ok a=3
             n committed g a => ok a=4",
            "H21",
        ),
        (
            "a read under way sees the old value or the new one",
            "m commit g a=3 => ok
             n begins committed g a
             m commit g a=4 => ok
             o committed g a => ok a=4
             n ends ok a=3",
            "",
        ),
        (
            "two reads, one after the other, see new then old",
            "m commit g a=3 => ok
             m begins commit g a=4
             n committed g a => ok a=4
             n committed g a => ok a=3
             m ends ok",
            "H21",
        ),
        (
            "reads hide a commit behind another",
            "m begins commit g a=3
             o begins commit g a=4
             n begins committed g a
             k begins committed g a
             n ends ok a=4
             k ends ok a=3
             m ends ok
             o ends ok
             n committed g a => ok a=4",
            "",
        ),
        (
            "groups and partitions are apart",
            "m commit g a=3 a1=8 => ok
             m commit h a=4 => ok
             n committed g a a1 => ok a=3 a1=8",
            "",
        ),
        (
            "unflushed commits went with the power",
            "m commit g a=3 => ok
             m commit g a=5 => ok
             group g lost
             n committed g a => ok a=3",
            "",
        ),
        (
            "they do not go twice",
            "m commit g a=3 => ok
             m commit g a=5 => ok
             group g lost
             n committed g a => ok a=3
             n committed g a => ok a=5",
            "H21",
        ),
    ]);
}

#[test]
fn the_negative_controls_are_not_reported() {
    tell(&[
        (
            "1: acks=0 and acks=1 lost, acks=1 superseded",
            "p sends acks=0
             q sends acks=1
             p send a 1 => ok
             q send a 2 3 => ok 0 1
             r send a 4 => ok 1
             c poll => ok a 0:2 1:4",
            "",
        ),
        (
            "2: unclean election",
            "unclean election
             p send a 1 2 => ok 0 1
             c poll => ok a 0:1 1:2
             q send a 3 => ok 0
             d poll => ok a 0:3
             c poll => ok a 0:3
             m commit g a=2 => ok
             m committed g a => ok a=none
             m list a latest=2
             m list a latest=1",
            "",
        ),
        (
            "3: lost with the power under asynchronous flush",
            "p sends replicated
             p send a 1 2 3 => ok 0 1 2
             c assign a
             c poll => ok a 0:1 1:2
             m list a latest=3
             a replicated lost 1..3
             m list a latest=1
             q send a 4 => ok 1
             c poll => ok a 1:4
             m list a latest=2",
            "",
        ),
        (
            "4: duplicates without idempotence, and under a new identity",
            "p sends plain
             p send a 1 2 => ok 2 3
             q send a 5 => info
             r send a 5 => ok 5
             c poll => ok a 0:1 1:2 2:1 3:2 4:5 5:5",
            "",
        ),
        (
            "5: others between the sends of one operation",
            "p begins send a 1 2 b 3 4
             q begins send a 5 b 6
             p ends ok 0 2 0 2
             q ends ok 1 1
             c poll => ok a 0:1 1:5 2:2 b 0:3 1:6 2:4",
            "",
        ),
        (
            "6: skips and repeats after a rebalance",
            "p send a 1 2 3 => ok 0 1 2
             c subscribe a
             d subscribe a
             c poll => ok a 0:1
             d poll => ok a 0:1 1:2
             c poll => ok a 2:3 moved=a
             c poll => ok a 1:2 2:3",
            "",
        ),
        (
            "9: offsets with gaps",
            "p send a 1 => ok 0
             p send a 2 => ok 3
             p send a 3 => ok 9
             c assign a
             c poll => ok a 0:1
             c poll => ok a 3:2 9:3",
            "",
        ),
        (
            "10: nothing works for a while",
            "p send a 1 => info
             q send a 2 => fail
             c poll => fail
             m committed g a => fail
             r send a 3 => ok 0
             c poll => ok a 0:3",
            "",
        ),
    ]);
}

#[test]
fn a_loss_of_power_excuses_exactly_what_was_not_durable() {
    tell(&[
        (
            "below the cut nothing is excused",
            "p send a 1 2 3 => ok 0 1 2
             a replicated lost 2..3
             c poll => ok a 0:1",
            "H16",
        ),
        (
            "what is acknowledged later is not excused",
            "p send a 1 2 => ok 0 1
             a replicated lost 1..2
             q send a 3 => ok 1
             c poll => ok a 0:1",
            "H16",
        ),
        (
            "what is read later is one history",
            "p send a 1 2 => ok 0 1
             a replicated lost 1..2
             q send a 3 => info
             r send a 4 => info
             c poll => ok a 0:1 1:3
             d poll => ok a 0:1 1:4",
            "H1a",
        ),
        (
            "class flushed, acks=all: nothing is excused",
            "p send a 1 2 => ok 0 1
             power lost
             c poll => ok a 0:1",
            "H16",
        ),
        (
            "class flushed, acks=1: may be lost, and the offset given again",
            "p sends acks=1
             p send a 1 2 => ok 0 1
             power lost
             q send a 3 => ok 1
             c poll => ok a 0:1 1:3",
            "",
        ),
        (
            "class flushed: whatever acks say, what was read stays",
            "p sends acks=1
             p send a 1 2 => ok 0 1
             c poll => ok a 0:1 1:2
             power lost
             q send a 3 => ok 1
             d poll => ok a 0:1 1:3",
            "H1a",
        ),
    ]);
}

#[test]
fn a_report_counts_its_work_and_what_it_permits() {
    let report = judged(
        "p sends plain
         p send a 1 => ok 1
         c poll => ok a 0:1 1:1
         a fenced
         q send b 7 => ok 0",
    );
    assert_eq!(report.permitted.get(&CheckerId::H2), Some(&1));
    assert_eq!(report.work.get(&CheckerId::H3), Some(&2));
    assert_eq!(report.found.get(&CheckerId::H16), Some(&1));
    let finding = &report.findings[0];
    assert_eq!(finding.object, "AAAAAAAAAGIAAAAAAAAAAA:0 value 7");
    assert_eq!(finding.operations, [4, 5]);
}

#[test]
fn an_answer_that_waited_is_as_old_as_its_question() {
    let text = "p send a 1 2 => ok 0 1
                a replicated lost 1..2
                c poll => ok a 0:1 1:2
                q send a 3 => ok 1
                d poll => ok a 0:1 1:3";
    let (mut history, expectations) = crate::history::story::story(text);
    let ask = |history: &mut crate::history::History, asked: u64| {
        for operation in &mut history.operations {
            if let crate::history::Body::Poll { reads, .. } = &mut operation.body {
                let of_lost = |read: &&mut crate::history::Read| read.records.contains(&(1, 2));
                reads
                    .iter_mut()
                    .filter(of_lost)
                    .for_each(|read| read.asked = Some(asked));
            }
        }
    };
    let found = |history: &crate::history::History| {
        let report = super::judge(history, &expectations).0;
        report.found.contains_key(&CheckerId::H1a)
    };
    ask(&mut history, u64::MAX);
    let is_found = found(&history);
    assert!(is_found, "what was asked for after the loss is one history");
    ask(&mut history, 0);
    let is_found = found(&history);
    assert!(!is_found, "what was asked for before it is excused");
}
