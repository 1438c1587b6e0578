//! Stops a node: answers what is under way, makes every log durable, and leaves the mark of a clean stop.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use controller::request::BrokerHeartbeat;
use controller::{Request, Response};
use runtime::sync::oneshot;

use crate::core::Core;
use crate::node::NodeShared;
use crate::quorum::Call;
use crate::shard;

/// How long connections may take to finish what they have begun.
const DRAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether they have.
const DRAIN_STEP: Duration = Duration::from_millis(10);
/// One for the leaderships to end and one to be fenced; a controller elsewhere may take longer.
const HEARTBEATS_MAX: usize = 4;

/// Stops all cores of the node, from the first one.
pub(super) async fn stop_cores(core: &Rc<Core>, is_live: &Cell<bool>) {
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
    // What follows is for the next start: the shards have nothing left.
    is_live.set(false);
    if let Err(reason) = hand_over(node).await {
        tracing::warn!(reason, "the broker is not fenced: the next start does that");
    }
    let (sender, receiver) = oneshot::channel();
    // A quorum that failed, or was never there, has closed its mailbox.
    let is_closed =
        node.controller.send(Call::Stop(sender)).await.is_ok() && receiver.await.is_ok();
    if !is_closed {
        node.left_unclean(&node.directories[node.metadata_directory]);
    }
    for directory in &node.directories {
        if (node.is_left_clean(directory) || types::planted!(CleanMarkAfterFailure))
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

/// Tells the controller that this broker stops, as often as it takes until it is told to: its leaderships end, and it
/// is fenced. Whoever starts on these directories next need not wait for its session to end.
async fn hand_over(node: &NodeShared) -> Result<(), String> {
    for _ in 0..HEARTBEATS_MAX {
        let heartbeat = BrokerHeartbeat {
            broker_id: node.id,
            broker_epoch: node.broker_epoch(),
            current_metadata_offset: node.image().provenance.offset,
            want_fence: false,
            want_shut_down: true,
            cordoned_log_dirs: Vec::new(),
        };
        let response = node.decide(Request::BrokerHeartbeat(heartbeat)).await;
        let Response::BrokerHeartbeat(reply) = response.map_err(|error| error.to_string())? else {
            panic!("asked for a heartbeat")
        };
        if reply.map_err(|error| error.to_string())?.should_shut_down {
            return Ok(());
        }
    }
    Err("its leaderships do not end".to_owned())
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
