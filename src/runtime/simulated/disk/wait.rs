//! Waiting for the end of a disk operation, with one timer at most.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::platter::Platter;
use crate::simulated::timers::Sleep;
use crate::simulated::trace::{self, Value};

/// The moment at which an operation's result is known to its process, if that still lives then.
pub(crate) struct Wait {
    platter: Arc<Platter>,
    life: u64,
    due_us: u64,
    sleep: Sleep,
    /// The event to tell at the end, and its file.
    told: Option<(&'static str, Arc<str>)>,
}

impl Wait {
    pub(super) fn new(platter: &Arc<Platter>, life: u64, due_us: u64) -> Wait {
        Wait {
            platter: Arc::clone(platter),
            life,
            due_us,
            sleep: Sleep::until_true(platter.node, due_us.saturating_mul(1_000)),
            told: None,
        }
    }

    /// Tells `kind` of `file` when it is over.
    pub(super) fn telling(mut self, kind: &'static str, file: &Arc<str>) -> Wait {
        self.told = Some((kind, Arc::clone(file)));
        self
    }

    /// Whether the result may be given. A process that is no more learns of nothing.
    pub(crate) fn is_over(&mut self, succeeded: bool) -> bool {
        if self.platter.life() != self.life || self.platter.now_us() < self.due_us {
            return false;
        }
        let Some((kind, file)) = self.told.take() else {
            return true;
        };
        let fields = [
            ("file", Value::Text(&file)),
            ("ok", Value::Int(i64::from(succeeded))),
        ];
        trace::emit_for(self.platter.node, kind, &fields);
        // Whoever was told may have switched the power off.
        self.platter.life() == self.life
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, succeeded: bool) -> Poll<()> {
        if self.is_over(succeeded) {
            return Poll::Ready(());
        }
        if self.platter.life() != self.life {
            return Poll::Pending;
        }
        if Pin::new(&mut self.sleep).poll(cx).is_ready() && self.is_over(succeeded) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
