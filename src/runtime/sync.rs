//! Meeting points between tasks and cores. Every channel is bounded.
//!
//! There is no `watch`: with several waiters the order in which they wake is not reproducible under simulation.

pub use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// A bounded queue from many senders to one receiver.
pub mod mpsc {
    pub use tokio::sync::mpsc::error::{SendError, TryRecvError, TrySendError};
    pub use tokio::sync::mpsc::{OwnedPermit, Permit, Receiver, Sender, WeakSender, channel};
}

/// A channel for one value.
pub mod oneshot {
    pub use tokio::sync::oneshot::error::{RecvError, TryRecvError};
    pub use tokio::sync::oneshot::{Receiver, Sender, channel};
}

/// Waits on several futures at once; write `biased;` first, always.
pub use tokio::select;
