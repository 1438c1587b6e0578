//! The names of a node's figures.
//!
//! A figure that Kafka has goes by the name that the Kafka rules of Prometheus' JMX exporter (`kafka-kraft-3_0_0.yml`)
//! give to its bean, so that dashboards made for Kafka work. Kafka's rates are shown by their counts. What Kafka does
//! not have begins with `millrace_`. A figure that is not measured is absent rather than zero.

/// What sort of figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the node lives; its name is shown with `_total` at the end.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It only grows while the node lives, under a name that ends in `_count`.
    Count,
}

/// One figure's name, or that of several with different labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The name, without the `_total` of counters.
    pub name: &'static str,
    /// What sort it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What is counted, and in which unit.
    pub help: &'static str,
}

impl Figure {
    /// The name as it is shown.
    pub fn shown_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Count => self.name.to_owned(),
        }
    }
}

/// Names each figure, and lists all of them.
macro_rules! figures {
    ($($name:ident = $kind:ident $text:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(crate) const $name: Figure = Figure {
            name: $text,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// Every figure that a node may show.
        pub const ALL: &[Figure] = &[$($name),*];
    };
}

figures! {
    MESSAGES_IN = Counter "kafka_server_brokertopicmetrics_messagesin"
        ["topic"] "Records appended, by topic and in all";
    BYTES_IN = Counter "kafka_server_brokertopicmetrics_bytesin"
        ["topic"] "Bytes of batches appended, by topic and in all";
    BYTES_OUT = Counter "kafka_server_brokertopicmetrics_bytesout"
        ["topic"] "Bytes of batches given to clients, by topic and in all";
    PRODUCES = Counter "kafka_server_brokertopicmetrics_totalproducerequests"
        ["topic"] "Partitions of Produce requests, by topic and in all";
    FAILED_PRODUCES = Counter "kafka_server_brokertopicmetrics_failedproducerequests"
        ["topic"] "Partitions of Produce requests that were refused, by topic and in all";
    FETCHES = Counter "kafka_server_brokertopicmetrics_totalfetchrequests"
        ["topic"] "Partitions of Fetch requests, by topic and in all";
    FAILED_FETCHES = Counter "kafka_server_brokertopicmetrics_failedfetchrequests"
        ["topic"] "Partitions of Fetch requests that were refused, by topic and in all";
    REQUESTS = Counter "kafka_network_requestmetrics_requests"
        ["request", "version"] "Requests by API and version; FetchConsumer is Fetch once more";
    LOCAL_TIME = Gauge "kafka_network_requestmetrics_localtimems"
        ["request", "quantile"] "Milliseconds until the handler ended or waited for the first time, lately";
    LOCAL_TIME_COUNT = Count "kafka_network_requestmetrics_localtimems_count"
        ["request"] "Answers, for the milliseconds of this name";
    REMOTE_TIME = Gauge "kafka_network_requestmetrics_remotetimems"
        ["request", "quantile"] "Milliseconds from then until the answer was there: flushes, long polls, rebalances, lately";
    REMOTE_TIME_COUNT = Count "kafka_network_requestmetrics_remotetimems_count"
        ["request"] "Answers, for the milliseconds of this name";
    RESPONSE_QUEUE_TIME = Gauge "kafka_network_requestmetrics_responsequeuetimems"
        ["request", "quantile"] "Milliseconds for which an answer waited for earlier ones of its connection, lately";
    RESPONSE_QUEUE_TIME_COUNT = Count "kafka_network_requestmetrics_responsequeuetimems_count"
        ["request"] "Answers, for the milliseconds of this name";
    TOTAL_TIME = Gauge "kafka_network_requestmetrics_totaltimems"
        ["request", "quantile"] "Milliseconds from the request's last byte to its answer's way to the socket, lately";
    TOTAL_TIME_COUNT = Count "kafka_network_requestmetrics_totaltimems_count"
        ["request"] "Answers, for the milliseconds of this name";
    NETWORK_IDLE = Gauge "kafka_network_socketserver_networkprocessoravgidlepercent"
        [] "Share of the time, 0 to 1, that the cores had nothing to do since the start";
    HANDLER_IDLE = Gauge "kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent"
        [] "The same: a core does both the network's and the handlers' work";
    PARTITION_COUNT = Gauge "kafka_server_replicamanager_partitioncount"
        [] "Partitions of which this node has a replica";
    LEADER_COUNT = Gauge "kafka_server_replicamanager_leadercount"
        [] "Partitions that the metadata says this node leads";
    OFFLINE_REPLICAS = Gauge "kafka_server_replicamanager_offlinereplicacount"
        [] "Replicas of this node in failed log directories";
    UNDER_REPLICATED = Gauge "kafka_server_replicamanager_underreplicatedpartitions"
        [] "Partitions led here with replicas that are not in sync";
    UNDER_MIN_ISR = Gauge "kafka_server_replicamanager_underminisrpartitioncount"
        [] "Partitions led here with fewer replicas in sync than min.insync.replicas";
    AT_MIN_ISR = Gauge "kafka_server_replicamanager_atminisrpartitioncount"
        [] "Partitions led here with as many replicas in sync as min.insync.replicas";
    REASSIGNING = Gauge "kafka_server_replicamanager_reassigningpartitions"
        [] "Partitions led here whose replicas are being changed";
    LOG_SIZE = Gauge "kafka_log_log_size"
        ["topic", "partition"] "Bytes of a partition's segments";
    LOG_SEGMENTS = Gauge "kafka_log_log_numlogsegments"
        ["topic", "partition"] "Segments of a partition";
    LOG_START = Gauge "kafka_log_log_logstartoffset"
        ["topic", "partition"] "First offset of a partition";
    LOG_END = Gauge "kafka_log_log_logendoffset"
        ["topic", "partition"] "Offset after the last record of a partition";
    OFFLINE_DIRECTORIES = Gauge "kafka_log_logmanager_offlinelogdirectorycount"
        [] "Log directories that failed";
    DIRECTORY_OFFLINE = Gauge "kafka_log_logmanager_logdirectoryoffline"
        ["logDirectory"] "1 for a log directory that failed";
    GROUPS = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroups"
        [] "Classic groups coordinated here";
    GROUPS_EMPTY = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupsempty"
        [] "Those without members";
    GROUPS_PREPARING = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance"
        [] "Those that gather members";
    GROUPS_COMPLETING = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance"
        [] "Those that wait for their assignment";
    GROUPS_STABLE = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupsstable"
        [] "Those that have their assignment";
    OFFSETS = Gauge "kafka_coordinator_group_groupmetadatamanager_numoffsets"
        [] "Committed offsets kept here";
    FETCH_SESSIONS = Gauge "kafka_server_fetchsessioncache_numincrementalfetchsessions"
        [] "Fetch sessions kept";
    BROKER_STATE = Gauge "kafka_server_kafkaserver_brokerstate"
        [] "3: the broker serves";
    ACTIVE_CONTROLLER = Gauge "kafka_controller_kafkacontroller_activecontrollercount"
        [] "1 on the node whose controller decides";
    ACTIVE_BROKERS = Gauge "kafka_controller_kafkacontroller_activebrokercount"
        [] "Brokers that serve; on the active controller, as those that follow";
    FENCED_BROKERS = Gauge "kafka_controller_kafkacontroller_fencedbrokercount"
        [] "Registered brokers that do not serve";
    GLOBAL_TOPICS = Gauge "kafka_controller_kafkacontroller_globaltopiccount"
        [] "Topics of the cluster";
    GLOBAL_PARTITIONS = Gauge "kafka_controller_kafkacontroller_globalpartitioncount"
        [] "Partitions of the cluster";
    OFFLINE_PARTITIONS = Gauge "kafka_controller_kafkacontroller_offlinepartitionscount"
        [] "Partitions without a leader";
    PREFERRED_IMBALANCE = Gauge "kafka_controller_kafkacontroller_preferredreplicaimbalancecount"
        [] "Partitions not led by their first replica";
    QUORUM_HIGH_WATERMARK = Gauge "millrace_metadata_high_watermark"
        [] "Offset below which the metadata log is committed";
    QUORUM_EPOCH = Gauge "millrace_metadata_leader_epoch"
        [] "Epoch of the metadata quorum's leader";
    UNFLUSHED_BYTES = Gauge "millrace_log_directory_unflushed_bytes"
        ["directory"] "Bytes written and not yet flushed";
    FREE_BYTES = Gauge "millrace_log_directory_free_bytes"
        ["directory"] "Bytes free on the log directory's file system";
    PARKED = Gauge "millrace_parked_requests"
        [] "Requests that wait for a flush or for replicas";
    CONNECTIONS = Gauge "millrace_connections"
        [] "Connections of clients";
    CONNECTIONS_ACCEPTED = Counter "millrace_connections_accepted"
        [] "Connections accepted";
    CONNECTIONS_REFUSED = Counter "millrace_connections_refused"
        [] "Connections refused for a limit on their number";
    PARTITIONS_LED = Gauge "millrace_partitions_led"
        [] "Partitions whose leader's work is done here";
    FLUSHES = Counter "millrace_flushes"
        [] "Flushes, each of all logs that were waiting";
    FLUSHED_LOGS = Counter "millrace_flushed_logs"
        [] "Logs flushed, over all flushes";
    RECOVERY_CUTS = Counter "millrace_recovery_cuts"
        [] "Logs whose torn end was cut when they were opened";
    BUDGET_USED = Gauge "millrace_memory_budget_used_bytes"
        [] "Bytes that requests and responses hold";
    BUDGET_LIMIT = Gauge "millrace_memory_budget_limit_bytes"
        [] "Bytes that requests and responses may hold";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka's beans by domain and type: the names that are shown, with the attribute.
    const BEANS: &[(&str, &str, &str)] = &[
        (
            "server",
            "BrokerTopicMetrics",
            "MessagesInPerSec:Count BytesInPerSec:Count BytesOutPerSec:Count TotalProduceRequestsPerSec:Count \
             FailedProduceRequestsPerSec:Count TotalFetchRequestsPerSec:Count FailedFetchRequestsPerSec:Count",
        ),
        (
            "network",
            "RequestMetrics",
            "RequestsPerSec:Count LocalTimeMs:99thPercentile LocalTimeMs:Count RemoteTimeMs:99thPercentile \
             RemoteTimeMs:Count ResponseQueueTimeMs:99thPercentile ResponseQueueTimeMs:Count \
             TotalTimeMs:99thPercentile TotalTimeMs:Count",
        ),
        (
            "network",
            "SocketServer",
            "NetworkProcessorAvgIdlePercent:Value",
        ),
        (
            "server",
            "KafkaRequestHandlerPool",
            "RequestHandlerAvgIdlePercent:MeanRate",
        ),
        (
            "server",
            "ReplicaManager",
            "PartitionCount:Value LeaderCount:Value OfflineReplicaCount:Value UnderReplicatedPartitions:Value \
             UnderMinIsrPartitionCount:Value AtMinIsrPartitionCount:Value ReassigningPartitions:Value",
        ),
        (
            "log",
            "Log",
            "Size:Value NumLogSegments:Value LogStartOffset:Value LogEndOffset:Value",
        ),
        (
            "log",
            "LogManager",
            "OfflineLogDirectoryCount:Value LogDirectoryOffline:Value",
        ),
        (
            "coordinator.group",
            "GroupMetadataManager",
            "NumGroups:Value NumGroupsEmpty:Value NumGroupsPreparingRebalance:Value \
             NumGroupsCompletingRebalance:Value NumGroupsStable:Value NumOffsets:Value",
        ),
        (
            "server",
            "FetchSessionCache",
            "NumIncrementalFetchSessions:Value",
        ),
        ("server", "KafkaServer", "BrokerState:Value"),
        (
            "controller",
            "KafkaController",
            "ActiveControllerCount:Value ActiveBrokerCount:Value FencedBrokerCount:Value GlobalTopicCount:Value \
             GlobalPartitionCount:Value OfflinePartitionsCount:Value PreferredReplicaImbalanceCount:Value",
        ),
    ];

    /// What the exporter's rules make of a bean's attribute.
    fn by_rule(domain: &str, kind: &str, name: &str, attribute: &str) -> String {
        let domain = domain.replace('.', "_");
        let name = match (name.strip_suffix("PerSec"), attribute) {
            (Some(rate), "Count") => format!("{rate}_total"),
            (None, "Count") => format!("{name}_count"),
            (_, "MeanRate") => name.replace("Percent", "_percent"),
            _ => name.to_owned(),
        };
        format!("kafka_{domain}_{kind}_{name}").to_lowercase()
    }

    #[test]
    fn names_of_kafkas_figures_are_what_the_exporter_makes_of_its_beans() {
        let mut expected = Vec::new();
        for (domain, kind, names) in BEANS {
            for name in names.split_whitespace() {
                let (name, attribute) = name.split_once(':').expect("name:attribute");
                expected.push(by_rule(domain, kind, name, attribute));
            }
        }
        let shown = ALL.iter().map(Figure::shown_name);
        let mut kafkas: Vec<_> = shown
            .filter(|name| !name.starts_with("millrace_"))
            .collect();
        expected.sort();
        kafkas.sort();
        assert_eq!(kafkas, expected);
    }

    #[test]
    fn every_name_is_there_once() {
        let mut names: Vec<_> = ALL.iter().map(|figure| figure.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    }
}
