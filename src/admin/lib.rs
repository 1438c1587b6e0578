//! HTTP beside a node, for people and their tools: metrics and health. Never linked into the simulated binary.
//!
//! It runs on the core that starts it: one that has nothing else to do, such as the one that waits for the node's end,
//! so that a scrape takes no time from the cores that serve, and no thread is added. Everything it shows is read when
//! it is asked for; nothing is kept between two requests.

mod families;
pub mod figures;
mod health;
mod metrics;
mod server;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker::node::NodeShared;
use runtime::net::{ListenOptions, TcpListener};
use runtime::sync::oneshot;
use runtime::task::JoinHandle;

/// Where HTTP is served unless told otherwise.
pub const ADDRESS_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9644);

/// Connections that the system may queue to be accepted.
const BACKLOG: u32 = 64;
/// How long requests under way may take when it ends.
const DRAIN: Duration = Duration::from_millis(500);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("HTTP at {address}: {error}")]
pub struct HttpError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub error: std::io::Error,
}

/// HTTP that is being served. It ends when this is stopped or dropped.
pub struct HttpServer {
    address: SocketAddr,
    /// Dropped to end it.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Where it listens, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: nothing is accepted any more, and connections end with the request under way.
    pub async fn stop(self) {
        drop(self.stop);
        let mut task = self.task;
        if runtime::time::timeout(DRAIN, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Serves `/metrics`, `/livez` and `/readyz` of the node at `address`, on this core; port 0 lets the system choose.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve_http(
    address: SocketAddr,
    node: Arc<NodeShared>,
) -> Result<HttpServer, HttpError> {
    let failed = |error| HttpError { address, error };
    let options = ListenOptions {
        reuse_port: false,
        backlog: BACKLOG,
    };
    let socket = TcpListener::bind(address, options).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    let (stop, stopped) = oneshot::channel();
    let task = runtime::task::spawn_local(server::run(socket, node, stopped));
    Ok(HttpServer {
        address,
        stop,
        task,
    })
}
