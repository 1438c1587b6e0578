//! What the metadata says of this node's replicas and of the cluster.

use broker::node::NodeShared;

use super::{Scrape, count};
use crate::figures;
use crate::metrics::{Family, Value};

/// The state of a broker that serves, by Kafka's numbers.
const BROKER_RUNNING: i64 = 3;

#[derive(Default)]
struct Replicas {
    hosted: usize,
    offline: usize,
    led: usize,
    under_replicated: usize,
    under_min_isr: usize,
    at_min_isr: usize,
    reassigning: usize,
}

impl Replicas {
    fn add_led(&mut self, replicas: usize, in_sync: usize, min_isr: usize) {
        self.led += 1;
        self.under_replicated += usize::from(in_sync < replicas);
        self.under_min_isr += usize::from(in_sync < min_isr);
        self.at_min_isr += usize::from(in_sync == min_isr);
    }
}

fn count_replicas(node: &NodeShared) -> Replicas {
    let failed: Vec<_> = node
        .directories
        .iter()
        .filter(|directory| directory.failure().is_some())
        .filter_map(|directory| directory.properties().directory_id)
        .collect();
    let mut replicas = Replicas::default();
    let image = node.image();
    for topic in image.topics.iter() {
        let min_isr = image.topic_config(&topic.name).replica.min_insync_replicas as usize;
        for partition in topic.partitions.values() {
            if let Some(directory) = partition.directory(node.id) {
                replicas.hosted += 1;
                replicas.offline += usize::from(failed.contains(&directory));
            }
            if partition.leader == node.id {
                replicas.add_led(partition.replicas.len(), partition.isr.len(), min_isr);
                let is_stable =
                    partition.adding_replicas.is_empty() && partition.removing_replicas.is_empty();
                replicas.reassigning += usize::from(!is_stable);
            }
        }
    }
    replicas
}

pub(super) fn replicas(node: &NodeShared) -> Vec<Family> {
    let replicas = count_replicas(node);
    vec![
        Family::one(figures::PARTITION_COUNT, count(replicas.hosted)),
        Family::one(figures::LEADER_COUNT, count(replicas.led)),
        Family::one(figures::OFFLINE_REPLICAS, count(replicas.offline)),
        Family::one(figures::UNDER_REPLICATED, count(replicas.under_replicated)),
        Family::one(figures::UNDER_MIN_ISR, count(replicas.under_min_isr)),
        Family::one(figures::AT_MIN_ISR, count(replicas.at_min_isr)),
        Family::one(figures::REASSIGNING, count(replicas.reassigning)),
    ]
}

pub(super) fn cluster(node: &NodeShared, scrape: &Scrape) -> Vec<Family> {
    let image = node.image();
    let mut families = Vec::new();
    if image.broker(node.id).is_some_and(|broker| !broker.fenced) {
        let running = Value::Signed(BROKER_RUNNING);
        families.push(Family::one(figures::BROKER_STATE, running));
    }
    let Some(quorum) = &scrape.quorum else {
        return families;
    };
    let is_active = quorum.leader_id == node.id;
    let signed = |figure, value: i64| Family::one(figure, Value::Signed(value));
    families.push(signed(figures::ACTIVE_CONTROLLER, i64::from(is_active)));
    families.push(signed(
        figures::QUORUM_HIGH_WATERMARK,
        quorum.high_watermark,
    ));
    families.push(signed(
        figures::QUORUM_EPOCH,
        i64::from(quorum.leader_epoch),
    ));
    if is_active {
        families.extend(controller(node));
    }
    families
}

fn controller(node: &NodeShared) -> Vec<Family> {
    let image = node.image();
    let unfenced = image.unfenced_brokers().count();
    let partitions = || {
        image
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.values())
    };
    let leaderless = partitions().filter(|partition| !partition.has_leader());
    let imbalanced = partitions().filter(|p| p.replicas.first() != Some(&p.leader));
    vec![
        Family::one(figures::ACTIVE_BROKERS, count(unfenced)),
        Family::one(
            figures::FENCED_BROKERS,
            count(image.brokers.len() - unfenced),
        ),
        Family::one(figures::GLOBAL_TOPICS, count(image.topics.len())),
        Family::one(figures::GLOBAL_PARTITIONS, count(partitions().count())),
        Family::one(figures::OFFLINE_PARTITIONS, count(leaderless.count())),
        Family::one(figures::PREFERRED_IMBALANCE, count(imbalanced.count())),
    ]
}
