//! A request that the gateway has begun to read and that does not end before a spec wants it to.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::gateway::PROMETHEUS;

/// For each step on the wire.
const STEP_DEADLINE: Duration = Duration::from_secs(20);
/// What a server answers that wants to see the body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A webhook whose body is not sent yet.
pub(crate) struct HalfSent {
    stream: TcpStream,
    body: String,
}

impl HalfSent {
    /// Sends the head of a webhook to the gateway at `base`, and waits until it asks for the body: it holds the request
    /// then, and has accepted the token.
    ///
    /// # Errors
    /// Where it cannot be reached or answers something else.
    pub(crate) async fn begin(base: &str, token: &str, webhook: &Value) -> Result<HalfSent> {
        let address = base.strip_prefix("http://").with_context(|| format!("{base} is no http address"))?;
        let body = webhook.to_string();
        let head = format!(
            "POST {PROMETHEUS} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
            body.len()
        );
        let begun = async {
            let mut stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {base}"))?;
            stream.write_all(head.as_bytes()).await.context("sending the head of a webhook")?;
            let mut answer = vec![0; CONTINUE.len()];
            stream.read_exact(&mut answer).await.context("waiting for the gateway to ask for the body")?;
            let text = String::from_utf8_lossy(&answer);
            ensure!(answer == CONTINUE, "the gateway should ask for the body of a webhook, it answered {text}");
            Ok(HalfSent { stream, body })
        };
        timeout(STEP_DEADLINE, begun).await.context("the gateway did not ask for the body of a webhook")?
    }

    /// Sends the body, and returns the answer's status and body.
    ///
    /// # Errors
    /// Where the connection was cut, or what came is no answer.
    pub(crate) async fn finish(mut self) -> Result<(u16, Value)> {
        let finished = async {
            self.stream.write_all(self.body.as_bytes()).await.context("sending the body of a webhook")?;
            let mut answer = String::new();
            // The gateway closes: its last answer on this connection says so, or it is going.
            while !is_whole(&answer) {
                let mut bytes = [0; 4096];
                let count = self.stream.read(&mut bytes).await.context("reading the answer to a webhook")?;
                ensure!(count > 0, "the connection was cut before the whole answer was there: {answer:?}");
                answer.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
            let status = status.with_context(|| format!("expected an answer, found {answer:?}"))?;
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
        };
        timeout(STEP_DEADLINE, finished).await.context("no answer came to a webhook whose body was sent late")?
    }
}

/// Whether an answer is there up to the length that it announces.
fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let announced = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    announced.is_some_and(|bytes| body.len() >= bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_all_that_it_announces_is_there() {
        for (answer, whole) in [
            ("", false),
            ("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n", false),
            ("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{", false),
            ("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", true),
        ] {
            assert_eq!(is_whole(answer), whole, "{answer:?}");
        }
    }
}
