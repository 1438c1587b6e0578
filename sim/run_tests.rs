//! Whole runs.

use super::*;
use crate::plan::{Profile, generate};

/// Runs a seed on a thread of its own, as its hash tables want it; the hash of its trace, and what checkers did.
fn traced(seed: u64, without_checkers: bool) -> (String, u64, BTreeMap<String, u64>) {
    let whole = move || {
        let options = Options {
            without_checkers,
            ..Options::default()
        };
        let verdict = run(&generate(seed, Profile::All), options).verdict;
        (verdict.trace_hash, verdict.events, verdict.work)
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a world needs a thread that has hashed nothing"
    )]
    let thread = std::thread::spawn(whole);
    thread.join().expect("a run tells what it finds")
}

#[test]
fn judging_changes_nothing() {
    for seed in 1..=6 {
        let (hash, events, judged) = traced(seed, false);
        let (unseen_hash, unseen_events, unjudged) = traced(seed, true);
        assert_eq!((hash, events), (unseen_hash, unseen_events), "seed {seed}");
        let missing = ["H3", "H16", "S7", "S12", "S13", "S28", "L10"];
        for checker in missing {
            assert!(
                judged.contains_key(checker),
                "seed {seed}: {checker} saw nothing"
            );
        }
        assert!(!unjudged.contains_key("S7"), "seed {seed}");
    }
}

/// A short calm run of a plan that was changed; the checkers that found something.
fn found(change: fn(&mut Plan)) -> Vec<String> {
    let mut plan = generate(3, Profile::Calm);
    plan.duration_ms = 5_000;
    for client in &mut plan.clients {
        client.steps.retain(|step| step.at_ms < 5_000);
    }
    change(&mut plan);
    #[expect(
        clippy::disallowed_methods,
        reason = "a world needs a thread that has hashed nothing"
    )]
    let thread = std::thread::spawn(move || run(&plan, Options::default()).verdict);
    let verdict = thread.join().expect("a run tells what it finds");
    let mut names: Vec<String> = verdict.reports.into_iter().map(|one| one.checker).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn what_must_come_after_healing_is_missed_if_it_does_not() {
    let cases: [(&str, fn(&mut Plan), &str); 4] = [
        ("a sound cluster", |_| {}, ""),
        (
            "no batch is small enough",
            |plan| {
                let configs = &mut plan.topics[0].configs;
                configs.insert("max.message.bytes".into(), "1".into());
            },
            "L4",
        ),
        (
            "a group holds one member, the judge has two",
            |plan| {
                let options = &mut plan.brokers[0].options;
                options.insert("group.max.size".into(), "1".into());
            },
            "L7",
        ),
        (
            "links are too slow for a group to settle",
            |plan| plan.link.bytes_per_second = 200,
            "L7",
        ),
    ];
    for (name, change, expected) in cases {
        let found = found(change);
        let is_as_expected = match expected {
            "" => found.is_empty(),
            checker => found.iter().any(|one| one == checker),
        };
        assert!(is_as_expected, "{name}: {found:?}");
    }
}
