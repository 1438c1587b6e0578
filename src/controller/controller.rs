//! The machine: one request in, records and an answer out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use types::{Limits, NodeId, Now, Offset, Prng};

use crate::apply::check_partition;
use crate::configs::BrokerConfigView;
use crate::error::BrokerError;
use crate::image::MetadataImage;
use crate::records::MetadataRecord;
use crate::replay::{BatchPosition, Change, ReplayError, Replayer};
use crate::request::{AllocateProducerIds, ProducerIdBlock, Request, Response};
use crate::snapshot::feature_record;
use crate::view::ControllerView;
use crate::{alter_configs, brokers, features, topics};
use protocol::stored::{AbortTransactionRecord, ProducerIdsRecord};

/// What to append and what to say once it is committed.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    /// Records to append, in order; the first gets the offset that was given to `decide`.
    pub records: Vec<MetadataRecord>,
    /// The answer, to be parked until all records are committed.
    pub response: Response,
    /// Whether the records must stand in one batch: all or none of them may survive.
    /// Otherwise the driver may split them between any two.
    pub atomic: bool,
}

/// What a controller is made with.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// The node it runs on.
    pub node_id: NodeId,
    /// The node's own file, see [`crate::configs::StaticConfig::texts`].
    pub static_configs: BTreeMap<String, String>,
    /// Figures fixed for the node's life.
    pub limits: Limits,
}

/// The controller of a cluster while this node leads the metadata quorum.
///
/// The order of use is: `decide`, append the records, `replay` them at the offsets they got, and only then decide the next
/// request; the answer waits for the commit. On loss of leadership it is dropped and built anew from the committed image.
#[derive(Debug)]
pub struct Controller {
    pub(crate) config: ControllerConfig,
    pub(crate) replayer: Replayer,
    pub(crate) prng: Prng,
    /// Names that fall together once `.` and `_` are the same, because metrics cannot tell them apart.
    pub(crate) colliding: BTreeMap<String, BTreeSet<Arc<str>>>,
}

impl Controller {
    /// A controller that starts from `image`: empty, a snapshot's, or the committed one.
    /// `prng` draws topic ids and where placement begins.
    pub fn new(config: ControllerConfig, image: Arc<MetadataImage>, prng: Prng) -> Controller {
        let mut controller = Controller {
            config,
            replayer: Replayer::new(image),
            prng,
            colliding: BTreeMap::new(),
        };
        let image = controller.image();
        for topic in image.topics.iter() {
            controller.remember_name(&topic.name);
        }
        controller
    }

    /// The image after all replayed records. Cheap: one pointer.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.replayer.image()
    }

    /// What observers see.
    pub fn view(&self) -> ControllerView<'_> {
        ControllerView {
            node_id: self.config.node_id,
            image: self.replayer.complete(),
            replayed: self.replayer.latest().provenance,
            in_transaction: self.replayer.in_transaction(),
        }
    }

    /// The configs in force on this node.
    pub fn config_view(&self) -> BrokerConfigView<'_> {
        BrokerConfigView::new(
            self.replayer.latest(),
            self.config.node_id,
            &self.config.static_configs,
        )
    }

    /// Decides one request. `next_offset` is where the first of the records will be appended: broker epochs are offsets.
    ///
    /// Changes nothing but the random streams: what is decided happens when its records are replayed.
    pub fn decide(&mut self, _now: Now, next_offset: Offset, request: &Request) -> Decision {
        assert!(
            next_offset > self.replayer.latest().provenance.offset,
            "records are decided only after all before them are replayed"
        );
        let limit = self.config.limits.metadata_records_per_operation_max;
        let decision = match request {
            Request::Activate(activate) => self.activate(&activate.bootstrap_features),
            Request::RegisterBroker(broker) => brokers::register(self, next_offset, broker),
            Request::RegisterController(controller) => {
                brokers::register_controller(self, controller)
            }
            Request::BrokerHeartbeat(heartbeat) => brokers::heartbeat(self, heartbeat),
            Request::CreateTopics(create) => topics::create(self, create),
            Request::DeleteTopics(delete) => topics::delete(self, delete),
            Request::CreatePartitions(create) => topics::create_partitions(self, create),
            Request::IncrementalAlterConfigs(alter) => alter_configs::incremental(self, alter),
            Request::AlterConfigs(alter) => alter_configs::legacy(self, alter),
            Request::AllocateProducerIds(allocate) => self.allocate_producer_ids(allocate),
            Request::UpdateFeatures(update) => {
                let result = features::update(self.replayer.latest(), update);
                let (records, response) = match result {
                    Ok(records) => (records, Ok(())),
                    Err(error) => (Vec::new(), Err(error)),
                };
                Decision::atomic(records, Response::UpdateFeatures(response))
            }
            Request::AssignReplicasToDirs(assign) => brokers::assign_directories(self, assign),
        };
        assert!(
            !decision.atomic || decision.records.len() <= limit,
            "an operation of {} records must be refused or split",
            decision.records.len()
        );
        decision
    }

    /// Replays one appended batch and returns what it changed.
    ///
    /// # Errors
    /// [`ReplayError`]: the node must not go on.
    pub fn replay(
        &mut self,
        position: BatchPosition,
        records: &[MetadataRecord],
    ) -> Result<Vec<Change>, ReplayError> {
        let changes = self.replayer.replay_batch(position, records)?;
        for change in &changes {
            match change {
                Change::TopicCreated { name, .. } => self.remember_name(name),
                Change::TopicDeleted(topic) => self.forget_name(&topic.name),
                _ => {}
            }
        }
        Ok(changes)
    }

    /// Moves the position over batches that hold no metadata: those of the quorum itself.
    pub fn skip_to(&mut self, provenance: crate::image::Provenance) {
        self.replayer.skip_to(provenance);
    }

    /// Checks the invariants of the whole state.
    ///
    /// # Panics
    /// If one is broken.
    pub fn check(&self) {
        let image = self.replayer.latest();
        for topic in image.topics.iter() {
            assert_eq!(
                image.topics.name_of(topic.id),
                Some(&topic.name),
                "names and ids agree"
            );
            let last = topic.partitions.keys().next_back().copied().unwrap_or(-1);
            assert_eq!(
                topic.partition_count(),
                last + 1,
                "{} has no hole",
                topic.name
            );
            for (index, partition) in &topic.partitions {
                let checked = check_partition(partition);
                assert_eq!(checked, Ok(()), "{}-{index}", topic.name);
                let leader = image.broker(partition.leader);
                assert!(
                    leader.is_none_or(|broker| !broker.fenced),
                    "{}-{index} is led by a fenced broker",
                    topic.name
                );
            }
            let key = collision_key(&topic.name);
            let known = self
                .colliding
                .get(&key)
                .is_some_and(|names| names.contains(&topic.name));
            assert_eq!(known, may_collide(&topic.name), "colliding names are known");
        }
        assert!(image.next_producer_id >= 0, "producer ids begin at 0");
    }

    fn remember_name(&mut self, name: &Arc<str>) {
        if may_collide(name) {
            let names = self.colliding.entry(collision_key(name)).or_default();
            names.insert(Arc::clone(name));
        }
    }

    fn forget_name(&mut self, name: &Arc<str>) {
        let key = collision_key(name);
        if let Some(names) = self.colliding.get_mut(&key) {
            names.remove(name);
            if names.is_empty() {
                self.colliding.remove(&key);
            }
        }
    }

    /// What a new leader of the quorum writes first.
    fn activate(&mut self, bootstrap: &BTreeMap<String, i16>) -> Decision {
        let mut records: Vec<MetadataRecord> = Vec::new();
        if self.replayer.in_transaction() {
            records.push(AbortTransactionRecord::default().into());
        }
        // A log without its metadata version holds nothing yet: even the first batch of all begins with it.
        if self.image().feature_level(features::METADATA_VERSION) == 0 {
            let (version, others): (Vec<_>, Vec<_>) = bootstrap
                .iter()
                .partition(|(name, _)| *name == features::METADATA_VERSION);
            for (name, &level) in version.into_iter().chain(others) {
                if level > 0 {
                    records.push(feature_record(name, level));
                }
            }
        }
        Decision::atomic(records, Response::Activate)
    }

    fn allocate_producer_ids(&mut self, request: &AllocateProducerIds) -> Decision {
        let image = self.replayer.latest();
        let result =
            brokers::registered(image, request.broker_id, request.broker_epoch).and_then(|_| {
                let first = image.next_producer_id;
                let size = self.config.limits.producer_id_block_size;
                let next = first
                    .checked_add(size)
                    .ok_or(BrokerError::ProducerIdsExhausted)?;
                Ok((first, next, size))
            });
        match result {
            Err(error) => Decision::atomic(Vec::new(), Response::AllocateProducerIds(Err(error))),
            Ok((first, next, size)) => {
                let record = ProducerIdsRecord {
                    broker_id: request.broker_id,
                    broker_epoch: request.broker_epoch,
                    next_producer_id: next,
                    ..ProducerIdsRecord::default()
                };
                let block = ProducerIdBlock {
                    first,
                    count: i32::try_from(size).expect("a block has fewer than 2^31 ids"),
                };
                Decision::atomic(
                    vec![record.into()],
                    Response::AllocateProducerIds(Ok(block)),
                )
            }
        }
    }
}

impl Decision {
    pub(crate) fn atomic(records: Vec<MetadataRecord>, response: Response) -> Decision {
        Decision {
            records,
            response,
            atomic: true,
        }
    }
}

/// A topic's name with `.` and `_` made one.
pub(crate) fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

/// Whether a name has a character that may make it collide.
pub(crate) fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}
