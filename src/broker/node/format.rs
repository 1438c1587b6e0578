//! Formats log directories: whose they are, and the voters of the metadata quorum.

use std::collections::BTreeMap;
use std::path::PathBuf;

use controller::configs::StaticConfig;
use raft::{Endpoint, Voter, VoterKey, VoterSet};
use runtime::disk::Disk;
use storage::{LogDirectory, MetaProperties};
use types::{Now, Prng, Uuid};

use crate::quorum::{FormatError, bootstrap_snapshot};

/// A directory, and whether it was formatted now.
pub type Formatted = BTreeMap<PathBuf, bool>;

/// Formats every log directory of `config` that is not formatted yet. `cluster_id` is drawn if it is not given and no
/// directory has one.
///
/// # Errors
/// What the system says; [`FormatError::Directory`] if a directory belongs to another cluster or cannot be read.
pub async fn format(
    disk: &Disk,
    config: &StaticConfig,
    cluster_id: Option<String>,
    now: Now,
    prng: &mut Prng,
) -> Result<(String, Formatted), FormatError> {
    let mut paths: Vec<PathBuf> = config.log_dirs.iter().map(PathBuf::from).collect();
    let metadata = PathBuf::from(&config.metadata_log_dir);
    if !paths.contains(&metadata) {
        paths.push(metadata.clone());
    }
    let mut present = BTreeMap::new();
    for path in &paths {
        if let Some(properties) = LogDirectory::properties_of(disk, path).await? {
            present.insert(path.clone(), properties);
        }
    }
    let known = present
        .values()
        .next()
        .map(|properties| properties.cluster_id.clone());
    let cluster_id = cluster_id
        .or(known)
        .unwrap_or_else(|| Uuid::random(prng).to_string());
    let mut formatted = Formatted::new();
    // The metadata directory comes last: once it is formatted, all are.
    paths.sort_by_key(|path| *path == metadata);
    for path in paths {
        if present.contains_key(&path) {
            formatted.insert(path, false);
            continue;
        }
        let directory_id = Uuid::random(prng);
        if path == metadata {
            let voters = VoterSet::new([voter(config, directory_id)]);
            bootstrap_snapshot(disk, &path, now.wall.as_millis(), &voters).await?;
        }
        let properties = MetaProperties {
            node_id: config.node_id,
            cluster_id: cluster_id.clone(),
            directory_id: Some(directory_id),
        };
        LogDirectory::format(disk, &path, &properties).await?;
        formatted.insert(path, true);
    }
    Ok((cluster_id, formatted))
}

fn voter(config: &StaticConfig, directory_id: Uuid) -> Voter {
    Voter {
        key: VoterKey {
            id: config.node_id,
            directory_id,
        },
        endpoints: voter_endpoints(config),
        kraft_versions: (0, controller::features::KRAFT_VERSION_LEVEL),
    }
}

/// Where the node can be reached as a voter: its controller listeners.
pub(super) fn voter_endpoints(config: &StaticConfig) -> Vec<Endpoint> {
    let endpoint = |listener: &controller::configs::Listener| Endpoint {
        name: listener.name.clone(),
        host: if listener.host.is_empty() {
            "localhost".to_owned()
        } else {
            listener.host.clone()
        },
        port: listener.port,
    };
    config.listeners.controller.iter().map(endpoint).collect()
}
