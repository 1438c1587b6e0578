//! What a clean stop leaves in the metadata log.

use bytes::Bytes;
use controller::MetadataRecord;
use protocol::records::batches;
use protocol::stored::{BrokerRegistrationChangeRecord, PartitionChangeRecord};
use types::Uuid;

use crate::harness::{Broker, Data, run};

/// All records of the metadata log, those of the quorum left out.
fn metadata(data: &Data) -> Vec<MetadataRecord> {
    let folder = data
        .path()
        .join("data")
        .join(controller::METADATA_TOPIC.to_owned() + "-0");
    let log = std::fs::read(folder.join("00000000000000000000.log")).expect("the log");
    let mut records = Vec::new();
    for batch in batches(Bytes::from(log)) {
        let batch = batch.expect("whole batches");
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records() {
            let value = record.expect("a record").value.expect("a value");
            records.push(controller::records::decode(value).expect("a metadata record"));
        }
    }
    records
}

fn change_of(broker_epoch: i64) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: 1,
        broker_epoch,
        ..Default::default()
    }
}

fn leads(topic_id: Uuid, partition_id: i32, leader: i32) -> MetadataRecord {
    PartitionChangeRecord {
        topic_id,
        partition_id,
        leader,
        ..Default::default()
    }
    .into()
}

#[test]
fn a_stop_ends_leaderships_and_fences_and_the_next_start_takes_both_back() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let id = kafka.create("topic", 2, &[]).await;
        kafka.put("topic", 1, &["a"]).await;
        let epoch = broker.node.shared.broker_epoch();
        let data = broker.stop().await;
        let stopped = metadata(&data);
        let stopping = BrokerRegistrationChangeRecord {
            in_controlled_shutdown: 1,
            ..change_of(epoch)
        };
        let fenced = |epoch, fenced| BrokerRegistrationChangeRecord {
            fenced,
            ..change_of(epoch)
        };
        let expected: [MetadataRecord; 4] = [
            stopping.into(),
            leads(id, 0, -1),
            leads(id, 1, -1),
            fenced(epoch, 1).into(),
        ];
        assert_eq!(stopped[stopped.len() - 4..], expected);

        let broker = data.start().await;
        let mut kafka = broker.kafka().await;
        assert_eq!(kafka.all_values("topic", 1).await, ["a"]);
        assert_eq!(kafka.put("topic", 1, &["b"]).await, 1);
        let epoch = broker.node.shared.broker_epoch();
        let data = broker.killed().await;
        let started = metadata(&data).split_off(stopped.len());
        // The broker was fenced already: nothing stands before its registration.
        let MetadataRecord::RegisterBroker(registered) = &started[0] else {
            panic!("a registration, not {started:#?}")
        };
        assert!(registered.fenced && !registered.in_controlled_shutdown);
        let expected: [MetadataRecord; 3] =
            [fenced(epoch, -1).into(), leads(id, 0, 1), leads(id, 1, 1)];
        assert_eq!(started[1..4], expected);
    });
}
