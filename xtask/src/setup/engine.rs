//! What a container engine needs to be told on this machine, and where to get one.

use anyhow::{Context, Result};
use camino::Utf8Path;

use super::host::Host;

/// Below this hard limit of open files podman's own default (1048576) cannot be set for containers.
const PODMAN_OPEN_FILES: u64 = 1_048_576;

/// Environment variables that every call of the engine gets here. Where the machine wants settings,
/// they are in a file of the cache; the system's own are left alone.
///
/// # Errors
/// When the settings cannot be written to the cache.
pub fn settings(host: &Host, cache: &Utf8Path) -> Result<Vec<(String, String)>> {
    let Some(text) = containers_conf(host) else { return Ok(Vec::new()) };
    // A person who has settings of their own knows better.
    if std::env::var("CONTAINERS_CONF").is_ok_and(|value| !value.is_empty()) {
        return Ok(Vec::new());
    }
    let path = cache.join("containers.conf");
    if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
        let new = cache.join(format!("containers.conf.{}", std::process::id()));
        std::fs::create_dir_all(cache).with_context(|| format!("making the folder {cache}"))?;
        std::fs::write(&new, text).with_context(|| format!("writing {new}"))?;
        std::fs::rename(&new, &path).with_context(|| format!("writing {path}"))?;
    }
    Ok(vec![("CONTAINERS_CONF".into(), path.into_string())])
}

/// podman's settings for hosts whose cgroups are v1, or v1 beside v2 (crun refuses the mixture, and
/// there is no systemd to ask for a slice), and whose limits are lower than podman's defaults.
fn containers_conf(host: &Host) -> Option<String> {
    let low = |limit: Option<u64>| limit.filter(|&limit| limit < PODMAN_OPEN_FILES);
    if host.os != "linux" || !(host.cgroup_v1 || low(host.open_files).is_some()) {
        return None;
    }
    let mut text = String::from("[containers]\n");
    if let Some(files) = low(host.open_files) {
        let processes = host.processes.unwrap_or(32_768).min(32_768);
        text.push_str(&format!("default_ulimits = [\"nofile={files}:{files}\", \"nproc={processes}:{processes}\"]\n"));
    }
    text.push_str("[engine]\nevents_logger = \"file\"\n");
    if host.cgroup_v1 {
        text.push_str("runtime = \"runc\"\ncgroup_manager = \"cgroupfs\"\n");
    }
    Some(text)
}

/// How a person gets an engine on this machine.
pub fn how_to_get(host: &Host) -> &'static str {
    match host.os {
        "macos" => "get one: `brew install podman && podman machine init && podman machine start`, or Docker Desktop",
        _ => "get one: `apt-get install podman` (or your distribution's way), or Docker Engine 23 or later",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(cgroup_v1: bool, open_files: Option<u64>) -> Host {
        Host { os: "linux", arch: "amd64", root: true, release: None, cgroup_v1, open_files, processes: None }
    }

    #[test]
    fn only_a_machine_that_needs_settings_gets_them() {
        assert_eq!(containers_conf(&host(false, None)), None);
        assert_eq!(containers_conf(&host(false, Some(PODMAN_OPEN_FILES))), None);
        let old = containers_conf(&host(true, None)).unwrap();
        assert!(old.contains("runc") && old.contains("cgroupfs") && !old.contains("nofile"), "{old}");
        let low = containers_conf(&host(false, Some(20_000))).unwrap();
        assert!(low.contains("nofile=20000:20000") && !low.contains("runc"), "{low}");
    }
}
