use super::*;
use crate::verdict::{PlantedRun, Report};

fn subject(shard: Shard) -> Subject {
    Subject {
        commit: "c0ffee".into(),
        profile: Profile::All,
        planted: None,
        start: 0,
        shard,
    }
}

fn verdict(seed: u64) -> Verdict {
    let is_red = seed % 5 == 3;
    let report = Report {
        checker: "S12".into(),
        object: "t0-0".into(),
        message: "offset 7 is gone".into(),
        at_us: 1_000,
    };
    Verdict {
        seed,
        profile: Profile::All,
        generator: GENERATOR,
        commit: String::new(),
        color: if is_red { Color::Red } else { Color::Green },
        reports: Vec::from_iter(is_red.then_some(report)),
        trace_hash: "0".into(),
        events: 10,
        simulated_ms: 120_000,
        cpu_ms: 400,
        faults: BTreeMap::from([("kill".into(), seed), ("rot".into(), 1)]),
        marks: BTreeMap::from([("killed".into(), 2)]),
        missed: Vec::new(),
        operations: BTreeMap::from([(
            "send".into(),
            Outcomes {
                ok: 3,
                fail: 1,
                info: 0,
            },
        )]),
        work: BTreeMap::from([("H3".into(), 100)]),
        planted: (seed == 1).then(|| PlantedRun {
            name: "TornTailKept".into(),
            activations: 9,
        }),
    }
}

fn tally(shard: Shard, count: u64) -> Tally {
    let mut tally = Tally::new(subject(shard));
    for seed in shard.seeds(0, count) {
        tally.add(&verdict(seed), &format!("cargo sim run --seed {seed}"));
        tally.core_ms += 500;
    }
    tally
}

#[test]
fn shards_are_a_partition() {
    for count in 1..7 {
        let mut all: Vec<u64> = Vec::new();
        for index in 0..count {
            let shard: Shard = format!("{index}/{count}").parse().expect("a shard");
            all.extend(shard.seeds(100, 50));
        }
        all.sort_unstable();
        assert_eq!(all, Vec::from_iter(100..150));
    }
    for text in ["", "1", "2/2", "a/b", "0/0", "-1/2"] {
        assert!(text.parse::<Shard>().is_err(), "{text}");
    }
}

#[test]
fn merged_shards_are_the_whole() {
    let whole = tally(Shard::default(), 20);
    let mut merged = tally(Shard { index: 1, count: 3 }, 20);
    for index in [0, 2] {
        let part = tally(Shard { index, count: 3 }, 20);
        let text = serde_json::to_string(&part).expect("plain data");
        let read = serde_json::from_str(&text).expect("its own text");
        merged.merge(read).expect("it fits");
    }
    assert_eq!(merged.shards.len(), 3);
    merged.shards.clone_from(&whole.shards);
    assert_eq!(merged, whole);
    assert_eq!(
        whole.faults["kill"],
        Count {
            times: 190,
            seeds: 19
        }
    );
    assert_eq!(whole.activations, Count { times: 9, seeds: 1 });
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let mut one = tally(Shard { index: 0, count: 2 }, 4);
    let again = one.clone();
    assert!(
        one.merge(again)
            .expect_err("twice")
            .contains("more than one file")
    );
    let mut other = tally(Shard { index: 1, count: 2 }, 4);
    other.commit = "another".into();
    assert!(
        one.merge(other)
            .expect_err("another")
            .contains("commits differ")
    );
}

#[test]
fn the_table_tells_what_happened_and_what_never_did() {
    let mut tally = tally(Shard::default(), 10);
    tally.add_dead(77, "signal 9", "cargo sim run --seed 77");
    tally.sort();
    let text = tally.to_string();
    for line in [
        "  kill                                     45        9",
        "11 seeds: 8 green, 2 red, 1 died",
        "RED seed 3: S12 t0-0: offset 7 is gone\n  cargo sim run --seed 3",
        "DIED seed 77: died : signal 9",
        "  send                                     30       10        0",
        "checkers looked at: H3 1000",
        "132 seeds a core-minute, 300 simulated seconds a CPU second",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let never = text
        .lines()
        .find(|line| line.starts_with("  never:"))
        .expect("some");
    assert!(
        never.contains("crash-loop") && !never.contains("kill,"),
        "{never}"
    );
}
