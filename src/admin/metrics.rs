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
use crate::figures::{Figure, Kind};
use crate::health;

/// One figure's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// Never below 0.
    Unsigned(u64),
    /// Perhaps below 0.
    Signed(i64),
    /// Between whole numbers.
    Float(f64),
}

/// Figures of one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// What they are.
    pub figure: Figure,
    /// The figures, each with its labels' values: all labels or none; one that has none comes last.
    pub points: Vec<(Vec<String>, Value)>,
}

impl Family {
    /// A single figure without labels.
    pub fn one(figure: Figure, value: Value) -> Family {
        Family {
            figure,
            points: vec![(Vec::new(), value)],
        }
    }
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
        shards: node.figures().await,
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
    if family.points.is_empty() {
        return Ok(());
    }
    let Figure {
        name,
        kind,
        labels,
        help,
    } = family.figure;
    let shown = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        // To OpenMetrics a counter ends in `_total`.
        Kind::Count => MetricType::Unknown,
    };
    let mut points = encoder.encode_descriptor(name, help, None, shown)?;
    for (values, value) in &family.points {
        if values.is_empty() {
            // An empty label set would be written as empty braces.
            return encode_value(kind, *value, points);
        }
        assert_eq!(values.len(), labels.len(), "the labels of {name}");
        let labelled: Vec<_> = labels.iter().copied().zip(values.iter()).collect();
        encode_value(kind, *value, points.encode_family(&labelled)?)?;
    }
    Ok(())
}

fn encode_value(kind: Kind, value: Value, encoder: MetricEncoder) -> Result<(), fmt::Error> {
    match (kind, value) {
        (Kind::Counter, Value::Unsigned(value)) => ConstCounter::new(value).encode(encoder),
        (Kind::Counter, _) => panic!("a counter is a whole number"),
        (_, Value::Unsigned(value)) => ConstGauge::new(value).encode(encoder),
        (_, Value::Signed(value)) => ConstGauge::new(value).encode(encoder),
        (_, Value::Float(value)) => ConstGauge::new(value).encode(encoder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn figure(name: &'static str, kind: Kind, labels: &'static [&'static str]) -> Figure {
        Figure {
            name,
            kind,
            labels,
            help: "What it is",
        }
    }

    #[test]
    fn counters_gauges_and_labels_are_written_as_openmetrics() {
        let labelled = |value: &str| vec![value.to_owned()];
        let text = render(vec![
            Family {
                figure: figure("a", Kind::Counter, &["of"]),
                points: vec![
                    (labelled("x"), Value::Unsigned(1)),
                    (Vec::new(), Value::Unsigned(3)),
                ],
            },
            Family {
                figure: figure("b", Kind::Gauge, &["of"]),
                points: vec![
                    (labelled("x"), Value::Signed(-1)),
                    (labelled("y\""), Value::Float(0.5)),
                ],
            },
            Family::one(figure("c_count", Kind::Count, &[]), Value::Unsigned(7)),
            Family {
                figure: figure("nothing", Kind::Gauge, &[]),
                points: Vec::new(),
            },
        ]);
        let expected = "# HELP a What it is\n# TYPE a counter\na_total{of=\"x\"} 1\na_total 3\n\
            # HELP b What it is\n# TYPE b gauge\nb{of=\"x\"} -1\nb{of=\"y\\\"\"} 0.5\n\
            # HELP c_count What it is\n# TYPE c_count unknown\nc_count 7\n# EOF\n";
        assert_eq!(text, expected);
    }
}
