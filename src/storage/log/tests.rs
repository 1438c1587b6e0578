//! Stories of one log.

use bytes::Bytes;
use protocol::records::{BatchBuilder, TimestampType};
use runtime::disk::OpenMode;
use runtime::task::block_on;

use super::{AppendBatch, Log};
use crate::testing::*;
use crate::{
    AbortedTransaction, AppendError, FileKind, LogConfig, ReadError, TimestampOffset, flush_all,
};

#[test]
fn what_is_appended_is_read() {
    block_on(async {
        let home = Home::new().await;
        let (directory, content) = home.open().await;
        assert!(!content.was_clean);
        let mut log = create(&directory, small()).await;
        assert_eq!(bases(&log.view(), 0).await, []);
        let early = log.view();
        let appended = append(&mut log, at(0), &[batch(0, 2, 50), batch(2, 1, 10)]).await;
        let appended = appended.expect("an append");
        assert_eq!((appended.base_offset, appended.log_end_offset), (0, 3));
        assert_eq!(bases(&log.view(), 0).await, [0, 2]);
        assert_eq!(bases(&log.view(), 1).await, [0, 2]);
        assert_eq!(bases(&log.view(), 3).await, []);
        assert_eq!(bases(&early, 0).await, []);
        let beyond = log.view().read(4, 10, 10, true).await.err();
        let (offset, log_start_offset, log_end_offset) = (4, 0, 3);
        assert_eq!(
            beyond,
            Some(ReadError::OffsetOutOfRange {
                offset,
                log_start_offset,
                log_end_offset
            })
        );
        let below = append(&mut log, at(0), &[batch(2, 1, 1)]).await;
        assert_eq!(
            below,
            Err(AppendError::BelowLogEnd {
                base_offset: 2,
                log_end_offset: 3
            })
        );
        let mut wrong = given(&batch(3, 1, 1));
        wrong.records = wrong.records.slice(..5);
        let finished = log.begin_append(at(0), vec![wrong]).await;
        assert!(matches!(
            log.finish(finished),
            Err(AppendError::Malformed { .. })
        ));
        assert_eq!(bases(&log.view(), 0).await, [0, 2]);
    });
}

#[test]
fn nothing_shows_before_a_job_is_finished() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, LogConfig::default()).await;
        fill(&mut log, 1).await;
        let job = log.begin_append(at(0), vec![given(&batch(2, 1, 10))]);
        assert!(log.is_busy());
        // The page cache takes it at once, mostly.
        let finished = match job.try_take() {
            Ok(finished) => finished,
            Err(job) => job.await,
        };
        assert_eq!(
            log.log_end_offset(),
            2,
            "nothing shows before the job is finished"
        );
        log.finish(finished).expect("an append");
        assert_eq!(log.log_end_offset(), 3);
    });
}

#[test]
fn stored_headers_replace_those_that_came() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        let came = batch(0, 3, 20);
        let mut header = *came.header();
        header.base_offset = 100;
        header.partition_leader_epoch = 7;
        header.set_max_timestamp(TimestampType::LogAppendTime, 5000);
        let finished = log
            .begin_append(
                at(0),
                vec![AppendBatch {
                    header,
                    records: came.record_bytes(),
                }],
            )
            .await;
        assert_eq!(log.finish(finished).expect("an append").base_offset, 100);
        let stored = log
            .view()
            .read_batches(50, 200, 1000)
            .await
            .expect("reading");
        assert_eq!(stored[0].header(), &header);
        stored[0].verify_crc().expect("a good checksum");
        let found = log
            .view()
            .offset_for_timestamp(4000, 1000)
            .await
            .expect("a search");
        assert_eq!(
            found,
            Some(TimestampOffset {
                timestamp: 5000,
                offset: 100
            })
        );
    });
}

#[test]
fn segments_roll_and_are_read_as_one() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        fill(&mut log, 40).await;
        assert!(log.segment_count() > 5, "{} segments", log.segment_count());
        let expected: Vec<i64> = (0..40).map(|index| index * 2).collect();
        assert_eq!(bases(&log.view(), 0).await, expected);
        for from in 0..80 {
            assert_eq!(
                bases(&log.view(), from).await,
                expected[from as usize / 2..]
            );
        }
        // All at once, over several segments.
        let next: Vec<_> = (0..30).map(|index| batch(80 + index * 2, 2, 50)).collect();
        let appended = append(&mut log, at(0), &next).await.expect("an append");
        assert!(appended.has_rolled);
        let expected: Vec<i64> = (0..70).map(|index| index * 2).collect();
        assert_eq!(bases(&log.view(), 0).await, expected);
    });
}

#[test]
fn a_read_keeps_its_bounds() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        // Wide segments and narrow ones: the answer does not depend on where batches are.
        for (name, segment_bytes) in [("wide", 1 << 20), ("narrow", 700)] {
            let config = LogConfig {
                segment_bytes,
                ..small()
            };
            let name = crate::PartitionName::new(name, 0);
            let mut log = Log::create(&directory, &name, TOPIC_ID, config, at(0))
                .await
                .expect("a log");
            fill(&mut log, 60).await;
            let size = batch(0, 2, 50).size_bytes() as u64;
            let view = log.view();
            for from in [0, 1, 2, 55, 118, 119] {
                for upper in [0, 1, 2, 3, 60, 61, 119, 120, 500] {
                    for max in [0, 1, size, size + 1, 5 * size, 5 * size + 7, 1 << 20] {
                        for min_one in [false, true] {
                            let found: Vec<i64> = bytes_read(&view, from, upper, max, min_one)
                                .await
                                .iter()
                                .map(|batch| batch.header().base_offset)
                                .collect();
                            let mut fit = (max / size) as usize;
                            if min_one {
                                fit = fit.max(1);
                            }
                            let expected: Vec<i64> = (0..60)
                                .map(|index| index * 2)
                                .filter(|base| base + 1 >= from && *base < upper && from < upper)
                                .take(fit)
                                .collect();
                            assert_eq!(
                                found, expected,
                                "{from} {upper} {max} {min_one} {segment_bytes}"
                            );
                        }
                    }
                }
            }
            let bounded = view.bounded(60);
            assert_eq!(bases(&bounded, 50).await, [50, 52, 54, 56, 58]);
            assert_eq!(bases(&bounded, 60).await, []);
            assert!(bounded.read(61, 100, 1, true).await.is_err());
        }
    });
}

#[test]
fn gaps_and_far_offsets() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        let far = i64::from(i32::MAX) + 100;
        let holed = {
            let mut builder = BatchBuilder::new(20).last_offset(29);
            builder.append_at(25, 1, None, Some(b"kept"), &[]);
            builder.build()
        };
        let empty = BatchBuilder::new(40)
            .last_offset(49)
            .producer(1, 0, 0)
            .build();
        let all = [batch(10, 1, 5), holed, empty, batch(far, 2, 5)];
        let appended = append(&mut log, at(0), &all).await.expect("an append");
        assert!(appended.has_rolled, "relative offsets have 31 bits");
        assert_eq!(log.log_end_offset(), far + 2);
        let expected = [
            (0, 0),
            (11, 1),
            (20, 1),
            (29, 1),
            (30, 2),
            (45, 2),
            (50, 3),
            (far + 1, 3),
        ];
        let starts = [10, 20, 40, far];
        for (from, index) in expected {
            assert_eq!(
                bases(&log.view(), from).await,
                starts[index..],
                "from {from}"
            );
        }
        flush(&mut log).await;
        drop(log);
        let (log, recovered) = reopen(&directory, false).await.expect("recovery");
        assert_eq!(recovered.cut_reason, None);
        assert_eq!(log.log_end_offset(), far + 2);
        assert_eq!(bases(&log.view(), 0).await, starts);
    });
}

#[test]
fn times_are_found_per_record() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        let start = 1_700_000_000_000;
        fill(&mut log, 40).await;
        // A batch whose time runs back, and one without any.
        let mut builder = BatchBuilder::new(80);
        for timestamp in [start + 10, start + 500, start + 20] {
            builder.append(timestamp, None, None, &[]);
        }
        append(&mut log, at(0), &[builder.build(), batch(83, 1, 1)])
            .await
            .expect("an append");
        for (timestamp, expected) in [
            (0, Some((start, 0))),
            (start + 1, Some((start + 1, 1))),
            (start + 41, Some((start + 41, 41))),
            (start + 79, Some((start + 79, 79))),
            (start + 80, Some((start + 500, 81))),
            (start + 501, None),
        ] {
            let found = log
                .view()
                .offset_for_timestamp(timestamp, i64::MAX)
                .await
                .expect("a search");
            let expected =
                expected.map(|(timestamp, offset)| TimestampOffset { timestamp, offset });
            assert_eq!(found, expected, "{}", timestamp - start);
        }
        let bounded = log
            .view()
            .offset_for_timestamp(start + 60, 60)
            .await
            .expect("a search");
        assert_eq!(bounded, None);
        let max = log.view().max_timestamp().await.expect("a search");
        assert_eq!(
            max,
            Some(TimestampOffset {
                timestamp: start + 500,
                offset: 81
            })
        );
        let max = log
            .view()
            .bounded(80)
            .max_timestamp()
            .await
            .expect("a search");
        assert_eq!(
            max,
            Some(TimestampOffset {
                timestamp: start + 79,
                offset: 79
            })
        );
    });
}

#[test]
fn a_flush_raises_what_is_proven() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        fill(&mut log, 3).await;
        assert!(log.needs_flush());
        assert!(log.unflushed_bytes() > 0);
        assert_eq!(directory.unflushed_bytes(), log.unflushed_bytes());
        let handle = log.begin_flush();
        fill(&mut log, 1).await;
        let flushed = flush_all(vec![handle]).await.remove(0);
        assert_eq!(log.complete_flush(&flushed), 6);
        assert_eq!((log.flushed_offset(), log.log_end_offset()), (6, 8));
        assert!(log.needs_flush());
        assert_eq!(log.unflushed_bytes(), batch(0, 2, 50).size_bytes() as u64);
        assert_eq!(flush(&mut log).await, 8);
        assert!(!log.needs_flush());
        assert_eq!((log.unflushed_bytes(), directory.unflushed_bytes()), (0, 0));
        assert_eq!(directory.recovery_points().get(&orders()), Some(8));
        directory.write_checkpoints().await.expect("checkpoints");
        let text = home
            .disk
            .read_file(home.path.join("recovery-point-offset-checkpoint"))
            .await;
        assert_eq!(&text.expect("a checkpoint")[..], b"0\n1\norders 0 8\n");
    });
}

#[test]
fn a_flush_begun_before_a_truncation_proves_nothing() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        fill(&mut log, 3).await;
        let handle = log.begin_flush();
        let finished = log.begin_truncate(at(0), 2).await;
        log.finish(finished).expect("a truncation");
        fill(&mut log, 1).await;
        let flushed = flush_all(vec![handle]).await.remove(0);
        assert_eq!(
            log.complete_flush(&flushed),
            2,
            "offsets 2 and 3 are others now"
        );
        assert_eq!(flush(&mut log).await, 4);
    });
}

#[test]
fn headers_are_scanned_with_control_records() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        fill(&mut log, 10).await;
        let mut marker = BatchBuilder::new(20)
            .control()
            .transactional()
            .producer(9, 1, -1);
        marker.append_control(1, protocol::records::ControlRecordType::Abort, &[0; 6]);
        append(&mut log, at(0), &[marker.build()])
            .await
            .expect("an append");
        let mut scan = log.view().scan_headers(5).expect("a scan");
        let mut seen = Vec::new();
        while let Some(batch) = scan.next().await.expect("a batch") {
            assert_eq!(batch.header.is_control(), batch.control.is_some());
            seen.push(batch.header.base_offset);
        }
        assert_eq!(seen, [4, 6, 8, 10, 12, 14, 16, 18, 20]);
        let mut scan = log.view().bounded(8).scan_headers(6).expect("a scan");
        assert!(scan.next().await.expect("a batch").is_some());
        assert!(scan.next().await.expect("the end").is_none());
    });
}

#[test]
fn aborted_transactions_are_kept_by_segment() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        fill(&mut log, 40).await;
        let entry = |producer_id, first_offset, last_offset| AbortedTransaction {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset: first_offset,
        };
        let all = [entry(1, 0, 5), entry(2, 3, 30), entry(3, 50, 51)];
        let finished = log.begin_append_aborted(all.to_vec()).await;
        log.finish(finished).expect("an append");
        let view = log.view();
        assert_eq!(view.aborted_transactions(0, 80).await.expect("a list"), all);
        assert_eq!(
            view.aborted_transactions(6, 40).await.expect("a list"),
            all[1..2]
        );
        assert_eq!(view.aborted_transactions(31, 50).await.expect("a list"), []);
        let finished = log.begin_truncate(at(0), 30).await;
        log.finish(finished).expect("a truncation");
        assert_eq!(
            log.view()
                .aborted_transactions(0, 30)
                .await
                .expect("a list"),
            all[..1]
        );
    });
}

#[test]
fn few_files_stay_open() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open_with(5).await;
        let mut logs = Vec::new();
        for partition in 0..20 {
            let name = crate::PartitionName::new("many", partition);
            logs.push(
                Log::create(&directory, &name, TOPIC_ID, small(), at(0))
                    .await
                    .expect("a log"),
            );
        }
        for log in &mut logs {
            fill(log, 20).await;
            flush(log).await;
        }
        assert!(
            directory.files().open_files() <= 5,
            "{:?}",
            directory.files()
        );
        for log in &logs {
            assert_eq!(bases(&log.view(), 0).await.len(), 20);
        }
        assert!(
            directory.files().open_files() <= 5,
            "{:?}",
            directory.files()
        );
        for log in &mut logs {
            fill(log, 1).await;
        }
        let handles = logs.iter_mut().map(Log::begin_flush).collect();
        for (log, flushed) in logs.iter_mut().zip(flush_all(handles).await) {
            assert_eq!(log.complete_flush(&flushed), 42);
        }
        drop(logs);
        assert_eq!(directory.files().open_files(), 0);
        for _ in 0..200 {
            // Segments that come and go leave nothing behind.
            drop(reopen_many(&directory).await);
        }
        assert!(
            directory.files().listed_files() < 120,
            "{}",
            directory.files().listed_files()
        );
    });
}

async fn reopen_many(directory: &crate::LogDirectory) -> Log {
    let name = crate::PartitionName::new("many", 0);
    let (log, _) = Log::open(directory, &name, small(), true, at(0))
        .await
        .expect("opening");
    log.view().read(0, 10, 10, true).await.expect("a read");
    log
}

#[test]
fn a_failed_directory_takes_nothing() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        fill(&mut log, 1).await;
        let error = std::io::Error::other("lost");
        let failure = directory.fail("syncing", &home.file(FileKind::Log, 0), &error);
        assert_eq!(directory.failed().await, failure);
        let refused = append(&mut log, at(0), &[batch(2, 1, 1)]).await;
        assert_eq!(refused, Err(failure.clone().into()));
        let flushed = flush_all(vec![log.begin_flush()]).await.remove(0);
        assert_eq!(flushed.result(), Err(failure.clone()));
        assert_eq!(log.complete_flush(&flushed), 0);
        assert!(directory.write_checkpoints().await.is_err());
        assert!(directory.close_clean(1).await.is_err());
    });
}

#[test]
fn preallocated_segments_end_where_their_batches_do() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(
            &directory,
            LogConfig {
                preallocate: true,
                ..small()
            },
        )
        .await;
        fill(&mut log, 20).await;
        for (base, size) in log
            .view()
            .segments
            .iter()
            .map(|segment| (segment.base_offset(), segment.size_bytes()))
        {
            let file = home
                .disk
                .open(home.file(FileKind::Log, base), OpenMode::Read)
                .await
                .expect("a file");
            assert_eq!(file.len().expect("its length"), size);
        }
    });
}

#[test]
fn small_files_come_back() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, small()).await;
        fill(&mut log, 20).await;
        let files = log.partition_files();
        assert_eq!(files.read_leader_epochs().await, Ok(vec![]));
        let finished = log.begin_write_epochs(vec![(0, 0), (4, 20)]).await;
        log.finish(finished).expect("a write");
        assert_eq!(files.read_leader_epochs().await, Ok(vec![(0, 0), (4, 20)]));
        for offset in [5, 10, 20, 30, 40] {
            files
                .write_producer_snapshot(offset, Bytes::from(offset.to_string()))
                .await
                .expect("a write");
        }
        files
            .prune_producer_snapshots(&[0, 10])
            .await
            .expect("pruning");
        assert_eq!(files.list_producer_snapshots().await, Ok(vec![10, 30, 40]));
        assert_eq!(
            files.read_producer_snapshot(30).await,
            Ok(Some(Bytes::from_static(b"30")))
        );
        assert_eq!(files.read_producer_snapshot(31).await, Ok(None));
    });
}
