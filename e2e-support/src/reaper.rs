//! Makes sure that child processes do not outlive this process, however it ends.
//!
//! Children run in process groups of their own, so a SIGKILL of this process would leave them
//! running. One `sh` per process therefore reads the list of live groups from a pipe; when the
//! pipe closes, which the kernel sees to even after a SIGKILL, it kills the groups that are left,
//! removes the folders it was told of, and marks the builds that were going on.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Mutex;

use camino::Utf8Path;
use rustix::process::Signal;

// Groups get SIGTERM or the signal of their own, unless they were told so before, then up to two seconds, then SIGKILL. Of those whose leader comes
// first only the leader gets SIGTERM, and the others have four seconds to come to their end. Those that clean up
// themselves have thirty.
const SCRIPT: &str = r#"
live=' '; leaders=' '; patient=' '; told=' '; signals=' '; dirs=; notes=
while IFS=' ' read -r op what; do
  case $op in
    +) live="$live$what " ;;
    +l) live="$live$what "; leaders="$leaders$what " ;;
    +p) live="$live$what "; patient="$patient$what " ;;
    t) told="$told$what " ;;
    s) signals="$signals$what " ;;
    -) live="${live%% $what *} ${live#* $what }"
       case $leaders in *" $what "*) leaders="${leaders%% $what *} ${leaders#* $what }" ;; esac
       case $patient in *" $what "*) patient="${patient%% $what *} ${patient#* $what }" ;; esac
       case $told in *" $what "*) told="${told%% $what *} ${told#* $what }" ;; esac
       case $signals in *":$what "*) before="${signals%%:$what *}"; signals="${before% *} ${signals#*:$what }" ;; esac ;;
    d) dirs="$dirs$what
" ;;
    n) notes="$notes$what
" ;;
  esac
done
[ "$live" = ' ' ] && [ -z "$dirs$notes" ] && exit 0
for group in $live; do
  case $told in *" $group "*) continue ;; esac
  signal=TERM
  case $signals in *":$group "*) signal="${signals%%:$group *}"; signal="${signal##* }" ;; esac
  case $leaders in
    *" $group "*) kill -"$signal" "$group" 2>/dev/null ;;
    *) kill -"$signal" -"$group" 2>/dev/null ;;
  esac
done
tenths=0
while [ $tenths -lt 300 ]; do
  left=
  for group in $live; do kill -0 -"$group" 2>/dev/null && left="$left $group"; done
  [ -z "$left" ] && break
  for group in $left; do
    limit=20
    case $leaders in *" $group "*) limit=40 ;; esac
    case $patient in *" $group "*) limit=300 ;; esac
    [ $tenths -lt $limit ] || kill -KILL -"$group" 2>/dev/null
  done
  sleep 0.1
  tenths=$((tenths + 1))
done
for group in $live; do kill -KILL -"$group" 2>/dev/null; done
printf '%s' "$dirs" | while IFS= read -r dir; do rm -rf -- "$dir"; done
printf '%s' "$notes" | while IFS= read -r note; do [ -f "$note" ] && echo killed >> "$note"; done
"#;

static PIPE: Mutex<Option<ChildStdin>> = Mutex::new(None);

/// How a group is brought to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// All of it is told to stop, and then killed.
    Plain,
    /// Its leader comes first, as for [`crate::Job::leader_first`].
    LeaderFirst,
    /// It cleans up itself, as for [`crate::Job::grace`].
    Patient,
}

/// From now on the process group `group` dies with this process, told so by `signal`.
pub(crate) fn watch(group: u32, way: Way, signal: Signal) {
    let way = match way {
        Way::Plain => "",
        Way::LeaderFirst => "l",
        Way::Patient => "p",
    };
    let own = if signal == Signal::TERM { String::new() } else { format!("s {}:{group}\n", signal.as_raw()) };
    tell(&format!("{own}+{way} {group}\n"));
}

/// This group was told to stop: to some a second time means at once.
pub(crate) fn told(group: u32) {
    tell(&format!("t {group}\n"));
}

/// The group has ended by itself; its number may be given to others.
pub(crate) fn forget(group: u32) {
    tell(&format!("- {group}\n"));
}

/// Removes `dir` with all it holds when this process has ended.
pub(crate) fn remove_dir(dir: &Utf8Path) {
    tell(&format!("d {dir}\n"));
}

/// Appends [`crate::builds::KILLED`] to `file`, if it is there still, when this process has ended.
pub(crate) fn note_killed(file: &Utf8Path) {
    tell(&format!("n {file}\n"));
}

fn tell(line: &str) {
    let mut pipe = PIPE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if pipe.is_none() {
        *pipe = start();
    }
    if let Some(stdin) = pipe.as_mut() {
        // A reaper that was killed by hand is no reason to fail the work.
        let _ = stdin.write_all(line.as_bytes());
    }
}

#[expect(clippy::disallowed_methods, reason = "the reaper is what process::spawn itself stands on")]
fn start() -> Option<ChildStdin> {
    Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .ok()?
        .stdin
        .take()
}
