//! One corruption of a correct history is found, wherever it is made.

use super::super::judge;
use super::model::{Model, expectations};
use crate::checkers::CheckerId;
use crate::history::{Body, History, Index, Key, Process, Read, Send, Sending, Stage, Value};
use std::collections::BTreeMap;
use types::{Offset, Prng, Uuid};

/// One corruption: changes the history, and says who may find it. `false` if this history offers no place for it.
type Corruption = (
    &'static str,
    fn(&mut History, &mut Prng) -> bool,
    &'static [CheckerId],
);

const CORRUPTIONS: &[Corruption] = &[
    ("two offsets swapped in a poll", swap, &[CheckerId::H1a]),
    (
        "an acknowledged record vanished",
        vanish,
        &[CheckerId::H3, CheckerId::H16],
    ),
    ("an acknowledged record twice", duplicate, &[CheckerId::H2]),
    (
        "a committed offset changed back",
        change_back,
        &[CheckerId::H21],
    ),
    (
        "an acknowledgement names another offset",
        misname,
        &[CheckerId::H1b],
    ),
    (
        "a consumer passed over a record",
        pass_over,
        &[CheckerId::H9, CheckerId::H11],
    ),
    ("a listed end is short", shorten, &[CheckerId::H20]),
    (
        "a failed record is there",
        lie,
        &[CheckerId::H4, CheckerId::H23],
    ),
];

#[test]
fn one_corruption_of_it_is_found() {
    for (name, corrupt, by) in CORRUPTIONS {
        let mut places = 0;
        for seed in 0..40 {
            let mut history = Model::run(seed, 400);
            if !corrupt(&mut history, &mut Prng::new(seed, name)) {
                continue;
            }
            places += 1;
            let report = judge(&history, &expectations()).0;
            let is_found = by.iter().any(|checker| report.found.contains_key(checker));
            assert!(is_found, "{name}, seed {seed}: {:#?}", report.findings);
        }
        assert!(places >= 20, "{name}: {places} of 40 histories had a place");
    }
}

/// The ends of all polls whose reads satisfy `is_place`.
fn polls(history: &History, is_place: impl Fn(&Read) -> bool) -> Vec<(Index, usize)> {
    let mut found = Vec::new();
    for operation in history
        .operations
        .iter()
        .filter(|one| one.stage == Stage::Ok)
    {
        if let Body::Poll { reads, .. } = &operation.body {
            let places = reads.iter().enumerate().filter(|(_, read)| is_place(read));
            found.extend(places.map(|(at, _)| (operation.index, at)));
        }
    }
    found
}

fn pick<T: Copy>(prng: &mut Prng, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| from[prng.below(from.len() as u64) as usize])
}

fn reads_of(history: &mut History, index: Index) -> &mut Vec<Read> {
    match &mut history.operations[index as usize].body {
        Body::Poll { reads, .. } => reads,
        _ => unreachable!("a poll was picked"),
    }
}

fn swap(history: &mut History, prng: &mut Prng) -> bool {
    // A poll of the middle: the final polls see the same offsets.
    let mut places = polls(history, |read| read.records.len() >= 2);
    places.truncate(places.len() / 3);
    let Some((index, at)) = pick(prng, &places) else {
        return false;
    };
    let records = &mut reads_of(history, index)[at].records;
    let (first, second) = (records[0].1, records[1].1);
    records[0].1 = second;
    records[1].1 = first;
    true
}

/// Values acknowledged at acks=all, with their keys, offsets and the end of the send.
fn acknowledged(history: &History) -> Vec<(Key, Value, Offset, Index)> {
    let mut found = Vec::new();
    for operation in history
        .operations
        .iter()
        .filter(|one| one.stage == Stage::Ok)
    {
        if let Body::Send { sending, sends } = &operation.body
            && *sending == Sending::SAFE
        {
            let one = |send: &Send| Some((send.key, send.value, send.offset?, operation.index));
            found.extend(sends.iter().filter_map(one));
        }
    }
    found
}

fn floor(history: &History, key: Key) -> Offset {
    let asked = history.operations.iter().filter_map(|one| match one.body {
        Body::DeleteRecords {
            key: of, before, ..
        } if of == key => Some(before),
        _ => None,
    });
    asked.max().unwrap_or(0)
}

fn vanish(history: &mut History, prng: &mut Prng) -> bool {
    let mut values = acknowledged(history);
    values.retain(|&(key, _, offset, _)| offset >= floor(history, key));
    let Some((_, value, _, _)) = pick(prng, &values) else {
        return false;
    };
    for operation in &mut history.operations {
        if let Body::Poll { reads, .. } = &mut operation.body {
            for read in reads {
                read.records.retain(|(_, other)| *other != value);
            }
        }
    }
    true
}

fn duplicate(history: &mut History, prng: &mut Prng) -> bool {
    let values = acknowledged(history);
    let Some((key, value, _, _)) = pick(prng, &values) else {
        return false;
    };
    let places = polls(history, |read| {
        read.records.iter().any(|(_, other)| *other == value)
    });
    let Some(&(index, at)) = places.last() else {
        return false;
    };
    let read = &mut reads_of(history, index)[at];
    assert_eq!(read.key, key);
    read.records.push((1_000_000, value));
    true
}

fn change_back(history: &mut History, prng: &mut Prng) -> bool {
    let mut places = Vec::new();
    let mut begun: BTreeMap<Process, Index> = BTreeMap::new();
    let mut first_commit: BTreeMap<Key, Index> = BTreeMap::new();
    for operation in &history.operations {
        match (&operation.body, operation.stage) {
            (_, Stage::Invoke) => {
                begun.insert(operation.process, operation.index);
            }
            (Body::CommitOffsets { offsets, .. }, Stage::Ok) => {
                first_commit
                    .entry(offsets[0].key)
                    .or_insert(operation.index);
            }
            // A read that began before the first commit ended may see nothing.
            (Body::FetchOffsets { offsets, .. }, Stage::Ok)
                if first_commit
                    .get(&offsets[0].key)
                    .is_some_and(|first| *first < begun[&operation.process]) =>
            {
                places.push(operation.index);
            }
            _ => {}
        }
    }
    let Some(index) = pick(prng, &places) else {
        return false;
    };
    if let Body::FetchOffsets { offsets, .. } = &mut history.operations[index as usize].body {
        offsets[0].offset = None;
    }
    true
}

fn misname(history: &mut History, prng: &mut Prng) -> bool {
    let mut values = acknowledged(history);
    values.retain(|&(key, _, offset, _)| offset > floor(history, key));
    let Some((_, value, offset, index)) = pick(prng, &values) else {
        return false;
    };
    let Body::Send { sends, .. } = &mut history.operations[index as usize].body else {
        return false;
    };
    for send in sends.iter_mut().filter(|send| send.value == value) {
        send.offset = Some(offset - 1);
    }
    true
}

fn pass_over(history: &mut History, prng: &mut Prng) -> bool {
    // A poll of the middle, so that the final polls still see the record.
    let floors: BTreeMap<Key, Offset> = (0..3)
        .map(|partition| Key {
            topic: Uuid::from_u128(77 << 64),
            partition,
        })
        .map(|key| (key, floor(history, key)))
        .collect();
    let mut places = polls(history, |read| {
        read.records.len() >= 3 && read.records[1].0 >= floors[&read.key]
    });
    places.truncate(places.len() / 3);
    let Some((index, at)) = pick(prng, &places) else {
        return false;
    };
    reads_of(history, index)[at].records.remove(1);
    true
}

fn shorten(history: &mut History, _: &mut Prng) -> bool {
    let last = history.operations.iter_mut().rev().find_map(|operation| {
        let is_ok = operation.stage == Stage::Ok;
        match &mut operation.body {
            Body::ListOffsets { listed } if is_ok && listed[2].offset > Some(0) => {
                Some(&mut listed[2])
            }
            _ => None,
        }
    });
    let Some(listed) = last else {
        return false;
    };
    // Its own answer for the stable offset was larger.
    listed.offset = listed.offset.map(|offset| offset - 1);
    true
}

fn lie(history: &mut History, prng: &mut Prng) -> bool {
    let mut values = acknowledged(history);
    values.retain(|&(key, _, offset, _)| offset >= floor(history, key));
    let Some((_, _, _, index)) = pick(prng, &values) else {
        return false;
    };
    let operation = &mut history.operations[index as usize];
    operation.stage = Stage::Fail;
    let Body::Send { sends, .. } = &mut operation.body else {
        return false;
    };
    for send in sends {
        send.stage = Stage::Fail;
        send.offset = None;
    }
    true
}
