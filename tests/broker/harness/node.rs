//! A node in this process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::config::StaticConfig;
use broker::node::{NodeConfig, NodeError, RunningNode};
use broker::observer::Observer;
use broker::server::authorizer::{Authorizer, Quotas};
use runtime::Clock;
use runtime::disk::Disk;
use tempfile::TempDir;
use types::Prng;

use super::Kafka;

/// How a node differs from the usual one.
#[derive(Clone)]
pub struct Options {
    /// Keys of its config file; `log.dirs` lie below its directory.
    pub configs: BTreeMap<String, String>,
    /// Names of its log directories.
    pub log_dirs: Vec<String>,
    /// Who may do what.
    pub authorizer: Authorizer,
    /// Who is throttled.
    pub quotas: Quotas,
    /// Bytes of requests and responses.
    pub memory_bytes_max: usize,
    /// Who is shown every step.
    pub observer: Option<Arc<dyn Observer>>,
    /// Files of segments that may be open.
    pub open_files_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            configs: BTreeMap::new(),
            log_dirs: vec!["data".to_owned()],
            authorizer: Authorizer::AllowAll,
            quotas: Quotas::Unlimited,
            memory_bytes_max: 64 << 20,
            observer: None,
            open_files_max: 400,
        }
    }
}

impl Options {
    /// With a key of its config file.
    pub fn with(mut self, key: &str, value: &str) -> Options {
        self.configs.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The parsed file of a node in `root`.
    pub fn parse(&self, root: &Path) -> StaticConfig {
        let log_dirs: Vec<String> = self
            .log_dirs
            .iter()
            .map(|name| root.join(name).display().to_string())
            .collect();
        let mut texts = StaticConfig::embedded(&log_dirs.join(","));
        for (key, value) in [
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("offsets.topic.num.partitions", "3"),
            ("group.initial.rebalance.delay.ms", "0"),
        ] {
            texts.insert(key.to_owned(), value.to_owned());
        }
        texts.extend(self.configs.clone());
        let (config, _) = StaticConfig::parse(&texts).expect("a good config");
        config
    }
}

/// The directory of a node that does not run.
pub struct Data {
    root: TempDir,
    options: Options,
}

impl Data {
    /// An empty one.
    pub fn new(options: Options) -> Data {
        let root = tempfile::tempdir().expect("a directory");
        Data { root, options }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// A directory with the files below `from` in it.
    pub fn copied(from: &Path, options: Options) -> Data {
        let data = Data::new(options);
        let target = data.path().join(&data.options.log_dirs[0]);
        std::fs::create_dir(&target).expect("a new directory");
        copy(from, &target);
        data
    }

    /// Changes how the node is started.
    pub fn options(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Formats what is not formatted, and starts.
    pub async fn start(self) -> Broker {
        match self.try_start().await {
            Ok(broker) => broker,
            Err((_, error)) => panic!("the node does not start: {error}"),
        }
    }

    /// As [`Data::start`], where it may fail.
    pub async fn try_start(self) -> Result<Broker, (Data, NodeError)> {
        match start_in(self.root.path(), &self.options).await {
            Ok(node) => Ok(Broker { data: self, node }),
            Err(error) => Err((self, error)),
        }
    }
}

/// Starts a node in `root`.
pub async fn start_in(root: &Path, options: &Options) -> Result<RunningNode, NodeError> {
    let (disk, clock) = (Disk::new(), Clock::start());
    let config = options.parse(root);
    // As a new process has: a broker is not taken for its own earlier life.
    let seed = runtime::entropy();
    let mut prng = Prng::new(seed, "format");
    broker::node::format(&disk, &config, None, clock.now(), &mut prng).await?;
    broker::node::start(NodeConfig {
        config,
        disk,
        clock,
        seed,
        cores: 2,
        open_files_max: options.open_files_max,
        memory_bytes_max: options.memory_bytes_max,
        authorizer: options.authorizer,
        quotas: options.quotas,
        observer: options.observer.clone(),
    })
    .await
}

/// A node that runs.
pub struct Broker {
    data: Data,
    /// The node.
    pub node: RunningNode,
}

impl Broker {
    /// A usual node.
    pub async fn new() -> Broker {
        Broker::with(Options::default()).await
    }

    /// One that differs.
    pub async fn with(options: Options) -> Broker {
        Data::new(options).start().await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.node.ready.listeners["PLAINTEXT"]
    }

    /// A new connection to it.
    pub async fn kafka(&self) -> Kafka {
        Kafka::connect(self.address()).await
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.data.path()
    }

    /// Where a partition's files are, in the first log directory.
    pub fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        let log_dir = &self.data.options.log_dirs[0];
        self.path()
            .join(log_dir)
            .join(format!("{topic}-{partition}"))
    }

    /// Stops it as SIGTERM does.
    pub async fn stop(self) -> Data {
        self.node.shared.stop();
        self.node.ended().await.expect("a clean end");
        self.data
    }

    /// What a kill at this moment would leave: a copy of its files, which the page cache keeps as they are.
    pub async fn killed(self) -> Data {
        let root = tempfile::tempdir().expect("a directory");
        copy(self.path(), root.path());
        let options = self.data.options.clone();
        drop(self.stop().await);
        Data { root, options }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            std::fs::create_dir(&target).expect("a new directory");
            copy(&entry.path(), &target);
        } else if let Err(error) = std::fs::copy(entry.path(), &target) {
            // A temporary file may have been renamed meanwhile.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}
