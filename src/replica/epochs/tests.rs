use proptest::prelude::*;

use super::*;

fn history(entries: &[(LeaderEpoch, Offset)]) -> EpochHistory {
    let entry = |&(epoch, start_offset)| EpochEntry {
        epoch,
        start_offset,
    };
    EpochHistory::from_entries(entries.iter().map(entry))
}

fn pairs(history: &EpochHistory) -> Vec<(LeaderEpoch, Offset)> {
    history
        .entries()
        .map(|entry| (entry.epoch, entry.start_offset))
        .collect()
}

#[test]
fn a_new_entry_removes_what_contradicts_it() {
    // Before, assigned, after.
    let table: &[(&[(i32, i64)], (i32, i64), &[(i32, i64)])] = &[
        (&[], (0, 0), &[(0, 0)]),
        (&[(0, 0)], (2, 10), &[(0, 0), (2, 10)]),
        (&[(0, 0), (2, 10)], (2, 15), &[(0, 0), (2, 10)]),
        (&[(0, 0), (2, 10)], (2, 5), &[(0, 0), (2, 5)]),
        (&[(0, 0), (2, 10)], (3, 10), &[(0, 0), (3, 10)]),
        (&[(0, 0), (2, 10)], (3, 7), &[(0, 0), (3, 7)]),
        (
            &[(0, 0), (2, 10), (4, 20)],
            (3, 15),
            &[(0, 0), (2, 10), (3, 15)],
        ),
        (&[(1, 5), (2, 10)], (0, 0), &[(0, 0)]),
    ];
    for &(before, (epoch, start), after) in table {
        let mut history = history(before);
        let changed = history.assign(epoch, start);
        assert_eq!(pairs(&history), after, "{before:?} + {epoch} at {start}");
        assert_eq!(changed, before != after, "{before:?} + {epoch} at {start}");
    }
}

#[test]
fn truncation_at_both_ends() {
    let entries = &[(1, 5), (3, 10), (4, 20)];
    // New log end, entries left.
    for (end, left) in [
        (30, &entries[..]),
        (21, entries),
        (20, &entries[..2]),
        (11, &entries[..2]),
        (10, &entries[..1]),
        (0, &[]),
    ] {
        let mut history = history(entries);
        assert_eq!(history.truncate_from_end(end), left.len() < 3, "end {end}");
        assert_eq!(pairs(&history), left, "end {end}");
    }
    // New log start, entries left.
    let table: &[(i64, &[(i32, i64)])] = &[
        (0, entries),
        (5, entries),
        (7, &[(1, 7), (3, 10), (4, 20)]),
        (10, &[(3, 10), (4, 20)]),
        (25, &[(4, 25)]),
    ];
    for &(start, left) in table {
        let mut history = history(entries);
        assert_eq!(
            history.truncate_from_start(start),
            left != entries,
            "start {start}"
        );
        assert_eq!(pairs(&history), left, "start {start}");
    }
}

#[test]
fn the_end_of_an_epoch() {
    let history = history(&[(2, 5), (4, 10), (7, 20)]);
    // Asked epoch, answered epoch and end in a log that ends at 33.
    for (asked, epoch, end) in [
        (-1, -1, -1),
        (0, 0, 5),
        (1, 1, 5),
        (2, 2, 10),
        (3, 2, 10),
        (4, 4, 20),
        (6, 4, 20),
        (7, 7, 33),
        (8, -1, -1),
    ] {
        let answer = history.end_offset_for_epoch(asked, 33);
        assert_eq!(
            (answer.epoch, answer.end_offset),
            (epoch, end),
            "epoch {asked}"
        );
    }
    assert_eq!(
        EpochHistory::new().end_offset_for_epoch(0, 9),
        EpochEnd::UNKNOWN
    );
}

#[test]
fn the_epoch_of_an_offset() {
    let history = history(&[(2, 5), (4, 10)]);
    for (offset, epoch) in [
        (0, None),
        (4, None),
        (5, Some(2)),
        (9, Some(2)),
        (10, Some(4)),
    ] {
        assert_eq!(history.epoch_of(offset), epoch, "offset {offset}");
    }
}

#[test]
fn the_checkpoint_is_kafkas() {
    // Written by Kafka 4.3.1.
    let text = "0\n1\n1 0\n";
    let read = EpochHistory::decode_checkpoint(text).expect("Kafka's own");
    assert_eq!(pairs(&read), [(1, 0)]);
    assert_eq!(read.encode_checkpoint(), text);
    for (text, error) in [
        ("", EpochsError::Line(1)),
        ("0\n", EpochsError::Line(2)),
        ("1\n0\n", EpochsError::Version(1)),
        ("0\nx\n", EpochsError::Line(2)),
        ("0\n1\n1\n", EpochsError::Line(3)),
        ("0\n1\n1 2 3\n", EpochsError::Line(3)),
        ("0\n1\n-1 2\n", EpochsError::Line(3)),
        (
            "0\n2\n1 0\n",
            EpochsError::Count {
                announced: 2,
                held: 1,
            },
        ),
    ] {
        assert_eq!(
            EpochHistory::decode_checkpoint(text),
            Err(error),
            "{text:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The history of a log, and where each epoch ends, are those of the records in it.
    #[test]
    fn the_history_is_a_function_of_the_log(
        runs in prop::collection::vec((1..3i32, 1..5usize), 1..8),
        cut in 0..30usize,
    ) {
        let mut log: Vec<LeaderEpoch> = Vec::new();
        let mut built = EpochHistory::new();
        let mut epoch = 0;
        for (step, records) in runs {
            epoch += step;
            for _ in 0..records {
                built.assign(epoch, log.len() as Offset);
                log.push(epoch);
            }
        }
        let cut = cut.min(log.len());
        log.truncate(cut);
        built.truncate_from_end(cut as Offset);
        for (offset, &epoch) in log.iter().enumerate() {
            prop_assert_eq!(built.epoch_of(offset as Offset), Some(epoch));
        }
        for asked in 0..=epoch + 1 {
            let end = log.iter().position(|&held| held > asked).unwrap_or(log.len());
            let answer = built.end_offset_for_epoch(asked, cut as Offset);
            if log.last().is_some_and(|&last| last >= asked) {
                prop_assert_eq!(answer.end_offset, end as Offset, "epoch {}", asked);
            } else {
                prop_assert_eq!(answer, EpochEnd::UNKNOWN);
            }
        }
        let text = built.encode_checkpoint();
        prop_assert_eq!(EpochHistory::decode_checkpoint(&text), Ok(built));
    }
}
