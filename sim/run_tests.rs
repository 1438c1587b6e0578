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
