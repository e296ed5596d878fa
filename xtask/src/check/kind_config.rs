//! kind's configuration: its form, what only kind itself looks at, and the patches in it, of which kind leaves out in
//! silence those that fit nothing.
//! <https://kind.sigs.k8s.io/docs/user/configuration/>

use std::net::IpAddr;

use serde_yaml::Value;

use super::schema::form;
use crate::plan::object::list;
use crate::plan::{Object, ObjectRef};
use crate::suite::yaml::{Problem, Segment, Source, did_you_mean};

/// The version of kind's configuration that there is.
pub(super) const API_VERSION: &str = "kind.x-k8s.io/v1alpha4";

/// What kubeadm is told: the kinds that patches may be of, the group of each, and the type of its fields.
const KUBEADM: [(&str, &str, &str); 5] = [
    ("ClusterConfiguration", "kubeadm.k8s.io", "kubeadm.ClusterConfiguration"),
    ("InitConfiguration", "kubeadm.k8s.io", "kubeadm.InitConfiguration"),
    ("JoinConfiguration", "kubeadm.k8s.io", "kubeadm.JoinConfiguration"),
    ("KubeletConfiguration", "kubelet.config.k8s.io", "any"),
    ("KubeProxyConfiguration", "kubeproxy.config.k8s.io", "kubeadm.KubeProxyConfiguration"),
];
/// What a JSON patch does.
/// <https://datatracker.ietf.org/doc/html/rfc6902#section-4>
const OPERATIONS: [&str; 6] = ["add", "remove", "replace", "move", "copy", "test"];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Everything that is wrong with the configuration of the cluster `name`, which is read as `config`.
pub(super) fn check(source: &Source, name: &str, config: Value) -> Vec<Problem> {
    if config.is_null() {
        let hint = format!("write `kind: Cluster` and `apiVersion: {API_VERSION}`");
        let empty = Problem { file: source.file.clone(), line: 1, column: 1, ..Problem::default() };
        return vec![Problem { message: "there is no configuration in it".to_owned(), ..empty }.hint(Some(hint))];
    }
    let object = object(source, "Cluster", name, config);
    let mut problems = form(&object, source, "kind.Cluster", false);
    let (config, mut told) = (&object.value, Told { source, problems: Vec::new() });
    let nodes = list(config, &["nodes"]);
    let role = |node: &Value| node.get("role").and_then(Value::as_str).unwrap_or("control-plane").to_owned();
    if !nodes.is_empty() && nodes.iter().all(|node| role(node) == "worker") {
        told.add(&crate::at!["nodes"], "no node has the role `control-plane`".into(), None);
    }
    networking(&mut told, config);
    patches(&mut told, name, config, &[]);
    for (at, node) in nodes.iter().enumerate() {
        for (mapping, value) in list(node, &["extraPortMappings"]).iter().enumerate() {
            port_mapping(&mut told, value, &crate::at!["nodes", at, "extraPortMappings", mapping]);
        }
        patches(&mut told, name, node, &crate::at!["nodes", at]);
    }
    problems.append(&mut told.problems);
    problems
}

/// A text that is no object of an API server, as if it were one.
fn object(source: &Source, kind: &str, name: &str, value: Value) -> Object {
    Object {
        file: source.file.clone(),
        document: 0,
        item: Vec::new(),
        api_version: String::new(),
        reference: ObjectRef { kind: kind.to_owned(), namespace: String::new(), name: name.to_owned() },
        value,
        is_rendered: false,
    }
}

struct Told<'a> {
    source: &'a Source,
    problems: Vec<Problem>,
}

impl Told<'_> {
    fn add(&mut self, path: &[Segment], message: String, hint: Option<String>) {
        self.problems.push(self.source.problem(path, message).hint(hint));
    }

    /// A port as kind takes it: -1 leaves the choice to the engine.
    fn port(&mut self, value: Option<&Value>, path: &[Segment]) {
        if let Some(port) = value.and_then(Value::as_i64).filter(|port| !(-1..=65535).contains(port)) {
            self.add(path, format!("no port has the number {port}"), Some("1 to 65535".to_owned()));
        }
    }
}

fn below(path: &[Segment], key: &str) -> Vec<Segment> {
    [path, &[Segment::from(key)]].concat()
}

fn networking(told: &mut Told<'_>, config: &Value) {
    let Some(networking) = config.get("networking") else { return };
    let text = |key: &str| networking.get(key).and_then(Value::as_str);
    let place = |key: &str| crate::at!["networking", key].to_vec();
    told.port(networking.get("apiServerPort"), &place("apiServerPort"));
    let family = text("ipFamily").unwrap_or("ipv4");
    for key in ["podSubnet", "serviceSubnet"] {
        let Some(subnets) = text(key) else { continue };
        let addresses: Option<Vec<IpAddr>> = subnets.split(',').map(subnet).collect();
        let wanted = match family {
            "dual" => "one or two subnets, as in 10.244.0.0/16,fd00:10:244::/56",
            "ipv6" => "an IPv6 subnet, as in fd00:10:244::/56",
            _ => "an IPv4 subnet, as in 10.244.0.0/16",
        };
        let fits = addresses.is_some_and(|all| match (family, all.as_slice()) {
            ("dual", [_]) => true,
            ("dual", [one, other]) => one.is_ipv4() != other.is_ipv4(),
            (_, [one]) => one.is_ipv6() == (family == "ipv6"),
            _ => false,
        });
        if !fits {
            told.add(&place(key), format!("`{subnets}` is not what kind takes of {family}"), Some(wanted.to_owned()));
        }
    }
}

/// The address of a subnet: `10.244.0.0/16`.
fn subnet(text: &str) -> Option<IpAddr> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(address)
}

fn port_mapping(told: &mut Told<'_>, mapping: &Value, path: &[Segment]) {
    for key in ["hostPort", "containerPort"] {
        told.port(mapping.get(key), &below(path, key));
    }
    let text = |key: &str| mapping.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(address) = text("listenAddress").filter(|address| address.parse::<IpAddr>().is_err()) {
        let hint = Some("as in 127.0.0.1".to_owned());
        told.add(&below(path, "listenAddress"), format!("`{address}` is no address of a host"), hint);
    }
    if let Some(protocol) = text("protocol").filter(|text| !PROTOCOLS.contains(&text.to_uppercase().as_str())) {
        let problem = told.source.problem(&below(path, "protocol"), format!("kind maps no ports of `{protocol}`"));
        let all = || format!("there are: {}", PROTOCOLS.join(", "));
        told.problems.push(problem.meant(protocol, PROTOCOLS).or_hint(all));
    }
}

/// The patches of the cluster or of a node, which stand in `of` at `path`.
fn patches(told: &mut Told<'_>, name: &str, of: &Value, path: &[Segment]) {
    let texts = |key: &'static str| {
        let all = list(of, &[key]).iter().enumerate();
        all.filter_map(move |(at, text)| Some(([path, &crate::at![key, at]].concat(), text.as_str()?)))
    };
    for (place, text) in texts("kubeadmConfigPatches") {
        merge_patch(told, name, &place, text);
    }
    for (at, patch) in list(of, &["kubeadmConfigPatchesJSON6902"]).iter().enumerate() {
        let place = [path, &crate::at!["kubeadmConfigPatchesJSON6902", at]].concat();
        let text = |key: &str| patch.get(key).and_then(Value::as_str);
        if let Some(kind) = text("kind") {
            let problem = of_kubeadm(kind, text("group")).err();
            let at = |key: &str, message: String| told.source.problem(&below(&place, key), message);
            let problem = problem.map(|wrong| wrong.problem(if wrong.of_group { "group" } else { "kind" }, at));
            told.problems.extend(problem);
        }
        if let Some(text) = text("patch") {
            json_patch(told, &below(&place, "patch"), text);
        }
    }
    for (place, text) in texts("containerdConfigPatchesJSON6902") {
        json_patch(told, &place, text);
    }
    for (place, text) in texts("containerdConfigPatches") {
        if let Some((line, message)) = wrong_toml(text) {
            told.problems.push(told.source.problem_in_text(0, &place, text, line, 0, message));
        }
    }
}

/// A patch that fits nothing of what kubeadm is told.
struct Unfit<'k> {
    wrong: &'k str,
    /// Whether the kind is right, and its group is not.
    of_group: bool,
    right: Vec<&'static str>,
}

impl Unfit<'_> {
    /// As a problem at the key that is wrong.
    fn problem(&self, key: &str, at: impl FnOnce(&str, String) -> Problem) -> Problem {
        let what = if self.of_group { "group" } else { "kind" };
        let message = format!("kind leaves this patch out: kubeadm is told nothing of the {what} `{}`", self.wrong);
        let all = || format!("there are: {}", self.right.join(", "));
        at(key, message).meant(self.wrong, self.right.iter().copied()).or_hint(all)
    }
}

/// The type of what kubeadm is told under this kind.
fn of_kubeadm<'k>(kind: &'k str, group: Option<&'k str>) -> Result<&'static str, Unfit<'k>> {
    let Some((_, right, of)) = KUBEADM.iter().find(|(one, ..)| *one == kind) else {
        return Err(Unfit { wrong: kind, of_group: false, right: KUBEADM.iter().map(|(kind, ..)| *kind).collect() });
    };
    match group.filter(|group| !group.is_empty() && group != right) {
        Some(wrong) => Err(Unfit { wrong, of_group: true, right: vec![*right] }),
        None => Ok(of),
    }
}

/// A patch of something that kubeadm is told, as a part of it.
fn merge_patch(told: &mut Told<'_>, name: &str, place: &[Segment], text: &str) {
    let inner = Source::new(told.source.file.clone(), text);
    let value = match inner.parse::<Value>() {
        Ok(value) => value,
        Err(problem) => return told.problems.push(outer(told.source, place, text, problem)),
    };
    let Some(kind) = value.get("kind").and_then(Value::as_str) else {
        let hint =
            did_you_mean("kind", value.as_mapping().into_iter().flat_map(|map| map.keys()).filter_map(Value::as_str));
        let message = "kind leaves this patch out: it does not say its `kind`".to_owned();
        return told.add(place, message, hint);
    };
    let group = value.get("apiVersion").and_then(Value::as_str).and_then(|version| version.split('/').next());
    let found = match of_kubeadm(kind, group) {
        Ok(of) => form(&object(&inner, kind, name, value.clone()), &inner, of, true),
        Err(wrong) => {
            let at = |key: &str, message: String| inner.problem(&crate::at![key], message);
            vec![wrong.problem(if wrong.of_group { "apiVersion" } else { "kind" }, at)]
        }
    };
    told.problems.extend(found.into_iter().map(|problem| outer(told.source, place, text, problem)));
}

/// A problem of a text that stands in `source` at `place`, there.
fn outer(source: &Source, place: &[Segment], text: &str, problem: Problem) -> Problem {
    let (line, column) = (problem.line.saturating_sub(1), problem.column.saturating_sub(1));
    let at = source.problem_in_text(0, place, text, line, column, "");
    Problem { line: at.line, column: at.column, ..problem }
}

/// A list of operations on a text.
fn json_patch(told: &mut Told<'_>, place: &[Segment], text: &str) {
    let inner = Source::new(told.source.file.clone(), text);
    let mut found = Vec::new();
    match inner.parse::<Value>() {
        Err(problem) => found.push(problem),
        Ok(Value::Sequence(operations)) => {
            for (at, operation) in operations.iter().enumerate() {
                let said = |key: &str| operation.get(key).and_then(Value::as_str);
                match said("op") {
                    Some(op) if OPERATIONS.contains(&op) => {}
                    Some(op) => {
                        let problem =
                            inner.problem(&crate::at![at, "op"], format!("no patch has the operation `{op}`"));
                        let all = || format!("there are: {}", OPERATIONS.join(", "));
                        found.push(problem.meant(op, OPERATIONS).or_hint(all));
                    }
                    None => found.push(inner.problem(&crate::at![at], "an operation without its `op`")),
                }
                if said("path").is_none() {
                    found.push(inner.problem(&crate::at![at], "an operation without its `path`"));
                }
            }
        }
        Ok(_) => found.push(inner.problem(&[], "a JSON patch is a list of operations")),
    }
    told.problems.extend(found.into_iter().map(|problem| outer(told.source, place, text, problem)));
}

/// The first line of a text that is no TOML, from 0, and what is wrong with it: what a slip makes of a line, not all
/// that TOML forbids.
fn wrong_toml(text: &str) -> Option<(usize, &'static str)> {
    // Of values that go on in further lines nothing is told.
    let is_open =
        |value: &str| value.starts_with(['[', '{']) || value.starts_with("\"\"\"") || value.starts_with("'''");
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let quotes = line.split('#').next().unwrap_or_default().matches('"').count();
        if line.starts_with('[') {
            let head = line.split(" #").next().unwrap_or_default().trim_end();
            let depth = if line.starts_with("[[") { "]]" } else { "]" };
            if !head.ends_with(depth) || quotes % 2 == 1 {
                return Some((number, "no TOML: the head of a table is not closed"));
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Some((number, "no TOML: neither the head of a table nor `key = value`"));
        };
        let value = value.trim();
        if key.trim().is_empty() || value.is_empty() {
            return Some((number, "no TOML: neither the head of a table nor `key = value`"));
        }
        if is_open(value) && !value.ends_with([']', '}']) {
            return None;
        }
        if quotes % 2 == 1 && !line.contains('#') {
            return Some((number, "no TOML: a text is not closed"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_in_toml_are_seen() {
        for (text, line) in [
            ("", None),
            (
                "version = 2\n\n# a comment: no pair\n[plugins.\"io.containerd.grpc.v1.cri\".registry] # here\n  a = \"b\"\n",
                None,
            ),
            ("[[x]]\na = [\n  1,\n  2,\n]\n", None),
            ("a = \"#\" # \"\n", None),
            ("[plugins.\"x\n", Some(0)),
            ("a = 1\n[plugins.\"x]\n", Some(1)),
            ("[[x]\n", Some(0)),
            ("a: b\n", Some(0)),
            ("a =\n", Some(0)),
            ("a = \"b\n", Some(0)),
        ] {
            assert_eq!(wrong_toml(text).map(|(line, _)| line), line, "{text}");
        }
    }
}
