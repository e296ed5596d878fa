//! The address of a workload: a port that stays while instances come and go.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e_support::ports;

/// For an instance of this machine to take a connection.
const CONNECT: Duration = Duration::from_secs(2);
const BUFFER_BYTES: usize = 16 * 1024;
/// Each connection has two threads that hold little more than their buffer.
const STACK_BYTES: usize = 96 * 1024;

/// A port of 127.0.0.1 that leads each new connection to one of several others in turn. A connection that is open stays
/// with the instance that it leads to, whatever becomes of that. Where there is none, connections are closed at once.
#[derive(Debug)]
pub(super) struct Forwarder {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

/// What a connection is led to.
pub(super) trait Lead: std::fmt::Debug + Send + Sync {
    /// Carries a client's connection to its end, in both directions.
    fn carry(&self, client: TcpStream);
}

impl Lead for SocketAddr {
    fn carry(&self, client: TcpStream) {
        connect(client, *self);
    }
}

#[derive(Debug, Default)]
struct Shared {
    targets: Mutex<Vec<Arc<dyn Lead>>>,
    turn: AtomicUsize,
    is_over: AtomicBool,
}

impl Forwarder {
    /// Opens a free port that leads nowhere yet.
    ///
    /// # Errors
    /// When the system has no port or no thread for it.
    pub(super) fn open() -> Result<Forwarder> {
        let listener = ports::listen().context("opening a port of a workload")?;
        let address = listener.local_addr().context("asking for the number of a workload's port")?;
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let listening = std::thread::Builder::new()
            .name("forwarder".into())
            .spawn(move || of_thread.listen(&listener))
            .context("starting the thread of a workload's port")?;
        Ok(Forwarder { address, shared, listening: Some(listening) })
    }

    /// The number of the port.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on new connections lead to these ports of 127.0.0.1.
    pub(super) fn lead_to(&self, ports: Vec<u16>) {
        let address = |port| Arc::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) as Arc<dyn Lead>;
        self.lead(ports.into_iter().map(address).collect());
    }

    /// From now on new connections are led to these.
    pub(super) fn lead(&self, targets: Vec<Arc<dyn Lead>>) {
        *self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // The thread waits for a connection: this one.
        let _ = TcpStream::connect_timeout(&self.address, CONNECT);
        if let Some(thread) = self.listening.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn listen(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            // One that fails is its client's loss: it has gone, or there are too many files open, which closing heals.
            let Ok(client) = stream else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let Some(server) = self.next() else { continue };
            let carrying = std::thread::Builder::new().name("connection".into()).stack_size(STACK_BYTES);
            // Where no thread can be had the client's end is closed.
            let _ = carrying.spawn(move || server.carry(client));
        }
    }

    /// Whose turn it is.
    fn next(&self) -> Option<Arc<dyn Lead>> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        targets.get(turn.checked_rem(targets.len())?).cloned()
    }
}

/// Carries a connection to its end, in both directions.
fn connect(client: TcpStream, server: SocketAddr) {
    let Ok(server) = TcpStream::connect_timeout(&server, CONNECT) else {
        return;
    };
    // What comes in small pieces is handed on in small pieces, without a wait for more.
    let (Ok(()), Ok(())) = (client.set_nodelay(true), server.set_nodelay(true)) else { return };
    let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { return };
    let back = std::thread::Builder::new().name("connection".into()).stack_size(STACK_BYTES);
    if back.spawn(move || carry(&server, &client)).is_ok() {
        carry(&from_client, &to_server);
    }
}

/// Carries one direction; the end of what comes in is the end of what goes out.
fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let is_whole = loop {
        match from.read(&mut buffer) {
            Ok(0) => break true,
            Ok(count) if to.write_all(&buffer[..count]).is_ok() => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break false,
        }
    };
    if is_whole {
        let _ = to.shutdown(Shutdown::Write);
    } else {
        // Whoever is left must not wait for what will not come.
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every connection with its name, after it has read to the end.
    fn server(name: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut asked = String::new();
                    stream.read_to_string(&mut asked).unwrap();
                    stream.write_all(format!("{name} heard {asked}").as_bytes()).unwrap();
                });
            }
        });
        port
    }

    fn begin(forwarder: &Forwarder, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", forwarder.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    fn finish(mut stream: TcpStream) -> String {
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn new_connections_take_turns_and_open_ones_stay_where_they_are() {
        let (one, two) = (server("one"), server("two"));
        let forwarder = Forwarder::open().unwrap();
        forwarder.lead_to(vec![one, two]);
        let mut answers: Vec<String> = (0..2).map(|_| finish(begin(&forwarder, "a"))).collect();
        answers.sort();
        assert_eq!(answers, ["one heard a", "two heard a"]);
        forwarder.lead_to(vec![one]);
        let open = begin(&forwarder, "half");
        // It has reached its server by now or does soon; it must not be led elsewhere afterwards.
        while forwarder.shared.turn.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        forwarder.lead_to(vec![two]);
        assert_eq!(finish(begin(&forwarder, "b")), "two heard b");
        assert_eq!(finish(open), "one heard half");
    }

    #[test]
    fn without_anybody_a_connection_is_closed_and_the_port_stays() {
        let forwarder = Forwarder::open().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", forwarder.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        // Nor where the one that was there has gone.
        forwarder.lead_to(vec![ports::free().unwrap()]);
        let mut stream = TcpStream::connect(("127.0.0.1", forwarder.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        forwarder.lead_to(vec![server("late")]);
        assert_eq!(finish(begin(&forwarder, "a")), "late heard a");
    }

    #[test]
    fn it_ends_with_its_guard() {
        let forwarder = Forwarder::open().unwrap();
        let shared = Arc::downgrade(&forwarder.shared);
        drop(forwarder);
        // Asked of its thread, which holds the listener: the number of the port may be another test's by now.
        assert!(shared.upgrade().is_none());
    }
}
