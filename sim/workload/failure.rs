//! What the client's errors say about what happened, for the history.

use client::{DeliveryError, Error};

use crate::history::{Attempts, Body, Failure, Stage, classify};

/// How an operation of this kind ended that failed with `error` after so many requests.
pub(super) fn stage_of(body: &Body, error: &Error, requests: u64) -> Stage {
    let failure = match error {
        _ if requests == 0 => Failure::NeverSent,
        Error::Broker { code, .. } => Failure::Broker(*code),
        Error::UnknownCode(code) => Failure::UnknownCode(*code),
        Error::TimedOut(_) => Failure::TimedOut,
        // What was sent before nobody answered for.
        Error::Connect { .. }
        | Error::Disconnected(_)
        | Error::Closed
        | Error::Replaced(_)
        | Error::Unsupported(_)
        | Error::Encode(_)
        | Error::Invalid(_) => Failure::Disconnected,
        Error::Frame { .. } | Error::Decode(_) | Error::Records(_) | Error::Incomplete(_) => {
            Failure::Unreadable
        }
    };
    let attempts = if requests <= 1 {
        Attempts::One
    } else {
        Attempts::Several
    };
    classify(body, failure, attempts)
}

/// How a record ended that was not delivered.
pub(super) fn stage_of_delivery(body: &Body, failed: &DeliveryError) -> Stage {
    match stage_of(body, &failed.error, u64::from(failed.attempts)) {
        Stage::Fail if failed.is_uncertain => Stage::Info,
        stage => stage,
    }
}
