//! H4, H23: what failed for certain is never seen.

use super::index::{Indexed, KeyLog, Reading};
use super::table::Situation;
use crate::checkers::{CheckerId, Report};
use crate::history::{Body, Isolation, Stage};

/// Checks every value that was read.
pub fn check(indexed: &Indexed<'_>, report: &mut Report) {
    for log in &indexed.logs {
        report.looked(CheckerId::H4, log.readings.len() as u64);
        report.looked(CheckerId::H23, log.readings.len() as u64);
        for of_value in log.readings.chunk_by(|a, b| a.value == b.value) {
            let writers = log.writers(of_value[0].value);
            let has_failed = writers.iter().all(|write| write.stage == Stage::Fail);
            if !writers.is_empty() && has_failed {
                judge(indexed, log, of_value, report);
            }
        }
    }
}

/// A value whose every write failed was read: by an ok poll it is an aborted read (H4), and by any poll a lie (H23).
fn judge(indexed: &Indexed<'_>, log: &KeyLog, of_value: &[Reading], report: &mut Report) {
    let value = of_value[0].value;
    let write = log.writers(value)[0];
    let first_ok = of_value.iter().find(|reading| reading.is_ok);
    let first = first_ok.unwrap_or(&of_value[0]);
    let isolation = match indexed.operation(first.operation).body {
        Body::Poll { isolation, .. } => isolation,
        _ => Isolation::ReadCommitted,
    };
    let situation = Situation {
        sending: Some(write.sending),
        isolation,
        unclean_election: indexed.expectations.unclean_election,
        ..Situation::SAFE
    };
    // The row of a failed plain send is one for both.
    if !situation.is_violation(CheckerId::H23) {
        report.permit(CheckerId::H23);
        return;
    }
    let object = format!("{} value {value}", log.key);
    let operations = vec![write.end, first.operation];
    let message = format!(
        "value {value} is readable at offset {}, though its write failed for certain",
        first.offset
    );
    if first_ok.is_some() {
        report.find(CheckerId::H4, &object, message.clone(), operations.clone());
    }
    report.find(CheckerId::H23, &object, message, operations);
}
