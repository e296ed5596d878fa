//! HTTP as the specs speak it: every exchange is traced, every unexpected answer becomes a sentence.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Client, Method, RequestBuilder};
use serde_json::Value;

use super::trace;

/// Longer than the gateway's own 15 s for its Kubernetes work, so that its 504 arrives.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);
/// As much of a body as a message shows.
const SHOWN_BYTES: usize = 800;

/// The client that all specs share. Every request has a connection of its own: after a pod was replaced none leads to
/// the old one, and two replicas both get their share.
///
/// # Errors
/// Where the platform lets no client be made.
pub(crate) fn client() -> Result<Client> {
    build(0)
}

/// A client that keeps `connections` open, so that as many requests can be sent at the very same time.
///
/// # Errors
/// Where the platform lets no client be made.
pub(crate) fn client_that_keeps(connections: usize) -> Result<Client> {
    build(connections)
}

fn build(idle: usize) -> Result<Client> {
    Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(idle)
        .timeout(REQUEST_DEADLINE)
        .build()
        .context("making the HTTP client")
}

/// A request that is being put together.
pub(crate) struct Request {
    builder: RequestBuilder,
    line: String,
    sent: String,
}

impl Request {
    pub(crate) fn new(client: &Client, method: Method, base: &str, path: &str) -> Request {
        let line = format!("{method} {path}");
        Request { builder: client.request(method, format!("{base}{path}")), line, sent: String::new() }
    }

    pub(crate) fn header(mut self, name: impl Into<HeaderName>, value: &str) -> Request {
        let name = name.into();
        // A token belongs neither into a message nor into the evidence.
        if name != header::AUTHORIZATION {
            self.sent.push_str(&format!(" {name}: {value}"));
        }
        self.builder = self.builder.header(name, value);
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Request {
        self.header(header::AUTHORIZATION, &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Request {
        self.header(header::CONTENT_TYPE, "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: String) -> Request {
        self.sent.push_str(&format!(" {}", shortened(&body)));
        self.builder = self.builder.body(Body::from(body));
        self
    }

    /// # Errors
    /// Where no answer came: the request and why.
    pub(crate) async fn send(self) -> Result<Answer> {
        let Request { builder, line, sent } = self;
        trace::waiting_for(format!("the answer to {line}"));
        let begun = Instant::now();
        let result = async {
            let response = builder.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, response.text().await?))
        }
        .await;
        let took = begun.elapsed();
        let (status, headers, text) = result
            .map_err(|error| {
                let error = anyhow!(error);
                trace::exchange(&format!("{line}{sent} → no answer after {took:?}: {error:#}"));
                error
            })
            .with_context(|| format!("no answer to {line} after {took:?}"))?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Answer { line, status, headers, text, body, took };
        trace::exchange(&format!("{sent} → {answer} in {took:?}"));
        Ok(answer)
    }
}

/// An answer, with the request that it belongs to.
#[derive(Debug)]
pub(crate) struct Answer {
    line: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// The body as JSON; null where it is none.
    pub(crate) body: Value,
    pub(crate) took: Duration,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.header("x-request-id").unwrap_or("none");
        write!(f, "{} (request id {id}) was answered {}: {}", self.line, self.status, shortened(&self.text))
    }
}

impl Answer {
    /// A header's value, where it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(HeaderValue::to_str).and_then(Result::ok)
    }

    /// # Errors
    /// Any other status. `expected` says what the request was and why the status is due.
    pub(crate) fn expect(&self, status: u16, expected: &str) -> Result<&Answer> {
        ensure!(self.status == status, "{expected}: expected {status}, but {self}");
        Ok(self)
    }

    /// # Errors
    /// Where the body has no text at that JSON pointer.
    pub(crate) fn text_at(&self, pointer: &str) -> Result<&str> {
        match self.body.pointer(pointer).and_then(Value::as_str) {
            Some(text) => Ok(text),
            None => bail!("expected text at {pointer} of the body, but {self}"),
        }
    }

    /// # Errors
    /// Where the value at that JSON pointer is another, or none.
    pub(crate) fn expect_at(&self, pointer: &str, value: impl Into<Value>) -> Result<&Answer> {
        let value = value.into();
        let found = self.body.pointer(pointer).unwrap_or(&Value::Null);
        ensure!(*found == value, "expected {value} at {pointer} of the body, found {found}: {self}");
        Ok(self)
    }

    /// Expects problem details (RFC 7807) with all that the contract demands of every one of them.
    ///
    /// # Errors
    /// Another status, or the first member or header that is missing or wrong. `expected` as in [`Answer::expect`].
    pub(crate) fn expect_problem(&self, status: u16, expected: &str) -> Result<&Answer> {
        self.expect(status, expected)?;
        let content_type = self.header("content-type").unwrap_or("none");
        ensure!(
            content_type.split(';').next() == Some("application/problem+json"),
            "{expected}: expected the Content-Type application/problem+json, found {content_type}: {self}"
        );
        let kind = self.text_at("/type")?.strip_prefix("https://kubernaut.ai/problems/");
        ensure!(
            kind.is_some_and(|kind| !kind.is_empty()),
            "{expected}: expected a type under https://kubernaut.ai/problems/: {self}"
        );
        for member in ["/title", "/detail"] {
            ensure!(!self.text_at(member)?.is_empty(), "{expected}: expected words in {member}: {self}");
        }
        self.expect_at("/status", status)?;
        let path = self.line.split(' ').nth(1).unwrap_or_default();
        self.expect_at("/instance", path.split('?').next().unwrap_or_default())?;
        let id = self.header("x-request-id").context("the answer has no header X-Request-ID")?;
        self.expect_at("/request_id", id)?;
        Ok(self)
    }

    /// Expects words in a problem's detail.
    ///
    /// # Errors
    /// Where they are missing.
    pub(crate) fn expect_detail(&self, words: &str) -> Result<&Answer> {
        ensure!(self.text_at("/detail")?.contains(words), "expected `{words}` in the detail: {self}");
        Ok(self)
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= SHOWN_BYTES {
        return text.trim_end().to_owned();
    }
    let cut = text.floor_char_boundary(SHOWN_BYTES);
    format!("{}… ({} bytes)", &text[..cut], text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem() -> Answer {
        let body = json!({
            "type": "https://kubernaut.ai/problems/validation-error", "title": "Bad Request", "detail": "no alertname",
            "status": 400, "instance": "/api/v1/signals/prometheus", "request_id": "7d1f",
        });
        let headers = [("content-type", "application/problem+json"), ("x-request-id", "7d1f")];
        Answer {
            line: "POST /api/v1/signals/prometheus".to_owned(),
            status: 400,
            headers: headers
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect(),
            text: body.to_string(),
            body,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_problem_with_every_member_is_accepted() {
        problem().expect_problem(400, "an alert without a name").unwrap();
    }

    #[test]
    fn a_problem_that_lacks_or_falsifies_a_member_is_not() {
        for member in ["type", "title", "detail", "status", "instance", "request_id"] {
            for value in [Value::Null, json!("other"), json!(""), json!(7)] {
                // Any words will do for these two.
                if value == json!("other") && ["title", "detail"].contains(&member) {
                    continue;
                }
                let mut answer = problem();
                answer.body[member] = value.clone();
                assert!(answer.expect_problem(400, "x").is_err(), "{member} = {value} was accepted");
            }
        }
        let mut answer = problem();
        answer.headers.insert("content-type", HeaderValue::from_static("application/json"));
        assert!(answer.expect_problem(400, "x").is_err());
    }

    #[test]
    fn a_wrong_status_tells_request_and_answer() {
        let message = problem().expect(201, "a valid alert").unwrap_err().to_string();
        assert!(
            message.starts_with(
                "a valid alert: expected 201, but POST /api/v1/signals/prometheus (request id 7d1f) was answered 400: {"
            ),
            "{message}"
        );
    }

    #[test]
    fn long_bodies_are_cut_on_a_character() {
        let text = shortened(&"ä".repeat(1000));
        assert!(text.ends_with("ä… (2000 bytes)"), "{text}");
    }
}
