//! What the simulator's speed is measured with.

use crate::plan::{Plan, Profile, generate};

/// Simulated time in which clients work and faults come, in milliseconds.
pub const DURATION_MS: u64 = 120_000;
/// Clients.
pub const CLIENTS: usize = 6;

/// The plan of a seed of the benchmark: one broker, six clients with 50 requests per simulated second together, every
/// kind of fault, 120 simulated seconds. Healing, last reads and the look at the idle broker come on top.
pub fn plan(seed: u64) -> Plan {
    let mut plan = generate(seed, Profile::All);
    let gone = plan.clients.split_off(CLIENTS);
    let gone: Vec<String> = gone
        .iter()
        .map(|client| format!("\"client-{}\"", client.id))
        .collect();
    // Nobody is left whom these could meet.
    plan.faults.retain(|fault| {
        let text = format!("{fault:?}");
        !gone.iter().any(|name| text.contains(name))
    });
    plan.duration_ms = DURATION_MS;
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Role;

    #[test]
    fn every_seed_has_the_same_size() {
        for seed in 0..40 {
            let plan = plan(seed);
            assert_eq!(plan.brokers.len(), 1);
            assert_eq!(plan.clients.len(), CLIENTS);
            let roles = |role| {
                plan.clients
                    .iter()
                    .filter(|client| client.role == role)
                    .count()
            };
            assert_eq!(
                (roles(Role::Producer), roles(Role::Member)),
                (2, 2),
                "seed {seed}"
            );
            let steps: usize = plan.clients.iter().map(|client| client.steps.len()).sum();
            let per_second = steps as u64 / (DURATION_MS / 1_000);
            // Steps: one is often several requests.
            assert!((25..=60).contains(&per_second), "seed {seed}: {per_second}");
            assert!(plan.faults.len() >= 3, "seed {seed}");
        }
    }
}
