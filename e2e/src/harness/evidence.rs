//! What is kept of a failed spec, before its namespaces go.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams};

use super::context::Context;
use super::surroundings::Part;
use super::trace::Trace;

/// Names the folder in which each failed spec gets one. Unset: nothing is kept.
const EVIDENCE_VARIABLE: &str = "E2E_EVIDENCE";

/// The folder of all evidence, where it is wanted.
pub(crate) fn folder_from_environment() -> Option<PathBuf> {
    std::env::var_os(EVIDENCE_VARIABLE).map(PathBuf::from)
}

/// Writes into `folder`: `failure.txt`, `exchanges.txt` (every HTTP request and answer of the spec), for each of its
/// namespaces `<namespace>.yaml` (its objects) and `<namespace>-events.txt`, and the logs of the gateway and of
/// datastorage since the spec began. What cannot be had is said in its place.
///
/// # Errors
/// Where the folder cannot be written.
pub(crate) async fn keep(folder: &Path, context: &Context, trace: &Trace, message: &str) -> Result<()> {
    let what = || format!("writing evidence to {}", folder.display());
    fs::create_dir_all(folder).with_context(what)?;
    let write = |name: &str, text: String| fs::write(folder.join(name), text).with_context(what);
    write("failure.txt", format!("{message}\n"))?;
    write("exchanges.txt", trace.exchanges())?;
    for namespace in context.belongings().namespaces {
        write(&format!("{namespace}.yaml"), objects(context, &namespace).await)?;
        write(&format!("{namespace}-events.txt"), or_why_not(events(context, &namespace).await))?;
    }
    for (part, name) in [(Part::Gateway, "gateway.log"), (Part::DataStorage, "datastorage.log")] {
        write(name, or_why_not(logs(context, part).await))?;
    }
    Ok(())
}

fn or_why_not(text: Result<String>) -> String {
    text.unwrap_or_else(|error| format!("could not be had: {error:#}\n"))
}

/// The objects of a namespace as YAML documents.
async fn objects(context: &Context, namespace: &str) -> String {
    let kinds = [
        ApiResource::erase::<api::RemediationRequest>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<ReplicaSet>(&()),
        ApiResource::erase::<Pod>(&()),
    ];
    let mut text = String::new();
    for kind in kinds {
        let documents = objects_of_kind(context, namespace, &kind).await;
        text.push_str(&documents.unwrap_or_else(|error| format!("---\n# {} could not be had: {error:#}\n", kind.kind)));
    }
    text
}

async fn objects_of_kind(context: &Context, namespace: &str, kind: &ApiResource) -> Result<String> {
    let api: Api<DynamicObject> = Api::namespaced_with(context.kubernetes(), namespace, kind);
    let list = api.list(&ListParams::default()).await.with_context(|| format!("listing {}", kind.plural))?;
    let mut text = String::new();
    for mut object in list {
        // Who wrote which field fills pages and tells nothing here.
        object.metadata.managed_fields = None;
        // The items of a list do not carry these themselves.
        object.types = Some(kube::api::TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() });
        text.push_str("---\n");
        text.push_str(&serde_yaml::to_string(&object).context("writing an object as YAML")?);
    }
    Ok(text)
}

/// The events of a namespace, one line each, in the order in which they were last seen.
async fn events(context: &Context, namespace: &str) -> Result<String> {
    let api: Api<Event> = Api::namespaced(context.kubernetes(), namespace);
    let mut lines: Vec<(Timestamp, String)> = Vec::new();
    for event in api.list(&ListParams::default()).await.context("listing events")? {
        let seen = event.last_timestamp.map(|time| time.0).or(event.event_time.map(|time| time.0)).unwrap_or_default();
        let about = event.involved_object;
        let line = format!(
            "{seen} {} {} {}/{}: {}\n",
            event.type_.unwrap_or_default(),
            event.reason.unwrap_or_default(),
            about.kind.unwrap_or_default(),
            about.name.unwrap_or_default(),
            event.message.unwrap_or_default(),
        );
        lines.push((seen, line));
    }
    lines.sort();
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

async fn logs(context: &Context, part: Part) -> Result<String> {
    let logs = context.surroundings().logs(part, context.started()).await?;
    Ok(logs.into_iter().map(|log| format!("==> {} <==\n{}", log.source, log.text)).collect())
}
