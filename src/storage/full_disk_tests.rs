//! A disk that is full: on a small file system in memory, where one can be mounted.

use std::path::Path;
use std::process::Command;

use runtime::disk::Disk;
use runtime::task::block_on;
use types::Uuid;

use crate::testing::*;
use crate::{
    AppendError, FileCache, Log, LogConfig, LogDirectory, MetaProperties, PartitionName, WriteError,
};

struct Mount<'a>(&'a Path);

impl Mount<'_> {
    fn new(path: &Path) -> Option<Mount<'_>> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m,nr_inodes=100", "tmpfs"])
            .arg(path)
            .output();
        mount
            .is_ok_and(|output| output.status.success())
            .then_some(Mount(path))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "the test's file system stays mounted"
        );
    }
}

/// Appends until the disk is full; gives how many batches there are.
async fn fill_up(log: &mut Log) -> i64 {
    for _ in 0..10_000 {
        let next = log.log_end_offset();
        match append(log, at(0), &[batch(next, 1, 10_000)]).await {
            Ok(_) => {}
            Err(AppendError::Write(WriteError::NoSpace(_))) => {
                assert_eq!(log.log_end_offset(), next);
                return next;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk is never full");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(_mount) = Mount::new(folder.path()) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    block_on(async {
        let disk = Disk::new();
        let path = folder.path().join("logs");
        let properties = MetaProperties {
            node_id: 1,
            cluster_id: "x".into(),
            directory_id: None,
        };
        LogDirectory::format(&disk, &path, &properties)
            .await
            .expect("formatting");
        let files = FileCache::new(disk, 20);
        let (directory, _) = LogDirectory::open(&files, &path).await.expect("opening");
        if directory.free_bytes().await.expect("an answer") > 1 << 30 {
            eprintln!("skipped: this disk is never full");
            return;
        }
        let config = LogConfig {
            segment_bytes: 200_000,
            ..small()
        };
        let other = PartitionName::new("other", 0);
        let mut other = Log::create(&directory, &other, TOPIC_ID, config.clone(), at(0))
            .await
            .expect("a log");
        fill(&mut other, 40).await;
        flush(&mut other).await;
        let mut log = create(&directory, config.clone()).await;
        let end = fill_up(&mut log).await;
        assert!(end > 100, "{end}");
        // All or nothing, also over several segments.
        let many: Vec<_> = (0..50).map(|index| batch(end + index, 1, 10_000)).collect();
        let refused = append(&mut log, at(0), &many).await;
        assert!(matches!(
            refused,
            Err(AppendError::Write(WriteError::NoSpace(_)))
        ));
        assert_eq!(fill_up(&mut log).await, end);
        assert_eq!(directory.failure(), None);
        // Reads and flushes go on.
        let expected: Vec<i64> = (0..end).collect();
        assert_eq!(bases(&log.view(), 0).await, expected);
        assert_eq!(flush(&mut log).await, end);
        assert_eq!(bases(&other.view(), 0).await.len(), 40);
        // Checkpoints, DeleteRecords and topic deletion have room; then writes resume.
        directory.write_checkpoints().await.expect("checkpoints");
        let finished = log.begin_advance_log_start(at(0), 50, |_| None).await;
        log.finish(finished).expect("an advance");
        let finished = other.begin_delete(at(0), Uuid::from_u128(1)).await;
        let deleted = other.finish(finished).expect("a deletion");
        directory
            .remove_deleted(&deleted.directory_name)
            .await
            .expect("removal");
        let finished = log.begin_remove_deleted(at(100)).await;
        assert!(log.finish(finished).expect("removal") > 0);
        let next = log.log_end_offset();
        append(&mut log, at(0), &[batch(next, 1, 10_000)])
            .await
            .expect("space has returned");
        let end = fill_up(&mut log).await;
        flush(&mut log).await;
        drop((log, other));
        // A crash on a full disk is recovered from.
        let (log, recovered) = Log::open(&directory, &orders(), config, false, at(0))
            .await
            .expect("recovery");
        assert_eq!(
            (
                recovered.cut_reason,
                log.log_start_offset(),
                log.log_end_offset()
            ),
            (None, 50, end)
        );
        assert_eq!(bases(&log.view(), 50).await, (50..end).collect::<Vec<_>>());
    });
}
