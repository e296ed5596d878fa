//! The top owner of a target: what is really in trouble when a Pod is.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::discovery::Scope;
use kube::{Api, Client};

use crate::signal::Target;
use crate::signal::target::UNKNOWN_KIND;
use crate::text;
use serving::kubernetes::{CallError, call};

/// How many owners are followed at most.
const MAX_OWNERS: usize = 5;
/// Kinds of other API groups that are remembered; a cluster has far fewer that own Pods.
const MAX_REMEMBERED_KINDS: usize = 1_000;

/// Follows controller owners.
pub struct Owners {
    client: Client,
    call_deadline: Duration,
    custom_kinds: Mutex<HashMap<GroupVersionKind, Lookup>>,
}

/// How objects of a kind are asked for.
#[derive(Clone, Debug)]
struct Lookup {
    resource: ApiResource,
    namespaced: bool,
}

impl Owners {
    /// `call_deadline` is for each call to the API server.
    pub fn new(client: Client, call_deadline: Duration) -> Self {
        Self { client, call_deadline, custom_kinds: Mutex::default() }
    }

    /// Follows the controller owners of `target` to the top. An object that does not exist (any more) is its own top,
    /// and so is one that cannot have an owner or that the gateway may not read.
    ///
    /// # Errors
    /// When the API server cannot be asked: the same signal may have another top in a moment.
    pub(crate) async fn top(&self, target: &Target) -> Result<Target, CallError> {
        let mut top = target.clone();
        for _ in 0..MAX_OWNERS {
            let Some(owner) = self.controller_of(&top).await? else { break };
            top = Target::new(
                &owner.kind,
                &owner.name,
                &self.namespace_of(&owner, &top.namespace).await?,
                Some(&owner.api_version),
            );
        }
        Ok(top)
    }

    /// The node that is meant where a target is only a Pod that tells of it; a Pod that is gone is all that is known.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub(crate) async fn node_of(&self, target: &Target) -> Result<Option<Target>, CallError> {
        if !text::is_object_name(&target.name) || !text::is_namespace_name(&target.namespace) {
            return Ok(None);
        }
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &target.namespace);
        let doing = || format!("looking for the node of Pod {}/{}", target.namespace, target.name);
        let pod = call(self.call_deadline, doing, api.get_opt(&target.name)).await?;
        let node = pod.and_then(|pod| pod.spec?.node_name);
        Ok(node.map(|node| Target::new("Node", &node, "", None)))
    }

    async fn controller_of(&self, target: &Target) -> Result<Option<OwnerReference>, CallError> {
        // A name that no object can have is not asked for: it would be read as a part of the URL.
        if target.kind == UNKNOWN_KIND || !text::is_object_name(&target.name) {
            return Ok(None);
        }
        let Some(lookup) = self.lookup(target).await? else { return Ok(None) };
        let api: Api<DynamicObject> = match (lookup.namespaced, target.namespace.as_str()) {
            (false, _) => Api::all_with(self.client.clone(), &lookup.resource),
            (true, namespace) if text::is_namespace_name(namespace) => {
                Api::namespaced_with(self.client.clone(), namespace, &lookup.resource)
            }
            (true, _) => return Ok(None),
        };
        let doing = || format!("looking for the owner of {} {}/{}", target.kind, target.namespace, target.name);
        let found: Result<Option<PartialObjectMeta<DynamicObject>>, _> =
            call(self.call_deadline, doing, api.get_metadata_opt(&target.name)).await;
        match found {
            Ok(object) => Ok(object.and_then(|object| {
                object
                    .metadata
                    .owner_references
                    .unwrap_or_default()
                    .into_iter()
                    .find(|owner| owner.controller == Some(true))
            })),
            // Which other groups the gateway may read is up to who installs it. For the built-in kinds it is a fault.
            Err(error) if target.built_in().is_none() && error.status().is_some_and(|status| status.code == 403) => {
                tracing::debug!(%error, "not allowed to read the target, which counts as its own top owner");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// An owner lies in the namespace of what it owns, or in none.
    async fn namespace_of(&self, owner: &OwnerReference, namespace: &str) -> Result<String, CallError> {
        let owner = Target::new(&owner.kind, &owner.name, namespace, Some(&owner.api_version));
        if owner.built_in().is_some() {
            return Ok(owner.namespace);
        }
        let lookup = self.lookup(&owner).await?;
        Ok(if lookup.is_none_or(|lookup| lookup.namespaced) { owner.namespace } else { String::new() })
    }

    /// How to ask for objects like `target`; none where there is nothing to be learnt from asking.
    async fn lookup(&self, target: &Target) -> Result<Option<Lookup>, CallError> {
        if let Some(known) = target.built_in() {
            let resource = ApiResource {
                group: known.group.to_owned(),
                version: known.version.to_owned(),
                api_version: known.api_version(),
                kind: known.kind.to_owned(),
                plural: known.plural.to_owned(),
            };
            return Ok(known.owned.then_some(Lookup { resource, namespaced: known.namespaced }));
        }
        let Some((group, version)) = target.api_version.as_deref().and_then(|text| text.split_once('/')) else {
            return Ok(None);
        };
        let is_kind = !target.kind.is_empty() && target.kind.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_kind || !text::is_object_name(group) || !text::is_namespace_name(version) {
            return Ok(None);
        }
        self.discover(GroupVersionKind::gvk(group, version, &target.kind)).await
    }

    async fn discover(&self, kind: GroupVersionKind) -> Result<Option<Lookup>, CallError> {
        let known = |kinds: &Mutex<HashMap<_, Lookup>>| {
            kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&kind).cloned()
        };
        if let Some(lookup) = known(&self.custom_kinds) {
            return Ok(Some(lookup));
        }
        let doing = || format!("asking what {} of {}/{} is", kind.kind, kind.group, kind.version);
        match call(self.call_deadline, doing, kube::discovery::pinned_kind(&self.client, &kind)).await {
            Ok((resource, capabilities)) => {
                let lookup = Lookup { resource, namespaced: capabilities.scope == Scope::Namespaced };
                let mut kinds = self.custom_kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if kinds.len() >= MAX_REMEMBERED_KINDS {
                    kinds.clear();
                }
                kinds.insert(kind, lookup.clone());
                Ok(Some(lookup))
            }
            // The group or the kind is not there: so is no object of it.
            Err(error) if error.is_unknown_kind() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
