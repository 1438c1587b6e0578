//! Stops a node: answers what is under way, makes every log durable, and leaves the mark of a clean stop.

use std::rc::Rc;
use std::time::Duration;

use runtime::sync::oneshot;

use crate::core::Core;
use crate::quorum::Call;
use crate::shard;

/// How long connections may take to finish what they have begun.
const DRAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether they have.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// Stops all cores of the node, from the first one.
pub(super) async fn stop_cores(core: &Rc<Core>) {
    let node = &core.node;
    on_all(core, |core| {
        core.stop_serving();
        async {}
    })
    .await;
    let drained = async {
        while node.connection_counts.total() > 0 {
            runtime::time::sleep(DRAIN_STEP).await;
        }
    };
    if runtime::time::timeout(DRAIN, drained).await.is_err() {
        let connections = node.connection_counts.total();
        tracing::warn!(connections, "connections are cut off");
    }
    on_all(core, |core| async move { shard::close_all(&core).await }).await;
    let (sender, receiver) = oneshot::channel();
    if node.controller.send(Call::Stop(sender)).await.is_ok() {
        // A quorum that failed has closed its mailbox.
        let _ = receiver.await;
    }
    for directory in &node.directories {
        if directory.failure().is_none()
            && let Err(error) = directory.close_clean(node.broker_epoch()).await
        {
            tracing::error!(%error, "a log directory is not marked as stopped cleanly");
        }
    }
    on_all(core, |core| {
        core.stop();
        async {}
    })
    .await;
}

/// Runs something on every core, and waits for all.
async fn on_all<F>(core: &Rc<Core>, work: impl Fn(Rc<Core>) -> F + Copy + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let mut waiting = Vec::new();
    for index in 0..core.node.mailboxes.len() {
        let (sender, receiver) = oneshot::channel();
        let start = move |core: &Rc<Core>| {
            let core = Rc::clone(core);
            runtime::task::spawn_local(async move {
                work(core).await;
                let _ = sender.send(());
            });
        };
        if core.post(index, start).await.is_ok() {
            waiting.push(receiver);
        }
    }
    for receiver in waiting {
        let _ = receiver.await;
    }
}
