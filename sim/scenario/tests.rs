use super::*;
use crate::plan::{Event, When};
use crate::verdict::{GENERATOR, PlantedRun, Report};

const STORY: &str = r#"
format = 1
title = "the power goes between write and sync"
expect = "red by S12"
must_hit = ["power-loss-lost-writes"]

[base]
seed = 42
profile = "calm"

[broker]
cores = 1
options = { "internal.segment.bytes" = "2048" }

[link]
latency_us = 77

[[faults]]
when = "sync #2 of .log on broker-1 after 3 s"
for_ms = 500
kind = "power-loss"
node = "broker-1"
survival = "none"
"#;

fn story() -> Scenario {
    Scenario::parse(STORY).expect("a good story")
}

#[test]
fn a_base_is_changed() {
    let (story, base) = (story(), generate(42, Profile::Calm));
    assert_eq!(story.expect, Expectation::Red("S12".into()));
    assert_eq!(story.plan.clients, base.clients);
    assert_eq!(story.plan.link.latency_us, 77);
    assert_eq!(story.plan.link.jitter_us, base.link.jitter_us);
    assert_eq!(story.plan.brokers[0].cores, 1);
    let options = &story.plan.brokers[0].options;
    assert_eq!(options["internal.segment.bytes"], "2048");
    assert_eq!(options.len(), base.brokers[0].options.len());
    let event = Event {
        kind: "sync".into(),
        node: "broker-1".into(),
        contains: ".log".into(),
        nth: 2,
        after_ms: 3_000,
        before_ms: 0,
    };
    assert_eq!(story.plan.faults[0].when, When::Event(event));
    assert_eq!(story.plan.faults[0].for_ms, 500);
}

#[test]
fn the_scenario_of_a_seed_is_its_plan() {
    for seed in 0..40 {
        let plan = generate(seed, Profile::All);
        let text = of_seed(seed, Profile::All);
        let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(scenario.plan.faults, plan.faults, "{text}");
        assert_eq!(scenario.plan.clients, plan.clients);
    }
}

#[test]
fn a_whole_plan_is_a_scenario() {
    let plan = generate(5, Profile::Swarm);
    let text = format!("title = \"a seed\"\n{}", plan.to_text());
    let scenario = Scenario::parse(&text).expect("a plan");
    assert_eq!(scenario.plan, plan);
    assert_eq!(scenario.expect, Expectation::Green);
}

#[test]
fn a_wrong_story_says_where_and_why() {
    for (from, to, said) in [
        ("red by S12", "blue", "expect: `green` or `red by CHECKER`"),
        ("seed = 42", "sed = 42", "base: "),
        ("format = 1", "format = 7", "format: 7"),
        ("cores = 1", "cores = 9", "brokers[0].cores"),
        ("cores = 1", "croes = 1", "broker: "),
        ("[link]", "[lnik]", "lnik: a scenario has no such part"),
        ("sync #2", "sync 2nd", "faults[0]: when: "),
        ("after 3 s", "after", "it ends too early"),
        ("survival = \"none\"", "survival = \"some\"", "faults[0]: "),
        (
            "node = \"broker-1\"\n",
            "",
            "faults[0]: missing field `node`",
        ),
        ("must_hit", "planted = 7\nmust_hit", "planted: "),
    ] {
        assert!(STORY.contains(from), "{from}");
        let error = Scenario::parse(&STORY.replacen(from, to, 1)).expect_err(to);
        assert!(error.to_string().contains(said), "{error}");
    }
}

fn verdict(color: Color, checker: &str) -> Verdict {
    let report = Report {
        checker: checker.into(),
        object: "t0-0".into(),
        message: "gone".into(),
        at_us: 1,
    };
    Verdict {
        seed: 42,
        profile: Profile::Calm,
        generator: GENERATOR,
        commit: String::new(),
        color,
        reports: Vec::from_iter((color == Color::Red).then_some(report)),
        trace_hash: String::new(),
        events: 1,
        simulated_ms: 1,
        cpu_ms: 1,
        faults: BTreeMap::from([("power-loss-none-survives".into(), 1)]),
        marks: BTreeMap::new(),
        missed: Vec::new(),
        operations: BTreeMap::new(),
        work: BTreeMap::new(),
        planted: None,
    }
}

#[test]
fn a_story_that_does_not_happen_is_stale() {
    let story = story();
    let as_told = verdict(Color::Red, "S12");
    assert_eq!(story.judge(&as_told).exit_code(), 0);
    assert_eq!(story.judge(&verdict(Color::Red, "H3")).exit_code(), 1);
    assert_eq!(story.judge(&verdict(Color::Green, "")).exit_code(), 1);
    let mut other = as_told.clone();
    other.faults.clear();
    let ending = story.judge(&other);
    assert_eq!(
        ending,
        Ending::Stale(vec!["fault power-loss-none-survives (0 of 1)".into()])
    );
    let mut other = as_told.clone();
    other.missed = vec!["killed".into()];
    assert_eq!(story.judge(&other).exit_code(), 3);
    let mut other = as_told;
    other.planted = Some(PlantedRun {
        name: "TornTailKept".into(),
        activations: 0,
    });
    assert_eq!(story.judge(&other).exit_code(), 3);
}

#[test]
fn a_plain_story_needs_few_words() {
    let text = r#"
format = 1
title = "a few sends"
must_hit = ["replica #3 on broker-1 after 1 s before 9 s", "connection-reset"]
topics = [{ name = "t0", partitions = 1 }]
base = { seed = 1 }

[[clients]]
role = "producer"
steps = ["1000..1500/200 send t0 0 1 10", "1300 crash"]
"#;
    let scenario = Scenario::parse(text).expect("a good story");
    let steps: Vec<String> = scenario.plan.clients[0]
        .steps
        .iter()
        .map(ToString::to_string)
        .collect();
    let wanted = [
        "1000 send t0 0 1 10",
        "1200 send t0 0 1 10",
        "1300 crash",
        "1400 send t0 0 1 10",
    ];
    assert_eq!(steps, wanted);
    let event = event_of(&scenario.plan.must_hit[0]).expect("an event");
    assert_eq!(
        (event.nth, event.after_ms, event.before_ms),
        (3, 1_000, 9_000)
    );
    for (from, to, said) in [
        (
            "connection-reset",
            "connection-rest",
            "must_hit: `connection-rest`",
        ),
        ("1000..1500/200", "1000..1500", "clients[0]: "),
    ] {
        let error = Scenario::parse(&text.replace(from, to)).expect_err(to);
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// Every scenario that is kept: name and text.
pub(super) fn files() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fault-scenarios");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = std::fs::read_to_string(&path).expect("it can be read");
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    files
}

#[test]
fn every_scenario_that_is_kept_says_what_must_happen() {
    let files = files();
    assert!(files.len() >= 12, "{}", files.len());
    for (name, text) in files {
        let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!scenario.title.is_empty(), "{name}: it has no title");
        assert!(
            !scenario.plan.must_hit.is_empty(),
            "{name}: it has no marks"
        );
    }
}
