//! RemediationRequests as the store reads them: without what the signal said, which may be large, and whatever phases
//! there are by now.

use api::{Deduplication, FINGERPRINT_FIELD, Phase, RemediationRequest};
use axum::http::HeaderValue;
use axum::http::header::ACCEPT;
use jiff::Timestamp;
use kube::api::{GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Client, Error, Resource as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::FIELD_MANAGER;

/// Rows asked for at once.
const PAGE: u32 = 500;
/// The column that the CRD prints the phase in.
const PHASE_COLUMN: &str = "Phase";
const TABLE: HeaderValue = HeaderValue::from_static("application/json;as=Table;v=v1;g=meta.k8s.io");

/// Of an object's metadata, what counts here.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) creation_timestamp: Option<Timestamp>,
}

/// One RemediationRequest.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Seen {
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
    #[serde(default)]
    pub(super) status: Status,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) signal_fingerprint: String,
    pub(super) received_time: Timestamp,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    pub(super) overall_phase: Option<String>,
    pub(super) deduplication: Option<Deduplication>,
}

impl Seen {
    pub(super) fn is_active(&self) -> bool {
        is_active(self.status.overall_phase.as_deref())
    }
}

/// One of all RemediationRequests of a problem.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) metadata: Metadata,
    pub(super) is_active: bool,
}

/// A phase that this gateway does not know is not known to be an end.
fn is_active(phase: Option<&str>) -> bool {
    !Phase::ALL.into_iter().any(|known| known.is_terminal() && phase == Some(known.as_str()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    #[serde(default)]
    metadata: ListMetadata,
    column_definitions: Vec<Column>,
    /// Go writes none as null.
    #[serde(default, deserialize_with = "crate::signal::null_is_default")]
    rows: Vec<TableRow>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

#[derive(Deserialize)]
struct TableRow {
    cells: Vec<Value>,
    object: TableObject,
}

#[derive(Deserialize)]
struct TableObject {
    metadata: Metadata,
}

/// All RemediationRequests with this fingerprint, as of now, in all namespaces. The API server sends them as it prints
/// them: an ended one takes a few hundred bytes, whatever its signal was.
pub(super) async fn rows(client: &Client, fingerprint: &str) -> Result<Vec<Row>> {
    let mut params = ListParams::default().fields(&format!("{FINGERPRINT_FIELD}={fingerprint}")).limit(PAGE);
    let mut rows = Vec::new();
    loop {
        let mut request =
            Request::new(RemediationRequest::url_path(&(), None)).list(&params).map_err(Error::BuildRequest)?;
        request.headers_mut().insert(ACCEPT, TABLE);
        let table: Table = client.request(request).await?;
        let phase = table.column_definitions.iter().position(|column| column.name == PHASE_COLUMN);
        rows.extend(table.rows.into_iter().map(|TableRow { cells, object }| Row {
            metadata: object.metadata,
            is_active: is_active(phase.and_then(|at| cells.get(at)?.as_str())),
        }));
        if table.metadata.next.is_empty() {
            return Ok(rows);
        }
        params = params.continue_token(&table.metadata.next);
    }
}

/// The RemediationRequest of this name.
pub(super) async fn get(client: &Client, namespace: &str, name: &str) -> Result<Option<Seen>> {
    let request = requests_in(namespace).get(name, &GetParams::default()).map_err(Error::BuildRequest)?;
    match client.request(request).await {
        Err(Error::Api(status)) if status.code == 404 => Ok(None),
        found => found.map(Some),
    }
}

pub(super) async fn create(client: &Client, namespace: &str, object: &RemediationRequest) -> Result<Seen> {
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let body = serde_json::to_vec(object).map_err(Error::SerdeError)?;
    send(client, requests_in(namespace).create(&params, body)).await
}

pub(super) async fn patch_status(client: &Client, namespace: &str, name: &str, patch: &Value) -> Result<Seen> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    send(client, requests_in(namespace).patch_subresource("status", name, &params, &Patch::Merge(patch))).await
}

fn requests_in(namespace: &str) -> Request {
    Request::new(RemediationRequest::url_path(&(), Some(namespace)))
}

async fn send<T: DeserializeOwned>(
    client: &Client,
    request: std::result::Result<axum::http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<T> {
    client.request(request.map_err(Error::BuildRequest)?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_active_or_terminal() {
        assert!(is_active(None) && is_active(Some("")), "nobody has looked at it yet");
        for phase in Phase::ALL {
            assert_eq!(is_active(Some(phase.as_str())), !phase.is_terminal(), "{phase:?}");
        }
        let later = r#"{"metadata": {"name": "rr-1", "more": 7}, "status": {"overallPhase": "Verifying", "more": 7},
                        "spec": {"signalFingerprint": "ab", "receivedTime": "2026-03-01T11:58:03Z", "more": 7}}"#;
        assert!(serde_json::from_str::<Seen>(later).unwrap().is_active(), "a phase of a later version is no known end");
    }
}
