//! `group reset-offsets`: every way to say where to.

use serde_json::{Value, json};

use crate::harness::Node;

/// A topic with five records, each produced later than the one before, and a group that has read four; gives their
/// timestamps.
fn prepare(node: &Node) -> Vec<i64> {
    node.does("topic create t");
    let mut last = 0;
    let mut timestamps = Vec::new();
    while timestamps.len() < 5 {
        let said = node.run_with("produce t --json", "value\n");
        assert_eq!(said.code, 0, "{said:?}");
        let timestamp = said.json()[0]["timestamp"].as_i64().expect("a timestamp");
        assert!(timestamp > last, "two processes within one millisecond");
        last = timestamp;
        timestamps.push(timestamp);
    }
    node.does("consume t --group g --from-beginning --max-messages 4");
    assert_eq!(committed(node), 4);
    timestamps
}

fn committed(node: &Node) -> i64 {
    let said = node.json("group describe g");
    let offset = &said[0][0]["offsets"][0]["committedOffset"];
    offset.as_i64().unwrap_or_else(|| panic!("{said:?}"))
}

fn reset(node: &Node, target: &str) -> Value {
    let mut said = node.json(&format!("group reset-offsets g --topic t {target}"));
    said.remove(0)
}

#[test]
fn offsets_move_where_they_are_told() {
    let node = Node::start();
    let timestamps = prepare(&node);
    let by_time = |millis: i64| format!("--to-timestamp {millis}");
    let table = [
        ("--to-earliest".to_owned(), 0),
        ("--shift-by 3".to_owned(), 3),
        ("--shift-by -2".to_owned(), 1),
        ("--shift-by -9".to_owned(), 0),
        ("--to-latest".to_owned(), 5),
        ("--shift-by 1".to_owned(), 5),
        ("--to-offset 2".to_owned(), 2),
        ("--to-offset 99".to_owned(), 5),
        (by_time(timestamps[1]), 1),
        (by_time(timestamps[2] - 1), 2),
        (by_time(timestamps[2] + 1), 3),
        (by_time(0), 0),
        (by_time(timestamps[4] + 1), 5),
    ];
    let mut before = 4;
    for (target, expected) in table {
        let shown = reset(&node, &target);
        assert_eq!(shown["executed"], false, "{target}");
        assert_eq!(committed(&node), before, "{target} without --execute");
        let done = reset(&node, &format!("{target} --execute"));
        let offset = json!({
            "topic": "t",
            "partition": 0,
            "previousOffset": before,
            "newOffset": expected,
            "startOffset": 0,
            "endOffset": 5,
        });
        assert_eq!(
            done,
            json!({"executed": true, "offsets": [offset]}),
            "{target}"
        );
        assert_eq!(committed(&node), expected, "{target}");
        before = expected;
    }
    // The group goes on where it was put.
    reset(&node, "--to-offset 3 --execute");
    let rest = node.json("consume t --group g --max-messages 2");
    let read: Vec<_> = rest.iter().map(|record| &record["offset"]).collect();
    assert_eq!(read, [&json!(3), &json!(4)]);
    node.stop();
}

#[test]
fn what_cannot_be_moved_is_refused() {
    let node = Node::start();
    node.does("topic create t");
    let table = [
        (
            "group reset-offsets g --topic t --shift-by 1",
            "no offset to shift",
            1,
        ),
        (
            "group reset-offsets g --topic none --to-latest",
            "topic none does not exist",
            1,
        ),
        (
            "group reset-offsets g --topic t:7 --to-latest",
            "no partition 7",
            1,
        ),
        (
            "group reset-offsets g --all-topics --to-latest",
            "has no offsets",
            1,
        ),
        (
            "group reset-offsets g --to-latest",
            "--topic or --all-topics",
            1,
        ),
        ("group reset-offsets g --topic t", "--to-earliest", 2),
        (
            "group reset-offsets g --topic t --to-latest --to-earliest",
            "cannot be used with",
            2,
        ),
        (
            "group reset-offsets g --topic t --to-timestamp soon",
            "--to-timestamp",
            2,
        ),
    ];
    for (line, reason, code) in table {
        let said = node.run(line);
        assert_eq!(
            (said.code, said.out.as_str()),
            (code, ""),
            "{line}: {said:?}"
        );
        assert!(said.err.contains(reason), "{line}: {said:?}");
    }
    node.stop();
}
