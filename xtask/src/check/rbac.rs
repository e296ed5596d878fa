//! Rights: roles that speak of resources or verbs that there are not, bindings to roles and accounts that there are not,
//! calls of a service that its account may not make, and rights that it does not need.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Value;

use super::pods::{Pods, pods};
use super::subject::Subject;
use crate::kubernetes::{has_group, kinds, resource};
use crate::plan::Object;
use crate::plan::object::list;
use crate::suite::yaml::{Problem, Segment};
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
    // Where a binding leads nowhere, all that it would allow is wanting.
    if subject.is_whole && !problems.iter().any(|problem| problem.message.contains("no manifest makes")) {
        problems.extend(calls(subject));
    }
    problems.extend(unknown(subject));
    problems
}

/// Verbs and resources of calls that no API has.
fn unknown(subject: &Subject<'_>) -> Vec<Problem> {
    let custom = custom(subject);
    let mut problems = Vec::new();
    for (at, service) in subject.suite.services.iter().enumerate() {
        for (place, call) in service.calls.iter().enumerate() {
            let problem = |keys: &[Segment], message: String| {
                let path = [&crate::at!["services", at, "calls", place][..], keys].concat();
                subject.suite.source.problem(&path, format!("{}: {message}", service.workload))
            };
            for (number, verb) in call.verbs.iter().enumerate() {
                if !is_verb(verb) && super::subject::close(verb, VERBS).is_some() {
                    let message = format!("no API has the verb `{verb}`");
                    problems.push(problem(&crate::at!["verbs", number], message).meant(verb, VERBS));
                }
            }
            let (plural, group) = parts(call);
            let plural = plural.split('/').next().unwrap_or_default();
            let all = kinds().iter().map(|kind| (kind.group(), kind.plural)).chain(custom.iter().copied());
            let there: Vec<&str> = all.filter(|(other, _)| *other == group).map(|(_, plural)| plural).collect();
            if there.contains(&plural) || is_served_beside(plural) {
                continue;
            }
            let names: Vec<String> = there.iter().map(|plural| resource(plural, group)).collect();
            let names = || names.iter().map(String::as_str);
            let wrong = resource(plural, group);
            if super::subject::close(&wrong, names()).is_some() {
                let message = format!("no API has the resource `{wrong}`");
                problems.push(problem(&crate::at!["resource"], message).meant(&wrong, names()));
            }
        }
    }
    problems
}

/// The plurals of custom kinds, with their groups. A definition that contradicts itself counts for both that it says.
fn custom<'a>(subject: &Subject<'a>) -> Vec<(&'a str, &'a str)> {
    let mut all = Vec::new();
    for &object in subject.objects.iter().filter(|object| object.reference.kind == "CustomResourceDefinition") {
        let Some(group) = object.text(&["spec", "group"]) else { continue };
        let called = object.reference.name.split_once('.').map(|(plural, _)| plural);
        all.extend([object.text(&["spec", "names", "plural"]), called].into_iter().flatten().map(|one| (group, one)));
    }
    all
}

/// The API groups that there are.
fn groups_of<'a>(custom: &[(&'a str, &'a str)]) -> BTreeSet<&'a str> {
    kinds().iter().map(|kind| kind.group()).chain(custom.iter().map(|(group, _)| *group)).collect()
}

/// Whether a word of a rule and one of a call mean the same: they are, or one that is told to be wrong is a slip of the
/// other.
fn is_same(one: &str, other: &str, is_known: impl Fn(&str) -> bool) -> bool {
    let is_slip = |wrong: &str, right: &str| !is_known(wrong) && super::subject::close(wrong, [right]).is_some();
    one == other || is_slip(one, other) || is_slip(other, one)
}

fn is_verb(word: &str) -> bool {
    VERBS.contains(&word)
}

fn is_plural(word: &str) -> bool {
    kinds().iter().any(|kind| kind.plural == word)
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
            let near = super::subject::close(&verb.to_lowercase(), VERBS)
                .or_else(|| VERBS.into_iter().find(|one| one.eq_ignore_ascii_case(verb)));
            if verb != "*" && !VERBS.contains(&verb) && near.is_some() {
                let message = format!("{}: no API has the verb `{verb}`", object.reference);
                problems.push(problem("verbs", place, message).meant(verb, near));
            }
        }
        let groups = texts("apiGroups");
        let names = groups_of(&custom);
        for (place, group) in groups.iter().enumerate() {
            // Of others, who extend the API, nothing is known.
            if !has_group(group)
                && !names.contains(group)
                && super::subject::close(group, names.iter().copied()).is_some()
            {
                let message = format!("{}: there is no API group `{group}`", object.reference);
                problems.push(problem("apiGroups", place, message).meant(group, names.iter().copied()));
            }
        }
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
            let problem = match group {
                Some(group) => problem.hint(Some(format!("it is of the group \"{group}\""))),
                None => problem.meant(plural, there.iter().copied()),
            };
            // Other clusters have other versions.
            if subject.elsewhere.is_none() || problem.fix.is_some() {
                problems.push(problem);
            }
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
    let custom = custom(subject);
    let groups = groups_of(&custom);
    let is_group = |word: &str| groups.contains(word);
    let is_resource = |word: &str| is_plural(word) || custom.iter().any(|(_, plural)| *plural == word);
    let mut problems = Vec::new();
    for (at, service) in subject.suite.services.iter().enumerate() {
        let pods = pods(subject);
        let Some(pods) = pods.iter().find(|pods| pods.object.reference.name == service.workload) else { continue };
        let account = pods.spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or("default");
        // That there is no such account is told by itself.
        if account != "default" && subject.find("ServiceAccount", pods.namespace(), account).is_none() {
            continue;
        }
        let rules = rules_of(subject, pods.namespace(), account);
        for (place, call) in service.calls.iter().enumerate() {
            let (resource, group) = parts(call);
            for verb in &call.verbs {
                let allows = |(namespace, rule): &(Option<&str>, &Value)| {
                    let words = |key: &str| list(rule, &[key]).iter().filter_map(Value::as_str);
                    let of_group = words("apiGroups").any(|one| one == "*" || is_same(one, group, is_group));
                    let of_resource = words("resources").any(|one| one == "*" || is_same(one, &resource, is_resource));
                    let of_verb = words("verbs").any(|one| one == "*" || is_same(one, verb, is_verb));
                    let is_everywhere =
                        namespace.is_none() || (namespace.is_some() && call.namespace.as_deref() == *namespace);
                    is_everywhere && of_group && of_resource && of_verb
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
                let of_group = |one: &&str| *one == "*" || is_same(one, group, has_group);
                (resource.contains('*') || is_same(resource, &plural, is_plural))
                    && (verb == "*" || call.verbs.iter().any(|one| is_same(one, verb, is_verb)))
                    && groups.iter().any(of_group)
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
