//! Stories of a log that is truncated, retained, deleted.

use bytes::Bytes;
use runtime::task::block_on;
use types::Uuid;

use super::Log;
use crate::testing::*;
use crate::{CleanupPolicy, FileKind, LogConfig, ReadError};

#[test]
fn truncation_spares_readers() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(
            &directory,
            LogConfig {
                segment_bytes: 1 << 20,
                ..small()
            },
        )
        .await;
        fill(&mut log, 50).await;
        let held = log
            .view()
            .read(0, 100, 1 << 20, true)
            .await
            .expect("a read");
        let before = held.ranges[0].read().await.expect("its bytes");
        let old = log.view();
        let job = log.begin_truncate(at(0), 31);
        assert_eq!(
            log.view().read(0, 1, 1, true).await.err(),
            Some(ReadError::Replaced)
        );
        let finished = job.await;
        let truncated = log.finish(finished).expect("a truncation");
        assert_eq!(
            truncated.log_end_offset, 30,
            "the batch that holds the offset goes as a whole"
        );
        let other = batch(30, 2, 49);
        append(&mut log, at(0), &[other]).await.expect("an append");
        assert_eq!(held.ranges[0].read().await.expect("its bytes"), before);
        drop((held, old));
        // Nobody looks now: the file is shortened in place.
        let finished = log.begin_truncate(at(0), 10).await;
        assert_eq!(
            log.finish(finished).expect("a truncation").log_end_offset,
            10
        );
        assert_eq!(bases(&log.view(), 0).await, [0, 2, 4, 6, 8]);
        assert_eq!(directory.recovery_points().get(&orders()), Some(10));
        fill(&mut log, 2).await;
        flush(&mut log).await;
        drop(log);
        let (log, recovered) = reopen(&directory, false).await.expect("recovery");
        assert_eq!(recovered.cut_reason, None);
        assert_eq!(bases(&log.view(), 0).await, [0, 2, 4, 6, 8, 10, 12]);
    });
}

#[test]
fn what_is_held_is_not_proven() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let proven = || directory.recovery_points().get(&orders());
        let mut log = create(&directory, small()).await;
        log.hold_proven_offset(Some(4));
        assert_eq!(proven(), None, "it was never flushed");
        fill(&mut log, 2).await;
        flush(&mut log).await;
        assert_eq!((proven(), log.is_proven_offset_held()), (Some(4), false));
        fill(&mut log, 2).await;
        assert_eq!(flush(&mut log).await, 8);
        assert_eq!((proven(), log.is_proven_offset_held()), (Some(4), true));
        let finished = log.begin_close().await;
        log.finish(finished).expect("closing");
        assert_eq!(proven(), Some(4), "a clean stop proves no more");
        log.hold_proven_offset(Some(6));
        assert_eq!((proven(), log.is_proven_offset_held()), (Some(6), true));
        drop(log);
        // Recovery has seen an epoch: the history may lack it.
        let (mut log, recovered) = reopen(&directory, false).await.expect("recovery");
        assert_eq!((recovered.proven_offset, proven()), (6, Some(6)));
        assert!(log.is_proven_offset_held());
        log.hold_proven_offset(None);
        assert_eq!((proven(), log.is_proven_offset_held()), (Some(8), false));
    });
}

#[test]
fn truncation_across_segments_and_gaps() {
    // Where to cut, the log end after it, and how many batches are left.
    let table = [
        (80, 80, 40),
        (79, 78, 39),
        (40, 40, 20),
        (21, 20, 10),
        (2, 2, 1),
        (1, 0, 0),
        (0, 0, 0),
    ];
    for (offset, end, left) in table {
        block_on(async {
            let home = Home::new().await;
            let (directory, _) = home.open().await;
            let mut log = create(&directory, small()).await;
            fill(&mut log, 40).await;
            let snapshots = log.partition_files();
            for at in [10, 60] {
                snapshots
                    .write_producer_snapshot(at, Bytes::from_static(b"state"))
                    .await
                    .expect("a snapshot");
            }
            let finished = log.begin_truncate(at(0), offset).await;
            assert_eq!(
                log.finish(finished).expect("a truncation").log_end_offset,
                end
            );
            let expected: Vec<i64> = (0..left).map(|index| index * 2).collect();
            assert_eq!(bases(&log.view(), 0).await, expected, "{offset}");
            let kept = snapshots.list_producer_snapshots().await.expect("a list");
            assert!(
                kept.iter().all(|snapshot| *snapshot <= end),
                "{kept:?} at {end}"
            );
            drop(log);
            let (mut log, _) = reopen(&directory, false).await.expect("recovery");
            assert_eq!(log.log_end_offset(), end);
            fill(&mut log, 1).await;
            assert_eq!(bases(&log.view(), end).await, [end]);
        });
    }
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        append(&mut log, at(0), &[batch(5, 1, 1), batch(50, 1, 1)])
            .await
            .expect("an append");
        for (offset, left) in [(40, vec![5]), (3, vec![])] {
            let finished = log.begin_truncate(at(0), offset).await;
            assert_eq!(
                log.finish(finished).expect("a truncation").log_end_offset,
                offset
            );
            drop(log);
            log = reopen(&directory, false).await.expect("recovery").0;
            assert_eq!(
                log.log_end_offset(),
                offset,
                "an offset in a gap stays the end"
            );
            assert_eq!(bases(&log.view(), log.log_start_offset()).await, left);
        }
    });
}

#[test]
fn a_follower_restarts_where_its_leader_begins() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        fill(&mut log, 20).await;
        flush(&mut log).await;
        for offset in [500, 100] {
            let finished = log.begin_restart_at(at(0), offset).await;
            log.finish(finished).expect("a restart");
            assert_eq!(
                (log.log_start_offset(), log.log_end_offset()),
                (offset, offset)
            );
            drop(log);
            log = reopen(&directory, false).await.expect("recovery").0;
            assert_eq!(
                (log.log_start_offset(), log.log_end_offset()),
                (offset, offset)
            );
            fill(&mut log, 20).await;
            assert_eq!(bases(&log.view(), offset).await.len(), 20);
        }
    });
}

#[test]
fn retention_by_time_and_size() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let keep = LogConfig {
            retention_ms: -1,
            retention_bytes: -1,
            ..small()
        };
        let mut log = create(&directory, keep.clone()).await;
        fill(&mut log, 40).await;
        let size = log.size_bytes();
        let retain = async |log: &mut Log, now, upper| {
            let finished = log.begin_retention(now, upper, no_producers).await;
            log.finish(finished).expect("retention")
        };
        assert_eq!(retain(&mut log, at(1 << 30), 80).await.removed_segments, 0);
        log.set_config(LogConfig {
            retention_bytes: size as i64 - 1,
            ..keep.clone()
        });
        assert_eq!(
            retain(&mut log, at(0), 80).await.removed_segments,
            0,
            "a whole segment must be too much"
        );
        log.set_config(LogConfig {
            retention_bytes: size as i64 - 1000,
            ..keep.clone()
        });
        assert_eq!(
            retain(&mut log, at(0), 1).await.removed_segments,
            0,
            "not above the high watermark"
        );
        let retained = retain(&mut log, at(0), 80).await;
        assert_eq!(retained.removed_segments, 1);
        assert!(
            !directory.log_starts().is_changed(),
            "the log start is durable before anybody sees it"
        );
        assert_eq!(
            bases(&log.view(), retained.log_start_offset).await[0],
            retained.log_start_offset
        );
        assert!(log.view().read(0, 80, 1, true).await.is_err());
        // Files go later.
        assert!(
            home.names()
                .await
                .iter()
                .any(|name| name == "00000000000000000000.log.deleted")
        );
        assert_eq!(log.removal_due(), Some(at(60).mono));
        let finished = log.begin_remove_deleted(at(59)).await;
        assert_eq!(log.finish(finished), Ok(0));
        let finished = log.begin_remove_deleted(at(60)).await;
        assert_eq!(log.finish(finished), Ok(3));
        assert!(
            home.names()
                .await
                .iter()
                .all(|name| !name.ends_with(".deleted"))
        );
        // By time everything goes, the active segment too.
        log.set_config(LogConfig {
            retention_ms: 1000,
            ..keep.clone()
        });
        assert_eq!(retain(&mut log, at(0), 80).await.removed_segments, 0);
        let held = log
            .view()
            .read(40, 80, 1 << 20, true)
            .await
            .expect("a read");
        let policy = CleanupPolicy {
            delete: false,
            compact: false,
        };
        log.set_config(LogConfig {
            retention_ms: 1000,
            cleanup: policy,
            ..keep.clone()
        });
        assert_eq!(
            retain(&mut log, at(60), 80).await.removed_segments,
            0,
            "no policy keeps for ever"
        );
        log.set_config(LogConfig {
            retention_ms: 1000,
            ..keep
        });
        assert!(retain(&mut log, at(60), 80).await.removed_segments > 3);
        assert_eq!(
            (
                log.log_start_offset(),
                log.log_end_offset(),
                log.size_bytes()
            ),
            (80, 80, 0)
        );
        // No batch tells of producers now.
        let snapshots = log.partition_files().list_producer_snapshots().await;
        assert_eq!(snapshots.expect("a list"), [80]);
        held.ranges[0]
            .read()
            .await
            .expect("a held range is readable");
        drop(log);
        let (mut log, _) = reopen(&directory, false).await.expect("recovery");
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (80, 80));
        fill(&mut log, 1).await;
    });
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        fill(&mut log, 40).await;
        let before = log.segment_count();
        let finished = log.begin_advance_log_start(at(0), 31, |_| None).await;
        let retained = log.finish(finished).expect("an advance");
        assert_eq!(retained.log_start_offset, 31);
        assert_eq!(log.segment_count(), before - retained.removed_segments);
        assert_eq!(
            bases(&log.view(), 31).await[0],
            30,
            "the batch that holds the log start is given whole"
        );
        assert!(log.view().read(30, 80, 1, true).await.is_err());
        let found = log
            .view()
            .offset_for_timestamp(0, 80)
            .await
            .expect("a search");
        assert_eq!(found.map(|found| found.offset), Some(31));
        drop(log);
        let (mut log, _) = reopen(&directory, false).await.expect("recovery");
        assert_eq!(log.log_start_offset(), 31);
        let finished = log.begin_advance_log_start(at(0), 80, |_| None).await;
        log.finish(finished).expect("an advance");
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (80, 80));
        drop(log);
        let (log, _) = reopen(&directory, false).await.expect("recovery");
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (80, 80));
    });
}

#[test]
fn a_deleted_log_leaves_nothing_that_a_new_one_would_believe() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        fill(&mut log, 20).await;
        flush(&mut log).await;
        let finished = log.begin_advance_log_start(at(0), 10, |_| None).await;
        log.finish(finished).expect("an advance");
        let held = log
            .view()
            .read(10, 80, 1 << 20, true)
            .await
            .expect("a read");
        let view = log.view();
        let finished = log.begin_delete(at(0), Uuid::from_u128(0xab)).await;
        let deleted = log.finish(finished).expect("a deletion");
        assert_eq!(
            deleted.directory_name,
            "orders-0.000000000000000000000000000000ab-delete"
        );
        held.ranges[0]
            .read()
            .await
            .expect("a held range is readable");
        drop(log);
        let mut log = create(&directory, small()).await;
        assert_eq!(
            view.scan_headers(10).expect("a scan").next().await.err(),
            Some(ReadError::Replaced)
        );
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 0));
        fill(&mut log, 1).await;
        drop((log, directory, view, held));
        let (directory, content) = home.open().await;
        assert_eq!(
            content.deleted,
            std::slice::from_ref(&deleted.directory_name)
        );
        assert_eq!(content.partitions, [orders()]);
        directory
            .remove_deleted(&deleted.directory_name)
            .await
            .expect("removal");
        directory
            .remove_deleted(&deleted.directory_name)
            .await
            .expect("removal again");
        home.resize(&home.file(FileKind::Log, 0), -1).await;
        let (log, recovered) = reopen(&directory, false)
            .await
            .expect("nothing was proven of it");
        assert!(recovered.cut_reason.is_some());
        assert_eq!(log.log_end_offset(), 0);
    });
}
