//! `millrace perf`: what it says it has sent is there, and what it cannot do it says.

use serde_json::Value;

use crate::harness::Node;

fn report(node: &Node, line: &str) -> Value {
    node.json(line).remove(0)
}

fn count(report: &Value, name: &str) -> u64 {
    report[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} of {report}"))
}

#[test]
fn a_load_at_a_rate_is_sent_whole_and_read_whole() {
    let node = Node::start();
    node.does("topic create t --partitions 3");
    let sent = report(
        &node,
        "perf produce t --rate 1000 --seconds 1 --warmup-seconds 1 --size 100 --producers 2",
    );
    // An open loop sends what is due, however fast the machine is.
    assert_eq!(count(&sent, "records"), 1_000);
    assert_eq!(count(&sent, "bytes"), 100_000);
    assert_eq!(count(&sent, "failed"), 0);
    let p50 = sent["acknowledgedMicros"]["p50"].as_f64();
    assert!(p50.is_some_and(|micros| micros > 0.0), "{sent}");
    let read = report(&node, "perf consume t --records 2000 --consumers 2");
    assert_eq!(count(&read, "records"), 2_000, "those of the warm-up too");
    assert_eq!(count(&read, "bytes"), 200_000);
}

#[test]
fn records_that_are_due_reach_the_consumer() {
    let node = Node::start();
    node.does("topic create t --partitions 2");
    let said = node.run_with("produce t", "one that was there before\n");
    assert_eq!(said.code, 0, "{said:?}");
    let report = report(
        &node,
        "perf latency t --rate 500 --seconds 1 --warmup-seconds 1 --size 64 --acks 1",
    );
    assert_eq!(count(&report, "records"), 500);
    let micros = |name: &str| report[name]["p50"].as_f64().expect("a time");
    assert!(micros("endToEndMicros") > 0.0 && micros("acknowledgedMicros") > 0.0);
}

#[test]
fn as_fast_as_may_be_ends_in_time_in_a_group_too() {
    let node = Node::start();
    node.does("topic create t --partitions 2");
    let sent = report(&node, "perf produce t --seconds 1 --size 1000 --acks 1");
    let records = count(&sent, "records");
    assert!(records > 0);
    let line = format!("perf consume t --group g --consumers 2 --records {records}");
    assert_eq!(count(&report(&node, &line), "records"), records);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let node = Node::start();
    node.does("topic create t");
    for (line, reason) in [
        ("perf produce nowhere --seconds 1", "nowhere does not exist"),
        ("perf consume nowhere", "nowhere does not exist"),
        ("perf latency t --seconds 1", "--rate"),
        ("perf latency t --rate 10 --seconds 1 --size 8", "--size 8"),
        ("perf produce t --rate x", "records a second"),
        ("perf produce t --size 0", "expected bytes"),
        ("perf produce t --in-flight 9 --seconds 1", "in flight"),
    ] {
        let said = node.run(line);
        assert_ne!(said.code, 0, "{line}");
        assert!(said.err.contains(reason), "{line}: {said:?}");
    }
}
