//! A local port that leads to one pod.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::surroundings::Replica;

/// Every connection to its local port is carried through the API server to a port of the pod, until it is dropped.
/// Connections that are open by then end by themselves.
pub(crate) struct Forward {
    pod: String,
    url: String,
    listening: JoinHandle<()>,
}

impl Forward {
    /// # Errors
    /// Where no local port can be had.
    pub(crate) async fn open(pods: Api<Pod>, pod: &str, port: u16) -> Result<Forward> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("opening a local port for a port-forward")?;
        let url = format!("http://{}", listener.local_addr().context("asking for the number of a local port")?);
        let name = pod.to_owned();
        let listening = tokio::spawn(async move {
            // A failed accept ends the forward: whoever connects then is refused, which is told.
            while let Ok((stream, _)) = listener.accept().await {
                let (pods, name) = (pods.clone(), name.clone());
                tokio::spawn(async move {
                    if let Err(error) = carry(stream, &pods, &name, port).await {
                        eprintln!("port-forward to pod {name}, port {port}: {error:#}");
                    }
                });
            }
        });
        Ok(Forward { pod: pod.to_owned(), url, listening })
    }
}

async fn carry(mut local: TcpStream, pods: &Api<Pod>, pod: &str, port: u16) -> Result<()> {
    let mut forwarder = pods.portforward(pod, &[port]).await.context("asking the API server for it")?;
    let mut remote = forwarder.take_stream(port).context("the API server gave no stream for the port")?;
    // Either side may close in the middle, as every HTTP client does with a connection that it keeps no longer.
    let _ = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
    Ok(())
}

impl Replica for Forward {
    fn name(&self) -> &str {
        &self.pod
    }

    fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
