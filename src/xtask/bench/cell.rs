//! The cells of the table: what is measured.

use super::plan::Mode;
use super::result::metric;

/// Who puts the load on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// `millrace perf`.
    Ours,
    /// ProducerPerformance, ConsumerPerformance and EndToEndLatency of Apache Kafka.
    Java,
    /// rdkafka_performance.
    Librdkafka,
}

impl Client {
    fn name(self) -> &'static str {
        match self {
            Client::Ours => "ours",
            Client::Java => "java",
            Client::Librdkafka => "librdkafka",
        }
    }
}

/// When an answer may come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// After the sync, on both sides: `flush.messages=1`.
    Flushed,
    /// After the write to the page cache, on both sides: `flush.messages` is Kafka's default.
    Replicated,
}

impl Class {
    /// The topic's config that chooses it, on both sides.
    pub fn flush_messages(self) -> &'static str {
        match self {
            Class::Flushed => "1",
            Class::Replicated => "9223372036854775807",
        }
    }
}

/// What producers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// As fast as may be, in batches.
    Bulk,
    /// As fast as may be, one record a request.
    Tiny,
    /// At a rate, and the acknowledgement is waited for.
    Acknowledged,
    /// At a rate, to a consumer.
    EndToEnd,
    /// One record at a time, to a consumer: the next is sent when it has come.
    InTurn,
}

/// A load of producers.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Who puts it on.
    pub client: Client,
    /// How they send.
    pub shape: Shape,
    /// Bytes of a record's value.
    pub size_bytes: usize,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Producers, each with a connection of its own.
    pub producers: u64,
    /// Records a second of all together; 0 is as fast as may be.
    pub rate: u64,
    /// When answers come.
    pub class: Class,
    /// Whether duplicates are recognised; `None` is each client's default.
    pub idempotence: Option<bool>,
    /// The codec, as every client spells it.
    pub compression: &'static str,
}

/// A load of consumers.
#[derive(Clone, Copy, Debug)]
pub struct Consume {
    /// Who puts it on.
    pub client: Client,
    /// Processes that each read everything.
    pub groups: usize,
}

/// What a run of a cell does.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// W1 to W4, W8.
    Load(Load),
    /// W5a.
    Consume(Consume),
    /// W5b.
    CatchUp,
    /// W6: so many partitions.
    Partitions(u16),
    /// W9.
    Idle,
    /// W10a.
    Start,
    /// W10b.
    Kill(Class),
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Its name: workload first, in words that a shell takes.
    pub name: String,
    /// What it is, for people.
    pub title: String,
    /// The figure that decides whether more pairs are needed.
    pub primary: &'static str,
    /// Whether `--quick` measures it.
    pub is_quick: bool,
    /// Both sides are Millrace: A with idempotence, B without.
    pub is_idempotence: bool,
    /// What a run does.
    pub work: Work,
}

impl Cell {
    /// The workload it belongs to: `w1`.
    pub fn workload(&self) -> &str {
        self.name.split('-').next().unwrap_or(&self.name)
    }

    /// Whether one of the words of the command line means it: a workload, or the beginning of a cell's name.
    ///
    /// With `--quick` a workload means its quick cells, a longer word all that begin so; without words all (quick) cells
    /// are meant.
    pub fn is_meant(&self, words: &[String], mode: Mode) -> bool {
        let is_in_mode = mode == Mode::Full || self.is_quick;
        if words.is_empty() {
            return is_in_mode;
        }
        words.iter().any(|word| {
            let word = word.to_lowercase();
            (word == self.workload() && is_in_mode)
                || (word.contains('-') && self.name.to_lowercase().starts_with(&word))
        })
    }
}

/// One producer of 1 KiB records as fast as may be, 16 partitions, class *replicated*.
pub const BULK: Load = Load {
    client: Client::Ours,
    shape: Shape::Bulk,
    size_bytes: 1024,
    partitions: 16,
    producers: 1,
    rate: 0,
    class: Class::Replicated,
    idempotence: None,
    compression: "none",
};

fn size(bytes: usize) -> &'static str {
    match bytes {
        100 => "100B",
        1024 => "1KiB",
        _ => "10KiB",
    }
}

fn load(name: String, title: String, primary: &'static str, is_quick: bool, load: Load) -> Cell {
    Cell {
        name: format!("{name}-{}", load.client.name()),
        title: format!("{title}, by {}", load.client.name()),
        primary,
        is_quick,
        is_idempotence: false,
        work: Work::Load(load),
    }
}

fn other(name: &str, title: &str, primary: &'static str, is_quick: bool, work: Work) -> Cell {
    Cell {
        name: name.to_owned(),
        title: title.to_owned(),
        primary,
        is_quick,
        is_idempotence: false,
        work,
    }
}

/// Every cell there is, in the order of measuring; restarts come last.
pub fn cells(mode: Mode) -> Vec<Cell> {
    let mut cells = bulk();
    cells.extend(tiny());
    cells.extend(end_to_end());
    cells.extend(flushed());
    cells.extend(consume());
    cells.extend(semantics());
    cells.extend(lifecycle(mode));
    cells
}

fn bulk() -> Vec<Cell> {
    use Client::{Java, Librdkafka, Ours};
    let mut loads: Vec<(Client, usize, i32, bool)> = vec![
        (Java, 1024, 16, true),
        (Librdkafka, 1024, 16, true),
        (Ours, 1024, 16, true),
        (Java, 100, 16, false),
        (Java, 10_240, 16, false),
        (Java, 1024, 100, false),
    ];
    for size_bytes in [100, 1024, 10_240] {
        for partitions in [1, 16, 100] {
            if (size_bytes, partitions) != (1024, 16) {
                loads.push((Ours, size_bytes, partitions, false));
            }
        }
    }
    loads
        .into_iter()
        .map(|(client, size_bytes, partitions, is_quick)| {
            let size = size(size_bytes);
            load(
                format!("w1-{size}-{partitions}p"),
                format!("W1 bulk produce, {size} x {partitions} partitions"),
                metric::CPU_PER_GB,
                is_quick,
                Load {
                    client,
                    size_bytes,
                    partitions,
                    ..BULK
                },
            )
        })
        .collect()
}

fn tiny() -> Vec<Cell> {
    let mut cells = Vec::new();
    for client in [Client::Librdkafka, Client::Ours] {
        for producers in [1, 10, 50] {
            cells.push(load(
                format!("w2-{producers}"),
                format!("W2 one record of 100 B a request, {producers} producers"),
                metric::CPU_PER_REQUEST,
                (client, producers) == (Client::Librdkafka, 10),
                Load {
                    client,
                    shape: Shape::Tiny,
                    size_bytes: 100,
                    producers,
                    ..BULK
                },
            ));
        }
    }
    cells
}

fn end_to_end() -> Vec<Cell> {
    let in_turn = Load {
        client: Client::Java,
        shape: Shape::InTurn,
        partitions: 1,
        ..BULK
    };
    let mut cells: Vec<Cell> = [(1_000, true), (10_000, false), (50_000, true)]
        .into_iter()
        .map(|(rate, is_quick)| {
            load(
                format!("w3-{}k", rate / 1_000),
                format!("W3 end to end, {rate} records of 1 KiB a second"),
                metric::P99,
                is_quick,
                Load {
                    shape: Shape::EndToEnd,
                    rate,
                    ..BULK
                },
            )
        })
        .collect();
    cells.push(load(
        "w3-in-turn".to_owned(),
        "W3 end to end, one record of 1 KiB at a time".to_owned(),
        metric::AVERAGE,
        false,
        in_turn,
    ));
    cells
}

fn flushed() -> Vec<Cell> {
    let mut cells = Vec::new();
    let flushed = Load {
        class: Class::Flushed,
        ..BULK
    };
    for client in [Client::Librdkafka, Client::Ours] {
        for partitions in [1, 10, 100] {
            cells.push(load(
                format!("w4-tiny-{partitions}p"),
                format!(
                    "W4 synced before the answer, one record of 1 KiB a request, 16 producers, {partitions} partitions"
                ),
                metric::RECORDS,
                (client, partitions) == (Client::Librdkafka, 10)
                    || (client, partitions) == (Client::Ours, 100),
                Load {
                    client,
                    shape: Shape::Tiny,
                    producers: 16,
                    partitions,
                    ..flushed
                },
            ));
        }
    }
    cells.push(load(
        "w4-ack-100p".to_owned(),
        "W4 synced acknowledgement at 1000/s, 100 partitions".to_owned(),
        metric::P99,
        true,
        Load {
            shape: Shape::Acknowledged,
            partitions: 100,
            rate: 1_000,
            ..flushed
        },
    ));
    for partitions in [1, 10, 100] {
        cells.push(load(
            format!("w4-bulk-{partitions}p"),
            format!("W4 synced bulk, 1 KiB x {partitions} partitions"),
            metric::MEGABYTES,
            partitions == 10,
            Load {
                partitions,
                ..flushed
            },
        ));
    }
    cells
}

fn consume() -> Vec<Cell> {
    use Client::{Java, Ours};
    let mut cells: Vec<Cell> = [(Java, 1), (Ours, 1), (Java, 5), (Ours, 5)]
        .into_iter()
        .map(|(client, groups)| {
            let who = client.name();
            other(
                &format!("w5a-{groups}-{who}"),
                &format!(
                    "W5a consume 1 KiB records from the page cache, {groups} groups, by {who}"
                ),
                metric::CPU_PER_GB,
                groups == 1,
                Work::Consume(Consume { client, groups }),
            )
        })
        .collect();
    cells.push(other(
        "w5b-cold",
        "W5b catch up on cold data while 50 MB/s are produced",
        metric::MEGABYTES,
        false,
        Work::CatchUp,
    ));
    cells
}

fn semantics() -> Vec<Cell> {
    let mut cells = vec![Cell {
        is_idempotence: true,
        ..load(
            "w8-idempotence".to_owned(),
            "W8 idempotence: Millrace with it (A) and without (B), 1 KiB x 16".to_owned(),
            metric::CPU_PER_GB,
            false,
            BULK,
        )
    }];
    for compression in ["none", "lz4", "zstd", "gzip", "snappy"] {
        cells.push(load(
            format!("w8-{compression}"),
            format!("W8 compression {compression}, 1 KiB x 16 partitions"),
            metric::CPU_PER_GB,
            false,
            Load {
                compression,
                ..BULK
            },
        ));
    }
    cells
}

fn lifecycle(mode: Mode) -> Vec<Cell> {
    let partitions = match mode {
        Mode::Quick => 1_000,
        Mode::Full => 10_000,
    };
    vec![
        other(
            &format!("w6-{partitions}p"),
            &format!(
                "W6 {partitions} partitions: until a record is acked on each, memory, restart"
            ),
            metric::USABLE,
            true,
            Work::Partitions(partitions),
        ),
        other(
            "w9-idle",
            "W9 an idle broker",
            metric::RSS,
            true,
            Work::Idle,
        ),
        other(
            "w10a-start",
            "W10a start to first answer, empty directory",
            metric::START,
            true,
            Work::Start,
        ),
        other(
            "w10b-kill-replicated",
            "W10b SIGKILL under load, restart until every partition serves; class replicated",
            metric::RESTART,
            false,
            Work::Kill(Class::Replicated),
        ),
        other(
            "w10b-kill-flushed",
            "W10b SIGKILL under load, restart until every partition serves; class flushed",
            metric::RESTART,
            false,
            Work::Kill(Class::Flushed),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_begin_with_their_workload() {
        for mode in [Mode::Quick, Mode::Full] {
            let cells = cells(mode);
            let names: BTreeSet<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
            assert_eq!(names.len(), cells.len());
            for cell in &cells {
                let title = cell.title.to_lowercase();
                assert!(title.starts_with(cell.workload()), "{}", cell.name);
            }
        }
    }

    #[test]
    fn words_mean_cells() {
        let cells = cells(Mode::Quick);
        let count = |words: &[&str], mode: Mode| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            cells
                .iter()
                .filter(|cell| cell.is_meant(&words, mode))
                .count()
        };
        assert_eq!(count(&[], Mode::Full), cells.len());
        assert!(count(&[], Mode::Quick) < cells.len());
        assert_eq!(count(&["W3"], Mode::Full), 4);
        assert_eq!(count(&["w3"], Mode::Quick), 2);
        assert_eq!(count(&["w3-10k"], Mode::Quick), 1);
        assert_eq!(count(&["w1-1KiB-16p-java"], Mode::Quick), 1);
        assert_eq!(count(&["w1"], Mode::Full), 14);
        assert_eq!(count(&["w11"], Mode::Full), 0);
    }

    #[test]
    fn only_the_flushed_workloads_wait_for_the_disk() {
        for cell in cells(Mode::Full) {
            if let Work::Load(load) = cell.work {
                let is_flushed = load.class == Class::Flushed;
                assert_eq!(is_flushed, cell.workload() == "w4", "{}", cell.name);
            }
        }
    }
}
