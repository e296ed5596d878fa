//! A listener: accepts connections, bounds what they hold, and closes without cutting a request off.
//!
//! A connection that has no request in progress is idle, also where half of a head has come in: whoever opens
//! connections and says nothing neither keeps others out nor the service from ending.

use std::fmt::Display;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use crate::refusal::Refusal;
use crate::refusal::Refusing;

/// For a request's head, and for the next request on a connection.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// How long a head that is on its way at the end may still take.
const LAST_HEAD: Duration = Duration::from_secs(1);
/// What a connection holds of what came in and was not taken yet: the largest head, with room for a long token.
const BUFFER_BYTES: usize = 32 * 1024;
/// Pause after a connection could not be accepted, which is for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener at work.
pub struct Listening {
    address: SocketAddr,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Binds `address`, which is what the setting `key` says. Of more than `max_connections` the one that was idle
    /// longest is closed; while none is idle, no more are accepted. What is no HTTP request is answered by `refusal`.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub async fn start(
        key: &str,
        address: impl ToSocketAddrs + Display,
        max_connections: usize,
        router: Router,
        refusal: Refusal,
    ) -> Result<Self> {
        let listener = TcpListener::bind(&address)
            .await
            .with_context(|| format!("listening on {address}: free it, or set {key} to another"))?;
        let address = listener.local_addr().with_context(|| format!("asking which port {address} became"))?;
        let (stop, stopped) = oneshot::channel();
        Ok(Self { address, stop, task: tokio::spawn(serve(listener, router, max_connections, refusal, stopped)) })
    }

    /// Where it really listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, and waits for requests that have begun; those that last longer than `deadline` are cut off.
    pub async fn stop(self, deadline: Duration) {
        // Both fail only if the task is over already.
        let _ = self.stop.send(deadline);
        let _ = self.task.await;
    }
}

/// What is known of a connection from outside.
struct Connection {
    /// Requests whose head is there and whose answer is not.
    requests: AtomicUsize,
    idle_since: Mutex<Instant>,
    /// Told to make room.
    evicted: Notify,
}

impl Connection {
    fn new() -> Arc<Self> {
        Arc::new(Self { requests: AtomicUsize::new(0), idle_since: Mutex::new(Instant::now()), evicted: Notify::new() })
    }

    fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Acquire) == 0
    }

    fn idle_since(&self) -> Instant {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a request until its answer is there, or nobody waits for it any more.
struct InProgress(Arc<Connection>);

impl InProgress {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.requests.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(connection))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    refusal: Refusal,
    mut stopped: oneshot::Receiver<Duration>,
) {
    let (closing, closed) = watch::channel(false);
    let mut known: Vec<Arc<Connection>> = Vec::new();
    let mut connections = JoinSet::new();
    let deadline = loop {
        let is_full = connections.len() >= max_connections;
        if is_full && let Some(idle) = idle_longest(&known) {
            idle.evicted.notify_one();
        }
        tokio::select! {
            accepted = listener.accept(), if !is_full => match accepted {
                Ok((stream, _)) => {
                    // Answers are complete: nothing is gained by holding back their last bytes.
                    let _ = stream.set_nodelay(true);
                    let connection = Connection::new();
                    known.retain(|other| Arc::strong_count(other) > 1);
                    known.push(Arc::clone(&connection));
                    connections.spawn(converse(Refusing::new(stream, refusal), router.clone(), connection, closed.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Keeps the set from growing with connections that are over.
            Some(_) = connections.join_next() => {}
            // One that was busy may be idle by now.
            () = tokio::time::sleep(ACCEPT_PAUSE), if is_full => {}
            deadline = &mut stopped => match deadline {
                Ok(deadline) => break deadline,
                // The service was dropped, not shut down: so are its connections.
                Err(_) => return,
            },
        }
    };
    drop(listener);
    closing.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(deadline, all).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were cut off at the shutdown's deadline");
    }
}

fn idle_longest(known: &[Arc<Connection>]) -> Option<&Arc<Connection>> {
    known.iter().filter(|one| Arc::strong_count(one) > 1 && one.is_idle()).min_by_key(|one| one.idle_since())
}

async fn converse(stream: Refusing, router: Router, connection: Arc<Connection>, mut closed: watch::Receiver<bool>) {
    let router = TowerToHyperService::new(router);
    let service = {
        let connection = Arc::clone(&connection);
        hyper::service::service_fn(move |request| {
            let in_progress = InProgress::new(&connection);
            let answer = router.call(request);
            async move {
                let answer = answer.await;
                drop(in_progress);
                answer
            }
        })
    };
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut conversation = pin!(conversation);
    let mut last_head = None;
    loop {
        let ended = tokio::select! {
            biased;
            ended = conversation.as_mut() => Some(ended),
            () = connection.evicted.notified() => None,
            // An error means that the listener is gone, and with it this task.
            Ok(_) = closed.wait_for(|closed| *closed), if last_head.is_none() => {
                last_head = Some(tokio::time::Instant::now() + LAST_HEAD);
                conversation.as_mut().graceful_shutdown();
                continue;
            }
            () = until(last_head) => None,
        };
        match ended {
            // The client's doing: it went away, or did not speak HTTP.
            Some(Err(error)) => tracing::debug!(%error, "a connection ended early"),
            Some(Ok(())) => {}
            // Its next answer is its last.
            None if !connection.is_idle() && last_head.is_some() => {
                last_head = Some(tokio::time::Instant::now() + LAST_HEAD);
                continue;
            }
            None if !connection.is_idle() => continue,
            None => tracing::debug!("an idle connection was closed"),
        }
        return;
    }
}

/// Never, where there is no such time.
async fn until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
