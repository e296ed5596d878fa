//! Services that are named and not there: by their DNS names in environments, arguments and configuration, by Ingresses
//! and by webhooks.

use serde_yaml::Value;

use super::made::MadeLater;
use super::pods::pods;
use super::subject::{Subject, close};
use crate::plan::Object;
use crate::plan::object::{get, list};
use crate::suite::yaml::{Problem, Segment};

/// Hosts that every container knows.
const KNOWN: [&str; 3] = ["localhost", "host", "kubernetes"];

/// A host that some text names.
struct Host<'t> {
    name: &'t str,
    /// The namespace, where the text says it.
    namespace: Option<&'t str>,
    port: Option<u64>,
    /// Whether it can be nothing but the name of a Service.
    is_sure: bool,
    /// How many lines stand before it, and how many bytes on its own.
    line: usize,
    offset: usize,
}

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    if !subject.is_whole {
        return Vec::new();
    }
    let may_be_made = MadeLater::of(subject.objects).may_create("Service");
    let mut problems = Vec::new();
    for (object, path, text) in texts(subject) {
        for host in hosts(text) {
            let at = || {
                let place = [object.item.as_slice(), &path].concat();
                let content = text.lines().nth(host.line).unwrap_or_default();
                let characters = content[..host.offset].chars().count();
                subject.source(object).problem_in_text(object.document, &place, text, host.line, characters, "")
            };
            problems.extend(wrong(subject, object, &host, may_be_made, at));
        }
    }
    problems.extend(ingresses(subject));
    problems.extend(governing(subject));
    problems
}

/// A StatefulSet whose `serviceName` is nearly that of a Service: its pods would have no names in DNS. The API server
/// takes any.
fn governing(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for &object in subject.objects.iter().filter(|object| object.reference.kind == "StatefulSet") {
        let Some(name) = object.text(&["spec", "serviceName"]) else { continue };
        let namespace = object.reference.namespace.as_str();
        let there = subject.index.keys().filter(|(kind, space, _)| *kind == "Service" && *space == namespace);
        let names: Vec<&str> = there.map(|(_, _, name)| *name).collect();
        if !names.contains(&name) && super::subject::close(name, names.iter().copied()).is_some() {
            let message = format!("{}: no Service `{name}` is in the namespace `{namespace}`", object.reference);
            let problem = object.problem(subject.source(object), &["spec", "serviceName"], message);
            problems.push(problem.meant(name, names));
        }
    }
    problems
}

/// The texts that programs read: environments, arguments, configuration.
fn texts<'a>(subject: &Subject<'a>) -> Vec<(&'a Object, Vec<Segment>, &'a str)> {
    let mut texts = Vec::new();
    for &object in subject.objects {
        if matches!(object.reference.kind.as_str(), "ConfigMap" | "Secret") {
            for key in
                ["data", "stringData"].into_iter().filter(|key| object.reference.kind != "Secret" || *key != "data")
            {
                for (name, text) in object.value.get(key).and_then(Value::as_mapping).into_iter().flatten() {
                    if let (Some(name), Some(text)) = (name.as_str(), text.as_str()) {
                        texts.push((object, crate::at![key, name].to_vec(), text));
                    }
                }
            }
        }
    }
    for pods in pods(subject) {
        let skip = pods.object.item.len();
        for (place, container) in pods.containers() {
            let place = &place[skip..];
            for (at, variable) in list(container, &["env"]).iter().enumerate() {
                if let Some(text) = variable.get("value").and_then(Value::as_str) {
                    texts.push((pods.object, [place, &crate::at!["env", at, "value"]].concat(), text));
                }
            }
            for key in ["command", "args"] {
                for (at, text) in list(container, &[key]).iter().enumerate() {
                    if let Some(text) = text.as_str() {
                        texts.push((pods.object, [place, &crate::at![key, at]].concat(), text));
                    }
                }
            }
        }
    }
    texts
}

/// The hosts in a text: `http://name:80`, `name.namespace.svc`, `name:5432`. Lines that are comments have none.
fn hosts(text: &str) -> Vec<Host<'_>> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with(['#', ';']) || line.trim_start().starts_with("//") {
            continue;
        }
        let mut rest = line;
        while let Some(begin) = rest.find(is_part) {
            let word = &rest[begin..];
            let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
            let (word, after) = word.split_at(end);
            let ahead = &line[..line.len() - rest.len() + begin];
            let of_url = ahead.ends_with("://") || (ahead.ends_with('@') && ahead.contains("://"));
            let port = after.strip_prefix(':').map(|after| {
                let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
                (&after[..digits], after[digits..].chars().next())
            });
            let port = port.and_then(|(digits, next)| {
                let is_end =
                    next.is_none_or(|next| matches!(next, '/' | ',' | ';' | '"' | '\'' | ' ' | ')' | ']' | '?'));
                digits.parse::<u64>().ok().filter(|_| is_end)
            });
            let word = word.trim_end_matches('.');
            let mut parts = word.split('.');
            let (name, namespace, kind) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
            let of_cluster = kind == Some("svc");
            let is_single = namespace.is_none();
            let is_dns = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains('_');
            // A user's name and password stand before the host.
            let is_user = of_url && after.starts_with(':') && after.contains('@');
            let is_bare = is_single
                && !of_url
                && port.is_some_and(|port| port >= 1000)
                && !ahead.ends_with(['/', ':', '@', '.', '$', '{']);
            if is_dns && !is_user && (of_cluster || (of_url && is_single) || is_bare) {
                let is_sure = of_cluster || of_url;
                found.push(Host {
                    name,
                    namespace: namespace.filter(|_| of_cluster),
                    port,
                    is_sure,
                    line: number,
                    offset: ahead.len(),
                });
            }
            rest = after;
        }
    }
    found
}

/// What is wrong with a host, which stands `at` some place.
fn wrong(
    subject: &Subject<'_>,
    object: &Object,
    host: &Host<'_>,
    may_be_made: bool,
    at: impl Fn() -> Problem,
) -> Option<Problem> {
    let namespace = host.namespace.unwrap_or(&object.reference.namespace);
    let name = host.name;
    if KNOWN.contains(&name) || is_of_the_system(namespace) {
        return None;
    }
    let told = |message: String| Problem { message, ..at() };
    if let Some(service) = subject.find("Service", namespace, name) {
        let port = host.port?;
        let ports: Vec<u64> =
            list(&service.value, &["spec", "ports"]).iter().filter_map(|port| port.get("port")?.as_u64()).collect();
        let is_headless = service.text(&["spec", "clusterIP"]) == Some("None");
        let is_elsewhere = service.text(&["spec", "type"]) == Some("ExternalName");
        if is_headless || is_elsewhere || ports.is_empty() || ports.contains(&port) {
            return None;
        }
        let message = format!("{}: {} has no port {port}", object.reference, service.reference);
        let all: Vec<String> = ports.iter().map(u64::to_string).collect();
        let problem = told(message);
        return Some(match all.as_slice() {
            [one] => {
                let whole = format!("{name}:{port}");
                problem.hint(Some(format!("write {one}"))).replace(&whole, &format!("{name}:{one}"))
            }
            _ => problem.hint(Some(format!("it has {}", all.join(", ")))),
        });
    }
    let names = || {
        let here = subject.index.range(("Service", namespace, "")..);
        here.take_while(|((kind, space, _), _)| *kind == "Service" && *space == namespace)
            .map(|((_, _, name), _)| *name)
    };
    let near = close(name, names());
    // A container by itself, or what is made later, has names that no manifest tells.
    if near.is_none() && (!host.is_sure || may_be_made || is_named_elsewhere(subject, name)) {
        return None;
    }
    let elsewhere = subject.index.keys().find(|(kind, _, other)| *kind == "Service" && *other == name);
    let message = format!("{}: no Service `{name}` is in the namespace `{namespace}`", object.reference);
    let problem = told(message);
    Some(match (near, elsewhere) {
        (None, Some((_, namespace, _))) => {
            problem.hint(Some(format!("there is one in `{namespace}`: write `{name}.{namespace}`")))
        }
        _ => problem.meant(name, names()),
    })
}

fn is_of_the_system(namespace: &str) -> bool {
    matches!(namespace, "kube-system" | "kube-public" | "local-path-storage")
}

/// Names that are no Service's: of other hosts that a pod knows, of pods, of what a controller makes.
fn is_named_elsewhere(subject: &Subject<'_>, name: &str) -> bool {
    let is_alias = |pods: &super::pods::Pods<'_>| {
        let aliases = list(pods.spec, &["hostAliases"]).iter();
        aliases.flat_map(|alias| list(alias, &["hostnames"])).any(|host| host.as_str() == Some(name))
            || pods.spec.get("hostname").and_then(Value::as_str) == Some(name)
    };
    let of_set = |object: &&Object| {
        object.reference.kind == "StatefulSet"
            && name.strip_prefix(object.reference.name.as_str()).is_some_and(|rest| rest.starts_with('-'))
    };
    pods(subject).iter().any(is_alias) || subject.objects.iter().any(of_set)
}

/// Services that Ingresses send to.
fn ingresses(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for &object in subject.objects.iter().filter(|object| object.reference.kind == "Ingress") {
        let mut backends =
            vec![(crate::at!["spec", "defaultBackend"].to_vec(), get(&object.value, &["spec", "defaultBackend"]))];
        for (at, rule) in list(&object.value, &["spec", "rules"]).iter().enumerate() {
            for (path, one) in list(rule, &["http", "paths"]).iter().enumerate() {
                let place = crate::at!["spec", "rules", at, "http", "paths", path, "backend"].to_vec();
                backends.push((place, one.get("backend")));
            }
        }
        for (place, backend) in backends {
            let Some(backend) = backend.and_then(|backend| backend.get("service")) else { continue };
            let name = backend.get("name").and_then(Value::as_str).unwrap_or_default();
            let at = |keys: &[&str], message: String| {
                let keys: Vec<Segment> = keys.iter().map(|key| Segment::from(*key)).collect();
                let path = [object.item.as_slice(), &place, &keys].concat();
                subject.source(object).problem_in(object.document, &path, message)
            };
            let Some(service) = subject.find("Service", &object.reference.namespace, name) else {
                let message = format!("{}: no manifest makes the Service `{name}`", object.reference);
                let namespace = object.reference.namespace.as_str();
                let names = subject.index.keys().filter(|(kind, space, _)| *kind == "Service" && *space == namespace);
                problems.push(at(&["service", "name"], message).meant(name, names.map(|(_, _, name)| *name)));
                continue;
            };
            let ports = list(&service.value, &["spec", "ports"]);
            let number = get(backend, &["port", "number"]);
            let named = get(backend, &["port", "name"]).and_then(Value::as_str);
            if let Some(number) = number.filter(|number| !ports.iter().any(|port| port.get("port") == Some(*number))) {
                let message = format!("{}: {} has no port {number:?}", object.reference, service.reference);
                problems.push(at(&["service", "port", "number"], message));
            }
            let names = || ports.iter().filter_map(|port| port.get("name")?.as_str());
            if let Some(named) = named.filter(|named| !names().any(|name| name == *named)) {
                let message = format!("{}: {} has no port `{named}`", object.reference, service.reference);
                problems.push(at(&["service", "port", "name"], message).meant(named, names()));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_what_can_be_nothing_else() {
        let found = |text: &str| -> Vec<(String, Option<String>, Option<u64>)> {
            hosts(text).iter().map(|host| (host.name.into(), host.namespace.map(Into::into), host.port)).collect()
        };
        let one = |name: &str, namespace: Option<&str>, port: Option<u64>| {
            vec![(name.to_owned(), namespace.map(str::to_owned), port)]
        };
        for (text, expected) in [
            ("http://shop:8080/path", one("shop", None, Some(8080))),
            ("url: http://shop", one("shop", None, None)),
            ("postgres://user:word@db:5432/shop", one("db", None, Some(5432))),
            ("shop.n.svc.cluster.local:80", one("shop", Some("n"), Some(80))),
            ("a=1,addr=db:5432", one("db", None, Some(5432))),
            ("# http://shop", vec![]),
            ("https://example.com:8080", vec![]),
            ("http://127.0.0.1:8080", vec![]),
            ("redis:7", vec![]),
            ("image: registry.example/shop:1000", vec![]),
            ("http://$HOST:80 http://{{ host }}/", vec![]),
            ("12:30:1999", vec![]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
