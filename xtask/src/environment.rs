//! What a run ran on, found by itself: numbers mean little without it.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;
use e2e_support::Job;
use xshell::{Cmd, Shell, cmd};

use crate::setup::host::{Host, free_mb};
use crate::setup::make::Workshop;
use crate::setup::piece::State;

/// A question about the machine that takes longer is left unanswered.
const ANSWER: Duration = Duration::from_secs(10);

/// The machine and the tools, by name. What cannot be found out is left out.
pub fn environment(root: &Utf8Path, workshop: &Workshop) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| {
        let value = value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        facts.extend(value.map(|value| (name.to_owned(), value)));
    };
    let Ok(sh) = Shell::new() else { return facts };
    let read = |cmd: Cmd<'_>| Job::new(cmd).deadline(ANSWER).read().ok();
    let file = |path: &str| std::fs::read_to_string(path).ok();
    let field = |path: &str, key: &str| {
        let text = file(path)?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once([':', '='])?.1.trim().trim_matches('"').to_owned())
    };
    let host = &workshop.host;
    put("os", field("/etc/os-release", "PRETTY_NAME=").or_else(|| read(cmd!(sh, "sw_vers -productVersion"))));
    put("kernel", read(cmd!(sh, "uname -sr")));
    put("architecture", Some(host.arch.to_owned()));
    put("cpu", field("/proc/cpuinfo", "model name").or_else(|| read(cmd!(sh, "sysctl -n machdep.cpu.brand_string"))));
    put("cores", std::thread::available_parallelism().ok().map(|cores| cores.to_string()));
    put("memory", field("/proc/meminfo", "MemTotal").or_else(|| read(cmd!(sh, "sysctl -n hw.memsize"))));
    put("load at start", file("/proc/loadavg").map(|text| text.split(' ').take(3).collect::<Vec<_>>().join(" ")));
    put("disk free", free_mb(root).ok().map(|mb| format!("{mb} MB")));
    put("disk", disk(root));
    put("cgroup", cgroup(host));
    put("rust", read(cmd!(sh, "rustc --version")));
    sh.change_dir(root);
    put("git revision", read(cmd!(sh, "git describe --always --dirty --abbrev=12")));
    for name in ["kind", "kubernetes"] {
        put(name, workshop.catalog.versions.get(name).cloned());
    }
    if let Some(engine) = &workshop.engine {
        put("container engine", Some(format!("{} {}", engine.flavor(), engine.version())));
        let stand_ins: Vec<&str> = workshop
            .catalog
            .pieces
            .iter()
            .filter(|piece| workshop.state(piece).is_ok_and(|state| state == State::Made))
            .filter_map(|piece| piece.replaces.as_deref())
            .collect();
        put("stand-in images", Some(stand_ins.join(", ")));
        let public: Vec<String> = workshop.images.iter().map(ToString::to_string).collect();
        put("public images", Some(public.join(", ")));
    }
    facts
}

fn cgroup(host: &Host) -> Option<String> {
    (host.os == "linux").then(|| if host.cgroup_v1 { "v1".into() } else { "v2".into() })
}

/// File system and device of the folder that is built in, and whether the device spins.
fn disk(root: &Utf8Path) -> Option<String> {
    let sh = Shell::new().ok()?;
    let text = Job::new(cmd!(sh, "df -PT {root}")).deadline(ANSWER).read().ok()?;
    let fields: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    let (device, kind) = (fields.first()?, fields.get(1)?);
    let name = device.strip_prefix("/dev/").unwrap_or(device);
    let rotational = std::fs::read_to_string(format!("/sys/block/{name}/queue/rotational")).ok();
    let spins = match rotational.as_deref().map(str::trim) {
        Some("0") => ", not rotational",
        Some("1") => ", rotational",
        _ => "",
    };
    Some(format!("{kind} on {device}{spins}"))
}
