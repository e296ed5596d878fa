//! Whether a running service shows an edit.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e_support::Cancel;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How long it may take until the new one answers: all pods are of the new version by then.
const SOON: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// Asks the service on `port` of this machine until `text` stands in its answer.
///
/// # Errors
/// It does not within a few seconds, with what was found instead.
pub(super) fn must_show(port: u16, path: &str, text: &str, cancel: &Cancel) -> Result<()> {
    let end = Instant::now() + SOON;
    loop {
        let found = match get(port, path) {
            Ok(answer) if answer.contains(text) => return Ok(()),
            Ok(answer) => near(&answer, text),
            Err(error) => format!("no answer: {error:#}"),
        };
        if Instant::now() >= end || cancel.sleep(PAUSE) {
            bail!(
                "the running service does not show the edit: {text} is not in http://127.0.0.1:{port}{path} ({found})"
            );
        }
    }
}

/// The line of the answer that comes nearest to what was looked for.
fn near(answer: &str, text: &str) -> String {
    let key = text.split(['=', ':', ' ']).next().unwrap_or(text);
    let line = answer.lines().find(|line| line.contains(key));
    line.map_or_else(|| format!("{} bytes without {key}", answer.len()), |line| format!("there is: {line}"))
}

/// One request over HTTP/1.0, whose answer ends with the connection.
fn get(port: u16, path: &str) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).context("connecting")?;
    stream.set_read_timeout(Some(ANSWER)).context("setting a time limit")?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("sending a request")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("reading the answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn it_asks_until_the_edit_shows() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut request = [0; 512];
                let _ = stream.read(&mut request);
                let version = if count < 2 { "old" } else { "new" };
                let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n# help\ninfo{{version=\"{version}\"}} 1\n");
            }
        });
        must_show(port, "/metrics", "version=\"new\"", &Cancel::new()).unwrap();
        let cancelled = Cancel::new();
        cancelled.cancel("enough");
        let error = must_show(port, "/metrics", "version=\"newer\"", &cancelled).unwrap_err().to_string();
        assert!(error.contains("there is: info{version=\"new\"} 1"), "{error}");
    }
}
