//! A listener: accepts connections, gives each a deadline for its requests' heads, and closes without cutting any off.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// For a request's head, and for the next request on a connection.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// Pause after a connection could not be accepted, which is for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener at work.
pub(super) struct Listening {
    address: SocketAddr,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Binds `address`, which is what the setting `key` says.
    pub(super) async fn start(key: &str, address: SocketAddr, router: Router) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listening on {address}: free it, or set {key} to another"))?;
        let address = listener.local_addr().with_context(|| format!("asking which port {address} became"))?;
        let (stop, stopped) = oneshot::channel();
        Ok(Self { address, stop, task: tokio::spawn(serve(listener, router, stopped)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, and waits for requests that have begun; those that last longer than `deadline` are cut off.
    pub(super) async fn stop(self, deadline: Duration) {
        // Both fail only if the task is over already.
        let _ = self.stop.send(deadline);
        let _ = self.task.await;
    }
}

async fn serve(listener: TcpListener, router: Router, mut stopped: oneshot::Receiver<Duration>) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let deadline = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), graceful.watcher()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Keeps the set from growing with connections that are over.
            Some(_) = connections.join_next() => {}
            deadline = &mut stopped => match deadline {
                Ok(deadline) => break deadline,
                // The gateway was dropped, not shut down: so are its connections.
                Err(_) => return,
            },
        }
    };
    drop(listener);
    if tokio::time::timeout(deadline, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were cut off at the shutdown's deadline");
    }
}

async fn connection(stream: TcpStream, router: Router, watcher: hyper_util::server::graceful::Watcher) {
    // Answers are small and complete: nothing is gained by holding them back.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        // The client's doing: it went away, or did not speak HTTP.
        tracing::debug!(%error, "a connection ended early");
    }
}
