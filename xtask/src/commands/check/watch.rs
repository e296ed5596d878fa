//! Looking again whenever something in a project changes.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// A look may take this share of the time at most.
const SHARE: u32 = 10;

/// Waits until anything in the project is other than it was at `before`, and returns what it is then.
pub(super) fn changed(root: &Utf8Path, before: u64) -> u64 {
    loop {
        let begin = Instant::now();
        let now = state(root);
        if now != before {
            return now;
        }
        std::thread::sleep(PAUSE.max(begin.elapsed() * SHARE));
    }
}

/// One number for the paths, sizes and times of all files; what programs make by themselves does not count.
pub(super) fn state(root: &Utf8Path) -> u64 {
    let mut state = 0_u64;
    let mut todo: Vec<Utf8PathBuf> = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in folder.read_dir_utf8().into_iter().flatten().flatten() {
            let is_made = matches!(entry.file_name(), ".git" | "target" | "node_modules");
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                todo.extend((!is_made).then(|| entry.path().to_owned()));
                continue;
            }
            let mut hasher = DefaultHasher::new();
            (entry.path(), metadata.len(), metadata.modified().ok()).hash(&mut hasher);
            // A folder's order is anybody's guess.
            state = state.wrapping_add(hasher.finish());
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_change_is_seen_and_what_programs_make_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a/b", "1");
        let first = state(root);
        assert_eq!(state(root), first);
        for path in ["target/x", ".git/x", "a/node_modules/x"] {
            write(path, "1");
            assert_eq!(state(root), first, "{path}");
        }
        write("a/b", "12");
        let second = changed(root, first);
        write("c", "1");
        let third = changed(root, second);
        std::fs::remove_file(root.join("c")).unwrap();
        assert_ne!(third, second);
        assert_eq!(changed(root, third), second);
    }
}
