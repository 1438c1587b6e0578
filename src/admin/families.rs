//! The values of a node's figures.

mod cluster;
mod requests;

use broker::node::NodeShared;
use broker::quorum::QuorumDescription;
use broker::shard::ShardFigures;

use crate::figures;
use crate::metrics::{Family, Value};

/// What has to be asked for, rather than read.
pub(crate) struct Scrape {
    /// The metadata quorum; nothing if it did not answer.
    pub quorum: Option<QuorumDescription>,
    /// Free bytes of each log directory, in the node's order; nothing for one that cannot be asked.
    pub free_bytes: Vec<Option<u64>>,
    /// What each core says.
    pub shards: Vec<ShardFigures>,
}

/// All figures of the node.
pub(crate) fn of(node: &NodeShared, scrape: &Scrape) -> Vec<Family> {
    let mut families = requests::traffic(node);
    families.extend(requests::requests(node));
    families.extend(idle(node, scrape));
    families.extend(cluster::replicas(node));
    families.extend(logs(scrape));
    families.extend(directories(node, scrape));
    families.extend(groups(scrape));
    families.extend(cluster::cluster(node, scrape));
    families.extend(own(node, scrape));
    families
}

fn count(value: usize) -> Value {
    Value::Signed(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The share of the time that the cores did not work.
fn idle(node: &NodeShared, scrape: &Scrape) -> Vec<Family> {
    let busy: Option<Vec<_>> = scrape.shards.iter().map(|shard| shard.busy).collect();
    let busy = busy.filter(|busy| !busy.is_empty()).unwrap_or_default();
    if busy.is_empty() {
        return Vec::new();
    }
    let worked: f64 = busy.iter().map(std::time::Duration::as_secs_f64).sum();
    let lived = node.clock.now().mono.as_nanos() as f64 / 1e9 * busy.len() as f64;
    let idle = (1.0 - worked / lived.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
    vec![
        Family::one(figures::NETWORK_IDLE, Value::Float(idle)),
        Family::one(figures::HANDLER_IDLE, Value::Float(idle)),
    ]
}

fn logs(scrape: &Scrape) -> Vec<Family> {
    let mut logs: Vec<_> = scrape.shards.iter().flat_map(|shard| &shard.logs).collect();
    logs.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let family = |figure, value: fn(&broker::shard::LogSize) -> Value| {
        let points = logs.iter().map(|log| {
            let labels = vec![log.topic.to_string(), log.partition.to_string()];
            (labels, value(log))
        });
        Family {
            figure,
            points: points.collect(),
        }
    };
    vec![
        family(figures::LOG_SIZE, |log| Value::Unsigned(log.size_bytes)),
        family(figures::LOG_SEGMENTS, |log| count(log.segments)),
        family(figures::LOG_START, |log| {
            Value::Signed(log.log_start_offset)
        }),
        family(figures::LOG_END, |log| Value::Signed(log.log_end_offset)),
    ]
}

fn directories(node: &NodeShared, scrape: &Scrape) -> Vec<Family> {
    let path = |index: usize| vec![node.directories[index].path().display().to_string()];
    let indexes = || 0..node.directories.len();
    let offline = indexes().map(|index| {
        let is_offline = node.directories[index].failure().is_some();
        (path(index), Value::Signed(i64::from(is_offline)))
    });
    let unflushed = indexes().map(|index| {
        let bytes = node.directories[index].unflushed_bytes();
        (path(index), Value::Unsigned(bytes))
    });
    let free = indexes().filter_map(|index| {
        let bytes = scrape.free_bytes.get(index).copied().flatten()?;
        Some((path(index), Value::Unsigned(bytes)))
    });
    vec![
        Family::one(
            figures::OFFLINE_DIRECTORIES,
            Value::Signed(node.metrics.offline_log_directories.get()),
        ),
        Family {
            figure: figures::DIRECTORY_OFFLINE,
            points: offline.collect(),
        },
        Family {
            figure: figures::UNFLUSHED_BYTES,
            points: unflushed.collect(),
        },
        Family {
            figure: figures::FREE_BYTES,
            points: free.collect(),
        },
    ]
}

fn groups(scrape: &Scrape) -> Vec<Family> {
    let of_state = |name: &str| {
        let states = scrape
            .shards
            .iter()
            .flat_map(|shard| &shard.groups.by_state);
        let matching = states.filter(|(state, _)| state.name() == name);
        matching.map(|(_, groups)| groups).sum::<usize>()
    };
    let by_state = [
        (figures::GROUPS_EMPTY, of_state("Empty")),
        (figures::GROUPS_PREPARING, of_state("PreparingRebalance")),
        (figures::GROUPS_COMPLETING, of_state("CompletingRebalance")),
        (figures::GROUPS_STABLE, of_state("Stable")),
    ];
    let all = by_state.iter().map(|(_, groups)| groups).sum();
    let offsets = scrape.shards.iter().map(|shard| shard.groups.offsets).sum();
    let mut families = vec![
        Family::one(figures::GROUPS, count(all)),
        Family::one(figures::OFFSETS, count(offsets)),
    ];
    families.extend(by_state.map(|(figure, groups)| Family::one(figure, count(groups))));
    families
}

fn own(node: &NodeShared, scrape: &Scrape) -> Vec<Family> {
    let metrics = &node.metrics;
    let parked = scrape.shards.iter().flat_map(|shard| &shard.logs);
    let counter = |figure, value: &broker::metrics::Counter| {
        Family::one(figure, Value::Unsigned(value.get()))
    };
    vec![
        Family::one(figures::FETCH_SESSIONS, count(node.fetch_sessions().len())),
        Family::one(figures::PARKED, count(parked.map(|log| log.parked).sum())),
        Family::one(
            figures::CONNECTIONS,
            Value::Signed(metrics.connections.get()),
        ),
        counter(figures::CONNECTIONS_ACCEPTED, &metrics.connections_accepted),
        counter(figures::CONNECTIONS_REFUSED, &metrics.connections_refused),
        Family::one(
            figures::PARTITIONS_LED,
            Value::Signed(metrics.partitions.get()),
        ),
        counter(figures::FLUSHES, &metrics.flushes),
        counter(figures::FLUSHED_LOGS, &metrics.flushed_logs),
        counter(figures::RECOVERY_CUTS, &metrics.recovery_cuts),
        Family::one(figures::BUDGET_USED, count(node.budget.used_bytes())),
        Family::one(figures::BUDGET_LIMIT, count(node.budget.limit_bytes())),
    ]
}
