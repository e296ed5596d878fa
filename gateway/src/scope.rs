//! Which namespaces the gateway looks after, so that a cluster can be taken on one by one.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use kube::{Api, Client};
use serving::kubernetes::{CallError, call};

use crate::text;

/// What the labels of a namespace must be like.
pub(crate) struct Scope {
    client: Client,
    call_deadline: Duration,
    /// None where all namespaces are looked after.
    selector: Option<Selector>,
}

impl Scope {
    pub(crate) fn new(client: Client, call_deadline: Duration, selector: Option<&LabelSelector>) -> Result<Self> {
        let selector = selector.map(parse).transpose()?;
        Ok(Self { client, call_deadline, selector })
    }

    /// Why what a signal about something in this namespace tells of is not looked after; nothing where it is. What lies
    /// in no namespace has no labels.
    pub(crate) async fn excludes(&self, namespace: &str) -> Result<Option<String>, CallError> {
        let Some(selector) = &self.selector else { return Ok(None) };
        let mut labels = BTreeMap::new();
        if text::is_namespace_name(namespace) {
            let api: Api<Namespace> = Api::all(self.client.clone());
            let doing = || format!("reading the namespace {namespace}");
            let found = call(self.call_deadline, doing, api.get_metadata_opt(namespace)).await?;
            labels = found.and_then(|namespace| namespace.metadata.labels).unwrap_or_default();
        }
        if selector.matches(&labels) {
            return Ok(None);
        }
        Ok(Some(match namespace {
            "" => "it is about something in no namespace, which the gateway does not look after".to_owned(),
            _ => format!("the gateway does not look after the namespace {namespace}"),
        }))
    }
}

/// # Errors
/// When it is no selector.
pub(crate) fn parse(selector: &LabelSelector) -> Result<Selector> {
    Selector::try_from(selector.clone()).context("kubernetes.namespaceSelector is no label selector")
}
