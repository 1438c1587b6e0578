//! The HTTP server: routes, and a listener that holds few connections.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use broker::node::NodeShared;
use runtime::io::{AsyncRead, AsyncWrite, ReadBuf};
use runtime::net::{TcpListener, TcpStream};
use runtime::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{health, metrics};

/// Connections held at the same time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// How long nothing is accepted after an accept has failed, for lack of descriptors perhaps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What [`metrics::text`] is.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the other end of `stopped` is dropped, and no connection is left.
pub(crate) async fn run(
    socket: TcpListener,
    node: Arc<NodeShared>,
    stopped: oneshot::Receiver<()>,
) {
    let listener = Bounded {
        socket,
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
    };
    let served = axum::serve(listener, routes(node)).with_graceful_shutdown(async {
        // Nothing is ever sent.
        let _ = stopped.await;
    });
    if let Err(error) = served.await {
        tracing::error!(%error, "HTTP ended");
    }
}

fn routes(node: Arc<NodeShared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(node)
}

async fn metrics_page(State(node): State<Arc<NodeShared>>) -> impl IntoResponse {
    let text = metrics::text(&node).await;
    ([(header::CONTENT_TYPE, OPENMETRICS)], text)
}

async fn livez(State(node): State<Arc<NodeShared>>) -> impl IntoResponse {
    verdict(health::live(&node).await)
}

async fn readyz(State(node): State<Arc<NodeShared>>) -> impl IntoResponse {
    verdict(health::ready(&node).await)
}

fn verdict(health: Result<(), String>) -> (StatusCode, String) {
    match health {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// A listener that accepts only while few connections are open.
struct Bounded {
    socket: TcpListener,
    places: Arc<Semaphore>,
}

impl axum::serve::Listener for Bounded {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("the places are never closed");
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    let held = Held {
                        stream,
                        _place: place,
                    };
                    return (held, peer);
                }
                Err(error) => {
                    tracing::debug!(%error, "an HTTP connection was not accepted");
                    runtime::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A connection in its place.
struct Held {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
