//! Logs.

use super::super::events::Batch;
use super::{Death, batch, tell};

#[test]
fn a_log_is_in_order() {
    tell(&[
        (
            "all is well",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 5));
                told.commit(6);
                told.step(|seen| seen.log_start = 3);
                told.append(batch(6, 9));
                told.commit(10);
            },
            "",
        ),
        (
            "high watermark beyond the log end",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.commit(10);
                told.step(|seen| seen.high_watermark = 11);
            },
            "S7",
        ),
        (
            "high watermark goes back in one epoch",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.step(|seen| (seen.high_watermark, seen.last_stable) = (4, 4));
            },
            "S7",
        ),
        (
            "high watermark goes back in a new life",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 5));
                told.commit(6);
                told.restart(Death::Kill, None, 6);
                told.commit(6);
            },
            "",
        ),
        (
            "committed before it is flushed, where flushing is promised",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.append(batch(5, 9));
                told.step(|seen| {
                    (seen.assigned_end, seen.log_end, seen.high_watermark) = (10, 10, 10);
                });
            },
            "S7",
        ),
        (
            "committed before it is flushed, where copies are promised",
            |told| {
                told.append(batch(0, 4));
                told.write(5, 0);
            },
            "",
        ),
        (
            "log start above the high watermark",
            |told| {
                told.append(batch(0, 4));
                told.step(|seen| (seen.assigned_end, seen.log_end, seen.log_start) = (5, 5, 5));
            },
            "S31",
        ),
        (
            "log start goes back",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.step(|seen| seen.log_start = 3);
                told.step(|seen| seen.log_start = 2);
            },
            "S31",
        ),
    ]);
}

#[test]
fn offsets_and_epochs_grow() {
    tell(&[
        (
            "a hole",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(6, 9));
            },
            "S9",
        ),
        (
            "an offset twice, after it was written",
            |told| {
                told.append(batch(0, 4));
                told.step(|seen| (seen.assigned_end, seen.log_end) = (5, 5));
                told.append(batch(0, 2));
            },
            "S9",
        ),
        (
            "an offset twice, because the first was taken back before it was written",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(0, 2));
                told.commit(3);
            },
            "",
        ),
        (
            "an offset twice, after it was committed",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.fetch(0);
                told.append(batch(0, 4));
            },
            "S9 S10",
        ),
        (
            "an older epoch",
            |told| {
                told.append(Batch {
                    leader_epoch: 3,
                    ..batch(0, 4)
                });
                told.append(batch(5, 9));
            },
            "S9",
        ),
        (
            "the history of epochs says otherwise",
            |told| {
                told.append(batch(0, 4));
                told.step(|seen| seen.epochs = vec![(1, 0), (2, 3)]);
                told.append(batch(5, 9));
                told.commit(10);
            },
            "S9",
        ),
        (
            "the log, and the history of epochs with it, begins in a batch that is committed then",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                (told.seen.log_start, told.seen.epochs) = (7, vec![(1, 7)]);
                told.commit(10);
            },
            "",
        ),
        (
            "the history says otherwise of the batch in which the log begins",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                (told.seen.log_start, told.seen.epochs) = (7, vec![(2, 7)]);
                told.commit(10);
            },
            "S9",
        ),
        (
            "an epoch without records",
            |told| {
                told.append(batch(0, 4));
                told.step(|seen| {
                    (seen.assigned_end, seen.log_end) = (5, 5);
                    seen.epochs = vec![(1, 0), (2, 5), (3, 5)];
                });
                told.append(Batch {
                    leader_epoch: 3,
                    ..batch(5, 9)
                });
                told.commit(10);
            },
            "",
        ),
        (
            "a leader truncates",
            |told| {
                told.append(batch(0, 4));
                told.append(batch(5, 9));
                told.commit(10);
                told.step(|seen| {
                    (seen.assigned_end, seen.log_end, seen.flushed) = (5, 5, 5);
                    (seen.high_watermark, seen.last_stable) = (5, 5);
                });
            },
            "S7 S8",
        ),
    ]);
}
