//! Which rights a run needs on the cluster, and whether it has them: asked before anything is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e_support::kubectl::Kubectl;
use e2e_support::{Cancel, Job};
use serde_json::{Value, json};
use serde_yaml::Value as Yaml;
use xshell::Shell;

use super::options::Reach;
use super::rewrite::Rewritten;
use crate::kubernetes;
use crate::plan::Object;
use crate::plan::object::list;
use crate::suite::Suite;

/// How long the API server may take to answer all questions.
const ANSWER: Duration = Duration::from_secs(60);
/// What is done with each object that is the run's alone: server-side apply reads, makes and patches.
const OWN: [&str; 4] = ["create", "delete", "get", "patch"];
/// What is done with one that all runs share: changed only if it is as it was seen.
const SHARED: [&str; 5] = ["create", "delete", "get", "patch", "update"];
const RBAC: &str = "rbac.authorization.k8s.io";
/// How many a message names.
const NAMED: usize = 6;

/// One right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    /// Nothing where it is for the whole cluster.
    namespace: String,
    /// With its group, as kubectl writes it: `deployments.apps/scale`.
    resource: String,
    verb: String,
}

impl Right {
    fn new(namespace: &str, resource: &str, verb: &str) -> Self {
        Self { namespace: namespace.to_owned(), resource: resource.to_owned(), verb: verb.to_owned() }
    }

    /// The question whether whoever asks has it.
    fn review(&self) -> Value {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": self.verb, "group": group, "resource": resource,
                "subresource": subresource, "namespace": self.namespace}}})
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match self.namespace.as_str() {
            "" => f.write_str(" in the whole cluster"),
            namespace => write!(f, " in {namespace}"),
        }
    }
}

/// Those that a run of the suite needs.
#[derive(Debug, Default)]
pub(super) struct Needed {
    pub(super) rights: BTreeSet<Right>,
    /// Those that roles of the manifests give: who applies one must hold them all, or may `escalate`.
    given: BTreeSet<Right>,
    /// The right that stands for all of these, by the kind of the roles.
    escalate: BTreeSet<Right>,
}

/// What a run of `suite` with these manifests needs.
pub(super) fn needed(suite: &Suite, rewritten: &Rewritten, reach: Reach) -> Needed {
    let mut needed = Needed::default();
    let mut add = |namespace: &str, resource: &str, verbs: &[&str]| {
        needed.rights.extend(verbs.iter().map(|verb| Right::new(namespace, resource, verb)));
    };
    add("", "namespaces", &["create", "delete", "get", "list", "patch", "watch"]);
    if reach == Reach::NodePort {
        add("", "nodes", &["list"]);
    }
    if rewritten.claims > 0 {
        add("", "storageclasses.storage.k8s.io", &["list"]);
    }
    let manifests = &rewritten.manifests;
    let plurals = plurals(rewritten);
    for object in manifests.all().filter(|object| object.reference.kind != "Namespace") {
        let namespace = object.reference.namespace.as_str();
        let resource = resource(object, &plurals);
        add(namespace, &resource, if manifests.apart.contains(&object.reference) { &SHARED } else { &OWN });
        if namespace.is_empty() && !manifests.apart.contains(&object.reference) {
            add("", &resource, &["list"]);
        }
        if matches!(object.reference.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job") {
            add(namespace, &resource, &["list", "watch"]);
        }
        if matches!(object.reference.kind.as_str(), "RoleBinding" | "ClusterRoleBinding")
            && let Some(role) = object.text(&["roleRef", "kind"])
        {
            add(if role == "Role" { namespace } else { "" }, &format!("{}s.{RBAC}", role.to_lowercase()), &["bind"]);
        }
    }
    for namespace in rewritten.namespaces.values() {
        add(namespace, "pods", &["create", "delete", "deletecollection", "get", "list", "watch"]);
        add(namespace, "pods/log", &["get"]);
        add(namespace, "events", &["list"]);
        add(namespace, "replicasets.apps", &["list"]);
        if reach == Reach::PortForward {
            // kubectl asks for it in either way, as the API server wants it.
            add(namespace, "pods/portforward", &["create", "get"]);
        }
    }
    for call in suite.specs.iter().flat_map(|specs| &specs.rights) {
        let namespace = call.namespace.as_deref().unwrap_or_default();
        let namespace = rewritten.namespaces.get(namespace).map_or(namespace, String::as_str);
        let verbs: Vec<&str> = call.verbs.iter().map(String::as_str).collect();
        add(namespace, &call.resource, &verbs);
    }
    for role in manifests.all().filter(|object| matches!(object.reference.kind.as_str(), "Role" | "ClusterRole")) {
        needed.escalate.insert(Right::new(&role.reference.namespace, &resource(role, &plurals), "escalate"));
        needed.given.extend(given(role));
    }
    // Who may bind a role that it does not hold needs the right for it; who holds it, none.
    let (bind, rights) = needed.rights.into_iter().partition(|right| right.verb == "bind");
    needed.rights = rights;
    needed.escalate.extend::<BTreeSet<Right>>(bind);
    needed
}

/// Resources by API group and kind, of the manifests' own definitions.
fn plurals(rewritten: &Rewritten) -> BTreeMap<(String, String), String> {
    let definitions = rewritten.manifests.all().filter(|object| object.reference.kind == "CustomResourceDefinition");
    let names = definitions.filter_map(|object| {
        let text = |path: &[&str]| object.text(path).map(str::to_owned);
        Some(((text(&["spec", "group"])?, text(&["spec", "names", "kind"])?), text(&["spec", "names", "plural"])?))
    });
    names.collect()
}

fn resource(object: &Object, plurals: &BTreeMap<(String, String), String>) -> String {
    let (group, kind) = (object.api_group(), &object.reference.kind);
    let known = kubernetes::kind_of_group(&object.api_version, kind).map(|kind| kind.plural.to_owned());
    let plural = known.or_else(|| plurals.get(&(group.to_owned(), kind.clone())).cloned());
    let plural = plural.unwrap_or_else(|| format!("{}s", kind.to_lowercase()));
    kubernetes::resource(&plural, group)
}

/// The rights that a role gives.
fn given(role: &Object) -> Vec<Right> {
    let mut rights = Vec::new();
    let texts = |rule: &Yaml, key: &str| -> Vec<String> {
        list(rule, &[key]).iter().filter_map(Yaml::as_str).map(str::to_owned).collect()
    };
    for rule in list(&role.value, &["rules"]) {
        for (group, resource) in texts(rule, "apiGroups")
            .iter()
            .flat_map(|group| texts(rule, "resources").into_iter().map(move |it| (group, it)))
        {
            let (resource, sub) =
                resource.split_once('/').map_or((resource.as_str(), None), |(it, sub)| (it, Some(sub)));
            let mut name = kubernetes::resource(resource, group);
            if let Some(sub) = sub {
                name = format!("{name}/{sub}");
            }
            rights.extend(texts(rule, "verbs").iter().map(|verb| Right::new(&role.reference.namespace, &name, verb)));
        }
    }
    rights
}

impl Needed {
    /// All of them, one a line.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut verbs: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for right in self.rights.iter().chain(&self.escalate) {
            verbs.entry((&right.namespace, &right.resource)).or_default().push(&right.verb);
        }
        let line = |((namespace, resource), verbs): (&(&str, &str), &Vec<&str>)| {
            let place = if namespace.is_empty() { "the whole cluster" } else { namespace };
            format!("{place}: {} {resource}", verbs.join(", "))
        };
        let mut lines: Vec<String> = verbs.iter().map(line).collect();
        if !self.escalate.is_empty() {
            lines.push("in the place of escalate and bind: all that the manifests' roles give".to_owned());
        }
        lines
    }

    /// Fails where the user of `kubectl` lacks one.
    ///
    /// # Errors
    /// In one line, with those that are lacking.
    pub(super) fn must_have(&self, kubectl: &Kubectl, context: &str, cancel: &Cancel) -> Result<()> {
        // Who may do everything need not be asked about each thing.
        let everything = BTreeSet::from([Right::new("", "*.*", "*")]);
        if lacking(kubectl, &everything, cancel)?.is_empty() {
            return Ok(());
        }
        let asked: BTreeSet<Right> = self.rights.union(&self.escalate).cloned().collect();
        let mut lacks = lacking(kubectl, &asked, cancel)?;
        if lacks.iter().any(|right| self.escalate.contains(right)) {
            lacks.retain(|right| !self.escalate.contains(right));
            lacks.extend(lacking(kubectl, &self.given, cancel)?);
        }
        if lacks.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = lacks.iter().take(NAMED).map(ToString::to_string).collect();
        let more = if lacks.len() > NAMED { format!(" and {} more", lacks.len() - NAMED) } else { String::new() };
        bail!("the user of the context {context} lacks rights that the run needs: {}{more}", named.join(", "))
    }
}

/// Those of `rights` that the user of `kubectl` does not have.
fn lacking(kubectl: &Kubectl, rights: &BTreeSet<Right>, cancel: &Cancel) -> Result<Vec<Right>> {
    let items: Vec<Value> = rights.iter().map(Right::review).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let sh = Shell::new()?;
    let words = ["create", "--validate=false", "--output", "json", "--filename", "-"];
    let doing = "asking the API server for the rights of the context's user";
    let said =
        Job::new(kubectl.cmd(&sh).args(words)).stdin(list).deadline(ANSWER).cancel(cancel).read().context(doing)?;
    let answers = answers(&said).with_context(|| format!("{doing}: it says {said:?}"))?;
    anyhow::ensure!(answers.len() == rights.len(), "{doing}: {} answers to {} questions", answers.len(), rights.len());
    Ok(rights.iter().zip(answers).filter(|(_, allowed)| !allowed).map(|(right, _)| right.clone()).collect())
}

/// Whether each is allowed, in the order of the questions.
fn answers(said: &str) -> Result<Vec<bool>> {
    let mut all = Vec::new();
    for document in serde_json::Deserializer::from_str(said).into_iter::<Value>() {
        let mut document = document?;
        match document["items"].take() {
            Value::Array(items) => all.extend(items.iter().map(|item| item["status"]["allowed"] == true)),
            _ => all.push(document["status"]["allowed"] == true),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_asked_with_group_and_subresource() {
        let review = Right::new("shop-1", "deployments.apps/scale", "patch").review();
        let expected = json!({"verb": "patch", "group": "apps", "resource": "deployments", "subresource": "scale",
            "namespace": "shop-1"});
        assert_eq!(review["spec"]["resourceAttributes"], expected);
        assert_eq!(Right::new("", "*.*", "*").review()["spec"]["resourceAttributes"]["group"], "*");
        assert_eq!(Right::new("", "namespaces", "create").to_string(), "create namespaces in the whole cluster");
    }

    #[test]
    fn answers_come_one_by_one_or_as_a_list() {
        let one = |allowed: bool| json!({"status": {"allowed": allowed}}).to_string();
        assert_eq!(answers(&format!("{}\n{}", one(true), one(false))).unwrap(), [true, false]);
        assert_eq!(answers(&format!("{{\"items\": [{}, {}]}}", one(false), one(true))).unwrap(), [false, true]);
        assert!(answers("no JSON").is_err());
    }
}
