//! `millrace serve`: runs a broker until it is asked to end.

use std::net::SocketAddr;
use std::sync::Arc;

use admin::HttpServer;
use anyhow::{Context, Result, bail};
use broker::config::StaticConfig;
use broker::node::{NodeConfig, Ready, RunningNode};
use broker::server::authorizer::{Authorizer, Quotas};
use runtime::Clock;
use runtime::disk::Disk;
use tracing_subscriber::EnvFilter;
use types::Prng;

use crate::config::ConfigArguments;

/// Bytes that requests and responses may hold unless told otherwise.
const MEMORY_BYTES_MAX: usize = 512 << 20;
/// The share of the process's descriptors that segments may hold open: as many again may be opened for a moment, and
/// the rest is for connections.
const OPEN_FILES_SHARE: u64 = 4;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Where HTTP is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HttpPlace {
    Off,
    At(SocketAddr),
}

fn http_place(text: &str) -> Result<HttpPlace, String> {
    if text == "off" {
        return Ok(HttpPlace::Off);
    }
    let address = text.parse().map(HttpPlace::At);
    address.map_err(|_| "expected an address with its port, such as 127.0.0.1:9644, or off".into())
}

/// What `serve` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// How log lines look. What is logged is set by RUST_LOG, by default warnings and more.
    #[arg(long, value_enum, default_value = "human")]
    log_format: LogFormat,
    /// Where metrics and health are served over HTTP, or `off`. By default 127.0.0.1:9644 if that is free.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = http_place)]
    http: Option<HttpPlace>,
    /// Cores to run on; by default all that the process may use.
    #[arg(long)]
    cores: Option<usize>,
    /// Bytes that requests and responses may hold.
    #[arg(long, default_value_t = MEMORY_BYTES_MAX)]
    memory_bytes: usize,
}

/// Serves.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    runtime::process::use_small_pages();
    start_log(arguments.log_format);
    runtime::task::block_on(async {
        // From here on: clients are served before the start has ended, and whoever was served may ask for a clean stop.
        let terminated = runtime::signal::terminated().context("signals")?;
        let node = start(arguments).await?;
        let shared = Arc::clone(&node.shared);
        let http = match serve_http(arguments.http, &node).await {
            Ok(http) => http,
            Err(error) => {
                shared.stop();
                node.ended().await?;
                return Err(error);
            }
        };
        println!("{}", ready_line(&node.ready));
        let terminated = runtime::task::spawn_local(async move {
            terminated.await;
            tracing::info!("asked to end");
            shared.stop();
        });
        let ended = node.ended().await;
        terminated.abort();
        if let Some(http) = http {
            http.stop().await;
        }
        Ok(ended?)
    })
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Human => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Serves HTTP where it was asked for. That the default address is taken, by another node of this machine perhaps,
/// keeps no broker from serving.
async fn serve_http(asked: Option<HttpPlace>, node: &RunningNode) -> Result<Option<HttpServer>> {
    let address = match asked {
        Some(HttpPlace::Off) => return Ok(None),
        Some(HttpPlace::At(address)) => address,
        None => admin::ADDRESS_DEFAULT,
    };
    match admin::serve_http(address, Arc::clone(&node.shared)).await {
        Ok(server) => Ok(Some(server)),
        Err(error) if asked.is_none() => {
            eprintln!("warning: no metrics and health: {error} (--http gives another address)");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn start(arguments: &Arguments) -> Result<RunningNode> {
    let (disk, clock) = (Disk::new(), Clock::start());
    let (config, warnings) = arguments.config.read(&disk).await?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    let seed = runtime::entropy();
    if arguments.config.is_embedded() {
        let mut prng = Prng::new(seed, "format");
        broker::node::format(&disk, &config, None, clock.now(), &mut prng).await?;
    }
    let cores = arguments.cores.unwrap_or_else(runtime::process::core_count);
    if cores == 0 {
        bail!("--cores 0: at least one core is needed");
    }
    let node =
        broker::node::start(node_config(arguments, config, disk, clock, seed, cores)).await?;
    Ok(node)
}

fn node_config(
    arguments: &Arguments,
    config: StaticConfig,
    disk: Disk,
    clock: Clock,
    seed: u64,
    cores: usize,
) -> NodeConfig {
    let open_files_max = runtime::process::open_files_max() / OPEN_FILES_SHARE;
    NodeConfig {
        config,
        disk,
        clock,
        seed,
        cores,
        open_files_max: usize::try_from(open_files_max).unwrap_or(usize::MAX),
        memory_bytes_max: arguments.memory_bytes,
        authorizer: Authorizer::AllowAll,
        quotas: Quotas::Unlimited,
        observer: None,
    }
}

/// One line: where, when, and what an acknowledgement means.
fn ready_line(ready: &Ready) -> String {
    let listeners: Vec<String> = ready
        .listeners
        .iter()
        .map(|(name, address)| format!("{name}://{address}"))
        .collect();
    format!(
        "millrace is ready: {} after {:.0} ms, cluster {}, durability {} (acks=all means {})",
        listeners.join(","),
        ready.after_millis,
        ready.cluster_id,
        if ready.is_flushed {
            "flushed"
        } else {
            "replicated"
        },
        if ready.is_flushed {
            "on disk"
        } else {
            "in memory"
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_at_an_address_or_off() {
        let at = HttpPlace::At(SocketAddr::from(([127, 0, 0, 1], 80)));
        assert_eq!(http_place("127.0.0.1:80"), Ok(at));
        assert_eq!(http_place("off"), Ok(HttpPlace::Off));
        assert!(http_place("localhost").is_err());
    }
}
