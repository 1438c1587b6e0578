//! What a log is after a stop, by what was done to its files.

use protocol::records::{BATCH_HEADER_BYTES, BatchBuilder, ControlRecordType};
use runtime::task::block_on;
use types::Offset;

use super::{Recovered, truncate_fenced};
use crate::testing::*;
use crate::{AbortedTransaction, CleanupPolicy, FileKind, Log, LogConfig, LogDirectory, OpenError};

/// What is done to the files of a stopped log. Each of its segments but the last holds the same number of batches.
#[derive(Clone, Copy, Debug)]
enum Damage {
    None,
    /// One byte of the batch with this base offset is changed.
    Flip(Offset),
    /// So many bytes are cut off the last segment, or added to it as zeros.
    Resize(i64),
    /// The index file of the segment at this position of the list is removed, cut by a byte, or changed.
    IndexGone(usize),
    IndexTorn(usize),
    IndexWrong(usize),
    TimeIndexGone(usize),
    /// A log file with a higher base holds nothing.
    EmptySegment,
    /// The segment at this position of the list is removed.
    SegmentGone(usize),
    /// The segment at this position of the list lost its last batch.
    SegmentShort(usize),
}

/// What is expected after the damage.
enum Expected {
    /// All batches below this offset are there, and so many segments were dropped.
    Batches(Offset, usize),
    /// The log is fenced at this offset; cutting it there leaves all below.
    Fenced(Offset),
}

use Damage::*;
use Expected::*;

/// Forty batches of two offsets; the proven offset; whether the stop was clean; the damage; what is expected.
const TABLE: &[(Offset, bool, Damage, Expected)] = &[
    (0, false, None, Batches(80, 0)),
    (50, false, None, Batches(80, 0)),
    (80, true, None, Batches(80, 0)),
    // Torn tails.
    (0, false, Resize(-1), Batches(78, 0)),
    (78, false, Resize(-1), Batches(78, 0)),
    (79, false, Resize(-1), Fenced(78)),
    (80, true, Resize(-1), Fenced(78)),
    (0, true, Resize(-1), Batches(78, 0)),
    (80, false, Resize(7), Batches(80, 0)),
    (80, false, Resize(5000), Batches(80, 0)),
    (80, true, Resize(100), Batches(80, 0)),
    // Bad checksums.
    (0, false, Flip(78), Batches(78, 0)),
    (0, false, Flip(40), Batches(40, 2)),
    (0, false, Flip(0), Batches(0, 4)),
    (40, false, Flip(40), Batches(40, 2)),
    (42, false, Flip(40), Fenced(40)),
    (80, false, Flip(78), Fenced(78)),
    (80, false, Flip(76), Fenced(76)),
    // Below the segment of the proven offset nothing is read.
    (80, false, Flip(0), Batches(80, 0)),
    // Indexes.
    (0, false, IndexGone(1), Batches(80, 0)),
    (80, false, IndexGone(1), Batches(80, 0)),
    (80, true, IndexGone(1), Batches(80, 0)),
    (80, true, IndexTorn(1), Batches(80, 0)),
    (80, true, IndexWrong(1), Batches(80, 0)),
    (80, true, IndexWrong(4), Batches(80, 0)),
    (80, true, TimeIndexGone(2), Batches(80, 0)),
    (80, true, TimeIndexGone(4), Batches(80, 0)),
    // Whole segments.
    (80, false, EmptySegment, Batches(80, 0)),
    (80, true, EmptySegment, Batches(80, 0)),
    (80, false, SegmentGone(4), Fenced(72)),
    (10, false, SegmentGone(4), Batches(72, 0)),
    // A segment that was not synced lost its end, or all of it, and the ones behind it did not.
    (0, false, SegmentShort(1), Batches(34, 3)),
    (34, false, SegmentShort(1), Batches(34, 3)),
    (35, false, SegmentShort(1), Fenced(34)),
    (0, false, SegmentGone(2), Batches(36, 2)),
];

const BATCHES_PER_SEGMENT: usize = 9;

fn position_of(offset: Offset) -> (Offset, u64) {
    let index = offset as usize / 2;
    let size = batch(0, 2, 50).size_bytes() as u64;
    let first = index / BATCHES_PER_SEGMENT * BATCHES_PER_SEGMENT;
    (first as Offset * 2, (index - first) as u64 * size)
}

fn base_of(segment: usize) -> Offset {
    (segment * BATCHES_PER_SEGMENT * 2) as Offset
}

fn config() -> LogConfig {
    let segment_bytes = (BATCHES_PER_SEGMENT * batch(0, 2, 50).size_bytes()) as u64;
    LogConfig {
        segment_bytes,
        index_interval_bytes: 200,
        ..LogConfig::default()
    }
}

impl Home {
    async fn apply(&self, damage: Damage) {
        let remove = async |kind, segment| {
            self.disk
                .remove_file(self.file(kind, base_of(segment)))
                .await
                .expect("a file to remove");
        };
        match damage {
            None => {}
            Flip(offset) => {
                let (base, position) = position_of(offset);
                let at = position + BATCH_HEADER_BYTES as u64 + 3;
                self.flip(&self.file(FileKind::Log, base), at).await;
            }
            Resize(change) => {
                self.resize(&self.file(FileKind::Log, base_of(4)), change)
                    .await
            }
            IndexGone(segment) => remove(FileKind::OffsetIndex, segment).await,
            TimeIndexGone(segment) => remove(FileKind::TimeIndex, segment).await,
            IndexTorn(segment) => {
                self.resize(&self.file(FileKind::OffsetIndex, base_of(segment)), -1)
                    .await;
            }
            IndexWrong(segment) => {
                // The last entry's position.
                let path = self.file(FileKind::OffsetIndex, base_of(segment));
                let length = self
                    .disk
                    .metadata(&path)
                    .await
                    .expect("an index")
                    .length_bytes;
                self.flip(&path, length - 1).await;
            }
            EmptySegment => {
                let mode = runtime::disk::OpenMode::CreateNew;
                self.disk
                    .open(self.file(FileKind::Log, 80), mode)
                    .await
                    .expect("a new file");
            }
            SegmentGone(segment) => remove(FileKind::Log, segment).await,
            SegmentShort(segment) => {
                let bytes = batch(0, 2, 50).size_bytes() as i64;
                let path = self.file(FileKind::Log, base_of(segment));
                self.resize(&path, -bytes).await;
            }
        }
    }
}

/// A directory with a log of 40 batches, 80 records, that was closed.
async fn stopped(home: &Home, config: LogConfig) -> LogDirectory {
    let (directory, _) = home.open().await;
    let mut log = create(&directory, config).await;
    fill(&mut log, 40).await;
    let finished = log.begin_close().await;
    log.finish(finished).expect("closing");
    directory
}

async fn run(proven: Offset, was_clean: bool, damage: Damage, expected: &Expected) {
    let home = Home::new().await;
    let directory = stopped(&home, config()).await;
    directory.recovery_points().set(&orders(), proven);
    home.apply(damage).await;
    let opened = Log::open(&directory, &orders(), config(), was_clean, at(0)).await;
    let (log, recovered) = match expected {
        Batches(..) => opened.unwrap_or_else(|error| panic!("{damage:?} at {proven}: {error}")),
        Fenced(offset) => {
            let Err(OpenError::Fenced(fence)) = opened else {
                panic!("{damage:?} at {proven}: {opened:?}")
            };
            assert_eq!(
                (fence.offset, fence.proven_offset),
                (*offset, proven),
                "{damage:?}"
            );
            let cut = truncate_fenced(&directory, &orders(), config(), at(0))
                .await
                .expect("cutting");
            assert_eq!(directory.recovery_points().get(&orders()), Some(*offset));
            cut
        }
    };
    let (Batches(end, _) | Fenced(end)) = expected;
    check(log, *end, damage).await;
    if let Batches(_, dropped) = expected {
        assert_eq!(
            recovered.dropped_segments, *dropped,
            "{damage:?} at {proven}: {recovered:?}"
        );
    }
    // What recovery left is good: a second one finds nothing to do.
    let (log, again) = Log::open(&directory, &orders(), config(), false, at(0))
        .await
        .expect("again");
    assert_eq!(
        (again.cut_reason, again.cut_bytes, again.dropped_segments),
        (Option::None, 0, 0),
        "{damage:?}"
    );
    check(log, *end, damage).await;
}

/// All batches below `end` are there, by every way to find them, and the log goes on.
async fn check(mut log: Log, end: Offset, damage: Damage) {
    let is_rotten = matches!(damage, Flip(0)) && end > 0;
    assert_eq!(
        (log.log_end_offset(), log.flushed_offset()),
        (end, end),
        "{damage:?}"
    );
    let view = log.view();
    for from in if is_rotten { 20..end } else { 0..end } {
        let bases = bases(&view, from).await;
        let expected: Vec<Offset> = (from / 2 * 2..end).step_by(2).collect();
        assert_eq!(bases, expected, "{damage:?} from {from}");
        if !is_rotten {
            let time = 1_700_000_000_000 + from;
            let found = view
                .offset_for_timestamp(time, end)
                .await
                .expect("a search");
            assert_eq!(found.map(|found| found.offset), Some(from), "{damage:?}");
        }
    }
    fill(&mut log, 12).await;
    assert_eq!(bases(&log.view(), end).await.len(), 12, "{damage:?}");
    let finished = log.begin_truncate(at(0), end).await;
    log.finish(finished).expect("a truncation");
}

#[test]
fn recovery_by_the_proven_offset() {
    for (proven, was_clean, damage, expected) in TABLE {
        block_on(run(*proven, *was_clean, *damage, expected));
    }
}

#[test]
fn wrong_entries_in_the_middle_of_an_index_mislead_no_reader() {
    block_on(async {
        let home = Home::new().await;
        let directory = stopped(&home, config()).await;
        let (log, recovered) = Log::open(&directory, &orders(), config(), true, at(0))
            .await
            .expect("opening");
        assert_eq!(
            recovered,
            Recovered {
                was_clean: true,
                proven_offset: 80,
                epochs: recovered.epochs.clone(),
                ..Recovered::default()
            }
        );
        home.flip(&home.file(FileKind::OffsetIndex, base_of(1)), 7)
            .await;
        for from in 0..80 {
            assert_eq!(bases(&log.view(), from).await[0], from / 2 * 2);
        }
    });
}

#[test]
fn what_recovery_sees_of_epochs() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, config()).await;
        fill(&mut log, 3).await;
        let mut later = given(&batch(6, 1, 1));
        later.header.partition_leader_epoch = 5;
        let finished = log.begin_append(at(0), vec![later]).await;
        log.finish(finished).expect("an append");
        drop(log);
        let (_, recovered) = Log::open(&directory, &orders(), config(), false, at(0))
            .await
            .expect("recovery");
        assert_eq!(recovered.epochs, [(0, 0), (5, 6)]);
        assert!(recovered.checked_bytes > 0);
    });
}

#[test]
fn leftovers_go_and_the_rest_stays() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, config()).await;
        fill(&mut log, 3).await;
        drop(log);
        let mode = runtime::disk::OpenMode::CreateNew;
        for name in [
            "00000000000000000000.log.cleaned",
            "00000000000000000007.log.deleted",
            "00000000000000000007.index",
            "leader-epoch-checkpoint",
            "notes.txt",
        ] {
            home.disk
                .open(home.path.join("orders-0").join(name), mode)
                .await
                .expect("a file");
        }
        let (log, _) = reopen(&directory, false).await.expect("recovery");
        assert_eq!(log.topic_id(), Some(TOPIC_ID));
        let names = home.names().await;
        let expected = [
            "00000000000000000000.log",
            "leader-epoch-checkpoint",
            "notes.txt",
            "partition.metadata",
        ];
        let names: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !name.ends_with("index"))
            .collect();
        assert_eq!(names, expected);
        drop(log);
        let swap = home
            .path
            .join("orders-0")
            .join("00000000000000000000.log.swap");
        home.disk.open(&swap, mode).await.expect("a file");
        let refused = reopen(&directory, false).await.err();
        assert!(matches!(refused, Some(OpenError::Unreadable { path, .. }) if path == swap));
    });
}

#[test]
fn what_is_told_of_producers_ends_with_the_log() {
    block_on(async {
        for was_clean in [false, true] {
            let home = Home::new().await;
            let (directory, _) = home.open().await;
            let mut log = create(&directory, config()).await;
            fill(&mut log, 4).await;
            let files = log.partition_files();
            for offset in [4, 6, 8] {
                let content = bytes::Bytes::from_static(b"producers");
                let written = files.write_producer_snapshot(offset, content).await;
                written.expect("a snapshot");
            }
            drop(log);
            // The last batch was not synced, and is lost.
            home.resize(&home.file(FileKind::Log, 0), -1).await;
            let (mut log, _) = reopen(&directory, was_clean).await.expect("recovery");
            assert_eq!(log.log_end_offset(), 6);
            // Another one gets its offsets: the snapshot does not know it.
            fill(&mut log, 1).await;
            let files = log.partition_files();
            let snapshots = files.list_producer_snapshots().await.expect("a list");
            assert_eq!(snapshots, [4, 6], "clean: {was_clean}");
        }
    });
}

#[test]
fn only_the_cleaner_of_kafka_leaves_holes() {
    block_on(async {
        let compacted = |compact: bool| LogConfig {
            cleanup: CleanupPolicy {
                delete: !compact,
                compact,
            },
            ..config()
        };
        for (compact, has_run, end) in [(true, true, 80), (true, false, 34), (false, true, 34)] {
            let home = Home::new().await;
            drop(stopped(&home, compacted(compact)).await);
            let checkpoint = home.path.join("cleaner-offset-checkpoint");
            if has_run {
                let mode = runtime::disk::OpenMode::CreateNew;
                drop(home.disk.open(&checkpoint, mode).await.expect("a file"));
            }
            let (directory, _) = home.open().await;
            directory.recovery_points().set(&orders(), 0);
            home.apply(SegmentShort(1)).await;
            let opened = Log::open(&directory, &orders(), compacted(compact), false, at(0)).await;
            let (mut log, _) = opened.expect("recovery");
            assert_eq!(
                log.log_end_offset(),
                end,
                "compact: {compact}, Kafka: {has_run}"
            );
            let finished = log.begin_close().await;
            log.finish(finished).expect("closing");
            directory.close_clean(-1).await.expect("a clean stop");
            let left = home.disk.metadata(&checkpoint).await;
            assert!(left.is_err(), "from now on it is ours");
        }
    });
}

#[test]
fn damage_in_what_was_let_go_takes_nothing_with_it() {
    // The log start, the proven offset, and where the log ends although a batch at 34 is damaged; -1 if it is fenced.
    let table = [
        (36, 0, 80),
        (40, 0, 80),
        (36, 35, 80),
        (34, 0, 34),
        (34, 35, -1),
    ];
    block_on(async {
        for (log_start, proven, end) in table {
            let home = Home::new().await;
            let directory = stopped(&home, config()).await;
            directory.log_starts().set(&orders(), log_start);
            directory.recovery_points().set(&orders(), proven);
            home.apply(Flip(34)).await;
            let opened = reopen(&directory, false).await;
            let found = opened.map_or(-1, |(log, _)| log.log_end_offset());
            let case = format!("log start {log_start}, proven {proven}");
            assert_eq!(found, end, "{case}");
            let first = home.disk.metadata(home.file(FileKind::Log, 0)).await;
            assert_eq!(first.is_ok(), log_start < 36, "{case}");
        }
    });
}

#[test]
fn a_torn_tail_behind_damage_that_was_let_go_is_all_that_is_cut() {
    block_on(async {
        let home = Home::new().await;
        let directory = stopped(&home, config()).await;
        directory.log_starts().set(&orders(), 36);
        directory.recovery_points().set(&orders(), 0);
        home.apply(Flip(34)).await;
        home.apply(Resize(-10)).await;
        let (log, recovered) = reopen(&directory, false).await.expect("recovery");
        assert_eq!((log.log_end_offset(), recovered.dropped_segments), (78, 0));
        let expected: Vec<Offset> = (36..78).step_by(2).collect();
        assert_eq!(bases(&log.view(), 36).await, expected);
    });
}

#[test]
fn below_the_log_start_any_segment_may_be_gone() {
    block_on(async {
        for (log_start, is_served) in [(36, true), (40, true), (35, false)] {
            let home = Home::new().await;
            let directory = stopped(&home, config()).await;
            // A loss of power may keep the name that the second segment lost, and give the first one its own back.
            directory.log_starts().set(&orders(), log_start);
            directory.recovery_points().set(&orders(), 20);
            home.apply(SegmentGone(1)).await;
            let opened = reopen(&directory, false).await;
            if !is_served {
                assert!(matches!(opened, Err(OpenError::Fenced(_))), "{opened:?}");
                continue;
            }
            let (mut log, recovered) = opened.expect("recovery");
            assert_eq!(
                (log.log_start_offset(), log.log_end_offset()),
                (log_start, 80)
            );
            assert_eq!(recovered.dropped_segments, 0);
            let expected: Vec<Offset> = (log_start..80).step_by(2).collect();
            assert_eq!(bases(&log.view(), log_start).await, expected);
            let finished = log.begin_retention(at(0), 80, no_producers).await;
            assert_eq!(log.finish(finished).expect("retention").removed_segments, 1);
        }
    });
}

#[test]
fn a_log_that_was_never_flushed_may_have_lost_whose_it_is() {
    block_on(async {
        let home = Home::new().await;
        let metadata = home.path.join("orders-0").join("partition.metadata");
        for length in [0, 7, 43] {
            let (directory, _) = home.open().await;
            drop(create(&directory, config()).await);
            home.resize(&metadata, -43).await;
            home.resize(&metadata, length).await;
            let (log, _) = reopen(&directory, false).await.expect("recovery");
            assert_eq!(log.topic_id(), Some(types::Uuid::ZERO), "{length} zeros");
            drop(log);
            // Now it counts as flushed: from here on such a file is damage.
            let refused = reopen(&directory, false).await.err();
            assert!(
                matches!(refused, Some(OpenError::Unreadable { path, .. }) if path == metadata)
            );
            directory.recovery_points().remove(&orders());
        }
    });
}

#[test]
fn a_log_without_partition_metadata_is_told_whose_it_is() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, config()).await;
        fill(&mut log, 3).await;
        let id = log.topic_id().expect("it was made with one");
        drop(log);
        let metadata = home.path.join("orders-0").join("partition.metadata");
        home.disk.remove_file(&metadata).await.expect("removed");
        let told = directory.topic_id_of(&orders()).await;
        assert!(told.expect("it is not damaged").is_none());
        let (mut log, _) = reopen(&directory, false).await.expect("recovery");
        assert!(log.topic_id().is_none());
        log.assign_topic_id(id).await.expect("written");
        assert_eq!(log.topic_id(), Some(id));
        drop(log);
        assert_eq!(directory.topic_id_of(&orders()).await, Ok(Some(id)));
        let (log, _) = reopen(&directory, false).await.expect("recovery");
        assert_eq!(log.topic_id(), Some(id));
    });
}

#[test]
fn aborted_transactions_are_kept_where_their_markers_are() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut log = create(&directory, config()).await;
        fill(&mut log, 3).await;
        let mut marker = BatchBuilder::new(6)
            .control()
            .transactional()
            .producer(9, 1, -1);
        marker.append_control(1, ControlRecordType::Abort, &[0; 6]);
        append(&mut log, at(0), &[marker.build()])
            .await
            .expect("an append");
        let entry = |producer_id, last_offset| AbortedTransaction {
            producer_id,
            first_offset: 2,
            last_offset,
            last_stable_offset: 2,
        };
        let given = vec![entry(9, 6), entry(9, 100)];
        let finished = log.begin_append_aborted(given).await;
        log.finish(finished).expect("an append");
        drop(log);
        home.resize(&home.file(FileKind::TransactionIndex, 0), 5)
            .await;
        let (mut log, _) = reopen(&directory, false).await.expect("recovery");
        let listed = async |log: &Log| {
            log.view()
                .aborted_transactions(0, 10)
                .await
                .expect("a list")
        };
        assert_eq!(listed(&log).await, [entry(9, 6)]);
        // Its owner may give all again.
        let finished = log.begin_append_aborted(vec![entry(9, 6)]).await;
        log.finish(finished).expect("an append");
        assert_eq!(listed(&log).await, [entry(9, 6)]);
    });
}
