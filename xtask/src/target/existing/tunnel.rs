//! A connection to a port of a pod, through the API server: what `kubectl port-forward` does, for one connection alone.
//! There all connections of a pod share one stream, which ends with the first of them that a pod resets.
//!
//! The API server is asked by `kubectl proxy`, which has the credentials; what comes back is a WebSocket whose messages
//! begin with the number of a channel: 0 is the connection's data, 1 an error in words. The first two bytes of each channel
//! are the number of the port.
//! <https://github.com/kubernetes/kubernetes/blob/v1.34.3/staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go>
//! <https://www.rfc-editor.org/rfc/rfc6455#section-5.2>

use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use camino::Utf8PathBuf;

use crate::target::forward::Lead;

/// How long the API server and the pod's node may take to open a connection.
const OPEN: Duration = Duration::from_secs(20);
/// After its client has closed its side nothing more is expected of a connection on which nothing has come for so long.
const LINGER: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 16 * 1024;
/// A message of that size is nobody's: kubelets send what they read, some KB at a time.
const LONGEST_MESSAGE: u64 = 1 << 24;
/// The names of what frames hold.
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A port of a pod.
#[derive(Clone, Debug)]
pub(super) struct Tunnel {
    /// Where `kubectl proxy` listens.
    pub(super) proxy: Utf8PathBuf,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) port: u16,
    /// What was said last where a connection could not be opened.
    pub(super) said: Arc<Mutex<Option<String>>>,
}

impl Lead for Tunnel {
    fn carry(&self, client: TcpStream) {
        let carried = self.open().and_then(|server| carry(&client, server));
        // Nobody may wait for what will not come.
        let _ = client.shutdown(Shutdown::Both);
        if let Err(error) = carried {
            let said = format!("port {} of pod {}: {error:#}", self.port, self.pod);
            *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
        }
    }
}

impl Tunnel {
    /// Asks for the connection.
    fn open(&self) -> Result<BufReader<UnixStream>> {
        let Tunnel { proxy, namespace, pod, port, .. } = self;
        let mut stream =
            UnixStream::connect(proxy).with_context(|| format!("connecting to kubectl's proxy at {proxy}"))?;
        stream.set_read_timeout(Some(OPEN)).context("limiting a wait")?;
        // The answer to the key shows that it is not an old one out of a cache. Nothing here caches.
        write!(
            stream,
            "GET /api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port} HTTP/1.1\r\nHost: localhost\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        )
        .context("asking the API server for a port-forward")?;
        let mut stream = BufReader::new(stream);
        let mut status = String::new();
        stream.read_line(&mut status).context("waiting for the API server to open a port-forward")?;
        let mut line = String::new();
        while stream.read_line(&mut line).context("reading the head of a port-forward")? > 0 && !line.trim().is_empty()
        {
            line.clear();
        }
        if status.split(' ').nth(1) != Some("101") {
            let mut body = [0; 512];
            let length = stream.read(&mut body).unwrap_or(0);
            bail!(
                "the API server opens no port-forward: {} {}",
                status.trim(),
                String::from_utf8_lossy(&body[..length]).trim()
            );
        }
        stream.get_ref().set_read_timeout(None).context("lifting the limit of a wait")?;
        Ok(stream)
    }
}

/// Carries `client`'s connection over a WebSocket to its end.
fn carry(client: &TcpStream, mut server: BufReader<UnixStream>) -> Result<()> {
    client.set_nodelay(true).context("having small pieces sent at once")?;
    let up = Arc::new(Mutex::new(server.get_ref().try_clone().context("sharing a connection")?));
    let from_client = client.try_clone().context("sharing a connection")?;
    let (to_server, to_end) = (Arc::clone(&up), server.get_ref().try_clone().context("sharing a connection")?);
    let thread = std::thread::Builder::new().name("connection".into()).spawn(move || {
        let _ = send_all(from_client, &to_server);
        // From now on silence is the end.
        let _ = to_end.set_read_timeout(Some(LINGER));
    });
    thread.context("starting the thread of a connection")?;
    let received = receive_all(&mut server, client, &up);
    // Ends the other direction.
    let _ = server.get_ref().shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
    received
}

/// Sends what comes from the client, until its end.
fn send_all(mut client: TcpStream, to: &Mutex<UnixStream>) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES + 1];
    loop {
        match client.read(&mut buffer[1..]) {
            Ok(0) => return Ok(()),
            // Channel 0, which the buffer begins with.
            Ok(length) => send(to, BINARY, &buffer[..=length])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends one frame.
fn send(to: &Mutex<UnixStream>, kind: u8, payload: &[u8]) -> std::io::Result<()> {
    let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
    let mask = RandomState::new().hash_one(kind).to_be_bytes();
    to.write_all(&frame(kind, payload, [mask[0], mask[1], mask[2], mask[3]]))
}

/// A whole frame, as clients have to send it.
fn frame(kind: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    const FINAL: u8 = 0x80;
    const MASKED: u8 = 0x80;
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(FINAL | kind);
    match payload.len() {
        length @ 0..=125 => frame.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            frame.push(MASKED | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(MASKED | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// One frame: whether it is the last of its message, what it holds, and that. None at the end of the stream.
fn receive(from: &mut impl Read) -> Result<Option<(bool, u8, Vec<u8>)>> {
    let mut head = [0; 2];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read.context("reading a frame")?,
    }
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            from.read_exact(&mut length).context("reading the length of a frame")?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            from.read_exact(&mut length).context("reading the length of a frame")?;
            u64::from_be_bytes(length)
        }
        length => u64::from(length),
    };
    ensure!(head[1] & 0x80 == 0 && length <= LONGEST_MESSAGE, "a frame of {length} bytes is no WebSocket server's");
    let mut payload = vec![0; usize::try_from(length).context("a frame's length")?];
    from.read_exact(&mut payload).context("reading a frame")?;
    Ok(Some((head[0] & 0x80 != 0, head[0] & 0x0f, payload)))
}

/// Hands on what comes, until the pod closes.
fn receive_all(server: &mut impl Read, mut client: &TcpStream, up: &Mutex<UnixStream>) -> Result<()> {
    // How much is still to come of the number of the port, by channel.
    let mut head = [2_usize; 2];
    let mut channel = None;
    loop {
        let next = match receive(server) {
            // The client has ended, and so has the pod.
            Err(error) if is_silence(&error) => return Ok(()),
            next => next?,
        };
        let Some((is_last, kind, payload)) = next else { return Ok(()) };
        let data = match kind {
            TEXT | BINARY => {
                let Some((&first, data)) = payload.split_first() else { continue };
                channel = Some(usize::from(first));
                data
            }
            CONTINUATION => &payload,
            PING => {
                send(up, PONG, &payload).context("answering a ping")?;
                continue;
            }
            CLOSE => return Ok(()),
            _ => continue,
        };
        let Some(at) = channel.filter(|&at| at < head.len()) else { continue };
        let skipped = head[at].min(data.len());
        head[at] -= skipped;
        let data = &data[skipped..];
        if at == 1 && !data.is_empty() {
            bail!("{}", String::from_utf8_lossy(data).trim());
        }
        client.write_all(data).context("handing on what a pod says")?;
        if is_last {
            channel = None;
        }
    }
}

/// Whether nothing has come for as long as was waited.
fn is_silence(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Frames as servers send them.
    fn unmasked(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(kind, payload, [0; 4]);
        let head = if payload.len() < 126 { 2 } else { 4 };
        frame[1] &= 0x7f;
        frame.drain(head..head + 4);
        frame
    }

    /// What a proxy of that behaviour makes of a connection on which a client sends `asked`.
    fn through(behaviour: fn(UnixStream), asked: &str) -> (String, Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        let proxy = Utf8PathBuf::try_from(dir.path().join("proxy")).unwrap();
        let listener = UnixListener::bind(&proxy).unwrap();
        let server = std::thread::spawn(move || behaviour(listener.accept().unwrap().0));
        let said = Arc::new(Mutex::new(None));
        let tunnel = Tunnel { proxy, namespace: "n".into(), pod: "p".into(), port: 80, said: Arc::clone(&said) };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let carrying = std::thread::spawn(move || tunnel.carry(listener.accept().unwrap().0));
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.write_all(asked.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = client.read_to_string(&mut answer);
        carrying.join().unwrap();
        server.join().unwrap();
        let said = said.lock().unwrap().clone();
        (answer, said)
    }

    fn read_head(stream: &UnixStream) -> BufReader<UnixStream> {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        assert!(head.starts_with("GET /api/v1/namespaces/n/pods/p/portforward?ports=80 HTTP/1.1\r\n"), "{head}");
        reader
    }

    #[test]
    fn data_goes_both_ways_and_the_ports_number_is_left_out() {
        let behaviour = |mut stream: UnixStream| {
            let mut reader = read_head(&stream);
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").unwrap();
            for channel in [0, 1] {
                stream.write_all(&unmasked(BINARY, &[channel, 80, 0])).unwrap();
            }
            stream.write_all(&unmasked(PING, b"?")).unwrap();
            let (mut heard, mut ponged) = (Vec::new(), false);
            while heard != b"\0question" || !ponged {
                let mut head = [0; 6];
                reader.read_exact(&mut head).unwrap();
                let mut payload = vec![0; usize::from(head[1] & 0x7f)];
                reader.read_exact(&mut payload).unwrap();
                payload.iter_mut().zip(head[2..].iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
                if head[0] & 0x0f == PONG { ponged = payload == b"?" } else { heard = payload }
            }
            let long = "x".repeat(300);
            stream.write_all(&unmasked(BINARY, format!("\0{long}").as_bytes())).unwrap();
            stream.write_all(&unmasked(BINARY, b"\0 answer")).unwrap();
            stream.write_all(&unmasked(CLOSE, b"")).unwrap();
        };
        let (answer, said) = through(behaviour, "question");
        assert_eq!((answer.len(), &answer[300..]), (307, " answer"));
        assert_eq!(said, None);
    }

    #[test]
    fn what_goes_wrong_is_told_and_the_connection_closed() {
        let refused = |mut stream: UnixStream| {
            read_head(&stream);
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\npods \"p\" is forbidden").unwrap();
        };
        let (answer, said) = through(refused, "");
        assert_eq!(answer, "");
        assert!(said.as_deref().is_some_and(|said| said.contains("403") && said.contains("forbidden")), "{said:?}");
        let nobody = |mut stream: UnixStream| {
            read_head(&stream);
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
            stream.write_all(&unmasked(BINARY, &[0, 80, 0])).unwrap();
            stream.write_all(&unmasked(BINARY, b"\x01\x50\x00connection refused")).unwrap();
            let _ = stream.read(&mut [0; 64]);
        };
        let (answer, said) = through(nobody, "");
        assert_eq!((answer.as_str(), said.as_deref()), ("", Some("port 80 of pod p: connection refused")));
    }

    #[test]
    fn a_frame_is_masked_and_has_its_length() {
        assert_eq!(frame(BINARY, b"ab", [1, 2, 3, 4]), [0x82, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2]);
        let long = frame(BINARY, &[0; 70_000], [0; 4]);
        assert_eq!(long[..10], [0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
        let read = receive(&mut unmasked(BINARY, &[7; 200]).as_slice()).unwrap();
        assert_eq!(read, Some((true, BINARY, vec![7; 200])));
        assert!(receive(&mut &b""[..]).unwrap().is_none());
        assert!(receive(&mut &b"HTTP/1.1"[..]).is_err());
    }
}
