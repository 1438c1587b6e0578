//! HTTP beside a node, for people and their tools: metrics and health. Never linked into the simulated binary.
//!
//! It runs on a core of its own, so that a scrape takes no time from the cores that serve. Everything it shows is
//! read when it is asked for; nothing is kept between two requests.

mod families;
mod health;
mod metrics;
mod server;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use broker::node::NodeShared;
use runtime::sync::{Notify, oneshot};
use runtime::task::Cores;

/// Where HTTP is served unless told otherwise.
pub const ADDRESS_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9644);

/// Why HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("HTTP at {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The core could not be started, or ended at once.
    #[error("HTTP has no core to run on: {0}")]
    Core(std::io::Error),
}

/// HTTP that is being served. It ends when this is stopped or dropped.
pub struct HttpServer {
    address: SocketAddr,
    stop: Arc<Notify>,
    cores: Option<Cores<()>>,
}

impl HttpServer {
    /// Where it listens, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: requests under way are cut off.
    pub async fn stop(mut self) {
        self.stop.notify_one();
        if let Some(cores) = self.cores.take() {
            cores.join().await;
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

/// Serves `/metrics`, `/livez` and `/readyz` of the node at `address`; port 0 lets the system choose.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve_http(
    address: SocketAddr,
    node: Arc<NodeShared>,
) -> Result<HttpServer, HttpError> {
    let stop = Arc::new(Notify::new());
    let (sender, bound) = oneshot::channel();
    let is_stopped = Arc::clone(&stop);
    let starter = move |_index| server::run(address, node, is_stopped, sender);
    let cores = runtime::task::start_cores(vec![starter]).map_err(HttpError::Core)?;
    let ended = || std::io::Error::other("it ended while it started");
    let bound = bound.await.map_err(|_| HttpError::Core(ended()))?;
    let address = bound.map_err(|error| HttpError::Listen { address, error })?;
    Ok(HttpServer {
        address,
        stop,
        cores: Some(cores),
    })
}
