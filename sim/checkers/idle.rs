//! L8, L10, L11: what brokers look like when all clients are gone and nobody asks anything.

use super::{CheckerId, Report};

/// Polls of one idle core in a second: a few timers tick, none more often than ten times a second.
const POLLS_PER_SECOND_MAX: u64 = 50;
/// Events of one idle broker in a second: now and then a checkpoint is written.
const EVENTS_PER_SECOND_MAX: u64 = 40;
/// Tasks, and timers, of one idle core, whatever was asked of it before.
const TASKS_PER_CORE_MAX: u64 = 12;

/// One broker when all is idle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerIdle {
    /// Its node's name.
    pub name: String,
    /// Its cores.
    pub cores: u64,
    /// Polls of its tasks in a second.
    pub polls_per_second: u64,
    /// Tasks that have not ended.
    pub tasks: u64,
    /// Timers that have not fired.
    pub timers: u64,
    /// Connections, as it counts them.
    pub connections: u64,
    /// Bytes of requests and answers, as it counts them.
    pub request_bytes: u64,
    /// Requests that its machines have not answered, by machine.
    pub parked: Vec<(String, u64)>,
    /// Bytes of the metadata's log.
    pub metadata_bytes: u64,
    /// How many there may be, by its configuration.
    pub metadata_bytes_max: u64,
}

/// The cluster when all is idle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Idle {
    /// The brokers.
    pub brokers: Vec<BrokerIdle>,
    /// Connections that the network knows of.
    pub connections: u64,
    /// Events of the trace in a second.
    pub events_per_second: u64,
}

/// Says what is wrong.
pub fn judge(idle: &Idle) -> Report {
    let mut report = Report::default();
    let mut bound = |checker, object: &str, what: &str, count: u64, max: u64| {
        report.looked(checker, 1);
        if count > max {
            let message =
                format!("{count} {what}, though nobody asks anything: {max} are in order");
            report.find(checker, object, message, Vec::new());
        }
    };
    let busy = EVENTS_PER_SECOND_MAX * idle.brokers.len() as u64;
    bound(
        CheckerId::L11,
        "cluster",
        "events a second",
        idle.events_per_second,
        busy,
    );
    bound(
        CheckerId::L10,
        "network",
        "connections",
        idle.connections,
        0,
    );
    for broker in &idle.brokers {
        let name = broker.name.as_str();
        let (polls, tasks) = (
            POLLS_PER_SECOND_MAX * broker.cores,
            TASKS_PER_CORE_MAX * broker.cores,
        );
        bound(
            CheckerId::L11,
            name,
            "polls a second",
            broker.polls_per_second,
            polls,
        );
        bound(CheckerId::L10, name, "tasks", broker.tasks, tasks);
        bound(CheckerId::L10, name, "timers", broker.timers, tasks);
        bound(CheckerId::L10, name, "connections", broker.connections, 0);
        bound(
            CheckerId::L10,
            name,
            "bytes of requests and answers",
            broker.request_bytes,
            0,
        );
        for (machine, count) in &broker.parked {
            let object = format!("{name} {machine}");
            bound(
                CheckerId::L10,
                &object,
                "requests without an answer",
                *count,
                0,
            );
        }
        let (bytes, max) = (broker.metadata_bytes, broker.metadata_bytes_max);
        bound(CheckerId::L8, name, "bytes of metadata records", bytes, max);
    }
    report.sort();
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> BrokerIdle {
        BrokerIdle {
            name: "broker-1".into(),
            cores: 2,
            polls_per_second: 100,
            tasks: 24,
            timers: 24,
            metadata_bytes: 10,
            metadata_bytes_max: 10,
            ..BrokerIdle::default()
        }
    }

    type Change = fn(&mut Idle);

    #[test]
    fn what_is_left_is_found() {
        let cases: [(&str, Change, &str); 11] = [
            ("nothing", |_| {}, ""),
            (
                "as many events as are in order",
                |idle| idle.events_per_second = 40,
                "",
            ),
            ("more of them", |idle| idle.events_per_second = 41, "L11"),
            (
                "a task that never rests",
                |idle| idle.brokers[0].polls_per_second = 101,
                "L11",
            ),
            (
                "a task of a client's that is gone",
                |idle| idle.brokers[0].tasks = 25,
                "L10",
            ),
            (
                "a timer of a request that is over",
                |idle| idle.brokers[0].timers = 25,
                "L10",
            ),
            (
                "a connection that is not closed",
                |idle| idle.brokers[0].connections = 1,
                "L10",
            ),
            (
                "a connection that nobody holds",
                |idle| idle.connections = 1,
                "L10",
            ),
            (
                "memory that is not given back",
                |idle| idle.brokers[0].request_bytes = 1,
                "L10",
            ),
            (
                "a request that is never answered",
                |idle| idle.brokers[0].parked.push(("replica".into(), 1)),
                "L10",
            ),
            (
                "a log that nobody cuts",
                |idle| idle.brokers[0].metadata_bytes = 11,
                "L8",
            ),
        ];
        for (name, change, expected) in cases {
            let mut idle = Idle {
                brokers: vec![quiet()],
                ..Idle::default()
            };
            change(&mut idle);
            let report = judge(&idle);
            let found: Vec<_> = report.found.keys().map(|checker| checker.name()).collect();
            assert_eq!(found.join(" "), expected, "{name}: {:?}", report.findings);
            assert!(report.work.len() == 3, "{name}");
        }
    }
}
