//! The gateway as a sender of signals sees it.

use anyhow::{Result, bail};
use jiff::Timestamp;
use reqwest::{Client, Method};
use serde_json::Value;

use super::http::{Answer, Request};
use super::signals::{Alert, webhook};

/// Takes Alertmanager's webhooks.
pub(crate) const PROMETHEUS: &str = "/api/v1/signals/prometheus";
/// Takes Kubernetes Events.
pub(crate) const KUBERNETES_EVENT: &str = "/api/v1/signals/kubernetes-event";

/// The gateway at one address, with or without a token.
#[derive(Clone)]
pub(crate) struct Gateway {
    http: Client,
    base: String,
    token: Option<String>,
}

impl Gateway {
    pub(crate) fn new(http: Client, base: &str, token: Option<&str>) -> Gateway {
        Gateway { http, base: base.to_owned(), token: token.map(str::to_owned) }
    }

    /// The same, without a token.
    pub(crate) fn anonymous(&self) -> Gateway {
        Gateway { token: None, ..self.clone() }
    }

    /// The same, with another token.
    pub(crate) fn with_token(&self, token: &str) -> Gateway {
        Gateway { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Request {
        let request = Request::new(&self.http, method, &self.base, path);
        match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        }
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// Sends a webhook of one alert.
    ///
    /// # Errors
    /// Where no answer comes.
    pub(crate) async fn alert(&self, alert: Alert) -> Result<Answer> {
        self.webhook(&webhook(&[alert])).await
    }

    /// Sends a webhook.
    ///
    /// # Errors
    /// Where no answer comes.
    pub(crate) async fn webhook(&self, body: &Value) -> Result<Answer> {
        self.post(PROMETHEUS).json(body).send().await
    }

    /// Sends an Event.
    ///
    /// # Errors
    /// Where no answer comes.
    pub(crate) async fn event(&self, body: &Value) -> Result<Answer> {
        self.post(KUBERNETES_EVENT).json(body).send().await
    }
}

/// What the gateway answers to a signal about a new problem.
#[derive(Clone, Debug)]
pub(crate) struct Created {
    pub(crate) fingerprint: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// What it answers to one about a problem that it knows.
#[derive(Clone, Debug)]
pub(crate) struct Duplicate {
    pub(crate) count: i64,
    pub(crate) first_occurrence: Timestamp,
    pub(crate) last_occurrence: Timestamp,
}

impl Answer {
    /// Expects that the signal made a RemediationRequest.
    ///
    /// # Errors
    /// Another status, or the first member that is missing or wrong. `expected` as in [`Answer::expect`].
    pub(crate) fn expect_created(&self, expected: &str) -> Result<Created> {
        self.expect(201, expected)?.expect_at("/status", "created")?.expect_at("/duplicate", false)?;
        Ok(Created {
            fingerprint: self.text_at("/fingerprint")?.to_owned(),
            name: self.text_at("/remediationRequestName")?.to_owned(),
            namespace: self.text_at("/remediationRequestNamespace")?.to_owned(),
        })
    }

    /// Expects that the signal was counted on `of`, the RemediationRequest of an earlier one.
    ///
    /// # Errors
    /// As for [`Answer::expect_created`].
    pub(crate) fn expect_duplicate_of(&self, of: &Created, expected: &str) -> Result<Duplicate> {
        let duplicate = self.expect_duplicate(expected)?;
        self.expect_at("/remediationRequestName", of.name.as_str())?
            .expect_at("/remediationRequestNamespace", of.namespace.as_str())?
            .expect_at("/fingerprint", of.fingerprint.as_str())?;
        Ok(duplicate)
    }

    /// Expects that the signal was counted on some RemediationRequest.
    ///
    /// # Errors
    /// As for [`Answer::expect_created`].
    pub(crate) fn expect_duplicate(&self, expected: &str) -> Result<Duplicate> {
        self.expect(202, expected)?.expect_at("/status", "duplicate")?.expect_at("/duplicate", true)?;
        let (name, namespace) =
            (self.text_at("/remediationRequestName")?, self.text_at("/remediationRequestNamespace")?);
        self.expect_at("/metadata/remediationRequestRef", format!("{namespace}/{name}"))?;
        let count = self.body.pointer("/metadata/count").unwrap_or(&Value::Null);
        let Some(count) = count.as_i64().filter(|count| *count >= 2) else {
            bail!("{expected}: expected a metadata.count of 2 or more, found {count}: {self}");
        };
        let time = |pointer| -> Result<Timestamp> {
            let text = self.text_at(pointer)?;
            text.parse().map_err(|_| anyhow::anyhow!("expected an RFC 3339 time at {pointer}, found {text}: {self}"))
        };
        Ok(Duplicate {
            count,
            first_occurrence: time("/metadata/firstOccurrence")?,
            last_occurrence: time("/metadata/lastOccurrence")?,
        })
    }
}
