//! Producers.

use super::super::events::{Batch, Produced, ProducerSeen, Sent};
use super::{Death, Event, SECOND, Settings, Told, a, numbered, producer, tell, tell_with};
use crate::history::Acks;
use types::{ErrorCode, Offset};

#[test]
fn sequences_go_on() {
    tell(&[
        (
            "on and on",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 5, 5));
                told.commit(6);
                told.append(numbered(6, 6, 6));
                told.commit(7);
            },
            "",
        ),
        (
            "a batch twice",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 9, 0));
                told.commit(10);
            },
            "S14",
        ),
        (
            "a hole",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 9, 6));
                told.commit(10);
            },
            "S14",
        ),
        (
            "a batch twice, of a producer that was forgotten in between",
            |told| {
                told.append(numbered(0, 4, 0));
                told.commit(5);
                told.event(Event::ProducersExpired { key: a() });
                told.append(numbered(5, 9, 0));
                told.commit(10);
            },
            "",
        ),
        (
            "does not begin at 0",
            |told| {
                told.append(numbered(0, 4, 3));
                told.commit(5);
            },
            "S14",
        ),
        (
            "a new epoch begins at 0",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(Batch {
                    producer_epoch: 1,
                    ..numbered(5, 5, 0)
                });
                told.commit(6);
            },
            "",
        ),
        (
            "an epoch goes back",
            |told| {
                told.append(Batch {
                    producer_epoch: 1,
                    ..numbered(0, 4, 0)
                });
                told.append(numbered(5, 5, 0));
                told.commit(6);
            },
            "S14",
        ),
    ]);
}

#[test]
fn sequences_after_deletions_restarts_and_retries() {
    tell(&[
        (
            "what was deleted may be forgotten",
            |told| {
                told.append(numbered(0, 4, 0));
                told.commit(5);
                told.step(|seen| seen.log_start = 5);
                told.append(numbered(5, 5, 0));
                told.commit(6);
            },
            "",
        ),
        (
            "a restart commits the same batches again",
            |told| {
                told.append(numbered(0, 4, 0));
                told.write(5, 0);
                told.restart(Death::Power, None, 5);
                told.commit(5);
            },
            "",
        ),
        (
            "a duplicate is answered with where the first lies",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 9, 5));
                told.commit(10);
                told.acknowledge(
                    Acks::All,
                    Batch {
                        crc: 105,
                        ..numbered(0, 4, 5)
                    },
                    5,
                );
            },
            "",
        ),
        (
            "a duplicate is answered with where another lies",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 9, 5));
                told.commit(10);
                told.acknowledge(
                    Acks::All,
                    Batch {
                        crc: 105,
                        ..numbered(0, 4, 5)
                    },
                    0,
                );
            },
            "S14",
        ),
    ]);
}

#[test]
fn sequences_wrap() {
    let settings = Settings {
        first_sequences: [i32::MAX - 1].into(),
        ..Settings::default()
    };
    tell_with(
        &settings,
        &[
            (
                "a sequence wraps",
                |told| {
                    told.append(numbered(0, 1, i32::MAX - 1));
                    told.append(numbered(2, 3, 0));
                    told.append(numbered(4, 6, 2));
                    told.commit(7);
                },
                "",
            ),
            (
                "inside a batch",
                |told| {
                    told.append(numbered(0, 3, i32::MAX - 1));
                    told.append(numbered(4, 4, 2));
                    told.commit(5);
                },
                "",
            ),
            (
                "a sequence wraps to the wrong number",
                |told| {
                    told.append(numbered(0, 1, i32::MAX - 1));
                    told.append(numbered(2, 3, 1));
                    told.commit(4);
                },
                "S14",
            ),
        ],
    );
}

/// Six batches of one record; these are known.
fn window(told: &mut Told, known: &[i32]) {
    for sequence in 0..6 {
        let offset = i64::from(sequence);
        told.append(numbered(offset, offset, sequence));
    }
    let known = known.iter().map(|&sequence| (sequence, sequence.into()));
    let window = Some(known.collect());
    told.step(|seen| {
        (seen.assigned_end, seen.log_end) = (6, 6);
        seen.producers = Some(vec![ProducerSeen {
            window,
            ..producer(5, 5)
        }]);
    });
}

/// A batch is refused as out of order, so many seconds after it came. All up to `end` is written.
fn refuse(told: &mut Told, end: Offset, batch: Batch, seconds: u64) {
    told.step(|seen| (seen.assigned_end, seen.log_end) = (end, end));
    let began = (told.now + SECOND).saturating_sub(seconds * SECOND);
    told.event(Event::Produced(Produced {
        node: 1,
        began,
        key: a(),
        acks: Acks::All,
        batch,
        sent: Sent {
            crc: batch.crc,
            attributes: batch.attributes,
        },
        result: Err(ErrorCode::OutOfOrderSequenceNumber),
    }));
}

#[test]
fn what_is_in_order_is_not_refused() {
    tell(&[
        (
            "a gap",
            |told| {
                told.append(numbered(0, 1, 0));
                refuse(told, 2, numbered(0, 0, 3), 0);
            },
            "",
        ),
        (
            "the next one",
            |told| {
                told.append(numbered(0, 1, 0));
                refuse(told, 2, numbered(0, 0, 2), 0);
            },
            "S14",
        ),
        (
            "the next one, which came before the one before it",
            |told| {
                told.append(numbered(0, 1, 0));
                refuse(told, 2, numbered(0, 0, 2), 5);
            },
            "",
        ),
        (
            "a repeated one among the last five",
            |told| {
                for offset in 0..5 {
                    told.append(numbered(offset, offset, offset as i32));
                }
                refuse(told, 5, numbered(0, 0, 0), 0);
            },
            "S14",
        ),
        (
            "a repeated one before the last five",
            |told| {
                for offset in 0..6 {
                    told.append(numbered(offset, offset, offset as i32));
                }
                refuse(told, 6, numbered(0, 0, 0), 0);
            },
            "",
        ),
        (
            "the next one, of another epoch",
            |told| {
                told.append(numbered(0, 1, 0));
                let batch = Batch {
                    producer_epoch: 1,
                    ..numbered(0, 0, 2)
                };
                refuse(told, 2, batch, 0);
            },
            "",
        ),
    ]);
}

#[test]
fn producers_are_what_the_log_says() {
    tell(&[
        (
            "as the log says",
            |told| {
                told.append(numbered(0, 4, 0));
                told.step(|seen| {
                    (seen.assigned_end, seen.log_end) = (5, 5);
                    seen.producers = Some(vec![producer(4, 4)]);
                });
            },
            "",
        ),
        (
            "a batch could not be written, and another producer's got its place",
            |told| {
                told.append(numbered(0, 4, 0));
                told.step(|seen| seen.assigned_end = 5);
                told.step(|seen| seen.assigned_end = 0);
                // The step is told before the batch that it queued.
                let mut other = producer(4, 4);
                other.producer_id += 1;
                told.step(|seen| {
                    seen.assigned_end = 5;
                    seen.producers = Some(vec![other]);
                });
            },
            "",
        ),
        (
            "another sequence",
            |told| {
                told.append(numbered(0, 4, 0));
                told.step(|seen| {
                    (seen.assigned_end, seen.log_end) = (5, 5);
                    seen.producers = Some(vec![producer(3, 4)]);
                });
            },
            "S16",
        ),
        (
            "forgotten",
            |told| {
                told.append(numbered(0, 4, 0));
                told.step(|seen| {
                    (seen.assigned_end, seen.log_end) = (5, 5);
                    seen.producers = Some(vec![]);
                });
            },
            "S16",
        ),
        (
            "another producer, told by a damaged header",
            |told| {
                told.append(numbered(0, 4, 0));
                told.event(Event::LogDamaged {
                    key: a(),
                    is_overwritten: false,
                });
                told.step(|seen| {
                    (seen.assigned_end, seen.log_end) = (5, 5);
                    seen.producers = Some(vec![producer(3, 4)]);
                });
            },
            "",
        ),
        (
            "a batch beyond the recovered log is remembered",
            |told| {
                told.append(numbered(0, 4, 0));
                told.append(numbered(5, 9, 5));
                told.step(|seen| (seen.assigned_end, seen.log_end, seen.flushed) = (10, 10, 5));
                told.restart(Death::Power, None, 5);
                told.step(|seen| seen.producers = Some(vec![producer(9, 9)]));
            },
            "S16",
        ),
        (
            "forgotten in the middle of a life, though it may be gone after the next",
            |told| {
                told.append(numbered(0, 4, 0));
                told.commit(5);
                told.step(|seen| seen.producers = Some(vec![producer(4, 4)]));
                told.step(|seen| seen.log_start = 5);
                told.step(|seen| seen.producers = Some(vec![]));
            },
            "S16",
        ),
        (
            "forgotten with its records, by a restart",
            |told| {
                told.append(numbered(0, 4, 0));
                told.commit(5);
                told.step(|seen| seen.producers = Some(vec![producer(4, 4)]));
                told.step(|seen| (seen.log_start, seen.producers) = (5, None));
                told.restart(Death::Kill, None, 5);
                told.step(|seen| seen.producers = Some(vec![]));
            },
            "",
        ),
    ]);
}

#[test]
fn repeated_batches_are_known() {
    tell(&[
        (
            "the last five batches are known",
            |told| window(told, &[1, 2, 3, 4, 5]),
            "",
        ),
        (
            "a batch among the last five is not known",
            |told| window(told, &[1, 2, 4, 5]),
            "S16",
        ),
        (
            "one is known twice",
            |told| window(told, &[1, 2, 3, 4, 4, 5]),
            "S16",
        ),
    ]);
    let settings = Settings {
        producers_expire: true,
        ..Settings::default()
    };
    tell_with(
        &settings,
        &[
            (
                "the producer was forgotten, and went on",
                |told| window(told, &[3, 4, 5]),
                "",
            ),
            (
                "the producer was forgotten, and a batch since then is not known",
                |told| window(told, &[2, 4, 5]),
                "S16",
            ),
        ],
    );
}

#[test]
fn identities_are_given_once() {
    tell(&[
        (
            "a producer id twice",
            |told| {
                for _ in 0..2 {
                    told.event(Event::ProducerIdGiven {
                        producer_id: 7,
                        producer_epoch: 0,
                    });
                }
            },
            "S17",
        ),
        (
            "a producer id with its next epoch",
            |told| {
                for producer_epoch in 0..2 {
                    told.event(Event::ProducerIdGiven {
                        producer_id: 7,
                        producer_epoch,
                    });
                }
            },
            "",
        ),
    ]);
}
