//! Kafka's own tool reads what we write. Runs where `MILLRACE_KAFKA_LIBS` names a folder with Kafka's jars.

use std::path::PathBuf;
use std::process::Command;

use protocol::records::{BatchBuilder, Compression, ControlRecordType};
use runtime::task::block_on;

use crate::testing::*;
use crate::{AbortedTransaction, FileKind, Log, LogConfig, PartitionName};

/// What the tool prints about files; it must find nothing wrong.
fn dump(libs: &str, paths: &[PathBuf], options: &[&str]) -> String {
    let paths: Vec<&str> = paths
        .iter()
        .map(|path| path.to_str().expect("a plain path"))
        .collect();
    let output = Command::new("java")
        .args([
            "-Xmx256m",
            "-cp",
            &format!("{libs}/*"),
            "org.apache.kafka.tools.DumpLogSegments",
        ])
        .args(options)
        .arg("--files")
        .arg(paths.join(","))
        .output()
        .expect("java runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{paths:?}: {text}{errors}");
    for word in [
        "Mismatches",
        "mismatch",
        "Found timestamp",
        "out of order",
        "Exception",
        "not found",
        "invalid bytes",
    ] {
        assert!(
            !text.contains(word) && !errors.contains(word),
            "{paths:?}: {text}{errors}"
        );
    }
    text
}

/// A log with most of what logs can have, ended in several segments.
async fn write(log: &mut Log) -> i64 {
    fill(log, 40).await;
    let mut next = log.log_end_offset();
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Lz4,
        Compression::Snappy,
        Compression::Zstd,
    ] {
        let mut builder = BatchBuilder::new(next)
            .compression(compression)
            .producer(7, 0, 0)
            .transactional();
        for _ in 0..5 {
            builder.append(
                1_700_000_000_000 + next,
                Some(b"key"),
                Some(b"value value value"),
                &[],
            );
        }
        append(log, at(0), &[builder.build()])
            .await
            .expect("an append");
        next = log.log_end_offset();
    }
    let mut marker = BatchBuilder::new(next)
        .control()
        .transactional()
        .producer(7, 0, -1);
    marker.append_control(1_700_000_000_000, ControlRecordType::Abort, &[0; 6]);
    append(log, at(0), &[marker.build()])
        .await
        .expect("an append");
    let aborted = AbortedTransaction {
        producer_id: 7,
        first_offset: 80,
        last_offset: next,
        last_stable_offset: 80,
    };
    let finished = log.begin_append_aborted(vec![aborted]).await;
    log.finish(finished).expect("an append");
    fill(log, 10).await;
    log.log_end_offset()
}

#[test]
fn kafka_reads_our_directories() {
    let Ok(libs) = std::env::var("MILLRACE_KAFKA_LIBS") else {
        eprintln!("skipped: MILLRACE_KAFKA_LIBS is not set");
        return;
    };
    block_on(async {
        let home = Home::new().await;
        let (directory, _) = home.open().await;
        let config = LogConfig {
            segment_bytes: 4000,
            index_interval_bytes: 200,
            ..LogConfig::default()
        };
        let mut log = create(&directory, config.clone()).await;
        let end = write(&mut log).await;
        log.partition_files()
            .write_leader_epochs(&[(0, 0)])
            .await
            .expect("epochs");
        let finished = log.begin_close().await;
        log.finish(finished).expect("closing");
        check(&libs, &home, &log, end);
        // After a crash and recovery, and after a truncation, the files are as good.
        drop(log);
        directory
            .recovery_points()
            .set(&PartitionName::new("orders", 0), 0);
        let (mut log, _) = Log::open(&directory, &orders(), config, false, at(0))
            .await
            .expect("recovery");
        let finished = log.begin_truncate(at(0), 75).await;
        log.finish(finished).expect("a truncation");
        let end = write(&mut log).await;
        let finished = log.begin_close().await;
        log.finish(finished).expect("closing");
        check(&libs, &home, &log, end);
    });
}

fn check(libs: &str, home: &Home, log: &Log, end: i64) {
    let bases: Vec<i64> = log
        .view()
        .segments
        .iter()
        .map(|segment| segment.base_offset())
        .collect();
    assert!(bases.len() > 2, "{bases:?}");
    let files = |kind| -> Vec<PathBuf> {
        let paths = bases.iter().map(|base| home.file(kind, *base));
        paths.filter(|path| path.exists()).collect()
    };
    let text = dump(
        libs,
        &files(FileKind::Log),
        &["--deep-iteration", "--print-data-log"],
    );
    let offsets = text
        .lines()
        .filter_map(|line| line.strip_prefix("| offset: "));
    let offsets = offsets.map(|line| line.split(' ').next().expect("a number").parse::<i64>());
    let offsets: Vec<i64> = offsets.map(|offset| offset.expect("an offset")).collect();
    assert_eq!(offsets, (0..end).collect::<Vec<_>>(), "{text}");
    assert!(
        text.contains("isvalid: true") && !text.contains("isvalid: false"),
        "{text}"
    );
    let mut indexes = files(FileKind::OffsetIndex);
    indexes.extend(files(FileKind::TimeIndex));
    assert_eq!(indexes.len(), 2 * bases.len());
    dump(libs, &indexes, &[]);
    dump(libs, &indexes, &["--index-sanity-check"]);
    let listed = dump(libs, &files(FileKind::TransactionIndex), &[]);
    assert!(listed.contains("producerId: 7"), "{listed}");
}
