//! Publishes what the controller knows to all cores.

use std::rc::Rc;
use std::sync::Arc;

use controller::{Change, MetadataImage};
use runtime::sync::oneshot;
use types::TopicPartition;

use crate::core::Core;
use crate::image::Image;
use crate::quorum::Publisher;
use crate::shard;

/// Publishes to all cores of the node, from the one that runs the quorum.
pub(super) struct NodePublisher {
    pub core: Rc<Core>,
    /// Whether the shards follow already; before that, only the image is kept.
    pub is_live: Rc<std::cell::Cell<bool>>,
}

impl Publisher for NodePublisher {
    async fn publish(&mut self, metadata: Arc<MetadataImage>, changes: Vec<Change>) {
        let node = &self.core.node;
        let image = Image::new(metadata, node.id, &node.static_configs, &node.limits);
        let image = Arc::new(image);
        node.image.store(Arc::clone(&image));
        if let Some(observer) = node.observer() {
            observer.published(&image);
        }
        if self.is_live.get() && !changes.is_empty() {
            apply_everywhere(&self.core, &image, changes).await;
        }
    }
}

/// Every partition of the image as if it had just been created: what a starting node has to take up.
pub(super) fn everything(image: &Image) -> Vec<Change> {
    let mut changes = Vec::new();
    for topic in image.topics.iter() {
        for &partition in topic.partitions.keys() {
            changes.push(Change::PartitionCreated(TopicPartition {
                topic_id: topic.id,
                partition,
            }));
        }
    }
    changes
}

/// Brings all shards in line with the image; ends when all are.
pub(super) async fn apply_everywhere(core: &Rc<Core>, image: &Arc<Image>, changes: Vec<Change>) {
    // Before any core hears of them: another one may have to make a partition of the same name.
    for change in &changes {
        if let Change::TopicDeleted(topic) = change {
            core.node.begin_delete(topic);
            core.node.metrics.topics.forget(&topic.name);
        }
    }
    let changes = Arc::new(changes);
    let mut waiting = Vec::new();
    for index in 0..core.node.mailboxes.len() {
        let (sender, receiver) = oneshot::channel();
        let (image, changes) = (Arc::clone(image), Arc::clone(&changes));
        let apply = move |core: &Rc<Core>| {
            let core = Rc::clone(core);
            runtime::task::spawn_local(async move {
                shard::apply(core, image, changes).await;
                let _ = sender.send(());
            });
        };
        // A core that is gone has nothing to apply.
        if core.post(index, apply).await.is_ok() {
            waiting.push(receiver);
        }
    }
    for receiver in waiting {
        let _ = receiver.await;
    }
}
