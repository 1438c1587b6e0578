//! A node's figures in the text format of OpenMetrics, which Prometheus reads.

use std::fmt;

use broker::node::NodeShared;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::families::{self, Scrape};
use crate::health;

/// One figure's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// It only grows while the node lives; its name ends in `_total`.
    Counter(u64),
    /// It goes up and down.
    Gauge(i64),
}

/// Figures of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    /// The name, without the `_total` of counters.
    pub name: &'static str,
    /// What is counted, and in which unit.
    pub help: &'static str,
    /// Its figures, each with its labels: all counters or all gauges; one that has no labels is alone.
    pub points: Vec<(Vec<(&'static str, String)>, Value)>,
}

/// The node's figures as they are now, as text.
pub(crate) async fn text(node: &NodeShared) -> String {
    let mut free_bytes = Vec::new();
    for directory in &node.directories {
        // A directory that cannot be asked has no figure.
        free_bytes.push(directory.free_bytes().await.ok());
    }
    let scrape = Scrape {
        quorum: health::quorum(node).await.ok(),
        free_bytes,
    };
    render(families::of(node, &scrape))
}

fn render(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(families)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes all text");
    text
}

#[derive(Debug)]
struct Collected(Vec<Family>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for family in &self.0 {
            encode_family(family, &mut encoder)?;
        }
        Ok(())
    }
}

fn encode_family(family: &Family, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
    let kind = match family.points.first() {
        None => return Ok(()),
        Some((_, Value::Counter(_))) => MetricType::Counter,
        Some((_, Value::Gauge(_))) => MetricType::Gauge,
    };
    let mut points = encoder.encode_descriptor(family.name, family.help, None, kind)?;
    for (labels, value) in &family.points {
        if labels.is_empty() {
            // An empty label set would be written as empty braces.
            encode_value(*value, points)?;
            return Ok(());
        }
        encode_value(*value, points.encode_family(labels)?)?;
    }
    Ok(())
}

fn encode_value(value: Value, encoder: MetricEncoder) -> Result<(), fmt::Error> {
    match value {
        Value::Counter(value) => ConstCounter::new(value).encode(encoder),
        Value::Gauge(value) => ConstGauge::new(value).encode(encoder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_gauges_and_labels_are_written_as_openmetrics() {
        let text = render(vec![
            Family {
                name: "a",
                help: "What a is",
                points: vec![(Vec::new(), Value::Counter(3))],
            },
            Family {
                name: "b",
                help: "What b is",
                points: vec![
                    (vec![("of", "x".to_owned())], Value::Gauge(-1)),
                    (vec![("of", "y\"".to_owned())], Value::Gauge(2)),
                ],
            },
            Family {
                name: "nothing",
                help: "Without points there is no family",
                points: Vec::new(),
            },
        ]);
        let expected = "# HELP a What a is\n# TYPE a counter\na_total 3\n\
            # HELP b What b is\n# TYPE b gauge\nb{of=\"x\"} -1\nb{of=\"y\\\"\"} 2\n# EOF\n";
        assert_eq!(text, expected);
    }
}
