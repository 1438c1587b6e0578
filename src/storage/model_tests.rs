//! A log against its model: a list of batches.

use proptest::prelude::*;
use protocol::records::{Batch, BatchBuilder};
use quickcheck::{Arbitrary, Gen, QuickCheck};
use runtime::task::block_on;
use types::Offset;

use crate::testing::*;
use crate::{FileKind, Log, LogConfig, LogDirectory, TimestampOffset};

/// What happens to a log.
#[derive(Clone, Debug)]
enum Op {
    /// Batches, each with a gap in front, so many records of so many bytes, and a time.
    Append(Vec<(u8, u8, u8, u8)>),
    /// A read from a part of the log, up to a part of it, with so many bytes.
    Read(u8, u8, u16),
    /// A search for a time.
    Search(u8),
    Flush,
    /// A cut at a part of the log.
    Truncate(u8),
    /// A cut with a reader at the log.
    TruncateUnderReader(u8),
    /// The log start moves to a part of the log.
    Advance(u8),
    CleanStop,
    /// A crash: what was not flushed is there, less so many bytes, or with garbage behind it.
    Crash(u16, bool),
}

impl Arbitrary for Op {
    fn arbitrary(g: &mut Gen) -> Op {
        match u8::arbitrary(g) % 16 {
            0..=5 => {
                let count = usize::arbitrary(g) % 6 + 1;
                Op::Append((0..count).map(|_| Arbitrary::arbitrary(g)).collect())
            }
            6..=8 => Op::Read(u8::arbitrary(g), u8::arbitrary(g), u16::arbitrary(g)),
            9 => Op::Search(u8::arbitrary(g)),
            10 => Op::Flush,
            11 => Op::Truncate(u8::arbitrary(g)),
            12 => Op::TruncateUnderReader(u8::arbitrary(g)),
            13 => Op::Advance(u8::arbitrary(g)),
            14 => Op::CleanStop,
            _ => Op::Crash(u16::arbitrary(g), bool::arbitrary(g)),
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Op>> {
        match self {
            Op::Append(batches) => Box::new(batches.shrink().map(Op::Append)),
            _ => quickcheck::empty_shrinker(),
        }
    }
}

/// The model: what the log should hold.
#[derive(Default)]
struct Model {
    batches: Vec<Batch>,
    start: Offset,
    end: Offset,
    flushed: Offset,
}

impl Model {
    /// An offset in the log, `part` 256ths of the way.
    fn part(&self, part: u8) -> Offset {
        self.start + (self.end - self.start) * i64::from(part) / 255
    }

    /// The batches that a read gives.
    fn read(&self, from: Offset, upper: Offset, max_bytes: u64) -> Vec<Offset> {
        let mut room = max_bytes;
        let mut found = Vec::new();
        for batch in self
            .batches
            .iter()
            .filter(|batch| batch.header().last_offset() >= from)
        {
            let size = batch.size_bytes() as u64;
            if batch.header().base_offset >= upper
                || from >= upper
                || (size > room && !found.is_empty())
            {
                break;
            }
            room = room.saturating_sub(size);
            found.push(batch.header().base_offset);
        }
        found
    }

    fn search(&self, timestamp: i64) -> Option<TimestampOffset> {
        let records = self
            .batches
            .iter()
            .flat_map(Batch::records)
            .map(|record| record.expect("a record"));
        let found = records
            .into_iter()
            .find(|record| record.timestamp >= timestamp && record.offset >= self.start);
        found.map(|record| TimestampOffset {
            timestamp: record.timestamp,
            offset: record.offset,
        })
    }

    /// Cuts at `offset` and gives the end that the log should have.
    fn truncate(&mut self, offset: Offset) -> Offset {
        if offset >= self.end {
            return self.end;
        }
        let kept = self
            .batches
            .partition_point(|batch| batch.header().last_offset() < offset);
        self.end = self
            .batches
            .get(kept)
            .map_or(offset, |first| first.header().base_offset.min(offset));
        self.batches.truncate(kept);
        self.start = self.start.min(self.end);
        self.flushed = self.end;
        self.end
    }
}

struct Run {
    home: Home,
    directory: LogDirectory,
    config: LogConfig,
    log: Option<Log>,
    model: Model,
}

impl Run {
    async fn new(config: LogConfig) -> Run {
        let home = Home::new().await;
        let (directory, _) = home.open_with(3).await;
        let log = Some(create(&directory, config.clone()).await);
        Run {
            home,
            directory,
            config,
            log,
            model: Model::default(),
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("a log between operations")
    }

    async fn step(&mut self, op: &Op) {
        match op {
            Op::Append(batches) => self.append(batches).await,
            Op::Read(from, upper, max) => {
                let (from, upper) = (self.model.part(*from), self.model.part(*upper));
                let found =
                    bytes_read(&self.log().view(), from, upper, u64::from(*max), true).await;
                let found: Vec<Offset> = found
                    .iter()
                    .map(|batch| batch.header().base_offset)
                    .collect();
                assert_eq!(found, self.model.read(from, upper, u64::from(*max)));
            }
            Op::Search(time) => {
                let timestamp = i64::from(*time);
                let found = self
                    .log()
                    .view()
                    .offset_for_timestamp(timestamp, i64::MAX)
                    .await
                    .expect("a search");
                assert_eq!(found, self.model.search(timestamp));
            }
            Op::Flush => {
                flush(self.log()).await;
                self.model.flushed = self.model.end;
            }
            Op::Truncate(part) => self.truncate(*part).await,
            Op::TruncateUnderReader(part) => {
                let view = self.log().view();
                let held = view
                    .read(self.model.start, self.model.end, 1 << 20, true)
                    .await
                    .expect("a read");
                let before = read_all(&held).await;
                self.truncate(*part).await;
                self.append(&[(0, 3, 200, 0)]).await;
                assert_eq!(read_all(&held).await, before);
            }
            Op::Advance(part) => {
                let offset = self.model.part(*part);
                let finished = self
                    .log()
                    .begin_advance_log_start(at(0), offset, |_| None)
                    .await;
                self.log().finish(finished).expect("an advance");
                self.model.start = offset;
                self.model
                    .batches
                    .retain(|batch| batch.header().last_offset() >= offset);
            }
            Op::CleanStop => {
                let finished = self.log().begin_close().await;
                self.log().finish(finished).expect("closing");
                self.model.flushed = self.model.end;
                self.reopen(true).await;
            }
            Op::Crash(lost, has_garbage) => self.crash(*lost, *has_garbage).await,
        }
        self.compare().await;
    }

    async fn append(&mut self, batches: &[(u8, u8, u8, u8)]) {
        let mut next = self.model.end;
        let mut made = Vec::new();
        for (gap, count, size, time) in batches {
            // Most batches follow at once.
            let base = next + if *gap > 200 { i64::from(*gap) } else { 0 };
            let mut builder = BatchBuilder::new(base);
            for _ in 0..count % 5 + 1 {
                builder.append(
                    i64::from(*time),
                    None,
                    Some(&vec![*time; usize::from(*size)]),
                    &[],
                );
            }
            let batch = builder.build();
            next = batch.header().next_offset();
            made.push(batch);
        }
        append(self.log(), at(0), &made).await.expect("an append");
        self.model.batches.extend(made);
        self.model.end = next;
    }

    async fn truncate(&mut self, part: u8) {
        let offset = self.model.part(part);
        let finished = self.log().begin_truncate(at(0), offset).await;
        let truncated = self.log().finish(finished).expect("a truncation");
        assert_eq!(truncated.log_end_offset, self.model.truncate(offset));
        // A gap at the start may be left out when nothing is in front of it.
        let (start, end) = (truncated.log_start_offset, self.model.end);
        let is_gap = self.model.batches.is_empty() && (self.model.start..=end).contains(&start);
        assert!(
            is_gap || start == self.model.start,
            "{start} {}",
            self.model.start
        );
        self.model.start = start;
    }

    async fn crash(&mut self, lost: u16, has_garbage: bool) {
        let active = self
            .log()
            .view()
            .segments
            .last()
            .expect("a segment")
            .clone();
        let (base, size) = (active.base_offset(), active.size_bytes());
        drop(active);
        self.log = None;
        // Below the flushed offset nothing is lost; no batch of another segment is either, for simplicity.
        let unflushed: u64 = self
            .model
            .batches
            .iter()
            .filter(|batch| batch.header().base_offset >= self.model.flushed.max(base))
            .map(|batch| batch.size_bytes() as u64)
            .sum();
        let lost = u64::from(lost).min(unflushed).min(size);
        if size > 0 && (lost > 0 || has_garbage) {
            let change = if has_garbage { 100 } else { -(lost as i64) };
            self.home
                .resize(&self.home.file(FileKind::Log, base), change)
                .await;
        }
        if !has_garbage {
            let mut left = lost;
            while left > 0 {
                let batch = self
                    .model
                    .batches
                    .pop()
                    .expect("bytes were lost from a batch");
                left = left.saturating_sub(batch.size_bytes() as u64);
                self.model.end = self
                    .model
                    .batches
                    .last()
                    .map_or(0, |last| last.header().next_offset())
                    .max(base);
            }
        }
        // Recovery makes durable what it finds.
        self.model.start = self.model.start.min(self.model.end.max(self.model.start));
        self.reopen(false).await;
        self.model.flushed = self.model.end;
    }

    async fn reopen(&mut self, was_clean: bool) {
        self.log = None;
        let opened = Log::open(
            &self.directory,
            &orders(),
            self.config.clone(),
            was_clean,
            at(0),
        )
        .await;
        let (log, _) = opened.expect("recovery");
        self.log = Some(log);
        if self.model.end < self.model.start {
            self.model.end = self.model.start;
            self.model.batches.clear();
        }
    }

    /// The log is as the model says.
    async fn compare(&mut self) {
        let (start, end) = (self.model.start, self.model.end);
        let log = self.log.as_ref().expect("a log between operations");
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, end));
        assert!(log.flushed_offset() <= end);
        let stored = log
            .view()
            .read_batches(start, end, u64::MAX)
            .await
            .expect("a read");
        assert_eq!(stored, self.model.batches);
        let max = log
            .view()
            .max_timestamp()
            .await
            .expect("a search")
            .map(|found| found.timestamp);
        let expected = stored
            .iter()
            .map(|batch| batch.header().max_timestamp)
            .max();
        // Batches that DeleteRecords has hidden may still be in their segment.
        assert!(max >= expected || start > 0, "{max:?} {expected:?}");
    }
}

async fn read_all(found: &crate::ReadRanges) -> Vec<bytes::Bytes> {
    let mut all = Vec::new();
    for range in &found.ranges {
        all.push(range.read().await.expect("a held range is readable"));
    }
    all
}

fn holds(ops: Vec<Op>, segment_bytes: u16, index_interval_bytes: u8) -> bool {
    let config = LogConfig {
        segment_bytes: u64::from(segment_bytes % 4096).max(200),
        index_interval_bytes: u64::from(index_interval_bytes),
        ..LogConfig::default()
    };
    block_on(async {
        let mut run = Run::new(config).await;
        for op in &ops {
            run.step(op).await;
        }
    });
    true
}

#[test]
fn a_log_is_a_list_of_batches() {
    QuickCheck::new()
        .tests(150)
        .quickcheck(holds as fn(Vec<Op>, u16, u8) -> bool);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn times_are_found_as_by_looking_at_all(
        batches in prop::collection::vec(prop::collection::vec(0i64..100, 1..5), 1..60),
        segment_bytes in 150u64..2000,
        index_interval_bytes in 0u64..500,
        start in 0usize..10,
    ) {
        let config = LogConfig { segment_bytes, index_interval_bytes, ..LogConfig::default() };
        block_on(async {
            let mut run = Run::new(config).await;
            for times in &batches {
                let mut builder = BatchBuilder::new(run.model.end);
                for time in times {
                    builder.append(*time, None, None, &[]);
                }
                let batch = builder.build();
                append(run.log(), at(0), std::slice::from_ref(&batch)).await.expect("an append");
                run.model.end = batch.header().next_offset();
                run.model.batches.push(batch);
            }
            let offset = run.model.end.min(start as i64);
            let finished = run.log().begin_advance_log_start(at(0), offset, |_| None).await;
            run.log().finish(finished).expect("an advance");
            run.model.start = offset;
            for round in 0..2 {
                for time in 0..=100 {
                    let found = run.log().view().offset_for_timestamp(time, i64::MAX).await.expect("a search");
                    assert_eq!(found, run.model.search(time), "round {round}");
                }
                let finished = run.log().begin_close().await;
                run.log().finish(finished).expect("closing");
                run.reopen(true).await;
            }
        });
    }

    #[test]
    fn checkpoints_come_back(offsets in prop::collection::btree_map(("[a-zA-Z0-9._-]{1,20}", 0i32..1000), 0i64.., 0..20)) {
        let offsets = offsets.into_iter().map(|((topic, partition), offset)| {
            (crate::PartitionName::new(topic, partition), offset)
        });
        let offsets = offsets.collect();
        prop_assert_eq!(crate::text::parse_offsets(&crate::text::format_offsets(&offsets)), Ok(offsets));
    }

    #[test]
    fn no_text_is_too_odd(text in ".{0,200}", lines in prop::collection::vec("[0-9a-z: =-]{0,12}", 0..6)) {
        for text in [text, lines.join("\n"), format!("0\n{}", lines.join("\n"))] {
            let _ = crate::text::parse_offsets(&text);
            let _ = crate::text::parse_leader_epochs(&text);
            let _ = crate::text::parse_partition_metadata(&text);
            let _ = crate::MetaProperties::parse(&text);
        }
    }

    #[test]
    fn no_name_is_too_odd(name in ".{0,60}", digits in "[0-9.-]{0,40}") {
        for name in [&name, &format!("{digits}.log"), &format!("{digits}-delete")] {
            let _ = crate::names::parse_partition_file(name);
            let _ = crate::names::parse_directory(name);
        }
    }
}
