//! How much of a log may have been deleted with right.

use super::index::{Indexed, KeyLog};
use crate::history::{Body, Key, Position, Stage};
use std::collections::BTreeMap;
use types::Offset;

/// Raises each key's floor to the largest log start in any answer, or asked by a deletion that may have happened,
/// or reachable by retention; and marks the keys of topics that may be gone.
pub fn apply(indexed: &Indexed<'_>, logs: &mut BTreeMap<Key, KeyLog>) {
    for log in logs.values_mut() {
        log.floor = log.expected.retention_floor;
    }
    for call in &indexed.calls {
        let stage = indexed.stage(call);
        match &indexed.told(call).body {
            Body::Send { sends, .. } => {
                for send in sends {
                    raise(logs, &send.key, send.log_start);
                }
            }
            Body::Poll { reads, .. } => {
                for read in reads {
                    raise(logs, &read.key, read.log_start);
                }
            }
            Body::ListOffsets { listed } if stage == Stage::Ok => {
                for one in listed {
                    if one.position == Position::Earliest {
                        raise(logs, &one.key, one.offset);
                    }
                }
            }
            Body::DeleteRecords {
                key,
                before,
                low_watermark,
            } if stage != Stage::Fail => {
                let asked = match (*before, low_watermark) {
                    (0.., _) => Some(*before),
                    (_, Some(low_watermark)) => Some(*low_watermark),
                    // The high watermark, whatever it was: nothing known is safe from it.
                    (_, None) => end_of(logs, key),
                };
                raise(logs, key, asked.max(*low_watermark));
            }
            Body::DeleteTopic { topic } if stage != Stage::Fail => {
                for log in logs.values_mut().filter(|log| log.key.topic == *topic) {
                    log.is_deleted = true;
                }
            }
            _ => {}
        }
    }
}

fn raise(logs: &mut BTreeMap<Key, KeyLog>, key: &Key, log_start: Option<Offset>) {
    if let (Some(log), Some(log_start)) = (logs.get_mut(key), log_start) {
        log.floor = log.floor.max(log_start);
    }
}

/// The offset behind the last known one.
fn end_of(logs: &BTreeMap<Key, KeyLog>, key: &Key) -> Option<Offset> {
    let log = logs.get(key)?;
    let written = log.writes.iter().filter_map(|write| write.offset);
    let read = log.readings.iter().map(|reading| reading.offset);
    written.chain(read).max().map(|last| last + 1)
}
