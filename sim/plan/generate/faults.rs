//! What goes wrong in a generated run.

use super::super::draw::Draw;
use super::super::{
    CutHow, Event, Fault, FaultPlan, FileFault, Plan, Profile, Stalled, Survival, When,
};

/// Kinds of faults as the generator draws them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Kill,
    CrashLoop,
    CleanStop,
    PowerLoss,
    PowerLossInRecovery,
    Pause,
    SlowProcessor,
    Cut,
    Flap,
    Delay,
    Narrow,
    Reset,
    SlowReader,
    DiskError,
    NoSpace,
    Stall,
    DiskFull,
    Damage,
    ClockStep,
    ClockDrift,
}

const KINDS: [Kind; 20] = [
    Kind::Kill,
    Kind::CrashLoop,
    Kind::CleanStop,
    Kind::PowerLoss,
    Kind::PowerLossInRecovery,
    Kind::Pause,
    Kind::SlowProcessor,
    Kind::Cut,
    Kind::Flap,
    Kind::Delay,
    Kind::Narrow,
    Kind::Reset,
    Kind::SlowReader,
    Kind::DiskError,
    Kind::NoSpace,
    Kind::Stall,
    Kind::DiskFull,
    Kind::Damage,
    Kind::ClockStep,
    Kind::ClockDrift,
];

/// Kinds that come twice as often where all come: what they do depends on the moment and the place.
const OFTEN: [Kind; 4] = [Kind::DiskError, Kind::PowerLoss, Kind::Reset, Kind::Damage];

/// The faults of a seed.
pub(super) fn generate(seed: u64, profile: Profile, plan: &Plan) -> Vec<FaultPlan> {
    let mut draw = Draw::new(seed, "plan faults");
    let kinds: Vec<Kind> = match profile {
        Profile::Calm => return Vec::new(),
        Profile::All => [&KINDS[..], &OFTEN[..]].concat(),
        Profile::Swarm => {
            let share = draw.pick(&[15, 30, 50]);
            let mut kinds: Vec<Kind> = KINDS.into_iter().filter(|_| draw.percent(share)).collect();
            if kinds.is_empty() {
                kinds.push(draw.pick(&KINDS));
            }
            kinds
        }
    };
    // Some kinds come more often: what needs the same trouble twice is else never seen.
    let favourites = [draw.pick(&kinds), draw.pick(&kinds)];
    let count = draw.between(5, 12);
    let mut faults: Vec<FaultPlan> = (0..count)
        .flat_map(|index| {
            let kind = match draw.one_in(3) {
                true => draw.pick(&favourites),
                false => draw.pick(&kinds),
            };
            let mut own = Draw::new(seed, &format!("plan fault {index}"));
            let first = one(kind, plan, &mut own);
            let mut next = followers(kind, &first, &mut own);
            next.retain(|fault| start_ms(fault) < plan.duration_ms);
            next.insert(0, first);
            next
        })
        .collect();
    faults.sort_by_key(start_ms);
    faults
}

/// When a fault comes at the earliest.
fn start_ms(fault: &FaultPlan) -> u64 {
    match &fault.when {
        When::AtMs(at_ms) => *at_ms,
        When::Event(event) => event.after_ms,
    }
}

/// What often comes soon after a fault, because only both together show whether its effects are borne: what a disk
/// lost is seen by the next start, and a client whose answer is lost asks again.
fn followers(kind: Kind, first: &FaultPlan, draw: &mut Draw) -> Vec<FaultPlan> {
    let node = "broker-1".to_owned();
    let at = |after_ms: u64, for_ms: u64, fault: Fault| FaultPlan {
        when: When::AtMs(start_ms(first) + after_ms),
        for_ms,
        fault,
    };
    let mut next = Vec::new();
    match (kind, &first.fault) {
        (Kind::DiskError | Kind::NoSpace | Kind::DiskFull | Kind::Damage, _)
            if draw.percent(66) =>
        {
            let after_ms = draw.small(100, 15_000);
            let for_ms = draw.small(200, 2_000);
            let fault = match draw.between(0, 2) {
                0 => Fault::CleanStop { node },
                1 => Fault::Kill { node },
                _ => Fault::PowerLoss {
                    node,
                    survival: survival(draw),
                },
            };
            next.push(at(after_ms, for_ms, fault));
        }
        (Kind::Reset, Fault::Reset { a, b }) => {
            for _ in 0..draw.between(1, 6) {
                let (a, b) = (a.clone(), b.clone());
                next.push(at(draw.small(20, 20_000), 0, Fault::Reset { a, b }));
            }
        }
        // Who waits for the slow disk loses its connection meanwhile.
        (Kind::Stall, Fault::Stall { .. }) => {
            for client in 0..2 {
                let (a, b) = (format!("client-{client}"), node.clone());
                next.push(at(draw.small(20, 6_000), 0, Fault::Reset { a, b }));
            }
        }
        _ => {}
    }
    next
}

fn one(kind: Kind, plan: &Plan, draw: &mut Draw) -> FaultPlan {
    let broker = format!("broker-{}", draw.choose(&plan.brokers).id);
    // The first two clients are producers, whose retries are worth most.
    let client = match draw.one_in(3) {
        true => draw.between(0, 1) as u32,
        false => draw.choose(&plan.clients).id,
    };
    let client = format!("client-{client}");
    let at_ms = draw.between(3_000, plan.duration_ms * 9 / 10);
    let for_ms = draw.small(200, 10_000);
    let fault = match kind {
        Kind::Kill => Fault::Kill { node: broker },
        Kind::CrashLoop => Fault::CrashLoop {
            node: broker,
            times: draw.between(2, 5) as u32,
            life_ms: draw.small(0, 500),
        },
        Kind::CleanStop => Fault::CleanStop { node: broker },
        Kind::PowerLoss => Fault::PowerLoss {
            node: broker,
            survival: survival(draw),
        },
        Kind::PowerLossInRecovery => Fault::PowerLossInRecovery {
            node: broker,
            survival: survival(draw),
            operations: draw.small(1, 200) as u32,
        },
        Kind::Pause => Fault::Pause { node: broker },
        Kind::SlowProcessor => Fault::SlowProcessor {
            node: broker,
            poll_us: draw.small(10, 2_000) as u32,
        },
        Kind::Cut | Kind::Flap | Kind::Delay | Kind::Narrow | Kind::Reset | Kind::SlowReader => {
            network(kind, broker, client, draw)
        }
        Kind::DiskError | Kind::NoSpace | Kind::Stall | Kind::DiskFull | Kind::Damage => {
            disk(kind, broker, draw)
        }
        Kind::ClockStep => Fault::ClockStep {
            node: broker,
            by_ms: draw.pick(&[-600_000, -5_000, -100, 100, 5_000, 70_000, 90_000, 600_000]),
        },
        Kind::ClockDrift => Fault::ClockDrift {
            node: broker,
            ppm: draw.pick(&[-10_000, -500, 500, 10_000]),
        },
    };
    FaultPlan {
        when: when(kind, at_ms, draw),
        for_ms,
        fault,
    }
}

/// A crash often comes right at a write, a sync or a rename; other faults come at a time.
fn when(kind: Kind, at_ms: u64, draw: &mut Draw) -> When {
    let is_crash = matches!(
        kind,
        Kind::Kill | Kind::PowerLoss | Kind::PowerLossInRecovery
    );
    if !is_crash || draw.one_in(3) {
        return When::AtMs(at_ms);
    }
    When::Event(Event {
        kind: draw
            .pick(&["write", "sync", "sync", "rename", "sync-dir", "open"])
            .to_string(),
        node: "broker-1".into(),
        contains: draw
            .pick(&[
                "",
                "",
                ".log",
                ".index",
                ".snapshot",
                "checkpoint",
                "__cluster_metadata",
                "__consumer_offsets",
            ])
            .to_string(),
        nth: draw.small(1, 20) as u32,
        after_ms: at_ms,
        before_ms: 0,
    })
}

fn survival(draw: &mut Draw) -> Survival {
    draw.pick(&[
        Survival::None,
        Survival::None,
        Survival::Prefix,
        Survival::Torn,
        Survival::Reordered,
        Survival::Mixed,
        Survival::Mixed,
        Survival::All,
    ])
}

fn network(kind: Kind, broker: String, client: String, draw: &mut Draw) -> Fault {
    let (from, to) = if draw.one_in(2) {
        (broker.clone(), client.clone())
    } else {
        (client.clone(), broker.clone())
    };
    match kind {
        Kind::Cut => Fault::Cut {
            from,
            to: if draw.one_in(4) { "*".into() } else { to },
            how: draw.pick(&[CutHow::Hold, CutHow::BlackHole]),
            both: draw.one_in(2),
        },
        Kind::Flap => Fault::Flap {
            from,
            to,
            every_ms: draw.between(20, 1_000),
        },
        Kind::Delay => Fault::Delay {
            from: if draw.one_in(3) { "*".into() } else { from },
            to,
            latency_us: draw.small(1_000, 2_000_000) as u32,
            tail_one_in: draw.pick(&[0, 3, 20]),
        },
        Kind::Narrow => Fault::Narrow {
            from,
            to,
            bytes_per_second: draw.between(500, 50_000),
        },
        Kind::Reset => Fault::Reset { a: from, b: to },
        _ => Fault::SlowReader {
            node: client,
            peer: broker,
            bytes_per_second: draw.between(10, 5_000),
        },
    }
}

fn stall(node: String, path: String, draw: &mut Draw) -> Fault {
    let millis = match draw.one_in(2) {
        true => draw.between(2_000, 6_000),
        false => draw.small(50, 5_000),
    };
    let times = draw.between(1, 3) as u32;
    // Removals and renames are so few that a stall of any operation hardly ever meets one, nor one of some paths.
    let (operation, path) = match draw.one_in(2) {
        true => (Stalled::Sync, path),
        false if draw.one_in(2) => (Stalled::Any, path),
        false => (
            draw.pick(&[Stalled::Remove, Stalled::Rename]),
            String::new(),
        ),
    };
    Fault::Stall {
        node,
        path,
        millis,
        times,
        operation,
    }
}

fn disk(kind: Kind, node: String, draw: &mut Draw) -> Fault {
    let path = draw.pick(&[
        "",
        ".log",
        ".log",
        "/t",
        "__cluster_metadata",
        "__consumer_offsets",
        "t0-0",
    ]);
    let path = path.to_string();
    match kind {
        Kind::DiskError => Fault::Disk {
            node,
            effect: draw.pick(&[
                FileFault::WriteError,
                FileFault::WriteError,
                FileFault::SyncError,
                FileFault::SyncError,
                FileFault::SyncError,
                FileFault::DirectorySyncError,
                FileFault::ReadError,
                FileFault::OpenError,
                FileFault::RenameError,
            ]),
            path,
            skip: draw.small(0, 30) as u32,
            times: draw.between(1, 3) as u32,
        },
        Kind::NoSpace => Fault::Disk {
            node,
            effect: FileFault::NoSpace,
            path,
            skip: draw.small(0, 30) as u32,
            times: draw.small(1, 30) as u32,
        },
        Kind::Stall => stall(node, path, draw),
        Kind::DiskFull => Fault::DiskFull {
            node,
            bytes_left: draw.small(0, 20_000),
        },
        _ => match draw.between(0, 2) {
            0 => Fault::Rot {
                node,
                path: "/t".into(),
                place: draw.between(0, 999) as u16,
            },
            1 => Fault::LostWrite {
                node,
                path: "/t".into(),
            },
            _ => Fault::MisdirectedWrite {
                node,
                path: "/t".into(),
            },
        },
    }
}
