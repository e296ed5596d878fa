//! Whom cargo waits for, where an editor or another cargo holds the lock of the folder that it compiles into.

use std::time::Duration;

use camino::Utf8Path;
use e2e_support::Cancel;

/// How often it is looked whether cargo waits.
const LOOK: Duration = Duration::from_millis(500);
/// How cargo says that it waits; what for follows.
const WAITS: &str = "Blocking waiting for file lock";

/// Until `over` is set, hands `tell` a line whenever cargo, whose output is in `log` from `begin` bytes on, waits for a
/// lock in the folder `made`, and `None` when it goes on.
pub fn watch(log: &Utf8Path, begin: usize, made: &Utf8Path, over: &Cancel, mut tell: impl FnMut(Option<String>)) {
    let mut waited = false;
    while !over.sleep(LOOK) {
        let Ok(text) = std::fs::read(log) else { continue };
        let text = String::from_utf8_lossy(text.get(begin..).unwrap_or_default());
        let waits = waits_for(&text);
        match (waits, waited) {
            (Some(what), false) => tell(Some(match holder(&made.join(".cargo-lock")) {
                Some(who) => format!("cargo waits for the lock on {what}, held by {who}"),
                None => format!("cargo waits for the lock on {what}: an editor or another cargo holds it"),
            })),
            (None, true) => tell(None),
            _ => {}
        }
        waited = waits.is_some();
    }
}

/// What cargo waits for, where the last that it said is that it waits.
fn waits_for(output: &str) -> Option<&str> {
    let last = output.lines().rfind(|line| !line.trim().is_empty())?;
    let what = last.trim().strip_prefix(WAITS)?.trim();
    Some(what.strip_prefix("on ").unwrap_or(what))
}

/// The command line and number of the process that has locked `path`; none where the system does not tell.
fn holder(path: &Utf8Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let inode = path.metadata().ok()?.ino();
    let pid = locked_by(&std::fs::read_to_string("/proc/locks").ok()?, inode)?;
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    let parent = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned();
        let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).ok()?;
        Some(format!(", started by {}", name.trim()))
    };
    Some(format!("process {pid} ({}{})", words.trim(), parent().unwrap_or_default()))
}

/// The process that holds the lock of the file with this inode, of a text like /proc/locks. Those that wait have an
/// arrow in their line. <https://man7.org/linux/man-pages/man5/proc_locks.5.html>
fn locked_by(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = words[..] else { return None };
        let of = file.rsplit(':').next()?.parse::<u64>().ok()?;
        (of == inode).then(|| pid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_waits_while_nothing_follows_that_it_says() {
        let waits = "   Compiling a v0.1.0\n    Blocking waiting for file lock on build directory\n";
        assert_eq!(waits_for(waits), Some("build directory"));
        assert_eq!(waits_for(&format!("{waits}   Compiling b v0.1.0\n")), None);
        assert_eq!(waits_for(""), None);
    }

    #[test]
    fn the_holder_of_a_lock_is_told_and_not_who_waits() {
        let locks = "1: FLOCK  ADVISORY  WRITE 700 fe:00:11 0 EOF\n2: FLOCK  ADVISORY  WRITE 701 fe:00:12 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 702 fe:00:12 0 EOF\n3: POSIX  ADVISORY  WRITE 703 fe:00:13 0 EOF\n";
        assert_eq!([11, 12, 13].map(|inode| locked_by(locks, inode)), [Some(700), Some(701), None]);
    }

    #[test]
    fn the_line_says_who_holds_it_and_when_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let made = Utf8Path::from_path(dir.path()).unwrap();
        let lock = std::fs::File::create(made.join(".cargo-lock")).unwrap();
        lock.lock().unwrap();
        let log = made.join("log");
        std::fs::write(&log, "of before\n    Blocking waiting for file lock on build directory\n").unwrap();
        let over = Cancel::new();
        let mut said = Vec::new();
        watch(&log, "of before\n".len(), made, &over, |line| {
            match &line {
                Some(_) => std::fs::write(&log, "of before\n   Compiling a v0.1.0\n").unwrap(),
                None => over.cancel("it goes on"),
            }
            said.push(line);
        });
        let [Some(line), None] = &said[..] else { panic!("{said:?}") };
        assert!(line.starts_with("cargo waits for the lock on build directory"), "{line}");
        if cfg!(target_os = "linux") {
            assert!(line.contains(&format!("held by process {}", std::process::id())), "{line}");
        }
    }
}
