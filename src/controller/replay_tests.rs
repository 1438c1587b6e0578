//! What replaying tells, and what it refuses.

use protocol::stored;
use types::{TopicPartition, Uuid};

use crate::image::{ConfigResource, NO_LEADER};
use crate::records::MetadataRecord;
use crate::replay::{BatchPosition, Change, ReplayError, Replayer};
use crate::test_support::Cluster;

#[test]
fn changes_are_told() {
    let mut cluster = Cluster::started();
    let ask = |cluster: &mut Cluster, line: &str| {
        cluster.keep_log();
        cluster.operate(line);
        let mut replayer = Replayer::new(cluster.before());
        let (position, records) = &cluster.log()[0];
        replayer.replay_batch(*position, records).unwrap()
    };
    let changes = ask(&mut cluster, "create a partitions=2 retention.ms=5");
    let id = cluster.controller.image().topic("a").unwrap().id;
    let partition = |index| TopicPartition {
        topic_id: id,
        partition: index,
    };
    let resource = ConfigResource::topic("a");
    assert_eq!(
        changes,
        [
            Change::TopicCreated {
                name: "a".into(),
                id
            },
            Change::ConfigChanged {
                resource: resource.clone(),
                key: "retention.ms".to_owned()
            },
            Change::PartitionCreated(partition(0)),
            Change::PartitionCreated(partition(1)),
        ]
    );
    let changes = ask(&mut cluster, "grow a partitions=3");
    assert_eq!(changes, [Change::PartitionCreated(partition(2))]);
    let deleted = cluster.controller.image().topic("a").cloned().unwrap();
    assert_eq!(
        ask(&mut cluster, "delete a"),
        [Change::TopicDeleted(deleted)]
    );
    assert_eq!(
        cluster.controller.image().config(&resource),
        None,
        "configs end with their topic"
    );
}

#[test]
fn a_transaction_counts_only_when_it_ends() {
    let feature = |level| {
        let record = stored::FeatureLevelRecord {
            name: "metadata.version".to_owned(),
            feature_level: level,
            ..Default::default()
        };
        MetadataRecord::from(record)
    };
    let begin = || MetadataRecord::from(stored::BeginTransactionRecord::default());
    let end = || MetadataRecord::from(stored::EndTransactionRecord::default());
    let abort = || MetadataRecord::from(stored::AbortTransactionRecord::default());
    let at = |base_offset| BatchPosition {
        base_offset,
        epoch: 1,
        timestamp_ms: 0,
    };
    let mut replayer = Replayer::new(std::sync::Arc::new(crate::MetadataImage::empty("c")));
    assert_eq!(
        replayer
            .replay_batch(at(0), &[begin(), feature(30)])
            .unwrap(),
        []
    );
    assert_eq!(replayer.image().feature_level("metadata.version"), 0);
    let told = Change::FeatureChanged("metadata.version".to_owned());
    assert_eq!(replayer.replay_batch(at(2), &[end()]).unwrap(), [told]);
    assert_eq!(replayer.image().feature_level("metadata.version"), 30);
    assert_eq!(
        replayer
            .replay_batch(at(3), &[begin(), feature(31), abort()])
            .unwrap(),
        []
    );
    assert_eq!(replayer.image().feature_level("metadata.version"), 30);
    assert_eq!(replayer.image().provenance.offset, 5);
    for wrong in [end(), abort()] {
        let result = replayer.clone().replay_batch(at(6), &[wrong]);
        assert!(matches!(result, Err(ReplayError::Transaction(_))));
    }
}

#[test]
fn a_log_that_cannot_be_served_stops_the_replay() {
    let at = BatchPosition {
        base_offset: 1000,
        epoch: 1,
        timestamp_ms: 0,
    };
    let cluster = Cluster::started();
    let id = Uuid::from_u128(7);
    let cases: Vec<(MetadataRecord, &str)> = vec![
        (
            stored::AccessControlEntryRecord::default().into(),
            "AccessControlEntryRecord",
        ),
        (
            stored::ClientQuotaRecord::default().into(),
            "ClientQuotaRecord",
        ),
        (
            stored::UserScramCredentialRecord::default().into(),
            "UserScramCredentialRecord",
        ),
        (
            stored::RemoveTopicRecord {
                topic_id: id,
                ..Default::default()
            }
            .into(),
            "topic",
        ),
        (
            stored::PartitionChangeRecord {
                topic_id: id,
                ..Default::default()
            }
            .into(),
            "which does not exist",
        ),
        (
            stored::ConfigRecord {
                resource_type: 3,
                ..Default::default()
            }
            .into(),
            "resource type 3",
        ),
        (
            stored::BrokerRegistrationChangeRecord {
                broker_id: 1,
                ..Default::default()
            }
            .into(),
            "broker 1 with epoch 0",
        ),
    ];
    for (record, expected) in cases {
        let mut replayer = Replayer::new(cluster.controller.image());
        let error = replayer
            .replay_batch(at, &[record])
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn malformed_partitions_stop_the_replay() {
    let mut cluster = Cluster::started();
    cluster.operate("create a partitions=1");
    let image = cluster.controller.image();
    let topic_id = image.topic("a").unwrap().id;
    let base = || stored::PartitionRecord {
        partition_id: 1,
        topic_id,
        replicas: vec![1, 2],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![Uuid::ZERO; 2],
        ..Default::default()
    };
    let at = BatchPosition {
        base_offset: 1000,
        epoch: 1,
        timestamp_ms: 0,
    };
    let replay = |record: stored::PartitionRecord| {
        Replayer::new(image.clone())
            .replay_batch(at, &[record.into()])
            .is_ok()
    };
    assert!(replay(base()));
    assert!(replay(stored::PartitionRecord {
        leader: NO_LEADER,
        ..base()
    }));
    for wrong in [
        stored::PartitionRecord {
            leader: 2,
            ..base()
        },
        stored::PartitionRecord {
            isr: vec![3],
            leader: NO_LEADER,
            ..base()
        },
        stored::PartitionRecord {
            isr: Vec::new(),
            leader: NO_LEADER,
            ..base()
        },
        stored::PartitionRecord {
            replicas: Vec::new(),
            ..base()
        },
        stored::PartitionRecord {
            directories: vec![Uuid::ZERO],
            ..base()
        },
        stored::PartitionRecord {
            leader_epoch: -1,
            ..base()
        },
        stored::PartitionRecord {
            partition_id: -1,
            ..base()
        },
        stored::PartitionRecord {
            leader_recovery_state: 4,
            ..base()
        },
    ] {
        assert!(!replay(wrong.clone()), "{wrong:?}");
    }
}
