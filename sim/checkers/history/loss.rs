//! H3, H16: what was acknowledged is read.

use super::index::{Indexed, KeyLog, Write};
use super::table::Situation;
use crate::checkers::{CheckerId, Report};
use crate::history::{Acks, Stage};
use types::Offset;

/// Checks every key, once somebody has read all of them from the beginning.
pub fn check(indexed: &Indexed<'_>, report: &mut Report) {
    if !indexed.expectations.final_polls {
        report.cannot_decide("H3, H16: there were no final polls");
        return;
    }
    for log in &indexed.logs {
        if log.is_deleted {
            report.cannot_decide("H3, H16: the topic was deleted");
        } else if log.expected.is_compacted {
            report.cannot_decide("H3, H16: the topic is compacted");
        } else {
            check_key(indexed, log, report);
        }
    }
}

fn check_key(indexed: &Indexed<'_>, log: &KeyLog, report: &mut Report) {
    let read_until = log
        .readings
        .iter()
        .filter(|reading| reading.is_ok && !reading.is_excused)
        .map(|reading| reading.offset)
        .max();
    for write in &log.writes {
        if write.stage != Stage::Ok || write.sending.acks == Acks::None {
            continue;
        }
        report.looked(CheckerId::H3, 1);
        report.looked(CheckerId::H16, 1);
        let is_read = log.readers(write.value).iter().any(|reading| reading.is_ok);
        if is_read || write.is_excused {
            continue;
        }
        let Some(place) = place(log, write) else {
            report.cannot_decide("H16: unknown offset, and the log start moved");
            continue;
        };
        if place.is_some_and(|offset| offset < log.floor) {
            continue;
        }
        judge(indexed, log, write, place, read_until, report);
    }
}

/// Where an acknowledged write lies: `Some(None)` if that is unknown and does not matter, `None` if it matters.
fn place(log: &KeyLog, write: &Write) -> Option<Option<Offset>> {
    match log.offset_of(write) {
        Some(offset) => Some(Some(offset)),
        None if log.floor == 0 && log.expected.excused.is_empty() => Some(None),
        None => None,
    }
}

fn judge(
    indexed: &Indexed<'_>,
    log: &KeyLog,
    write: &Write,
    place: Option<Offset>,
    read_until: Option<Offset>,
    report: &mut Report,
) {
    let is_below = place.is_some_and(|offset| read_until.is_some_and(|until| offset <= until));
    let checker = if is_below {
        CheckerId::H3
    } else {
        CheckerId::H16
    };
    let expectations = indexed.expectations;
    let situation = Situation {
        sending: Some(write.sending),
        unclean_election: expectations.unclean_election,
        lost_power: expectations.lost_power_between(indexed.time(write.invoke), u64::MAX),
        ..Situation::SAFE
    };
    if !situation.is_violation(checker) {
        report.permit(checker);
        return;
    }
    if log.expected.is_fenced || log.expected.is_overwritten {
        report.cannot_decide("H16: the partition is damaged");
        return;
    }
    let at = place.map_or("an unknown offset".to_owned(), |at| format!("offset {at}"));
    let until = read_until.map_or("nothing".to_owned(), |until| {
        format!("up to offset {until}")
    });
    let message = format!(
        "value {} was acknowledged at {at} and never read; {until} was read",
        write.value
    );
    report.find(
        checker,
        format!("{} value {}", log.key, write.value),
        message,
        vec![write.invoke, write.end],
    );
}
