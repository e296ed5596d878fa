//! What kubectl says when it cannot apply something. Pure: its output comes in as text.

use crate::plan::{Manifests, Object};
use crate::suite::yaml::nearest;

/// Whether an error of `kubectl apply` is one that only a cluster which is starting gives.
pub(super) fn is_of_a_young_cluster(error: &str) -> bool {
    [
        "connection refused",
        "connection reset",
        "the server is currently unable to handle the request",
        "the server could not find the requested resource",
        "etcdserver: leader changed",
        "failed to download openapi",
        "ServiceUnavailable",
        "TLS handshake timeout",
        "not yet ready to handle request",
    ]
    .iter()
    .any(|text| error.contains(text))
}

/// An object that the API server has, and does not change in the way that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unchangeable {
    /// As in its manifest: `Job`.
    pub(super) kind: String,
    pub(super) name: String,
    /// The field, as far as the API server names one: `spec.template`.
    pub(super) field: String,
    /// What the API server says of it.
    pub(super) why: String,
}

/// The objects that `kubectl apply` could not change because a field of theirs stays as it was made.
pub(super) fn unchangeable(error: &str) -> Vec<Unchangeable> {
    let phrases = [
        "field is immutable",
        "is immutable",
        "cannot change roleRef",
        "may not change once set",
        "may not be changed in an update",
        "updates to ",
        "updates may not change fields",
    ];
    let mut found: Vec<Unchangeable> = Vec::new();
    let mut current: Option<(String, String)> = None;
    for line in error.lines().map(str::trim) {
        let mut text = line.strip_prefix("* ").unwrap_or(line);
        if let Some((head, rest)) = line.split_once(" is invalid:") {
            // `The Job "j"` where it is alone, `Error from server (Invalid): Job.batch "j"` where it is one of several;
            // with a command before it where it is the last line of all.
            let mut words = head.rsplit(' ');
            let name = words.next().unwrap_or_default().trim_matches('"');
            let kind = words.next().unwrap_or_default().split('.').next().unwrap_or_default();
            current = Some((kind.to_owned(), name.to_owned()));
            text = rest.trim();
        } else if !line.starts_with("* ") {
            continue;
        }
        let Some((kind, name)) = current.clone() else { continue };
        let phrase = phrases.iter().find_map(|phrase| Some(&text[text.find(phrase)?..]));
        let Some(phrase) = phrase else { continue };
        if found.iter().any(|other| (&other.kind, &other.name) == (&kind, &name)) {
            continue;
        }
        let field = text.trim_start_matches('[').split(':').next().unwrap_or_default().to_owned();
        found.push(Unchangeable { kind, name, field, why: phrase.trim_end_matches(['.', ']']).to_owned() });
    }
    found
}

/// The kinds that kubectl did not find, each with its apiVersion.
pub(super) fn unknown_kinds(error: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for part in error.split("no matches for kind \"").skip(1) {
        let mut words = part.split('"');
        let (Some(kind), Some(" in version "), Some(version)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if !found.iter().any(|other| (other.0.as_str(), other.1.as_str()) == (kind, version)) {
            found.push((kind.to_owned(), version.to_owned()));
        }
    }
    found
}

/// Group and version of an apiVersion; the core group is empty.
pub(super) fn group_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Who may still bring a kind that the API server does not know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bringer {
    /// A definition or an aggregated API of the manifests: it will be there.
    Manifests,
    /// A definition of the manifests has the kind, in these versions only.
    OtherVersions(Vec<String>),
    Nobody,
}

/// Who of `manifests` brings `kind` in `api_version`.
pub(super) fn bringer(manifests: &Manifests, kind: &str, api_version: &str) -> Bringer {
    let (group, version) = group_version(api_version);
    let mut others = Vec::new();
    for object in manifests.all() {
        match object.reference.kind.as_str() {
            "CustomResourceDefinition" => {
                if object.text(&["spec", "group"]) != Some(group)
                    || object.text(&["spec", "names", "kind"]) != Some(kind)
                {
                    continue;
                }
                let versions = crate::plan::object::list(&object.value, &["spec", "versions"]);
                let names = versions.iter().filter_map(|version| version.get("name")?.as_str());
                let names: Vec<&str> = names.collect();
                if names.is_empty() || names.contains(&version) {
                    return Bringer::Manifests;
                }
                others.extend(names.into_iter().map(str::to_owned));
            }
            "APIService" => {
                let brings = object.text(&["spec", "group"]).unwrap_or_default() == group
                    && object.text(&["spec", "version"]) == Some(version);
                if brings {
                    return Bringer::Manifests;
                }
            }
            _ => {}
        }
    }
    if others.is_empty() { Bringer::Nobody } else { Bringer::OtherVersions(others) }
}

/// What the API server has of an apiVersion.
#[derive(Debug)]
pub(super) enum Served {
    /// These kinds.
    Kinds(Vec<String>),
    /// Not the apiVersion itself; but these.
    Versions(Vec<String>),
}

/// Why `object` can never be applied, whose kind nobody brings: with its place, and the nearest right name. `None` where
/// the API server does have the kind.
pub(super) fn hopeless(manifests: &Manifests, object: &Object, served: &Served, bringer: &Bringer) -> Option<String> {
    let (kind, api_version) = (&object.reference.kind, &object.api_version);
    let (group, _) = group_version(api_version);
    let nobody = "and no CustomResourceDefinition of the suite's manifests brings it";
    let (key, what, near) = match (served, bringer) {
        (Served::Kinds(kinds), _) if kinds.contains(kind) => return None,
        (_, Bringer::OtherVersions(versions)) => {
            let what = format!(
                "`{api_version}` is no version of the kind `{kind}`: its CustomResourceDefinition has {}",
                versions.join(", ")
            );
            (["apiVersion"], what, None)
        }
        (Served::Kinds(kinds), _) => {
            let custom = manifests.all().filter(|object| object.text(&["spec", "group"]) == Some(group));
            let custom = custom.filter_map(|object| object.text(&["spec", "names", "kind"]));
            let near = nearest(kind, kinds.iter().map(String::as_str).chain(custom));
            (["kind"], format!("the API server has no kind `{kind}` in {api_version}, {nobody}"), near)
        }
        (Served::Versions(versions), _) => {
            let near = nearest(api_version, versions.iter().map(String::as_str));
            (["apiVersion"], format!("the API server has no {api_version} for the kind `{kind}`, {nobody}"), near)
        }
    };
    let message = format!("{}: {what}", object.reference);
    let hint = near.map(|near| format!("did you mean `{near}`?"));
    Some(manifests.problem(object, &key, message).hint(hint).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::yaml::Source;

    #[test]
    fn only_what_a_young_cluster_says_is_tried_again() {
        assert!(is_of_a_young_cluster("The connection to the server 127.0.0.1:1 was refused: connection refused"));
        assert!(!is_of_a_young_cluster("error: unknown field \"spec.replica\""));
        assert!(!is_of_a_young_cluster("no matches for kind \"Deploymnet\" in version \"apps/v1\""));
    }

    /// As Kubernetes 1.34 says it.
    const REFUSED: &str = "`kubectl apply`: exit code 1: Error from server (Invalid): Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`
    Error from server (Invalid): Job.batch \"j\" is invalid: spec.template: Invalid value: {\"labels\":{}}: field is immutable
    Error from server (Invalid): ConfigMap \"cm\" is invalid: data: Forbidden: field is immutable when `immutable` is set
    Error from server (Invalid): RoleBinding.rbac.authorization.k8s.io \"rb\" is invalid: roleRef: Invalid value: {\"Name\":\"edit\"}: cannot change roleRef
    The Service \"svc\" is invalid: 
    * spec.type: Unsupported value: \"Foo\"
    * spec.clusterIPs[0]: Invalid value: [\"10.0.0.51\"]: may not change once set
    Error from server (Invalid): StatefulSet.apps \"sts\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden
    Error from server (Invalid): StorageClass.storage.k8s.io \"sc\" is invalid: provisioner: Forbidden: updates to provisioner are forbidden.
    Error from server (Invalid): Deployment.apps \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0
    Error from server (Invalid): Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`
    @@ -98,7 +98,13 @@
    ";

    #[test]
    fn what_cannot_be_changed_is_told_from_what_is_wrong() {
        let found = unchangeable(REFUSED);
        let named: Vec<_> = found.iter().map(|one| format!("{} {} {}", one.kind, one.name, one.field)).collect();
        let expected = [
            "Pod p spec",
            "Job j spec.template",
            "ConfigMap cm data",
            "RoleBinding rb roleRef",
            "Service svc spec.clusterIPs[0]",
            "StatefulSet sts spec",
            "StorageClass sc provisioner",
        ];
        assert_eq!(named, expected);
        assert_eq!(found[1].why, "field is immutable");
        assert_eq!(unchangeable("Error from server (NotFound): namespaces \"nope\" not found"), []);
    }

    #[test]
    fn a_kind_that_nobody_brings_is_told_with_its_place_and_the_nearest_name() {
        let error = "resource mapping not found for name: \"d\" namespace: \"\" from \"STDIN\": no matches for kind \"Deploymnet\" in version \"apps/v1\"\nensure CRDs are installed first\nno matches for kind \"Deploymnet\" in version \"apps/v1\"";
        assert_eq!(unknown_kinds(error), [("Deploymnet".to_owned(), "apps/v1".to_owned())]);
        let text = "\
apiVersion: apps/v1
kind: Deploymnet
metadata: {name: d, namespace: n}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: orders.shop.io},
 spec: {group: shop.io, names: {kind: Order, plural: orders}, versions: [{name: v1}]}}
---
{apiVersion: shop.io/v1, kind: Order, metadata: {name: o}}
---
{apiVersion: shop.io/v2, kind: Order, metadata: {name: o2}}
---
{apiVersion: shop.io/v1, kind: Ordr, metadata: {name: o3}}
---
{apiVersion: aps/v1, kind: Deployment, metadata: {name: e}}
";
        let sources = [("m.yaml".into(), Source::new("m.yaml", text))];
        let manifests = Manifests::new(sources.into()).unwrap();
        let told = |at: usize, served: &Served| {
            let object = manifests.all().nth(at).unwrap();
            let bringer = bringer(&manifests, &object.reference.kind, &object.api_version);
            (bringer != Bringer::Manifests).then(|| hopeless(&manifests, object, served, &bringer)).flatten()
        };
        let kinds = |kinds: &[&str]| Served::Kinds(kinds.iter().map(|kind| (*kind).to_owned()).collect());
        let apps = kinds(&["DaemonSet", "Deployment"]);
        let versions = Served::Versions(vec!["apps/v1".to_owned(), "v1".to_owned()]);
        assert_eq!(
            told(0, &apps).unwrap(),
            "m.yaml:2:7: Deploymnet n/d: the API server has no kind `Deploymnet` in apps/v1, and no \
             CustomResourceDefinition of the suite's manifests brings it (did you mean `Deployment`?)"
        );
        assert_eq!(told(0, &kinds(&["Deploymnet"])), None, "a young API server");
        assert_eq!(told(2, &versions), None, "the definition will be there");
        assert!(
            told(3, &versions).unwrap().contains("its CustomResourceDefinition has v1"),
            "{:?}",
            told(3, &versions)
        );
        assert!(told(4, &kinds(&[])).unwrap().ends_with("(did you mean `Order`?)"));
        assert!(told(5, &versions).unwrap().ends_with("(did you mean `apps/v1`?)"));
    }
}
