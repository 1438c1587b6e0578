//! What an observer is shown, and in which order.

use std::sync::{Arc, Mutex};

use broker::observer::{
    FetchAnswered, ListOffsetsAnswered, Observer, OffsetCommitAnswered, ProduceAnswered,
};
use controller::{ControllerView, MetadataImage};
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::{FindCoordinatorRequest, OffsetCommitRequest};
use protocol::records::BatchHeader;
use raft::QuorumView;
use replica::{Acks, Isolation, ReplicaView, RoleView};
use types::{ErrorCode, TopicPartition};

use crate::harness::{Broker, Options, run, sequenced, until};

/// One thing that was shown, as a copy.
#[derive(Clone, PartialEq, Debug)]
enum Shown {
    Replica {
        partition: TopicPartition,
        ends: [i64; 5],
        leader_epoch: i32,
        is_leader: bool,
        parked: usize,
        /// Id, epoch, base sequence and base offset of every remembered batch.
        window: Vec<(i64, i16, i32, i64)>,
        epochs: Vec<(i32, i64)>,
        isr: Vec<i32>,
    },
    Appending(TopicPartition, BatchHeader),
    Quorum {
        committed: i64,
        flushed: i64,
        log_end: i64,
        parked: usize,
    },
    Controller {
        offset: i64,
        replayed: i64,
        digest: u64,
        committed: i64,
        parked: usize,
    },
    Published(i64, u64),
    Produced(TopicPartition, Acks, u32, Result<i64, ErrorCode>),
    Fetched(FetchAnswered),
    Listed(ListOffsetsAnswered),
    Committed(String, TopicPartition, i64, ErrorCode),
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Shown>>);

impl Recorder {
    fn push(&self, shown: Shown) {
        self.0.lock().expect("nobody panics").push(shown);
    }

    fn all(&self) -> Vec<Shown> {
        self.0.lock().expect("nobody panics").clone()
    }

    fn place(&self, what: &str, is_it: impl Fn(&Shown) -> bool) -> usize {
        let all = self.all();
        let found = all.iter().position(is_it);
        found.unwrap_or_else(|| panic!("{what} is not shown: {all:#?}"))
    }
}

impl Observer for Recorder {
    fn replica(&self, partition: TopicPartition, view: &ReplicaView<'_>) {
        let mut window = Vec::new();
        for (id, entry) in view.producers.entries() {
            for range in entry.batches() {
                let (sequence, offset) = (range.base_sequence(), range.base_offset());
                window.push((id, entry.producer_epoch, sequence, offset));
            }
        }
        self.push(Shown::Replica {
            partition,
            ends: [
                view.log_start,
                view.last_stable,
                view.high_watermark,
                view.flushed,
                view.log_end,
            ],
            leader_epoch: view.leader_epoch,
            is_leader: matches!(view.role, RoleView::Leader { .. }),
            parked: view.parked,
            window,
            epochs: view
                .epochs
                .entries()
                .map(|e| (e.epoch, e.start_offset))
                .collect(),
            isr: view.isr.to_vec(),
        });
    }

    fn appending(&self, partition: TopicPartition, header: &BatchHeader) {
        self.push(Shown::Appending(partition, *header));
    }

    fn quorum(&self, view: &QuorumView<'_>) {
        self.push(Shown::Quorum {
            committed: view.high_watermark.unwrap_or(-1),
            flushed: view.flushed,
            log_end: view.log_end,
            parked: view.parked,
        });
    }

    fn controller(&self, view: &ControllerView<'_>, quorum: &QuorumView<'_>, parked: usize) {
        self.push(Shown::Controller {
            offset: view.image.provenance.offset,
            replayed: view.replayed.offset,
            digest: view.image.digest(),
            committed: quorum.high_watermark.unwrap_or(-1),
            parked,
        });
    }

    fn published(&self, image: &MetadataImage) {
        self.push(Shown::Published(image.provenance.offset, image.digest()));
    }

    fn produce_answered(&self, answer: &ProduceAnswered<'_>) {
        self.push(Shown::Produced(
            answer.partition,
            answer.acks,
            answer.header.crc,
            answer.result.map(|ok| ok.base_offset),
        ));
    }

    fn fetch_answered(&self, answer: &FetchAnswered) {
        self.push(Shown::Fetched(*answer));
    }

    fn list_offsets_answered(&self, answer: &ListOffsetsAnswered) {
        self.push(Shown::Listed(*answer));
    }

    fn offset_commit_answered(&self, answer: &OffsetCommitAnswered<'_>) {
        let group = answer.group_id.to_owned();
        self.push(Shown::Committed(
            group,
            answer.partition,
            answer.offset,
            answer.error,
        ));
    }
}

async fn observed() -> (Broker, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let broker = Broker::with(Options {
        observer: Some(recorder.clone()),
        ..Options::default()
    });
    (broker.await, recorder)
}

fn topic_of(id: types::Uuid) -> TopicPartition {
    TopicPartition {
        topic_id: id,
        partition: 0,
    }
}

#[test]
fn a_batch_is_shown_from_its_offset_to_its_answer() {
    run(async {
        let (broker, recorder) = observed().await;
        let mut kafka = broker.kafka().await;
        let partition = topic_of(kafka.create("topic", 1, &[]).await);
        let records = sequenced(4000, 0, 0, &["a", "b"]);
        for _ in 0..2 {
            let answer = kafka.produce("topic", 0, records.clone()).await;
            assert_eq!((answer.error_code, answer.base_offset), (0, 0));
        }
        let gap = kafka
            .produce("topic", 0, sequenced(4000, 0, 9, &["c"]))
            .await;
        assert_ne!(gap.error_code, 0);
        let all = recorder.all();
        let headers = all.iter().filter_map(|shown| match shown {
            Shown::Appending(of, header) if *of == partition => Some(*header),
            _ => None,
        });
        let [header] = headers.collect::<Vec<_>>()[..] else {
            panic!("one batch of three is appended: {all:#?}")
        };
        assert_eq!((header.base_offset, header.next_offset()), (0, 2));
        let parked = recorder.place("a parked request", |shown| {
            matches!(shown, Shown::Replica { partition: of, parked: 1, ends: [.., 0, 0], window, .. }
                if *of == partition && window == &[(4000, 0, 0, 0)])
        });
        let appending = recorder.place("the append", |shown| matches!(shown, Shown::Appending(..)));
        let visible = recorder.place("the high watermark", |shown| {
            matches!(shown, Shown::Replica { partition: of, parked: 0, ends: [0, 2, 2, 2, 2], is_leader: true, .. }
                if *of == partition)
        });
        let is_answered = |result| Shown::Produced(partition, Acks::All, header.crc, result);
        let answered = recorder.place("the answer", |shown| *shown == is_answered(Ok(0)));
        assert!(
            parked < appending && appending < visible && visible < answered,
            "each before what it leads to leaves: {all:#?}"
        );
        let again = |shown: &&Shown| **shown == is_answered(Ok(0));
        assert_eq!(all.iter().filter(again).count(), 2, "the duplicate too");
        let refused = all.iter().any(|shown| {
            matches!(
                shown,
                Shown::Produced(.., Err(ErrorCode::OutOfOrderSequenceNumber))
            )
        });
        assert!(refused, "{all:#?}");
        broker.stop().await;
    });
}

#[test]
fn what_a_reader_is_told_is_shown() {
    run(async {
        let (broker, recorder) = observed().await;
        let mut kafka = broker.kafka().await;
        let partition = topic_of(kafka.create("topic", 1, &[]).await);
        assert_eq!(kafka.put("topic", 0, &["a", "b", "c"]).await, 0);
        let data = kafka.fetch("topic", 0, 1).await;
        let beyond = kafka.fetch("topic", 0, 9).await;
        assert_eq!(beyond.error_code, ErrorCode::OffsetOutOfRange.code());
        let latest = kafka.offset("topic", 0, -1).await;
        let commit = commit_request("topic", 2);
        until("the coordinator is there", async || {
            let mut kafka = broker.kafka().await;
            // Makes the topic of offsets.
            kafka.call(0, &find_coordinator()).await;
            let response = kafka.call(8, &commit).await;
            (response.topics[0].partitions[0].error_code == 0).then_some(())
        })
        .await;
        let all = recorder.all();
        let fetched = all.iter().filter_map(|shown| match shown {
            Shown::Fetched(answer) => Some(*answer),
            _ => None,
        });
        let fetched: Vec<_> = fetched.collect();
        assert_eq!(fetched.len(), 2);
        let first = fetched[0];
        assert_eq!((first.partition, first.fetch_offset), (partition, 1));
        assert_eq!(first.isolation, Isolation::ReadUncommitted);
        let length_bytes = crate::harness::record_bytes(&data).len() as u64;
        assert_eq!(
            (first.error, first.length_bytes),
            (ErrorCode::None, length_bytes)
        );
        assert_eq!(
            [first.log_start, first.last_stable, first.high_watermark],
            [0, 3, 3]
        );
        assert_eq!(first.leader_epoch, 0);
        assert_eq!(fetched[1].error, ErrorCode::OffsetOutOfRange);
        let listed = all.iter().find_map(|shown| match shown {
            Shown::Listed(answer) => Some(*answer),
            _ => None,
        });
        let listed = listed.expect("the lookup is shown");
        assert_eq!((listed.partition, listed.asked_timestamp), (partition, -1));
        assert_eq!(listed.result, Ok((latest.offset, -1, latest.leader_epoch)));
        let committed = Shown::Committed("readers".to_owned(), partition, 2, ErrorCode::None);
        recorder.place("the commit", |shown| *shown == committed);
        broker.stop().await;
    });
}

fn find_coordinator() -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        key: "readers".to_owned(),
        ..Default::default()
    }
}

fn commit_request(topic: &str, committed_offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: "readers".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn metadata_is_shown_as_it_is_written_committed_replayed_and_published() {
    run(async {
        let (broker, recorder) = observed().await;
        let mut kafka = broker.kafka().await;
        let before = recorder.all().len();
        kafka.create("topic", 2, &[]).await;
        let all = recorder.all().split_off(before);
        let place = |what: &str, is_it: &dyn Fn(&Shown) -> bool| {
            let found = all.iter().position(is_it);
            found.unwrap_or_else(|| panic!("{what} is not shown: {all:#?}"))
        };
        let decided = place("the decision", &|shown| {
            matches!(shown, Shown::Controller { parked: 1.., .. })
        });
        let Shown::Controller {
            offset: old,
            digest: old_digest,
            ..
        } = all[decided]
        else {
            unreachable!("just found")
        };
        let written = place("the write", &|shown| {
            matches!(shown, Shown::Quorum { committed, log_end, parked: 1.., .. }
                if committed < log_end)
        });
        let committed = place("the commit", &|shown| {
            matches!(shown, Shown::Quorum { committed, flushed, parked: 0, .. }
                if *committed > old + 1 && committed <= flushed)
        });
        let replayed = place("the replay", &|shown| {
            matches!(shown, Shown::Controller { offset, replayed, committed, .. }
                if *offset > old && replayed == offset && offset < committed)
        });
        let Shown::Controller { offset, digest, .. } = all[replayed] else {
            unreachable!("just found")
        };
        assert_ne!(digest, old_digest, "a new topic is another image");
        let published = place("the publication", &|shown| {
            *shown == Shown::Published(offset, digest)
        });
        let order = [decided, written, committed, replayed, published];
        assert!(order.is_sorted(), "{order:?} in {all:#?}");
        let led = place("a leader", &|shown| {
            matches!(shown, Shown::Replica { is_leader: true, leader_epoch: 0, epochs, isr, .. }
                if epochs.len() <= 1 && isr == &[1])
        });
        assert!(published < led, "shards follow what is published");
        broker.stop().await;
    });
}
