//! What a run took.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::output::{self, Table};

/// The longest time that is told apart, in nanoseconds: longer ones count as this.
const NANOS_MAX: u64 = 3_600_000_000_000;
/// What of a distribution is told.
const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
];

/// A distribution of times, to three digits.
pub(super) struct Times {
    histogram: Histogram<u64>,
}

impl Times {
    pub fn new() -> Times {
        let histogram = Histogram::new_with_bounds(1, NANOS_MAX, 3);
        Times {
            histogram: histogram.expect("the bounds are sound"),
        }
    }

    /// Takes a time in.
    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanos.max(1));
    }

    /// Takes in all that another has.
    pub fn add(&mut self, other: &Times) {
        let added = self.histogram.add(&other.histogram);
        added.expect("both have the same bounds");
    }

    fn micros(&self, percentile: f64) -> f64 {
        in_micros(self.histogram.value_at_percentile(percentile) as f64)
    }

    fn named(&self) -> Vec<(&'static str, f64)> {
        let mut named: Vec<_> = PERCENTILES
            .iter()
            .map(|&(name, percentile)| (name, self.micros(percentile)))
            .collect();
        named.insert(0, ("mean", in_micros(self.histogram.mean())));
        named.push(("max", in_micros(self.histogram.max() as f64)));
        named
    }
}

fn in_micros(nanos: f64) -> f64 {
    (nanos / 10.0).round() / 100.0
}

/// What was measured.
pub(super) struct Report {
    /// Records that came through.
    pub records: u64,
    /// Their bytes, as they were counted.
    pub bytes: u64,
    /// Records that failed.
    pub failed: u64,
    /// How long it took, from the first record's due time to the last answer.
    pub elapsed: Duration,
    /// The processor's time that this program used meanwhile.
    pub cpu_time: Duration,
    /// The distributions, by name.
    pub times: Vec<(&'static str, Times)>,
}

impl Report {
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The report as JSON: times in microseconds.
    fn json(&self) -> Value {
        let mut object = json!({
            "records": self.records,
            "bytes": self.bytes,
            "failed": self.failed,
            "elapsedSeconds": self.elapsed.as_secs_f64(),
            "clientCpuSeconds": self.cpu_time.as_secs_f64(),
            "recordsPerSecond": self.per_second(self.records),
            "bytesPerSecond": self.per_second(self.bytes),
        });
        for (name, times) in &self.times {
            let mut distribution = Map::new();
            for (name, micros) in times.named() {
                distribution.insert(name.to_owned(), json!(micros));
            }
            object[format!("{name}Micros")] = Value::Object(distribution);
        }
        object
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} records, {:.1} MB in {:.2} s: {:.0} records/s, {:.1} MB/s; {} failed; this program used {:.2} CPU-s\n",
            self.records,
            self.bytes as f64 / 1e6,
            self.elapsed.as_secs_f64(),
            self.per_second(self.records),
            self.per_second(self.bytes) / 1e6,
            self.failed,
            self.cpu_time.as_secs_f64(),
        );
        if self.times.is_empty() {
            return text;
        }
        let mut headings = vec!["MICROSECONDS"];
        let names = Times::new().named();
        headings.extend(names.iter().map(|&(name, _)| name));
        let mut table = Table::new(&headings);
        for (name, times) in &self.times {
            let mut cells = vec![(*name).to_owned()];
            cells.extend(times.named().iter().map(|(_, micros)| micros.to_string()));
            table.row(cells);
        }
        text.push_str(&table.render());
        text
    }

    /// Says it on standard output.
    ///
    /// # Errors
    /// Those of standard output, and if records failed.
    pub fn say(&self, is_json: bool) -> Result<()> {
        match is_json {
            true => output::json(&self.json())?,
            false => output::print(&self.text())?,
        }
        anyhow::ensure!(self.failed == 0, "{} records failed", self.failed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_told_in_microseconds() {
        let (mut times, mut others) = (Times::new(), Times::new());
        for micros in 1..=900 {
            times.record(Duration::from_micros(micros));
        }
        for micros in 901..=1_000 {
            others.record(Duration::from_micros(micros));
        }
        times.add(&others);
        let named = times.named();
        let of = |wanted: &str| named.iter().find(|(name, _)| *name == wanted);
        for (name, micros) in [
            ("p50", 500.0),
            ("p99", 990.0),
            ("max", 1_000.0),
            ("mean", 500.5),
        ] {
            let found = of(name).expect("it is told").1;
            assert!((found - micros).abs() <= micros / 500.0, "{name}: {found}");
        }
    }

    #[test]
    fn a_time_out_of_range_is_the_longest_there_is() {
        let mut times = Times::new();
        times.record(Duration::MAX);
        times.record(Duration::ZERO);
        assert!(times.micros(100.0) >= in_micros(NANOS_MAX as f64));
    }

    #[test]
    fn a_report_has_rates_and_fails_if_records_did() {
        let mut report = Report {
            records: 2_000,
            bytes: 4_000_000,
            failed: 0,
            elapsed: Duration::from_secs(2),
            cpu_time: Duration::from_millis(500),
            times: vec![("acknowledged", Times::new())],
        };
        let json = report.json();
        assert_eq!(json["recordsPerSecond"], 1_000.0);
        assert_eq!(json["bytesPerSecond"], 2_000_000.0);
        assert!(json["acknowledgedMicros"]["p99.9"].is_number());
        assert!(report.text().starts_with("2000 records, 4.0 MB in 2.00 s"));
        report.failed = 1;
        assert!(report.say(true).is_err());
    }
}
