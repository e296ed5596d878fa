//! Ports that nothing has by that name or number, that two use, or that no API server takes.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Value;

use super::pods::{Pods, Port, pods, ports, selected};
use super::subject::Subject;
use crate::plan::Object;
use crate::plan::object::{get, list, node_ports};
use crate::suite::yaml::{Problem, Segment, Source, did_you_mean};

/// What the API server gives where nobody says otherwise.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport>
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30_000..=32_767;
/// The API server's argument that says otherwise.
const RANGE_ARGUMENT: &str = "service-node-port-range";

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let pods = pods(subject);
    let mut problems = Vec::new();
    for service in services(subject) {
        problems.extend(targets(subject, service, &pods, false));
        problems.extend(of_service(subject, service));
    }
    problems.extend(policies(subject, &pods, false));
    for pods in &pods {
        problems.extend(of_pods(subject, pods, false));
    }
    // Parts of a project may be meant for different clusters.
    if subject.elsewhere.is_none() {
        problems.extend(node_port_clashes(subject));
        problems.extend(mappings(subject, false));
        problems.extend(of_suite(subject));
    }
    problems
}

/// Numbers that nothing lists: a program may listen at them all the same.
pub(super) fn unlisted(subject: &Subject<'_>) -> Vec<Problem> {
    let pods = pods(subject);
    let mut problems = Vec::new();
    for service in services(subject) {
        problems.extend(targets(subject, service, &pods, true));
    }
    problems.extend(policies(subject, &pods, true));
    for pods in &pods {
        problems.extend(of_pods(subject, pods, true));
    }
    problems.extend(mappings(subject, true));
    problems
}

fn services<'a>(subject: &Subject<'a>) -> impl Iterator<Item = &'a Object> {
    subject.objects.iter().copied().filter(|object| object.reference.kind == "Service")
}

/// Where a Service sends to: names that no pod has, or, where numbers are asked for, numbers that no pod declares.
fn targets(subject: &Subject<'_>, service: &Object, pods: &[Pods<'_>], numbers: bool) -> Vec<Problem> {
    let behind = selected(pods, service);
    let declared: Vec<_> = behind.iter().flat_map(|pods| pods.ports()).collect();
    // Who says nothing about ports may listen anywhere.
    if behind.is_empty() || declared.is_empty() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (at, port) in list(&service.value, &["spec", "ports"]).iter().enumerate() {
        let (key, target) = match port.get("targetPort") {
            Some(target) => ("targetPort", target),
            None => ("port", port.get("port").unwrap_or(&Value::Null)),
        };
        let path = [service.place(&["spec", "ports"]), vec![Segment::from(at), Segment::from(key)]].concat();
        let problem = |message: String| subject.source(service).problem_in(service.document, &path, message);
        let to = &behind[0].object.reference;
        match (target, numbers) {
            (Value::String(name), false) => {
                let names = || declared.iter().filter_map(|port| port.name);
                if !names().any(|one| one == name) {
                    let message = format!("{}: no port of {to} has the name `{name}`", service.reference);
                    problems.push(problem(message).meant(name, names()));
                }
            }
            (Value::Number(number), true) => {
                let is_it = |port: &Port<'_>| Some(port.number) == number.as_u64();
                if !declared.iter().any(is_it) {
                    let all: Vec<String> = declared.iter().map(|port| port.number.to_string()).collect();
                    let message = format!("{} sends to port {number}, and {to} declares none of it", service.reference);
                    problems.push(problem(message).hint(Some(format!("it declares {}", all.join(", ")))));
                }
            }
            _ => {}
        }
    }
    problems
}

/// Ports that NetworkPolicies open, and that no pod behind them has: names, or, where numbers are asked for, numbers.
fn policies(subject: &Subject<'_>, pods: &[Pods<'_>], numbers: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for &object in subject.objects.iter().filter(|object| object.reference.kind == "NetworkPolicy") {
        for (rules, key) in [("ingress", "from"), ("egress", "to")] {
            for (at, rule) in list(&object.value, &["spec", rules]).iter().enumerate() {
                let peers = list(rule, &[key]).iter();
                let selectors: Option<Vec<&Value>> = match rules {
                    "ingress" => get(&object.value, &["spec", "podSelector"]).map(|selector| vec![selector]),
                    // Who is in other namespaces or outside is not known.
                    _ => peers
                        .map(|peer| peer.get("podSelector").filter(|_| peer.get("namespaceSelector").is_none()))
                        .collect(),
                };
                let is_meant = |pods: &&Pods<'_>| {
                    let selectors = selectors.iter().flatten();
                    pods.namespace() == object.reference.namespace
                        && selectors.into_iter().any(|one| may_meet(pods, one))
                };
                let behind: Vec<&Pods<'_>> =
                    if selectors.is_some() { pods.iter().filter(is_meant).collect() } else { Vec::new() };
                let declared: Vec<Port<'_>> = behind.iter().flat_map(|pods| pods.ports()).collect();
                if declared.is_empty() {
                    continue;
                }
                for (number, port) in list(rule, &["ports"]).iter().enumerate() {
                    let place =
                        [object.place(&["spec", rules]), crate::at![at, "ports", number, "port"].to_vec()].concat();
                    let problem = |message: String| subject.source(object).problem_in(object.document, &place, message);
                    problems.extend(opened(object, port, &declared, numbers, problem));
                }
            }
        }
    }
    problems
}

/// What is wrong with a port of a NetworkPolicy, where the pods behind it declare these.
fn opened(
    object: &Object,
    port: &Value,
    declared: &[Port<'_>],
    numbers: bool,
    problem: impl Fn(String) -> Problem,
) -> Option<Problem> {
    let me = &object.reference;
    match port.get("port")? {
        Value::String(name) if !numbers => {
            let names = || declared.iter().filter_map(|port| port.name);
            let is_there = names().any(|one| one == name);
            (!is_there)
                .then(|| problem(format!("{me}: no port of its pods has the name `{name}`")).meant(name, names()))
        }
        Value::Number(number) if numbers => {
            let first = number.as_u64()?;
            let last = port.get("endPort").and_then(Value::as_u64).unwrap_or(first);
            let is_there = declared.iter().any(|port| (first..=last).contains(&port.number));
            let all: BTreeSet<String> = declared.iter().map(|port| port.number.to_string()).collect();
            let all = all.into_iter().collect::<Vec<_>>().join(", ");
            (!is_there).then(|| {
                let hint = format!("they declare {all}; a policy sees the ports of pods, not those of Services");
                problem(format!("{me} opens port {first}, and its pods declare none of it")).hint(Some(hint))
            })
        }
        _ => None,
    }
}

/// Whether a selector may mean these pods, as its labels tell; expressions may mean any.
fn may_meet(pods: &Pods<'_>, selector: &Value) -> bool {
    selector.get("matchLabels").and_then(Value::as_mapping).is_none_or(|labels| pods.meets(labels))
}

/// What no API server takes of a Service's ports.
fn of_service(subject: &Subject<'_>, service: &Object) -> Vec<Problem> {
    let me = &service.reference;
    let ports = list(&service.value, &["spec", "ports"]);
    let is_open = matches!(service.text(&["spec", "type"]), Some("NodePort" | "LoadBalancer"));
    let other_range = configuration(subject).is_some_and(|(source, _)| source.text.contains(RANGE_ARGUMENT));
    let mut problems = Vec::new();
    let mut names = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for (at, port) in ports.iter().enumerate() {
        let place = [service.place(&["spec", "ports"]), vec![Segment::from(at)]].concat();
        let mut add = |key: &str, message: String, hint: Option<String>| {
            let path = [place.as_slice(), &[Segment::from(key)]].concat();
            problems.push(subject.source(service).problem_in(service.document, &path, message).hint(hint));
        };
        match port.get("name").and_then(Value::as_str) {
            Some(name) if names.insert(name, at).is_some() => {
                add("name", format!("{me}: two ports have the name `{name}`"), None);
            }
            None if ports.len() > 1 => {
                let hint = Some("give each of them a name".to_owned());
                add("name", format!("{me} has several ports, and this one has no name"), hint);
            }
            _ => {}
        }
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        if let Some(number) = port.get("port").and_then(Value::as_u64)
            && numbers.insert((number, protocol), at).is_some()
        {
            add("port", format!("{me} has the port {number} twice"), None);
        }
        if let Some(number) = port.get("nodePort").and_then(Value::as_u64).filter(|number| *number != 0) {
            if !is_open {
                let hint = Some("write `type: NodePort`".to_owned());
                add("nodePort", format!("{me} has a NodePort, and is not of the type NodePort"), hint);
            } else if !NODE_PORTS.contains(&number) && !other_range {
                let hint = Some(format!("{} to {}", NODE_PORTS.start(), NODE_PORTS.end()));
                add("nodePort", format!("{me}: {number} is no NodePort"), hint);
            }
        }
    }
    problems
}

fn node_port_clashes(subject: &Subject<'_>) -> Vec<Problem> {
    let mut first: BTreeMap<(u64, &str), &Object> = BTreeMap::new();
    let mut problems = Vec::new();
    for service in services(subject) {
        for (at, port) in list(&service.value, &["spec", "ports"]).iter().enumerate() {
            let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            let Some(number) = port.get("nodePort").and_then(Value::as_u64).filter(|number| *number != 0) else {
                continue;
            };
            let other = *first.entry((number, protocol)).or_insert(service);
            let is_same = std::ptr::eq(other, service);
            let is_again = list(&service.value, &["spec", "ports"])[..at].iter().any(|port| {
                port.get("nodePort").and_then(Value::as_u64) == Some(number)
                    && port.get("protocol").and_then(Value::as_str).unwrap_or("TCP") == protocol
            });
            if is_same && !is_again {
                continue;
            }
            let whose = if is_same { "this Service itself".to_owned() } else { other.reference.to_string() };
            let message = format!("{}: the NodePort {number} is taken by {whose}", service.reference);
            let path = [service.place(&["spec", "ports"]), vec![Segment::from(at), Segment::from("nodePort")]].concat();
            problems.push(subject.source(service).problem_in(service.document, &path, message));
        }
    }
    problems
}

/// The probes of a container, and the names of its ports.
fn of_pods(subject: &Subject<'_>, pods: &Pods<'_>, numbers: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (place, container) in pods.containers() {
        let declared: Vec<_> = ports(container).collect();
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        for (way, port) in probe_ports(container) {
            let keys: Vec<Segment> = way.iter().map(|key| Segment::from(*key)).collect();
            let what = format!("{}, container {name}: the {}", pods.object.reference, way[0]);
            match (port, numbers) {
                (Value::String(port), false) => {
                    let names = || declared.iter().filter_map(|port| port.name);
                    if !names().any(|one| one == port) {
                        let message = format!("{what} asks the port `{port}`, and the container has none of that name");
                        problems.push(pods.problem(subject, &place, &keys, message).meant(port, names()));
                    }
                }
                (Value::Number(number), true)
                    if !declared.is_empty() && !declared.iter().any(|port| Some(port.number) == number.as_u64()) =>
                {
                    let all: Vec<String> = declared.iter().map(|port| port.number.to_string()).collect();
                    let message = format!("{what} asks the port {number}, which the container does not declare");
                    let hint = Some(format!("it declares {}", all.join(", ")));
                    problems.push(pods.problem(subject, &place, &keys, message).hint(hint));
                }
                _ => {}
            }
        }
        let mut seen = BTreeMap::new();
        for (at, port) in declared.iter().enumerate().filter(|_| !numbers) {
            if let Some(port) = port.name
                && seen.insert(port, at).is_some()
            {
                let message = format!("{}, container {name}: two ports have the name `{port}`", pods.object.reference);
                let keys = [Segment::from("ports"), Segment::from(at), Segment::from("name")];
                problems.push(pods.problem(subject, &place, &keys, message));
            }
        }
    }
    problems
}

/// The ports that the kubelet asks of a container, and where each stands.
fn probe_ports(container: &Value) -> Vec<(Vec<&'static str>, &Value)> {
    let mut found = Vec::new();
    let probes: [&[&'static str]; 5] = [
        &["startupProbe"],
        &["readinessProbe"],
        &["livenessProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    for probe in probes {
        for action in ["httpGet", "tcpSocket", "grpc"] {
            let way: Vec<&'static str> = probe.iter().copied().chain([action, "port"]).collect();
            if let Some(port) = get(container, &way) {
                found.push((way, port));
            }
        }
    }
    found
}

/// kind's mappings: two of one port of the host, or, where numbers are asked for, one that leads to nobody.
fn mappings(subject: &Subject<'_>, numbers: bool) -> Vec<Problem> {
    let Some((source, config)) = configuration(subject) else { return Vec::new() };
    let open = open_ports(subject);
    let mut problems = Vec::new();
    let mut taken = BTreeMap::new();
    for (node, value) in list(&config, &["nodes"]).iter().enumerate() {
        for (at, mapping) in list(value, &["extraPortMappings"]).iter().enumerate() {
            let number = |key: &str| mapping.get(key).and_then(Value::as_u64);
            let text = |key: &str, default: &'static str| mapping.get(key).and_then(Value::as_str).unwrap_or(default);
            let path = |key: &str| crate::at!["nodes", node, "extraPortMappings", at, key].to_vec();
            let host = (number("hostPort"), text("listenAddress", "0.0.0.0"), text("protocol", "TCP"));
            if !numbers {
                if number("hostPort").is_some_and(|port| port != 0) && taken.insert(host, ()).is_some() {
                    let message = format!("the host's port {} is mapped twice", host.0.unwrap_or_default());
                    problems.push(source.problem(&path("hostPort"), message));
                }
                continue;
            }
            let Some(port) = number("containerPort").filter(|port| subject.is_whole && !open.contains_key(port)) else {
                continue;
            };
            let all: Vec<String> = open.iter().map(|(port, name)| format!("{port} ({name})")).collect();
            let hint = (!all.is_empty()).then(|| format!("there are {}", all.join(", ")));
            let message = format!("kind maps a port to {port} of the node, where no manifest has anything");
            problems.push(source.problem(&path("containerPort"), message).hint(hint));
        }
    }
    problems
}

/// The ports that a node answers at: NodePorts, and those that pods take on it.
fn open_ports(subject: &Subject<'_>) -> BTreeMap<u64, String> {
    let mut open: BTreeMap<u64, String> =
        node_ports(subject.objects.iter().copied()).into_iter().map(|(port, name)| (port.into(), name)).collect();
    for pods in pods(subject) {
        let is_on_host = pods.spec.get("hostNetwork").and_then(Value::as_bool) == Some(true);
        for (_, container) in pods.containers() {
            for port in list(container, &["ports"]) {
                let key = if is_on_host { "containerPort" } else { "hostPort" };
                if let Some(number) = port.get(key).and_then(Value::as_u64) {
                    open.entry(number).or_insert_with(|| pods.object.reference.name.clone());
                }
            }
        }
    }
    open
}

/// kind's configuration, where it can be read.
fn configuration(subject: &Subject<'_>) -> Option<(Source, Value)> {
    let source = Source::read(subject.root, &subject.suite.cluster.config).ok()?;
    let config = source.parse::<Value>().ok()?;
    Some((source, config))
}

/// NodePorts that the suite itself names.
fn of_suite(subject: &Subject<'_>) -> Vec<Problem> {
    if !subject.is_whole {
        return Vec::new();
    }
    let open = node_ports(subject.objects.iter().copied());
    let names: Vec<String> = open.keys().map(u16::to_string).collect();
    let mut problems = Vec::new();
    let mut look = |path: &[Segment], port: u16| {
        if !open.contains_key(&port) {
            let hint = did_you_mean(&port.to_string(), names.iter().map(String::as_str));
            let hint = hint.or_else(|| (!names.is_empty()).then(|| format!("there are: {}", names.join(", "))));
            let message = format!("no Service has the NodePort {port}");
            problems.push(subject.suite.source.problem(path, message).hint(hint));
        }
    };
    if let Some(edit) = subject.suite.bench.as_ref().and_then(|bench| bench.edit.as_ref()) {
        look(&crate::at!["bench", "edit", "shown", "node_port"], edit.shown.node_port);
    }
    for (at, process) in subject.suite.processes.iter().flat_map(|processes| &processes.workloads).enumerate() {
        for (place, port) in process.ports.iter().enumerate() {
            if let Some(node_port) = port.node_port {
                look(&crate::at!["processes", "workloads", at, "ports", place, "node_port"], node_port);
            }
        }
    }
    for part in subject.suite.access.as_deref().unwrap_or_default().split('{').skip(1) {
        let number = part.split_once('}').and_then(|(number, _)| number.parse().ok());
        if let Some(number) = number {
            look(&crate::at!["access"], number);
        }
    }
    problems
}
