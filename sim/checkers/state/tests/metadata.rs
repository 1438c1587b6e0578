//! Metadata and deleted topics.

use super::super::Fetched;
use super::{Death, Event, a, batch, tell};
use crate::history::{Acks, Isolation};
use types::ErrorCode;

#[test]
fn metadata_is_what_its_log_says() {
    tell(&[
        (
            "as the log says",
            |told| {
                told.quorum(0, &[], 5);
                told.image(5, 77);
                told.event(Event::SnapshotSeen {
                    node: 1,
                    offset: 5,
                    hash: 77,
                });
                told.quorum(5, &[5], 7);
                told.dies(Death::Power);
                told.quorum(5, &[5], 6);
                told.image(5, 77);
            },
            "",
        ),
        (
            "the snapshot at the log's start was lost, a newer one is there",
            |told| told.quorum(5, &[7], 8),
            "",
        ),
        (
            "metadata that is not committed",
            |told| {
                told.quorum(0, &[], 5);
                told.image(6, 77);
            },
            "S28",
        ),
        (
            "other metadata at the same offset",
            |told| {
                told.quorum(0, &[], 5);
                told.image(5, 77);
                told.dies(Death::Kill);
                told.image(5, 78);
            },
            "S28",
        ),
        (
            "committed before it is flushed",
            |told| told.quorum(0, &[], 11),
            "S28",
        ),
        (
            "committed goes back",
            |told| {
                told.quorum(0, &[], 5);
                told.quorum(0, &[], 4);
            },
            "S28",
        ),
        (
            "the log starts behind every snapshot",
            |told| told.quorum(5, &[3, 4], 7),
            "S27",
        ),
        (
            "the snapshot is other metadata",
            |told| {
                told.quorum(0, &[], 5);
                told.image(5, 77);
                told.event(Event::SnapshotSeen {
                    node: 1,
                    offset: 5,
                    hash: 78,
                });
            },
            "S27",
        ),
    ]);
}

#[test]
fn nothing_of_a_deleted_topic_comes_back() {
    tell(&[
        (
            "a batch",
            |told| {
                told.event(Event::TopicDeleted { topic: a().topic });
                told.append(batch(0, 4));
            },
            "S38",
        ),
        (
            "an acknowledgement",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.event(Event::TopicDeleted { topic: a().topic });
                told.acknowledge(Acks::All, batch(0, 4), 0);
            },
            "S38",
        ),
        (
            "records",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.event(Event::TopicDeleted { topic: a().topic });
                told.fetch(0);
            },
            "S38",
        ),
        (
            "records for who asked before",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                let began = told.now;
                told.event(Event::TopicDeleted { topic: a().topic });
                told.fetch_since(began, 0);
            },
            "",
        ),
        (
            "a commit",
            |told| {
                told.event(Event::TopicDeleted { topic: a().topic });
                told.answer_at(told.now, -1, 5, ErrorCode::None);
            },
            "S38",
        ),
        (
            "a commit that came before, and nobody told that it began",
            |told| {
                told.event(Event::TopicDeleted { topic: a().topic });
                told.committed(-1, 5);
            },
            "",
        ),
        (
            "nothing, after a wait that began before",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.event(Event::TopicDeleted { topic: a().topic });
                told.event(Event::Fetched(Fetched {
                    node: 1,
                    began: 0,
                    key: a(),
                    isolation: Isolation::ReadCommitted,
                    offset: 5,
                    error: ErrorCode::None,
                    has_records: false,
                    length_bytes: 0,
                    records_end: None,
                    high_watermark: 5,
                    last_stable: 5,
                    log_start: 0,
                }));
            },
            "",
        ),
        (
            "its files, in the background",
            |told| {
                told.append(batch(0, 4));
                told.commit(5);
                told.event(Event::TopicDeleted { topic: a().topic });
                told.step(|_| {});
            },
            "",
        ),
    ]);
}
