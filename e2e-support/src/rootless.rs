//! Whether podman without root can run kind's nodes: it answers also where it cannot.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use xshell::Shell;

use crate::cancel::Cancel;
use crate::engine::Engine;

/// The controllers that kind's nodes need to be handed on. <https://kind.sigs.k8s.io/docs/user/rootless/>
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Asks podman, which here is one without root, whether nodes can run.
///
/// # Errors
/// What is missing, and what to do about it.
pub(crate) fn check(engine: &Engine, cancel: &Cancel) -> Result<()> {
    let sh = Shell::new()?;
    let told = engine.ask(&sh, &["info", "--format", "json"]).cancel(cancel).read()?;
    let told: Value = serde_json::from_str(&told).context("reading what podman tells of this machine")?;
    judge(&told["host"])
}

fn judge(host: &Value) -> Result<()> {
    // Of another machine's podman: what it lacks is told there.
    if host["serviceIsRemote"] == true || host["security"]["rootless"] != true {
        return Ok(());
    }
    ensure!(
        host["cgroupVersion"] == "v2",
        "podman without root runs no cluster on cgroup {}: boot with systemd.unified_cgroup_hierarchy=1, or run as root",
        host["cgroupVersion"].as_str().unwrap_or("v1")
    );
    let handed_on =
        |name: &&str| host["cgroupControllers"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|name| !handed_on(name)).collect();
    if !missing.is_empty() {
        bail!(
            "podman without root runs no cluster here, for this user is not handed the cgroup controllers {}: put \
             `[Service]` and `Delegate=yes` into /etc/systemd/system/user@.service.d/delegate.conf, run `systemctl \
             daemon-reload`, and log in anew",
            missing.join(", ")
        );
    }
    let is_there = |name: &str| host[name]["executable"].as_str().is_some_and(|path| !path.is_empty());
    ensure!(
        ["pasta", "slirp4netns"].into_iter().any(is_there),
        "podman without root has no network for nodes here: install pasta (the package passt) or slirp4netns"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn host(cgroup: &str, controllers: &[&str], networks: &str) -> Value {
        json!({"security": {"rootless": true}, "cgroupVersion": cgroup, "cgroupControllers": controllers,
            "slirp4netns": {"executable": ""}, networks: {"executable": "/usr/bin/it"}})
    }

    #[test]
    fn what_nodes_need_and_a_user_does_not_have_is_named() {
        let all = ["cpu", "io", "memory", "pids"];
        for (host, says) in [
            (host("v1", &all, "pasta"), "no cluster on cgroup v1"),
            (host("v2", &["memory", "pids"], "pasta"), "the cgroup controllers cpu:"),
            (host("v2", &[], "pasta"), "controllers cpu, memory, pids:"),
            (host("v2", &all, "nothing"), "install pasta"),
        ] {
            let error = judge(&host).unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
    }

    #[test]
    fn a_user_with_all_of_it_can_and_so_can_root() {
        for network in ["pasta", "slirp4netns"] {
            judge(&host("v2", &CONTROLLERS, network)).unwrap();
        }
        judge(&json!({"security": {"rootless": false}, "cgroupVersion": "v1"})).unwrap();
        judge(&json!({"serviceIsRemote": true, "security": {"rootless": true}})).unwrap();
    }
}
