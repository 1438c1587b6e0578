//! What the load generators say when they end.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What one client did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Records that count.
    pub records: f64,
    /// Bytes of their values.
    pub bytes: f64,
    /// How long they took.
    pub seconds: f64,
    /// Times, by the name of a figure, in milliseconds.
    pub times: Vec<(&'static str, f64)>,
}

/// What the figures of a distribution are called.
pub type Names = [&'static str; 3];

/// Reads the JSON of `millrace perf`: each distribution that is asked for under its names for p50, p99 and p99.9.
pub fn perf(text: &str, distributions: &[(&str, Names)]) -> Result<Told> {
    let line = text
        .lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .context("millrace perf gave no report")?;
    let report: Value = serde_json::from_str(line)?;
    let number = |name: &str| {
        report[name]
            .as_f64()
            .with_context(|| format!("no {name} in {line}"))
    };
    ensure!(number("failed")? == 0.0, "records failed: {line}");
    let mut told = Told {
        records: number("records")?,
        bytes: number("bytes")?,
        seconds: number("elapsedSeconds")?,
        times: Vec::new(),
    };
    for (key, names) in distributions {
        for (name, percentile) in names.iter().zip(["p50", "p99", "p99.9"]) {
            let micros = report[*key][percentile]
                .as_f64()
                .with_context(|| format!("no {key} {percentile} in {line}"))?;
            told.times.push((name, micros / 1e3));
        }
    }
    Ok(told)
}

/// Reads the last line of ProducerPerformance: `N records sent, R records/sec (M MB/sec), A ms avg latency, ..`.
pub fn producer_performance(text: &str, size_bytes: usize, names: Names) -> Result<Told> {
    let line = text
        .lines()
        .rev()
        .find(|line| line.contains("ms 99.9th"))
        .with_context(|| format!("ProducerPerformance gave no summary: {}", tail(text)))?;
    // With records to warm up by it has two summaries; the last one is of the others.
    let line = &line.replace(" steady state", "");
    let records = before(line, " records sent").context("records")?;
    let rate = before(line, " records/sec").context("records a second")?;
    let mut times = Vec::new();
    for (name, words) in names.iter().zip([" ms 50th", " ms 99th", " ms 99.9th"]) {
        times.push((*name, before(line, words).context(words)?));
    }
    Ok(Told {
        records,
        bytes: records * size_bytes as f64,
        seconds: records / rate.max(1e-9),
        times,
    })
}

/// Reads what EndToEndLatency says at its end; its percentiles are whole milliseconds, so they say nothing.
pub fn end_to_end_latency(
    text: &str,
    records: u64,
    size_bytes: usize,
    name: &'static str,
) -> Result<Told> {
    let line = text
        .lines()
        .rev()
        .find(|line| line.starts_with("Avg latency:"))
        .with_context(|| format!("EndToEndLatency gave no average: {}", tail(text)))?;
    let millis = before(line, " ms").context("milliseconds")?;
    Ok(Told {
        records: records as f64,
        bytes: records as f64 * size_bytes as f64,
        seconds: records as f64 * millis / 1e3,
        times: vec![(name, millis)],
    })
}

/// Reads the summary of `rdkafka_performance -P`.
pub fn rdkafka_produce(text: &str, size_bytes: usize) -> Result<Told> {
    let line = text
        .lines()
        .rev()
        .find(|line| line.contains("messages produced"))
        .with_context(|| format!("rdkafka_performance gave no summary: {}", tail(text)))?;
    let sent = before(line, " messages produced").context("messages")?;
    let delivered = before(line, " delivered").context("delivered")?;
    ensure!(sent == delivered, "messages were lost: {line}");
    Ok(Told {
        records: delivered,
        bytes: delivered * size_bytes as f64,
        seconds: before(line, "ms: ").context("milliseconds")? / 1e3,
        times: Vec::new(),
    })
}

/// Reads the last line of ConsumerPerformance: comma-separated, its time of fetching and its megabytes (of 2^20 bytes).
pub fn consumer_performance(text: &str) -> Result<Told> {
    let headings = text
        .lines()
        .find(|line| line.starts_with("start.time"))
        .with_context(|| format!("ConsumerPerformance gave no heading: {}", tail(text)))?;
    let headings: Vec<&str> = headings.split(',').map(str::trim).collect();
    let values = text
        .lines()
        .rev()
        .find(|line| line.split(',').count() == headings.len())
        .context("a line of values")?;
    let values: Vec<&str> = values.split(',').map(str::trim).collect();
    let value = |wanted: &str| -> Result<f64> {
        let at = headings.iter().position(|heading| *heading == wanted);
        let at = at.with_context(|| format!("no {wanted} in {headings:?}"))?;
        values[at].parse().with_context(|| values[at].to_owned())
    };
    Ok(Told {
        records: value("data.consumed.in.nMsg")?,
        bytes: value("data.consumed.in.MB")? * (1 << 20) as f64,
        seconds: value("fetch.time.ms")? / 1e3,
        times: Vec::new(),
    })
}

/// Puts together what clients did side by side.
pub fn together(all: &[Told]) -> Told {
    let mut sum = Told::default();
    for told in all {
        sum.records += told.records;
        sum.bytes += told.bytes;
        sum.seconds = sum.seconds.max(told.seconds);
        if sum.times.is_empty() {
            sum.times.clone_from(&told.times);
        }
    }
    sum
}

/// The number that stands before some words: digits and a point.
fn before(line: &str, words: &str) -> Option<f64> {
    let (head, _) = line.split_once(words)?;
    let start = head
        .rfind(|letter: char| !(letter.is_ascii_digit() || letter == '.'))
        .map_or(0, |at| at + 1);
    head[start..].parse().ok()
}

/// The end of what a program said, for an error.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = ["p50 ms", "p99 ms", "p99.9 ms"];

    #[test]
    fn our_report() {
        let text = "warning: x\n{\"records\":10,\"bytes\":1000,\"failed\":0,\"elapsedSeconds\":2.0,\"endToEndMicros\":{\"p50\":250.0,\"p99\":900,\"p99.9\":4000}}\n";
        let told = perf(text, &[("endToEndMicros", NAMES)]).expect("a report");
        assert_eq!(
            (told.records, told.bytes, told.seconds),
            (10.0, 1000.0, 2.0)
        );
        assert_eq!(
            told.times,
            [("p50 ms", 0.25), ("p99 ms", 0.9), ("p99.9 ms", 4.0)]
        );
        assert!(perf(text, &[("acknowledgedMicros", NAMES)]).is_err());
        assert!(perf("", &[]).is_err());
        let failed = text.replace("\"failed\":0", "\"failed\":1");
        assert!(perf(&failed, &[]).is_err());
    }

    #[test]
    fn producer_performance_says_its_summary_last() {
        let text = "60000 records sent, 11968.9 records/sec (11.69 MB/sec), 2.0 ms avg latency, 9.0 ms max latency.\n\
            200000 records sent, 100000.5 records/sec (97.66 MB/sec), 29.24 ms avg latency, 210.00 ms max latency, 24 ms 50th, 80 ms 95th, 90 ms 99th, 120 ms 99.9th.\n";
        let told = producer_performance(text, 1024, NAMES).expect("a summary");
        assert_eq!(told.records, 200_000.0);
        assert!((told.seconds - 1.99999).abs() < 1e-4);
        assert_eq!(
            told.times,
            [("p50 ms", 24.0), ("p99 ms", 90.0), ("p99.9 ms", 120.0)]
        );
        let steady = text.replace("200000 records", "180000 steady state records");
        let told = producer_performance(&format!("{text}{steady}"), 1024, NAMES);
        assert_eq!(told.expect("a summary").records, 180_000.0);
        assert!(producer_performance("Exception", 1, NAMES).is_err());
    }

    #[test]
    fn end_to_end_latency_says_an_average() {
        let text = "0\t12.5\nAvg latency: 0.2500 ms\nPercentiles: 50th = 0, 99th = 1, 99.9th = 4\n";
        let told = end_to_end_latency(text, 4_000, 1024, "average ms").expect("an average");
        assert_eq!((told.records, told.seconds), (4_000.0, 1.0));
        assert_eq!(told.times, [("average ms", 0.25)]);
        assert!(end_to_end_latency("Exception", 1, 1, "average ms").is_err());
    }

    #[test]
    fn rdkafka_performance_says_what_was_delivered() {
        let text = "% Sending messages of size 1024 bytes\n% 1000 messages produced (1024000 bytes), 1000 delivered (offset 7, 0 failed) in 125ms: 8000 msgs/s and 8.19 MB/s, 0 produce failures, 0 in queue, no compression\n";
        let told = rdkafka_produce(text, 1024).expect("a summary");
        assert_eq!((told.records, told.seconds), (1000.0, 0.125));
        let lost = text.replace("1000 delivered", "999 delivered");
        assert!(rdkafka_produce(&lost, 1024).is_err());
    }

    #[test]
    fn consumer_performance_has_columns() {
        let text = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n\
            2026-11-21 23:00:00:000, 2026-11-21 23:00:02:000, 1000.0, 500.0, 1024000, 512000.0, 500, 1500, 666.6, 682666.6\n";
        let told = consumer_performance(text).expect("a line");
        assert_eq!((told.records, told.seconds), (1_024_000.0, 1.5));
        assert_eq!(told.bytes, 1_048_576_000.0);
        assert!(consumer_performance("x").is_err());
    }

    #[test]
    fn clients_side_by_side_take_as_long_as_the_slowest() {
        let one = Told {
            records: 1.0,
            bytes: 10.0,
            seconds: 2.0,
            times: Vec::new(),
        };
        let other = Told {
            seconds: 3.0,
            ..one.clone()
        };
        let sum = together(&[one, other]);
        assert_eq!((sum.records, sum.bytes, sum.seconds), (2.0, 20.0, 3.0));
    }
}
