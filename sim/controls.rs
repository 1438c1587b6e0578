//! Negative controls: plans in which something happens that is permitted and looks bad. Checkers must say nothing.
//!
//! Each changes the plan of a seed. The numbers are those of the list of negative controls in the catalogue of bugs.

use crate::plan::{CutHow, Fault, FaultPlan, Operation, Plan, Role, Survival, When};

/// A negative control.
#[derive(Clone, Copy)]
pub struct Control {
    /// Its name.
    pub name: &'static str,
    /// What happens, and is permitted.
    pub meaning: &'static str,
    change: fn(&mut Plan),
}

/// Every negative control that one broker can have.
pub const CONTROLS: &[Control] = &[
    Control {
        name: "weak-acknowledgements",
        meaning: "records of acks 0 and 1 are lost by power losses",
        change: weak_acknowledgements,
    },
    Control {
        name: "lossy-flush-policy",
        meaning: "acknowledged records of a topic that is flushed seldom are lost by power losses",
        change: lossy_flush_policy,
    },
    Control {
        name: "duplicates-of-retries",
        meaning: "producers that are not idempotent send again what was lost on the way back",
        change: duplicates_of_retries,
    },
    Control {
        name: "new-identity",
        meaning: "clients crash and send on under another identity",
        change: new_identity,
    },
    Control {
        name: "rebalances",
        meaning: "members come and go: records are read twice, or skipped by the next member",
        change: rebalances,
    },
    Control {
        name: "read-uncommitted",
        meaning: "every reader reads uncommitted",
        change: read_uncommitted,
    },
    Control {
        name: "unavailable",
        meaning: "the only broker is away for most of the run",
        change: unavailable,
    },
];

/// The control of this name.
///
/// # Errors
/// With the names that there are.
pub fn control_of(name: &str) -> Result<&'static Control, String> {
    CONTROLS.iter().find(|one| one.name == name).ok_or_else(|| {
        let names: Vec<&str> = CONTROLS.iter().map(|one| one.name).collect();
        format!(
            "no control is named `{name}`; there are {}",
            names.join(", ")
        )
    })
}

impl Control {
    /// Changes the plan of a seed.
    pub fn apply(&self, plan: &mut Plan) {
        (self.change)(plan);
    }
}

fn fault(at_ms: u64, for_ms: u64, fault: Fault) -> FaultPlan {
    FaultPlan {
        when: When::AtMs(at_ms),
        for_ms,
        fault,
    }
}

fn power_losses(plan: &mut Plan) {
    for (index, part) in [20, 45, 70].into_iter().enumerate() {
        let survival = [Survival::None, Survival::Torn, Survival::Prefix][index];
        let node = "broker-1".to_owned();
        let at_ms = plan.duration_ms * part / 100;
        plan.faults
            .push(fault(at_ms, 1_000, Fault::PowerLoss { node, survival }));
    }
}

fn weak_acknowledgements(plan: &mut Plan) {
    for (index, client) in plan.clients.iter_mut().enumerate() {
        if client.role == Role::Producer {
            client.idempotent = false;
            client.acks = (index % 2) as i16;
        }
    }
    power_losses(plan);
}

fn lossy_flush_policy(plan: &mut Plan) {
    for topic in &mut plan.topics {
        for (key, value) in [("flush.messages", "1000"), ("flush.ms", "60000")] {
            topic.configs.insert(key.to_owned(), value.to_owned());
        }
    }
    power_losses(plan);
}

fn duplicates_of_retries(plan: &mut Plan) {
    let mut faults = Vec::new();
    for client in &mut plan.clients {
        if client.role != Role::Producer {
            continue;
        }
        client.idempotent = false;
        client.acks = -1;
        client.settings.insert("request_timeout_ms".into(), 1_000);
        for part in [10, 30, 50, 80] {
            let cut = Fault::Cut {
                from: "broker-1".into(),
                to: format!("client-{}", client.id),
                how: CutHow::BlackHole,
                both: false,
            };
            faults.push(fault(plan.duration_ms * part / 100, 3_000, cut));
        }
    }
    plan.faults.extend(faults);
}

fn new_identity(plan: &mut Plan) {
    for client in &mut plan.clients {
        if client.role == Role::Producer {
            for step in client.steps.iter_mut().skip(20).step_by(40) {
                step.operation = Operation::Crash;
            }
        }
    }
}

fn rebalances(plan: &mut Plan) {
    for client in &mut plan.clients {
        let Some(subscribe) = client.steps.iter().find_map(|step| match &step.operation {
            Operation::Subscribe(topics) => Some(Operation::Subscribe(topics.clone())),
            _ => None,
        }) else {
            continue;
        };
        for (index, step) in client.steps.iter_mut().enumerate().skip(10) {
            match index % 30 {
                10 => step.operation = Operation::Leave,
                15 => step.operation = subscribe.clone(),
                _ => {}
            }
        }
    }
}

fn read_uncommitted(plan: &mut Plan) {
    for client in &mut plan.clients {
        if matches!(client.role, Role::Reader | Role::Member) {
            client.settings.insert("read_committed".into(), 0);
        }
    }
}

fn unavailable(plan: &mut Plan) {
    let for_ms = plan.duration_ms * 7 / 10;
    let kill = Fault::Kill {
        node: "broker-1".into(),
    };
    plan.faults = vec![fault(plan.duration_ms / 5, for_ms, kill)];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Profile, generate};

    #[test]
    fn every_control_changes_a_plan_into_a_plan() {
        for control in CONTROLS {
            let changed = (0..20).filter(|&seed| {
                let before = generate(seed, Profile::Calm);
                let mut plan = before.clone();
                control.apply(&mut plan);
                assert_eq!(Plan::parse(&plan.to_text()).expect(control.name), plan);
                plan != before
            });
            assert!(changed.count() >= 10, "{}", control.name);
            assert_eq!(
                control_of(control.name).map(|one| one.name),
                Ok(control.name)
            );
        }
        let error = control_of("nothing").err().expect("no such control");
        assert!(error.contains("rebalances"));
    }
}
