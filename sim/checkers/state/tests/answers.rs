//! What a broker says.

use super::super::answers::contradiction;
use super::super::{Asked, Batch, Event, Fetched, OffsetsListed, Sent};
use super::{Told, a, batch, numbered, tell};
use crate::history::{Acks, Isolation};
use types::{ErrorCode, LeaderEpoch, Offset};

fn fetched(offset: Offset) -> Fetched {
    Fetched {
        node: 1,
        began: 0,
        key: a(),
        isolation: Isolation::ReadCommitted,
        offset,
        error: ErrorCode::None,
        has_records: true,
        length_bytes: 0,
        records_end: None,
        high_watermark: 10,
        last_stable: 8,
        log_start: 2,
    }
}

/// A log 2..10, of which 8 is stable.
fn log(told: &mut Told) {
    told.append(batch(0, 4));
    told.append(batch(5, 7));
    told.append(batch(8, 9));
    told.commit(10);
    told.step(|seen| (seen.log_start, seen.last_stable) = (2, 8));
    told.step(|_| {});
    told.step(|_| {});
}

fn list(told: &mut Told, isolation: Isolation, asked: Asked, offset: Offset) {
    log(told);
    told.event(Event::OffsetsListed(OffsetsListed {
        node: 1,
        began: 0,
        key: a(),
        isolation,
        asked,
        result: Ok(Some(offset)),
    }));
}

fn damaged(is_overwritten: bool) -> Event {
    Event::LogDamaged {
        key: a(),
        is_overwritten,
    }
}

/// A batch that its topic stamps with the log's time: what is stored differs from what was sent, each time.
fn stamped(at: u32) -> (Batch, Sent) {
    let stored = Batch {
        crc: at,
        attributes: 8,
        ..numbered(0, 4, 0)
    };
    let sent = Sent {
        crc: 900,
        attributes: 0,
    };
    (stored, sent)
}

#[test]
fn a_batch_that_is_sent_again_is_the_one_that_lies_there() {
    tell(&[
        (
            "stamped at another time",
            |told| {
                let (stored, sent) = stamped(1);
                told.append(stored);
                told.commit(5);
                told.acknowledge_sent(Acks::All, stored, sent, 0);
                told.acknowledge_sent(Acks::All, stamped(2).0, sent, 0);
            },
            "",
        ),
        (
            "stamped, and the first answer never left",
            |told| {
                let (stored, sent) = stamped(1);
                told.append(stored);
                told.commit(5);
                told.acknowledge_sent(Acks::All, stamped(2).0, sent, 0);
            },
            "",
        ),
        (
            "stamped, but other records",
            |told| {
                let (stored, sent) = stamped(1);
                told.append(stored);
                told.commit(5);
                told.acknowledge_sent(Acks::All, stored, sent, 0);
                let other = Sent { crc: 901, ..sent };
                told.acknowledge_sent(Acks::All, stamped(2).0, other, 0);
            },
            "S14",
        ),
        (
            "stored as it came, and its topic stamps since then",
            |told| {
                let (again, sent) = stamped(2);
                let stored = Batch {
                    crc: sent.crc,
                    ..numbered(0, 4, 0)
                };
                told.append(stored);
                told.commit(5);
                told.acknowledge_sent(Acks::All, again, sent, 0);
            },
            "",
        ),
        (
            "its topic stamps since then, but other records lie there",
            |told| {
                let (again, sent) = stamped(2);
                let stored = Batch {
                    crc: 901,
                    ..numbered(0, 4, 0)
                };
                told.append(stored);
                told.commit(5);
                told.acknowledge_sent(Acks::All, again, sent, 0);
            },
            "S14",
        ),
        (
            "stamped, but of another place",
            |told| {
                let (stored, sent) = stamped(1);
                told.append(stored);
                told.commit(5);
                let later = Batch {
                    base_sequence: 5,
                    ..stamped(2).0
                };
                told.acknowledge_sent(Acks::All, later, sent, 0);
            },
            "S14",
        ),
        (
            "nothing may be encoded anew, and it is another",
            |told| {
                told.append(numbered(0, 4, 0));
                told.commit(5);
                let other = Batch {
                    crc: 901,
                    ..numbered(0, 4, 0)
                };
                told.acknowledge(Acks::All, other, 0);
            },
            "S14",
        ),
    ]);
}

#[test]
fn an_acknowledgement_leaves_when_its_record_is_safe() {
    tell(&[
        (
            "committed and flushed",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.acknowledge(Acks::All, batch(0, 4), 0);
            },
            "",
        ),
        (
            "before it is committed",
            |told| {
                told.append(batch(0, 4));
                told.step(|seen| (seen.assigned_end, seen.log_end, seen.flushed) = (5, 5, 5));
                told.acknowledge(Acks::All, batch(0, 4), 0);
            },
            "S11",
        ),
        (
            "acks=1 waits for nobody",
            |told| {
                told.append(batch(0, 4));
                told.step(|seen| (seen.assigned_end, seen.log_end) = (5, 5));
                told.acknowledge(Acks::Leader, batch(0, 4), 0);
            },
            "",
        ),
        (
            "another batch lies there",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.commit(10);
                told.acknowledge(Acks::All, batch(5, 9), 0);
            },
            "S11",
        ),
        (
            "no batch begins there",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.acknowledge(Acks::Leader, batch(0, 4), 3);
            },
            "S11",
        ),
        (
            "after the disk failed",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.disk_failed();
                told.append(batch(5, 6));
                told.commit(7);
                told.acknowledge(Acks::All, batch(5, 6), 5);
            },
            "S39",
        ),
        (
            "while the sync that will fail is under way",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.event(Event::DiskFailed { node: 1, key: a() });
                told.append(batch(5, 6));
                told.commit(7);
                told.acknowledge(Acks::All, batch(5, 6), 5);
                told.event(Event::FailureTold { node: 1, key: a() });
            },
            "",
        ),
        (
            "after the broker was told of the sync that failed",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.event(Event::DiskFailed { node: 1, key: a() });
                told.append(batch(5, 6));
                told.event(Event::FailureTold { node: 1, key: a() });
                told.append(batch(7, 8));
                told.commit(9);
                told.acknowledge(Acks::All, batch(7, 8), 7);
            },
            "S39",
        ),
        (
            "after the disk failed, of what was written before",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.disk_failed();
                told.acknowledge(Acks::All, batch(0, 4), 0);
            },
            "",
        ),
        (
            "after the disk failed and the log was opened again",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.disk_failed();
                told.restart(super::Death::Kill, None, 5);
                told.commit(5);
                told.acknowledge(Acks::All, batch(0, 4), 0);
            },
            "",
        ),
    ]);
}

#[test]
fn a_fetch_stays_below_its_bound() {
    tell(&[
        (
            "below",
            |told| {
                log(told);
                told.event(Event::Fetched(fetched(2)));
            },
            "",
        ),
        (
            "from the last stable offset on",
            |told| {
                log(told);
                told.event(Event::Fetched(fetched(8)));
            },
            "S36",
        ),
        (
            "up to the high watermark at read_uncommitted",
            |told| {
                log(told);
                told.event(Event::Fetched(Fetched {
                    isolation: Isolation::ReadUncommitted,
                    records_end: Some(10),
                    ..fetched(8)
                }));
            },
            "",
        ),
        (
            "more than the last stable offset",
            |told| {
                log(told);
                told.event(Event::Fetched(Fetched {
                    records_end: Some(10),
                    ..fetched(2)
                }));
            },
            "S36",
        ),
        (
            "a high watermark that is not true",
            |told| {
                log(told);
                told.event(Event::Fetched(Fetched {
                    high_watermark: 11,
                    has_records: false,
                    ..fetched(2)
                }));
            },
            "S36",
        ),
        (
            "records that are not committed",
            |told| {
                log(told);
                told.append(batch(10, 12));
                told.event(Event::Fetched(Fetched {
                    isolation: Isolation::ReadUncommitted,
                    high_watermark: 13,
                    ..fetched(2)
                }));
            },
            "S10 S36",
        ),
    ]);
}

#[test]
fn a_fetch_gets_whole_batches_of_what_is_there() {
    tell(&[
        (
            "out of range inside the log",
            |told| {
                log(told);
                told.event(Event::Fetched(Fetched {
                    error: ErrorCode::OffsetOutOfRange,
                    ..fetched(4)
                }));
            },
            "S36",
        ),
        (
            "out of range below the log start",
            |told| {
                log(told);
                told.event(Event::Fetched(Fetched {
                    error: ErrorCode::OffsetOutOfRange,
                    ..fetched(1)
                }));
            },
            "",
        ),
        (
            "whole batches",
            |told| {
                log(told);
                told.event(Event::Fetched(Fetched {
                    length_bytes: 200,
                    ..fetched(3)
                }));
            },
            "",
        ),
        (
            "whole batches, more than the last stable offset permits",
            |told| {
                log(told);
                told.event(Event::Fetched(Fetched {
                    length_bytes: 300,
                    ..fetched(3)
                }));
            },
            "S36",
        ),
        (
            "half a batch",
            |told| {
                log(told);
                told.event(Event::Fetched(Fetched {
                    length_bytes: 150,
                    ..fetched(3)
                }));
            },
            "S36",
        ),
        (
            "half a batch, where a damaged header may say so",
            |told| {
                log(told);
                told.event(damaged(false));
                told.event(Event::Fetched(Fetched {
                    length_bytes: 150,
                    ..fetched(3)
                }));
            },
            "",
        ),
        (
            "the log start deletes what was shown: with right",
            |told| {
                log(told);
                told.event(Event::Fetched(fetched(2)));
                told.step(|seen| seen.log_start = 8);
            },
            "",
        ),
    ]);
}

#[test]
fn listed_offsets_are_what_the_log_says() {
    use Isolation::{ReadCommitted, ReadUncommitted};
    tell(&[
        (
            "the start",
            |told| list(told, ReadCommitted, Asked::Earliest, 2),
            "",
        ),
        (
            "no start",
            |told| list(told, ReadCommitted, Asked::Earliest, 1),
            "S37",
        ),
        (
            "the end",
            |told| list(told, ReadUncommitted, Asked::Latest, 10),
            "",
        ),
        (
            "the stable end",
            |told| list(told, ReadCommitted, Asked::Latest, 8),
            "",
        ),
        (
            "the end, to a reader of stable data",
            |told| list(told, ReadCommitted, Asked::Latest, 10),
            "S37",
        ),
        (
            "a time",
            |told| list(told, ReadUncommitted, Asked::Timestamp(1_003), 5),
            "",
        ),
        (
            "a time of records that were deleted while it was looked for",
            |told| list(told, ReadUncommitted, Asked::Timestamp(1_001), 1),
            "",
        ),
        (
            "a time that came earlier",
            |told| list(told, ReadUncommitted, Asked::Timestamp(1_003), 8),
            "S37",
        ),
        (
            "a time that came earlier, where bits have rotted",
            |told| {
                told.event(damaged(false));
                list(told, ReadUncommitted, Asked::Timestamp(1_003), 8);
            },
            "S37",
        ),
        (
            "a time that came earlier, where another batch may lie now",
            |told| {
                told.event(damaged(true));
                list(told, ReadUncommitted, Asked::Timestamp(1_003), 8);
            },
            "",
        ),
        (
            "a time that comes later",
            |told| list(told, ReadUncommitted, Asked::Timestamp(1_008), 5),
            "S37",
        ),
    ]);
}

#[test]
fn the_ends_of_epochs_are_what_the_log_says() {
    let of = |epoch, base_offset, last_offset| Batch {
        leader_epoch: epoch,
        base_offset,
        last_offset,
        ..numbered(0, 4, 0)
    };
    let log = [of(2, 5, 7), of(2, 8, 8), of(4, 9, 11), of(7, 12, 12)];
    let cases: [(&str, LeaderEpoch, (LeaderEpoch, Offset), bool); 14] = [
        ("an old one", 2, (2, 9), true),
        ("one without batches", 3, (2, 9), true),
        ("one whose leader appended nothing", 3, (3, 9), true),
        ("the newest, before its last batch", 7, (7, 12), true),
        ("the newest", 7, (7, 13), true),
        (
            "a later one whose leader appended nothing",
            8,
            (8, 13),
            true,
        ),
        ("one to come", 8, (-1, -1), true),
        ("one before the log", 1, (1, 5), true),
        ("it ends later", 2, (2, 12), false),
        ("it ends earlier", 2, (2, 8), false),
        ("there is a larger one", 6, (2, 12), false),
        ("there are later ones, so it is known", 4, (-1, -1), false),
        ("the newest is known", 7, (-1, -1), false),
        ("a later one than was asked for", 3, (4, 12), false),
    ];
    for (name, asked, (epoch, end), is_right) in cases {
        let problem = contradiction(log.iter(), asked, epoch, end);
        assert_eq!(problem.is_none(), is_right, "{name}: {problem:?}");
    }
}
