use super::*;

#[test]
fn a_plan_is_the_same_text_again() {
    for seed in 0..50 {
        for profile in [Profile::Calm, Profile::Swarm, Profile::All] {
            let plan = generate(seed, profile);
            let text = plan.to_text();
            assert_eq!(Plan::parse(&text).expect("its own text"), plan, "{text}");
        }
    }
}

#[test]
fn a_seed_gives_one_plan_and_another_seed_another() {
    assert_eq!(generate(7, Profile::All), generate(7, Profile::All));
    assert_ne!(generate(7, Profile::All), generate(8, Profile::All));
}

#[test]
fn the_profile_changes_the_faults_only() {
    let (calm, all) = (generate(3, Profile::Calm), generate(3, Profile::All));
    assert_eq!(calm.clients, all.clients);
    assert_eq!(calm.brokers, all.brokers);
    assert!(calm.faults.is_empty() && all.faults.len() >= 5);
}

#[test]
fn a_wrong_plan_says_where_and_why() {
    let text = generate(1, Profile::Swarm).to_text();
    for (from, to, said) in [
        ("format = 1", "format = 9", "format: 9"),
        ("cores = ", "cores = 9", "brokers[0].cores"),
        ("idempotent = true", "idempotent = 3", "idempotent"),
        (" send ", " throw ", "`throw` is no operation"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Plan::parse(&text.replacen(from, to, 1)).expect_err(to);
        assert!(error.to_string().contains(said), "{error}");
    }
}
