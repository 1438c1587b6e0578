//! H20: offsets that a client was told never go back.

use super::index::{Call, Indexed};
use super::table::Situation;
use crate::checkers::{CheckerId, Report};
use crate::history::{Body, Index, Key, Listed, Position, Process, Stage};
use std::collections::BTreeMap;
use types::Offset;

/// The largest answers so far, by rank: log start, last stable offset, high watermark.
type Largest = [Option<(Offset, Index)>; 3];

/// Checks every client.
///
/// One operation asks its questions one after another, so that inside it too a later answer of the same or a higher rank is at least as
/// large: log start <= last stable offset <= high watermark, when asked in this order.
pub fn check(indexed: &Indexed<'_>, report: &mut Report) {
    let mut told: BTreeMap<(Process, Key), Largest> = BTreeMap::new();
    for call in &indexed.calls {
        let operation = indexed.told(call);
        let Body::ListOffsets { listed } = &operation.body else {
            continue;
        };
        if indexed.stage(call) != Stage::Ok {
            continue;
        }
        for one in listed {
            let largest = told.entry((operation.process, one.key)).or_default();
            answer(indexed, call, one, largest, report);
        }
    }
}

fn rank(position: Position) -> Option<usize> {
    match position {
        Position::Earliest => Some(0),
        Position::LatestCommitted => Some(1),
        Position::Latest => Some(2),
        Position::Timestamp(_) | Position::MaxTimestamp => None,
    }
}

fn answer(
    indexed: &Indexed<'_>,
    call: &Call,
    one: &Listed,
    largest: &mut Largest,
    report: &mut Report,
) {
    let (Some(rank), Some(offset)) = (rank(one.position), one.offset) else {
        return;
    };
    report.looked(CheckerId::H20, 1);
    let operation = indexed.told(call);
    let expected = indexed.expectations.key(&one.key);
    let invoked = indexed.time(call.invoke);
    for entry in largest.iter_mut() {
        let Some((so_far, since)) = *entry else {
            continue;
        };
        let cut = expected.lowest_cut(indexed.time(since), operation.time);
        *entry = Some((cut.map_or(so_far, |cut| so_far.min(cut)), since));
    }
    let before = largest[..=rank].iter().flatten().max();
    if let Some(&(before, since)) = before
        && offset < before
    {
        let situation = Situation {
            unclean_election: indexed.expectations.unclean_election,
            ..Situation::SAFE
        };
        if situation.is_violation(CheckerId::H20) {
            let message = format!("{:?} is {offset}, after {before} was told", one.position);
            let object = format!("{} process {}", one.key, operation.process);
            let mut operations = vec![since, operation.index];
            operations.dedup();
            report.find(CheckerId::H20, object, message, operations);
        } else {
            report.permit(CheckerId::H20);
        }
    }
    // An answer that a loss of power overlapped may be of before the loss.
    let cut = expected.lowest_cut(invoked, operation.time);
    let kept = cut.map_or(offset, |cut| offset.min(cut));
    if largest[rank].is_none_or(|(so_far, _)| so_far <= kept) {
        largest[rank] = Some((kept, operation.index));
    }
}
