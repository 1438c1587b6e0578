//! One byte budget over all requests and responses of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes held by requests being received and responses being sent, over all cores of a node.
///
/// At the limit no further request is begun; one that has begun can finish, because its
/// connection takes the single overdraft, so that a full budget cannot become a deadlock.
#[derive(Clone)]
pub struct MemoryBudget {
    inner: Arc<Inner>,
}

struct Inner {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    overdraft_holder: AtomicUsize,
}

/// No connection holds the overdraft. Connection numbers begin at 1.
const NOBODY: usize = 0;

impl MemoryBudget {
    /// A budget of `limit_bytes`.
    pub fn new(limit_bytes: usize) -> MemoryBudget {
        let inner = Inner {
            limit_bytes,
            used_bytes: AtomicUsize::new(0),
            overdraft_holder: AtomicUsize::new(NOBODY),
        };
        MemoryBudget {
            inner: Arc::new(inner),
        }
    }

    /// The limit, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.inner.limit_bytes
    }

    /// Bytes charged now.
    pub fn used_bytes(&self) -> usize {
        self.inner.used_bytes.load(Ordering::Relaxed)
    }

    /// Whether a new request may be begun.
    pub fn has_room(&self) -> bool {
        self.used_bytes() < self.inner.limit_bytes
    }

    /// Lets connection `number` go on with a request it has begun although there is no room.
    /// One connection at a time; it gives the overdraft back by [`MemoryBudget::end_overdraft`].
    pub fn take_overdraft(&self, number: usize) -> bool {
        assert!(number != NOBODY, "connection numbers begin at 1");
        let holder = &self.inner.overdraft_holder;
        match holder.compare_exchange(NOBODY, number, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(present) => present == number,
        }
    }

    /// Gives back the overdraft, if connection `number` holds it.
    pub fn end_overdraft(&self, number: usize) {
        let holder = &self.inner.overdraft_holder;
        let _ = holder.compare_exchange(number, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A charge of zero bytes that can grow.
    pub fn charge(&self) -> Charge {
        Charge {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

/// Bytes charged to the budget by one owner; given back on drop.
pub struct Charge {
    budget: MemoryBudget,
    bytes: usize,
}

impl Charge {
    /// Sets what this owner holds to `bytes`.
    pub fn set(&mut self, bytes: usize) {
        let used = &self.budget.inner.used_bytes;
        if bytes == self.bytes {
            return;
        }
        if bytes > self.bytes {
            used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// Bytes this owner holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_lets_one_begun_request_finish() {
        let budget = MemoryBudget::new(100);
        let mut charge = budget.charge();
        charge.set(100);
        assert!(!budget.has_room());
        assert!(budget.take_overdraft(1));
        assert!(budget.take_overdraft(1));
        assert!(!budget.take_overdraft(2));
        budget.end_overdraft(1);
        assert!(budget.take_overdraft(2));
        drop(charge);
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.has_room());
    }
}
