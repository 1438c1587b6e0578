use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::{MarkerKind, SnapshotError};

const LOADED: Wall = Wall::from_millis(5);

fn batch(producer_id: i64, producer_epoch: i16, base_sequence: i32, records: i32) -> BatchSummary {
    BatchSummary {
        producer_id,
        producer_epoch,
        base_sequence,
        ..BatchSummary::plain(records, 100, 70)
    }
}

/// Appends a client's batch at `offset` if it is to be appended.
fn offer(
    state: &mut ProducerState,
    offset: Offset,
    batch: &BatchSummary,
) -> Result<SequenceVerdict, SequenceError> {
    let verdict = state.judge(batch, Origin::Client)?;
    if verdict == SequenceVerdict::Append {
        state.append(offset, batch, LOADED);
    }
    state.check();
    Ok(verdict)
}

/// Replays a line of `kafka_producers.txt` and gives our answer in its words.
struct Witness {
    state: ProducerState,
    end: Offset,
}

impl Witness {
    fn answer(&mut self, question: &str) -> String {
        let words: Vec<&str> = question.split(' ').collect();
        let number = |at: usize| words[at].parse::<i64>().expect("a number");
        match words[0] {
            "committed" => {
                self.state.decide_below(number(1));
                let first = self.state.first_undecided_offset().unwrap_or(-1);
                format!("first unstable {first}")
            }
            "producer" => self.describe(number(1)),
            "snapshot" => self.newest_entries_of_snapshot(),
            "commit" | "abort" => {
                let kind = if words[0] == "commit" {
                    MarkerKind::Commit
                } else {
                    MarkerKind::Abort
                };
                let coordinator_epoch = number(3) as i32;
                let marker = ControlMarker {
                    kind,
                    coordinator_epoch,
                    timestamp: number(4),
                };
                let summary = BatchSummary {
                    is_control: true,
                    is_transactional: true,
                    ..batch(number(1), number(2) as i16, -1, 1)
                };
                self.replay(&summary, Some(marker))
            }
            kind => {
                let summary = BatchSummary {
                    max_timestamp: number(5),
                    is_transactional: kind == "log-txn",
                    ..batch(
                        number(1),
                        number(2) as i16,
                        number(3) as i32,
                        number(4) as i32 + 1,
                    )
                };
                if kind == "client" {
                    self.offer(&summary)
                } else {
                    self.replay(&summary, None)
                }
            }
        }
    }

    fn offer(&mut self, summary: &BatchSummary) -> String {
        let at = self.end;
        match offer(&mut self.state, at, summary) {
            Ok(SequenceVerdict::Append) => {
                self.end += i64::from(summary.record_count);
                format!("append at {at}")
            }
            Ok(SequenceVerdict::Duplicate(range)) => {
                format!(
                    "duplicate of {} to {}",
                    range.base_offset(),
                    range.last_offset
                )
            }
            Err(error) => error.code().name().into(),
        }
    }

    fn replay(&mut self, summary: &BatchSummary, marker: Option<ControlMarker>) -> String {
        let at = self.end;
        let completed = match self.state.replay(at, summary, marker, LOADED) {
            Ok(completed) => completed,
            Err(ReplayError::PlainBatchInTransaction { .. }) => return "INVALID_TXN_STATE".into(),
            Err(error) => panic!("{error}"),
        };
        self.state.check();
        self.end += i64::from(summary.record_count);
        let mut answer = format!("append at {at}");
        if let Some(done) = completed {
            let ends = match done.kind {
                MarkerKind::Commit => "commits",
                MarkerKind::Abort => "aborts",
            };
            let CompletedTransaction {
                first_offset,
                last_offset,
                last_stable_offset,
                ..
            } = done;
            let _ = write!(
                answer,
                ", {ends} {first_offset} to {last_offset}, stable {last_stable_offset}"
            );
        }
        answer
    }

    fn describe(&self, id: ProducerId) -> String {
        let entry = self.state.get(id).expect("a known producer");
        let mut answer = format!(
            "epoch {} timestamp {} coordinator {} txn {} batches",
            entry.producer_epoch,
            entry.last_timestamp,
            entry.coordinator_epoch,
            entry.current_txn_first_offset.unwrap_or(-1)
        );
        for range in entry.batches() {
            let (first, last) = (range.base_sequence(), range.last_sequence);
            let _ = write!(
                answer,
                " {first}..{last}@{}..{}",
                range.base_offset(),
                range.last_offset
            );
        }
        answer
    }

    /// Our snapshot as a reader sees it that knows one entry a producer.
    fn newest_entries_of_snapshot(&self) -> String {
        let ours = self.state.encode_snapshot();
        let mut newest: BTreeMap<i64, &[u8]> = BTreeMap::new();
        for entry in ours[10..].chunks_exact(46) {
            let id = i64::from_be_bytes(*entry.first_chunk().expect("an entry has an id"));
            newest.insert(id, entry);
        }
        let mut body = (newest.len() as i32).to_be_bytes().to_vec();
        body.extend(newest.into_values().flatten());
        let mut file = 1i16.to_be_bytes().to_vec();
        file.extend(protocol::records::crc32c(&body).to_be_bytes());
        file.extend(body);
        file.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[test]
fn every_answer_is_kafkas() {
    let mut witness = Witness {
        state: ProducerState::new(),
        end: 0,
    };
    let mut answers = 0;
    for (number, line) in include_str!("kafka_producers.txt").lines().enumerate() {
        if line.starts_with("story") {
            witness = Witness {
                state: ProducerState::new(),
                end: 0,
            };
        }
        if let Some((question, answer)) = line.split_once(" -> ") {
            assert_eq!(
                witness.answer(question),
                answer,
                "line {}: {question}",
                number + 1
            );
            answers += 1;
        }
    }
    assert!(answers > 900, "only {answers} answers were compared");
}

#[test]
fn kafkas_snapshots_are_read() {
    for line in include_str!("kafka_producers.txt").lines() {
        let Some(hex) = line.strip_prefix("snapshot -> ") else {
            continue;
        };
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let file: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
        let state = ProducerState::decode_snapshot(&file, 1000, LOADED).expect("Kafka's own");
        assert_eq!(
            state.encode_snapshot(),
            file,
            "one entry a producer is written as Kafka does"
        );
    }
}

#[test]
fn a_snapshot_keeps_the_whole_window() {
    let mut state = ProducerState::new();
    for number in 0..7 {
        offer(
            &mut state,
            i64::from(number) * 3,
            &batch(9, 0, number * 3, 3),
        )
        .expect("in order");
    }
    let file = state.encode_snapshot();
    let loaded = ProducerState::decode_snapshot(&file, 21, LOADED).expect("our own");
    assert_eq!(loaded, state);
    // The oldest batch of the window is still a duplicate after the restart, the one before it is out of order.
    let duplicate = loaded.judge(&batch(9, 0, 6, 3), Origin::Client);
    assert!(matches!(duplicate, Ok(SequenceVerdict::Duplicate(range)) if range.base_offset() == 6));
    let too_old = loaded.judge(&batch(9, 0, 3, 3), Origin::Client);
    assert!(matches!(
        too_old,
        Err(SequenceError::OutOfOrder {
            last_sequence: 20,
            ..
        })
    ));
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let mut state = ProducerState::new();
    offer(&mut state, 3, &batch(9, 0, 0, 2)).expect("first");
    offer(&mut state, 5, &batch(9, 0, 2, 2)).expect("second");
    let good = state.encode_snapshot();
    for length in 0..good.len() {
        assert!(
            ProducerState::decode_snapshot(&good[..length], 99, LOADED).is_err(),
            "{length}"
        );
    }
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0x10;
        assert!(
            ProducerState::decode_snapshot(&bad, 99, LOADED).is_err(),
            "byte {at}"
        );
    }
    // Whole, but taken at an offset below what it contains.
    let result = ProducerState::decode_snapshot(&good, 6, LOADED);
    assert_eq!(result, Err(SnapshotError::Entry(9)));
}

/// Epoch, sequence, records, what happens: `+` appended, `=` duplicate, `!` out of order, `<` old epoch.
const STORIES: &[(&str, &[(i16, i32, i32, char)])] = &[
    (
        "an unknown producer may begin anywhere",
        &[(4, 17, 2, '+'), (4, 19, 1, '+')],
    ),
    (
        "a gap is refused, the next one is not",
        &[(0, 0, 2, '+'), (0, 3, 1, '!'), (0, 2, 1, '+')],
    ),
    (
        "a retry is a duplicate",
        &[
            (0, 0, 2, '+'),
            (0, 2, 2, '+'),
            (0, 0, 2, '='),
            (0, 4, 1, '+'),
        ],
    ),
    (
        "half a retry is out of order",
        &[(0, 0, 4, '+'), (0, 0, 2, '!'), (0, 2, 2, '!')],
    ),
    (
        "a new epoch begins at 0",
        &[(0, 5, 1, '+'), (1, 6, 1, '!'), (1, 0, 1, '+')],
    ),
    (
        "an old epoch is refused",
        &[(3, 0, 1, '+'), (2, 1, 1, '<'), (2, 0, 1, '<')],
    ),
    (
        "a refused epoch changes nothing",
        &[(0, 0, 1, '+'), (1, 1, 1, '!'), (0, 1, 1, '+')],
    ),
    (
        "the sixth newest is forgotten",
        &[
            (0, 0, 1, '+'),
            (0, 1, 1, '+'),
            (0, 2, 1, '+'),
            (0, 3, 1, '+'),
            (0, 4, 1, '+'),
            (0, 0, 1, '='),
            (0, 5, 1, '+'),
            (0, 0, 1, '!'),
            (0, 1, 1, '='),
        ],
    ),
    (
        "sequences wrap to 0 between batches",
        &[
            (0, i32::MAX, 1, '+'),
            (0, 0, 1, '+'),
            (0, i32::MAX, 1, '='),
            (0, 1, 1, '+'),
        ],
    ),
    (
        "and inside one",
        &[
            (0, i32::MAX - 1, 4, '+'),
            (0, 2, 1, '+'),
            (0, i32::MAX - 1, 4, '='),
        ],
    ),
];

#[test]
fn sequences_of_one_producer() {
    for (title, steps) in STORIES {
        let mut state = ProducerState::new();
        for (at, &(epoch, sequence, records, expected)) in steps.iter().enumerate() {
            let happened = match offer(
                &mut state,
                at as i64 * 10,
                &batch(1, epoch, sequence, records),
            ) {
                Ok(SequenceVerdict::Append) => '+',
                Ok(SequenceVerdict::Duplicate(_)) => '=',
                Err(SequenceError::OutOfOrder { .. }) => '!',
                Err(SequenceError::StaleEpoch { .. }) => '<',
                Err(error) => panic!("{title}, step {at}: {error}"),
            };
            assert_eq!(happened, expected, "{title}, step {at}");
        }
    }
}

#[test]
fn idle_producers_are_forgotten_by_the_wall_clock() {
    let day = 1000;
    let at = Wall::from_millis;
    let mut state = ProducerState::new();
    state.append(
        0,
        &BatchSummary {
            max_timestamp: 10,
            ..batch(1, 0, 0, 1)
        },
        at(500),
    );
    state.append(
        1,
        &BatchSummary {
            max_timestamp: 900,
            ..batch(2, 0, 0, 1)
        },
        at(500),
    );
    let open = BatchSummary {
        is_transactional: true,
        ..batch(3, 0, 0, 1)
    };
    state
        .replay(2, &open, None, at(0))
        .expect("a transaction begins");
    state.append(3, &batch(4, 0, 0, 1), at(0));
    // Wall time, end of what is settled, producers left.
    for (now, settled, left) in [
        (1499, 3, &[1, 2, 3, 4][..]),
        (1500, 3, &[2, 3, 4]),
        (1200, 3, &[2, 3, 4]),
        (1900, 3, &[3, 4]),
        (9999, 4, &[3]),
    ] {
        state.expire(at(now), day, settled);
        let ids: Vec<_> = state.entries().map(|(id, _)| id).collect();
        assert_eq!(ids, left, "at {now}");
    }
}

#[test]
fn the_cleaner_learns_what_must_stay() {
    let mut state = ProducerState::new();
    state.append(4, &batch(1, 2, 0, 3), LOADED);
    let marker = ControlMarker {
        kind: MarkerKind::Commit,
        coordinator_epoch: 0,
        timestamp: 1,
    };
    let control = BatchSummary {
        is_control: true,
        is_transactional: true,
        ..batch(2, 7, -1, 1)
    };
    state
        .replay(7, &control, Some(marker), LOADED)
        .expect("a marker without data");
    let kept: Vec<_> = state.last_batches().collect();
    assert_eq!(
        kept,
        [
            LastBatch {
                producer_id: 1,
                producer_epoch: 2,
                last_offset: Some(6)
            },
            LastBatch {
                producer_id: 2,
                producer_epoch: 7,
                last_offset: None
            },
        ]
    );
}

/// The whole history of a producer, searched from the start: slow, and obviously what is meant.
#[derive(Default)]
struct Naive {
    appended: Vec<(i16, i32, i32, Offset)>,
}

impl Naive {
    fn offer(&mut self, offset: Offset, epoch: i16, sequence: i32, records: i32) -> String {
        let Some(&(newest, last_first, last_records, _)) = self.appended.last() else {
            self.appended.push((epoch, sequence, records, offset));
            return format!("append {offset}");
        };
        if epoch < newest {
            return "stale".into();
        }
        let recent = self.appended.iter().rev().take(5);
        for &(old_epoch, old_sequence, old_records, old_offset) in recent {
            if (old_epoch, old_sequence, old_records) == (epoch, sequence, records) {
                return format!("duplicate {old_offset}");
            }
        }
        let wanted = if epoch > newest {
            0
        } else {
            (i64::from(last_first) + i64::from(last_records)) % (1 << 31)
        };
        if i64::from(sequence) != wanted {
            return "gap".into();
        }
        self.appended.push((epoch, sequence, records, offset));
        format!("append {offset}")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The window answers as a search of the whole history does, before and after a restart from its snapshot.
    #[test]
    fn the_window_agrees_with_the_whole_history(
        first in prop_oneof![Just(0), 1..9, (i32::MAX - 9)..=i32::MAX],
        offers in prop::collection::vec((0..10u8, 1..4i32, 0..7usize, any::<bool>()), 1..60),
    ) {
        let mut state = ProducerState::new();
        let mut naive = Naive::default();
        let (mut epoch, mut next, mut offset) = (0i16, first, 0);
        let mut sent: Vec<(i16, i32, i32)> = Vec::new();
        for (kind, records, back, restart) in offers {
            let (an_epoch, sequence, records) = match kind {
                0 if epoch > 0 => (epoch - 1, next, records),
                1 => (epoch + 1, 0, records),
                2 => (epoch + 1, next, records),
                3 => (epoch, add_to_sequence(next, 1), records),
                4 | 5 if sent.len() > back => sent[sent.len() - 1 - back],
                _ => (epoch, next, records),
            };
            let ours = match offer(&mut state, offset, &batch(1, an_epoch, sequence, records)) {
                Ok(SequenceVerdict::Append) => format!("append {offset}"),
                Ok(SequenceVerdict::Duplicate(range)) => format!("duplicate {}", range.base_offset()),
                Err(SequenceError::OutOfOrder { .. }) => "gap".into(),
                Err(SequenceError::StaleEpoch { .. }) => "stale".into(),
                Err(error) => panic!("{error}"),
            };
            prop_assert_eq!(&ours, &naive.offer(offset, an_epoch, sequence, records));
            if ours.starts_with("append") {
                sent.push((an_epoch, sequence, records));
                offset += i64::from(records);
                epoch = an_epoch;
                next = add_to_sequence(sequence, records);
            }
            if restart {
                let file = state.encode_snapshot();
                let loaded = ProducerState::decode_snapshot(&file, offset, LOADED);
                prop_assert_eq!(loaded.as_ref(), Ok(&state));
            }
        }
    }

    /// What lives is what a replay of the same batches gives.
    #[test]
    fn live_and_replayed_state_agree(
        offers in prop::collection::vec((0..3i64, 1..4i32, any::<bool>()), 1..40),
    ) {
        let (mut live, mut replayed) = (ProducerState::new(), ProducerState::new());
        let mut next: BTreeMap<i64, (i16, i32)> = BTreeMap::new();
        let mut offset = 0;
        for (id, records, bump) in offers {
            let (epoch, sequence) = next.entry(id).or_default();
            if bump {
                (*epoch, *sequence) = (*epoch + 1, 0);
            }
            let summary = batch(id, *epoch, *sequence, records);
            prop_assert_eq!(offer(&mut live, offset, &summary), Ok(SequenceVerdict::Append));
            prop_assert_eq!(replayed.replay(offset, &summary, None, LOADED), Ok(None));
            *sequence += records;
            offset += i64::from(records);
        }
        prop_assert_eq!(live, replayed);
    }

    /// Taking appends back, newest first, gives every earlier state again.
    #[test]
    fn appends_can_be_taken_back(
        offers in prop::collection::vec((0..3i64, 1..4i32, any::<bool>()), 1..30),
    ) {
        let mut state = ProducerState::new();
        let mut next: BTreeMap<i64, (i16, i32)> = BTreeMap::new();
        let (mut offset, mut history) = (0, Vec::new());
        for (id, records, bump) in offers {
            let (epoch, sequence) = next.entry(id).or_default();
            if bump {
                (*epoch, *sequence) = (*epoch + 1, 0);
            }
            let earlier = state.clone();
            let before = state.append(offset, &batch(id, *epoch, *sequence, records), LOADED);
            history.push((id, before, earlier));
            *sequence += records;
            offset += i64::from(records);
        }
        while let Some((id, before, earlier)) = history.pop() {
            state.restore(id, before);
            prop_assert_eq!(&state, &earlier);
        }
    }
}
