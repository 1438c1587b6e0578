//! H1, H2, H19: everybody sees the same value at an offset, a value lies at one offset, and somebody wrote it.

use super::index::{Indexed, KeyLog, Reading, Seen, Source};
use super::table::Situation;
use crate::checkers::{CheckerId, Report};
use crate::history::Value;
use std::collections::BTreeMap;

/// Checks every key.
pub fn check(indexed: &Indexed<'_>, report: &mut Report) {
    for log in &indexed.logs {
        report.looked(CheckerId::H1a, log.seen.len() as u64);
        report.looked(CheckerId::H1b, log.seen.len() as u64);
        for at_offset in log.seen.chunk_by(|a, b| a.offset == b.offset) {
            if at_offset[0].value != at_offset[at_offset.len() - 1].value {
                conflict(indexed, log, at_offset, report);
            }
        }
        report.looked(CheckerId::H2, log.seen.len() as u64);
        duplicates(indexed, log, report);
        report.looked(CheckerId::H19, log.readings.len() as u64);
        for of_value in log.readings.chunk_by(|a, b| a.value == b.value) {
            phantom(indexed, log, of_value, report);
        }
    }
}

/// Several values at one offset: H1a if polls differ, H1b if an acknowledgement differs from a poll or from another.
fn conflict(indexed: &Indexed<'_>, log: &KeyLog, at_offset: &[Seen], report: &mut Report) {
    let situation = Situation {
        unclean_election: indexed.expectations.unclean_election,
        ..Situation::SAFE
    };
    let mut polled: BTreeMap<Value, u32> = BTreeMap::new();
    let mut all: BTreeMap<Value, u32> = BTreeMap::new();
    let mut permitted = false;
    for seen in at_offset {
        if seen.source == Source::Poll {
            polled.entry(seen.value).or_insert(seen.operation);
            all.entry(seen.value).or_insert(seen.operation);
            continue;
        }
        // A weak acknowledgement names an offset that another record may get.
        let is_firm = log.writers(seen.value).iter().any(|write| {
            let sending = Some(write.sending);
            Situation {
                sending,
                ..situation
            }
            .is_violation(CheckerId::H1b)
        });
        if is_firm {
            all.entry(seen.value).or_insert(seen.operation);
        } else {
            permitted = true;
        }
    }
    let offset = at_offset[0].offset;
    let object = format!("{} offset {offset}", log.key);
    let tell = |values: &BTreeMap<Value, u32>| {
        let values: Vec<String> = values.keys().map(Value::to_string).collect();
        format!("values {} at one offset", values.join(", "))
    };
    let operations = |values: &BTreeMap<Value, u32>| values.values().copied().collect();
    if polled.len() > 1 {
        if situation.is_violation(CheckerId::H1a) {
            report.find(CheckerId::H1a, &object, tell(&polled), operations(&polled));
        } else {
            report.permit(CheckerId::H1a);
        }
    }
    if all.len() > polled.len().max(1) {
        report.find(CheckerId::H1b, &object, tell(&all), operations(&all));
    } else if permitted {
        report.permit(CheckerId::H1b);
    }
}

fn duplicates(indexed: &Indexed<'_>, log: &KeyLog, report: &mut Report) {
    let mut by_value: Vec<&Seen> = log.seen.iter().collect();
    by_value.sort_by_key(|seen| (seen.value, seen.offset));
    for of_value in by_value.chunk_by(|a, b| a.value == b.value) {
        let (first, last) = (of_value[0], of_value[of_value.len() - 1]);
        if first.offset == last.offset {
            continue;
        }
        let writers = log.writers(first.value);
        // A weak acknowledgement that a lost tail took with it names a place where nothing is.
        let is_seen_twice = of_value.iter().any(|seen| {
            seen.source == Source::Poll
                && of_value.iter().any(|other| {
                    other.offset != seen.offset
                        && (other.source == Source::Poll || !is_weak(log, other))
                })
        });
        let is_violation = !indexed.expectations.forgets_retries
            && writers.len() == 1
            && writers.iter().all(|write| {
                Situation {
                    sending: Some(write.sending),
                    unclean_election: indexed.expectations.unclean_election,
                    ..Situation::SAFE
                }
                .is_violation(CheckerId::H2)
            })
            && is_seen_twice;
        if is_violation {
            let message = format!(
                "value {} lies at offset {} and at {}",
                first.value, first.offset, last.offset
            );
            let operations = vec![first.operation, last.operation];
            report.find(
                CheckerId::H2,
                format!("{} value {}", log.key, first.value),
                message,
                operations,
            );
        } else {
            report.permit(CheckerId::H2);
        }
    }
}

/// Whether this acknowledgement may name the offset of a record that was lost with right.
fn is_weak(log: &KeyLog, seen: &Seen) -> bool {
    let mut writers = log.writers(seen.value).iter();
    seen.source == Source::Send
        && writers.all(|write| {
            let sending = Some(write.sending);
            !Situation {
                sending,
                ..Situation::SAFE
            }
            .is_violation(CheckerId::H1b)
        })
}

/// A value that nobody had tried to write when it was read.
fn phantom(indexed: &Indexed<'_>, log: &KeyLog, of_value: &[Reading], report: &mut Report) {
    let first = of_value
        .iter()
        .min_by_key(|reading| reading.operation)
        .expect("a chunk is not empty");
    let begun = log
        .writers(first.value)
        .iter()
        .map(|write| write.invoke)
        .min();
    let message = match begun {
        Some(begun) if begun < first.operation => return,
        Some(_) => format!("value {} was read before its write began", first.value),
        None => elsewhere(indexed, first.value),
    };
    let operations = begun.into_iter().chain([first.operation]).collect();
    let object = format!("{} offset {}", log.key, first.offset);
    report.find(CheckerId::H19, object, message, operations);
}

fn elsewhere(indexed: &Indexed<'_>, value: Value) -> String {
    let mut logs = indexed.logs.iter();
    match logs.find(|log| !log.writers(value).is_empty()) {
        Some(other) => format!("value {value} was written to {} only", other.key),
        None => format!("value {value} was never written"),
    }
}
