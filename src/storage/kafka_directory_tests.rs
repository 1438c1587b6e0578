//! A directory that Apache Kafka 4.3.1 wrote gives Kafka's own answers: `tests/kafka-directories/`.

use std::path::Path;

use runtime::disk::Disk;
use runtime::task::block_on;

use crate::testing::*;
use crate::{FileCache, Log, LogConfig, LogDirectory, PartitionName};

const ANSWERS: &str = include_str!("../../tests/kafka-directories/answers.txt");
const BANK: &str = include_str!("../../tests/kafka-directories/bank.txt");

/// The number behind a word.
fn number(line: &str, word: &str) -> i64 {
    let mut words = line.split_whitespace();
    words.find(|one| *one == word).expect("the word is there");
    let number = words.next().expect("a number").trim_end_matches(',');
    number.parse().expect("a number")
}

#[expect(clippy::disallowed_methods, reason = "a test copies its fixture")]
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the fixture") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[test]
fn a_directory_of_kafkas_gives_kafkas_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kafka-directories/data");
    copy(&fixture, folder.path());
    block_on(async {
        let files = FileCache::new(Disk::new(), 64);
        let (directory, content) = LogDirectory::open(&files, folder.path())
            .await
            .expect("opens");
        assert!(content.was_clean);
        for was_clean in [true, false] {
            let mut checked = 0;
            for line in ANSWERS
                .lines()
                .filter(|line| line.starts_with("partition "))
            {
                let name = line.split(' ').nth(1).expect("a partition");
                let (topic, partition) = name.rsplit_once('-').expect("a partition");
                let name = PartitionName::new(topic, partition.parse().expect("a number"));
                let config = LogConfig::default();
                let opened = Log::open(&directory, &name, config, was_clean, at(0)).await;
                let (log, recovered) = opened.expect("opens");
                assert_eq!(recovered.cut_reason, None, "{line}");
                assert_eq!(log.log_start_offset(), number(line, "start"), "{line}");
                assert_eq!(log.log_end_offset(), number(line, "end"), "{line}");
                if topic == "bank" {
                    aborted_as_kafka_says(&log).await;
                }
                checked += 1;
            }
            assert!(checked >= 8, "{checked}");
        }
    });
}

async fn aborted_as_kafka_says(log: &Log) {
    let lines = BANK
        .lines()
        .filter(|line| line.contains("lastStableOffset:"));
    let wanted: Vec<[i64; 4]> = lines
        .map(|line| {
            [
                "producerId:",
                "firstOffset:",
                "lastOffset:",
                "lastStableOffset:",
            ]
            .map(|word| number(line, word))
        })
        .collect();
    let found = log
        .view()
        .aborted_transactions(0, i64::MAX)
        .await
        .expect("a list");
    let found: Vec<[i64; 4]> = found
        .iter()
        .map(|one| {
            [
                one.producer_id,
                one.first_offset,
                one.last_offset,
                one.last_stable_offset,
            ]
        })
        .collect();
    assert!(wanted.len() > 3);
    assert_eq!(found, wanted);
}
