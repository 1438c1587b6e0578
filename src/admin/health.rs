//! Whether a node lives, and whether it may be given work.

use std::time::Duration;

use broker::node::NodeShared;
use broker::quorum::QuorumDescription;

/// How long the node may take to answer before it counts as stuck.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// What the metadata quorum says of itself, if it answers in time.
pub(crate) async fn quorum(node: &NodeShared) -> Result<QuorumDescription, String> {
    let described = runtime::time::timeout(ANSWER_WAIT, node.describe_quorum()).await;
    match described {
        Ok(described) => described.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "the metadata quorum has not answered for {} s",
            ANSWER_WAIT.as_secs()
        )),
    }
}

/// Whether the node's loops turn: its metadata quorum, on its first core, answers.
///
/// # Errors
/// Why not.
pub(crate) async fn live(node: &NodeShared) -> Result<(), String> {
    quorum(node).await.map(drop)
}

/// Whether clients are served: the quorum has a leader, this broker is registered and not fenced, and the log
/// directory of its metadata works.
///
/// # Errors
/// Why not.
pub(crate) async fn ready(node: &NodeShared) -> Result<(), String> {
    let quorum = quorum(node).await?;
    if quorum.leader_id < 0 {
        return Err("the metadata quorum has no leader".to_owned());
    }
    let image = node.image();
    match image.broker(node.id) {
        None => return Err(format!("broker {} is not registered", node.id)),
        Some(broker) if broker.fenced => return Err(format!("broker {} is fenced", node.id)),
        Some(_) => {}
    }
    let metadata = &node.directories[node.metadata_directory];
    match metadata.failure() {
        Some(failure) => Err(failure.to_string()),
        None => Ok(()),
    }
}
