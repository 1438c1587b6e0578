//! `--json` on every subcommand: every line of its output is JSON.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::{Node, run_in};

/// The subcommands that a help page lists.
fn listed(folder: &Path, words: &[&str]) -> Vec<String> {
    let mut line = words.to_vec();
    line.push("--help");
    let said = run_in(folder, &line, "");
    let Some((_, rest)) = said.out.split_once("Commands:\n") else {
        return Vec::new();
    };
    let lines = rest.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Every subcommand that does something.
fn leaves(folder: &Path) -> BTreeSet<String> {
    let mut leaves = BTreeSet::new();
    for command in listed(folder, &[]) {
        let below = listed(folder, &[&command]);
        if below.is_empty() {
            leaves.insert(command);
        } else {
            leaves.extend(below.into_iter().map(|leaf| format!("{command} {leaf}")));
        }
    }
    leaves
}

#[test]
fn every_subcommand_says_json() {
    let node = Node::start();
    let mut tried = BTreeSet::new();
    let mut say = |leaf: &str, rest: &str, input: &str| {
        tried.insert(leaf.to_owned());
        let line = format!("{leaf} {rest} --json");
        let said = node.run_with(&line, input);
        assert_eq!(said.code, 0, "{line}: {said:?}");
        let values = said.json();
        assert!(!values.is_empty(), "{line} says nothing");
        assert!(
            values.iter().all(|v| v.is_object() || v.is_array()),
            "{line}: {said:?}"
        );
    };
    say("topic create", "t --partitions 2", "");
    say("topic list", "", "");
    say("topic describe", "t", "");
    say("topic alter", "t --partitions 3", "");
    say("produce", "t", "one\ntwo\n");
    say(
        "consume",
        "t --from-beginning --max-messages 2 --group g",
        "",
    );
    say("group list", "", "");
    say("group describe", "g", "");
    say("group reset-offsets", "g --all-topics --to-earliest", "");
    say("group delete", "g", "");
    say("config describe", "--topic t --all", "");
    say("config alter", "--topic t --set retention.ms=5000", "");
    say("perf produce", "t --rate 500 --seconds 1 --size 100", "");
    say("perf consume", "t --records 400", "");
    say("perf latency", "t --rate 500 --seconds 1 --size 100", "");
    say("topic delete", "t", "");
    without_a_broker(node.folder(), &mut tried);
    let mut expected = leaves(node.folder());
    // It says when it is ready, and logs as JSON by --log-format.
    expected.remove("serve");
    assert_eq!(tried, expected);
    let folder = node.stop();
    let folder = folder.path();
    let log = "millrace-data/__cluster_metadata-0/00000000000000000000.log";
    let dumped = run_in(folder, &["dump-log", log, "--json"], "");
    assert_eq!(dumped.code, 0, "{dumped:?}");
    assert!(dumped.json().len() > 5, "{dumped:?}");
}

fn without_a_broker(folder: &Path, tried: &mut BTreeSet<String>) {
    let place = "log.dirs=other";
    let format = ["format", "--override", place, "--json"];
    let said = run_in(folder, &format, "");
    assert_eq!((said.code, said.json().len()), (0, 1), "{said:?}");
    tried.insert("format".to_owned());
    tried.insert("dump-log".to_owned());
    // A log that is whole has nothing to be cut: an error, and no half of an answer.
    let cut = [
        "truncate-fenced",
        "--override",
        place,
        "--partition",
        "t-0",
        "--json",
    ];
    let said = run_in(folder, &cut, "");
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    tried.insert("truncate-fenced".to_owned());
}
