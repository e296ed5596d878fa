//! What a container engine needs to be told on this machine, and where to get one.

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Cancel;
use e2e_support::engine::{Engine, Flavor};

use super::host::Host;

/// What podman itself sets for containers: open files, processes.
const PODMAN_OPEN_FILES: u64 = 1_048_576;
const PODMAN_PROCESSES: u64 = 4_194_304;

/// The engine that works here, with its settings, for commands that need no more of the set-up than that.
///
/// # Errors
/// When none works, or what killed builds left cannot be removed.
pub fn open(choice: Option<Flavor>, cache: &Utf8Path) -> Result<Engine> {
    Engine::find(choice, &settings(&Host::look(), cache)?, &Cancel::new())?.with_journal(&journal(cache))
}

/// Where image builds are written down.
pub fn journal(cache: &Utf8Path) -> Utf8PathBuf {
    cache.join("builds")
}

/// Environment variables that every call of the engine gets here. Where the machine wants settings,
/// they are in a file of the cache; the system's own are left alone.
///
/// # Errors
/// When the settings cannot be written to the cache.
pub fn settings(host: &Host, cache: &Utf8Path) -> Result<Vec<(String, String)>> {
    // podman 5 warns of cgroup v1 with every command, and what it has to say of a failure would be that.
    let mut env = Vec::new();
    if host.cgroup_v1 {
        env.push(("PODMAN_IGNORE_CGROUPSV1_WARNING".to_owned(), "1".to_owned()));
    }
    let Some(text) = containers_conf(host) else { return Ok(env) };
    // A person who has settings of their own knows better.
    if std::env::var("CONTAINERS_CONF").is_ok_and(|value| !value.is_empty()) {
        return Ok(env);
    }
    let path = cache.join("containers.conf");
    if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
        let new = cache.join(format!("containers.conf.{}", std::process::id()));
        std::fs::create_dir_all(cache).with_context(|| format!("making the folder {cache}"))?;
        std::fs::write(&new, text).with_context(|| format!("writing {new}"))?;
        std::fs::rename(&new, &path).with_context(|| format!("writing {path}"))?;
    }
    env.push(("CONTAINERS_CONF".into(), path.into_string()));
    Ok(env)
}

/// podman's settings where its defaults do not work: crun refuses a mixture of cgroup v1 and v2,
/// without systemd nobody makes slices, and without CAP_SYS_RESOURCE podman cannot raise the limits
/// of containers beyond this machine's own.
fn containers_conf(host: &Host) -> Option<String> {
    if host.os != "linux" || !host.root || (!host.cgroup_v1 && host.systemd && host.raises_limits) {
        return None;
    }
    let mut text = String::new();
    if !host.raises_limits {
        let files = host.open_files.unwrap_or(PODMAN_OPEN_FILES).min(PODMAN_OPEN_FILES);
        let pid_max = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok();
        let pid_max = pid_max.and_then(|text| text.trim().parse().ok()).unwrap_or(PODMAN_PROCESSES);
        let processes = host.processes.unwrap_or(PODMAN_PROCESSES).min(pid_max);
        text.push_str(&format!(
            "[containers]\ndefault_ulimits = [\"nofile={files}:{files}\", \"nproc={processes}:{processes}\"]\n"
        ));
    }
    text.push_str("[engine]\nevents_logger = \"file\"\n");
    if host.cgroup_v1 {
        text.push_str("runtime = \"runc\"\n");
    }
    if host.cgroup_v1 || !host.systemd {
        text.push_str("cgroup_manager = \"cgroupfs\"\n");
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

    fn host(cgroup_v1: bool, systemd: bool, raises_limits: bool) -> Host {
        let (open_files, processes) = (Some(20_000), Some(1000));
        Host { os: "linux", arch: "amd64", root: true, cgroup_v1, systemd, raises_limits, open_files, processes }
    }

    #[test]
    fn podmans_warning_of_cgroup_v1_is_no_answer_to_anything() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Utf8Path::from_path(dir.path()).unwrap();
        let names = |host: &Host| settings(host, cache).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let warning = "PODMAN_IGNORE_CGROUPSV1_WARNING".to_owned();
        assert!(names(&host(true, true, true)).contains(&warning));
        assert!(!names(&host(false, true, true)).contains(&warning));
    }

    #[test]
    fn only_a_machine_that_needs_settings_gets_them() {
        assert_eq!(containers_conf(&host(false, true, true)), None);
        assert_eq!(containers_conf(&Host { root: false, ..host(true, false, false) }), None);
        let old = containers_conf(&host(true, true, true)).unwrap();
        assert!(old.contains("runc") && old.contains("cgroupfs") && !old.contains("nofile"), "{old}");
        let bare = containers_conf(&host(false, false, true)).unwrap();
        assert!(!bare.contains("runc") && bare.contains("cgroupfs"), "{bare}");
        let low = containers_conf(&host(false, true, false)).unwrap();
        assert!(
            low.contains("nofile=20000:20000") && low.contains("nproc=1000:1000") && !low.contains("runc"),
            "{low}"
        );
    }
}
