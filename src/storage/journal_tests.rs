//! Journals: what they make durable, what a start takes from them, and when they go.

use runtime::disk::OpenMode;
use runtime::task::block_on;
use types::Offset;

use crate::testing::{Home, TOPIC_ID, append, at, bases, batch, create, fill, orders, small};
use crate::{
    FileKind, FlushSet, FlushedLog, Log, LogConfig, LogDirectory, PartitionName, Recovered,
};

/// A half that is full after a few groups.
const TINY: u64 = 16 << 10;

fn journaled() -> LogConfig {
    LogConfig {
        is_journaled: true,
        segment_bytes: 1 << 20,
        ..small()
    }
}

/// Flushes logs together; how many of the flushes went by a journal. Settlements are told to the logs too.
async fn flush_by(set: &mut FlushSet, logs: &mut [&mut Log]) -> usize {
    let before: Vec<Offset> = logs.iter().map(|log| synced(log)).collect();
    set.extend(logs.iter_mut().map(|log| log.begin_flush()).collect());
    while let Some(flushed) = set.next().await {
        tell(logs, &flushed);
    }
    let after = logs.iter().map(|log| synced(log));
    let ends = logs.iter().map(|log| {
        assert_eq!(log.flushed_offset(), log.log_end_offset());
        log.log_end_offset()
    });
    let by_journal = after
        .zip(before)
        .zip(ends)
        .filter(|((after, before), end)| after < end && after >= before);
    by_journal.count()
}

fn tell(logs: &mut [&mut Log], flushed: &FlushedLog) {
    flushed.result().expect("a flush");
    let log = logs.iter_mut().find(|log| flushed.is_of(log));
    log.expect("one of them").complete_flush(flushed);
}

/// Up to where recovery may trust the segments.
fn synced(log: &Log) -> Offset {
    log.directory()
        .recovery_points()
        .get(log.name())
        .unwrap_or(0)
}

async fn reopen(directory: &LogDirectory) -> (Log, Recovered) {
    let opened = Log::open(directory, &orders(), journaled(), false, at(0)).await;
    let (mut log, recovered) = opened.expect("opening");
    // These batches have no epoch that a history could lack.
    log.hold_proven_offset(None);
    (log, recovered)
}

/// A log with a journal that is ready: its first `count` batches are synced.
async fn begun(directory: &LogDirectory, count: usize) -> (Log, FlushSet) {
    let mut log = create(directory, journaled()).await;
    let mut set = FlushSet::new(TINY);
    fill(&mut log, 1).await;
    assert_eq!(
        flush_by(&mut set, &mut [&mut log]).await,
        0,
        "its names are new"
    );
    fill(&mut log, count - 1).await;
    assert_eq!(
        flush_by(&mut set, &mut [&mut log]).await,
        0,
        "the journal is being made"
    );
    directory.write_checkpoints().await.expect("checkpoints");
    (log, set)
}

async fn journals(home: &Home) -> Vec<String> {
    let entries = home.disk.list_dir(&home.path).await.expect("listing");
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| name.starts_with(".journal-")).collect()
}

/// Does to the segment what a loss of power does that keeps nothing un-synced.
async fn lose(home: &Home, bytes: usize) {
    home.resize(&home.file(FileKind::Log, 0), -(bytes as i64))
        .await;
}

fn batch_bytes() -> usize {
    batch(0, 2, 50).size_bytes()
}

#[test]
fn what_the_segment_lost_comes_from_the_journal() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let (mut log, mut set) = begun(&directory, 2).await;
        for _ in 0..3 {
            fill(&mut log, 1).await;
            assert_eq!(flush_by(&mut set, &mut [&mut log]).await, 1);
        }
        assert_eq!((log.flushed_offset(), synced(&log)), (10, 4));
        assert_eq!(log.unflushed_bytes(), 0);
        assert!(log.needs_flush(), "the segment is to be synced");
        drop((log, set, directory));
        for lost in [3 * batch_bytes(), batch_bytes() + 7, 1, 0] {
            lose(&home, lost).await;
            let (directory, _) = home.open().await;
            let (log, recovered) = reopen(&directory).await;
            assert_eq!(
                bases(&log.view(), 0).await,
                [0, 2, 4, 6, 8],
                "{lost} bytes were lost"
            );
            let torn = lost % batch_bytes();
            assert_eq!(recovered.cut_bytes > 0, torn > 0);
            assert_eq!((log.flushed_offset(), synced(&log)), (10, 10));
            // Without checkpoints the next start knows nothing of this one.
        }
    });
}

#[test]
fn what_only_a_journal_has_can_be_had_synced() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let (mut log, mut set) = begun(&directory, 2).await;
        assert!(!log.settle(), "everything is in the segment");
        fill(&mut log, 1).await;
        assert_eq!(flush_by(&mut set, &mut [&mut log]).await, 1);
        assert!(log.settle());
        // Even if something is new: for that alone the journal would do.
        fill(&mut log, 1).await;
        assert_eq!(flush_by(&mut set, &mut [&mut log]).await, 0);
        assert_eq!((log.flushed_offset(), synced(&log)), (8, 8));
        assert!(!log.settle());
    });
}

#[test]
fn many_logs_share_a_journal_that_is_filled_again_and_again() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let mut logs = Vec::new();
        for partition in 0..5 {
            let name = PartitionName::new("many", partition);
            let log = Log::create(&directory, &name, TOPIC_ID, journaled(), at(0)).await;
            logs.push(log.expect("a log"));
        }
        let mut set = FlushSet::new(TINY);
        let mut by_journal = 0;
        for round in 0..40 {
            for log in logs.iter_mut().skip(round % 3) {
                fill(log, 1).await;
            }
            let mut all: Vec<&mut Log> = logs.iter_mut().collect();
            by_journal += flush_by(&mut set, &mut all).await;
        }
        assert!(by_journal > 50, "{by_journal} flushes went by the journal");
        let ends: Vec<Offset> = logs.iter().map(Log::log_end_offset).collect();
        let synced: Vec<Offset> = logs.iter().map(synced).collect();
        assert!(
            synced.iter().all(|synced| *synced > 0),
            "halves were settled"
        );
        drop((logs, set, directory));
        let (directory, _) = home.open().await;
        for (partition, (end, synced)) in ends.into_iter().zip(synced).enumerate() {
            let name = PartitionName::new("many", partition as i32);
            let path = home
                .path
                .join(name.to_string())
                .join(FileKind::Log.file_name(0));
            let kept = synced / 2 * batch_bytes() as i64;
            home.resize(&path, kept - end / 2 * batch_bytes() as i64)
                .await;
            let opened = Log::open(&directory, &name, journaled(), false, at(0)).await;
            assert_eq!(opened.expect("opening").0.log_end_offset(), end, "{name}");
        }
    });
}

#[test]
fn what_is_large_or_in_a_new_segment_goes_to_the_segment() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let (mut log, mut set) = begun(&directory, 2).await;
        let large = batch(log.log_end_offset(), 1, 70_000);
        append(&mut log, at(0), &[large]).await.expect("an append");
        assert_eq!(flush_by(&mut set, &mut [&mut log]).await, 0);
        assert_eq!(synced(&log), 5);
        let above_half = batch(log.log_end_offset(), 1, 20_000);
        append(&mut log, at(0), &[above_half])
            .await
            .expect("an append");
        assert_eq!(
            flush_by(&mut set, &mut [&mut log]).await,
            0,
            "no half has room for it"
        );
        log.set_config(LogConfig {
            segment_bytes: 1000,
            ..journaled()
        });
        fill(&mut log, 1).await;
        assert_eq!(
            flush_by(&mut set, &mut [&mut log]).await,
            0,
            "the segment's name is new"
        );
        log.set_config(small());
        fill(&mut log, 1).await;
        assert_eq!(
            flush_by(&mut set, &mut [&mut log]).await,
            0,
            "the topic is of another class now"
        );
        log.set_config(journaled());
        fill(&mut log, 1).await;
        assert_eq!(flush_by(&mut set, &mut [&mut log]).await, 1);
    });
}

#[test]
fn a_flush_that_overtakes_none_goes_by_the_journal() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let (mut log, mut set) = begun(&directory, 1).await;
        fill(&mut log, 1).await;
        let first = log.begin_flush();
        fill(&mut log, 1).await;
        // The first has not ended: a journal that held only what came after it would promise too much.
        set.extend(vec![log.begin_flush()]);
        let second = set.next().await.expect("a flush");
        assert_eq!(log.complete_flush(&second), 6);
        assert_eq!(synced(&log), 6, "the segment was synced");
        drop(first);
    });
}

#[test]
fn batches_from_before_a_truncation_stay_away() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let (mut log, mut set) = begun(&directory, 2).await;
        fill(&mut log, 2).await;
        assert_eq!(flush_by(&mut set, &mut [&mut log]).await, 1);
        let finished = log.begin_truncate(at(0), 4).await;
        log.finish(finished).expect("a truncation");
        let mut newer = protocol::records::BatchBuilder::new(4).leader_epoch(3);
        newer.append(1_700_000_000_000, None, Some(b"newer"), &[]);
        newer.append(1_700_000_000_000, None, Some(b"newer"), &[]);
        append(&mut log, at(0), &[newer.build()])
            .await
            .expect("an append");
        crate::testing::flush(&mut log).await;
        drop((log, set, directory));
        let (directory, _) = home.open().await;
        let (log, _) = reopen(&directory).await;
        assert_eq!(
            bases(&log.view(), 0).await,
            [0, 2, 4],
            "the journal's 6 is of the older epoch"
        );
    });
}

#[test]
fn a_clean_stop_leaves_no_journal() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let (mut log, mut set) = begun(&directory, 2).await;
        fill(&mut log, 2).await;
        assert_eq!(flush_by(&mut set, &mut [&mut log]).await, 1);
        assert_eq!(journals(&home).await.len(), 1);
        let finished = log.begin_close().await;
        assert_eq!(log.finish(finished), Ok(8));
        directory.close_clean(1).await.expect("a clean stop");
        assert_eq!(journals(&home).await, [] as [String; 0]);
    });
}

#[test]
fn a_journal_goes_when_every_log_has_what_it_holds() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let (mut log, mut set) = begun(&directory, 2).await;
        let other = PartitionName::new("other", 0);
        let opened = Log::create(&directory, &other, TOPIC_ID, journaled(), at(0)).await;
        let mut second = opened.expect("a log");
        for _ in 0..2 {
            fill(&mut log, 1).await;
            fill(&mut second, 1).await;
            flush_by(&mut set, &mut [&mut log, &mut second]).await;
        }
        drop((log, second, set, directory));
        // A start that opens only one of them, and ends as if it was stopped cleanly.
        let (directory, _) = home.open().await;
        let (log, _) = reopen(&directory).await;
        directory.write_checkpoints().await.expect("checkpoints");
        assert_eq!(
            journals(&home).await.len(),
            1,
            "the other's part is not taken"
        );
        directory.close_clean(1).await.expect("a clean stop");
        drop((log, directory));
        let path = home.path.join("other-0").join(FileKind::Log.file_name(0));
        home.resize(&path, -(batch_bytes() as i64)).await;
        let (directory, content) = home.open().await;
        assert!(content.was_clean);
        let opened = Log::open(&directory, &other, journaled(), true, at(0)).await;
        assert_eq!(
            opened.expect("opening").0.log_end_offset(),
            4,
            "it is checked all the same"
        );
        reopen(&directory).await;
        directory.write_checkpoints().await.expect("checkpoints");
        assert_eq!(journals(&home).await, [] as [String; 0]);
    });
}

#[test]
fn a_deleted_topic_leaves_nothing_to_its_name() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let (mut log, mut set) = begun(&directory, 2).await;
        fill(&mut log, 2).await;
        assert_eq!(flush_by(&mut set, &mut [&mut log]).await, 1);
        drop((log, set, directory));
        home.disk
            .remove_dir_all(home.path.join("orders-0"))
            .await
            .expect("removing");
        let (directory, _) = home.open().await;
        let log = Log::create(
            &directory,
            &orders(),
            types::Uuid::from_u128(5),
            journaled(),
            at(0),
        )
        .await;
        drop((log.expect("a log"), directory));
        let (directory, _) = home.open().await;
        let (log, _) = reopen(&directory).await;
        assert_eq!(log.log_end_offset(), 0);
    });
}

#[test]
fn a_damaged_journal_takes_nothing_that_the_segments_have() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let (mut log, mut set) = begun(&directory, 2).await;
        for _ in 0..3 {
            fill(&mut log, 1).await;
            assert_eq!(flush_by(&mut set, &mut [&mut log]).await, 1);
        }
        drop((log, set, directory));
        let journal = home.path.join(&journals(&home).await[0]);
        // Its first block, the second of three groups, all of it, nothing of it.
        for position in [12, 2 * 4096 + 50] {
            home.flip(&journal, position).await;
            let (directory, _) = home.open().await;
            let (log, _) = reopen(&directory).await;
            assert_eq!(bases(&log.view(), 0).await, [0, 2, 4, 6, 8]);
            drop((log, directory));
            home.flip(&journal, position).await;
        }
        home.flip(&journal, 2 * 4096 + 50).await;
        lose(&home, 3 * batch_bytes()).await;
        let (directory, _) = home.open().await;
        let (log, _) = reopen(&directory).await;
        assert_eq!(
            bases(&log.view(), 0).await,
            [0, 2, 4],
            "what lies behind a gap stays away"
        );
        drop((log, directory));
        let file = home
            .disk
            .open(&journal, OpenMode::Truncate)
            .await
            .expect("a file");
        drop(file);
        let (directory, _) = home.open().await;
        let (log, _) = reopen(&directory).await;
        assert_eq!(log.log_end_offset(), 6);
    });
}
