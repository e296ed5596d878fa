//! Stands between a gateway and the API server, and can hold everything back or cut everything off.

use std::net::SocketAddr;

use kube::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::server;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// Everything goes through.
    Pass,
    /// Connections stay, nothing moves.
    Stall,
    /// Connections are cut, and new ones too.
    Cut,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, seen) = watch::channel(Mode::Pass);
        let target = server().url().trim_start_matches("https://").to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, target.clone(), seen.clone()));
            }
        });
        Self { address, mode }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// A client of whoever has the token, through this proxy.
    pub(crate) fn client(&self, token: &str) -> Client {
        let mut config = server().config(token).unwrap();
        config.cluster_url = format!("https://{}", self.address).parse().unwrap();
        Client::try_from(config).unwrap()
    }
}

async fn connection(client: TcpStream, target: String, mode: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let ((client_reads, client_writes), (server_reads, server_writes)) = (client.into_split(), server.into_split());
    let mut watched = mode.clone();
    tokio::select! {
        () = copy(client_reads, server_writes, mode.clone()) => {}
        () = copy(server_reads, client_writes, mode) => {}
        _ = watched.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let may_pass = mode.wait_for(|mode| *mode == Mode::Pass).await.is_ok();
        if !may_pass || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
