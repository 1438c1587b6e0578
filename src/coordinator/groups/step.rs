//! What a decision works with: time, configs, deadlines, appends in flight, and the actions it adds to.

use types::{Mono, Now, Prng};

use super::api::*;
use super::config::GroupConfig;
use super::image::Change;
use super::pending::{Deferred, Effect, Pending, PendingAppend, Waiting};
use super::timers::{Timer, TimerHandle, Timers};

/// What one step may touch beside the group it is about.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) config: &'a GroupConfig,
    pub(super) timers: &'a mut Timers,
    pub(super) pending: &'a mut Pending,
    pub(super) prng: &'a mut Prng,
    pub(super) out: &'a mut Actions,
}

impl Step<'_> {
    pub(super) fn after_millis(&self, millis: i32) -> Mono {
        self.now.mono.plus_millis(i64::from(millis))
    }

    pub(super) fn reply(&mut self, token: Token, response: impl Into<Response>) {
        self.out.reply(token, response);
    }

    /// Hands an append to the driver.
    pub(super) fn append(&mut self, changes: Vec<Change>, effect: Effect) -> AppendId {
        assert!(!changes.is_empty(), "an append without records");
        let id = self.pending.next_id();
        let records = changes.iter().map(Change::encode).collect();
        self.out.push(Action::Append { id, records });
        let timeout = match effect {
            Effect::None | Effect::Deletion(_) => None,
            Effect::Assignment { .. } | Effect::StaticMember(_) => Some(self.commit_timeout(id)),
        };
        self.pending.push(PendingAppend {
            id,
            changes,
            effect,
            waiting: Vec::new(),
            timeout,
        });
        id
    }

    /// Parks an answer until an append is committed, or until those who wait for it already are told that it took too long.
    pub(super) fn park(&mut self, append: AppendId, token: Token, response: Deferred) {
        let pending = self.pending.get_mut(append);
        let pending = pending.expect("an answer waits for an append in flight");
        pending.waiting.push(Waiting { token, response });
        if pending.timeout.is_none() {
            let timeout = self.commit_timeout(append);
            let pending = self.pending.get_mut(append);
            pending.expect("it was just looked at").timeout = Some(timeout);
        }
    }

    /// Parks an answer that is known.
    pub(super) fn park_known(
        &mut self,
        append: AppendId,
        token: Token,
        response: impl Into<Response>,
    ) {
        self.park(append, token, Deferred::Known(response.into()));
    }

    fn commit_timeout(&mut self, append: AppendId) -> TimerHandle {
        let at = self.after_millis(self.config.offset_commit_timeout_ms);
        self.timers.schedule(at, Timer::CommitTimeout { append })
    }
}
