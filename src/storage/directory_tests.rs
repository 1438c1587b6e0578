//! Stories of a log directory.

use bytes::Bytes;
use runtime::disk::{Disk, OpenMode};
use runtime::task::block_on;

use crate::testing::*;
use crate::{
    CLEAN_SHUTDOWN_MARKER, DirectoryError, FileCache, LogDirectory, META_PROPERTIES,
    MetaProperties, PartitionName,
};

#[test]
fn a_directory_has_one_owner() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        assert_eq!(directory.properties().node_id, 1);
        let files = FileCache::new(Disk::new(), 4);
        let second = LogDirectory::open(&files, &home.path).await;
        assert!(matches!(second, Err(DirectoryError::Locked(_))));
        drop(directory);
        LogDirectory::open(&files, &home.path)
            .await
            .expect("the lock is free again");
    });
}

#[test]
fn formatting_is_done_once() {
    block_on(async {
        let home = Home::new().await;
        let disk = Disk::new();
        let properties = MetaProperties {
            node_id: 2,
            cluster_id: "x".into(),
            directory_id: None,
        };
        let again = LogDirectory::format(&disk, &home.path, &properties).await;
        assert!(matches!(again, Err(DirectoryError::AlreadyFormatted(_))));
        let files = FileCache::new(disk.clone(), 4);
        let empty = home.path.join("empty");
        disk.create_dir_all(&empty).await.expect("a folder");
        let bare = LogDirectory::open(&files, &empty).await;
        assert!(matches!(bare, Err(DirectoryError::NotFormatted(_))));
        let file = disk
            .open(empty.join(META_PROPERTIES), OpenMode::Create)
            .await
            .expect("a file");
        file.write_at(0, vec![Bytes::from_static(b"version=7")])
            .await
            .expect("a write");
        let odd = LogDirectory::open(&files, &empty).await;
        assert!(matches!(odd, Err(DirectoryError::Unreadable { .. })));
    });
}

#[test]
fn a_clean_stop_is_seen_once() {
    block_on(async {
        let home = Home::new().await;
        let (directory, content) = home.open().await;
        assert!(!content.was_clean);
        let mut log = create(&directory, small()).await;
        fill(&mut log, 3).await;
        let finished = log.begin_close().await;
        assert_eq!(log.finish(finished), Ok(6));
        assert_eq!((log.flushed_offset(), log.needs_flush()), (6, false));
        directory.close_clean(42).await.expect("a clean stop");
        drop((log, directory));
        let (directory, content) = home.open().await;
        assert_eq!((content.was_clean, content.broker_epoch), (true, 42));
        assert_eq!(content.partitions, [orders()]);
        let (log, recovered) = reopen(&directory, content.was_clean)
            .await
            .expect("opening");
        assert_eq!((recovered.was_clean, recovered.checked_bytes), (true, 0));
        assert_eq!(bases(&log.view(), 0).await, [0, 2, 4]);
        assert!(
            !home
                .disk
                .exists(home.path.join(CLEAN_SHUTDOWN_MARKER))
                .await
                .expect("an answer")
        );
        drop((log, directory));
        let (_, content) = home.open().await;
        assert!(!content.was_clean, "the second stop was no clean one");
    });
}

#[test]
fn checkpoints_are_shared_by_their_writers() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let tasks: Vec<_> = (0..50)
            .map(|partition| {
                let directory = directory.clone();
                runtime::task::spawn_local(async move {
                    let points = directory.recovery_points();
                    points.set(&PartitionName::new("many", partition), i64::from(partition));
                    directory.persist(points).await.expect("a checkpoint");
                    assert!(!points.is_changed() || partition < 49);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("the task ends");
        }
        drop(directory);
        let (directory, _) = home.open().await;
        for partition in 0..50 {
            let name = PartitionName::new("many", partition);
            assert_eq!(
                directory.recovery_points().get(&name),
                Some(i64::from(partition))
            );
        }
    });
}

#[test]
fn a_thousand_partitions_are_made_and_used() {
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open_with(500).await;
        let mut logs = Vec::new();
        for partition in 0..1000 {
            let name = PartitionName::new("many", partition);
            let log = crate::Log::create(&directory, &name, TOPIC_ID, small(), at(0)).await;
            logs.push(log.expect("a log"));
        }
        for log in &mut logs {
            fill(log, 1).await;
        }
        let handles = logs.iter_mut().map(crate::Log::begin_flush).collect();
        for (log, flushed) in logs.iter_mut().zip(crate::flush_all(handles).await) {
            assert_eq!(log.complete_flush(&flushed), 2);
        }
        assert!(!directory.files().is_crowded());
    });
}
