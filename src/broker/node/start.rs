//! Starts a node: opens its directories, recovers its metadata, registers, takes up its partitions, opens its listeners.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use controller::configs::StaticConfig;
use controller::request::{BrokerHeartbeat, RegisterBroker};
use controller::{ControllerConfig, MetadataImage, Request, Response};
use raft::VoterKey;
use runtime::net::{ListenOptions, TcpListener};
use runtime::sync::{Notify, mpsc, oneshot};
use runtime::task::Cores;
use storage::{DirectoryContent, FileCache, LogDirectory};
use types::{Prng, Uuid};

use super::publish::{NodePublisher, apply_everywhere, everything};
use super::{NodeConfig, NodeError, NodeShared, Ready, Settings, stop};
use crate::core::{Core, SHARD_MAILBOX_MAX, ShardCall};
use crate::handlers;
use crate::housekeeping;
use crate::image::Image;
use crate::metrics::Metrics;
use crate::quorum::{CONTROLLER_MAILBOX_MAX, Call, QuorumDriver};
use crate::server::budget::MemoryBudget;
use crate::server::fetch_sessions::FetchSessions;
use crate::server::listener::{self, ConnectionCounts};
use crate::shard::{self, Shard};

/// Requests of one connection that may be under way.
const REQUESTS_IN_FLIGHT_MAX: usize = 100;

/// A node that runs.
pub struct RunningNode {
    /// What it said when it was ready.
    pub ready: Ready,
    /// What its cores share.
    pub shared: Arc<NodeShared>,
    cores: Cores<Result<(), NodeError>>,
}

impl RunningNode {
    /// Waits until the node has ended: after [`NodeShared::stop`], or because it cannot go on.
    ///
    /// # Errors
    /// Why it could not go on.
    pub async fn ended(self) -> Result<(), NodeError> {
        let results = self.cores.join().await;
        results.into_iter().collect::<Result<Vec<()>, _>>()?;
        match self.shared.fatal() {
            Some(reason) => Err(NodeError::Storage(reason)),
            None => Ok(()),
        }
    }
}

/// A core's receivers and what it starts with.
struct Seed {
    shared: Arc<NodeShared>,
    mailbox: mpsc::Receiver<ShardCall>,
    lead: Option<Lead>,
}

/// What only the first core has: it runs the quorum and brings the node up.
struct Lead {
    config: StaticConfig,
    calls: mpsc::Receiver<Call>,
    was_clean: bool,
    ready: oneshot::Sender<Ready>,
}

/// Starts a node whose log directories are formatted; ends when it serves.
///
/// # Errors
/// Why it cannot.
pub async fn start(config: NodeConfig) -> Result<RunningNode, NodeError> {
    let files = FileCache::new(config.disk.clone(), config.open_files_max);
    let (directories, contents) = open_directories(&config.config, &files).await?;
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..config.cores.max(1))
        .map(|_| mpsc::channel(SHARD_MAILBOX_MAX))
        .unzip();
    let (controller, calls) = mpsc::channel(CONTROLLER_MAILBOX_MAX);
    let metadata_directory = metadata_directory(&config.config, &directories)?;
    let was_clean = contents[metadata_directory].was_clean;
    let (ready, is_ready) = oneshot::channel();
    let static_config = config.config.clone();
    let shared = share(
        config,
        directories,
        metadata_directory,
        &contents,
        senders,
        controller,
    );
    let shared = Arc::new(shared);
    let mut lead = Some(Lead {
        config: static_config,
        calls,
        was_clean,
        ready,
    });
    let seeds = receivers.into_iter().map(|mailbox| Seed {
        shared: Arc::clone(&shared),
        mailbox,
        lead: lead.take(),
    });
    let starters: Vec<_> = seeds
        .map(|seed| move |index| run_core(index, seed))
        .collect();
    let cores = runtime::task::start_cores(starters).map_err(NodeError::Core)?;
    match is_ready.await {
        Ok(ready) => Ok(RunningNode {
            ready,
            shared,
            cores,
        }),
        Err(_) => {
            let results = cores.join().await;
            let failed = results.into_iter().find_map(Result::err);
            Err(failed
                .unwrap_or_else(|| NodeError::Storage("the node ended while it started".into())))
        }
    }
}

async fn open_directories(
    config: &StaticConfig,
    files: &FileCache,
) -> Result<(Vec<LogDirectory>, Vec<DirectoryContent>), NodeError> {
    let mut paths: Vec<&String> = config.log_dirs.iter().collect();
    if !paths.contains(&&config.metadata_log_dir) {
        paths.push(&config.metadata_log_dir);
    }
    let (mut directories, mut contents) = (Vec::new(), Vec::<DirectoryContent>::new());
    for path in paths {
        let path = PathBuf::from(path);
        let (directory, content) = LogDirectory::open(files, &path).await?;
        let properties = directory.properties();
        let foreign = |reason| NodeError::Foreign {
            path: path.clone(),
            reason,
        };
        if properties.node_id != config.node_id {
            let (found, ours) = (properties.node_id, config.node_id);
            return Err(foreign(format!(
                "it belongs to node {found}, node.id is {ours}"
            )));
        }
        let first = directories
            .first()
            .map(|first: &LogDirectory| &first.properties().cluster_id);
        if first.is_some_and(|first| *first != properties.cluster_id) {
            let found = &properties.cluster_id;
            return Err(foreign(format!(
                "it belongs to cluster {found}, the others do not"
            )));
        }
        for name in &content.deleted {
            if let Err(error) = directory.remove_deleted(name).await {
                tracing::warn!(name, %error, "the files of a deleted partition stay");
            }
        }
        directories.push(directory);
        contents.push(content);
    }
    Ok((directories, contents))
}

fn metadata_directory(
    config: &StaticConfig,
    directories: &[LogDirectory],
) -> Result<usize, NodeError> {
    let path = PathBuf::from(&config.metadata_log_dir);
    let found = directories
        .iter()
        .position(|directory| directory.path() == path);
    Ok(found.expect("every directory of the config was opened"))
}

fn share(
    config: NodeConfig,
    directories: Vec<LogDirectory>,
    metadata_directory: usize,
    contents: &[DirectoryContent],
    mailboxes: Vec<mpsc::Sender<ShardCall>>,
    controller: mpsc::Sender<Call>,
) -> NodeShared {
    let mut prng = Prng::new(config.seed, "node");
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for (index, content) in contents.iter().enumerate() {
        for name in &content.partitions {
            let places = found.entry(name.clone()).or_default();
            places.push((index, content.was_clean));
        }
    }
    let opened = directories.iter().zip(contents);
    let unclean = opened.filter(|(_, content)| !content.was_clean);
    let unclean = unclean
        .map(|(directory, _)| directory.path().to_owned())
        .collect();
    let cluster_id = directories[metadata_directory]
        .properties()
        .cluster_id
        .clone();
    let file = &config.config;
    let empty = Arc::new(MetadataImage::empty(&cluster_id));
    let image = Image::new(empty, file.node_id, &file.texts, &file.limits);
    let sessions = FetchSessions::new(file.limits.fetch_session_slots, prng.fork("fetch sessions"));
    NodeShared {
        id: file.node_id,
        settings: settings(file),
        static_configs: file.texts.clone(),
        offsets_topic: file.offsets_topic,
        voter_endpoints: super::format::voter_endpoints(file),
        limits: file.limits.clone(),
        clock: config.clock,
        authorizer: config.authorizer,
        quotas: config.quotas,
        routes: handlers::routes(),
        budget: MemoryBudget::new(budget_bytes(file, config.memory_bytes_max)),
        metrics: Metrics::default(),
        connection_counts: Arc::new(ConnectionCounts::default()),
        placed: Mutex::new(
            contents
                .iter()
                .map(|content| content.partitions.len())
                .collect(),
        ),
        deleting: Mutex::new(BTreeSet::new()),
        name_freed: Notify::new(),
        directories,
        metadata_directory,
        mailboxes,
        controller,
        image: ArcSwap::from_pointee(image),
        fetch_sessions: Mutex::new(sessions),
        found: Mutex::new(found),
        // Until all are opened: a node that does not get that far must not have them trusted.
        unclean: Mutex::new(unclean),
        producer_ids: Mutex::new((0, 0)),
        prng: Mutex::new(prng),
        broker_epoch: Mutex::new(-1),
        observer: config.observer,
        stop: Notify::new(),
        fatal: Mutex::new(None),
    }
}

fn settings(file: &StaticConfig) -> Settings {
    let idle_ms = file.sockets.connections_max_idle_ms;
    Settings {
        request_bytes_max: usize::try_from(file.sockets.request_bytes_max).expect("validated"),
        requests_in_flight_max: REQUESTS_IN_FLIGHT_MAX,
        idle_ms_max: (idle_ms >= 0).then_some(idle_ms),
        listen_backlog: u32::try_from(file.sockets.listen_backlog).expect("validated"),
        high_watermark_checkpoint_interval_ms: file.high_watermark_checkpoint_interval_ms,
        flush_offset_checkpoint_interval_ms: file.flush_offset_checkpoint_interval_ms,
        fetch_bytes_max: u64::try_from(file.fetch_bytes_max).expect("validated"),
        described_partitions_max: usize::try_from(file.request_partition_size_limit)
            .expect("validated"),
    }
}

/// `queued.max.request.bytes` makes the budget smaller, not larger.
fn budget_bytes(file: &StaticConfig, memory_bytes_max: usize) -> usize {
    let queued = usize::try_from(file.sockets.queued_request_bytes_max).unwrap_or(usize::MAX);
    memory_bytes_max.min(queued)
}

/// The life of one core.
async fn run_core(index: usize, seed: Seed) -> Result<(), NodeError> {
    let shared = seed.shared;
    let shard = Shard::new(Arc::clone(&shared));
    let core = Core::new(index, Arc::clone(&shared), shared.clock.clone(), shard);
    let mailbox = runtime::task::spawn_local(Rc::clone(&core).run_mailbox(seed.mailbox));
    runtime::task::spawn_local(shard::run_timers(Rc::clone(&core)));
    runtime::task::spawn_local(housekeeping::run(Rc::clone(&core)));
    let result = match seed.lead {
        Some(lead) => {
            let is_live = Rc::new(Cell::new(false));
            let result = lead_node(&core, lead, &is_live).await;
            stop::stop_cores(&core, &is_live).await;
            result
        }
        None => {
            core.stopping().await;
            Ok(())
        }
    };
    // The first core has closed every shard's logs before it told the others to stop.
    mailbox.abort();
    result
}

/// Brings the node up, and waits until it is to stop.
async fn lead_node(core: &Rc<Core>, lead: Lead, is_live: &Rc<Cell<bool>>) -> Result<(), NodeError> {
    let mut listeners = Vec::new();
    for spec in &lead.config.listeners.broker {
        listeners.push((
            spec.name.clone(),
            bind(core, &spec.name, &spec.host, spec.port).await?,
        ));
    }
    let addresses = addresses(&listeners);
    let publisher = NodePublisher {
        core: Rc::clone(core),
        is_live: Rc::clone(is_live),
    };
    let mut driver = recover(core, &lead, publisher).await?;
    driver.start().await?;
    controller::features::check_served(&core.node.image()).map_err(NodeError::Feature)?;
    let incarnation_id = register(core, &lead.config, &addresses, &mut driver).await?;
    is_live.set(true);
    let image = core.node.image();
    core.node.begin_take_up();
    apply_everywhere(core, &image, everything(&image)).await;
    let quorum = runtime::task::spawn_local(driver.run(lead.calls));
    open_listeners(core, listeners, &addresses).await?;
    // Nobody may be waiting any more; then the node stops at once.
    let _ = lead.ready.send(Ready {
        listeners: addresses,
        cluster_id: image.cluster_id.to_string(),
        log_directories: core
            .node
            .directories
            .iter()
            .map(|d| d.path().to_owned())
            .collect(),
        incarnation_id,
        after_millis: core.now().mono.as_nanos() as f64 / 1e6,
        is_flushed: image.topic_config("").replica.durability == replica::Durability::Flushed,
    });
    runtime::select! {
        biased;
        ended = quorum => match ended {
            Ok(result) => Ok(result?),
            Err(_) => Ok(()),
        },
        () = core.node.stop.notified() => Ok(()),
    }
}

async fn recover(
    core: &Rc<Core>,
    lead: &Lead,
    publisher: NodePublisher,
) -> Result<QuorumDriver<NodePublisher>, NodeError> {
    let node = &core.node;
    let directory = &node.directories[node.metadata_directory];
    let directory_id = directory.properties().directory_id.unwrap_or(Uuid::ZERO);
    let key = VoterKey {
        id: node.id,
        directory_id,
    };
    let config = ControllerConfig {
        node_id: node.id,
        static_configs: node.static_configs.clone(),
        limits: node.limits.clone(),
    };
    let (clock, prng) = (node.clock.clone(), node.prng("controller"));
    let recovered = QuorumDriver::recover(
        clock,
        directory,
        lead.was_clean,
        key,
        config,
        prng,
        publisher,
        node.observer.clone(),
    );
    Ok(recovered.await?)
}

/// Registers this broker and has it unfenced; gives its incarnation's id.
async fn register(
    core: &Rc<Core>,
    config: &StaticConfig,
    addresses: &BTreeMap<String, SocketAddr>,
    driver: &mut QuorumDriver<NodePublisher>,
) -> Result<Uuid, NodeError> {
    let node = &core.node;
    let incarnation_id = node.random_uuid();
    let ports = addresses
        .iter()
        .map(|(name, address)| (name.clone(), address.port()))
        .collect();
    let registration = RegisterBroker {
        broker_id: node.id,
        cluster_id: node.image().cluster_id.to_string(),
        incarnation_id,
        endpoints: config.listeners.endpoints("localhost", &ports),
        features: controller::features::supported_features(),
        rack: config.rack.clone(),
        log_dirs: node
            .directories
            .iter()
            .filter_map(|d| d.properties().directory_id)
            .collect(),
        previous_incarnation_is_dead: true,
    };
    let full =
        || NodeError::Storage("the disk is full: the broker cannot be registered".to_owned());
    let response = driver
        .decide(Request::RegisterBroker(registration))
        .await?
        .ok_or_else(full)?;
    let Response::RegisterBroker(registered) = response else {
        panic!("asked for a registration")
    };
    let broker_epoch = registered.map_err(NodeError::Register)?;
    *node
        .broker_epoch
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = broker_epoch;
    let heartbeat = BrokerHeartbeat {
        broker_id: node.id,
        broker_epoch,
        current_metadata_offset: node.image().provenance.offset,
        want_fence: false,
        want_shut_down: false,
        cordoned_log_dirs: Vec::new(),
    };
    let response = driver
        .decide(Request::BrokerHeartbeat(heartbeat))
        .await?
        .ok_or_else(full)?;
    let Response::BrokerHeartbeat(reply) = response else {
        panic!("asked for a heartbeat")
    };
    let reply = reply.map_err(NodeError::Register)?;
    assert!(
        !reply.is_fenced,
        "a broker that has read all metadata is unfenced"
    );
    Ok(incarnation_id)
}

fn addresses(listeners: &[(String, TcpListener)]) -> BTreeMap<String, SocketAddr> {
    let address = |(name, listener): &(String, TcpListener)| {
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        (name.clone(), address)
    };
    listeners.iter().map(address).collect()
}

async fn bind(core: &Core, name: &str, host: &str, port: u16) -> Result<TcpListener, NodeError> {
    let failed = |error| NodeError::Listen {
        name: name.to_owned(),
        address: format!("{host}:{port}"),
        error,
    };
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let resolved = runtime::net::lookup_host(host, port)
        .await
        .map_err(failed)?;
    let nothing = std::io::Error::new(std::io::ErrorKind::NotFound, "no such host");
    let mut last = nothing;
    let options = ListenOptions {
        reuse_port: true,
        backlog: core.node.settings.listen_backlog,
    };
    for address in resolved {
        match TcpListener::bind(address, options).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// Opens the listeners on every core, and accepts from now on.
async fn open_listeners(
    core: &Rc<Core>,
    own: Vec<(String, TcpListener)>,
    addresses: &BTreeMap<String, SocketAddr>,
) -> Result<(), NodeError> {
    let mut waiting = VecDeque::new();
    for index in 1..core.node.mailboxes.len() {
        let (sender, receiver) = oneshot::channel();
        let addresses = addresses.clone();
        let open = move |core: &Rc<Core>| {
            let core = Rc::clone(core);
            runtime::task::spawn_local(async move {
                let _ = sender.send(open_here(&core, addresses).await);
            });
        };
        if core.post(index, open).await.is_ok() {
            waiting.push_back(receiver);
        }
    }
    for receiver in waiting {
        if let Ok(opened) = receiver.await {
            opened?;
        }
    }
    for (name, socket) in own {
        runtime::task::spawn_local(listener::accept(Rc::clone(core), socket, name));
    }
    Ok(())
}

async fn open_here(
    core: &Rc<Core>,
    addresses: BTreeMap<String, SocketAddr>,
) -> Result<(), NodeError> {
    for (name, address) in addresses {
        let socket = bind(core, &name, &address.ip().to_string(), address.port()).await?;
        runtime::task::spawn_local(listener::accept(Rc::clone(core), socket, name));
    }
    Ok(())
}
