//! Which figures a node shows, and under which names.
//!
//! A figure that Kafka has goes by the name that the Kafka rules of Prometheus' JMX exporter give to its bean, so that
//! dashboards made for Kafka work. Kafka's rates are shown by their counts. What Kafka does not have begins with
//! `millrace_`. A figure that is not measured is absent rather than zero.

use broker::node::NodeShared;
use broker::quorum::QuorumDescription;

use crate::metrics::{Family, Value};

/// The state of a broker that serves, by Kafka's numbers.
const BROKER_RUNNING: i64 = 3;

/// What has to be asked for, rather than read.
pub(crate) struct Scrape {
    /// The metadata quorum; nothing if it did not answer.
    pub quorum: Option<QuorumDescription>,
    /// Free bytes of each log directory, in the node's order; nothing for one that cannot be asked.
    pub free_bytes: Vec<Option<u64>>,
}

/// All figures of the node.
pub(crate) fn of(node: &NodeShared, scrape: &Scrape) -> Vec<Family> {
    let mut families = traffic(node);
    families.extend(requests(node));
    families.extend(replicas(node));
    families.extend(cluster(node, scrape));
    families.extend(directories(node, scrape));
    families.extend(sessions(node));
    families.extend(own(node));
    families
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Family {
    Family {
        name,
        help,
        points: vec![(Vec::new(), Value::Counter(value))],
    }
}

fn gauge(name: &'static str, help: &'static str, value: i64) -> Family {
    Family {
        name,
        help,
        points: vec![(Vec::new(), Value::Gauge(value))],
    }
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn traffic(node: &NodeShared) -> Vec<Family> {
    let metrics = &node.metrics;
    let asked = |api: &str| {
        let mut seen = metrics.requests.seen();
        seen.find(|(name, _)| *name == api).map_or(0, |(_, n)| n)
    };
    vec![
        counter(
            "kafka_server_brokertopicmetrics_messagesin",
            "Records appended by clients",
            metrics.produced_records.get(),
        ),
        counter(
            "kafka_server_brokertopicmetrics_bytesin",
            "Bytes of records appended by clients",
            metrics.produced_bytes.get(),
        ),
        counter(
            "kafka_server_brokertopicmetrics_bytesout",
            "Bytes of records given to clients",
            metrics.fetched_bytes.get(),
        ),
        counter(
            "kafka_server_brokertopicmetrics_failedproducerequests",
            "Partitions of Produce requests that were refused",
            metrics.failed_produces.get(),
        ),
        counter(
            "kafka_server_brokertopicmetrics_failedfetchrequests",
            "Partitions of Fetch requests that were refused",
            metrics.failed_fetches.get(),
        ),
        counter(
            "kafka_server_brokertopicmetrics_totalproducerequests",
            "Produce requests",
            asked("Produce"),
        ),
        counter(
            "kafka_server_brokertopicmetrics_totalfetchrequests",
            "Fetch requests",
            asked("Fetch"),
        ),
    ]
}

fn requests(node: &NodeShared) -> Vec<Family> {
    let point = |(api, seen): (&str, u64)| {
        let labels = vec![("request", api.to_owned())];
        (labels, Value::Counter(seen))
    };
    let mut points: Vec<_> = node.metrics.requests.seen().map(point).collect();
    // Kafka counts a Fetch once more by who asks: here nobody but consumers does.
    let fetches = node
        .metrics
        .requests
        .seen()
        .find(|(api, _)| *api == "Fetch");
    points.extend(fetches.map(|(_, seen)| point(("FetchConsumer", seen))));
    vec![Family {
        name: "kafka_network_requestmetrics_requests",
        help: "Requests by API; one that was never asked is absent",
        points,
    }]
}

/// What the metadata says of the replicas on this node.
#[derive(Default)]
struct Replicas {
    hosted: i64,
    offline: i64,
    led: i64,
    under_replicated: i64,
}

fn count_replicas(node: &NodeShared) -> Replicas {
    let failed: Vec<_> = node
        .directories
        .iter()
        .filter(|directory| directory.failure().is_some())
        .filter_map(|directory| directory.properties().directory_id)
        .collect();
    let mut replicas = Replicas::default();
    let image = node.image();
    let partitions = image
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.values());
    for partition in partitions {
        if let Some(directory) = partition.directory(node.id) {
            replicas.hosted += 1;
            replicas.offline += i64::from(failed.contains(&directory));
        }
        if partition.leader == node.id {
            replicas.led += 1;
            replicas.under_replicated += i64::from(partition.isr.len() < partition.replicas.len());
        }
    }
    replicas
}

fn replicas(node: &NodeShared) -> Vec<Family> {
    let replicas = count_replicas(node);
    vec![
        gauge(
            "kafka_server_replicamanager_partitioncount",
            "Partitions of which this node has a replica",
            replicas.hosted,
        ),
        gauge(
            "kafka_server_replicamanager_leadercount",
            "Partitions that the metadata says this node leads",
            replicas.led,
        ),
        gauge(
            "kafka_server_replicamanager_offlinereplicacount",
            "Replicas of this node in failed log directories",
            replicas.offline,
        ),
        gauge(
            "kafka_server_replicamanager_underreplicatedpartitions",
            "Partitions led here with replicas that are not in sync",
            replicas.under_replicated,
        ),
    ]
}

fn cluster(node: &NodeShared, scrape: &Scrape) -> Vec<Family> {
    let image = node.image();
    let mut families = Vec::new();
    if image.broker(node.id).is_some_and(|broker| !broker.fenced) {
        families.push(gauge(
            "kafka_server_kafkaserver_brokerstate",
            "3: the broker serves",
            BROKER_RUNNING,
        ));
    }
    let Some(quorum) = &scrape.quorum else {
        return families;
    };
    let is_active = quorum.leader_id == node.id;
    families.push(gauge(
        "kafka_controller_kafkacontroller_activecontrollercount",
        "1 on the node whose controller decides",
        i64::from(is_active),
    ));
    families.push(gauge(
        "millrace_metadata_high_watermark",
        "Offset below which the metadata log is committed",
        quorum.high_watermark,
    ));
    families.push(gauge(
        "millrace_metadata_leader_epoch",
        "Epoch of the metadata quorum's leader",
        i64::from(quorum.leader_epoch),
    ));
    if is_active {
        families.extend(controller(node));
    }
    families
}

fn controller(node: &NodeShared) -> Vec<Family> {
    let image = node.image();
    let unfenced = count(image.unfenced_brokers().count());
    let partitions = || {
        image
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.values())
    };
    let leaderless = partitions().filter(|partition| !partition.has_leader());
    vec![
        gauge(
            "kafka_controller_kafkacontroller_activebrokercount",
            "Brokers that serve",
            unfenced,
        ),
        gauge(
            "kafka_controller_kafkacontroller_fencedbrokercount",
            "Registered brokers that do not serve",
            count(image.brokers.len()) - unfenced,
        ),
        gauge(
            "kafka_controller_kafkacontroller_globaltopiccount",
            "Topics of the cluster",
            count(image.topics.len()),
        ),
        gauge(
            "kafka_controller_kafkacontroller_globalpartitioncount",
            "Partitions of the cluster",
            count(partitions().count()),
        ),
        gauge(
            "kafka_controller_kafkacontroller_offlinepartitionscount",
            "Partitions without a leader",
            count(leaderless.count()),
        ),
    ]
}

fn directories(node: &NodeShared, scrape: &Scrape) -> Vec<Family> {
    let path = |index: usize| node.directories[index].path().display().to_string();
    let indexes = || 0..node.directories.len();
    let offline = indexes().map(|index| {
        let is_offline = node.directories[index].failure().is_some();
        let labels = vec![("logDirectory", path(index))];
        (labels, Value::Gauge(i64::from(is_offline)))
    });
    let unflushed = indexes().map(|index| {
        let bytes = node.directories[index].unflushed_bytes();
        let labels = vec![("directory", path(index))];
        (
            labels,
            Value::Gauge(i64::try_from(bytes).unwrap_or(i64::MAX)),
        )
    });
    let free = indexes().filter_map(|index| {
        let bytes = scrape.free_bytes.get(index).copied().flatten()?;
        let value = Value::Gauge(i64::try_from(bytes).unwrap_or(i64::MAX));
        Some((vec![("directory", path(index))], value))
    });
    vec![
        gauge(
            "kafka_log_logmanager_offlinelogdirectorycount",
            "Log directories that failed",
            node.metrics.offline_log_directories.get(),
        ),
        Family {
            name: "kafka_log_logmanager_logdirectoryoffline",
            help: "1 for a log directory that failed",
            points: offline.collect(),
        },
        Family {
            name: "millrace_log_directory_unflushed_bytes",
            help: "Bytes written and not yet flushed",
            points: unflushed.collect(),
        },
        Family {
            name: "millrace_log_directory_free_bytes",
            help: "Bytes free on the log directory's file system",
            points: free.collect(),
        },
    ]
}

fn sessions(node: &NodeShared) -> Vec<Family> {
    vec![gauge(
        "kafka_server_fetchsessioncache_numincrementalfetchsessions",
        "Fetch sessions kept",
        count(node.fetch_sessions().len()),
    )]
}

fn own(node: &NodeShared) -> Vec<Family> {
    let metrics = &node.metrics;
    vec![
        gauge(
            "millrace_connections",
            "Connections of clients",
            metrics.connections.get(),
        ),
        counter(
            "millrace_connections_accepted",
            "Connections accepted",
            metrics.connections_accepted.get(),
        ),
        counter(
            "millrace_connections_refused",
            "Connections refused for a limit on their number",
            metrics.connections_refused.get(),
        ),
        gauge(
            "millrace_partitions_led",
            "Partitions whose leader's work is done here",
            metrics.partitions.get(),
        ),
        counter(
            "millrace_flushes",
            "Flushes, each of all logs that were waiting",
            metrics.flushes.get(),
        ),
        counter(
            "millrace_flushed_logs",
            "Logs flushed, over all flushes",
            metrics.flushed_logs.get(),
        ),
        counter(
            "millrace_recovery_cuts",
            "Logs whose torn end was cut when they were opened",
            metrics.recovery_cuts.get(),
        ),
        gauge(
            "millrace_memory_budget_used_bytes",
            "Bytes that requests and responses hold",
            count(node.budget.used_bytes()),
        ),
        gauge(
            "millrace_memory_budget_limit_bytes",
            "Bytes that requests and responses may hold",
            count(node.budget.limit_bytes()),
        ),
    ]
}
