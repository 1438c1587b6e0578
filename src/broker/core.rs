//! One core of a node: its executor's tasks share this, and nobody else touches it.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

use protocol::records::Scratch;
use runtime::Clock;
use runtime::sync::{Notify, mpsc, oneshot};
use types::{Now, TopicPartition};

use crate::node::NodeShared;
use crate::shard::Shard;

/// Calls that may wait in a shard's mailbox; a sender beyond it waits.
pub const SHARD_MAILBOX_MAX: usize = 4096;

/// A call into a shard from another core.
pub type ShardCall = Box<dyn FnOnce(&Rc<Core>) + Send>;

/// One core: its shard and what its tasks need.
pub struct Core {
    /// Which core, from 0.
    pub index: usize,
    /// What all cores of the node share.
    pub node: Arc<NodeShared>,
    /// The node's clock.
    pub clock: Clock,
    shard: RefCell<Shard>,
    scratch: RefCell<Scratch>,
    is_serving: Cell<bool>,
    serve: Notify,
    is_stopping: Cell<bool>,
    stop: Notify,
}

/// The shard did not answer because the node stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopping;

impl Core {
    /// The core `index` with its shard.
    pub fn new(index: usize, node: Arc<NodeShared>, clock: Clock, shard: Shard) -> Rc<Core> {
        Rc::new(Core {
            index,
            node,
            clock,
            shard: RefCell::new(shard),
            scratch: RefCell::new(Scratch::default()),
            is_serving: Cell::new(true),
            serve: Notify::new(),
            is_stopping: Cell::new(false),
            stop: Notify::new(),
        })
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Runs `call` on this core's shard, at once.
    ///
    /// # Panics
    /// If called from inside another such call.
    pub fn with_shard<T>(&self, call: impl FnOnce(&mut Shard) -> T) -> T {
        call(&mut self.shard.borrow_mut())
    }

    /// Buffers that validation reuses; not held across an await.
    pub fn scratch(&self) -> RefMut<'_, Scratch> {
        self.scratch.borrow_mut()
    }

    /// Writes out what was appended since the last drain, and lets the answers go that depend on it.
    pub fn drain_shard(self: &Rc<Core>) {
        crate::shard::drain(self);
    }

    /// Which core owns a partition.
    pub fn owner_of(&self, partition: TopicPartition) -> usize {
        self.node.owner_of(partition)
    }

    /// Posts `call` to the shard of core `index`: at once if it is this one, else in its mailbox,
    /// in the order of posting.
    pub async fn post(
        self: &Rc<Core>,
        index: usize,
        call: impl FnOnce(&Rc<Core>) + Send + 'static,
    ) -> Result<(), Stopping> {
        if index == self.index {
            call(self);
            return Ok(());
        }
        self.node.post(index, Box::new(call)).await
    }

    /// Runs `call` on the shard of core `index` and gives back what it answers.
    pub async fn call<T: Send + 'static>(
        self: &Rc<Core>,
        index: usize,
        call: impl FnOnce(&Rc<Core>) -> T + Send + 'static,
    ) -> Result<T, Stopping> {
        if index == self.index {
            return Ok(call(self));
        }
        let (sender, receiver) = oneshot::channel();
        self.post(index, move |core| {
            // The asker may have gone away; then nobody needs the answer.
            let _ = sender.send(call(core));
        })
        .await?;
        receiver.await.map_err(|_| Stopping)
    }

    /// Runs the mailbox: all calls that wait are made, then the shard is drained once.
    pub async fn run_mailbox(self: Rc<Core>, mut mailbox: mpsc::Receiver<ShardCall>) {
        while let Some(call) = mailbox.recv().await {
            call(&self);
            while let Ok(call) = mailbox.try_recv() {
                call(&self);
            }
            self.drain_shard();
        }
    }

    /// Completes when the node stops.
    pub async fn stopping(&self) {
        let stopped = self.stop.notified();
        if self.is_stopping.get() {
            return;
        }
        stopped.await;
    }

    /// Tells connections and listeners that the node stops; everything else goes on.
    pub fn stop_serving(&self) {
        self.is_serving.set(false);
        self.serve.notify_waiters();
    }

    /// Completes when the node no longer serves.
    pub async fn serving_ended(&self) {
        let ended = self.serve.notified();
        if self.is_serving.get() {
            ended.await;
        }
    }

    /// Tells every task of this core that the node stops.
    pub fn stop(&self) {
        self.stop_serving();
        self.is_stopping.set(true);
        self.stop.notify_waiters();
    }
}
