//! `config describe` and `config alter`, and what is said to wrong values.

use serde_json::{Value, json};

use crate::harness::{Node, run_in};

const KEY: &str = "log.retention.ms";

/// Value and source of a broker's config.
fn described(node: &Node, resource: &str) -> (Value, Value) {
    let said = node.json(&format!("config describe {resource} --key {KEY}"));
    let config = &said[0][0];
    assert_eq!(config["name"], KEY);
    (config["value"].clone(), config["source"].clone())
}

#[test]
fn a_brokers_configs_are_described_and_altered() {
    let node = Node::start();
    let fresh = (Value::Null, json!("DEFAULT_CONFIG"));
    assert_eq!(described(&node, "--broker 1"), fresh);
    let set = format!("--set {KEY}=3600000");
    let asked = node.json(&format!("config alter --broker 1 {set} --validate-only"));
    assert_eq!(
        asked[0],
        json!({"resource": "broker 1", "keys": [KEY], "altered": false})
    );
    assert_eq!(described(&node, "--broker 1"), fresh, "nothing was changed");

    let altered = node.does(&format!("config alter --broker 1 {set}"));
    assert_eq!(altered.out, format!("broker 1: {KEY} altered\n"));
    let own = (json!("3600000"), json!("DYNAMIC_BROKER_CONFIG"));
    assert_eq!(described(&node, "--broker 1"), own);
    let table = node.does("config describe --broker 1").out;
    let row = table.lines().find(|line| line.starts_with(KEY));
    let cells: Vec<_> = row
        .expect("what is set is shown")
        .split_whitespace()
        .collect();
    assert_eq!(cells, [KEY, "3600000", "DYNAMIC_BROKER_CONFIG", "LONG"]);
    assert!(!table.contains("log.cleanup.policy"), "{table}");
    let all = node.does("config describe --broker 1 --all").out;
    assert!(all.contains("log.cleanup.policy"), "{all}");

    node.does(&format!(
        "config alter --broker-defaults --set {KEY}=7200000"
    ));
    assert_eq!(described(&node, "--broker 1"), own, "its own comes first");
    node.does(&format!("config alter --broker 1 --delete {KEY}"));
    let default = (json!("7200000"), json!("DYNAMIC_DEFAULT_BROKER_CONFIG"));
    assert_eq!(described(&node, "--broker 1"), default);
    node.stop();
}

#[test]
fn a_wrong_value_is_refused_by_key_value_and_what_is_allowed() {
    let node = Node::start();
    node.does("topic create t");
    let table = [
        (
            "config alter --broker 1 --set log.segment.bytes=3",
            vec!["broker 1", "log.segment.bytes", "3", "at least 1048576"],
        ),
        (
            "config alter --broker 1 --set log.retention.ms=abc",
            vec!["log.retention.ms", "abc", "64-bit number"],
        ),
        (
            "config alter --broker 1 --set node.id=2",
            vec!["node.id", "only be set in the broker's configuration file"],
        ),
        (
            "config alter --broker 1 --set log.retensoin.ms=2",
            vec!["log.retensoin.ms", "log.retention.ms"],
        ),
        (
            "config alter --topic t --set min.insync.replicas=0",
            vec!["topic t", "min.insync.replicas", "0", "at least 1"],
        ),
        (
            "topic create u --config retention.ms=x",
            vec!["topic u", "retention.ms", "x", "at least -1"],
        ),
        (
            "config alter --topic t --set cleanup.policy=burn",
            vec!["cleanup.policy", "burn", "compact", "delete"],
        ),
    ];
    for (line, words) in table {
        let said = node.run(line);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{line}: {said:?}");
        assert!(said.err.starts_with("error: "), "{said:?}");
        for word in words {
            assert!(said.err.contains(word), "{line}: {word} in {}", said.err);
        }
    }
    // What cannot be meant at all is a matter of usage.
    for line in [
        "config describe",
        "config alter --topic t --set novalue",
        "topic",
        "nonsense",
    ] {
        let said = node.run(line);
        assert_eq!(said.code, 2, "{line}: {said:?}");
        assert!(
            said.err.contains("--help") || said.err.contains("Usage: millrace"),
            "{line}: {said:?}"
        );
    }
    node.stop();
}

#[test]
fn a_wrong_value_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = [
        ("num.partitions=0", "at least 1"),
        ("log.cleanup.policy=burn", "compact"),
        ("listeners=PLAINTEXT://127.0.0.1:x", "NAME://host:port"),
        ("broker.id=7", "node.id"),
    ];
    for (given, allowed) in table {
        let line = ["serve", "--http", "off", "--override", given];
        let said = run_in(folder.path(), &line, "");
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{given}: {said:?}");
        let (key, value) = given.split_once('=').expect("key=value");
        for word in [key, value, allowed] {
            let found = said.err.matches(word).count();
            assert!(found >= 1, "{given}: {word} in {}", said.err);
        }
        assert_eq!(
            said.err.matches("Invalid value").count(),
            1,
            "said once: {}",
            said.err
        );
    }
    assert!(
        !folder.path().join("millrace-data").exists(),
        "nothing was formatted"
    );
}
