//! A node of one core in this process, for what counts; tests/allocations has it too.

use broker::config::StaticConfig;
use broker::node::{NodeConfig, RunningNode};
use broker::server::authorizer::{Authorizer, Quotas};
use runtime::Clock;
use runtime::disk::Disk;
use tempfile::TempDir;
use types::Prng;

/// A node that runs, and the directory that it runs in.
pub struct Node {
    root: TempDir,
    /// The node.
    pub running: RunningNode,
}

impl Node {
    /// In an empty directory.
    pub async fn start() -> Node {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data").display().to_string();
        let mut texts = StaticConfig::embedded(&data);
        let listeners = ("listeners".to_owned(), "PLAINTEXT://127.0.0.1:0".to_owned());
        texts.extend([listeners]);
        let (config, _) = StaticConfig::parse(&texts).expect("a good config");
        let (disk, clock) = (Disk::new(), Clock::start());
        let mut prng = Prng::new(7, "format");
        let formatted = broker::node::format(&disk, &config, None, clock.now(), &mut prng);
        formatted.await.expect("an empty directory is formatted");
        let running = broker::node::start(NodeConfig {
            config,
            disk,
            clock,
            seed: 7,
            cores: 1,
            open_files_max: 400,
            memory_bytes_max: 64 << 20,
            authorizer: Authorizer::AllowAll,
            quotas: Quotas::Unlimited,
            observer: None,
        });
        let running = running.await.expect("the node starts");
        Node { root, running }
    }

    /// Stops it.
    pub async fn stop(self) {
        self.running.shared.stop();
        self.running.ended().await.expect("a clean end");
        drop(self.root);
    }
}
