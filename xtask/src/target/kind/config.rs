//! kind's configuration as it is used: host ports that are taken are replaced by free ones, and folders of the
//! workspace are found wherever it is.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::ports;
use serde_yaml::Value;
use sha2::Sha256;

use crate::hash::hash_path;

const CONTROL_PLANE: &str = "control-plane";

/// A configuration, and the host port of each NodePort in it.
#[derive(Clone, Debug)]
pub struct Effective {
    pub yaml: String,
    pub ports: BTreeMap<u16, u16>,
    /// Ports that were taken, with what replaces them.
    pub replaced: Vec<(u16, u16)>,
}

/// Reads the configuration at `path` and replaces the host ports that are taken at this moment.
///
/// # Errors
/// When it does not parse, maps a port to an address that others can reach, or no port is free.
pub(super) fn effective(root: &Utf8Path, path: &Utf8Path) -> Result<Effective> {
    let text = std::fs::read_to_string(root.join(path)).with_context(|| format!("reading {path}"))?;
    replace(&text, root, is_free).with_context(|| format!("reading {path}"))
}

impl Effective {
    /// The same with other ports in place of those of `taken` and those that are taken at this moment.
    ///
    /// # Errors
    /// When no port is free.
    pub fn chosen_again(&self, taken: &[u16]) -> Result<Effective> {
        // The folders in it are whole paths.
        let free = |address, port| !taken.contains(&port) && is_free(address, port);
        replace(&self.yaml, Utf8Path::new("/"), free).context("choosing other ports")
    }

    /// What of this machine the nodes mount; what is not here may be on the engine's own machine.
    ///
    /// # Errors
    /// When the configuration does not parse.
    pub fn mounts(&self) -> Result<Vec<Utf8PathBuf>> {
        let mut config: Value = serde_yaml::from_str(&self.yaml).context("reading the configuration of the cluster")?;
        let paths = mounts(&mut config).filter_map(|source| source.as_str().map(Utf8PathBuf::from));
        Ok(paths.filter(|path| path.exists()).collect())
    }
}

/// Adds the configuration as written to `hash`, and what of the workspace it mounts.
///
/// # Errors
/// When one of the files cannot be read.
pub(super) fn hash(root: &Utf8Path, path: &Utf8Path, hash: &mut Sha256) -> Result<()> {
    hash_path(root, path, hash)?;
    let text = std::fs::read_to_string(root.join(path)).with_context(|| format!("reading {path}"))?;
    let mut config: Value = serde_yaml::from_str(&text).with_context(|| format!("reading {path}"))?;
    for source in mounts(&mut config).filter_map(|source| source.as_str().map(Utf8PathBuf::from)) {
        if source.is_relative() {
            hash_path(root, &source, hash).with_context(|| format!("{path} mounts {source}"))?;
        }
    }
    Ok(())
}

/// The nodes of the cluster `name`, as kind names their containers: in the order of the configuration, those of the
/// control plane first.
/// <https://github.com/kubernetes-sigs/kind/blob/v0.33.0/pkg/cluster/internal/providers/common/namer.go>
///
/// # Errors
/// When the configuration cannot be read.
pub(super) fn nodes(root: &Utf8Path, path: &Utf8Path, name: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join(path)).with_context(|| format!("reading {path}"))?;
    let config: Value = serde_yaml::from_str(&text).with_context(|| format!("reading {path}"))?;
    let listed = config.get("nodes").and_then(Value::as_sequence).map_or(&[][..], Vec::as_slice);
    let role = |node: &Value| node.get("role").and_then(Value::as_str).unwrap_or(CONTROL_PLANE).to_owned();
    let roles: Vec<String> = listed.iter().map(role).collect();
    let of = |role: &str, count: usize| -> Vec<String> {
        let number = |at: usize| if at == 1 { String::new() } else { at.to_string() };
        (1..=count).map(|at| format!("{name}-{role}{}", number(at))).collect()
    };
    let workers = roles.iter().filter(|role| *role != CONTROL_PLANE).count();
    // Without any kind makes one.
    let control_planes = (roles.len() - workers).max(1);
    Ok([of(CONTROL_PLANE, control_planes), of("worker", workers)].concat())
}

/// Where the mounts of all nodes come from.
fn mounts(config: &mut Value) -> impl Iterator<Item = &mut Value> {
    let nodes = config.get_mut("nodes").and_then(Value::as_sequence_mut).into_iter().flatten();
    let of_nodes = nodes.filter_map(|node| node.get_mut("extraMounts").and_then(Value::as_sequence_mut));
    of_nodes.flatten().filter_map(|mount| mount.get_mut("hostPath"))
}

fn replace(text: &str, root: &Utf8Path, is_free: impl Fn(IpAddr, u16) -> bool) -> Result<Effective> {
    let mut config: Value = serde_yaml::from_str(text)?;
    let mut ports = BTreeMap::new();
    let mut replaced = Vec::new();
    // Held until all are chosen, so that no two mappings get the same one.
    let mut held = Vec::new();
    let nodes = config.get_mut("nodes").and_then(Value::as_sequence_mut).into_iter().flatten();
    for node in nodes {
        let mappings = node.get_mut("extraPortMappings").and_then(Value::as_sequence_mut).into_iter().flatten();
        for mapping in mappings {
            let number = |key: &str| {
                let value = mapping.get(key).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
                value.with_context(|| format!("a port mapping without a `{key}` from 1 to 65535"))
            };
            let (inside, wanted) = (number("containerPort")?, number("hostPort")?);
            let address = mapping.get("listenAddress").and_then(Value::as_str).unwrap_or("0.0.0.0");
            let address: IpAddr = address.parse().with_context(|| format!("the listenAddress {address:?}"))?;
            if !address.is_loopback() {
                bail!(
                    "port {wanted} is mapped on {address}, where other machines reach it; write listenAddress: 127.0.0.1"
                );
            }
            let port = if is_free(address, wanted) {
                wanted
            } else {
                // From there, for the node has it only seconds later.
                let listener = ports::listen()?;
                let port = listener.local_addr().context("finding a free port")?.port();
                held.push(listener);
                replaced.push((wanted, port));
                port
            };
            mapping["hostPort"] = Value::from(port);
            ports.insert(inside, port);
        }
    }
    for source in mounts(&mut config) {
        if let Some(path) = source.as_str().map(Utf8Path::new).filter(|path| path.is_relative()) {
            *source = root.join(path).into_string().into();
        }
    }
    Ok(Effective { yaml: serde_yaml::to_string(&config)?, ports, replaced })
}

fn is_free(address: IpAddr, port: u16) -> bool {
    TcpListener::bind((address, port)).is_ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const CONFIG: &str = "
nodes:
  - role: control-plane
    extraPortMappings:
      - { containerPort: 30080, hostPort: 8080, listenAddress: 127.0.0.1 }
      - { containerPort: 30090, hostPort: 9090, listenAddress: 127.0.0.1 }
";

    /// A configuration with ports that were free a moment ago.
    pub(in crate::target::kind) fn of_ports() -> Effective {
        replace(CONFIG, Utf8Path::new("/w"), |_, _| false).unwrap()
    }

    #[test]
    fn nodes_are_named_as_kind_names_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let named = |config: &str| {
            std::fs::write(root.join("kind.yaml"), config).unwrap();
            nodes(root, "kind.yaml".into(), "c").unwrap()
        };
        assert_eq!(named("kind: Cluster\n"), ["c-control-plane"]);
        assert_eq!(named("nodes: [{}]\n"), ["c-control-plane"], "the role that kind takes where none is named");
        let several = "nodes: [{role: worker}, {role: control-plane}, {role: worker}, {role: control-plane}]\n";
        assert_eq!(named(several), ["c-control-plane", "c-control-plane2", "c-worker", "c-worker2"]);
    }

    #[test]
    fn a_port_that_is_taken_is_replaced_by_a_free_one() {
        let config = replace(CONFIG, Utf8Path::new("/w"), |_, port| port != 8080).unwrap();
        let [(8080, other)] = config.replaced[..] else { panic!("{:?}", config.replaced) };
        assert_ne!(other, 8080);
        assert_eq!(config.ports, BTreeMap::from([(30080, other), (30090, 9090)]));
        assert!(config.yaml.contains(&format!("hostPort: {other}")), "{}", config.yaml);
    }

    #[test]
    fn ports_that_were_taken_since_are_replaced_and_the_others_stay() {
        let free = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let (one, two) = (ports::listen().unwrap(), ports::listen().unwrap());
        let (listened, said, other) = (free(&one), free(&two), 41);
        drop(two);
        let text = CONFIG.replace("8080", &listened.to_string()).replace("9090", &said.to_string());
        let first = replace(&text, Utf8Path::new("/w"), |_, _| true).unwrap();
        let again = first.chosen_again(&[said, other]).unwrap();
        let [(a, _), (b, _)] = again.replaced[..] else { panic!("{:?}", again.replaced) };
        assert_eq!((a, b), (listened, said));
        let last = again.chosen_again(&[]).unwrap();
        assert_eq!((last.ports, last.replaced), (again.ports, Vec::new()), "what is free stays");
    }

    #[test]
    fn a_mount_of_the_workspace_is_found_wherever_it_is() {
        let text = format!("{CONFIG}    extraMounts: [{{ hostPath: in/it }}, {{ hostPath: /out }}]\n");
        let config = replace(&text, Utf8Path::new("/w"), |_, _| true).unwrap();
        assert!(
            config.yaml.contains("hostPath: /w/in/it\n") && config.yaml.contains("hostPath: /out\n"),
            "{}",
            config.yaml
        );
    }

    #[test]
    fn a_port_is_taken_when_somebody_listens() {
        let listener = ports::listen().unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!is_free(address.ip(), address.port()));
    }

    #[test]
    fn a_port_that_other_machines_reach_is_refused() {
        let error = replace(&CONFIG.replace("127.0.0.1", "0.0.0.0"), Utf8Path::new("/w"), |_, _| true).unwrap_err();
        assert!(error.to_string().contains("listenAddress: 127.0.0.1"), "{error}");
    }
}
