//! Rights: roles that speak of resources or verbs that there are not, bindings to roles and accounts that there are not,
//! calls of a service that its account may not make, and rights that it does not need.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Value;

use super::Subject;
use super::pods::{Pods, pods};
use crate::kubernetes::{has_group, kinds};
use crate::plan::Object;
use crate::plan::object::list;
use crate::suite::yaml::Problem;
use crate::suite::{Call, Service};

/// What may be done to a resource.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb>
const VERBS: [&str; 14] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "escalate",
    "impersonate",
    "approve",
    "sign",
];
/// Roles that every cluster has, beside those whose name begins with `system:`.
const ROLES: [&str; 4] = ["cluster-admin", "admin", "edit", "view"];

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for &object in subject.objects {
        match object.reference.kind.as_str() {
            "Role" | "ClusterRole" => rules(subject, object, &mut problems),
            "RoleBinding" | "ClusterRoleBinding" if subject.is_whole => binding(subject, object, &mut problems),
            _ => {}
        }
    }
    problems.extend(calls(subject));
    problems
}

/// The plurals of custom kinds, with their groups.
fn custom<'a>(subject: &Subject<'a>) -> Vec<(&'a str, &'a str)> {
    let of = |object: &&'a Object| {
        let is_it = object.reference.kind == "CustomResourceDefinition";
        is_it.then(|| Some((object.text(&["spec", "group"])?, object.text(&["spec", "names", "plural"])?))).flatten()
    };
    subject.objects.iter().filter_map(of).collect()
}

fn rules(subject: &Subject<'_>, object: &Object, problems: &mut Vec<Problem>) {
    let custom = custom(subject);
    for (at, rule) in list(&object.value, &["rules"]).iter().enumerate() {
        let texts = |key: &str| -> Vec<&str> { list(rule, &[key]).iter().filter_map(Value::as_str).collect() };
        let problem = |key: &str, place: usize, message: String| {
            let path = [object.place(&["rules"]), crate::at![at, key, place].to_vec()].concat();
            subject.source(object).problem_in(object.document, &path, message)
        };
        for (place, verb) in texts("verbs").into_iter().enumerate() {
            // Who extends the API may have verbs of its own.
            let near = super::close(&verb.to_lowercase(), VERBS)
                .or_else(|| VERBS.into_iter().find(|one| one.eq_ignore_ascii_case(verb)));
            if verb != "*" && !VERBS.contains(&verb) && near.is_some() {
                let message = format!("{}: no API has the verb `{verb}`", object.reference);
                problems.push(problem("verbs", place, message).meant(verb, near));
            }
        }
        let groups = texts("apiGroups");
        let known = |group: &str| has_group(group) || custom.iter().any(|(other, _)| *other == group);
        if groups.is_empty() || groups.contains(&"*") || !groups.iter().all(|group| known(group)) {
            continue;
        }
        let there: BTreeSet<&str> = kinds()
            .iter()
            .map(|kind| (kind.group(), kind.plural))
            .chain(custom.iter().copied())
            .filter(|(group, _)| groups.contains(group))
            .map(|(_, plural)| plural)
            .collect();
        for (place, resource) in texts("resources").into_iter().enumerate() {
            let plural = resource.split('/').next().unwrap_or_default();
            if plural == "*" || there.contains(plural) || is_served_beside(plural) {
                continue;
            }
            let group = kinds().iter().find(|kind| kind.plural == plural).map(|kind| kind.group());
            let names = groups.iter().map(|group| if group.is_empty() { "\"\"" } else { group });
            let names = names.collect::<Vec<_>>().join(", ");
            let message = format!("{}: the API group {names} has no resource `{plural}`", object.reference);
            let problem = problem("resources", place, message);
            problems.push(match group {
                Some(group) => problem.hint(Some(format!("it is of the group \"{group}\""))),
                None => problem.meant(plural, there.iter().copied()),
            });
        }
    }
}

/// Resources that no object can be created of, and rights that are no resource's.
fn is_served_beside(plural: &str) -> bool {
    matches!(
        plural,
        "componentstatuses" | "nodes" | "events" | "pods" | "users" | "groups" | "serviceaccounts" | "uids" | "signers"
    ) || matches!(plural, "evictions" | "bindings" | "scale" | "userextras")
}

fn binding(subject: &Subject<'_>, object: &Object, problems: &mut Vec<Problem>) {
    let kind = object.text(&["roleRef", "kind"]).unwrap_or_default();
    let name = object.text(&["roleRef", "name"]).unwrap_or_default();
    let namespace = if kind == "Role" { object.reference.namespace.as_str() } else { "" };
    let is_given = kind == "ClusterRole" && (ROLES.contains(&name) || name.starts_with("system:"));
    let of_system = kind == "Role" && namespace.starts_with("kube-");
    let names_of = |kind: &'static str, namespace: &str| -> Vec<&str> {
        let all = subject.index.keys().filter(|(one, space, _)| *one == kind && *space == namespace);
        all.map(|(_, _, name)| *name).collect()
    };
    if matches!(kind, "Role" | "ClusterRole")
        && !is_given
        && !of_system
        && subject.find(kind, namespace, name).is_none()
    {
        let message = format!("{}: no manifest makes the {kind} `{name}`", object.reference);
        let names = names_of(if kind == "Role" { "Role" } else { "ClusterRole" }, namespace);
        let problem = object.problem(subject.source(object), &["roleRef", "name"], message);
        problems.push(problem.meant(name, names));
    }
    for (at, one) in list(&object.value, &["subjects"]).iter().enumerate() {
        let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("kind") != "ServiceAccount" {
            continue;
        }
        let place = |key: &str| [object.place(&["subjects"]), crate::at![at, key].to_vec()].concat();
        let at = |key: &str, message: String| subject.source(object).problem_in(object.document, &place(key), message);
        let namespace = match text("namespace") {
            "" if object.reference.kind == "ClusterRoleBinding" => {
                let message = format!("{}: a ServiceAccount without its namespace", object.reference);
                problems.push(at("name", message).hint(Some("add `namespace`".to_owned())));
                continue;
            }
            "" => object.reference.namespace.as_str(),
            namespace => namespace,
        };
        let name = text("name");
        let is_there = name == "default" || namespace.starts_with("kube-");
        if is_there || subject.find("ServiceAccount", namespace, name).is_some() {
            continue;
        }
        let elsewhere = subject.index.keys().find(|(kind, _, other)| *kind == "ServiceAccount" && *other == name);
        let message = format!("{}: no manifest makes the ServiceAccount `{name}` in `{namespace}`", object.reference);
        problems.push(match elsewhere {
            Some((_, other, _)) => at("namespace", message)
                .meant(namespace, [*other])
                .or_hint(|| format!("there is one in the namespace `{other}`")),
            None => at("name", message).meant(name, names_of("ServiceAccount", namespace)),
        });
    }
}

/// Calls that services declare in the suite, and that nothing allows them.
fn calls(subject: &Subject<'_>) -> Vec<Problem> {
    if !subject.is_whole {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (at, service) in subject.suite.services.iter().enumerate() {
        let pods = pods(subject);
        let Some(pods) = pods.iter().find(|pods| pods.object.reference.name == service.workload) else { continue };
        let account = pods.spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or("default");
        let rules = rules_of(subject, pods.namespace(), account);
        for (place, call) in service.calls.iter().enumerate() {
            let (resource, group) = parts(call);
            for verb in &call.verbs {
                let allows = |(namespace, rule): &(Option<&str>, &Value)| {
                    let has = |key: &str, wanted: &str| {
                        list(rule, &[key]).iter().filter_map(Value::as_str).any(|one| one == "*" || one == wanted)
                    };
                    let is_everywhere =
                        namespace.is_none() || (namespace.is_some() && call.namespace.as_deref() == *namespace);
                    is_everywhere && has("apiGroups", group) && has("resources", &resource) && has("verbs", verb)
                };
                if rules.iter().any(allows) {
                    continue;
                }
                let place_of_call =
                    call.namespace.as_ref().map_or_else(|| "everywhere".into(), |space| format!("in `{space}`"));
                let message = format!(
                    "{} calls `{verb}` on {} {place_of_call}, and no role allows that to the ServiceAccount {}/{account}",
                    service.workload,
                    call.resource,
                    pods.namespace()
                );
                let path = crate::at!["services", at, "calls", place, "verbs"];
                let hint = Some("add the verb to a role that is bound to the account, or remove the call".to_owned());
                problems.push(subject.suite.source.problem(&path, message).hint(hint));
            }
        }
    }
    problems
}

/// Rights of an account that none of the services that run under it says it needs, where all of them say what they call.
pub(super) fn unused(subject: &Subject<'_>) -> Vec<Problem> {
    if !subject.is_whole {
        return Vec::new();
    }
    let pods = pods(subject);
    let account = |pods: &Pods<'_>| {
        let name = pods.spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or("default");
        (pods.namespace().to_owned(), name.to_owned())
    };
    let of = |pods: &Pods<'_>| subject.suite.services.iter().find(|one| one.workload == pods.object.reference.name);
    let mut users: BTreeMap<(String, String), Vec<Option<&Service>>> = BTreeMap::new();
    for pods in &pods {
        users.entry(account(pods)).or_default().push(of(pods).filter(|service| !service.calls.is_empty()));
    }
    let mut problems = Vec::new();
    for ((namespace, account), services) in users {
        let Some(services) = services.into_iter().collect::<Option<Vec<&Service>>>() else { continue };
        let calls: Vec<&Call> = services.iter().flat_map(|service| &service.calls).collect();
        for right in rights_of(subject, &namespace, &account) {
            problems.extend(unneeded(subject, &right, &calls, &format!("{namespace}/{account}")));
        }
    }
    // A role may be bound to several accounts, and more than once.
    problems.dedup();
    problems
}

/// What of a rule no call needs: whole resources, else verbs.
fn unneeded(subject: &Subject<'_>, right: &Right<'_>, calls: &[&Call], account: &str) -> Vec<Problem> {
    let texts = |key: &str| -> Vec<&str> { list(right.rule, &[key]).iter().filter_map(Value::as_str).collect() };
    let (groups, resources, verbs) = (texts("apiGroups"), texts("resources"), texts("verbs"));
    // What is created has no name yet when the API server decides: with a name it is a right that other services ask for.
    let is_of_others = !texts("resourceNames").is_empty();
    let is_needed = |resource: &str, verb: &str| {
        (is_of_others && verb == "create")
            || calls.iter().any(|call| {
                let (plural, group) = parts(call);
                let fits = |all: &[&str], one: &str| all.contains(&"*") || all.contains(&one);
                (resource.contains('*') || resource == plural)
                    && (verb == "*" || call.verbs.iter().any(|one| one == verb))
                    && fits(&groups, group)
                    && (right.namespace.is_none()
                        || call.namespace.is_none()
                        || call.namespace.as_deref() == right.namespace)
            })
    };
    let problem = |key: &str, at: usize, what: String| {
        let role = right.role;
        let path = [role.place(&["rules"]), crate::at![right.at, key, at].to_vec()].concat();
        let message =
            format!("{} allows {what}, and nothing that runs as {account} says that it calls that", role.reference);
        let hint = Some("remove it, or add the call to the suite".to_owned());
        subject.source(role).problem_in(role.document, &path, message).hint(hint)
    };
    let is_idle = |resource: &&str| !verbs.iter().any(|verb| is_needed(resource, verb));
    let mut problems: Vec<Problem> = (resources.iter().enumerate().filter(|(_, resource)| is_idle(resource)))
        .map(|(at, resource)| problem("resources", at, format!("{} of {resource}", verbs.join(", "))))
        .collect();
    for (at, verb) in verbs.iter().enumerate() {
        let idle = |resource: &&&str| !is_idle(resource) && !is_needed(resource, verb);
        let of: Vec<&str> = resources.iter().filter(idle).copied().collect();
        if !of.is_empty() {
            problems.push(problem("verbs", at, format!("{verb} of {}", of.join(", "))));
        }
    }
    problems
}

/// The resource of a call as roles name it, and its API group.
fn parts(call: &Call) -> (String, &str) {
    let (kind, below) = call.resource.split_once('/').unwrap_or((&call.resource, ""));
    let (plural, group) = kind.split_once('.').unwrap_or((kind, ""));
    (if below.is_empty() { plural.to_owned() } else { format!("{plural}/{below}") }, group)
}

/// A rule that holds for an account.
struct Right<'a> {
    /// The namespace that it holds in; none where it holds in all.
    namespace: Option<&'a str>,
    role: &'a Object,
    /// Its place among the role's rules.
    at: usize,
    rule: &'a Value,
}

/// The rules that hold for an account, each with the namespace that it holds in; none where it holds in all.
pub(super) fn rules_of<'a>(subject: &Subject<'a>, namespace: &str, account: &str) -> Vec<(Option<&'a str>, &'a Value)> {
    rights_of(subject, namespace, account).into_iter().map(|right| (right.namespace, right.rule)).collect()
}

fn rights_of<'a>(subject: &Subject<'a>, namespace: &str, account: &str) -> Vec<Right<'a>> {
    let mut rights = Vec::new();
    for &object in subject.objects {
        let is_everywhere = match object.reference.kind.as_str() {
            "ClusterRoleBinding" => true,
            "RoleBinding" => false,
            _ => continue,
        };
        let is_bound = list(&object.value, &["subjects"]).iter().any(|one| {
            let text = |key: &str| one.get(key).and_then(Value::as_str);
            let space = text("namespace").unwrap_or(&object.reference.namespace);
            match text("kind") {
                Some("ServiceAccount") => text("name") == Some(account) && space == namespace,
                Some("Group") => text("name").is_some_and(|name| {
                    name == "system:serviceaccounts" || name == format!("system:serviceaccounts:{namespace}")
                }),
                _ => false,
            }
        });
        if !is_bound {
            continue;
        }
        let kind = object.text(&["roleRef", "kind"]).unwrap_or_default();
        let of = if kind == "Role" { object.reference.namespace.as_str() } else { "" };
        let role = subject.find(kind, of, object.text(&["roleRef", "name"]).unwrap_or_default());
        let namespace = (!is_everywhere).then_some(object.reference.namespace.as_str());
        if let Some(role) = role {
            let rules = list(&role.value, &["rules"]).iter().enumerate();
            rights.extend(rules.map(|(at, rule)| Right { namespace, role, at, rule }));
        }
    }
    rights
}
