//! Restarts: what was promised, what is excused.

use super::super::events::Batch;
use super::{Death, Event, Recovered, a, batch, numbered, producer, tell};
use crate::history::Acks;

#[test]
fn a_restart_keeps_what_was_promised() {
    tell(&[
        (
            "all of it",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.acknowledge(
                    Acks::All,
                    Batch {
                        leader_epoch: -1,
                        ..batch(0, 4)
                    },
                    0,
                );
                told.restart(Death::Power, Some(5), 5);
            },
            "",
        ),
        (
            "lost with the power, though flushed and acknowledged",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.acknowledge(Acks::All, batch(0, 4), 0);
                told.restart(Death::Power, None, 0);
            },
            "S12 S13",
        ),
        (
            "lost with the power, never flushed",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.append(batch(5, 9));
                told.step(|seen| (seen.assigned_end, seen.log_end) = (10, 10));
                told.restart(Death::Power, Some(5), 5);
            },
            "",
        ),
    ]);
}

#[test]
fn a_restart_may_begin_inside_of_a_batch() {
    tell(&[
        (
            "a log start inside of a batch that the loss withdrew and left",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.write(10, 0);
                told.step(|seen| seen.log_start = 7);
                told.restart(Death::Power, Some(0), 10);
                told.commit(10);
            },
            "",
        ),
        (
            "a log start inside of an acknowledged batch that was never flushed and is lost",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.write(10, 5);
                told.acknowledge(Acks::All, batch(5, 9), 5);
                told.step(|seen| seen.log_start = 7);
                told.restart(Death::Power, Some(5), 7);
            },
            "",
        ),
        (
            "a log start inside of an acknowledged batch that was flushed and is lost",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.write(10, 10);
                told.acknowledge(Acks::All, batch(5, 9), 5);
                told.step(|seen| seen.log_start = 7);
                told.restart(Death::Power, Some(10), 7);
            },
            "S12 S13",
        ),
        (
            "a log start inside of a batch that was lost: its producer goes back to the one before",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 9, 5));
                told.write(10, 5);
                told.step(|seen| seen.log_start = 7);
                told.restart(Death::Power, Some(5), 7);
                told.step(|seen| seen.producers = Some(vec![producer(4, 4)]));
            },
            "",
        ),
        (
            "a log start inside of a batch that was kept: its producer does not go back",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 9, 5));
                told.write(10, 5);
                told.step(|seen| seen.log_start = 7);
                told.restart(Death::Power, Some(5), 10);
                told.step(|seen| seen.producers = Some(vec![producer(4, 4)]));
            },
            "S16",
        ),
        (
            "withdrawn, left, and deleted before it is committed anew: its producer went on",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 9, 5));
                told.append(numbered(10, 14, 10));
                told.write(15, 5);
                told.restart(Death::Power, Some(5), 15);
                told.seen.log_start = 10;
                told.commit(15);
            },
            "",
        ),
        (
            "it ends inside of a batch, and does not begin there",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.write(10, 0);
                told.restart(Death::Power, Some(0), 7);
            },
            "S13",
        ),
        (
            "a producer of deleted records is forgotten",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 9, 5));
                told.commit(10);
                told.step(|seen| seen.log_start = 10);
                told.restart(Death::Kill, None, 10);
                told.step(|seen| seen.producers = Some(Vec::new()));
            },
            "",
        ),
        (
            "a producer of deleted records goes back to one that it had gone on from",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 9, 5));
                told.commit(10);
                told.step(|seen| seen.log_start = 10);
                told.restart(Death::Kill, None, 10);
                told.step(|seen| seen.producers = Some(vec![producer(4, 4)]));
            },
            "S16",
        ),
        (
            "written, and lost though only the process died",
            |told| {
                told.append(batch(0, 4));
                told.step(|seen| (seen.assigned_end, seen.log_end) = (5, 5));
                told.restart(Death::Kill, None, 0);
            },
            "S13",
        ),
    ]);
}

#[test]
fn log_starts_stay_and_failed_syncs_drop() {
    tell(&[
        (
            "the log start goes back",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.commit(10);
                told.step(|seen| (seen.log_start, seen.last_stable) = (5, 10));
                told.step(|seen| seen.log_start = 0);
            },
            "S31",
        ),
        (
            "the log start goes back through a restart",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.commit(10);
                told.step(|seen| seen.log_start = 5);
                told.seen.log_start = 0;
                told.restart(Death::Kill, None, 10);
            },
            "S31",
        ),
        (
            "a loss of power brings back what retention took",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.commit(10);
                told.step(|seen| seen.log_start = 5);
                told.seen.log_start = 0;
                told.restart(Death::Power, None, 10);
            },
            "",
        ),
        (
            "written, and dropped by a sync that failed",
            |told| {
                told.append(batch(0, 4));
                told.step(|seen| (seen.assigned_end, seen.log_end) = (5, 5));
                told.event(Event::DiskFailed { node: 1, key: a() });
                told.restart(Death::Kill, None, 0);
            },
            "",
        ),
        (
            "flushed, and lost though only a later sync failed",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.event(Event::DiskFailed { node: 1, key: a() });
                told.restart(Death::Kill, None, 0);
            },
            "S13",
        ),
        (
            "committed and not flushed, and dropped by a sync that failed",
            |told| {
                told.append(batch(0, 4));
                told.write(5, 0);
                told.event(Event::DiskFailed { node: 1, key: a() });
                told.restart(Death::Kill, None, 0);
            },
            "",
        ),
        (
            "more than was ever appended",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.restart(Death::Power, None, 7);
            },
            "S13",
        ),
    ]);
}

#[test]
fn what_is_believed_to_be_flushed_is() {
    tell(&[
        (
            "the broker believes flushed what is not",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.event(Event::DurableAt {
                    node: 1,
                    key: a(),
                    end: 0,
                });
            },
            "S13",
        ),
        (
            "and acknowledged it",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.acknowledge(Acks::All, batch(0, 4), 0);
                told.fetch(0);
                told.event(Event::DurableAt {
                    node: 1,
                    key: a(),
                    end: 0,
                });
            },
            "S10 S11 S13",
        ),
    ]);
}

#[test]
fn at_the_end_the_disk_holds_it_all() {
    let swept = |batches: &[Batch]| Event::Swept {
        node: 1,
        key: a(),
        batches: batches.to_vec(),
    };
    let story = |told: &mut super::Told| {
        told.append(batch(0, 4));
        told.append(batch(5, 9));
        told.commit(10);
        told.acknowledge(Acks::All, batch(0, 4), 0);
    };
    for (name, on_disk, expected) in [
        ("all", vec![batch(0, 4), batch(5, 9)], ""),
        ("an acknowledged one is gone", vec![batch(5, 9)], "S12"),
        (
            "an acknowledged one is another",
            vec![
                Batch {
                    crc: 9,
                    ..batch(0, 4)
                },
                batch(5, 9),
            ],
            "S12",
        ),
        ("a committed one is gone", vec![batch(0, 4)], "S13"),
    ] {
        let mut told = super::Told::new(super::Settings::default());
        story(&mut told);
        told.event(swept(&on_disk));
        let report = told.state.finish();
        let names: Vec<_> = report.found.keys().map(|checker| checker.name()).collect();
        assert_eq!(names.join(" "), expected, "{name}: {:#?}", report.findings);
    }
}

#[test]
fn a_log_begins_anew_inside_of_a_batch() {
    // Records up to 7 were deleted, and a loss of power took the batch that 7 lies in.
    let begins_anew = |told: &mut super::Told, durable| {
        told.step(|seen| seen.log_start = 7);
        told.restart(Death::Power, Some(durable), 7);
        let next = Batch {
            leader_epoch: 2,
            ..batch(7, 8)
        };
        told.append(next);
        told.commit(9);
        told.event(Event::Swept {
            node: 1,
            key: a(),
            batches: vec![next],
        });
    };
    for (name, is_flushed, expected) in [
        ("of which nothing was promised", false, ""),
        ("that was acknowledged and flushed", true, "S12 S13"),
    ] {
        let mut told = super::Told::new(super::Settings::default());
        told.append(batch(0, 4));
        told.append(batch(5, 9));
        if is_flushed {
            told.commit(10);
        } else {
            told.write(10, 5);
        }
        told.acknowledge(Acks::All, batch(5, 9), 5);
        begins_anew(&mut told, if is_flushed { 10 } else { 5 });
        let report = told.state.finish();
        let names: Vec<_> = report.found.keys().map(|checker| checker.name()).collect();
        assert_eq!(names.join(" "), expected, "{name}: {:#?}", report.findings);
    }
}

#[test]
fn what_is_excused_and_what_is_recovered() {
    tell(&[
        (
            "class replicated: cut to what is durable, and excused",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.write(10, 5);
                told.acknowledge(Acks::All, batch(5, 9), 5);
                told.fetch(0);
                told.restart(Death::Power, Some(5), 5);
                let excused = &told.state.excused()[&a()][0];
                assert_eq!((excused.from, excused.until), (5, 10));
                told.append(Batch {
                    leader_epoch: 2,
                    crc: 9,
                    ..batch(5, 5)
                });
                told.write(6, 6);
            },
            "",
        ),
        (
            "class replicated: below what is durable nothing is excused",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.write(10, 5);
                told.acknowledge(Acks::All, batch(0, 4), 0);
                told.restart(Death::Power, Some(5), 0);
            },
            "S12 S13",
        ),
        (
            "other batches than were appended",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.event(Event::Recovered(Recovered {
                    node: 1,
                    key: a(),
                    death: Death::Power,
                    log_start: 0,
                    log_end: 5,
                    batches: Some(vec![Batch {
                        crc: 1,
                        ..batch(0, 4)
                    }]),
                    is_fenced: false,
                }));
            },
            "S13",
        ),
        (
            "recovered twice, to two states",
            |told| {
                told.event(Event::ImageRecovered { image: 1, state: 2 });
                told.event(Event::ImageRecovered { image: 1, state: 3 });
            },
            "S13",
        ),
        (
            "recovered twice, to one state",
            |told| {
                told.event(Event::ImageRecovered { image: 1, state: 2 });
                told.event(Event::ImageRecovered { image: 1, state: 2 });
            },
            "",
        ),
        (
            "nobody told of the opening: the first step does",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.event(Event::Died {
                    node: 1,
                    death: Death::Kill,
                    durable: vec![],
                });
                told.step(|seen| {
                    (seen.assigned_end, seen.log_end, seen.flushed) = (0, 0, 0);
                    (seen.high_watermark, seen.last_stable) = (0, 0);
                });
            },
            "S13",
        ),
    ]);
}
