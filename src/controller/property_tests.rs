//! Properties over random histories of operations.

use std::sync::Arc;

use proptest::prelude::*;

use crate::image::MetadataImage;
use crate::records;
use crate::replay::{BatchPosition, Replayer};
use crate::request::*;
use crate::snapshot::{from_snapshot, snapshot_records};
use crate::test_support::{CLUSTER_ID, Cluster};

#[derive(Clone, Debug)]
enum Step {
    Operate(String),
    Restart { clean: bool },
    ProducerIds,
}

fn step() -> impl Strategy<Value = Step> {
    let name = prop::sample::select(vec!["a", "b", "a.b", "a_b", "c-d", "E.f"]);
    let config = prop::sample::select(vec![
        "retention.ms=5",
        "cleanup.policy=compact",
        "flush.messages=1000",
        "retention.ms=wrong",
        "no.such=1",
    ]);
    let broker = prop::sample::select(vec!["", "1"]);
    let value = 0..5i32;
    prop_oneof![
        (name.clone(), 0..4i32, config.clone())
            .prop_map(|(n, p, c)| Step::Operate(format!("create {n} partitions={p} {c}"))),
        (name.clone(), 1..4i32)
            .prop_map(|(n, p)| Step::Operate(format!("create {n} partitions={p}"))),
        name.clone()
            .prop_map(|n| Step::Operate(format!("delete {n}"))),
        (name.clone(), value.clone())
            .prop_map(|(n, p)| Step::Operate(format!("grow {n} partitions={p}"))),
        (name.clone(), config).prop_map(|(n, c)| Step::Operate(format!("alter topic:{n} ={c}"))),
        name.clone()
            .prop_map(|n| Step::Operate(format!("alter topic:{n} !retention.ms"))),
        name.prop_map(|n| Step::Operate(format!("alter topic:{n} +cleanup.policy=delete"))),
        (broker, value).prop_map(|(b, v)| {
            Step::Operate(format!("alter broker:{b} =log.retention.ms={v}"))
        }),
        any::<bool>().prop_map(|clean| Step::Restart { clean }),
        Just(Step::ProducerIds),
    ]
}

fn run(cluster: &mut Cluster, incarnation: &mut u128, step: &Step) {
    match step {
        Step::Operate(line) => {
            cluster.operate(line);
        }
        Step::Restart { clean } => {
            let epoch = cluster.controller.image().broker(1).unwrap().epoch;
            if *clean {
                cluster.heartbeat(epoch, true).0.unwrap();
                assert!(cluster.heartbeat(epoch, true).0.unwrap().should_shut_down);
            }
            *incarnation += 1;
            cluster.start_broker(*incarnation);
        }
        Step::ProducerIds => {
            let epoch = cluster.controller.image().broker(1).unwrap().epoch;
            let before = cluster.controller.image().next_producer_id;
            let request = AllocateProducerIds {
                broker_id: 1,
                broker_epoch: epoch,
            };
            let (response, _) = cluster.ask(&Request::AllocateProducerIds(request));
            let block = ProducerIdBlock {
                first: before,
                count: 1000,
            };
            assert_eq!(response, Response::AllocateProducerIds(Ok(block)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_snapshot_replays_to_the_same_image(steps in prop::collection::vec(step(), 0..40)) {
        let mut cluster = Cluster::started();
        let mut incarnation = 1;
        let mut epochs = std::collections::BTreeMap::new();
        for step in &steps {
            run(&mut cluster, &mut incarnation, step);
            for topic in cluster.controller.image().topics.iter() {
                for (&index, partition) in &topic.partitions {
                    let now = (partition.leader_epoch, partition.partition_epoch);
                    let before = epochs.insert((topic.id, index), now).unwrap_or((0, 0));
                    prop_assert!(before.0 <= now.0 && before.1 <= now.1, "epochs only rise");
                    prop_assert!(partition.has_leader(), "the one broker is up and leads");
                }
            }
        }
        let image = cluster.controller.image();
        let records = snapshot_records(&image);
        let position = BatchPosition {
            base_offset: image.provenance.offset,
            epoch: image.provenance.epoch,
            timestamp_ms: image.provenance.timestamp_ms,
        };
        let decoded: Vec<_> = records
            .iter()
            .map(|record| records::decode(records::encode(record).unwrap()).unwrap())
            .collect();
        prop_assert_eq!(&decoded, &records);
        let again = from_snapshot(CLUSTER_ID, position, &decoded).unwrap();
        prop_assert_eq!(&*again, &*image);
        prop_assert_eq!(snapshot_records(&again), records);
    }

    #[test]
    fn the_log_replays_to_the_same_image(steps in prop::collection::vec(step(), 0..30)) {
        let mut cluster = Cluster::empty();
        cluster.keep_log();
        cluster.start();
        let mut incarnation = 1;
        for step in &steps {
            run(&mut cluster, &mut incarnation, step);
        }
        let mut replayer = Replayer::new(Arc::new(MetadataImage::empty(CLUSTER_ID)));
        for (position, records) in cluster.log() {
            replayer.replay_batch(*position, records).unwrap();
        }
        prop_assert_eq!(replayer.image(), cluster.controller.image());
    }
}
