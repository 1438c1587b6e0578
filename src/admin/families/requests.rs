//! What clients ask, and how long that takes.

use std::time::Duration;

use broker::metrics::{Counter, Timer, Times, Traffic};
use broker::node::NodeShared;
use types::Mono;

use crate::figures::{self, Figure};
use crate::metrics::{Family, Value};

/// The shares that Kafka's histograms show, as the exporter writes them.
const QUANTILES: [(&str, f64); 6] = [
    ("0.50", 0.5),
    ("0.75", 0.75),
    ("0.95", 0.95),
    ("0.98", 0.98),
    ("0.99", 0.99),
    ("0.999", 0.999),
];
/// Kafka counts a Fetch once more by who asks: here nobody but consumers does.
const FETCH_CONSUMER: &str = "FetchConsumer";

/// What is done with topics, each and all.
pub(super) fn traffic(node: &NodeShared) -> Vec<Family> {
    let topics = node.metrics.topics.all();
    let family = |figure, which: fn(&Traffic) -> &Counter| {
        let value = |traffic: &Traffic| Value::Unsigned(which(traffic).get());
        let each = topics
            .iter()
            .map(|(topic, traffic)| (vec![topic.to_string()], value(traffic)));
        let mut points: Vec<_> = each.collect();
        points.push((Vec::new(), value(&node.metrics.traffic)));
        Family { figure, points }
    };
    vec![
        family(figures::MESSAGES_IN, |t| &t.messages_in),
        family(figures::BYTES_IN, |t| &t.bytes_in),
        family(figures::BYTES_OUT, |t| &t.bytes_out),
        family(figures::PRODUCES, |t| &t.produces),
        family(figures::FAILED_PRODUCES, |t| &t.failed_produces),
        family(figures::FETCHES, |t| &t.fetches),
        family(figures::FAILED_FETCHES, |t| &t.failed_fetches),
    ]
}

/// Requests by API: how many, and how long they take.
pub(super) fn requests(node: &NodeShared) -> Vec<Family> {
    let requests = &node.metrics.requests;
    let mut points = Vec::new();
    for (key, version, seen) in requests.seen() {
        for name in names(key.name()) {
            let labels = vec![name.to_owned(), version.to_string()];
            points.push((labels, Value::Unsigned(seen)));
        }
    }
    let mut families = vec![Family {
        figure: figures::REQUESTS,
        points,
    }];
    let phases: [(Figure, Figure, fn(&Times) -> &Timer); 4] = [
        (figures::LOCAL_TIME, figures::LOCAL_TIME_COUNT, |t| &t.local),
        (figures::REMOTE_TIME, figures::REMOTE_TIME_COUNT, |t| {
            &t.remote
        }),
        (
            figures::RESPONSE_QUEUE_TIME,
            figures::RESPONSE_QUEUE_TIME_COUNT,
            |t| &t.response_queue,
        ),
        (figures::TOTAL_TIME, figures::TOTAL_TIME_COUNT, |t| &t.total),
    ];
    let now = node.clock.now().mono;
    for (times, counts, timer) in phases {
        families.extend(phase(node, now, times, counts, timer));
    }
    families
}

fn phase(
    node: &NodeShared,
    now: Mono,
    times: Figure,
    counts: Figure,
    timer: fn(&Times) -> &Timer,
) -> [Family; 2] {
    let mut quantiles = Vec::new();
    let mut answers = Vec::new();
    for (key, api) in node.metrics.requests.times() {
        let timer = timer(api);
        let found = timer.quantiles(now, QUANTILES.map(|(_, share)| share));
        for name in names(key.name()) {
            answers.push((vec![name.to_owned()], Value::Unsigned(timer.count())));
            for ((quantile, _), time) in QUANTILES.iter().zip(found.iter().flatten()) {
                let labels = vec![name.to_owned(), (*quantile).to_owned()];
                quantiles.push((labels, Value::Float(millis(*time))));
            }
        }
    }
    let family = |figure, points| Family { figure, points };
    [family(times, quantiles), family(counts, answers)]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The names under which an API is counted.
fn names(api: &'static str) -> impl Iterator<Item = &'static str> {
    let more = (api == "Fetch").then_some(FETCH_CONSUMER);
    [api].into_iter().chain(more)
}
