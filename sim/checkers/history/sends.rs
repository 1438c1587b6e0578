//! H13 to H15 and H26: what is sent later lies later.

use super::index::{Call, Indexed, KeyLog, Write};
use super::table::Situation;
use crate::checkers::{CheckerId, Report};
use crate::history::{Acks, Body, Key, Process, Send, Sending, Stage};
use std::collections::BTreeMap;
use types::Offset;

/// Checks every producer and every key.
pub fn check(indexed: &Indexed<'_>, report: &mut Report) {
    let mut last_of: BTreeMap<(Process, Key), Sent> = BTreeMap::new();
    for call in &indexed.calls {
        let Body::Send { sends, .. } = &indexed.told(call).body else {
            continue;
        };
        if indexed.stage(call) != Stage::Fail {
            one_call(indexed, call, sends, &mut last_of, report);
        }
    }
    for log in &indexed.logs {
        realtime(indexed, log, report);
    }
}

/// A record with a known place.
#[derive(Clone, Copy)]
struct Sent {
    offset: Offset,
    /// Where its operation starts.
    invoke: u32,
    /// Where its operation ends.
    end: u32,
    sending: Sending,
}

/// H13 and H14 inside a call, H15 against the call before.
fn one_call(
    indexed: &Indexed<'_>,
    call: &Call,
    sends: &[Send],
    last_of: &mut BTreeMap<(Process, Key), Sent>,
    report: &mut Report,
) {
    let process = indexed.operation(call.invoke).process;
    let mut last_here: BTreeMap<Key, Sent> = BTreeMap::new();
    for send in sends {
        let Some(log) = indexed.log(&send.key) else {
            continue;
        };
        let Some(sent) = sent(log, call, send) else {
            continue;
        };
        let earlier = match last_here.insert(send.key, sent) {
            Some(earlier) => Some((CheckerId::H14, earlier)),
            None => last_of
                .get(&(process, send.key))
                .map(|&earlier| (CheckerId::H15, earlier)),
        };
        if let Some((checker, earlier)) = earlier {
            follows(indexed, log, checker, earlier, sent, report);
        }
    }
    for (key, sent) in last_here {
        last_of.insert((process, key), sent);
    }
}

/// The place of one send of a call, if it is known.
fn sent(log: &KeyLog, call: &Call, send: &Send) -> Option<Sent> {
    let mut writers = log.writers(send.value).iter();
    let write = writers.find(|write| write.invoke == call.invoke)?;
    let offset = log.offset_of(write)?;
    Some(Sent {
        offset,
        invoke: write.invoke,
        end: write.end,
        sending: write.sending,
    })
}

fn follows(
    indexed: &Indexed<'_>,
    log: &KeyLog,
    checker: CheckerId,
    earlier: Sent,
    later: Sent,
    report: &mut Report,
) {
    report.looked(checker, 1);
    if earlier.offset < later.offset {
        if checker == CheckerId::H14 {
            report.looked(CheckerId::H13, 1);
            let between = log.first_visible(earlier.offset + 1, later.offset);
            if between.is_some() {
                report.permit(CheckerId::H13);
            }
        }
        return;
    }
    let is_violation = [earlier.sending, later.sending].iter().all(|&sending| {
        situation(indexed, sending, earlier.invoke, later.end).is_violation(checker)
    });
    if !is_violation {
        report.permit(checker);
        return;
    }
    let process = indexed.operation(later.end).process;
    let message = format!(
        "what was sent later lies at offset {}, what was sent before at {}",
        later.offset, earlier.offset
    );
    let object = format!("{} process {process}", log.key);
    let mut operations = vec![earlier.end, later.end];
    operations.dedup();
    report.find(checker, object, message, operations);
}

fn situation(indexed: &Indexed<'_>, sending: Sending, from: u32, until: u32) -> Situation {
    let expectations = indexed.expectations;
    Situation {
        sending: Some(sending),
        unclean_election: expectations.unclean_election,
        lost_power: expectations.lost_power_between(indexed.time(from), indexed.time(until)),
        ..Situation::SAFE
    }
}

/// H26: walks along the history with the largest offset that was acknowledged so far.
fn realtime(indexed: &Indexed<'_>, log: &KeyLog, report: &mut Report) {
    let mut ends: Vec<(&Write, Offset)> = Vec::new();
    let mut starts: Vec<(&Write, Offset)> = Vec::new();
    for write in &log.writes {
        let Some(offset) = log.offset_of(write) else {
            continue;
        };
        starts.push((write, offset));
        if write.stage == Stage::Ok && write.sending.acks == Acks::All && write.offset.is_some() {
            ends.push((write, offset));
        }
    }
    ends.sort_by_key(|(write, _)| write.end);
    starts.sort_by_key(|(write, _)| write.invoke);
    let mut ends = ends.into_iter().peekable();
    let mut highest: Option<(&Write, Offset)> = None;
    for (write, offset) in starts {
        while let Some(end) = ends.next_if(|(end, _)| end.end < write.invoke) {
            if highest.is_none_or(|(_, highest)| highest < end.1) {
                highest = Some(end);
            }
        }
        report.looked(CheckerId::H26, 1);
        if let Some((earlier, before)) = highest
            && offset <= before
            && offset >= log.floor
        {
            judge_realtime(indexed, log, (earlier, before), (write, offset), report);
        }
    }
}

fn judge_realtime(
    indexed: &Indexed<'_>,
    log: &KeyLog,
    (earlier, before): (&Write, Offset),
    (later, offset): (&Write, Offset),
    report: &mut Report,
) {
    let is_violation = [earlier, later].iter().all(|write| {
        situation(indexed, write.sending, earlier.invoke, later.end).is_violation(CheckerId::H26)
    });
    if !is_violation {
        report.permit(CheckerId::H26);
        return;
    }
    let message = format!(
        "value {} lies at offset {offset}; before it was sent, value {} had been acknowledged at {before}",
        later.value, earlier.value
    );
    let object = format!("{} value {}", log.key, later.value);
    report.find(
        CheckerId::H26,
        object,
        message,
        vec![earlier.end, later.invoke, later.end],
    );
}
