//! The composition root: starts, recovers, serves, drains and stops a node. Read this second, after `docs/ARCHITECTURE.md`.

mod format;
mod publish;
mod shared;
mod start;
mod stop;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use controller::configs::StaticConfig;
use runtime::Clock;
use runtime::disk::Disk;
use types::Uuid;

use crate::observer::Observer;
use crate::server::authorizer::{Authorizer, Quotas};

pub use format::{Formatted, format};
pub use shared::{ControllerUnavailable, NodeShared, Settings};
pub use start::{RunningNode, start};

/// What a node is made of.
pub struct NodeConfig {
    /// Its config file, parsed.
    pub config: StaticConfig,
    /// The disk under its log directories.
    pub disk: Disk,
    /// Its clock.
    pub clock: Clock,
    /// What all its randomness is drawn from.
    pub seed: u64,
    /// Cores to run on, at least 1.
    pub cores: usize,
    /// Files that may be open at the same time.
    pub open_files_max: usize,
    /// Bytes that requests and responses may hold.
    pub memory_bytes_max: usize,
    /// Who may do what.
    pub authorizer: Authorizer,
    /// Who is throttled.
    pub quotas: Quotas,
    /// Who is shown every step; nobody in production.
    pub observer: Option<Arc<dyn Observer>>,
}

/// A node that serves.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its listeners by name, with the address each is bound to.
    pub listeners: BTreeMap<String, SocketAddr>,
    /// The cluster.
    pub cluster_id: String,
    /// What its log directories are.
    pub log_directories: Vec<PathBuf>,
    /// Drawn anew by each start.
    pub incarnation_id: Uuid,
    /// How long the start took, in milliseconds.
    pub after_millis: f64,
    /// Whether topics are of the class *flushed* unless they say otherwise.
    pub is_flushed: bool,
}

/// Why a node could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A log directory.
    #[error(transparent)]
    Directory(#[from] storage::DirectoryError),
    /// The log directories do not belong together.
    #[error("{path}: {reason}", path = path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A directory cannot be formatted.
    #[error(transparent)]
    Format(#[from] crate::quorum::FormatError),
    /// The metadata cannot be recovered.
    #[error(transparent)]
    Recover(#[from] crate::quorum::RecoverQuorumError),
    /// The metadata quorum failed.
    #[error(transparent)]
    Quorum(#[from] crate::quorum::QuorumFailure),
    /// A listener cannot be opened.
    #[error("listener {name} at {address}: {error}")]
    Listen {
        /// Its name.
        name: String,
        /// Where.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The broker cannot be registered.
    #[error("the broker cannot be registered: {0}")]
    Register(controller::error::BrokerError),
    /// The directory was formatted for features that are not served.
    #[error("the cluster uses a feature that is not served: {0}")]
    Feature(controller::error::FeatureError),
    /// A thread could not be started.
    #[error("a core could not be started: {0}")]
    Core(std::io::Error),
    /// Nothing can be stored any more.
    #[error("{0}")]
    Storage(String),
}
