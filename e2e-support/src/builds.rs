//! A journal of image builds, for podman leaves the working containers of a build that was killed.
//!
//! Such a container carries no mark of whoever made it. So every build writes down from when to when
//! it ran: the file is locked while it runs, and the reaper adds a line when its process was killed.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::engine::Engine;
use crate::process::Job;
use crate::reaper;

/// Written by the reaper when a build's process was killed.
pub(crate) const KILLED: &str = "killed";
/// How long a build may have gone on of which nobody could write down the end: the machine went down.
const LONGEST: Duration = Duration::from_secs(3600);
const ANSWER: Duration = Duration::from_secs(60);

/// One build that runs.
#[derive(Debug)]
pub(crate) struct Entry {
    path: Utf8PathBuf,
    _lock: File,
}

/// Writes down that a build begins.
pub(crate) fn begin(journal: &Utf8Path) -> Result<Entry> {
    std::fs::create_dir_all(journal).with_context(|| format!("making the folder {journal}"))?;
    let nanos = since_epoch(SystemTime::now()).as_nanos();
    let path = journal.join(format!("{}-{nanos}", std::process::id()));
    let doing = || format!("noting an image build in {path}");
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path).with_context(doing)?;
    file.lock().with_context(doing)?;
    writeln!(file, "{}", since_epoch(SystemTime::now()).as_secs()).with_context(doing)?;
    reaper::note_killed(&path);
    Ok(Entry { path, _lock: file })
}

impl Entry {
    /// The build ended by itself and has cleaned up.
    pub(crate) fn end(self) -> Result<()> {
        std::fs::remove_file(&self.path).with_context(|| format!("removing {}", self.path))
    }

    /// The build was stopped.
    pub(crate) fn stopped(mut self) -> Result<()> {
        writeln!(self._lock, "{KILLED}").with_context(|| format!("noting in {} that a build was stopped", self.path))
    }
}

/// Removes the working containers of builds that were killed. While any image is being built on this
/// machine nothing is removed, for its containers look the same. Returns how many went.
///
/// # Errors
/// When the journal cannot be read, or the engine fails.
pub(crate) fn clean(engine: &Engine, journal: &Utf8Path) -> Result<usize> {
    clean_unless(engine, journal, something_builds)
}

fn clean_unless(engine: &Engine, journal: &Utf8Path, builds: impl Fn() -> Result<bool>) -> Result<usize> {
    let Ok(entries) = journal.read_dir_utf8() else { return Ok(0) };
    let mut dead = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("listing {journal}"))?.into_path();
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_err() {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let Some(start) = text.lines().next().and_then(|line| line.parse::<u64>().ok()) else {
            // Killed before its first line: nothing was built yet.
            std::fs::remove_file(&path).with_context(|| format!("removing {path}"))?;
            continue;
        };
        let end = if text.lines().any(|line| line == KILLED) {
            let written = file.metadata().and_then(|meta| meta.modified());
            since_epoch(written.with_context(|| format!("looking at {path}"))?).as_secs() + 1
        } else {
            start + LONGEST.as_secs()
        };
        dead.push((path, start, end));
    }
    if dead.is_empty() || builds()? {
        return Ok(0);
    }
    let sh = Shell::new()?;
    let words = ["ps", "--all", "--external", "--format", "json"];
    let text = Job::new(engine.cmd(&sh).args(words)).deadline(ANSWER).read()?;
    let ids = left_behind(&text, &dead.iter().map(|(_, start, end)| (*start, *end)).collect::<Vec<_>>())?;
    if !ids.is_empty() {
        Job::new(engine.cmd(&sh).args(["rm", "--force"]).args(&ids)).deadline(ANSWER).run()?;
    }
    for (path, ..) in dead {
        std::fs::remove_file(&path).with_context(|| format!("removing {path}"))?;
    }
    Ok(ids.len())
}

/// The ids of working containers in `text`, podman's list, that were created in one of `spans`
/// (seconds since the epoch, both ends included).
fn left_behind(text: &str, spans: &[(u64, u64)]) -> Result<Vec<String>> {
    let list: Option<Vec<Value>> = serde_json::from_str(text).context("reading the engine's list of containers")?;
    let ours = |container: &&Value| {
        let created = container["Created"].as_u64().unwrap_or(0);
        let names = container["Names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        container["State"].as_str().is_some_and(|state| state.eq_ignore_ascii_case("storage"))
            && names.into_iter().any(|name| name.contains("working-container"))
            && spans.iter().any(|(start, end)| (*start..=*end).contains(&created))
    };
    let ids = list.iter().flatten().filter(ours).filter_map(|container| container["Id"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

/// Whether an image is being built on this machine, by whomever. Where nobody can tell, as without pgrep, one may be.
fn something_builds() -> Result<bool> {
    let sh = Shell::new()?;
    let found = Job::new(cmd!(sh, "pgrep -f").arg("^([^ ]*/)?(podman|buildah) (.* )?(build|bud|from) "));
    Ok(found.deadline(ANSWER).output().map_or(true, |found| found.success()))
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use testbed::fakes::{Fake, Play};

    use super::*;

    #[test]
    fn only_working_containers_of_the_time_are_left_behind() {
        let text = r#"[
            {"Id": "a", "State": "storage", "Names": ["rust-working-container"], "Created": 100},
            {"Id": "b", "State": "storage", "Names": ["x-working-container-1"], "Created": 111},
            {"Id": "c", "State": "storage", "Names": ["mine"], "Created": 105},
            {"Id": "d", "State": "running", "Names": ["my-working-container"], "Created": 105},
            {"Id": "e", "State": "Storage", "Names": ["y-working-container"], "Created": 110}
        ]"#;
        assert_eq!(left_behind(text, &[(100, 110)]).unwrap(), ["a", "e"]);
        assert_eq!(left_behind("null", &[(100, 110)]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_a_stopped_build_left_goes_once_nobody_builds() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(dir.path()).unwrap();
        let (fake, journal) = (Fake::new(folder).unwrap(), folder.join("builds"));
        let (running, stopped) = (begin(&journal).unwrap(), begin(&journal).unwrap());
        let now = since_epoch(SystemTime::now()).as_secs();
        stopped.stopped().unwrap();
        let list = format!(
            r#"[{{"Id":"ours","State":"storage","Names":["x-working-container"],"Created":{now}}},
                {{"Id":"older","State":"storage","Names":["y-working-container"],"Created":{}}}]"#,
            now - 60
        );
        fake.on("podman", "ps --all --external*", Play::says(list)).unwrap();
        let engine = Engine::at(crate::engine::Flavor::Podman, &fake.program("podman"), &[]).unwrap();
        assert_eq!(clean_unless(&engine, &journal, || Ok(true)).unwrap(), 0);
        assert_eq!(clean_unless(&engine, &journal, || Ok(false)).unwrap(), 1);
        assert_eq!(fake.calls_of("podman").unwrap().pop().as_deref(), Some("rm --force ours"));
        running.end().unwrap();
        assert_eq!(clean_unless(&engine, &journal, || Ok(false)).unwrap(), 0, "nothing is noted any more");
    }
}
